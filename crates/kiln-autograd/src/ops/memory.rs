//! Tensors by the memory they lie in: given strides, other sizes, results written to memory that is there.

use kiln_ops::{Layout, RawTensor};

use crate::record::record;
use crate::{Error, Here, Result, Shape, Sizes, Tensor, TensorOptions, tangents};

/// Sizes or strides, none of which may be negative.
#[track_caller]
fn counts(op: &'static str, what: &str, numbers: &[i64]) -> Result<Vec<usize>> {
    let found = numbers.iter().map(|&n| usize::try_from(n)).collect::<std::result::Result<_, _>>();
    found.map_err(|_| Error::value(op, format!("{what} must not be negative, got {numbers:?}"))).here()
}

impl Tensor {
    /// A tensor to be written before it is read, whose elements lie in memory as `strides` says
    /// (`torch.empty_strided`). As in [`Tensor::empty`], the memory holds zeros.
    ///
    /// ```
    /// use kiln_autograd::{F64, Tensor};
    /// let columns_first = Tensor::empty_strided(&[2, 3], &[1, 2], F64)?;
    /// assert_eq!(columns_first.strides(), [1, 2]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// Another number of strides than of sizes; negative ones; memory that is not there; options that make no sense.
    #[track_caller]
    pub fn empty_strided(size: &[i64], strides: &[i64], options: impl Into<TensorOptions>) -> Result<Tensor> {
        const OP: &str = "empty_strided";
        let options = options.into();
        let shape = Shape::new(&counts(OP, "sizes", size)?);
        let layout = Layout::new(shape, &counts(OP, "strides", strides)?, 0).here()?;
        let Some(room) = layout.extent() else {
            return Err(Error::value(OP, format!("sizes {size:?} and strides {strides:?} are too large")));
        };
        let memory =
            kiln_ops::full(&Shape::new(&[room]), 0.into(), options.float(), options.device).here()?;
        Tensor::from_raw(memory.with_layout(layout)).requires_grad_(options.requires_grad)
    }

    /// [`Tensor::empty_strided`] with this tensor's dtype and device (`Tensor.new_empty_strided`).
    ///
    /// # Errors
    /// As [`Tensor::empty_strided`].
    #[track_caller]
    pub fn new_empty_strided(&self, size: &[i64], strides: &[i64]) -> Result<Tensor> {
        Tensor::empty_strided(size, strides, self)
    }

    /// A tensor to be written before it is read, without gaps in memory, whose axes lie there in the order of `layout`,
    /// outermost first (`torch.empty_permuted`).
    ///
    /// # Errors
    /// `layout` is not an order of the axes; otherwise as [`Tensor::empty_strided`].
    #[track_caller]
    pub fn empty_permuted(size: &[i64], layout: &[i64], options: impl Into<TensorOptions>) -> Result<Tensor> {
        const OP: &str = "empty_permuted";
        if size.len() != layout.len() {
            let what = format!(
                "Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = {} is not \
                 equal to len(physical_layout) = {}",
                size.len(),
                layout.len()
            );
            return Err(Error::shape(OP, what));
        }
        let sizes = counts(OP, "sizes", size)?;
        let (mut strides, mut step) = (vec![None; sizes.len()], 1i64);
        for &axis in layout.iter().rev() {
            let place = usize::try_from(axis).ok().and_then(|a| strides.get_mut(a).zip(sizes.get(a)));
            let Some((place, &n)) = place else {
                let what = format!("Dimension out of range: {layout:?} for {} axes", sizes.len());
                return Err(Error::index(OP, what));
            };
            if place.replace(step).is_some() {
                return Err(Error::value(OP, format!("Duplicate dim not allowed, got {layout:?}")));
            }
            step = step.saturating_mul(n.max(1) as i64);
        }
        let strides: Vec<i64> = strides.into_iter().flatten().collect();
        Tensor::empty_strided(size, &strides, options)
    }

