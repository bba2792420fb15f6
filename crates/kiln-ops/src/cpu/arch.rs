//! Run-time choice of the instruction set, and the trick that compiles one kernel once per instruction set.
//!
//! A kernel is a value that implements [`Kernel`]. [`dispatch`] calls its `run` inside a function that carries the
//! `#[target_feature]`s of the chosen [`Isa`], so the compiler vectorises the same plain Rust body for AVX-512, AVX2 and
//! the baseline. The body sees the instruction set as a type, [`Arch`], and must compute the same bits for each of them:
//! no reassociation that depends on the vector width, and fused multiply-adds only through [`Arch::fma32`] and
//! [`Arch::fma64`], which round once on every machine.

use std::sync::OnceLock;

use kiln_storage::{DType, Element};

/// The instruction sets kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// What the compilation target guarantees: SSE2 on x86-64, NEON with fma on aarch64.
    Portable,
    /// AVX2, FMA, BMI and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and CD on top of AVX2.
    Avx512,
}

impl Isa {
    /// The best instruction set of this machine.
    pub fn detect() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("f16c")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512cd");
            if avx2 && avx512 {
                return Isa::Avx512;
            }
            if avx2 {
                return Isa::Avx2;
            }
        }
        Isa::Portable
    }

    /// The name that the environment variable `KILN_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }
}

/// The instruction set in use: the best one of the machine, or the one that the environment variable `KILN_ISA`
/// (`portable`, `avx2`, `avx512`) asks for when the machine has it. Read once per process.
///
/// A value of `KILN_ISA` that is unknown or that this machine cannot run is reported on standard error once and the
/// best supported instruction set is used.
#[inline]
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| {
        let best = Isa::detect();
        let Ok(asked) = std::env::var("KILN_ISA") else { return best };
        match [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().find(|i| i.name() == asked) {
            Some(isa) if isa <= best => isa,
            Some(_) => {
                eprintln!("kiln: KILN_ISA={asked}: this machine cannot run it; using {}", best.name());
                best
            }
            None => {
                eprintln!("kiln: KILN_ISA={asked}: not one of portable, avx2, avx512; using {}", best.name());
                best
            }
        }
    })
}

/// An instruction set as a type, so that a kernel body can be compiled once for each.
pub trait Arch: Copy + Send + Sync + 'static {
    /// The instruction set.
    const ISA: Isa;
    /// `a * b + c`, rounded once.
    fn fma32(a: f32, b: f32, c: f32) -> f32;
    /// `a * b + c`, rounded once.
    fn fma64(a: f64, b: f64, c: f64) -> f64;
}

/// [`dispatch`] for kernels of single-precision elements, [`Isa::Portable`] for those of other ones. Every instruction set
/// is another compilation of the kernel, which only the dtype that most programs compute in is worth.
#[inline(always)]
pub fn dispatch_single<T: Element, K: Kernel>(kernel: K) -> K::Output {
    // A constant block, so that the compilations not wanted are not even begun.
    if const { matches!(T::DTYPE, DType::F32) } { dispatch(kernel) } else { kernel.run::<Portable>() }
}

/// [`dispatch_single`] for kernels that wait for memory, as [`dispatch_to_avx2`].
#[inline(always)]
pub fn dispatch_single_to_avx2<T: Element, K: Kernel>(kernel: K) -> K::Output {
    // A constant block, as above.
    if const { matches!(T::DTYPE, DType::F32) } { dispatch_to_avx2(kernel) } else { kernel.run::<Portable>() }
}

/// [`Isa::Portable`].
#[derive(Clone, Copy)]
pub struct Portable;
/// [`Isa::Avx2`].
#[derive(Clone, Copy)]
pub struct Avx2;
/// [`Isa::Avx512`].
#[derive(Clone, Copy)]
pub struct Avx512;

