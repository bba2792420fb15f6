//! Kiln's tensors from stored ones, and back.

use anyhow::{Context, Result, bail};
use kiln_autograd::{DType, Element, RawTensor, Tensor, bf16, f16, kiln_ops};

use super::args::Out;
use crate::vectors::{self, Case, Got, OpFile, Returned, Stored, Values};

/// Kiln's dtype of a stored one; none for complex numbers.
pub fn kiln_dtype(dtype: vectors::DType) -> Option<DType> {
    DType::from_name(dtype.name())
}

/// A contiguous tensor of what is stored.
pub fn from_stored(stored: &Stored<'_>) -> Result<Tensor> {
    fn build<T: Element, const N: usize>(stored: &Stored<'_>, read: impl Fn([u8; N]) -> T) -> Result<Tensor> {
        let data: Vec<T> = stored.bytes.as_chunks::<N>().0.iter().map(|&b| read(b)).collect();
        Ok(Tensor::from_vec(data, stored.shape.as_slice())?)
    }
    match kiln_dtype(stored.dtype).with_context(|| format!("{} tensors", stored.dtype))? {
        DType::Bool => build(stored, |[b]: [u8; 1]| b != 0),
        DType::U8 => build(stored, u8::from_le_bytes),
        DType::I8 => build(stored, i8::from_le_bytes),
        DType::I16 => build(stored, i16::from_le_bytes),
        DType::I32 => build(stored, i32::from_le_bytes),
        DType::I64 => build(stored, i64::from_le_bytes),
        DType::F16 => build(stored, f16::from_le_bytes),
        DType::BF16 => build(stored, bf16::from_le_bytes),
        DType::F32 => build(stored, f32::from_le_bytes),
        DType::F64 => build(stored, f64::from_le_bytes),
        other => bail!("{other} tensors"),
    }
}

/// The input tensors of a case: their numbers, the tensors as the call sees them, and the memory they look at.
pub struct Inputs {
    /// What the call gets.
    pub tensors: Vec<(usize, Tensor)>,
    /// The contiguous bases, in the same order.
    pub bases: Vec<Tensor>,
}

impl Inputs {
    /// Builds the inputs; those that require a gradient are leaves that do, if `leaves`.
    pub fn build(file: &OpFile, case: &Case, leaves: bool) -> Result<Self> {
        let mut inputs = Self { tensors: Vec::new(), bases: Vec::new() };
        for described in &case.inputs {
            let base = from_stored(&file.tensor(case, &format!("in/{}", described.k))?)?;
            let raw: RawTensor = match &described.view {
                None => base.raw().clone(),
                Some(view) => {
                    let signed = |v: &[usize]| v.iter().map(|&i| i as i64).collect::<Vec<_>>();
                    let (size, stride) = (signed(&view.size), signed(&view.stride));
                    kiln_ops::as_strided(&base.raw(), &size, &stride, Some(view.offset as i64))?
                }
            };
            let mut tensor = Tensor::from_raw(raw);
            if leaves && described.requires_grad {
                tensor = tensor.requires_grad_(true)?;
            }
            inputs.tensors.push((described.k, tensor));
            inputs.bases.push(base);
        }
        Ok(inputs)
    }

    /// Input `k`.
    pub fn tensor(&self, k: usize) -> Result<&Tensor> {
        let found = self.tensors.iter().find(|(i, _)| *i == k);
        found.map(|(_, t)| t).with_context(|| format!("there is no input {k}"))
    }

    /// The memory behind input `k`, as a contiguous tensor.
    pub fn base(&self, k: usize) -> Result<&Tensor> {
        let at = self.tensors.iter().position(|(i, _)| *i == k);
        at.map(|at| &self.bases[at]).with_context(|| format!("there is no input {k}"))
    }
}

/// A tensor's elements, as comparisons take them.
pub fn to_got(t: &Tensor) -> Result<Got> {
    fn floats<T: Element>(t: &Tensor) -> Result<Values> {
        Ok(Values::Float(t.to_vec::<T>()?.into_iter().map(Element::to_f64).collect()))
    }
    fn ints<T: Element>(t: &Tensor) -> Result<Values> {
        Ok(Values::Int(t.to_vec::<T>()?.into_iter().map(Element::to_i64).collect()))
    }
    let dtype = t.dtype();
    let values = match dtype.is_float() {
        true => kiln_ops::with_dtype!(dtype, T => floats::<T>(t))?,
        false => kiln_ops::with_dtype!(dtype, T => ints::<T>(t))?,
    };
    Ok(Got { dtype: vectors::DType::from_name(dtype.name())?, shape: t.dims(), values })
}

/// What a call returned, as comparisons take it; the tensors are also appended to `tensors`, in order.
pub fn to_returned(out: &Out, tensors: &mut Vec<Tensor>) -> Result<Returned> {
    Ok(match out {
        Out::Tensor(t) => {
            tensors.push(t.clone());
            Returned::Tensor(to_got(t)?)
        }
        Out::List(items) => {
            Returned::List(items.iter().map(|o| to_returned(o, tensors)).collect::<Result<_>>()?)
        }
        Out::Plain(value) => Returned::Plain(value.clone()),
    })
}
