//! A right operand that is packed once and multiplied often.

use super::Real;
use super::engine::{fan_out, run};
use super::job::Job;
use super::pack::{BLOCK, Right, Strided};
use super::scratch::Scratch;
use crate::cpu::arch::Isa;

/// Numbers below which threads do not help to pack.
const SMALL: usize = 1 << 15;

/// A `k` by `n` matrix in the order in which the kernels of one instruction set read it: for each block of k the strips
/// of columns, one behind the other, each with room for a whole block.
pub(crate) struct Packed<E> {
    k: usize,
    n: usize,
    isa: Isa,
    own: Scratch,
    of: std::marker::PhantomData<E>,
}

// SAFETY: the memory is only read once the value is made.
unsafe impl<E> Sync for Packed<E> {}

struct Start<E>(*mut E);
// SAFETY: tasks write disjoint strips.
unsafe impl<E> Sync for Start<E> {}

impl<E: Real> Packed<E> {
    /// Packs the matrix at `from`, whose rows are `row` and columns `column` numbers apart.
    ///
    /// # Panics
    /// When the matrix does not lie inside of `from`.
    pub(crate) fn new(isa: Isa, from: &[E], [k, n]: [usize; 2], [row, column]: [usize; 2]) -> Packed<E> {
        assert!(k * n == 0 || (k - 1) * row + (n - 1) * column < from.len(), "a matrix beyond its memory");
        let width = E::kernels(isa).columns();
        let (blocks, strips) = (k.div_ceil(BLOCK), n.div_ceil(width));
        let own = Scratch::new::<E>(blocks * strips * width * BLOCK);
        let start = Start(own.ptr::<E>());
        let matrix = Strided { at: from.as_ptr(), row: row as isize, column: column as isize };
        fan_out(k * n < SMALL, blocks * strips, &|i| {
            let (start, matrix) = (&start, &matrix);
            let (p, first) = (i / strips * BLOCK, i % strips * width);
            // SAFETY: rows and columns lie inside the matrix, and each strip of each block has its own place.
            unsafe {
                let to = start.0.add(i * width * BLOCK);
                matrix.pack(isa, first, width.min(n - first), p, BLOCK.min(k - p), to, width);
            }
        });
        Packed { k, n, isa, own, of: std::marker::PhantomData }
    }

    /// `to = left * self`, or `to += left * self`, then the bias of each column is added. All matrices are contiguous.
    ///
    /// # Panics
    /// When the sizes do not fit.
    pub(crate) fn product(&self, left: &[E], to: &mut [E], accumulate: bool, bias: Option<&[E]>) {
        self.part([self.k, self.n], left, to, accumulate, bias)
    }

    /// [`Packed::product`] with the first `k` rows and `n` columns alone.
    ///
    /// # Panics
    /// As there.
    pub(crate) fn part(
        &self,
        [k, n]: [usize; 2],
        left: &[E],
        to: &mut [E],
        accumulate: bool,
        bias: Option<&[E]>,
    ) {
        let rows = to.len().checked_div(n).unwrap_or(0);
        assert!(k <= self.k && n <= self.n, "a part of the matrix");
        assert!(to.len() == rows * n && (n == 0 || left.len() == rows * k), "rows of both sides");
        assert!(bias.is_none_or(|b| b.len() == n), "a number for each column");
        let left = Strided { at: left.as_ptr(), row: k as isize, column: 1 };
        let job = Job::<E> {
            m: rows,
            n,
            k,
            first: 0,
            a: &left,
            b: self,
            c: to.as_mut_ptr(),
            c_row: n as isize,
            c_column: 1,
            columns: None,
            accumulate,
            row_bias: std::ptr::null(),
            row_bias_step: 0,
            column_bias: bias.map_or(std::ptr::null(), |b| b.as_ptr()),
            relu: false,
        };
        // SAFETY: the operands have the sizes that the job states, and the result is borrowed for writing.
        unsafe { run(self.isa, &job, false) }
    }
}

impl<E: Real> Right<E> for Packed<E> {
    fn in_place(&self) -> Option<(*const E, isize)> {
        None
    }

    fn packed(&self) -> Option<(*const E, usize)> {
        Some((self.own.ptr(), self.n.next_multiple_of(E::kernels(self.isa).columns()) * BLOCK))
    }

    unsafe fn pack(&self, _: Isa, _: usize, _: usize, _: usize, _: usize, _: *mut E, _: usize) {
        unreachable!("the product reads what is packed already")
    }
}
