//! Derivatives held against finite differences, in double precision.

use crate::collect::Collect;
use crate::engine::{BackwardOptions, grad};
use crate::{DType, Error, Here, Result, Tensor, enable_grad, func, no_grad};

/// How a derivative is checked; PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradcheckOptions {
    /// Half of the distance over which differences are taken (1e-6).
    pub eps: f64,
    /// Absolute error that is allowed (1e-5).
    pub atol: f64,
    /// Error relative to the numerical derivative that is allowed (1e-3).
    pub rtol: f64,
    /// By how much two backward passes over the same graph may differ (0).
    pub nondet_tol: f64,
    /// Whether a derivative that does not agree is an error, or `false` (an error).
    pub raise_exception: bool,
    /// Whether forward mode is checked as well (no).
    pub check_forward_ad: bool,
}

impl Default for GradcheckOptions {
    fn default() -> Self {
        GradcheckOptions {
            eps: 1e-6,
            atol: 1e-5,
            rtol: 1e-3,
            nondet_tol: 0.0,
            raise_exception: true,
            check_forward_ad: false,
        }
    }
}

/// Whether the gradients of `f`, computed by backward passes, agree with finite differences
/// (`torch.autograd.gradcheck`).
///
/// Checked are all floating point results with respect to all inputs that require a gradient. Inputs have to be float64:
/// differences of float32 have hardly a digit. `f` is called often, with copies of the inputs, and has to give the same
/// for the same inputs.
///
/// ```
/// use kiln_autograd::{F64, GradcheckOptions, gradcheck, tensor};
/// let x = tensor!([0.5, 1.5]; F64).requires_grad_(true)?;
/// assert!(gradcheck(|x| Ok(vec![x[0].sin()?.mul(&x[0])?]), &[&x], &GradcheckOptions::default())?);
/// let wrong = |x: &[kiln_autograd::Tensor]| Ok(vec![x[0].detach().mul(&x[0])?]);
/// assert!(gradcheck(wrong, &[&x], &GradcheckOptions::default()).is_err());
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// No input requires a gradient, or one that does is not float64; what `f` fails with; unless
/// `options.raise_exception` is off, derivatives that do not agree: the message says which element, and both values.
#[track_caller]
pub fn gradcheck(
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[&Tensor],
    options: &GradcheckOptions,
) -> Result<bool> {
    match check(&f, inputs, options).here()? {
        None => Ok(true),
        Some(problem) if options.raise_exception => Err(Error::autograd("gradcheck", problem)),
        Some(_) => Ok(false),
    }
}

/// [`gradcheck`] of the gradients themselves: whether second derivatives agree with finite differences of first ones
/// (`torch.autograd.gradgradcheck`). The gradients of the results are `grad_outputs`, or ones of mixed signs and sizes.
///
/// # Errors
/// As [`gradcheck`]; the number of `grad_outputs` is not that of the floating point results.
#[track_caller]
pub fn gradgradcheck(
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[&Tensor],
    grad_outputs: Option<&[&Tensor]>,
    options: &GradcheckOptions,
) -> Result<bool> {
    let outputs = no_grad(|| differentiable(&f, &copies(inputs)?)).here()?;
    let given: Vec<Tensor> = match grad_outputs {
        Some(given) if given.len() == outputs.len() => given.iter().map(|t| (*t).clone()).collect(),
        Some(given) => {
            return Err(Error::autograd(
                "gradgradcheck",
                format!("{} grad_outputs for {} results", given.len(), outputs.len()),
            ));
        }
        None => outputs.iter().map(mixed).all_ok().here()?,
    };
    let given = given.into_iter().map(|t| t.detach().requires_grad_(true)).all_ok().here()?;
    let count = inputs.len();
    let wanted: Vec<bool> = inputs.iter().map(|t| t.requires_grad()).collect();
    let gradients = |all: &[Tensor]| -> Result<Vec<Tensor>> {
        // Under finite differences as well: the gradient is what is computed, whether it is recorded or not.
        let outer = crate::is_grad_enabled();
        enable_grad(|| {
            let mut inner = Vec::with_capacity(count);
            for (t, wanted) in all[..count].iter().zip(&wanted) {
                inner.push(if *wanted && !t.requires_grad() {
                    t.detach().requires_grad_(true)?
                } else {
                    t.clone()
                });
            }
            let outputs = differentiable(&f, &inner)?;
            let xs: Vec<&Tensor> = inner.iter().zip(&wanted).filter(|(_, w)| **w).map(|(t, _)| t).collect();
            let pairs = outputs.iter().zip(&all[count..]).filter(|(y, _)| y.requires_grad());
            let (ys, gs): (Vec<&Tensor>, Vec<Option<&Tensor>>) = pairs.map(|(y, g)| (y, Some(g))).unzip();
            if ys.is_empty() {
                return xs.iter().map(|x| x.zeros_like()).collect();
            }
            let options = BackwardOptions { retain_graph: true, create_graph: outer };
            let found = grad(&ys, &xs, &gs, options, true)?;
            found.into_iter().zip(xs).map(|(g, x)| g.map_or_else(|| x.zeros_like(), Ok)).collect()
        })
    };
    let all: Vec<&Tensor> = inputs.iter().copied().chain(&given).collect();
    gradcheck(gradients, &all, options)
}

