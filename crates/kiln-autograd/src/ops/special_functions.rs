//! Special functions: a row per function of one number with its derivative, and the functions of two.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use kiln_ops::special::{SpecialBinaryOp, SpecialOp, special_binary, special_binary_};

use crate::arg::Arg;
use crate::ops::elementwise::{Code, Slope, unary_methods};
use crate::record::record;
use crate::{Error, Here, Result, Tensor, inplace};

unary_methods! {
    Special, SpecialOp;
    /// The Airy function Ai, elementwise (`torch.special.airy_ai`). It has no derivative here, as in PyTorch.
    airy_ai airy_ai_: AiryAi, -, |_, ()| no_derivative("airy_ai");
    /// The Bessel function of the first kind of order 0, elementwise (`torch.special.bessel_j0`).
    bessel_j0 bessel_j0_: BesselJ0, x, |g, x| g.mul(&x.bessel_j1()?.neg()?);
    /// The Bessel function of the first kind of order 1, elementwise (`torch.special.bessel_j1`).
    bessel_j1 bessel_j1_: BesselJ1, x, |g, x| g.mul(&x.bessel_j0()?.sub(&over(&x.bessel_j1()?, x, 0.5)?)?);
    /// The Bessel function of the second kind of order 0, elementwise (`torch.special.bessel_y0`).
    bessel_y0 bessel_y0_: BesselY0, x, |g, x| g.mul(&x.bessel_y1()?.neg()?);
    /// The Bessel function of the second kind of order 1, elementwise (`torch.special.bessel_y1`).
    bessel_y1 bessel_y1_: BesselY1, x, |g, x| g.mul(&x.bessel_y0()?.sub(&x.bessel_y1()?.div(x)?)?);
    /// The derivative of ln gamma, elementwise (`torch.digamma`).
    digamma digamma_: Digamma, x, |g, x| g.mul(&x.polygamma(1)?);
    /// `-x ln(x)`, 0 at 0 and minus infinity below, elementwise (`torch.special.entr`).
    entr entr_: Entr, x, |g, x| g.mul(&x.log()?.neg()?.sub(1.0)?);
    /// `e^(x^2) erfc(x)` without overflow, elementwise (`torch.special.erfcx`).
    erfcx erfcx_: Erfcx, x, |g, x| g.mul(&x.mul(2.0)?.mul(&x.erfcx()?)?.sub(FRAC_2_SQRT_PI)?);
    /// The inverse of [`Tensor::erf`], elementwise (`torch.erfinv`).
    erfinv erfinv_: Erfinv, y, |g, y| g.mul(&y.mul(y)?.exp()?.mul(1.0 / FRAC_2_SQRT_PI)?);
    /// The modified Bessel function of the first kind of order 0, elementwise (`torch.i0`,
    /// `torch.special.modified_bessel_i0`).
    i0 i0_: I0, x, |g, x| g.mul(&x.i1()?);
    /// `e^-|x|` times [`Tensor::i0`], elementwise (`torch.special.i0e`).
    i0e i0e_: I0e, x, |g, x| g.mul(&x.i1e()?.sub(&x.sign()?.mul(&x.i0e()?)?)?);
    /// The modified Bessel function of the first kind of order 1, elementwise (`torch.special.i1`,
    /// `torch.special.modified_bessel_i1`).
    i1 i1_: I1, x, |g, x| g.mul(&x.i0()?.sub(&over(&x.i1()?, x, 0.5)?)?);
    /// `e^-|x|` times [`Tensor::i1`], elementwise (`torch.special.i1e`).
    i1e i1e_: I1e, x, |g, x| {
        let y = x.i1e()?;
        g.mul(&x.i0e()?.sub(&x.sign()?.mul(&y)?)?.sub(&over(&y, x, 0.5)?)?)
    };
    /// `ln |gamma(x)|`, elementwise (`torch.lgamma`).
    lgamma lgamma_: Lgamma, x, |g, x| g.mul(&x.digamma()?);
    /// The logarithm of [`Tensor::ndtr`], elementwise, also where that is too small to be a number
    /// (`torch.special.log_ndtr`).
    log_ndtr log_ndtr_: LogNdtr, x, |g, x| {
        g.div(&x.mul(-FRAC_1_SQRT_2)?.erfcx()?)?.mul((2.0 / PI).sqrt())
    };
    /// The modified Bessel function of the second kind of order 0, elementwise (`torch.special.modified_bessel_k0`).
    modified_bessel_k0 modified_bessel_k0_: K0, x, |g, x| g.mul(&x.modified_bessel_k1()?.neg()?);
    /// The modified Bessel function of the second kind of order 1, elementwise (`torch.special.modified_bessel_k1`).
    modified_bessel_k1 modified_bessel_k1_: K1, x, |g, x| {
        g.mul(&x.modified_bessel_k0()?.add(&x.modified_bessel_k1()?.div(x)?)?.neg()?)
    };
    /// P(N <= x) of a standard normal N, elementwise (`torch.special.ndtr`).
    ndtr ndtr_: Ndtr, x, |g, x| g.mul(&x.mul(x)?.mul(-0.5)?.exp()?.mul(1.0 / (2.0 * PI).sqrt())?);
    /// The inverse of [`Tensor::ndtr`], elementwise (`torch.special.ndtri`).
    ndtri ndtri_: Ndtri, y, |g, y| g.mul(&y.mul(y)?.mul(0.5)?.exp()?.mul((2.0 * PI).sqrt())?);
    /// `e^x` times [`Tensor::modified_bessel_k0`], elementwise (`torch.special.scaled_modified_bessel_k0`).
    scaled_modified_bessel_k0 scaled_modified_bessel_k0_: K0e, x, |g, x| {
        g.mul(&x.scaled_modified_bessel_k0()?.sub(&x.scaled_modified_bessel_k1()?)?)
    };
    /// `e^x` times [`Tensor::modified_bessel_k1`], elementwise (`torch.special.scaled_modified_bessel_k1`).
    scaled_modified_bessel_k1 scaled_modified_bessel_k1_: K1e, x, |g, x| {
        let y = x.scaled_modified_bessel_k1()?;
        g.mul(&y.sub(&y.div(x)?)?.sub(&x.scaled_modified_bessel_k0()?)?)
    };
    /// `sin(x) / x`, elementwise (`torch.special.spherical_bessel_j0`).
    spherical_bessel_j0 spherical_bessel_j0_: SphericalJ0, x, |g, x| {
        g.mul(&over(&x.cos()?.sub(&x.spherical_bessel_j0()?)?, x, 0.0)?)
    };
}

