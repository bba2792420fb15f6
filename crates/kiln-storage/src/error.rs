//! The one error type of the workspace.

use std::borrow::Cow;
use std::path::PathBuf;

/// What every fallible method of Kiln returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something failed: boxed, so that a `Result<Tensor>` stays two words.
///
/// The message names the operation, what came, what fits and, where there is a choice, what to do.
///
/// ```
/// use kiln_storage::{Error, ErrorKind};
/// let e = Error::shape("matmul", "[2, 3] by [4, 5]: the inner sizes 3 and 4 differ");
/// assert_eq!(e.to_string(), "matmul: [2, 3] by [4, 5]: the inner sizes 3 and 4 differ");
/// assert!(matches!(e.kind(), ErrorKind::Shape { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

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
            pub fn $name(op: impl Into<OpName>, detail: impl Into<String>) -> Error {
                Error(Box::new(ErrorKind::$kind { op: op.into(), detail: detail.into() }))
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
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error(Box::new(ErrorKind::Io { path: path.into(), source }))
    }

    /// An [`ErrorKind::Format`].
    #[cold]
    pub fn format(path: impl Into<PathBuf>, detail: impl Into<String>) -> Error {
        Error(Box::new(ErrorKind::Format { path: path.into(), detail: detail.into() }))
    }

    /// Wraps an error of another crate, so that `?` works in code that mixes both.
    #[cold]
    pub fn other(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error(Box::new(ErrorKind::Other(source.into())))
    }

    /// What kind of error this is, with its parts.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Error {
        Error(Box::new(kind))
    }
}
