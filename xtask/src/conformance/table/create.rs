//! Creation, filling and random numbers.

use kiln_autograd::{DType, Scalar, Tensor, TensorOptions, kiln_ops};

use crate::conformance::args::{Answer, Args, Out, Stop, Value, inexpressible, missing};
use crate::conformance::inexpressible;
use crate::vectors::Arg;

/// The options that every creating operator has; the layout and the device are the only ones there are.
pub struct Options {
    dtype: Option<DType>,
    requires_grad: bool,
}

impl Options {
    /// Reads them.
    pub fn of(a: &Args<'_>) -> Answer<Self> {
        match a.named("device") {
            None | Some(Arg::None) => {}
            Some(Arg::Device(d)) if d == "cpu" => {}
            Some(other) => return missing(format!("the device {other:?}")),
        }
        match a.named("layout") {
            None | Some(Arg::None) => {}
            Some(Arg::Layout(l)) if l == "strided" => {}
            Some(other) => return missing(format!("the layout {other:?}")),
        }
        let _ = (a.named("pin_memory"), a.named("memory_format"));
        Ok(Self {
            dtype: a.dtype(usize::MAX, "dtype")?,
            requires_grad: a.bool_or(usize::MAX, "requires_grad", false)?,
        })
    }

    /// As Kiln takes them.
    pub fn tensor(&self) -> TensorOptions {
        let options = TensorOptions::new().requires_grad(self.requires_grad);
        self.dtype.map_or(options, |dtype| options.dtype(dtype))
    }

    fn done(&self, t: Tensor) -> Answer<Out> {
        Ok(if self.requires_grad { t.requires_grad_(true)? } else { t }.into())
    }
}

/// Sizes as Kiln takes them.
pub fn shape(sizes: &[i64]) -> Answer<Vec<usize>> {
    match sizes.iter().map(|&s| usize::try_from(s)).collect::<Result<Vec<_>, _>>() {
        Ok(sizes) => Ok(sizes),
        Err(_) => inexpressible(inexpressible::NEGATIVE),
    }
}

fn full(sizes: &[i64], value: Scalar, dtype: DType) -> Answer<Tensor> {
    let shape = kiln_autograd::Shape::new(&shape(sizes)?);
    Ok(Tensor::from_raw(kiln_ops::full(&shape, value, dtype, kiln_autograd::Device::CPU)?))
}

/// The operators of this family.
pub fn call(name: &str, a: &Args<'_>) -> Answer<Out> {
    let float = kiln_ops::default_dtype();
    Ok(match name {
        "zeros" | "ones" | "empty" => {
            let o = Options::of(a)?;
            let value = Scalar::Int(i64::from(name == "ones"));
            o.done(full(&a.ints_from(0, "size")?, value, o.dtype.unwrap_or(float))?)?
        }
        "zeros_like" | "ones_like" | "empty_like" | "full_like" => {
            let o = Options::of(a)?;
            let x = a.x()?;
            let value = match name {
                "full_like" => a.number(1, "fill_value")?,
                _ => Scalar::Int(i64::from(name == "ones_like")),
            };
            let sizes: Vec<i64> = x.dims().iter().map(|&s| s as i64).collect();
            o.done(full(&sizes, value, o.dtype.unwrap_or(x.dtype()))?)?
        }
        "Tensor.new_zeros" | "Tensor.new_ones" | "Tensor.new_empty" => {
            let o = Options::of(a)?;
            let x = a.x()?;
            let value = Scalar::Int(i64::from(name == "Tensor.new_ones"));
            o.done(full(&a.ints_from(1, "size")?, value, o.dtype.unwrap_or(x.dtype()))?)?
        }
        "Tensor.new_full" => {
            let o = Options::of(a)?;
            let x = a.x()?;
            o.done(full(&a.ints(1, "size")?, a.number(2, "fill_value")?, o.dtype.unwrap_or(x.dtype()))?)?
        }
        "full" => {
            let o = Options::of(a)?;
            let value = a.number(1, "fill_value")?;
            o.done(full(&a.ints(0, "size")?, value, o.dtype.unwrap_or(value.dtype(float)))?)?
        }
        "scalar_tensor" => {
            let o = Options::of(a)?;
            o.done(full(&[], a.number(0, "s")?, o.dtype.unwrap_or(float))?)?
        }
        "arange" => {
            let o = Options::of(a)?;
            let only_end = a.count() + usize::from(a.has("end")) <= 1;
            let (start, end, step) = match only_end {
                true => (Scalar::Int(0), a.number(0, "end")?, a.number_or(usize::MAX, "step", 1)?),
                false => (a.number(0, "start")?, a.number(1, "end")?, a.number_or(2, "step", 1)?),
            };
            Tensor::arange_step_with(start, end, step, o.tensor())?.into()
        }
        "linspace" => {
            let o = Options::of(a)?;
            // All are asked for before the first error counts.
            let (start, end, steps) = (a.number(0, "start"), a.number(1, "end"), a.size(2, "steps"));
            Tensor::linspace_with(start?, end?, steps?, o.tensor()).into()
        }
        "logspace" => {
            let o = Options::of(a)?;
            let (start, end, steps) = (a.number(0, "start"), a.number(1, "end"), a.size(2, "steps"));
            let base = a.number_or(3, "base", 10.0)?;
            Tensor::logspace_with(start?, end?, steps?, base, o.tensor()).into()
        }
        "empty_strided" => {
            let o = Options::of(a)?;
            Tensor::empty_strided(&a.ints(0, "size")?, &a.ints(1, "stride")?, o.tensor())?.into()
        }
        "Tensor.new_empty_strided" => {
            let (o, x) = (Options::of(a)?, a.x()?);
            let options = o.tensor().dtype(o.dtype.unwrap_or(x.dtype()));
            Tensor::empty_strided(&a.ints(1, "size")?, &a.ints(2, "stride")?, options)?.into()
        }
        "empty_permuted" => {
            let o = Options::of(a)?;
            Tensor::empty_permuted(&a.ints(0, "size")?, &a.ints(1, "physical_layout")?, o.tensor())?.into()
        }
        "eye" => {
            let o = Options::of(a)?;
            let rows = a.size(0, "n")?;
            Tensor::eye_with(rows, a.size_or(1, "m", rows)?, o.tensor()).into()
        }
        "tensor" => {
            let o = Options::of(a)?;
            let t = match a.get(0, "data") {
                Some(data) => nested(data)?,
                None => return missing("the data"),
            };
            o.done(t.to_dtype(o.dtype.unwrap_or(t.dtype()))?)?
        }
        "fill" => {
            let x = a.x()?;
            let y = x.copy()?;
            fill(&y, a.value(1, "value")?)?;
            y.into()
        }
        _ => return Err(Stop::NoRow),
    })
}