    /// Gives the tensor other sizes, in place (`Tensor.resize_`): the elements are those that lie in memory from its first
    /// one on, in row-major order. The same sizes change nothing. Where there is less memory than that, it moves to memory of its own, which begins with the old elements;
    /// other tensors keep seeing the old memory.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let x = Tensor::from_vec(vec![1, 2, 3, 4, 5, 6], [2, 3])?;
    /// x.resize_([2, 2])?;
    /// assert_eq!(x.to_vec::<i32>()?, [1, 2, 3, 4]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A tensor that requires grad; negative sizes; memory that is not there.
    #[track_caller]
    pub fn resize_(&self, sizes: impl Into<Sizes>) -> Result<()> {
        const OP: &str = "resize_";
        if self.needs_edge() || tangents::is_dual(self) {
            return Err(Error::autograd(OP, "cannot resize variables that require grad"));
        }
        let shape = Shape::new(&counts(OP, "sizes", &sizes.into().0)?);
        let needed = shape.checked_numel(OP).here()?;
        let raw = self.raw().clone();
        if *raw.shape() == shape {
            return Ok(());
        }
        let start = raw.layout().offset();
        let room = self.memory_len();
        let fits = start.checked_add(needed).is_some_and(|end| end <= room);
        if needed == 0 || fits {
            let start = if needed == 0 { 0 } else { start };
            let strides = shape.contiguous_strides();
            self.replace_raw(raw.with_layout(Layout::new(shape, &strides, start).here()?));
            return Ok(());
        }
        let grown = kiln_ops::full(&shape, 0.into(), raw.dtype(), raw.device()).here()?;
        let kept = room.saturating_sub(start).min(needed);
        let span = |t: &RawTensor, start: usize| {
            Ok::<_, Error>(t.with_layout(Layout::new([kept].into(), &[1], start).here()?))
        };
        kiln_ops::copy_(&span(&grown, 0).here()?, &span(&raw, start).here()?).here()?;
        self.replace_raw(grown);
        Ok(())
    }

    /// [`Tensor::resize_`] to another tensor's sizes (`Tensor.resize_as_`).
    ///
    /// # Errors
    /// As [`Tensor::resize_`].
    #[track_caller]
    pub fn resize_as_(&self, other: &Tensor) -> Result<()> {
        self.resize_(other.shape())
    }

    /// How many elements there is room for in the memory that this tensor looks at.
    fn memory_len(&self) -> usize {
        let raw = self.raw();
        raw.storage().bytes() / raw.dtype().size()
    }

    /// A copy, with `src` at the elements that [`Tensor::as_strided`] gives (`torch.as_strided_scatter`).
    ///
    /// The gradient is PyTorch's, also for this tensor: it gets that of the elements that were written, and not of the
    /// others as one would expect ([`Tensor::as_strided`] of a copy, written to, has the right one).
    ///
    /// # Errors
    /// A layout that reaches past the memory; `src` of another shape than `size`; a gradient for a tensor that is not
    /// contiguous.
    #[track_caller]
    pub fn as_strided_scatter(
        &self,
        src: &Tensor,
        size: &[i64],
        strides: &[i64],
        offset: Option<i64>,
    ) -> Result<Tensor> {
        const OP: &str = "as_strided_scatter";
        if src.shape().iter().map(|&n| n as i64).ne(size.iter().copied()) {
            let what = format!(
                "expected src to have a size equal to the slice of self. src size = {:?}, slice size = {size:?}",
                src.shape()
            );
            return Err(Error::shape(OP, what));
        }
        let own = self.raw().layout().clone();
        if Tensor::any_requires_grad(&[self, src]) && !(own.is_contiguous() && own.offset() == 0) {
            let what =
                "as_strided_scatter has a derivative for contiguous tensors only; use contiguous() first";
            return Err(Error::autograd(OP, what));
        }
        let offset = Some(offset.unwrap_or(own.offset() as i64));
        // The layout may reach what the tensor itself does not show: all of its memory is copied.
        let memory = [self.memory_len() as i64];
        let memory =
            kiln_ops::contiguous_copy(&kiln_ops::as_strided(&self.raw(), &memory, &[1], Some(0)).here()?)
                .here()?;
        kiln_ops::copy_(&kiln_ops::as_strided(&memory, size, strides, offset).here()?, &src.raw()).here()?;
        let y = kiln_ops::contiguous_copy(&memory.with_layout(own)).here()?;
        let (size, strides) = (size.to_vec(), strides.to_vec());
        let place = move |t: &Tensor| t.as_strided(&size, &strides, offset);
        Ok(record("AsStridedScatterBackward0", y)
            .input(self, || {
                let place = place.clone();
                move |g: &Tensor| {
                    let written = g.zeros_like()?;
                    place(&written)?.copy_(&place(&g.contiguous()?)?)?;
                    Ok(written)
                }
            })
            .input(src, || {
                let place = place.clone();
                move |g: &Tensor| place(&g.contiguous()?)
            })
            .done())
    }
}
