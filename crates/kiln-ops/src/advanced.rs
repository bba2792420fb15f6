//! Indexing with tensors for any axes (`x[i, :, mask]`), by NumPy's rules.

use kiln_storage::{DType, Dims, Error, RawTensor, Result, Shape, broadcast_shapes};

use crate::backend::{run, uninit};
use crate::copy::{contiguous, contiguous_copy, to_device, to_dtype};
use crate::index::{accumulate, memory_of, new_values, on_copy};
use crate::mask::{masked_fill_, masked_select, nonzero};
use crate::op::{Combine, Op};
use crate::rules::same_device;

/// Index tensors that were checked and brought to one shape.
struct Plan {
    axes: Dims,
    place: usize,
    indices: Vec<RawTensor>,
    shape: Shape,
}

fn is_mask(t: &RawTensor) -> bool {
    matches!(t.dtype(), DType::Bool | DType::U8)
}

/// The only index, if it is a mask of the whole tensor.
fn whole_mask<'a>(x: &RawTensor, indices: &'a [Option<RawTensor>]) -> Option<&'a RawTensor> {
    match indices {
        [Some(mask)] if is_mask(mask) && mask.rank() > 0 && mask.shape() == x.shape() => Some(mask),
        _ => None,
    }
}

/// Masks become the indices of their true elements; then all broadcast together. Where the result's axes go: to the
/// place of the indexed axes if these are neighbours, else to the front.
fn plan(op: &'static str, x: &RawTensor, indices: &[Option<RawTensor>]) -> Result<Plan> {
    let mut axes = Dims::new();
    let mut lists: Vec<RawTensor> = Vec::new();
    let mut axis = 0;
    for index in indices {
        let Some(index) = index else {
            axis += 1;
            continue;
        };
        let index = to_device(index, x.device())?;
        let taken = if is_mask(&index) { index.rank() } else { 1 };
        if axis + taken > x.rank() {
            return Err(too_many(op, x, axis + taken));
        }
        if is_mask(&index) {
            if taken == 0 {
                return Err(Error::index(
                    op,
                    "a 0-dim mask selects on no axis; give the mask and the tensor an axis of size 1 for it",
                ));
            }
            if let Some(a) = (0..taken).find(|&a| index.shape()[a] != x.shape()[axis + a]) {
                return Err(Error::index(
                    op,
                    format!(
                        "The shape of the mask {:?} at index {a} does not match the shape of the indexed tensor {:?} at \
                         index {}",
                        index.shape(),
                        x.shape(),
                        axis + a
                    ),
                ));
            }
            let positions = nonzero(&index)?;
            for a in 0..taken {
                axes.push(axis + a);
                lists.push(positions.with_layout(positions.layout().select(1, a)));
            }
        } else if matches!(index.dtype(), DType::I32 | DType::I64) {
            axes.push(axis);
            lists.push(to_dtype(&index, DType::I64)?);
        } else {
            return Err(Error::dtype(
                op,
                format!(
                    "tensors used as indices must be long, int, byte or bool tensors, got {}",
                    index.dtype()
                ),
            ));
        }
        axis += taken;
    }
    if axis > x.rank() {
        return Err(too_many(op, x, axis));
    }
    if lists.is_empty() {
        return Err(Error::index(op, "at least one index must be provided"));
    }
    let mut shape = lists[0].shape().clone();
    for list in &lists[1..] {
        shape = broadcast_shapes(op, &shape, list.shape()).map_err(|_| {
            let shapes: Vec<String> = lists.iter().map(|l| format!("{:?}", l.shape())).collect();
            Error::index(
                op,
                format!(
                    "shape mismatch: indexing tensors could not be broadcast together with shapes {}",
                    shapes.join(", ")
                ),
            )
        })?;
    }
    for list in &mut lists {
        *list = contiguous(&list.with_layout(list.layout().broadcast_to(op, &shape)?))?;
    }
    let adjacent = axes.windows(2).all(|w| w[1] == w[0] + 1);
    Ok(Plan { place: if adjacent { axes[0] } else { 0 }, axes, indices: lists, shape })
}

