//! Good files with bytes flipped, cut out, doubled and cut off: each loads or gives an error, in bounded memory.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use kiln_autograd::kiln_ops::random::Generator;
use kiln_io::{
    Container, Value, load, load_from, load_npz, load_safetensors, read_npy, save_npy, save_npz,
    save_safetensors, to_bytes,
};

use crate::common::{every_dtype, every_kind, legacy, shared};

/// Changed copies of each file.
const ROUNDS: usize = 400;
/// How much the address space of the process may grow: all the files together have well under a megabyte.
const GROWTH: u64 = 512 << 20;

/// Numbers that lengths and counts like to be.
const NASTY: &[&[u8]] = &[
    &[0xff; 8],
    &[0; 8],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0x80],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0, 0, 1, 0, 0],
    b"(((((((((",
    b"99999999999",
];

/// The numbers of a loop: reproducible and independent of what else draws.
struct Dice(Generator);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0.next_u64() as usize % n.max(1)
    }

    fn changed(&mut self, file: &[u8]) -> Vec<u8> {
        let mut bytes = file.to_vec();
        for _ in 0..1 + self.below(3) {
            let (at, length) = (self.below(bytes.len()), 1 + self.below(12));
            let end = (at + length).min(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                2 => bytes.truncate(at),
                3 => drop(bytes.drain(at..end)),
                4 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let nasty = NASTY[self.below(NASTY.len())];
                    let end = (at + nasty.len()).min(bytes.len());
                    bytes.splice(at..end, nasty.iter().copied());
                }
            }
        }
        bytes
    }
}

/// Every file that can be had: written here, and the shared specimens.
fn files(folder: &Path) -> Vec<PathBuf> {
    let path = |name: &str| folder.join(name);
    for (name, container) in [("zip.pt", Container::Zip), ("legacy.pt", Container::Legacy)] {
        fs::write(path(name), to_bytes(&every_kind().unwrap(), container).unwrap()).unwrap();
    }
    let tensors = every_dtype().unwrap();
    let pairs = || tensors.iter().map(|(name, t)| (name.as_str(), t));
    let notes = [("note".to_owned(), "text".to_owned())].into();
    save_safetensors(pairs(), &notes, path("x.safetensors")).unwrap();
    save_npz(pairs().filter(|(name, _)| *name != "bfloat16"), path("x.npz")).unwrap();
    save_npy(&tensors[0].1, path("x.npy")).unwrap();
    let mut folders = vec![folder.to_path_buf()];
    if let Some(shared) = shared("conformance/files") {
        folders.extend(["checkpoints", "safetensors", "npy"].map(|name| shared.join(name)));
    }
    let mut found = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        found.extend(entries.filter(|p| p.extension().is_none_or(|e| e != "json")));
    }
    found.sort();
    // The checksums of the zip container notice most changes; without them the parsers behind it have to.
    for (number, path) in found.clone().iter().enumerate() {
        if let Ok(value) = load(path) {
            let bare = folder.join(format!("bare_{number}.pt"));
            fs::write(&bare, to_bytes(&value, Container::Legacy).unwrap()).unwrap();
            found.push(bare);
        }
    }
    found
}

/// Loads a file, and looks at what came: a tensor that reaches past its memory would show.
fn read(bytes: &[u8], original: &Path, scratch: &Path) -> bool {
    let extension = original.extension().and_then(|e| e.to_str()).unwrap_or("");
    match extension {
        "pt" | "pth" => load_from(Cursor::new(bytes), "changed").map(|value| touch(&value)).is_ok(),
        "npy" => read_npy(bytes, "changed").map(|array| touch(&array.tensor.into())).is_ok(),
        _ => {
            fs::write(scratch, bytes).unwrap();
            let loaded = if extension == "npz" { load_npz(scratch) } else { load_safetensors(scratch) };
            loaded.map(|tensors| touch(&Value::state_dict(tensors))).is_ok()
        }
    }
}

