//! Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks" (2018), named as torchvision names it.

use kiln_nn::{
    BatchNorm2d, Conv2d, Dropout, Error, Forward, Linear, Module, ReLU6, Result, Sequential, Tensor,
    sequential,
};

use crate::vision::{self, ConvNorm, Draw, multiple_of_8};

/// A wide depthwise convolution between two 1x1 convolutions; the input is added where shapes allow it.
#[derive(Module)]
struct InvertedResidual {
    conv: Sequential,
    residual: bool,
}

impl InvertedResidual {
    fn new(inputs: usize, outputs: usize, stride: usize, expansion: usize) -> InvertedResidual {
        let hidden = inputs * expansion;
        let mut conv = Sequential::new();
        if expansion != 1 {
            conv.push(ConvNorm::pointwise(inputs, hidden).layers(BatchNorm2d::new).add(ReLU6));
        }
        let depthwise = ConvNorm { inputs: hidden, outputs: hidden, kernel: 3, stride, depthwise: true };
        conv.push(depthwise.layers(BatchNorm2d::new).add(ReLU6));
        conv.push(Conv2d::new(hidden, outputs, 1).bias(false));
        conv.push(BatchNorm2d::new(outputs));
        InvertedResidual { conv, residual: stride == 1 && inputs == outputs }
    }
}

impl Forward for InvertedResidual {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.conv.forward(input)?;
        if self.residual { input.add(&x) } else { Ok(x) }
    }
}

/// A network for small devices (`torchvision.models.MobileNetV2`).
///
/// Shapes: `[n, 3, height, width] -> [n, classes]`, for any height and width.
///
/// ```
/// use kiln_models::mobilenet_v2;
/// use kiln_models::kiln_nn::{Forward, Module, Tensor};
/// let net = mobilenet_v2(1000)?;
/// assert_eq!(net.num_parameters(), 3_504_872);
/// assert_eq!(net.forward(&Tensor::zeros([2, 3, 32, 32]))?.dims(), [2, 1000]);
/// # Ok::<(), kiln_models::kiln_nn::Error>(())
/// ```
#[derive(Module)]
pub struct MobileNetV2 {
    /// The convolutions.
    pub features: Sequential,
    /// Dropout and, as `1`, the linear layer.
    pub classifier: Sequential,
}

/// The paper's table 2: expansion, channels, repetitions and the stride of the first.
const BLOCKS: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

impl MobileNetV2 {
    /// A network with the channels of the paper times `width_mult`.
    ///
    /// # Errors
    /// `width_mult` is not a number between 0 and 100.
    #[track_caller]
    pub fn new(width_mult: f64, num_classes: usize) -> Result<MobileNetV2> {
        if !(width_mult > 0.0 && width_mult <= 100.0) {
            return Err(Error::value(
                "MobileNetV2",
                format!("width_mult must be above 0 and at most 100, got {width_mult}"),
            ));
        }
        let mut channels = multiple_of_8(32.0 * width_mult);
        let last = multiple_of_8(1280.0 * width_mult.max(1.0));
        let stem = ConvNorm { inputs: 3, outputs: channels, kernel: 3, stride: 2, depthwise: false };
        let mut features = sequential![stem.layers(BatchNorm2d::new).add(ReLU6)];
        for [expansion, width, repetitions, stride] in BLOCKS {
            let outputs = multiple_of_8(width as f64 * width_mult);
            for repetition in 0..repetitions {
                let stride = if repetition == 0 { stride } else { 1 };
                features.push(InvertedResidual::new(channels, outputs, stride, expansion));
                channels = outputs;
            }
        }
        features.push(ConvNorm::pointwise(channels, last).layers(BatchNorm2d::new).add(ReLU6));
        let classifier = sequential![Dropout::new(0.2), Linear::new(last, num_classes)];
        let net = MobileNetV2 { features, classifier };
        vision::draw(&net, Draw::ConvolutionsAndLinear)?;
        Ok(net)
    }
}

impl Forward for MobileNetV2 {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.features.forward(input)?.adaptive_avg_pool2d([1, 1])?;
        self.classifier.forward(&x.flatten(1, -1)?)
    }
}

/// `torchvision.models.mobilenet_v2`: 3,504,872 parameters with 1000 classes.
///
/// # Errors
/// Memory is short.
#[track_caller]
pub fn mobilenet_v2(num_classes: usize) -> Result<MobileNetV2> {
    MobileNetV2::new(1.0, num_classes)
}
