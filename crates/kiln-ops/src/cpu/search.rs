//! Binary search in sorted rows on the host.

use kiln_storage::{Element, Error, RawTensor, Result, with_dtype};

use super::host::Host;
use super::loops::SendPtr;
use super::walk::{host, tasks};

/// The kernel of [`crate::Op::SearchSorted`].
pub(crate) fn search_sorted(
    op: &'static str,
    right: bool,
    [sorted, values]: [&RawTensor; 2],
    y: &RawTensor,
) -> Result<()> {
    if y.numel() == 0 {
        return Ok(());
    }
    let lock = Host::lock(op, &[sorted, values], &[y])?;
    let n = sorted.shape()[sorted.rank() - 1];
    // One row for all values, or as many as the values have.
    let per_row = if sorted.rank() == 1 { values.numel() } else { values.shape()[values.rank() - 1] };
    let out = host(y);
    with_dtype!(sorted.dtype(), [I64, F32, F64], T => {
        let (sorted, values) = (lock.input::<T>(sorted), lock.input::<T>(values));
        // Some twenty steps, most of them cache misses.
        tasks(values.len(), 32, &|range| fill(right, sorted, values, n, per_row, range, out));
        Ok(())
    }, else => Err(Error::dtype(op, format!("\"{op}\" is not implemented for {}", sorted.dtype()))))
}

fn fill<T: Element>(
    right: bool,
    sorted: &[T],
    values: &[T],
    n: usize,
    per_row: usize,
    range: std::ops::Range<usize>,
    out: SendPtr,
) {
    // Comparisons with NaN are false, so that NaN sorts behind everything.
    #[allow(clippy::neg_cmp_op_on_partial_ord)]
    let before = |x: T, v: T| if right { !(x > v) } else { !(x >= v) };
    for i in range {
        let start = i / per_row * n;
        let (row, v) = (&sorted[start..start + n], values[i]);
        // Halving without branches on the data: the processor cannot guess these.
        let (mut place, mut rest) = (0, n);
        while rest > 1 {
            let half = rest / 2;
            place += if before(row[place + half - 1], v) { half } else { 0 };
            rest -= half;
        }
        let place = place + usize::from(rest == 1 && before(row[place], v));
        // SAFETY: the output has an element for each value; tasks write disjoint ones.
        unsafe { out.get().cast::<i64>().add(i).write(place as i64) };
    }
}