fn touch(value: &Value) {
    match value {
        Value::List(items) | Value::Tuple(items) => items.iter().for_each(touch),
        Value::Dict(dict) | Value::OrderedDict(dict) => dict.iter().for_each(|(_, value)| touch(value)),
        // Expanded to any size it still lies in the memory that it has; its sum is another matter.
        Value::Tensor(t) | Value::Parameter(t) if t.numel() < 1 << 20 => {
            let _ = t.detach().sum().and_then(|sum| sum.to_f64()).map(|sum| sum.is_nan());
        }
        other => drop(other.to_string()),
    }
}

/// The address space that the process has, or has had at most, where the system tells.
fn address_space(line: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(line))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[test]
fn changed_files_load_or_give_errors_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let scratch = folder.path().join("changed");
    let before = address_space("VmSize:");
    let (mut total, mut loaded) = (0, 0);
    for (number, path) in files.iter().enumerate() {
        let original = fs::read(path).unwrap();
        let mut dice = Dice(Generator::new(number as u64));
        let rounds = if original.len() > 20_000 { ROUNDS / 8 } else { ROUNDS };
        for _ in 0..rounds {
            let bytes = dice.changed(&original);
            loaded += usize::from(read(&bytes, path, &scratch));
            total += 1;
        }
    }
    println!("{total} changed copies of {} files, of which {loaded} still load", files.len());
    assert!(loaded < total / 2, "most changes should be noticed");
    match (before, address_space("VmPeak:")) {
        (Some(before), Some(after)) => {
            let growth = after.saturating_sub(before);
            println!("the address space grew by at most {} MiB", growth >> 20);
            assert!(growth < GROWTH);
        }
        _ => println!("skipped: this system does not tell how much memory was asked for"),
    }
}

/// Pieces of pickles, of which programs are put together at random.
const PIECES: &[&[u8]] = &[
    b"(",
    b"0",
    b"1",
    b"2",
    b"N",
    b"\x88",
    b"\x89",
    b")",
    b"]",
    b"}",
    b"\x8f",
    b"\x85",
    b"\x86",
    b"\x87",
    b"t",
    b"l",
    b"d",
    b"a",
    b"e",
    b"s",
    b"u",
    b"b",
    b"R",
    b"\x81",
    b"Q",
    b"\x90",
    b"\x93",
    b"\x94",
    b"q\x01",
    b"h\x01",
    b"q\x02",
    b"h\x02",
    b"K\x00",
    b"K\x04",
    b"J\xff\xff\xff\xff",
    b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01",
    b"G\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"X\x07\x00\x00\x00storage",
    b"X\x01\x00\x00\x000",
    b"X\x06\x00\x00\x00latin1",
    b"ctorch\nFloatStorage\n",
    b"ctorch\nByteStorage\n",
    b"ctorch.storage\nUntypedStorage\n",
    b"ctorch\nSize\n",
    b"ctorch\ndevice\n",
    b"ctorch\nfloat32\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_tensor_v3\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"ctorch\nTensor\n",
    b"ccollections\nOrderedDict\n",
    b"c__builtin__\nset\n",
    b"c_codecs\nencode\n",
    b"I01\n",
    b"L9999999999999999999999L\n",
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04NtQ",
    b"(K\x02K\x02t(K\x02K\x01t",
    b"(K\x00J\xff\xff\xff\x7ft(K\x00K\x00t",
];

#[test]
fn random_programs_end() {
    let mut dice = Dice(Generator::new(0));
    let mut loaded = 0;
    for _ in 0..20_000 {
        let mut program = b"\x80\x02".to_vec();
        for _ in 0..dice.below(30) {
            program.extend(PIECES[dice.below(PIECES.len())]);
        }
        program.push(b'.');
        loaded += usize::from(load_from(Cursor::new(legacy(&program)), "random").map(|v| touch(&v)).is_ok());
    }
    assert!(loaded > 0);
}

#[test]
fn every_length_of_a_cut_file_gives_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let value = Value::state_dict(every_dtype().unwrap());
    let path = folder.path().join("cut.pt");
    for container in [Container::Zip, Container::Legacy] {
        let whole = to_bytes(&value, container).unwrap();
        for length in (0..whole.len()).step_by(7) {
            fs::write(&path, &whole[..length]).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains("cut.pt"), "{error}");
        }
    }
}
