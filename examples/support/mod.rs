//! What the training examples share: measuring a classifier, and the line that programs read.

use kiln::prelude::*;
use sha2::{Digest, Sha256};

/// A data set of images and the numbers of their classes.
pub trait Classified: Dataset<Item = (Tensor, i64)> {}

impl<D: Dataset<Item = (Tensor, i64)>> Classified for D {}

/// The accuracy and mean loss of a classifier on a data set, in evaluation mode.
pub fn evaluate<D: Classified>(model: &impl Forward, loader: &DataLoader<D>) -> Result<(f64, f64)> {
    model.eval();
    let loss_fn = CrossEntropyLoss::new().reduction(Reduction::Sum);
    let (mut correct, mut loss, mut seen) = (0.0, 0.0, 0.0);
    no_grad(|| {
        for batch in loader {
            let (x, y) = batch?;
            let logits = model.forward(&x)?;
            correct += logits.argmax(1, false)?.eq(&y)?.sum()?.to_f64()?;
            loss += loss_fn.forward(&logits, &y)?.to_f64()?;
            seen += y.numel() as f64;
        }
        Ok::<_, Error>(())
    })?;
    model.train();
    Ok((correct / seen, loss / seen))
}

/// Trains for one epoch and gives the mean loss.
#[allow(dead_code, reason = "an example that can be interrupted has a loop of its own")]
pub fn train_epoch<D: Classified>(
    model: &impl Forward,
    loader: &DataLoader<D>,
    optimizer: &mut impl Optimizer,
    label: &str,
) -> Result<f64> {
    let loss_fn = CrossEntropyLoss::new();
    let progress = Progress::new(label, loader.len());
    let (mut total, mut seen) = (0.0, 0.0);
    for batch in loader {
        let (x, y) = batch?;
        optimizer.zero_grad();
        let loss = loss_fn.forward(&model.forward(&x)?, &y)?;
        loss.backward()?;
        optimizer.step()?;
        let n = y.numel() as f64;
        total += loss.to_f64()? * n;
        seen += n;
        progress.step(format!("loss {:.4}", total / seen));
    }
    progress.finish();
    Ok(total / seen)
}

/// The SHA-256 of all parameters and buffers: equal for equal bits, whatever machine they were computed on.
pub fn weights_hash(model: &impl Module) -> Result<String> {
    state_hash(&model.state_dict())
}

/// The SHA-256 of a state dict's names and values.
pub fn state_hash(state: &StateDict) -> Result<String> {
    let mut hasher = Sha256::new();
    for (name, tensor) in state.iter() {
        hasher.update(name.as_bytes());
        // Counters of batch norm are integers.
        for value in tensor.to_dtype(F32)?.to_vec::<f32>()? {
            hasher.update(value.to_le_bytes());
        }
    }
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
