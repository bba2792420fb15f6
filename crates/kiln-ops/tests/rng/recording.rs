//! A recording: a JSON file of cases and a safetensors file of values.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

pub struct Recording {
    json: Value,
    /// Leaked, so that the views can borrow it: a test reads each file once.
    tensors: Option<SafeTensors<'static>>,
}

impl Recording {
    pub fn open(folder: &Path, name: &str) -> Recording {
        let json = fs::read(folder.join(format!("{name}.json"))).expect("a recording");
        let json: Value = serde_json::from_slice(&json).expect("JSON");
        let tensors = json["tensors"].as_str().map(|file| {
            let bytes = fs::read(folder.join(file)).expect("the recording's tensors");
            SafeTensors::deserialize(bytes.leak()).expect("safetensors")
        });
        Recording { json, tensors }
    }

    pub fn cases(&self) -> &[Value] {
        self.json["cases"].as_array().expect("cases")
    }

    pub fn tensor(&self, key: &str) -> TensorView<'_> {
        let tensors = self.tensors.as_ref().expect("a recording with tensors");
        tensors.tensor(key).unwrap_or_else(|e| panic!("{key}: {e}"))
    }

    pub fn bytes(&self, key: &str) -> &[u8] {
        self.tensor(key).data()
    }

    pub fn shape(&self, key: &str) -> Vec<usize> {
        self.tensor(key).shape().to_vec()
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string"))
}

pub fn u(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no index")) as usize
}

/// An element type of a recording.
pub trait Recorded: Copy + std::fmt::Debug {
    const DTYPE: Dtype;
    const ZERO: Self;
    fn read(bytes: &[u8]) -> Self;
    fn bits(self) -> u64;
    fn number(self) -> f64;
}

macro_rules! recorded {
    ($($t:ident $dtype:ident $zero:expr, |$x:ident| $bits:expr, $number:expr;)*) => { $(
        impl Recorded for $t {
            const DTYPE: Dtype = Dtype::$dtype;
            const ZERO: Self = $zero;
            fn read(bytes: &[u8]) -> Self {
                $t::from_le_bytes(bytes.try_into().expect("an element"))
            }
            fn bits(self) -> u64 {
                let $x = self;
                $bits
            }
            fn number(self) -> f64 {
                let $x = self;
                $number
            }
        }
    )* };
}
recorded! {
    u8 U8 0, |x| x.into(), x.into();
    i8 I8 0, |x| x as u64, x.into();
    i16 I16 0, |x| x as u64, x.into();
    i32 I32 0, |x| x as u64, x.into();
    i64 I64 0, |x| x as u64, x as f64;
    f16 F16 f16::ZERO, |x| x.to_bits().into(), x.into();
    bf16 BF16 bf16::ZERO, |x| x.to_bits().into(), x.into();
    f32 F32 0.0, |x| x.to_bits().into(), x.into();
    f64 F64 0.0, |x| x.to_bits(), x;
}
impl Recorded for bool {
    const DTYPE: Dtype = Dtype::BOOL;
    const ZERO: Self = false;
    fn read(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
    fn bits(self) -> u64 {
        self.into()
    }
    fn number(self) -> f64 {
        self.into()
    }
}

pub fn values<T: Recorded>(view: &TensorView<'_>) -> Vec<T> {
    assert_eq!(view.dtype(), T::DTYPE);
    view.data().chunks_exact(view.dtype().bitsize() / 8).map(T::read).collect()
}
