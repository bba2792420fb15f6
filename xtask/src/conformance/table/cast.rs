//! Copies and conversions.

use kiln_autograd::{DType, MemoryFormat, Tensor};

use crate::conformance::args::{Answer, Args, Out, Stop, missing};
use crate::vectors::Arg;

/// The memory format of the result, if one other than the present one is asked for.
fn format(a: &Args<'_>) -> Answer<Option<MemoryFormat>> {
    match a.named("memory_format") {
        None | Some(Arg::None) => Ok(None),
        Some(Arg::MemoryFormat(f)) => match f.as_str() {
            "preserve_format" => Ok(None),
            "contiguous_format" => Ok(Some(MemoryFormat::Contiguous)),
            "channels_last" => Ok(Some(MemoryFormat::ChannelsLast)),
            "channels_last_3d" => Ok(Some(MemoryFormat::ChannelsLast3d)),
            other => missing(format!("the memory format {other}")),
        },
        Some(other) => missing(format!("the memory format {other:?}")),
    }
}

fn in_format(a: &Args<'_>, t: Tensor) -> Answer<Tensor> {
    Ok(match format(a)? {
        None => t,
        Some(format) => t.contiguous_in(format)?,
    })
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let cast = |dtype: DType| -> Answer<Out> { Ok(in_format(a, a.x()?.to_dtype(dtype)?)?.into()) };
    Ok(match name {
        "clone" => {
            let x = a.x()?;
            match format(a)? {
                None => x.copy()?.into(),
                Some(format) => x.copy_in(format)?.into(),
            }
        }
        "Tensor.contiguous" => {
            let x = a.x()?;
            x.contiguous_in(format(a)?.unwrap_or_default())?.into()
        }
        "Tensor.bfloat16" => cast(DType::BF16)?,
        "Tensor.bool" => cast(DType::Bool)?,
        "Tensor.byte" => cast(DType::U8)?,
        "Tensor.char" => cast(DType::I8)?,
        "Tensor.double" => cast(DType::F64)?,
        "Tensor.float" => cast(DType::F32)?,
        "Tensor.half" => cast(DType::F16)?,
        "Tensor.int" => cast(DType::I32)?,
        "Tensor.long" => cast(DType::I64)?,
        "Tensor.short" => cast(DType::I16)?,
        "Tensor.type_as" => a.x()?.to_dtype(a.tensor(1, "other")?.dtype())?.into(),
        "Tensor.item" => a.x()?.item()?.into(),
        "Tensor.to" => to(a)?,
        _ => return Err(Stop::NoRow),
    })
}

/// `to(dtype, non_blocking, copy)`, `to(device, dtype, non_blocking, copy)`, `to(other, non_blocking, copy)`.
fn to(a: &Args<'_>) -> Answer<Out> {
    let x = a.x()?;
    let mut dtype = a.dtype(usize::MAX, "dtype")?;
    let mut position = 1;
    match a.get(1, "other|device") {
        Some(Arg::Tensor(_)) => {
            dtype = Some(a.tensor(1, "other")?.dtype());
            position = 2;
        }
        Some(Arg::Device(d) | Arg::Str(d)) => {
            if d != "cpu" {
                return missing(format!("the device {d}"));
            }
            position = 2;
            if matches!(a.get(2, "dtype"), Some(Arg::DType(_))) {
                dtype = a.dtype(2, "dtype")?;
                position = 3;
            }
        }
        Some(Arg::DType(_)) => {
            dtype = a.dtype(1, "dtype")?;
            position = 2;
        }
        _ => {}
    }
    // Transfers within the host are done when they return.
    let _ = a.bool_or(position, "non_blocking", false)?;
    let copy = a.bool_or(position + 1, "copy", false)?;
    let y = match dtype {
        Some(dtype) => x.to_dtype(dtype)?,
        None => x.clone(),
    };
    let y = in_format(a, y)?;
    Ok(if copy && y.is_same(&x) { y.copy()?.into() } else { y.into() })
}
