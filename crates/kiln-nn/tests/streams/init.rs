//! Initialisation against values of PyTorch 2.15.0.

use kiln_nn::kiln_autograd::kiln_ops::random::manual_seed;
use kiln_nn::{Conv2d, Linear, init};

use crate::turn;

#[test]
fn first_parameters_are_pytorch_s() {
    let _turn = turn();
    manual_seed(0);
    let linear = Linear::new(3, 2);
    assert_eq!(linear.weight.to_vec::<f32>().unwrap(), LINEAR_WEIGHT);
    assert_eq!(linear.bias.as_ref().unwrap().to_vec::<f32>().unwrap(), LINEAR_BIAS);
    manual_seed(42);
    let conv = Conv2d::new(2, 1, 2).bias(false);
    assert_eq!(conv.weight.to_vec::<f32>().unwrap(), CONV_WEIGHT);
    init::xavier_normal_(&linear.weight, 1.0).unwrap();
    assert_eq!(linear.weight.to_vec::<f32>().unwrap(), XAVIER);
}

const LINEAR_WEIGHT: [f32; 6] = [-0.0043225177, 0.30971584, -0.47518533, -0.4248946, -0.22236897, 0.15482073];
const LINEAR_BIAS: [f32; 2] = [-0.011439145, 0.45777494];
const CONV_WEIGHT: [f32; 8] =
    [0.2703052, 0.2934521, -0.08282783, 0.32477814, -0.07746481, 0.07134378, -0.17212924, 0.20763578];
const XAVIER: [f32; 6] = [-0.71015674, -0.117844366, 1.3965892, -0.40350476, 0.29197767, 0.16908753];
