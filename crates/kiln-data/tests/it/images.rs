//! PNG and JPEG files against PIL and torchvision, damaged ones, and folders of them.

use std::fs;

use kiln_data::images::{ImageMode, decode_image, read_image};
use kiln_data::kiln_autograd::kiln_ops::random::Generator;
use kiln_data::transforms::{CenterCrop, Compose, ToTensor};
use kiln_data::{DataLoader, Dataset, ImageFolder, Result};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A file, and what it holds in each mode.
struct Specimen {
    name: String,
    file: Vec<u8>,
    modes: Vec<(ImageMode, Vec<usize>, Vec<u8>)>,
}

fn specimens() -> Vec<Specimen> {
    let mut found: Vec<Specimen> = Vec::new();
    for line in include_str!("data/images.txt").lines().filter(|line| !line.starts_with('#')) {
        let parts: Vec<&str> = line.split(" | ").collect();
        let &[name, file, mode, shape, pixels] = parts.as_slice() else { panic!("{line}") };
        if file != "-" {
            found.push(Specimen { name: name.to_owned(), file: bytes(file), modes: Vec::new() });
        }
        let mode = match mode {
            "unchanged" => ImageMode::Unchanged,
            "rgb" => ImageMode::Rgb,
            _ => ImageMode::Gray,
        };
        let shape = shape.split(' ').map(|n| n.parse().unwrap()).collect();
        found.last_mut().unwrap().modes.push((mode, shape, bytes(pixels)));
    }
    found
}

#[test]
fn files_have_the_pixels_that_others_see() -> Result<()> {
    for specimen in specimens() {
        for (mode, shape, want) in &specimen.modes {
            let what = format!("{} {mode:?}", specimen.name);
            let image = decode_image(&specimen.file, *mode)?;
            assert_eq!(image.dims(), *shape, "{what}");
            // Decoders of JPEG round differently, and so do formulas of brightness.
            let allowed = match (specimen.name.contains("jpeg"), mode) {
                (true, _) => 4,
                (false, ImageMode::Gray) => 1,
                (false, _) => 0,
            };
            for (got, want) in image.to_vec::<u8>()?.iter().zip(want) {
                assert!(got.abs_diff(*want) <= allowed, "{what}: {got} for {want}");
            }
        }
    }
    Ok(())
}

#[test]
fn damaged_files_give_errors() {
    let mut dice = Generator::new(1);
    let mut below = |n: usize| dice.next_u64() as usize % n.max(1);
    let (mut refused, mut read) = (0, 0);
    for specimen in specimens() {
        for length in 0..specimen.file.len().min(40) {
            assert!(decode_image(&specimen.file[..length], ImageMode::Rgb).is_err());
        }
        for _ in 0..400 {
            let mut file = specimen.file.clone();
            for _ in 0..1 + below(3) {
                let at = below(file.len());
                match below(4) {
                    0 => file[at] ^= 1 << below(8),
                    1 => file[at] = [0, 0xff, 0x7f][below(3)],
                    2 => file.truncate(at.max(1)),
                    _ => file.insert(at, below(256) as u8),
                }
            }
            match decode_image(&file, ImageMode::Unchanged) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > read / 4, "{refused} of {}", refused + read);
    // A header that promises more than there is memory for.
    let mut file = specimens().swap_remove(0).file;
    file[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    assert!(decode_image(&file, ImageMode::Rgb).is_err());
}

#[test]
fn folders_are_classes() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let colours = specimens().swap_remove(0);
    // Python orders `cat/a-b` before `cat/a/d`, and capitals first.
    for path in ["dog/1.png", "cat/a/d/c.PNG", "cat/a-b/x.png", "cat/z.png", "cat/B.jpeg", "cat/notes.txt"] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &colours.file).unwrap();
    }
    fs::write(root.join("stray.png"), &colours.file).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(root.join("cat"), root.join("cat/a/loop")).unwrap();
    let data = ImageFolder::new(root)?;
    assert_eq!(data.classes(), ["cat", "dog"]);
    let paths: Vec<_> = data
        .samples()
        .iter()
        .map(|(path, c)| (path.strip_prefix(root).unwrap().to_str().unwrap(), *c))
        .collect();
    let cats = ["cat/B.jpeg", "cat/z.png", "cat/a-b/x.png", "cat/a/d/c.PNG"];
    assert_eq!(paths[..4], cats.map(|path| (path, 0)));
    assert_eq!(paths[4..], [("dog/1.png", 1)]);
    let (image, class) = data.get(4)?;
    assert_eq!((image.to_vec::<u8>()?, class), (colours.modes[1].2.clone(), 1));
    assert!(data.get(5).is_err());

    let data = data.transform(Compose::new().then(CenterCrop::new(2)).then(ToTensor));
    let loader = DataLoader::new(data, 5).num_workers(2);
    let (images, classes) = loader.iter().next().unwrap()?;
    assert_eq!((images.dims(), classes.to_vec::<i64>()?), (vec![5, 3, 2, 2], vec![0, 0, 0, 0, 1]));

    fs::create_dir(root.join("bird")).unwrap();
    let error = ImageFolder::new(root).err().unwrap().to_string();
    assert!(error.contains("no valid file for the classes bird"), "{error}");
    let error = ImageFolder::new(root.join("dog")).err().unwrap().to_string();
    assert!(error.contains("any class folder"), "{error}");
    assert!(ImageFolder::new(root.join("nowhere")).is_err());
    let error = read_image(root.join("cat/nothing.png"), ImageMode::Rgb).unwrap_err().to_string();
    assert!(error.contains("nothing.png"), "{error}");
    Ok(())
}
