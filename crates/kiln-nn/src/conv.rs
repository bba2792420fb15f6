//! [`Conv1d`], [`Conv2d`] and [`Conv3d`].

use kiln_autograd::{Result, Tensor};

use crate::draw::{self, Drawn, Fault, checked};
use crate::module::{Forward, Module};
use crate::parts::{Parameter, Parts, Training};
use crate::print::print_as_module;
use crate::size::{Extent, Padding, PaddingMode, cut, tuple};

/// A convolution over sequences, `[n, in_channels, length]`: see [`ConvNd`].
pub type Conv1d = ConvNd<1>;
/// A convolution over images, `[n, in_channels, height, width]`: see [`ConvNd`].
pub type Conv2d = ConvNd<2>;
/// A convolution over volumes, `[n, in_channels, depth, height, width]`: see [`ConvNd`].
pub type Conv3d = ConvNd<3>;

/// A convolution (as everywhere in deep learning, a cross-correlation) over `N` axes: weight
/// `[out_channels, in_channels / groups, kernel..]`, bias `[out_channels]`, both drawn uniformly from
/// `+-1/sqrt(in_channels / groups * kernel elements)`. Used by the names [`Conv1d`], [`Conv2d`] and [`Conv3d`].
///
/// Shapes: `[n, in_channels, sizes..] -> [n, out_channels, sizes..]`, where a size becomes
/// `(size + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down; without `n` too.
///
/// ```
/// use kiln_nn::{Conv2d, Forward, Tensor};
/// let conv = Conv2d::new(3, 64, 7).stride(2).padding(3).bias(false);
/// assert_eq!(conv.forward(&Tensor::from_vec(vec![1.0f32; 6144], [2, 3, 32, 32])?)?.dims(), [2, 64, 16, 16]);
/// assert_eq!(
///     conv.to_string(),
///     "Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)"
/// );
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct ConvNd<const N: usize> {
    /// `[out_channels, in_channels / groups, kernel..]`
    pub weight: Parameter,
    /// `[out_channels]`
    pub bias: Option<Parameter>,
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; N],
    stride: [usize; N],
    padding: Padding<N>,
    padding_mode: PaddingMode,
    dilation: [usize; N],
    groups: usize,
    training: Training,
    ticket: u64,
    fault: Fault,
}

impl<const N: usize> ConvNd<N> {
    const OP: &str = ["Conv1d", "Conv2d", "Conv3d"][N - 1];

    /// A convolution with a kernel of the given size, stride 1, no padding, one group and a bias.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Into<Extent<N>>) -> ConvNd<N> {
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
        ConvNd {
            weight,
            bias,
            in_channels,
            out_channels,
            kernel,
            stride: [1; N],
            padding: Padding::Size(Extent::Same(0)),
            padding_mode: PaddingMode::Zeros,
            dilation: [1; N],
            groups: 1,
            training: Training::default(),
            ticket,
            fault,
        }
    }

    /// How far the kernel moves from one output to the next.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Extent<N>>) -> ConvNd<N> {
        self.stride = stride.into().sizes();
        if self.stride.contains(&0) {
            self.fault.note(Self::OP, "non-positive stride is not supported".to_owned());
        }
        self.check_same();
        self
    }

    /// Zeros around the input: a number, one for each axis, `"same"` or `"valid"`.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding<N>>) -> ConvNd<N> {
        self.padding = padding.into();
        if let Padding::Unknown(word) = &self.padding {
            self.fault.note(
                Self::OP,
                format!("Invalid padding string {word:?}, should be one of \"valid\", \"same\""),
            );
        }
        self.check_same();
        self
    }

    /// What the padding is filled with (zeros by default).
    #[must_use]
    pub fn padding_mode(self, padding_mode: PaddingMode) -> ConvNd<N> {
        ConvNd { padding_mode, ..self }
    }

    fn check_same(&mut self) {
        if self.padding == Padding::Same && self.stride != [1; N] {
            self.fault.note(Self::OP, "padding='same' is not supported for strided convolutions".to_owned());
        }
    }

    /// How much room comes before and after, for every axis.
    fn sides(&self) -> [[usize; 2]; N] {
        match &self.padding {
            Padding::Size(sizes) => sizes.sizes().map(|n| [n, n]),
            Padding::Valid | Padding::Unknown(_) => [[0, 0]; N],
            // What cannot be shared equally goes to the end.
            Padding::Same => std::array::from_fn(|i| {
                let total = self.dilation[i].saturating_mul(self.kernel[i] - 1);
                [total / 2, total - total / 2]
            }),
        }
    }

    #[track_caller]
    fn convolve(&self, x: &Tensor, padding: [usize; N]) -> Result<Tensor> {
        let (w, b) = (self.weight.tensor(), self.bias.as_deref());
        let (s, p, d) = (self.stride, padding, self.dilation);
        match N {
            1 => x.conv1d(w, b, cut(s), cut(p), cut(d), self.groups),
            2 => x.conv2d(w, b, cut(s), cut(p), cut(d), self.groups),
            _ => x.conv3d(w, b, cut(s), cut(p), cut(d), self.groups),
        }
    }
}

