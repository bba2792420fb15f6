//! Accuracy against `f64` and equality of bits between the instruction sets.

use super::Math;
use crate::cpu::arch::{Arch, Isa, Kernel, Portable, dispatch_as};

/// A function of `f32` under test: its loop, its reference in `f64`, and the error it promises, in units in the last
/// place.
struct Case {
    name: &'static str,
    map: fn(Isa, &[f32], &mut [f32]) -> bool,
    reference: fn(f64) -> f64,
    ulps: f64,
}

macro_rules! case {
    ($name:ident, $ulps:expr, $reference:expr) => {
        case!($name, $ulps, $reference, |x: &[f32], y: &mut [f32]| {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = Math::$name::<A>(x);
            }
        })
    };
    ($name:ident, $ulps:expr, $reference:expr, |$x:ident: &[f32], $y:ident: &mut [f32]| $body:expr) => {{
        struct Map<'a>(&'a [f32], &'a mut [f32]);
        impl Kernel for Map<'_> {
            type Output = ();
            #[inline(always)]
            fn run<A: Arch>(self) {
                let ($x, $y) = (self.0, self.1);
                $body
            }
        }
        Case {
            name: stringify!($name),
            map: |isa, x, y| dispatch_as(isa, Map(x, y)).is_some(),
            reference: $reference,
            ulps: $ulps,
        }
    }};
}

/// The `f64` form of a method, whose own tests are below.
macro_rules! double {
    ($name:ident) => {
        |x| <f64 as Math>::$name::<Portable>(x)
    };
}

fn cases() -> Vec<Case> {
    vec![
        case!(exp, 1.0, libm::exp),
        case!(exp2, 1.0, libm::exp2),
        case!(expm1, 2.0, libm::expm1),
        case!(log, 1.0, libm::log),
        case!(log2, 2.0, libm::log2),
        case!(log10, 2.0, libm::log10),
        case!(log1p, 1.5, libm::log1p),
        case!(sigmoid, 2.5, double!(sigmoid)),
        case!(log_sigmoid, 2.0, double!(log_sigmoid)),
        case!(softplus, 2.0, double!(softplus)),
        case!(silu, 3.5, double!(silu)),
        case!(mish, 4.5, double!(mish)),
        case!(tanh, 2.0, libm::tanh),
        case!(erf, 2.0, libm::erf),
        case!(erfc, 5.0, libm::erfc),
        case!(gelu, 5.0, double!(gelu)),
        case!(gelu_tanh, 3.5, double!(gelu_tanh)),
        case!(sin, 2.0, libm::sin, |x: &[f32], y: &mut [f32]| f32::sin_slice::<A>(x, y)),
        case!(cos, 2.0, libm::cos, |x: &[f32], y: &mut [f32]| f32::cos_slice::<A>(x, y)),
        case!(tan, 3.0, libm::tan, |x: &[f32], y: &mut [f32]| f32::tan_slice::<A>(x, y)),
        case!(asin, 2.5, libm::asin),
        case!(acos, 2.0, libm::acos),
        case!(atan, 2.0, libm::atan),
        case!(sinh, 2.5, libm::sinh),
        case!(cosh, 2.0, libm::cosh),
        case!(rsqrt, 2.0, |x| 1.0 / x.sqrt()),
        case!(round, 0.0, libm::rint),
        case!(floor, 0.0, libm::floor),
        case!(ceil, 0.0, libm::ceil),
        case!(trunc, 0.0, libm::trunc),
    ]
}

const SPECIAL: [f32; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    -1.5,
    2.5,
    -2.5,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    1e-40,
    -1e-40,
    1e5,
    -1e5,
    8_388_609.0,
];

/// Special values, floats of every size, the range where functions bend, densely, and what is nearest to the zeros of
/// sine and cosine.
fn sample() -> Vec<f32> {
    let mut x = SPECIAL.to_vec();
    x.extend((0..u32::MAX).step_by(60_013).map(f32::from_bits));
    x.extend((-60_000..60_000).map(|i| i as f32 * 3.1e-4));
    x.extend((-20_000..20_000).map(|i| i as f32 * 5.3e-3));
    x.extend((1..64_000).map(|k| (k as f64 * std::f64::consts::FRAC_PI_2) as f32));
    x
}