fn too_many(op: &'static str, x: &RawTensor, got: usize) -> Error {
    Error::index(op, format!("too many indices for tensor of dimension {} (got {got})", x.rank()))
}

impl Plan {
    /// The shape of what is indexed.
    fn result(&self, x: &RawTensor) -> Shape {
        let mut free = (0..x.rank()).filter(|a| !self.axes.contains(a)).map(|a| x.shape()[a]);
        let mut dims: Dims = free.by_ref().take(self.place).collect();
        dims.extend(self.shape.iter().copied());
        dims.extend(free);
        dims.into()
    }
}

/// The elements at index tensors for some axes: `indices[i]` is for axis `i`, `None` takes all of it. Integers may be
/// negative; a mask (bool or uint8) stands for the indices of its true elements on as many axes as it has.
///
/// # Errors
/// No index tensor, more of them than axes, shapes that do not broadcast, masks of another shape than the axes they are
/// for, other dtypes, integers out of bounds.
pub fn index(x: &RawTensor, indices: &[Option<RawTensor>]) -> Result<RawTensor> {
    const OP: &str = "index";
    if let Some(mask) = whole_mask(x, indices) {
        return masked_select(x, &to_dtype(&to_device(mask, x.device())?, DType::Bool)?);
    }
    let plan = plan(OP, x, indices)?;
    let out = uninit(OP, &plan.result(x), x.dtype(), x.device())?;
    let inputs: Vec<&RawTensor> = std::iter::once(x).chain(&plan.indices).collect();
    run(OP, &Op::Index { axes: plan.axes, place: plan.place, wrap: true }, &inputs, &[&out])?;
    Ok(out)
}

/// Writes `values`, broadcast, to the elements that [`index`] gives, or adds them there. Of several values for one
/// element the last one stays, and sums are made in order.
///
/// # Errors
/// As [`index`]; values of another dtype or of a shape that does not broadcast.
pub fn index_put_(
    x: &RawTensor,
    indices: &[Option<RawTensor>],
    values: &RawTensor,
    accumulates: bool,
) -> Result<()> {
    const OP: &str = "index_put_";
    same_device(OP, &[x, values])?;
    if x.dtype() != values.dtype() {
        return Err(Error::dtype(
            OP,
            format!(
                "Index put requires the source and destination dtypes match, got {} for the destination and {} for the \
                 source.",
                x.dtype(),
                values.dtype()
            ),
        ));
    }
    if let Some(mask) = whole_mask(x, indices).filter(|_| values.rank() == 0 && !accumulates) {
        return masked_fill_(x, &to_dtype(&to_device(mask, x.device())?, DType::Bool)?, values);
    }
    let plan = plan(OP, x, indices)?;
    let shape = plan.result(x);
    let fitting = values.layout().broadcast_to(OP, &shape).map_err(|_| {
        Error::shape(
            OP,
            format!(
                "shape mismatch: value tensor of shape {:?} cannot be broadcast to indexing result of shape {shape:?}",
                values.shape()
            ),
        )
    })?;
    let values = new_values(OP, x, &values.with_layout(fitting))?;
    if x.layout().overlaps_itself() {
        let (memory, places) = memory_of(x)?;
        return crate::put_(&memory, &index(&places, indices)?, &values, accumulates);
    }
    let mut lists = plan.indices;
    for list in &mut lists {
        if list.storage().is_same(x.storage()) {
            *list = contiguous_copy(list)?;
        }
    }
    let combine = if accumulates { Combine::Add } else { Combine::Replace };
    let kernel = Op::IndexPut { axes: plan.axes, place: plan.place, wrap: true, combine };
    accumulate(OP, x, combine, values, |x, values| {
        let inputs: Vec<&RawTensor> = std::iter::once(values).chain(&lists).collect();
        run(OP, &kernel, &inputs, &[x])
    })?;
    x.bump_version();
    Ok(())
}

/// [`index_put_`] on a copy.
///
/// # Errors
/// As [`index_put_`].
pub fn index_put(
    x: &RawTensor,
    indices: &[Option<RawTensor>],
    values: &RawTensor,
    accumulates: bool,
) -> Result<RawTensor> {
    on_copy(x, |out| index_put_(out, indices, values, accumulates))
}