/// What convolutions and transposed ones have in common; the first two sizes of their weights are each other's turned round.
macro_rules! convolutions {
    ($($name:ident: |$inputs:ident, $outputs:ident, $groups:ident| $channels:expr;)*) => {$(
        impl<const N: usize> $name<N> {
            /// The sizes of the weight.
            fn shape(
                $inputs: usize,
                $outputs: usize,
                kernel: [usize; N],
                $groups: usize,
            ) -> Vec<usize> {
                $channels.into_iter().chain(kernel).collect()
            }

            /// The distance between the points of the kernel.
            #[must_use]
            pub fn dilation(mut self, dilation: impl Into<Extent<N>>) -> $name<N> {
                self.dilation = dilation.into().sizes();
                if self.dilation.contains(&0) {
                    self.fault.note(Self::OP, "dilation should be greater than zero".to_owned());
                }
                self
            }

            /// Splits the channels into groups that do not see each other. The weight has another shape then and is
            /// drawn again, from where the default stream stood before, when said in the expression that makes the layer.
            #[must_use]
            pub fn groups(mut self, groups: usize) -> $name<N> {
                let (inputs, outputs) = (self.in_channels, self.out_channels);
                if groups == 0 || ![inputs, outputs].iter().all(|n| n.is_multiple_of(groups)) {
                    let text = format!(
                        "in_channels {inputs} and out_channels {outputs} must be divisible by groups {groups}"
                    );
                    self.fault.note(Self::OP, text);
                    return self;
                }
                if groups == self.groups {
                    return self;
                }
                self.groups = groups;
                let shape = Self::shape(inputs, outputs, self.kernel, groups);
                match draw::redraw(Self::OP, self.ticket, &shape, outputs) {
                    Ok(drawn) => {
                        let bias = self.bias.is_some();
                        (self.weight, self.bias, self.ticket) = (drawn.weight, drawn.bias, drawn.ticket);
                        return self.bias(bias);
                    }
                    Err(e) => self.fault.note(Self::OP, e.to_string()),
                }
                self
            }

            /// Whether there is a bias (there is by default). Leaving it out leaves its numbers in the default stream,
            /// when said in the expression that makes the layer.
            #[must_use]
            pub fn bias(mut self, bias: bool) -> $name<N> {
                if !bias && self.bias.take().is_some() {
                    draw::forget_bias(self.ticket);
                } else if bias && self.bias.is_none() && self.fault.check().is_ok() {
                    let shape = Self::shape(self.in_channels, self.out_channels, self.kernel, self.groups);
                    match draw::affine(Self::OP, &shape, self.out_channels) {
                        Ok(drawn) => self.bias = drawn.bias,
                        Err(e) => self.fault.note(Self::OP, e.to_string()),
                    }
                }
                self
            }

            /// The number of channels of the input.
            pub fn in_channels(&self) -> usize {
                self.in_channels
            }

            /// The number of channels of the output.
            pub fn out_channels(&self) -> usize {
                self.out_channels
            }
        }
    )*};
}
pub(crate) use convolutions;

convolutions! {
    ConvNd: |inputs, outputs, groups| [outputs, inputs / groups];
}

impl<const N: usize> Module for ConvNd<N> {
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
        match &self.padding {
            Padding::Size(sizes) if sizes.sizes() == [0; N] => {}
            Padding::Size(sizes) => text += &format!(", padding={}", tuple(&sizes.sizes())),
            Padding::Same => text += ", padding=same",
            Padding::Valid => text += ", padding=valid",
            Padding::Unknown(word) => text += &format!(", padding={word}"),
        }
        if self.dilation != [1; N] {
            text += &format!(", dilation={}", tuple(&self.dilation));
        }
        if self.groups != 1 {
            text += &format!(", groups={}", self.groups);
        }
        if self.bias.is_none() {
            text += ", bias=False";
        }
        if self.padding_mode != PaddingMode::Zeros {
            text += &format!(", padding_mode={}", self.padding_mode.name());
        }
        text
    }
}

impl<const N: usize> Forward for ConvNd<N> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.fault.check()?;
        let sides = self.sides();
        if self.padding_mode == PaddingMode::Zeros && sides.iter().all(|[before, after]| before == after) {
            return self.convolve(input, sides.map(|[before, _]| before));
        }
        // Padding is told from the last axis on.
        let room: Vec<i64> = sides.iter().rev().flatten().map(|&n| n as i64).collect();
        self.convolve(&input.pad(&room, self.padding_mode.into())?, [0; N])
    }
}

checked!(<N> ConvNd);
print_as_module!(<N> ConvNd);
