//! Sizes along two spatial axes as users write them: one number for both, or a pair.

use std::fmt;

use kiln_autograd::PadMode;

/// One number for height and width, or one for each: `3`, `[3, 5]`, `(3, 5)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// The same for both.
    Same(usize),
    /// Height and width.
    Each(usize, usize),
}

impl Pair {
    /// Height and width.
    pub fn sizes(self) -> [usize; 2] {
        match self {
            Pair::Same(n) => [n, n],
            Pair::Each(h, w) => [h, w],
        }
    }
}

/// As Python prints what was given.
impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pair::Same(n) => write!(f, "{n}"),
            Pair::Each(h, w) => write!(f, "({h}, {w})"),
        }
    }
}

impl From<usize> for Pair {
    fn from(n: usize) -> Pair {
        Pair::Same(n)
    }
}

impl From<[usize; 2]> for Pair {
    fn from([h, w]: [usize; 2]) -> Pair {
        Pair::Each(h, w)
    }
}

impl From<(usize, usize)> for Pair {
    fn from((h, w): (usize, usize)) -> Pair {
        Pair::Each(h, w)
    }
}

/// How many zeros a convolution puts around its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// So many on each side.
    Size(Pair),
    /// None: `"valid"`.
    Valid,
    /// As many as make the output the size of the input: `"same"`.
    Same,
    /// A word that means nothing; the layer refuses it.
    Unknown(String),
}

impl<P: Into<Pair>> From<P> for Padding {
    fn from(pair: P) -> Padding {
        Padding::Size(pair.into())
    }
}

impl From<&str> for Padding {
    fn from(name: &str) -> Padding {
        match name {
            "valid" => Padding::Valid,
            "same" => Padding::Same,
            _ => Padding::Unknown(name.to_owned()),
        }
    }
}

/// What the padding of a convolution is filled with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The input mirrored at its border.
    Reflect,
    /// The border elements.
    Replicate,
    /// The input again, from the other side.
    Circular,
}

impl PaddingMode {
    /// PyTorch's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            PaddingMode::Zeros => "zeros",
            PaddingMode::Reflect => "reflect",
            PaddingMode::Replicate => "replicate",
            PaddingMode::Circular => "circular",
        }
    }
}

impl From<PaddingMode> for PadMode {
    fn from(mode: PaddingMode) -> PadMode {
        match mode {
            PaddingMode::Zeros => PadMode::Constant(0.into()),
            PaddingMode::Reflect => PadMode::Reflect,
            PaddingMode::Replicate => PadMode::Replicate,
            PaddingMode::Circular => PadMode::Circular,
        }
    }
}
