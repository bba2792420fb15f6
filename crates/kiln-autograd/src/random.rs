//! Random tensors: PyTorch's CPU streams, value for value.
//!
//! After [`manual_seed`] the same calls give what PyTorch gives on the CPU; on other devices they give the same too, since
//! the host draws. Every draw has a form that takes a [`Generator`] of its own as the last argument.
//!
//! ```
//! use kiln_autograd::{Tensor, manual_seed};
//! manual_seed(0);
//! assert_eq!(Tensor::rand([2, 2]).to_string(), "tensor([[0.4963, 0.7682],\n        [0.0885, 0.1320]])");
//! ```

use std::ops::{Range, RangeFrom, RangeFull};

pub use kiln_ops::random::{Generator, initial_seed, manual_seed, seed};
use kiln_ops::random::{STATE_LEN, default_generator};
use kiln_ops::{DType, Distribution, Shape, Source, broadcast_shapes};

use crate::create::{finish, try_finish};
use crate::record::record;
use crate::{Arg, Here, Result, Tensor, TensorOptions, inplace, no_grad};

/// The state of the default generator as 5056 bytes (`torch.get_rng_state`).
#[track_caller]
pub fn get_rng_state() -> Tensor {
    Tensor::from(default_generator().get_state())
}

/// Continues the default generator from a state that [`get_rng_state`] or PyTorch gave (`torch.set_rng_state`).
///
/// # Errors
/// The tensor does not hold the bytes of a state.
#[track_caller]
pub fn set_rng_state(state: &Tensor) -> Result<()> {
    let bytes = state.to_vec::<u8>()?;
    Ok(default_generator().set_state(&bytes)?)
}

/// Runs `f` and then puts the default generator back where it was (`torch.random.fork_rng`).
///
/// ```
/// use kiln_autograd::{Tensor, fork_rng, manual_seed};
/// manual_seed(0);
/// let inside = fork_rng(|| Tensor::rand(3));
/// assert_eq!(Tensor::rand(3).to_vec::<f32>()?, inside.to_vec::<f32>()?);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
pub fn fork_rng<R>(f: impl FnOnce() -> R) -> R {
    /// Restores the generator also when `f` panics.
    struct Restore(Generator);
    impl Drop for Restore {
        fn drop(&mut self) {
            std::mem::swap(&mut *default_generator(), &mut self.0);
        }
    }
    let _restore = Restore(default_generator().clone());
    f()
}

/// The bytes of a saved state, PyTorch's.
pub const RNG_STATE_LEN: usize = STATE_LEN;

#[track_caller]
fn drawn(
    shape: &Shape,
    distribution: Distribution,
    dtype: DType,
    options: TensorOptions,
    source: Source<'_>,
) -> Result<Tensor> {
    let dtype = options.dtype.unwrap_or(dtype);
    try_finish(kiln_ops::draw(shape, distribution, dtype, options.device, source), options)
}

/// As [`drawn`] with the default float dtype, for constructors of a shape.
#[track_caller]
fn floats(shape: &Shape, distribution: Distribution, options: TensorOptions, source: Source<'_>) -> Tensor {
    match drawn(shape, distribution, kiln_ops::default_dtype(), options, source) {
        Ok(t) => t,
        Err(error) => panic!("{}", error.kind()),
    }
}

#[track_caller]
fn permutation(n: usize, options: TensorOptions, source: Source<'_>) -> Tensor {
    let dtype = options.dtype.unwrap_or(DType::I64);
    finish(kiln_ops::randperm(n, dtype, options.device, source), options)
}

