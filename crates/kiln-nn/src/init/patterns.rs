//! Initialisers with a structure: identities, sparse and orthogonal matrices.

use kiln_autograd::kiln_ops::random::{Generator, default_generator};
use kiln_autograd::{DType, Error, Here, Result, Tensor, no_grad};

/// Normal numbers, drawn in a tensor like `t`, row-major.
#[track_caller]
fn normal(t: &Tensor, std: f64, generator: &mut Generator) -> Result<Vec<f64>> {
    let values = no_grad(|| t.empty_like()).here()?;
    values.normal_generator_(0.0, std, generator)?;
    values.to_dtype(DType::F64)?.to_vec()
}

/// Writes row-major values, rounded, into `t`.
#[track_caller]
fn write(t: &Tensor, values: Vec<f64>) -> Result<()> {
    let values = Tensor::from_vec(values, t.shape())?;
    no_grad(|| t.copy_(&values)).here()
}

/// Ones on the diagonal of a matrix, zeros elsewhere.
///
/// # Errors
/// The tensor is not a matrix.
#[track_caller]
pub fn eye_(t: &Tensor) -> Result<()> {
    let [rows, columns] = t.dims()[..] else {
        return Err(Error::shape("eye_", format!("only matrices are supported, got shape {:?}", t.dims())));
    };
    let mut out = vec![0.0; t.numel()];
    for i in 0..rows.min(columns) {
        out[i * columns + i] = 1.0;
    }
    write(t, out)
}

/// The weight of a convolution that passes on as many input channels as it can, in each group.
///
/// # Errors
/// The tensor has not three to five axes, or the groups do not divide the first.
#[track_caller]
pub fn dirac_(t: &Tensor, groups: usize) -> Result<()> {
    let dims = t.dims();
    if !(3..=5).contains(&dims.len()) || groups == 0 || !dims[0].is_multiple_of(groups) {
        return Err(Error::shape(
            "dirac_",
            format!(
                "expects 3 to 5 axes and groups that divide the first, got shape {dims:?} and groups={groups}"
            ),
        ));
    }
    let outputs = dims[0] / groups;
    let field: usize = dims[2..].iter().product();
    let centre = dims[2..].iter().fold(0, |at, n| at * n + n / 2);
    let mut out = vec![0.0; t.numel()];
    if field > 0 {
        for group in 0..groups {
            for d in 0..outputs.min(dims[1]) {
                out[((group * outputs + d) * dims[1] + d) * field + centre] = 1.0;
            }
        }
    }
    write(t, out)
}

/// Normal numbers of which in each column the share `sparsity` is zero.
///
/// # Errors
/// The tensor is not a matrix, or the share is not within 0 and 1.
#[track_caller]
pub fn sparse_(t: &Tensor, sparsity: f64, std: f64) -> Result<()> {
    const OP: &str = "sparse_";
    let [rows, columns] = t.dims()[..] else {
        return Err(Error::shape(OP, format!("only matrices are supported, got shape {:?}", t.dims())));
    };
    if !(0.0..=1.0).contains(&sparsity) {
        return Err(Error::value(OP, format!("sparsity must be between 0 and 1, got {sparsity}")));
    }
    let zeros = (sparsity * rows as f64).ceil() as usize;
    let mut generator = default_generator();
    let mut out = normal(t, std, &mut generator)?;
    for column in 0..columns {
        let order = Tensor::randperm_generator(rows, DType::I64, &mut generator).to_vec::<i64>()?;
        for &row in order.iter().take(zeros) {
            out[row as usize * columns + column] = 0.0;
        }
    }
    drop(generator);
    write(t, out)
}

/// A matrix (all axes but the first as one) with orthonormal rows or columns, times `gain`: the orthogonal factor of a
/// normal matrix, by Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural
/// networks" (2013).
///
/// # Errors
/// The tensor has fewer than two axes or is not floating point.
#[track_caller]
pub fn orthogonal_(t: &Tensor, gain: f64) -> Result<()> {
    let dims = t.dims();
    if dims.len() < 2 {
        return Err(Error::shape(
            "orthogonal_",
            format!("only tensors with 2 or more dimensions are supported, got shape {dims:?}"),
        ));
    }
    if t.numel() == 0 {
        return Ok(());
    }
    let (rows, columns) = (dims[0], t.numel() / dims[0]);
    let flat = no_grad(|| t.detach().contiguous()?.reshape([rows, columns])).here()?;
    let drawn = normal(&flat, 1.0, &mut default_generator())?;
    // Columns of the tall orientation, each one contiguous.
    let tall = rows >= columns;
    let (long, short) = if tall { (rows, columns) } else { (columns, rows) };
    let mut q: Vec<f64> =
        if tall { (0..short * long).map(|i| drawn[i % long * columns + i / long]).collect() } else { drawn };
    orthonormalize(&mut q, long);
    let out = (0..rows * columns)
        .map(|i| {
            let (row, column) = (i / columns, i % columns);
            gain * if tall { q[column * long + row] } else { q[row * long + column] }
        })
        .collect();
    write(t, out)
}

/// Gram-Schmidt, twice over for accuracy (Giraud et al. 2005): the factor of QR whose triangle has a positive diagonal,
/// which is the sign that PyTorch gives it.
fn orthonormalize(columns: &mut [f64], length: usize) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    for k in 0..columns.len() / length {
        let (before, rest) = columns.split_at_mut(k * length);
        let column = &mut rest[..length];
        for _ in 0..2 {
            for other in before.chunks_exact(length) {
                let share = dot(other, column);
                column.iter_mut().zip(other).for_each(|(x, y)| *x -= share * y);
            }
        }
        let norm = dot(column, column).sqrt();
        column.iter_mut().for_each(|x| *x /= norm);
    }
}
