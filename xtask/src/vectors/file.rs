//! One vector file: the operator, its cases, and the tensors as little-endian bytes.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::case::{Case, View};
use super::compare::Values;

/// The element types that vectors use, by PyTorch's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(try_from = "String")]
#[allow(missing_docs)] // the names say it
pub enum DType {
    Bool,
    Uint8,
    Int8,
    Int16,
    Int32,
    Int64,
    Float16,
    Bfloat16,
    Float32,
    Float64,
    Complex64,
    Complex128,
}

const NAMES: &[(DType, &str)] = &[
    (DType::Bool, "bool"),
    (DType::Uint8, "uint8"),
    (DType::Int8, "int8"),
    (DType::Int16, "int16"),
    (DType::Int32, "int32"),
    (DType::Int64, "int64"),
    (DType::Float16, "float16"),
    (DType::Bfloat16, "bfloat16"),
    (DType::Float32, "float32"),
    (DType::Float64, "float64"),
    (DType::Complex64, "complex64"),
    (DType::Complex128, "complex128"),
];

impl DType {
    /// The type that PyTorch's name stands for.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = NAMES.iter().find(|(_, n)| *n == name);
        found.map(|(d, _)| *d).with_context(|| format!("no dtype named {name:?}"))
    }

    /// PyTorch's name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(d, _)| *d == self).map_or("", |(_, n)| n)
    }

    /// Whether values are compared with a tolerance.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float16 | Self::Bfloat16 | Self::Float32 | Self::Float64)
    }

    /// Whether elements have two parts.
    pub fn is_complex(self) -> bool {
        matches!(self, Self::Complex64 | Self::Complex128)
    }

    /// The type that a file names.
    pub(crate) fn from_file(dtype: Dtype) -> Result<Self> {
        Ok(match dtype {
            Dtype::BOOL => Self::Bool,
            Dtype::U8 => Self::Uint8,
            Dtype::I8 => Self::Int8,
            Dtype::I16 => Self::Int16,
            Dtype::I32 => Self::Int32,
            Dtype::I64 => Self::Int64,
            Dtype::F16 => Self::Float16,
            Dtype::BF16 => Self::Bfloat16,
            Dtype::F32 => Self::Float32,
            Dtype::F64 => Self::Float64,
            other => bail!("vectors do not use {other:?}"),
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A tensor as the file holds it: contiguous, little-endian.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<'a> {
    /// Element type.
    pub dtype: DType,
    /// Shape.
    pub shape: Vec<usize>,
    /// The elements.
    pub bytes: &'a [u8],
}

impl Stored<'_> {
    /// The elements as numbers: floats as f64, integers and booleans as i64. Both conversions are exact.
    pub fn values(&self) -> Values {
        fn each<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
            bytes.as_chunks::<N>().0.iter().map(|&b| convert(b)).collect()
        }
        let b = self.bytes;
        match self.dtype {
            DType::Bool | DType::Uint8 => Values::Int(each(b, |[v]| i64::from(v))),
            DType::Int8 => Values::Int(each(b, |v| i64::from(i8::from_le_bytes(v)))),
            DType::Int16 => Values::Int(each(b, |v| i64::from(i16::from_le_bytes(v)))),
            DType::Int32 => Values::Int(each(b, |v| i64::from(i32::from_le_bytes(v)))),
            DType::Int64 => Values::Int(each(b, i64::from_le_bytes)),
            DType::Float16 => Values::Float(each(b, |v| f16::from_le_bytes(v).to_f64())),
            DType::Bfloat16 => Values::Float(each(b, |v| bf16::from_le_bytes(v).to_f64())),
            DType::Float32 | DType::Complex64 => Values::Float(each(b, |v| f64::from(f32::from_le_bytes(v)))),
            DType::Float64 | DType::Complex128 => Values::Float(each(b, f64::from_le_bytes)),
        }
    }
}

/// An input as the call sees it: with a view applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Element type.
    pub dtype: DType,
    /// Shape of the view.
    pub shape: Vec<usize>,
    /// The elements, in row-major order of the shape.
    pub values: Values,
}

/// A vector file.
pub struct OpFile {
    /// The operator's name, with dots.
    pub op: String,
    /// The PyTorch function that was called.
    pub target: String,
    /// 1, 2 or 3: how central the operator is.
    pub tier: u32,
    /// Other names of the operator.
    pub aliases: Vec<String>,
    /// The method form, or empty.
    pub method_target: String,
    /// The in-place form, `kwarg:inplace`, or empty.
    pub inplace_target: String,
    /// The recorded calls.
    pub cases: Vec<Case>,
    bytes: Vec<u8>,
    tensors: HashMap<String, (DType, Vec<usize>, Range<usize>)>,
}

