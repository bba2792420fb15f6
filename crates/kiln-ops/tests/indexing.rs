//! Joining and indexing against PyTorch: random calls with all dtypes and layouts, recorded by `data/indexing.py`. The
//! environment variable `KILN_INDEXING_CASES` names another file of such calls.

use kiln_ops::*;
use serde_json::Value;

fn number(v: &Value) -> f64 {
    match v {
        Value::Bool(b) => f64::from(*b),
        Value::String(s) => s.parse().unwrap(),
        v => v.as_f64().unwrap(),
    }
}

fn ints(v: &Value) -> Vec<i64> {
    v.as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect()
}

/// A tensor from its memory and its layout.
fn decode(v: &Value) -> RawTensor {
    let base: Vec<f64> = v["base"].as_array().unwrap().iter().map(number).collect();
    let n = base.len();
    let dtype = DType::from_name(v["dtype"].as_str().unwrap()).unwrap();
    let memory = to_dtype(&RawTensor::from_vec("test", base, [n]).unwrap(), dtype).unwrap();
    as_strided(&memory, &ints(&v["size"]), &ints(&v["stride"]), v["offset"].as_i64()).unwrap()
}

fn values(t: &RawTensor) -> Vec<f64> {
    to_dtype(t, DType::F64).unwrap().to_vec().unwrap()
}

fn reduction(args: &Value) -> Reduction {
    match args["reduce"].as_str().unwrap() {
        "sum" => Reduction::Sum,
        "prod" => Reduction::Prod,
        "mean" => Reduction::Mean,
        "amax" => Reduction::Amax,
        _ => Reduction::Amin,
    }
}

/// The in-place form on a copy: it must count one change.
fn in_place(x: &RawTensor, change: impl FnOnce(&RawTensor) -> Result<()>) -> Result<Vec<RawTensor>> {
    let out = contiguous_copy(x)?;
    let before = out.version();
    change(&out)?;
    assert_eq!(out.version(), before + 1, "one change in place");
    Ok(vec![out])
}

