//! Element types, their promotion and their conversions.

use std::fmt;

use half::{bf16, f16};

/// The element type of a tensor, a run-time value.
///
/// The order of the variants is the order of promotion within each of the classes bool, integer, floating point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// True or false, one byte.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// IEEE half precision.
    F16,
    /// The upper half of a single precision number.
    BF16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl DType {
    /// All of them.
    pub const ALL: [DType; 10] = [
        DType::Bool,
        DType::U8,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
    ];

    /// Bytes of one element.
    #[inline]
    pub const fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 | DType::I8 => 1,
            DType::I16 | DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// Whether this is a floating point type.
    #[inline]
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// Whether this is an integer type; `Bool` is not.
    #[inline]
    pub const fn is_int(self) -> bool {
        matches!(self, DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64)
    }

    /// Whether negative numbers can be represented.
    pub const fn is_signed(self) -> bool {
        !matches!(self, DType::Bool | DType::U8)
    }

    /// PyTorch's name without the `torch.` prefix: `float32`, `int64`, `bool`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "uint8",
            DType::I8 => "int8",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::F32 => "float32",
            DType::F64 => "float64",
        }
    }

    /// The dtype with the given [`name`](DType::name), or PyTorch's short forms of it (`float`, `long`, ...).
    pub fn from_name(name: &str) -> Option<DType> {
        Some(match name.strip_prefix("torch.").unwrap_or(name) {
            "float" => DType::F32,
            "double" => DType::F64,
            "half" => DType::F16,
            "short" => DType::I16,
            "int" => DType::I32,
            "long" => DType::I64,
            name => return DType::ALL.into_iter().find(|d| d.name() == name),
        })
    }

    const fn class(self) -> u8 {
        match self {
            DType::Bool => 0,
            d if d.is_int() => 1,
            _ => 2,
        }
    }

    /// The dtype both convert to when they meet in one operation (PyTorch's `torch.promote_types`).
    ///
    /// ```
    /// use kiln_storage::DType;
    /// assert_eq!(DType::I64.promote(DType::F16), DType::F16);
    /// assert_eq!(DType::U8.promote(DType::I8), DType::I16);
    /// assert_eq!(DType::F16.promote(DType::BF16), DType::F32);
    /// ```
    pub const fn promote(self, other: DType) -> DType {
        let (a, b) = (self, other);
        if a as u8 == b as u8 {
            return a;
        }
        if a.class() != b.class() {
            return if a.class() > b.class() { a } else { b };
        }
        match (a, b) {
            (DType::U8, DType::I8) | (DType::I8, DType::U8) => DType::I16,
            (DType::F16, DType::BF16) | (DType::BF16, DType::F16) => DType::F32,
            _ => {
                if a as u8 > b as u8 {
                    a
                } else {
                    b
                }
            }
        }
    }

    /// The dtype that a tensor of this dtype and a plain number give together: the number only counts when its class
    /// is higher (an integer tensor and a float number give the default float dtype).
    pub const fn promote_scalar(self, scalar: Scalar, default_float: DType) -> DType {
        match scalar {
            Scalar::Bool(_) => self,
            Scalar::Int(_) => {
                if matches!(self, DType::Bool) {
                    DType::I64
                } else {
                    self
                }
            }
            Scalar::Float(_) => {
                if self.is_float() {
                    self
                } else {
                    default_float
                }
            }
        }
    }

    /// Whether PyTorch lets a result of this dtype be written into a tensor of dtype `to` (`torch.can_cast`): floats do
    /// not go into integers, numbers do not go into bool.
    pub const fn can_cast(self, to: DType) -> bool {
        self.class() <= to.class()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A plain number beside tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
}

impl Scalar {
    /// The dtype of a tensor made of this number alone, given the default float dtype.
    pub const fn dtype(self, default_float: DType) -> DType {
        match self {
            Scalar::Bool(_) => DType::Bool,
            Scalar::Int(_) => DType::I64,
            Scalar::Float(_) => default_float,
        }
    }

    /// As a float.
    pub fn to_f64(self) -> f64 {
        match self {
            Scalar::Bool(b) => b as u8 as f64,
            Scalar::Int(i) => i as f64,
            Scalar::Float(f) => f,
        }
    }

    /// As an integer; floats are cut towards zero.
    pub fn to_i64(self) -> i64 {
        match self {
            Scalar::Bool(b) => b as i64,
            Scalar::Int(i) => i,
            Scalar::Float(f) => i64::from_f64(f),
        }
    }

