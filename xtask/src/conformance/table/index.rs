//! Picking and placing: by index expressions, index tensors and masks.

use kiln_autograd::{Ellipsis, Error, Index, NewAxis, ScatterReduction, SearchOptions, Slice, Tensor};

use super::create::shape;
use crate::conformance::args::{Answer, Args, Out, Stop, Value, missing};
use crate::vectors::{Arg, Index as Part};

fn dim(a: &Args<'_>) -> Answer<i64> {
    a.int(1, "dim")
}

fn index(a: &Args<'_>) -> Answer<Tensor> {
    a.tensor(2, "index")
}

/// The parts of an index expression.
fn parts(a: &Args<'_>) -> Answer<Vec<Index>> {
    a.index(1)?
        .iter()
        .map(|part| {
            Ok(match part {
                Part::Int(i) => Index::At(*i),
                Part::Bool(b) => Index::Bool(*b),
                Part::Slice(start, stop, step) => Index::Slice(Slice::new(*start, *stop, step.unwrap_or(1))),
                Part::Ellipsis => Ellipsis.into(),
                Part::NewAxis => NewAxis.into(),
                Part::Tensor(k) => Index::Tensor(a.index_tensor(*k)?),
                Part::List(items) => Index::Tensor(listed(items)?),
            })
        })
        .collect()
}

/// A nested list of integers or bools, as a tensor.
fn listed(items: &[Part]) -> Answer<Tensor> {
    fn flatten(
        items: &[Part],
        depth: usize,
        shape: &mut Vec<usize>,
        flat: &mut Vec<i64>,
        bools: &mut usize,
    ) -> bool {
        if shape.len() == depth {
            shape.push(items.len());
        }
        shape[depth] == items.len()
            && items.iter().all(|item| match item {
                Part::Int(i) => {
                    flat.push(*i);
                    true
                }
                Part::Bool(b) => {
                    flat.push(i64::from(*b));
                    *bools += 1;
                    true
                }
                Part::List(inner) => flatten(inner, depth + 1, shape, flat, bools),
                _ => false,
            })
    }
    let (mut shape, mut flat, mut bools) = (Vec::new(), Vec::new(), 0);
    if !flatten(items, 0, &mut shape, &mut flat, &mut bools) || (bools > 0 && bools < flat.len()) {
        return missing("an index list that is no tensor");
    }
    let t = Tensor::from_vec(flat, shape.as_slice())?;
    Ok(if bools > 0 { t.to_dtype(kiln_autograd::DType::Bool)? } else { t })
}

fn reduction(name: &str) -> Answer<ScatterReduction> {
    Ok(match name {
        "sum" | "add" => ScatterReduction::Sum,
        "prod" | "multiply" => ScatterReduction::Prod,
        "mean" => ScatterReduction::Mean,
        "amax" => ScatterReduction::Amax,
        "amin" => ScatterReduction::Amin,
        other => {
            let what = format!("reduce argument must be sum, prod, mean, amax or amin, got {other:?}");
            return Err(Error::value("scatter_reduce", what).into());
        }
    })
}

/// The arguments of `scatter_reduce` and `index_reduce`.
fn reducing(a: &Args<'_>) -> Answer<(i64, Tensor, Tensor, ScatterReduction, bool)> {
    let source = a.tensor(3, "src|source")?;
    let rule = reduction(a.str_or(4, "reduce", "")?)?;
    Ok((dim(a)?, index(a)?, source, rule, a.bool_or(5, "include_self", true)?))
}

/// The index tensors of `index_put`, with gaps.
fn put(a: &Args<'_>) -> Answer<(Vec<Option<Tensor>>, Tensor, bool)> {
    Ok((a.optional_tensors(1, "indices")?, a.tensor(2, "values")?, a.bool_or(3, "accumulate", false)?))
}

