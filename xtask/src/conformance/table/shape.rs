//! Views and other arrangements of the same elements.

use crate::conformance::args::{Answer, Args, Out, Stop, missing};
use crate::vectors::Arg;

/// Sizes where `-1` may stand for one of them, given one by one or as a list.
fn sizes(a: &Args<'_>, position: usize) -> Answer<Vec<i64>> {
    a.ints_from(position, "size|shape|sizes|dims")
}

fn pieces(a: &Args<'_>) -> Answer<Out> {
    let (x, axis) = (a.x()?, a.int_or(2, "dim", 0)?);
    Ok(match a.get(1, "split_size_or_sections|split_size|split_sizes") {
        Some(Arg::Int(size)) => x.split(*size, axis)?.into(),
        _ => x.split_with_sizes(&a.ints(1, "split_size_or_sections|split_size|split_sizes")?, axis)?.into(),
    })
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    Ok(match name {
        "reshape" => a.x()?.reshape(sizes(a, 1)?.as_slice())?.into(),
        "Tensor.view" => match a.dtype(1, "dtype") {
            Ok(Some(dtype)) => return missing(format!("a view as {dtype}")),
            _ => a.x()?.view(sizes(a, 1)?.as_slice())?.into(),
        },
        "view_copy" => match a.dtype(1, "dtype") {
            Ok(Some(dtype)) => return missing(format!("a view as {dtype}")),
            _ => a.x()?.reshape(sizes(a, 1)?.as_slice())?.copy()?.into(),
        },
        "Tensor.view_as" => a.x()?.view_as(&a.tensor(1, "other")?)?.into(),
        "Tensor.reshape_as" => a.x()?.reshape_as(&a.tensor(1, "other")?)?.into(),
        "Tensor.expand" => a.x()?.expand(sizes(a, 1)?.as_slice())?.into(),
        "Tensor.expand_as" => a.x()?.expand_as(&a.tensor(1, "other")?)?.into(),
        "broadcast_to" => {
            let sizes = sizes(a, 1)?;
            a.x()?.expand(sizes.as_slice())?.into()
        }
        "flatten" => a.x()?.flatten(a.int_or(1, "start_dim", 0)?, a.int_or(2, "end_dim", -1)?)?.into(),
        "ravel" => a.x()?.reshape([-1i64])?.into(),
        "unflatten" => a.x()?.unflatten(a.int(1, "dim")?, a.ints(2, "sizes")?.as_slice())?.into(),
        "permute" => a.x()?.permute(&sizes(a, 1)?)?.into(),
        "transpose" | "swapaxes" | "swapdims" => {
            a.x()?.transpose(a.int(1, "dim0|axis0")?, a.int(2, "dim1|axis1")?)?.into()
        }
        "t" => a.x()?.t()?.into(),
        "Tensor.T" => {
            let x = a.x()?;
            let order: Vec<i64> = (0..x.rank() as i64).rev().collect();
            x.permute(&order)?.into()
        }
        "Tensor.mT" | "Tensor.mH" => a.x()?.transpose(-2, -1)?.into(),
        "Tensor.H" => a.x()?.t()?.into(),
        "movedim" | "moveaxis" => {
            let (source, destination) = (a.ints(1, "source")?, a.ints(2, "destination")?);
            a.x()?.movedim(&source, &destination)?.into()
        }
        "unsqueeze" => a.x()?.unsqueeze(a.int(1, "dim")?)?.into(),
        "squeeze" => match a.opt_ints(1, "dim")? {
            None => a.x()?.squeeze()?.into(),
            Some(axes) => a.x()?.squeeze_axes(&axes)?.into(),
        },
        "narrow" => {
            // All are asked for before the first error counts.
            let (x, axis, start, length) = (a.x(), a.int(1, "dim"), a.int(2, "start"), a.int(3, "length"));
            x?.narrow(axis?, start?, length?)?.into()
        }
        "select" => a.x()?.select(a.int(1, "dim")?, a.int(2, "index")?)?.into(),
        "diagonal" => {
            let (offset, first) = (a.int_or(1, "offset", 0)?, a.int_or(2, "dim1", 0)?);
            a.x()?.diagonal(offset, first, a.int_or(3, "dim2", 1)?)?.into()
        }
        "split" | "split_with_sizes" => pieces(a)?,
        "chunk" => a.x()?.chunk(a.int(1, "chunks")?, a.int_or(2, "dim", 0)?)?.into(),
        "unbind" => a.x()?.unbind(a.int_or(1, "dim", 0)?)?.into(),
        "Tensor.unfold" => {
            let (axis, size) = (a.int(1, "dimension")?, a.int(2, "size")?);
            a.x()?.unfold(axis, size, a.int(3, "step")?)?.into()
        }
        "as_strided" => {
            let (size, stride) = (a.ints(1, "size")?, a.ints(2, "stride")?);
            a.x()?.as_strided(&size, &stride, a.opt_int(3, "storage_offset")?)?.into()
        }
        "broadcast_shapes" => {
            let mut shape = kiln_autograd::Shape::new(&[]);
            for i in 0..a.count() {
                let one: Vec<usize> = a.ints(i, "shapes")?.iter().map(|&s| s as usize).collect();
                let one = kiln_autograd::Shape::new(&one);
                shape = kiln_autograd::kiln_ops::broadcast_shapes("broadcast_shapes", &shape, &one)?;
            }
            Out::Plain(Arg::List(shape.iter().map(|&s| Arg::Int(s as i64)).collect()))
        }
        _ => return Err(Stop::NoRow),
    })
}

/// The in-place forms: another view behind the same handle.
pub fn in_place(name: &str, a: &Args<'_>) -> Answer<()> {
    match name {
        "t_" => a.x()?.t_()?,
        "transpose_" | "swapaxes_" | "swapdims_" => {
            a.x()?.transpose_(a.int(1, "dim0|axis0")?, a.int(2, "dim1|axis1")?)?;
        }
        "unsqueeze_" => a.x()?.unsqueeze_(a.int(1, "dim")?)?,
        "squeeze_" => match a.opt_ints(1, "dim")? {
            None => a.x()?.squeeze_()?,
            Some(axes) => a.x()?.squeeze_axes_(&axes)?,
        },
        "as_strided_" => {
            let (size, stride) = (a.ints(1, "size")?, a.ints(2, "stride")?);
            a.x()?.as_strided_(&size, &stride, a.opt_int(3, "storage_offset")?)?;
        }
        _ => return Err(Stop::NoRow),
    }
    Ok(())
}
