//! The container before PyTorch 1.6: five pickles one after the other (a magic number, the version, the machine, the
//! objects, the keys of the storages), then each storage as a count and its elements.

use std::collections::HashMap;
use std::io::{Read, Write};

use kiln_autograd::kiln_ops::Storage;

use crate::bigint::Integer;
use crate::elements::{ByteOrder, read_storage, write_storage};
use crate::fault::{Outcome, unsupported, wrong};
use crate::pickle::{self, Pickled, Pickler, StorageRef};
use crate::value::Value;

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;

pub(super) fn read(mut source: impl Read) -> Outcome<Value> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes)?;
    let mut rest = bytes.as_slice();
    match plain(&mut rest)? {
        Value::BigInt(n) if n.to_le_bytes() == MAGIC => {}
        _ => return wrong("a pickle, but no checkpoint of PyTorch: the magic number is missing"),
    }
    match plain(&mut rest)? {
        Value::Int(VERSION) => {}
        other => return unsupported(format!("version {other} of the legacy format")),
    }
    // The machine that wrote it; elements are little-endian whatever it was.
    plain(&mut rest)?.to_dict()?;
    let pickled = program(&mut rest)?;
    let keys = plain(&mut rest)?;

    let places: HashMap<&str, usize> =
        pickled.storages.iter().enumerate().map(|(place, spec)| (spec.key.as_str(), place)).collect();
    let mut storages: Vec<Option<Storage>> = pickled.storages.iter().map(|_| None).collect();
    for key in keys.items()? {
        let key = key.to_str()?;
        let Some(&place) = places.get(key) else {
            return wrong(format!("a storage {key:?} that no tensor lies in"));
        };
        let spec = &pickled.storages[place];
        let Some(dtype) = spec.dtype else {
            return unsupported(format!("the untyped storage {key:?}"));
        };
        let Some((count, data)) = rest.split_first_chunk::<8>() else {
            return wrong(format!("the storage {key:?} is cut off"));
        };
        let (count, width) = (i64::from_le_bytes(*count), if spec.untyped { 1 } else { dtype.size() });
        if usize::try_from(count) != Ok(spec.count) || spec.count * width % dtype.size() != 0 {
            return wrong(format!(
                "the storage {key:?} has {count} elements here and {} in the pickle",
                spec.count
            ));
        }
        if storages[place].is_some() {
            return wrong(format!("the storage {key:?} is there twice"));
        }
        rest = data;
        let storage = read_storage(&mut rest, dtype, spec.count * width / dtype.size(), ByteOrder::Little);
        storages[place] = Some(storage.map_err(|fault| fault.about(&format!("the storage {key:?}")))?);
    }
    if !rest.is_empty() {
        return wrong(format!("{} bytes are left over after the storages", rest.len()));
    }
    pickle::to_value(&pickled, &storages)
}

/// Runs the pickle at the start of `rest`, and goes on behind it.
fn program<'a>(rest: &mut &'a [u8]) -> Outcome<Pickled<'a>> {
    if rest.is_empty() {
        return wrong("the file is cut off");
    }
    let pickled = pickle::run(rest)?;
    *rest = &rest[pickled.length..];
    Ok(pickled)
}

/// The value of a pickle without tensors.
fn plain(rest: &mut &[u8]) -> Outcome<Value> {
    let pickled = program(rest)?;
    let none: Vec<Option<Storage>> = pickled.storages.iter().map(|_| None).collect();
    pickle::to_value(&pickled, &none)
}

pub(super) fn write(mut sink: impl Write, value: &Value) -> Outcome<()> {
    let plain = |value: &Value| Ok(Pickler::new(StorageRef::Long).pickle(value)?.0);
    let (program, storages) = Pickler::new(StorageRef::Long).pickle(value)?;
    let sizes = Value::dict([("short", 2.into()), ("int", 4.into()), ("long", 4.into())]);
    let machine = Value::dict([
        ("protocol_version", VERSION.into()),
        ("little_endian", true.into()),
        ("type_sizes", sizes),
    ]);
    let magic = Integer::from_le(&MAGIC)?.into();
    let outcome: Outcome<()> = [&magic, &VERSION.into(), &machine].into_iter().try_for_each(|value| {
        let bytes: Outcome<Vec<u8>> = plain(value);
        Ok(sink.write_all(&bytes?)?)
    });
    outcome?;
    sink.write_all(&program)?;
    let keys: Vec<Value> = (0..storages.len()).map(|number| number.to_string().into()).collect();
    let bytes: Outcome<Vec<u8>> = plain(&Value::List(keys));
    sink.write_all(&bytes?)?;
    for (storage, dtype) in &storages {
        let count = (storage.bytes() / dtype.size()) as i64;
        sink.write_all(&count.to_le_bytes())?;
        write_storage(&mut sink, storage, *dtype)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dict::Key;

    #[test]
    fn the_machine_is_described_as_by_pytorch() {
        let mut out = Vec::new();
        write(&mut out, &Value::None).expect("memory does not fail");
        let mut rest = out.as_slice();
        let magic = plain(&mut rest).expect("a pickle");
        // torch.serialization.MAGIC_NUMBER
        assert_eq!(magic.to_string(), "119547037146038801333356");
        assert_eq!(plain(&mut rest).expect("a pickle").to_string(), "1001");
        let machine = plain(&mut rest).expect("a pickle");
        let sizes = machine.get("type_sizes").and_then(Value::to_dict).expect("a dict");
        assert_eq!(sizes.get(&Key::from("long")).map(Value::to_string), Some("4".to_owned()));
    }
}
