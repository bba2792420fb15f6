//! The safetensors format: a JSON header with names, dtypes, shapes and places, and the elements behind it.
//!
//! The header is parsed and checked by the `safetensors` crate. Only the header is read when a file is opened; a tensor is
//! read when it is asked for, straight into its own memory. Files are not mapped: a map of a file that another process cuts
//! short ends this one, and nothing here could prove that away.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kiln_autograd::{DType, Device, Error, Here, Result, Shape, Tensor};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use crate::atomic;
use crate::elements::{ByteOrder, is_addressable, read_storage, tensor_over, write_tensor};
use crate::fault::{Fault, Outcome, unsupported, wrong};

/// The longest header, the format's own limit.
const MAX_HEADER: u64 = 100_000_000;
/// Tensors begin at multiples of it, as the reference writer has it.
const ALIGNMENT: usize = 8;

/// An open file, of which tensors are read one by one (`safetensors.safe_open`).
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_io::{SafetensorsFile, save_safetensors};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("net.safetensors");
/// let notes = [("format".to_string(), "pt".to_string())].into();
/// save_safetensors([("x", &Tensor::arange(0..3))], &notes, &path)?;
/// let mut file = SafetensorsFile::open(&path)?;
/// assert_eq!(file.names(), ["x"]);
/// assert_eq!(file.tensor("x")?.to_vec::<i64>()?, [0, 1, 2]);
/// assert_eq!(file.metadata()["format"], "pt");
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
pub struct SafetensorsFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where the elements begin.
    start: u64,
    notes: HashMap<String, String>,
}

impl SafetensorsFile {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// The file cannot be read or is not one of this format, whole and without gaps.
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> Result<SafetensorsFile> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| Error::io(path, source)).here()?;
        SafetensorsFile::read(file, path).map_err(|fault| fault.at(path)).here()
    }

    fn read(mut file: File, path: &Path) -> Outcome<SafetensorsFile> {
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let mut head = [0; 8];
        if length < head.len() as u64 {
            return wrong(format!(
                "not a safetensors file: {length} bytes, where the header's length alone has 8"
            ));
        }
        file.read_exact(&mut head)?;
        let header_length = u64::from_le_bytes(head);
        if header_length > MAX_HEADER.min(length - 8) {
            return wrong(format!(
                "not a safetensors file: a header of {header_length} bytes in a file of {length}"
            ));
        }
        let mut bytes = Vec::new();
        (&file).take(header_length).read_to_end(&mut bytes)?;
        let header: Metadata = serde_json::from_slice(&bytes)
            .map_err(|error| Fault::Format(format!("the safetensors header is wrong: {error}")))?;
        let start = 8 + header_length;
        if start.checked_add(header.data_len() as u64) != Some(length) {
            return wrong(format!(
                "the safetensors header describes {} bytes of elements, the file has {}",
                header.data_len(),
                length - start
            ));
        }
        let notes = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        Ok(SafetensorsFile { path: path.to_owned(), file, header, start, notes })
    }

    /// The names of the tensors, in the order of the file.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// The texts that the file carries beside its tensors (`__metadata__`).
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.notes
    }

    /// Reads a tensor.
    ///
    /// # Errors
    /// There is none of that name, Kiln does not have its dtype, or the file cannot be read.
    #[track_caller]
    pub fn tensor(&mut self, name: &str) -> Result<Tensor> {
        self.read_tensor(name)
            .map_err(|fault| fault.about(&format!("the tensor {name:?}")).at(&self.path))
            .here()
    }

    fn read_tensor(&mut self, name: &str) -> Outcome<Tensor> {
        let Some(info) = self.header.info(name) else {
            return wrong("the file has none of that name");
        };
        let dtype = kiln_dtype(info.dtype)?;
        if !is_addressable(&info.shape, dtype) {
            return wrong(format!("shape {:?} overflows", info.shape));
        }
        let count = info.shape.iter().product();
        self.file.seek(SeekFrom::Start(self.start + info.data_offsets.0 as u64))?;
        let storage = read_storage(&mut self.file, dtype, count, ByteOrder::Little)?;
        let strides = Shape::new(&info.shape).contiguous_strides();
        Ok(Tensor::from_raw(tensor_over(&storage, dtype, &info.shape, &strides, 0)?))
    }
}

