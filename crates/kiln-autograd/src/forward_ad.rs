//! Forward mode: derivatives in one direction, computed together with the values (`torch.autograd.forward_ad`).
//!
//! Inside of a [`dual_level`] a tensor may have a *tangent*: how fast it changes. What is computed from such a dual tensor
//! has one too. The cost is a few times that of the values whatever the number of results, and nothing is kept for a
//! backward pass. Tangents are themselves differentiable, in reverse mode (a tangent has a history where an input
//! requires a gradient) and in forward mode ([`func::jvp`](crate::func::jvp) nests); backward passes inside of a level
//! carry tangents too, which gives Hessians times vectors.
//!
//! Levels belong to a thread. `no_grad` does not stop tangents; `detach()`, `data()` and `inference_mode` do. All
//! operations with a gradient have this mode, except a few whose gradient cannot be differentiated
//! (`cross_map_lrn2d`); what they give fails when its tangent is asked for.
//!
//! ```
//! use kiln_autograd::{forward_ad, tensor};
//! let (x, v) = (tensor![1., 2., 3.], tensor![1., 0., 1.]);
//! forward_ad::dual_level(|| {
//!     let dual = forward_ad::make_dual(&x, &v)?;
//!     let y = dual.square()?.sum()?;
//!     let (value, tangent) = forward_ad::unpack_dual(&y)?;
//!     assert_eq!((value.to_f64()?, tangent.unwrap().to_f64()?), (14.0, 2.0 + 6.0));
//!     Ok(())
//! })?;
//! # Ok::<(), kiln_autograd::Error>(())
//! ```

use crate::record::record;
use crate::tangents::{self, OpenLevel, below};
use crate::{Error, Here, Result, Tensor};

/// Opens a level of forward mode for the time `f` runs (`with fwAD.dual_level():`).
///
/// # Errors
/// What `f` fails with; a level is open already.
#[track_caller]
pub fn dual_level<R>(f: impl FnOnce() -> Result<R>) -> Result<R> {
    let _level = dual_level_guard()?;
    f().here()
}

/// Opens a level of forward mode until the guard is dropped (`fwAD.enter_dual_level`).
///
/// # Errors
/// A level is open already on this thread; [`func::jvp`](crate::func::jvp) may be nested.
#[track_caller]
pub fn dual_level_guard() -> Result<DualLevelGuard> {
    if tangents::levels() != 0 {
        return Err(Error::autograd(
            "enter_dual_level",
            "Nested forward mode AD is not supported at the moment: use func::jvp, which nests",
        ));
    }
    Ok(DualLevelGuard { _level: OpenLevel::new() })
}

/// Closes its level when dropped: the tangents made since are gone.
#[must_use = "the level is closed when the guard is dropped"]
pub struct DualLevelGuard {
    _level: OpenLevel,
}

/// A tensor with the values and the history of `tensor` and the given tangent (`fwAD.make_dual`). It shares the memory of
/// `tensor` unless that requires a gradient. A tangent of another floating point dtype is converted.
///
/// # Errors
/// No level is open; either is not floating point; the shapes differ; `tensor` has a tangent already.
#[track_caller]
pub fn make_dual(tensor: &Tensor, tangent: &Tensor) -> Result<Tensor> {
    const OP: &str = "make_dual";
    let depth = tangents::levels();
    if depth == 0 {
        return Err(Error::autograd(
            OP,
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first.",
        ));
    }
    dual_at(OP, tensor, tangent, depth)
}

/// The value without its tangent, and the tangent, if there is one (`fwAD.unpack_dual`). Without an open level, or when the
/// level is another one than that of the tangent, there is none.
///
/// # Errors
/// An operation on the way does not support forward mode.
#[track_caller]
pub fn unpack_dual(tensor: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
    parts_at(tensor, tangents::depth())
}

/// [`make_dual`] at a level of the caller's.
#[track_caller]
pub(crate) fn dual(op: &'static str, x: &Tensor, v: &Tensor, level: &OpenLevel) -> Result<Tensor> {
    dual_at(op, x, v, level.depth())
}

/// [`unpack_dual`] at a level of the caller's.
#[track_caller]
pub(crate) fn parts(t: &Tensor, level: &OpenLevel) -> Result<(Tensor, Option<Tensor>)> {
    parts_at(t, level.depth())
}

#[track_caller]
fn dual_at(op: &'static str, x: &Tensor, v: &Tensor, depth: usize) -> Result<Tensor> {
    for (what, t) in [("primal", x), ("tangent", v)] {
        if !t.dtype().is_float() {
            return Err(Error::dtype(
                op,
                format!("Expected {what} to be floating point or complex, but got: torch.{}", t.dtype()),
            ));
        }
    }
    if x.shape() != v.shape() {
        return Err(Error::shape(
            op,
            format!(
                "Trying to set a forward gradient that has a different size than that of the original Tensor, this is \
                 not supported. Tensor is of size {:?} while the given forward gradient is of size {:?}.",
                x.shape(),
                v.shape()
            ),
        ));
    }
    if tangents::tangent(x, depth).here()?.is_some() {
        return Err(Error::autograd(
            op,
            format!(
                "Making a dual Tensor based on a Tensor that already has a forward gradient at the same level {} is not \
                 supported.",
                depth - 1
            ),
        ));
    }
    let _below = below(depth);
    let v = if v.dtype() == x.dtype() { v.clone() } else { v.to_dtype(x.dtype())? };
    let v = if v.device() == x.device() { v } else { v.to_device(x.device())? };
    let dual = value(x)?;
    tangents::set(&dual, depth, Ok(v));
    Ok(dual)
}

#[track_caller]
fn parts_at(t: &Tensor, depth: usize) -> Result<(Tensor, Option<Tensor>)> {
    let tangent = tangents::tangent(t, depth).here()?;
    if tangent.is_none() {
        return Ok((t.clone(), None));
    }
    let _below = below(depth);
    let raw = t.raw().clone();
    Ok((record("AliasBackward0", raw).input_unchanged(t).done(), tangent))
}

/// The same values with the same history, under a name of its own.
#[track_caller]
fn value(x: &Tensor) -> Result<Tensor> {
    // A leaf's memory must not be changed through another name.
    if x.requires_grad() {
        return x.copy();
    }
    let alias = x.detach();
    tangents::share(x, &alias);
    Ok(alias)
}
