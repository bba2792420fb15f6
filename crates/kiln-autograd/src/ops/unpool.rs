//! Elements put back to where max pooling took them from.

use kiln_ops::DType;

use crate::ops::index::zeros;
use crate::{Error, Here, Result, Tensor, autocast};

/// The size of an output axis: what the user asks for, when pooling could have made `n` of it.
#[track_caller]
fn output_size(
    op: &'static str,
    input: &[usize],
    kernel: &[usize],
    stride: &[usize],
    padding: &[usize],
    wanted: Option<&[usize]>,
) -> Result<Vec<usize>> {
    let axes = kernel.len();
    // All sizes, the batch's and the channels' too, may be given.
    let wanted = match wanted {
        None => None,
        Some(sizes) if sizes.len() == axes => Some(sizes),
        Some(sizes) if sizes.len() == axes + 2 => Some(&sizes[2..]),
        Some(sizes) => {
            return Err(Error::value(
                op,
                format!(
                    "output_size should be a sequence containing {axes} or {} elements, got {sizes:?}",
                    axes + 2
                ),
            ));
        }
    };
    let mut sizes = Vec::with_capacity(axes);
    for i in 0..axes {
        let (n, k, s, p) = (input[i] as i128, kernel[i] as i128, stride[i] as i128, padding[i] as i128);
        let usual = (n - 1) * s - 2 * p + k;
        let size = match wanted {
            None => usual,
            Some(wanted) => {
                let size = wanted[i] as i128;
                if !(usual - s < size && size < usual + s) {
                    return Err(Error::value(
                        op,
                        format!(
                            "invalid output_size {wanted:?} (dim {i} must be between {} and {})",
                            usual - s,
                            usual + s
                        ),
                    ));
                }
                size
            }
        };
        match usize::try_from(size) {
            Ok(size) if size > 0 && size <= i64::MAX as usize => sizes.push(size),
            _ => {
                return Err(Error::shape(
                    op,
                    format!("an output of size {size} along axis {i} is impossible"),
                ));
            }
        }
    }
    Ok(sizes)
}

#[track_caller]
fn unpool(
    op: &'static str,
    x: &Tensor,
    indices: &Tensor,
    kernel: &[usize],
    stride: &[usize],
    padding: &[usize],
    wanted: Option<&[usize]>,
) -> Result<Tensor> {
    let axes = kernel.len();
    let dims = x.dims();
    if !(axes + 1..=axes + 2).contains(&dims.len()) || dims[dims.len() - axes - 1..].contains(&0) {
        return Err(Error::shape(
            op,
            format!(
                "expected [batch, channels, {axes} sizes..] or without batch, none of them 0, got {dims:?}"
            ),
        ));
    }
    if indices.dtype() != DType::I64 {
        return Err(Error::dtype(
            op,
            format!("elements in indices should be type int64 but got: {}", indices.dtype()),
        ));
    }
    if indices.dims() != dims {
        return Err(Error::shape(
            op,
            format!("Expected shape of indices to be the input's {dims:?} but got {:?}", indices.dims()),
        ));
    }
    if axes == 3 && stride.contains(&0) {
        return Err(Error::value(
            op,
            format!("strides should be greater than zero, but got stride: {stride:?}"),
        ));
    }
    let (lead, input) = dims.split_at(dims.len() - axes);
    let sizes = output_size(op, input, kernel, stride, padding, wanted)?;
    let planes: usize = lead.iter().product();
    let elements = sizes
        .iter()
        .try_fold(1usize, |n, s| n.checked_mul(*s))
        .ok_or_else(|| Error::shape(op, format!("an output of sizes {sizes:?} does not fit into memory")))
        .here()?;
    let flat = [planes, input.iter().product()];
    let shape: Vec<usize> = lead.iter().chain(&sizes).copied().collect();
    let outside = indices.lt(0)?.logical_or(&indices.ge(elements as i64)?)?;
    if outside.any()?.item()?.is_true() {
        return Err(Error::index(
            op,
            format!("Found an invalid max index (output volumes are of size {sizes:?})"),
        ));
    }
    zeros(&[planes, elements].into(), x)?
        .scatter(1, &indices.reshape(flat)?, &x.reshape(flat)?)?
        .reshape(shape.as_slice())
}

macro_rules! unpooling {
    ($($name:ident $pool:ident $axes:literal;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("Zeros, with the elements of the input at the places that [`Tensor::", stringify!($pool),
                    "_with_indices`] gives (`torch.nn.functional.", stringify!($name), "`).")]
                ///
                /// Shapes: `[batch, channels, sizes..]` or without batch; an output size is
                /// `(n - 1) stride - 2 padding + kernel`, or what `output_size` says, which pooling must be able to bring
                /// to the input's size.
                ///
                /// # Errors
                /// Another rank, indices of another shape or dtype than int64 or that lie outside of the output, an
                /// impossible output size.
                #[track_caller]
                pub fn $name(
                    &self,
                    indices: &Tensor,
                    kernel: [usize; $axes],
                    stride: [usize; $axes],
                    padding: [usize; $axes],
                    output_size: Option<&[usize]>,
                ) -> Result<Tensor> {
                    if let Some(cast) = autocast::full() {
                        return cast.of(self)?.$name(indices, kernel, stride, padding, output_size);
                    }
                    unpool(stringify!($name), self, indices, &kernel, &stride, &padding, output_size)
                }
            )*
        }
    };
}
unpooling! {
    max_unpool1d max_pool1d 1;
    max_unpool2d max_pool2d 2;
    max_unpool3d max_pool3d 3;
}
