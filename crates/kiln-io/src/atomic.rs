//! Replacing a file as a whole: until the new content is on the disk, the old file stays what it was.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_autograd::{Error, Result};

use crate::fault::Outcome;

/// What [`replace`] hands to the one who writes.
pub(crate) type Sink = BufWriter<File>;

/// Writes `path` anew: into a temporary file of the same folder, which is forced to the disk and then renamed. An error or
/// a crash at any time leaves the old file, or none, and never half of the new one. A link is followed.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut Sink) -> Outcome<()>) -> Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let io = |source| Error::io(path, source);
    let old = fs::metadata(&target).ok();
    // A device or a pipe must not be replaced by a file, and a rename would not ask whether the file may be changed.
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "it exists and is not a regular file")));
    }
    if old.as_ref().is_some_and(|old| old.permissions().readonly()) {
        return Err(io(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the file that is there is read-only",
        )));
    }
    let (mut temporary, file) = Temporary::beside(&target).map_err(io)?;
    if let Some(old) = old {
        // Who could not read the old file shall not read the new one.
        file.set_permissions(old.permissions()).map_err(io)?;
    }
    let mut sink = BufWriter::with_capacity(1 << 16, file);
    write(&mut sink).map_err(|fault| fault.at(path))?;
    let file = sink.into_inner().map_err(|e| io(e.into_error()))?;
    file.sync_all().map_err(io)?;
    drop(file);
    fs::rename(&temporary.path, &target).map_err(io)?;
    temporary.renamed = true;
    sync_folder(&target);
    Ok(())
}

/// A file that is removed when it is dropped before it got its name.
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn beside(target: &Path) -> io::Result<(Temporary, File)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let Some(name) = target.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"));
        };
        loop {
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".{}.{}.tmp", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
            let path = target.with_file_name(temporary);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Temporary { path, renamed: false }, file)),
                // A crashed process of the same number left it: the next one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // There is already an error to report; a file that cannot be removed is no second one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes a rename outlast a power cut, where folders can be forced to the disk. The content is safe in either case, so a
/// file system that cannot do it is no error.
fn sync_folder(target: &Path) {
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

/// Writes zeros up to the next multiple of `unit`.
pub(crate) fn pad(sink: &mut impl Write, position: u64, unit: u64) -> io::Result<()> {
    let missing = position.next_multiple_of(unit) - position;
    io::copy(&mut io::Read::take(io::repeat(0), missing), sink).map(|_| ())
}
