//! Sizes along the spatial axes as users write them: one number for all axes, or one for each.

use std::fmt;
use std::str::FromStr;

use kiln_autograd::{Error, PadMode, Result};

/// A size for each of `N` spatial axes, or one for all: `3`, `[3, 5]`, `(3, 5)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent<const N: usize> {
    /// The same for all.
    Same(usize),
    /// In order.
    Each([usize; N]),
}

/// One number for height and width, or one for each.
pub type Pair = Extent<2>;

impl<const N: usize> Extent<N> {
    /// All sizes.
    pub fn sizes(self) -> [usize; N] {
        match self {
            Extent::Same(n) => [n; N],
            Extent::Each(sizes) => sizes,
        }
    }
}

/// As Python prints what was given.
impl<const N: usize> fmt::Display for Extent<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Extent::Same(n) => write!(f, "{n}"),
            Extent::Each(sizes) => f.write_str(&tuple(sizes)),
        }
    }
}

impl<const N: usize> From<usize> for Extent<N> {
    fn from(n: usize) -> Extent<N> {
        Extent::Same(n)
    }
}

impl<const N: usize> From<[usize; N]> for Extent<N> {
    fn from(sizes: [usize; N]) -> Extent<N> {
        Extent::Each(sizes)
    }
}

impl From<(usize, usize)> for Extent<2> {
    fn from((h, w): (usize, usize)) -> Extent<2> {
        Extent::Each([h, w])
    }
}

impl From<(usize, usize, usize)> for Extent<3> {
    fn from((d, h, w): (usize, usize, usize)) -> Extent<3> {
        Extent::Each([d, h, w])
    }
}

/// Numbers as a Python tuple.
pub(crate) fn tuple<T: fmt::Display>(numbers: &[T]) -> String {
    match numbers {
        [one] => format!("({one},)"),
        _ => format!("({})", numbers.iter().map(T::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// The first `M` of `N` sizes, for methods of a fixed number of axes that are chosen by `N`.
pub(crate) fn cut<const N: usize, const M: usize>(sizes: [usize; N]) -> [usize; M] {
    std::array::from_fn(|i| sizes[i])
}

/// How many zeros a convolution puts around its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding<const N: usize = 2> {
    /// So many on each side.
    Size(Extent<N>),
    /// None: `"valid"`.
    Valid,
    /// As many as make the output the size of the input: `"same"`.
    Same,
    /// A word that means nothing; the layer refuses it.
    Unknown(String),
}

impl<const N: usize, P: Into<Extent<N>>> From<P> for Padding<N> {
    fn from(sizes: P) -> Padding<N> {
        Padding::Size(sizes.into())
    }
}

impl<const N: usize> From<&str> for Padding<N> {
    fn from(name: &str) -> Padding<N> {
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

impl FromStr for PaddingMode {
    type Err = Error;

    /// The mode of PyTorch's name.
    fn from_str(name: &str) -> Result<PaddingMode> {
        match name {
            "zeros" => Ok(PaddingMode::Zeros),
            "reflect" => Ok(PaddingMode::Reflect),
            "replicate" => Ok(PaddingMode::Replicate),
            "circular" => Ok(PaddingMode::Circular),
            _ => Err(Error::value(
                "padding_mode",
                format!(
                    "padding_mode must be one of {{'zeros', 'reflect', 'replicate', 'circular'}}, but got \
                     padding_mode='{name}'"
                ),
            )),
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
