//! Reading recordings of PyTorch: a JSON file of cases and a safetensors file of tensors.

use std::path::PathBuf;

use kiln_nn::{Tensor, kiln_autograd as k};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

pub(crate) struct Recording {
    pub(crate) json: Value,
    tensors: SafeTensors<'static>,
}

/// Opens `shared/conformance/FOLDER/NAME` beside the repository; says so when it is not there.
pub(crate) fn open(folder: &str, name: &str) -> Option<Recording> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|root| root.join("shared/conformance").join(folder))
        .find(|path| path.is_dir());
    let Some(path) = path else {
        eprintln!("skipped: no shared/conformance/{folder} beside the repository");
        return None;
    };
    let json = std::fs::read(path.join(format!("{name}.json"))).expect("a recording");
    let bytes = std::fs::read(path.join(format!("{name}.safetensors"))).expect("the recording's tensors");
    Some(Recording {
        json: serde_json::from_slice(&json).expect("JSON"),
        // Leaked so that views can borrow it: a test reads each file once.
        tensors: SafeTensors::deserialize(bytes.leak()).expect("safetensors"),
    })
}

impl Recording {
    pub(crate) fn cases(&self) -> &[Value] {
        self.json["cases"].as_array().expect("cases")
    }

    pub(crate) fn tensor(&self, key: &str) -> Tensor {
        let view = self.tensors.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"));
        let shape = view.shape();
        macro_rules! read {
            ($t:ty) => {{
                let size = std::mem::size_of::<$t>();
                let values = view.data().chunks_exact(size);
                Tensor::from_vec(
                    values
                        .map(|b| <$t>::from_le_bytes(b.try_into().expect("an element")))
                        .collect::<Vec<$t>>(),
                    shape,
                )
            }};
        }
        match view.dtype() {
            Dtype::F32 => read!(f32),
            Dtype::F64 => read!(f64),
            Dtype::I64 => read!(i64),
            Dtype::I32 => read!(i32),
            Dtype::U8 => read!(u8),
            Dtype::BOOL => {
                Tensor::from_vec(view.data().iter().map(|b| *b != 0).collect::<Vec<bool>>(), shape)
            }
            other => panic!("{key}: {other:?}"),
        }
        .expect("a recorded tensor")
    }
}

/// The seed of a case: an integer that may be negative or lie beyond `i64`.
pub(crate) fn seed(value: &Value) -> u64 {
    let parsed = value.as_u64().or(value.as_i64().map(|s| s as u64));
    parsed.or_else(|| value.as_str()?.parse().ok()).expect("a seed")
}

/// All elements as numbers.
pub(crate) fn numbers(t: &Tensor) -> Vec<f64> {
    k::no_grad(|| t.detach().to_dtype(k::DType::F64)).unwrap().to_vec().unwrap()
}

/// The largest error over the largest finite magnitude (at least `least`) of what is expected; infinite where shapes or
/// what is not finite differ.
pub(crate) fn deviation(got: &Tensor, want: &Tensor, least: f64) -> f64 {
    if got.dims() != want.dims() || got.dtype() != want.dtype() {
        return f64::INFINITY;
    }
    let (got, want) = (numbers(got), numbers(want));
    let scale = want.iter().filter(|x| x.is_finite()).fold(least, |m, x| m.max(x.abs()));
    got.iter()
        .zip(&want)
        .map(|(g, w)| match (g.is_finite(), w.is_finite()) {
            (true, true) => (g - w).abs() / scale,
            _ if g == w || g.is_nan() && w.is_nan() => 0.0,
            _ => f64::INFINITY,
        })
        .fold(0.0, f64::max)
}
