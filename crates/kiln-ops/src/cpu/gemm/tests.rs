//! The product against its definition, written down naively: in `f64` with error bounds, and bit for bit.

use super::*;
use crate::cpu::arch::{Arch, Portable};
use half::{bf16, f16};

/// A reproducible stream of numbers around zero.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as f64) / (1u64 << 30) as f64 - 1.0
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n
    }
}

trait Tested: Float {
    const UNIT: f64;
    fn of(x: f64) -> Self;
    fn to(self) -> f64;
    fn bits(self) -> u64;
    fn fma(a: Self::Acc, b: Self::Acc, c: Self::Acc) -> Self::Acc;
}

macro_rules! tested {
    ($t:ty, $unit:expr, $fma:ident, $of:expr, $to:expr) => {
        impl Tested for $t {
            const UNIT: f64 = $unit;
            fn of(x: f64) -> $t {
                $of(x)
            }
            fn to(self) -> f64 {
                $to(self)
            }
            fn bits(self) -> u64 {
                self.to_bits() as u64
            }
            fn fma(a: Self::Acc, b: Self::Acc, c: Self::Acc) -> Self::Acc {
                Portable::$fma(a, b, c)
            }
        }
    };
}
tested!(f32, f32::EPSILON as f64 / 2.0, fma32, |x| x as f32, |x| x as f64);
tested!(f64, f64::EPSILON / 2.0, fma64, |x| x, |x| x);
tested!(f16, 0.000_488_281_25, fma32, f16::from_f64, f16::to_f64);
tested!(bf16, 0.003_906_25, fma32, bf16::from_f64, bf16::to_f64);

/// How a matrix lies in its buffer.
#[derive(Clone, Copy, Debug)]
enum Order {
    Rows,
    Columns,
    /// Neither rows nor columns contiguous.
    Loose,
    /// All rows share memory, as after broadcasting.
    Broadcast,
}

struct Matrix<T> {
    data: Vec<T>,
    row: isize,
    column: isize,
}

impl<T: Tested> Matrix<T> {
    fn new(rows: usize, columns: usize, order: Order, numbers: &mut Numbers) -> Self {
        let (row, column) = match order {
            Order::Rows => (columns + 3, 1),
            Order::Columns => (1, rows + 2),
            Order::Loose => (2 * columns + 1, 2),
            Order::Broadcast => (0, 1),
        };
        let len = rows.max(1) * row.max(1) + columns.max(1) * column + 1;
        let data = (0..len).map(|_| T::of(numbers.next())).collect();
        Matrix { data, row: row as isize, column: column as isize }
    }

