//! [`ConvTranspose1d`], [`ConvTranspose2d`] and [`ConvTranspose3d`].

use kiln_autograd::{Error, Result, Tensor};

use crate::conv::convolutions;
use crate::draw::{self, Drawn, Fault, checked};
use crate::module::{Forward, Module};
use crate::parts::{Parameter, Parts, Training};
use crate::print::print_as_module;
use crate::size::{Extent, cut, tuple};

/// A transposed convolution over sequences: see [`ConvTransposeNd`].
pub type ConvTranspose1d = ConvTransposeNd<1>;
/// A transposed convolution over images: see [`ConvTransposeNd`].
pub type ConvTranspose2d = ConvTransposeNd<2>;
/// A transposed convolution over volumes: see [`ConvTransposeNd`].
pub type ConvTranspose3d = ConvTransposeNd<3>;

/// A transposed convolution over `N` axes, the gradient of a convolution for its input: weight
/// `[in_channels, out_channels / groups, kernel..]`, bias `[out_channels]`, both drawn uniformly from
/// `+-1/sqrt(out_channels / groups * kernel elements)`. Used by the names [`ConvTranspose1d`], [`ConvTranspose2d`] and
/// [`ConvTranspose3d`].
///
/// Shapes: `[n, in_channels, sizes..] -> [n, out_channels, sizes..]`, where a size becomes
/// `(size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1`; without `n` too.
///
/// ```
/// use kiln_nn::{ConvTranspose2d, Forward, Tensor};
/// let up = ConvTranspose2d::new(16, 8, 4).stride(2).padding(1);
/// assert_eq!(up.forward(&Tensor::from_vec(vec![1.0f32; 1024], [1, 16, 8, 8])?)?.dims(), [1, 8, 16, 16]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct ConvTransposeNd<const N: usize> {
    /// `[in_channels, out_channels / groups, kernel..]`
    pub weight: Parameter,
    /// `[out_channels]`
    pub bias: Option<Parameter>,
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; N],
    stride: [usize; N],
    padding: [usize; N],
    output_padding: [usize; N],
    dilation: [usize; N],
    groups: usize,
    training: Training,
    ticket: u64,
    fault: Fault,
}

impl<const N: usize> ConvTransposeNd<N> {
    const OP: &str = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"][N - 1];

    /// A layer with a kernel of the given size, stride 1, no padding, one group and a bias.
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        kernel_size: impl Into<Extent<N>>,
    ) -> ConvTransposeNd<N> {
        let kernel = kernel_size.into().sizes();
        let mut fault = Fault::default();
        if kernel.contains(&0) {
            fault.note(Self::OP, format!("kernel_size {kernel:?} must be positive"));
        }
        let shape = Self::shape(in_channels, out_channels, kernel, 1);
        let Drawn { weight, bias, ticket } =
            draw::affine(Self::OP, &shape, out_channels).unwrap_or_else(|e| {
                fault.note(Self::OP, format!("cannot be made with a weight of shape {shape:?}: {e}"));
                Drawn::none()
            });
        ConvTransposeNd {
            weight,
            bias,
            in_channels,
            out_channels,
            kernel,
            stride: [1; N],
            padding: [0; N],
            output_padding: [0; N],
            dilation: [1; N],
            groups: 1,
            training: Training::default(),
            ticket,
            fault,
        }
    }

    /// How far the kernel moves from one input to the next.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Extent<N>>) -> ConvTransposeNd<N> {
        self.stride = stride.into().sizes();
        if self.stride.contains(&0) {
            self.fault.note(Self::OP, "non-positive stride is not supported".to_owned());
        }
        self
    }

    /// How much is cut from each side of the result.
    #[must_use]
    pub fn padding(self, padding: impl Into<Extent<N>>) -> ConvTransposeNd<N> {
        ConvTransposeNd { padding: padding.into().sizes(), ..self }
    }

    /// How much the result is longer at its end: several sizes become the same under a convolution with strides, and this
    /// says which one it was.
    #[must_use]
    pub fn output_padding(self, output_padding: impl Into<Extent<N>>) -> ConvTransposeNd<N> {
        ConvTransposeNd { output_padding: output_padding.into().sizes(), ..self }
    }

    /// [`Forward::forward`] with a result of the given spatial sizes, which a convolution with these settings must bring
    /// to the input's.
    ///
    /// # Errors
    /// The sizes are impossible, or as `forward`.
    #[track_caller]
    pub fn forward_sized(&self, input: &Tensor, output_size: &[usize]) -> Result<Tensor> {
        let sizes = input.dims();
        let Some(sizes) = sizes.len().checked_sub(N).map(|lead| &sizes[lead..]) else {
            return Err(Error::shape(Self::OP, format!("expected {N} spatial sizes, got {sizes:?}")));
        };
        let wanted = match output_size.len() {
            n if n == N => output_size,
            n if n == N + 2 => &output_size[2..],
            n => {
                return Err(Error::value(
                    Self::OP,
                    format!("output_size must have {N} or {} elements (got {n})", N + 2),
                ));
            }
        };
        let mut more = [0; N];
        for i in 0..N {
            let least = (sizes[i] as i128 - 1) * self.stride[i] as i128 - 2 * self.padding[i] as i128
                + self.dilation[i] as i128 * (self.kernel[i] as i128 - 1)
                + 1;
            let extra = wanted[i] as i128 - least;
            if !(0..self.stride[i] as i128).contains(&extra) {
                return Err(Error::value(
                    Self::OP,
                    format!(
                        "requested an output size of {wanted:?}, but valid sizes along axis {i} range from {least} to {} \
                         (for an input of {sizes:?})",
                        least + self.stride[i] as i128 - 1
                    ),
                ));
            }
            more[i] = extra as usize;
        }
        self.convolve(input, more)
    }

    #[track_caller]
    fn convolve(&self, x: &Tensor, more: [usize; N]) -> Result<Tensor> {
        self.fault.check()?;
        let (w, b) = (self.weight.tensor(), self.bias.as_deref());
        let (s, p, d) = (self.stride, self.padding, self.dilation);
        match N {
            1 => x.conv_transpose1d(w, b, cut(s), cut(p), cut(more), self.groups, cut(d)),
            2 => x.conv_transpose2d(w, b, cut(s), cut(p), cut(more), self.groups, cut(d)),
            _ => x.conv_transpose3d(w, b, cut(s), cut(p), cut(more), self.groups, cut(d)),
        }
    }
}

convolutions! {
    ConvTransposeNd: |inputs, outputs, groups| [inputs, outputs / groups];
}

impl<const N: usize> Module for ConvTransposeNd<N> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
        parts.add("bias", &self.bias);
    }

    fn type_name(&self) -> &str {
        Self::OP
    }

    fn extra_repr(&self) -> String {
        let mut text = format!(
            "{}, {}, kernel_size={}, stride={}",
            self.in_channels,
            self.out_channels,
            tuple(&self.kernel),
            tuple(&self.stride)
        );
        for (name, sizes, usual) in [
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
            ("output_padding", self.output_padding, 0),
        ] {
            if sizes != [usual; N] {
                text += &format!(", {name}={}", tuple(&sizes));
            }
        }
        if self.groups != 1 {
            text += &format!(", groups={}", self.groups);
        }
        if self.bias.is_none() {
            text += ", bias=False";
        }
        text
    }
}

impl<const N: usize> Forward for ConvTransposeNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.convolve(input, self.output_padding)
    }
}

checked!(<N> ConvTransposeNd);
print_as_module!(<N> ConvTransposeNd);
