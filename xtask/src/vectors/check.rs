//! A whole reply against a case: structure, dtypes, shapes, values, gradients.

use anyhow::{Context, Result, bail, ensure};

use super::case::{Arg, Case, Structure};
use super::compare::{self, Compare, Values};
use super::file::{DType, OpFile, elements};

/// A tensor that an implementation returned.
#[derive(Clone, Debug, PartialEq)]
pub struct Got {
    /// Element type.
    pub dtype: DType,
    /// Shape.
    pub shape: Vec<usize>,
    /// The elements, in row-major order.
    pub values: Values,
}

/// What an implementation returned.
#[derive(Clone, Debug, PartialEq)]
pub enum Returned {
    /// A tensor.
    Tensor(Got),
    /// A tuple or list.
    List(Vec<Returned>),
    /// A number, a bool, a list of sizes.
    Plain(Arg),
}

/// Compares what a call returned: structure, dtypes and shapes, then the values (unless the case is random).
pub fn result(file: &OpFile, case: &Case, returned: &Returned) -> Result<()> {
    let structure = case.result.as_ref().context("the call must be refused, and was not")?;
    let mut outputs = Vec::new();
    walk(case, structure, returned, &mut outputs)?;
    ensure!(outputs.len() == case.outputs, "{} output tensors, expected {}", outputs.len(), case.outputs);
    for &(j, got) in &outputs {
        output(file, case, j, got).with_context(|| format!("output {j}"))?;
    }
    Ok(())
}

fn walk<'a>(
    case: &Case,
    want: &Structure,
    got: &'a Returned,
    outputs: &mut Vec<(usize, &'a Got)>,
) -> Result<()> {
    match (want, got) {
        (Structure::Tensor(j), Returned::Tensor(got)) => outputs.push((*j, got)),
        (Structure::List(want), Returned::List(got)) => {
            ensure!(want.len() == got.len(), "{} results, expected {}", got.len(), want.len());
            for (want, got) in want.iter().zip(got) {
                walk(case, want, got, outputs)?;
            }
        }
        (Structure::List(want), Returned::Plain(Arg::List(got))) => {
            ensure!(want.len() == got.len(), "{} results, expected {}", got.len(), want.len());
            for (want, got) in want.iter().zip(got) {
                let Structure::Plain(want) = want else { bail!("a plain value, expected {want:?}") };
                compare::plain(got, want, case.tol)?;
            }
        }
        // A random number has the right type, and that is all that can be said.
        (Structure::Plain(_), Returned::Plain(_)) if case.nondeterministic => {}
        (Structure::Plain(want), Returned::Plain(got)) => compare::plain(got, want, case.tol)?,
        (want, got) => {
            let got = match got {
                Returned::Tensor(_) => "a tensor",
                Returned::List(_) => "a list",
                Returned::Plain(_) => "a plain value",
            };
            bail!("the result is {got}, expected {want:?}");
        }
    }
    Ok(())
}

/// Compares output `j`: what `out_info` says, then the values.
pub fn output(file: &OpFile, case: &Case, j: usize, got: &Got) -> Result<()> {
    let info = case.out_info.get(j).with_context(|| format!("the case describes no output {j}"))?;
    described(got, info.dtype, &info.shape)?;
    if case.nondeterministic {
        return Ok(());
    }
    let want = file.tensor(case, &format!("out/{j}"))?.values();
    match (case.compare(j), &got.values, &want) {
        (Compare::Ties, Values::Int(got), Values::Int(want)) => {
            let Some(&Arg::Tensor(k)) = case.args.first() else {
                bail!("the first argument is not a tensor")
            };
            let input = file.input(case, k)?;
            compare::ties(&input.values, &input.shape, ties_axis(&file.op, case), got, want)
        }
        (rule, got, want) => compare::values(got, want, case.tol, rule),
    }
}

/// The axis along which an operator that returns indices chose them.
fn ties_axis(op: &str, case: &Case) -> i64 {
    let position = if matches!(op, "topk" | "kthvalue") { 2 } else { 1 };
    case.arg(position, "dim").and_then(Arg::int).unwrap_or(-1)
}

