//! Howard et al., "Searching for MobileNetV3" (2019), named as torchvision names it.

use kiln_nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Forward, Hardsigmoid, Hardswish, Linear, Module, ReLU,
    Result, Sequential, Tensor, sequential,
};

use crate::vision::{self, ConvNorm, Draw, multiple_of_8};

/// Channels weighted by what the whole picture has in them: Hu et al., "Squeeze-and-excitation networks" (2018).
#[derive(Module)]
struct SqueezeExcitation {
    avgpool: AdaptiveAvgPool2d,
    fc1: Conv2d,
    fc2: Conv2d,
    activation: ReLU,
    scale_activation: Hardsigmoid,
}

impl SqueezeExcitation {
    fn new(channels: usize) -> SqueezeExcitation {
        let squeezed = multiple_of_8((channels / 4) as f64);
        SqueezeExcitation {
            avgpool: AdaptiveAvgPool2d::new(1),
            fc1: Conv2d::new(channels, squeezed, 1),
            fc2: Conv2d::new(squeezed, channels, 1),
            activation: ReLU,
            scale_activation: Hardsigmoid,
        }
    }
}

impl Forward for SqueezeExcitation {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let scale = self.activation.forward(&self.fc1.forward(&self.avgpool.forward(input)?)?)?;
        self.scale_activation.forward(&self.fc2.forward(&scale)?)?.mul(input)
    }
}

/// The settings of a block: a row of the paper's tables 1 and 2.
struct Row {
    kernel: usize,
    expanded: usize,
    outputs: usize,
    squeeze: bool,
    hardswish: bool,
    stride: usize,
}

/// Rows as the paper has them: the kernel, the channels inside and of the output, whether channels are weighted, the
/// activation and the stride.
macro_rules! rows {
    ($($kernel:literal $expanded:literal $outputs:literal $squeeze:literal $activation:ident $stride:literal;)*) => {
        &[$(Row {
            kernel: $kernel,
            expanded: $expanded,
            outputs: $outputs,
            squeeze: $squeeze,
            hardswish: rows!($activation),
            stride: $stride,
        }),*]
    };
    (HS) => { true };
    (RE) => { false };
}

const LARGE: &[Row] = rows! {
    3 16 16 false RE 1;
    3 64 24 false RE 2;
    3 72 24 false RE 1;
    5 72 40 true RE 2;
    5 120 40 true RE 1;
    5 120 40 true RE 1;
    3 240 80 false HS 2;
    3 200 80 false HS 1;
    3 184 80 false HS 1;
    3 184 80 false HS 1;
    3 480 112 true HS 1;
    3 672 112 true HS 1;
    5 672 160 true HS 2;
    5 960 160 true HS 1;
    5 960 160 true HS 1;
};

const SMALL: &[Row] = rows! {
    3 16 16 true RE 2;
    3 72 24 false RE 2;
    3 88 24 false RE 1;
    5 96 40 true HS 2;
    5 240 40 true HS 1;
    5 240 40 true HS 1;
    5 120 48 true HS 1;
    5 144 48 true HS 1;
    5 288 96 true HS 2;
    5 576 96 true HS 1;
    5 576 96 true HS 1;
};

fn norm(channels: usize) -> BatchNorm2d {
    BatchNorm2d::new(channels).eps(0.001).momentum(0.01)
}

fn activated(layers: Sequential, hardswish: bool) -> Sequential {
    if hardswish { layers.add(Hardswish) } else { layers.add(ReLU) }
}

/// A depthwise convolution between two 1x1 convolutions; the input is added where shapes allow it.
#[derive(Module)]
struct InvertedResidual {
    block: Sequential,
    residual: bool,
}

impl InvertedResidual {
    fn new(inputs: usize, row: &Row) -> InvertedResidual {
        let Row { kernel, expanded, outputs, squeeze, hardswish, stride } = *row;
        let mut block = Sequential::new();
        if expanded != inputs {
            block.push(activated(ConvNorm::pointwise(inputs, expanded).layers(norm), hardswish));
        }
        let depthwise = ConvNorm { inputs: expanded, outputs: expanded, kernel, stride, depthwise: true };
        block.push(activated(depthwise.layers(norm), hardswish));
        if squeeze {
            block.push(SqueezeExcitation::new(expanded));
        }
        block.push(ConvNorm::pointwise(expanded, outputs).layers(norm));
        InvertedResidual { block, residual: stride == 1 && inputs == outputs }
    }
}

impl Forward for InvertedResidual {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.block.forward(input)?;
        if self.residual { x.add(input) } else { Ok(x) }
    }
}

/// A network for small devices (`torchvision.models.MobileNetV3`), made by [`mobilenet_v3_large`] or
/// [`mobilenet_v3_small`].
///
/// Shapes: `[n, 3, height, width] -> [n, classes]`, for any height and width.
///
/// ```
/// use kiln_models::mobilenet_v3_small;
/// use kiln_models::kiln_nn::{Forward, Module, Tensor};
/// let net = mobilenet_v3_small(1000)?;
/// assert_eq!(net.num_parameters(), 2_542_856);
/// assert_eq!(net.forward(&Tensor::zeros([2, 3, 32, 32]))?.dims(), [2, 1000]);
/// # Ok::<(), kiln_models::kiln_nn::Error>(())
/// ```
#[derive(Module)]
pub struct MobileNetV3 {
    /// The convolutions.
    pub features: Sequential,
    avgpool: AdaptiveAvgPool2d,
    /// Two linear layers, `0` and `3`, with what stands between them.
    pub classifier: Sequential,
}

impl MobileNetV3 {
    #[track_caller]
    fn new(rows: &[Row], last: usize, num_classes: usize) -> Result<MobileNetV3> {
        let mut channels = 16;
        let stem = ConvNorm { inputs: 3, outputs: channels, kernel: 3, stride: 2, depthwise: false };
        let mut features = sequential![stem.layers(norm).add(Hardswish)];
        for row in rows {
            features.push(InvertedResidual::new(channels, row));
            channels = row.outputs;
        }
        let wide = 6 * channels;
        features.push(ConvNorm::pointwise(channels, wide).layers(norm).add(Hardswish));
        let net = MobileNetV3 {
            features,
            avgpool: AdaptiveAvgPool2d::new(1),
            classifier: sequential![
                Linear::new(wide, last),
                Hardswish,
                Dropout::new(0.2),
                Linear::new(last, num_classes),
            ],
        };
        vision::draw(&net, Draw::ConvolutionsAndLinear)?;
        Ok(net)
    }
}

impl Forward for MobileNetV3 {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.avgpool.forward(&self.features.forward(input)?)?;
        self.classifier.forward(&x.flatten(1, -1)?)
    }
}

/// `torchvision.models.mobilenet_v3_large`: 5,483,032 parameters with 1000 classes.
///
/// # Errors
/// Memory is short.
#[track_caller]
pub fn mobilenet_v3_large(num_classes: usize) -> Result<MobileNetV3> {
    MobileNetV3::new(LARGE, 1280, num_classes)
}

/// `torchvision.models.mobilenet_v3_small`: 2,542,856 parameters with 1000 classes.
///
/// # Errors
/// Memory is short.
#[track_caller]
pub fn mobilenet_v3_small(num_classes: usize) -> Result<MobileNetV3> {
    MobileNetV3::new(SMALL, 1024, num_classes)
}