/// Numbers of mixed signs and sizes in the shape of `like`, the same ones in every run.
fn mixed(like: &Tensor) -> Result<Tensor> {
    let numbers: Vec<f64> = (0..like.numel()).map(|i| 0.3 + ((i * 7 + 3) % 11) as f64 / 8.0 - 0.8).collect();
    Tensor::from_vec(numbers, like.shape())?.to_dtype(like.dtype())
}

/// Leaves with the inputs' values.
#[track_caller]
fn copies(inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let copy = |t: &&Tensor| t.detach().copy()?.requires_grad_(t.requires_grad());
    inputs.iter().map(copy).all_ok().here()
}

#[track_caller]
fn differentiable(f: &impl Fn(&[Tensor]) -> Result<Vec<Tensor>>, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    Ok(f(inputs).here()?.into_iter().filter(|t| t.dtype().is_float()).collect())
}

/// What is wrong, if anything.
fn check(
    f: &impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[&Tensor],
    options: &GradcheckOptions,
) -> Result<Option<String>> {
    const OP: &str = "gradcheck";
    let checked: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].requires_grad()).collect();
    if checked.is_empty() {
        return Err(Error::autograd(OP, "expects at least one input tensor to require gradient"));
    }
    if let Some(&i) = checked.iter().find(|&&i| inputs[i].dtype() != DType::F64) {
        return Err(Error::dtype(
            OP,
            format!(
                "input {i} is {}: finite differences need float64, convert it before requires_grad_",
                inputs[i].dtype()
            ),
        ));
    }
    // The analytical side: a backward pass for every element of every result.
    let leaves = copies(inputs)?;
    let outputs = enable_grad(|| differentiable(f, &leaves))?;
    let xs: Vec<&Tensor> = checked.iter().map(|&i| &leaves[i]).collect();
    let columns = if options.check_forward_ad { columns(f, &leaves, &checked)? } else { Vec::new() };
    for (o, y) in outputs.iter().enumerate() {
        let numerical = numerical(f, inputs, &checked, o, y, options.eps)?;
        for (at, column) in columns.iter().enumerate() {
            for (j, forward) in column.iter().enumerate() {
                for (element, (a, n)) in forward[o].iter().zip(&numerical[at][j]).enumerate() {
                    if !options.agree(*a, *n) {
                        return Ok(Some(mismatch("in forward mode", o, checked[at], element, j, *n, *a)));
                    }
                }
            }
        }
        for element in 0..y.numel() {
            let analytical = row(y, &xs, element)?;
            let again = row(y, &xs, element)?;
            for (at, &i) in checked.iter().enumerate() {
                let pairs = analytical[at].iter().zip(&again[at]).zip(&numerical[at]);
                for (j, ((a, b), n)) in pairs.enumerate() {
                    let n = n[element];
                    if !((a - b).abs() <= options.nondet_tol || (a.is_nan() && b.is_nan())) {
                        return Ok(Some(format!(
                            "Backward is not reentrant: the derivative of element {element} of output {o} with respect \
                             to element {j} of input {i} is {a} in one pass and {b} in the next"
                        )));
                    }
                    if !options.agree(*a, n) {
                        return Ok(Some(mismatch("analytically", o, i, element, j, n, *a)));
                    }
                }
            }
        }
    }
    Ok(None)
}

