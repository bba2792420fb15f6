//! Named tensors in any format, which the file's extension tells.

use std::path::Path;

use kiln_autograd::{Error, Here, Result, Tensor};

use crate::value::Value;
use crate::{load, load_npz, save, save_npz};

enum Format {
    Torch,
    #[cfg(feature = "safetensors")]
    Safetensors,
    Npz,
}

fn format(path: &Path) -> Result<Format> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    match extension.to_ascii_lowercase().as_str() {
        "pt" | "pth" | "bin" | "ckpt" => Ok(Format::Torch),
        #[cfg(feature = "safetensors")]
        "safetensors" => Ok(Format::Safetensors),
        #[cfg(not(feature = "safetensors"))]
        "safetensors" => Err(Error::format(path, "safetensors files need the cargo feature \"safetensors\"")),
        "npz" => Ok(Format::Npz),
        other => Err(Error::format(
            path,
            format!(
                "the extension {other:?} names no format of named tensors: pt, pth, bin, ckpt, safetensors or npz"
            ),
        )),
    }
}

/// The named tensors of a file, in its order: a state dict in a `.pt`, `.pth`, `.bin` or `.ckpt` file, the content of a
/// `.safetensors` or `.npz` file.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_io::{load_tensors, save_tensors};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("net.safetensors");
/// let (w, b) = (Tensor::ones([2, 3]), Tensor::zeros(2));
/// save_tensors([("weight", &w), ("bias", &b)], &path)?;
/// let names: Vec<String> = load_tensors(&path)?.into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names.len(), 2);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// The extension names no format; the file cannot be read or holds something else.
#[track_caller]
pub fn load_tensors(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let path = path.as_ref();
    match format(path).here()? {
        Format::Torch => load(path).here()?.tensors(),
        #[cfg(feature = "safetensors")]
        Format::Safetensors => crate::load_safetensors(path),
        Format::Npz => load_npz(path),
    }
}

/// Writes named tensors in the format of the file's extension.
///
/// # Errors
/// The extension names no format; a name is there twice; the file cannot be written.
#[track_caller]
pub fn save_tensors<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    path: impl AsRef<Path>,
) -> Result<()> {
    let path = path.as_ref();
    match format(path).here()? {
        Format::Torch => {
            save(&Value::state_dict(tensors.into_iter().map(|(name, t)| (name, t.clone()))), path)
        }
        #[cfg(feature = "safetensors")]
        Format::Safetensors => crate::save_safetensors(tensors, &Default::default(), path),
        Format::Npz => save_npz(tensors, path),
    }
}
