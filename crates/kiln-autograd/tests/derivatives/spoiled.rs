//! Inputs that a row was not made for: other dtypes, shapes and sizes.

use kiln_autograd::{BOOL, F16, F32, I64, Result, Tensor, no_grad};

use super::rows::Row;

type Spoil = fn(&Tensor) -> Result<Tensor>;

/// Ways to spoil a tensor. Many rows take the result as it is; what they cannot take is an error.
const WAYS: &[(&str, Spoil)] = &[
    ("as int64", |t| t.to_dtype(I64)),
    ("as bool", |t| t.to_dtype(BOOL)),
    ("as float32", |t| t.to_dtype(F32)),
    ("as float16", |t| t.to_dtype(F16)),
    ("with an axis before", |t| t.unsqueeze(0)?.copy()),
    ("with an axis behind", |t| t.unsqueeze(-1)?.copy()),
    ("with three axes before", |t| t.unsqueeze(0)?.unsqueeze(0)?.unsqueeze(0)?.copy()),
    ("without an axis", |t| t.select(0, 0)?.copy()),
    ("flat", |t| t.reshape([-1])?.copy()),
    ("a number", |t| t.reshape([-1])?.select(0, 0)?.copy()),
    ("shorter", |t| t.narrow(0, 0, t.size(0)? as i64 - 1)?.copy()),
    ("longer", |t| Tensor::cat(&[t, t], 0)),
    ("wider", |t| Tensor::cat(&[t, t, t], -1)),
    ("narrower", |t| t.narrow(-1, 0, t.size(-1)? as i64 - 1)?.copy()),
    ("empty", |t| t.narrow(0, 0, 0)?.copy()),
    ("empty at the end", |t| t.narrow(-1, 0, 0)?.copy()),
];

/// A row's inputs, each spoiled in each way that works for it, and what was done.
pub fn inputs(row: &Row) -> Vec<(String, Vec<Tensor>)> {
    let sound: Vec<Tensor> = row.inputs().iter().map(Tensor::detach).collect();
    let mut all = Vec::new();
    for i in 0..sound.len() {
        for (name, spoil) in WAYS {
            if let Ok(spoiled) = no_grad(|| spoil(&sound[i])) {
                let mut inputs = sound.clone();
                inputs[i] = spoiled;
                all.push((format!("{}: input {i} {name}", row.name), inputs));
            }
        }
    }
    all
}
