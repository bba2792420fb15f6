//! In-place forms of composed functions.

use kiln_ops::Scalar;

use crate::arg::Arg;
use crate::{Error, Here, Result, Tensor, grad_mode, inplace};

impl Tensor {
    /// Computes `f` of this tensor as it is and writes the result over it, recorded.
    #[track_caller]
    pub(crate) fn update(&self, op: &'static str, f: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
        inplace::check(op, self)?;
        // Derivatives read the operand as it was before.
        let before = if grad_mode::is_tracked() { self.snapshot()? } else { self.clone() };
        let y = f(&before).here()?;
        if y.is_same(&before) {
            return Ok(());
        }
        if !y.dtype().can_cast(self.dtype()) {
            return Err(Error::dtype(
                op,
                format!(
                    "result type {} can't be cast to the desired output type {}",
                    y.dtype(),
                    self.dtype()
                ),
            ));
        }
        if y.shape() != self.shape() {
            return Err(Error::shape(
                op,
                format!(
                    "output with shape {:?} doesn't match the broadcast shape {:?}",
                    self.shape(),
                    y.shape()
                ),
            ));
        }
        self.copy_(&y)
    }
}

/// In-place forms of composed functions: the method, its in-place form, and its arguments.
macro_rules! in_place_forms {
    ($($name:ident $name_:ident($($arg:ident: $ty:ty),*);)*) => {
        impl Tensor {
            $(
                #[doc = concat!("In-place form of [`Tensor::", stringify!($name), "`].")]
                ///
                /// # Errors
                /// As the out-of-place form; a leaf that requires grad; a result that does not fit the shape or dtype.
                #[track_caller]
                pub fn $name_(&self $(, $arg: $ty)*) -> Result<()> {
                    self.update(stringify!($name_), &|x| x.$name($($arg),*))
                }
            )*
        }
    };
}

in_place_forms! {
    add_scaled add_scaled_(other: Arg<'_>, alpha: Scalar);
    sub_scaled sub_scaled_(other: Arg<'_>, alpha: Scalar);
    addcmul addcmul_(a: &Tensor, b: &Tensor, value: Scalar);
    addcdiv addcdiv_(a: &Tensor, b: &Tensor, value: Scalar);
    lerp lerp_(end: &Tensor, weight: Arg<'_>);
    clamp_min clamp_min_(min: Arg<'_>);
    clamp_max clamp_max_(max: Arg<'_>);
    clamp_range clamp_range_(min: Option<Arg<'_>>, max: Option<Arg<'_>>);
    copysign copysign_(other: Arg<'_>);
    nextafter nextafter_(other: &Tensor);
    heaviside heaviside_(values: &Tensor);
    xlogy xlogy_(other: Arg<'_>);
    ldexp ldexp_(other: &Tensor);
    nan_to_num nan_to_num_(nan: Option<f64>, posinf: Option<f64>, neginf: Option<f64>);
    deg2rad deg2rad_();
    rad2deg rad2deg_();
    sinc sinc_();
    sgn sgn_();
    polygamma polygamma_(n: i64);
    mvlgamma mvlgamma_(p: i64);
    square square_();
    logit logit_(eps: Option<f64>);
    round_decimals round_decimals_(decimals: i64);
    bitwise_not bitwise_not_();
    addmm addmm_(a: &Tensor, b: &Tensor, beta: Scalar, alpha: Scalar);
    addmv addmv_(a: &Tensor, x: &Tensor, beta: Scalar, alpha: Scalar);
    addr addr_(a: &Tensor, b: &Tensor, beta: Scalar, alpha: Scalar);
    baddbmm baddbmm_(a: &Tensor, b: &Tensor, beta: Scalar, alpha: Scalar);
    renorm renorm_(p: f64, axis: i64, maxnorm: f64);
    leaky_relu leaky_relu_(slope: f64);
    elu elu_(alpha: f64);
    celu celu_(alpha: f64);
    selu selu_();
    hardtanh hardtanh_(low: f64, high: f64);
    relu6 relu6_();
    hardsigmoid hardsigmoid_();
    hardswish hardswish_();
    mish mish_();
    rrelu rrelu_(lower: f64, upper: f64, training: bool);
    dropout dropout_(p: f64, training: bool);
    channel_dropout channel_dropout_(p: f64, training: bool);
    alpha_dropout alpha_dropout_(p: f64, training: bool);
    channel_alpha_dropout channel_alpha_dropout_(p: f64, training: bool);
}

impl Tensor {
    /// In-place form of [`Tensor::threshold`], also of elements that share memory.
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    #[track_caller]
    pub fn threshold_(&self, limit: f64, value: f64) -> Result<()> {
        let (low, value) = self.below_threshold(limit, value)?;
        self.masked_fill_(&low, value)
    }

    /// In-place form of [`Tensor::float_power`].
    ///
    /// # Errors
    /// Another dtype than f64, that of the result; a leaf that requires grad.
    #[track_caller]
    pub fn float_power_<'a>(&self, exponent: impl Into<Arg<'a>>) -> Result<()> {
        if self.dtype() != kiln_ops::DType::F64 {
            return Err(Error::dtype(
                "float_power_",
                format!(
                    "the base given to float_power_ has dtype {} but the operation's result requires dtype float64",
                    self.dtype()
                ),
            ));
        }
        let exponent = exponent.into();
        self.update("float_power_", &|x| x.float_power(exponent))
    }

    /// In-place form of [`Tensor::logical_not`]: 1 and 0 in this tensor's dtype.
    ///
    /// # Errors
    /// A leaf that requires grad.
    #[track_caller]
    pub fn logical_not_(&self) -> Result<()> {
        self.update("logical_not_", &|x| x.logical_not()?.to_dtype(x.dtype()))
    }
}

impl Tensor {
    /// In-place form of [`Tensor::addbmm`]; a tensor that was broadcast takes the result's shape.
    ///
    /// # Errors
    /// As the out-of-place form; a leaf that requires grad.
    #[track_caller]
    pub fn addbmm_(&self, a: &Tensor, b: &Tensor, beta: Scalar, alpha: Scalar) -> Result<()> {
        if self.rank() >= 2 {
            return self.update("addbmm_", &|x| x.addbmm(a, b, beta, alpha));
        }
        inplace::check("addbmm_", self)?;
        let y = self.addbmm(a, b, beta, alpha)?;
        self.replace_raw(y.raw().clone());
        self.set_source(y.edge());
        crate::tangents::share(&y, self);
        Ok(())
    }

    /// In-place form of [`Tensor::cumsum`].
    ///
    /// # Errors
    /// As the out-of-place form; truth values; a leaf that requires grad.
    #[track_caller]
    pub fn cumsum_(&self, axis: i64) -> Result<()> {
        self.accumulate_over("cumsum_", &|x| x.cumsum(axis))
    }

    /// In-place form of [`Tensor::cumprod`].
    ///
    /// # Errors
    /// As the out-of-place form; truth values; a leaf that requires grad.
    #[track_caller]
    pub fn cumprod_(&self, axis: i64) -> Result<()> {
        self.accumulate_over("cumprod_", &|x| x.cumprod(axis))
    }

    /// An accumulation in place, which keeps narrow integers.
    #[track_caller]
    fn accumulate_over(&self, op: &'static str, f: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
        if self.dtype() == kiln_ops::DType::Bool {
            return Err(Error::dtype(op, "result type int64 can't be cast to the desired output type bool"));
        }
        self.update(op, &|x| f(x)?.to_dtype(x.dtype()))
    }
}
