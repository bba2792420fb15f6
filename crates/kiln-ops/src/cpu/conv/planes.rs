//! Images laid out so that every tap of a convolution is at a constant distance from its position.
//!
//! Padding is written out as zeros, and for strides above one each axis is split into its phases: the elements whose
//! index has the same remainder. In a phase, neighbouring windows are neighbours. Images that need neither are used as
//! they are.

use crate::cpu::arch::Isa;
use crate::cpu::gemm::{Float, Real, Scratch, fan_out, widen_strided};

/// How one axis is laid out: element `i` of phase `r` is element `i * stride + r - padding` of the image, or zero beyond
/// its ends.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub size: usize,
    pub stride: usize,
    pub padding: usize,
    pub phases: Vec<usize>,
    /// Elements of each phase.
    pub len: usize,
}

impl Axis {
    /// The axis that windows slide over: `output` of them, of `kernel` elements.
    pub(super) fn sliding(
        size: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> Axis {
        let mut phases: Vec<usize> = (0..kernel.min(stride)).map(|tap| tap * dilation % stride).collect();
        phases.sort_unstable();
        phases.dedup();
        let len = output + kernel.saturating_sub(1) * dilation / stride;
        Axis { size, stride, padding, phases, len }
    }

    /// Whether the image can be read as it is.
    fn plain(&self) -> bool {
        self.stride == 1 && self.padding == 0 && self.len <= self.size
    }

    /// The elements of phase `r` that come from the image.
    fn inside(&self, r: usize) -> std::ops::Range<usize> {
        let first = self.padding.saturating_sub(r).div_ceil(self.stride);
        let end = (self.size + self.padding).saturating_sub(r).div_ceil(self.stride).min(self.len);
        first.min(end)..end
    }
}

/// The laid out images.
pub(super) struct Planes<E> {
    pub data: *const E,
    _own: Scratch,
}

/// The distances in [`Planes`].
#[derive(Clone, Debug)]
pub(super) struct Layout {
    axes: [Axis; 3],
    plain: bool,
    /// Distance of neighbours in depth and height.
    pub steps: [usize; 2],
    phase_step: usize,
    pub channel_step: usize,
    pub image_step: usize,
}

impl Layout {
    /// The layout of images of some channels; `wide` when their elements are in the type of sums already.
    pub(super) fn new(mut axes: [Axis; 3], channels: usize, wide: bool) -> Layout {
        let plain = wide && axes.iter().all(Axis::plain);
        if plain {
            axes.iter_mut().for_each(|axis| axis.len = axis.size);
        }
        let [depth, height, width] = [0, 1, 2].map(|d| axes[d].len);
        let phases: usize = axes.iter().map(|axis| axis.phases.len()).product();
        let phase_step = depth * height * width;
        Layout {
            axes,
            plain,
            steps: [height * width, width],
            phase_step,
            channel_step: phases * phase_step,
            image_step: channels * phases * phase_step,
        }
    }

    /// Where element `at` of an axis' phases `phase` lies in a channel.
    pub(super) fn offset(&self, phase: [usize; 3], at: [usize; 3]) -> usize {
        let index = |d: usize| self.axes[d].phases.iter().position(|&r| r == phase[d]).unwrap_or(0);
        let phases = (index(0) * self.axes[1].phases.len() + index(1)) * self.axes[2].phases.len() + index(2);
        phases * self.phase_step + at[0] * self.steps[0] + at[1] * self.steps[1] + at[2]
    }

    /// Lays out contiguous images.
    ///
    /// # Safety
    /// `from` is valid for the images, and stays so while the planes are used.
    pub(super) unsafe fn planes<T: Float>(
        &self,
        isa: Isa,
        from: *const T,
        images: usize,
        serial: bool,
    ) -> Planes<T::Acc> {
        if self.plain {
            return Planes { data: from.cast(), _own: Scratch::none() };
        }
        let channels = self.image_step / self.channel_step.max(1);
        let own = Scratch::new::<T::Acc>(images * self.image_step);
        let ends = Ends(from, own.ptr::<T::Acc>());
        let size: usize = self.axes.iter().map(|axis| axis.size).product();
        let rows: Option<Vec<usize>> =
            self.whole_rows::<T>().then(|| (0..self.axes[1].size).map(|y| y * self.axes[2].size).collect());
        fan_out(serial || images * self.image_step < 1 << 15, images * channels, &|i| {
            let ends = &ends;
            // SAFETY: channel `i` lies inside the images, and inside the memory for them.
            unsafe {
                let (from, to) = (ends.0.add(i * size), ends.1.add(i * self.channel_step));
                match &rows {
                    Some(rows) => self.framed::<T>(isa, rows, from.cast(), to),
                    None => self.channel(from, to),
                }
            };
        });
        Planes { data: own.ptr(), _own: own }
    }

    /// Whether a channel is the image's as it is, framed by zeros.
    fn whole_rows<T: Float>(&self) -> bool {
        let framed = |a: &Axis| a.stride == 1 && a.size > 0 && a.padding + a.size <= a.len;
        T::WIDE && self.axes.iter().all(framed)
    }

    /// Lays out one such channel, whose rows are at `rows` in each plane.
    unsafe fn framed<T: Float>(&self, isa: Isa, rows: &[usize], from: *const T::Acc, to: *mut T::Acc) {
        let [depth, height, width] = &self.axes;
        let copy = T::Acc::copy_runs(isa);
        // SAFETY: the channel has room for the zeros, and for the rows inside of them.
        unsafe {
            std::ptr::write_bytes(to, 0, self.channel_step);
            for z in 0..depth.size {
                let from = from.add(z * height.size * width.size);
                let to = to.add(
                    (z + depth.padding) * self.steps[0] + height.padding * self.steps[1] + width.padding,
                );
                copy(from, rows.as_ptr(), rows.len(), to, self.steps[1], width.size, width.size);
            }
        }
    }

    /// Lays out one channel.
    unsafe fn channel<T: Float>(&self, from: *const T, mut to: *mut T::Acc) {
        let [depth, height, width] = &self.axes;
        for &rz in &depth.phases {
            for &ry in &height.phases {
                for &rx in &width.phases {
                    for z in 0..depth.len {
                        for y in 0..height.len {
                            // SAFETY: rows follow each other to the end of the channel; source rows are inside by
                            // `inside`.
                            unsafe {
                                if depth.inside(rz).contains(&z) && height.inside(ry).contains(&y) {
                                    let z = z * depth.stride + rz - depth.padding;
                                    let y = y * height.stride + ry - height.padding;
                                    row(width, rx, from.add((z * height.size + y) * width.size), to);
                                } else {
                                    std::ptr::write_bytes(to, 0, width.len);
                                }
                                to = to.add(width.len);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Lays out one row of phase `r`.
unsafe fn row<T: Float>(axis: &Axis, r: usize, from: *const T, to: *mut T::Acc) {
    let inside = axis.inside(r);
    // SAFETY: the row has `len` elements, of which those inside come from the image.
    unsafe {
        std::ptr::write_bytes(to, 0, inside.start);
        if !inside.is_empty() {
            let first = from.add(inside.start * axis.stride + r - axis.padding);
            widen_strided(first, axis.stride as isize, to.add(inside.start), inside.len());
        }
        std::ptr::write_bytes(to.add(inside.end), 0, axis.len - inside.end);
    }
}

struct Ends<T, A>(*const T, *mut A);
// SAFETY: tasks write disjoint channels.
unsafe impl<T, A> Sync for Ends<T, A> {}
