//! Residual networks: He et al., "Deep residual learning for image recognition" (2015), named as torchvision names them.

use kiln_nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Error, Forward, Here, Linear, MaxPool2d, Module, ReLU, Result,
    Sequential, Tensor, init, sequential,
};

use crate::vision::{self, Draw};

/// Two 3x3 convolutions and the way around them.
///
/// Shapes: `[n, inputs, height, width] -> [n, outputs, height / stride, width / stride]`.
#[derive(Module)]
pub struct BasicBlock {
    /// The first convolution, with the stride.
    pub conv1: Conv2d,
    /// Its normalisation.
    pub bn1: BatchNorm2d,
    relu: ReLU,
    /// The second convolution.
    pub conv2: Conv2d,
    /// Its normalisation.
    pub bn2: BatchNorm2d,
    /// What fits the input to the output, where their shapes differ.
    pub downsample: Option<Sequential>,
}

impl BasicBlock {
    /// A block from `inputs` to `outputs` channels.
    pub fn new(inputs: usize, outputs: usize, stride: usize) -> BasicBlock {
        BasicBlock {
            conv1: conv3x3(inputs, outputs, stride),
            bn1: BatchNorm2d::new(outputs),
            relu: ReLU,
            conv2: conv3x3(outputs, outputs, 1),
            bn2: BatchNorm2d::new(outputs),
            downsample: downsample(inputs, outputs, stride),
        }
    }
}

impl Forward for BasicBlock {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.relu.forward(&self.bn1.forward(&self.conv1.forward(input)?)?)?;
        let x = self.bn2.forward(&self.conv2.forward(&x)?)?;
        self.relu.forward(&x.add(&around(&self.downsample, input)?)?)
    }
}

/// A narrow 3x3 convolution between two 1x1 convolutions, and the way around them. The stride is that of the 3x3
/// convolution, as in torchvision.
///
/// Shapes: as [`BasicBlock`].
#[derive(Module)]
pub struct Bottleneck {
    /// The convolution that narrows.
    pub conv1: Conv2d,
    /// Its normalisation.
    pub bn1: BatchNorm2d,
    /// The 3x3 convolution, with the stride.
    pub conv2: Conv2d,
    /// Its normalisation.
    pub bn2: BatchNorm2d,
    /// The convolution that widens.
    pub conv3: Conv2d,
    /// Its normalisation.
    pub bn3: BatchNorm2d,
    relu: ReLU,
    /// What fits the input to the output, where their shapes differ.
    pub downsample: Option<Sequential>,
}

impl Bottleneck {
    /// The output has this many times the channels of the narrow part.
    pub const EXPANSION: usize = 4;

    /// A block from `inputs` to `4 width` channels.
    pub fn new(inputs: usize, width: usize, stride: usize) -> Bottleneck {
        let outputs = width.saturating_mul(Bottleneck::EXPANSION);
        Bottleneck {
            conv1: conv1x1(inputs, width, 1),
            bn1: BatchNorm2d::new(width),
            conv2: conv3x3(width, width, stride),
            bn2: BatchNorm2d::new(width),
            conv3: conv1x1(width, outputs, 1),
            bn3: BatchNorm2d::new(outputs),
            relu: ReLU,
            downsample: downsample(inputs, outputs, stride),
        }
    }
}

impl Forward for Bottleneck {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.relu.forward(&self.bn1.forward(&self.conv1.forward(input)?)?)?;
        let x = self.relu.forward(&self.bn2.forward(&self.conv2.forward(&x)?)?)?;
        let x = self.bn3.forward(&self.conv3.forward(&x)?)?;
        self.relu.forward(&x.add(&around(&self.downsample, input)?)?)
    }
}

fn conv3x3(inputs: usize, outputs: usize, stride: usize) -> Conv2d {
    Conv2d::new(inputs, outputs, 3).stride(stride).padding(1).bias(false)
}

fn conv1x1(inputs: usize, outputs: usize, stride: usize) -> Conv2d {
    Conv2d::new(inputs, outputs, 1).stride(stride).bias(false)
}

