//! Powers of `f32`, by way of `f64` sums and products only, which vectorise and round the same everywhere.

use crate::cpu::arch::Arch;

use super::round;

/// As [`super::exp::ROUNDER`], for `f64`.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// The binary logarithm of a positive normal number, within 3e-16 of itself (and near 1, of the distance from 1).
#[inline(always)]
fn log2(x: f64) -> f64 {
    const ONE: u64 = 1.0f64.to_bits();
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    // x = 2^e m, with m in sqrt(1/2)..sqrt(2). `k` is e + 1023, made a float by putting it into the bits of a large one.
    let bits = x.to_bits();
    let k = bits.wrapping_add(ONE - SQRT_HALF) >> 52;
    let m = f64::from_bits(bits.wrapping_sub(k << 52).wrapping_add(ONE));
    let e = f64::from_bits(ROUNDER.to_bits() + k) - (ROUNDER + 1023.0);
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let p = 0.242_892_395_187_156_88;
    let p = p * z + 0.261_446_752_914_150_3;
    let p = p * z + 0.320_616_286_594_974_5;
    let p = p * z + 0.412_198_402_404_166_74;
    let p = p * z + 0.577_078_017_227_606;
    let p = p * z + 0.961_796_693_924_410_9;
    let p = p * z + 2.885_390_081_777_928;
    p * s + e
}

/// `2^t` for `t` in -1000..1000, within 2e-14 of itself.
#[inline(always)]
fn exp2(t: f64) -> f64 {
    let shifted = t + ROUNDER;
    let r = t - (shifted - ROUNDER);
    let p = 1.014_831_305_836_748_6e-7;
    let p = p * r + 1.325_835_239_745_328_8e-6;
    let p = p * r + 1.525_299_031_549_207e-5;
    let p = p * r + 1.540_344_081_362_410_6e-4;
    let p = p * r + 1.333_355_762_464_690_8e-3;
    let p = p * r + 9.618_129_181_250_944e-3;
    let p = p * r + 5.550_410_886_842_312_6e-2;
    let p = p * r + 0.240_226_506_957_225_25;
    let p = p * r + 0.693_147_180_559_885;
    let p = p * r + 1.0;
    p * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
}

#[inline(always)]
pub(super) fn pow<A: Arch>(x: f32, y: f32) -> f32 {
    let u = x.abs();
    let log = log2(u as f64);
    let log = if u == 0.0 { f64::NEG_INFINITY } else { log };
    let log = if u == f32::INFINITY { f64::INFINITY } else { log };
    // Within these limits the power is 0 or infinite as an `f32`; NaN passes.
    let t = log * y as f64;
    let t = if 200.0 < t { 200.0 } else { t };
    let t = if -200.0 > t { -200.0 } else { t };
    let power = exp2(t) as f32;

    let integer = round::trunc::<A>(y) == y;
    let half = 0.5 * y;
    let odd = integer && round::trunc::<A>(half) != half;
    let negative = x.is_sign_negative();
    let power = if negative && odd { -power } else { power };
    // A negative number (not -0, not -infinity) to a power that is no integer.
    let power = if x < 0.0 && u < f32::INFINITY && !integer { f32::NAN } else { power };
    let power = if u.is_nan() || y.is_nan() { x + y } else { power };
    // 1 to any power and, for x = -1, to an infinite one; and anything to the power 0, NaN included.
    let one = y == 0.0 || x == 1.0 || (x == -1.0 && y.abs() == f32::INFINITY);
    if one { 1.0 } else { power }
}
