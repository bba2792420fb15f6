//! Special functions of mathematics, elementwise.
//!
//! They are rare, and each element costs a series or a recurrence, so that every dtype is computed in double precision
//! by one loop that calls a function: a row here costs next to nothing to compile.

use kiln_storage::{DType, RawTensor, Result};

use crate::backend::{run, uninit};
use crate::cpu::special as host;
use crate::elementwise::{Operand, Pair};
use crate::op::Op;
use crate::promotion;
use crate::rules::check_in_place;

/// Declares an enum of functions: their names in messages, and the host's function for each.
macro_rules! functions {
    ($(#[$doc:meta])* enum $name:ident: $function:ty { $($(#[$vdoc:meta])* $variant:ident $text:literal $path:path;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// PyTorch's name, without the module.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The function of one element on the host.
            pub(crate) fn function(self) -> $function {
                match self { $($name::$variant => $path,)* }
            }
        }
    };
}

functions! {
    /// Functions of one number; integers are converted to the default float dtype.
    enum SpecialOp: fn(f64) -> f64 {
        /// The Airy function Ai.
        AiryAi "airy_ai" host::airy_ai;
        /// The Bessel function of the first kind, of order 0.
        BesselJ0 "bessel_j0" host::bessel_j0;
        /// The Bessel function of the first kind, of order 1.
        BesselJ1 "bessel_j1" host::bessel_j1;
        /// The Bessel function of the second kind, of order 0.
        BesselY0 "bessel_y0" host::bessel_y0;
        /// The Bessel function of the second kind, of order 1.
        BesselY1 "bessel_y1" host::bessel_y1;
        /// The derivative of ln gamma(x).
        Digamma "digamma" host::digamma;
        /// -x ln(x), 0 at 0.
        Entr "entr" host::entr;
        /// e^(x^2) erfc(x).
        Erfcx "erfcx" host::erfcx;
        /// The inverse of erf.
        Erfinv "erfinv" host::erfinv;
        /// The modified Bessel function of the first kind, of order 0.
        I0 "i0" host::bessel_i0;
        /// e^-|x| times that.
        I0e "i0e" host::i0e;
        /// The modified Bessel function of the first kind, of order 1.
        I1 "i1" host::i1;
        /// e^-|x| times that.
        I1e "i1e" host::i1e;
        /// The modified Bessel function of the second kind, of order 0.
        K0 "modified_bessel_k0" host::k0;
        /// e^x times that.
        K0e "scaled_modified_bessel_k0" host::k0e;
        /// The modified Bessel function of the second kind, of order 1.
        K1 "modified_bessel_k1" host::k1;
        /// e^x times that.
        K1e "scaled_modified_bessel_k1" host::k1e;
        /// ln |gamma(x)|.
        Lgamma "lgamma" host::lgamma;
        /// The logarithm of the normal distribution function.
        LogNdtr "log_ndtr" host::log_ndtr;
        /// The normal distribution function.
        Ndtr "ndtr" host::ndtr;
        /// The inverse of the normal distribution function.
        Ndtri "ndtri" host::ndtri;
        /// sin(x) / x.
        SphericalJ0 "spherical_bessel_j0" host::spherical_j0;
    }
}

