//! Padding as layers: [`ZeroPad2d`], [`ConstantPad2d`], [`ReflectionPad2d`], [`ReplicationPad2d`], [`CircularPad2d`] and
//! their forms for one and three axes.

use kiln_autograd::{Error, PadMode, Result, Tensor};

use crate::module::{Forward, Module};
use crate::parts::{Parts, Training};
use crate::pool::by_axes;
use crate::print::{print_as_module, python_float};
use crate::size::tuple;

/// How much is added before and behind each axis: one number for all sides, or a list from the last axis on, as
/// `(left, right, top, bottom)`. A negative number cuts off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides(Vec<i64>);

impl From<i64> for Sides {
    fn from(n: i64) -> Sides {
        Sides(vec![n])
    }
}

impl<const M: usize> From<[i64; M]> for Sides {
    fn from(sides: [i64; M]) -> Sides {
        Sides(sides.to_vec())
    }
}

impl From<Vec<i64>> for Sides {
    fn from(sides: Vec<i64>) -> Sides {
        Sides(sides)
    }
}

impl Sides {
    /// The numbers for `axes` axes.
    #[track_caller]
    fn all(&self, op: &'static str, axes: usize) -> Result<Vec<i64>> {
        match self.0.as_slice() {
            [one] => Ok(vec![*one; 2 * axes]),
            sides if sides.len() == 2 * axes => Ok(sides.to_vec()),
            sides => Err(Error::value(op, format!("expected 1 or {} numbers, got {sides:?}", 2 * axes))),
        }
    }

    fn text(&self, axes: usize) -> String {
        match self.0.as_slice() {
            [one] => tuple(&vec![*one; 2 * axes]),
            sides => tuple(sides),
        }
    }
}

/// Pads the last `axes` axes of an input that has channels before them, and maybe a batch.
#[track_caller]
fn pad(op: &'static str, input: &Tensor, sides: &Sides, axes: usize, mode: PadMode) -> Result<Tensor> {
    let sides = sides.all(op, axes)?;
    match mode {
        PadMode::Constant(value) => input.constant_pad_nd(&sides, value),
        _ if input.rank() == axes + 1 && mode == PadMode::Circular => {
            input.unsqueeze(0)?.pad(&sides, mode)?.squeeze_axis(0)
        }
        _ => input.pad(&sides, mode),
    }
}

macro_rules! pads {
    ($($(#[$doc:meta])* $layer:ident: $mode:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// Shapes: `[n, c, sizes..]`, without `n` too.
        #[derive(Clone)]
        pub struct $layer<const N: usize> {
            sides: Sides,
            training: Training,
        }

        impl<const N: usize> $layer<N> {
            /// Adds so much: a number for all sides, or a list from the last axis on.
            pub fn new(padding: impl Into<Sides>) -> $layer<N> {
                $layer { sides: padding.into(), training: Training::default() }
            }
        }

        impl<const N: usize> Module for $layer<N> {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
            }

            fn type_name(&self) -> &str {
                Self::OP
            }

            fn extra_repr(&self) -> String {
                self.sides.text(N)
            }
        }

        impl<const N: usize> Forward for $layer<N> {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                pad(Self::OP, input, &self.sides, N, $mode)
            }
        }
    )*};
}

by_axes! {
    ZeroPadNd: ZeroPad1d ZeroPad2d ZeroPad3d;
    ReflectionPadNd: ReflectionPad1d ReflectionPad2d ReflectionPad3d;
    ReplicationPadNd: ReplicationPad1d ReplicationPad2d ReplicationPad3d;
    CircularPadNd: CircularPad1d CircularPad2d CircularPad3d;
    ConstantPadNd: ConstantPad1d ConstantPad2d ConstantPad3d;
}

pads! {
    /// Zeros around the input.
    ///
    /// ```
    /// use kiln_nn::{Forward, Tensor, ZeroPad2d};
    /// let x = Tensor::from_vec(vec![1.0f32], [1, 1, 1])?;
    /// assert_eq!(ZeroPad2d::new([1, 0, 0, 0]).forward(&x)?.to_vec::<f32>()?, [0.0, 1.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ZeroPadNd: PadMode::Constant(0.into());
    /// The input mirrored at its border; the border itself is not repeated.
    ReflectionPadNd: PadMode::Reflect;
    /// The border elements again and again.
    ReplicationPadNd: PadMode::Replicate;
    /// The input again, from the other side.
    CircularPadNd: PadMode::Circular;
}

/// One number around the input.
///
/// Shapes: `[n, c, sizes..]`, without `n` too.
#[derive(Clone)]
pub struct ConstantPadNd<const N: usize> {
    sides: Sides,
    value: f64,
    training: Training,
}

impl<const N: usize> ConstantPadNd<N> {
    /// Adds so much (a number for all sides, or a list from the last axis on) of this value.
    pub fn new(padding: impl Into<Sides>, value: f64) -> ConstantPadNd<N> {
        ConstantPadNd { sides: padding.into(), value, training: Training::default() }
    }
}

impl<const N: usize> Module for ConstantPadNd<N> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn type_name(&self) -> &str {
        Self::OP
    }

    fn extra_repr(&self) -> String {
        format!("padding={}, value={}", self.sides.text(N), python_float(self.value))
    }
}

impl<const N: usize> Forward for ConstantPadNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        pad(Self::OP, input, &self.sides, N, PadMode::Constant(self.value.into()))
    }
}
