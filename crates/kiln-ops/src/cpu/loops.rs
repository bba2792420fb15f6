//! The loop that every elementwise kernel runs in: any layouts, broadcasting and dtype conversion outside, a plain
//! body over short contiguous runs inside.
//!
//! Operands that are not contiguous or not in the dtype to compute in are gathered into buffers of [`BLOCK`] elements
//! that stay in the first-level cache, so that a body exists once per op code and compute dtype. Elements are
//! independent of each other; how they are cut into blocks and threads never shows in the result.

use std::ops::Range;

use kiln_storage::{Access, DType, Dims, RawTensor, Result, with_dtype};

use super::convert::convert;
use super::{pool, stream, transpose};

/// Elements per buffered block.
const BLOCK: usize = 512;
/// Bytes of a block of the widest dtype.
const BLOCK_BYTES: usize = BLOCK * 8;
/// Rows at least this long are walked one by one; shorter ones are gathered many at a time.
const LONG_ROW: usize = 256;
/// Rows that are walked together, one block of columns after the other.
const TILE: usize = transpose::SIDE;

/// Applies an operation to `n` contiguous elements: `(inputs, output, n)`. Inputs may be the output itself, but do not
/// overlap it otherwise.
///
/// The pointers are valid for `n` elements of the dtypes given to [`elementwise`].
pub(crate) type Body<'a, const N: usize> = &'a dyn Inner<N>;

/// See [`Body`]. Not `dyn Fn`, whose tables of functions hold every closure three times: there are hundreds of them.
pub(crate) trait Inner<const N: usize>: Sync {
    fn run(&self, inputs: [*const u8; N], out: *mut u8, n: usize);
}

impl<const N: usize, F: Fn([*const u8; N], *mut u8, usize) + Sync> Inner<N> for F {
    fn run(&self, inputs: [*const u8; N], out: *mut u8, n: usize) {
        self(inputs, out, n);
    }
}

/// Says what the parameters of a closure are that becomes a [`Body`].
#[inline(always)]
pub(crate) fn body<const N: usize, F: Fn([*const u8; N], *mut u8, usize) + Sync>(f: F) -> F {
    f
}

/// What a loop does per element, for the choice between one thread and several.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Bound by memory: additions, copies.
    Cheap,
    /// Tens of instructions: exponentials and the like.
    Dear,
}

impl Cost {
    /// Below this many elements one thread is faster than several.
    fn serial_below(self) -> usize {
        match self {
            Cost::Cheap => 16 << 10,
            Cost::Dear => 4 << 10,
        }
    }
}

#[derive(Clone)]
struct Operand {
    ptr: *mut u8,
    dtype: DType,
    /// The dtype the body wants or gives.
    compute: DType,
    strides: Dims,
}

// SAFETY: the pointers are used under the storage locks that `elementwise` holds, and tasks write disjoint elements.
unsafe impl Sync for Operand {}
// SAFETY: as above.
unsafe impl Send for Operand {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Contiguous in iteration order and in the compute dtype: no buffer.
    Direct,
    /// One element for all.
    Constant,
    /// Anything else.
    Gather,
}

