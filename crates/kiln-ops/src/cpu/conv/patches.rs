//! Patches of images as the operand of a product.
//!
//! After [`super::planes`] has laid the images out, element (tap, position) of the matrix of patches is at
//! `offsets[tap] + start(position)`, and positions along a row of the output are next to each other. That makes a panel
//! of patches a matter of copying short runs.

use crate::cpu::arch::Isa;
use crate::cpu::gemm::{Left, ROW_STEP, Real, Right};

/// The matrix of patches of some images: a row for each tap (an element of a window in one channel), a column for each
/// output position, image after image.
pub(super) struct Patches<'a, E> {
    pub data: *const E,
    /// Where the taps of position zero lie.
    pub offsets: &'a [usize],
    /// The number of positions in depth, height and width.
    pub grid: [usize; 3],
    /// Distance of neighbouring positions in depth and height; in width it is one.
    pub steps: [usize; 2],
    pub images: usize,
    pub image_step: usize,
}

// SAFETY: the images are only read while patches of them are packed.
unsafe impl<E> Sync for Patches<'_, E> {}

impl<E: Real> Patches<'_, E> {
    /// Joins rows and planes of positions that follow each other without a gap, so that runs get longer.
    pub(super) fn joined(mut self) -> Self {
        if self.grid[1] == 1 || self.steps[1] == self.grid[2] {
            self.grid = [self.grid[0], 1, self.grid[1] * self.grid[2]];
            if self.grid[0] == 1 || self.steps[0] == self.grid[2] {
                self.grid = [1, 1, self.grid[0] * self.grid[2]];
            }
        }
        self
    }

    /// The number of positions when those between rows and planes are counted as well: what is computed there is of no
    /// use, but all positions follow each other without a gap.
    pub(super) fn flat_len(&self) -> usize {
        let [depth, height, width] = self.grid;
        match depth * height * width {
            0 => 0,
            _ => (depth - 1) * self.steps[0] + (height - 1) * self.steps[1] + width,
        }
    }

    /// Calls `run(at, start, count)` for positions `first..first + count` cut into runs of at most `most`: `at` counts
    /// positions from `first`, `start` is where the run lies.
    #[inline(always)]
    fn runs(&self, first: usize, count: usize, most: usize, mut run: impl FnMut(usize, usize, usize)) {
        let [depth, height, width] = self.grid;
        let mut x = first % width;
        let mut y = first / width % height;
        let mut z = first / (width * height) % depth;
        let mut image = first / (width * height * depth);
        let mut at = 0;
        while at < count {
            let len = (width - x).min(count - at).min(most);
            run(at, image * self.image_step + z * self.steps[0] + y * self.steps[1] + x, len);
            at += len;
            x += len;
            if x == width {
                (x, y) = (0, y + 1);
                if y == height {
                    (y, z) = (0, z + 1);
                    if z == depth {
                        (z, image) = (0, image + 1);
                    }
                }
            }
        }
    }
}

/// Positions that one call of the copying kernel handles.
const RUN: usize = 32;

impl<E: Real> Right<E> for Patches<'_, E> {
    fn in_place(&self) -> Option<(*const E, isize)> {
        // With one tap for each channel and nothing between the positions, the images are the matrix.
        let step = match self.offsets {
            [first, second, ..] => *second as isize - *first as isize,
            _ => 0,
        };
        let even = |o: &[usize]| o[1] as isize - o[0] as isize == step;
        let plain = self.images == 1 && self.grid[0] * self.grid[1] == 1 && self.offsets.windows(2).all(even);
        // SAFETY: the first tap of the first position lies inside the images.
        (plain && !self.offsets.is_empty()).then(|| (unsafe { self.data.add(self.offsets[0]) }, step))
    }

    fn offsets(&self) -> Option<(*const E, &[usize])> {
        (self.images == 1 && self.grid[0] * self.grid[1] == 1).then_some((self.data, self.offsets))
    }

    unsafe fn pack(
        &self,
        isa: Isa,
        column: usize,
        columns: usize,
        p: usize,
        k: usize,
        to: *mut E,
        width: usize,
    ) {
        let copy = E::copy_runs(isa);
        self.runs(column, columns, RUN, |at, start, len| {
            // SAFETY: the taps of these positions lie inside the images, and the panel has room for them.
            unsafe {
                copy(
                    self.data.add(start),
                    self.offsets.as_ptr().add(p),
                    k,
                    to.add(at),
                    width,
                    len,
                    width - at,
                )
            }
        });
    }
}

impl<E: Real> Left<E> for Patches<'_, E> {
    fn in_place(&self) -> Option<(*const E, isize, isize)> {
        None
    }

    fn panel_steps(&self) -> (isize, isize) {
        (ROW_STEP as isize, 1)
    }

    unsafe fn pack(&self, isa: Isa, row: usize, rows: usize, p: usize, k: usize, to: *mut E) {
        let copy = E::copy_runs(isa);
        self.runs(p, k, RUN, |at, start, len| {
            // SAFETY: as for the right operand.
            unsafe {
                copy(
                    self.data.add(start),
                    self.offsets.as_ptr().add(row),
                    rows,
                    to.add(at),
                    ROW_STEP,
                    len,
                    ROW_STEP - at,
                )
            }
        });
    }
}
