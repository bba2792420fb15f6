//! Random fills from the default stream, in PyTorch's order, and the first parameters of layers.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_autograd::kiln_ops::random::{Generator, RandomError, RandomFloat, default_generator};
use kiln_autograd::kiln_ops::{self, with_dtype};
use kiln_autograd::{DType, Device, Error, Result, Shape, Tensor, default_dtype, no_grad};

use crate::Parameter;

/// A distribution to fill a tensor from.
#[derive(Clone, Copy)]
pub(crate) enum Law {
    /// Uniform in `[from, to)`.
    Uniform(f64, f64),
    /// Normal with mean and standard deviation.
    Normal(f64, f64),
    /// What dropout of this probability multiplies by.
    Dropout(f64),
}

impl Law {
    fn name(self) -> &'static str {
        match self {
            Law::Uniform(..) => "uniform_",
            Law::Normal(..) => "normal_",
            Law::Dropout(_) => "dropout",
        }
    }

    fn fill<T: RandomFloat>(
        self,
        generator: &mut Generator,
        out: &mut [T],
        contiguous: bool,
    ) -> Result<(), RandomError> {
        match self {
            Law::Uniform(from, to) => generator.uniform(out, from, to),
            Law::Normal(mean, std) if contiguous => generator.normal(out, mean, std),
            Law::Normal(mean, std) => generator.normal_one_by_one(out, mean, std),
            Law::Dropout(p) => generator.dropout_mask(out, p),
        }
    }
}

/// An error of a draw as an error of the workspace.
pub(crate) fn refused(op: &'static str, error: RandomError) -> Error {
    let text = error.to_string();
    let detail = text.strip_prefix(op).map(|rest| rest.trim_start_matches([':', ' ']).to_owned());
    Error::value(op, detail.unwrap_or(text))
}

/// Values for every element of a tensor like `t`, drawn in the order of `t`'s memory.
pub(crate) fn drawn_like(t: &Tensor, law: Law, generator: &mut Generator) -> Result<Tensor> {
    let op = law.name();
    // The axes from the one with the largest step in memory to the one with the smallest.
    let strides = t.strides();
    let mut axes: Vec<usize> = (0..strides.len()).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(strides[axis]));
    let contiguous = t.is_contiguous();
    if contiguous {
        axes.sort_unstable();
    }
    let dims = t.dims();
    let in_memory: Vec<usize> = axes.iter().map(|&axis| dims[axis]).collect();
    let values = with_dtype!(t.dtype(), [F16, BF16, F32, F64], T => {
        let mut values: Vec<T> = Vec::new();
        values.try_reserve_exact(t.numel()).map_err(|e| Error::value(op, e.to_string()))?;
        values.resize(t.numel(), T::default());
        law.fill(generator, &mut values, contiguous).map_err(|e| refused(op, e))?;
        Tensor::from_vec(values, in_memory)?
    }, else => return Err(Error::dtype(op, format!("draws floating point numbers, got {}", t.dtype()))));
    let values = values.to_device(t.device())?;
    if contiguous {
        return Ok(values);
    }
    let mut back = vec![0i64; axes.len()];
    for (at, &axis) in axes.iter().enumerate() {
        back[axis] = at as i64;
    }
    values.permute(&back)
}

/// Fills `t` in place from the default stream, unrecorded.
pub(crate) fn fill(t: &Tensor, law: Law) -> Result<()> {
    let values = drawn_like(t, law, &mut default_generator())?;
    no_grad(|| t.copy_(&values))
}

/// Zeros on the host.
pub(crate) fn zeros(shape: &Shape, dtype: DType) -> Result<Tensor> {
    Ok(Tensor::from_raw(kiln_ops::full(shape, 0.into(), dtype, Device::CPU)?))
}

/// The bound of the default weights of linear layers and convolutions: kaiming_uniform with a = sqrt(5), in the order
/// of operations that PyTorch rounds in.
fn weight_bound(fan_in: usize) -> f64 {
    let a = 5f64.sqrt();
    let gain = (2.0 / (1.0 + a * a)).sqrt();
    3f64.sqrt() * (gain / (fan_in as f64).sqrt())
}