/// Runs `body` over all elements of `out`. Every input has `out`'s shape. `compute[i]` is the dtype that input `i` is
/// converted to, `out_compute` the one that the body writes.
///
/// # Errors
/// The memory of an operand is lent out by this thread.
pub(crate) fn elementwise<const N: usize>(
    op: &'static str,
    inputs: [&RawTensor; N],
    compute: [DType; N],
    out: &RawTensor,
    out_compute: DType,
    cost: Cost,
    body: Body<'_, N>,
) -> Result<()> {
    let numel = out.numel();
    if numel == 0 {
        return Ok(());
    }
    let _access = Access::new(op, inputs.iter().map(|t| t.storage()), [out.storage()])?;

    let direct = |t: &RawTensor, c: DType| t.dtype() == c && t.is_contiguous();
    // Writing past the cache only pays for memory that was not just read into it.
    let streams = numel * out.dtype().size() >= stream::STREAM_BYTES
        && inputs.iter().all(|t| !t.storage().is_same(out.storage()));
    if !streams && direct(out, out_compute) && (0..N).all(|i| direct(inputs[i], compute[i])) {
        // The most frequent case by far, and the one where nanoseconds count: plain loops, which the compiler unrolls.
        let to = SendPtr(host(out));
        let mut from = [SendPtr(std::ptr::null_mut()); N];
        for i in 0..N {
            from[i] = SendPtr(host(inputs[i]));
        }
        let run = |r: Range<usize>| {
            let mut ins = [std::ptr::null::<u8>(); N];
            for i in 0..N {
                ins[i] = from[i].get().wrapping_add(r.start * compute[i].size());
            }
            body.run(ins, to.get().wrapping_add(r.start * out_compute.size()), r.len());
        };
        if numel < cost.serial_below() {
            run(0..numel);
        } else {
            pool::parallel_chunks(numel, cost.serial_below() / 2, &run);
        }
        return Ok(());
    }

    let mut operands: Vec<Operand> = Vec::with_capacity(N + 1);
    let operand = |t: &RawTensor, compute| Operand {
        ptr: host(t),
        dtype: t.dtype(),
        compute,
        strides: Dims::from_slice(t.layout().strides()),
    };
    operands.push(operand(out, out_compute));
    operands.extend((0..N).map(|i| operand(inputs[i], compute[i])));
    let shape = coalesce(out.shape(), &mut operands);
    let row = *shape.last().expect("coalescing leaves at least one axis");
    let walk = Walk::<N> { shape: &shape, operands: &operands, streams, body };
    let min = cost.serial_below() / 2;
    if row >= LONG_ROW && shape.len() > 1 {
        let rows = numel / row;
        let rows_at_least = min.div_ceil(row);
        if numel < cost.serial_below() {
            walk.rows(0..rows);
        } else {
            // Whole tiles of rows; see `Walk::rows`.
            let step = rows_at_least.next_multiple_of(TILE);
            pool::parallel_for(rows.div_ceil(step), &|i| walk.rows(i * step..rows.min((i + 1) * step)));
        }
    } else if numel < cost.serial_below() {
        walk.linear(0..numel);
    } else {
        pool::parallel_chunks(numel, min, &|r| walk.linear(r));
    }
    Ok(())
}

#[derive(Clone, Copy)]
pub(crate) struct SendPtr(pub *mut u8);
// SAFETY: users write disjoint ranges per task.
unsafe impl Sync for SendPtr {}
// SAFETY: as above.
unsafe impl Send for SendPtr {}
impl SendPtr {
    /// The pointer; a method, so that closures capture the wrapper and not the field.
    #[inline(always)]
    pub(crate) fn get(self) -> *mut u8 {
        self.0
    }
}

fn host(t: &RawTensor) -> *mut u8 {
    t.host_ptr().expect("host kernels get host tensors")
}

/// Drops axes of size 1 and merges neighbours that every operand walks with one stride; sorts axes so that the output
/// is written in memory order. Returns the new shape, never empty.
fn coalesce(shape: &[usize], operands: &mut [Operand]) -> Dims {
    let mut axes: Dims = (0..shape.len()).filter(|&a| shape[a] != 1).collect();
    // A stable sort by the output's strides: elements are independent, so any order will do.
    axes.sort_by_key(&|a| usize::MAX - operands[0].strides[a]);
    let mut dims = Dims::new();
    let mut strides: Vec<Dims> = vec![Dims::new(); operands.len()];
    for &axis in &axes {
        let merges = !dims.is_empty()
            && operands.iter().zip(&strides).all(|(o, s)| s[s.len() - 1] == o.strides[axis] * shape[axis]);
        if merges {
            let last = dims.len() - 1;
            dims[last] *= shape[axis];
            for (o, s) in operands.iter().zip(&mut strides) {
                s[last] = o.strides[axis];
            }
        } else {
            dims.push(shape[axis]);
            for (o, s) in operands.iter().zip(&mut strides) {
                s.push(o.strides[axis]);
            }
        }
    }
    if dims.is_empty() {
        dims.push(1);
        strides.iter_mut().for_each(|s| s.push(1));
    }
    for (o, s) in operands.iter_mut().zip(strides) {
        o.strides = s;
    }
    dims
}

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Buffer([std::mem::MaybeUninit<u8>; BLOCK_BYTES]);

impl Buffer {
    const NEW: Buffer = Buffer([std::mem::MaybeUninit::uninit(); BLOCK_BYTES]);
    fn ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }
}

/// The loop over a coalesced iteration space; operand 0 is the output.
struct Walk<'a, const N: usize> {
    shape: &'a [usize],
    operands: &'a [Operand],
    streams: bool,
    body: Body<'a, N>,
}

