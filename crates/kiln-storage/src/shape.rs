//! Shapes, axes and the broadcasting of shapes.

use std::fmt;
use std::ops::Deref;

use crate::{Dims, Error, Result};

/// The sizes of a tensor, outermost first; prints as `[2, 3]`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Dims);

impl Shape {
    /// The shape with the given sizes.
    #[inline]
    pub fn new(dims: &[usize]) -> Shape {
        Shape(Dims::from_slice(dims))
    }

    /// The sizes.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements: the product of the sizes, 1 for rank 0.
    #[inline]
    pub fn numel(&self) -> usize {
        self.0.iter().product()
    }

    /// The strides, in elements, of a row-major tensor of this shape.
    #[inline]
    pub fn contiguous_strides(&self) -> Dims {
        let mut strides = Dims::from_elem(1, self.rank());
        let mut step = 1usize;
        for axis in (0..self.rank()).rev() {
            strides[axis] = step;
            step = step.wrapping_mul(self.0[axis].max(1));
        }
        strides
    }

    /// The axis that `axis`, possibly negative, names.
    ///
    /// # Errors
    /// `axis` outside of `-rank..rank` (for rank 0, -1 and 0 are allowed as in PyTorch and give 0).
    #[inline]
    pub fn axis(&self, op: &'static str, axis: i64) -> Result<usize> {
        resolve_axis(op, axis, self.rank())
    }

    /// The shape with the size at `axis` replaced.
    pub fn with(&self, axis: usize, size: usize) -> Shape {
        let mut s = self.clone();
        s.0[axis] = size;
        s
    }

    /// The shape without `axis`.
    pub fn without(&self, axis: usize) -> Shape {
        let mut s = self.clone();
        s.0.remove(axis);
        s
    }

    /// The number of elements, or an error when it overflows.
    ///
    /// # Errors
    /// The product of the sizes does not fit into the address space.
    pub fn checked_numel(&self, op: &'static str) -> Result<usize> {
        let mut product = 1usize;
        if self.0.contains(&0) {
            return Ok(0);
        }
        for &d in &self.0 {
            product = product
                .checked_mul(d)
                .filter(|&n| n <= isize::MAX as usize / 8)
                .ok_or_else(|| Error::shape(op, format!("{self:?}: the number of elements overflows")))?;
        }
        Ok(product)
    }
}

/// The axis that `axis`, possibly negative, names in a tensor of `rank` axes.
///
/// # Errors
/// `axis` outside of `-rank..rank`; rank 0 counts as rank 1, as in PyTorch.
#[inline]
pub fn resolve_axis(op: &'static str, axis: i64, rank: usize) -> Result<usize> {
    let n = rank.max(1) as i64;
    if axis >= -n && axis < n {
        return Ok(if axis < 0 { axis + n } else { axis } as usize);
    }
    Err(Error::index(
        op,
        format!("Dimension out of range (expected to be in range of [{}, {}], but got {axis})", -n, n - 1),
    ))
}

/// The shape that `a` and `b` broadcast to.
///
/// # Errors
/// Two sizes at the same distance from the end differ and neither is 1.
pub fn broadcast_shapes(op: &'static str, a: &Shape, b: &Shape) -> Result<Shape> {
    if a == b {
        return Ok(a.clone());
    }
    let rank = a.rank().max(b.rank());
    let mut out = Dims::from_elem(1, rank);
    for i in 1..=rank {
        let x = if i <= a.rank() { a[a.rank() - i] } else { 1 };
        let y = if i <= b.rank() { b[b.rank() - i] } else { 1 };
        out[rank - i] = match (x, y) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            (x, y) => {
                return Err(Error::shape(
                    op,
                    format!(
                        "shapes {a:?} and {b:?} cannot be broadcast: The size of tensor a ({x}) must match the size of \
                         tensor b ({y}) at non-singleton dimension {}",
                        rank - i
                    ),
                ));
            }
        };
    }
    Ok(Shape(out))
}

impl Deref for Shape {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter()).finish()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl From<&[usize]> for Shape {
    #[inline]
    fn from(dims: &[usize]) -> Shape {
        Shape::new(dims)
    }
}

impl From<&Vec<usize>> for Shape {
    fn from(dims: &Vec<usize>) -> Shape {
        Shape::new(dims)
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Shape {
        Shape::new(&dims)
    }
}

impl From<Dims> for Shape {
    #[inline]
    fn from(dims: Dims) -> Shape {
        Shape(dims)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[inline]
    fn from(dims: [usize; N]) -> Shape {
        Shape::new(&dims)
    }
}

impl<const N: usize> From<&[usize; N]> for Shape {
    #[inline]
    fn from(dims: &[usize; N]) -> Shape {
        Shape::new(dims)
    }
}

impl From<&Shape> for Shape {
    #[inline]
    fn from(shape: &Shape) -> Shape {
        shape.clone()
    }
}

impl From<()> for Shape {
    fn from(_: ()) -> Shape {
        Shape::new(&[])
    }
}

impl From<usize> for Shape {
    fn from(n: usize) -> Shape {
        Shape::new(&[n])
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(iter: I) -> Shape {
        Shape(iter.into_iter().collect())
    }
}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, other: &[usize]) -> bool {
        self.dims() == other
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        self.dims() == other
    }
}
