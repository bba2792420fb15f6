//! NumPy's files: `.npy`, one array behind a short header, and `.npz`, a zip archive of such.

mod header;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use kiln_autograd::kiln_ops::Storage;
use kiln_autograd::{DType, Device, Element, Error, Here, Result, Shape, Tensor};

use crate::atomic;
use crate::elements::{is_addressable, read_pieces, read_storage, tensor_over, write_tensor};
use crate::fault::{Outcome, unsupported, wrong};
use crate::zip::{Archive, Writer};
use header::{ElementType, Header};

/// Arrays in an archive begin at multiples of it.
const ALIGNMENT: u64 = 64;

/// An array as its file describes it, and the tensor that it became.
#[derive(Clone, Debug)]
pub struct NpyArray {
    /// NumPy's name of the element type in the file. `uint16`, `uint32` and `uint64` are the ones that the tensor has
    /// otherwise: in the next wider signed type.
    pub dtype: &'static str,
    /// The elements. An array in Fortran's order becomes a tensor with such strides.
    pub tensor: Tensor,
}

/// Reads an array (`torch.from_numpy(numpy.load(path))`).
///
/// Kiln has no unsigned integers beyond 8 bits: `uint16` becomes int32, `uint32` int64, and `uint64` int64 if all of its
/// numbers fit.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_io::{load_npy, save_npy};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("x.npy");
/// save_npy(&Tensor::arange(0..6).reshape([2, 3])?, &path)?;
/// assert_eq!(load_npy(&path)?.dims(), [2, 3]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// The file cannot be read, is damaged, or its elements are no numbers that Kiln has: texts, objects, records, complex.
#[track_caller]
pub fn load_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let mut file = File::open(path).map_err(|source| Error::io(path, source)).here()?;
    Ok(read(&mut file).map_err(|fault| fault.at(path)).here()?.tensor)
}

/// Reads an array from any source, which may go on behind it; errors call it `name`.
///
/// # Errors
/// As [`load_npy`].
#[track_caller]
pub fn read_npy(mut source: impl Read, name: &str) -> Result<NpyArray> {
    read(&mut source).map_err(|fault| fault.at(Path::new(name))).here()
}

fn read(source: &mut dyn Read) -> Outcome<NpyArray> {
    let Header { element, order, fortran, shape } = Header::read(source)?;
    let dtype = element.dtype();
    if !is_addressable(&shape, dtype) {
        return wrong(format!("the shape {shape:?} is more than this machine can address"));
    }
    let count = shape.iter().product();
    let storage = match element {
        ElementType::Plain(dtype) => read_storage(source, dtype, count, order)?,
        ElementType::Unsigned(width) => {
            let mut beyond = None;
            // At most what has arrived is kept: the vectors grow with the file.
            let (mut narrow, mut wide) = (Vec::<i32>::new(), Vec::<i64>::new());
            read_pieces(source, count, width, order, |piece| {
                for bytes in piece.chunks_exact(width) {
                    let number = bytes.iter().rev().fold(0, |n: u64, &byte| n << 8 | u64::from(byte));
                    match i64::try_from(number) {
                        Ok(number) if width == 2 => narrow.push(number as i32),
                        Ok(number) => wide.push(number),
                        Err(_) => beyond = Some(number),
                    }
                }
            })?;
            if let Some(number) = beyond {
                return unsupported(format!("the uint64 number {number}, which int64 cannot hold"));
            }
            if width == 2 { Storage::from_vec(narrow) } else { Storage::from_vec(wide) }
        }
    };
    let mut strides = Shape::new(&shape).contiguous_strides();
    if fortran {
        let mut step = 1;
        for (stride, size) in strides.iter_mut().zip(&shape) {
            *stride = step;
            step *= (*size).max(1);
        }
    }
    let raw = tensor_over(&storage, dtype, &shape, &strides, 0)?;
    Ok(NpyArray { dtype: element.name(), tensor: Tensor::from_raw(raw) })
}

/// Writes an array (`numpy.save`), in row-major order. bfloat16, which NumPy does not have, is refused.
///
/// # Errors
/// The dtype is bfloat16, or the file cannot be written; what was there before then stays.
#[track_caller]
pub fn save_npy(tensor: &Tensor, path: impl AsRef<Path>) -> Result<()> {
    atomic::replace(path.as_ref(), |sink| {
        let header = header::written(tensor)?;
        write(sink, &header, tensor)
    })
    .here()
}

fn write(sink: &mut impl Write, header: &[u8], tensor: &Tensor) -> Outcome<()> {
    sink.write_all(header)?;
    write_tensor(sink, &tensor.detach().to_device(Device::CPU)?)
}

/// Reads the arrays of an archive, in its order, each as [`load_npy`] does (`numpy.load`).
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_io::{load_npz, save_npz};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("data.npz");
/// save_npz([("x", &Tensor::ones(3)), ("y", &Tensor::arange(0..3))], &path)?;
/// let arrays = load_npz(&path)?;
/// assert_eq!(arrays[1].0, "y");
/// assert_eq!(arrays[1].1.to_vec::<i64>()?, [0, 1, 2]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// The file cannot be read, is damaged, or a member is no array that Kiln has.
#[track_caller]
pub fn load_npz(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|source| Error::io(path, source)).here()?;
    read_archive(file).map_err(|fault| fault.at(path)).here()
}

fn read_archive(source: impl Read + Seek) -> Outcome<Vec<(String, Tensor)>> {
    let mut archive = Archive::open(source)?;
    let names: Vec<String> = archive.names().map(str::to_owned).collect();
    let mut arrays = Vec::new();
    for member in names {
        let array = archive.member(&member, |source, _| read(source))?;
        let name = member.strip_suffix(".npy").unwrap_or(&member);
        arrays.push((name.to_owned(), array.tensor));
    }
    Ok(arrays)
}

/// Writes named arrays into an archive (`numpy.savez`).
///
/// # Errors
/// A name is there twice, a dtype is bfloat16, or the file cannot be written; what was there before then stays.
#[track_caller]
pub fn save_npz<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    path: impl AsRef<Path>,
) -> Result<()> {
    atomic::replace(path.as_ref(), |sink| {
        let mut archive = Writer::new(sink, ALIGNMENT);
        let mut seen = HashSet::new();
        for (name, tensor) in tensors {
            if !seen.insert(name) {
                return wrong(format!("the name {name:?} is there twice"));
            }
            let header = header::written(tensor)?;
            let size = header.len() + tensor.numel() * tensor.dtype().size();
            archive
                .member(&format!("{name}.npy"), size as u64, |mut sink| write(&mut sink, &header, tensor))?;
        }
        archive.finish()
    })
    .here()
}

impl ElementType {
    /// The dtype of the tensor.
    fn dtype(self) -> DType {
        match self {
            ElementType::Plain(dtype) => dtype,
            ElementType::Unsigned(2) => i32::DTYPE,
            ElementType::Unsigned(_) => i64::DTYPE,
        }
    }
}
