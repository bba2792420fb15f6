//! Networks on images: sizes, names and outputs of torchvision.

use kiln_models::kiln_nn::{Forward, Linear, Module, Tensor};
use kiln_models::*;

use super::{Recorded, assert_recorded, assert_size, names, seeded};

#[test]
fn residual_networks_have_torchvisions_parameters() {
    let _turn = seeded();
    assert_size(&resnet18(1000).unwrap(), 11_689_512, 122);
    assert_size(&resnet34(1000).unwrap(), 21_797_672, 218);
    let net = resnet50(10).unwrap();
    assert_size(&net, 23_528_522, 320);
    let block: Vec<String> = names(&net).into_iter().filter(|n| n.starts_with("layer2.0.")).collect();
    let layer = |conv: &str, norm: &str| {
        let mut all = vec![format!("layer2.0.{conv}.weight")];
        let entries = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
        all.extend(entries.map(|entry| format!("layer2.0.{norm}.{entry}")));
        all
    };
    let pairs = [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("downsample.0", "downsample.1")];
    assert_eq!(block, pairs.map(|(conv, norm)| layer(conv, norm)).concat());
}

#[test]
fn residual_networks_compute_what_torchvision_computes() {
    {
        let _turn = seeded();
        let net = resnet18(10).unwrap();
        net.eval();
        let want = Recorded {
            abs_sum: 1.9161057472229004,
            head: &[0.0437021, 0.0352888, -0.1163541, 0.071575],
            tail: &[0.0958651, 0.0369177],
        };
        assert_recorded(&net.forward(&Tensor::rand([2, 3, 32, 32])).unwrap(), &want, 1e-5);
    }
    let _turn = seeded();
    let net = resnet50(10).unwrap();
    net.eval();
    let want = Recorded {
        abs_sum: 29.03255271911621,
        head: &[-1.0012411, -2.969403, 2.8428473, -1.3296988],
        tail: &[-2.0895195, 0.3115795],
    };
    assert_recorded(&net.forward(&Tensor::rand([2, 3, 32, 32])).unwrap(), &want, 1e-5);
}

#[test]
fn a_block_that_starts_as_its_way_around_changes_nothing() {
    let _turn = seeded();
    let options = ResNetOptions::basic([1; 4]).widths([4; 4]).num_classes(3);
    let net = options.zero_init_residual(true).build().unwrap();
    let x = Tensor::rand([2, 4, 8, 8]);
    assert!(net.layer1.forward(&x).unwrap().equal(&x).unwrap());
    assert!(ResNetOptions::basic([1, 0, 1, 1]).build().is_err());
    assert!(ResNetOptions::bottleneck([1; 4]).widths([4, 4, 0, 4]).build().is_err());
    assert!(net.forward(&Tensor::rand([2, 1, 8, 8])).is_err());
}

/// Only the new layer is recorded and learned: nothing is kept for the frozen ones.
#[test]
fn frozen_layers_record_no_history() {
    let _turn = seeded();
    let mut net = ResNetOptions::basic([1; 4]).widths([4; 4]).build().unwrap();
    net.requires_grad_(false).unwrap();
    net.fc = Linear::new(4, 10);
    let x = Tensor::rand([2, 3, 32, 32]);
    let features = net.features(&x).unwrap();
    assert!(!features.requires_grad() && features.grad_fn().is_none());
    net.forward(&x).unwrap().sum().unwrap().backward().unwrap();
    let with_gradient: Vec<String> = net
        .named_parameters()
        .into_iter()
        .filter(|(_, p)| p.grad().is_some())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(with_gradient, ["fc.weight", "fc.bias"]);
}

#[test]
fn networks_for_small_pictures_have_the_published_parameters() {
    let _turn = seeded();
    let net = cifar_resnet20(10).unwrap();
    assert_size(&net, 272_474, 128);
    let own = names(&net);
    let named = |name: &str| own.iter().any(|n| n == name);
    assert!(
        ["conv1.weight", "bn1.bias", "layer1.2.conv2.weight", "layer2.0.downsample.0.weight"]
            .iter()
            .all(|n| named(n))
    );
    assert!(
        named("layer3.0.downsample.1.running_var")
            && named("fc.bias")
            && !named("layer1.0.downsample.0.weight")
    );
    net.eval();
    // Nobody has drawn since the network was made.
    let want = Recorded {
        abs_sum: 24.092666625976562,
        head: &[0.7576147, 1.0080417, -2.5791776, 0.0278328],
        tail: &[-1.2531972, -1.9447646],
    };
    assert_recorded(&net.forward(&Tensor::rand([2, 3, 32, 32])).unwrap(), &want, 1e-5);
    assert_size(&cifar_resnet32(10).unwrap(), 466_906, 200);
    assert_size(&cifar_resnet44(10).unwrap(), 661_338, 272);
    assert_size(&cifar_resnet56(10).unwrap(), 855_770, 344);
}