/// The tensors of a safetensors file, in its order (`safetensors.torch.load_file`).
///
/// # Errors
/// The file cannot be read, is damaged or has tensors of a dtype that Kiln does not have.
#[track_caller]
pub fn load_safetensors(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let mut file = SafetensorsFile::open(path).here()?;
    file.names().into_iter().map(|name| Ok((name.clone(), file.tensor(&name)?))).collect::<Result<_>>().here()
}

/// Writes named tensors and notes (`safetensors.torch.save_file`). The format knows no views: every tensor is written whole,
/// also those that share memory. The same content gives the same bytes.
///
/// # Errors
/// A name is there twice or is `__metadata__`, or the file cannot be written; what was there before then stays.
#[track_caller]
pub fn save_safetensors<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: &HashMap<String, String>,
    path: impl AsRef<Path>,
) -> Result<()> {
    atomic::replace(path.as_ref(), |sink| write(sink, tensors.into_iter().collect(), metadata)).here()
}

fn write(
    sink: &mut impl Write,
    mut tensors: Vec<(&str, &Tensor)>,
    notes: &HashMap<String, String>,
) -> Outcome<()> {
    // Wide elements first, so that all are aligned; by name among equals.
    tensors.sort_by(|(a, x), (b, y)| y.dtype().size().cmp(&x.dtype().size()).then(a.cmp(b)));
    let mut seen = HashSet::new();
    let mut infos = Vec::new();
    let mut end = 0;
    for (name, tensor) in &tensors {
        if *name == "__metadata__" || !seen.insert(*name) {
            return wrong(format!("the name {name:?} is there twice or reserved"));
        }
        let bytes = tensor.numel() * tensor.dtype().size();
        let dtype = file_dtype(tensor.dtype())?;
        infos.push((
            (*name).to_owned(),
            TensorInfo { dtype, shape: tensor.dims(), data_offsets: (end, end + bytes) },
        ));
        end += bytes;
    }
    let json = |error: &dyn std::fmt::Display| Fault::Format(format!("the safetensors header: {error}"));
    let header = Metadata::new(None, infos).map_err(|error| json(&error))?;
    let mut header = serde_json::to_string(&header).map_err(|error| json(&error))?;
    if !notes.is_empty() {
        // In the order of their keys: a hash map's would differ from run to run.
        let sorted: std::collections::BTreeMap<_, _> = notes.iter().collect();
        let notes = serde_json::to_string(&sorted).map_err(|error| json(&error))?;
        let comma = if tensors.is_empty() { "" } else { "," };
        header.insert_str(1, &format!("\"__metadata__\":{notes}{comma}"));
    }
    let length = header.len().next_multiple_of(ALIGNMENT);
    if length as u64 > MAX_HEADER {
        return wrong(format!("a safetensors header of {length} bytes; the format allows {MAX_HEADER}"));
    }
    sink.write_all(&(length as u64).to_le_bytes())?;
    header.push_str(&" ".repeat(length - header.len()));
    sink.write_all(header.as_bytes())?;
    for (_, tensor) in &tensors {
        let host = tensor.detach().to_device(Device::CPU)?;
        write_tensor(sink, &host)?;
    }
    Ok(())
}

fn kiln_dtype(dtype: Dtype) -> Outcome<DType> {
    Ok(match dtype {
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => DType::U8,
        Dtype::I8 => DType::I8,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        other => return unsupported(format!("elements of type {other}, which Kiln does not have")),
    })
}

fn file_dtype(dtype: DType) -> Outcome<Dtype> {
    Ok(match dtype {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::I8 => Dtype::I8,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        other => return unsupported(format!("{other} tensors cannot be saved as safetensors")),
    })
}
