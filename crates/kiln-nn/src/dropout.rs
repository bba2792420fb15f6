//! [`Dropout`] and its forms for whole channels and for self-normalising networks.

use kiln_autograd::{Result, Tensor};

use crate::draw::Fault;
use crate::functional;
use crate::module::{Forward, Module};
use crate::parts::{Parts, Training};
use crate::print::print_as_module;

/// Layers that drop: a row is the documentation, the name and the function of the input, the probability and the mode.
macro_rules! dropouts {
    ($($(#[$doc:meta])* $name:ident: $drop:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name {
            p: f64,
            training: Training,
            fault: Fault,
        }

        impl $name {
            /// Drops with probability `p`, which is 0.5 in PyTorch by default.
            pub fn new(p: f64) -> $name {
                let mut fault = Fault::default();
                if !(0.0..=1.0).contains(&p) {
                    let what = format!("dropout probability has to be between 0 and 1, but got {p}");
                    fault.note(stringify!($name), what);
                }
                $name { p, training: Training::default(), fault }
            }

            /// Whether the layer can work with its settings.
            ///
            /// # Errors
            /// It cannot.
            #[track_caller]
            pub fn check(&self) -> Result<()> {
                self.fault.check()
            }
        }

        impl Default for $name {
            fn default() -> $name {
                $name::new(0.5)
            }
        }

        impl Module for $name {
            fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
                parts.add("training", &self.training);
            }

            fn extra_repr(&self) -> String {
                format!("p={}, inplace=False", self.p)
            }
        }

        impl Forward for $name {
            #[track_caller]
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                self.fault.check()?;
                $drop(input, self.p, self.training.get())
            }
        }

        print_as_module!($name);
    )*};
}

dropouts! {
    /// While training, sets elements to zero with probability `p`, drawn from the default stream, and divides the others
    /// by `1 - p`; while evaluating, gives back its input. From Hinton et al., "Improving neural networks by preventing
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
    Dropout: functional::dropout;
    /// [`Dropout`] of whole channels: `[n, c, length]` or `[c, length]`.
    Dropout1d: |x: &Tensor, p, training| channels("Dropout1d", x, 1, p, training);
    /// [`Dropout`] of whole channels: `[n, c, height, width]`. Tompson et al., "Efficient object localization using
    /// convolutional networks" (2015).
    Dropout2d: |x: &Tensor, p, training| channels("Dropout2d", x, 2, p, training);
    /// [`Dropout`] of whole channels: `[n, c, depth, height, width]` or without `n`.
    Dropout3d: |x: &Tensor, p, training| channels("Dropout3d", x, 3, p, training);
    /// Dropout that keeps mean and variance of the results of [`SELU`](struct@crate::SELU): Klambauer et al.,
    /// "Self-normalizing neural networks" (2017).
    AlphaDropout: Tensor::alpha_dropout;
    /// [`AlphaDropout`] of whole channels: `[n, c, sizes..]`.
    FeatureAlphaDropout: Tensor::channel_alpha_dropout;
}

/// Drops channels of an input with `axes` spatial axes. As in PyTorch, three axes are a batch where images are meant, and
/// lack one where sequences or volumes are meant without.
#[track_caller]
pub(crate) fn channels(op: &'static str, x: &Tensor, axes: usize, p: f64, training: bool) -> Result<Tensor> {
    let unbatched = match axes {
        1 => {
            if !(2..=3).contains(&x.rank()) {
                return Err(kiln_autograd::Error::shape(
                    op,
                    format!("Expected 2D or 3D input, but received a {}D input.", x.rank()),
                ));
            }
            x.rank() == 2
        }
        2 => false,
        _ => x.rank() != axes + 2,
    };
    match unbatched {
        true => x.unsqueeze(0)?.channel_dropout(p, training)?.squeeze_axis(0),
        false => x.channel_dropout(p, training),
    }
}
