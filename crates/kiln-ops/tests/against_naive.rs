//! Each family against loops over indices: random shapes, strides, broadcasts and dtypes. Elements are small integers, so
//! that every sum is exact and results must be equal, rounded once to the dtype.

use kiln_ops::elementwise::{BinaryOp, CompareOp, binary, compare};
use kiln_ops::reduce::{ArgOp, ReduceOp, arg_reduce, reduce};
use kiln_ops::*;

const FLOATS: &[DType] = &[DType::F16, DType::BF16, DType::F32, DType::F64];
const INTS: &[DType] = &[DType::U8, DType::I8, DType::I16, DType::I32, DType::I64];
const ROUNDS: u64 = 300;

/// Marsaglia's xorshift64.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn shape(&mut self, least: usize, most: usize) -> Vec<usize> {
        let rank = least + self.below(most - least + 1);
        (0..rank).map(|_| if self.chance(20) { 0 } else { 1 + self.below(5) }).collect()
    }

    fn dtype(&mut self) -> DType {
        let all: Vec<DType> = [FLOATS, INTS].concat();
        self.pick(&all)
    }

    fn value(&mut self, dtype: DType) -> f64 {
        match dtype {
            DType::Bool => self.below(2) as f64,
            DType::U8 => self.below(5) as f64,
            _ => self.below(7) as f64 - 3.0,
        }
    }

    /// A tensor of `shape` that lies in memory in any order, with gaps, somewhere, some axes repeated; and what it holds.
    fn tensor(&mut self, shape: &[usize], dtype: DType) -> (RawTensor, Naive) {
        let mut order: Vec<usize> = (0..shape.len()).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, self.below(i + 1));
        }
        if self.chance(2) {
            order.sort_unstable();
        }
        let (mut strides, mut step) = (vec![0; shape.len()], 1);
        for &axis in order.iter().rev() {
            if self.chance(8) {
                continue;
            }
            step *= if self.chance(5) { 2 } else { 1 };
            strides[axis] = step;
            step *= shape[axis].max(1);
        }
        let offset = if self.chance(3) { self.below(4) } else { 0 };
        let memory: Vec<f64> = (0..offset + 2 * step).map(|_| self.value(dtype)).collect();
        let base = RawTensor::from_vec("test", memory.clone(), [memory.len()]).unwrap();
        let signed = |v: &[usize]| v.iter().map(|&n| n as i64).collect::<Vec<_>>();
        let base = to_dtype(&base, dtype).unwrap();
        let t = as_strided(&base, &signed(shape), &signed(&strides), Some(offset as i64)).unwrap();
        let place = |i: &[usize]| offset + i.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>();
        (t, Naive::of(shape, |i| memory[place(i)]))
    }

    fn positions(&mut self, shape: &[usize], below: usize) -> (RawTensor, Naive) {
        let naive = Naive::of(shape, |_| self.below(below) as f64);
        let t = RawTensor::from_vec("test", naive.data.clone(), shape).unwrap();
        (to_dtype(&t, DType::I64).unwrap(), naive)
    }
}

