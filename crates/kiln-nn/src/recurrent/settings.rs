//! The settings of the recurrent layers, and the parameters that they ask for.

use kiln_autograd::Result;

use crate::draw;
use crate::parts::Parameter;

/// What decides about the parameters, and what does not.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) op: &'static str,
    pub(super) gates: usize,
    pub(super) input_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_layers: usize,
    pub(super) bias: bool,
    pub(super) bidirectional: bool,
    pub(super) proj_size: usize,
    pub(super) batch_first: bool,
    pub(super) dropout: f64,
    /// Of an [`RNN`].
    pub(super) nonlinearity: Result<&'static str, String>,
}

impl Settings {
    pub(super) fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }

    /// How many places a state has: a projection leaves fewer.
    pub(super) fn state_size(&self) -> usize {
        if self.proj_size > 0 { self.proj_size } else { self.hidden_size }
    }

    /// What is wrong with the settings.
    pub(super) fn problem(&self) -> Option<String> {
        if let Err(given) = &self.nonlinearity {
            return Some(format!("Unknown nonlinearity '{given}'. Select from 'tanh' or 'relu'."));
        }
        if !(0.0..=1.0).contains(&self.dropout) {
            return Some(format!(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed, got {}",
                self.dropout
            ));
        }
        if self.hidden_size == 0 {
            return Some("hidden_size must be greater than zero".to_owned());
        }
        if self.num_layers == 0 {
            return Some("num_layers must be greater than zero".to_owned());
        }
        if self.proj_size >= self.hidden_size {
            return Some(format!(
                "proj_size has to be smaller than hidden_size, got {} and {}",
                self.proj_size, self.hidden_size
            ));
        }
        None
    }

    /// Draws all parameters, uniform in `+-1/sqrt(hidden_size)`, layer after layer.
    pub(super) fn draw(&self) -> Result<Vec<(String, Parameter)>> {
        let bound = 1.0 / (self.hidden_size as f64).sqrt();
        let rows = self.gates.saturating_mul(self.hidden_size);
        let state = self.state_size();
        let mut weights = Vec::new();
        for layer in 0..self.num_layers {
            let input = if layer == 0 { self.input_size } else { state.saturating_mul(self.directions()) };
            for direction in ["", "_reverse"].into_iter().take(self.directions()) {
                let mut add = |name: &str, shape: &[usize]| -> Result<()> {
                    weights.push((format!("{name}_l{layer}{direction}"), draw::within(shape, bound)?));
                    Ok(())
                };
                add("weight_ih", &[rows, input])?;
                add("weight_hh", &[rows, state])?;
                if self.bias {
                    add("bias_ih", &[rows])?;
                    add("bias_hh", &[rows])?;
                }
                if self.proj_size > 0 {
                    add("weight_hr", &[self.proj_size, self.hidden_size])?;
                }
            }
        }
        Ok(weights)
    }
}
