//! The IDX format: one array of numbers behind a short header, as MNIST comes in.
//!
//! A file is two zero bytes, a byte for the element type, a byte for the rank, one 32-bit size per axis and
//! the elements in row-major order, everything big endian. The file may be packed with gzip, which is told
//! from its first bytes, not from its name. Format: <http://yann.lecun.com/exdb/mnist/>.
//!
//! The header is not believed: memory grows as data arrives, so a file that promises more than it holds costs
//! no more than what it holds. A file with bytes missing or left over is refused.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::{DataError, Result};

/// An array read from an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub struct IdxArray {
    /// The size of each axis, outermost first. The product is `data.len()`; no axes mean one element.
    pub dims: Vec<usize>,
    /// The elements in row-major order.
    pub data: IdxData,
}

/// The elements of an IDX file, in the type the file has them in.
#[derive(Clone, Debug, PartialEq)]
pub enum IdxData {
    /// Type code 0x08.
    U8(Vec<u8>),
    /// Type code 0x09.
    I8(Vec<i8>),
    /// Type code 0x0B.
    I16(Vec<i16>),
    /// Type code 0x0C.
    I32(Vec<i32>),
    /// Type code 0x0D.
    F32(Vec<f32>),
    /// Type code 0x0E.
    F64(Vec<f64>),
}

impl IdxArray {
    /// Reads the file at `path`, plain or gzip.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] when the file cannot be opened or read, [`DataError::Format`] when it is not a whole
    /// IDX file: wrong header, elements missing or left over, damaged gzip.
    pub fn open(path: impl AsRef<Path>) -> Result<IdxArray> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| DataError::io("open", path, source))?;
        IdxArray::read(file, path)
    }

    /// Reads an array from `reader`, which must end where the array does. Errors call the source `name`.
    ///
    /// ```
    /// use kiln_data::idx::{IdxArray, IdxData};
    ///
    /// let file = [0, 0, 0x08, 1, 0, 0, 0, 3, 7, 8, 9];
    /// let array = IdxArray::read(&file[..], "three bytes")?;
    /// assert_eq!(array.dims, [3]);
    /// assert_eq!(array.data, IdxData::U8(vec![7, 8, 9]));
    /// # Ok::<(), kiln_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`IdxArray::open`].
    pub fn read(mut reader: impl Read, name: impl AsRef<Path>) -> Result<IdxArray> {
        let name = name.as_ref();
        let mut start = [0; 2];
        let got = fill(&mut reader, &mut start).map_err(|source| DataError::io("read", name, source))?;
        let whole = (&start[..got]).chain(reader);
        if start == [0x1f, 0x8b] {
            Parser { reader: MultiGzDecoder::new(whole), name, packed: true }.array()
        } else {
            Parser { reader: whole, name, packed: false }.array()
        }
    }
}

impl IdxData {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            IdxData::U8(values) => values.len(),
            IdxData::I8(values) => values.len(),
            IdxData::I16(values) => values.len(),
            IdxData::I32(values) => values.len(),
            IdxData::F32(values) => values.len(),
            IdxData::F64(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type's name: "uint8", "float32", ...
    pub fn type_name(&self) -> &'static str {
        match self {
            IdxData::U8(_) => "uint8",
            IdxData::I8(_) => "int8",
            IdxData::I16(_) => "int16",
            IdxData::I32(_) => "int32",
            IdxData::F32(_) => "float32",
            IdxData::F64(_) => "float64",
        }
    }
}

/// How much is read at a time; a multiple of every element's size.
const CHUNK: usize = 32 * 1024;

struct Parser<'a, R> {
    reader: R,
    name: &'a Path,
    packed: bool,
}

