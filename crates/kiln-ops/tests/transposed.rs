//! Operands whose rows are columns in memory, which the elementwise loop turns block by block: against plain indexing.

use kiln_ops::elementwise::{BinaryOp, binary};
use kiln_ops::{DType, RawTensor, contiguous_copy, permute, to_dtype};

/// A tensor `[a, b, c]` of small whole numbers, seen as `[a, c, b]`.
fn turned([a, b, c]: [usize; 3], dtype: DType) -> RawTensor {
    let values: Vec<f64> = (0..a * b * c).map(|i| (i * 7919 % 251) as f64).collect();
    let x = to_dtype(&RawTensor::from_vec("test", values, [a, b, c]).unwrap(), dtype).unwrap();
    permute(&x, &[0, 2, 1]).unwrap()
}

/// What [`turned`] has at each index, in row-major order.
fn values([a, b, c]: [usize; 3]) -> Vec<f64> {
    let mut all = Vec::new();
    for i in 0..a {
        for k in 0..c {
            all.extend((0..b).map(|j| (((i * b + j) * c + k) * 7919 % 251) as f64));
        }
    }
    all
}

fn read(x: &RawTensor) -> Vec<f64> {
    to_dtype(x, DType::F64).unwrap().to_vec().unwrap()
}

const SHAPES: [[usize; 3]; 5] = [[1, 300, 70], [3, 257, 129], [2, 700, 2], [1, 256, 1], [5, 300, 63]];

#[test]
fn copies() {
    for shape in SHAPES {
        for dtype in [DType::F32, DType::F64, DType::I64, DType::I32, DType::U8, DType::BF16] {
            let copy = contiguous_copy(&turned(shape, dtype)).unwrap();
            assert_eq!(read(&copy), values(shape), "{shape:?} {dtype}");
        }
    }
}

#[test]
fn sums_with_another_operand() {
    for shape @ [a, b, c] in SHAPES {
        for dtype in [DType::F32, DType::F64, DType::I64] {
            let plain: Vec<f64> = (0..a * b * c).map(|i| (i % 17) as f64).collect();
            let want: Vec<f64> = plain.iter().zip(values(shape)).map(|(p, v)| p + v).collect();
            let plain = to_dtype(&RawTensor::from_vec("test", plain, [a, c, b]).unwrap(), dtype).unwrap();
            let x = turned(shape, dtype);
            assert_eq!(read(&binary(BinaryOp::Add, &plain, &x).unwrap()), want, "{shape:?} {dtype}");
            let twice: Vec<f64> = values(shape).iter().map(|v| v + v).collect();
            assert_eq!(read(&binary(BinaryOp::Add, &x, &x.clone()).unwrap()), twice, "{shape:?} {dtype}");
        }
    }
}

#[test]
fn a_copy_that_goes_past_the_caches() {
    let shape = [1, 2100, 2050];
    let copy = contiguous_copy(&turned(shape, DType::F32)).unwrap();
    assert_eq!(read(&copy), values(shape));
}
