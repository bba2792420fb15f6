//! Several strided operands walked together, row by row: the loop of kernels that move elements to other places.

use std::ops::Range;

use kiln_storage::RawTensor;
use smallvec::SmallVec;

use super::loops::SendPtr;
use super::pool;

/// Elements that a task moves at least: less is faster on one thread.
pub(crate) const TASK: usize = 16 << 10;
/// Pieces of work at most, so that many threads have an equal share and hand-offs stay rare.
const PIECES: usize = 64;

/// Calls `f` on ranges that cover `0..len`, on any threads. An item moves about `weight` elements.
pub(crate) fn tasks<F: Fn(Range<usize>) + Sync>(len: usize, weight: usize, f: &F) {
    let piece = TASK.div_ceil(weight.max(1)).max(len.div_ceil(PIECES));
    if len <= piece {
        if len > 0 {
            f(0..len);
        }
        return;
    }
    pool::parallel_for(len.div_ceil(piece), &|i| f(i * piece..len.min((i + 1) * piece)));
}

/// Signed strides or offsets, in elements.
pub(crate) type Steps = SmallVec<[isize; 6]>;

/// The strides of a tensor.
pub(crate) fn steps(t: &RawTensor) -> Steps {
    t.layout().strides().iter().map(|&s| s as isize).collect()
}

/// The address of a host tensor's first element.
pub(crate) fn host(t: &RawTensor) -> SendPtr {
    SendPtr(t.host_ptr().expect("host kernels get host tensors"))
}

/// Evaluates the body with `W` bound to an unsigned integer of `size` bytes: moves do not look at values.
macro_rules! by_size {
    ($size:expr, $w:ident => $body:expr) => {
        match $size {
            1 => {
                type $w = u8;
                $body
            }
            2 => {
                type $w = u16;
                $body
            }
            4 => {
                type $w = u32;
                $body
            }
            _ => {
                type $w = u64;
                $body
            }
        }
    };
}
pub(crate) use by_size;

/// A row-major iteration space with the strides of `N` operands; the last axis is a row.
pub(crate) struct Nest<const N: usize> {
    dims: SmallVec<[usize; 6]>,
    strides: [Steps; N],
}

impl<const N: usize> Nest<N> {
    /// Without the axes of size 1, neighbours merged where every operand allows it; at least one axis stays.
    pub(crate) fn new(shape: &[usize], strides: [&[isize]; N]) -> Nest<N> {
        let mut nest = Nest { dims: SmallVec::new(), strides: std::array::from_fn(|_| Steps::new()) };
        for (axis, &size) in shape.iter().enumerate() {
            if size == 1 {
                continue;
            }
            let merges = !nest.dims.is_empty()
                && (0..N).all(|i| {
                    let outer = nest.strides[i][nest.dims.len() - 1];
                    outer == strides[i][axis].wrapping_mul(size as isize)
                });
            if merges {
                let last = nest.dims.len() - 1;
                nest.dims[last] *= size;
                (0..N).for_each(|i| nest.strides[i][last] = strides[i][axis]);
            } else {
                nest.dims.push(size);
                (0..N).for_each(|i| nest.strides[i].push(strides[i][axis]));
            }
        }
        if nest.dims.is_empty() {
            nest.dims.push(1);
            nest.strides.iter_mut().for_each(|s| s.push(1));
        }
        nest
    }

    /// The space with a row for each element.
    pub(crate) fn points(shape: &[usize], strides: [&[isize]; N]) -> Nest<N> {
        let mut nest = Nest::new(shape, strides);
        nest.dims.push(1);
        nest.strides.iter_mut().for_each(|s| s.push(1));
        nest
    }

    /// Elements of a row.
    #[inline]
    pub(crate) fn row(&self) -> usize {
        self.dims[self.dims.len() - 1]
    }

    /// The strides inside a row.
    #[inline]
    pub(crate) fn row_strides(&self) -> [isize; N] {
        std::array::from_fn(|i| self.strides[i][self.dims.len() - 1])
    }

    /// The number of rows.
    #[inline]
    pub(crate) fn rows(&self) -> usize {
        self.dims[..self.dims.len() - 1].iter().product()
    }

    /// Calls `visit` with where each row of the range starts, in order.
    #[inline]
    pub(crate) fn for_rows(&self, range: Range<usize>, mut visit: impl FnMut([isize; N])) {
        let outer = self.dims.len() - 1;
        let mut index = SmallVec::<[usize; 6]>::from_elem(0, outer);
        let mut at = [0isize; N];
        let mut rest = range.start;
        for axis in (0..outer).rev() {
            index[axis] = rest % self.dims[axis];
            rest /= self.dims[axis];
            (0..N).for_each(|i| at[i] += index[axis] as isize * self.strides[i][axis]);
        }
        for _ in range {
            visit(at);
            for axis in (0..outer).rev() {
                index[axis] += 1;
                (0..N).for_each(|i| at[i] += self.strides[i][axis]);
                if index[axis] < self.dims[axis] {
                    break;
                }
                (0..N).for_each(|i| at[i] -= index[axis] as isize * self.strides[i][axis]);
                index[axis] = 0;
            }
        }
    }
}

/// Copies `n` words between strides.
///
/// # Safety
/// Both ranges are valid and do not overlap.
#[inline(always)]
pub(crate) unsafe fn copy_row<W: Copy>(
    from: *const W,
    from_step: isize,
    to: *mut W,
    to_step: isize,
    n: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if from_step == 1 && to_step == 1 {
            std::ptr::copy_nonoverlapping(from, to, n);
        } else if from_step == 0 {
            let value = *from;
            for i in 0..n as isize {
                to.offset(i * to_step).write(value);
            }
        } else {
            for i in 0..n as isize {
                to.offset(i * to_step).write(*from.offset(i * from_step));
            }
        }
    }
}
