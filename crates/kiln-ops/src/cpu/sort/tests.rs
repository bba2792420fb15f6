//! Sorting against comparison sorts.

use kiln_storage::{bf16, f16};

use super::*;

fn noise(n: usize) -> Vec<u64> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..n).map(next).collect()
}

fn check<T: SortKey>(x: &[T], n: usize, nan: impl Fn(&T) -> bool) {
    let same = |a: &T, b: &T| a == b || nan(a) && nan(b);
    for descending in [false, true] {
        let (mut values, mut index) = (vec![T::default(); x.len()], vec![0; x.len()]);
        sort(x, n, descending, &mut values, &mut index);
        for ((x, values), index) in x.chunks(n).zip(values.chunks(n)).zip(index.chunks(n)) {
            // The standard library's stable sort by comparison is the reference.
            let mut want: Vec<usize> = (0..n).collect();
            let rank = |i: &usize| (nan(&x[*i]), x[*i]);
            want.sort_by(|a, b| {
                let (a, b) = if descending { (b, a) } else { (a, b) };
                let ((na, a), (nb, b)) = (rank(a), rank(b));
                na.cmp(&nb).then(a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal))
            });
            for (j, &i) in want.iter().enumerate() {
                assert_eq!(index[j], i as i64, "{:?}, n {n}, descending {descending}, place {j}", T::DTYPE);
                assert!(same(&values[j], &x[i]));
            }
            for k in [1, 2, n / 2, n] {
                let k = k.clamp(1, n);
                let (mut best, mut at) = (vec![T::default(); k], vec![0; k]);
                top_k(x, n, k, descending, &mut best, &mut at);
                assert_eq!(at, index[..k], "top {k} of {n}");
                assert!(best.iter().zip(values).all(|(a, b)| same(a, b)));
                if !descending {
                    kth_value(x, n, k - 1, &mut best[..1], &mut at[..1]);
                    assert!(same(&best[0], &values[k - 1]) && at[0] == index[k - 1]);
                }
            }
        }
    }
}

#[test]
fn every_length_and_type_agrees_with_comparison() {
    for (rows, n) in [(3, 1), (5, 10), (2, 199), (2, 200), (2, 3000), (1, 40_000)] {
        let x = noise(rows * n);
        let float = |v: &u64| match v % 50 {
            0 => f32::NAN,
            1 => -0.0,
            2 => 0.0,
            3 => f32::INFINITY,
            _ => ((v >> 30) % 4001) as f32 * 0.37 - 700.0,
        };
        check(&x.iter().map(float).collect::<Vec<_>>(), n, |v| v.is_nan());
        check(&x.iter().map(|v| float(v) as f64).collect::<Vec<_>>(), n, |v| v.is_nan());
        check(&x.iter().map(|v| f16::from_f32(float(v))).collect::<Vec<_>>(), n, |v| v.is_nan());
        check(&x.iter().map(|v| bf16::from_f32(float(v))).collect::<Vec<_>>(), n, |v| v.is_nan());
        check(&x.iter().map(|&v| v as i64).collect::<Vec<_>>(), n, |_| false);
        check(&x.iter().map(|&v| (v % 3000) as i64 - 1500).collect::<Vec<_>>(), n, |_| false);
        check(&x.iter().map(|&v| v as i32).collect::<Vec<_>>(), n, |_| false);
        check(&x.iter().map(|&v| v as i16).collect::<Vec<_>>(), n, |_| false);
        check(&x.iter().map(|&v| v as i8).collect::<Vec<_>>(), n, |_| false);
        check(&x.iter().map(|&v| v as u8).collect::<Vec<_>>(), n, |_| false);
        check(&x.iter().map(|&v| v % 2 == 0).collect::<Vec<_>>(), n, |_| false);
    }
}

#[test]
fn special_values_are_ordered_as_in_pytorch() {
    let x = [3.0, f32::NAN, -0.0, 1.0, f32::INFINITY, 0.0, f32::NEG_INFINITY, 1.0];
    let (mut values, mut index) = ([0.0; 8], [0; 8]);
    // x.sort(stable=True), x.sort(stable=True, descending=True)
    sort(&x, 8, false, &mut values, &mut index);
    assert_eq!(index, [6, 2, 5, 3, 7, 0, 4, 1]);
    assert!(values[1].is_sign_negative() && values[2].is_sign_positive() && values[7].is_nan());
    sort(&x, 8, true, &mut values, &mut index);
    assert_eq!(index, [1, 4, 0, 3, 7, 2, 5, 6]);
    // The payload of a NaN survives.
    let nan = f32::from_bits(0xffc0_1234);
    sort(&[nan, 1.0], 2, false, &mut values[..2], &mut index[..2]);
    assert_eq!(values[1].to_bits(), nan.to_bits());
}

#[test]
fn modes_and_unique_elements() {
    // torch.tensor([[3, 1, 2, 3, 1], [5, 5, 5, 0, 0]]).mode()
    let (mut values, mut index) = ([0; 2], [0; 2]);
    mode(&[3i64, 1, 2, 3, 1, 5, 5, 5, 0, 0], 5, &mut values, &mut index);
    assert_eq!((values, index), ([1, 5], [4, 2]));
    // torch.tensor([[nan, 1, nan], [nan, 2, 2], [1, nan, 1]]).mode() and torch.tensor([inf, nan, nan, 1]).mode()
    let nan = f32::NAN;
    let (mut values, mut index) = ([0.0; 3], [0; 3]);
    mode(&[nan, 1.0, nan, nan, 2.0, 2.0, 1.0, nan, 1.0], 3, &mut values, &mut index);
    assert!(values[0].is_nan() && values[1..] == [2.0, 1.0] && index == [0, 2, 0], "{values:?} {index:?}");
    let (mut values, mut index) = ([0.0], [0]);
    mode(&[f32::INFINITY, nan, nan, 1.0], 4, &mut values, &mut index);
    assert_eq!((values, index), ([1.0], [3]));
    // torch.unique(x, return_inverse=True, return_counts=True), torch.unique_consecutive(..)
    let u = unique(&[3i64, 1, 2, 3, 1]);
    assert_eq!((u.values, u.inverse, u.counts), (vec![1, 2, 3], vec![2, 0, 1, 2, 0], vec![2, 1, 2]));
    let u = unique_consecutive(&[1i32, 1, 3, 1]);
    assert_eq!((u.values, u.inverse, u.counts), (vec![1, 3, 1], vec![0, 0, 1, 2], vec![2, 1, 1]));
    assert_eq!(unique(&[f32::NAN, 1.0, f32::NAN]).counts, [1, 1, 1]);
    assert!(unique::<f32>(&[]).values.is_empty());
}
