//! What several tests share.

use std::path::{Path, PathBuf};

use kiln_autograd::{DType, Result, Tensor, bf16, f16};
use kiln_io::{Container, Dict, Value, to_bytes};

/// A folder beside the repository with specimens, or a notice that they are left out.
pub fn shared(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

/// A tensor of every dtype, with the ends of its range.
pub fn every_dtype() -> Result<Vec<(String, Tensor)>> {
    let tensors = [
        Tensor::from_vec(vec![true, false, true], [3])?,
        Tensor::from_vec(vec![0u8, 255, 17], [3])?,
        Tensor::from_vec(vec![i8::MIN, i8::MAX], [2])?,
        Tensor::from_vec(vec![i16::MIN, i16::MAX, 300], [3])?,
        Tensor::from_vec(vec![i32::MIN, i32::MAX], [2, 1])?,
        Tensor::from_vec(vec![i64::MIN, i64::MAX, 9007199254740993], [1, 3])?,
        Tensor::from_vec(vec![f16::MAX, f16::NEG_INFINITY, f16::from_f32(-0.0), f16::from_bits(1)], [4])?,
        Tensor::from_vec(vec![bf16::MAX, bf16::INFINITY, bf16::from_f32(-0.0), bf16::from_bits(1)], [4])?,
        Tensor::from_vec(vec![1.5f32, f32::NAN, f32::INFINITY, -0.0, f32::from_bits(1)], [5])?,
        Tensor::from_vec(vec![0.1f64, f64::NEG_INFINITY, f64::MAX, f64::from_bits(1)], [2, 2])?,
    ];
    assert_eq!(tensors.len(), DType::ALL.len());
    Ok(tensors.into_iter().map(|t| (t.dtype().name().to_owned(), t)).collect())
}

/// A value of every kind, nested, with tensors that share memory.
pub fn every_kind() -> Result<Value> {
    let base = Tensor::from_vec((0..24).map(|i| i as f32).collect(), [4, 6])?;
    let mut keys = Dict::new();
    keys.insert(7, "an integer as key");
    keys.insert(true, "a bool as key");
    keys.insert("ü 漢字", "a text as key");
    keys.insert(kiln_io::Key::Tuple(vec![1.into(), "a".into()]), "a tuple as key");
    let parameter = Value::Parameter(Tensor::ones([2, 2]).requires_grad_(true)?);
    Ok(Value::dict([
        ("none", Value::None),
        ("bools", vec![true, false].into()),
        ("ints", vec![0i64, 1, 255, 256, 65536, -1, -129, i64::from(i32::MIN), i64::MAX, i64::MIN].into()),
        ("big", u64::MAX.into()),
        ("floats", vec![0.0, -0.0, 0.1, 1e300, f64::INFINITY, f64::NEG_INFINITY].into()),
        ("texts", vec!["", "plain", "ü 漢字 😀", "line\nline"].into()),
        ("bytes", Value::Bytes((0..=255).collect())),
        ("no bytes", Value::Bytes(Vec::new())),
        ("tuple", (1, (2.5, "three")).into()),
        ("one", Value::Tuple(vec![1.into()])),
        ("unit", Value::Tuple(Vec::new())),
        ("empty list", Value::List(Vec::new())),
        ("set", Value::Set(vec![1.into(), "b".into()])),
        ("size", Value::Size(vec![2, 0, 3])),
        ("dtype", DType::BF16.into()),
        ("cpu", Value::Device("cpu".to_owned())),
        ("cuda", Value::Device("cuda:1".to_owned())),
        ("keys", Value::Dict(keys)),
        ("ordered", Value::state_dict(every_dtype()?)),
        ("base", (&base).into()),
        ("transposed", base.transpose(0, 1)?.into()),
        ("row", base.narrow(0, 2, 1)?.into()),
        ("expanded", base.narrow(1, 3, 1)?.expand([4, 5])?.into()),
        ("scalar", Tensor::from_vec(vec![3.25f64], &[][..])?.into()),
        ("no elements", Tensor::zeros([0, 3]).into()),
        ("parameter", parameter.clone()),
        ("frozen", Value::Parameter(Tensor::ones(2))),
        ("leaf", Tensor::ones(2).requires_grad_(true)?.into()),
        ("tied", parameter),
    ]))
}

/// A legacy file with `program` as the pickle of its objects.
pub fn legacy(program: &[u8]) -> Vec<u8> {
    let whole = to_bytes(&Value::None, Container::Legacy).unwrap();
    let none = b"\x80\x02N.";
    let at = whole.windows(none.len()).position(|w| w == none).unwrap();
    [&whole[..at], program, &whole[at + none.len()..]].concat()
}