fn call(op: &str, x: &[Option<RawTensor>], args: &Value) -> Result<Vec<RawTensor>> {
    let t = |i: usize| x[i].as_ref().unwrap();
    let all = || x.iter().flatten().collect::<Vec<_>>();
    let flag = |name: &str| args[name].as_bool().unwrap();
    let axis = args["axis"].as_i64();
    let a = || axis.unwrap();
    let n = || args["n"].as_i64().unwrap();
    let list = || ints(&args["list"]);
    let one = |r: Result<RawTensor>| r.map(|t| vec![t]);
    let search = || SearchOptions { right: flag("right"), out_int32: flag("out_int32") };
    match op {
        "cat" => one(cat(&all(), a())),
        "stack" => one(stack(&all(), a())),
        "repeat" => one(repeat(t(0), &list())),
        "tile" => one(tile(t(0), &list())),
        "repeat_interleave" => one(repeat_interleave(t(0), n(), axis)),
        "repeat_interleave_by" => one(repeat_interleave_by(t(0), t(1), axis)),
        "flip" => one(flip(t(0), &list())),
        "roll" => one(roll(t(0), &ints(&args["shifts"]), &list())),
        "rot90" => one(rot90(t(0), n(), &list())),
        "tril" => one(tril(t(0), n())),
        "triu" => one(triu(t(0), n())),
        "tril_" => in_place(t(0), |out| tril_(out, n())),
        "pad" => one(pad(
            t(0),
            &list(),
            match args["mode"].as_str().unwrap() {
                "constant" => PadMode::Constant(Scalar::Int(7)),
                "reflect" => PadMode::Reflect,
                "replicate" => PadMode::Replicate,
                _ => PadMode::Circular,
            },
        )),
        "index_select" => one(index_select(t(0), a(), t(1))),
        "index_add" => one(index_add(t(0), a(), t(1), t(2), Scalar::Int(n()))),
        "index_copy" => one(index_copy(t(0), a(), t(1), t(2))),
        "index_fill" => one(index_fill(t(0), a(), t(1), n())),
        "index_reduce" => one(index_reduce(t(0), a(), t(1), t(2), reduction(args), flag("include_self"))),
        "take" => one(take(t(0), t(1))),
        "put" => one(put(t(0), t(1), t(2), flag("accumulate"))),
        "gather" => one(gather(t(0), a(), t(1))),
        "scatter" => one(scatter(t(0), a(), t(1), t(2))),
        "scatter_value" => in_place(t(0), |out| scatter_(out, a(), t(1), n())),
        "scatter_add" => in_place(t(0), |out| scatter_add_(out, a(), t(1), t(2))),
        "scatter_reduce" => {
            let (reduce, keep) = (reduction(args), flag("include_self"));
            in_place(t(0), |out| scatter_reduce_(out, a(), t(1), t(2), reduce, keep))
        }
        "take_along_dim" => one(take_along_dim(t(0), t(1), axis)),
        "masked_fill" => one(masked_fill(t(0), t(1), n())),
        "masked_fill_" => in_place(t(0), |out| masked_fill_(out, t(1), n())),
        "masked_select" => one(masked_select(t(0), t(1))),
        "masked_scatter" => one(masked_scatter(t(0), t(1), t(2))),
        "nonzero" => one(nonzero(t(0))),
        "nonzero_by_axis" => nonzero_by_axis(t(0)),
        "index" => one(index(t(0), &x[1..])),
        "index_put" => in_place(t(0), |out| index_put_(out, &x[2..], t(1), flag("accumulate"))),
        "embedding" => one(embedding(t(0), t(1))),
        "embedding_grad" => {
            let padding = usize::try_from(args["padding"].as_i64().unwrap()).ok();
            let rows = args["rows"].as_u64().unwrap() as usize;
            one(embedding_grad(t(0), t(1), rows, padding, flag("scale")))
        }
        "one_hot" => one(one_hot(t(0), usize::try_from(n()).ok())),
        "searchsorted" => one(searchsorted(t(0), t(1), None, search())),
        "bucketize" => one(bucketize(t(0), t(1), search())),
        "bincount" => one(bincount(t(0), x.get(1).and_then(Option::as_ref), n() as usize)),
        "histc" => one(histc(t(0), n() as usize, number(&args["low"]), number(&args["high"]))),
        _ => panic!("unknown function {op}"),
    }
}

fn check(case: &Value) -> std::result::Result<(), String> {
    let inputs: Vec<Option<RawTensor>> =
        case["in"].as_array().unwrap().iter().map(|v| (!v.is_null()).then(|| decode(v))).collect();
    let before: Vec<Option<Vec<f64>>> = inputs.iter().map(|t| t.as_ref().map(values)).collect();
    let got = call(case["op"].as_str().unwrap(), &inputs, &case["args"]);
    if before.iter().zip(&inputs).any(|(b, t)| b.as_ref().is_some_and(|b| *b != values(t.as_ref().unwrap())))
    {
        return Err("an input changed".into());
    }
    let got = match (got, case["error"].as_str()) {
        (Err(_), Some(_)) => return Ok(()),
        (Err(e), None) => return Err(format!("failed: {e}")),
        (Ok(got), Some(e)) => return Err(format!("gave shape {:?} where PyTorch says: {e}", got[0].shape())),
        (Ok(got), None) => got,
    };
    let want: Vec<RawTensor> = case["out"].as_array().unwrap().iter().map(decode).collect();
    if got.len() != want.len() {
        return Err(format!("{} results, not {}", got.len(), want.len()));
    }
    for (g, w) in got.iter().zip(&want) {
        if (g.dtype(), g.shape()) != (w.dtype(), w.shape()) {
            return Err(format!("{} {:?}, not {} {:?}", g.dtype(), g.shape(), w.dtype(), w.shape()));
        }
        let tolerance = match w.dtype() {
            DType::F16 => 2e-3,
            DType::BF16 => 2e-2,
            DType::F32 => 1e-6,
            _ => 1e-12,
        };
        let (g, w) = (values(g), values(w));
        let same = |(a, b): (&f64, &f64)| {
            a == b || (a - b).abs() <= tolerance * b.abs().max(0.1) || (a.is_nan() && b.is_nan())
        };
        if !g.iter().zip(&w).all(same) {
            return Err(format!("{g:?}, not {w:?}"));
        }
    }
    Ok(())
}

