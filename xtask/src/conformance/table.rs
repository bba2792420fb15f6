//! The table: PyTorch's operators, by family, as Kiln calls.
//!
//! A row is an arm of a family's `call` (or `in_place`): it asks for the arguments under PyTorch's names and with its
//! defaults, and calls Kiln. Rows map what an operator means; none of them knows a vector.

mod arithmetic;
mod cast;
mod create;
mod elementwise;
mod fft;
mod index;
mod join;
mod layers;
mod linalg;
mod losses;
mod matmul;
mod random;
mod reduce;
mod shape;
mod sort;
mod special;

use super::args::{Answer, Args, Out, Stop};

type Row<T> = fn(&str, &Args<'_>) -> Answer<T>;

const CALLS: &[Row<Out>] = &[
    elementwise::call,
    arithmetic::call,
    reduce::call,
    shape::call,
    index::call,
    join::call,
    sort::call,
    matmul::call,
    linalg::call,
    special::call,
    fft::call,
    layers::call,
    losses::call,
    create::call,
    random::call,
    cast::call,
];

const IN_PLACE: &[Row<()>] = &[
    elementwise::in_place,
    arithmetic::in_place,
    shape::in_place,
    index::in_place,
    join::in_place,
    sort::in_place,
    matmul::in_place,
    create::in_place,
    random::in_place,
    special::in_place,
];

fn first<T>(rows: &[Row<T>], name: &str, args: &Args<'_>) -> Answer<T> {
    for row in rows {
        match row(name, args) {
            Err(Stop::NoRow) => {}
            answer => return answer,
        }
    }
    Err(Stop::NoRow)
}

/// Calls the operator `name` (PyTorch's, without `torch.`).
pub fn call(name: &str, args: &Args<'_>) -> Answer<Out> {
    match first(CALLS, name, args) {
        // A target that works in place: what it changed is its result.
        Err(Stop::NoRow) => match name.strip_prefix("Tensor.") {
            Some(method) => {
                first(IN_PLACE, method, args)?;
                Ok(args.x()?.into())
            }
            None => Err(Stop::NoRow),
        },
        answer => answer,
    }
}

/// Calls the in-place form `name`, which changes the first argument.
pub fn in_place(name: &str, args: &Args<'_>) -> Answer<()> {
    first(IN_PLACE, name, args)
}