fn described(got: &Got, dtype: DType, shape: &[usize]) -> Result<()> {
    ensure!(got.dtype == dtype, "dtype {}, expected {dtype}", got.dtype);
    ensure!(got.shape == shape, "shape {:?}, expected {shape:?}", got.shape);
    ensure!(Some(got.values.len()) == elements(shape), "{} elements for {shape:?}", got.values.len());
    ensure!(
        matches!(got.values, Values::Float(_)) == dtype.is_float(),
        "the wrong kind of values for {dtype}"
    );
    Ok(())
}

/// Compares `args[0]` after the in-place form with output 0.
pub fn in_place(file: &OpFile, case: &Case, got: &Got) -> Result<()> {
    output(file, case, 0, got).context("in-place form")
}

/// Compares the inputs that the call changes (running statistics) with their values afterwards.
pub fn mutated(file: &OpFile, case: &Case, after: impl Fn(usize) -> Result<Got>) -> Result<()> {
    for &k in &case.mutates {
        let want = file.tensor(case, &format!("after/{k}"))?;
        let got = after(k)?;
        described(&got, want.dtype, &want.shape)
            .and_then(|()| compare::values(&got.values, &want.values(), case.tol, Compare::Close))
            .with_context(|| format!("input {k} after the call"))?;
    }
    Ok(())
}

/// Compares the gradients of all the inputs that have one, and sees that the others have none.
pub fn gradients(file: &OpFile, case: &Case, gradient: impl Fn(usize) -> Result<Option<Got>>) -> Result<()> {
    for &k in &case.grads {
        near(file, case, &format!("grad/{k}"), gradient(k)?.as_ref(), 1.0)?;
    }
    for &k in &case.grad_none {
        let zero = gradient(k)?.is_none_or(|got| got.values.all_zero());
        ensure!(zero, "input {k} has a gradient, and must have none");
    }
    Ok(())
}

/// Compares the second-order gradients that are stored: of the inputs (`gradgrad/in/<k>`) and of the upstream gradients
/// (`gradgrad/cotangent/<j>`).
pub fn second_order(
    file: &OpFile,
    case: &Case,
    input: impl Fn(usize) -> Result<Option<Got>>,
    cotangent: impl Fn(usize) -> Result<Option<Got>>,
) -> Result<()> {
    let stored = |part: &String| file.find(case, part).is_some();
    for k in case.inputs.iter().map(|i| i.k) {
        let part = format!("gradgrad/in/{k}");
        if stored(&part) {
            near(file, case, &part, input(k)?.as_ref(), 10.0)?;
        }
    }
    for j in 0..case.outputs {
        let part = format!("gradgrad/cotangent/{j}");
        if stored(&part) {
            near(file, case, &part, cotangent(j)?.as_ref(), 10.0)?;
        }
    }
    Ok(())
}

/// Compares one gradient with the stored one; an absent one counts as zeros.
fn near(file: &OpFile, case: &Case, part: &str, got: Option<&Got>, factor: f64) -> Result<()> {
    let want = file.tensor(case, part)?;
    let values = want.values();
    let compared = match got {
        None if values.all_zero() => Ok(()),
        None => Err(anyhow::anyhow!("there is none")),
        Some(got) => described(got, want.dtype, &want.shape).and_then(|()| {
            compare::values(&got.values, &values, case.grad_tol.times(factor), Compare::Close)
        }),
    };
    compared.with_context(|| part.to_owned())
}

/// The reply that a case itself describes, and the gradients that it stores, replayed against it.
#[cfg(test)]
pub(crate) mod replay {
    use super::*;

    fn stored(file: &OpFile, case: &Case, part: &str) -> Result<Got> {
        let stored = file.tensor(case, part)?;
        let values = stored.values();
        Ok(Got { dtype: stored.dtype, shape: stored.shape, values })
    }

    pub(crate) fn echo(file: &OpFile, case: &Case) -> Result<Returned> {
        fn build(file: &OpFile, case: &Case, structure: &Structure) -> Result<Returned> {
            Ok(match structure {
                Structure::Plain(value) => Returned::Plain(value.clone()),
                Structure::List(items) => {
                    Returned::List(items.iter().map(|s| build(file, case, s)).collect::<Result<_>>()?)
                }
                Structure::Tensor(j) if case.nondeterministic => {
                    let info = case.out_info.get(*j).context("no such output")?;
                    let count = elements(&info.shape).context("too large")?;
                    let values = match info.dtype.is_float() {
                        true => Values::Float(vec![0.0; count]),
                        false => Values::Int(vec![0; count]),
                    };
                    Returned::Tensor(Got { dtype: info.dtype, shape: info.shape.clone(), values })
                }
                Structure::Tensor(j) => Returned::Tensor(stored(file, case, &format!("out/{j}"))?),
            })
        }
        for input in &case.inputs {
            file.input(case, input.k)?;
        }
        build(file, case, case.result.as_ref().context("no result")?)
    }