/// `y / x`, with its limit where x is 0.
#[track_caller]
fn over(y: &Tensor, x: &Tensor, limit: f64) -> Result<Tensor> {
    let zero = x.eq(0.0)?;
    y.div(&x.masked_fill(&zero, 1.0)?)?.masked_fill(&zero, limit)
}

/// Says that PyTorch has no derivative here either.
#[track_caller]
pub(crate) fn no_derivative(op: &'static str) -> Result<Tensor> {
    Err(Error::autograd(
        op,
        "the derivative with respect to this input is not implemented, as in PyTorch; detach() it",
    ))
}

impl Tensor {
    /// A function of two operands with the derivative with respect to each: functions of the gradient and both operands.
    #[track_caller]
    fn special_binary(
        &self,
        code: SpecialBinaryOp,
        name: &'static str,
        other: &Tensor,
        first: fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
        second: fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let y = special_binary(code, &*self.raw(), &*other.raw()).here()?;
        Ok(record(name, y)
            .input(self, || {
                let (a, b) = (self.save(), other.save());
                move |g: &Tensor| first(g, &a.get()?, &b.get()?)
            })
            .input(other, || {
                let (a, b) = (self.save(), other.save());
                move |g: &Tensor| second(g, &a.get()?, &b.get()?)
            })
            .done())
    }

    /// The regularized lower incomplete gamma function P(self, x) (`torch.igamma`, `torch.special.gammainc`).
    ///
    /// There is no derivative with respect to `self`, as in PyTorch.
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn igamma(&self, x: &Tensor) -> Result<Tensor> {
        let second = |g: &Tensor, a: &Tensor, x: &Tensor| g.mul(&gamma_density(a, x)?);
        self.special_binary(
            SpecialBinaryOp::Igamma,
            "IgammaBackward0",
            x,
            |_, _, _| no_derivative("igamma"),
            second,
        )
    }

    /// The regularized upper incomplete gamma function Q(self, x) = 1 - P (`torch.igammac`, `torch.special.gammaincc`).
    ///
    /// There is no derivative with respect to `self`, as in PyTorch.
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn igammac(&self, x: &Tensor) -> Result<Tensor> {
        let second = |g: &Tensor, a: &Tensor, x: &Tensor| g.mul(&gamma_density(a, x)?)?.neg();
        self.special_binary(
            SpecialBinaryOp::Igammac,
            "IgammacBackward0",
            x,
            |_, _, _| no_derivative("igammac"),
            second,
        )
    }

    /// In-place form of [`Tensor::igamma`].
    ///
    /// # Errors
    /// As the out-of-place form; a tensor that requires grad, which has no derivative here.
    #[track_caller]
    pub fn igamma_(&self, x: &Tensor) -> Result<()> {
        self.special_binary_in_place(SpecialBinaryOp::Igamma, x)
    }