functions! {
    /// Functions of two numbers; integers are converted to the default float dtype.
    enum SpecialBinaryOp: fn(f64, f64) -> f64 {
        /// The regularized lower incomplete gamma function P(a, x).
        Igamma "igamma" host::igamma;
        /// The regularized upper incomplete gamma function Q(a, x).
        Igammac "igammac" host::igammac;
        /// a ln(1 + b), 0 where a is 0.
        Xlog1py "xlog1py" host::xlog1py;
        /// The sum of (b + k)^-a over all k from 0 on: Hurwitz's zeta function.
        Zeta "zeta" host::zeta;
        /// Chebyshev's polynomials of the first kind, T.
        ChebyshevT "chebyshev_polynomial_t" host::chebyshev_t;
        /// Chebyshev's polynomials of the second kind, U.
        ChebyshevU "chebyshev_polynomial_u" host::chebyshev_u;
        /// Chebyshev's polynomials of the third kind, V.
        ChebyshevV "chebyshev_polynomial_v" host::chebyshev_v;
        /// Chebyshev's polynomials of the fourth kind, W.
        ChebyshevW "chebyshev_polynomial_w" host::chebyshev_w;
        /// T at 2x - 1.
        ShiftedT "shifted_chebyshev_polynomial_t" host::shifted_t;
        /// U at 2x - 1.
        ShiftedU "shifted_chebyshev_polynomial_u" host::shifted_u;
        /// V at 2x - 1.
        ShiftedV "shifted_chebyshev_polynomial_v" host::shifted_v;
        /// W at 2x - 1.
        ShiftedW "shifted_chebyshev_polynomial_w" host::shifted_w;
        /// The physicists' Hermite polynomials.
        HermiteH "hermite_polynomial_h" host::hermite_h;
        /// The probabilists' Hermite polynomials.
        HermiteHe "hermite_polynomial_he" host::hermite_he;
        /// Laguerre's polynomials.
        LaguerreL "laguerre_polynomial_l" host::laguerre_l;
        /// Legendre's polynomials.
        LegendreP "legendre_polynomial_p" host::legendre_p;
    }
}

impl SpecialOp {
    /// [`Self::function`] for results of `dtype`.
    pub(crate) fn function_for(self, dtype: DType) -> fn(f64) -> f64 {
        match (self, dtype) {
            (Self::AiryAi, DType::F32) => host::airy_ai_single,
            (Self::BesselJ0, DType::F32) => host::bessel_j0_single,
            (Self::BesselJ1, DType::F32) => host::bessel_j1_single,
            (Self::BesselY0, DType::F32) => host::bessel_y0_single,
            (Self::BesselY1, DType::F32) => host::bessel_y1_single,
            _ => self.function(),
        }
    }
}

/// A special function of each element.
///
/// # Errors
/// Memory that is lent out or not there.
pub fn special(code: SpecialOp, x: &RawTensor) -> Result<RawTensor> {
    let out = uninit(code.name(), x.shape(), promotion::to_float(x.dtype()), x.device())?;
    run(code.name(), &Op::Special(code), &[x], &[&out])?;
    Ok(out)
}

/// [`special`] written into its operand.
///
/// # Errors
/// The operand is not floating point, or its elements share memory.
pub fn special_(code: SpecialOp, x: &RawTensor) -> Result<()> {
    check_in_place(code.name(), x, promotion::to_float(x.dtype()), x.shape())?;
    run(code.name(), &Op::Special(code), &[x], &[x])?;
    x.bump_version();
    Ok(())
}

/// A special function of two operands, with broadcasting and promotion. Polynomials take the degree as the second one.
///
/// # Errors
/// Shapes that do not broadcast, different devices.
pub fn special_binary<'a>(
    code: SpecialBinaryOp,
    a: impl Into<Operand<'a>>,
    b: impl Into<Operand<'a>>,
) -> Result<RawTensor> {
    let pair = Pair::new(code.name(), a.into(), b.into())?;
    let dtype = promotion::to_float(pair.dtype);
    pair.run(code.name(), Op::SpecialBinary(code), dtype)
}

/// [`special_binary`] written into its first operand.
///
/// # Errors
/// As [`special_binary`]; a result that does not fit the first operand's shape or dtype.
pub fn special_binary_<'a>(code: SpecialBinaryOp, a: &'a RawTensor, b: impl Into<Operand<'a>>) -> Result<()> {
    let pair = Pair::new(code.name(), a.into(), b.into())?;
    let dtype = promotion::to_float(pair.dtype);
    pair.run_out(code.name(), Op::SpecialBinary(code), a, dtype)
}