    pub(crate) fn gradients(file: &OpFile, case: &Case) -> Result<()> {
        super::gradients(file, case, |k| match file.find(case, &format!("grad/{k}")) {
            Some(_) => stored(file, case, &format!("grad/{k}")).map(Some),
            None => Ok(None),
        })?;
        second_order(
            file,
            case,
            |k| stored(file, case, &format!("gradgrad/in/{k}")).map(Some),
            |j| stored(file, case, &format!("gradgrad/cotangent/{j}")).map(Some),
        )?;
        mutated(file, case, |k| stored(file, case, &format!("after/{k}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::file::tests::neg_file;

    fn tensor(values: &[f64]) -> Got {
        Got { dtype: DType::Float32, shape: vec![2, 2], values: Values::Float(values.to_vec()) }
    }

    #[test]
    fn a_result_is_checked_in_every_respect() {
        let file = OpFile::parse(neg_file()).expect("a valid file");
        let case = &file.cases[0];
        let good = tensor(&[-1.0, -3.0, -2.0, -4.0]);
        let check = |returned| result(&file, case, &returned).map_err(|e| format!("{e:#}"));
        assert_eq!(check(Returned::Tensor(good.clone())), Ok(()));
        let wrong = [
            Returned::List(vec![Returned::Tensor(good.clone())]),
            Returned::Plain(Arg::Float(1.0)),
            Returned::Tensor(tensor(&[-1.0, -3.0, -2.0, -4.1])),
            Returned::Tensor(tensor(&[-1.0, -3.0, -2.0])),
            Returned::Tensor(Got { dtype: DType::Float64, ..good.clone() }),
            Returned::Tensor(Got { shape: vec![4], ..good.clone() }),
            Returned::Tensor(Got { values: Values::Int(vec![-1, -3, -2, -4]), ..good.clone() }),
        ];
        for returned in wrong {
            assert!(check(returned.clone()).is_err(), "{returned:?}");
        }
        let random = Case { nondeterministic: true, ..case.clone() };
        assert!(result(&file, &random, &Returned::Tensor(tensor(&[9.0; 4]))).is_ok());
        assert!(result(&file, &random, &Returned::Tensor(Got { shape: vec![4], ..good })).is_err());
    }

    #[test]
    fn an_absent_gradient_counts_as_zeros() {
        let file = OpFile::parse(neg_file()).expect("a valid file");
        let case = Case { grad_none: vec![0], ..file.cases[0].clone() };
        assert!(gradients(&file, &case, |_| Ok(None)).is_ok());
        assert!(gradients(&file, &case, |_| Ok(Some(tensor(&[0.0; 4])))).is_ok());
        assert!(gradients(&file, &case, |_| Ok(Some(tensor(&[1.0; 4])))).is_err());
        // The output stands in for a stored gradient.
        assert!(near(&file, &case, "out/0", None, 1.0).is_err());
        assert!(near(&file, &case, "out/0", Some(&tensor(&[-1.0, -3.0, -2.0, -4.0])), 1.0).is_ok());
        assert!(near(&file, &case, "grad/0", None, 1.0).is_err());
    }

    #[test]
    fn plain_lists_are_compared_item_by_item() {
        let file = OpFile::parse(neg_file()).expect("a valid file");
        let sizes = [Structure::Plain(Arg::Int(2)), Structure::Plain(Arg::Int(3))];
        let case =
            Case { result: Some(Structure::List(sizes.to_vec())), outputs: 0, ..file.cases[0].clone() };
        let list = |items: &[i64]| Returned::Plain(Arg::List(items.iter().map(|&i| Arg::Int(i)).collect()));
        assert!(result(&file, &case, &list(&[2, 3])).is_ok());
        assert!(result(&file, &case, &list(&[2, 4])).is_err());
        assert!(result(&file, &case, &list(&[2])).is_err());
    }
}
