//! Named tensors and arrays through every format.

use std::collections::HashMap;

use kiln_autograd::{DType, Tensor};
use kiln_io::{
    SafetensorsFile, load_npy, load_npz, load_tensors, save_npy, save_npz, save_safetensors, save_tensors,
};

use crate::common::every_dtype;

#[test]
fn every_dtype_comes_back_from_every_format() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["x.pt", "x.pth", "x.safetensors", "x.npz"] {
        let mut tensors = every_dtype().unwrap();
        if name == "x.npz" {
            tensors.retain(|(_, t)| t.dtype() != DType::BF16);
        }
        let path = folder.path().join(name);
        save_tensors(tensors.iter().map(|(name, t)| (name.as_str(), t)), &path).unwrap();
        let loaded: HashMap<String, Tensor> = load_tensors(&path).unwrap().into_iter().collect();
        assert_eq!(loaded.len(), tensors.len());
        for (key, want) in tensors {
            let got = &loaded[&key];
            assert_eq!((got.dtype(), got.dims()), (want.dtype(), want.dims()), "{name}: {key}");
            assert_eq!(got.to_string(), want.to_string(), "{name}: {key}");
        }
    }
    let error = load_tensors("x.csv").unwrap_err().to_string();
    assert!(error.contains("\"csv\" names no format"), "{error}");
}

#[test]
fn views_are_written_as_they_look() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let x = Tensor::arange(0..6).reshape([2, 3]).unwrap().transpose(0, 1).unwrap();
    let want = [0i64, 3, 1, 4, 2, 5];
    save_npy(&x, path("x.npy")).unwrap();
    save_npz([("x", &x)], path("x.npz")).unwrap();
    save_safetensors([("x", &x)], &HashMap::new(), path("x.safetensors")).unwrap();
    assert_eq!(load_npy(path("x.npy")).unwrap().to_vec::<i64>().unwrap(), want);
    for name in ["x.npz", "x.safetensors"] {
        let loaded = load_tensors(path(name)).unwrap();
        assert_eq!((loaded[0].1.dims(), loaded[0].1.to_vec::<i64>().unwrap()), (vec![3, 2], want.to_vec()));
    }
}

#[test]
fn names_that_are_there_twice_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let x = Tensor::ones(1);
    assert!(save_safetensors([("x", &x), ("x", &x)], &HashMap::new(), path("x.safetensors")).is_err());
    assert!(save_safetensors([("__metadata__", &x)], &HashMap::new(), path("x.safetensors")).is_err());
    assert!(save_npz([("x", &x), ("x", &x)], path("x.npz")).is_err());
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[test]
fn safetensors_are_read_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let (a, b) = (Tensor::arange(0..4), Tensor::ones([2, 2]));
    let notes =
        HashMap::from([("note".to_owned(), "ü \" \\ \n".to_owned()), ("a".to_owned(), String::new())]);
    save_safetensors([("b", &b), ("a", &a)], &notes, &path).unwrap();
    let mut file = SafetensorsFile::open(&path).unwrap();
    assert_eq!(file.names(), ["a", "b"]);
    assert_eq!(*file.metadata(), notes);
    assert_eq!(file.tensor("b").unwrap().to_vec::<f32>().unwrap(), [1.0; 4]);
    assert_eq!(file.tensor("a").unwrap().to_vec::<i64>().unwrap(), [0, 1, 2, 3]);
    assert!(file.tensor("c").is_err());
    // Only notes: a file too.
    save_safetensors([], &notes, &path).unwrap();
    assert_eq!(*SafetensorsFile::open(&path).unwrap().metadata(), notes);
}

#[test]
fn arrays_without_axes_or_elements_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    let (scalar, none) = (Tensor::scalar(2.5).unwrap(), Tensor::zeros([0, 3]));
    save_npz([("scalar", &scalar), ("none", &none)], &path).unwrap();
    let loaded = load_npz(&path).unwrap();
    assert_eq!(loaded[0].1.to_f64().unwrap(), 2.5);
    assert_eq!(loaded[1].1.dims(), [0, 3]);
    let bf = Tensor::ones(1).to_dtype(DType::BF16).unwrap();
    assert!(save_npy(&bf, &path).unwrap_err().to_string().contains("NumPy has no bfloat16"));
    assert_eq!(load_npz(&path).unwrap().len(), 2);
}
