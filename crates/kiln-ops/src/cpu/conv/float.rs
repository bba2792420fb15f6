//! Convolutions of floating point numbers and their input gradients, as products of weights and patches.

use super::Shape3;
use super::patches::Patches;
use super::planes::{Axis, Layout};
use crate::cpu::arch::Isa;
use crate::cpu::gemm::{
    Bias, Columns, FEW_ROWS, Float, Job, Real, Scratch, Strided, fan_out, run, wide_bias,
};

/// Output positions below which several images are handled together, to fill the vectors.
const FEW: usize = 64;
/// Positions that are handled together then.
const TOGETHER: usize = 512;
/// Multiply-adds below which threads do not help.
const SMALL: usize = 1 << 17;

/// Pointers that tasks share.
struct Ends<T>(*const T, *mut T);
// SAFETY: tasks write disjoint parts.
unsafe impl<T> Sync for Ends<T> {}

/// Calls `task(first, count, serial)` for runs of images: with many runs they are dealt out to threads, with few each
/// one may use all threads itself.
fn by_images(batch: usize, positions: usize, work: usize, task: &(dyn Fn(usize, usize, bool) + Sync)) {
    let run = if positions < FEW { TOGETHER.div_ceil(positions.max(1)).min(batch) } else { 1 };
    let tasks = batch.div_ceil(run);
    let whole = tasks >= 8;
    fan_out(!whole || work * batch < 2 * SMALL, tasks, &|i| {
        task(i * run, run.min(batch - i * run), whole || work * run < 2 * SMALL)
    });
}

/// Where output positions lie, for several images or with gaps between them.
struct Places {
    grid: [usize; 3],
    steps: [usize; 3],
    image_step: usize,
    first: usize,
    /// The positions in a row and in a plane, of which only those inside the grid count.
    row: usize,
    plane: usize,
}

impl Columns for Places {
    fn place(&self, column: usize) -> (Option<isize>, usize) {
        let [depth, height, width] = self.grid;
        let (plane, within) = (column / self.plane, column % self.plane);
        let (y, x) = (within / self.row, within % self.row);
        let (image, z) = (plane / depth, plane % depth);
        if y >= height {
            return (None, self.plane - within);
        }
        if x >= width {
            return (None, self.row - x);
        }
        let at = image * self.image_step + z * self.steps[0] + y * self.steps[1] + x * self.steps[2];
        (Some((self.first + at) as isize), width - x)
    }
}

/// Whether to compute the positions between rows, too, rather than to pack patches: with few rows in the weight, packing
/// takes longer than the product.
fn flat<E: Real>(rows: usize, patches: &Patches<'_, E>) -> bool {
    let positions: usize = patches.grid.iter().product();
    rows <= FEW_ROWS && patches.images == 1 && positions * 5 >= patches.flat_len() * 3
}

/// Decides between packing and computing positions between rows, and says where the product's columns go: positions
/// of `grid` are `steps` apart in the result, images `image_step`. Returns the number of columns, too.
fn arrange<E: Real>(
    patches: &mut Patches<'_, E>,
    rows: usize,
    grid: [usize; 3],
    steps: [usize; 3],
    image_step: usize,
    first: usize,
) -> (Places, usize) {
    let [_, height, width] = grid;
    let dense = Places { grid, steps, image_step, first, row: width, plane: height * width };
    if !flat(rows, patches) {
        let positions = grid.iter().product::<usize>();
        let n = patches.images * positions;
        // Where results of an image follow each other without gaps, they are one row.
        if steps == [height * width, width, 1] {
            return (Places { grid: [1, 1, positions], row: positions, plane: positions, ..dense }, n);
        }
        return (dense, n);
    }
    let n = patches.flat_len();
    // Rows and planes that were joined have no gaps between them.
    let row = if patches.grid[1] > 1 { patches.steps[1] } else { width };
    let plane = if patches.grid[0] > 1 { patches.steps[0] } else { row * height };
    patches.grid = [1, 1, n];
    (Places { row, plane, ..dense }, n)
}