impl<const N: usize> Walk<'_, N> {
    fn form(&self, o: &Operand) -> Form {
        let rank = self.shape.len();
        if o.strides.iter().all(|&s| s == 0) {
            Form::Constant
        } else if rank == 1 && o.strides[0] == 1 && o.dtype == o.compute {
            Form::Direct
        } else {
            Form::Gather
        }
    }

    /// Elements `range` in row-major order of the iteration space, gathered across rows.
    fn linear(&self, range: Range<usize>) {
        let mut buffers = [Buffer::NEW; N];
        let mut out_buffer = Buffer::NEW;
        let (out, inputs) = (&self.operands[0], &self.operands[1..]);
        let forms: [Form; N] = std::array::from_fn(|i| self.form(&inputs[i]));
        for i in 0..N {
            if forms[i] == Form::Constant {
                // SAFETY: a constant operand has one element, at its first address.
                unsafe { fill(&inputs[i], 0, BLOCK.min(range.len()), buffers[i].ptr()) };
            }
        }
        let out_direct = self.form(out) == Form::Direct && !self.streams;
        let mut cursors: [Cursor; N] = std::array::from_fn(|_| Cursor::new(self.shape, range.start));
        let mut out_cursor = Cursor::new(self.shape, range.start);
        let mut at = range.start;
        while at < range.end {
            let n = BLOCK.min(range.end - at);
            let ins: [*const u8; N] = std::array::from_fn(|i| {
                let o = &inputs[i];
                match forms[i] {
                    Form::Direct => o.ptr.wrapping_add(at * o.dtype.size()) as *const u8,
                    Form::Constant => buffers[i].ptr(),
                    Form::Gather => {
                        let buffer = buffers[i].ptr();
                        cursors[i].segments(self.shape, o, n, |position, stride, len, done| {
                            let to = buffer.wrapping_add(done * o.compute.size());
                            // SAFETY: the cursor stays inside the operand's layout, the buffer holds BLOCK elements.
                            unsafe { load(o, position, stride, len, to) };
                        });
                        buffer
                    }
                }
            });
            if out_direct {
                self.body.run(ins, out.ptr.wrapping_add(at * out.dtype.size()), n);
            } else {
                let buffer = out_buffer.ptr();
                self.body.run(ins, buffer, n);
                let streams = self.streams;
                out_cursor.segments(self.shape, out, n, |position, stride, len, done| {
                    let from = buffer.wrapping_add(done * out.compute.size());
                    // SAFETY: as for loading.
                    unsafe { store(out, position, stride, len, from, streams) };
                });
            }
            at += n;
        }
        if self.streams {
            stream::fence();
        }
    }

    /// Whether rows of this operand are its columns in memory, of elements that [`transpose::block`] moves.
    fn lies_across(&self, o: &Operand) -> bool {
        let rank = self.shape.len();
        o.strides[rank - 2] == 1 && o.strides[rank - 1] > 1 && o.dtype == o.compute && o.dtype.size() >= 4
    }

    /// Whole rows: columns are cut into blocks that all rows of the range visit in turn, so that operands that lie
    /// transposed are read a cache line at a time.
    fn rows(&self, range: Range<usize>) {
        let rank = self.shape.len();
        let row = self.shape[rank - 1];
        let (out, inputs) = (&self.operands[0], &self.operands[1..]);
        let mut buffers = [Buffer::NEW; N];
        let mut out_buffer = Buffer::NEW;
        let outer = &self.shape[..rank - 1];
        let across: [bool; N] = std::array::from_fn(|i| self.lies_across(&inputs[i]));
        let turned = across.contains(&true);
        let block = if turned { transpose::SIDE } else { BLOCK };
        // What [`transpose::block`] makes of each operand that lies across.
        let mut blocks: [Vec<u64>; N] =
            across.map(|a| if a { vec![0; transpose::SIDE * transpose::SIDE] } else { Vec::new() });
        let mut first = range.start;
        while first < range.end {
            let mut last = (first + TILE).min(range.end);
            if turned {
                // Rows whose first elements are neighbours in the operands that lie across.
                last = last.min(first - first % outer[rank - 2] + outer[rank - 2]);
            }
            let mut column = 0;
            while column < row {
                let n = block.min(row - column);
                let position = |o: &Operand, r: usize| {
                    let (mut rest, mut p) = (r, column * o.strides[rank - 1]);
                    for axis in (0..outer.len()).rev() {
                        p += rest % outer[axis] * o.strides[axis];
                        rest /= outer[axis];
                    }
                    p
                };
                for i in (0..N).filter(|&i| across[i]) {
                    let (o, to) = (&inputs[i], blocks[i].as_mut_ptr().cast());
                    let (size, stride) = (o.dtype.size(), o.strides[rank - 1]);
                    let from = o.ptr.wrapping_add(position(o, first) * size);
                    // SAFETY: the block lies inside the operand's layout; its sides are at most SIDE.
                    unsafe { transpose::block(size, from, stride, [last - first, n], to) };
                }
                for r in first..last {
                    let ins: [*const u8; N] = std::array::from_fn(|i| {
                        let o = &inputs[i];
                        if across[i] {
                            let at = (r - first) * transpose::SIDE * o.dtype.size();
                            return blocks[i].as_ptr().cast::<u8>().wrapping_add(at);
                        }
                        let (p, stride) = (position(o, r), o.strides[rank - 1]);
                        if stride == 1 && o.dtype == o.compute {
                            return o.ptr.wrapping_add(p * o.dtype.size()) as *const u8;
                        }
                        let buffer = buffers[i].ptr();
                        // SAFETY: the positions lie inside the operand's layout, the buffer holds BLOCK elements.
                        unsafe {
                            if stride == 0 { fill(o, p, n, buffer) } else { load(o, p, stride, n, buffer) }
                        };
                        buffer
                    });
                    let (p, stride) = (position(out, r), out.strides[rank - 1]);
                    if stride == 1 && out.dtype == out.compute && !self.streams {
                        self.body.run(ins, out.ptr.wrapping_add(p * out.dtype.size()), n);
                    } else {
                        let buffer = out_buffer.ptr();
                        self.body.run(ins, buffer, n);
                        // SAFETY: as for loading.
                        unsafe { store(out, p, stride, n, buffer, self.streams) };
                    }
                }
                column += n;
            }
            first = last;
        }
        if self.streams {
            stream::fence();
        }
    }
}

