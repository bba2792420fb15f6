//! Tensors as text, the same text that PyTorch prints.
//!
//! [`TensorText`] gathers what the text depends on, none of it tied to a tensor type, and [`TensorText::format`] writes it:
//!
//! ```
//! use kiln_ops::display::{PrintOptions, TensorText, Values};
//!
//! let values = [0.5, -20.0, f64::NAN, 1.0];
//! let value = |i: usize| values[i];
//! let text = TensorText { dtype: "float64", ..TensorText::new(&[2, 2], Values::Float(&value)) };
//! assert_eq!(
//!     text.format(&PrintOptions::default()),
//!     "tensor([[  0.5000, -20.0000],\n        [     nan,   1.0000]], dtype=torch.float64)"
//! );
//! ```

mod cells;
mod layout;
mod options;

pub use options::{PrintOptions, printoptions, set_printoptions};

const PREFIX: &str = "tensor(";

/// The elements of a tensor, by their index in row-major order.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// Truth values.
    Bool(&'a dyn Fn(usize) -> bool),
    /// Integers of any width.
    Int(&'a dyn Fn(usize) -> i64),
    /// Floating-point numbers of any width, which `f64` holds exactly.
    Float(&'a dyn Fn(usize) -> f64),
}

/// A tensor that is to be printed.
#[derive(Clone, Copy)]
pub struct TensorText<'a> {
    /// Sizes of the dimensions.
    pub shape: &'a [usize],
    /// The elements.
    pub values: Values<'a>,
    /// The dtype as PyTorch calls it, `float32`. Shown unless it is the default one or follows from the elements.
    pub dtype: &'a str,
    /// The dtype that needs no mention, normally `float32`.
    pub default_dtype: &'a str,
    /// The device, if it is to be shown.
    pub device: Option<&'a str>,
    /// The name of the operation that made the tensor, `MulBackward0`.
    pub grad_fn: Option<&'a str>,
    /// Whether gradients are collected; not shown beside a `grad_fn`.
    pub requires_grad: bool,
}

impl<'a> TensorText<'a> {
    /// A tensor of the usual dtype of its kind of values (`bool`, `int64`, `float32`), on the default device, without history.
    pub fn new(shape: &'a [usize], values: Values<'a>) -> Self {
        let dtype = match values {
            Values::Bool(_) => "bool",
            Values::Int(_) => "int64",
            Values::Float(_) => "float32",
        };
        TensorText {
            shape,
            values,
            dtype,
            default_dtype: "float32",
            device: None,
            grad_fn: None,
            requires_grad: false,
        }
    }

    /// The text, from `tensor(` to the closing parenthesis.
    pub fn format(&self, options: &PrintOptions) -> String {
        let mut text = String::from(PREFIX);
        layout::write_elements(&mut text, self.shape, self.values, PREFIX.len(), options);
        append_suffixes(&mut text, &self.suffixes(options), options.linewidth);
        text.push(')');
        text
    }

    /// What follows the elements, in PyTorch's order.
    fn suffixes(&self, options: &PrintOptions) -> Vec<String> {
        let empty = self.shape.contains(&0);
        let mut suffixes = Vec::new();
        if let Some(device) = self.device {
            suffixes.push(format!("device='{device}'"));
        }
        // Elements show the shape, unless there are none; one empty pair of brackets stands for the shape (0,).
        let shape_is_hidden = if empty { self.shape.len() != 1 } else { options.edgeitems == 0 };
        if shape_is_hidden {
            suffixes.push(format!("size={}", python_tuple(self.shape)));
        }
        // Elements show that they are integers or truth values.
        let evident = !empty && matches!(self.dtype, "int64" | "bool");
        if self.dtype != self.default_dtype && !evident {
            suffixes.push(format!("dtype=torch.{}", self.dtype));
        }
        if let Some(name) = self.grad_fn {
            suffixes.push(format!("grad_fn=<{name}>"));
        } else if self.requires_grad {
            suffixes.push("requires_grad=True".to_owned());
        }
        suffixes
    }
}

fn python_tuple(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    match &sizes[..] {
        [one] => format!("({one},)"),
        several => format!("({})", several.join(", ")),
    }
}

/// Appends each suffix to the last line, or to a new one where it does not fit.
fn append_suffixes(text: &mut String, suffixes: &[String], linewidth: usize) {
    // PyTorch counts two columns that are not there.
    let mut column = text.len() - text.rfind('\n').map_or(0, |newline| newline + 1) + 2;
    for suffix in suffixes {
        let len = suffix.chars().count();
        if column + len + 2 > linewidth {
            text.push_str(",\n");
            text.extend(std::iter::repeat_n(' ', PREFIX.len()));
            column = PREFIX.len() + len;
        } else {
            text.push_str(", ");
            column += len + 2;
        }
        text.push_str(suffix);
    }
}