#[test]
fn results_are_those_of_pytorch() {
    let recorded = match std::env::var("KILN_INDEXING_CASES") {
        Ok(path) => std::fs::read_to_string(path).unwrap(),
        Err(_) => include_str!("data/indexing.json").to_owned(),
    };
    let recorded: Value = serde_json::from_str(&recorded).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    assert!(cases.len() > 200);
    let mut failures = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        if let Err(e) = check(case) {
            failures.push(format!("case {i}, {} with {}: {e}", case["op"], case["args"]));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures[..failures.len().min(30)].join("\n")
    );
}

fn i64s(v: &[i64]) -> RawTensor {
    RawTensor::from_vec("test", v.to_vec(), [v.len()]).unwrap()
}

fn floats(v: &[f32], shape: &[usize]) -> RawTensor {
    RawTensor::from_vec("test", v.to_vec(), shape).unwrap()
}

/// `0, 1, ..` as floats.
fn numbers(shape: &[usize]) -> RawTensor {
    let n = shape.iter().product::<usize>();
    floats(&(0..n).map(|i| i as f32).collect::<Vec<_>>(), shape)
}

#[track_caller]
fn fails<T>(r: Result<T>, part: &str) {
    let text = r.map(|_| ()).unwrap_err().to_string();
    assert!(text.contains(part), "{text:?} does not say {part:?}");
}

