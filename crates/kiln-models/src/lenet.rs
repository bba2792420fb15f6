//! The small networks that courses begin with: [`LeNet`] and [`mlp`].

use kiln_nn::{Conv2d, Error, Forward, Linear, MaxPool2d, Module, ReLU, Result, Sequential, Tensor};

/// LeCun et al., "Gradient-based learning applied to document recognition" (1998), with ReLU and max pooling as it is
/// taught today.
///
/// Shapes: `[n, 1, side, side] -> [n, classes]`.
///
/// ```
/// use kiln_models::LeNet;
/// use kiln_models::kiln_nn::{Forward, Module, Tensor};
/// let net = LeNet::new(32, 10)?;
/// assert_eq!(net.num_parameters(), 61_706);
/// assert_eq!(net.forward(&Tensor::zeros([2, 1, 32, 32]))?.dims(), [2, 10]);
/// # Ok::<(), kiln_models::kiln_nn::Error>(())
/// ```
#[derive(Module)]
pub struct LeNet {
    /// From 1 to 6 channels, 5x5.
    pub conv1: Conv2d,
    /// From 6 to 16 channels, 5x5.
    pub conv2: Conv2d,
    /// To 120 features.
    pub fc1: Linear,
    /// To 84 features.
    pub fc2: Linear,
    /// To the classes.
    pub fc3: Linear,
}

impl LeNet {
    /// A network for gray pictures of `side` by `side` pixels: 28 for MNIST, 32 in the paper.
    ///
    /// # Errors
    /// Pictures below 16 pixels, of which nothing is left after two convolutions and poolings.
    #[track_caller]
    pub fn new(side: usize, num_classes: usize) -> Result<LeNet> {
        let after = |side: usize| side.saturating_sub(4) / 2;
        let left = after(after(side));
        let inputs = left.checked_mul(left).and_then(|area| area.checked_mul(16));
        let Some(inputs) = inputs.filter(|&n| n > 0) else {
            return Err(Error::value("LeNet", format!("expects pictures of 16 pixels or more, got {side}")));
        };
        Ok(LeNet {
            conv1: Conv2d::new(1, 6, 5),
            conv2: Conv2d::new(6, 16, 5),
            fc1: Linear::new(inputs, 120),
            fc2: Linear::new(120, 84),
            fc3: Linear::new(84, num_classes),
        })
    }
}

impl Forward for LeNet {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let pool = MaxPool2d::new(2);
        let x = pool.forward(&self.conv1.forward(input)?.relu()?)?;
        let x = pool.forward(&self.conv2.forward(&x)?.relu()?)?.flatten(1, -1)?;
        let x = self.fc1.forward(&x)?.relu()?;
        let x = self.fc2.forward(&x)?.relu()?;
        self.fc3.forward(&x)
    }
}

/// Linear layers with ReLU between them: `mlp(&[784, 256, 10])` has the parameters `0.weight`, `0.bias`, `2.weight` and
/// `2.bias`.
///
/// Shapes: `[.., first size] -> [.., last size]`; fewer than two sizes give a network that returns its input.
///
/// ```
/// use kiln_models::mlp;
/// use kiln_models::kiln_nn::{Forward, Tensor};
/// assert_eq!(mlp(&[784, 256, 10]).forward(&Tensor::zeros([2, 784]))?.dims(), [2, 10]);
/// # Ok::<(), kiln_models::kiln_nn::Error>(())
/// ```
pub fn mlp(sizes: &[usize]) -> Sequential {
    let mut net = Sequential::new();
    for (i, pair) in sizes.windows(2).enumerate() {
        if i > 0 {
            net.push(ReLU);
        }
        net.push(Linear::new(pair[0], pair[1]));
    }
    net
}