/// The first parameters of a layer that is a product with a weight plus a bias.
pub(crate) struct Drawn {
    pub(crate) weight: Parameter,
    pub(crate) bias: Option<Parameter>,
    /// Which draw this was, for [`forget_bias`] and [`redraw`].
    pub(crate) ticket: u64,
}

impl Drawn {
    /// What a layer gets whose sizes are impossible.
    pub(crate) fn none() -> Drawn {
        let empty = Tensor::from_vec(Vec::<f32>::new(), [0]).and_then(Parameter::new);
        Drawn { weight: empty.expect("an empty tensor can always be made"), bias: None, ticket: 0 }
    }
}

/// The default stream around the last layer that this thread has made.
///
/// Builders say only after the constructor that there is no bias, or how many groups there are. The stream then goes
/// back, so that it stands where it would if that had been known from the start, as it is in PyTorch.
struct LastDraw {
    ticket: u64,
    before: Generator,
    after_weight: Generator,
    after: Generator,
}

/// The number of the next draw.
static TICKETS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static LAST: RefCell<Option<LastDraw>> = const { RefCell::new(None) };
}

/// Draws a weight of the given shape (outputs first) and a bias from the default stream.
pub(crate) fn affine(op: &'static str, shape: &[usize]) -> Result<Drawn> {
    let dtype = default_dtype();
    let shape = Shape::from(shape);
    // Refuses sizes that overflow, before anything is drawn.
    let weight = zeros(&shape, dtype)?;
    let [outputs, rest @ ..] = &shape[..] else {
        return Err(Error::shape(op, "a weight has at least one axis"));
    };
    let fan_in: usize = rest.iter().product();
    let bias = zeros(&Shape::from([*outputs]), dtype)?;
    let mut generator = default_generator();
    let before = generator.clone();
    if weight.numel() > 0 {
        let bound = weight_bound(fan_in);
        weight.copy_(&drawn_like(&weight, Law::Uniform(-bound, bound), &mut generator)?)?;
    }
    let after_weight = generator.clone();
    let bound = if fan_in > 0 { 1.0 / (fan_in as f64).sqrt() } else { 0.0 };
    bias.copy_(&drawn_like(&bias, Law::Uniform(-bound, bound), &mut generator)?)?;
    let after = generator.clone();
    drop(generator);
    let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
    LAST.set(Some(LastDraw { ticket, before, after_weight, after }));
    Ok(Drawn { weight: Parameter::new(weight)?, bias: Some(Parameter::new(bias)?), ticket })
}

/// Puts the default stream to where `target` says, if draw `ticket` was this thread's last one and nobody has drawn
/// since.
fn rewind(ticket: u64, target: impl FnOnce(&LastDraw) -> Generator) {
    LAST.with_borrow_mut(|last| {
        let Some(draw) = last.as_mut().filter(|l| l.ticket == ticket) else { return };
        let mut generator = default_generator();
        if generator.get_state() == draw.after.get_state() {
            *generator = target(draw);
            draw.after = generator.clone();
        }
    });
}

/// Makes the stream stand as if the bias of draw `ticket` had not been drawn.
pub(crate) fn forget_bias(ticket: u64) {
    rewind(ticket, |draw| draw.after_weight.clone());
}

/// Draws the parameters of draw `ticket` again for another shape.
pub(crate) fn redraw(op: &'static str, ticket: u64, shape: &[usize]) -> Result<Drawn> {
    rewind(ticket, |draw| draw.before.clone());
    affine(op, shape)
}

/// What is wrong with a layer's settings. Constructors do not fail: a layer that cannot work says why when it is used.
#[derive(Clone, Default)]
pub(crate) struct Fault(Option<(&'static str, String)>);

impl Fault {
    /// Remembers a problem, unless there is one already.
    pub(crate) fn note(&mut self, op: &'static str, detail: String) {
        self.0.get_or_insert((op, detail));
    }

    /// The problem as an error.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.0 {
            None => Ok(()),
            Some((op, detail)) => Err(Error::value(*op, detail.clone())),
        }
    }
}
