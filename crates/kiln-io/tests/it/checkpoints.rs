//! Checkpoints: sharing, containers, and what must be refused.

use std::io::Cursor;

use kiln_autograd::{Tensor, no_grad};
use kiln_io::{Container, Value, load_from, to_bytes};

use crate::common::{every_kind, legacy};

fn again(value: &Value, container: Container) -> Value {
    load_from(Cursor::new(to_bytes(value, container).unwrap()), "again").unwrap()
}

#[test]
fn every_kind_of_value_comes_back() {
    let value = every_kind().unwrap();
    for container in [Container::Zip, Container::Legacy] {
        // The printed form has everything but the elements.
        let loaded = again(&value, container);
        assert_eq!(loaded.to_string(), value.to_string());
        for name in ["base", "transposed", "row", "expanded", "scalar", "no elements", "parameter", "leaf"] {
            let (want, got) = (value.get(name).unwrap(), loaded.get(name).unwrap());
            let (want, got) = (want.to_tensor().unwrap(), got.to_tensor().unwrap());
            assert_eq!(got.strides(), want.strides(), "{name}");
            assert_eq!(got.storage_offset(), want.storage_offset(), "{name}");
            assert_eq!(got.requires_grad(), want.requires_grad(), "{name}");
            assert!(got.is_leaf());
        }
        let tensors = |value: &Value| value.get("ordered").unwrap().tensors().unwrap();
        for ((name, got), (_, want)) in tensors(&loaded).iter().zip(tensors(&value)) {
            assert_eq!(got.to_string(), want.to_string(), "{name}");
        }
    }
}

#[test]
fn tensors_that_share_memory_go_on_sharing_it() {
    for container in [Container::Zip, Container::Legacy] {
        let loaded = again(&every_kind().unwrap(), container);
        let tensor = |name: &str| loaded.get(name).unwrap().to_tensor().unwrap();
        let base = tensor("base");
        assert!(["transposed", "row", "expanded"].iter().all(|name| base.shares_storage(&tensor(name))));
        assert!(!base.shares_storage(&tensor("scalar")));
        no_grad(|| tensor("row").fill_(-1.0)).unwrap();
        assert_eq!(base.to_vec::<f32>().unwrap()[12..18], [-1.0; 6]);
        assert_eq!(tensor("transposed").to_vec::<f32>().unwrap()[2], -1.0);
    }
}

#[test]
fn a_tensor_that_occurs_twice_stays_one() {
    let tied = Tensor::ones(3).requires_grad_(true).unwrap();
    let value = Value::dict([
        ("a", Value::Parameter(tied.clone())),
        ("b", Value::Parameter(tied.clone())),
        ("c", tied.into()),
    ]);
    for container in [Container::Zip, Container::Legacy] {
        let loaded = again(&value, container);
        let tensor = |name: &str| loaded.get(name).unwrap().to_tensor().unwrap();
        assert!(tensor("a").is_same(&tensor("b")));
        assert!(tensor("a").shares_storage(&tensor("c")));
    }
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    for container in [Container::Zip, Container::Legacy] {
        let bytes = to_bytes(&every_kind().unwrap(), container).unwrap();
        assert_eq!(to_bytes(&every_kind().unwrap(), container).unwrap(), bytes);
    }
}

#[test]
fn containers_too_deep_are_refused_both_ways() {
    let nested = |depth: usize| (0..depth).fold(Value::None, |inner, _| Value::List(vec![inner]));
    // The deepest ones fit on a small stack, unoptimised too.
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let deep = small.spawn(move || again(&nested(128), Container::Zip).to_string()).unwrap().join().unwrap();
    assert_eq!(deep, format!("{}None{}", "[".repeat(128), "]".repeat(128)));
    let error = to_bytes(&nested(129), Container::Zip).unwrap_err().to_string();
    assert!(error.contains("128 containers"), "{error}");
    let program = [b"\x80\x02".as_slice(), &b"]".repeat(20_000), &b"a".repeat(19_999), b"."].concat();
    assert!(refused(&program).contains("128 containers"));
}

fn refused(program: &[u8]) -> String {
    load_from(Cursor::new(legacy(program)), "bad.pt").unwrap_err().to_string()
}

#[test]
fn structures_that_unfold_without_measure_are_refused() {
    assert!(load_from(Cursor::new(legacy(b"\x80\x02K\x07.")), "seven").unwrap().to_i64().unwrap() == 7);
    // A list of ten times a list of ten times a list ...: 10^30 elements in a few hundred bytes.
    let mut program = b"\x80\x02]q\x00".to_vec();
    for level in 0..30u8 {
        program.extend(*b"](");
        program.extend([b'h', level].repeat(10));
        program.extend([b'e', b'q', level + 1]);
    }
    program.push(b'.');
    assert!(refused(&program).contains("unfold"), "{}", refused(&program));
    // A list that holds itself.
    assert!(refused(b"\x80\x02]q\x00h\x00a.").contains("inside itself"));
    // A text that is turned into bytes again and again.
    let mut program = b"\x80\x02c_codecs\nencode\nq\x010X\x00\x80\x00\x00".to_vec();
    program.extend(vec![b'x'; 1 << 15]);
    program.extend(*b"q\x020X\x06\x00\x00\x00latin1q\x030(");
    program.extend(b"h\x01h\x02h\x03\x86R".repeat(1 << 12));
    program.extend(*b"t.");
    assert!(refused(&program).contains("copied more often"), "{}", refused(&program));
}

#[test]
fn a_tensor_of_a_thousand_axes_is_refused() {
    let mut program = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(".to_vec();
    program.extend(*b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01NtQK\x00");
    for _ in 0..2 {
        program.extend([b"(".as_slice(), &b"K\x01".repeat(1000), b"t"].concat());
    }
    program.extend(*b"\x89NtR.");
    // The keys of the storages and the one storage, in the place of none.
    let mut file = legacy(&program);
    let end = file.len() - b"\x80\x02](e.".len();
    file.truncate(end);
    file.extend(*b"\x80\x02](X\x01\x00\x00\x000e.\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00");
    let error = load_from(Cursor::new(file), "axes.pt").unwrap_err().to_string();
    assert!(error.contains("1000 axes"), "{error}");
}

#[test]
fn what_cannot_be_hashed_is_no_key() {
    assert!(refused(b"\x80\x02}]Ns.").contains("type list"));
}

#[test]
fn mistakes_are_explained() {
    let loaded = again(&every_kind().unwrap(), Container::Zip);
    let error = loaded.tensors().unwrap_err().to_string();
    assert!(error.contains("'none' is of type NoneType") && error.contains("take it with get"), "{error}");
    let error = loaded.get("bools").unwrap().to_i64().unwrap_err().to_string();
    assert!(error.contains("expected an int of 64 bits, found a value of type list"), "{error}");
}