fn downsample(inputs: usize, outputs: usize, stride: usize) -> Option<Sequential> {
    let differ = stride != 1 || inputs != outputs;
    differ.then(|| sequential![conv1x1(inputs, outputs, stride), BatchNorm2d::new(outputs)])
}

#[track_caller]
fn around(downsample: &Option<Sequential>, input: &Tensor) -> Result<Tensor> {
    downsample.as_ref().map_or_else(|| Ok(input.clone()), |fit| fit.forward(input)).here()
}

/// A residual network for pictures (`torchvision.models.ResNet`), made by [`resnet18`] and its like, or by
/// [`ResNetOptions`].
///
/// Shapes: `[n, 3, height, width] -> [n, classes]`, for any height and width.
///
/// ```
/// use kiln_models::resnet18;
/// use kiln_models::kiln_nn::{Forward, Linear, Module, Tensor};
/// let mut net = resnet18(1000)?;
/// assert_eq!(net.num_parameters(), 11_689_512);
/// net.requires_grad_(false)?;
/// net.fc = Linear::new(512, 10);
/// let logits = net.forward(&Tensor::zeros([2, 3, 32, 32]))?;
/// assert_eq!(logits.dims(), [2, 10]);
/// # Ok::<(), kiln_models::kiln_nn::Error>(())
/// ```
#[derive(Module)]
pub struct ResNet {
    /// The first convolution, 7x7.
    pub conv1: Conv2d,
    /// Its normalisation.
    pub bn1: BatchNorm2d,
    relu: ReLU,
    maxpool: MaxPool2d,
    /// The blocks with the first width.
    pub layer1: Sequential,
    /// The blocks with the second width, on half the size.
    pub layer2: Sequential,
    /// The blocks with the third width, on a quarter of the size.
    pub layer3: Sequential,
    /// The blocks with the fourth width, on an eighth of the size.
    pub layer4: Sequential,
    avgpool: AdaptiveAvgPool2d,
    /// From features to classes.
    pub fc: Linear,
}

impl ResNet {
    /// What the last layer sees: `[n, 3, height, width] -> [n, features]`, 512 for networks of basic blocks and 2048 for
    /// those of bottlenecks.
    ///
    /// # Errors
    /// The input has another shape.
    #[track_caller]
    pub fn features(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.relu.forward(&self.bn1.forward(&self.conv1.forward(input)?)?)?;
        let mut x = self.maxpool.forward(&x)?;
        for layer in [&self.layer1, &self.layer2, &self.layer3, &self.layer4] {
            x = layer.forward(&x)?;
        }
        self.avgpool.forward(&x)?.flatten(-3, -1)
    }
}

impl Forward for ResNet {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.fc.forward(&self.features(input)?)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Basic,
    Bottleneck,
}

/// The settings of a [`ResNet`].
///
/// ```
/// use kiln_models::ResNetOptions;
/// use kiln_models::kiln_nn::{Forward, Tensor};
/// let small = ResNetOptions::basic([2, 2, 2, 2]).widths([4, 5, 6, 8]).num_classes(10).build()?;
/// assert_eq!(small.forward(&Tensor::zeros([2, 3, 32, 32]))?.dims(), [2, 10]);
/// # Ok::<(), kiln_models::kiln_nn::Error>(())
/// ```
#[derive(Clone)]
pub struct ResNetOptions {
    kind: Kind,
    depths: [usize; 4],
    widths: [usize; 4],
    num_classes: usize,
    zero_init_residual: bool,
}

impl ResNetOptions {
    /// Four runs of [`BasicBlock`]s, so many each, with 1000 classes.
    pub fn basic(depths: [usize; 4]) -> ResNetOptions {
        ResNetOptions {
            kind: Kind::Basic,
            depths,
            widths: [64, 128, 256, 512],
            num_classes: 1000,
            zero_init_residual: false,
        }
    }

    /// Four runs of [`Bottleneck`]s, so many each, with 1000 classes.
    pub fn bottleneck(depths: [usize; 4]) -> ResNetOptions {
        ResNetOptions { kind: Kind::Bottleneck, ..ResNetOptions::basic(depths) }
    }

