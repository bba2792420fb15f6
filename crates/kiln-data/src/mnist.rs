//! MNIST and Fashion-MNIST: 60,000 + 10,000 grey images of 28 by 28 pixels in ten classes.
//!
//! Both come as four IDX files of the same names. They are looked for, packed or unpacked, in the folder a
//! caller gives, in the folder `KILN_DATA` names and in the cache, and are otherwise downloaded into the cache:
//!
//! | folder given or `KILN_DATA` | holds |
//! |---|---|
//! | `FashionMNIST/raw`, `fashion-mnist` | Fashion-MNIST |
//! | `MNIST/raw`, `mnist` | MNIST |
//! | `raw`, the folder itself | whichever is asked for |
//!
//! Images and labels are always taken from the same folder. Other sizes than the published ones are welcome,
//! such as a small excerpt for tests.

use std::path::{Path, PathBuf};

use crate::download::{Checksum, Download, FetchOptions, folder_variable};
use crate::error::{DataError, Result};
use crate::idx::{IdxArray, IdxData};

/// Which of the two data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MnistKind {
    /// Handwritten digits, by Y. LeCun, C. Cortes and C. Burges.
    Mnist,
    /// Pieces of clothing, by Zalando Research (H. Xiao, K. Rasul and R. Vollgraf, 2017, MIT licence).
    FashionMnist,
}

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// The part to learn from.
    Train,
    /// The part to measure on.
    Test,
}

/// One split, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MnistData {
    /// The pixels in row-major order, 0 (background) to 255.
    pub images: Vec<u8>,
    /// The images' shape: count, rows, columns.
    pub shape: [usize; 3],
    /// One label for each image, 0 to 9.
    pub labels: Vec<u8>,
}

/// The two files of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MnistFiles {
    /// The images: IDX, bytes, three axes.
    pub images: Download<'static>,
    /// The labels: IDX, bytes, one axis.
    pub labels: Download<'static>,
}

/// The number of classes of either data set.
pub const CLASSES: usize = 10;

/// What Fashion-MNIST's labels mean.
pub const FASHION_CLASSES: [&str; CLASSES] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// What MNIST's labels mean.
pub const MNIST_CLASSES: [&str; CLASSES] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// One published file: its name, size and sha256.
macro_rules! file {
    (mnist, $name:literal, $size:literal, $sha256:literal) => {
        Download {
            name: concat!("mnist/", $name, ".gz"),
            urls: &[
                concat!("https://ossci-datasets.s3.amazonaws.com/mnist/", $name, ".gz"),
                concat!("https://storage.googleapis.com/cvdf-datasets/mnist/", $name, ".gz"),
            ],
            checksum: Checksum::Sha256($sha256),
            size: $size,
        }
    };
    (fashion, $name:literal, $size:literal, $sha256:literal) => {
        Download {
            name: concat!("fashion-mnist/", $name, ".gz"),
            urls: &[concat!("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", $name, ".gz")],
            checksum: Checksum::Sha256($sha256),
            size: $size,
        }
    };
}

