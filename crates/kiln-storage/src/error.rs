//! The one error type of the workspace.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::path::PathBuf;

use crate::place::{Place, is_of_program};

/// What every fallible method of Kiln returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something failed: boxed, so that a `Result<Tensor>` stays two words.
///
/// The message names the operation, what came, what fits and, where there is a choice, what to do; last comes the line of
/// the program that called the operation. `Debug` prints the same text, so that it is what a program ends with whose
/// `main` returns the error.
///
/// ```
/// use kiln_storage::{Error, ErrorKind};
/// let e = Error::shape("matmul", "[2, 3] by [4, 5]: the inner sizes 3 and 4 differ");
/// assert!(matches!(e.kind(), ErrorKind::Shape { .. }));
/// assert_eq!(e.kind().to_string(), "matmul: [2, 3] by [4, 5]: the inner sizes 3 and 4 differ");
/// let place = e.place().expect("this very line");
/// assert_eq!(e.to_string(), format!("{} (at {place})", e.kind()));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    /// A line of the program, never one of Kiln's own.
    place: Option<Place>,
}

/// The name of an operation in a message.
pub type OpName = Cow<'static, str>;

/// The kinds of [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes, ranks or sizes that do not fit.
    #[error("{op}: {detail}")]
    Shape {
        /// The operation.
        op: OpName,
        /// What came and what fits.
        detail: String,
    },
    /// A dtype the operation does not take, or dtypes that do not go together.
    #[error("{op}: {detail}")]
    DType {
        /// The operation.
        op: OpName,
        /// What came and what fits.
        detail: String,
    },
    /// Tensors on devices that differ, or a device that is not there.
    #[error("{op}: {detail}")]
    Device {
        /// The operation.
        op: OpName,
        /// Which devices, and what to do.
        detail: String,
    },
    /// An index, axis or range outside of what the tensor has.
    #[error("{op}: {detail}")]
    Index {
        /// The operation.
        op: OpName,
        /// Which index, and the valid range.
        detail: String,
    },
    /// An argument whose value makes no sense.
    #[error("{op}: {detail}")]
    Value {
        /// The operation.
        op: OpName,
        /// Which value, and what is valid.
        detail: String,
    },
    /// Misuse of automatic differentiation.
    #[error("{op}: {detail}")]
    Autograd {
        /// The operation.
        op: OpName,
        /// What went wrong and what to do.
        detail: String,
    },
    /// Something that this device or build cannot do.
    #[error("{op}: {detail}")]
    Unsupported {
        /// The operation.
        op: OpName,
        /// What is missing.
        detail: String,
    },
    /// Memory that a guard of this thread has lent out, so that waiting for it would never end.
    #[error("{op}: {detail}")]
    Borrowed {
        /// The operation.
        op: OpName,
        /// Who holds the memory.
        detail: String,
    },
    /// Reading or writing a file failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The content of a file is not what it should be.
    #[error("{}: {detail}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        detail: String,
    },
    /// An error that a user's own code returned.
    #[error("{0}")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        impl Error {
            $($(#[$doc])*
            #[cold]
            #[track_caller]
            pub fn $name(op: impl Into<OpName>, detail: impl Into<String>) -> Error {
                Error::from(ErrorKind::$kind { op: op.into(), detail: detail.into() })
            })*
        }
    };
}

constructors! {
    /// An [`ErrorKind::Shape`].
    shape => Shape;
    /// An [`ErrorKind::DType`].
    dtype => DType;
    /// An [`ErrorKind::Device`].
    device => Device;
    /// An [`ErrorKind::Index`].
    index => Index;
    /// An [`ErrorKind::Value`].
    value => Value;
    /// An [`ErrorKind::Autograd`].
    autograd => Autograd;
    /// An [`ErrorKind::Unsupported`].
    unsupported => Unsupported;
    /// An [`ErrorKind::Borrowed`].
    borrowed => Borrowed;
}

impl Error {
    /// An [`ErrorKind::Io`].
    #[cold]
    #[track_caller]
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error::from(ErrorKind::Io { path: path.into(), source })
    }

    /// An [`ErrorKind::Format`].
    #[cold]
    #[track_caller]
    pub fn format(path: impl Into<PathBuf>, detail: impl Into<String>) -> Error {
        Error::from(ErrorKind::Format { path: path.into(), detail: detail.into() })
    }

    /// Wraps an error of another crate, so that `?` works in code that mixes both.
    #[cold]
    #[track_caller]
    pub fn other(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::from(ErrorKind::Other(source.into()))
    }

    /// What kind of error this is, with its parts. Prints as the message without the place.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The line of the program that called what failed, where it is known: the operation or layer, or the code of the
    /// program itself that has made this error.
    pub fn place(&self) -> Option<Place> {
        self.0.place
    }

    /// The same error with a place, unless it has one already or the place is a line of Kiln's own. Functions say
    /// [`Here::here`](crate::Here::here) instead.
    #[cold]
    pub fn at(mut self, place: Place) -> Error {
        if self.0.place.is_none() && is_of_program(place) {
            self.0.place = Some(place);
        }
        self
    }

    /// The same error, its message followed by `more`: in which part of a network it arose, say. Errors of the operating
    /// system and of other crates stay as they are.
    #[cold]
    pub fn followed_by(mut self, more: &str) -> Error {
        use ErrorKind::*;
        match &mut self.0.kind {
            Shape { detail, .. } | DType { detail, .. } | Device { detail, .. } | Index { detail, .. } => {
                detail.push_str(more);
            }
            Value { detail, .. } | Autograd { detail, .. } | Unsupported { detail, .. } => {
                detail.push_str(more)
            }
            Borrowed { detail, .. } | Format { detail, .. } => detail.push_str(more),
            Io { .. } | Other(_) => {}
        }
        self
    }
}

impl From<ErrorKind> for Error {
    #[cold]
    #[track_caller]
    fn from(kind: ErrorKind) -> Error {
        Error(Box::new(Inner { kind, place: None })).at(Location::caller())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)?;
        match self.0.place {
            Some(place) => write!(f, " (at {place})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.kind.source()
    }
}
