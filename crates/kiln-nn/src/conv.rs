//! [`Conv2d`].

use kiln_autograd::{Result, Tensor};

use crate::draw::{self, Drawn, Fault};
use crate::module::{Forward, Module};
use crate::parts::{Parameter, Parts, Training};
use crate::print::print_as_module;
use crate::size::{Padding, PaddingMode, Pair};

/// A convolution over images (as everywhere in deep learning, a cross-correlation): weight
/// `[out_channels, in_channels / groups, height, width]`, bias `[out_channels]`, both drawn uniformly from
/// `+-1/sqrt(in_channels / groups * height * width)`.
///
/// Shapes: `[n, in_channels, h, w] -> [n, out_channels, h', w']` with
/// `h' = (h + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down; without `n` too.
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
pub struct Conv2d {
    /// `[out_channels, in_channels / groups, height, width]`
    pub weight: Parameter,
    /// `[out_channels]`
    pub bias: Option<Parameter>,
    in_channels: usize,
    out_channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    padding_mode: PaddingMode,
    dilation: [usize; 2],
    groups: usize,
    training: Training,
    ticket: u64,
    fault: Fault,
}

const OP: &str = "Conv2d";

impl Conv2d {
    /// A convolution with a kernel of the given size, stride 1, no padding, one group and a bias.
    pub fn new(in_channels: usize, out_channels: usize, kernel_size: impl Into<Pair>) -> Conv2d {
        let kernel = kernel_size.into().sizes();
        let mut fault = Fault::default();
        if kernel.contains(&0) {
            fault.note(OP, format!("kernel_size {kernel:?} must be positive"));
        }
        let shape = [out_channels, in_channels, kernel[0], kernel[1]];
        let Drawn { weight, bias, ticket } = draw::affine(OP, &shape).unwrap_or_else(|e| {
            fault.note(OP, format!("cannot be made with a weight of shape {shape:?}: {e}"));
            Drawn::none()
        });
        Conv2d {
            weight,
            bias,
            in_channels,
            out_channels,
            kernel,
            stride: [1, 1],
            padding: Padding::Size(Pair::Same(0)),
            padding_mode: PaddingMode::Zeros,
            dilation: [1, 1],
            groups: 1,
            training: Training::default(),
            ticket,
            fault,
        }
    }

    /// How far the kernel moves from one output to the next.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Pair>) -> Conv2d {
        self.stride = stride.into().sizes();
        if self.stride.contains(&0) {
            self.fault.note(OP, "non-positive stride is not supported".to_owned());
        }
        self.check_same();
        self
    }

    /// Zeros around the input: a number, a pair, `"same"` or `"valid"`.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding>) -> Conv2d {
        self.padding = padding.into();
        if let Padding::Unknown(word) = &self.padding {
            self.fault
                .note(OP, format!("Invalid padding string {word:?}, should be one of \"valid\", \"same\""));
        }
        self.check_same();
        self
    }

    /// What the padding is filled with (zeros by default).
    #[must_use]
    pub fn padding_mode(self, padding_mode: PaddingMode) -> Conv2d {
        Conv2d { padding_mode, ..self }
    }

    /// The distance between the points of the kernel.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Conv2d {
        self.dilation = dilation.into().sizes();
        if self.dilation.contains(&0) {
            self.fault.note(OP, "dilation should be greater than zero".to_owned());
        }
        self
    }

    /// Splits the channels into groups that do not see each other. The weight has another shape then and is drawn
    /// again, from where the default stream stood before, when said in the expression that makes the layer.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Conv2d {
        if groups == 0 || ![self.in_channels, self.out_channels].iter().all(|n| n.is_multiple_of(groups)) {
            self.fault.note(
                OP,
                format!(
                    "in_channels {} and out_channels {} must be divisible by groups {groups}",
                    self.in_channels, self.out_channels
                ),
            );
            return self;
        }
        if groups != self.groups {
            self.groups = groups;
            let shape = [self.out_channels, self.in_channels / groups, self.kernel[0], self.kernel[1]];
            match draw::redraw(OP, self.ticket, &shape) {
                Ok(drawn) => {
                    let bias = self.bias.is_some();
                    (self.weight, self.bias, self.ticket) = (drawn.weight, drawn.bias, drawn.ticket);
                    return self.bias(bias);
                }
                Err(e) => self.fault.note(OP, e.to_string()),
            }
        }
        self
    }

    /// Whether there is a bias (there is by default). Leaving it out leaves its numbers in the default stream, when
    /// said in the expression that makes the layer.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Conv2d {
        if !bias && self.bias.take().is_some() {
            draw::forget_bias(self.ticket);
        } else if bias && self.bias.is_none() {
            let [_, channels, h, w] = self.weight.dims()[..] else { return self };
            self.bias = Conv2d::new(channels, self.out_channels, [h, w]).bias;
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

    /// Whether the layer can work with its settings.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self) -> Result<()> {
        self.fault.check()
    }

    fn check_same(&mut self) {
        if self.padding == Padding::Same && self.stride != [1, 1] {
            self.fault.note(OP, "padding='same' is not supported for strided convolutions".to_owned());
        }
    }

    /// How much room comes before and after, for both axes.
    fn sides(&self) -> [[usize; 2]; 2] {
        match &self.padding {
            Padding::Size(pair) => pair.sizes().map(|n| [n, n]),
            Padding::Valid | Padding::Unknown(_) => [[0, 0]; 2],
            // What cannot be shared equally goes to the end.
            Padding::Same => [0, 1].map(|i| {
                let total = self.dilation[i].saturating_mul(self.kernel[i] - 1);
                [total / 2, total - total / 2]
            }),
        }
    }
}

/// A pair as a Python tuple.
fn tuple([a, b]: [usize; 2]) -> String {
    format!("({a}, {b})")
}

impl Module for Conv2d {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
        parts.add("weight", &self.weight);
        parts.add("bias", &self.bias);
    }

    fn extra_repr(&self) -> String {
        let mut text = format!(
            "{}, {}, kernel_size={}, stride={}",
            self.in_channels,
            self.out_channels,
            tuple(self.kernel),
            tuple(self.stride)
        );
        match &self.padding {
            Padding::Size(pair) if pair.sizes() == [0, 0] => {}
            Padding::Size(pair) => text += &format!(", padding={}", tuple(pair.sizes())),
            Padding::Same => text += ", padding=same",
            Padding::Valid => text += ", padding=valid",
            Padding::Unknown(word) => text += &format!(", padding={word}"),
        }
        if self.dilation != [1, 1] {
            text += &format!(", dilation={}", tuple(self.dilation));
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

impl Forward for Conv2d {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.fault.check()?;
        let [[top, bottom], [left, right]] = self.sides();
        let conv = |x: &Tensor, padding| {
            x.conv2d(&self.weight, self.bias.as_deref(), self.stride, padding, self.dilation, self.groups)
        };
        if self.padding_mode == PaddingMode::Zeros && top == bottom && left == right {
            return conv(input, [top, left]);
        }
        let room = [left, right, top, bottom].map(|n| n as i64);
        conv(&input.pad(&room, self.padding_mode.into())?, [0, 0])
    }
}

print_as_module!(Conv2d);
