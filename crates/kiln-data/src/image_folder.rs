//! [`ImageFolder`]: images whose folder tells their class.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use kiln_autograd::{Error, Result, Tensor};

use crate::Dataset;
use crate::images::{ImageMode, read_image};
use crate::transforms::Transform;

/// The endings of files that are read.
const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

/// PNG and JPEG files in a folder for each class, at any depth (`torchvision.datasets.ImageFolder`):
///
/// ```text
/// root/cat/01.jpg
/// root/cat/more/02.png
/// root/dog/01.jpg
/// ```
///
/// A sample is `(image, class)`: three colours as u8 `[3, height, width]`, or what a transform makes of that, and the number of
/// the class. Classes are numbered by name, files come by class and path.
///
/// ```no_run
/// use kiln_data::transforms::{CenterCrop, Compose, Normalize, Resize, ToTensor};
/// use kiln_data::{DataLoader, ImageFolder};
/// let prepare = Compose::new()
///     .then(Resize::new(256))
///     .then(CenterCrop::new(224))
///     .then(ToTensor)
///     .then(Normalize::new([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]));
/// let data = ImageFolder::new("photos/train")?.transform(prepare);
/// println!("{:?}", data.classes());
/// let loader = DataLoader::new(data, 32).shuffle(true).num_workers(4);
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub struct ImageFolder {
    classes: Vec<String>,
    samples: Vec<(PathBuf, i64)>,
    transform: Option<Box<dyn Transform>>,
}

impl ImageFolder {
    /// Lists the files below `root`.
    ///
    /// # Errors
    /// The folder cannot be read, has no folders inside, or one of these has no images.
    pub fn new(root: impl AsRef<Path>) -> Result<ImageFolder> {
        let root = root.as_ref();
        let mut folders: Vec<PathBuf> = entries(root)?.into_iter().filter(|path| path.is_dir()).collect();
        folders.sort_by(|a, b| by_bytes(a, b));
        if folders.is_empty() {
            return Err(Error::format(root, "Couldn't find any class folder"));
        }
        let mut classes = Vec::new();
        let mut samples = Vec::new();
        let mut empty = Vec::new();
        for (number, folder) in folders.iter().enumerate() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let before = samples.len();
            let mut files = Vec::new();
            images_below(folder, &mut HashSet::new(), &mut files)?;
            samples.extend(files.into_iter().map(|path| (path, number as i64)));
            if samples.len() == before {
                empty.push(name.clone());
            }
            classes.push(name);
        }
        if !empty.is_empty() {
            let text = format!(
                "Found no valid file for the classes {}. Supported extensions are: {}",
                empty.join(", "),
                ENDINGS.map(|ending| format!(".{ending}")).join(", ")
            );
            return Err(Error::format(root, text));
        }
        Ok(ImageFolder { classes, samples, transform: None })
    }

    /// What is done to each image.
    #[must_use]
    pub fn transform(self, transform: impl Transform + 'static) -> ImageFolder {
        ImageFolder { transform: Some(Box::new(transform)), ..self }
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The files and their classes.
    pub fn samples(&self) -> &[(PathBuf, i64)] {
        &self.samples
    }
}

impl Dataset for ImageFolder {
    type Item = (Tensor, i64);

    fn len(&self) -> usize {
        self.samples.len()
    }

    fn get(&self, index: usize) -> Result<(Tensor, i64)> {
        let Some((path, class)) = self.samples.get(index) else {
            let text = format!("index {index} is out of range for {} images", self.samples.len());
            return Err(Error::index("dataset", text));
        };
        let image = read_image(path, ImageMode::Rgb)?;
        let image = self.transform.as_ref().map_or(Ok(image.clone()), |transform| transform.apply(&image))?;
        Ok((image, *class))
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read =
        || std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    read().map_err(|e| Error::io(folder, e))
}

/// As Python orders paths: letter by letter, not folder by folder.
fn by_bytes(a: &Path, b: &Path) -> std::cmp::Ordering {
    a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes())
}

/// The images of a folder and then of those inside, each sorted; a folder that a link leads back to is walked once.
fn images_below(folder: &Path, seen: &mut HashSet<PathBuf>, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut folders = vec![folder.to_owned()];
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        let real = folder.canonicalize().map_err(|e| Error::io(&folder, e))?;
        if !seen.insert(real) {
            continue;
        }
        folders.extend(entries(&folder)?.into_iter().filter(|path| path.is_dir()));
        all.push(folder);
    }
    all.sort_by(|a, b| by_bytes(a, b));
    for folder in all {
        let mut files: Vec<PathBuf> = entries(&folder)?.into_iter().filter(|path| is_image(path)).collect();
        files.sort_by(|a, b| by_bytes(a, b));
        found.extend(files);
    }
    Ok(())
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && path.is_file()
}
