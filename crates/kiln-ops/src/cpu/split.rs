//! Cuts output slices into pieces that run in parallel, each piece lent to one task.

use super::pool::parallel_for;

/// A slice whose disjoint parts are lent to tasks on several threads.
struct Shared<T>(*mut T);

// SAFETY: the functions below hand every element to one task only, and `T: Send` lets a task on another thread own it.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The elements from `start` to `end`.
    ///
    /// # Safety
    /// The range lies in the slice, the slice is borrowed for as long as the result is used, and no other task asks for
    /// any of these elements.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, start: usize, end: usize) -> &mut [T] {
        // SAFETY: see above.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), end - start) }
    }
}

/// Calls `task(i, piece)` for every piece of `piece` elements of `out` (the last one may be shorter), in parallel when
/// there is more than one.
pub(crate) fn pieces<T: Send>(out: &mut [T], piece: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    let (len, piece) = (out.len(), piece.max(1));
    let shared = Shared(out.as_mut_ptr());
    let shared = &shared;
    parallel_for(len.div_ceil(piece), &|i| {
        // SAFETY: `out` is borrowed until `parallel_for` returns, and the pieces of different `i` do not overlap.
        task(i, unsafe { shared.part(i * piece, len.min((i + 1) * piece)) })
    });
}

/// As [`pieces`] for two slices that are cut side by side: `count` pieces of `piece_a` and `piece_b` elements, the last
/// ones shorter or (in a slice that is not wanted, and so empty) all of them empty.
pub(crate) fn pieces2<T: Send, U: Send>(
    a: &mut [T],
    piece_a: usize,
    b: &mut [U],
    piece_b: usize,
    count: usize,
    task: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    let (la, lb) = (a.len(), b.len());
    let (shared_a, shared_b) = (&Shared(a.as_mut_ptr()), &Shared(b.as_mut_ptr()));
    parallel_for(count, &|i| {
        let end = |piece: usize, len: usize| if i + 1 == count { len } else { len.min((i + 1) * piece) };
        // SAFETY: both slices are borrowed until `parallel_for` returns, and the pieces of different `i` do not overlap.
        let (x, y) = unsafe {
            (
                shared_a.part(la.min(i * piece_a), end(piece_a, la)),
                shared_b.part(lb.min(i * piece_b), end(piece_b, lb)),
            )
        };
        task(i, x, y)
    });
}

/// Cuts `out`, rows of `width` elements, into parts of at most `part` elements of one row each and calls
/// `task(row, first, part)`, in parallel when there is more than one.
pub(crate) fn tiles<T: Send>(
    out: &mut [T],
    width: usize,
    part: usize,
    task: impl Fn(usize, usize, &mut [T]) + Sync,
) {
    let parts = width.div_ceil(part);
    let rows = out.len() / width;
    let shared = &Shared(out.as_mut_ptr());
    parallel_for(rows * parts, &|i| {
        let (row, first) = (i / parts, i % parts * part);
        let last = width.min(first + part);
        // SAFETY: `out` is borrowed until `parallel_for` returns, and the parts of different `i` do not overlap.
        task(row, first, unsafe { shared.part(row * width + first, row * width + last) })
    });
}
