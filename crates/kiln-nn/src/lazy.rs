//! [`Lazy`] layers, which take the number of their inputs from the first input.

use std::sync::OnceLock;

use kiln_autograd::{Error, Here, Result, Tensor};

use crate::batch_norm::{BatchNormNd, InstanceNormNd};
use crate::conv::ConvNd;
use crate::conv_transpose::ConvTransposeNd;
use crate::linear::Linear;
use crate::module::{Forward, Module};
use crate::parts::{Parts, Training};
use crate::size::Extent;

/// A layer that is made when its first input comes, with as many inputs as that has. Used by the names [`LazyLinear`],
/// [`LazyConv2d`] and so on.
///
/// It has no parameters before: give them to an optimizer afterwards.
///
/// ```
/// use kiln_nn::{Forward, LazyConv2d, Module, Tensor};
/// let conv = LazyConv2d::new(8, 3).with(|conv| conv.padding(1).bias(false));
/// assert!(conv.layer().is_err() && conv.parameters().is_empty());
/// conv.forward(&Tensor::from_vec(vec![1.0f32; 48], [1, 3, 4, 4])?)?;
/// assert_eq!(conv.layer()?.weight.dims(), [8, 3, 3, 3]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
pub struct Lazy<L> {
    name: &'static str,
    make: Box<dyn Fn(&Tensor) -> Result<L> + Send + Sync>,
    layer: OnceLock<L>,
    training: Training,
}

impl<L: Forward> Lazy<L> {
    fn from_make(name: &'static str, make: impl Fn(&Tensor) -> Result<L> + Send + Sync + 'static) -> Lazy<L> {
        Lazy { name, make: Box::new(make), layer: OnceLock::new(), training: Training::default() }
    }

    /// Settings of the layer to come: `settings` calls its builders.
    #[must_use]
    pub fn with(self, settings: impl Fn(L) -> L + Send + Sync + 'static) -> Lazy<L> {
        let make = self.make;
        Lazy { make: Box::new(move |x| make(x).map(&settings)), ..self }
    }

    /// The layer.
    ///
    /// # Errors
    /// No input has come yet.
    #[track_caller]
    pub fn layer(&self) -> Result<&L> {
        self.layer.get().ok_or_else(|| {
            Error::value(
                self.name,
                "the parameters are not initialized: their sizes follow from the first input, so call forward once",
            )
        }).here()
    }
}

impl<L: Forward> Module for Lazy<L> {
    fn parts<'a>(&'a self, parts: &mut Parts<'a>) {
        match self.layer.get() {
            Some(layer) => layer.parts(parts),
            None => parts.add("training", &self.training),
        }
    }

    fn type_name(&self) -> &str {
        self.name
    }

    fn inner(&self) -> Option<&dyn Module> {
        self.layer.get().map(|layer| layer.as_module())
    }
}

impl<L: Forward> Forward for Lazy<L> {
    #[track_caller]
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if let Some(layer) = self.layer.get() {
            return layer.forward(input);
        }
        let made = (self.make)(input).here()?;
        made.set_training(self.training.get());
        // A layer that cannot work is not kept.
        let y = made.forward(input)?;
        match self.layer.set(made) {
            Ok(()) => Ok(y),
            // Another thread was first: its layer is the one that stays.
            Err(_) => self.layer()?.forward(input),
        }
    }
}

impl<L: Forward> std::fmt::Display for Lazy<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::print::fmt_module(self, f)
    }
}

impl<L: Forward> std::fmt::Debug for Lazy<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        crate::print::fmt_module(self, f)
    }
}

/// The channels of an input with `axes` spatial axes, with or without a batch.
#[track_caller]
fn channels(op: &'static str, input: &Tensor, axes: usize) -> Result<usize> {
    let dims = input.dims();
    match dims.len().checked_sub(axes + 1) {
        Some(at @ 0..=1) => Ok(dims[at]),
        _ => Err(Error::shape(op, format!("expected {axes} spatial axes, got an input of shape {dims:?}"))),
    }
}

/// A [`Linear`] layer that takes the number of its inputs from the first one.
pub type LazyLinear = Lazy<Linear>;

impl Lazy<Linear> {
    /// A layer with so many outputs and a bias.
    pub fn new(out_features: usize) -> LazyLinear {
        Lazy::from_make("LazyLinear", move |x| match x.size(-1) {
            Ok(features) => Ok(Linear::new(features, out_features)),
            Err(_) => Err(Error::shape("LazyLinear", "expected at least one axis")),
        })
    }
}

macro_rules! lazy {
    ($($(#[$doc:meta])* $layer:ident $names:tt ($($arg:ident: $ty:ty),*);)*) => {$(
        lazy!(@names $layer $names);

        impl<const N: usize> Lazy<$layer<N>> {
            $(#[$doc])*
            #[allow(clippy::new_without_default)] // Only some of these layers need no numbers.
            pub fn new($($arg: $ty),*) -> Lazy<$layer<N>> {
                let name = lazy!(@list $names)[N - 1];
                lazy!(@make name $layer $($arg)*)
            }
        }
    )*};
    (@names $layer:ident [$one:ident $two:ident $three:ident]) => {
        lazy!(@alias $layer $one 1);
        lazy!(@alias $layer $two 2);
        lazy!(@alias $layer $three 3);
    };
    (@alias $layer:ident $name:ident $axes:literal) => {
        #[doc = concat!("A layer for ", stringify!($axes), " spatial axes that takes its number of channels from the first \
            input: see [`", stringify!($layer), "`].")]
        pub type $name = Lazy<$layer<$axes>>;
    };
    (@list [$one:ident $two:ident $three:ident]) => {
        [stringify!($one), stringify!($two), stringify!($three)]
    };
    (@make $name:ident $layer:ident $out:ident $kernel:ident) => {{
        let kernel = $kernel.into();
        Lazy::from_make($name, move |x| Ok($layer::<N>::new(channels($name, x, N)?, $out, kernel)))
    }};
    (@make $name:ident $layer:ident) => {
        Lazy::from_make($name, move |x| match x.size(if x.rank() == N + 1 && N > 1 { 0 } else { 1 }) {
            Ok(channels) => Ok($layer::<N>::new(channels)),
            Err(_) => Err(Error::shape($name, "expected at least two axes")),
        })
    };
}

lazy! {
    /// A layer with so many outputs and a kernel of the given size.
    ConvNd [LazyConv1d LazyConv2d LazyConv3d] (out_channels: usize, kernel_size: impl Into<Extent<N>>);
    /// A layer with so many outputs and a kernel of the given size.
    ConvTransposeNd [LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d]
        (out_channels: usize, kernel_size: impl Into<Extent<N>>);
    /// A layer with weights and running statistics.
    BatchNormNd [LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d] ();
    /// A layer without weights and running statistics.
    InstanceNormNd [LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d] ();
}
