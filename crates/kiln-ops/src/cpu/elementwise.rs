//! The host's elementwise kernels: a body per row of the tables in [`crate::elementwise`], compiled for every
//! instruction set.

use std::marker::PhantomData;

use kiln_storage::{DType, Element, RawTensor, Result, with_dtype};

use super::arch::{Arch, Kernel, Portable, dispatch, dispatch_single_to_avx2, dispatch_to_avx2};
use super::convert::convert;
use super::loops::{Cost, body, elementwise};
use super::math::Math;
use super::num::{FloatNum, Int, Num};
use crate::elementwise::*;

/// Elements that one step of a body takes through registers. Reading a whole group before writing it lets the output
/// be one of the inputs and still vectorise.
const GROUP: usize = 64;
/// At most so many elements are computed one by one where that is cheap.
const FEW: usize = 4;

/// `y[i] = f(x_0[i], .., x_N-1[i])` for contiguous operands, `f` compiled for the instruction set in use.
///
/// Written without closures or iterators over operands: there are hundreds of instances, and every helper function of
/// each would cost compile time.
struct Map<const N: usize, T, U, F> {
    inputs: [*const T; 3],
    out: *mut U,
    n: usize,
    f: PhantomData<F>,
}

/// A function of up to three elements that can be compiled for an instruction set; those beyond its arity are ignored.
trait Apply<T, U>: 'static {
    /// What an element costs. A few cheap ones are quicker one by one than as a padded group.
    const COST: Cost;
    fn apply<A: Arch>(a: T, b: T, c: T) -> U;
}

impl<const N: usize, T: Element, U: Element, F: Apply<T, U>> Map<N, T, U, F> {
    #[inline(always)]
    fn new(inputs: [*const u8; N], out: *mut u8, n: usize) -> Self {
        let mut all = [std::ptr::null(); 3];
        let mut i = 0;
        while i < N {
            all[i] = inputs[i].cast();
            i += 1;
        }
        Map { inputs: all, out: out.cast(), n, f: PhantomData }
    }
}

impl<const N: usize, T: Element, U: Element, F: Apply<T, U>> Kernel for Map<N, T, U, F> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        if matches!(F::COST, Cost::Cheap) && self.n <= FEW {
            let mut i = 0;
            while i < self.n {
                let mut x = [T::default(); 3];
                let mut j = 0;
                while j < N {
                    // SAFETY: `Body` promises `n` valid elements behind every pointer.
                    x[j] = unsafe { *self.inputs[j].wrapping_add(i) };
                    j += 1;
                }
                // SAFETY: as above.
                unsafe { self.out.add(i).write(F::apply::<A>(x[0], x[1], x[2])) };
                i += 1;
            }
            return;
        }
        // A rest shorter than a group is computed as one, in memory of its own: the body exists once, and what it reads and
        // writes has a constant size, so that it goes through registers.
        let mut padded = [[T::default(); GROUP]; N];
        let mut rest = [U::default(); GROUP];
        let mut x = [[T::default(); GROUP]; 3];
        let mut y = [U::default(); GROUP];
        let mut at = 0;
        while at < self.n {
            let left = self.n - at;
            let mut j = 0;
            while j < N {
                let mut from = self.inputs[j].wrapping_add(at);
                // SAFETY: `Body` promises `n` valid elements behind every pointer, and the padding has a whole group.
                unsafe {
                    if left < GROUP {
                        std::ptr::copy_nonoverlapping(from, padded[j].as_mut_ptr(), left);
                        from = padded[j].as_ptr();
                    }
                    x[j] = from.cast::<[T; GROUP]>().read_unaligned();
                }
                j += 1;
            }
            let mut i = 0;
            while i < GROUP {
                y[i] = F::apply::<A>(x[0][i], x[1][i], x[2][i]);
                i += 1;
            }
            let out = self.out.wrapping_add(at);
            let to = if left < GROUP { rest.as_mut_ptr() } else { out };
            // SAFETY: as above.
            unsafe {
                to.cast::<[U; GROUP]>().write_unaligned(y);
                if left < GROUP {
                    std::ptr::copy_nonoverlapping(rest.as_ptr(), out, left);
                }
            }
            at += GROUP;
        }
    }
}

