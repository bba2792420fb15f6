//! One case of the `ops` part: called through Kiln, and checked in every respect that the vectors record.

use anyhow::{Context, Result, bail, ensure};
use kiln_autograd::{BackwardOptions, Scalar, Tensor, grad, no_grad};

use super::args::{Answer, Args, Stop};
use super::table;
use super::tensors::{Inputs, from_stored, to_got, to_returned};
use super::{bits, inexpressible};
use crate::vectors::case::Structure;
use crate::vectors::{Case, Compare, Got, OpFile, Outcome, check};

/// How a part of a replay ends early.
enum End {
    Failed(anyhow::Error),
    Unsupported(String),
}

impl From<anyhow::Error> for End {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Replays a case.
pub fn case(file: &OpFile, case: &Case) -> Outcome {
    if case.is_complex() || case.inputs.iter().any(|i| i.dtype.is_complex()) {
        return Outcome::Unsupported(inexpressible::outcome(inexpressible::COMPLEX));
    }
    match replay(file, case) {
        Ok(()) => Outcome::Passed,
        Err(End::Failed(error)) => Outcome::Failed(format!("{error:#}")),
        Err(End::Unsupported(what)) => Outcome::Unsupported(what),
    }
}

/// The name by which the table knows a target: without the leading `torch.`.
fn row(target: &str) -> &str {
    target.strip_prefix("torch.").unwrap_or(target)
}

/// Whether a target changes its first argument: its name ends in one underscore, or is `__setitem__`.
fn works_in_place(name: &str) -> bool {
    name.ends_with("__setitem__") || (name.ends_with('_') && !name.ends_with("__"))
}

/// The name of an operator's in-place form.
fn in_place_row(file: &OpFile) -> Option<String> {
    match file.inplace_target.as_str() {
        "" => None,
        "kwarg:inplace" => file.target.rsplit('.').next().map(|name| format!("{name}_")),
        target => target.rsplit('.').next().map(str::to_owned),
    }
}

fn replay(file: &OpFile, case: &Case) -> Result<(), End> {
    let inputs = Inputs::build(file, case, true)?;
    let name = row(&file.target);
    // An in-place operator cannot change a leaf: what it changes is a copy of its first argument.
    let changed = match (works_in_place(name), case.args.first()) {
        (true, Some(crate::vectors::Arg::Tensor(k))) if inputs.tensor(*k)?.requires_grad() => Some(*k),
        _ => None,
    };
    let mut given = inputs.tensors.clone();
    if let Some(k) = changed {
        for (_, t) in given.iter_mut().filter(|(i, _)| *i == k) {
            *t = t.copy().context("copying the first argument")?;
        }
    }
    let called = call(case, &given, |args| table::call(name, args));
    if case.raises.is_some() {
        return refused(case, called, "the call");
    }
    let out = finished(called, case)?;
    let mut outputs = Vec::new();
    let returned = to_returned(&out, &mut outputs)?;
    outputs.iter().try_for_each(bits::see)?;
    check::result(file, case, &returned)?;
    if case.nondeterministic {
        return Ok(());
    }
    check::mutated(file, case, |k| to_got(inputs.tensor(k)?))?;
    let mut order = Vec::new();
    if let Some(structure) = &case.result {
        positions(structure, &mut order);
    }
    gradients(file, case, &inputs, &outputs, &order)?;
    views(case, &inputs, &outputs, &order)?;
    in_place(file, case)
}

/// Runs a row and sees that it asked for every argument.
fn call<T>(case: &Case, inputs: &[(usize, Tensor)], row: impl FnOnce(&Args<'_>) -> Answer<T>) -> Answer<T> {
    let args = Args::new(case, inputs);
    let result = row(&args);
    let unused = args.unused();
    match result {
        Ok(_) | Err(Stop::Refused(_)) if !unused.is_empty() => {
            Err(Stop::Missing(format!("the arguments {unused:?}")))
        }
        result => result,
    }
}

fn unsupported(stop: &Stop) -> Option<String> {
    match stop {
        Stop::Missing(what) => Some(what.clone()),
        Stop::Inexpressible(reason) => Some(inexpressible::outcome(reason)),
        Stop::NoRow => Some("the operator".to_owned()),
        Stop::Refused(error) => match error.kind() {
            kiln_autograd::ErrorKind::Unsupported { .. } => Some(error.to_string()),
            _ => None,
        },
    }
}

fn finished<T>(called: Answer<T>, case: &Case) -> Result<T, End> {
    called.map_err(|stop| match (unsupported(&stop), stop) {
        (Some(what), _) => End::Unsupported(what),
        (None, Stop::Refused(error)) => {
            End::Failed(anyhow::Error::new(error).context(format!("refused ({:?})", case.kind)))
        }
        (None, _) => End::Unsupported("the operator".to_owned()),
    })
}

/// A call that must be refused.
fn refused<T>(case: &Case, called: Answer<T>, what: &str) -> Result<(), End> {
    match called {
        Ok(_) if case.kwargs.contains_key("out") => {
            Err(End::Unsupported(inexpressible::outcome(inexpressible::OUT)))
        }
        Ok(_) => Err(End::Failed(anyhow::anyhow!("{what} must be refused, and was not"))),
        Err(stop) => match unsupported(&stop) {
            Some(what) => Err(End::Unsupported(what)),
            None => Ok(()),
        },
    }
}

/// The numbers of the output tensors in the order in which a result names them.
fn positions(structure: &Structure, order: &mut Vec<usize>) {
    match structure {
        Structure::Tensor(j) => order.push(*j),
        Structure::List(items) => items.iter().for_each(|s| positions(s, order)),
        Structure::Plain(_) => {}
    }
}

/// First and second order gradients, from all the outputs with a stored upstream gradient in one pass.
fn gradients(file: &OpFile, case: &Case, inputs: &Inputs, outputs: &[Tensor], order: &[usize]) -> Result<()> {
    if case.grads.is_empty() && case.grad_none.is_empty() {
        return Ok(());
    }
    let mut upstream: Vec<(usize, Tensor, Tensor)> = Vec::new();
    for (&j, output) in order.iter().zip(outputs) {
        let Some(stored) = file.find(case, &format!("cotangent/{j}")) else { continue };
        let mut cotangent = from_stored(&stored)?;
        if case.gradgrad {
            cotangent = cotangent.requires_grad_(true)?;
        }
        // Of what is unique only up to signs, the absolute value was differentiated.
        let output = if case.compare(j) == Compare::Abs { output.abs()? } else { output.clone() };
        upstream.push((j, output, cotangent));
    }
    let asked: Vec<usize> = case.inputs.iter().filter(|i| i.requires_grad).map(|i| i.k).collect();
    let leaves = asked.iter().map(|&k| inputs.tensor(k)).collect::<Result<Vec<_>>>()?;
    let options = BackwardOptions { retain_graph: true, create_graph: case.gradgrad };
    // An output without history gives its inputs no gradient, which then counts as zeros.
    let tracked: Vec<_> = upstream.iter().filter(|(_, output, _)| output.requires_grad()).collect();
    let found = match tracked.is_empty() {
        true => vec![None; leaves.len()],
        false => {
            let roots: Vec<&Tensor> = tracked.iter().map(|(_, t, _)| t).collect();
            let cotangents: Vec<Option<&Tensor>> = tracked.iter().map(|(_, _, c)| Some(c)).collect();
            grad(&roots, &leaves, &cotangents, options, true).context("the backward pass")?
        }
    };
    found.iter().flatten().try_for_each(bits::see)?;
    check::gradients(file, case, |k| at(&asked, &found, k)).context("gradient")?;
    if !case.gradgrad {
        return Ok(());
    }
    let mut roots = Vec::new();
    let mut directions = Vec::new();
    for (&k, gradient) in asked.iter().zip(&found) {
        let stored = file.find(case, &format!("gradgrad/v/{k}"));
        if let (Some(stored), Some(gradient)) = (stored, gradient)
            && gradient.requires_grad()
        {
            roots.push(gradient);
            directions.push(from_stored(&stored)?);
        }
    }
    let (numbers, cotangents): (Vec<usize>, Vec<&Tensor>) = upstream.iter().map(|(j, _, c)| (*j, c)).unzip();
    let wanted: Vec<&Tensor> = leaves.iter().copied().chain(cotangents).collect();
    let second = match roots.is_empty() {
        true => vec![None; wanted.len()],
        false => {
            let options = BackwardOptions { retain_graph: false, create_graph: false };
            let directions: Vec<Option<&Tensor>> = directions.iter().map(Some).collect();
            grad(&roots, &wanted, &directions, options, true).context("the second backward pass")?
        }
    };
    second.iter().flatten().try_for_each(bits::see)?;
    let (of_inputs, of_cotangents) = second.split_at(leaves.len());
    check::second_order(file, case, |k| at(&asked, of_inputs, k), |j| at(&numbers, of_cotangents, j))
        .context("second order")
}

fn at(numbers: &[usize], gradients: &[Option<Tensor>], k: usize) -> Result<Option<Got>> {
    let place = numbers.iter().position(|&n| n == k);
    place.and_then(|p| gradients[p].as_ref()).map(to_got).transpose()
}

/// Outputs that must share memory with an input: writing to the output changes the input.
fn views(case: &Case, inputs: &Inputs, outputs: &[Tensor], order: &[usize]) -> Result<()> {
    for (&j, output) in order.iter().zip(outputs) {
        let Some(info) = case.out_info.get(j) else { continue };
        let Some(k) = info.view_of else { continue };
        let base = inputs.base(k)?;
        ensure!(output.shares_storage(base), "output {j} must be a view of input {k}");
        if output.numel() == 0 {
            continue;
        }
        ensure!(info.stride.len() == info.shape.len(), "output {j} has {:?} strides", info.stride);
        let last: usize = info.shape.iter().zip(&info.stride).map(|(n, s)| (n - 1) * s).sum();
        for (corner, place) in [(0, info.offset), (-1, info.offset + last)] {
            write_through(base, output, corner, place).with_context(|| format!("output {j}"))?;
        }
    }
    Ok(())
}

/// Writes to the first (0) or last (-1) element of a view and sees the change at `place` in its base.
fn write_through(base: &Tensor, view: &Tensor, corner: i64, place: usize) -> Result<()> {
    no_grad(|| {
        let mut one = view.detach();
        while one.rank() > 0 {
            one = one.select(0, corner)?;
        }
        let old = one.item()?;
        let new = match old {
            Scalar::Bool(b) => Scalar::Bool(!b),
            Scalar::Int(i) => Scalar::Int(i64::from(i != 1)),
            Scalar::Float(f) => Scalar::Float(if f == 1.0 { 2.0 } else { 1.0 }),
        };
        let memory = base.detach().reshape([base.numel() as i64])?;
        one.fill_(new)?;
        if place >= base.numel() {
            bail!("the view should lie at {place} of {} elements", base.numel());
        }
        let seen = memory.select(0, place as i64)?.item()?;
        ensure!(seen == new, "writing to the view does not change element {place} of its base");
        one.fill_(old)?;
        Ok(())
    })
}

/// The in-place form, where there is one that must give the same result or refuse.
fn in_place(file: &OpFile, case: &Case) -> Result<(), End> {
    if !case.inplace_variant && case.inplace_raises.is_none() {
        return Ok(());
    }
    let Some(name) = in_place_row(file) else { return Ok(()) };
    let inputs = Inputs::build(file, case, false)?;
    let called = call(case, &inputs.tensors, |args| table::in_place(&name, args));
    if case.inplace_raises.is_some() {
        return refused(case, called, "the in-place form");
    }
    let called = called.map_err(|stop| match stop {
        Stop::NoRow => Stop::Missing(format!("the in-place form {name}")),
        stop => stop,
    });
    finished(called, case)?;
    let Some(crate::vectors::Arg::Tensor(k)) = case.args.first().or_else(|| case.kwargs.get("input")) else {
        return Ok(());
    };
    bits::see(inputs.tensor(*k)?)?;
    Ok(check::in_place(file, case, &to_got(inputs.tensor(*k)?)?)?)
}