/// The axes of the input as the windows see it.
pub(super) fn sliding_axes(shape: &Shape3) -> [Axis; 3] {
    std::array::from_fn(|d| {
        Axis::sliding(
            shape.input[d],
            shape.output[d],
            shape.kernel[d],
            shape.stride[d],
            shape.padding[d],
            shape.dilation[d],
        )
    })
}

/// Where the taps of the first window lie, in the order of the weight, for the channels of a group.
pub(super) fn sliding_offsets(shape: &Shape3, layout: &Layout) -> Vec<usize> {
    let (channels, _) = shape.group_channels();
    let mut offsets = Vec::with_capacity(channels * shape.taps());
    for channel in 0..channels {
        for z in 0..shape.kernel[0] {
            for y in 0..shape.kernel[1] {
                for x in 0..shape.kernel[2] {
                    let at = |d: usize, tap: usize| tap * shape.dilation[d];
                    let taps = [at(0, z), at(1, y), at(2, x)];
                    let phase = std::array::from_fn(|d| taps[d] % shape.stride[d]);
                    let shift = std::array::from_fn(|d| taps[d] / shape.stride[d]);
                    offsets.push(channel * layout.channel_step + layout.offset(phase, shift));
                }
            }
        }
    }
    offsets
}

/// See [`super::conv_forward`].
pub(super) fn forward<T: Float>(isa: Isa, shape: &Shape3, x: &[T], w: &[T], bias: Option<&[T]>, y: &mut [T]) {
    let positions = shape.positions();
    if y.is_empty() {
        return;
    }
    let layout = Layout::new(sliding_axes(shape), shape.c_in, T::WIDE);
    let offsets = sliding_offsets(shape, &layout);
    let (group_in, group_out) = shape.group_channels();
    let k = offsets.len();
    // SAFETY: the bias has a number for each output channel.
    let bias = unsafe { wide_bias(bias.map(|bias| Bias::Rows(bias.as_ptr(), 1)), shape.c_out, 0) };
    let bias_rows = SharedConst(bias.rows);
    let ends = Ends(x.as_ptr(), y.as_mut_ptr());
    let image = shape.c_in * shape.input.iter().product::<usize>();
    by_images(shape.batch, positions, shape.c_out * positions * k, &|first, images, serial| {
        let (ends, bias_rows) = (&ends, &bias_rows);
        // SAFETY: the images of this run; offsets and positions stay inside their planes, and outputs of different runs
        // and groups are disjoint.
        unsafe {
            let planes = layout.planes(isa, ends.0.add(first * image), images, serial);
            for group in 0..shape.groups {
                let mut patches = Patches {
                    data: planes.data.add(group * group_in * layout.channel_step),
                    offsets: &offsets,
                    grid: shape.output,
                    steps: layout.steps,
                    images,
                    image_step: layout.image_step,
                }
                .joined();
                let [_, height, width] = shape.output;
                let steps = [height * width, width, 1];
                let (places, n) =
                    arrange(&mut patches, group_out, shape.output, steps, shape.c_out * positions, 0);
                let weights =
                    Strided { at: w.as_ptr().add(group * group_out * k), row: k as isize, column: 1 };
                let job = Job {
                    m: group_out,
                    n,
                    k,
                    first: 0,
                    a: &weights,
                    b: &patches,
                    c: ends.1.add((first * shape.c_out + group * group_out) * positions),
                    c_row: positions as isize,
                    c_column: 1,
                    columns: if n > positions || images > 1 { Some(&places) } else { None },
                    accumulate: false,
                    row_bias: offset(bias_rows.0, group * group_out),
                    row_bias_step: 1,
                    column_bias: std::ptr::null(),
                    relu: false,
                };
                run(isa, &job, serial);
            }
        }
    });
}

