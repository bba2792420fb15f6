//! Schedules by functions: [`LambdaLR`], [`MultiplicativeLR`].

use std::fmt;
use std::sync::Arc;

use kiln_autograd::{Error, Result};

use super::{Round, Schedule};
use crate::optimizer::Optimizer;
use crate::value::StateValue;

type Factor = Arc<dyn Fn(i64) -> f64 + Send + Sync>;

/// A function for all groups, or one for each.
#[derive(Clone)]
struct Factors(Vec<Factor>);

impl fmt::Debug for Factors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} functions", self.0.len())
    }
}

impl Factors {
    /// Gives every group its function.
    fn spread(&mut self, name: &'static str, optimizer: &dyn Optimizer) -> Result<()> {
        let groups = optimizer.num_groups();
        if let [one] = &self.0[..] {
            self.0 = vec![Arc::clone(one); groups];
        }
        match self.0.len() {
            n if n == groups => Ok(()),
            n => Err(Error::value(name, format!("Expected {groups} lr_lambdas, but got {n}"))),
        }
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        vec![("lr_lambdas", vec![StateValue::None; self.0.len()].into())]
    }
}

macro_rules! constructors {
    ($name:ident) => {
        impl $name {
            /// The schedule with one function of the round for all groups.
            pub fn new(lr_lambda: impl Fn(i64) -> f64 + Send + Sync + 'static) -> $name {
                $name { factors: Factors(vec![Arc::new(lr_lambda)]) }
            }

            /// The schedule with a function for each group.
            pub fn per_group(
                lr_lambdas: impl IntoIterator<Item = Box<dyn Fn(i64) -> f64 + Send + Sync>>,
            ) -> $name {
                $name { factors: Factors(lr_lambdas.into_iter().map(Arc::from).collect()) }
            }
        }
    };
}

/// Sets the rates to the first ones times a function of the round.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_optim::{LambdaLR, Optimizer, SGD, Schedule, Scheduler};
/// # fn main() -> kiln_autograd::Result<()> {
/// let w = Tensor::from_vec(vec![0.0f32], [1])?.requires_grad_(true)?;
/// let mut optimizer = SGD::new([w], 0.1);
/// let mut scheduler = LambdaLR::new(|epoch| 0.5f64.powi(epoch as i32)).on(&mut optimizer)?;
/// optimizer.step()?;
/// scheduler.step(&mut optimizer)?;
/// assert_eq!(optimizer.lr(0), 0.05);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LambdaLR {
    factors: Factors,
}

constructors!(LambdaLR);

impl Schedule for LambdaLR {
    const NAME: &'static str = "LambdaLR";

    fn prepare(&mut self, optimizer: &mut dyn Optimizer, _resumed: bool) -> Result<()> {
        self.factors.spread(Self::NAME, optimizer)
    }

    fn rates(&mut self, round: &Round<'_>, _optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        Ok(round.base_lrs.iter().zip(&self.factors.0).map(|(lr, f)| lr * f(round.epoch)).collect())
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        self.factors.save()
    }

    /// Functions are not saved.
    fn load(&mut self, _state: &StateValue) -> Result<()> {
        Ok(())
    }
}

/// Multiplies the rates every round by a function of the round.
#[derive(Clone, Debug)]
pub struct MultiplicativeLR {
    factors: Factors,
}

constructors!(MultiplicativeLR);

impl Schedule for MultiplicativeLR {
    const NAME: &'static str = "MultiplicativeLR";

    fn prepare(&mut self, optimizer: &mut dyn Optimizer, _resumed: bool) -> Result<()> {
        self.factors.spread(Self::NAME, optimizer)
    }

    fn rates(&mut self, round: &Round<'_>, _optimizer: &mut dyn Optimizer) -> Result<Vec<f64>> {
        if round.initial {
            return Ok(round.same());
        }
        Ok(round.lrs.iter().zip(&self.factors.0).map(|(lr, f)| lr * f(round.epoch)).collect())
    }

    fn save(&self) -> Vec<(&'static str, StateValue)> {
        self.factors.save()
    }

    /// Functions are not saved.
    fn load(&mut self, _state: &StateValue) -> Result<()> {
        Ok(())
    }
}