/// The distance of `got` from `want`, in units of the last place that `want` has as an `f32`.
pub(super) fn error(got: f32, want: f64) -> f64 {
    let rounded = want as f32;
    if got == rounded || (got.is_nan() && rounded.is_nan()) {
        return if got == 0.0 && want == 0.0 && got.is_sign_negative() != want.is_sign_negative() {
            f64::INFINITY
        } else if got.is_finite() {
            (got as f64 - want).abs() / last_place(want)
        } else {
            0.0
        };
    }
    if got.is_nan() || rounded.is_nan() {
        return f64::INFINITY;
    }
    // An overflow one rounding too early or late counts as the distance from 2^128.
    let limit = |x: f64| x.clamp(-(2f64.powi(128)), 2f64.powi(128));
    (limit(got as f64) - limit(want)).abs() / last_place(want)
}

fn last_place(x: f64) -> f64 {
    let exponent = ((x.to_bits() >> 52 & 0x7FF) as i32 - 1023).clamp(-126, 127);
    f64::from_bits(((exponent - 23 + 1023) as u64) << 52)
}

/// The largest error of a case over `x` and where it is.
fn largest_error(case: &Case, x: &[f32], y: &[f32]) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(y) {
        let want = (case.reference)(x as f64);
        let e = error(y, want);
        if e > worst.0 {
            worst = (e, x);
        }
    }
    worst
}

#[test]
fn errors_are_within_the_promise() {
    let x = sample();
    let mut y = vec![0.0; x.len()];
    let mut failures = Vec::new();
    for case in cases() {
        assert!((case.map)(Isa::Portable, &x, &mut y));
        let (e, at) = largest_error(&case, &x, &y);
        println!("{:12} {e:.3} ulp at {at:e}", case.name);
        if e > case.ulps.max(0.5) {
            failures.push(format!("{}({at:e}): {e} ulp", case.name));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let x = sample();
    let bits =
        |y: &[f32]| y.iter().map(|y| if y.is_nan() { u32::MAX } else { y.to_bits() }).collect::<Vec<_>>();
    let (mut portable, mut other) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for case in cases() {
        (case.map)(Isa::Portable, &x, &mut portable);
        let portable = bits(&portable);
        for isa in [Isa::Avx2, Isa::Avx512] {
            if (case.map)(isa, &x, &mut other) {
                let other = bits(&other);
                if let Some(i) = (0..x.len()).find(|&i| portable[i] != other[i]) {
                    panic!("{} {isa:?} at {:e}: {:x} {:x}", case.name, x[i], portable[i], other[i]);
                }
            }
        }
    }
}

/// Every `f32` there is with `KILN_ALL_ARGUMENTS` set (minutes, in release mode), else some of each block of them. The
/// environment variable `CASES` may name some cases only.
#[test]
fn errors_over_all_arguments() {
    let only = std::env::var("CASES").unwrap_or_default();
    let step = if std::env::var_os("KILN_ALL_ARGUMENTS").is_some() { 1 } else { 4099 };
    let mut failures = Vec::new();
    for case in cases() {
        if !only.is_empty() && !only.split(',').any(|name| name == case.name) {
            continue;
        }
        let worst = std::sync::Mutex::new((0.0, 0.0));
        let blocks = 1 << 12;
        crate::cpu::pool::parallel_for(blocks, &|block| {
            let len = (1u64 << 32) as usize / blocks;
            let x: Vec<f32> =
                (0..len).step_by(step).map(|i| f32::from_bits((block * len + i) as u32)).collect();
            let mut y = vec![0.0; x.len()];
            assert!((case.map)(Isa::detect(), &x, &mut y));
            let found = largest_error(&case, &x, &y);
            let mut worst = worst.lock().expect("no panic");
            if found.0 > worst.0 {
                *worst = found;
            }
        });
        let (e, at) = worst.into_inner().expect("no panic");
        println!("{:12} {e:.4} ulp at {at:e}", case.name);
        if e > case.ulps.max(0.5) {
            failures.push(format!("{}({at:e}): {e} ulp", case.name));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
