//! The zip container: `NAME/data.pkl` with the objects, `NAME/data/KEY` with each storage, `NAME/byteorder`.

use std::io::{Read, Seek, Write};

use flate2::Crc;

use crate::elements::{ByteOrder, read_storage, write_storage};
use crate::fault::{Outcome, unsupported, wrong};
use crate::pickle::{self, Pickler, StorageRef, StorageSpec};
use crate::value::Value;
use crate::zip::{Archive, Writer};

/// Storages begin at multiples of it, so that they can be mapped into memory.
const ALIGNMENT: u64 = 64;

pub(super) fn read(source: impl Read + Seek) -> Outcome<Value> {
    let mut archive = Archive::open(source)?;
    let Some(folder) =
        archive.names().next().and_then(|name| name.split_once('/')).map(|(f, _)| f.to_owned())
    else {
        return wrong("a zip archive without the folder of a checkpoint");
    };
    let inside = |name: &str| format!("{folder}/{name}");
    if archive.size(&inside("constants.pkl")).is_some() {
        return unsupported("a TorchScript archive, which holds a program, and not a checkpoint");
    }
    if archive.size(&inside("data.pkl")).is_none() {
        return wrong(format!("a zip archive without {:?}, not a checkpoint", inside("data.pkl")));
    }
    let order = match archive.size(&inside("byteorder")) {
        None => ByteOrder::Little,
        Some(_) => match archive.read(&inside("byteorder"), 16)?.as_slice() {
            b"little" => ByteOrder::Little,
            b"big" => ByteOrder::Big,
            other => return wrong(format!("the byte order \"{}\"", other.escape_ascii())),
        },
    };
    let program = archive.read(&inside("data.pkl"), pickle::MAX_PICKLE)?;
    let pickled = pickle::run(&program)?;
    let mut storages = Vec::new();
    for spec in &pickled.storages {
        let StorageSpec { key, dtype: Some(dtype), used: true, .. } = spec else {
            storages.push(None);
            continue;
        };
        let name = inside(&format!("data/{key}"));
        let storage = archive.member(&name, |source, size| {
            let width = if spec.untyped { 1 } else { dtype.size() };
            let promised = (spec.count as u64).checked_mul(width as u64);
            if promised != Some(size) || size % dtype.size() as u64 != 0 {
                let count = spec.count;
                return wrong(format!("it has {size} bytes, not those of {count} elements of type {dtype}"));
            }
            read_storage(source, *dtype, size as usize / dtype.size(), order)
        })?;
        storages.push(Some(storage));
    }
    pickle::to_value(&pickled, &storages)
}

pub(super) fn write(sink: impl Write + Seek, value: &Value, folder: &str) -> Outcome<()> {
    let (program, storages) = Pickler::new(StorageRef::Short).pickle(value)?;
    let mut archive = Writer::new(sink, ALIGNMENT);
    let inside = |name: &str| format!("{folder}/{name}");
    let mut identity = Crc::new();
    identity.update(&archive.bytes(&inside("data.pkl"), &program)?.to_le_bytes());
    archive.bytes(&inside(".format_version"), b"1")?;
    archive.bytes(&inside(".storage_alignment"), ALIGNMENT.to_string().as_bytes())?;
    archive.bytes(&inside("byteorder"), b"little")?;
    for (number, (storage, dtype)) in storages.iter().enumerate() {
        let name = inside(&format!("data/{number}"));
        let size = (storage.bytes() / dtype.size() * dtype.size()) as u64;
        let crc = archive.member(&name, size, |mut sink| write_storage(&mut sink, storage, *dtype))?;
        identity.update(&crc.to_le_bytes());
    }
    archive.bytes(&inside("version"), b"3\n")?;
    // Forty digits that tell contents apart, as PyTorch's; here the same content always has the same ones.
    let identity = format!("{:020}{:020}", program.len(), identity.sum());
    archive.bytes(&inside(".data/serialization_id"), identity.as_bytes())?;
    archive.finish()
}
