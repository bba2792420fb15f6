//! Elements as bytes: from a stream into a storage, and from a tensor into a stream.

use std::io::{self, Read, Write};

use kiln_autograd::kiln_ops::{Storage, with_dtype};
use kiln_autograd::{DType, Element, Layout, RawTensor, Shape, SliceRef, Tensor, bf16, f16};

use crate::fault::{Outcome, wrong};

/// The order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

/// How much is converted at a time; a multiple of every element's size.
const CHUNK: usize = 1 << 16;
/// More axes than any array of NumPy can have. What prints or indexes a tensor goes through them one inside the other.
const MAX_RANK: usize = 64;
/// What is allocated before any data has come, when the length is only promised.
const PROMISED: usize = 1 << 20;

/// The bytes of one element.
pub(crate) trait Bytes: Element {
    type Raw: AsRef<[u8]> + AsMut<[u8]> + Default;
    fn from_le(raw: Self::Raw) -> Self;
    fn to_le(self) -> Self::Raw;
}

macro_rules! bytes {
    ($($t:ty => $n:literal),*) => {
        $(impl Bytes for $t {
            type Raw = [u8; $n];
            #[inline]
            fn from_le(raw: [u8; $n]) -> $t { <$t>::from_le_bytes(raw) }
            #[inline]
            fn to_le(self) -> [u8; $n] { self.to_le_bytes() }
        })*
    };
}
bytes!(u8 => 1, i8 => 1, i16 => 2, i32 => 4, i64 => 8, f16 => 2, bf16 => 2, f32 => 4, f64 => 8);

impl Bytes for bool {
    type Raw = [u8; 1];
    #[inline]
    fn from_le([byte]: [u8; 1]) -> bool {
        byte != 0
    }
    #[inline]
    fn to_le(self) -> [u8; 1] {
        [self as u8]
    }
}

/// Calls `each` with the bytes of `count` elements of `width` bytes, in pieces of whole elements, in little-endian order.
pub(crate) fn read_pieces(
    source: &mut (impl Read + ?Sized),
    count: usize,
    width: usize,
    order: ByteOrder,
    mut each: impl FnMut(&[u8]),
) -> Outcome<()> {
    let Some(total) = count.checked_mul(width).filter(|&n| isize::try_from(n).is_ok()) else {
        return wrong(format!("{count} elements of {width} bytes are more than this machine can address"));
    };
    let mut buffer = vec![0; CHUNK.min(total)];
    let mut done = 0;
    while done < total {
        let piece = &mut buffer[..CHUNK.min(total - done)];
        source.read_exact(piece)?;
        if order == ByteOrder::Big && width > 1 {
            piece.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        each(piece);
        done += piece.len();
    }
    Ok(())
}

/// Reads `count` elements. Memory grows as they arrive, so that a promise costs nothing.
pub(crate) fn read_vec<T: Bytes>(
    source: &mut (impl Read + ?Sized),
    count: usize,
    order: ByteOrder,
) -> Outcome<Vec<T>> {
    let width = size_of::<T>();
    let mut values: Vec<T> = Vec::with_capacity(count.min(PROMISED / width));
    read_pieces(source, count, width, order, |piece| {
        values.extend(piece.chunks_exact(width).map(|bytes| {
            let mut raw = T::Raw::default();
            raw.as_mut().copy_from_slice(bytes);
            T::from_le(raw)
        }));
    })?;
    Ok(values)
}

/// Reads the elements of a whole storage.
pub(crate) fn read_storage(
    source: &mut (impl Read + ?Sized),
    dtype: DType,
    count: usize,
    order: ByteOrder,
) -> Outcome<Storage> {
    with_dtype!(dtype, T => Ok(Storage::from_vec(read_vec::<T>(source, count, order)?)))
}

/// Writes the elements of a contiguous tensor, little-endian.
fn write_contiguous(sink: &mut impl Write, raw: &RawTensor) -> Outcome<()> {
    fn typed<T: Bytes>(sink: &mut impl Write, raw: &RawTensor) -> Outcome<()> {
        let values = SliceRef::<T>::contiguous("save", raw)?;
        let mut buffer = Vec::with_capacity(CHUNK);
        for piece in values.chunks(CHUNK / size_of::<T>()) {
            buffer.clear();
            piece.iter().for_each(|&value| buffer.extend_from_slice(value.to_le().as_ref()));
            sink.write_all(&buffer)?;
        }
        Ok(())
    }
    with_dtype!(raw.dtype(), T => typed::<T>(sink, raw))
}

/// Writes the elements of a host tensor in row-major order, little-endian.
pub(crate) fn write_tensor(sink: &mut impl Write, tensor: &Tensor) -> Outcome<()> {
    let raw = tensor.raw().clone();
    write_contiguous(sink, &kiln_autograd::kiln_ops::contiguous(&raw)?)
}

/// Writes a whole host storage, of whose elements `dtype` is the type.
pub(crate) fn write_storage(sink: &mut impl Write, storage: &Storage, dtype: DType) -> Outcome<()> {
    let count = storage.bytes() / dtype.size();
    let all = RawTensor::new("save", storage.clone(), Layout::contiguous(Shape::new(&[count])), dtype)?;
    write_contiguous(sink, &all)
}

/// A tensor over `storage` as a file describes it. Nothing that it says is believed: positions lie inside the storage, and
/// no product of sizes and strides, which later computations take for granted, overflows.
pub(crate) fn tensor_over(
    storage: &Storage,
    dtype: DType,
    shape: &[usize],
    strides: &[usize],
    offset: usize,
) -> Outcome<RawTensor> {
    let room = storage.bytes() / dtype.size();
    if shape.len() > MAX_RANK {
        return wrong(format!("a tensor of {} axes; more than {MAX_RANK} make no sense", shape.len()));
    }
    if shape.len() != strides.len() {
        return wrong(format!("shape {shape:?} and strides {strides:?} have different lengths"));
    }
    if !is_addressable(shape, dtype) {
        return wrong(format!("shape {shape:?}: the number of elements overflows"));
    }
    let limit = isize::MAX as usize / 8;
    let far = |(&size, &stride): (&usize, &usize)| size.max(1).checked_mul(stride).is_none_or(|n| n > limit);
    if shape.iter().zip(strides).any(far) {
        return wrong(format!("shape {shape:?} and strides {strides:?}: the last position overflows"));
    }
    // A tensor without elements may start anywhere: its first position is never looked at.
    let offset = if shape.contains(&0) { offset.min(room) } else { offset };
    let layout = Layout::new(Shape::new(shape), strides, offset)?;
    match layout.extent() {
        Some(end) if end <= room => Ok(RawTensor::new("load", storage.clone(), layout, dtype)?),
        _ => wrong(format!(
            "shape {shape:?}, strides {strides:?} and offset {offset} reach past a storage of {room} elements"
        )),
    }
}

/// Whether a contiguous tensor of this shape could be addressed. A size of 0 does not excuse the others: what computes
/// strides multiplies those.
pub(crate) fn is_addressable(shape: &[usize], dtype: DType) -> bool {
    let product = shape.iter().filter(|&&n| n != 0).try_fold(dtype.size(), |n, &size| n.checked_mul(size));
    product.is_some_and(|n| n <= isize::MAX as usize / 8)
}

/// Passes everything on and counts it.
pub(crate) struct Counted<W> {
    pub(crate) inner: W,
    pub(crate) written: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
