//! Results in tensors that are there already: PyTorch's argument `out`.

use kiln_ops::DType;
use kiln_ops::elementwise::{self as e, BinaryOp, FloatBinaryOp};

use crate::arg::Arg;
use crate::{Error, Here, Result, Tensor};

/// Refuses what has a derivative: a result that is written somewhere has no history.
fn check_untracked(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    if !Tensor::any_requires_grad(tensors) {
        return Ok(());
    }
    Err(Error::autograd(
        op,
        "functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad",
    ))
}

fn check_cast(op: &'static str, from: DType, to: DType) -> Result<()> {
    if from.can_cast(to) {
        return Ok(());
    }
    Err(Error::dtype(op, format!("result type {from} can't be cast to the desired output type {to}")))
}

/// A row: the method, the entry, the op code and the dtype of the result from that of the operands together.
macro_rules! out_methods {
    ($($(#[$doc:meta])* $name:ident: $entry:ident, $code:expr, $dtype:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                /// No other memory is taken. `out` may be one of the operands; of another shape than the result's, it takes
                /// its sizes.
                ///
                /// # Errors
                /// As the operation; a result that cannot be cast to the dtype of `out`; an operand that shares some of its
                /// elements with `out`; something requires grad.
                #[track_caller]
                pub fn $name<'a>(&self, other: impl Into<Arg<'a>>, out: &Tensor) -> Result<()> {
                    const OP: &str = stringify!($name);
                    let other = other.into();
                    check_untracked(OP, &[self, other.tensor().unwrap_or(self), out]).here()?;
                    let dtype: fn(DType) -> DType = $dtype;
                    check_cast(OP, dtype(self.joint_dtype(other)), out.dtype()).here()?;
                    if let Some(other) = other.tensor() {
                        let shape = kiln_ops::broadcast_shapes(OP, &self.shape(), &other.shape()).here()?;
                        out.take_sizes(&shape)?;
                    } else {
                        out.take_sizes(&self.shape())?;
                    }
                    other.with(|o| e::$entry($code, &*self.raw(), o, &out.raw())).here()
                }
            )*
        }
    };
}

out_methods! {
    /// `self + other` written to `out` (`torch.add(out=)`).
    ///
    /// ```
    /// use kiln_autograd::{Tensor, tensor};
    /// let (x, out) = (tensor![1., 2.], Tensor::zeros([2]));
    /// x.add_out(&x, &out)?;
    /// assert_eq!(out.to_vec::<f32>()?, [2., 4.]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    add_out: binary_out, BinaryOp::Add, |dtype| dtype;
    /// `self - other` written to `out` (`torch.sub(out=)`).
    sub_out: binary_out, BinaryOp::Sub, |dtype| dtype;
    /// `self * other` written to `out` (`torch.mul(out=)`).
    mul_out: binary_out, BinaryOp::Mul, |dtype| dtype;
    /// `self / other` written to `out` (`torch.div(out=)`).
    div_out: float_binary_out, FloatBinaryOp::Div, kiln_ops::to_float;
}

impl Tensor {
    /// Gives a tensor that receives a result the result's sizes.
    #[track_caller]
    fn take_sizes(&self, shape: &kiln_ops::Shape) -> Result<()> {
        if self.shape() != *shape {
            self.resize_(shape.clone())?;
        }
        Ok(())
    }

    /// Writes this result to `out`, a tensor that is there, which takes its sizes: what PyTorch's functions do with the
    /// argument `out`. The result is copied; [`Tensor::add_out`] and its like compute it in its place.
    ///
    /// ```
    /// use kiln_autograd::Tensor;
    /// let (x, out) = (Tensor::ones([2, 3]), Tensor::empty([0]));
    /// x.add(1.0)?.out(&out)?;
    /// assert_eq!(out.to_vec::<f32>()?, [2.0; 6]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// A dtype that cannot be cast to that of `out` (floats to integers); elements of `out` that share memory; either
    /// requires grad.
    #[track_caller]
    pub fn out(&self, out: &Tensor) -> Result<()> {
        const OP: &str = "out";
        check_untracked(OP, &[self, out]).here()?;
        check_cast(OP, self.dtype(), out.dtype()).here()?;
        out.take_sizes(&self.shape())?;
        out.copy_(self)
    }
}
