//! Views under another shape or order of axes: no element moves, but for [`reshape`] where strides cannot express the
//! result.
//!
//! Axes and sizes are `i64` as in PyTorch: negative axes count from the end, one size of -1 is inferred.

use kiln_storage::{Dims, Error, Layout, RawTensor, Result, Shape, resolve_axis};

use crate::copy::contiguous_copy;

/// The shape that `sizes`, with at most one -1, names for `numel` elements.
pub(crate) fn infer_shape(op: &'static str, sizes: &[i64], numel: usize) -> Result<Shape> {
    let mut inferred = None;
    let mut product = Some(1usize);
    for (i, &size) in sizes.iter().enumerate() {
        match size {
            -1 if inferred.is_some() => return Err(Error::shape(op, "only one dimension can be inferred")),
            -1 => inferred = Some(i),
            0.. => product = product.and_then(|p| p.checked_mul(size as usize)),
            _ => {
                return Err(Error::shape(
                    op,
                    format!("invalid shape dimension {size} at index {i} of shape {sizes:?}"),
                ));
            }
        }
    }
    let product = if sizes.contains(&0) { Some(0) } else { product };
    let mut dims: Dims = sizes.iter().map(|&s| s.max(0) as usize).collect();
    match (inferred, product) {
        (None, Some(p)) if p == numel => Ok(dims.into()),
        (Some(i), Some(p)) if p != 0 && numel.is_multiple_of(p) => {
            dims[i] = numel / p;
            Ok(dims.into())
        }
        (Some(_), Some(0)) if numel == 0 => Err(Error::shape(
            op,
            format!(
                "cannot reshape tensor of 0 elements into shape {sizes:?} because the unspecified dimension size -1 \
                 can be any value and is ambiguous"
            ),
        )),
        _ => Err(Error::shape(op, format!("shape '{sizes:?}' is invalid for input of size {numel}"))),
    }
}

fn not_a_view(op: &'static str, x: &RawTensor, shape: &Shape) -> Error {
    Error::shape(
        op,
        format!(
            "view size is not compatible with input tensor's size and stride (shape {:?}, strides {:?}, wanted {shape:?}): \
             at least one dimension spans across two contiguous subspaces; use reshape instead",
            x.shape(),
            x.layout().strides()
        ),
    )
}

/// The elements in row-major order under another shape (`Tensor.view`).
///
/// # Errors
/// The sizes do not give the same number of elements, or strides cannot express the result.
pub fn view(x: &RawTensor, sizes: &[i64]) -> Result<RawTensor> {
    const OP: &str = "view";
    let shape = infer_shape(OP, sizes, x.numel())?;
    match x.layout().view(&shape) {
        Some(layout) => Ok(x.with_layout(layout)),
        None => Err(not_a_view(OP, x, &shape)),
    }
}

/// [`view`] with the shape of another tensor.
///
/// # Errors
/// As [`view`].
pub fn view_as(x: &RawTensor, other: &RawTensor) -> Result<RawTensor> {
    const OP: &str = "view_as";
    let shape = other.shape();
    if shape.numel() != x.numel() {
        return Err(Error::shape(
            OP,
            format!("shape '{shape:?}' is invalid for input of size {}", x.numel()),
        ));
    }
    x.layout().view(shape).map(|l| x.with_layout(l)).ok_or_else(|| not_a_view(OP, x, shape))
}

/// The elements in row-major order under another shape: a view if strides can express it, else a copy.
///
/// # Errors
/// The sizes do not give the same number of elements.
pub fn reshape(x: &RawTensor, sizes: &[i64]) -> Result<RawTensor> {
    reshape_to(x, infer_shape("reshape", sizes, x.numel())?)
}

/// [`reshape`] to a shape that has the right number of elements.
pub(crate) fn reshape_to(x: &RawTensor, shape: Shape) -> Result<RawTensor> {
    match x.layout().view(&shape) {
        Some(layout) => Ok(x.with_layout(layout)),
        None => Ok(contiguous_copy(x)?.with_layout(Layout::contiguous(shape))),
    }
}

/// Axes `start` to `end`, both included, as one.
///
/// # Errors
/// Axes that are not there, or in the wrong order.
pub fn flatten(x: &RawTensor, start: i64, end: i64) -> Result<RawTensor> {
    const OP: &str = "flatten";
    let (start, end) = (x.shape().axis(OP, start)?, x.shape().axis(OP, end)?);
    if start > end {
        return Err(Error::value(
            OP,
            format!("flatten() has invalid args: start_dim ({start}) cannot come after end_dim ({end})"),
        ));
    }
    if x.rank() == 0 {
        return reshape_to(x, [1].into());
    }
    let dims = x.shape();
    let merged = dims[start..=end].iter().product();
    let shape =
        dims[..start].iter().copied().chain([merged]).chain(dims[end + 1..].iter().copied()).collect();
    reshape_to(x, shape)
}

