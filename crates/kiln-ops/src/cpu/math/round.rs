//! Rounding to integers, and what follows from it: floor, ceil, trunc, remainders, floor division.
//!
//! These are exact, so any way to compute them gives the same bits. Where the instruction set lacks an instruction
//! (SSE2) the standard library would call a function for each element; the bodies here vectorise instead.

use crate::cpu::arch::{Arch, Isa};

/// From here on every `f32` is an integer.
const ALL_INTEGERS: f32 = 8_388_608.0;

/// Whether the standard library's rounding methods compile to single instructions.
#[inline(always)]
const fn has_instructions<A: Arch>() -> bool {
    !matches!(A::ISA, Isa::Portable) || cfg!(any(target_arch = "aarch64", target_feature = "sse4.1"))
}

#[inline(always)]
pub(super) fn round<A: Arch>(x: f32) -> f32 {
    if has_instructions::<A>() {
        return x.round_ties_even();
    }
    let u = x.abs();
    let rounded = ((u + ALL_INTEGERS) - ALL_INTEGERS).copysign(x);
    if u < ALL_INTEGERS { rounded } else { x }
}

#[inline(always)]
pub(super) fn floor<A: Arch>(x: f32) -> f32 {
    if has_instructions::<A>() {
        return x.floor();
    }
    let r = round::<A>(x);
    (if r > x { r - 1.0 } else { r }).copysign(x)
}

#[inline(always)]
pub(super) fn ceil<A: Arch>(x: f32) -> f32 {
    -floor::<A>(-x)
}

#[inline(always)]
pub(super) fn trunc<A: Arch>(x: f32) -> f32 {
    floor::<A>(x.abs()).copysign(x)
}

/// Remainders with the rules of C and Python, written once for both float types; `$fmod` is exact.
macro_rules! remainders {
    ($float:ty, $fmod:path, $floor:expr) => {
        /// The remainder with the sign of `b`, as in Python.
        #[inline(always)]
        pub(in super::super) fn remainder(a: $float, b: $float) -> $float {
            let r = $fmod(a, b);
            if r != 0.0 && (b < 0.0) != (r < 0.0) { r + b } else { r }
        }

        /// `floor(a / b)` of the exact quotient, not of the rounded one.
        #[inline(always)]
        pub(in super::super) fn floor_divide(a: $float, b: $float) -> $float {
            if b == 0.0 {
                return a / b;
            }
            let r = $fmod(a, b);
            let quotient = (a - r) / b;
            let quotient = if r != 0.0 && (b < 0.0) != (r < 0.0) { quotient - 1.0 } else { quotient };
            if quotient == 0.0 {
                return (0.0 as $float).copysign(a / b);
            }
            // `quotient` is an integer but for its own rounding.
            let floor = $floor(quotient);
            if quotient - floor > 0.5 { floor + 1.0 } else { floor }
        }
    };
}

/// For `f32`.
pub(super) mod single {
    remainders!(f32, fmod, libm::floorf);

    /// The remainder with the sign of `a`, as in C.
    #[inline(always)]
    pub(in super::super) fn fmod(a: f32, b: f32) -> f32 {
        let (x, y) = (a.abs() as f64, b.abs() as f64);
        let quotient = x / y;
        // The product of `b` with an integer below 2^29 is exact in `f64`, and so is the difference.
        if quotient < 536_870_912.0 && y < f64::INFINITY {
            let r = x - (quotient as i64 as f64) * y;
            // The rounding of the quotient may have carried it to the next integer.
            let r = if r < 0.0 { r + y } else { r };
            (r as f32).copysign(a)
        } else {
            libm::fmodf(a, b)
        }
    }
}

/// For `f64`.
pub(super) mod double {
    remainders!(f64, libm::fmod, libm::floor);
}
