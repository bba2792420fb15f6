//! Replays the shared IDX specimens, good and bad: beside each file lies what must come of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::shared;
use kiln_data::DataError;
use kiln_data::idx::{IdxArray, IdxData};
use kiln_data::mnist::{self, MnistKind, Split};
use serde_json::Value;

/// The specimens of a folder with their expectations.
fn specimens(folder: &Path) -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let expectation = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            found.push((path.with_extension(""), expectation));
        }
    }
    assert!(!found.is_empty());
    found
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn as_f64(data: &IdxData) -> Vec<f64> {
    match data {
        IdxData::U8(values) => values.iter().map(|&value| value.into()).collect(),
        IdxData::I8(values) => values.iter().map(|&value| value.into()).collect(),
        IdxData::I16(values) => values.iter().map(|&value| value.into()).collect(),
        IdxData::I32(values) => values.iter().map(|&value| value.into()).collect(),
        IdxData::F32(values) => values.iter().map(|&value| value.into()).collect(),
        IdxData::F64(values) => values.clone(),
    }
}

#[test]
fn good_specimens_load_with_their_content() {
    let Some(folder) = shared("conformance/files/idx") else { return };
    let mut replayed = 0;
    for (path, expectation) in specimens(&folder) {
        if path.is_dir() {
            continue;
        }
        assert_eq!(expectation["result"], "loads");
        let array = IdxArray::open(&path).unwrap();
        let content = &expectation["content"];
        let dims: Vec<f64> = array.dims.iter().map(|&size| size as f64).collect();
        assert_eq!(dims, numbers(&content["shape"]), "{}", path.display());
        assert_eq!(array.data.type_name(), content["dtype"], "{}", path.display());
        let values = numbers(&content["values_in_row_major_order"]);
        assert_eq!(as_f64(&array.data), values, "{}", path.display());
        replayed += 1;
    }
    println!("{replayed} specimens replayed");
}

#[test]
fn bad_specimens_give_clean_errors() {
    let Some(folder) = shared("conformance/files/idx_bad") else { return };
    for (path, expectation) in specimens(&folder) {
        assert_eq!(expectation["result"], "clean error");
        let error = IdxArray::open(&path).unwrap_err();
        assert!(matches!(error, DataError::Format { .. }), "{error:?}");
        let text = error.to_string();
        println!("{text}");
        assert!(text.contains(path.file_name().unwrap().to_str().unwrap()), "{text}");
    }
}

#[test]
fn the_small_data_folder_loads() {
    let Some(root) = shared("conformance/files/idx") else { return };
    let text = fs::read(root.join("FashionMNIST.json")).unwrap();
    let expectation: Value = serde_json::from_slice(&text).unwrap();
    for (split, name) in [(Split::Train, "train"), (Split::Test, "t10k")] {
        let expected = &expectation["content"][name];
        let data = mnist::load(MnistKind::FashionMnist, split, Some(&root)).unwrap();
        assert_eq!(data.shape[0] as u64, expected["count"].as_u64().unwrap());
        assert_eq!(data.shape[1..], [28, 28]);
        let sum = |pixels: &[u8]| pixels.iter().map(|&pixel| u64::from(pixel)).sum::<u64>();
        assert_eq!(sum(&data.images), expected["pixel_sum"].as_u64().unwrap());
        assert_eq!(
            sum(data.images.rchunks(784).next().unwrap()),
            expected["last_image_sum"].as_u64().unwrap()
        );
        let as_json = |bytes: &[u8]| Value::from(bytes.to_vec());
        assert_eq!(as_json(&data.labels), expected["labels"]);
        assert_eq!(as_json(&data.images[..28]), expected["first_image_first_row"]);
    }
}
