//! Writing pickles of protocol 2, of the opcodes and names that `torch.load(weights_only=True)` reads.

use std::collections::HashMap;

use kiln_autograd::kiln_ops::{Storage, to_device};
use kiln_autograd::{DType, Device, RawTensor, Tensor};

use super::MAX_DEPTH;
use crate::dict::{Dict, Key};
use crate::fault::{Outcome, unsupported, wrong};
use crate::value::Value;

/// How a storage is referred to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StorageRef {
    /// Five parts: the zip container's.
    Short,
    /// Six, with a view that is never there: the legacy container's.
    Long,
}

/// Turns values into a pickle and collects the storages of their tensors.
pub(crate) struct Pickler {
    form: StorageRef,
    out: Vec<u8>,
    /// In the order of their numbers, which are their keys in the file.
    storages: Vec<(Storage, DType)>,
    places: HashMap<usize, usize>,
    /// The memo places of what was written, by tensor and whether as a parameter: a tensor that occurs twice stays one.
    written: HashMap<(usize, bool), u32>,
    /// Copies on the host of what lies elsewhere, by the storage's number; they live as long as the storages are needed.
    copies: HashMap<usize, RawTensor>,
}

impl Pickler {
    /// A pickler that has written nothing.
    pub(crate) fn new(form: StorageRef) -> Pickler {
        Pickler {
            form,
            out: Vec::new(),
            storages: Vec::new(),
            places: HashMap::new(),
            written: HashMap::new(),
            copies: HashMap::new(),
        }
    }

    /// The pickle of a value, and the storages it refers to by their numbers.
    pub(crate) fn pickle(mut self, value: &Value) -> Outcome<(Vec<u8>, Vec<(Storage, DType)>)> {
        self.out.extend([0x80, 2]);
        self.value(value, 0)?;
        self.out.push(b'.');
        Ok((self.out, self.storages))
    }

    fn value(&mut self, value: &Value, depth: usize) -> Outcome<()> {
        if depth > MAX_DEPTH {
            return wrong(format!("more than {MAX_DEPTH} containers inside each other cannot be saved"));
        }
        match value {
            Value::None => self.out.push(b'N'),
            Value::Bool(b) => self.flag(*b),
            Value::Int(n) => self.int(*n),
            Value::BigInt(n) => self.long(n.to_le_bytes())?,
            Value::Float(x) => {
                self.out.push(b'G');
                self.out.extend(x.to_be_bytes());
            }
            Value::Str(text) => self.text(text)?,
            Value::Bytes(bytes) => {
                let text: String = bytes.iter().map(|&b| char::from(b)).collect();
                self.global("_codecs", "encode");
                self.text(&text)?;
                self.text("latin1")?;
                self.out.extend([0x86, b'R']);
            }
            Value::List(items) => {
                self.out.extend(*b"](");
                items.iter().try_for_each(|item| self.value(item, depth + 1))?;
                self.out.push(b'e');
            }
            Value::Tuple(items) => {
                self.out.push(b'(');
                items.iter().try_for_each(|item| self.value(item, depth + 1))?;
                self.out.push(b't');
            }
            Value::Set(items) => {
                self.global("__builtin__", "set");
                self.out.extend(*b"](");
                items.iter().try_for_each(|key| self.key(key, depth + 1))?;
                self.out.extend([b'e', 0x85, b'R']);
            }
            Value::Dict(dict) => {
                self.out.push(b'}');
                self.entries(dict, depth)?;
            }
            Value::OrderedDict(dict) => {
                self.global("collections", "OrderedDict");
                self.out.extend(*b")R");
                self.entries(dict, depth)?;
            }
            Value::Size(sizes) => {
                self.global("torch", "Size");
                self.sizes(sizes)?;
                self.out.extend([0x85, b'R']);
            }
            Value::Tensor(tensor) => self.once(tensor, false)?,
            Value::Parameter(tensor) => self.once(tensor, true)?,
            Value::DType(dtype) => self.global("torch", dtype.name()),
            Value::Device(name) => {
                self.global("torch", "device");
                let (kind, index) =
                    name.split_once(':').map_or((name.as_str(), None), |(k, i)| (k, i.parse().ok()));
                self.text(kind)?;
                match index {
                    Some(index) => {
                        self.int(index);
                        self.out.extend([0x86, b'R']);
                    }
                    None => self.out.extend([0x85, b'R']),
                }
            }
        }
        Ok(())
    }

    fn entries(&mut self, dict: &Dict, depth: usize) -> Outcome<()> {
        self.out.push(b'(');
        for (key, value) in dict.iter() {
            self.key(key, depth + 1)?;
            self.value(value, depth + 1)?;
        }
        self.out.push(b'u');
        Ok(())
    }

    fn key(&mut self, key: &Key, depth: usize) -> Outcome<()> {
        match key {
            Key::Str(text) => self.text(text),
            other => self.value(&other.clone().into(), depth),
        }
    }

    fn flag(&mut self, flag: bool) {
        self.out.push(if flag { 0x88 } else { 0x89 });
    }