/// Constructors of a shape alone, with their forms with options, with a generator, and like another tensor.
macro_rules! of_a_shape {
    ($($(#[$doc:meta])* $name:ident $with:ident $generator:ident $like:ident: $distribution:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Panics
                /// The size overflows or the memory is not there.
                #[track_caller]
                pub fn $name(shape: impl Into<Shape>) -> Tensor {
                    Tensor::$with(shape, TensorOptions::new())
                }

                #[doc = concat!("[`Tensor::", stringify!($name), "`] with a dtype, a device or [`TensorOptions`].")]
                ///
                /// # Panics
                /// As the plain form; the options make no sense.
                #[track_caller]
                pub fn $with(shape: impl Into<Shape>, options: impl Into<TensorOptions>) -> Tensor {
                    floats(&shape.into(), $distribution, options.into(), Source::Default)
                }

                #[doc = concat!("[`Tensor::", stringify!($with), "`] drawn from a generator of the caller's.")]
                ///
                /// # Panics
                /// As the plain form; the options make no sense.
                #[track_caller]
                pub fn $generator(
                    shape: impl Into<Shape>,
                    options: impl Into<TensorOptions>,
                    generator: &mut Generator,
                ) -> Tensor {
                    floats(&shape.into(), $distribution, options.into(), generator.into())
                }

                #[doc = concat!("[`Tensor::", stringify!($name), "`] in this tensor's shape, dtype and device (`torch.", stringify!($like), "`).")]
                ///
                /// # Errors
                /// The dtype is not floating point, or the memory is not there.
                #[track_caller]
                pub fn $like(&self) -> Result<Tensor> {
                    self.drawn_like($distribution)
                }
            )*
        }
    };
}

of_a_shape! {
    /// Numbers spread evenly over `[0, 1)` (`torch.rand`).
    ///
    /// ```
    /// use kiln_autograd::{Tensor, manual_seed};
    /// manual_seed(0);
    /// assert_eq!(Tensor::rand(2).to_vec::<f32>()?, [0.49625659, 0.7682218]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    rand rand_with rand_generator rand_like: Distribution::Uniform(0.0, 1.0);
    /// Standard normal numbers (`torch.randn`).
    ///
    /// ```
    /// use kiln_autograd::{Tensor, manual_seed};
    /// manual_seed(1);
    /// assert_eq!(Tensor::randn(2).to_string(), "tensor([0.6614, 0.2669])");
    /// ```
    randn randn_with randn_generator randn_like: Distribution::Normal(0.0, 1.0);
}

impl Tensor {
    #[track_caller]
    fn drawn_like(&self, distribution: Distribution) -> Result<Tensor> {
        let raw = self.raw();
        let out = kiln_ops::uninit_like(distribution.name(), &raw).here()?;
        kiln_ops::draw_(&out, distribution, Source::Default).here()?;
        Ok(Tensor::from_raw(out))
    }

    /// Integers from `low` up to but without `high`, as int64 (`torch.randint`).
    ///
    /// ```
    /// use kiln_autograd::{Tensor, manual_seed};
    /// manual_seed(0);
    /// assert_eq!(Tensor::randint(0, 10, [5])?.to_vec::<i64>()?, [4, 9, 3, 0, 3]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// `low` is not below `high`; the memory is not there.
    #[track_caller]
    pub fn randint(low: i64, high: i64, shape: impl Into<Shape>) -> Result<Tensor> {
        Tensor::randint_with(low, high, shape, TensorOptions::new())
    }

    /// [`Tensor::randint`] with a dtype, a device or [`TensorOptions`].
    ///
    /// # Errors
    /// As the plain form; bounds that the dtype cannot hold; options that make no sense.
    #[track_caller]
    pub fn randint_with(
        low: i64,
        high: i64,
        shape: impl Into<Shape>,
        options: impl Into<TensorOptions>,
    ) -> Result<Tensor> {
        drawn(&shape.into(), Distribution::Integers(low, high), DType::I64, options.into(), Source::Default)
    }

    /// [`Tensor::randint_with`] drawn from a generator of the caller's.
    ///
    /// # Errors
    /// As [`Tensor::randint_with`].
    #[track_caller]
    pub fn randint_generator(
        low: i64,
        high: i64,
        shape: impl Into<Shape>,
        options: impl Into<TensorOptions>,
        generator: &mut Generator,
    ) -> Result<Tensor> {
        drawn(&shape.into(), Distribution::Integers(low, high), DType::I64, options.into(), generator.into())
    }

    /// Integers from `low` up to but without `high` in this tensor's shape, dtype and device (`torch.randint_like`).
    ///
    /// # Errors
    /// As [`Tensor::randint_with`].
    #[track_caller]
    pub fn randint_like(&self, low: i64, high: i64) -> Result<Tensor> {
        self.drawn_like(Distribution::Integers(low, high))
    }

