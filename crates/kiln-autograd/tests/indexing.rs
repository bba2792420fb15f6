//! Indexing and assignment: PyTorch's recorded calls where they are there, and rules of placement, views and errors.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_autograd::*;
use serde_json::Value;

/// The tensors and calls of a file of conformance vectors; `None`, with a notice, when the folder is not there.
fn vectors(name: &str) -> Option<(BTreeMap<String, Tensor>, Vec<Value>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/ops").join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    };
    let (_, meta) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let cases = &meta.metadata().as_ref().unwrap()["cases"];
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors = tensors.tensors().into_iter().map(|(name, view)| (name, tensor_of(&view))).collect();
    Some((tensors, serde_json::from_str(cases).unwrap()))
}

fn tensor_of(view: &safetensors::tensor::TensorView<'_>) -> Tensor {
    fn values<const N: usize, T: Element>(data: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
        data.chunks_exact(N).map(|c| read(c.try_into().unwrap())).collect()
    }
    use safetensors::Dtype as D;
    let (data, shape) = (view.data(), view.shape());
    match view.dtype() {
        D::BOOL => Tensor::from_vec(values(data, |b: [u8; 1]| b[0] != 0), shape),
        D::U8 => Tensor::from_vec(data.to_vec(), shape),
        D::I64 => Tensor::from_vec(values(data, i64::from_le_bytes), shape),
        D::I32 => Tensor::from_vec(values(data, i32::from_le_bytes), shape),
        D::F16 => Tensor::from_vec(values(data, |b| f16::from_bits(u16::from_le_bytes(b))), shape),
        D::BF16 => Tensor::from_vec(values(data, |b| bf16::from_bits(u16::from_le_bytes(b))), shape),
        D::F32 => Tensor::from_vec(values(data, f32::from_le_bytes), shape),
        D::F64 => Tensor::from_vec(values(data, f64::from_le_bytes), shape),
        other => panic!("no vectors of {other:?}"),
    }
    .unwrap()
}

fn list(v: &Value) -> Vec<i64> {
    v.as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect()
}

/// Input `k` of a case, as the strided view that it is.
fn input(tensors: &BTreeMap<String, Tensor>, case: &Value, k: usize) -> Tensor {
    let base = &tensors[&format!("{}/in/{k}", case["id"].as_str().unwrap())];
    match case["inputs"][k].get("view") {
        None => base.clone(),
        Some(view) => {
            let offset = view["offset"].as_i64();
            base.as_strided(&list(&view["size"]), &list(&view["stride"]), offset).unwrap()
        }
    }
}

/// A nested list of integers or truth values.
fn nested(v: &Value) -> Tensor {
    let items = v.as_array().unwrap();
    if items.iter().any(Value::is_boolean) {
        return Tensor::from(items.iter().map(|b| b.as_bool().unwrap()).collect::<Vec<_>>());
    }
    if items.iter().any(Value::is_array) {
        let rows: Vec<Vec<i64>> = items.iter().map(list).collect();
        return Tensor::new(rows).unwrap();
    }
    Tensor::from(list(v))
}

fn index_of(v: &Value, tensors: &dyn Fn(usize) -> Tensor) -> Vec<Index> {
    let part = |p: &Value| -> Index {
        match p {
            Value::Bool(b) => (*b).into(),
            Value::Number(n) => n.as_i64().unwrap().into(),
            Value::Array(_) => nested(p).into(),
            p if p.get("ellipsis").is_some() => Ellipsis.into(),
            p if p.get("newaxis").is_some() => NewAxis.into(),
            p if p.get("tensor").is_some() => tensors(p["tensor"].as_u64().unwrap() as usize).into(),
            p => {
                let s = &p["slice"];
                Slice::new(s[0].as_i64(), s[1].as_i64(), s[2].as_i64().unwrap_or(1)).into()
            }
        }
    };
    v["index"].as_array().unwrap().iter().map(part).collect()
}

fn assert_close(id: &str, what: &str, got: &Tensor, want: &Tensor, tol: &Value) {
    assert_eq!((got.dims(), got.dtype()), (want.dims(), want.dtype()), "{id}: {what}");
    let (rtol, atol) = (tol["rtol"].as_f64().unwrap(), tol["atol"].as_f64().unwrap());
    let read = |t: &Tensor| t.detach().to_dtype(F64).unwrap().to_vec::<f64>().unwrap();
    for (g, w) in read(got).into_iter().zip(read(want)) {
        let equal = g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= atol + rtol * w.abs();
        assert!(equal, "{id}: {what}: {g} instead of {w}");
    }
}

