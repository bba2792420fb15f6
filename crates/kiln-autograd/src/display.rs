//! Tensors as text, as PyTorch prints them.

use std::fmt;

use kiln_ops::display::{TensorText, Values, printoptions};
use kiln_ops::{Device, Element, RawTensor, SliceRef, default_dtype, with_dtype};

use crate::{Result, Tensor};

/// `tensor([1., 2.], requires_grad=True)`: elements, then what of device, dtype and history needs to be said.
///
/// A precision changes the number of digits (`{:.2}`); width and precision of a 0-dimensional tensor format its number.
///
/// ```
/// use kiln_autograd::tensor;
/// let x = tensor![1., 2.5].requires_grad_(true)?;
/// assert_eq!(x.to_string(), "tensor([1.0000, 2.5000], requires_grad=True)");
/// assert_eq!((&x * 2.).to_string(), "tensor([2., 5.], grad_fn=<MulBackward0>)");
/// assert_eq!(format!("{:.2}", tensor!(3.14159)), "3.14");
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let formatted = f.precision().is_some() || f.width().is_some();
        if self.rank() == 0
            && formatted
            && let Ok(number) = self.detach().item()
        {
            return fmt::Display::fmt(&number, f);
        }
        match text(self, f.precision()) {
            Ok(text) => f.write_str(&text),
            // Printing must not fail: say what could not be read, and why.
            Err(error) => {
                write!(f, "tensor(<{error}>, size={:?}, dtype=torch.{})", self.raw().shape(), self.dtype())
            }
        }
    }
}

/// The same text as [`fmt::Display`].
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match text(self, f.precision()) {
            Ok(text) => f.write_str(&text),
            Err(_) => fmt::Display::fmt(self, f),
        }
    }
}

fn text(t: &Tensor, precision: Option<usize>) -> Result<String> {
    let raw = t.raw().clone();
    let host = kiln_ops::to_device(&raw, Device::CPU)?;
    with_dtype!(raw.dtype(), [Bool], T => {
        let lent = SliceRef::<T>::strided("display", &host)?;
        Ok(finish(t, &raw, Values::Bool(&|i| lent.get(i)), precision))
    }, else => with_dtype!(raw.dtype(), [U8, I8, I16, I32, I64], T => {
        let lent = SliceRef::<T>::strided("display", &host)?;
        Ok(finish(t, &raw, Values::Int(&|i| lent.get(i).to_i64()), precision))
    }, else => with_dtype!(raw.dtype(), T => {
        let lent = SliceRef::<T>::strided("display", &host)?;
        Ok(finish(t, &raw, Values::Float(&|i| lent.get(i).to_f64()), precision))
    })))
}

fn finish(t: &Tensor, raw: &RawTensor, values: Values<'_>, precision: Option<usize>) -> String {
    let mut options = printoptions();
    if let Some(digits) = precision {
        options.precision = digits;
    }
    let device = (!raw.device().is_cpu()).then(|| raw.device().to_string());
    let node = t.grad_fn();
    TensorText {
        shape: raw.shape(),
        values,
        dtype: raw.dtype().name(),
        default_dtype: default_dtype().name(),
        device: device.as_deref(),
        grad_fn: node.as_deref().map(|n| n.name()),
        requires_grad: t.requires_grad(),
    }
    .format(&options)
}