    fn int(&mut self, n: i64) {
        if let Ok(n) = u8::try_from(n) {
            self.out.extend([b'K', n]);
        } else if let Ok(n) = i32::try_from(n) {
            self.out.push(b'J');
            self.out.extend(n.to_le_bytes());
        } else {
            self.out.extend([0x8a, 8]);
            self.out.extend(n.to_le_bytes());
        }
    }

    fn long(&mut self, bytes: &[u8]) -> Outcome<()> {
        let Ok(length) = u8::try_from(bytes.len()) else {
            return unsupported(format!(
                "an integer of {} bytes cannot be saved: PyTorch reads 255",
                bytes.len()
            ));
        };
        self.out.extend([0x8a, length]);
        self.out.extend(bytes);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Outcome<()> {
        let Ok(length) = u32::try_from(text.len()) else {
            return unsupported(format!("a text of {} bytes cannot be saved", text.len()));
        };
        self.out.push(b'X');
        self.out.extend(length.to_le_bytes());
        self.out.extend(text.as_bytes());
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) {
        self.out.push(b'c');
        for line in [module, name] {
            self.out.extend(line.as_bytes());
            self.out.push(b'\n');
        }
    }

    fn no_hooks(&mut self) {
        self.global("collections", "OrderedDict");
        self.out.extend(*b")R");
    }

    fn sizes(&mut self, sizes: &[usize]) -> Outcome<()> {
        self.out.push(b'(');
        sizes.iter().try_for_each(|&n| match i64::try_from(n) {
            Ok(n) => {
                self.int(n);
                Ok(())
            }
            Err(_) => wrong(format!("a size of {n} cannot be saved")),
        })?;
        self.out.push(b't');
        Ok(())
    }

    /// A tensor or a reference to where it was written before.
    fn once(&mut self, tensor: &Tensor, parameter: bool) -> Outcome<()> {
        if let Some(place) = self.written.get(&(tensor.id(), parameter)) {
            self.out.push(b'j');
            self.out.extend(place.to_le_bytes());
            return Ok(());
        }
        if parameter {
            self.global("torch._utils", "_rebuild_parameter");
            self.out.push(b'(');
        }
        self.tensor(tensor)?;
        if parameter {
            self.flag(tensor.requires_grad());
            self.no_hooks();
            self.out.extend(*b"tR");
        }
        let place = self.written.len() as u32;
        self.written.insert((tensor.id(), parameter), place);
        self.out.push(b'r');
        self.out.extend(place.to_le_bytes());
        Ok(())
    }

    fn tensor(&mut self, tensor: &Tensor) -> Outcome<()> {
        let raw = self.on_host(tensor)?;
        let (storage, dtype) = (raw.storage(), raw.dtype());
        let number = match self.places.get(&storage.id()) {
            Some(&number) => number,
            None => {
                self.places.insert(storage.id(), self.storages.len());
                self.storages.push((storage.clone(), dtype));
                self.storages.len() - 1
            }
        };
        let known = self.storages[number].1;
        if known != dtype {
            return unsupported(format!(
                "cannot save multiple tensors that view the same data as different types ({known} and {dtype})"
            ));
        }
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.out.extend(*b"((");
        self.text("storage")?;
        self.global("torch", storage_class(dtype)?);
        self.text(&number.to_string())?;
        self.text("cpu")?;
        let count = storage.bytes() / dtype.size();
        self.sizes_item(count)?;
        if self.form == StorageRef::Long {
            self.out.push(b'N');
        }
        self.out.extend(*b"tQ");
        self.sizes_item(raw.layout().offset())?;
        self.sizes(raw.shape())?;
        self.sizes(raw.layout().strides())?;
        self.flag(tensor.requires_grad());
        self.no_hooks();
        self.out.extend(*b"tR");
        Ok(())
    }

    fn sizes_item(&mut self, n: usize) -> Outcome<()> {
        match i64::try_from(n) {
            Ok(n) => {
                self.int(n);
                Ok(())
            }
            Err(_) => wrong(format!("a size of {n} cannot be saved")),
        }
    }

    /// The tensor, or a copy of one that lies on another device; there, tensors that share memory become separate.
    fn on_host(&mut self, tensor: &Tensor) -> Outcome<RawTensor> {
        let raw = tensor.raw().clone();
        if raw.device().is_cpu() {
            return Ok(raw);
        }
        if let Some(copy) = self.copies.get(&tensor.id()) {
            return Ok(copy.clone());
        }
        let copy = to_device(&raw, Device::CPU)?;
        self.copies.insert(tensor.id(), copy.clone());
        Ok(copy)
    }
}

fn storage_class(dtype: DType) -> Outcome<&'static str> {
    Ok(match dtype {
        DType::Bool => "BoolStorage",
        DType::U8 => "ByteStorage",
        DType::I8 => "CharStorage",
        DType::I16 => "ShortStorage",
        DType::I32 => "IntStorage",
        DType::I64 => "LongStorage",
        DType::F16 => "HalfStorage",
        DType::BF16 => "BFloat16Storage",
        DType::F32 => "FloatStorage",
        DType::F64 => "DoubleStorage",
        other => return unsupported(format!("{other} tensors cannot be saved")),
    })
}
