//! Convolution over one to three spatial axes: geometry, entries for the forward pass and the two gradients, and the
//! transposed convolution.

use kiln_storage::{Error, RawTensor, Result, Shape};

use crate::backend::{run, uninit};
use crate::copy::contiguous;
pub use crate::cpu::conv::ConvShape;
use crate::op::Op;
use crate::rules::same_device;

/// Stride, padding, dilation and groups of a convolution, one number per spatial axis.
#[derive(Clone, Copy, Debug)]
pub struct ConvOptions<'a> {
    /// Steps between windows.
    pub stride: &'a [usize],
    /// Zeros on each side.
    pub padding: &'a [usize],
    /// Steps between the elements of a window.
    pub dilation: &'a [usize],
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

/// A checked convolution: the sizes for the kernel and the shapes of its three tensors.
///
/// The same geometry serves the forward pass (`x`, `w` -> `y`), the gradient for the input (`y`, `w` -> `x`), which is
/// the transposed convolution, and the gradient for the weight (`x`, `y` -> `w`).
#[derive(Clone, Debug, PartialEq)]
pub struct ConvGeometry {
    /// The sizes, in three spatial dimensions.
    pub sizes: ConvShape<3>,
    /// `[batch, c_in, input..]`
    pub x: Shape,
    /// `[c_out, c_in / groups, kernel..]`
    pub w: Shape,
    /// `[batch, c_out, output..]`
    pub y: Shape,
}

fn widen(sizes: &[usize], fill: usize) -> [usize; 3] {
    let mut all = [fill; 3];
    all[3 - sizes.len()..].copy_from_slice(sizes);
    all
}

fn check_options(op: &'static str, axes: usize, o: &ConvOptions<'_>) -> Result<()> {
    for (name, list, least) in
        [("stride", o.stride, 1), ("padding", o.padding, 0), ("dilation", o.dilation, 1)]
    {
        if list.len() != axes {
            return Err(Error::shape(
                op,
                format!("{name} {list:?} must have {axes} numbers, one per spatial axis"),
            ));
        }
        if let Some(bad) = list.iter().find(|&&v| v < least || v > i32::MAX as usize) {
            return Err(Error::value(op, format!("{name} should be at least {least}, but got {bad}")));
        }
    }
    if o.groups == 0 {
        return Err(Error::value(op, "groups must be positive, but got 0"));
    }
    Ok(())
}

fn check_ranks(op: &'static str, axes: usize, x: &Shape, w: &Shape) -> Result<()> {
    if x.rank() != axes + 2 || w.rank() != axes + 2 {
        return Err(Error::shape(
            op,
            format!(
                "expected input [batch, channels, {axes} spatial sizes] and a weight of the same rank, got {x:?} and \
                 {w:?}"
            ),
        ));
    }
    Ok(())
}

impl ConvGeometry {
    /// The geometry of the convolution of `x` with `w`.
    ///
    /// # Errors
    /// Ranks, channels or groups that do not fit, or a kernel larger than the padded input.
    pub fn forward(
        op: &'static str,
        axes: usize,
        x: &Shape,
        w: &Shape,
        o: &ConvOptions<'_>,
    ) -> Result<ConvGeometry> {
        check_ranks(op, axes, x, w)?;
        check_options(op, axes, o)?;
        let (batch, c_in, c_out) = (x[0], x[1], w[0]);
        if c_out % o.groups != 0 || w[1] * o.groups != c_in || c_out == 0 {
            return Err(Error::shape(
                op,
                format!(
                    "given groups={}, weight of size {w:?}, expected input {x:?} to have {} channels, but got {c_in} \
                     channels instead",
                    o.groups,
                    w[1] * o.groups
                ),
            ));
        }
        let mut output = Vec::with_capacity(axes);
        for i in 0..axes {
            let (n, k) = (x[2 + i], w[2 + i]);
            let padded = n + 2 * o.padding[i];
            let span = o.dilation[i].checked_mul(k.saturating_sub(1)).map(|s| s + 1).unwrap_or(usize::MAX);
            if k == 0 || span > padded {
                return Err(Error::shape(
                    op,
                    format!(
                        "calculated padded input size per channel: {padded}, kernel size: {span} (axis {i}, input {x:?}, \
                         weight {w:?}): kernel size can't be greater than actual input size"
                    ),
                ));
            }
            output.push((padded - span) / o.stride[i] + 1);
        }
        Ok(ConvGeometry::new(batch, c_in, c_out, x, w, &output, o))
    }

