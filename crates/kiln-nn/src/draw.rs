//! The first parameters of layers, drawn from the default stream in PyTorch's order.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_autograd::kiln_ops;
use kiln_autograd::kiln_ops::random::{Generator, default_generator};
use kiln_autograd::{DType, Device, Error, Result, Shape, Tensor, default_dtype};

use crate::Parameter;

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
        Drawn { weight: nothing(), bias: None, ticket: 0 }
    }
}

/// The parameter of a layer whose sizes are impossible.
pub(crate) fn nothing() -> Parameter {
    let empty = Tensor::from_vec(Vec::<f32>::new(), [0]).and_then(Parameter::new);
    empty.expect("an empty tensor can always be made")
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

/// Draws a weight of the given shape and a bias of `outputs` numbers from the default stream.
pub(crate) fn affine(op: &'static str, shape: &[usize], outputs: usize) -> Result<Drawn> {
    let [_, rest @ ..] = shape else {
        return Err(Error::shape(op, "a weight has at least one axis"));
    };
    let fan_in = rest.iter().fold(1, |n: usize, size| n.saturating_mul(*size));
    drawn(shape, weight_bound(fan_in), fan_in, outputs)
}

/// As [`affine`], the weight from the range of the bias: `+-1/sqrt(fan_in)`.
pub(crate) fn uniform(shape: &[usize], fan_in: usize, outputs: usize) -> Result<Drawn> {
    drawn(shape, 1.0 / (fan_in as f64).sqrt(), fan_in, outputs)
}

fn drawn(shape: &[usize], bound: f64, fan_in: usize, outputs: usize) -> Result<Drawn> {
    let dtype = default_dtype();
    // Refuses sizes that overflow, before anything is drawn.
    let weight = zeros(&Shape::from(shape), dtype)?;
    let bias = zeros(&Shape::from([outputs]), dtype)?;
    let mut generator = default_generator();
    let before = generator.clone();
    if weight.numel() > 0 {
        weight.uniform_generator_(-bound, bound, &mut generator)?;
    }
    let after_weight = generator.clone();
    let bound = if fan_in > 0 { 1.0 / (fan_in as f64).sqrt() } else { 0.0 };
    bias.uniform_generator_(-bound, bound, &mut generator)?;
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
pub(crate) fn redraw(op: &'static str, ticket: u64, shape: &[usize], outputs: usize) -> Result<Drawn> {
    rewind(ticket, |draw| draw.before.clone());
    affine(op, shape, outputs)
}

/// Makes a layer of several draws: `make` draws them from the default stream, from where it stood before draw `ticket` if
/// that was this thread's last one (0: there was none). Builders that change what is drawn make the layer anew.
///
/// Gives what was made and its ticket; an error leaves the stream as it was.
pub(crate) fn together<T>(ticket: u64, make: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    rewind(ticket, |draw| draw.before.clone());
    let before = default_generator().clone();
    match make() {
        Ok(made) => {
            let after = default_generator().clone();
            let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
            LAST.set(Some(LastDraw { ticket, after_weight: before.clone(), before, after }));
            Ok((made, ticket))
        }
        Err(error) => {
            *default_generator() = before;
            Err(error)
        }
    }
}

/// As [`together`], for layers of layers, which are made in any case.
pub(crate) fn around<T>(ticket: u64, make: impl FnOnce() -> T) -> (T, u64) {
    together(ticket, || Ok(make())).expect("what is made does not fail")
}

/// A parameter of zeros.
pub(crate) fn empty(shape: &[usize]) -> Result<Parameter> {
    Parameter::new(zeros(&Shape::from(shape), default_dtype())?)
}

/// A parameter uniform in `+-bound`.
pub(crate) fn within(shape: &[usize], bound: f64) -> Result<Parameter> {
    let parameter = empty(shape)?;
    crate::init::uniform_(&parameter, -bound, bound)?;
    Ok(parameter)
}

/// A standard normal parameter.
pub(crate) fn normal(shape: &[usize]) -> Result<Parameter> {
    let parameter = empty(shape)?;
    crate::init::normal_(&parameter, 0.0, 1.0)?;
    Ok(parameter)
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
    #[track_caller]
    pub(crate) fn check(&self) -> Result<()> {
        match &self.0 {
            None => Ok(()),
            Some((op, detail)) => Err(Error::value(*op, detail.clone())),
        }
    }
}

/// `check` of layers that keep their problem in a field.
///
/// `<N> ConvNd` is a type of any number of axes.
macro_rules! checked {
    ($(<$n:ident> $layer:ident),+ $(,)?) => {$(
        impl<const $n: usize> $layer<$n> {
            $crate::draw::checked!(@body);
        }
    )+};
    (@body) => {
        /// Whether the layer can work with its settings.
        ///
        /// # Errors
        /// It cannot.
        #[track_caller]
        pub fn check(&self) -> kiln_autograd::Result<()> {
            self.fault.check()
        }
    };
    ($($layer:ty),+ $(,)?) => {$(
        impl $layer {
            $crate::draw::checked!(@body);
        }
    )+};
}
pub(crate) use checked;
