//! `einsum`: sums of products by a formula.

use crate::{Error, Here, Result, Tensor};

const OP: &str = "einsum";

/// A letter of a formula; the axes of an ellipsis are numbered from the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// One operand: its axes' labels, all different.
struct Term {
    t: Tensor,
    labels: Vec<Label>,
}

/// Sums of products of tensors by Einstein's convention: `ij,jk->ik` is a matrix product (`torch.einsum`).
///
/// # Errors
/// A formula that cannot be read or does not fit the operands; sizes that differ for one letter.
#[track_caller]
pub fn einsum(formula: &str, operands: &[&Tensor]) -> Result<Tensor> {
    let text: String = formula.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (text.as_str(), None),
    };
    let parts: Vec<&str> = left.split(',').collect();
    if operands.is_empty() || parts.len() != operands.len() {
        return Err(bad(formula, format!("{} operands were given", operands.len())));
    }
    let mut terms = Vec::new();
    let mut deepest = 0;
    for (part, t) in parts.iter().zip(operands) {
        let letters = part.chars().filter(|c| *c != '.').count();
        let dots = has_ellipsis(formula, part)?;
        let covered = t.rank().checked_sub(letters).filter(|n| *n == 0 || dots);
        let covered =
            covered.ok_or_else(|| bad(formula, format!("{part:?} does not fit {:?}", t.shape()))).here()?;
        deepest = deepest.max(covered);
        terms.push(diagonals(formula, (*t).clone(), labels(formula, part, covered)?)?);
    }
    let output = match right {
        Some(right) => {
            let dots = has_ellipsis(formula, right)?;
            labels(formula, right, if dots { deepest } else { 0 })?
        }
        None => implicit_output(&terms, left),
    };
    check_output(formula, &output, &terms)?;
    let mut terms = terms.into_iter();
    let mut sum = match terms.next() {
        Some(first) => first,
        None => return Err(bad(formula, "no operand was given")),
    };
    let rest: Vec<Term> = terms.collect();
    for (i, next) in rest.iter().enumerate() {
        let later = |l: &Label| output.contains(l) || rest[i + 1..].iter().any(|t| t.labels.contains(l));
        sum = contract(formula, sum, next, &later)?;
    }
    // Integers sum to int64, as everywhere; products keep their dtype.
    let sum = if operands.len() == 1 {
        plainly_summed(sum, &|l| output.contains(l))?
    } else {
        summed(sum, &|l| output.contains(l))?
    };
    let order: Vec<i64> = output
        .iter()
        .map(|l| sum.labels.iter().position(|m| m == l).map(|p| p as i64))
        .collect::<Option<_>>()
        .ok_or_else(|| bad(formula, "the output names a letter that no operand has"))
        .here()?;
    sum.t.permute(&order)
}

fn bad(formula: &str, why: impl std::fmt::Display) -> Error {
    Error::value(OP, format!("the equation {formula:?} cannot be used: {why}"))
}

/// Whether the letters of one operand have an ellipsis; one at most, of three dots.
#[track_caller]
fn has_ellipsis(formula: &str, part: &str) -> Result<bool> {
    match part.matches('.').count() {
        0 => Ok(false),
        3 if part.contains("...") => Ok(true),
        _ => Err(bad(formula, format!("{part:?} has a '.' that is not part of one ellipsis"))),
    }
}

/// The labels of one operand whose ellipsis stands for `covered` axes.
#[track_caller]
fn labels(formula: &str, part: &str, covered: usize) -> Result<Vec<Label>> {
    let mut out = Vec::new();
    let mut dots = 0;
    for c in part.chars() {
        match c {
            '.' => {
                dots += 1;
                if dots == 1 {
                    out.extend((0..covered).rev().map(Label::Ellipsis));
                }
            }
            c if c.is_ascii_alphabetic() => out.push(Label::Letter(c)),
            c => return Err(bad(formula, format!("the character {c:?} is not a letter"))),
        }
    }
    Ok(out)
}

/// Letters that appear once, in alphabetical order, after the ellipsis.
fn implicit_output(terms: &[Term], left: &str) -> Vec<Label> {
    let mut all: Vec<Label> = terms.iter().flat_map(|t| t.labels.iter().copied()).collect();
    all.sort_by_key(|l| match l {
        Label::Ellipsis(i) => (0, usize::MAX - i),
        Label::Letter(c) => (1, *c as usize),
    });
    all.dedup();
    all.retain(|l| match l {
        Label::Ellipsis(_) => true,
        Label::Letter(c) => left.matches(*c).count() == 1,
    });
    all
}

#[track_caller]
fn check_output(formula: &str, output: &[Label], terms: &[Term]) -> Result<()> {
    for (i, l) in output.iter().enumerate() {
        if output[..i].contains(l) {
            return Err(bad(formula, format!("the output names {l:?} twice")));
        }
        if terms.iter().all(|t| !t.labels.contains(l)) {
            return Err(bad(formula, format!("the output names {l:?}, which no operand has")));
        }
    }
    Ok(())
}