/// One axis as several; one of the sizes may be -1.
///
/// # Errors
/// The sizes do not multiply to the axis' size.
pub fn unflatten(x: &RawTensor, axis: i64, sizes: &[i64]) -> Result<RawTensor> {
    const OP: &str = "unflatten";
    let at = x.shape().axis(OP, axis)?;
    if sizes.is_empty() {
        return Err(Error::shape(OP, "sizes must be non-empty"));
    }
    if x.rank() == 0 {
        return Err(Error::shape(OP, "a 0-dim tensor has no axis to take apart"));
    }
    let n = x.shape()[at];
    let inner = infer_shape(OP, sizes, n).map_err(|_| {
        Error::shape(
            OP,
            format!(
                "Provided sizes {sizes:?} don't multiply up to the size of dim {at} ({n}) in the input tensor \
                 of shape {:?}",
                x.shape()
            ),
        )
    })?;
    let dims = x.shape();
    let shape = dims[..at].iter().chain(inner.iter()).chain(&dims[at + 1..]).copied().collect();
    reshape_to(x, shape)
}

/// Axes in the given order.
///
/// # Errors
/// `axes` is not a permutation of all axes.
pub fn permute(x: &RawTensor, axes: &[i64]) -> Result<RawTensor> {
    const OP: &str = "permute";
    if axes.len() != x.rank() {
        return Err(Error::shape(
            OP,
            format!(
                "number of dimensions in the tensor input does not match the length of the desired ordering of \
                 dimensions i.e. input.dim() = {} is not equal to len(dims) = {}",
                x.rank(),
                axes.len()
            ),
        ));
    }
    let order = distinct_axes(OP, axes, x.rank(), |_| "permute(): duplicate dims are not allowed.".into())?;
    Ok(x.with_layout(x.layout().permute(&order)))
}

/// Resolves axes that must differ from each other; `repeated` words the complaint about one.
pub(crate) fn distinct_axes(
    op: &'static str,
    axes: &[i64],
    rank: usize,
    repeated: impl Fn(usize) -> String,
) -> Result<Dims> {
    let mut out = Dims::new();
    for &axis in axes {
        let at = resolve_axis(op, axis, rank)?;
        if out.contains(&at) {
            return Err(Error::value(op, repeated(at)));
        }
        out.push(at);
    }
    Ok(out)
}

/// Two axes exchanged.
///
/// # Errors
/// Axes that are not there.
pub fn transpose(x: &RawTensor, a: i64, b: i64) -> Result<RawTensor> {
    const OP: &str = "transpose";
    let (a, b) = (x.shape().axis(OP, a)?, x.shape().axis(OP, b)?);
    Ok(x.with_layout(x.layout().transpose(a, b)))
}

/// [`transpose`] under NumPy's name.
///
/// # Errors
/// Axes that are not there.
pub fn swapaxes(x: &RawTensor, a: i64, b: i64) -> Result<RawTensor> {
    transpose(x, a, b)
}

/// A matrix transposed; vectors and 0-dim tensors as they are.
///
/// # Errors
/// More than two axes.
pub fn t(x: &RawTensor) -> Result<RawTensor> {
    match x.rank() {
        0 | 1 => Ok(x.clone()),
        2 => Ok(x.with_layout(x.layout().transpose(0, 1))),
        n => Err(Error::shape("t", format!("t() expects a tensor with <= 2 dimensions, but self is {n}D"))),
    }
}

/// Axes `source` moved to the places `destination`; the others keep their order.
///
/// # Errors
/// Lists of different length, or an axis twice in one of them.
pub fn movedim(x: &RawTensor, source: &[i64], destination: &[i64]) -> Result<RawTensor> {
    const OP: &str = "movedim";
    if source.len() != destination.len() {
        return Err(Error::value(
            OP,
            format!(
                "Invalid source or destination dims: source ({source:?} dims) should contain the same number of dims \
                 as destination ({destination:?} dims)"
            ),
        ));
    }
    let rank = x.rank();
    let from = distinct_axes(OP, source, rank, |_| format!("repeated dim in `source` ({source:?})"))?;
    let to =
        distinct_axes(OP, destination, rank, |_| format!("repeated dim in `destination` ({destination:?})"))?;
    let mut rest = (0..rank).filter(|a| !from.contains(a));
    let order: Dims = (0..rank)
        .filter_map(|place| match to.iter().position(|&t| t == place) {
            Some(i) => Some(from[i]),
            None => rest.next(),
        })
        .collect();
    Ok(x.with_layout(x.layout().permute(&order)))
}