    /// The numbers below `n` in random order, as int64 (`torch.randperm`).
    ///
    /// ```
    /// use kiln_autograd::{Tensor, manual_seed};
    /// manual_seed(0);
    /// assert_eq!(Tensor::randperm(5).to_vec::<i64>()?, [4, 0, 1, 3, 2]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Panics
    /// The memory is not there.
    #[track_caller]
    pub fn randperm(n: usize) -> Tensor {
        Tensor::randperm_with(n, TensorOptions::new())
    }

    /// [`Tensor::randperm`] with a dtype, a device or [`TensorOptions`].
    ///
    /// # Panics
    /// As the plain form; the dtype cannot hold the largest number; options that make no sense.
    #[track_caller]
    pub fn randperm_with(n: usize, options: impl Into<TensorOptions>) -> Tensor {
        permutation(n, options.into(), Source::Default)
    }

    /// [`Tensor::randperm_with`] drawn from a generator of the caller's.
    ///
    /// # Panics
    /// As [`Tensor::randperm_with`].
    #[track_caller]
    pub fn randperm_generator(
        n: usize,
        options: impl Into<TensorOptions>,
        generator: &mut Generator,
    ) -> Tensor {
        permutation(n, options.into(), generator.into())
    }

    /// Normal numbers of one mean and standard deviation (`torch.normal(mean, std, size)`).
    ///
    /// # Errors
    /// A negative `std`; the memory is not there.
    #[track_caller]
    pub fn normal(mean: f64, std: f64, shape: impl Into<Shape>) -> Result<Tensor> {
        Tensor::normal_with(mean, std, shape, TensorOptions::new())
    }

    /// [`Tensor::normal`] with a dtype, a device or [`TensorOptions`].
    ///
    /// # Errors
    /// As the plain form; options that make no sense.
    #[track_caller]
    pub fn normal_with(
        mean: f64,
        std: f64,
        shape: impl Into<Shape>,
        options: impl Into<TensorOptions>,
    ) -> Result<Tensor> {
        let normal = Distribution::Normal(mean, std);
        drawn(&shape.into(), normal, kiln_ops::default_dtype(), options.into(), Source::Default)
    }

    /// [`Tensor::normal_with`] drawn from a generator of the caller's.
    ///
    /// # Errors
    /// As [`Tensor::normal_with`].
    #[track_caller]
    pub fn normal_generator(
        mean: f64,
        std: f64,
        shape: impl Into<Shape>,
        options: impl Into<TensorOptions>,
        generator: &mut Generator,
    ) -> Result<Tensor> {
        let normal = Distribution::Normal(mean, std);
        drawn(&shape.into(), normal, kiln_ops::default_dtype(), options.into(), generator.into())
    }

