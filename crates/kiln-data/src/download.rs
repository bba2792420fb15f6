//! Fetching a file from mirrors into a cache folder.
//!
//! A download goes to `NAME.part`, which a later attempt continues, and becomes `NAME` by a rename once its
//! size and checksum are right: a file with its final name is whole. `NAME.lock` keeps two processes from
//! fetching the same file at the same time; the second waits and then finds it there.
//!
//! The network part needs the crate's feature `download`. Without it, files that are already in the cache are
//! found and checked all the same.

mod checksum;
#[cfg(feature = "download")]
mod http;

use std::env;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

pub use checksum::Checksum;

use crate::error::{DataError, Result};

/// A published file: where it is, and how to know it.
///
/// ```no_run
/// use kiln_data::download::{Checksum, Download};
///
/// let labels = Download {
///     name: "fashion-mnist/t10k-labels-idx1-ubyte.gz",
///     urls: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz"],
///     checksum: Checksum::Md5("bb300cfdad3c16e7a12a480ee83cd310"),
///     size: 5148,
/// };
/// let path = labels.fetch()?;
/// # Ok::<(), kiln_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Download<'a> {
    /// The file's name in the cache, which may have folders in it: `mnist/train-images-idx3-ubyte.gz`.
    pub name: &'a str,
    /// Where the file can be had; tried in this order.
    pub urls: &'a [&'a str],
    /// What the file's content must give.
    pub checksum: Checksum<'a>,
    /// The file's size in bytes. Nothing larger is ever written.
    pub size: u64,
}

/// How to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// The cache folder; `None` means [`cache_dir`].
    pub cache: Option<PathBuf>,
    /// How long a mirror may be silent while looking it up, connecting, answering and sending.
    pub timeout: Duration,
    /// Whether to show a progress bar, if the error output is a terminal.
    pub progress: bool,
}

impl Default for FetchOptions {
    fn default() -> FetchOptions {
        FetchOptions { cache: None, timeout: Duration::from_secs(30), progress: true }
    }
}

impl Download<'_> {
    /// The path of the file in the cache, fetched from the first mirror that has it if it is not there yet.
    ///
    /// A file found in the cache is checked too, and fetched anew if it is damaged.
    ///
    /// # Errors
    ///
    /// [`DataError::Download`] when no mirror delivers the file, with each one's failure;
    /// [`DataError::Cache`] when the cache cannot be written to; [`DataError::NotFound`] when the file is not
    /// in the cache and the feature `download` is off.
    pub fn fetch(&self) -> Result<PathBuf> {
        self.fetch_with(&FetchOptions::default())
    }

    /// [`fetch`](Download::fetch) with options.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Download::fetch).
    pub fn fetch_with(&self, options: &FetchOptions) -> Result<PathBuf> {
        let target = self.path_in(options.cache.as_deref())?;
        match self.check(&target) {
            Ok(()) => Ok(target),
            Err(unfit) => self.fetch_to(target, unfit, options),
        }
    }

    /// Where the file is or would be in the cache folder given, or in the usual one.
    pub(crate) fn path_in(&self, cache: Option<&Path>) -> Result<PathBuf> {
        let name = Path::new(self.name);
        let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.file_name().is_none() {
            return Err(DataError::format(name, "not a name for a file inside the cache folder"));
        }
        Ok(match cache {
            Some(folder) => folder.join(name),
            None => cache_dir()?.join(name),
        })
    }

    /// Whether `path` is the published file.
    fn check(&self, path: &Path) -> Result<()> {
        let size = path.metadata().map_err(|source| DataError::io("open", path, source))?.len();
        if size != self.size {
            return Err(DataError::format(
                path,
                format!("{size} bytes long, but {} were expected", self.size),
            ));
        }
        self.checksum.verify(path)
    }

    #[cfg(feature = "download")]
    fn fetch_to(&self, target: PathBuf, unfit: DataError, options: &FetchOptions) -> Result<PathBuf> {
        let _lock = lock(&target, options.progress)?;
        // Whoever held the lock may have fetched the file.
        if self.check(&target).is_err() {
            http::fetch(self, &target, options).map_err(|error| with_cached(error, &target, &unfit))?;
        }
        Ok(target)
    }

    #[cfg(not(feature = "download"))]
    fn fetch_to(&self, target: PathBuf, unfit: DataError, _: &FetchOptions) -> Result<PathBuf> {
        if is_missing(&unfit) {
            Err(DataError::NotFound {
                what: self.name.to_owned(),
                searched: vec![target],
                hint: "enable the feature `download` of kiln-data to have it fetched, or put the file there"
                    .to_owned(),
            })
        } else {
            Err(unfit)
        }
    }
}

/// The folder downloads are kept in: `KILN_CACHE`, or else `kiln` in the platform's folder for caches, which
/// is `$XDG_CACHE_HOME` or `~/.cache` on Linux.
///
/// # Errors
///
/// [`DataError::NoCacheFolder`] when `KILN_CACHE` is not set and there is no home folder either.
pub fn cache_dir() -> Result<PathBuf> {
    // Relative paths in XDG variables are to be ignored, says the specification of base directories.
    let absolute = |name| folder_variable(name).filter(|path| path.is_absolute());
    if let Some(folder) = folder_variable("KILN_CACHE") {
        return Ok(folder);
    }
    let caches = if cfg!(windows) {
        absolute("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        env::home_dir().map(|home| home.join("Library").join("Caches"))
    } else {
        absolute("XDG_CACHE_HOME")
            .or_else(|| env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".cache")))
    };
    caches.map(|folder| folder.join("kiln")).ok_or(DataError::NoCacheFolder)
}

/// A folder named by an environment variable; an empty variable counts as unset.
pub(crate) fn folder_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn is_missing(error: &DataError) -> bool {
    matches!(error, DataError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// Says in a failed download's error, first of all, what was wrong with the file in the cache.
#[cfg(feature = "download")]
fn with_cached(mut error: DataError, target: &Path, unfit: &DataError) -> DataError {
    if let DataError::Download { failures, .. } = &mut error
        && !is_missing(unfit)
    {
        let url = target.display().to_string();
        failures.insert(0, crate::MirrorFailure { url, reason: format!("in the cache, but unfit: {unfit}") });
    }
    error
}

/// Creates the target's folder and locks `TARGET.lock` in it until the file is dropped.
#[cfg(feature = "download")]
fn lock(target: &Path, talk: bool) -> Result<std::fs::File> {
    use std::fs::{self, File, TryLockError};
    use std::io::IsTerminal;

    let cache_error = |path: &Path, source| DataError::Cache { path: path.to_owned(), source };
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(|source| cache_error(folder, source))?;
    }
    let path = with_suffix(target, ".lock");
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(|source| cache_error(&path, source))?;
    let locked = match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            if talk && io::stderr().is_terminal() {
                eprintln!("waiting for another process that is downloading {}", target.display());
            }
            file.lock()
        }
        Err(TryLockError::Error(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    match locked {
        // Some network file systems have no locks. Two downloads may then spoil each other, which the check
        // of the cached file finds out at the next use.
        Err(source) if source.kind() != io::ErrorKind::Unsupported => Err(cache_error(&path, source)),
        _ => Ok(file),
    }
}

#[cfg(feature = "download")]
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
