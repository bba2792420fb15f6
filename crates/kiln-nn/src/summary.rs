//! [`summary`]: a network as a table.

use std::sync::{Arc, Mutex, PoisonError};

use kiln_autograd::{Here, Result, Tensor, no_grad};

use crate::hooks::ModuleHooks;
use crate::module::Forward;

/// A table of all modules inside a network, with the shape of what each gives for `input` and how many numbers it learns.
///
/// The network runs once, evaluating and without gradients. Shapes are there for modules that run by
/// [`Forward::call`], as those of a [`Sequential`](crate::Sequential) do, and have a [`Training`](crate::Training) field;
/// `-` stands for others.
///
/// ```
/// use kiln_nn::{Linear, ReLU, Tensor, sequential, summary};
/// let net = sequential![Linear::new(4, 8), ReLU, Linear::new(8, 2)];
/// let table = summary(&net, &Tensor::from_vec(vec![1.0f32; 12], [3, 4])?)?;
/// assert!(table.contains("[3, 8]") && table.contains("Total params: 58"));
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// What the network fails with.
#[track_caller]
pub fn summary(net: &dyn Forward, input: &Tensor) -> Result<String> {
    let module = net.as_module();
    let modules = module.named_modules();
    let shapes: Arc<Mutex<Vec<Option<Vec<usize>>>>> = Arc::new(Mutex::new(vec![None; modules.len()]));
    let mut handles = Vec::new();
    for (i, (_, inside)) in modules.iter().enumerate() {
        let shapes = Arc::clone(&shapes);
        // Modules without a place for hooks have no shape in the table.
        handles.extend(inside.register_forward_hook(move |_, _, output| {
            shapes.lock().unwrap_or_else(PoisonError::into_inner)[i] = Some(output.dims());
            Ok(None)
        }));
    }
    let modes = crate::walk::training_flags(module);
    module.eval();
    let ran = no_grad(|| net.call(input));
    modes.into_iter().for_each(|(flag, training)| flag.set(training));
    handles.iter().for_each(|handle| handle.remove());
    let output = ran.here()?;

    let shapes = shapes.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rows = vec![["Layer (type)", "Output Shape", "Param #"].map(str::to_owned)];
    for (i, (name, inside)) in modules.iter().enumerate() {
        let depth = if name.is_empty() { 0 } else { 1 + name.matches('.').count() };
        let label = name.rsplit('.').next().unwrap_or_default();
        let label = match label {
            "" => inside.type_name().to_owned(),
            label => format!("{}{label} ({})", "  ".repeat(depth), inside.type_name()),
        };
        let shape = match (&shapes[i], i) {
            (Some(shape), _) => format!("{shape:?}"),
            (None, 0) => format!("{:?}", output.dims()),
            (None, _) => "-".to_owned(),
        };
        // The numbers of modules inside stand in their own rows.
        let below: usize = inside.named_children().iter().map(|(_, child)| child.num_parameters()).sum();
        let own = inside.num_parameters().saturating_sub(below);
        rows.push([label, shape, own.to_string()]);
    }
    let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = "=".repeat(widths.iter().sum::<usize>() + 4);
    let mut text = format!("{line}\n");
    for (i, [a, b, c]) in rows.iter().enumerate() {
        text += &format!("{a:<0$}  {b:<1$}  {c:>2$}\n", widths[0], widths[1], widths[2]);
        if i == 0 {
            text += &format!("{line}\n");
        }
    }
    let total = module.num_parameters();
    let trained: usize = module.parameters().iter().filter(|p| p.requires_grad()).map(Tensor::numel).sum();
    text += &format!(
        "{line}\nTotal params: {total}\nTrainable params: {trained}\nNon-trainable params: {}\n",
        total - trained
    );
    Ok(text)
}