    /// As an element of type `T`, converted as a tensor of the scalar's own dtype would be.
    #[inline]
    pub fn to<T: Element>(self) -> T {
        match self {
            Scalar::Bool(b) => T::from_i64(b as i64),
            Scalar::Int(i) => T::from_i64(i),
            Scalar::Float(f) => T::from_f64(f),
        }
    }

    /// Whether this is not zero.
    pub fn is_true(self) -> bool {
        match self {
            Scalar::Bool(b) => b,
            Scalar::Int(i) => i != 0,
            Scalar::Float(f) => f != 0.0,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(b) => b.fmt(f),
            Scalar::Int(i) => i.fmt(f),
            Scalar::Float(x) => fmt::Debug::fmt(x, f),
        }
    }
}

macro_rules! scalar_from {
    ($($t:ty => $variant:ident as $as:ty),* $(,)?) => {
        $(impl From<$t> for Scalar {
            #[inline]
            fn from(v: $t) -> Scalar { Scalar::$variant(v as $as) }
        })*
    };
}
scalar_from!(bool => Bool as bool, u8 => Int as i64, i8 => Int as i64, i16 => Int as i64, i32 => Int as i64, i64 => Int as i64,
    u32 => Int as i64, usize => Int as i64, f32 => Float as f64, f64 => Float as f64);

impl From<f16> for Scalar {
    fn from(v: f16) -> Scalar {
        Scalar::Float(v.to_f64())
    }
}

impl From<bf16> for Scalar {
    fn from(v: bf16) -> Scalar {
        Scalar::Float(v.to_f64())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that tensors hold. Implemented for `bool`, `u8`, `i8`, `i16`, `i32`, `i64`, [`struct@f16`], [`bf16`], `f32`
/// and `f64`, and for nothing else: kernels rely on every implementor having no padding and the size of its [`DType`].
pub trait Element:
    sealed::Sealed + Copy + Default + PartialEq + PartialOrd + fmt::Debug + Into<Scalar> + Send + Sync + 'static
{
    /// The dtype.
    const DTYPE: DType;
    /// To double precision; exact but for large `i64`.
    fn to_f64(self) -> f64;
    /// From double precision, rounded for floats, converted as PyTorch converts for the others.
    fn from_f64(v: f64) -> Self;
    /// To an integer; floats are cut towards zero, what does not fit gives `i64::MIN`.
    fn to_i64(self) -> i64;
    /// From an integer; narrower integers wrap, floats round, bool is "not zero".
    fn from_i64(v: i64) -> Self;
    /// From single precision: as [`Element::from_f64`], but without the detour.
    fn from_f32(v: f32) -> Self;
    /// To single precision: as [`Element::to_f64`], rounded.
    fn to_f32(self) -> f32;
}

/// `v` cut towards zero; `i64::MIN` for what does not fit (what x86's conversion instruction gives, and so PyTorch).
#[inline(always)]
fn f64_to_i64(v: f64) -> i64 {
    let fits = (-9223372036854775808.0..9223372036854775808.0).contains(&v);
    if fits { v as i64 } else { i64::MIN }
}

/// `v` cut towards zero; `i32::MIN` for what does not fit.
#[inline(always)]
fn f64_to_i32(v: f64) -> i32 {
    let fits = v > -2147483649.0 && v < 2147483648.0;
    if fits { v as i32 } else { i32::MIN }
}

macro_rules! element_int {
    ($($t:ty, $d:ident, $from:ident;)*) => {
        $(impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn from_f64(v: f64) -> $t { $from(v) as $t }
            #[inline(always)]
            fn to_i64(self) -> i64 { self as i64 }
            #[inline(always)]
            fn from_i64(v: i64) -> $t { v as $t }
            #[inline(always)]
            fn from_f32(v: f32) -> $t { $from(v as f64) as $t }
            #[inline(always)]
            fn to_f32(self) -> f32 { self as f32 }
        })*
    };
}
element_int! { u8, U8, f64_to_i64; i8, I8, f64_to_i32; i16, I16, f64_to_i32; i32, I32, f64_to_i32; i64, I64, f64_to_i64; }

impl sealed::Sealed for bool {}
impl Element for bool {
    const DTYPE: DType = DType::Bool;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self as u8 as f64
    }
    #[inline(always)]
    fn from_f64(v: f64) -> bool {
        v != 0.0
    }
    #[inline(always)]
    fn to_i64(self) -> i64 {
        self as i64
    }
    #[inline(always)]
    fn from_i64(v: i64) -> bool {
        v != 0
    }
    #[inline(always)]
    fn from_f32(v: f32) -> bool {
        v != 0.0
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as u8 as f32
    }
}