    /// Normal numbers, each of its own mean and standard deviation: tensors, of which one may be a number
    /// (`torch.normal(mean, std)`). The result has no history.
    ///
    /// # Errors
    /// Tensors that are not floating point or do not broadcast; a negative standard deviation.
    #[track_caller]
    pub fn normal_of<'a>(mean: impl Into<Arg<'a>>, std: impl Into<Arg<'a>>) -> Result<Tensor> {
        const OP: &str = "normal";
        match (mean.into(), std.into()) {
            (Arg::Scalar(mean), Arg::Scalar(std)) => Tensor::normal(mean.to_f64(), std.to_f64(), ()),
            (Arg::Tensor(mean), Arg::Scalar(std)) => no_grad(|| {
                let out = Tensor::normal_with(0.0, std.to_f64(), mean.shape(), mean)?;
                out.add_(mean)?;
                Ok(out)
            })
            .here(),
            (mean, Arg::Tensor(std)) => no_grad(|| {
                let signs = std.lt(0.0)?.any()?.item()?;
                if signs.is_true() {
                    return Err(crate::Error::value(OP, "expects all elements of std >= 0.0"));
                }
                let shape = match mean {
                    Arg::Tensor(m) => broadcast_shapes(OP, &m.shape(), &std.shape()).here()?,
                    Arg::Scalar(_) => std.shape(),
                };
                let out = Tensor::normal_with(0.0, 1.0, shape, std)?;
                out.mul_(std)?;
                out.add_(mean)?;
                Ok(out)
            })
            .here(),
        }
    }

    /// 1 with the probability that each element says, else 0 (`torch.bernoulli`).
    ///
    /// # Errors
    /// Elements outside of `[0, 1]`, or not floating point.
    #[track_caller]
    pub fn bernoulli(&self) -> Result<Tensor> {
        self.bernoulli_from(Source::Default)
    }

    /// [`Tensor::bernoulli`] drawn from a generator of the caller's.
    ///
    /// # Errors
    /// As [`Tensor::bernoulli`].
    #[track_caller]
    pub fn bernoulli_generator(&self, generator: &mut Generator) -> Result<Tensor> {
        self.bernoulli_from(generator.into())
    }

    #[track_caller]
    fn bernoulli_from(&self, source: Source<'_>) -> Result<Tensor> {
        let raw = self.raw();
        let out = kiln_ops::full(raw.shape(), 0.into(), raw.dtype(), raw.device()).here()?;
        kiln_ops::bernoulli_(&out, &raw, source).here()?;
        Ok(record("BernoulliBackward0", out).input(self, || |g: &Tensor| g.zeros_like()).done())
    }

    /// `count` categories for each row of weights, as int64 (`torch.multinomial`).
    ///
    /// ```
    /// use kiln_autograd::{manual_seed, tensor};
    /// manual_seed(0);
    /// assert_eq!(tensor![0., 10., 3., 0.].multinomial(2, false)?.to_vec::<i64>()?, [1, 2]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Weights that are no distribution; without replacement, more samples than categories.
    #[track_caller]
    pub fn multinomial(&self, count: usize, replacement: bool) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::multinomial(&self.raw(), count, replacement, Source::Default).here()?))
    }

    /// [`Tensor::multinomial`] drawn from a generator of the caller's.
    ///
    /// # Errors
    /// As [`Tensor::multinomial`].
    #[track_caller]
    pub fn multinomial_generator(
        &self,
        count: usize,
        replacement: bool,
        generator: &mut Generator,
    ) -> Result<Tensor> {
        Ok(Tensor::from_raw(kiln_ops::multinomial(&self.raw(), count, replacement, generator.into()).here()?))
    }

    /// What dropout of probability `p` multiplies this tensor by: 0 with probability `p`, else `1 / (1 - p)`.
    ///
    /// # Errors
    /// `p` outside of `[0, 1]`, or a tensor that is not floating point.
    #[track_caller]
    pub fn dropout_mask(&self, p: f64) -> Result<Tensor> {
        self.drawn_like(Distribution::DropoutMask(p))
    }

    /// Fills the tensor with draws and cuts its history: nothing of the old values is left to have a gradient.
    #[track_caller]
    fn drawn_in_place(
        &self,
        name: &'static str,
        distribution: Distribution,
        source: Source<'_>,
    ) -> Result<()> {
        inplace::check(distribution.name(), self)?;
        kiln_ops::draw_(&self.raw(), distribution, source).here()?;
        self.record_overwritten(name)
    }

    #[track_caller]
    fn record_overwritten(&self, name: &'static str) -> Result<()> {
        if !Tensor::any_requires_grad(&[self]) {
            return Ok(());
        }
        record(name, self.raw().clone()).input(self, || |g: &Tensor| g.zeros_like()).done_in_place(self)
    }

    /// Fills the tensor with 1 and 0; `p`, the probability of 1, is a number or a tensor that broadcasts
    /// (`Tensor.bernoulli_`).
    ///
    /// # Errors
    /// Probabilities outside of `[0, 1]`; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn bernoulli_<'a>(&self, p: impl Into<Arg<'a>>) -> Result<()> {
        self.bernoulli_from_(p.into(), Source::Default)
    }

    /// [`Tensor::bernoulli_`] drawn from a generator of the caller's.
    ///
    /// # Errors
    /// As [`Tensor::bernoulli_`].
    #[track_caller]
    pub fn bernoulli_generator_<'a>(&self, p: impl Into<Arg<'a>>, generator: &mut Generator) -> Result<()> {
        self.bernoulli_from_(p.into(), generator.into())
    }

    #[track_caller]
    fn bernoulli_from_(&self, p: Arg<'_>, source: Source<'_>) -> Result<()> {
        match p {
            Arg::Scalar(p) => {
                self.drawn_in_place("BernoulliBackward1", Distribution::Bernoulli(p.to_f64()), source)
            }
            Arg::Tensor(p) => {
                inplace::check("bernoulli_", self)?;
                kiln_ops::bernoulli_(&self.raw(), &p.raw(), source).here()?;
                self.record_overwritten("BernoulliBackward2")
            }
        }
    }

    /// Fills the tensor with integers of a range (`Tensor.random_`): `..` for all that the dtype holds exactly, `5..` for
    /// those from 5 on, `0..10`.
    ///
    /// # Errors
    /// An empty range or one that the dtype cannot hold; a leaf that requires grad; elements that share memory.
    #[track_caller]
    pub fn random_(&self, range: impl Into<Integers>) -> Result<()> {
        self.drawn_in_place("RandomBackward0", range.into().0, Source::Default)
    }

    /// [`Tensor::random_`] drawn from a generator of the caller's.
    ///
    /// # Errors
    /// As [`Tensor::random_`].
    #[track_caller]
    pub fn random_generator_(&self, range: impl Into<Integers>, generator: &mut Generator) -> Result<()> {
        self.drawn_in_place("RandomBackward0", range.into().0, generator.into())
    }
}

