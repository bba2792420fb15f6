//! Networks ready to use, with the names and shapes under which their weights are published: torchvision's for the networks
//! on images, transformers' for those on text. `model.load_state_dict(&kiln::load(path)?)?` takes such a file as it is.
//!
//! - [`LeNet`] and [`mlp`], which courses begin with;
//! - [`ResNet`], [`VGG`], [`MobileNetV2`] and [`MobileNetV3`] for photographs, [`CifarResNet`] for small pictures;
//! - [`GPT2LMHeadModel`], which continues texts, and [`BertModel`], which reads them;
//! - [`weights`] says where published weights are.
//!
//! A function such as [`resnet18`] makes a network with freshly drawn parameters, after `manual_seed` the numbers that
//! the original gives it. Layers are public fields, so that a head is replaced by an assignment:
//! `model.fc = Linear::new(512, 10)`.

mod bert;
mod cifar;
mod gpt2;
mod lenet;
mod mobilenet_v2;
mod mobilenet_v3;
mod resnet;
mod text;
mod vgg;
mod vision;
pub mod weights;

pub use bert::{BertConfig, BertInput, BertModel, BertOutput};
pub use cifar::{CifarResNet, cifar_resnet20, cifar_resnet32, cifar_resnet44, cifar_resnet56};
pub use gpt2::{GPT2Config, GPT2LMHeadModel, GPT2Model};
pub use kiln_nn;
pub use lenet::{LeNet, mlp};
pub use mobilenet_v2::{MobileNetV2, mobilenet_v2};
pub use mobilenet_v3::{MobileNetV3, mobilenet_v3_large, mobilenet_v3_small};
pub use resnet::{
    BasicBlock, Bottleneck, ResNet, ResNetOptions, resnet18, resnet34, resnet50, resnet101, resnet152,
};
pub use vgg::{VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn};