/// Fused multiply-add of `f32` in software: exact in `f64` but for the addition, whose rounding is turned into
/// rounding to odd, so that the final rounding to `f32` is the only one (Boldo and Melquiond, "Emulation of a FMA and
/// correctly rounded sums: proved algorithms using rounding to odd", 2008).
///
/// A call, though that keeps loops from being vectorised: it is for machines of before 2013, and inlined it was a
/// fifteenth of the time that this crate takes to compile.
#[inline(never)]
pub fn soft_fma32(a: f32, b: f32, c: f32) -> f32 {
    let product = a as f64 * b as f64;
    let c = c as f64;
    let sum = product + c;
    // Knuth's TwoSum: `error` is exactly what the rounding of `sum` lost (NaN when something is not finite).
    let t = sum - product;
    let error = (product - (sum - t)) + (c - t);
    let bits = sum.to_bits();
    // Rounding to odd: cut off towards zero, then set the last bit if anything was lost. (Written with integers, because
    // that vectorises with SSE2.)
    let inexact = (error.abs() > 0.0) as u64;
    let rounded_away = ((error.to_bits() ^ bits) >> 63) & inexact;
    f64::from_bits((bits - rounded_away) | inexact) as f32
}

impl Arch for Portable {
    const ISA: Isa = Isa::Portable;
    #[inline(always)]
    fn fma32(a: f32, b: f32, c: f32) -> f32 {
        // aarch64 has the instruction in its baseline; x86-64 would call into the C library for each element.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            a.mul_add(b, c)
        } else {
            soft_fma32(a, b, c)
        }
    }
    #[inline(always)]
    fn fma64(a: f64, b: f64, c: f64) -> f64 {
        a.mul_add(b, c)
    }
}

macro_rules! hardware_fma {
    ($arch:ident) => {
        impl Arch for $arch {
            const ISA: Isa = Isa::$arch;
            #[inline(always)]
            fn fma32(a: f32, b: f32, c: f32) -> f32 {
                a.mul_add(b, c)
            }
            #[inline(always)]
            fn fma64(a: f64, b: f64, c: f64) -> f64 {
                a.mul_add(b, c)
            }
        }
    };
}
hardware_fma!(Avx2);
hardware_fma!(Avx512);

/// A kernel body that [`dispatch`] compiles for every instruction set. Mark `run` and everything it calls
/// `#[inline(always)]`: only code inlined into the dispatching function gets its target features.
pub trait Kernel {
    /// What the kernel returns.
    type Output;
    /// The body, for one instruction set.
    fn run<A: Arch>(self) -> Self::Output;
}

/// Runs `kernel` compiled for the instruction set in use, [`isa`].
#[inline(always)]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: `isa` returns only what the machine has.
    unsafe { run_as(isa(), kernel) }
}

/// Runs `kernel` compiled for [`isa`] or, where that has wider registers, for AVX2. For kernels that wait for memory: there
/// registers of a whole cache line gain nothing, and cost where operands do not begin with a line.
#[inline(always)]
pub fn dispatch_to_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: `isa` returns only what the machine has, and each instruction set includes those before it.
    unsafe {
        match isa() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => run_avx2(kernel),
            _ => kernel.run::<Portable>(),
        }
    }
}

/// Runs `kernel` compiled for `isa`, or returns `None` if this machine cannot run it: for tests and measurements that
/// compare instruction sets within one process.
pub fn dispatch_as<K: Kernel>(isa: Isa, kernel: K) -> Option<K::Output> {
    // SAFETY: `detect` returns only what the machine has, and each instruction set includes those before it.
    (isa <= Isa::detect()).then(|| unsafe { run_as(isa, kernel) })
}

/// # Safety
///
/// The machine has every feature of `isa`.
#[inline(always)]
unsafe fn run_as<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promise.
        Isa::Avx512 => unsafe { run_avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promise.
        Isa::Avx2 => unsafe { run_avx2(kernel) },
        _ => kernel.run::<Portable>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,bmi1,bmi2,f16c,lzcnt,popcnt")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,f16c,lzcnt,popcnt")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_fma_rounds_once() {
        // Products whose exact sum lies next to a rounding boundary of f32, signs mixed, subnormals and overflow.
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            f32::from_bits((state >> 20) as u32)
        };
        for _ in 0..2_000_000 {
            let (a, b) = (next(), next());
            let near = -(a * b);
            for c in [next(), near, f32::from_bits(near.to_bits().wrapping_add(1)), near * 1e-7, near * 3e7] {
                let (got, want) = (soft_fma32(a, b, c), a.mul_add(b, c));
                assert!(
                    got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
                    "fma({a:e}, {b:e}, {c:e}) = {want:e}, got {got:e}"
                );
            }
        }
    }
}
