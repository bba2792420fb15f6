//! The arguments of a recorded call, as an operator's row of the table asks for them.
//!
//! An argument has a position and PyTorch's name, either of which may have been used. Every argument that the call
//! carries must be asked for: one that is not would be ignored by the replay, and a pass would mean nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use kiln_autograd::{Arg as Operand, DType, Error, Scalar, Tensor};

use super::inexpressible;
use super::tensors::kiln_dtype;
use crate::vectors::{Arg, Case, Index};

/// Why a call gave no result.
#[derive(Debug)]
pub enum Stop {
    /// Kiln refused it with an error.
    Refused(Error),
    /// Kiln has no such operator or option, or the arguments cannot be expressed in its types.
    Missing(String),
    /// The call cannot be made in Rust, for one of the reasons in [`super::inexpressible`].
    Inexpressible(&'static str),
    /// This table has no row for the operator: another one may have.
    NoRow,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// What a row of the table gives.
pub type Answer<T> = Result<T, Stop>;

/// Says that something is not there.
pub fn missing<T>(what: impl Into<String>) -> Answer<T> {
    Err(Stop::Missing(what.into()))
}

/// Says that a call cannot be made, for one of the reasons in [`super::inexpressible`].
pub fn inexpressible<T>(reason: &'static str) -> Answer<T> {
    Err(Stop::Inexpressible(reason))
}

/// What a call returned.
#[derive(Clone)]
pub enum Out {
    /// A tensor.
    Tensor(Tensor),
    /// A tuple or list.
    List(Vec<Out>),
    /// A number, a bool, a list of sizes.
    Plain(Arg),
}

impl From<Tensor> for Out {
    fn from(t: Tensor) -> Self {
        Self::Tensor(t)
    }
}

impl From<(Tensor, Tensor)> for Out {
    fn from((a, b): (Tensor, Tensor)) -> Self {
        Self::List(vec![a.into(), b.into()])
    }
}

impl From<Vec<Out>> for Out {
    fn from(list: Vec<Out>) -> Self {
        Self::List(list)
    }
}

impl From<Option<Tensor>> for Out {
    fn from(t: Option<Tensor>) -> Self {
        t.map_or(Self::Plain(Arg::None), Self::Tensor)
    }
}

impl From<Vec<Tensor>> for Out {
    fn from(list: Vec<Tensor>) -> Self {
        Self::List(list.into_iter().map(Out::Tensor).collect())
    }
}

impl From<bool> for Out {
    fn from(b: bool) -> Self {
        Self::Plain(Arg::Bool(b))
    }
}

impl From<Scalar> for Out {
    fn from(s: Scalar) -> Self {
        Self::Plain(match s {
            Scalar::Bool(b) => Arg::Bool(b),
            Scalar::Int(i) => Arg::Int(i),
            Scalar::Float(f) => Arg::Float(f),
        })
    }
}

/// A tensor or a number.
#[derive(Clone)]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// A number.
    Number(Scalar),
}

impl Value {
    /// As Kiln's methods take it.
    pub fn arg(&self) -> Operand<'_> {
        match self {
            Self::Tensor(t) => Operand::Tensor(t),
            Self::Number(s) => Operand::Scalar(*s),
        }
    }

    /// The tensor, or a zero-dimensional one of the number.
    pub fn to_tensor(&self) -> Answer<Tensor> {
        match self {
            Self::Tensor(t) => Ok(t.clone()),
            Self::Number(s) => Ok(Tensor::scalar(*s)?),
        }
    }
}

