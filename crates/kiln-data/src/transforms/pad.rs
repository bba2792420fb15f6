//! [`Pad`]: room around an image.

use kiln_autograd::{DType, Error, PadMode, Result, Tensor};

use super::{Transform, dimensions};

/// What the room is filled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaddingMode {
    /// One value.
    #[default]
    Constant,
    /// The border pixels again and again.
    Edge,
    /// The image mirrored; the border itself is not repeated.
    Reflect,
    /// The image mirrored, the border too.
    Symmetric,
}

/// How many pixels are added to the left, top, right and bottom: a number for all, `[left and right, top and bottom]`, or all
/// four. A negative number cuts off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Borders {
    left: i64,
    top: i64,
    right: i64,
    bottom: i64,
}

impl From<i64> for Borders {
    fn from(n: i64) -> Borders {
        Borders::from([n; 4])
    }
}

impl From<[i64; 2]> for Borders {
    fn from([across, down]: [i64; 2]) -> Borders {
        Borders::from([across, down, across, down])
    }
}

impl From<[i64; 4]> for Borders {
    fn from([left, top, right, bottom]: [i64; 4]) -> Borders {
        Borders { left, top, right, bottom }
    }
}

/// Room around an image (`torchvision.transforms.Pad`).
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_data::transforms::{Pad, PaddingMode, Transform};
/// let row = Tensor::from_vec(vec![1u8, 2, 3], [1, 1, 3])?;
/// let wide = Pad::new([2, 0]).padding_mode(PaddingMode::Symmetric).apply(&row)?;
/// assert_eq!(wide.to_vec::<u8>()?, [2, 1, 1, 2, 3, 3, 2]);
/// # Ok::<(), kiln_data::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pad {
    borders: Borders,
    fill: f64,
    mode: PaddingMode,
}

impl Pad {
    /// Zeros of this width: a number, `[left and right, top and bottom]`, or `[left, top, right, bottom]`.
    pub fn new(padding: impl Into<Borders>) -> Pad {
        Pad { borders: padding.into(), fill: 0.0, mode: PaddingMode::Constant }
    }

    /// This value in the place of zeros.
    #[must_use]
    pub fn fill(self, fill: f64) -> Pad {
        Pad { fill, ..self }
    }

    /// What the room is filled with.
    #[must_use]
    pub fn padding_mode(self, mode: PaddingMode) -> Pad {
        Pad { mode, ..self }
    }
}

impl Transform for Pad {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        pad(image, self.borders, self.fill, self.mode)
    }
}

/// Room around an image: see [`Pad`].
///
/// # Errors
/// The tensor is no image, it is too small to be mirrored, or more would be cut off than there is.
pub fn pad(image: &Tensor, borders: impl Into<Borders>, fill: f64, mode: PaddingMode) -> Result<Tensor> {
    const OP: &str = "pad";
    let [_, h, w] = dimensions(OP, image)?;
    let Borders { left, top, right, bottom } = borders.into();
    let room = [left, right, top, bottom];
    let mode = match mode {
        PaddingMode::Constant => return image.constant_pad_nd(&room, fill),
        PaddingMode::Edge => PadMode::Replicate,
        PaddingMode::Reflect => PadMode::Reflect,
        PaddingMode::Symmetric => {
            let (rows, columns) = (mirrored(h, top, bottom)?, mirrored(w, left, right)?);
            return image.index_select(-2, &rows)?.index_select(-1, &columns);
        }
    };
    let dims = image.dims();
    // These pad the last two of four axes.
    let batch =
        image.reshape([dims[..dims.len() - 3].iter().product::<usize>(), dims[dims.len() - 3], h, w])?;
    let float = if image.dtype().is_float() { batch } else { batch.to_dtype(DType::F32)? };
    let padded = float.pad(&room, mode)?.to_dtype(image.dtype())?;
    let mut shape = dims.clone();
    shape[dims.len() - 2..].copy_from_slice(&padded.dims()[2..]);
    padded.reshape(shape)
}

/// Positions of `n` pixels and of those mirrored before and after.
fn mirrored(n: usize, before: i64, after: i64) -> Result<Tensor> {
    let size = i64::try_from(n).unwrap_or(i64::MAX);
    if before > size || after > size {
        let text = format!("{before} and {after} pixels cannot be mirrored from {n}");
        return Err(Error::value("pad", text));
    }
    let (first, end) = (before.saturating_neg().max(0), size.saturating_add(after.min(0)));
    let inside = first..end.max(first);
    let head = (0..before.max(0)).rev();
    let tail = (0..after.max(0)).map(|i| size - 1 - i);
    let positions: Vec<i64> = head.chain(inside).chain(tail).collect();
    let count = positions.len();
    Tensor::from_vec(positions, [count])
}
