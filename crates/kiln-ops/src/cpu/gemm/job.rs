//! A product to be computed, and how finished elements get to where C lies.

use super::pack::{Left, Right, widen_strided};
use super::{Float, Real};
use crate::cpu::arch::Isa;
use std::ops::Range;

/// Where the columns of C lie when they are not all the same distance apart.
pub(crate) trait Columns: Sync {
    /// The offset of a column in C, and how many columns from there on follow at the job's column step. Without an
    /// offset, those columns are not part of C.
    fn place(&self, column: usize) -> (Option<isize>, usize);
}

/// A product to be computed.
pub(crate) struct Job<'a, T: Float> {
    pub m: usize,
    pub n: usize,
    /// Steps of k, counted from `first` in the operands.
    pub k: usize,
    pub first: usize,
    pub a: &'a dyn Left<T::Acc>,
    pub b: &'a dyn Right<T::Acc>,
    pub c: *mut T,
    pub c_row: isize,
    pub c_column: isize,
    pub columns: Option<&'a dyn Columns>,
    pub accumulate: bool,
    pub row_bias: *const T::Acc,
    pub row_bias_step: isize,
    /// Contiguous.
    pub column_bias: *const T::Acc,
    pub relu: bool,
}

// SAFETY: tasks write disjoint parts of C and only read the rest, which the caller of the product vouches for.
unsafe impl<T: Float> Sync for Job<'_, T> {}

impl<T: Float> Job<'_, T> {
    /// Whether kernels can add to C where it is.
    pub(crate) fn in_place(&self) -> bool {
        T::WIDE && self.c_column == 1 && self.columns.is_none()
    }

    /// Calls `run(column, count, start)` for runs of columns whose elements in the first row start at `start` and are
    /// `c_column` apart.
    #[inline(always)]
    unsafe fn runs(&self, columns: Range<usize>, mut run: impl FnMut(usize, usize, *mut T)) {
        let mut column = columns.start;
        while column < columns.end {
            let left = columns.end - column;
            let (offset, count) = match self.columns {
                Some(columns) => columns.place(column),
                None => (Some(column as isize * self.c_column), left),
            };
            if let Some(offset) = offset {
                // SAFETY: the column lies inside C.
                run(column, count.min(left), unsafe { self.c.offset(offset) });
            }
            column += count.min(left);
        }
    }

    /// Brings a tile of C to a buffer whose rows are `step` apart.
    ///
    /// # Safety
    /// The tile lies inside C; the buffer has room for it.
    pub(crate) unsafe fn load(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        sum: *mut T::Acc,
        step: usize,
    ) {
        // SAFETY: passed on to the caller.
        unsafe {
            self.runs(columns.clone(), |column, count, start| {
                for (i, row) in rows.clone().enumerate() {
                    let to = sum.add(i * step + column - columns.start);
                    widen_strided(start.offset(row as isize * self.c_row), self.c_column, to, count);
                }
            });
        }
    }

    /// Brings finished elements from a buffer whose rows are `step` apart to C.
    ///
    /// # Safety
    /// The tile lies inside C; the buffer holds it.
    pub(crate) unsafe fn store(
        &self,
        isa: Isa,
        rows: Range<usize>,
        columns: Range<usize>,
        sum: *const T::Acc,
        step: usize,
    ) {
        // SAFETY: passed on to the caller.
        unsafe {
            self.runs(columns.clone(), |column, count, start| {
                let from = sum.add(column - columns.start);
                let start = start.offset(rows.start as isize * self.c_row);
                if T::WIDE && self.c_row == 1 && self.c_column > 0 {
                    let width = self.c_column as usize;
                    T::Acc::transpose(isa)(from, step as isize, rows.len(), count, start.cast(), width);
                    return;
                }
                for i in 0..rows.len() {
                    let (from, to) = (from.add(i * step), start.offset(i as isize * self.c_row));
                    if self.c_column == 1 {
                        T::narrow(from, to, count);
                    } else {
                        for j in 0..count {
                            *to.offset(j as isize * self.c_column) = T::narrow_one(*from.add(j));
                        }
                    }
                }
            });
        }
    }

    /// Applies bias and relu to sums of one row from column `first` on.
    ///
    /// # Safety
    /// The biases are valid for the rows and columns of C.
    pub(crate) unsafe fn finish(&self, row: usize, first: usize, sums: &mut [T::Acc]) {
        // SAFETY: passed on to the caller.
        unsafe {
            if !self.column_bias.is_null() {
                let bias = std::slice::from_raw_parts(self.column_bias.add(first), sums.len());
                sums.iter_mut().zip(bias).for_each(|(x, &b)| *x = *x + b);
            }
            if !self.row_bias.is_null() {
                let bias = *self.row_bias.offset(row as isize * self.row_bias_step);
                sums.iter_mut().for_each(|x| *x = *x + bias);
            }
        }
        if self.relu {
            let zero = T::Acc::default();
            sums.iter_mut().for_each(|x| *x = if zero > *x { zero } else { *x });
        }
    }
}
