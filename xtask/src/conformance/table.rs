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
pub mod losses;
mod masked;
mod matmul;
mod random;
mod recurrent;
mod reduce;
mod resample;
mod shape;
mod sort;
mod spatial;
mod special;
mod statistics;

use super::args::{Answer, Args, Out, Stop, missing};

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
    spatial::call,
    recurrent::call,
    resample::call,
    losses::call,
    create::call,
    random::call,
    cast::call,
    statistics::call,
    masked::call,
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
    let targets = match args.has("out") {
        true => args.tensors(usize::MAX, "out")?,
        false => return returned(name, args),
    };
    let (found, single) = match returned(name, args)? {
        Out::List(list) => (list, false),
        one => (vec![one], true),
    };
    for (one, target) in found.iter().zip(&targets) {
        match one {
            Out::Tensor(t) => t.out(target)?,
            _ => return missing("a result that is no tensor, with a place to write it to"),
        }
    }
    Ok(match targets.as_slice() {
        [target] if single => target.clone().into(),
        _ => targets.into(),
    })
}

fn returned(name: &str, args: &Args<'_>) -> Answer<Out> {
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