#[test]
fn vgg_computes_what_torchvision_computes() {
    let _turn = seeded();
    let net = vgg11(10).unwrap();
    assert_size(&net, 128_807_306, 22);
    assert_eq!(
        names(&net)[..4],
        ["features.0.weight", "features.0.bias", "features.3.weight", "features.3.bias"]
    );
    net.eval();
    let want = Recorded {
        abs_sum: 0.20477047562599182,
        head: &[-0.0086298, 0.0074068, 0.0133723, -0.0082734],
        tail: &[0.0074857, 0.0117864],
    };
    assert_recorded(&net.forward(&Tensor::rand([2, 3, 32, 32])).unwrap(), &want, 1e-4);
}

/// A fresh network's scores are next to nothing, so its features are compared: with the statistics of the batch.
#[test]
fn mobile_networks_compute_what_torchvision_computes() {
    let check = |make: &dyn Fn() -> (Box<dyn Module>, Tensor), parameters, entries, want: Recorded<'_>| {
        let _turn = seeded();
        let (net, features) = make();
        assert_size(&*net, parameters, entries);
        assert_recorded(&features, &want, 1e-4);
    };
    macro_rules! features {
        ($make:ident) => {
            &|| {
                let net = $make(10).unwrap();
                let features = net.features.forward(&Tensor::rand([2, 3, 64, 64])).unwrap();
                (Box::new(net), features)
            }
        };
    }
    let want = Recorded {
        abs_sum: 4244.720134702908,
        head: &[0.1788875, 1.0326314, 0.2348986, 0.8973559, 0.0, 0.251844],
        tail: &[1.0149465, 0.7053925],
    };
    check(features!(mobilenet_v2), 2_236_682, 314, want);
    let want = Recorded {
        abs_sum: 3171.433928869964,
        head: &[-0.1083066, -0.2520175, -0.3383014, 0.5148664, -0.3625767, 0.0497398],
        tail: &[-0.316682, -0.3749965],
    };
    check(features!(mobilenet_v3_large), 4_214_842, 312, want);
    let want = Recorded {
        abs_sum: 1895.0333187106244,
        head: &[-0.3667402, 0.6215823, -0.2160229, -0.2144346, 1.9020324, -0.3729213],
        tail: &[0.9513888, -0.3746486],
    };
    check(features!(mobilenet_v3_small), 1_528_106, 244, want);
}

#[test]
fn mobile_networks_have_torchvisions_names() {
    let _turn = seeded();
    let all = names(&mobilenet_v2(10).unwrap());
    for name in [
        "features.0.0.weight",
        "features.1.conv.0.0.weight",
        "features.2.conv.1.0.weight",
        "classifier.1.bias",
    ] {
        assert!(all.iter().any(|n| n == name), "{name}");
    }
    let all = names(&mobilenet_v3_small(10).unwrap());
    for name in ["features.1.block.1.fc1.weight", "features.4.block.2.fc1.bias", "features.12.1.running_mean"]
    {
        assert!(all.iter().any(|n| n == name), "{name}");
    }
    assert_size(&MobileNetV2::new(0.35, 10).unwrap(), 408_938, 314);
    assert!(MobileNetV2::new(f64::NAN, 10).is_err() && MobileNetV2::new(0.0, 10).is_err());
}

#[test]
fn small_networks() {
    let _turn = seeded();
    let net = LeNet::new(28, 10).unwrap();
    assert_size(&net, 44_426, 10);
    assert_eq!(net.forward(&Tensor::zeros([1, 1, 28, 28])).unwrap().dims(), [1, 10]);
    assert!(LeNet::new(15, 10).is_err() && LeNet::new(16, 10).is_ok());
    assert_eq!(names(&mlp(&[4, 3, 2])), ["0.weight", "0.bias", "2.weight", "2.bias"]);
}