#[test]
fn a_wrong_index_is_named_and_nothing_is_written() {
    let x = numbers(&[3, 4]);
    let (two, bad, negative) = (numbers(&[2, 4]), i64s(&[0, 5]), i64s(&[0, -1]));
    let out = |i: i64, n: usize| format!("index {i} is out of bounds for dimension 0 with size {n}");
    let one = Scalar::Int(1);
    let row = |t: &RawTensor| t.with_layout(t.layout().unsqueeze(1));
    let (bad_column, negative_column) = (row(&bad), row(&negative));
    let mean = Reduction::Mean;
    fails(index_select(&x, 0, &bad), &out(5, 3));
    fails(index_select(&x, 0, &negative), &out(-1, 3));
    fails(gather(&x, 0, &bad_column), &out(5, 3));
    fails(gather(&x, 0, &negative_column), &out(-1, 3));
    fails(scatter_(&x, 0, &bad_column, 1.0), &out(5, 3));
    fails(scatter_(&x, 0, &expand(&bad_column, &[-1, 4]).unwrap(), 1.0), &out(5, 3));
    fails(scatter_add_(&x, 0, &negative_column, &two), &out(-1, 3));
    fails(scatter_reduce_(&x, 0, &bad_column, &two, mean, false), &out(5, 3));
    fails(index_add_(&x, 0, &negative, &two, one), &out(-1, 3));
    fails(index_copy_(&x, 0, &bad, &two), &out(5, 3));
    fails(index_fill_(&x, 0, &i64s(&[-4]), 9.0), &out(-4, 3));
    fails(index_reduce_(&x, 0, &bad, &two, mean, false), &out(5, 3));
    fails(take(&x, &i64s(&[12])), &out(12, 12));
    fails(take(&numbers(&[0]), &i64s(&[0])), &out(0, 0));
    fails(put_(&x, &i64s(&[1, -13]), &numbers(&[2]), false), &out(-13, 12));
    fails(take_along_dim(&x, &i64s(&[12]), None), &out(12, 12));
    fails(index(&x, &[None, Some(i64s(&[4]))]), "index 4 is out of bounds for dimension 1 with size 4");
    fails(index(&numbers(&[3, 0]), &[Some(i64s(&[5]))]), &out(5, 3));
    fails(index_put_(&x, &[Some(bad.clone())], &numbers(&[]), false), &out(5, 3));
    fails(embedding(&x, &i64s(&[3])), &out(3, 3));
    fails(embedding_grad(&two, &bad, 3, None, true), &out(5, 3));
    fails(searchsorted(&numbers(&[2]), &numbers(&[1]), Some(&i64s(&[0, 7])), Default::default()), &out(7, 2));
    assert_eq!(values(&x), values(&numbers(&[3, 4])));
    assert_eq!(x.version(), 0, "a refused change does not count");
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let x = numbers(&[3, 4]);
    let (i, long) = (i64s(&[0, 1]), to_dtype(&x, DType::I64).unwrap());
    let mask = RawTensor::from_vec("test", vec![true, false], [2]).unwrap();
    let zero = numbers(&[]);
    // Joining.
    fails(cat(&[], 0), "expected a non-empty list");
    fails(cat(&[&zero, &zero], 0), "zero-dimensional tensor (at position 0) cannot be concatenated");
    fails(cat(&[&x, &numbers(&[3, 5])], 0), "Expected size 4 but got size 5");
    fails(cat(&[&x, &i], 0), "Tensors must have same number of dimensions: got 2 and 1");
    fails(cat(&[&x, &x], 2), "but got 2");
    fails(stack(&[], 0), "non-empty");
    fails(stack(&[&x, &i], 0), "got [3, 4] at entry 0 and [2] at entry 1");
    fails(repeat(&x, &[2]), "can not be smaller than number of dimensions of tensor");
    fails(repeat(&x, &[2, -1]), "negative dimension");
    fails(repeat(&x, &[i64::MAX, 4]), "overflows");
    fails(repeat_interleave(&x, -1, None), "Repeats must be non-negative");
    fails(repeat_interleave_by(&i, &i64s(&[1, -1]), None), "repeats can not be negative");
    fails(repeat_interleave_by(&x, &i64s(&[1, 2]), Some(0)), "repeats.size(0) = 2 and input.size(0) = 3");
    fails(repeat_positions(&x), "repeats must be 0-dim or 1-dim tensor");
    fails(repeat_positions(&i64s(&[i64::MAX, i64::MAX])), "does not fit into memory");
    fails(flip(&x, &[0, 0]), "dim 0 appears multiple times");
    fails(roll(&x, &[1, 2], &[0]), "shifts and dimensions must align. shifts: 2, dims:1");
    fails(roll(&x, &[], &[]), "`shifts` required");
    fails(rot90(&x, 1, &[0]), "expected total rotation dims == 2, but got dims = 1");
    fails(rot90(&i, 1, &[0, 1]), "expected total dims >= 2, but got total dims = 1");
    fails(tril(&i, 0), "must have at least 2 dimensions");
    let constant = PadMode::Constant(Scalar::Int(0));
    fails(pad(&x, &[1], constant), "Padding length must be divisible by 2");
    fails(pad(&x, &[1; 6], constant), "padding length 6 and input of dimension 2");
    fails(pad(&x, &[-5, 0], constant), "resulted in a negative output size");
    fails(pad(&x, &[i64::MAX, i64::MAX], constant), "");
    fails(pad(&x, &[4, 1], PadMode::Reflect), "should be less than the corresponding input dimension");
    fails(pad(&x, &[1; 4], PadMode::Reflect), "Padding size 4 is not supported for 2D input tensor");
    fails(pad(&x, &[5, 1], PadMode::Circular), "wrapping around more than once");
    fails(pad(&numbers(&[0, 4]), &[1, 1], PadMode::Replicate), "non-zero sizes");
    // Along an axis.
    fails(index_select(&x, 0, &numbers(&[2])), "Expected dtype");
    fails(index_select(&x, 0, &long), "Index is supposed to be a vector");
    fails(index_select(&zero, 0, &i), "Index to scalar can have only 1 value, got 2");
    fails(gather(&x, 1, &i), "must have the same number of dimensions as input tensor");
    fails(
        gather(&x, 1, &reshape(&i64s(&[0; 4]), &[4, 1]).unwrap()),
        "expected index [4, 1] to be no larger than self [3, 4]",
    );
    fails(scatter_(&x, 1, &view(&i, &[1, 2]).unwrap(), &numbers(&[1, 1])), "no larger size than src [1, 1]");
    fails(
        scatter_(&x, 1, &view(&i, &[1, 2]).unwrap(), &long),
        "Expected self.dtype to be equal to src.dtype",
    );
    fails(
        scatter_(&to_dtype(&x, DType::U8).unwrap(), 0, &long, 300i64),
        "cannot be converted to type uint8 without overflow",
    );
    fails(
        index_add_(&x, 0, &i, &x, Scalar::Int(1)),
        "Number of indices (2) should be equal to source.size(dim): (3)",
    );
    fails(
        index_add_(&x, 0, &i, &numbers(&[2, 3]), Scalar::Int(1)),
        "source tensor shape must match self tensor shape",
    );
    fails(index_copy_(&x, 0, &i, &long), "must have the same scalar type");
    fails(
        index_copy_(&x, 0, &to_dtype(&i, DType::I32).unwrap(), &numbers(&[2, 4])),
        "Expected dtype [int64] for index, but got int32",
    );
    fails(index_fill_(&x, 0, &i, &numbers(&[1])), "only supports a 0-dimensional value tensor");
    fails(index_reduce_(&x, 0, &i, &numbers(&[2, 4]), Reduction::Sum, true), "use index_add_");
    fails(put_(&x, &i, &numbers(&[1]), false), "source.numel() = 1, index.numel() = 2");
    fails(take_along_dim(&x, &i, Some(1)), "should have the same number of dimensions");
    // Masks.
    fails(
        masked_fill(&x, &to_dtype(&x, DType::U8).unwrap(), 1.0),
        "only supports boolean masks, but got mask with dtype uint8",
    );
    fails(masked_fill(&x, &mask, 1.0), "size of tensor a (4) must match the size of tensor b (2)");
    fails(masked_fill_(&mask, &to_dtype(&x, DType::Bool).unwrap(), true), "");
    let all = to_dtype(&full(&[3, 4].into(), Scalar::Int(1), DType::I64, Device::CPU).unwrap(), DType::Bool)
        .unwrap();
    fails(masked_fill(&to_dtype(&x, DType::F16).unwrap(), &all, 1e9), "float16 without overflow");
    fails(
        masked_scatter_(&x, &all, &numbers(&[11])),
        "Number of elements of source (11) < number of ones in mask (12)",
    );
    fails(masked_scatter_(&x, &all, &long), "same dtypes");
    // Index tensors.
    let some = |t: &RawTensor| Some(t.clone());
    fails(index(&x, &[]), "at least one index must be provided");
    fails(index(&x, &[some(&i), some(&i), some(&i)]), "too many indices for tensor of dimension 2 (got 3)");
    fails(
        index(&x, &[some(&i), some(&i64s(&[0, 1, 2]))]),
        "could not be broadcast together with shapes [2], [3]",
    );
    fails(
        index(&x, &[some(&mask)]),
        "The shape of the mask [2] at index 0 does not match the shape of the indexed tensor [3, 4]",
    );
    fails(index(&x, &[some(&x)]), "tensors used as indices must be long, int, byte or bool");
    fails(
        index_put_(&x, &[some(&i)], &numbers(&[3]), false),
        "value tensor of shape [3] cannot be broadcast to indexing result of shape [2, 4]",
    );
    fails(
        index_put_(&x, &[some(&i)], &long, false),
        "Index put requires the source and destination dtypes match",
    );
    // Tables and counts.
    fails(embedding(&i, &i), "'weight' must be 2-D");
    fails(one_hot(&i64s(&[0, 2]), Some(2)), "smaller than num_classes");
    fails(one_hot(&i64s(&[-1]), None), "non-negative");
    fails(one_hot(&i64s(&[]), None), "empty tensor");
    fails(one_hot(&x, None), "one_hot is only applicable");
    fails(one_hot(&i64s(&[i64::MAX - 1]), None), "overflows");
    fails(
        searchsorted(&x, &numbers(&[1]), None, Default::default()),
        "boundaries tensor [3, 4] and input value tensor [1]",
    );
    fails(bucketize(&x, &x, Default::default()), "boundaries tensor must be 1 dimension");
    fails(bincount(&i64s(&[-1]), None, 0), "non-negative integral inputs");
    fails(bincount(&x, None, 0), "not implemented for float32");
    fails(bincount(&i, Some(&numbers(&[3])), 0), "same length as input");
    fails(bincount(&i64s(&[i64::MAX]), None, 0), "do not fit into memory");
    fails(histc(&x, 0, 0.0, 1.0), "bins must be > 0");
    fails(histc(&x, 3, 5.0, 1.0), "max must be larger than min");
    fails(histc(&floats(&[1.0, f32::NAN], &[2]), 3, 0.0, 0.0), "not finite");
}