    /// The channels of the four runs (of their narrow parts, for bottlenecks): 64, 128, 256, 512 by default. The first
    /// convolution has as many outputs as the first run.
    #[must_use]
    pub fn widths(self, widths: [usize; 4]) -> ResNetOptions {
        ResNetOptions { widths, ..self }
    }

    /// The number of classes.
    #[must_use]
    pub fn num_classes(self, num_classes: usize) -> ResNetOptions {
        ResNetOptions { num_classes, ..self }
    }

    /// Whether every block starts as its way around alone: the last normalisation of each has weight 0.
    #[must_use]
    pub fn zero_init_residual(self, zero_init_residual: bool) -> ResNetOptions {
        ResNetOptions { zero_init_residual, ..self }
    }

    /// Makes the network and draws its parameters.
    ///
    /// # Errors
    /// A run without blocks or channels.
    #[track_caller]
    pub fn build(&self) -> Result<ResNet> {
        if self.depths.contains(&0) || self.widths.contains(&0) {
            let (depths, widths) = (self.depths, self.widths);
            return Err(Error::value(
                "ResNet",
                format!("depths {depths:?} and widths {widths:?} must be positive"),
            ));
        }
        let stem = self.widths[0];
        let mut channels = stem;
        let conv1 = Conv2d::new(3, stem, 7).stride(2).padding(3).bias(false);
        let [layer1, layer2, layer3, layer4] = std::array::from_fn(|run| {
            let first = if run == 0 { 1 } else { 2 };
            let mut layer = Sequential::new();
            for block in 0..self.depths[run] {
                let stride = if block == 0 { first } else { 1 };
                self.push(&mut layer, &mut channels, self.widths[run], stride);
            }
            layer
        });
        let net = ResNet {
            conv1,
            bn1: BatchNorm2d::new(stem),
            relu: ReLU,
            maxpool: MaxPool2d::new(3).stride(2).padding(1),
            layer1,
            layer2,
            layer3,
            layer4,
            avgpool: AdaptiveAvgPool2d::new(1),
            fc: Linear::new(channels, self.num_classes),
        };
        vision::draw(&net, Draw::Convolutions)?;
        if self.zero_init_residual {
            still(&net)?;
        }
        Ok(net)
    }

    /// Adds a block, which takes `channels` and leaves what the next one takes.
    fn push(&self, layer: &mut Sequential, channels: &mut usize, width: usize, stride: usize) {
        match self.kind {
            Kind::Basic => {
                layer.push(BasicBlock::new(*channels, width, stride));
                *channels = width;
            }
            Kind::Bottleneck => {
                layer.push(Bottleneck::new(*channels, width, stride));
                *channels = width.saturating_mul(Bottleneck::EXPANSION);
            }
        }
    }
}

/// Sets the weights of the blocks' last normalisations to zero.
#[track_caller]
fn still(net: &ResNet) -> Result<()> {
    for (_, module) in net.named_modules() {
        let last = match (module.downcast_ref::<BasicBlock>(), module.downcast_ref::<Bottleneck>()) {
            (Some(block), _) => &block.bn2,
            (_, Some(block)) => &block.bn3,
            _ => continue,
        };
        last.weight().map_or(Ok(()), |weight| init::zeros_(weight)).here()?;
    }
    Ok(())
}

/// The sizes of the paper: a row is the name, the kind of block, the number of blocks in each run and the parameters with
/// 1000 classes.
macro_rules! sizes {
    ($($name:ident: $kind:ident $depths:expr, $parameters:literal;)*) => {$(
        #[doc = concat!("`torchvision.models.", stringify!($name), "`: ", $parameters, " parameters with 1000 classes.")]
        ///
        /// # Errors
        /// Memory is short.
        #[track_caller]
        pub fn $name(num_classes: usize) -> Result<ResNet> {
            ResNetOptions::$kind($depths).num_classes(num_classes).build()
        }
    )*};
}

sizes! {
    resnet18: basic [2, 2, 2, 2], "11,689,512";
    resnet34: basic [3, 4, 6, 3], "21,797,672";
    resnet50: bottleneck [3, 4, 6, 3], "25,557,032";
    resnet101: bottleneck [3, 4, 23, 3], "44,549,160";
    resnet152: bottleneck [3, 8, 36, 3], "60,192,808";
}