fn options(a: &Args<'_>) -> Answer<SearchOptions> {
    let right = a.bool_or(usize::MAX, "right", false)?;
    let side = a.str_or(usize::MAX, "side", if right { "right" } else { "left" })?;
    if !matches!(side, "left" | "right") || (right && side == "left") {
        let what =
            format!("side and right can't be set to opposites, got side of {side} while right was {right}");
        return Err(Error::value("searchsorted", what).into());
    }
    Ok(SearchOptions { right: side == "right", out_int32: a.bool_or(usize::MAX, "out_int32", false)? })
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    Ok(match name {
        "Tensor.__getitem__" => a.x()?.i(parts(a)?.as_slice())?.into(),
        "Tensor.__setitem__" => {
            let (x, parts) = (a.x()?, parts(a)?);
            match a.value(2, "value")? {
                Value::Tensor(t) => x.set(parts.as_slice(), &t)?,
                Value::Number(s) => x.set(parts.as_slice(), s)?,
            }
            x.into()
        }
        "index_select" => a.x()?.index_select(dim(a)?, &index(a)?)?.into(),
        "gather" => {
            let _ = a.bool_or(usize::MAX, "sparse_grad", false)?;
            a.x()?.gather(dim(a)?, &index(a)?)?.into()
        }
        "take" => a.x()?.take(&a.tensor(1, "index")?)?.into(),
        "take_along_dim" => {
            let index = a.tensor(1, "indices")?;
            a.x()?.take_along_dim(&index, a.opt_int(2, "dim")?)?.into()
        }
        "scatter" => match (a.value(3, "src|value")?, a.get(4, "reduce")) {
            (source, None | Some(Arg::None)) => a.x()?.scatter(dim(a)?, &index(a)?, source.arg())?.into(),
            (Value::Tensor(source), _) => {
                let rule = reduction(a.str_or(4, "reduce", "")?)?;
                a.x()?.scatter_reduce(dim(a)?, &index(a)?, &source, rule, true)?.into()
            }
            (Value::Number(s), _) => {
                let (x, index, rule) = (a.x()?, index(a)?, reduction(a.str_or(4, "reduce", "")?)?);
                let source = Tensor::full_with(index.dims(), s, x.dtype());
                x.scatter_reduce(dim(a)?, &index, &source, rule, true)?.into()
            }
        },
        "scatter_add" => a.x()?.scatter_add(dim(a)?, &index(a)?, &a.tensor(3, "src")?)?.into(),
        "scatter_reduce" => {
            let (axis, index, source, rule, own) = reducing(a)?;
            a.x()?.scatter_reduce(axis, &index, &source, rule, own)?.into()
        }
        "index_reduce" => {
            let (axis, index, source, rule, own) = reducing(a)?;
            a.x()?.index_reduce(axis, &index, &source, rule, own)?.into()
        }
        "index_add" => {
            let alpha = a.number_or(usize::MAX, "alpha", 1)?;
            a.x()?.index_add_scaled(dim(a)?, &index(a)?, &a.tensor(3, "source")?, alpha)?.into()
        }
        "index_copy" => a.x()?.index_copy(dim(a)?, &index(a)?, &a.tensor(3, "source")?)?.into(),
        "index_fill" => a.x()?.index_fill(dim(a)?, &index(a)?, a.value(3, "value")?.arg())?.into(),
        "index_put" => {
            let (indices, values, accumulate) = put(a)?;
            let indices: Vec<Option<&Tensor>> = indices.iter().map(Option::as_ref).collect();
            a.x()?.index_put(&indices, &values, accumulate)?.into()
        }
        "put" => {
            let (index, source) = (a.tensor(1, "index")?, a.tensor(2, "source")?);
            a.x()?.put(&index, &source, a.bool_or(3, "accumulate", false)?)?.into()
        }
        "masked_fill" => a.x()?.masked_fill(&a.tensor(1, "mask")?, a.value(2, "value")?.arg())?.into(),
        "masked_select" => a.x()?.masked_select(&a.tensor(1, "mask")?)?.into(),
        "masked_scatter" => a.x()?.masked_scatter(&a.tensor(1, "mask")?, &a.tensor(2, "source")?)?.into(),
        "nonzero" => match a.bool_or(usize::MAX, "as_tuple", false)? {
            true => a.x()?.where_()?.into(),
            false => a.x()?.nonzero()?.into(),
        },
        "nonzero_static" => {
            let (size, fill) = (a.size(1, "size")?, a.int_or(2, "fill_value", -1)?);
            a.x()?.nonzero_static(size, fill)?.into()
        }
        "unravel_index" => a.x()?.unravel_index(shape(&a.ints(1, "shape")?)?)?.into(),
        "as_strided_scatter" => {
            let (size, strides) = (a.ints(2, "size")?, a.ints(3, "stride")?);
            let offset = a.opt_int(4, "storage_offset")?;
            a.x()?.as_strided_scatter(&a.tensor(1, "src")?, &size, &strides, offset)?.into()
        }
        "argwhere" => a.x()?.argwhere()?.into(),
        "where" => a.tensor(0, "condition|input")?.where_()?.into(),
        "select_scatter" => {
            let (axis, at) = (a.int(2, "dim")?, a.int(3, "index")?);
            a.x()?.select_scatter(&a.tensor(1, "src")?, axis, at)?.into()
        }
        "slice_scatter" => {
            let axis = a.int_or(2, "dim", 0)?;
            let (start, end) = (a.opt_int(3, "start")?, a.opt_int(4, "end")?);
            a.x()?.slice_scatter(&a.tensor(1, "src")?, axis, start, end, a.int_or(5, "step", 1)?)?.into()
        }
        "diagonal_scatter" => {
            let (offset, first) = (a.int_or(2, "offset", 0)?, a.int_or(3, "dim1", 0)?);
            a.x()?.diagonal_scatter(&a.tensor(1, "src")?, offset, first, a.int_or(4, "dim2", 1)?)?.into()
        }
        "nn.functional.embedding" => {
            let (index, table) = (a.tensor(0, "input")?, a.tensor(1, "weight")?);
            let padding = a.opt_int(2, "padding_idx")?;
            let (max_norm, norm_type) = (a.opt_float(3, "max_norm")?, a.float_or(4, "norm_type", 2.0)?);
            let scale = a.bool_or(5, "scale_grad_by_freq", false)?;
            if a.bool_or(6, "sparse", false)? {
                return missing("sparse gradients");
            }
            if let Some(max_norm) = max_norm {
                table.embedding_renorm_(&index, max_norm, norm_type)?;
            }
            table.embedding(&index, padding, scale)?.into()
        }
        "nn.functional.one_hot" => {
            let classes = match a.int_or(1, "num_classes", -1)? {
                -1 => None,
                _ => Some(a.size(1, "num_classes")?),
            };
            a.x()?.one_hot(classes)?.into()
        }
        "bincount" => {
            let weights = a.opt_tensor(1, "weights")?;
            a.x()?.bincount(weights.as_ref(), a.size_or(2, "minlength", 0)?)?.into()
        }
        "histc" => {
            let (min, max) = (a.float_or(2, "min", 0.0)?, a.float_or(3, "max", 0.0)?);
            a.x()?.histc(a.size_or(1, "bins", 100)?, min, max)?.into()
        }
        "bucketize" => {
            let x = a.value(0, "input")?.to_tensor()?;
            x.bucketize(&a.tensor(1, "boundaries")?, options(a)?)?.into()
        }
        "searchsorted" => {
            let sorted = a.tensor(0, "sorted_sequence")?;
            let values = a.value(1, "input|self")?.to_tensor()?;
            let sorter = a.opt_tensor(usize::MAX, "sorter")?;
            sorted.searchsorted(&values, sorter.as_ref(), options(a)?)?.into()
        }
        _ => return Err(Stop::NoRow),
    })
}