#[test]
fn shared_memory_is_refused_or_read_first() {
    let x = numbers(&[4]);
    let wide = expand(&numbers(&[1]), &[4]).unwrap();
    let i = i64s(&[3, 2, 1, 0]);
    fails(scatter_(&wide, 0, &i, 1.0), "more than one element of the written-to tensor");
    // PyTorch only warns where one value or the given ones are written to what is selected, and nothing else is.
    masked_fill_(&wide, &to_dtype(&x, DType::Bool).unwrap(), 7.0).unwrap();
    assert_eq!(values(&wide), [7.0; 4]);
    index_fill_(&wide, 0, &i64s(&[-1]), 8.0).unwrap();
    assert_eq!(values(&wide), [8.0; 4]);
    // The same rows of an as_strided tensor: x.as_strided((2, 2), (1, 1))[0, 1] = 9, then add 1 to all of it.
    let line = numbers(&[3]);
    let windows = as_strided(&line, &[2, 2], &[1, 1], None).unwrap();
    index_put_(&windows, &[Some(i64s(&[0])), Some(i64s(&[1]))], &floats(&[9.0], &[1]), false).unwrap();
    assert_eq!(values(&line), [0.0, 9.0, 2.0]);
    index_put_(&windows, &[Some(i64s(&[0, 1]))], &floats(&[1.0], &[1]), true).unwrap();
    assert_eq!(values(&line), [1.0, 11.0, 3.0]);
    let (head, tail) = (narrow(&x, 0, 0, 3).unwrap(), narrow(&x, 0, 1, 3).unwrap());
    fails(index_copy_(&head, 0, &i64s(&[0, 1, 2]), &tail), "refer to a single memory location");
    // The tensor itself as the source, and as the index.
    index_copy_(&x, 0, &i, &x).unwrap();
    assert_eq!(values(&x), [3.0, 2.0, 1.0, 0.0]);
    let p = i64s(&[1, 2, 3, 0]);
    scatter_(&p, 0, &p, 9i64).unwrap();
    assert_eq!(values(&p), [9.0; 4]);
    // The last of several values stays.
    put_(&x, &i64s(&[1, 1, -1]), &floats(&[5.0, 6.0, 7.0], &[3]), false).unwrap();
    assert_eq!(values(&x), [3.0, 6.0, 1.0, 7.0]);
    // A transposed tensor is written through.
    let y = numbers(&[2, 2]);
    put_(&t(&y).unwrap(), &i64s(&[1]), &floats(&[8.0], &[1]), false).unwrap();
    assert_eq!(values(&y), [0.0, 1.0, 8.0, 3.0]);
}

