//! How a tensor's elements lie in its storage: shape, strides and offset. Views are computed here, without memory.

use crate::{Dims, Error, Result, Shape};

/// Shape, strides and offset, in elements. Strides are never negative; 0 repeats an element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    shape: Shape,
    strides: Dims,
    offset: usize,
}

impl Layout {
    /// Row-major elements from the start of the storage.
    #[inline]
    pub fn contiguous(shape: Shape) -> Layout {
        let strides = shape.contiguous_strides();
        Layout { shape, strides, offset: 0 }
    }

    /// [`Layout::contiguous`] with the number of elements, in one pass over the sizes.
    ///
    /// # Errors
    /// As [`Shape::checked_numel`].
    #[inline(always)]
    pub fn contiguous_checked(op: &'static str, shape: Shape) -> Result<(Layout, usize)> {
        let mut strides = Dims::from_elem(1, shape.rank());
        let mut step = 1usize;
        for (stride, &size) in strides.iter_mut().zip(shape.iter()).rev() {
            *stride = step;
            // An empty tensor's strides count its empty axes as one element; its size is taken care of below.
            step = step.saturating_mul(size.max(1));
        }
        if step > isize::MAX as usize / 8 || shape.contains(&0) {
            let numel = shape.checked_numel(op)?;
            return Ok((Layout::contiguous(shape), numel));
        }
        Ok((Layout { shape, strides, offset: 0 }, step))
    }

    /// A layout from its parts; whoever uses it with a storage checks [`Layout::extent`].
    ///
    /// # Errors
    /// `strides` has another length than `shape`.
    pub fn new(shape: Shape, strides: &[usize], offset: usize) -> Result<Layout> {
        if shape.rank() != strides.len() {
            return Err(Error::shape(
                "as_strided",
                format!(
                    "size {shape:?} and stride {strides:?}: mismatch in length of strides and shape ({} and {})",
                    strides.len(),
                    shape.rank()
                ),
            ));
        }
        Ok(Layout { shape, strides: Dims::from_slice(strides), offset })
    }