/// A nested list of numbers as a tensor of the dtype that fits all of them.
fn nested(data: &Arg) -> Answer<Tensor> {
    fn walk(data: &Arg, depth: usize, shape: &mut Vec<usize>, flat: &mut Vec<Scalar>) -> bool {
        match data {
            Arg::List(items) => {
                if shape.len() == depth {
                    shape.push(items.len());
                }
                shape.get(depth) == Some(&items.len())
                    && items.iter().all(|i| walk(i, depth + 1, shape, flat))
            }
            Arg::Bool(b) => {
                flat.push(Scalar::Bool(*b));
                depth == shape.len()
            }
            Arg::Int(i) => {
                flat.push(Scalar::Int(*i));
                depth == shape.len()
            }
            Arg::Float(f) => {
                flat.push(Scalar::Float(*f));
                depth == shape.len()
            }
            _ => false,
        }
    }
    let (mut shape, mut flat) = (Vec::new(), Vec::new());
    if !walk(data, 0, &mut shape, &mut flat) {
        return missing("data that is no rectangle of numbers");
    }
    let float = kiln_ops::default_dtype();
    let dtype = flat.iter().map(|s| s.dtype(float)).reduce(DType::promote).unwrap_or(float);
    let t = match dtype {
        d if d.is_float() => Tensor::from_vec(flat.iter().map(|s| s.to_f64()).collect(), shape.as_slice())?,
        _ => Tensor::from_vec(flat.iter().map(|s| s.to_i64()).collect::<Vec<_>>(), shape.as_slice())?,
    };
    Ok(t.to_dtype(dtype)?)
}

/// A number, or the value of a tensor without axes, which then gets the sum of the gradient.
fn fill(x: &Tensor, value: Value) -> Answer<()> {
    let _: () = match value {
        Value::Number(s) => x.fill_(s)?,
        Value::Tensor(t) if t.rank() == 0 => x.copy_(&t)?,
        Value::Tensor(t) => {
            let what = format!("fill_ only supports 0-dimension value tensor but got shape {:?}", t.shape());
            return Err(kiln_autograd::Error::shape("fill_", what).into());
        }
    };
    Ok(())
}

/// The in-place forms.
pub fn in_place(name: &str, a: &Args<'_>) -> Answer<()> {
    match name {
        "fill_" => fill(&a.x()?, a.value(1, "value")?),
        "zero_" => Ok(a.x()?.zero_()?),
        "copy_" => Ok(a.x()?.copy_(&a.tensor(1, "src")?)?),
        "resize_" => {
            let _ = a.named("memory_format");
            Ok(a.x()?.resize_(a.ints_from(1, "size|sizes")?.as_slice())?)
        }
        "resize_as_" => {
            let _ = a.named("memory_format");
            Ok(a.x()?.resize_as_(&a.tensor(1, "the_template|other")?)?)
        }
        _ => Err(Stop::NoRow),
    }
}
