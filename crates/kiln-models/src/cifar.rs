//! The residual networks for small pictures of He et al. (2015), section 4.2, under the names that weights trained on CIFAR
//! are published with.

use kiln_nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Forward, Linear, Module, ReLU, Result, Sequential, Tensor,
};

use crate::resnet::BasicBlock;
use crate::vision::{self, Draw};

/// A residual network for pictures of about 32 by 32 pixels, made by [`cifar_resnet20`] and its like: three runs of
/// [`BasicBlock`]s with 16, 32 and 64 channels.
///
/// Shapes: `[n, 3, height, width] -> [n, classes]`.
///
/// ```
/// use kiln_models::cifar_resnet20;
/// use kiln_models::kiln_nn::{Forward, Module, Tensor};
/// let net = cifar_resnet20(10)?;
/// assert_eq!(net.num_parameters(), 272_474);
/// assert_eq!(net.forward(&Tensor::zeros([2, 3, 32, 32]))?.dims(), [2, 10]);
/// # Ok::<(), kiln_models::kiln_nn::Error>(())
/// ```
#[derive(Module)]
pub struct CifarResNet {
    /// The first convolution, 3x3.
    pub conv1: Conv2d,
    /// Its normalisation.
    pub bn1: BatchNorm2d,
    relu: ReLU,
    /// The blocks with 16 channels.
    pub layer1: Sequential,
    /// The blocks with 32 channels, on half the size.
    pub layer2: Sequential,
    /// The blocks with 64 channels, on a quarter of the size.
    pub layer3: Sequential,
    avgpool: AdaptiveAvgPool2d,
    /// From 64 features to classes.
    pub fc: Linear,
}

impl CifarResNet {
    /// A network of `3 blocks` blocks, which makes `6 blocks + 2` layers.
    ///
    /// # Errors
    /// Memory is short.
    #[track_caller]
    pub fn new(blocks: usize, num_classes: usize) -> Result<CifarResNet> {
        let run = |inputs: usize, outputs: usize, stride: usize| -> Sequential {
            let block = |i| match i {
                0 => BasicBlock::new(inputs, outputs, stride),
                _ => BasicBlock::new(outputs, outputs, 1),
            };
            (0..blocks.max(1)).map(block).collect()
        };
        let net = CifarResNet {
            conv1: Conv2d::new(3, 16, 3).padding(1).bias(false),
            bn1: BatchNorm2d::new(16),
            relu: ReLU,
            layer1: run(16, 16, 1),
            layer2: run(16, 32, 2),
            layer3: run(32, 64, 2),
            avgpool: AdaptiveAvgPool2d::new(1),
            fc: Linear::new(64, num_classes),
        };
        vision::draw(&net, Draw::Convolutions)?;
        Ok(net)
    }
}

impl Forward for CifarResNet {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let mut x = self.relu.forward(&self.bn1.forward(&self.conv1.forward(input)?)?)?;
        for layer in [&self.layer1, &self.layer2, &self.layer3] {
            x = layer.forward(&x)?;
        }
        self.fc.forward(&self.avgpool.forward(&x)?.flatten(-3, -1)?)
    }
}

/// The sizes of the paper: a row is the name, the number of blocks in each run and of layers.
macro_rules! sizes {
    ($($name:ident: $blocks:literal, $layers:literal;)*) => {$(
        #[doc = concat!("The network of ", $layers, " layers.")]
        ///
        /// # Errors
        /// Memory is short.
        #[track_caller]
        pub fn $name(num_classes: usize) -> Result<CifarResNet> {
            CifarResNet::new($blocks, num_classes)
        }
    )*};
}

sizes! {
    cifar_resnet20: 3, 20;
    cifar_resnet32: 5, 32;
    cifar_resnet44: 7, 44;
    cifar_resnet56: 9, 56;
}
