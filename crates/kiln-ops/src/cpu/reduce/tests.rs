//! Reductions against f64 references.

use kiln_storage::{bf16, f16};

use super::*;

/// Numbers between -1 and 1 that do not repeat.
fn noise(n: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(next).collect()
}

/// Shapes that reach every path: short, long and very long rows, narrow and wide columns, several blocks.
const SHAPES: [Axis; 18] = [
    Axis { outer: 3, n: 1, inner: 1 },
    Axis { outer: 5, n: 10, inner: 1 },
    Axis { outer: 4, n: 16, inner: 1 },
    Axis { outer: 7, n: 131, inner: 1 },
    Axis { outer: 3, n: 1000, inner: 1 },
    Axis { outer: 2, n: 5003, inner: 1 },
    Axis { outer: 2, n: 150_001, inner: 1 },
    Axis { outer: 2, n: 65536, inner: 1 },
    Axis { outer: 1, n: 1, inner: 7 },
    Axis { outer: 3, n: 5, inner: 2 },
    Axis { outer: 40, n: 1003, inner: 3 },
    Axis { outer: 2, n: 77, inner: 31 },
    Axis { outer: 2, n: 77, inner: 32 },
    Axis { outer: 3, n: 300, inner: 129 },
    Axis { outer: 2, n: 8, inner: 2049 },
    Axis { outer: 1, n: 140, inner: 5000 },
    Axis { outer: 2, n: 0, inner: 3 },
    Axis { outer: 0, n: 4, inner: 3 },
];

/// The elements that each result is made from.
fn groups<T: Copy>(x: &[T], a: Axis) -> Vec<Vec<T>> {
    let group = |r: usize| {
        let (o, i) = (r / a.inner, r % a.inner);
        (0..a.n).map(|j| x[(o * a.n + j) * a.inner + i]).collect()
    };
    (0..a.results()).map(group).collect()
}

fn reference(op: ReduceOp, v: &[f64]) -> f64 {
    let n = v.len() as f64;
    let sum = |f: &dyn Fn(f64) -> f64| v.iter().map(|&x| f(x)).sum::<f64>();
    let var = |correction: f64| {
        let mean = sum(&|x| x) / n;
        sum(&|x| (x - mean) * (x - mean)) / (n - correction).max(0.0)
    };
    match op {
        ReduceOp::Sum | ReduceOp::NanSum => sum(&|x| x),
        ReduceOp::Mean => sum(&|x| x) / n,
        ReduceOp::Prod => v.iter().product(),
        ReduceOp::Max => v.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        ReduceOp::Min => v.iter().copied().fold(f64::INFINITY, f64::min),
        ReduceOp::LogSumExp => sum(&f64::exp).ln(),
        ReduceOp::Norm1 => sum(&f64::abs),
        ReduceOp::Norm2 => sum(&|x| x * x).sqrt(),
        ReduceOp::NormMax => v.iter().fold(0.0, |m, x| x.abs().max(m)),
        ReduceOp::SumSquares => sum(&|x| x * x),
        ReduceOp::Var { correction } => var(correction),
        ReduceOp::Std { correction } => var(correction).sqrt(),
        _ => unreachable!(),
    }
}

const OPS: [ReduceOp; 13] = [
    ReduceOp::Sum,
    ReduceOp::NanSum,
    ReduceOp::Mean,
    ReduceOp::Prod,
    ReduceOp::Max,
    ReduceOp::Min,
    ReduceOp::LogSumExp,
    ReduceOp::Norm1,
    ReduceOp::Norm2,
    ReduceOp::NormMax,
    ReduceOp::SumSquares,
    ReduceOp::Var { correction: 1.0 },
    ReduceOp::Std { correction: 0.0 },
];

/// `tolerance` is relative to the sum of the absolute values, which bounds what cancellation leaves.
fn check<T: Float>(tolerance: f64) {
    for axis in SHAPES {
        let x: Vec<T> = noise(axis.len()).into_iter().map(|v| T::from_f32(v * 1.1)).collect();
        for op in OPS {
            let mut out = vec![T::default(); axis.results()];
            reduce_float(op, &x, axis, &mut out);
            for (got, group) in out.iter().zip(groups(&x, axis)) {
                let group: Vec<f64> = group.into_iter().map(T::to_f64).collect();
                let want = reference(op, &group);
                let scale = match op {
                    ReduceOp::Sum | ReduceOp::NanSum => reference(ReduceOp::Norm1, &group),
                    ReduceOp::Mean => reference(ReduceOp::Norm1, &group) / group.len() as f64,
                    _ => want.abs(),
                };
                let (got, want) = (got.to_f64(), T::from_f64(want).to_f64());
                assert!(
                    got == want
                        || (got.is_nan() && want.is_nan())
                        || (got - want).abs() <= tolerance * scale.max(1e-4),
                    "{op:?} of {:?} over {axis:?}: {got} instead of {want}",
                    T::DTYPE
                );
            }
        }
    }
}

#[test]
fn floats_agree_with_sums_in_f64() {
    check::<f32>(2e-6);
    check::<f64>(1e-12);
    check::<bf16>(5e-3);
    check::<f16>(1e-3);
}