impl GradcheckOptions {
    fn agree(&self, a: f64, n: f64) -> bool {
        (a - n).abs() <= self.atol + self.rtol * n.abs() || a.is_nan() && n.is_nan()
    }
}

fn mismatch(how: &str, output: usize, input: usize, element: usize, j: usize, n: f64, a: f64) -> String {
    format!(
        "Jacobian mismatch for output {output} with respect to input {input}: the derivative of element {element} with \
         respect to element {j} is {n} numerically and {a} {how}"
    )
}

/// The derivatives in forward mode: by checked input, by its element, by result, by the result's element.
fn columns(
    f: &impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    leaves: &[Tensor],
    checked: &[usize],
) -> Result<Vec<Vec<Vec<Vec<f64>>>>> {
    let along = |i: usize, j: usize| -> Result<Vec<Vec<f64>>> {
        let x = &leaves[i];
        let mut one = vec![0.0; x.numel()];
        one[j] = 1.0;
        let one = Tensor::from_vec(one, x.shape())?;
        let of_one = |t: &[Tensor]| {
            let mut all = leaves.to_vec();
            all[i] = t[0].clone();
            differentiable(f, &all)
        };
        let tangents = no_grad(|| func::jvp_many(of_one, &[&x.detach()], &[&one]))?.1;
        tangents.iter().map(|t| t.detach().to_dtype(DType::F64)?.to_vec()).collect()
    };
    checked.iter().map(|&i| (0..leaves[i].numel()).map(|j| along(i, j)).collect()).collect()
}

/// The derivatives of one element of a result, by input.
fn row(y: &Tensor, xs: &[&Tensor], element: usize) -> Result<Vec<Vec<f64>>> {
    if !y.requires_grad() {
        return Ok(xs.iter().map(|x| vec![0.0; x.numel()]).collect());
    }
    let mut one = vec![0.0; y.numel()];
    one[element] = 1.0;
    let one = Tensor::from_vec(one, y.shape())?.to_dtype(y.dtype())?;
    let options = BackwardOptions { retain_graph: true, create_graph: false };
    let found = grad(&[y], xs, &[Some(&one)], options, true)?;
    let values = |(g, x): (Option<Tensor>, &&Tensor)| match g {
        Some(g) => g.detach().to_vec::<f64>(),
        None => Ok(vec![0.0; x.numel()]),
    };
    found.into_iter().zip(xs).map(values).collect()
}

/// Central differences of one result: by checked input, by its element, by the result's element.
fn numerical(
    f: &impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    inputs: &[&Tensor],
    checked: &[usize],
    output: usize,
    y: &Tensor,
    eps: f64,
) -> Result<Vec<Vec<Vec<f64>>>> {
    let shifted = |i: usize, values: Vec<f64>| -> Result<Vec<f64>> {
        let mut moved = copies(inputs)?;
        moved[i] = Tensor::from_vec(values, inputs[i].shape())?;
        let outputs = no_grad(|| differentiable(f, &moved))?;
        match outputs.get(output).filter(|t| t.shape() == y.shape()) {
            Some(t) => t.detach().to_dtype(DType::F64)?.to_vec(),
            None => Err(Error::autograd("gradcheck", "the function's results change their number or shape")),
        }
    };
    let derivatives = |&i: &usize| -> Result<Vec<Vec<f64>>> {
        let values: Vec<f64> = inputs[i].detach().to_vec()?;
        let along = |j: usize| -> Result<Vec<f64>> {
            let at = |delta: f64| {
                let mut moved = values.clone();
                moved[j] += delta;
                shifted(i, moved)
            };
            let (above, below) = (at(eps)?, at(-eps)?);
            Ok(above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * eps)).collect())
        };
        (0..values.len()).map(along).collect()
    };
    checked.iter().map(derivatives).collect()
}
