//! Places: the lines of the program that errors name.

use std::panic::Location;

use crate::Error;

/// A line of the source code, as `#[track_caller]` tells it.
pub type Place = &'static Location<'static>;

/// Crates whose lines are not the program's.
const INSIDE: &[&str] = &[
    "kiln-storage",
    "kiln-ops",
    "kiln-autograd",
    "kiln-nn",
    "kiln-optim",
    "kiln-data",
    "kiln-io",
    "kiln-models",
    "kiln-plot",
    "kiln",
];

/// Where Rust's own library lies: an operation that is handed on as a function (`.map(Tensor::exp)`) is called from there.
const LIBRARY: &[&str] = &["/rustc/", "/rustlib/src/rust/library/", "\\rustlib\\src\\rust\\library\\"];

/// Whether a place lies in the program, not in Kiln itself nor in Rust's library: layers and derivatives call operations
/// too, and their lines would help nobody.
#[cold]
pub fn is_of_program(place: Place) -> bool {
    if LIBRARY.iter().any(|library| place.file().contains(library)) {
        return false;
    }
    // Kiln's crates stand beside each other, in the repository as in a registry.
    let Some((before, after)) = file!().strip_suffix("place.rs").and_then(|f| f.rsplit_once("kiln-storage"))
    else {
        return true;
    };
    let Some(file) = place.file().strip_prefix(before) else { return true };
    !INSIDE.iter().any(|name| file.strip_prefix(name).is_some_and(|rest| rest.starts_with(after)))
}

/// Tells an error the line of the program that it comes from.
pub trait Here: Sized {
    /// The same result; an error that knows no line of the program yet learns this function's caller's.
    ///
    /// A function with `#[track_caller]` hands its own caller's line on: every public function of Kiln that can fail has
    /// that attribute and says `.here()` where it calls one that has not, so that the line is the program's. The
    /// attribute does not reach into closures, nor through trait objects; there the line would be one of Kiln's own and is
    /// left out, for the next `.here()` further out to tell.
    #[must_use]
    #[track_caller]
    fn here(self) -> Self;
}

impl<T> Here for Result<T, Error> {
    #[inline]
    #[track_caller]
    fn here(self) -> Self {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(error.at(Location::caller())),
        }
    }
}
