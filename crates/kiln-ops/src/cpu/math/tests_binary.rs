//! Functions of two arguments: their special cases, their accuracy, and equality of bits between instruction sets.

use super::Math;
use crate::cpu::arch::{Arch, Isa, Kernel, Portable, dispatch_as};

const I: f32 = f32::INFINITY;
const N: f32 = f32::NAN;

/// `a`, `b`, and what PyTorch gives for pow, fmod, remainder, floor_divide and atan2.
#[rustfmt::skip]
const TABLE: &[[f32; 7]] = &[
    [5.0, 3.0, 125.0, 2.0, 2.0, 1.0, 1.0303767919540405],
    [5.0, -3.0, 0.00800000037997961, 2.0, -1.0, -2.0, 2.111215829849243],
    [5.0, 0.0, 1.0, N, N, I, 1.5707963705062866],
    [5.0, -0.0, 1.0, N, N, -I, 1.5707963705062866],
    [5.0, I, I, 5.0, 5.0, 0.0, 0.0],
    [5.0, -I, 0.0, 5.0, -I, -1.0, 3.1415927410125732],
    [5.0, N, N, N, N, N, N],
    [5.0, 0.5, 2.2360680103302, 0.0, 0.0, 10.0, 1.4711276292800903],
    [5.0, 2.0, 25.0, 1.0, 1.0, 2.0, 1.1902899742126465],
    [5.0, -1.0, 0.20000000298023224, 0.0, 0.0, -5.0, 1.768191933631897],
    [-5.0, 3.0, -125.0, -2.0, 1.0, -2.0, -1.0303767919540405],
    [-5.0, -3.0, -0.00800000037997961, -2.0, -2.0, 1.0, -2.111215829849243],
    [-5.0, 0.0, 1.0, N, N, -I, -1.5707963705062866],
    [-5.0, -0.0, 1.0, N, N, I, -1.5707963705062866],
    [-5.0, I, I, -5.0, I, -1.0, -0.0],
    [-5.0, -I, 0.0, -5.0, -5.0, 0.0, -3.1415927410125732],
    [-5.0, N, N, N, N, N, N],
    [-5.0, 0.5, N, -0.0, -0.0, -10.0, -1.4711276292800903],
    [-5.0, 2.0, 25.0, -1.0, 1.0, -3.0, -1.1902899742126465],
    [-5.0, -1.0, -0.20000000298023224, -0.0, -0.0, 5.0, -1.768191933631897],
    [0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, -3.0, I, 0.0, 0.0, -0.0, 3.1415927410125732],
    [0.0, 0.0, 1.0, N, N, N, 0.0],
    [0.0, -0.0, 1.0, N, N, N, 3.1415927410125732],
    [0.0, I, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, -I, I, 0.0, 0.0, -0.0, 3.1415927410125732],
    [0.0, N, N, N, N, N, N],
    [0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, -1.0, I, 0.0, 0.0, -0.0, 3.1415927410125732],
    [-0.0, 3.0, -0.0, -0.0, -0.0, -0.0, -0.0],
    [-0.0, -3.0, -I, -0.0, -0.0, 0.0, -3.1415927410125732],
    [-0.0, 0.0, 1.0, N, N, N, -0.0],
    [-0.0, -0.0, 1.0, N, N, N, -3.1415927410125732],
    [-0.0, I, 0.0, -0.0, -0.0, -0.0, -0.0],
    [-0.0, -I, I, -0.0, -0.0, 0.0, -3.1415927410125732],
    [-0.0, N, N, N, N, N, N],
    [-0.0, 0.5, 0.0, -0.0, -0.0, -0.0, -0.0],
    [-0.0, 2.0, 0.0, -0.0, -0.0, -0.0, -0.0],
    [-0.0, -1.0, -I, -0.0, -0.0, 0.0, -3.1415927410125732],
    [I, 3.0, I, N, N, N, 1.5707963705062866],
    [I, -3.0, 0.0, N, N, N, 1.5707963705062866],
    [I, 0.0, 1.0, N, N, I, 1.5707963705062866],
    [I, -0.0, 1.0, N, N, -I, 1.5707963705062866],
    [I, I, I, N, N, N, 0.7853981852531433],
    [I, -I, 0.0, N, N, N, 2.356194496154785],
    [I, N, N, N, N, N, N],
    [I, 0.5, I, N, N, N, 1.5707963705062866],
    [I, 2.0, I, N, N, N, 1.5707963705062866],
    [I, -1.0, 0.0, N, N, N, 1.5707963705062866],
    [-I, 3.0, -I, N, N, N, -1.5707963705062866],
    [-I, -3.0, -0.0, N, N, N, -1.5707963705062866],
    [-I, 0.0, 1.0, N, N, -I, -1.5707963705062866],
    [-I, -0.0, 1.0, N, N, I, -1.5707963705062866],
    [-I, I, I, N, N, N, -0.7853981852531433],
    [-I, -I, 0.0, N, N, N, -2.356194496154785],
    [-I, N, N, N, N, N, N],
    [-I, 0.5, I, N, N, N, -1.5707963705062866],
    [-I, 2.0, I, N, N, N, -1.5707963705062866],
    [-I, -1.0, -0.0, N, N, N, -1.5707963705062866],
    [N, 3.0, N, N, N, N, N],
    [N, -3.0, N, N, N, N, N],
    [N, 0.0, 1.0, N, N, N, N],
    [N, -0.0, 1.0, N, N, N, N],
    [N, I, N, N, N, N, N],
    [N, -I, N, N, N, N, N],
    [N, N, N, N, N, N, N],
    [N, 0.5, N, N, N, N, N],
    [N, 2.0, N, N, N, N, N],
    [N, -1.0, N, N, N, N, N],
    [1.0, 3.0, 1.0, 1.0, 1.0, 0.0, 0.32175055146217346],
    [1.0, -3.0, 1.0, 1.0, -2.0, -1.0, 2.8198421001434326],
    [1.0, 0.0, 1.0, N, N, I, 1.5707963705062866],
    [1.0, -0.0, 1.0, N, N, -I, 1.5707963705062866],
    [1.0, I, 1.0, 1.0, 1.0, 0.0, 0.0],
    [1.0, -I, 1.0, 1.0, -I, -1.0, 3.1415927410125732],
    [1.0, N, 1.0, N, N, N, N],
    [1.0, 0.5, 1.0, 0.0, 0.0, 2.0, 1.1071487665176392],
    [1.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.46364760398864746],
    [1.0, -1.0, 1.0, 0.0, 0.0, -1.0, 2.356194496154785],
    [-1.0, 3.0, -1.0, -1.0, 2.0, -1.0, -0.32175055146217346],
    [-1.0, -3.0, -1.0, -1.0, -1.0, 0.0, -2.8198421001434326],
    [-1.0, 0.0, 1.0, N, N, -I, -1.5707963705062866],
    [-1.0, -0.0, 1.0, N, N, I, -1.5707963705062866],
    [-1.0, I, 1.0, -1.0, I, -1.0, -0.0],
    [-1.0, -I, 1.0, -1.0, -1.0, 0.0, -3.1415927410125732],
    [-1.0, N, N, N, N, N, N],
    [-1.0, 0.5, N, -0.0, -0.0, -2.0, -1.1071487665176392],
    [-1.0, 2.0, 1.0, -1.0, 1.0, -1.0, -0.46364760398864746],
    [-1.0, -1.0, -1.0, -0.0, -0.0, 1.0, -2.356194496154785],
    [2.5, 3.0, 15.625, 2.5, 2.5, 0.0, 0.6947382688522339],
    [2.5, -3.0, 0.06400000303983688, 2.5, -0.5, -1.0, 2.44685435295105],
    [2.5, 0.0, 1.0, N, N, I, 1.5707963705062866],
    [2.5, -0.0, 1.0, N, N, -I, 1.5707963705062866],
    [2.5, I, I, 2.5, 2.5, 0.0, 0.0],
    [2.5, -I, 0.0, 2.5, -I, -1.0, 3.1415927410125732],
    [2.5, N, N, N, N, N, N],
    [2.5, 0.5, 1.5811388492584229, 0.0, 0.0, 5.0, 1.3734008073806763],
    [2.5, 2.0, 6.25, 0.5, 0.5, 1.0, 0.8960554003715515],
    [2.5, -1.0, 0.4000000059604645, 0.5, -0.5, -3.0, 1.9513026475906372],
    [-0.75, 3.0, -0.421875, -0.75, 2.25, -1.0, -0.244978666305542],
    [-0.75, -3.0, -2.370370388031006, -0.75, -0.75, 0.0, -2.8966140747070312],
    [-0.75, 0.0, 1.0, N, N, -I, -1.5707963705062866],
    [-0.75, -0.0, 1.0, N, N, I, -1.5707963705062866],
    [-0.75, I, 0.0, -0.75, I, -1.0, -0.0],
    [-0.75, -I, I, -0.75, -0.75, 0.0, -3.1415927410125732],
    [-0.75, N, N, N, N, N, N],
    [-0.75, 0.5, N, -0.25, 0.25, -2.0, -0.9827937483787537],
    [-0.75, 2.0, 0.5625, -0.75, 1.25, -1.0, -0.3587706685066223],
    [-0.75, -1.0, -1.3333333730697632, -0.75, -0.75, 0.0, -2.498091459274292],
];

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[test]
fn special_cases_are_those_of_pytorch() {
    for &[a, b, pow, fmod, remainder, floor_divide, atan2] in TABLE {
        for (name, got, want) in [
            ("fmod", Math::fmod::<Portable>(a, b), fmod),
            ("remainder", Math::remainder::<Portable>(a, b), remainder),
            ("floor_divide", Math::floor_divide::<Portable>(a, b), floor_divide),
        ] {
            assert!(same(got, want), "{name}({a}, {b}) = {got}, not {want}");
            let (a, b) = (a as f64, b as f64);
            let got = match name {
                "fmod" => Math::fmod::<Portable>(a, b),
                "remainder" => Math::remainder::<Portable>(a, b),
                _ => Math::floor_divide::<Portable>(a, b),
            };
            assert!(same(got as f32, want), "{name}({a}, {b}) = {got}, not {want}, in f64");
        }
        for (name, got, want) in
            [("pow", Math::pow::<Portable>(a, b), pow), ("atan2", Math::atan2::<Portable>(a, b), atan2)]
        {
            let close =
                (got - want).abs() <= 2e-7 * want.abs() && got.is_sign_negative() == want.is_sign_negative();
            assert!(same(got, want) || (close && want != 0.0), "{name}({a}, {b}) = {got}, not {want}");
        }
    }
    assert_eq!(Math::hypot::<Portable>(-I, N), I);
    assert!(Math::hypot::<Portable>(1.0, N).is_nan());
    assert_eq!(Math::hypot::<Portable>(3e38f32, 4e37), 3.026_549_2e38);
}

