//! The nodes of the backward graph. Edges lead from a result's node to its operands' nodes, never to tensors.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use kiln_ops::{DType, Device, RawTensor, Shape, Shared};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::birth::{self, Place};
use crate::hooks::Hook;
use crate::tangents::Slots;
use crate::{Result, Tensor, anomaly};

/// The derivative with respect to one input. A trait of its own, because with `dyn Fn` come `FnMut` and `FnOnce`: two more
/// functions to compile for every derivative.
pub(crate) trait InputDerivative: Send + Sync {
    /// The gradient of the input from that of the result.
    fn of(&self, g: &Tensor) -> Result<Tensor>;
}

impl<F: Fn(&Tensor) -> Result<Tensor> + Send + Sync> InputDerivative for F {
    fn of(&self, g: &Tensor) -> Result<Tensor> {
        self(g)
    }
}

/// The same, for derivatives that read the result itself.
pub(crate) trait OutputDerivative: Send + Sync {
    /// The gradient of the input from that of the result and the result.
    fn of(&self, g: &Tensor, y: &Tensor) -> Result<Tensor>;
}

impl<F: Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync> OutputDerivative for F {
    fn of(&self, g: &Tensor, y: &Tensor) -> Result<Tensor> {
        self(g, y)
    }
}

pub(crate) type InputFn = Box<dyn InputDerivative>;
pub(crate) type OutputFn = Box<dyn OutputDerivative>;
/// The derivatives with respect to all inputs at once, from the gradients of all outputs (`None`: no gradient came).
/// The second argument says which inputs need one.
pub(crate) type JointFn =
    Box<dyn Fn(&[Option<Tensor>], &[bool]) -> Result<Vec<Option<Tensor>>> + Send + Sync>;

/// [`JointFn`] of a node that the function itself wants to know.
pub(crate) type NodeFn =
    Box<dyn Fn(&Shared<Node>, &[Option<Tensor>], &[bool]) -> Result<Vec<Option<Tensor>>> + Send + Sync>;

/// Where a gradient goes: output `output` of `node`.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) node: Shared<Node>,
    pub(crate) output: u32,
}

/// One derivative of a node.
pub(crate) enum Derivative {
    /// The result's gradient is the input's.
    Pass,
    Input(InputFn),
    Output(OutputFn),
}

/// What a node does with the gradients of its outputs.
pub(crate) enum Backward {
    /// One function per edge.
    PerInput(SmallVec<[Derivative; 2]>, Option<Box<SavedResult>>),
    /// One function for all edges.
    Joint(JointFn),
    /// The same, of a function that is told its node.
    OfNode(NodeFn),
    /// The end of the line: the gradient is added to the leaf's.
    Leaf,
    /// The graph was released by an earlier backward pass.
    Released,
}

/// A node's own result, without the history that would make it own itself.
pub(crate) struct SavedResult {
    pub(crate) raw: RawTensor,
    pub(crate) version: u64,
    /// In forward mode: its tangents, which are computed after it.
    pub(crate) tangents: OnceLock<Slots>,
}

/// A place for a gradient, shared between a tensor and the node that fills it.
pub(crate) type Slot = Arc<Mutex<Option<Tensor>>>;

/// What a gradient must look like to fit a node's output.
#[derive(Clone)]
pub(crate) struct Meta {
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
}

impl Meta {
    #[inline]
    pub(crate) fn of(raw: &RawTensor) -> Meta {
        Meta { shape: raw.shape().clone(), dtype: raw.dtype(), device: raw.device() }
    }
}

/// Hooks and retained gradients: what a node carries only when somebody asked for it.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) hooks: Vec<(u32, u64, Hook)>,
    pub(crate) after_accumulation: Vec<(u64, Hook)>,
    pub(crate) retained: Vec<(u32, Slot)>,
    /// In anomaly mode: where the program called the operation.
    pub(crate) birth: Option<Arc<str>>,
}

/// [`Extras`] that are only there when something was put into them.
#[derive(Default)]
pub(crate) struct LazyExtras(OnceLock<Arc<Mutex<Extras>>>);

impl LazyExtras {
    /// What an operation carries from the start.
    #[inline]
    fn of_operation() -> LazyExtras {
        let extras = LazyExtras::default();
        if anomaly::is_anomaly_enabled() {
            extras.get_or_init().lock().birth = Some(anomaly::birth());
        }
        extras
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&Mutex<Extras>> {
        self.0.get().map(|extras| &**extras)
    }

    pub(crate) fn get_or_init(&self) -> &Arc<Mutex<Extras>> {
        self.0.get_or_init(Arc::default)
    }
}

/// A recorded operation, or a leaf.
pub struct Node {
    pub(crate) name: &'static str,
    /// Where the operation was called.
    pub(crate) place: Place,
    /// Larger than the number of every node its edges lead to; leaves come below all operations.
    pub(crate) sequence: u64,
    pub(crate) edges: SmallVec<[Option<Edge>; 2]>,
    pub(crate) outputs: SmallVec<[Meta; 1]>,
    pub(crate) backward: Mutex<Backward>,
    /// Whether the derivatives hold tensors, which a backward pass releases.
    pub(crate) saves: bool,
    /// Whether all that the derivatives do is to pass the gradient on.
    pub(crate) passes: bool,
    /// Where a leaf's gradient is.
    pub(crate) grad: Option<Slot>,
    pub(crate) extras: LazyExtras,
}

const OPERATION: u64 = 1 << 63;

static NEXT: AtomicU64 = AtomicU64::new(0);

fn next_sequence() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Above the [`Node::age`] of every node that this thread has made or seen.
pub(crate) fn sequence_now() -> u64 {
    NEXT.load(Ordering::Relaxed)
}

impl Node {
    /// A node of one output whose inputs are to be added; [`Node::number`] finishes it.
    #[inline]
    pub(crate) fn operation(name: &'static str, place: Place, output: Meta) -> Shared<Node> {
        let (place, extras) = (birth::of_operation(place), LazyExtras::of_operation());
        Shared::new_with(|| Node {
            name,
            place,
            sequence: 0,
            edges: SmallVec::new(),
            outputs: SmallVec::from_buf([output]),
            backward: Mutex::new(Backward::PerInput(SmallVec::new(), None)),
            saves: false,
            passes: true,
            grad: None,
            extras,
        })
    }