/// Axes of size 1 repeated to the given sizes, new axes in front; -1 keeps a size.
///
/// # Errors
/// A size differs from one that is not 1, fewer sizes than axes, or -1 for a new axis.
pub fn expand(x: &RawTensor, sizes: &[i64]) -> Result<RawTensor> {
    expand_as("expand", x, sizes)
}

/// [`expand`] to a shape without -1 (`torch.broadcast_to`).
///
/// # Errors
/// As [`expand`].
pub fn broadcast_to(x: &RawTensor, shape: &Shape) -> Result<RawTensor> {
    if x.shape() == shape {
        return Ok(x.clone());
    }
    let sizes: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    expand_as("broadcast_to", x, &sizes)
}

fn expand_as(op: &'static str, x: &RawTensor, sizes: &[i64]) -> Result<RawTensor> {
    let Some(lead) = sizes.len().checked_sub(x.rank()) else {
        return Err(Error::shape(
            op,
            format!(
                "tensor of shape {:?} to sizes {sizes:?}: the number of sizes provided ({}) must be greater or equal to \
                 the number of dimensions in the tensor ({})",
                x.shape(),
                sizes.len(),
                x.rank()
            ),
        ));
    };
    let mut dims = Dims::new();
    for (i, &size) in sizes.iter().enumerate() {
        let old = i.checked_sub(lead).map(|a| x.shape()[a]);
        dims.push(match (old, size) {
            (Some(old), -1) => old,
            (None, ..=-1) => {
                return Err(Error::shape(
                    op,
                    format!(
                        "The expanded size of the tensor ({size}) isn't allowed in a leading, non-existing dimension {i}"
                    ),
                ));
            }
            (Some(old), _) if size < 0 || (old != 1 && old as i64 != size) => {
                return Err(Error::shape(
                    op,
                    format!(
                        "The expanded size of the tensor ({size}) must match the existing size ({old}) at non-singleton \
                         dimension {i}. Target sizes: {sizes:?}. Tensor sizes: {:?}",
                        x.shape()
                    ),
                ));
            }
            _ => size as usize,
        });
    }
    let shape = Shape::from(dims);
    shape.checked_numel(op)?;
    Ok(x.with_layout(x.layout().broadcast_to(op, &shape)?))
}

/// A new axis of size 1 before `axis`; negative ones count from the end of the result.
///
/// # Errors
/// `axis` outside of the result's axes.
pub fn unsqueeze(x: &RawTensor, axis: i64) -> Result<RawTensor> {
    let at = resolve_axis("unsqueeze", axis, x.rank() + 1)?;
    Ok(x.with_layout(x.layout().unsqueeze(at)))
}

/// Without the axes of size 1.
#[must_use]
pub fn squeeze(x: &RawTensor) -> RawTensor {
    x.with_layout(x.layout().squeeze(|a| x.shape()[a] == 1))
}

