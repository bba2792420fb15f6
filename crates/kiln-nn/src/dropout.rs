//! [`Dropout`].

use kiln_autograd::{Result, Tensor};

use crate::draw::Fault;
use crate::functional;
use crate::module::{Forward, Module};
use crate::parts::{Parts, Training};
use crate::print::print_as_module;

/// While training, sets elements to zero with probability `p`, drawn from the default stream, and divides the others by
/// `1 - p`; while evaluating, gives back its input. From Hinton et al., "Improving neural networks by preventing
/// co-adaptation of feature detectors" (2012).
///
/// ```
/// use kiln_nn::{Dropout, Forward, Module, Tensor};
/// let x = Tensor::from_vec(vec![1.0f32; 8], [8])?;
/// let drop = Dropout::new(0.25);
/// drop.eval();
/// assert_eq!(drop.forward(&x)?.to_vec::<f32>()?, [1.0; 8]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Dropout {
    p: f64,
    training: Training,
    fault: Fault,
}

impl Dropout {
    /// Drops with probability `p`, which is 0.5 in PyTorch by default.
    pub fn new(p: f64) -> Dropout {
        let mut fault = Fault::default();
        if !(0.0..=1.0).contains(&p) {
            fault.note("Dropout", format!("dropout probability has to be between 0 and 1, but got {p}"));
        }
        Dropout { p, training: Training::default(), fault }
    }

    /// Whether the layer can work with its settings.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self) -> Result<()> {
        self.fault.check()
    }
}

impl Default for Dropout {
    fn default() -> Dropout {
        Dropout::new(0.5)
    }
}

impl Module for Dropout {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        parts.add("training", &self.training);
    }

    fn extra_repr(&self) -> String {
        format!("p={}, inplace=False", self.p)
    }
}

impl Forward for Dropout {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.fault.check()?;
        functional::dropout(input, self.p, self.training.get())
    }
}

print_as_module!(Dropout);