impl OpFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(bytes).with_context(|| format!("{} is not a vector file", path.display()))
    }

    /// Reads the bytes of a file.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let metadata = header.metadata().as_ref().context("the file has no __metadata__")?;
        let text = |key: &str| metadata.get(key).with_context(|| format!("__metadata__ has no {key:?}"));
        ensure!(text("format")? == "1", "format {:?}, expected 1", text("format")?);

        let mut tensors = HashMap::new();
        for (name, view) in SafeTensors::deserialize(&bytes)?.iter() {
            // The views borrow from `bytes`; a range of it can live beside it.
            let start = view.data().as_ptr().addr() - bytes.as_ptr().addr();
            let range = start..start + view.data().len();
            tensors.insert(name.to_owned(), (DType::from_file(view.dtype())?, view.shape().to_vec(), range));
        }
        Ok(Self {
            op: text("op")?.clone(),
            target: text("target")?.clone(),
            tier: text("tier")?.parse().context("tier")?,
            aliases: serde_json::from_str(text("aliases")?).context("aliases")?,
            method_target: text("method_target")?.clone(),
            inplace_target: text("inplace_target")?.clone(),
            cases: serde_json::from_str(text("cases")?).context("cases")?,
            tensors,
            bytes,
        })
    }

    /// The tensor `<id>/<part>` of a case, such as `in/0`, `out/1`, `gradgrad/cotangent/0`.
    pub fn tensor(&self, case: &Case, part: &str) -> Result<Stored<'_>> {
        self.find(case, part).with_context(|| format!("the file has no {}/{part}", case.id))
    }

    /// The same, where the tensor may be absent.
    pub fn find(&self, case: &Case, part: &str) -> Option<Stored<'_>> {
        let (dtype, shape, range) = self.tensors.get(&format!("{}/{part}", case.id))?;
        Some(Stored { dtype: *dtype, shape: shape.clone(), bytes: self.bytes.get(range.clone())? })
    }

    /// Input `k` as the call sees it. What is stored for a strided input is its base: see [`tensor`](Self::tensor) and
    /// the input's `view`.
    pub fn input(&self, case: &Case, k: usize) -> Result<Input> {
        let described = case.input(k)?;
        let stored = self.tensor(case, &format!("in/{k}"))?;
        let values = match &described.view {
            None => stored.values(),
            Some(view) => stored.values().select(&positions(view)?)?,
        };
        ensure!(
            stored.dtype == described.dtype,
            "input {k} is {}, described as {}",
            stored.dtype,
            described.dtype
        );
        let shape = described.shape.clone();
        ensure!(
            Some(values.len()) == elements(&shape),
            "input {k} has {} values for {shape:?}",
            values.len()
        );
        Ok(Input { dtype: described.dtype, shape, values })
    }
}

/// The number of elements of a shape, unless it overflows.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