#[test]
fn long_sums_stay_accurate() {
    // Added one after another in f32, ten million times 0.1 gives 1087937.
    let x = vec![0.1f32; 10_000_000];
    let mut out = [0.0f32];
    reduce_float(ReduceOp::Sum, &x, Axis::all(x.len()), &mut out);
    assert!((out[0] - 1e6).abs() <= 0.25, "{}", out[0]);
    let mut columns = [0.0f32; 10];
    reduce_float(ReduceOp::Sum, &x, Axis { outer: 1, n: 1_000_000, inner: 10 }, &mut columns);
    assert!(columns.iter().all(|c| (c - 1e5).abs() <= 0.03), "{columns:?}");
    // The variance of numbers far from zero: torch.tensor([10000., 10001., 10002., 10003.]).var()
    let mut var = [0.0f32];
    reduce_float(
        ReduceOp::Var { correction: 1.0 },
        &[10000.0, 10001.0, 10002.0, 10003.0],
        Axis::all(4),
        &mut var,
    );
    assert_eq!(var[0], 1.6666666);
}

#[test]
fn integers_wrap_in_i64() {
    for axis in SHAPES {
        let x: Vec<i32> = noise(axis.len()).into_iter().map(|v| (v * 2e9) as i32).collect();
        let (mut sum, mut product) = (vec![0i64; axis.results()], vec![0i64; axis.results()]);
        reduce_int(ReduceOp::Sum, &x, axis, &mut sum);
        reduce_int(ReduceOp::Prod, &x, axis, &mut product);
        for (i, g) in groups(&x, axis).iter().enumerate() {
            assert_eq!(sum[i], g.iter().map(|&v| v as i64).sum::<i64>());
            assert_eq!(product[i], g.iter().fold(1i64, |p, &v| p.wrapping_mul(v as i64)));
        }
    }
}

#[test]
fn booleans_and_counts() {
    for axis in SHAPES {
        let x: Vec<bool> = noise(axis.len()).into_iter().map(|v| v > -0.9).collect();
        let (mut all, mut any) = (vec![false; axis.results()], vec![false; axis.results()]);
        let mut count = vec![0; axis.results()];
        reduce_bool(ReduceOp::All, &x, axis, &mut all);
        reduce_bool(ReduceOp::Any, &x, axis, &mut any);
        count_true(&x, axis, &mut count);
        for (i, g) in groups(&x, axis).iter().enumerate() {
            assert_eq!(all[i], g.iter().all(|&v| v));
            assert_eq!(any[i], g.iter().any(|&v| v));
            assert_eq!(count[i], g.iter().filter(|&&v| v).count() as i64);
        }
    }
}

fn check_args<T: Computed>(x: &[T], axis: Axis, nan: impl Fn(T) -> bool) {
    for op in [ArgOp::Max, ArgOp::Min] {
        let (mut values, mut index) = (vec![T::default(); axis.results()], vec![0; axis.results()]);
        arg_reduce_values(op, x, axis, &mut values, &mut index);
        let mut alone = vec![0; axis.results()];
        arg_reduce(op, x, axis, &mut alone);
        assert_eq!(index, alone);
        let mut extreme = vec![T::default(); axis.results()];
        reduce_extreme(if op == ArgOp::Max { ReduceOp::Max } else { ReduceOp::Min }, x, axis, &mut extreme);
        for (i, g) in groups(x, axis).iter().enumerate() {
            let mut best = 0;
            for (j, &v) in g.iter().enumerate() {
                let better = if op == ArgOp::Max { v > g[best] } else { v < g[best] };
                if (better || nan(v)) && !nan(g[best]) {
                    best = j;
                }
            }
            assert_eq!(index[i], best as i64, "{op:?} of {:?} over {axis:?}", T::DTYPE);
            assert!(values[i] == g[best] || nan(values[i]) && nan(g[best]));
            assert!(extreme[i] == g[best] || nan(extreme[i]) && nan(g[best]));
        }
    }
}

#[test]
fn extremes_take_the_first_and_nan_wins() {
    for axis in SHAPES.into_iter().filter(|a| a.n > 0) {
        let x: Vec<f32> = noise(axis.len()).into_iter().map(|v| (v * 40.0).round()).collect();
        check_args(&x, axis, f32::is_nan);
        let with_nan: Vec<f32> =
            x.iter().enumerate().map(|(i, &v)| if i % 97 == 60 { f32::NAN } else { v }).collect();
        check_args(&with_nan, axis, f32::is_nan);
        check_args(&with_nan.iter().map(|&v| v as f64).collect::<Vec<_>>(), axis, f64::is_nan);
        check_args(&with_nan.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>(), axis, |v| v.is_nan());
        check_args(&x.iter().map(|&v| v as i8).collect::<Vec<_>>(), axis, |_| false);
        check_args(&x.iter().map(|&v| v as i64).collect::<Vec<_>>(), axis, |_| false);
        check_args(&x.iter().map(|&v| v > 30.0).collect::<Vec<_>>(), axis, |_| false);
    }
}

#[test]
fn empty_and_infinite() {
    let one = |op, x: &[f32]| {
        let mut out = [7.0f32];
        reduce_float(op, x, Axis::all(x.len()), &mut out);
        out[0]
    };
    let inf = f32::INFINITY;
    // torch.logsumexp(torch.tensor(..), 0)
    assert_eq!(one(ReduceOp::LogSumExp, &[-inf, -inf]), -inf);
    assert_eq!(one(ReduceOp::LogSumExp, &[inf, 1.0]), inf);
    assert_eq!(one(ReduceOp::LogSumExp, &[1000.0, 1000.0]), 1000.6932);
    assert!(one(ReduceOp::LogSumExp, &[f32::NAN, 1.0]).is_nan());
    assert_eq!(one(ReduceOp::NanSum, &[f32::NAN, 1.0]), 1.0);
    assert_eq!(one(ReduceOp::Sum, &[]), 0.0);
    assert_eq!(one(ReduceOp::Prod, &[]), 1.0);
    assert!(one(ReduceOp::Mean, &[]).is_nan());
    assert!(one(ReduceOp::Var { correction: 1.0 }, &[1.0]).is_nan());
}