    fn at(&self, i: usize, j: usize) -> T {
        self.data[i * self.row as usize + j * self.column as usize]
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    a: Order,
    b: Order,
    c: Order,
    accumulate: bool,
    /// 0 none, 1 rows, 2 columns.
    bias: usize,
    relu: bool,
}

/// Runs a case on one instruction set and compares every element with the definition, bit for bit, and with an exact
/// enough sum; elements between those of C must stay as they were.
fn check<T: Tested>(isa: Isa, case: Case) {
    let Case { m, n, k, .. } = case;
    let numbers = &mut Numbers((m * 31 + n * 17 + k) as u64);
    let a = Matrix::<T>::new(m, k, case.a, numbers);
    let b = Matrix::<T>::new(k, n, case.b, numbers);
    let before = Matrix::<T>::new(m, n, case.c, numbers);
    let bias: Vec<T> = (0..2 * m.max(n)).map(|_| T::of(numbers.next())).collect();
    let mut c = before.data.clone();
    let step = 1 + (m + n) as isize % 2;
    let problem = Problem {
        m,
        n,
        k,
        a: a.data.as_ptr(),
        a_row: a.row,
        a_column: a.column,
        b: b.data.as_ptr(),
        b_row: b.row,
        b_column: b.column,
        c: c.as_mut_ptr(),
        c_row: before.row,
        c_column: before.column,
        accumulate: case.accumulate,
        epilogue: Epilogue {
            bias: match case.bias {
                0 => None,
                1 => Some(Bias::Rows(bias.as_ptr(), step)),
                _ => Some(Bias::Columns(bias.as_ptr(), step)),
            },
            relu: case.relu,
        },
    };
    // SAFETY: the matrices have the sizes and strides that the problem states; the machine has `isa`.
    unsafe { T::product(isa, &problem, false) };

    let mut touched = vec![false; c.len()];
    for i in 0..m {
        for j in 0..n {
            let at = i * before.row as usize + j * before.column as usize;
            touched[at] = true;
            let mut total = case.accumulate.then(|| before.at(i, j).widen_one());
            let (mut exact, mut magnitude) = (0.0, 0.0);
            for block in 0..k.div_ceil(BLOCK).max(1) {
                let mut sum = T::Acc::default();
                for p in block * BLOCK..((block + 1) * BLOCK).min(k) {
                    sum = T::fma(a.at(i, p).widen_one(), b.at(p, j).widen_one(), sum);
                    let product = a.at(i, p).to() * b.at(p, j).to();
                    exact += product;
                    magnitude += product.abs();
                }
                total = Some(total.map_or(sum, |t| t + sum));
            }
            let mut total = total.unwrap_or_default();
            if case.accumulate {
                exact += before.at(i, j).to();
                magnitude += before.at(i, j).to().abs();
            }
            if case.bias > 0 {
                let x = bias[if case.bias == 1 { i } else { j } * step as usize];
                total = total + x.widen_one();
                exact += x.to();
                magnitude += x.to().abs();
            }
            if case.relu {
                total = if T::Acc::default() > total { T::Acc::default() } else { total };
                exact = exact.max(0.0);
            }
            let (got, want) = (c[at], T::narrow_one(total));
            assert_eq!(
                got.bits(),
                want.bits(),
                "{isa:?} {case:?} at {i},{j}: {} not {}",
                got.to(),
                want.to()
            );
            let inner = if T::WIDE { T::UNIT } else { f32::EPSILON as f64 / 2.0 };
            let bound =
                (k.min(BLOCK) + k / BLOCK + 3) as f64 * inner * magnitude + 2.0 * T::UNIT * exact.abs();
            assert!((got.to() - exact).abs() <= bound + 1e-7 * T::UNIT, "{case:?}: {} not {exact}", got.to());
        }
    }
    for (at, touched) in touched.iter().enumerate() {
        assert!(
            *touched || c[at].bits() == before.data[at].bits(),
            "{isa:?} {case:?} wrote outside C at {at}"
        );
    }
}

fn isas() -> impl Iterator<Item = Isa> {
    [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| isa <= Isa::detect())
}

const ORDERS: [Order; 3] = [Order::Rows, Order::Columns, Order::Loose];

fn random_cases<T: Tested>(count: usize, largest: usize) {
    let mut numbers = Numbers(7);
    for i in 0..count {
        let mut size = |most: usize| match numbers.below(3) {
            0 => 1 + numbers.below(3),
            1 => 1 + numbers.below(40),
            _ => 1 + numbers.below(most),
        };
        let (m, n, k) = (size(largest), size(largest), size(largest * 4));
        let case = Case {
            m,
            n,
            k,
            a: [Order::Rows, Order::Columns, Order::Loose, Order::Broadcast][numbers.below(4)],
            b: [Order::Rows, Order::Columns, Order::Loose, Order::Broadcast][numbers.below(4)],
            c: ORDERS[numbers.below(3)],
            accumulate: numbers.below(2) == 1,
            bias: i % 3,
            relu: numbers.below(3) == 0,
        };
        isas().for_each(|isa| check::<T>(isa, case));
    }
}

#[test]
fn f32_any_shape_and_stride() {
    random_cases::<f32>(150, 160);
}

#[test]
fn f64_any_shape_and_stride() {
    random_cases::<f64>(60, 100);
}

#[test]
fn halves_round_once() {
    random_cases::<f16>(60, 100);
    random_cases::<bf16>(60, 100);
}

#[test]
fn every_kernel_height_and_width() {
    for rows in 1..=2 * MAX_ROWS + 1 {
        for n in [1, 3, 8, 15, 16, 17, 31, 32, 33, 64] {
            let case = Case {
                m: rows,
                n,
                k: 19,
                a: Order::Rows,
                b: Order::Rows,
                c: Order::Rows,
                accumulate: rows % 2 == 0,
                bias: rows % 3,
                relu: false,
            };
            isas().for_each(|isa| check::<f32>(isa, case));
            isas().for_each(|isa| check::<f64>(isa, case));
        }
    }
}

#[test]
fn large_products_take_every_packing() {
    // Sizes on both sides of the thresholds for packing A, for packing B once, and for parts of C.
    let shapes =
        [(300, 200, 600), (40, 700, 300), (700, 40, 300), (2100, 33, 40), (5, 2100, 300), (1, 3000, 700)];
    for (m, n, k) in shapes {
        for a in [Order::Rows, Order::Columns] {
            for b in [Order::Rows, Order::Columns] {
                let case = Case { m, n, k, a, b, c: Order::Rows, accumulate: false, bias: 2, relu: true };
                let isas = isas().filter(|&isa| isa != Isa::Portable || m * n * k < 1 << 23);
                isas.for_each(|isa| check::<f32>(isa, case));
            }
        }
    }
    let case = Case {
        m: 1100,
        n: 50,
        k: 300,
        a: Order::Columns,
        b: Order::Columns,
        c: Order::Columns,
        accumulate: true,
        bias: 1,
        relu: false,
    };
    check::<bf16>(isa(), case);
}

#[test]
fn vectors() {
    for (m, n, k) in
        [(1, 1, 5000), (1, 1, 257), (1, 400, 530), (400, 1, 530), (1, 2500, 1), (2500, 1, 1), (1, 1, 1)]
    {
        for a in [Order::Rows, Order::Loose] {
            for b in ORDERS {
                for c in [Order::Rows, Order::Loose] {
                    for (accumulate, bias, relu) in [(false, 1, true), (true, 2, false), (false, 0, false)] {
                        let case = Case { m, n, k, a, b, c, accumulate, bias, relu };
                        isas().for_each(|isa| check::<f32>(isa, case));
                        isas().for_each(|isa| check::<f64>(isa, case));
                        check::<bf16>(isa(), case);
                    }
                }
            }
        }
    }
}

#[test]
fn no_steps_give_zero_and_the_bias() {
    for (m, n) in [(1, 1), (1, 300), (300, 1), (5, 7), (40, 50), (0, 3), (3, 0)] {
        for (accumulate, bias) in [(false, 0), (false, 1), (false, 2), (true, 2)] {
            let (order, relu) = (Order::Rows, false);
            let case = Case { m, n, k: 0, a: order, b: order, c: order, accumulate, bias, relu };
            isas().for_each(|isa| check::<f32>(isa, case));
            isas().for_each(|isa| check::<f16>(isa, case));
        }
    }
}

#[test]
fn not_a_number_and_infinity_pass_through() {
    for isa in isas() {
        for n in [1, 5, 16, 40, 300] {
            let a = [f32::INFINITY, 1.0, 2.0];
            let mut b = vec![1.0f32; 3 * n];
            b[0] = 0.0;
            let mut c = vec![0.0f32; n];
            let problem = Problem {
                m: 1,
                n,
                k: 3,
                a: a.as_ptr(),
                a_row: 3,
                a_column: 1,
                b: b.as_ptr(),
                b_row: n as isize,
                b_column: 1,
                c: c.as_mut_ptr(),
                c_row: n as isize,
                c_column: 1,
                accumulate: false,
                epilogue: Epilogue { bias: None, relu: true },
            };
            // SAFETY: sizes and strides are those of the arrays; the machine has `isa`.
            unsafe { f32::product(isa, &problem, false) };
            assert!(c[0].is_nan(), "{isa:?}: relu must keep NaN");
            assert!(c[1..].iter().all(|&x| x == f32::INFINITY));
        }
    }
}

#[test]
fn integers_wrap() {
    for (m, n, k) in [(1, 1, 1), (3, 5, 7), (20, 600, 30), (33, 17, 200)] {
        for transposed in [false, true] {
            let mut numbers = Numbers(3);
            let a: Vec<i64> = (0..m * k).map(|_| numbers.below(1 << 31) as i64).collect();
            let b: Vec<i64> = (0..k * n).map(|_| numbers.below(1 << 31) as i64).collect();
            let bias: Vec<i64> = (0..n).map(|_| numbers.below(1 << 31) as i64).collect();
            let mut c = vec![3i64; m * n];
            let (rb, cb) = if transposed { (1, k) } else { (n, 1) };
            let epilogue = Epilogue { bias: Some(Bias::Columns(bias.as_ptr(), 1)), relu: true };
            // SAFETY: sizes and strides are those of the vectors.
            unsafe {
                gemm(
                    m,
                    n,
                    k,
                    a.as_ptr(),
                    k as isize,
                    1,
                    b.as_ptr(),
                    rb as isize,
                    cb as isize,
                    c.as_mut_ptr(),
                    n as isize,
                    1,
                    true,
                    epilogue,
                );
            }
            for i in 0..m {
                for j in 0..n {
                    let products = (0..k).map(|p| (a[i * k + p] as i128) * (b[p * rb + j * cb] as i128));
                    let want = (products.sum::<i128>() + 3 + bias[j] as i128) as i64;
                    assert_eq!(c[i * n + j], want.max(0), "{m}x{n}x{k}");
                }
            }
        }
    }
}

#[test]
fn batches_equal_single_products() {
    for (batch, m, n, k) in [(1, 4, 5, 6), (7, 3, 2, 5), (40, 12, 20, 33), (3, 200, 150, 100)] {
        let mut numbers = Numbers(11);
        let mut random = |len: usize| (0..len).map(|_| numbers.next() as f32).collect::<Vec<_>>();
        // The right operand is shared by all items.
        let (a, b) = (random(batch * m * k), random(k * n));
        let (mut one, mut all) = (vec![0.0f32; batch * m * n], vec![1.0f32; batch * m * n]);
        let (k_step, n_step) = (k as isize, n as isize);
        struct Ends(*const f32, *const f32, *mut f32);
        // SAFETY: items write disjoint parts.
        unsafe impl Sync for Ends {}
        let ends = Ends(a.as_ptr(), b.as_ptr(), all.as_mut_ptr());
        let item = |i: usize| {
            let ends = &ends;
            // SAFETY: item `i` lies inside the vectors.
            unsafe { (ends.0.add(i * m * k), ends.1, ends.2.add(i * m * n)) }
        };
        // SAFETY: sizes and strides are those of the vectors.
        unsafe {
            for i in 0..batch {
                let (a, c) = (a[i * m * k..].as_ptr(), one[i * m * n..].as_mut_ptr());
                gemm(m, n, k, a, k_step, 1, b.as_ptr(), n_step, 1, c, n_step, 1, false, Epilogue::NONE);
            }
            gemm_batched(batch, &item, m, n, k, k_step, 1, n_step, 1, n_step, 1, false, Epilogue::NONE);
        }
        assert!(one.iter().zip(&all).all(|(x, y)| x.to_bits() == y.to_bits()));
    }
}

#[test]
fn an_operand_packed_beforehand_gives_the_same_bits() {
    for (m, n, k) in [(1, 40, 300), (3, 70, 20), (33, 100, 513), (5, 8, 1030), (2, 3000, 7)] {
        let mut numbers = Numbers(5);
        let mut random = |len: usize| (0..len).map(|_| numbers.next() as f32).collect::<Vec<_>>();
        let (a, b, bias, before) = (random(m * k), random(k * n), random(n), random(m * n));
        for (row, column) in [(n, 1), (1, k)] {
            let mut want = before.clone();
            let epilogue = Epilogue { bias: Some(Bias::Columns(bias.as_ptr(), 1)), relu: false };
            let (rsb, csb, step) = (row as isize, column as isize, n as isize);
            // SAFETY: sizes and strides are those of the vectors.
            unsafe {
                let to = want.as_mut_ptr();
                gemm(m, n, k, a.as_ptr(), k as isize, 1, b.as_ptr(), rsb, csb, to, step, 1, true, epilogue);
            }
            for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| isa <= Isa::detect())
            {
                let mut got = before.clone();
                Packed::new(isa, &b, [k, n], [row, column]).product(&a, &mut got, true, Some(&bias));
                assert!(
                    got.iter().zip(&want).all(|(x, y)| x.to_bits() == y.to_bits()),
                    "{isa:?} {m} {n} {k}"
                );
            }
        }
    }
}
