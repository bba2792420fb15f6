//! Counting, listing, reading and writing where a mask is true, on the host.

use kiln_storage::{RawTensor, Result};

use super::host::Host;
use super::walk::{Nest, by_size, host, steps};

/// The kernel of [`crate::Op::CountTrue`].
pub(crate) fn count(op: &'static str, mask: &RawTensor, n: &RawTensor) -> Result<()> {
    let lock = Host::lock(op, &[mask], &[n])?;
    let mut total = 0i64;
    // Sums of bytes vectorise; a chunk is short enough for 16 bits.
    for chunk in lock.input::<bool>(mask).chunks(4096) {
        total += i64::from(chunk.iter().map(|&m| u16::from(m)).sum::<u16>());
    }
    // SAFETY: the only slice of the output.
    let out = unsafe { lock.output::<i64>(n) };
    out[0] = total;
    Ok(())
}

/// Calls `visit` with the position of each true element, in order.
#[inline(always)]
fn for_each_true(mask: &[bool], mut visit: impl FnMut(usize)) {
    for (i, group) in mask.chunks(16).enumerate() {
        // Masks are often mostly false.
        if group.iter().fold(false, |any, &m| any | m) {
            group.iter().enumerate().filter(|(_, m)| **m).for_each(|(j, _)| visit(i * 16 + j));
        }
    }
}

/// The kernel of [`crate::Op::Nonzero`].
pub(crate) fn nonzero(op: &'static str, mask: &RawTensor, y: &RawTensor) -> Result<()> {
    let rank = mask.rank();
    if y.numel() == 0 || rank == 0 {
        return Ok(());
    }
    let lock = Host::lock(op, &[mask], &[y])?;
    // SAFETY: the only slice of the output.
    let mut rows = unsafe { lock.output::<i64>(y) }.chunks_exact_mut(rank);
    let columns = mask.shape()[rank - 1];
    let mut lead = vec![0i64; rank - 1];
    for (line, row) in lock.input::<bool>(mask).chunks_exact(columns).enumerate() {
        let mut rest = line;
        for axis in (0..rank - 1).rev() {
            lead[axis] = (rest % mask.shape()[axis]) as i64;
            rest /= mask.shape()[axis];
        }
        for_each_true(row, |column| {
            if let Some(out) = rows.next() {
                out[..rank - 1].copy_from_slice(&lead);
                out[rank - 1] = column as i64;
            }
        });
    }
    Ok(())
}

/// The kernel of [`crate::Op::MaskedSelect`].
pub(crate) fn select(op: &'static str, [x, mask]: [&RawTensor; 2], y: &RawTensor) -> Result<()> {
    if y.numel() == 0 {
        return Ok(());
    }
    let lock = Host::lock(op, &[x, mask], &[y])?;
    let mask = lock.input::<bool>(mask);
    let nest = Nest::new(x.shape(), [&steps(x)]);
    let [step] = nest.row_strides();
    let (from, to) = (host(x), host(y));
    by_size!(x.dtype().size(), W => {
        let (mut at, mut taken) = (0, 0);
        nest.for_rows(0..nest.rows(), |[base]| {
            for_each_true(&mask[at..at + nest.row()], |i| {
                // SAFETY: positions lie inside the layout of `x`; the assertion keeps writes inside `y`.
                unsafe {
                    assert!(taken < y.numel(), "the result has an element for each true one");
                    let value = *from.get().cast::<W>().offset(base + i as isize * step);
                    to.get().cast::<W>().add(taken).write(value);
                }
                taken += 1;
            });
            at += nest.row();
        });
    });
    Ok(())
}

/// The kernel of [`crate::Op::MaskedScatter`].
pub(crate) fn scatter(op: &'static str, [source, mask]: [&RawTensor; 2], x: &RawTensor) -> Result<()> {
    if x.numel() == 0 {
        return Ok(());
    }
    let lock = Host::lock(op, &[source, mask], &[x])?;
    let mask = lock.input::<bool>(mask);
    let nest = Nest::new(x.shape(), [&steps(x)]);
    let [step] = nest.row_strides();
    let (from, to) = (host(source), host(x));
    by_size!(x.dtype().size(), W => {
        let (mut at, mut taken) = (0, 0);
        nest.for_rows(0..nest.rows(), |[base]| {
            for_each_true(&mask[at..at + nest.row()], |i| {
                assert!(taken < source.numel(), "the source has an element for each true one");
                // SAFETY: positions lie inside the layout of `x`, and inside the source by the assertion.
                unsafe {
                    let value = *from.get().cast::<W>().add(taken);
                    to.get().cast::<W>().offset(base + i as isize * step).write(value);
                }
                taken += 1;
            });
            at += nest.row();
        });
    });
    Ok(())
}
