//! The macros that write down what all optimizers have in common: options, builders and the trait.

/// Declares the options of a kind of optimizer and the optimizers that have them.
///
/// After the options' name stand PyTorch's default for the learning rate and the other options with their types and
/// defaults; `kept` lists what PyTorch saves beside them; then what is remembered for a parameter and the function that
/// steps. Each optimizer says where its defaults are others.
macro_rules! optimizers {
    (
        $(#[$odoc:meta])* $options:ident, lr = $lr:literal, $fields:tt
        kept $kept:tt
        state $state:ty, step $step:path;
        $($(#[$doc:meta])* $name:ident $changed:tt)+
    ) => {
        $crate::declare::options! { $(#[$odoc])* $options, lr = $lr, $fields kept $kept }
        $($crate::declare::optimizer! { $(#[$doc])* $name, $options, lr = $lr, $state, $step, $fields, $changed })+
    };
}

/// The options of a group.
macro_rules! options {
    (
        $(#[$odoc:meta])* $options:ident, lr = $lr:literal,
        { $($(#[$fdoc:meta])* $field:ident: $ty:ty = $default:expr,)* }
        kept { $($kept:ident = $value:expr),* $(,)? }
    ) => {
        $(#[$odoc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $options {
            /// The learning rate.
            pub lr: f64,
            $($(#[$fdoc])* pub $field: $ty,)*
        }

        impl Default for $options {
            /// PyTorch's defaults.
            fn default() -> $options {
                $options { lr: $lr, $($field: $default,)* }
            }
        }

        impl $crate::groups::Options for $options {
            fn list(&self) -> Vec<(&'static str, $crate::value::StateValue)> {
                use $crate::value::Field;
                vec![("lr", self.lr.save()), $((stringify!($field), self.$field.save()),)*]
            }

            fn without_effect(&self) -> &'static [(&'static str, Option<bool>)] {
                &[$((stringify!($kept), $value)),*]
            }

            fn set(&mut self, name: &str, value: &$crate::value::StateValue) -> Option<bool> {
                use $crate::value::Field;
                match name {
                    "lr" => Some(f64::load(value).map(|x| self.lr = x).is_some()),
                    $(stringify!($field) => Some(<$ty>::load(value).map(|x| self.$field = x).is_some()),)*
                    _ => None,
                }
            }
        }
    };
}

/// One optimizer: constructor, builders and the trait.
macro_rules! optimizer {
    (
        $(#[$doc:meta])* $name:ident, $options:ident, lr = $lr:literal, $state:ty, $step:path,
        { $($(#[$fdoc:meta])* $field:ident: $ty:ty = $default:expr,)* },
        { $($other:ident: $changed:expr),* }
    ) => {
        $(#[$doc])*
        pub struct $name {
            groups: $crate::groups::Groups<$options, $state>,
        }

        impl $name {
            #[doc = concat!("The optimizer with PyTorch's defaults for all but the learning rate, which is ", $lr, " there.")]
            pub fn new(params: impl IntoIterator<Item = kiln_autograd::Tensor>, lr: f64) -> $name {
                #[allow(clippy::needless_update, reason = "some optimizers change nothing")]
                let options = $options { lr, $($other: $changed,)* ..$options::default() };
                let params = params.into_iter().collect();
                $name { groups: $crate::groups::Groups::new(stringify!($name), params, options) }
            }

            $(
                $(#[$fdoc])*
                #[must_use]
                pub fn $field(mut self, $field: $ty) -> $name {
                    self.groups.change(&|o| o.$field = $field.clone());
                    self
                }
            )*

            /// Adds a group of parameters with options that start from those set so far.
            #[must_use]
            pub fn group(
                mut self,
                params: impl IntoIterator<Item = kiln_autograd::Tensor>,
                change: impl FnOnce(&mut $options),
            ) -> $name {
                self.groups.add(params.into_iter().collect(), change);
                self
            }

            /// Adds a group of parameters to an optimizer in use.
            pub fn add_param_group(
                &mut self,
                params: impl IntoIterator<Item = kiln_autograd::Tensor>,
                change: impl FnOnce(&mut $options),
            ) {
                self.groups.add(params.into_iter().collect(), change);
            }
        }

        $crate::declare::delegate! { $name, |groups| $step(groups) }
    };
}

/// The trait, by the optimizer's field `groups`.
macro_rules! delegate {
    ($name:ident, |$groups:ident| $step:expr $(, $with:item)?) => {
        impl $crate::optimizer::Optimizer for $name {
            #[track_caller]
            fn step(&mut self) -> kiln_autograd::Result<()> {
                let $groups = &mut self.groups;
                kiln_autograd::Here::here($step)
            }

            $($with)?

            fn parameters(&self) -> Vec<kiln_autograd::Tensor> {
                self.groups.any().parameters()
            }

            fn num_groups(&self) -> usize {
                self.groups.any().len()
            }

            fn options(&self, group: usize) -> Vec<(String, $crate::value::StateValue)> {
                self.groups.any().options(group)
            }

            #[track_caller]
            fn set_option(
                &mut self,
                group: usize,
                name: &str,
                value: $crate::value::StateValue,
            ) -> kiln_autograd::Result<()> {
                kiln_autograd::Here::here(self.groups.set_option(group, name, value))
            }

            #[track_caller]
            fn state_dict(&self) -> kiln_autograd::Result<$crate::optimizer::OptimizerState> {
                kiln_autograd::Here::here(self.groups.any().state_dict())
            }

            #[track_caller]
            fn load_state_dict(
                &mut self,
                state: &$crate::optimizer::OptimizerState,
            ) -> kiln_autograd::Result<()> {
                kiln_autograd::Here::here(self.groups.load_state_dict(state))
            }

            #[track_caller]
            fn check(&self) -> kiln_autograd::Result<()> {
                kiln_autograd::Here::here(self.groups.any().check())
            }
        }
    };
}

/// What is remembered for a parameter that has counted its steps and has tensors like itself.
macro_rules! counted_state {
    ($options:ident, $state:ident { $($(#[$doc:meta])* $field:ident: $name:literal),* $(,)? }) => {
        /// What is remembered for a parameter.
        pub(crate) struct $state {
            steps: u64,
            $($(#[$doc])* $field: kiln_autograd::kiln_ops::RawTensor,)*
        }

        impl $crate::groups::State for $state {
            type Options = $options;

            fn save(&self) -> kiln_autograd::Result<Vec<(&'static str, $crate::value::StateValue)>> {
                Ok(vec![
                    ("step", $crate::groups::number_tensor(self.steps as f64)?),
                    $(($name, $crate::groups::tensor_value(&self.$field)),)*
                ])
            }

            fn load(saved: &$crate::groups::Saved<'_>) -> kiln_autograd::Result<Option<$state>> {
                if saved.is_empty() {
                    return Ok(None);
                }
                Ok(Some($state { steps: saved.steps()?, $($field: saved.needed($name)?,)* }))
            }
        }

        impl $state {
            /// The state after one more step, from zeros at first.
            fn next(
                before: Option<&$state>,
                param: &kiln_autograd::kiln_ops::RawTensor,
            ) -> kiln_autograd::Result<$state> {
                Ok(match before {
                    Some(s) => $state { steps: s.steps + 1, $($field: s.$field.clone(),)* },
                    None => $state { steps: 1, $($field: $crate::groups::zeros_like(param)?,)* },
                })
            }
        }
    };
}

pub(crate) use {counted_state, delegate, optimizer, optimizers, options};
