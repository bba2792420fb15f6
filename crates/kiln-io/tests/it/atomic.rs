//! Saving replaces a file as a whole: errors and crashes in the middle leave the old one.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use kiln_autograd::{SliceMut, Tensor};
use kiln_io::{
    Container, Value, load, load_npy, load_safetensors, save, save_as, save_npy, save_npz, save_safetensors,
};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_failure_in_the_middle_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let first = Tensor::ones(3);
    let notes = HashMap::new();
    let save_all = |t: &Tensor| {
        // The first tensor is written before the second one fails.
        let value = Value::state_dict([("a", Tensor::zeros(4)), ("b", t.clone())]);
        let pairs = || [("a", &first), ("b", t)];
        [
            save(&value, at("x.pt")),
            save_as(&value, at("legacy.pt"), Container::Legacy),
            save_safetensors(pairs(), &notes, at("x.safetensors")),
            save_npz(pairs(), at("x.npz")),
            save_npy(t, at("x.npy")),
        ]
    };
    let second = Tensor::ones(5);
    assert!(save_all(&second).iter().all(Result::is_ok));
    let before: Vec<(String, Vec<u8>)> =
        names(folder.path()).into_iter().map(|name| (name.clone(), fs::read(at(&name)).unwrap())).collect();
    assert_eq!(before.len(), 5);

    // Memory that is lent out for writing cannot be read: saving fails when it comes to it.
    let lent = Tensor::zeros(5);
    let guard = SliceMut::<f32>::contiguous("test", &lent.raw()).unwrap();
    for result in save_all(&lent) {
        assert!(result.is_err());
    }
    drop(guard);
    assert_eq!(names(folder.path()).len(), 5, "temporary files are left: {:?}", names(folder.path()));
    for (name, bytes) in before {
        assert_eq!(fs::read(at(&name)).unwrap(), bytes, "{name}");
    }
}

#[test]
fn what_is_no_regular_file_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let error = save(&Value::None, folder.path()).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
    assert!(save(&Value::None, folder.path().join("absent/x.pt")).is_err());
}

#[cfg(unix)]
#[test]
fn permissions_stay_what_they_were() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pt");
    save(&1.into(), &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    save(&2.into(), &path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(save(&3.into(), &path).unwrap_err().to_string().contains("read-only"));
    assert_eq!(load(&path).unwrap().to_i64().unwrap(), 2);
}

#[cfg(unix)]
#[test]
fn a_link_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file.pt"), folder.path().join("link.pt"));
    save(&1.into(), &file).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    save(&2.into(), &link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(load(&file).unwrap().to_i64().unwrap(), 2);
}

/// In the child process: saves more than it may write. The system ends it in the middle of the file.
#[test]
fn child_that_is_ended_while_it_saves() {
    let Ok(folder) = std::env::var("KILN_IO_CRASH") else { return };
    let folder = Path::new(&folder);
    let large = Tensor::ones(1 << 20);
    match std::env::var("KILN_IO_CRASH_FORMAT").unwrap().as_str() {
        "pt" => save(&(&large).into(), folder.join("x.pt")).unwrap(),
        "safetensors" => {
            save_safetensors([("x", &large)], &HashMap::new(), folder.join("x.safetensors")).unwrap();
        }
        _ => save_npy(&large, folder.join("x.npy")).unwrap(),
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_crash_in_the_middle_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let small = Tensor::arange(0..3);
    let path = |end: &str| folder.path().join(format!("x.{end}"));
    save(&(&small).into(), path("pt")).unwrap();
    save_safetensors([("x", &small)], &HashMap::new(), path("safetensors")).unwrap();
    save_npy(&small, path("npy")).unwrap();
    for format in ["pt", "safetensors", "npy"] {
        let before = fs::read(path(format)).unwrap();
        // 1 MiB of the 4 MiB may be written; then the signal SIGXFSZ ends the process, and no destructor runs.
        let status = Command::new("sh")
            .args(["-c", "ulimit -f 2048; exec \"$0\" --exact --test-threads=1 atomic::child_that_is_ended_while_it_saves"])
            .arg(std::env::current_exe().unwrap())
            .env("KILN_IO_CRASH", folder.path())
            .env("KILN_IO_CRASH_FORMAT", format)
            .output()
            .unwrap()
            .status;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(25), "{format}: {status}");
        let left = names(folder.path()).into_iter().filter(|name| name.ends_with(".tmp")).count();
        assert!(left > 0, "{format}: it was not ended in the middle");
        assert_eq!(fs::read(path(format)).unwrap(), before, "{format}");
    }
    let want = [0i64, 1, 2];
    assert_eq!(load(path("pt")).unwrap().to_tensor().unwrap().to_vec::<i64>().unwrap(), want);
    assert_eq!(load_safetensors(path("safetensors")).unwrap()[0].1.to_vec::<i64>().unwrap(), want);
    assert_eq!(load_npy(path("npy")).unwrap().to_vec::<i64>().unwrap(), want);
    // What the crashed processes left does not stand in the way.
    save(&(&small).into(), path("pt")).unwrap();
}