    /// The geometry of the transposed convolution whose input is `y`: `w` is `[c_in, c_out / groups, kernel..]` in the
    /// words of the transposed convolution, and the result is [`ConvGeometry::x`].
    ///
    /// # Errors
    /// Ranks, channels or groups that do not fit, an output padding that is not below stride or dilation, or a result
    /// without elements.
    pub fn transposed(
        op: &'static str,
        axes: usize,
        y: &Shape,
        w: &Shape,
        o: &ConvOptions<'_>,
        output_padding: &[usize],
    ) -> Result<ConvGeometry> {
        check_ranks(op, axes, y, w)?;
        check_options(op, axes, o)?;
        if output_padding.len() != axes {
            return Err(Error::shape(
                op,
                format!("output_padding {output_padding:?} must have {axes} numbers"),
            ));
        }
        if w[0] != y[1] || !w[0].is_multiple_of(o.groups) {
            return Err(Error::shape(
                op,
                format!(
                    "given transposed=1, groups={}, weight of size {w:?}, expected input {y:?} to have {} channels, but \
                     got {} channels instead",
                    o.groups, w[0], y[1]
                ),
            ));
        }
        let mut x: Vec<usize> = vec![y[0], w[1] * o.groups];
        for i in 0..axes {
            let (n, k) = (y[2 + i], w[2 + i]);
            if output_padding[i] >= o.stride[i].max(o.dilation[i]) {
                return Err(Error::value(
                    op,
                    format!(
                        "output padding must be smaller than either stride or dilation, but got output_padding {:?}, \
                         stride {:?}, dilation {:?}",
                        output_padding, o.stride, o.dilation
                    ),
                ));
            }
            let size = (n as i64 - 1) * o.stride[i] as i64 - 2 * o.padding[i] as i64
                + o.dilation[i] as i64 * (k as i64 - 1)
                + output_padding[i] as i64
                + 1;
            if size <= 0 || n == 0 || k == 0 {
                return Err(Error::shape(
                    op,
                    format!(
                        "input {y:?} and weight {w:?} give an output size of {size} on axis {i}: too small"
                    ),
                ));
            }
            x.push(size as usize);
        }
        let x = Shape::from(x);
        Ok(ConvGeometry::new(y[0], x[1], w[0], &x, w, &y[2..], o))
    }

    fn new(
        batch: usize,
        c_in: usize,
        c_out: usize,
        x: &Shape,
        w: &Shape,
        output: &[usize],
        o: &ConvOptions<'_>,
    ) -> ConvGeometry {
        let y = [batch, c_out].iter().chain(output).copied().collect();
        let sizes = ConvShape {
            batch,
            c_in,
            c_out,
            groups: o.groups,
            input: widen(&x[2..], 1),
            kernel: widen(&w[2..], 1),
            stride: widen(o.stride, 1),
            padding: widen(o.padding, 0),
            dilation: widen(o.dilation, 1),
            output: widen(output, 1),
        };
        ConvGeometry { sizes, x: x.clone(), w: w.clone(), y }
    }
}

fn check_operands(
    op: &'static str,
    a: &RawTensor,
    b: &RawTensor,
    bias: Option<(&RawTensor, usize)>,
) -> Result<()> {
    let mut all = vec![a, b];
    all.extend(bias.map(|(t, _)| t));
    same_device(op, &all)?;
    if let Some(t) = all.iter().find(|t| t.dtype() != a.dtype()) {
        return Err(Error::dtype(
            op,
            format!("Input type ({}) and weight or bias type ({}) should be the same", a.dtype(), t.dtype()),
        ));
    }
    if a.dtype() == kiln_storage::DType::Bool {
        return Err(Error::dtype(op, format!("\"{op}\" is not implemented for bool")));
    }
    if let Some((bias, channels)) = bias
        && bias.shape() != &[channels]
    {
        return Err(Error::shape(
            op,
            format!("expected bias to be 1-dimensional with {channels} elements, but got {:?}", bias.shape()),
        ));
    }
    Ok(())
}

fn execute(op: &'static str, kernel: Op, inputs: &[&RawTensor], shape: &Shape) -> Result<RawTensor> {
    let inputs = inputs.iter().map(|t| contiguous(t)).collect::<Result<Vec<_>>>()?;
    let out = uninit(op, shape, inputs[0].dtype(), inputs[0].device())?;
    run(op, &kernel, &inputs.iter().collect::<Vec<_>>(), &[&out])?;
    Ok(out)
}

/// The convolution of `x` with `w`, plus `bias` per output channel.
///
/// # Errors
/// Operands that do not have the geometry's shapes, or different dtypes or devices.
pub fn conv(
    op: &'static str,
    g: &ConvGeometry,
    x: &RawTensor,
    w: &RawTensor,
    bias: Option<&RawTensor>,
) -> Result<RawTensor> {
    check_operands(op, x, w, bias.map(|b| (b, g.sizes.c_out)))?;
    let mut inputs = vec![x, w];
    inputs.extend(bias);
    execute(op, Op::Conv(g.sizes), &inputs, &g.y)
}

/// The gradient for a convolution's input from that for its result; with `bias` per input channel, the transposed
/// convolution.
///
/// # Errors
/// As [`conv`].
pub fn conv_input(
    op: &'static str,
    g: &ConvGeometry,
    y: &RawTensor,
    w: &RawTensor,
    bias: Option<&RawTensor>,
) -> Result<RawTensor> {
    check_operands(op, y, w, bias.map(|b| (b, g.sizes.c_in)))?;
    let mut inputs = vec![y, w];
    inputs.extend(bias);
    execute(op, Op::ConvInput(g.sizes), &inputs, &g.x)
}

/// The gradient for a convolution's weight from its input and the gradient for its result.
///
/// # Errors
/// As [`conv`].
pub fn conv_weight(op: &'static str, g: &ConvGeometry, x: &RawTensor, y: &RawTensor) -> Result<RawTensor> {
    check_operands(op, x, y, None)?;
    execute(op, Op::ConvWeight(g.sizes), &[x, y], &g.w)
}