/// [`Map`] without groups, for functions that are calls per element anyway.
struct Each<const N: usize, T, U, F>(Map<N, T, U, F>);

impl<const N: usize, T: Element, U: Element, F: Apply<T, U>> Each<N, T, U, F> {
    fn run(self) {
        let Map { inputs, out, n, .. } = self.0;
        let mut i = 0;
        while i < n {
            let mut x = [T::default(); 3];
            let mut j = 0;
            while j < N {
                // SAFETY: `Body` promises `n` valid elements behind every pointer.
                x[j] = unsafe { *inputs[j].wrapping_add(i) };
                j += 1;
            }
            // SAFETY: as above.
            unsafe { out.add(i).write(F::apply::<Portable>(x[0], x[1], x[2])) };
            i += 1;
        }
    }
}

/// Runs the body of `F` over the operands.
fn map<const N: usize, T: Element, U: Element, F: Apply<T, U>>(
    op: &'static str,
    inputs: [&RawTensor; N],
    out: &RawTensor,
) -> Result<()> {
    let body = body(|inputs, out, n| {
        let map = Map::<N, T, U, F>::new(inputs, out, n);
        // Constant blocks, so that the compilations not wanted are not even begun.
        if const { !matches!((T::DTYPE, U::DTYPE), (DType::F32, DType::F32)) } {
            // Bound by memory or calls on every instruction set; one compilation of these many rows is enough.
            map.run::<Portable>()
        } else if const { matches!(F::COST, Cost::Cheap) } {
            dispatch_to_avx2(map)
        } else {
            dispatch(map)
        }
    });
    elementwise(op, inputs, [T::DTYPE; N], out, U::DTYPE, F::COST, &body)
}

/// [`map`] for functions of doubles that the C library's algorithms compute one at a time, on every instruction set.
fn map_each<const N: usize, T: Element, F: Apply<T, T>>(
    op: &'static str,
    inputs: [&RawTensor; N],
    out: &RawTensor,
) -> Result<()> {
    let body = body(|inputs, out, n| Each(Map::<N, T, T, F>::new(inputs, out, n)).run());
    elementwise(op, inputs, [T::DTYPE; N], out, T::DTYPE, F::COST, &body)
}

/// Sine, cosine and tangent: runs of arguments, because the rare large ones are computed apart.
struct Circular {
    code: FloatOp,
    x: *const f32,
    y: *mut f32,
    n: usize,
}

impl Kernel for Circular {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        const RUN: usize = 256;
        let (mut x, mut y) = ([0f32; RUN], [0f32; RUN]);
        let mut at = 0;
        while at < self.n {
            let len = RUN.min(self.n - at);
            // SAFETY: `Body` promises `n` valid elements behind both pointers.
            unsafe { std::ptr::copy_nonoverlapping(self.x.add(at), x.as_mut_ptr(), len) };
            match self.code {
                FloatOp::Sin => Math::sin_slice::<A>(&x[..len], &mut y[..len]),
                FloatOp::Cos => Math::cos_slice::<A>(&x[..len], &mut y[..len]),
                _ => Math::tan_slice::<A>(&x[..len], &mut y[..len]),
            }
            // SAFETY: as above.
            unsafe { std::ptr::copy_nonoverlapping(y.as_ptr(), self.y.add(at), len) };
            at += len;
        }
    }
}