/// Replays a file and gives the number of calls.
fn replay(name: &str) -> usize {
    let Some((tensors, cases)) = vectors(name) else { return 0 };
    let assigns = name.starts_with("__set");
    for case in &cases {
        let id = case["id"].as_str().unwrap();
        let leaves: Vec<Tensor> = (0..case["inputs"].as_array().unwrap().len())
            .map(|k| {
                let t = input(&tensors, case, k);
                let requires = case["inputs"][k]["requires_grad"] == true;
                if requires { t.detach().requires_grad_(true).unwrap() } else { t }
            })
            .collect();
        let index = index_of(&case["args"][1], &|k| leaves[k].clone());
        let run = || -> Result<Tensor> {
            if !assigns {
                return leaves[0].i(index.as_slice());
            }
            // Assignment works in place: on a copy, so that the gradient flows to the copy's source.
            let x = leaves[0].copy()?;
            match case["args"][2].get("tensor") {
                Some(k) => x.set(index.as_slice(), &leaves[k.as_u64().unwrap() as usize])?,
                None => x.set(index.as_slice(), case["args"][2].as_f64().unwrap())?,
            }
            Ok(x)
        };
        let result = run();
        if !case["raises"].is_null() {
            assert!(result.is_err(), "{id}: should fail: {}", case["message"]);
            continue;
        }
        let y = result.unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_close(id, "result", &y, &tensors[&format!("{id}/out/0")], &case["tol"]);
        let info = &case["out_info"][0];
        if info["view_of"] == 0 {
            assert!(y.shares_storage(&leaves[0]), "{id} is a view");
            let strides: Vec<i64> = y.strides().iter().map(|&s| s as i64).collect();
            assert_eq!(strides, list(&info["stride"]), "{id}");
        }
        if let Some(cotangent) = tensors.get(&format!("{id}/cotangent/0")) {
            y.backward_with(cotangent).unwrap_or_else(|e| panic!("{id}: {e}"));
            for k in case["grads"].as_array().unwrap() {
                let k = k.as_u64().unwrap() as usize;
                let grad = leaves[k].grad().unwrap_or_else(|| panic!("{id}: no gradient of {k}"));
                assert_close(id, "gradient", &grad, &tensors[&format!("{id}/grad/{k}")], &case["grad_tol"]);
            }
        }
    }
    cases.len()
}

#[test]
fn reading_does_what_pytorch_recorded() {
    eprintln!("{} calls", replay("__getitem__.safetensors"));
}

#[test]
fn writing_does_what_pytorch_recorded() {
    eprintln!("{} calls", replay("__setitem__.safetensors"));
}

fn numbers(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    Tensor::arange(n).reshape(shape).unwrap()
}

#[test]
fn axes_of_the_result_stand_where_numpy_puts_them() {
    // Shapes of numpy and torch for x of shape (2, 3, 4, 5), i and j of shape (7,).
    let x = numbers(&[2, 3, 4, 5]);
    let i = Tensor::zeros_with(7, I64);
    let dims = |t: Result<Tensor>| t.unwrap().dims();
    assert_eq!(dims(x.i((.., &i, &i))), [2, 7, 5]);
    assert_eq!(dims(x.i((.., &i, .., &i))), [7, 2, 4]);
    assert_eq!(dims(x.i((&i, .., &i))), [7, 3, 5]);
    assert_eq!(dims(x.i((Ellipsis, &i))), [2, 3, 4, 7]);
    assert_eq!(dims(x.i((.., NewAxis, &i))), [2, 1, 7, 4, 5]);
    assert_eq!(dims(x.i((0, .., &i))), [3, 7, 5]);
    let mask = x.gt(-1).unwrap();
    assert_eq!(dims(x.i((.., &mask.i((0, .., .., 0)).unwrap()))), [2, 12, 5]);
    assert_eq!(
        dims(x.i((.., &mask.i((0, .., .., 0)).unwrap(), [0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0]))),
        [2, 12]
    );
    assert_eq!(dims(x.i(true)), [1, 2, 3, 4, 5]);
    assert_eq!(dims(x.i(false)), [0, 2, 3, 4, 5]);
    assert_eq!(dims(x.i(())), [2, 3, 4, 5]);
}

#[test]
fn bounds_follow_python() {
    let x = Tensor::arange(5);
    let v = |t: Result<Tensor>| t.unwrap().to_vec::<i64>().unwrap();
    assert_eq!(v(x.i(1..3)), [1, 2]);
    assert_eq!(v(x.i(..-1)), [0, 1, 2, 3]);
    assert_eq!(v(x.i(-2..)), [3, 4]);
    assert_eq!(v(x.i(-100..100)), [0, 1, 2, 3, 4]);
    assert_eq!(v(x.i(Slice::new(4, 2, 1))), [0i64; 0]);
    assert_eq!(v(x.i(1..=3)), [1, 2, 3]);
    assert_eq!(v(x.i(..=-1)), [0, 1, 2, 3, 4]);
    assert_eq!(v(x.i(..=-2)), [0, 1, 2, 3]);
    assert_eq!(v(x.i(s![1..; 2])), [1, 3]);
    assert_eq!(v(x.i(x.dims()[0] - 1..)), [4]);
    assert_eq!(v(x.i(vec![4usize, 0])), [4, 0]);
    assert_eq!(v(x.i([true, false, true, false, false])), [0, 2]);
    assert_eq!(x.i(tensor!(2)).unwrap().dims(), [0usize; 0]);
}

