//! Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2014), named as
//! torchvision names it.

use kiln_nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Forward, Linear, MaxPool2d, Module, ReLU, Result,
    Sequential, Tensor, sequential,
};

use crate::vision::{self, Draw};

/// Convolutions of 3x3 with poolings between them, and three wide linear layers (`torchvision.models.VGG`); made by
/// [`vgg11`] and its like. Most of its parameters, 124 million with 1000 classes, are in the linear layers.
///
/// Shapes: `[n, 3, height, width] -> [n, classes]`, for heights and widths of 32 and above.
#[derive(Module)]
pub struct VGG {
    /// The convolutions.
    pub features: Sequential,
    avgpool: AdaptiveAvgPool2d,
    /// The linear layers; `6` is the last one.
    pub classifier: Sequential,
}

impl Forward for VGG {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.avgpool.forward(&self.features.forward(input)?)?;
        self.classifier.forward(&x.flatten(1, -1)?)
    }
}

/// The numbers of channels of the paper's convolutions, with a pooling after each group.
type Groups = &'static [&'static [usize]];

const A: Groups = &[&[64], &[128], &[256, 256], &[512, 512], &[512, 512]];
const B: Groups = &[&[64, 64], &[128, 128], &[256, 256], &[512, 512], &[512, 512]];
const D: Groups = &[&[64, 64], &[128, 128], &[256; 3], &[512; 3], &[512; 3]];
const E: Groups = &[&[64, 64], &[128, 128], &[256; 4], &[512; 4], &[512; 4]];

fn features(groups: Groups, batch_norm: bool) -> Sequential {
    let mut layers = Sequential::new();
    let mut inputs = 3;
    for group in groups {
        for &outputs in *group {
            layers.push(Conv2d::new(inputs, outputs, 3).padding(1));
            if batch_norm {
                layers.push(BatchNorm2d::new(outputs));
            }
            layers.push(ReLU);
            inputs = outputs;
        }
        layers.push(MaxPool2d::new(2));
    }
    layers
}

#[track_caller]
fn vgg(groups: Groups, batch_norm: bool, num_classes: usize) -> Result<VGG> {
    let net = VGG {
        features: features(groups, batch_norm),
        avgpool: AdaptiveAvgPool2d::new(7),
        classifier: sequential![
            Linear::new(512 * 7 * 7, 4096),
            ReLU,
            Dropout::new(0.5),
            Linear::new(4096, 4096),
            ReLU,
            Dropout::new(0.5),
            Linear::new(4096, num_classes),
        ],
    };
    vision::draw(&net, Draw::ConvolutionsAndLinear)?;
    Ok(net)
}

/// The paper's networks: a row is the name, the column of the paper's table 1, and whether convolutions are normalised.
macro_rules! networks {
    ($($name:ident: $groups:ident $batch_norm:literal;)*) => {$(
        #[doc = concat!("`torchvision.models.", stringify!($name), "`: column ", stringify!($groups), " of the paper's table 1.")]
        ///
        /// # Errors
        /// Memory is short: parameters and their gradients take one gigabyte.
        #[track_caller]
        pub fn $name(num_classes: usize) -> Result<VGG> {
            vgg($groups, $batch_norm, num_classes)
        }
    )*};
}

networks! {
    vgg11: A false;
    vgg13: B false;
    vgg16: D false;
    vgg19: E false;
    vgg11_bn: A true;
    vgg13_bn: B true;
    vgg16_bn: D true;
    vgg19_bn: E true;
}
