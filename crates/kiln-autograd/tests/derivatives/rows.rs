//! What a row is, and the methods that have none.

use kiln_autograd::{Result, Tensor};

/// A method with inputs on which it is differentiable.
pub struct Row {
    /// The method's name.
    pub name: &'static str,
    /// Where the inputs' elements lie.
    pub range: (f64, f64),
    /// The inputs' shapes.
    pub shapes: &'static [&'static [usize]],
    /// The method called on the inputs.
    pub f: fn(&[Tensor]) -> Result<Vec<Tensor>>,
}

impl Row {
    /// Leaves whose elements are spread over the range, no two of them close to each other.
    pub fn inputs(&self) -> Vec<Tensor> {
        const GOLDEN: f64 = 0.618_033_988_749_895;
        let (low, high) = self.range;
        let mut at = 0.117;
        let mut next = || {
            at = (at + GOLDEN) % 1.0;
            low + (high - low) * at
        };
        let make = |shape: &&[usize]| {
            let numbers: Vec<f64> = (0..shape.iter().product()).map(|_| next()).collect();
            let t = Tensor::from_vec(numbers, *shape).and_then(|t| t.requires_grad_(true));
            t.expect("as many numbers as elements")
        };
        self.shapes.iter().map(make).collect()
    }
}

/// What methods return, as a list.
pub trait List {
    fn list(self) -> Vec<Tensor>;
}

impl List for Tensor {
    fn list(self) -> Vec<Tensor> {
        vec![self]
    }
}

impl List for (Tensor, Tensor) {
    fn list(self) -> Vec<Tensor> {
        vec![self.0, self.1]
    }
}

impl List for (Tensor, Tensor, Tensor) {
    fn list(self) -> Vec<Tensor> {
        vec![self.0, self.1, self.2]
    }
}

impl List for Vec<Tensor> {
    fn list(self) -> Vec<Tensor> {
        self
    }
}

/// A table: name, range of the elements, shapes, and the call.
macro_rules! rows {
    ($($name:literal $low:literal to $high:literal $([$($size:literal),*])+ => |$x:ident| $f:expr;)*) => {
        pub const ROWS: &[Row] = &[$(Row {
            name: $name,
            range: ($low, $high),
            shapes: &[$(&[$($size),*]),+],
            f: |$x: &[Tensor]| $f.map(List::list),
        }),*];
    };
}
pub(crate) use rows;

/// Methods that only have a first derivative, as in PyTorch.
pub const TWICE_NOT: &[&str] = &["ctc_loss"];

/// Methods without a derivative where there could be one: PyTorch refuses it as well.
pub const REFUSED: &[&str] = &["airy_ai", "geqrf", "histogram", "histogramdd", "out"];

/// Methods whose gradient is not the derivative of their values.
pub const ODD: &[&str] = &[
    // PyTorch gives the tensor that is written to the gradient of the elements that were overwritten.
    "as_strided_scatter",
    // PyTorch's windows of the gradient lie off centre; its values test it.
    "cross_map_lrn2d",
];

/// Methods without a derivative: truth values, integers and positions, and constants in the shape of a tensor.
pub const NOT_DIFFERENTIABLE: &[&str] = &[
    "all",
    "all_axes",
    "allclose",
    "any",
    "any_axes",
    "argmax",
    "argmin",
    "argsort",
    "argwhere",
    "bincount",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bucketize",
    "count_nonzero",
    "eq",
    "equal",
    "full_like",
    "gcd",
    "ge",
    "gt",
    "heaviside",
    "histc",
    "isclose",
    "isin",
    "isreal",
    "lcm",
    "le",
    "logical_and",
    "logical_or",
    "logical_xor",
    "lt",
    "matrix_rank",
    "ne",
    "new_empty_strided",
    "nextafter",
    "nonzero",
    "nonzero_static",
    "one_hot",
    "ones_like",
    "searchsorted",
    "unique",
    "unique_consecutive",
    "unique_consecutive_with",
    "unique_with",
    "unravel_index",
    "zeros_like",
];
