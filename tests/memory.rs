//! Memory over long runs, counted where it is asked for. A program of its own, so that nothing else is in the count.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln::prelude::*;

/// The system's allocator, which counts the bytes that are in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came, which keeps the promises.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// One after the other: they share the count.
#[test]
fn memory_stays_and_comes_back() -> Result<()> {
    a_hundred_thousand_steps_are_flat()?;
    a_million_operations_give_their_memory_back()
}

/// A byte lost in each step would be 90 kilobytes.
fn a_hundred_thousand_steps_are_flat() -> Result<()> {
    manual_seed(0);
    let model = sequential![Linear::new(2, 8), Tanh::new(), Linear::new(8, 1)];
    let mut optimizer = Adam::new(model.parameters(), 1e-3);
    let x = Tensor::randn([16, 2]);
    let y = x.prod_axes(&[1], true)?;
    let mut step = || -> Result<Tensor> {
        optimizer.zero_grad();
        let loss = MSELoss::new().forward(&model.forward(&x)?, &y)?;
        loss.backward()?;
        optimizer.step()?;
        Ok(loss.detach())
    };
    let first = step()?.to_f64()?;
    for _ in 0..9_999 {
        step()?;
    }
    let before = in_use();
    for _ in 0..90_000 {
        step()?;
    }
    let after = in_use();
    assert!(after.abs_diff(before) < 4096, "{before} bytes in use after 10,000 steps, {after} after 100,000");
    let last = step()?.to_f64()?;
    assert!(last < 0.5 * first, "it was a training: {first} at first, {last} at last");
    Ok(())
}

fn a_million_operations_give_their_memory_back() -> Result<()> {
    let x = tensor![1.0].requires_grad_(true)?;
    let chain = |length: usize| -> Result<usize> {
        let mut y = x.clone();
        for _ in 0..length {
            y = y.mul(1.0)?;
        }
        let with_chain = in_use();
        y.backward()?;
        Ok(with_chain)
    };
    // What is kept for later use, like freed nodes, is there before the count.
    chain(10_000)?;
    let before = in_use();
    let with_chain = chain(1_000_000)?;
    let after = in_use();
    assert!(with_chain > before + 100_000_000, "the chain was there: {before} and {with_chain} bytes");
    assert!(after < before + (1 << 20), "{before} bytes in use before the chain, {after} after it");
    assert_eq!(x.grad().expect("a gradient").to_vec::<f32>()?, [2.0]);
    Ok(())
}