struct SharedConst<E>(*const E);
// SAFETY: what it points to is only read.
unsafe impl<E> Sync for SharedConst<E> {}

/// A pointer moved on, unless it is null.
fn offset<E>(p: *const E, by: usize) -> *const E {
    if p.is_null() { p } else { p.wrapping_add(by) }
}

/// What one axis of the input gradient takes from the output gradient: the inputs whose padded index leaves the
/// remainder `phase` when divided by the stride.
struct Phase {
    phase: usize,
    /// The quotients of those inputs.
    first: usize,
    count: usize,
    /// The kernel positions that reach them, and how many outputs back each one looks.
    taps: Vec<(usize, usize)>,
}

fn phases(shape: &Shape3, d: usize) -> Vec<Phase> {
    let (stride, padding) = (shape.stride[d], shape.padding[d]);
    let phase = |phase: usize| {
        let first = padding.saturating_sub(phase).div_ceil(stride);
        let end = (shape.input[d] + padding).saturating_sub(phase).div_ceil(stride);
        let reach = |tap: &usize| tap * shape.dilation[d] % stride == phase;
        let taps = (0..shape.kernel[d]).filter(reach).map(|tap| (tap, tap * shape.dilation[d] / stride));
        Phase { phase, first, count: end.saturating_sub(first), taps: taps.collect() }
    };
    (0..stride.min(shape.input[d])).map(|i| phase((i + padding) % stride)).collect()
}

/// One choice of phases in all axes, and the weights that take part in it.
struct Pass<'a> {
    axes: [&'a Phase; 3],
    offsets: Vec<usize>,
    /// Positions in the weight's kernel.
    taps: Vec<usize>,
    /// Where the rearranged weights of this pass start.
    weights: usize,
}