macro_rules! element_native_float {
    ($($t:ty, $d:ident;)*) => {
        $(impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn from_f64(v: f64) -> $t { v as $t }
            #[inline(always)]
            fn to_i64(self) -> i64 { f64_to_i64(self as f64) }
            #[inline(always)]
            fn from_i64(v: i64) -> $t { v as $t }
            #[inline(always)]
            fn from_f32(v: f32) -> $t { v as $t }
            #[inline(always)]
            fn to_f32(self) -> f32 { self as f32 }
        })*
    };
}
element_native_float! { f32, F32; f64, F64; }

macro_rules! element_half {
    ($($t:ty, $d:ident;)*) => {
        $(impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            #[inline(always)]
            fn to_f64(self) -> f64 { <$t>::to_f32(self) as f64 }
            #[inline(always)]
            // Through f32, as PyTorch does: a double is rounded twice.
            fn from_f64(v: f64) -> $t { <$t>::from_f32(v as f32) }
            #[inline(always)]
            fn to_i64(self) -> i64 { f64_to_i64(<$t>::to_f32(self) as f64) }
            #[inline(always)]
            fn from_i64(v: i64) -> $t { <$t>::from_f32(v as f32) }
            #[inline(always)]
            fn from_f32(v: f32) -> $t { <$t>::from_f32(v) }
            #[inline(always)]
            fn to_f32(self) -> f32 { <$t>::to_f32(self) }
        })*
    };
}
element_half! { f16, F16; bf16, BF16; }

/// Evaluates the body with a type name bound to the Rust type of a [`DType`] value.
///
/// `with_dtype!(dtype, T => body)` covers all dtypes. With a list, `with_dtype!(dtype, [F32, F64], T => body, else => other)`
/// covers those and takes the `else` branch for the rest.
#[macro_export]
macro_rules! with_dtype {
    ($dtype:expr, $t:ident => $body:expr) => {
        $crate::with_dtype!(@match $dtype, [Bool, U8, I8, I16, I32, I64, F16, BF16, F32, F64], $t => $body,
            else => unreachable!("every dtype is listed"))
    };
    ($dtype:expr, [$($d:ident),*], $t:ident => $body:expr, else => $other:expr) => {
        $crate::with_dtype!(@match $dtype, [$($d),*], $t => $body, else => $other)
    };
    (@match $dtype:expr, [$($d:ident),*], $t:ident => $body:expr, else => $other:expr) => {
        match $dtype {
            $($crate::DType::$d => { type $t = $crate::element_type!($d); $body })*
            #[allow(unreachable_patterns)]
            _ => $other,
        }
    };
}

/// The Rust type of a dtype's variant name: `element_type!(F32)` is `f32`.
#[macro_export]
macro_rules! element_type {
    (Bool) => {
        bool
    };
    (U8) => {
        u8
    };
    (I8) => {
        i8
    };
    (I16) => {
        i16
    };
    (I32) => {
        i32
    };
    (I64) => {
        i64
    };
    (F16) => {
        $crate::f16
    };
    (BF16) => {
        $crate::bf16
    };
    (F32) => {
        f32
    };
    (F64) => {
        f64
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_cut_and_wrap_like_pytorch() {
        // torch.tensor([300., -1., nan, 1e20], dtype=torch.float64).to(dtype)
        assert_eq!(u8::from_f64(300.0), 44);
        assert_eq!(u8::from_f64(-1.0), 255);
        assert_eq!(i64::from_f64(f64::NAN), i64::MIN);
        assert_eq!(i64::from_f64(1e20), i64::MIN);
        assert_eq!(i32::from_f64(3e9), i32::MIN);
        assert_eq!(i8::from_i64(200), -56);
        assert!(bool::from_f64(f64::NAN));
    }

    #[test]
    fn promotion_is_symmetric_and_idempotent() {
        for a in DType::ALL {
            assert_eq!(a.promote(a), a);
            for b in DType::ALL {
                assert_eq!(a.promote(b), b.promote(a));
                assert!(a.can_cast(a.promote(b)));
            }
        }
    }
}