impl<R: Read> Parser<'_, R> {
    fn array(mut self) -> Result<IdxArray> {
        let mut head = [0; 4];
        match self.fill(&mut head)? {
            0 => return Err(self.wrong("the file is empty, not an IDX file")),
            4 => {}
            got => return Err(self.wrong(format!("not an IDX file: {got} bytes where the header has 4"))),
        }
        let [zero, zero_too, code, rank] = head;
        if (zero, zero_too) != (0, 0) {
            let detail =
                format!("not an IDX file: it starts with {zero:02x} {zero_too:02x} instead of 00 00");
            return Err(self.wrong(detail));
        }
        let width = match code {
            0x08 | 0x09 => 1,
            0x0b => 2,
            0x0c | 0x0d => 4,
            0x0e => 8,
            _ => return Err(self.wrong(format!("unknown IDX element type 0x{code:02x}"))),
        };

        let dims = self.dims(rank)?;
        let Some(count) = count(&dims, width) else {
            return Err(self.wrong(format!("sizes {dims:?} are more than this machine can address")));
        };
        let data = match code {
            0x08 => IdxData::U8(self.bytes(count, &dims)?),
            0x09 => IdxData::I8(self.elements(count, &dims, i8::from_be_bytes)?),
            0x0b => IdxData::I16(self.elements(count, &dims, i16::from_be_bytes)?),
            0x0c => IdxData::I32(self.elements(count, &dims, i32::from_be_bytes)?),
            0x0d => IdxData::F32(self.elements(count, &dims, f32::from_be_bytes)?),
            _ => IdxData::F64(self.elements(count, &dims, f64::from_be_bytes)?),
        };

        // Reading on to the end is also what makes the gzip reader compare the checksum.
        if self.fill(&mut [0])? != 0 {
            return Err(self.wrong(format!("bytes are left over after the {count} elements of {dims:?}")));
        }
        Ok(IdxArray { dims, data })
    }

    fn dims(&mut self, rank: u8) -> Result<Vec<usize>> {
        let mut bytes = vec![0; 4 * usize::from(rank)];
        let got = self.fill(&mut bytes)?;
        if got < bytes.len() {
            let detail = format!("the header is cut off: {got} of {} bytes for {rank} sizes", bytes.len());
            return Err(self.wrong(detail));
        }
        let sizes = bytes.as_chunks::<4>().0.iter().map(|&size| u32::from_be_bytes(size));
        sizes
            .map(|size| usize::try_from(size).map_err(|_| self.wrong(format!("size {size} is too large"))))
            .collect()
    }

    /// Bytes need no conversion; the 47 million of MNIST are read straight into place.
    fn bytes(&mut self, count: usize, dims: &[usize]) -> Result<Vec<u8>> {
        let mut values = Vec::new();
        let limit = u64::try_from(count).unwrap_or(u64::MAX);
        self.reader.by_ref().take(limit).read_to_end(&mut values).map_err(|source| self.failed(source))?;
        if values.len() < count {
            return Err(self.cut_off(dims, count, values.len()));
        }
        Ok(values)
    }

    fn elements<T, const N: usize>(
        &mut self,
        count: usize,
        dims: &[usize],
        from_be: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        let (total, mut done) = (count * N, 0);
        let mut values = Vec::new();
        let mut chunk = vec![0; CHUNK.min(total)];
        while done < total {
            let want = CHUNK.min(total - done);
            let got = self.fill(&mut chunk[..want])?;
            done += got;
            if got < want {
                return Err(self.cut_off(dims, total, done));
            }
            values.extend(chunk[..want].as_chunks::<N>().0.iter().map(|&bytes| from_be(bytes)));
        }
        Ok(values)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        fill(&mut self.reader, buffer).map_err(|source| self.failed(source))
    }

    /// What the gzip reader finds wrong with the stream is the file's fault, the rest the system's.
    fn failed(&self, source: io::Error) -> DataError {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match source.kind() {
            UnexpectedEof if self.packed => self.wrong("the gzip stream is cut off"),
            InvalidData | InvalidInput if self.packed => {
                self.wrong(format!("the gzip stream is damaged: {source}"))
            }
            _ => DataError::io("read", self.name, source),
        }
    }

    fn cut_off(&self, dims: &[usize], expected: usize, got: usize) -> DataError {
        self.wrong(format!("the data is cut off: {got} of the {expected} bytes that {dims:?} needs"))
    }

    fn wrong(&self, detail: impl Into<String>) -> DataError {
        DataError::format(self.name, detail)
    }
}

/// The number of elements, if their bytes can be addressed. An empty axis does not excuse the others: what
/// computes strides later multiplies those.
fn count(dims: &[usize], width: usize) -> Option<usize> {
    let without_empty =
        dims.iter().filter(|&&size| size != 0).try_fold(1, |n: usize, &size| n.checked_mul(size))?;
    without_empty.checked_mul(width).filter(|&bytes| isize::try_from(bytes).is_ok())?;
    Some(if dims.contains(&0) { 0 } else { without_empty })
}

/// Reads until `buffer` is full or the source ends, and says how much came.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match reader.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
