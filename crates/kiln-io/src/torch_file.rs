//! PyTorch's checkpoint files, `.pt` and `.pth`: reading and writing, in both containers.
//!
//! [`load`] reads what `torch.load(weights_only=True)` reads and more (files of pickle protocol 4, for one); what
//! [`save`] writes, `torch.load(weights_only=True)` reads. Tensors that share memory go on sharing it, views and their
//! strides included. Storages of any device are loaded to the host.

mod legacy;
mod zipped;

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use kiln_autograd::{Error, Here, Result};

use crate::atomic;
use crate::fault::{Outcome, wrong};
use crate::value::Value;

/// Reads a checkpoint (`torch.load(path, map_location="cpu", weights_only=True)`).
///
/// No code in the file is executed: of the functions that it may name, only those that rebuild tensors and containers have
/// a meaning, every other name is an error.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_io::{Value, load, save};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("checkpoint.pt");
/// save(&Value::dict([("epoch", 7.into()), ("weight", Tensor::ones([2, 3]).into())]), &path)?;
/// let checkpoint = load(&path)?;
/// assert_eq!(checkpoint.get("epoch")?.to_i64()?, 7);
/// assert_eq!(checkpoint.get("weight")?.to_tensor()?.dims(), [2, 3]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// The file cannot be read, is damaged or no checkpoint, names a function or class that is not allowed, or holds tensors
/// of a kind that Kiln does not have (complex, sparse, quantized, float8).
#[track_caller]
pub fn load(path: impl AsRef<Path>) -> Result<Value> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|source| Error::io(path, source)).here()?;
    read(file).map_err(|fault| fault.at(path)).here()
}

/// [`load`] from memory or any other source; errors call it `name`.
///
/// # Errors
/// As [`load`].
#[track_caller]
pub fn load_from(source: impl Read + Seek, name: &str) -> Result<Value> {
    read(source).map_err(|fault| fault.at(Path::new(name))).here()
}

fn read(mut source: impl Read + Seek) -> Outcome<Value> {
    let mut start = Vec::new();
    source.by_ref().take(512).read_to_end(&mut start)?;
    source.seek(SeekFrom::Start(0))?;
    match start.as_slice() {
        [] => wrong("the file is empty, not a checkpoint"),
        [b'P', b'K', 3, 4, ..] => zipped::read(source),
        [0x80, ..] => legacy::read(source),
        [b'P', b'K', 5, 6, ..] => wrong("an empty zip archive, not a checkpoint"),
        [.., _, _] if start.get(257..262) == Some(b"ustar") => {
            wrong("a checkpoint in the tar format of PyTorch before 0.1.10; load it there and save it again")
        }
        [_, _, _, _, _, _, _, _, b'{', ..] => {
            wrong("not a checkpoint of PyTorch; it looks like safetensors: use load_safetensors")
        }
        [0x93, b'N', b'U', b'M', ..] => wrong("not a checkpoint of PyTorch but a NumPy array: use load_npy"),
        _ => wrong("not a checkpoint of PyTorch: neither a zip archive nor a pickle"),
    }
}

/// The container of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Container {
    /// A zip archive, PyTorch's since 1.6.
    #[default]
    Zip,
    /// The format before, for old readers (`_use_new_zipfile_serialization=False`).
    Legacy,
}

/// Writes a checkpoint (`torch.save`). The file appears at once and whole: a crash in the middle leaves what was there
/// before.
///
/// # Errors
/// The file cannot be written, or a value cannot be saved: containers more than 128 deep, memory seen as two dtypes.
#[track_caller]
pub fn save(value: &Value, path: impl AsRef<Path>) -> Result<()> {
    save_as(value, path, Container::Zip).here()
}

/// [`save`] in a chosen container.
///
/// # Errors
/// As [`save`].
#[track_caller]
pub fn save_as(value: &Value, path: impl AsRef<Path>, container: Container) -> Result<()> {
    let path = path.as_ref();
    // PyTorch names the archive's folder after the file.
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("archive");
    atomic::replace(path, |sink| match container {
        Container::Zip => zipped::write(sink, value, stem),
        Container::Legacy => legacy::write(sink, value),
    })
    .here()
}

/// The bytes of a checkpoint, as [`save_as`] would write them to a file.
///
/// # Errors
/// As [`save`].
#[track_caller]
pub fn to_bytes(value: &Value, container: Container) -> Result<Vec<u8>> {
    let mut sink = Cursor::new(Vec::new());
    let written = match container {
        Container::Zip => zipped::write(&mut sink, value, "archive"),
        Container::Legacy => legacy::write(&mut sink, value),
    };
    written.map_err(|fault| fault.at(Path::new("memory"))).here()?;
    Ok(sink.into_inner())
}
