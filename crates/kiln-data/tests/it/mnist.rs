//! Where the MNIST files are looked for, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{gzip, idx, shared};
use kiln_data::mnist::{self, FASHION_CLASSES, MnistData, MnistKind, Split};
use kiln_data::{DataError, Result};

/// `count` images of 2 by 3 pixels and labels 0, 1, 2, ..., the first pixel being `mark`.
fn write_split(folder: &Path, name: &str, count: u32, mark: u8, packed: bool) {
    fs::create_dir_all(folder).unwrap();
    let mut pixels = vec![7; count as usize * 6];
    pixels[0] = mark;
    let labels: Vec<u8> = (0..count).map(|i| (i % 10) as u8).collect();
    let images = idx(8, &[count, 2, 3], &pixels);
    let labels = idx(8, &[count], &labels);
    for (kind, bytes) in [("images-idx3", images), ("labels-idx1", labels)] {
        let path = folder.join(format!("{name}-{kind}-ubyte"));
        if packed {
            fs::write(path.with_extension("gz"), gzip(&bytes)).unwrap();
        } else {
            fs::write(path, bytes).unwrap();
        }
    }
}

fn load(kind: MnistKind, root: &Path) -> Result<MnistData, DataError> {
    mnist::load(kind, Split::Train, Some(root))
}

/// Runs the test `name` of this program again in a process with other environment variables, where
/// `is_child` holds. The environment of this one is shared by all its tests.
fn in_child(name: &str, variables: &[(&str, &Path)]) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([&format!("mnist::{name}"), "--exact", "--nocapture"]).env("KILN_TEST_CHILD", "yes");
    child.env_remove("KILN_DATA").env_remove("KILN_CACHE").envs(variables.iter().copied());
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

fn is_child() -> bool {
    std::env::var_os("KILN_TEST_CHILD").is_some()
}

#[test]
fn the_folder_given_is_searched_most_telling_name_first() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (mark, below) in [(1, ""), (2, "raw"), (3, "fashion-mnist"), (4, "FashionMNIST/raw")] {
        write_split(&root.join(below), "train", 12, mark, mark % 2 == 0);
        let data = load(MnistKind::FashionMnist, root).unwrap();
        assert_eq!((data.images[0], data.shape), (mark, [12, 2, 3]));
        assert_eq!(data.labels, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    }
    // The other data set's folders are not taken for it.
    assert_eq!(load(MnistKind::Mnist, root).unwrap().images[0], 2);
    write_split(&root.join("mnist"), "train", 12, 5, true);
    assert_eq!(load(MnistKind::Mnist, root).unwrap().images[0], 5);
    write_split(&root.join("MNIST/raw"), "train", 12, 6, true);
    assert_eq!(load(MnistKind::Mnist, root).unwrap().images[0], 6);
    // Unpacked files are preferred, splits are kept apart.
    write_split(&root.join("MNIST/raw"), "train", 12, 8, false);
    assert_eq!(load(MnistKind::Mnist, root).unwrap().images[0], 8);
    write_split(&root.join("MNIST/raw"), "t10k", 3, 9, true);
    assert_eq!(mnist::load(MnistKind::Mnist, Split::Test, Some(root)).unwrap().shape, [3, 2, 3]);
}

#[test]
fn images_and_labels_come_from_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    write_split(&folder.path().join("fashion-mnist"), "train", 4, 1, false);
    fs::remove_file(folder.path().join("fashion-mnist/train-labels-idx1-ubyte")).unwrap();
    write_split(folder.path(), "train", 4, 2, false);
    assert_eq!(load(MnistKind::FashionMnist, folder.path()).unwrap().images[0], 2);
}

