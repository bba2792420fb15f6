//! The weight gradient of convolutions of floating point numbers, as a product of patches and output gradients.

use super::Shape3;
use super::float::{sliding_axes, sliding_offsets};
use super::patches::Patches;
use super::planes::Layout;
use crate::cpu::arch::Isa;
use crate::cpu::gemm::{Float, Job, Right, Scratch, Strided, run};

/// Elements of the images whose weight gradient is summed in one round. A constant of the results.
const ROUND: usize = 1 << 23;

/// The output gradient as a right operand: a row for each position of each image, a column for each channel.
struct Gradients<T> {
    at: *const T,
    positions: usize,
    image_step: usize,
}

// SAFETY: it is only read.
unsafe impl<T: Sync> Sync for Gradients<T> {}

impl<T: Float> Right<T::Acc> for Gradients<T> {
    fn in_place(&self) -> Option<(*const T::Acc, isize)> {
        None
    }

    unsafe fn pack(
        &self,
        isa: Isa,
        column: usize,
        columns: usize,
        p: usize,
        k: usize,
        to: *mut T::Acc,
        width: usize,
    ) {
        let mut done = 0;
        while done < k {
            let (image, position) = ((p + done) / self.positions, (p + done) % self.positions);
            let count = (self.positions - position).min(k - done);
            // SAFETY: image, channels and positions lie inside the gradient.
            unsafe {
                let image = self.at.add(image * self.image_step);
                let one = Strided { at: image, row: 1, column: self.positions as isize };
                Right::pack(&one, isa, column, columns, position, count, to.add(done * width), width);
            }
            done += count;
        }
    }
}

/// See [`super::conv_backward_weight`].
pub(super) fn backward_weight<T: Float>(isa: Isa, shape: &Shape3, x: &[T], gy: &[T], gw: &mut [T]) {
    let positions = shape.positions();
    let image = shape.c_in * shape.input.iter().product::<usize>();
    if gy.is_empty() || gw.is_empty() {
        return gw.fill(T::narrow_one(T::Acc::default()));
    }
    let layout = Layout::new(sliding_axes(shape), shape.c_in, T::WIDE);
    let offsets = sliding_offsets(shape, &layout);
    let (group_in, group_out) = shape.group_channels();
    let (m, round) = (offsets.len(), (ROUND / image.max(1)).clamp(1, shape.batch));
    let own = if T::WIDE { Scratch::none() } else { Scratch::new::<T::Acc>(gw.len()) };
    let sum: *mut T::Acc = if T::WIDE { gw.as_mut_ptr().cast() } else { own.ptr() };
    for first in (0..shape.batch).step_by(round) {
        let images = round.min(shape.batch - first);
        // SAFETY: offsets and positions stay inside the planes, channels and images inside the gradients.
        unsafe {
            let planes = layout.planes(isa, x.as_ptr().add(first * image), images, false);
            let task = |group: usize, serial: bool| {
                let patches = Patches {
                    data: planes.data.add(group * group_in * layout.channel_step),
                    offsets: &offsets,
                    grid: shape.output,
                    steps: layout.steps,
                    images,
                    image_step: layout.image_step,
                }
                .joined();
                let gradients = Gradients {
                    at: gy.as_ptr().add((first * shape.c_out + group * group_out) * positions),
                    positions,
                    image_step: shape.c_out * positions,
                };
                let job = Job::<T::Acc> {
                    m,
                    n: group_out,
                    k: images * positions,
                    first: 0,
                    a: &patches,
                    b: &gradients,
                    c: sum.add(group * group_out * m),
                    c_row: 1,
                    c_column: m as isize,
                    columns: None,
                    accumulate: first > 0,
                    row_bias: std::ptr::null(),
                    row_bias_step: 0,
                    column_bias: std::ptr::null(),
                    relu: false,
                };
                run(isa, &job, serial);
            };
            for group in 0..shape.groups {
                task(group, false);
            }
        }
    }
    if !T::WIDE {
        // SAFETY: both have a number for each weight.
        unsafe { T::narrow(sum, gw.as_mut_ptr(), gw.len()) };
    }
}
