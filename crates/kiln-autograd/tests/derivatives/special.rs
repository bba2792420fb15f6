//! Special functions, statistics, integrals, masked reductions.

use kiln_autograd::{CovWeights, F64, Interpolation, Masked, Result, Spacing, Tensor, tensor};

use super::rows::{List, Row, rows};

/// The first input where a mask of two thirds holds.
fn masked(x: &[Tensor]) -> Result<Masked> {
    x[0].masked(&tensor![true, false, true])
}

rows! {
    "bessel_j0" 0.5 to 3.0 [5] => |x| x[0].bessel_j0();
    "bessel_j1" 0.5 to 3.0 [5] => |x| x[0].bessel_j1();
    "bessel_y0" 0.5 to 3.0 [5] => |x| x[0].bessel_y0();
    "bessel_y1" 0.5 to 3.0 [5] => |x| x[0].bessel_y1();
    "i0" -2.0 to 2.0 [5] => |x| x[0].i0();
    "i0e" -2.0 to 2.0 [5] => |x| x[0].i0e();
    "i1" -2.0 to 2.0 [5] => |x| x[0].i1();
    "i1e" -2.0 to 2.0 [5] => |x| x[0].i1e();
    "modified_bessel_k0" 0.5 to 3.0 [5] => |x| x[0].modified_bessel_k0();
    "modified_bessel_k1" 0.5 to 3.0 [5] => |x| x[0].modified_bessel_k1();
    "scaled_modified_bessel_k0" 0.5 to 3.0 [5] => |x| x[0].scaled_modified_bessel_k0();
    "scaled_modified_bessel_k1" 0.5 to 3.0 [5] => |x| x[0].scaled_modified_bessel_k1();
    "spherical_bessel_j0" 0.5 to 3.0 [5] => |x| x[0].spherical_bessel_j0();
    "entr" 0.3 to 2.0 [5] => |x| x[0].entr();
    "erfcx" -1.0 to 2.0 [5] => |x| x[0].erfcx();
    "ndtr" -2.0 to 2.0 [5] => |x| x[0].ndtr();
    "log_ndtr" -3.0 to 1.0 [5] => |x| x[0].log_ndtr();
    "ndtri" 0.2 to 0.8 [5] => |x| x[0].ndtri();
    "mvlgamma" 1.5 to 3.0 [5] => |x| x[0].mvlgamma(2);
    "igamma" 0.5 to 3.0 [3] => |x| tensor!([0.7, 1.5, 2.2]; F64).igamma(&x[0]);
    "igammac" 0.5 to 3.0 [3] => |x| tensor!([0.7, 1.5, 2.2]; F64).igammac(&x[0]);
    "zeta" 0.8 to 3.0 [3] => |x| tensor!([1.7, 2.5, 3.2]; F64).zeta(&x[0]);
    "xlog1py" 0.3 to 2.0 [2, 3] [3] => |x| x[0].xlog1py(&x[1]);
    "frexp" 1.1 to 1.9 [4] => |x| x[0].frexp();
    "angle" -2.0 to 2.0 [5] => |x| x[0].angle();

    "cov" -2.0 to 2.0 [2, 4] => |x| x[0].cov(1, CovWeights::default());
    "cov" -2.0 to 2.0 [2, 3] => |x| {
        let (often, much) = (tensor![1, 2, 1], tensor!([0.5, 1.0, 2.0]; F64));
        x[0].cov(1, CovWeights { frequencies: Some(&often), importance: Some(&much) })
    };
    "corrcoef" -2.0 to 2.0 [2, 4] => |x| x[0].corrcoef();
    "nanquantile" -2.0 to 2.0 [2, 4] => |x| x[0].nanquantile(0.3, 1, false, Interpolation::Linear);
    "trapezoid" -2.0 to 2.0 [2, 4] => |x| x[0].trapezoid(0.5, 1);
    "trapezoid" -2.0 to 2.0 [2, 4] [4] => |x| x[0].trapezoid(&x[1], 1);
    "cumulative_trapezoid" -2.0 to 2.0 [2, 4] => |x| x[0].cumulative_trapezoid(0.5, 1);
    "cumulative_trapezoid" -2.0 to 2.0 [2, 4] [4] => |x| x[0].cumulative_trapezoid(&x[1], 1);
    "gradient" -2.0 to 2.0 [3, 4] => |x| x[0].gradient(Spacing::EvenPerAxis(&[0.5, 2.0]), &[0, 1], 2);
    "gradient" -2.0 to 2.0 [4] => |x| {
        x[0].gradient(Spacing::At(&[&tensor!([0.0, 0.5, 2.0, 3.0]; F64)]), &[0], 1)
    };

    "masked" -2.0 to 2.0 [2, 3] => |x| masked(x)?.sum(&[1], false);
    "masked" 0.5 to 2.0 [2, 3] => |x| masked(x)?.prod(&[1], false);
    "masked" -2.0 to 2.0 [2, 3] => |x| masked(x)?.amax(&[1], false);
    "masked" -2.0 to 2.0 [2, 3] => |x| masked(x)?.mean(&[1], true);
    "masked" -2.0 to 2.0 [2, 3] => |x| masked(x)?.median(1, false);
    "masked" -2.0 to 2.0 [3, 3] => |x| masked(x)?.var(&[0, 1], 1.0, false);
    "masked" -2.0 to 2.0 [3, 3] => |x| masked(x)?.std(&[0, 1], 1.0, false);
    "masked" -2.0 to 2.0 [2, 3] => |x| masked(x)?.cumsum(1);
    "masked" 0.5 to 2.0 [2, 3] => |x| masked(x)?.cumprod(1);
    "masked" -2.0 to 2.0 [2, 3] => |x| masked(x)?.logsumexp(&[1], false);
    "masked" -2.0 to 2.0 [2, 3] => |x| masked(x)?.normalize(2.0, 1, 1e-12);
    "masked" -2.0 to 2.0 [2, 3] => |x| masked(x)?.softmax(1);
    "norm" -2.0 to 2.0 [2, 3] => |x| masked(x)?.norm(2.0, &[1], false);
}