/// Numbers whose sums depend on their order.
fn noise(n: usize, shape: &[usize]) -> (Vec<f32>, RawTensor) {
    let v: Vec<f32> = (0..n).map(|i| ((i * 7919) % 10007) as f32 * 1.37e-3 - 5.0).collect();
    (v.clone(), floats(&v, shape))
}

#[test]
fn large_operands_give_the_bits_of_a_plain_loop() {
    let (n, rows, width) = (40_000, 500, 96);
    let positions: Vec<i64> = (0..n).map(|i| (i as i64 * 6151) % rows as i64).collect();
    let list = i64s(&positions);
    let (table, table_tensor) = noise(rows * width, &[rows, width]);
    let (grad, grad_tensor) = noise(n * width, &[n, width]);
    // Rows read, and added to in order.
    let got = index_select(&table_tensor, 0, &list).unwrap().to_vec::<f32>().unwrap();
    let mut sums = table.clone();
    for (i, &p) in positions.iter().enumerate() {
        let (row, p) = (i * width, p as usize * width);
        assert_eq!(got[row..row + width], table[p..p + width]);
        (0..width).for_each(|c| sums[p + c] += grad[row + c]);
    }
    let added = index_add(&table_tensor, 0, &list, &grad_tensor, Scalar::Int(1)).unwrap();
    assert!(added.to_vec::<f32>().unwrap() == sums);
    // The same through an index for each element, and along the other axis.
    let spread = expand(&unsqueeze(&list, 1).unwrap(), &[-1, width as i64]).unwrap();
    for index in [spread.clone(), contiguous(&spread).unwrap()] {
        assert!(gather(&table_tensor, 0, &index).unwrap().to_vec::<f32>().unwrap() == got);
        assert!(
            scatter_add(&table_tensor, 0, &index, &grad_tensor).unwrap().to_vec::<f32>().unwrap() == sums
        );
    }
    let turned =
        scatter_add(&t(&table_tensor).unwrap(), 1, &t(&spread).unwrap(), &t(&grad_tensor).unwrap()).unwrap();
    assert!(contiguous(&t(&turned).unwrap()).unwrap().to_vec::<f32>().unwrap() == sums);
    // Single elements.
    let (v, v_tensor) = noise(n, &[n]);
    let mut points = table[..rows].to_vec();
    positions.iter().zip(&v).for_each(|(&p, v)| points[p as usize] += v);
    let start = floats(&table[..rows], &[rows]);
    assert!(scatter_add(&start, 0, &list, &v_tensor).unwrap().to_vec::<f32>().unwrap() == points);
    assert!(
        index_put(&start, &[Some(list.clone())], &v_tensor, true).unwrap().to_vec::<f32>().unwrap() == points
    );
    let taken = gather(&start, 0, &list).unwrap().to_vec::<f32>().unwrap();
    assert!(positions.iter().zip(&taken).all(|(&p, t)| table[p as usize] == *t));
    // Masks.
    let mask: Vec<bool> = (0..n * width).map(|i| i % 7 == 3 || i > n * width - 100).collect();
    let kept: Vec<f32> = grad.iter().zip(&mask).filter(|(_, m)| **m).map(|(g, _)| *g).collect();
    let mask = RawTensor::from_vec("test", mask, [n, width]).unwrap();
    let selected = masked_select(&grad_tensor, &mask).unwrap();
    assert!(selected.to_vec::<f32>().unwrap() == kept);
    assert!(
        index(
            &grad_tensor,
            &unbind(&nonzero(&mask).unwrap(), 1).unwrap().into_iter().map(Some).collect::<Vec<_>>()
        )
        .unwrap()
        .to_vec::<f32>()
        .unwrap()
            == kept
    );
    let back = masked_scatter(&grad_tensor, &mask, &selected).unwrap();
    assert!(back.to_vec::<f32>().unwrap() == grad);
    // Mirrored and cut.
    let flipped = flip(&flip(&grad_tensor, &[0, 1]).unwrap(), &[0, 1]).unwrap();
    assert!(flipped.to_vec::<f32>().unwrap() == grad);
    let (low, high) = (tril(&grad_tensor, -5).unwrap(), triu(&grad_tensor, -4).unwrap());
    let both = elementwise::binary(elementwise::BinaryOp::Add, &low, &high).unwrap();
    assert!(both.to_vec::<f32>().unwrap() == grad);
}