#[test]
fn views_share_memory_and_copies_do_not() {
    let x = Tensor::zeros([3, 4]);
    let row = x.i(1).unwrap();
    row.fill_(5.0).unwrap();
    assert_eq!(x.i((1, 2)).unwrap().to_f64().unwrap(), 5.0);
    assert!(x.i(..).unwrap().shares_storage(&x) && !x.i(..).unwrap().is_same(&x));
    assert!(!x.i([1]).unwrap().shares_storage(&x));
}

#[test]
fn assignment_is_recorded() {
    // x = torch.tensor([1., 2., 3.], requires_grad=True); y = x * 2; y[0] = v * 10; y[y > 5] = 0; (y * y).sum().backward()
    let x = tensor![1., 2., 3.].requires_grad_(true).unwrap();
    let v = tensor!(0.25).requires_grad_(true).unwrap();
    let y = &x * 2.0;
    y.set(0, &v * 10.0).unwrap();
    y.set(y.gt(5.0).unwrap(), 0.0).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [2.5, 4.0, 0.0]);
    (&y * &y).sum().unwrap().backward().unwrap();
    assert_eq!(x.grad().unwrap().to_vec::<f32>().unwrap(), [0.0, 16.0, 0.0]);
    assert_eq!(v.grad().unwrap().to_vec::<f32>().unwrap(), [50.0]);
}

#[test]
fn index_tensors_have_second_derivatives() {
    // d/dx of the gradient of (x[[0, 0, 2]] ** 3).sum() is diag(12, 0, 6 * 3) for x = [1, 2, 3].
    let x = tensor![1., 2., 3.].requires_grad_(true).unwrap();
    let y = x.i([0, 0, 2]).unwrap().pow(3.0).unwrap().sum().unwrap();
    let options = BackwardOptions { create_graph: true, ..Default::default() };
    let g = grad(&[&y], &[&x], &[], options, false).unwrap()[0].clone().unwrap();
    assert_eq!(g.to_vec::<f32>().unwrap(), [6.0, 0.0, 27.0]);
    let gg = grad(&[&g.sum().unwrap()], &[&x], &[], options, false).unwrap()[0].clone().unwrap();
    assert_eq!(gg.to_vec::<f32>().unwrap(), [12.0, 0.0, 18.0]);
}

#[test]
fn adding_to_repeated_positions_adds_up() {
    let x = Tensor::zeros([2, 2]);
    x.i_add_(([0, 0, 1], [1, 1, 0]), tensor![1., 2., 4.]).unwrap();
    x.i_add_((.., 0), 10.0).unwrap();
    assert_eq!(x.to_vec::<f32>().unwrap(), [10.0, 3.0, 14.0, 0.0]);
}

#[test]
fn errors_name_the_index_the_axis_and_its_size() {
    let x = Tensor::zeros([2, 3]);
    let leaf = Tensor::zeros(3).requires_grad_(true).unwrap();
    let error = |r: Result<Tensor>| r.unwrap_err().to_string();
    for (got, wants) in [
        (error(x.i((0, 3))), vec!["index 3 is out of bounds for dimension 1 with size 3"]),
        (error(x.i(-3)), vec!["index -3 is out of bounds for dimension 0 with size 2"]),
        (error(x.i((0, 0, 0))), vec!["too many indices for tensor of dimension 2", "[2, 3]"]),
        (error(x.i((Ellipsis, Ellipsis))), vec!["single ellipsis"]),
        (error(x.i((.., s![..; 0]))), vec!["step must be greater than zero", "dimension 1"]),
        (error(x.i(tensor![true, false, true])), vec!["[3] at index 0", "[2, 3] at index 0"]),
        (error(x.i(tensor![0.5, 1.])), vec!["must be long, int, byte or bool", "float32"]),
        (error(x.i((.., [0, 3]))), vec!["index 3 is out of bounds for dimension 1 with size 3"]),
        (error(x.i(([0, 1], [0, 1, 2]))), vec!["could not be broadcast together", "[2], [3]"]),
        (error(tensor!(1.).i(0)), vec!["0-dim tensor"]),
        (error(x.set(0, tensor![1., 2.]).map(|()| x.clone())), vec!["[2]", "[3]"]),
        (error(leaf.set(0, 1.0).map(|()| x.clone())), vec!["leaf Variable that requires grad"]),
        (error(leaf.set([0], 1.0).map(|()| x.clone())), vec!["leaf Variable that requires grad"]),
    ] {
        for want in wants {
            assert!(got.contains(want), "{got:?} does not say {want:?}");
        }
    }
}
