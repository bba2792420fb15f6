//! Fourier transforms on the host, by `rustfft`'s portable algorithms: the same ones on every instruction set.

use kiln_storage::{RawTensor, Result};
use rustfft::num_complex::Complex;
use rustfft::{FftDirection, FftPlannerScalar};

use super::host::Host;

/// See [`crate::Op::Fft`].
pub(crate) fn fft(op: &'static str, inverse: bool, x: &RawTensor, y: &RawTensor) -> Result<()> {
    let host = Host::lock(op, &[x], &[y])?;
    let n = x.shape()[x.rank() - 2];
    let direction = if inverse { FftDirection::Inverse } else { FftDirection::Forward };
    let plan = FftPlannerScalar::<f64>::new().plan_fft(n, direction);
    let mut scratch = vec![Complex::default(); plan.get_inplace_scratch_len()];
    let mut line = Vec::with_capacity(n);
    // SAFETY: the only slice of the only output, which has memory of its own.
    let y = unsafe { host.output::<f64>(y) };
    for (x, y) in host.input::<f64>(x).chunks_exact(2 * n).zip(y.chunks_exact_mut(2 * n)) {
        line.clear();
        line.extend(x.chunks_exact(2).map(|c| Complex::new(c[0], c[1])));
        plan.process_with_scratch(&mut line, &mut scratch);
        for (y, c) in y.chunks_exact_mut(2).zip(&line) {
            (y[0], y[1]) = (c.re, c.im);
        }
    }
    Ok(())
}