#[rustfmt::skip]
const MNIST_TRAIN: MnistFiles = MnistFiles {
    images: file!(mnist, "train-images-idx3-ubyte", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    labels: file!(mnist, "train-labels-idx1-ubyte", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
};
#[rustfmt::skip]
const MNIST_TEST: MnistFiles = MnistFiles {
    images: file!(mnist, "t10k-images-idx3-ubyte", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    labels: file!(mnist, "t10k-labels-idx1-ubyte", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
};
#[rustfmt::skip]
const FASHION_TRAIN: MnistFiles = MnistFiles {
    images: file!(fashion, "train-images-idx3-ubyte", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    labels: file!(fashion, "train-labels-idx1-ubyte", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
};
#[rustfmt::skip]
const FASHION_TEST: MnistFiles = MnistFiles {
    images: file!(fashion, "t10k-images-idx3-ubyte", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    labels: file!(fashion, "t10k-labels-idx1-ubyte", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
};

impl MnistKind {
    /// The files of a split, as published.
    pub fn files(self, split: Split) -> &'static MnistFiles {
        match (self, split) {
            (MnistKind::Mnist, Split::Train) => &MNIST_TRAIN,
            (MnistKind::Mnist, Split::Test) => &MNIST_TEST,
            (MnistKind::FashionMnist, Split::Train) => &FASHION_TRAIN,
            (MnistKind::FashionMnist, Split::Test) => &FASHION_TEST,
        }
    }

    /// What the labels mean.
    pub fn classes(self) -> &'static [&'static str; CLASSES] {
        match self {
            MnistKind::Mnist => &MNIST_CLASSES,
            MnistKind::FashionMnist => &FASHION_CLASSES,
        }
    }

    /// "MNIST" or "Fashion-MNIST".
    pub fn name(self) -> &'static str {
        match self {
            MnistKind::Mnist => "MNIST",
            MnistKind::FashionMnist => "Fashion-MNIST",
        }
    }

    /// The folders below a root that may hold the files, most telling first.
    fn folders(self) -> [&'static str; 4] {
        match self {
            MnistKind::Mnist => ["MNIST/raw", "mnist", "raw", ""],
            MnistKind::FashionMnist => ["FashionMNIST/raw", "fashion-mnist", "raw", ""],
        }
    }

    /// The first labels of the published split. The two data sets' files have the same names and unpacked the
    /// same sizes, so this is what tells one in the other's place.
    fn first_labels(self, split: Split) -> [u8; 10] {
        match (self, split) {
            (MnistKind::Mnist, Split::Train) => [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
            (MnistKind::Mnist, Split::Test) => [7, 2, 1, 0, 4, 1, 4, 9, 5, 9],
            (MnistKind::FashionMnist, Split::Train) => [9, 0, 0, 3, 0, 2, 7, 2, 5, 5],
            (MnistKind::FashionMnist, Split::Test) => [9, 2, 1, 1, 6, 1, 4, 6, 5, 7],
        }
    }

    fn other(self) -> MnistKind {
        match self {
            MnistKind::Mnist => MnistKind::FashionMnist,
            MnistKind::FashionMnist => MnistKind::Mnist,
        }
    }
}

/// Finds, or fetches, and reads one split. The module's documentation tells where it is looked for; `root` is
/// tried first.
///
/// ```no_run
/// use kiln_data::mnist::{self, MnistKind, Split};
///
/// let train = mnist::load(MnistKind::FashionMnist, Split::Train, None)?;
/// assert_eq!(train.shape, [60_000, 28, 28]);
/// # Ok::<(), kiln_data::DataError>(())
/// ```
///
/// # Errors
///
/// [`DataError::Format`] when a file is damaged, does not fit the other or belongs to the other data set;
/// [`DataError::Download`] or, without the feature `download`, [`DataError::NotFound`] when the files are
/// nowhere; [`DataError::Cache`] when they cannot be kept.
pub fn load(kind: MnistKind, split: Split, root: Option<&Path>) -> Result<MnistData> {
    let kiln_data = folder_variable("KILN_DATA");
    let roots: Vec<&Path> = root.into_iter().chain(kiln_data.as_deref()).collect();
    let (images, labels) = match find(kind, split, &roots) {
        Some(paths) => paths,
        None => fetch(kind, split, &roots)?,
    };
    read(kind, split, &images, &labels)
}

/// The first folder with both files.
fn find(kind: MnistKind, split: Split, roots: &[&Path]) -> Option<(PathBuf, PathBuf)> {
    let files = kind.files(split);
    let mut folders = roots.iter().flat_map(|root| kind.folders().map(|folder| root.join(folder)));
    folders.find_map(|folder| Some((in_folder(&folder, &files.images)?, in_folder(&folder, &files.labels)?)))
}

/// The file in a folder, unpacked or else packed.
fn in_folder(folder: &Path, file: &Download<'_>) -> Option<PathBuf> {
    let packed = folder.join(Path::new(file.name).file_name()?);
    let unpacked = packed.with_extension("");
    [unpacked, packed].into_iter().find(|path| path.is_file())
}

/// The files in the cache, downloaded if they are not there.
fn fetch(kind: MnistKind, split: Split, roots: &[&Path]) -> Result<(PathBuf, PathBuf)> {
    let MnistFiles { images, labels } = kind.files(split);
    let options = FetchOptions::default();
    let fetched = images.fetch_with(&options).and_then(|path| Ok((path, labels.fetch_with(&options)?)));
    fetched.map_err(|error| match error {
        DataError::NotFound { searched, .. } => DataError::NotFound {
            what: format!("{} ({split:?})", kind.name()),
            searched: roots.iter().map(|&root| root.to_owned()).chain(searched).collect(),
            hint: "enable the feature `download` of kiln-data to have it fetched, or put the files into a folder \
                   and name it in KILN_DATA"
                .to_owned(),
        },
        error => error,
    })
}

/// Reads two files and checks them against each other.
fn read(kind: MnistKind, split: Split, images: &Path, labels: &Path) -> Result<MnistData> {
    let (dims, labels_read) = read_bytes(labels)?;
    let &[count] = dims.as_slice() else {
        return Err(DataError::format(
            labels,
            format!("labels have one axis, but this has the sizes {dims:?}"),
        ));
    };
    if let Some(at) = labels_read.iter().position(|&label| usize::from(label) >= CLASSES) {
        let detail = format!("label {at} is {}, but there are {CLASSES} classes", labels_read[at]);
        return Err(DataError::format(labels, detail));
    }
    if labels_read.starts_with(&kind.other().first_labels(split)) {
        let (other, kind) = (kind.other().name(), kind.name());
        return Err(DataError::format(labels, format!("these are the labels of {other}, not of {kind}")));
    }

    let (dims, pixels) = read_bytes(images)?;
    let &[images_count, rows, columns] = dims.as_slice() else {
        return Err(DataError::format(
            images,
            format!("images have three axes, but this has the sizes {dims:?}"),
        ));
    };
    if images_count != count {
        let detail = format!("{images_count} images, but {count} labels in {}", labels.display());
        return Err(DataError::format(images, detail));
    }
    Ok(MnistData { images: pixels, shape: [count, rows, columns], labels: labels_read })
}

fn read_bytes(path: &Path) -> Result<(Vec<usize>, Vec<u8>)> {
    match IdxArray::open(path)? {
        IdxArray { dims, data: IdxData::U8(bytes) } => Ok((dims, bytes)),
        IdxArray { data, .. } => Err(DataError::format(
            path,
            format!("uint8 elements were expected, but these are {}", data.type_name()),
        )),
    }
}
