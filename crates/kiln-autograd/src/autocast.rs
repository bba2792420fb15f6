//! Mixed precision: inside of a region products run in bfloat16 or float16, and what needs the range or the digits in f32.
//!
//! Operations ask here at their entry ([`lower`], [`full`]); outside of a region that is one look at a thread's variable.
//! The lists are those of PyTorch's CPU:
//!
//! - in the lower precision: `matmul`, `mm`, `bmm`, `linear`, `addmm`, `baddbmm`, `addbmm`, `vecdot`, the convolutions,
//!   `prelu`, `scaled_dot_product_attention`, the recurrent layers, and all that is composed of these;
//! - in f32: the losses, linear algebra beyond products, Fourier transforms, `grid_sample`, `cdist`, `prod`, `quantile`,
//!   `trace`, pooling over three axes, unpooling, fractional pooling, reflected and replicated borders;
//! - in the widest dtype of the operands, by the usual promotion: `cat`, `stack`, `index_copy`.
//!
//! Everything else takes the dtypes that come: softmax and the normalisations compute halves in f32 inside anyway.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use kiln_ops::DType;

use crate::{Error, Here, Result, Tensor, is_grad_enabled};

#[derive(Clone, Copy)]
pub(crate) struct Mode {
    on: bool,
    dtype: DType,
    caches: bool,
    /// How many regions the thread is in, switched on or off.
    depth: u32,
}

/// A weight that was converted in this region. The handle of the source keeps its id its own.
struct Converted {
    source: Tensor,
    version: u64,
    dtype: DType,
    result: Tensor,
}

thread_local! {
    static MODE: Cell<Mode> =
        const { Cell::new(Mode { on: false, dtype: DType::BF16, caches: true, depth: 0 }) };
    /// By the id of the weight and whether the conversion was recorded.
    static CACHE: RefCell<HashMap<(usize, bool), Converted>> = RefCell::default();
}

/// The settings of a region of mixed precision (`torch.autocast`).
///
/// ```
/// use kiln_autograd::{Autocast, DType, Tensor};
/// let (x, w) = (Tensor::ones([2, 3]), Tensor::ones([3, 4]).requires_grad_(true)?);
/// let y = Autocast::new().dtype(DType::F16)?.run(|| x.matmul(&w))?;
/// assert_eq!(y.dtype(), DType::F16);
/// y.sum()?.backward()?;
/// assert_eq!(w.grad().unwrap().dtype(), DType::F32);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a region begins with run() or guard()"]
pub struct Autocast {
    dtype: DType,
    enabled: bool,
    caches: bool,
}

impl Default for Autocast {
    fn default() -> Autocast {
        Autocast::new()
    }
}

impl Autocast {
    /// Products in bfloat16, each weight converted once.
    pub fn new() -> Autocast {
        Autocast { dtype: DType::BF16, enabled: true, caches: true }
    }

    /// The dtype of products.
    ///
    /// # Errors
    /// Neither bfloat16 nor float16.
    #[track_caller]
    pub fn dtype(self, dtype: DType) -> Result<Autocast> {
        if !matches!(dtype, DType::BF16 | DType::F16) {
            return Err(Error::dtype(
                "autocast",
                format!(
                    "Autocast only supports dtype of torch.bfloat16, torch.float16 currently, got {dtype}"
                ),
            ));
        }
        Ok(Autocast { dtype, ..self })
    }

    /// Whether the region changes dtypes at all; one that does not can stand inside of one that does.
    pub fn enabled(self, enabled: bool) -> Autocast {
        Autocast { enabled, ..self }
    }

    /// Whether weights that require a gradient are kept in the lower precision up to the end of the outermost region.
    pub fn cache_enabled(self, caches: bool) -> Autocast {
        Autocast { caches, ..self }
    }

    /// Runs `f` in such a region.
    pub fn run<R>(self, f: impl FnOnce() -> R) -> R {
        let _guard = self.guard();
        f()
    }

    /// Begins a region of this thread that ends when the guard is dropped.
    pub fn guard(self) -> AutocastGuard {
        enter(Mode { on: self.enabled, dtype: self.dtype, caches: self.caches, depth: 0 })
    }
}

/// Ends a region of mixed precision when dropped, also when a panic unwinds.
#[must_use = "the region ends when the guard is dropped"]
pub struct AutocastGuard {
    before: Mode,
    /// The mode belongs to a thread, and so does the guard.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for AutocastGuard {
    fn drop(&mut self) {
        MODE.set(self.before);
        if self.before.depth == 0 {
            // Dropped outside of the borrow. A thread that ends has no cache any more.
            drop(CACHE.try_with(RefCell::take));
        }
    }
}

