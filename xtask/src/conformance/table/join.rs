//! Tensors put together, repeated, mirrored, padded and cut apart.

use kiln_autograd::{Error, Indexing, PadMode, Sections, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop, Value, inexpressible, missing};
use crate::conformance::inexpressible;
use crate::vectors::Arg;

fn list(a: &Args<'_>) -> Answer<Vec<Tensor>> {
    a.tensors_from(0, "tensors")
}

fn sections(a: &Args<'_>) -> Answer<Sections> {
    let names = "indices_or_sections|sections|indices|tensor_indices_or_sections";
    Ok(match a.get(1, names) {
        Some(Arg::Int(n)) => Sections::Count(*n),
        Some(Arg::Tensor(_)) => {
            let t = a.tensor(1, names)?;
            match t.rank() {
                0 => Sections::Count(t.item()?.to_i64()),
                _ => Sections::At(t.to_vec::<i64>()?),
            }
        }
        Some(Arg::Str(_)) => return inexpressible(inexpressible::TYPE),
        _ => Sections::At(a.ints(1, names)?),
    })
}

fn pad(a: &Args<'_>) -> Answer<Tensor> {
    let (x, padding) = (a.x()?, a.ints(1, "pad")?);
    let mode = a.str_or(2, "mode", "constant")?;
    let value = a.opt_number(3, "value")?;
    let mode = match (mode, value) {
        ("constant", value) => PadMode::Constant(value.unwrap_or(0.into())),
        ("reflect", None) => PadMode::Reflect,
        ("replicate", None) => PadMode::Replicate,
        ("circular", None) => PadMode::Circular,
        (mode, _) => {
            return Err(Error::value("pad", format!("no mode {mode:?} that takes these arguments")).into());
        }
    };
    Ok(x.pad(&padding, mode)?)
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    type Joined = fn(&[&Tensor]) -> kiln_autograd::Result<Tensor>;
    let joined = |how: Joined| -> Answer<Out> {
        let list = list(a)?;
        Ok(how(&list.iter().collect::<Vec<_>>())?.into())
    };
    let refs = |list: &'_ [Tensor]| list.to_vec();
    Ok(match name {
        "cat" | "concat" | "concatenate" | "stack" => {
            let list = a.tensors(0, "tensors")?;
            let list: Vec<&Tensor> = list.iter().collect();
            let axis = a.int_or(1, "dim|axis", 0)?;
            if name == "stack" {
                Tensor::stack(&list, axis)?.into()
            } else {
                Tensor::cat(&list, axis)?.into()
            }
        }
        "hstack" => joined(Tensor::hstack)?,
        "vstack" | "row_stack" => joined(Tensor::vstack)?,
        "dstack" => joined(Tensor::dstack)?,
        "column_stack" => joined(Tensor::column_stack)?,
        "block_diag" => joined(Tensor::block_diag)?,
        "cartesian_prod" => joined(Tensor::cartesian_prod)?,
        "broadcast_tensors" => {
            let list = refs(&list(a)?);
            Tensor::broadcast_tensors(&list.iter().collect::<Vec<_>>())?.into()
        }
        "meshgrid" => {
            let list = list(a)?;
            let indexing = match a.str_or(usize::MAX, "indexing", "ij")? {
                "ij" => Indexing::Ij,
                "xy" => Indexing::Xy,
                other => {
                    let what = format!("indexing must be one of \"xy\" or \"ij\", but was {other:?}");
                    return Err(Error::value("meshgrid", what).into());
                }
            };
            Tensor::meshgrid(&list.iter().collect::<Vec<_>>(), indexing)?.into()
        }
        "atleast_1d" | "atleast_2d" | "atleast_3d" => {
            let raise = match name {
                "atleast_1d" => Tensor::atleast_1d,
                "atleast_2d" => Tensor::atleast_2d,
                _ => Tensor::atleast_3d,
            };
            match a.get(0, "tensors|input") {
                Some(Arg::Tensor(_)) if a.count() == 1 => raise(&a.x()?)?.into(),
                _ => list(a)?.iter().map(raise).collect::<Result<Vec<_>, _>>()?.into(),
            }
        }
        "combinations" => {
            let r = a.size_or(1, "r", 2)?;
            a.x()?.combinations(r, a.bool_or(2, "with_replacement", false)?)?.into()
        }
        "tensor_split" => a.x()?.tensor_split(sections(a)?, a.int_or(2, "dim", 0)?)?.into(),
        "hsplit" => a.x()?.hsplit(sections(a)?)?.into(),
        "vsplit" => a.x()?.vsplit(sections(a)?)?.into(),
        "dsplit" => a.x()?.dsplit(sections(a)?)?.into(),
        "Tensor.repeat" => a.x()?.repeat(&a.ints_from(1, "repeats|sizes")?)?.into(),
        "tile" => a.x()?.tile(&a.ints_from(1, "dims")?)?.into(),
        "repeat_interleave" => {
            let axis = a.opt_int(2, "dim")?;
            let y = match a.value(1, "repeats")? {
                Value::Number(n) => a.x()?.repeat_interleave(n.to_i64(), axis)?,
                Value::Tensor(t) => a.x()?.repeat_interleave_by(&t, axis)?,
            };
            // The size is a hint; a wrong one is an error.
            if let Some(size) = a.opt_int(usize::MAX, "output_size")? {
                let along = y.size(axis.unwrap_or(0))?;
                if along as i64 != size {
                    let what = format!("output_size {size} given, {along} found");
                    return Err(Error::value("repeat_interleave", what).into());
                }
            }
            y.into()
        }
        "flip" => a.x()?.flip(&a.ints_from(1, "dims")?)?.into(),
        "fliplr" => a.x()?.fliplr()?.into(),
        "flipud" => a.x()?.flipud()?.into(),
        "roll" => a.x()?.roll(&a.ints(1, "shifts")?, &a.opt_ints(2, "dims")?.unwrap_or_default())?.into(),
        "rot90" => {
            let axes = a.opt_ints(2, "dims")?.unwrap_or_else(|| vec![0, 1]);
            a.x()?.rot90(a.int_or(1, "k", 1)?, &axes)?.into()
        }
        "tril" => a.x()?.tril(a.int_or(1, "diagonal", 0)?)?.into(),
        "triu" => a.x()?.triu(a.int_or(1, "diagonal", 0)?)?.into(),
        "diag" => a.x()?.diag(a.int_or(1, "diagonal", 0)?)?.into(),
        "diagflat" => a.x()?.diagflat(a.int_or(1, "offset", 0)?)?.into(),
        "diag_embed" => {
            let (offset, first) = (a.int_or(1, "offset", 0)?, a.int_or(2, "dim1", -2)?);
            a.x()?.diag_embed(offset, first, a.int_or(3, "dim2", -1)?)?.into()
        }
        "nn.functional.pad" => pad(a)?.into(),
        "constant_pad_nd" => {
            let padding = a.ints(1, "pad")?;
            a.x()?.constant_pad_nd(&padding, a.number_or(2, "value", 0)?)?.into()
        }
        "tril_indices" | "triu_indices" => {
            let (rows, columns) = (a.size(0, "row")?, a.size(1, "col")?);
            let offset = a.int_or(2, "offset", 0)?;
            let dtype = a.dtype(usize::MAX, "dtype")?;
            if let Some(other) = a.named("device").filter(|d| **d != Arg::Device("cpu".to_owned())) {
                return missing(format!("the device {other:?}"));
            }
            let t = match name {
                "tril_indices" => Tensor::tril_indices(rows, columns, offset)?,
                _ => Tensor::triu_indices(rows, columns, offset)?,
            };
            t.to_dtype(dtype.unwrap_or(kiln_autograd::DType::I64))?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}

/// The in-place forms.
pub fn in_place(name: &str, a: &Args<'_>) -> Answer<()> {
    match name {
        "tril_" => Ok(a.x()?.tril_(a.int_or(1, "diagonal", 0)?)?),
        "triu_" => Ok(a.x()?.triu_(a.int_or(1, "diagonal", 0)?)?),
        _ => Err(Stop::NoRow),
    }
}