    /// The sizes.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The strides, in elements.
    #[inline]
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// Where the first element lies, in elements.
    #[inline]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// The number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.shape.numel()
    }

    /// Whether the elements lie in row-major order without gaps (the offset does not matter).
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        // Vectors first: they are what small operations are made of.
        self.strides() == [1] || self.walks_contiguously()
    }

    fn walks_contiguously(&self) -> bool {
        let mut step = 1usize;
        for axis in (0..self.rank()).rev() {
            let size = self.shape[axis];
            if size == 0 {
                return true;
            }
            if size != 1 {
                if self.strides[axis] != step {
                    // An axis of size 0 further out makes the tensor empty, and so contiguous.
                    return self.shape[..axis].contains(&0);
                }
                step = step.wrapping_mul(size);
            }
        }
        true
    }

    /// One past the largest element position that the layout touches; `None` when that overflows.
    pub fn extent(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let mut last = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add((size - 1).checked_mul(stride)?)?;
        }
        last.checked_add(1)
    }

    /// Whether two different indices may name the same element (sufficient for expanded axes, exact for layouts whose
    /// axes nest, cautious otherwise, as PyTorch is).
    pub fn overlaps_itself(&self) -> bool {
        if self.is_contiguous() {
            return false;
        }
        let mut axes: Dims = (0..self.rank()).filter(|&a| self.shape[a] > 1).collect();
        if self.shape.contains(&0) {
            return false;
        }
        axes.sort_by_key(&|a| self.strides[a]);
        let mut reach = 0usize;
        for &a in &axes {
            if self.strides[a] <= reach {
                return true;
            }
            reach += self.strides[a] * (self.shape[a] - 1);
        }
        false
    }

    /// The positions that the layout touches, as a half-open range that may contain gaps.
    pub fn span(&self) -> std::ops::Range<usize> {
        match self.extent() {
            Some(0) | None => self.offset..self.offset,
            Some(end) => self.offset..end,
        }
    }

    /// The layout of this tensor seen in `shape` by repeating axes of size 1 and new outer axes.
    ///
    /// # Errors
    /// The shape cannot be reached by broadcasting.
    pub fn broadcast_to(&self, op: &'static str, shape: &Shape) -> Result<Layout> {
        if self.shape == *shape {
            return Ok(self.clone());
        }
        let fits = shape.rank() >= self.rank() && {
            let lead = shape.rank() - self.rank();
            (0..self.rank()).all(|a| self.shape[a] == shape[lead + a] || self.shape[a] == 1)
        };
        if !fits {
            return Err(Error::shape(
                op,
                format!(
                    "a tensor of shape {:?} cannot be expanded to {shape:?}: sizes must match, counted from the last \
                     axis, unless they are 1",
                    self.shape
                ),
            ));
        }
        let lead = shape.rank() - self.rank();
        let mut strides = Dims::from_elem(0, shape.rank());
        for a in 0..self.rank() {
            strides[lead + a] = if self.shape[a] == shape[lead + a] { self.strides[a] } else { 0 };
        }
        Ok(Layout { shape: shape.clone(), strides, offset: self.offset })
    }

    /// Axes in another order; `axes` must be a permutation of `0..rank`.
    pub fn permute(&self, axes: &[usize]) -> Layout {
        Layout {
            shape: axes.iter().map(|&a| self.shape[a]).collect(),
            strides: axes.iter().map(|&a| self.strides[a]).collect(),
            offset: self.offset,
        }
    }

    /// Axes `a` and `b` exchanged.
    pub fn transpose(&self, a: usize, b: usize) -> Layout {
        let mut axes: Dims = (0..self.rank()).collect();
        if !axes.is_empty() {
            axes.swap(a, b);
        }
        self.permute(&axes)
    }

    /// Elements `start`, `start + step`, ... of `axis`, `len` of them. The caller has checked the range.
    pub fn slice(&self, axis: usize, start: usize, len: usize, step: usize) -> Layout {
        let mut out = self.clone();
        if len > 0 {
            out.offset += start * self.strides[axis];
        }
        out.shape = self.shape.with(axis, len);
        out.strides[axis] = self.strides[axis].saturating_mul(step);
        out
    }

    /// Index `index` of `axis`, which disappears. The caller has checked the index.
    pub fn select(&self, axis: usize, index: usize) -> Layout {
        let mut strides = self.strides.clone();
        let stride = strides.remove(axis);
        Layout { shape: self.shape.without(axis), strides, offset: self.offset + index * stride }
    }

    /// A new axis of size 1 before `axis`.
    pub fn unsqueeze(&self, axis: usize) -> Layout {
        let mut dims = Dims::from_slice(&self.shape);
        let mut strides = self.strides.clone();
        let stride = if axis < self.rank() { dims[axis].max(1) * strides[axis] } else { 1 };
        dims.insert(axis, 1);
        strides.insert(axis, stride);
        Layout { shape: dims.into(), strides, offset: self.offset }
    }

    /// Without the axes for which `drop` holds.
    pub fn squeeze(&self, drop: impl Fn(usize) -> bool) -> Layout {
        let keep: Dims = (0..self.rank()).filter(|&a| !drop(a)).collect();
        Layout {
            shape: keep.iter().map(|&a| self.shape[a]).collect(),
            strides: keep.iter().map(|&a| self.strides[a]).collect(),
            offset: self.offset,
        }
    }

    /// Windows of `size` elements of `axis`, `step` apart; the window becomes the last axis.
    pub fn unfold(&self, axis: usize, size: usize, step: usize) -> Layout {
        let (len, stride) = if self.rank() == 0 { (1, 1) } else { (self.shape[axis], self.strides[axis]) };
        let mut dims = Dims::from_slice(&self.shape);
        let mut strides = self.strides.clone();
        if self.rank() > 0 {
            dims[axis] = (len - size) / step + 1;
            strides[axis] = stride.saturating_mul(step);
        }
        dims.push(size);
        strides.push(stride);
        Layout { shape: dims.into(), strides, offset: self.offset }
    }

    /// The diagonal `offset` of the plane of axes `a` and `b`, as the last axis.
    pub fn diagonal(&self, offset: i64, a: usize, b: usize) -> Layout {
        let (rows, cols) = (self.shape[a] as i64, self.shape[b] as i64);
        let len =
            if offset >= 0 { rows.min(cols - offset) } else { (rows + offset).min(cols) }.max(0) as usize;
        let start = match (len, offset) {
            (0, _) => 0,
            (_, o) if o >= 0 => o as usize * self.strides[b],
            (_, o) => o.unsigned_abs() as usize * self.strides[a],
        };
        let stride = self.strides[a] + self.strides[b];
        let mut out = self.squeeze(|x| x == a || x == b);
        out.shape = out.shape.iter().copied().chain([len]).collect();
        out.strides.push(stride);
        out.offset += start;
        out
    }

    /// The same elements in row-major order under another shape, when strides can express it (PyTorch's `view` rule).
    /// `shape` has the same number of elements.
    pub fn view(&self, shape: &Shape) -> Option<Layout> {
        if self.is_contiguous() {
            return Some(Layout {
                strides: shape.contiguous_strides(),
                shape: shape.clone(),
                offset: self.offset,
            });
        }
        if self.numel() == 0 {
            return (self.shape == *shape).then(|| self.clone());
        }
        let mut strides = Dims::from_elem(1, shape.rank());
        let mut new_axis = shape.rank();
        // Walk chunks of old axes that are contiguous among themselves; each must be filled exactly by new axes.
        let mut chunk_stride = self.strides.last().copied().unwrap_or(1);
        let (mut chunk, mut filled) = (1usize, 1usize);
        for axis in (0..self.rank()).rev() {
            chunk *= self.shape[axis];
            let ends =
                axis == 0 || (self.shape[axis - 1] != 1 && self.strides[axis - 1] != chunk * chunk_stride);
            if !ends {
                continue;
            }
            while new_axis > 0 && (filled < chunk || shape[new_axis - 1] == 1) {
                new_axis -= 1;
                strides[new_axis] = filled * chunk_stride;
                filled *= shape[new_axis];
            }
            if filled != chunk {
                return None;
            }
            if axis > 0 {
                chunk_stride = self.strides[axis - 1];
                (chunk, filled) = (1, 1);
            }
        }
        (new_axis == 0).then(|| Layout { shape: shape.clone(), strides, offset: self.offset })
    }

    /// Calls `visit` with the position of each element, in row-major order.
    pub fn for_each_position(&self, mut visit: impl FnMut(usize)) {
        if self.numel() == 0 {
            return;
        }
        let rank = self.rank();
        let mut index = Dims::from_elem(0, rank);
        let mut position = self.offset;
        loop {
            visit(position);
            let mut axis = rank;
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                index[axis] += 1;
                position += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                position -= index[axis] * self.strides[axis];
                index[axis] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(l: &Layout) -> Vec<usize> {
        let mut out = Vec::new();
        l.for_each_position(|p| out.push(p));
        out
    }

    #[test]
    fn view_keeps_row_major_order() {
        let base = Layout::contiguous([4, 6].into());
        let t = base.transpose(0, 1);
        assert!(t.view(&[24].into()).is_none());
        let split = t.view(&[2, 3, 2, 2].into()).expect("splitting axes needs no copy");
        assert_eq!(positions(&split), positions(&t));
        let half = base.slice(1, 0, 3, 2);
        assert_eq!(positions(&half.view(&[2, 2, 3].into()).unwrap()), positions(&half));
        assert_eq!(half.view(&[12].into()).unwrap().strides(), [2]);
        assert!(base.slice(1, 0, 4, 1).view(&[16].into()).is_none());
    }

    #[test]
    fn overlap_is_seen() {
        let base = Layout::contiguous([3, 4].into());
        assert!(!base.overlaps_itself());
        assert!(!base.transpose(0, 1).overlaps_itself());
        assert!(
            Layout::contiguous([1, 4].into()).broadcast_to("t", &[3, 4].into()).unwrap().overlaps_itself()
        );
        assert!(Layout::contiguous([6].into()).unfold(0, 3, 1).overlaps_itself());
        assert!(!Layout::contiguous([6].into()).unfold(0, 3, 3).overlaps_itself());
    }

    #[test]
    fn diagonals() {
        let base = Layout::contiguous([3, 4].into());
        assert_eq!(positions(&base.diagonal(0, 0, 1)), [0, 5, 10]);
        assert_eq!(positions(&base.diagonal(2, 0, 1)), [2, 7]);
        assert_eq!(positions(&base.diagonal(-1, 0, 1)), [4, 9]);
        assert_eq!(positions(&base.diagonal(9, 0, 1)), [0usize; 0]);
    }
}