    /// In-place form of [`Tensor::igammac`].
    ///
    /// # Errors
    /// As the out-of-place form; a tensor that requires grad, which has no derivative here.
    #[track_caller]
    pub fn igammac_(&self, x: &Tensor) -> Result<()> {
        self.special_binary_in_place(SpecialBinaryOp::Igammac, x)
    }

    #[track_caller]
    fn special_binary_in_place(&self, code: SpecialBinaryOp, other: &Tensor) -> Result<()> {
        inplace::check(code.name(), self)?;
        if Tensor::any_requires_grad(&[self, other]) {
            return no_derivative(code.name()).map(drop);
        }
        special_binary_(code, &self.raw(), &*other.raw()).here()
    }

    /// `self * ln(1 + other)`, 0 where `self` is 0 (`torch.special.xlog1py`).
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn xlog1py<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        let other = other.into();
        let dtype = kiln_ops::to_float(self.joint_dtype(other));
        let (x, y) = (self.to_dtype(dtype)?, self.to_operand(other, dtype)?.to_dtype(dtype)?);
        let first = |g: &Tensor, x: &Tensor, y: &Tensor| {
            let flat = x.eq(0.0)?.logical_and(&y.le(-1.0)?)?;
            g.mul(&y.log1p()?.masked_fill(&flat, 0.0)?)
        };
        let second = |g: &Tensor, x: &Tensor, y: &Tensor| g.mul(x)?.div(&y.add(1.0)?);
        x.special_binary(SpecialBinaryOp::Xlog1py, "SpecialXlog1PyBackward0", &y, first, second)
    }

    /// Hurwitz's zeta function: the sum of `(q + k)^-self` over all k from 0 on (`torch.special.zeta`).
    ///
    /// There is no derivative with respect to `self`, as in PyTorch.
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices.
    #[track_caller]
    pub fn zeta<'a>(&self, q: impl Into<Arg<'a>>) -> Result<Tensor> {
        let q = q.into();
        let dtype = kiln_ops::to_float(self.joint_dtype(q));
        let q = self.to_operand(q, dtype)?;
        let second = |g: &Tensor, s: &Tensor, q: &Tensor| g.mul(&s.add(1.0)?.zeta(q)?.mul(s)?.neg()?);
        self.special_binary(
            SpecialBinaryOp::Zeta,
            "SpecialZetaBackward0",
            &q,
            |_, _, _| no_derivative("zeta"),
            second,
        )
    }
}

/// The slope of P(a, x) in x: x^(a-1) e^-x / gamma(a).
#[track_caller]
fn gamma_density(a: &Tensor, x: &Tensor) -> Result<Tensor> {
    a.sub(1.0)?.mul(&x.log()?)?.sub(x)?.sub(&a.lgamma()?)?.exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::F64;

    /// The derivative of each function of one number against differences of its values.
    #[test]
    fn slopes_are_those_of_the_values() -> Result<()> {
        let functions: &[(&str, fn(&Tensor) -> Result<Tensor>)] = &[
            ("bessel_j0", Tensor::bessel_j0),
            ("bessel_j1", Tensor::bessel_j1),
            ("bessel_y0", Tensor::bessel_y0),
            ("bessel_y1", Tensor::bessel_y1),
            ("entr", Tensor::entr),
            ("erfcx", Tensor::erfcx),
            ("i0e", Tensor::i0e),
            ("i1e", Tensor::i1e),
            ("i1", Tensor::i1),
            ("k0e", Tensor::scaled_modified_bessel_k0),
            ("k1e", Tensor::scaled_modified_bessel_k1),
            ("k1", Tensor::modified_bessel_k1),
            ("log_ndtr", Tensor::log_ndtr),
            ("ndtri", Tensor::ndtri),
            ("spherical_j0", Tensor::spherical_bessel_j0),
        ];
        let values = [0.2f64, 0.45, 0.8];
        let step = 1e-5;
        for (name, f) in functions {
            let at =
                |shift: f64| f(&Tensor::from_vec(values.map(|v| v + shift).to_vec(), [3])?)?.to_vec::<f64>();
            let (above, below) = (at(step)?, at(-step)?);
            let x = Tensor::from_vec(values.to_vec(), [3])?.requires_grad_(true)?;
            f(&x)?.sum()?.backward()?;
            let slopes = x.grad().expect("a gradient").to_dtype(F64)?.to_vec::<f64>()?;
            for i in 0..3 {
                let want = (above[i] - below[i]) / (2.0 * step);
                assert!(
                    (slopes[i] - want).abs() < 1e-6 * want.abs().max(1.0),
                    "{name}: {} {want}",
                    slopes[i]
                );
            }
        }
        Ok(())
    }
}