/// Without those of the given axes that have size 1.
///
/// # Errors
/// Axes that are not there, or twice in the list.
pub fn squeeze_axes(x: &RawTensor, axes: &[i64]) -> Result<RawTensor> {
    let axes = distinct_axes("squeeze", axes, x.rank(), |a| {
        format!("dim {a} appears multiple times in the list of dims")
    })?;
    Ok(x.with_layout(x.layout().squeeze(|a| axes.contains(&a) && x.shape()[a] == 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(shape: &[usize]) -> RawTensor {
        let n = shape.iter().product::<usize>() as i64;
        RawTensor::from_vec("test", (0..n).collect(), shape).unwrap()
    }

    fn fails(r: Result<RawTensor>, part: &str) {
        let text = r.map(|t| t.shape().clone()).unwrap_err().to_string();
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }

    #[test]
    fn view_infers_one_size() {
        let x = numbers(&[3, 4]);
        assert_eq!(*view(&x, &[4, -1]).unwrap().shape(), [4, 3]);
        assert_eq!(*view(&numbers(&[1]), &[]).unwrap().shape(), [0usize; 0]);
        assert_eq!(*view(&numbers(&[0]), &[3, -1]).unwrap().shape(), [3, 0]);
        assert_eq!(*reshape(&numbers(&[0, 3]), &[-1, 3]).unwrap().shape(), [0, 3]);
        let ten = numbers(&[10]);
        fails(view(&ten, &[4, -1]), "shape '[4, -1]' is invalid for input of size 10");
        fails(reshape(&ten, &[3, 3]), "shape '[3, 3]' is invalid for input of size 10");
        fails(view(&ten, &[-1, -1]), "only one dimension can be inferred");
        fails(view(&ten, &[-2, 5]), "invalid shape dimension -2 at index 0 of shape [-2, 5]");
        fails(view(&numbers(&[0]), &[0, -1]), "ambiguous");
        fails(view(&ten, &[i64::MAX, i64::MAX]), "is invalid for input of size 10");
    }

    #[test]
    fn reshape_copies_only_what_strides_cannot_say() {
        let x = numbers(&[3, 4]);
        let xt = t(&x).unwrap();
        fails(view(&xt, &[12]), "spans across two contiguous subspaces");
        let copy = reshape(&xt, &[12]).unwrap();
        assert!(!copy.storage().is_same(x.storage()));
        assert_eq!(copy.to_vec::<i64>().unwrap(), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
        assert!(reshape(&xt, &[2, 2, 3]).unwrap().storage().is_same(x.storage()));
        assert_eq!(*view_as(&x, &numbers(&[2, 6])).unwrap().shape(), [2, 6]);
        fails(view_as(&x, &numbers(&[5])), "shape '[5]' is invalid for input of size 12");
    }

    #[test]
    fn flatten_and_unflatten() {
        let x = numbers(&[2, 3, 4]);
        assert_eq!(*flatten(&x, 0, -1).unwrap().shape(), [24]);
        assert_eq!(*flatten(&x, 1, 2).unwrap().shape(), [2, 12]);
        assert_eq!(*flatten(&numbers(&[]), 0, -1).unwrap().shape(), [1]);
        fails(flatten(&x, 1, 0), "cannot come after end_dim");
        fails(flatten(&x, 0, 5), "expected to be in range of [-3, 2], but got 5");
        assert_eq!(*unflatten(&x, -1, &[2, -1]).unwrap().shape(), [2, 3, 2, 2]);
        fails(
            unflatten(&x, 2, &[3, -1]),
            "Provided sizes [3, -1] don't multiply up to the size of dim 2 (4)",
        );
        fails(unflatten(&x, 2, &[]), "sizes must be non-empty");
    }

    #[test]
    fn orders_of_axes() {
        let x = numbers(&[2, 3, 4]);
        assert_eq!(*permute(&x, &[-1, 0, 1]).unwrap().shape(), [4, 2, 3]);
        fails(permute(&x, &[0, 0, 1]), "duplicate dims are not allowed");
        fails(permute(&x, &[0]), "input.dim() = 3 is not equal to len(dims) = 1");
        assert_eq!(*transpose(&x, 0, -1).unwrap().shape(), [4, 3, 2]);
        assert_eq!(transpose(&numbers(&[]), 0, -1).unwrap().rank(), 0);
        fails(transpose(&x, 0, 3), "but got 3");
        fails(t(&x), "expects a tensor with <= 2 dimensions, but self is 3D");
        assert_eq!(*movedim(&x, &[0], &[-1]).unwrap().shape(), [3, 4, 2]);
        assert_eq!(*movedim(&x, &[0, 1], &[2, 0]).unwrap().shape(), [3, 4, 2]);
        fails(movedim(&x, &[0, 1], &[2]), "same number of dims");
        fails(movedim(&x, &[0, 0], &[1, 2]), "repeated dim in `source`");
        fails(movedim(&x, &[0, 1], &[2, 2]), "repeated dim in `destination`");
    }

    #[test]
    fn expansion() {
        let x = numbers(&[3, 1]);
        let y = expand(&x, &[2, -1, 4]).unwrap();
        assert_eq!((y.shape().dims(), y.layout().strides()), ([2, 3, 4].as_slice(), [0, 1, 0].as_slice()));
        assert_eq!(*expand(&numbers(&[1]), &[0]).unwrap().shape(), [0]);
        fails(expand(&x, &[-1, 3, 1]), "(-1) isn't allowed in a leading, non-existing dimension 0");
        fails(expand(&x, &[3]), "the number of sizes provided (1)");
        fails(expand(&x, &[5, 1]), "The expanded size of the tensor (5) must match the existing size (3)");
        fails(expand(&x, &[3, -2]), "The expanded size of the tensor (-2)");
        fails(expand(&x, &[i64::MAX, 3, 1]), "overflows");
        fails(
            broadcast_to(&x, &[4, 4].into()),
            "must match the existing size (3) at non-singleton dimension 0",
        );
    }

    #[test]
    fn axes_of_size_one() {
        let x = numbers(&[1, 2, 1]);
        assert_eq!(*squeeze(&x).shape(), [2]);
        assert_eq!(*squeeze_axes(&x, &[1]).unwrap().shape(), [1, 2, 1]);
        assert_eq!(*squeeze_axes(&x, &[0, -1]).unwrap().shape(), [2]);
        fails(squeeze_axes(&x, &[0, -3]), "dim 0 appears multiple times");
        assert_eq!(*unsqueeze(&x, -4).unwrap().shape(), [1, 1, 2, 1]);
        fails(unsqueeze(&x, -5), "expected to be in range of [-4, 3], but got -5");
        assert_eq!(squeeze_axes(&numbers(&[]), &[0]).unwrap().rank(), 0);
    }
}