    /// Gives an operation its number, when all its edges are there.
    pub(crate) fn number(&mut self) {
        self.sequence = next_sequence() | OPERATION;
    }

    /// A node with its function for all its edges; `saves` says whether it holds tensors.
    pub(crate) fn joint(
        name: &'static str,
        place: Place,
        edges: SmallVec<[Option<Edge>; 2]>,
        outputs: SmallVec<[Meta; 1]>,
        backward: Backward,
        saves: bool,
    ) -> Shared<Node> {
        let (place, extras) = (birth::of_operation(place), LazyExtras::of_operation());
        Shared::new_with(|| Node {
            name,
            place,
            sequence: next_sequence() | OPERATION,
            edges,
            outputs,
            backward: Mutex::new(backward),
            saves,
            passes: false,
            grad: None,
            extras,
        })
    }

    pub(crate) fn leaf(meta: Meta, grad: Slot) -> Shared<Node> {
        Shared::new_with(|| Node {
            name: "AccumulateGrad",
            place: Location::caller(),
            sequence: next_sequence(),
            edges: SmallVec::new(),
            outputs: SmallVec::from_buf([meta]),
            backward: Mutex::new(Backward::Leaf),
            saves: false,
            passes: false,
            grad: Some(grad),
            extras: LazyExtras::default(),
        })
    }

    pub(crate) fn is_leaf(&self) -> bool {
        self.sequence & OPERATION == 0
    }

    /// When the node was made: how many nodes, leaves included, were made before it.
    pub(crate) fn age(&self) -> u64 {
        self.sequence & !OPERATION
    }

    /// Where the program called the operation: what its caller told, else what anomaly mode has found.
    pub(crate) fn called_at(&self) -> Option<String> {
        let birth = self.extras.get().and_then(|e| e.lock().birth.as_deref().map(str::to_owned));
        if let Some(birth) = birth {
            return Some(birth);
        }
        if self.is_leaf() { None } else { birth::outside(self.place) }
    }

    /// The name, with the place where it is known: for errors.
    pub(crate) fn name_and_place(&self) -> String {
        match self.called_at() {
            Some(place) => format!("{} (called at {place})", self.name),
            None => self.name.to_owned(),
        }
    }

    /// PyTorch's name of the node: `MulBackward0`, `AccumulateGrad`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The nodes that the gradients of the inputs go to, with the number of the output there; `None` for inputs that
    /// need no gradient.
    pub fn next_functions(&self) -> Vec<Option<(Shared<Node>, usize)>> {
        self.edges.iter().map(|e| e.as_ref().map(|e| (e.node.clone(), e.output as usize))).collect()
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{}>", self.name)
    }
}

/// What a dying node leaves behind.
type Remains = (SmallVec<[Option<Edge>; 2]>, Backward);

thread_local! {
    /// The remains of nodes that wait to be dropped, while some caller up the stack drops them.
    static GRAVEYARD: RefCell<Option<Vec<Remains>>> = const { RefCell::new(None) };
}

/// Drops nodes one after the other instead of each inside the one before it: a chain of a million operations would
/// overflow the stack otherwise.
impl Drop for Node {
    fn drop(&mut self) {
        let last = |edge: &Edge| Shared::owners(&edge.node) == 1;
        let used_up = !self.saves || matches!(self.backward.get_mut(), Backward::Leaf | Backward::Released);
        if used_up && !self.edges.iter().flatten().any(last) {
            // It holds nothing, and what it leads to lives on: nothing else dies with it.
            return;
        }
        let edges = std::mem::take(&mut self.edges);
        let backward = std::mem::replace(self.backward.get_mut(), Backward::Released);
        bury((edges, backward));
    }
}

/// Drops a node's remains now, or, when called from inside another burial, after the present one.
fn bury(remains: Remains) {
    let mut mine = Some(remains);
    let outermost = GRAVEYARD.try_with(|g| {
        let mut g = g.borrow_mut();
        match &mut *g {
            Some(queue) => {
                queue.extend(mine.take());
                false
            }
            None => {
                *g = Some(Vec::new());
                true
            }
        }
    });
    if outermost != Ok(true) {
        return;
    }
    drop(mine);
    // The queue is popped outside of the borrow: dropping remains buries more.
    while let Some(next) = GRAVEYARD.with(|g| g.borrow_mut().as_mut().and_then(Vec::pop)) {
        drop(next);
    }
    GRAVEYARD.with(|g| *g.borrow_mut() = None);
}
