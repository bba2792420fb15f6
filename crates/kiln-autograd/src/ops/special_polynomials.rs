//! Orthogonal polynomials of a degree per element.

use kiln_ops::special::{SpecialBinaryOp, special_binary};

use crate::arg::Arg;
use crate::ops::special_functions::no_derivative;
use crate::record::record;
use crate::{Here, Result, Tensor};

/// A row: the method, the function, and the name of the polynomials.
macro_rules! polynomials {
    ($($name:ident: $code:ident, $text:literal;)*) => {
        impl Tensor {
            $(
                #[doc = concat!($text, " of degree `n` at each element (`torch.special.", stringify!($name), "`).")]
                ///
                /// The fraction of the degree is cut off; a negative one gives 0. There is no derivative, as in PyTorch.
                ///
                /// # Errors
                /// Shapes that do not broadcast, different devices.
                #[track_caller]
                pub fn $name<'a>(&self, n: impl Into<Arg<'a>>) -> Result<Tensor> {
                    self.polynomial(SpecialBinaryOp::$code, n.into())
                }
            )*
        }
    };
}

polynomials! {
    chebyshev_polynomial_t: ChebyshevT, "Chebyshev's polynomial of the first kind";
    chebyshev_polynomial_u: ChebyshevU, "Chebyshev's polynomial of the second kind";
    chebyshev_polynomial_v: ChebyshevV, "Chebyshev's polynomial of the third kind";
    chebyshev_polynomial_w: ChebyshevW, "Chebyshev's polynomial of the fourth kind";
    shifted_chebyshev_polynomial_t: ShiftedT, "Chebyshev's polynomial of the first kind at `2x - 1`,";
    shifted_chebyshev_polynomial_u: ShiftedU, "Chebyshev's polynomial of the second kind at `2x - 1`,";
    shifted_chebyshev_polynomial_v: ShiftedV, "Chebyshev's polynomial of the third kind at `2x - 1`,";
    shifted_chebyshev_polynomial_w: ShiftedW, "Chebyshev's polynomial of the fourth kind at `2x - 1`,";
    hermite_polynomial_h: HermiteH, "The physicists' Hermite polynomial";
    hermite_polynomial_he: HermiteHe, "The probabilists' Hermite polynomial";
    laguerre_polynomial_l: LaguerreL, "Laguerre's polynomial";
    legendre_polynomial_p: LegendreP, "Legendre's polynomial";
}

impl Tensor {
    #[track_caller]
    fn polynomial(&self, code: SpecialBinaryOp, n: Arg<'_>) -> Result<Tensor> {
        let y = n.with(|n| special_binary(code, &*self.raw(), n)).here()?;
        let refuse = || move |_: &Tensor| no_derivative(code.name());
        let rec = record("SpecialPolynomialBackward0", y).input(self, refuse);
        Ok(match n.tensor() {
            Some(n) => rec.input(n, refuse),
            None => rec,
        }
        .done())
    }
}
