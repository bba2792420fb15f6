//! The element types that draws can fill.

use half::{bf16, f16};

use super::mt19937::Mt19937;
use crate::cpu::arch::{Arch, Kernel, Portable, dispatch};

/// What random draws need to know about an element type; implemented for the ten dtypes.
pub trait RandomElement: Copy + Send + Sync + sealed::Sealed + 'static {
    /// The name of the type in messages.
    const NAME: &'static str;
    /// Significant bits of a floating-point type, value bits of an integer.
    const DIGITS: u32;
    /// Whether the type is floating-point.
    const IS_FLOAT: bool;
    /// The finite range of the type.
    const RANGE: (f64, f64);
    /// An integer: wrapped for integer types, rounded for floating-point ones, compared with 0 for `bool`.
    fn from_i64(value: i64) -> Self;
    /// The value, truncated and clamped to the range of `i64`.
    fn to_i64(self) -> i64;
    /// A number: truncated for integer types, rounded for floating-point ones, compared with 0 for `bool`.
    fn from_f64(value: f64) -> Self;
}

/// The floating-point element types.
pub trait RandomFloat: RandomElement + PartialOrd + sealed::Fill {
    /// The value, exactly.
    fn to_f64(self) -> f64;
}

pub(super) mod sealed {
    use super::{Arch, Mt19937};

    pub trait Sealed {}

    /// The fills that each floating-point type does in its own arithmetic.
    pub trait Fill: Sized {
        /// One unit per element, scaled to `[from, to)`.
        fn fill_uniform<A: Arch>(engine: &mut Mt19937, out: &mut [Self], from: f64, to: f64);
        /// Normal numbers in groups of 16; `out` has at least 16 elements.
        fn fill_normal<A: Arch>(engine: &mut Mt19937, out: &mut [Self], mean: f64, std: f64);
        /// Whether a unit lies below each element of `p`; the slices have one length.
        fn fill_below(engine: &mut Mt19937, p: &[Self], out: &mut [bool]);
    }
}

/// Runs a kernel that fills memory of type `T`: on the best instruction set for `f32`, else as compiled for every machine.
#[inline(always)]
pub(super) fn start<T: RandomElement, K: Kernel>(kernel: K) -> K::Output {
    if const { T::IS_FLOAT && T::DIGITS == f32::MANTISSA_DIGITS } {
        dispatch(kernel)
    } else {
        kernel.run::<Portable>()
    }
}

macro_rules! integers {
    ($($t:ident)*) => { $(
        impl sealed::Sealed for $t {}
        impl RandomElement for $t {
            const NAME: &'static str = stringify!($t);
            const DIGITS: u32 = $t::MAX.count_ones();
            const IS_FLOAT: bool = false;
            const RANGE: (f64, f64) = ($t::MIN as f64, $t::MAX as f64);
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                self as i64
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $t
            }
        }
    )* };
}
integers!(u8 i8 i16 i32 i64);

impl sealed::Sealed for bool {}
impl RandomElement for bool {
    const NAME: &'static str = "bool";
    const DIGITS: u32 = 1;
    const IS_FLOAT: bool = false;
    const RANGE: (f64, f64) = (0.0, 1.0);
    #[inline(always)]
    fn from_i64(value: i64) -> Self {
        value != 0
    }
    #[inline(always)]
    fn to_i64(self) -> i64 {
        self as i64
    }
    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value != 0.0
    }
}

macro_rules! floats {
    ($($t:ident $digits:expr, $max:expr, |$x:ident| $from_i64:expr, $from_f64:expr, $to_f64:expr;)*) => { $(
        impl sealed::Sealed for $t {}
        impl RandomElement for $t {
            const NAME: &'static str = stringify!($t);
            const DIGITS: u32 = $digits;
            const IS_FLOAT: bool = true;
            const RANGE: (f64, f64) = (-$max, $max);
            #[inline(always)]
            fn from_i64($x: i64) -> Self {
                $from_i64
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                self.to_f64() as i64
            }
            #[inline(always)]
            fn from_f64($x: f64) -> Self {
                $from_f64
            }
        }
        impl RandomFloat for $t {
            #[inline(always)]
            fn to_f64(self) -> f64 {
                let $x = self;
                $to_f64
            }
        }
    )* };
}
// PyTorch's 16-bit types are made from f32, whatever the source: two roundings, kept here.
floats! {
    f16 11, 65504.0, |x| f16::from_f32(x as f32), f16::from_f32(x as f32), f64::from(x.to_f32());
    bf16 8, 3.3895313892515355e38, |x| bf16::from_f32(x as f32), bf16::from_f32(x as f32), f64::from(x.to_f32());
    f32 24, f32::MAX as f64, |x| x as f32, x as f32, f64::from(x);
    f64 53, f64::MAX, |x| x as f64, x, x;
}