/// Where each element of a view lies in its base, in row-major order of the view.
fn positions(view: &View) -> Result<Vec<usize>> {
    const LIMIT: usize = 1 << 24;
    let count = elements(&view.size).filter(|&n| n <= LIMIT).context("a view too large to be true")?;
    ensure!(view.size.len() == view.stride.len(), "a view with {:?} and {:?}", view.size, view.stride);
    let mut found = Vec::with_capacity(count);
    for flat in 0..count {
        let (mut rest, mut at) = (flat, view.offset);
        for (&size, &stride) in view.size.iter().zip(&view.stride).rev() {
            at = (rest % size)
                .checked_mul(stride)
                .and_then(|o| at.checked_add(o))
                .context("a view out of range")?;
            rest /= size;
        }
        found.push(at);
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    /// A file of the operator `neg` with a float32 case on a strided input and an int64 case.
    pub(crate) fn neg_file() -> Vec<u8> {
        let cases = r#"[
            {"id": "float32-strided-00", "kind": "strided", "dtype": "float32", "args": [{"tensor": 0}], "kwargs": {},
             "inputs": [{"ref": 0, "dtype": "float32", "shape": [2, 2], "requires_grad": false,
                         "view": {"base_shape": [5], "size": [2, 2], "stride": [1, 2], "offset": 1}}],
             "outputs": 1, "out_info": [{"dtype": "float32", "shape": [2, 2]}], "result": {"tensor": 0},
             "inplace_variant": true, "method_variant": true, "tol": {"rtol": 1e-5, "atol": 1e-6},
             "nondeterministic": false, "raises": null},
            {"id": "int64-sample-00", "kind": "sample", "dtype": "int64", "args": [{"tensor": 0}], "kwargs": {},
             "inputs": [{"ref": 0, "dtype": "int64", "shape": [], "requires_grad": false}],
             "outputs": 1, "out_info": [{"dtype": "int64", "shape": []}], "result": {"tensor": 0},
             "inplace_variant": true, "method_variant": true, "tol": {"rtol": 0.0, "atol": 0.0},
             "nondeterministic": false, "raises": null}
        ]"#;
        let floats = |v: &[f32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let base = floats(&[9.0, 1.0, 2.0, 3.0, 4.0]);
        let out = floats(&[-1.0, -3.0, -2.0, -4.0]);
        let (one, minus) = (1i64.to_le_bytes(), (-1i64).to_le_bytes());
        let view =
            |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).expect("sizes fit");
        let tensors = [
            ("float32-strided-00/in/0", view(Dtype::F32, &[5], &base)),
            ("float32-strided-00/out/0", view(Dtype::F32, &[2, 2], &out)),
            ("int64-sample-00/in/0", view(Dtype::I64, &[], &one)),
            ("int64-sample-00/out/0", view(Dtype::I64, &[], &minus)),
        ];
        let metadata = [
            ("format", "1"),
            ("op", "neg"),
            ("target", "torch.neg"),
            ("tier", "1"),
            ("aliases", r#"["negative"]"#),
            ("method_target", "torch.Tensor.neg"),
            ("inplace_target", "torch.Tensor.neg_"),
            ("cases", cases),
        ];
        // Which hash map the crate takes depends on its features.
        let metadata = metadata.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        safetensors::serialize(tensors, Some(metadata)).expect("a valid file")
    }

    #[test]
    fn a_file_gives_its_operator_cases_and_tensors() {
        let file = OpFile::parse(neg_file()).expect("a valid file");
        assert_eq!((file.op.as_str(), file.tier, file.aliases.len()), ("neg", 1, 1));
        let case = &file.cases[0];
        let base = file.tensor(case, "in/0").expect("stored");
        assert_eq!((base.dtype, base.shape.as_slice()), (DType::Float32, &[5][..]));
        let input = file.input(case, 0).expect("described");
        assert_eq!(input.values, Values::Float(vec![1.0, 3.0, 2.0, 4.0]));
        assert!(file.input(case, 1).is_err());
        assert!(file.find(case, "grad/0").is_none());
        assert_eq!(file.input(&file.cases[1], 0).expect("described").values, Values::Int(vec![1]));
    }

    #[test]
    fn broken_files_are_errors() {
        let good = neg_file();
        assert!(OpFile::parse(Vec::new()).is_err());
        assert!(OpFile::parse(good[..good.len() - 1].to_vec()).is_err());
        assert!(OpFile::parse(good[..40].to_vec()).is_err());
        let with = |from: &str, to: &str| {
            let text: Vec<u8> = good.clone();
            let at = text.windows(from.len()).position(|w| w == from.as_bytes()).expect("the text is there");
            [&text[..at], to.as_bytes(), &text[at + from.len()..]].concat()
        };
        assert!(OpFile::parse(with("torch.neg", "torch.abs")).is_ok());
        assert!(OpFile::parse(with("sample\\\"", "foobar\\\"")).is_err(), "an unknown kind");
        assert!(OpFile::parse(with("\\\"stride\\\"", "\\\"string\\\"")).is_err(), "a view without strides");
    }

    #[test]
    fn a_view_outside_its_base_is_an_error() {
        let view = |size: &[usize], stride: &[usize], offset| View {
            base_shape: vec![5],
            size: size.to_vec(),
            stride: stride.to_vec(),
            offset,
        };
        assert_eq!(positions(&view(&[2, 3], &[0, 1], 1)).expect("fits"), [1, 2, 3, 1, 2, 3]);
        assert!(positions(&view(&[2], &[usize::MAX], 1)).is_err());
        assert!(positions(&view(&[1 << 40], &[0], 0)).is_err());
        assert!(positions(&view(&[2, 2], &[1], 0)).is_err());
        let values = Values::Int(vec![1, 2]);
        assert!(values.select(&[2]).is_err());
    }

    #[test]
    fn every_dtype_is_read_exactly() {
        let read = |dtype, bytes: &[u8]| Stored { dtype, shape: vec![1], bytes }.values();
        assert_eq!(read(DType::Bool, &[1]), Values::Int(vec![1]));
        assert_eq!(read(DType::Uint8, &[255]), Values::Int(vec![255]));
        assert_eq!(read(DType::Int8, &[255]), Values::Int(vec![-1]));
        assert_eq!(read(DType::Int16, &[0, 128]), Values::Int(vec![-32768]));
        assert_eq!(read(DType::Int32, &[1, 0, 0, 0]), Values::Int(vec![1]));
        assert_eq!(read(DType::Int64, &i64::MIN.to_le_bytes()), Values::Int(vec![i64::MIN]));
        assert_eq!(read(DType::Float16, &[0, 0x3c]), Values::Float(vec![1.0]));
        assert_eq!(read(DType::Bfloat16, &[0x80, 0x3f]), Values::Float(vec![1.0]));
        assert_eq!(read(DType::Float32, &0.1f32.to_le_bytes()), Values::Float(vec![f64::from(0.1f32)]));
        assert_eq!(read(DType::Float64, &0.1f64.to_le_bytes()), Values::Float(vec![0.1]));
        for (dtype, name) in NAMES {
            assert_eq!(DType::from_name(name).expect("a name"), *dtype);
        }
    }
}