/// An operand with its repeated labels as diagonals.
#[track_caller]
fn diagonals(formula: &str, mut t: Tensor, mut labels: Vec<Label>) -> Result<Term> {
    let mut i = 0;
    while i < labels.len() {
        match labels[i + 1..].iter().position(|l| *l == labels[i]) {
            None => i += 1,
            Some(offset) => {
                let j = i + 1 + offset;
                if t.shape()[i] != t.shape()[j] {
                    return Err(bad(
                        formula,
                        format!(
                            "{:?} is repeated for sizes {} and {}",
                            labels[i],
                            t.shape()[i],
                            t.shape()[j]
                        ),
                    ));
                }
                // The diagonal becomes the last axis.
                t = t.diagonal(0, i as i64, j as i64)?;
                let label = labels[i];
                labels.remove(j);
                labels.remove(i);
                labels.push(label);
            }
        }
    }
    Ok(Term { t, labels })
}

/// Sums away the labels that are not wanted, in the operand's dtype.
#[track_caller]
fn summed(term: Term, wanted: &dyn Fn(&Label) -> bool) -> Result<Term> {
    let dtype = term.t.dtype();
    let sum = plainly_summed(term, wanted)?;
    Ok(Term { t: sum.t.to_dtype(dtype)?, labels: sum.labels })
}

/// Sums away the labels that are not wanted.
#[track_caller]
fn plainly_summed(term: Term, wanted: &dyn Fn(&Label) -> bool) -> Result<Term> {
    let axes: Vec<i64> =
        (0..term.labels.len()).filter(|&i| !wanted(&term.labels[i])).map(|i| i as i64).collect();
    if axes.is_empty() {
        return Ok(term);
    }
    let t = term.t.sum_axes(&axes, false)?;
    let labels = term.labels.into_iter().filter(|l| wanted(l)).collect();
    Ok(Term { t, labels })
}

/// The product of two operands, summed over the labels that nothing later needs, as one batched matrix product.
#[track_caller]
fn contract(formula: &str, a: Term, b: &Term, later: &dyn Fn(&Label) -> bool) -> Result<Term> {
    let b = Term { t: b.t.clone(), labels: b.labels.clone() };
    let a = summed(a, &|l| later(l) || b.labels.contains(l))?;
    let b = summed(b, &|l| later(l) || a.labels.contains(l))?;
    let (a, b) = without_single(formula, a, b)?;
    let size = |term: &Term, l: &Label| {
        term.labels.iter().position(|m| m == l).map_or(1, |i| term.t.shape()[i] as i64)
    };
    let shared = |l: &&Label| b.labels.contains(l);
    let batch: Vec<Label> = a.labels.iter().filter(shared).filter(|l| later(l)).copied().collect();
    let inner: Vec<Label> = a.labels.iter().filter(shared).filter(|l| !later(l)).copied().collect();
    let only_a: Vec<Label> = a.labels.iter().filter(|l| !b.labels.contains(l)).copied().collect();
    let only_b: Vec<Label> = b.labels.iter().filter(|l| !a.labels.contains(l)).copied().collect();
    let count = |term: &Term, labels: &[Label]| labels.iter().map(|l| size(term, l)).product::<i64>();
    let ordered = |term: &Term, labels: [&[Label]; 3]| {
        let order: Vec<i64> = labels
            .concat()
            .iter()
            .filter_map(|l| term.labels.iter().position(|m| m == l))
            .map(|i| i as i64)
            .collect();
        let sizes: Vec<i64> = labels.iter().map(|l| count(term, l)).collect();
        term.t.permute(&order)?.reshape(sizes.as_slice())
    };
    let left = ordered(&a, [&batch, &only_a, &inner]).here()?;
    let right = ordered(&b, [&batch, &inner, &only_b]).here()?;
    let mut sizes: Vec<i64> = batch.iter().chain(&only_a).map(|l| size(&a, l)).collect();
    sizes.extend(only_b.iter().map(|l| size(&b, l)));
    let t = left.bmm(&right)?.reshape(sizes.as_slice())?;
    Ok(Term { t, labels: [batch, only_a, only_b].concat() })
}

/// Labels that have size 1 on one side and another size on the other are left to the other side.
#[track_caller]
fn without_single(formula: &str, mut a: Term, mut b: Term) -> Result<(Term, Term)> {
    for label in a.labels.clone() {
        let Some(j) = b.labels.iter().position(|l| *l == label) else { continue };
        let Some(i) = a.labels.iter().position(|l| *l == label) else { continue };
        match (a.t.shape()[i], b.t.shape()[j]) {
            (n, m) if n == m => {}
            (1, _) => {
                a.t = a.t.select(i as i64, 0)?;
                a.labels.remove(i);
            }
            (_, 1) => {
                b.t = b.t.select(j as i64, 0)?;
                b.labels.remove(j);
            }
            (n, m) => {
                return Err(Error::shape(
                    OP,
                    format!("{label:?} of {formula:?} has the sizes {n} and {m}, which do not broadcast"),
                ));
            }
        }
    }
    Ok((a, b))
}