/// The in-place forms.
pub fn in_place(name: &str, a: &Args<'_>) -> Answer<()> {
    match name {
        "scatter_" => match (a.value(3, "src|value")?, a.get(4, "reduce")) {
            (source, None | Some(Arg::None)) => a.x()?.scatter_(dim(a)?, &index(a)?, source.arg())?,
            (Value::Tensor(source), _) => {
                let rule = reduction(a.str_or(4, "reduce", "")?)?;
                a.x()?.scatter_reduce_(dim(a)?, &index(a)?, &source, rule, true)?;
            }
            (Value::Number(s), _) => {
                let (x, index, rule) = (a.x()?, index(a)?, reduction(a.str_or(4, "reduce", "")?)?);
                let source = Tensor::full_with(index.dims(), s, x.dtype());
                x.scatter_reduce_(dim(a)?, &index, &source, rule, true)?;
            }
        },
        "scatter_add_" => a.x()?.scatter_add_(dim(a)?, &index(a)?, &a.tensor(3, "src")?)?,
        "scatter_reduce_" => {
            let (axis, index, source, rule, own) = reducing(a)?;
            a.x()?.scatter_reduce_(axis, &index, &source, rule, own)?;
        }
        "index_reduce_" => {
            let (axis, index, source, rule, own) = reducing(a)?;
            a.x()?.index_reduce_(axis, &index, &source, rule, own)?;
        }
        "index_add_" => {
            let alpha = a.number_or(usize::MAX, "alpha", 1)?;
            a.x()?.index_add_scaled_(dim(a)?, &index(a)?, &a.tensor(3, "source")?, alpha)?;
        }
        "index_copy_" => a.x()?.index_copy_(dim(a)?, &index(a)?, &a.tensor(3, "source")?)?,
        "index_fill_" => a.x()?.index_fill_(dim(a)?, &index(a)?, a.value(3, "value")?.arg())?,
        "index_put_" => {
            let (indices, values, accumulate) = put(a)?;
            let indices: Vec<Option<&Tensor>> = indices.iter().map(Option::as_ref).collect();
            a.x()?.index_put_(&indices, &values, accumulate)?;
        }
        "put_" => {
            let (index, source) = (a.tensor(1, "index")?, a.tensor(2, "source")?);
            a.x()?.put_(&index, &source, a.bool_or(3, "accumulate", false)?)?;
        }
        "masked_fill_" => a.x()?.masked_fill_(&a.tensor(1, "mask")?, a.value(2, "value")?.arg())?,
        "masked_scatter_" => a.x()?.masked_scatter_(&a.tensor(1, "mask")?, &a.tensor(2, "source")?)?,
        _ => return Err(Stop::NoRow),
    }
    Ok(())
}
