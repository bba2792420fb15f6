//! Values, tensors and arrays against the descriptions of their content.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use kiln_autograd::{Element, Tensor, bf16, f16, kiln_ops};
use kiln_io::{Dict, Key, Value};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// Compares what a checkpoint holds with its description.
pub fn value(value: &Value, wanted: &Json) -> Result<()> {
    Comparison::default().value(value, wanted)
}

/// Which tensors share memory, by the numbers of the description.
#[derive(Default)]
struct Comparison {
    storages: HashMap<u64, Tensor>,
}

impl Comparison {
    fn value(&mut self, value: &Value, wanted: &Json) -> Result<()> {
        let kind = wanted["type"].as_str().context("a description without a type")?;
        let plain = &wanted["value"];
        let same = match (kind, value) {
            ("none", Value::None) => true,
            ("bool", Value::Bool(b)) => plain == b,
            ("int", Value::Int(n)) => *plain == *n || plain.as_str() == Some(&n.to_string()),
            ("int", Value::BigInt(n)) => plain.as_str() == Some(&n.to_string()),
            ("float", Value::Float(x)) => {
                number(plain)?.to_bits() == x.to_bits() || (number(plain)?.is_nan() && x.is_nan())
            }
            ("str", Value::Str(s)) => plain == s,
            ("bytes", Value::Bytes(b)) => bytes(plain).is_some_and(|wanted| wanted.contains(b)),
            ("dtype", Value::DType(d)) => {
                plain.as_str().is_some_and(|s| s.trim_start_matches("torch.") == d.name())
            }
            ("device", Value::Device(d)) => plain == d,
            ("size", Value::Size(sizes)) => wanted["items"] == Json::from(sizes.clone()),
            ("set", Value::Set(keys)) => return self.set(keys, &wanted["items"]),
            ("list", Value::List(items)) | ("tuple", Value::Tuple(items)) => {
                let wanted = wanted["items"].as_array().context("a list without items")?;
                ensure!(items.len() == wanted.len(), "{} items, not {}", items.len(), wanted.len());
                for (i, (item, wanted)) in items.iter().zip(wanted).enumerate() {
                    self.value(item, wanted).with_context(|| format!("item {i}"))?;
                }
                true
            }
            ("dict", Value::Dict(dict)) | ("ordered_dict", Value::OrderedDict(dict)) => {
                return self.dict(dict, &wanted["items"]);
            }
            ("tensor", Value::Tensor(t)) | ("parameter", Value::Parameter(t)) => {
                return self.tensor(t, wanted);
            }
            _ => bail!("a {kind} became a {}", value.type_name()),
        };
        ensure!(same, "{value}, not {plain}");
        Ok(())
    }

    fn dict(&mut self, dict: &Dict, wanted: &Json) -> Result<()> {
        let wanted = wanted.as_array().context("a dict without items")?;
        ensure!(dict.len() == wanted.len(), "{} entries, not {}", dict.len(), wanted.len());
        for ((key, value), pair) in dict.iter().zip(wanted) {
            self.value(&key.clone().into(), &pair[0]).context("a key")?;
            self.value(value, &pair[1]).with_context(|| format!("the entry {key}"))?;
        }
        Ok(())
    }

