//! The two smallest benchmark cases, run a number of times that the command line gives, so that instructions can be counted:
//! `valgrind --tool=callgrind target/release/examples/overhead chain10_fwd_bwd_1 20000`. The difference between two runs
//! of different length is free of what the start of the program costs.

use std::hint::black_box;

use kiln_autograd::{Error, Result, Tensor, no_grad, tensor};

/// An addition of two numbers without history.
fn op_add_1(times: usize) -> Result<()> {
    let (x, y) = (Tensor::randn([1]), Tensor::randn([1]));
    no_grad(|| (0..times).try_for_each(|_| black_box(x.add(&y)).map(|_| ())))
}

/// Ten recorded operations on one number, and their backward pass.
fn chain10_fwd_bwd_1(times: usize) -> Result<()> {
    let x = Tensor::randn([1]).requires_grad_(true)?;
    let (c, d) = (tensor!([1.01]), tensor!([0.5]));
    for _ in 0..times {
        let mut y = x.clone();
        for _ in 0..5 {
            y = y.mul(&c)?.add(&d)?;
        }
        x.zero_grad();
        y.backward()?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [case, times] = &arguments[..] else {
        return Err(Error::value("overhead", "expects a case and how often it is to run"));
    };
    let times = times.parse().map_err(Error::other)?;
    match case.as_str() {
        "op_add_1" => op_add_1(times),
        "chain10_fwd_bwd_1" => chain10_fwd_bwd_1(times),
        _ => Err(Error::value("overhead", format!("knows op_add_1 and chain10_fwd_bwd_1, not {case}"))),
    }
}