/// Pairs of floats of every size, and of moderate ones.
fn sample() -> (Vec<f32>, Vec<f32>) {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as u32
    };
    let mut a = Vec::new();
    let mut b = Vec::new();
    for i in 0..200_000 {
        if i % 2 == 0 {
            a.push(f32::from_bits(next()));
            b.push(f32::from_bits(next()));
        } else {
            a.push(next() as f32 / 2f32.powi(27) - 16.0);
            b.push(next() as f32 / 2f32.powi(27) - 16.0);
        }
        if i % 5 == 0 {
            // Positive bases and whole exponents.
            a.push(next() as f32 / 2f32.powi(28));
            b.push((next() % 64) as f32 - 32.0);
        }
    }
    (a, b)
}

/// A loop over a method, and its `f64` reference.
struct Case {
    name: &'static str,
    map: fn(Isa, &[f32], &[f32], &mut [f32]) -> bool,
    reference: fn(f64, f64) -> f64,
    ulps: f64,
}

macro_rules! case {
    ($name:ident, $ulps:expr, $reference:expr) => {{
        struct Map<'a>(&'a [f32], &'a [f32], &'a mut [f32]);
        impl Kernel for Map<'_> {
            type Output = ();
            #[inline(always)]
            fn run<A: Arch>(self) {
                for ((y, &a), &b) in self.2.iter_mut().zip(self.0).zip(self.1) {
                    *y = Math::$name::<A>(a, b);
                }
            }
        }
        Case {
            name: stringify!($name),
            map: |isa, a, b, y| dispatch_as(isa, Map(a, b, y)).is_some(),
            reference: $reference,
            ulps: $ulps,
        }
    }};
}