#[test]
fn files_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let images = root.join("train-images-idx3-ubyte");
    let labels = root.join("train-labels-idx1-ubyte");
    let refused = |path: &PathBuf, bytes: Vec<u8>, expected: &str| {
        write_split(root, "train", 4, 1, false);
        fs::write(path, bytes).unwrap();
        let error = load(MnistKind::Mnist, root).unwrap_err();
        assert!(matches!(&error, DataError::Format { path: named, .. } if named == path), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused(&labels, idx(8, &[4], &[0, 1, 10, 2]), "label 2 is 10, but there are 10 classes");
    refused(&labels, idx(8, &[4, 1], &[0; 4]), "labels have one axis");
    refused(&labels, idx(9, &[4], &[0; 4]), "these are int8");
    refused(&labels, idx(8, &[4], &[0; 3]), "cut off");
    refused(&labels, gzip(&idx(8, &[4], &[0; 4]))[..20].to_vec(), "gzip stream is cut off");
    refused(&labels, idx(8, &[10], &[9, 0, 0, 3, 0, 2, 7, 2, 5, 5]), "labels of Fashion-MNIST, not of MNIST");
    refused(&images, idx(8, &[3, 2, 3], &[0; 18]), "3 images, but 4 labels in");
    refused(&images, idx(8, &[24], &[0; 24]), "images have three axes");
    refused(&images, idx(0x0d, &[4, 1, 1], &[0; 16]), "these are float32");
    refused(&images, b"<html>not found</html>".to_vec(), "not an IDX file");
}

#[test]
fn kiln_data_is_searched_after_the_folder_given() {
    if is_child() {
        let given = PathBuf::from(std::env::var_os("KILN_TEST_GIVEN").unwrap());
        assert_eq!(mnist::load(MnistKind::FashionMnist, Split::Train, None).unwrap().images[0], 1);
        assert_eq!(load(MnistKind::FashionMnist, &given).unwrap().images[0], 2);
        assert_eq!(load(MnistKind::FashionMnist, Path::new("nowhere")).unwrap().images[0], 1);
        return;
    }
    let (folder, given) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_split(given.path(), "train", 4, 2, true);
    for below in ["fashion-mnist", "FashionMNIST/raw", ""] {
        let root = folder.path().join(format!("case-{}", below.replace('/', "-")));
        write_split(&root.join(below), "train", 4, 1, true);
        let variables = [("KILN_DATA", root.as_path()), ("KILN_TEST_GIVEN", given.path())];
        in_child("kiln_data_is_searched_after_the_folder_given", &variables);
    }
}

/// Also checks the published sizes and checksums against the real files.
#[test]
fn the_real_files_are_found_in_the_cache() {
    if is_child() {
        for (split, count) in [(Split::Train, 60_000), (Split::Test, 10_000)] {
            let data = mnist::load(MnistKind::FashionMnist, split, None).unwrap();
            assert_eq!(data.shape, [count, 28, 28]);
            let mut counts = [0; 10];
            data.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
            assert_eq!(counts, [count / 10; 10]);
        }
        return;
    }
    let Some(real) = shared("data/fashion-mnist") else { return };
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("fashion-mnist");
    fs::create_dir(&folder).unwrap();
    for split in [Split::Train, Split::Test] {
        let files = MnistKind::FashionMnist.files(split);
        for file in [files.images, files.labels] {
            let name = Path::new(file.name).file_name().unwrap();
            fs::copy(real.join(name), folder.join(name)).unwrap();
        }
    }
    in_child("the_real_files_are_found_in_the_cache", &[("KILN_CACHE", cache.path())]);
}

/// With a cache that cannot be used no mirror is asked, so this needs no network.
#[test]
fn files_that_are_nowhere_give_advice() {
    if is_child() {
        let error = mnist::load(MnistKind::Mnist, Split::Test, None).unwrap_err();
        let text = error.to_string();
        if cfg!(feature = "download") {
            assert!(matches!(error, DataError::Cache { .. }), "{error:?}");
            assert!(text.contains("set KILN_CACHE"), "{text}");
        } else {
            assert!(matches!(error, DataError::NotFound { .. }), "{error:?}");
            for part in ["MNIST (Test) was not found", "feature `download`", "KILN_DATA", "t10k-images"] {
                assert!(text.contains(part), "{text}");
            }
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = if cfg!(feature = "download") {
        fs::write(folder.path().join("file"), "in the way").unwrap();
        folder.path().join("file").join("cache")
    } else {
        folder.path().join("empty")
    };
    in_child("files_that_are_nowhere_give_advice", &[("KILN_CACHE", &cache)]);
}

#[test]
fn the_published_files_are_described_whole() {
    for kind in [MnistKind::Mnist, MnistKind::FashionMnist] {
        for split in [Split::Train, Split::Test] {
            let files = kind.files(split);
            for file in [files.images, files.labels] {
                let name = Path::new(file.name).file_name().unwrap().to_str().unwrap();
                assert!(!file.urls.is_empty() && file.urls.iter().all(|url| url.ends_with(name)));
            }
        }
    }
    assert_eq!(MnistKind::FashionMnist.classes()[9], "Ankle boot");
    assert_eq!(FASHION_CLASSES.len(), mnist::CLASSES);
}