/// Makes the rows of a table callable by [`map`].
macro_rules! row_function {
    ($wrapper:ident, $row:ident, $bound:ident, $arity:tt, $out:ident) => {
        struct $wrapper<R>(PhantomData<R>);
        impl<R: $row, T: $bound> Apply<T, $out> for $wrapper<R> {
            const COST: Cost = R::COST;
            #[inline(always)]
            fn apply<A: Arch>(a: T, b: T, c: T) -> $out {
                let _ = (b, c);
                row_function!(@call $arity, R::apply::<A, T>, a, b, c)
            }
        }
    };
    (@call 1, $f:expr, $a:ident, $b:ident, $c:ident) => { $f($a) };
    (@call 2, $f:expr, $a:ident, $b:ident, $c:ident) => { $f($a, $b) };
    (@call 3, $f:expr, $a:ident, $b:ident, $c:ident) => { $f($a, $b, $c) };
}
row_function!(FloatFn, FloatRow, FloatNum, 1, T);
row_function!(NumFn, NumRow, Num, 1, T);
row_function!(TestFn, TestRow, Num, 1, bool);
row_function!(BinaryFn, BinaryRow, Num, 2, T);
row_function!(FloatBinaryFn, FloatBinaryRow, FloatNum, 2, T);
row_function!(IntFn, IntRow, Int, 2, T);
row_function!(CompareFn, CompareRow, Num, 2, bool);
row_function!(TernaryFn, TernaryRow, Num, 3, T);

fn not_computed(op: &'static str, dtype: DType) -> crate::Error {
    crate::Error::dtype(op, format!("\"{op}\" is not implemented for {dtype}"))
}

/// A row of [`FloatOp`].
pub(crate) fn float(
    op: &'static str,
    code: FloatOp,
    compute: DType,
    x: &RawTensor,
    y: &RawTensor,
) -> Result<()> {
    match compute {
        DType::F32 if matches!(code, FloatOp::Sin | FloatOp::Cos | FloatOp::Tan) => {
            let body = body(|[x], y, n| dispatch(Circular { code, x: x.cast(), y: y.cast(), n }));
            elementwise(op, [x], [DType::F32], y, DType::F32, Cost::Dear, &body)
        }
        DType::F32 => {
            with_float_row!(code, R => map::<1, f32, f32, FloatFn<R>>(op, [x], y))
        }
        DType::F64 => {
            with_float_row!(code, R => map_each::<1, f64, FloatFn<R>>(op, [x], y))
        }
        _ => Err(not_computed(op, compute)),
    }
}

/// A row of [`NumOp`].
pub(crate) fn num(op: &'static str, code: NumOp, compute: DType, x: &RawTensor, y: &RawTensor) -> Result<()> {
    with_dtype!(compute, [F32, F64, I64], T => with_num_row!(code, R => map::<1, T, T, NumFn<R>>(op, [x], y)),
        else => Err(not_computed(op, compute)))
}

/// A row of [`TestOp`].
pub(crate) fn test(
    op: &'static str,
    code: TestOp,
    compute: DType,
    x: &RawTensor,
    y: &RawTensor,
) -> Result<()> {
    with_dtype!(compute, [F32, F64, I64], T => with_test_row!(code, R => map::<1, T, bool, TestFn<R>>(op, [x], y)),
        else => Err(not_computed(op, compute)))
}

/// A row of [`BinaryOp`].
pub(crate) fn binary(
    op: &'static str,
    code: BinaryOp,
    compute: DType,
    [a, b]: [&RawTensor; 2],
    y: &RawTensor,
) -> Result<()> {
    with_dtype!(compute, [F32, F64, I64], T => with_binary_row!(code, R => map::<2, T, T, BinaryFn<R>>(op, [a, b], y)),
        else => Err(not_computed(op, compute)))
}

/// A row of [`FloatBinaryOp`].
pub(crate) fn float_binary(
    op: &'static str,
    code: FloatBinaryOp,
    compute: DType,
    [a, b]: [&RawTensor; 2],
    y: &RawTensor,
) -> Result<()> {
    with_dtype!(compute, [F32, F64], T => with_float_binary_row!(code, R => map::<2, T, T, FloatBinaryFn<R>>(op, [a, b], y)),
        else => Err(not_computed(op, compute)))
}

/// A row of [`IntOp`].
pub(crate) fn int(
    op: &'static str,
    code: IntOp,
    compute: DType,
    [a, b]: [&RawTensor; 2],
    y: &RawTensor,
) -> Result<()> {
    with_dtype!(compute, [I64], T => with_int_row!(code, R => map::<2, T, T, IntFn<R>>(op, [a, b], y)),
        else => Err(not_computed(op, compute)))
}