/// The arguments of one call, and which of them were asked for.
pub struct Args<'a> {
    args: &'a [Arg],
    kwargs: &'a BTreeMap<String, Arg>,
    inputs: &'a [(usize, Tensor)],
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Args<'a> {
    /// The arguments of `case`, whose input tensors were built as `inputs`.
    pub fn new(case: &'a Case, inputs: &'a [(usize, Tensor)]) -> Self {
        Self::of(&case.args, &case.kwargs, inputs)
    }

    /// These arguments, which name tensors by the numbers that `inputs` gives them.
    pub fn of(args: &'a [Arg], kwargs: &'a BTreeMap<String, Arg>, inputs: &'a [(usize, Tensor)]) -> Self {
        Self { args, kwargs, inputs, used: RefCell::default() }
    }

    /// The argument at `position` or called one of `names` (separated by `|`).
    pub fn get(&self, position: usize, names: &str) -> Option<&'a Arg> {
        if let Some(arg) = self.args.get(position) {
            self.used.borrow_mut().insert(position.to_string());
            return Some(arg);
        }
        names.split('|').find_map(|name| {
            let arg = self.kwargs.get(name)?;
            self.used.borrow_mut().insert(name.to_owned());
            Some(arg)
        })
    }

    /// The named argument, whatever the positions hold.
    pub fn named(&self, name: &str) -> Option<&'a Arg> {
        self.get(usize::MAX, name)
    }

    /// How many arguments have a position.
    pub fn count(&self) -> usize {
        self.args.len()
    }

    /// How many arguments there are, by position or by name.
    pub fn total(&self) -> usize {
        self.args.len() + self.kwargs.len()
    }

    /// Whether there is an argument of this name.
    pub fn has(&self, name: &str) -> bool {
        self.kwargs.contains_key(name)
    }

    /// What was never asked for.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let positions = (0..self.args.len()).map(|i| i.to_string());
        let names = self.kwargs.keys().cloned();
        positions.chain(names).filter(|k| !used.contains(k)).collect()
    }

    fn input(&self, k: usize) -> Answer<Tensor> {
        match self.inputs.iter().find(|(i, _)| *i == k) {
            Some((_, t)) => Ok(t.clone()),
            None => missing(format!("there is no input {k}")),
        }
    }

    fn present(&self, position: usize, names: &str) -> Option<&'a Arg> {
        self.get(position, names).filter(|a| **a != Arg::None)
    }

    fn need<T>(&self, what: &str, found: Option<T>) -> Answer<T> {
        match found {
            Some(found) => Ok(found),
            None => missing(format!("the argument {what} is absent")),
        }
    }

    fn wrong<T>(&self, what: &str, arg: &Arg) -> Answer<T> {
        missing(format!("the argument {what} cannot be {arg:?}"))
    }

    /// The first argument, a tensor.
    pub fn x(&self) -> Answer<Tensor> {
        self.tensor(0, "input|self")
    }

    /// A tensor.
    pub fn tensor(&self, position: usize, names: &str) -> Answer<Tensor> {
        let found = self.opt_tensor(position, names)?;
        self.need(names, found)
    }

    /// A tensor that may be absent.
    pub fn opt_tensor(&self, position: usize, names: &str) -> Answer<Option<Tensor>> {
        match self.present(position, names) {
            None => Ok(None),
            Some(Arg::Tensor(k)) => self.input(*k).map(Some),
            Some(Arg::Int(_) | Arg::Float(_)) => inexpressible(inexpressible::TYPE),
            Some(other) => self.wrong(names, other),
        }
    }

    /// A list of tensors.
    pub fn tensors(&self, position: usize, names: &str) -> Answer<Vec<Tensor>> {
        let found = self.present(position, names);
        match self.need(names, found)? {
            Arg::Tensors(list) => list
                .iter()
                .map(|k| match k {
                    Some(k) => self.input(*k),
                    None => inexpressible(inexpressible::TYPE),
                })
                .collect(),
            Arg::List(list) if list.is_empty() => Ok(Vec::new()),
            Arg::Tensor(k) => Ok(vec![self.input(*k)?]),
            other => self.wrong(names, other),
        }
    }

    /// All the tensors from `position` on, or the list of tensors there.
    pub fn tensors_from(&self, position: usize, names: &str) -> Answer<Vec<Tensor>> {
        if !matches!(self.args.get(position), Some(Arg::Tensor(_))) {
            return self.tensors(position, names);
        }
        (position..self.count()).map(|i| self.tensor(i, names)).collect()
    }

    /// A tensor or a number.
    pub fn value(&self, position: usize, names: &str) -> Answer<Value> {
        let found = self.opt_value(position, names)?;
        self.need(names, found)
    }

    /// A tensor or a number, or nothing.
    pub fn opt_value(&self, position: usize, names: &str) -> Answer<Option<Value>> {
        match self.present(position, names) {
            None => Ok(None),
            Some(Arg::Tensor(k)) => Ok(Some(Value::Tensor(self.input(*k)?))),
            Some(_) => Ok(self.opt_number(position, names)?.map(Value::Number)),
        }
    }

    /// A number that may be absent.
    pub fn opt_number(&self, position: usize, names: &str) -> Answer<Option<Scalar>> {
        match self.present(position, names) {
            None => Ok(None),
            Some(Arg::Bool(b)) => Ok(Some(Scalar::Bool(*b))),
            Some(Arg::Int(i)) => Ok(Some(Scalar::Int(*i))),
            Some(Arg::Float(f)) => Ok(Some(Scalar::Float(*f))),
            // Python lets a tensor of one element stand for a number.
            Some(Arg::Tensor(k)) => Ok(Some(self.input(*k)?.item()?)),
            Some(other) => self.wrong(names, other),
        }
    }

    /// A number.
    pub fn number(&self, position: usize, names: &str) -> Answer<Scalar> {
        let found = self.opt_number(position, names)?;
        self.need(names, found)
    }

    /// A number, or what it is when absent.
    pub fn number_or(&self, position: usize, names: &str, absent: impl Into<Scalar>) -> Answer<Scalar> {
        Ok(self.opt_number(position, names)?.unwrap_or(absent.into()))
    }

    /// A float, which may be absent.
    pub fn opt_float(&self, position: usize, names: &str) -> Answer<Option<f64>> {
        match self.present(position, names) {
            None => Ok(None),
            Some(arg) => match arg.float() {
                Some(f) => Ok(Some(f)),
                None => self.wrong(names, arg),
            },
        }
    }

    /// A float, or what it is when absent.
    pub fn float_or(&self, position: usize, names: &str, absent: f64) -> Answer<f64> {
        Ok(self.opt_float(position, names)?.unwrap_or(absent))
    }

    /// An integer that may be absent.
    pub fn opt_int(&self, position: usize, names: &str) -> Answer<Option<i64>> {
        match self.present(position, names) {
            None => Ok(None),
            Some(Arg::Int(i)) => Ok(Some(*i)),
            Some(Arg::Tensor(k)) => match self.input(*k)?.item()? {
                Scalar::Int(i) => Ok(Some(i)),
                _ => inexpressible(inexpressible::TYPE),
            },
            Some(Arg::Float(_)) => inexpressible(inexpressible::TYPE),
            Some(other) => self.wrong(names, other),
        }
    }

    /// An integer.
    pub fn int(&self, position: usize, names: &str) -> Answer<i64> {
        let found = self.opt_int(position, names)?;
        self.need(names, found)
    }

    /// An integer, or what it is when absent.
    pub fn int_or(&self, position: usize, names: &str, absent: i64) -> Answer<i64> {
        Ok(self.opt_int(position, names)?.unwrap_or(absent))
    }

    /// A count: an integer that cannot be negative.
    pub fn size(&self, position: usize, names: &str) -> Answer<usize> {
        count(self.int(position, names)?)
    }

    /// A count, or what it is when absent.
    pub fn size_or(&self, position: usize, names: &str, absent: usize) -> Answer<usize> {
        self.opt_int(position, names)?.map_or(Ok(absent), count)
    }

    /// A bool, or what it is when absent.
    pub fn bool_or(&self, position: usize, names: &str, absent: bool) -> Answer<bool> {
        match self.present(position, names) {
            None => Ok(absent),
            Some(Arg::Bool(b)) => Ok(*b),
            Some(Arg::Int(i)) => Ok(*i != 0),
            Some(other) => self.wrong(names, other),
        }
    }

    /// A string, or what it is when absent.
    pub fn str_or(&self, position: usize, names: &str, absent: &'a str) -> Answer<&'a str> {
        match self.present(position, names) {
            None => Ok(absent),
            Some(Arg::Str(s)) => Ok(s),
            Some(other) => self.wrong(names, other),
        }
    }

    /// A dtype, if one is given.
    pub fn dtype(&self, position: usize, names: &str) -> Answer<Option<DType>> {
        match self.present(position, names) {
            None => Ok(None),
            Some(Arg::DType(d)) => match kiln_dtype(*d) {
                Some(d) => Ok(Some(d)),
                None => missing(format!("the dtype {d}")),
            },
            Some(other) => self.wrong(names, other),
        }
    }

    /// A list of integers, or one alone; none when absent.
    pub fn opt_ints(&self, position: usize, names: &str) -> Answer<Option<Vec<i64>>> {
        match self.present(position, names) {
            None => Ok(None),
            Some(Arg::Tensor(k)) => Ok(Some(kiln_ints(&self.input(*k)?)?)),
            Some(arg) => match arg.ints() {
                Some(ints) => Ok(Some(ints)),
                None => self.wrong(names, arg),
            },
        }
    }

    /// A list of integers, or one alone.
    pub fn ints(&self, position: usize, names: &str) -> Answer<Vec<i64>> {
        let found = self.opt_ints(position, names)?;
        self.need(names, found)
    }

    /// The integers from `position` on, given one by one or as a list.
    pub fn ints_from(&self, position: usize, names: &str) -> Answer<Vec<i64>> {
        match self.args.get(position) {
            Some(Arg::Int(_)) => (position..self.count()).map(|i| self.int(i, names)).collect(),
            _ => self.ints(position, names),
        }
    }

    /// One size for each of `N` axes, or one for all.
    pub fn sizes<const N: usize>(
        &self,
        position: usize,
        names: &str,
        absent: Option<[usize; N]>,
    ) -> Answer<[usize; N]> {
        let found = self.opt_ints(position, names)?.filter(|i| !i.is_empty());
        match (found, absent) {
            (None, Some(absent)) => Ok(absent),
            (None, None) => missing(format!("the argument {names} is absent")),
            (Some(ints), _) => {
                let sizes = ints.iter().map(|&i| count(i)).collect::<Answer<Vec<_>>>()?;
                match (<[usize; N]>::try_from(sizes.as_slice()), sizes.as_slice()) {
                    (Ok(sizes), _) => Ok(sizes),
                    (_, [one]) => Ok([*one; N]),
                    _ => missing(format!("{names} of {sizes:?} for {N} axes")),
                }
            }
        }
    }

    /// An index expression.
    pub fn index(&self, position: usize) -> Answer<&'a [Index]> {
        match self.get(position, "index|indices") {
            Some(Arg::Index(items)) => Ok(items),
            Some(other) => self.wrong("index", other),
            None => missing("there is no index"),
        }
    }

    /// Input tensor `k`, as an index expression names it.
    pub fn index_tensor(&self, k: usize) -> Answer<Tensor> {
        self.input(k)
    }

    /// A list of index tensors with gaps.
    pub fn optional_tensors(&self, position: usize, names: &str) -> Answer<Vec<Option<Tensor>>> {
        let found = self.present(position, names);
        match self.need(names, found)? {
            Arg::Tensors(list) => list.iter().map(|k| k.map(|k| self.input(k)).transpose()).collect(),
            Arg::List(list) if list.is_empty() => Ok(Vec::new()),
            other => self.wrong(names, other),
        }
    }
}

fn count(i: i64) -> Answer<usize> {
    match usize::try_from(i) {
        Ok(i) => Ok(i),
        Err(_) => inexpressible(inexpressible::NEGATIVE),
    }
}

fn kiln_ints(t: &Tensor) -> Answer<Vec<i64>> {
    Ok(t.to_dtype(DType::I64)?.to_vec::<i64>()?)
}
