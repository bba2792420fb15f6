//! The networks against the originals: names and numbers of parameters as torchvision and transformers list them, and
//! outputs that PyTorch 2.15 computed for the same seed.

mod images;
mod text;

use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_models::kiln_nn::kiln_autograd::manual_seed;
use kiln_models::kiln_nn::{Module, Tensor};

/// The default stream, seeded, for the one test that holds it.
fn seeded() -> MutexGuard<'static, ()> {
    static STREAM: Mutex<()> = Mutex::new(());
    let turn = STREAM.lock().unwrap_or_else(PoisonError::into_inner);
    manual_seed(0);
    turn
}

/// What is recorded of a tensor: the sum of magnitudes, and its first and last elements.
struct Recorded<'a> {
    abs_sum: f64,
    head: &'a [f64],
    tail: &'a [f64],
}

fn assert_recorded(got: &Tensor, want: &Recorded<'_>, slack: f64) {
    let values: Vec<f64> = got.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect();
    let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let close = |a: f64, b: f64| (a - b).abs() <= slack * largest;
    let ends = values.iter().zip(want.head).chain(values.iter().rev().zip(want.tail.iter().rev()));
    for (i, (a, b)) in ends.enumerate() {
        assert!(close(*a, *b), "value {i}: {a}, expected {b}");
    }
    let abs_sum: f64 = values.iter().map(|v| v.abs()).sum();
    assert!((abs_sum - want.abs_sum).abs() <= slack * want.abs_sum, "{abs_sum}, expected {}", want.abs_sum);
}

/// The number of learned numbers and of entries of the state dict.
fn assert_size(net: &dyn Module, parameters: usize, entries: usize) {
    assert_eq!((net.num_parameters(), net.state_dict().len()), (parameters, entries), "{}", net.type_name());
}

fn names(net: &dyn Module) -> Vec<String> {
    net.state_dict().keys().map(str::to_owned).collect()
}