/// A row of [`CompareOp`].
pub(crate) fn compare(
    op: &'static str,
    code: CompareOp,
    compute: DType,
    [a, b]: [&RawTensor; 2],
    y: &RawTensor,
) -> Result<()> {
    with_dtype!(compute, [F32, F64, I64], T => with_compare_row!(code, R => map::<2, T, bool, CompareFn<R>>(op, [a, b], y)),
        else => Err(not_computed(op, compute)))
}

/// A row of [`TernaryOp`].
pub(crate) fn ternary(
    op: &'static str,
    code: TernaryOp,
    compute: DType,
    [a, b, c]: [&RawTensor; 3],
    y: &RawTensor,
) -> Result<()> {
    with_dtype!(compute, [F32, F64, I64], T => with_ternary_row!(code, R => map::<3, T, T, TernaryFn<R>>(op, [a, b, c], y)),
        else => Err(not_computed(op, compute)))
}

/// Elements of `a` where `condition` holds, else of `b`.
pub(crate) fn where_(op: &'static str, [condition, a, b]: [&RawTensor; 3], y: &RawTensor) -> Result<()> {
    // What matters is the elements' size: they are only moved.
    match y.dtype().size() {
        1 => select::<u8>(op, [condition, a, b], y),
        2 => select::<i16>(op, [condition, a, b], y),
        4 => select::<f32>(op, [condition, a, b], y),
        _ => select::<f64>(op, [condition, a, b], y),
    }
}

/// [`where_`] for elements of the size of `T`.
fn select<T: Element>(op: &'static str, [condition, a, b]: [&RawTensor; 3], y: &RawTensor) -> Result<()> {
    let dtype = y.dtype();
    let body = body(|inputs, out, n| {
        dispatch_single_to_avx2::<T, _>(Select::<T> { inputs, out, n, types: PhantomData });
    });
    elementwise(op, [condition, a, b], [DType::Bool, dtype, dtype], y, dtype, Cost::Cheap, &body)
}

struct Select<T> {
    inputs: [*const u8; 3],
    out: *mut u8,
    n: usize,
    types: PhantomData<T>,
}

impl<T: Element> Kernel for Select<T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let condition = self.inputs[0].cast::<bool>();
        let (a, b, out) = (self.inputs[1].cast::<T>(), self.inputs[2].cast::<T>(), self.out.cast::<T>());
        for i in 0..self.n {
            // SAFETY: `Body` promises `n` valid elements behind every pointer.
            unsafe {
                let (x, y) = (*a.add(i), *b.add(i));
                out.add(i).write(if *condition.add(i) { x } else { y });
            }
        }
    }
}

/// Copies elements, converting between dtypes.
pub(crate) fn copy(op: &'static str, x: &RawTensor, y: &RawTensor) -> Result<()> {
    let size = x.dtype().size();
    if x.dtype() == y.dtype() {
        let body = body(|[from], to, n| {
            // SAFETY: `Body` promises `n` valid elements behind both pointers.
            unsafe { std::ptr::copy(from, to, n * size) }
        });
        return elementwise(op, [x], [x.dtype()], y, x.dtype(), Cost::Cheap, &body);
    }
    let (from_dtype, to_dtype) = (x.dtype(), y.dtype());
    let body = body(|[from], to, n| {
        // SAFETY: `Body` promises `n` valid elements behind both pointers.
        unsafe { convert(from_dtype, from, 1, to_dtype, to, 1, n) }
    });
    elementwise(op, [x], [from_dtype], y, to_dtype, Cost::Cheap, &body)
}

/// Writes one value everywhere.
pub(crate) fn fill(op: &'static str, value: kiln_storage::Scalar, y: &RawTensor) -> Result<()> {
    with_dtype!(y.dtype(), T => {
        let value: T = value.to();
        let body = body(|[], to, n| {
            let to = to.cast::<T>();
            for i in 0..n {
                // SAFETY: `Body` promises `n` valid elements.
                unsafe { to.add(i).write(value) };
            }
        });
        elementwise(op, [], [], y, T::DTYPE, Cost::Cheap, &body)
    })
}
