//! Fourier transforms; the last axis of a complex tensor holds real and imaginary part.

use kiln_autograd::Tensor;
use kiln_autograd::fft::{self, Norm};

use super::rows::{List, Row, rows};

rows! {
    "fft" -2.0 to 2.0 [2, 3, 2] => |x| fft::fft(&x[0], None, -1, Norm::Backward);
    "ifft" -2.0 to 2.0 [4, 2] => |x| fft::ifft(&x[0], Some(3), 0, Norm::Ortho);
    "rfft" -2.0 to 2.0 [2, 4] => |x| fft::rfft(&x[0], None, -1, Norm::Forward);
    "ihfft" -2.0 to 2.0 [5] => |x| fft::ihfft(&x[0], None, -1, Norm::Backward);
    "irfft" -2.0 to 2.0 [3, 2] => |x| fft::irfft(&x[0], Some(4), -1, Norm::Backward);
    "irfft" -2.0 to 2.0 [3, 2] => |x| fft::irfft(&x[0], Some(5), -1, Norm::Ortho);
    "hfft" -2.0 to 2.0 [3, 2] => |x| fft::hfft(&x[0], None, -1, Norm::Backward);
    "fftn" -2.0 to 2.0 [2, 3, 2] => |x| fft::fftn(&x[0], None, None, Norm::Backward);
    "ifftn" -2.0 to 2.0 [2, 2, 2] => |x| fft::ifftn(&x[0], Some(&[3, 2]), None, Norm::Backward);
    "rfftn" -2.0 to 2.0 [2, 4] => |x| fft::rfftn(&x[0], None, None, Norm::Backward);
    "irfftn" -2.0 to 2.0 [2, 3, 2] => |x| fft::irfftn(&x[0], None, None, Norm::Backward);
}