/// Elements in row-major order.
#[derive(Clone)]
struct Naive {
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Naive {
    fn of(shape: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Naive {
        let count = shape.iter().product();
        let mut index = vec![0; shape.len()];
        let mut data = Vec::with_capacity(count);
        for _ in 0..count {
            data.push(f(&index));
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                if index[axis] < shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Naive { shape: shape.to_vec(), data }
    }

    fn place(&self, index: &[usize]) -> usize {
        index.iter().zip(&self.shape).fold(0, |at, (i, n)| at * n + i)
    }

    fn at(&self, index: &[usize]) -> f64 {
        self.data[self.place(index)]
    }

    /// The element that broadcasting shows at an index of a larger shape.
    fn wide(&self, index: &[usize]) -> f64 {
        let own = &index[index.len() - self.shape.len()..];
        self.at(&own.iter().zip(&self.shape).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect::<Vec<_>>())
    }

    fn map(&self, mut f: impl FnMut(&[usize], f64) -> f64) -> Naive {
        Naive::of(&self.shape, |i| f(i, self.at(i)))
    }

    /// The elements along an axis at an index, whose own place on the axis does not count.
    fn row(&self, index: &[usize], axis: usize) -> Vec<f64> {
        (0..self.shape[axis]).map(|i| self.at(&put(index, axis, i))).collect()
    }
}

fn put(index: &[usize], axis: usize, i: usize) -> Vec<usize> {
    let mut index = index.to_vec();
    index[axis] = i;
    index
}

/// A number as a dtype holds it.
fn rounded(v: f64, dtype: DType) -> f64 {
    match dtype {
        DType::Bool => f64::from(v != 0.0),
        DType::U8 => f64::from(v as i64 as u8),
        DType::I8 => f64::from(v as i64 as i8),
        DType::I16 => f64::from(v as i64 as i16),
        DType::F16 => f16::from_f64(v).to_f64(),
        DType::BF16 => bf16::from_f64(v).to_f64(),
        DType::F32 => f64::from(v as f32),
        _ => v,
    }
}

#[track_caller]
fn same(round: u64, what: &str, got: &RawTensor, dtype: DType, want: &Naive) {
    assert_eq!(got.dtype(), dtype, "round {round}: {what}");
    assert_eq!(got.shape().dims(), want.shape, "round {round}: {what}");
    let got = to_dtype(got, DType::F64).unwrap().to_vec::<f64>().unwrap();
    let want: Vec<f64> = want.data.iter().map(|&v| rounded(v, dtype)).collect();
    assert_eq!(got, want, "round {round}: {what} of {dtype}");
}

#[test]
fn elementwise_with_broadcasting() {
    for round in 0..ROUNDS {
        let mut rng = Rng::new(round);
        let (shape, dtype) = (rng.shape(0, 4), rng.dtype());
        let mut side = || {
            let from = rng.below(shape.len() + 1);
            let part: Vec<usize> = shape[from..].iter().map(|&n| if rng.chance(4) { 1 } else { n }).collect();
            rng.tensor(&part, dtype)
        };
        let ((a, x), (b, y)) = (side(), side());
        let rank = x.shape.len().max(y.shape.len());
        let size =
            |t: &Naive, axis: usize| (axis + t.shape.len()).checked_sub(rank).map_or(1, |own| t.shape[own]);
        let joint: Vec<usize> = (0..rank)
            .map(|axis| match (size(&x, axis), size(&y, axis)) {
                (1, n) => n,
                (n, _) => n,
            })
            .collect();
        type Of = fn(f64, f64) -> f64;
        let functions: [(BinaryOp, Of); 5] = [
            (BinaryOp::Add, |a, b| a + b),
            (BinaryOp::Sub, |a, b| a - b),
            (BinaryOp::Mul, |a, b| a * b),
            (BinaryOp::Maximum, f64::max),
            (BinaryOp::Minimum, f64::min),
        ];
        for (op, f) in functions {
            let want = Naive::of(&joint, |i| f(x.wide(i), y.wide(i)));
            same(round, op.name(), &binary(op, &a, &b).unwrap(), dtype, &want);
        }
        let want = Naive::of(&joint, |i| f64::from(x.wide(i) < y.wide(i)));
        let less = compare(CompareOp::Lt, &a, &b).unwrap();
        same(round, "lt", &less, DType::Bool, &want);
        let filled = masked_fill(&a, &less, 2i64).unwrap();
        let want = Naive::of(&joint, |i| if x.wide(i) < y.wide(i) { 2.0 } else { x.wide(i) });
        same(round, "masked_fill", &filled, dtype, &want);
    }
}

#[test]
fn reductions() {
    for round in 0..ROUNDS {
        let mut rng = Rng::new(round ^ 0xAAAA);
        let (shape, dtype) = (rng.shape(1, 4), rng.dtype());
        let (t, x) = rng.tensor(&shape, dtype);
        let axes: Vec<usize> = (0..shape.len()).filter(|_| rng.chance(2)).collect();
        let axes = if axes.is_empty() { vec![rng.below(shape.len())] } else { axes };
        let signed: Vec<i64> = axes
            .iter()
            .map(|&a| if rng.chance(2) { a as i64 } else { a as i64 - shape.len() as i64 })
            .collect();
        let kept: Vec<usize> =
            shape.iter().enumerate().map(|(a, &n)| if axes.contains(&a) { 1 } else { n }).collect();
        let fold = |start: f64, f: &dyn Fn(f64, f64) -> f64| {
            let mut out = Naive::of(&kept, |_| start);
            let _ = x.map(|i, v| {
                let at: Vec<usize> = i.iter().zip(&kept).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect();
                let at = out.place(&at);
                out.data[at] = f(out.data[at], v);
                v
            });
            out
        };
        let wide = if dtype.is_float() { dtype } else { DType::I64 };
        let got = |op| reduce(op, &t, &signed, true).unwrap();
        same(round, "sum", &got(ReduceOp::Sum), wide, &fold(0.0, &|a, v| a + v));
        let count = fold(0.0, &|a, v| a + f64::from(v != 0.0));
        same(round, "count_nonzero", &got(ReduceOp::CountNonzero), DType::I64, &count);
        if x.data.len() / kept.iter().product::<usize>().max(1) <= 10 {
            same(round, "prod", &got(ReduceOp::Prod), wide, &fold(1.0, &|a, v| a * v));
        }
        if axes.iter().all(|&a| shape[a] > 0) {
            same(round, "amax", &got(ReduceOp::Max), dtype, &fold(f64::NEG_INFINITY, &f64::max));
            same(round, "amin", &got(ReduceOp::Min), dtype, &fold(f64::INFINITY, &f64::min));
            let axis = axes[0];
            let first = |best: fn(&f64, &f64) -> bool| {
                let mut one = shape.clone();
                one[axis] = 1;
                Naive::of(&one, |i| {
                    let row = x.row(i, axis);
                    (0..row.len()).fold(0, |at, j| if best(&row[j], &row[at]) { j } else { at }) as f64
                })
            };
            let got = |op| arg_reduce(op, &t, Some(axis as i64), true).unwrap();
            same(round, "argmax", &got(ArgOp::Max), DType::I64, &first(f64::gt));
            same(round, "argmin", &got(ArgOp::Min), DType::I64, &first(f64::lt));
        }
    }
}

#[test]
fn products_of_matrices() {
    for round in 0..ROUNDS {
        let mut rng = Rng::new(round ^ 0xBBBB);
        let dtype = rng.dtype();
        let (n, k, m) = (1 + rng.below(33), rng.below(40), 1 + rng.below(33));
        let batch = rng.shape(0, 2);
        let mut side = |rows: usize, columns: usize| {
            let lead = batch.iter().map(|&b| if rng.chance(4) { 1 } else { b });
            let shape: Vec<usize> = lead.chain([rows, columns]).collect();
            rng.tensor(&shape, dtype)
        };
        let ((a, x), (b, y)) = (side(n, k), side(k, m));
        let lead =
            (0..batch.len()).map(|axis| if x.shape[axis] == 1 { y.shape[axis] } else { x.shape[axis] });
        let shape: Vec<usize> = lead.chain([n, m]).collect();
        let want = Naive::of(&shape, |i| {
            let (lead, last) = i.split_at(i.len() - 2);
            let at = |t: &Naive, row: usize, column: usize| t.wide(&[lead, &[row, column]].concat());
            (0..k).map(|j| at(&x, last[0], j) * at(&y, j, last[1])).sum()
        });
        same(round, "matmul", &matmul::matmul(&a, &b).unwrap(), dtype, &want);
    }
}

#[test]
fn indexing() {
    for round in 0..ROUNDS {
        let mut rng = Rng::new(round ^ 0xCCCC);
        let (mut shape, dtype) = (rng.shape(1, 4), rng.dtype());
        let axis = rng.below(shape.len());
        shape[axis] = 1 + rng.below(5);
        let (t, x) = rng.tensor(&shape, dtype);
        let at = axis as i64;
        let count = rng.below(6);
        let (index, places) = rng.positions(&[count], shape[axis]);
        let mut picked = shape.clone();
        picked[axis] = count;
        let want = Naive::of(&picked, |i| x.at(&put(i, axis, places.data[i[axis]] as usize)));
        same(round, "index_select", &index_select(&t, at, &index).unwrap(), dtype, &want);

        let (source, values) = rng.tensor(&picked, dtype);
        let mut want = x.clone();
        let _ = values.map(|i, v| {
            let place = want.place(&put(i, axis, places.data[i[axis]] as usize));
            want.data[place] += v;
            v
        });
        same(round, "index_add", &index_add(&t, at, &index, &source, 1i64.into()).unwrap(), dtype, &want);

        let (index, places) = rng.positions(&picked, shape[axis]);
        let want = places.map(|i, p| x.at(&put(i, axis, p as usize)));
        same(round, "gather", &gather(&t, at, &index).unwrap(), dtype, &want);
        let mut want = x.clone();
        let _ = places.map(|i, p| {
            let place = want.place(&put(i, axis, p as usize));
            want.data[place] += values.at(i);
            p
        });
        same(round, "scatter_add", &scatter_add(&t, at, &index, &source).unwrap(), dtype, &want);
        let found = nonzero(&t).unwrap();
        let mut rows = Vec::new();
        let _ = x.map(|i, v| {
            if v != 0.0 {
                rows.extend(i.iter().map(|&i| i as f64));
            }
            v
        });
        let want = Naive { shape: vec![rows.len() / shape.len(), shape.len()], data: rows };
        same(round, "nonzero", &found, DType::I64, &want);
    }
}

#[test]
fn joining_padding_and_turning() {
    for round in 0..ROUNDS {
        let mut rng = Rng::new(round ^ 0xDDDD);
        let (shape, dtype) = (rng.shape(1, 4), rng.dtype());
        let axis = rng.below(shape.len());
        let parts: Vec<(RawTensor, Naive)> = (0..1 + rng.below(4))
            .map(|_| {
                let size = rng.below(4);
                rng.tensor(&put(&shape, axis, size), dtype)
            })
            .collect();
        let total = parts.iter().map(|(_, x)| x.shape[axis]).sum();
        let want = Naive::of(&put(&shape, axis, total), |i| {
            let (mut at, mut part) = (i[axis], 0);
            while at >= parts[part].1.shape[axis] {
                at -= parts[part].1.shape[axis];
                part += 1;
            }
            parts[part].1.at(&put(i, axis, at))
        });
        let tensors: Vec<&RawTensor> = parts.iter().map(|(t, _)| t).collect();
        same(round, "cat", &cat(&tensors, axis as i64).unwrap(), dtype, &want);

        let (t, x) = rng.tensor(&shape, dtype);
        let n = shape[axis];
        let want = x.map(|i, _| x.at(&put(i, axis, n - 1 - i[axis])));
        same(round, "flip", &flip(&t, &[axis as i64]).unwrap(), dtype, &want);
        let by = rng.below(9);
        let want = x.map(|i, _| x.at(&put(i, axis, (i[axis] + 9 * n - by % n.max(1)) % n)));
        same(round, "roll", &roll(&t, &[by as i64], &[axis as i64]).unwrap(), dtype, &want);

        let (last, before, after) = (shape.len() - 1, rng.below(3), rng.below(3));
        let n = shape[last];
        let padded = put(&shape, last, before + n + after);
        let sides = [before as i64, after as i64];
        let want = Naive::of(&padded, |i| match i[last].checked_sub(before) {
            Some(at) if at < n => x.at(&put(i, last, at)),
            _ => 1.0,
        });
        same(round, "pad", &pad(&t, &sides, PadMode::Constant(1i64.into())).unwrap(), dtype, &want);
        if (2..=3).contains(&shape.len()) && !x.data.is_empty() && dtype.is_float() {
            let nearest = |i: &[usize]| x.at(&put(i, last, i[last].saturating_sub(before).min(n - 1)));
            let want = Naive::of(&padded, nearest);
            same(round, "replicate", &pad(&t, &sides, PadMode::Replicate).unwrap(), dtype, &want);
        }
    }
}

#[test]
fn sorting_and_accumulating() {
    for round in 0..ROUNDS {
        let mut rng = Rng::new(round ^ 0xEEEE);
        let (mut shape, dtype) = (rng.shape(1, 3), rng.dtype());
        let axis = rng.below(shape.len());
        shape[axis] = 1 + rng.below(40);
        let (t, x) = rng.tensor(&shape, dtype);
        let descending = rng.chance(2);
        // The order of a row; equal elements stay in theirs.
        let order = |i: &[usize]| {
            let row = x.row(i, axis);
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| {
                let rising = row[a].total_cmp(&row[b]);
                if descending { rising.reverse() } else { rising }
            });
            order
        };
        let (values, places) = sort(&t, axis as i64, descending).unwrap();
        same(round, "sort", &values, dtype, &x.map(|i, _| x.at(&put(i, axis, order(i)[i[axis]]))));
        same(round, "argsort", &places, DType::I64, &x.map(|i, _| order(i)[i[axis]] as f64));
        let k = 1 + rng.below(shape[axis]);
        let best = Naive::of(&put(&shape, axis, k), |i| x.at(&put(i, axis, order(i)[i[axis]])));
        same(round, "topk", &top_k(&t, k, axis as i64, descending).unwrap().0, dtype, &best);
        let wide = if dtype.is_float() { dtype } else { DType::I64 };
        let sums = x.map(|i, _| x.row(i, axis)[..=i[axis]].iter().sum());
        same(round, "cumsum", &cumulative(ScanOp::Sum, &t, axis as i64).unwrap(), wide, &sums);
    }
}