/// See [`super::conv_backward_input`].
pub(super) fn backward_input<T: Float>(
    isa: Isa,
    shape: &Shape3,
    gy: &[T],
    w: &[T],
    bias: Option<&[T]>,
    gx: &mut [T],
) {
    if gx.is_empty() {
        return;
    }
    let (group_in, group_out) = shape.group_channels();
    let all = [phases(shape, 0), phases(shape, 1), phases(shape, 2)];
    // The output gradient, with zeros around it as far as any tap looks.
    let low: [usize; 3] = std::array::from_fn(|d| {
        let back = |p: &Phase| p.taps.iter().map(|t| t.1.saturating_sub(p.first)).max().unwrap_or(0);
        all[d].iter().map(back).max().unwrap_or(0)
    });
    let axes = std::array::from_fn(|d| Axis {
        size: shape.output[d],
        stride: 1,
        padding: low[d],
        phases: vec![0],
        len: low[d] + all[d].iter().map(|p| p.first + p.count).max().unwrap_or(0),
    });
    let layout = Layout::new(axes, shape.c_out, T::WIDE);

    let mut passes = Vec::new();
    let mut weights = 0;
    for z in &all[0] {
        for y in &all[1] {
            for x in &all[2] {
                let mut pass = Pass { axes: [z, y, x], offsets: Vec::new(), taps: Vec::new(), weights };
                let mut within = Vec::new();
                for &(tap_z, back_z) in &z.taps {
                    for &(tap_y, back_y) in &y.taps {
                        for &(tap_x, back_x) in &x.taps {
                            pass.taps.push((tap_z * shape.kernel[1] + tap_y) * shape.kernel[2] + tap_x);
                            let at = [
                                low[0] + z.first - back_z,
                                low[1] + y.first - back_y,
                                low[2] + x.first - back_x,
                            ];
                            within.push(layout.offset([0; 3], at));
                        }
                    }
                }
                for channel in 0..group_out {
                    pass.offsets.extend(within.iter().map(|at| channel * layout.channel_step + at));
                }
                weights += shape.c_in * pass.offsets.len();
                passes.push(pass);
            }
        }
    }
    let own = Scratch::new::<T::Acc>(weights.max(1));
    let turned = SharedMut(own.ptr::<T::Acc>());
    for pass in &passes {
        let taps = pass.taps.len();
        let whole = T::WIDE && taps == shape.taps();
        let outs: Vec<usize> = (0..group_out).map(|out| out * group_in * shape.taps()).collect();
        fan_out(weights < SMALL, shape.c_in, &|channel| {
            let (turned, group) = (&turned, channel / group_in);
            let from = &w[(group * group_out * group_in + channel % group_in) * shape.taps()..];
            // SAFETY: the weights of an input channel are a kernel for each output channel of its group; every row of
            // every pass has its own place in the memory.
            unsafe {
                let to = turned.0.add(pass.weights + channel * group_out * taps);
                if whole {
                    let copy = T::Acc::copy_runs(isa);
                    return copy(from.as_ptr().cast(), outs.as_ptr(), group_out, to, taps, taps, taps);
                }
                for (out, &start) in outs.iter().enumerate() {
                    for (j, &tap) in pass.taps.iter().enumerate() {
                        *to.add(out * taps + j) = from[start + tap].widen_one();
                    }
                }
            }
        });
    }

    // SAFETY: the bias has a number for each input channel.
    let bias = unsafe { wide_bias(bias.map(|bias| Bias::Rows(bias.as_ptr(), 1)), shape.c_in, 0) };
    let bias_rows = SharedConst(bias.rows);
    let ends = Ends(gy.as_ptr(), gx.as_mut_ptr());
    let [_, height, width] = shape.input;
    let size = shape.input.iter().product::<usize>();
    let image = shape.c_out * shape.positions();
    let strides: usize = shape.stride.iter().product();
    let work = shape.c_in * size * group_out * shape.taps() / strides;
    by_images(shape.batch, size / strides, work, &|first, images, serial| {
        let (ends, turned, bias_rows) = (&ends, &turned, &bias_rows);
        // SAFETY: as in `forward`; the inputs of different passes are disjoint.
        unsafe {
            let planes = layout.planes(isa, ends.0.add(first * image), images, serial);
            for pass in &passes {
                let grid = pass.axes.map(|axis| axis.count);
                let at: [usize; 3] = std::array::from_fn(|d| {
                    pass.axes[d].first * shape.stride[d] + pass.axes[d].phase - shape.padding[d]
                });
                let first_input = (at[0] * height + at[1]) * width + at[2];
                let steps = [shape.stride[0] * height * width, shape.stride[1] * width, shape.stride[2]];
                let positions = grid.iter().product::<usize>();
                for group in 0..shape.groups {
                    let mut patches = Patches {
                        data: planes.data.add(group * group_out * layout.channel_step),
                        offsets: &pass.offsets,
                        grid,
                        steps: layout.steps,
                        images,
                        image_step: layout.image_step,
                    }
                    .joined();
                    let (places, n) =
                        arrange(&mut patches, group_in, grid, steps, shape.c_in * size, first_input);
                    let k = pass.offsets.len();
                    let weights = Strided {
                        at: turned.0.add(pass.weights + group * group_in * k).cast_const(),
                        row: k as isize,
                        column: 1,
                    };
                    let job = Job {
                        m: group_in,
                        n,
                        k,
                        first: 0,
                        a: &weights,
                        b: &patches,
                        c: ends.1.add((first * shape.c_in + group * group_in) * size),
                        c_row: size as isize,
                        c_column: shape.stride[2] as isize,
                        columns: if n > positions || images > 1 || strides > 1 {
                            Some(&places)
                        } else {
                            None
                        },
                        accumulate: false,
                        row_bias: offset(bias_rows.0, group * group_in),
                        row_bias_step: 1,
                        column_bias: std::ptr::null(),
                        relu: false,
                    };
                    run(isa, &job, serial);
                }
            }
        }
    });
}

struct SharedMut<E>(*mut E);
// SAFETY: tasks write disjoint parts.
unsafe impl<E> Sync for SharedMut<E> {}