    /// Elements in any order; as they are, or described.
    fn set(&mut self, keys: &[Key], wanted: &Json) -> Result<()> {
        let wanted = wanted.as_array().context("a set without items")?;
        ensure!(keys.len() == wanted.len(), "{} elements, not {}", keys.len(), wanted.len());
        for key in keys {
            let value = Value::from(key.clone());
            let is = |wanted: &Json| match &value {
                _ if wanted.is_object() => Comparison::default().value(&value, wanted).is_ok(),
                Value::Int(n) => *wanted == *n,
                Value::Str(s) => wanted == s,
                Value::Float(x) => wanted.as_f64() == Some(*x),
                Value::Bool(b) => wanted == b,
                Value::None => wanted.is_null(),
                _ => false,
            };
            ensure!(wanted.iter().any(is), "the element {key} is too many");
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &Tensor, wanted: &Json) -> Result<()> {
        elements(tensor, wanted)?;
        let strides = tensor.strides();
        ensure!(wanted["stride"] == Json::from(strides.clone()), "strides {strides:?}");
        ensure!(wanted["storage_offset"] == tensor.storage_offset(), "offset {}", tensor.storage_offset());
        ensure!(
            wanted["requires_grad"] == tensor.requires_grad(),
            "requires_grad {}",
            tensor.requires_grad()
        );
        let bytes = tensor.raw().storage().bytes();
        ensure!(wanted["storage_bytes"] == bytes, "a storage of {bytes} bytes");
        let number = wanted["storage"].as_u64().context("no storage number")?;
        let known = self.storages.entry(number).or_insert_with(|| tensor.clone()).clone();
        ensure!(known.shares_storage(tensor), "it should share the memory of storage {number}");
        let strangers = self.storages.iter().filter(|(n, _)| **n != number);
        ensure!(strangers.into_iter().all(|(_, t)| !t.shares_storage(tensor)), "it shares too much memory");
        Ok(())
    }
}

/// Compares dtype, shape and elements.
pub fn elements(tensor: &Tensor, wanted: &Json) -> Result<()> {
    let (dtype, dims) = (tensor.dtype(), tensor.dims());
    ensure!(wanted["dtype"] == dtype.name(), "dtype {dtype}, not {}", wanted["dtype"]);
    ensure!(wanted["shape"] == Json::from(dims.clone()), "shape {dims:?}, not {}", wanted["shape"]);
    let hash: String = Sha256::digest(le_bytes(tensor)?).iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(wanted["sha256"] == hash, "other elements");
    match wanted["values"].as_array() {
        Some(values) => numbers(tensor, values),
        None => Ok(()),
    }
}

/// Compares an array by the name of its element type in the file, and its elements.
pub fn array(dtype: &str, tensor: &Tensor, wanted: &Json) -> Result<()> {
    let dims = tensor.dims();
    ensure!(wanted["dtype"] == dtype, "dtype {dtype}, not {}", wanted["dtype"]);
    ensure!(wanted["shape"] == Json::from(dims.clone()), "shape {dims:?}, not {}", wanted["shape"]);
    let values = wanted["values_in_row_major_order"].as_array().context("no values")?;
    numbers(tensor, values)
}

fn numbers(tensor: &Tensor, wanted: &[Json]) -> Result<()> {
    ensure!(tensor.numel() == wanted.len(), "{} elements, not {}", tensor.numel(), wanted.len());
    if tensor.dtype().is_int() {
        let got = kiln_ops::with_dtype!(tensor.dtype(), T => ints::<T>(tensor))?;
        return got.iter().zip(wanted).try_for_each(|(got, wanted)| {
            ensure!(wanted == got, "{got}, not {wanted}");
            Ok(())
        });
    }
    let got = kiln_ops::with_dtype!(tensor.dtype(), T => floats::<T>(tensor))?;
    got.iter().zip(wanted).try_for_each(|(&got, wanted)| {
        let wanted = number(wanted)?;
        ensure!(
            got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan()),
            "{got}, not {wanted}"
        );
        Ok(())
    })
}

fn ints<T: Element>(t: &Tensor) -> Result<Vec<i64>> {
    Ok(t.to_vec::<T>()?.into_iter().map(Element::to_i64).collect())
}

fn floats<T: Element>(t: &Tensor) -> Result<Vec<f64>> {
    Ok(t.to_vec::<T>()?.into_iter().map(Element::to_f64).collect())
}

/// A number of the description: JSON has no NaN and no infinities.
fn number(json: &Json) -> Result<f64> {
    match json {
        Json::Bool(b) => Ok(f64::from(*b)),
        Json::String(s) => s.parse().with_context(|| format!("{s:?} is no number")),
        other => other.as_f64().with_context(|| format!("{other} is no number")),
    }
}

/// What a description of bytes can mean: numbers, hexadecimal digits, or characters.
fn bytes(json: &Json) -> Option<Vec<Vec<u8>>> {
    if let Json::Array(items) = json {
        let bytes: Option<Vec<u8>> = items.iter().map(|n| u8::try_from(n.as_u64()?).ok()).collect();
        return Some(vec![bytes?]);
    }
    let text = json.as_str()?;
    let mut readings = Vec::new();
    readings.extend(text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>());
    let hex = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if let (pairs, []) = text.as_bytes().as_chunks::<2>() {
        readings.extend(pairs.iter().map(hex).collect::<Option<Vec<u8>>>());
    }
    Some(readings)
}

fn le_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    use kiln_autograd::DType::*;
    macro_rules! bytes {
        ($t:ty) => {
            tensor.to_vec::<$t>()?.into_iter().flat_map(<$t>::to_le_bytes).collect()
        };
    }
    Ok(match tensor.dtype() {
        Bool => tensor.to_vec::<bool>()?.into_iter().map(u8::from).collect(),
        U8 => tensor.to_vec::<u8>()?,
        I8 => bytes!(i8),
        I16 => bytes!(i16),
        I32 => bytes!(i32),
        I64 => bytes!(i64),
        F16 => bytes!(f16),
        BF16 => bytes!(bf16),
        F32 => bytes!(f32),
        F64 => bytes!(f64),
        other => bail!("{other} tensors"),
    })
}