#[test]
fn accuracy_and_equal_bits() {
    let (a, b) = sample();
    let mut y = vec![0.0; a.len()];
    let mut other = vec![0.0; a.len()];
    for case in [
        case!(pow, 0.501, libm::pow),
        case!(atan2, 2.0, libm::atan2),
        case!(hypot, 0.501, libm::hypot),
        case!(fmod, 0.0, libm::fmod),
    ] {
        assert!((case.map)(Isa::Portable, &a, &b, &mut y));
        for i in 0..a.len() {
            let want = (case.reference)(a[i] as f64, b[i] as f64);
            let error = super::tests::error(y[i], want);
            assert!(error <= case.ulps, "{}({:e}, {:e}) = {:e}, {error} ulp", case.name, a[i], b[i], y[i]);
        }
        for isa in [Isa::Avx2, Isa::Avx512] {
            if (case.map)(isa, &a, &b, &mut other) {
                for i in 0..a.len() {
                    assert!(same(y[i], other[i]), "{}({:e}, {:e}) {isa:?}", case.name, a[i], b[i]);
                }
            }
        }
    }
}

/// Whole results are whole: every base to 31 whose power an `f32` has exactly.
#[test]
fn integer_powers_are_exact() {
    for base in 2u32..=31 {
        for exponent in 0..24u32 {
            if let Some(exact) = base.checked_pow(exponent).filter(|&p| p < 1 << 24) {
                assert_eq!(Math::pow::<Portable>(base as f32, exponent as f32), exact as f32);
                assert_eq!(Math::pow::<Portable>(-(base as f32), exponent as f32).abs(), exact as f32);
            }
        }
    }
    assert_eq!(Math::pow::<Portable>(2.0f32, -149.0), f32::from_bits(1));
}

/// `a = q b + r` in integers that floats hold exactly.
#[test]
fn floor_division_is_exact() {
    for a in -300i32..300 {
        for b in (-17i32..18).filter(|&b| b != 0) {
            let (q, r) = ((a as f64 / b as f64).floor(), a.rem_euclid(b.abs()));
            let r = if b < 0 && r != 0 { r + b } else { r };
            assert_eq!(Math::floor_divide::<Portable>(a as f32, b as f32), q as f32);
            assert_eq!(Math::remainder::<Portable>(a as f32, b as f32), r as f32);
        }
    }
    // A quotient of more bits than a float has.
    assert_eq!(Math::fmod::<Portable>(1e10f32, 0.1), libm::fmodf(1e10, 0.1));
}