/// The range of [`Tensor::random_`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Integers(Distribution);

macro_rules! integers_from {
    ($($t:ty)*) => {$(
        impl From<Range<$t>> for Integers {
            fn from(r: Range<$t>) -> Integers {
                Integers(Distribution::Integers(r.start as i64, r.end as i64))
            }
        }
        impl From<RangeFrom<$t>> for Integers {
            fn from(r: RangeFrom<$t>) -> Integers {
                Integers(Distribution::IntegersFrom(r.start as i64))
            }
        }
    )*};
}
integers_from!(i32 i64);

impl From<RangeFull> for Integers {
    fn from(_: RangeFull) -> Integers {
        Integers(Distribution::AllIntegers)
    }
}

/// Fills in place, with the forms with a generator.
macro_rules! in_place {
    ($($(#[$doc:meta])* $name:ident $generator:ident ($($p:ident),*): $Variant:ident, $node:literal;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Parameters that make no sense or a dtype without such numbers; a leaf that requires grad; elements that
                /// share memory.
                #[track_caller]
                pub fn $name(&self, $($p: f64),*) -> Result<()> {
                    self.drawn_in_place($node, Distribution::$Variant($($p),*), Source::Default)
                }

                #[doc = concat!("[`Tensor::", stringify!($name), "`] drawn from a generator of the caller's.")]
                ///
                /// # Errors
                /// As the plain form.
                #[track_caller]
                pub fn $generator(&self, $($p: f64,)* generator: &mut Generator) -> Result<()> {
                    self.drawn_in_place($node, Distribution::$Variant($($p),*), generator.into())
                }
            )*
        }
    };
}

in_place! {
    /// Fills the tensor with numbers spread evenly over `[from, to)` (`Tensor.uniform_`).
    ///
    /// ```
    /// use kiln_autograd::{Tensor, manual_seed};
    /// let x = Tensor::empty(2);
    /// manual_seed(0);
    /// x.uniform_(-1.0, 1.0)?;
    /// assert_eq!(x.to_string(), "tensor([-0.0075,  0.5364])");
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    uniform_ uniform_generator_ (from, to): Uniform, "UniformBackward0";
    /// Fills the tensor with normal numbers (`Tensor.normal_`).
    normal_ normal_generator_ (mean, std): Normal, "NormalBackward0";
    /// Fills the tensor with exponentials of normal numbers (`Tensor.log_normal_`).
    log_normal_ log_normal_generator_ (mean, std): LogNormal, "LogNormalBackward0";
    /// Fills the tensor with exponentially distributed numbers of rate `lambd` (`Tensor.exponential_`).
    exponential_ exponential_generator_ (lambd): Exponential, "ExponentialBackward0";
    /// Fills the tensor with Cauchy numbers (`Tensor.cauchy_`).
    cauchy_ cauchy_generator_ (median, sigma): Cauchy, "CauchyBackward0";
    /// Fills the tensor with numbers of trials up to the first success of probability `p` (`Tensor.geometric_`).
    geometric_ geometric_generator_ (p): Geometric, "GeometricBackward0";
}
