//! Networks ready to use, with the names and shapes under which their weights are published: torchvision's for the networks
//! on images, transformers' for those on text. `model.load_state_dict(&kiln::load(path)?)?` takes such a file as it is.
//!
//! A function such as [`resnet18`] makes a network with freshly drawn parameters, after `manual_seed` the numbers that
//! the original gives it. Layers are public fields, so that a head is replaced by an assignment:
//! `model.fc = Linear::new(512, 10)`.

mod resnet;
mod vision;
pub mod weights;

pub use kiln_nn;
pub use resnet::{
    BasicBlock, Bottleneck, ResNet, ResNetOptions, resnet18, resnet34, resnet50, resnet101, resnet152,
};