fn enter(mode: Mode) -> AutocastGuard {
    let before = MODE.get();
    MODE.set(Mode { depth: before.depth + 1, ..mode });
    AutocastGuard { before, _not_send: std::marker::PhantomData }
}

/// Runs `f` with products in bfloat16 (`with torch.autocast("cpu"):`); [`Autocast`] has the settings.
///
/// Run the forward pass and the loss in the region, and backward outside: gradients arrive in the dtypes of their
/// parameters.
///
/// ```
/// use kiln_autograd::{DType, Reduction, Tensor, autocast};
/// let (x, w) = (Tensor::ones([2, 3]), Tensor::ones([4, 3]).requires_grad_(true)?);
/// let loss = autocast(|| x.linear(&w, None)?.mse_loss(&Tensor::zeros([2, 4]), Reduction::Mean))?;
/// assert_eq!((loss.dtype(), loss.to_f64()?), (DType::F32, 9.0));
/// loss.backward()?;
/// assert_eq!(w.grad().unwrap().to_vec::<f32>()?, [1.5; 12]);
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
pub fn autocast<R>(f: impl FnOnce() -> R) -> R {
    Autocast::new().run(f)
}

/// [`autocast`] until the guard is dropped.
pub fn autocast_guard() -> AutocastGuard {
    Autocast::new().guard()
}

/// Whether this thread is in a region of mixed precision (`torch.is_autocast_enabled`).
#[inline]
pub fn is_autocast_enabled() -> bool {
    MODE.get().on
}

/// The dtype of products in regions of mixed precision (`torch.get_autocast_dtype`).
pub fn get_autocast_dtype() -> DType {
    MODE.get().dtype
}

/// The mode of this thread, to be had again elsewhere.
pub(crate) fn mode() -> Mode {
    MODE.get()
}

/// A mode that another time or thread was in; weights are converted anew.
pub(crate) fn again(mode: Mode) -> AutocastGuard {
    enter(Mode { caches: false, ..mode })
}

/// No conversions until the guard is dropped: for derivatives, and for operations whose parts are on the lists but they
/// themselves are not. None where there are none anyway.
#[inline]
pub(crate) fn suspend() -> Option<AutocastGuard> {
    let mode = MODE.get();
    mode.on.then(|| enter(Mode { on: false, ..mode }))
}

/// What an operation of a list does: converts its operands and calls itself, while nothing else is converted.
pub(crate) struct Cast {
    to: DType,
    caches: bool,
    _inside: AutocastGuard,
}

/// For an operation that runs in the lower precision.
#[inline]
pub(crate) fn lower() -> Option<Cast> {
    let mode = MODE.get();
    if mode.on { Some(begin(mode, mode.dtype)) } else { None }
}

/// For an operation that runs in f32.
#[inline]
pub(crate) fn full() -> Option<Cast> {
    let mode = MODE.get();
    if mode.on { Some(begin(mode, DType::F32)) } else { None }
}

#[cold]
fn begin(mode: Mode, to: DType) -> Cast {
    Cast { to, caches: mode.caches, _inside: enter(Mode { on: false, ..mode }) }
}

impl Cast {
    /// An operand, converted if it is a half or an f32.
    #[track_caller]
    pub(crate) fn of(&self, t: &Tensor) -> Result<Tensor> {
        if t.dtype() == self.to || !matches!(t.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            return Ok(t.clone());
        }
        let weight = t.dtype() == DType::F32 && t.requires_grad() && t.is_leaf() && t.base().is_none();
        if !(weight && self.caches && self.to != DType::F32) {
            return t.to_dtype(self.to);
        }
        let key = (t.id(), is_grad_enabled());
        let kept = CACHE.with_borrow(|cache| {
            let c = cache.get(&key)?;
            let same = c.source.is_same(t) && c.version == t.version() && c.dtype == self.to;
            same.then(|| c.result.clone())
        });
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let result = t.to_dtype(self.to)?;
        let entry =
            Converted { source: t.clone(), version: t.version(), dtype: self.to, result: result.clone() };
        drop(CACHE.with_borrow_mut(|cache| cache.insert(key, entry)));
        Ok(result)
    }

    /// An operand that may be absent.
    #[track_caller]
    pub(crate) fn opt(&self, t: Option<&Tensor>) -> Result<Option<Tensor>> {
        t.map(|t| self.of(t)).transpose().here()
    }
}
