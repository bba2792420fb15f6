//! Convolutions of 64-bit integers, by the definition. They wrap around like the product of integers does.

use super::Shape3;
use crate::cpu::arch::Isa;

/// Calls `pair(input, weight, output)` with the positions in the three tensors of every product that the convolution
/// sums up.
#[inline(always)]
fn products(shape: &Shape3, mut pair: impl FnMut(usize, usize, usize)) {
    let (group_in, group_out) = shape.group_channels();
    let ([depth, height, width], [out_depth, out_height, out_width]) = (shape.input, shape.output);
    // The input index that an output index and a kernel index meet at, if it is not padding.
    let meet = |d: usize, out: usize, tap: usize| {
        let at = (out * shape.stride[d] + tap * shape.dilation[d]).checked_sub(shape.padding[d])?;
        (at < shape.input[d]).then_some(at)
    };
    for image in 0..shape.batch {
        for out_channel in 0..shape.c_out {
            let group = out_channel / group_out;
            for channel in 0..group_in {
                let input = (image * shape.c_in + group * group_in + channel) * depth * height * width;
                let weight = (out_channel * group_in + channel) * shape.taps();
                let output = (image * shape.c_out + out_channel) * shape.positions();
                for tap in 0..shape.taps() {
                    let [_, rows, columns] = shape.kernel;
                    let tap3 = [tap / (rows * columns), tap / columns % rows, tap % columns];
                    for z in 0..out_depth {
                        let Some(in_z) = meet(0, z, tap3[0]) else { continue };
                        for y in 0..out_height {
                            let Some(in_y) = meet(1, y, tap3[1]) else { continue };
                            for x in 0..out_width {
                                let Some(in_x) = meet(2, x, tap3[2]) else { continue };
                                pair(
                                    input + (in_z * height + in_y) * width + in_x,
                                    weight + tap,
                                    output + (z * out_height + y) * out_width + x,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adds a bias to each channel of `[batch, channels, ..]`, or clears it.
fn start(y: &mut [i64], channels: usize, batch: usize, bias: Option<&[i64]>) {
    let size = y.len() / (channels * batch).max(1);
    for (i, plane) in y.chunks_mut(size.max(1)).enumerate() {
        plane.fill(bias.map_or(0, |bias| bias[i % channels]));
    }
}

/// See [`super::conv_forward`].
pub(super) fn forward(_: Isa, shape: &Shape3, x: &[i64], w: &[i64], bias: Option<&[i64]>, y: &mut [i64]) {
    start(y, shape.c_out, shape.batch, bias);
    products(shape, |i, k, o| y[o] = y[o].wrapping_add(x[i].wrapping_mul(w[k])));
}

/// See [`super::conv_backward_input`].
pub(super) fn backward_input(
    _: Isa,
    shape: &Shape3,
    gy: &[i64],
    w: &[i64],
    bias: Option<&[i64]>,
    gx: &mut [i64],
) {
    start(gx, shape.c_in, shape.batch, bias);
    products(shape, |i, k, o| gx[i] = gx[i].wrapping_add(gy[o].wrapping_mul(w[k])));
}

/// See [`super::conv_backward_weight`].
pub(super) fn backward_weight(_: Isa, shape: &Shape3, x: &[i64], gy: &[i64], gw: &mut [i64]) {
    gw.fill(0);
    products(shape, |i, k, o| gw[k] = gw[k].wrapping_add(x[i].wrapping_mul(gy[o])));
}