/// A place in the iteration space that moves on segment by segment.
struct Cursor {
    index: Dims,
}

impl Cursor {
    fn new(shape: &[usize], mut linear: usize) -> Cursor {
        let mut index = Dims::from_elem(0, shape.len());
        for axis in (0..shape.len()).rev() {
            index[axis] = linear % shape[axis];
            linear /= shape[axis];
        }
        Cursor { index }
    }

    /// Visits the next `n` elements as pieces of rows: `(position, stride, length, elements before it)`.
    fn segments(
        &mut self,
        shape: &[usize],
        o: &Operand,
        n: usize,
        mut visit: impl FnMut(usize, usize, usize, usize),
    ) {
        let last = shape.len() - 1;
        let mut position: usize = self.index.iter().zip(&o.strides).map(|(i, s)| i * s).sum();
        let mut done = 0;
        while done < n {
            let len = (shape[last] - self.index[last]).min(n - done);
            visit(position, o.strides[last], len, done);
            done += len;
            self.index[last] += len;
            position += len * o.strides[last];
            let mut axis = last;
            while self.index[axis] == shape[axis] {
                position -= self.index[axis] * o.strides[axis];
                self.index[axis] = 0;
                if axis == 0 {
                    return;
                }
                axis -= 1;
                self.index[axis] += 1;
                position += o.strides[axis];
            }
        }
    }
}

/// Repeats the element at `position`, converted, `n` times.
///
/// # Safety
/// `position` lies inside the operand; `to` holds `n` elements of the compute dtype.
unsafe fn fill(o: &Operand, position: usize, n: usize, to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        load(o, position, 1, 1, to);
        with_dtype!(o.compute, T => {
            let to = to.cast::<T>();
            let value = *to;
            for i in 1..n {
                to.add(i).write(value);
            }
        });
    }
}

/// Loads `n` elements `stride` apart, converted to the compute dtype.
///
/// # Safety
/// The elements lie inside the operand; `to` holds `n` elements of the compute dtype.
unsafe fn load(o: &Operand, position: usize, stride: usize, n: usize, to: *mut u8) {
    let from = o.ptr.wrapping_add(position * o.dtype.size());
    // SAFETY: the caller's promise.
    unsafe { convert(o.dtype, from, stride, o.compute, to, 1, n) }
}

/// Stores `n` elements `stride` apart, converted from the compute dtype.
///
/// # Safety
/// As [`load`].
unsafe fn store(o: &Operand, position: usize, stride: usize, n: usize, from: *const u8, streams: bool) {
    let to = o.ptr.wrapping_add(position * o.dtype.size());
    // SAFETY: the caller's promise.
    unsafe {
        if streams && stride == 1 && o.dtype == o.compute {
            stream::copy(from, to, n * o.dtype.size());
        } else {
            convert(o.compute, from, 1, o.dtype, to, stride, n);
        }
    }
}
