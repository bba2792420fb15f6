//! Walking through a module's parts: a module's own first, parameters before buffers, then the modules inside.
//!
//! What the provided methods of [`Module`] call is never inlined: every type of module has a copy of these methods.

use std::collections::HashSet;

use kiln_autograd::{DType, Device, Here, Result, Tensor};

use crate::module::Module;
use crate::parts::{PartRef, Parts, Training};

fn listed(module: &dyn Module) -> Parts<'_> {
    let mut parts = Parts::default();
    match module.inner() {
        Some(inner) => inner.parts(&mut parts),
        None => module.parts(&mut parts),
    }
    parts
}

/// A dotted name.
pub(crate) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// Calls `f` with every part of `module`, at any depth, and its dotted name.
pub(crate) fn parts<'a>(module: &'a dyn Module, f: &mut dyn FnMut(&str, PartRef<'a>)) {
    below("", module, f);
}

fn below<'a>(prefix: &str, module: &'a dyn Module, f: &mut dyn FnMut(&str, PartRef<'a>)) {
    let parts = listed(module);
    for (name, part) in
        parts.iter().filter(|(_, p)| matches!(p, PartRef::Parameter(_) | PartRef::Training(_)))
    {
        f(&join(prefix, name), part);
    }
    for (name, part) in parts.iter().filter(|(_, p)| matches!(p, PartRef::Buffer(_))) {
        f(&join(prefix, name), part);
    }
    for (name, part) in parts.iter() {
        if let PartRef::Module(inside) = part {
            let name = join(prefix, name);
            f(&name, part);
            below(&name, inside, f);
        }
    }
}

/// The modules directly inside.
#[inline(never)]
pub(crate) fn children(module: &dyn Module) -> Vec<(String, &dyn Module)> {
    listed(module)
        .iter()
        .filter_map(|(name, part)| match part {
            PartRef::Module(inside) => Some((name.to_owned(), inside)),
            _ => None,
        })
        .collect()
}

/// `module` and the modules inside, at any depth.
#[inline(never)]
pub(crate) fn modules(module: &dyn Module) -> Vec<(String, &dyn Module)> {
    let mut found = vec![(String::new(), module.inner().unwrap_or(module))];
    parts(module, &mut |name, part| {
        if let PartRef::Module(inside) = part {
            found.push((name.to_owned(), inside));
        }
    });
    found
}

/// The module's own training flag.
pub(crate) fn own_training(module: &dyn Module) -> Option<&Training> {
    listed(module).iter().find_map(|(_, part)| match part {
        PartRef::Training(flag) => Some(flag),
        _ => None,
    })
}

/// All training flags and what they say.
pub(crate) fn training_flags(module: &dyn Module) -> Vec<(&Training, bool)> {
    let mut found = Vec::new();
    parts(module, &mut |_, part| {
        if let PartRef::Training(flag) = part {
            found.push((flag, flag.get()));
        }
    });
    found
}

/// Calls `f` with the modules inside and then with `module`.
#[track_caller]
pub(crate) fn apply(module: &dyn Module, f: &mut dyn FnMut(&dyn Module) -> Result<()>) -> Result<()> {
    for (_, inside) in children(module) {
        apply(inside, f)?;
    }
    f(module.inner().unwrap_or(module)).here()
}

/// A type's name without its path and generics.
pub(crate) fn short_name(name: &'static str) -> &'static str {
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next().unwrap_or(name)
}

/// See [`Module::named_parameters`].
#[inline(never)]
pub(crate) fn named_parameters(module: &dyn Module) -> Vec<(String, Tensor)> {
    let mut seen = Vec::new();
    parts(module, &mut |name, part| {
        if let PartRef::Parameter(p) = part {
            seen.push((name.to_owned(), p.tensor().clone()));
        }
    });
    first_of_each(seen)
}

/// See [`Module::named_buffers`].
#[inline(never)]
pub(crate) fn named_buffers(module: &dyn Module) -> Vec<(String, Tensor)> {
    let mut seen = Vec::new();
    parts(module, &mut |name, part| {
        if let PartRef::Buffer(b) = part {
            seen.push((name.to_owned(), b.tensor().clone()));
        }
    });
    first_of_each(seen)
}

/// See [`Module::get_parameter`] and [`Module::get_buffer`].
#[inline(never)]
pub(crate) fn find(module: &dyn Module, wanted: &str, buffer: bool) -> Option<Tensor> {
    let mut found = None;
    parts(module, &mut |name, part| match part {
        PartRef::Parameter(p) if !buffer && name == wanted => found = Some(p.tensor().clone()),
        PartRef::Buffer(b) if buffer && name == wanted => found = Some(b.tensor().clone()),
        _ => {}
    });
    found
}

/// See [`Module::parameters`].
#[inline(never)]
pub(crate) fn parameters(module: &dyn Module) -> Vec<Tensor> {
    module.named_parameters().into_iter().map(|(_, t)| t).collect()
}

/// See [`Module::buffers`].
#[inline(never)]
pub(crate) fn buffers(module: &dyn Module) -> Vec<Tensor> {
    module.named_buffers().into_iter().map(|(_, t)| t).collect()
}

/// See [`Module::get_submodule`].
#[inline(never)]
pub(crate) fn submodule<'a>(module: &'a dyn Module, wanted: &str) -> Option<&'a dyn Module> {
    modules(module).into_iter().find(|(name, _)| name == wanted).map(|(_, inside)| inside)
}

/// See [`Module::num_parameters`].
#[inline(never)]
pub(crate) fn num_parameters(module: &dyn Module) -> usize {
    module.parameters().iter().map(Tensor::numel).sum()
}

/// See [`Module::requires_grad_`].
#[inline(never)]
#[track_caller]
pub(crate) fn requires_grad_(module: &dyn Module, requires_grad: bool) -> Result<()> {
    module.parameters().into_iter().try_for_each(|p| p.requires_grad_(requires_grad).map(|_| ())).here()
}

/// See [`Module::zero_grad`].
#[inline(never)]
pub(crate) fn zero_grad(module: &dyn Module) {
    module.parameters().iter().for_each(Tensor::zero_grad);
}

/// See [`Module::set_training`].
#[inline(never)]
pub(crate) fn set_training(module: &dyn Module, training: bool) {
    parts(module, &mut |_, part| {
        if let PartRef::Training(flag) = part {
            flag.set(training);
        }
    });
}

/// See [`Module::is_training`].
#[inline(never)]
pub(crate) fn is_training(module: &dyn Module) -> bool {
    let mut found = None;
    parts(module, &mut |_, part| {
        if let (PartRef::Training(flag), None) = (part, found) {
            found = Some(flag.get());
        }
    });
    found.unwrap_or(true)
}

/// See [`Module::to_dtype`].
#[inline(never)]
#[track_caller]
pub(crate) fn to_dtype(module: &dyn Module, dtype: DType) -> Result<()> {
    if !dtype.is_float() {
        return Err(kiln_autograd::Error::dtype(
            "to_dtype",
            format!("a module only accepts floating point dtypes, but got desired dtype={dtype}"),
        ));
    }
    convert(module, &|t| {
        if t.dtype().is_float() { t.to_dtype(dtype) } else { Ok(t.clone()) }
    })
}

/// Each tensor once, under its first name.
fn first_of_each(named: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    let mut seen = HashSet::new();
    named.into_iter().filter(|(_, t)| seen.insert(t.id())).collect()
}

/// See [`Module::to_device`].
#[inline(never)]
#[track_caller]
pub(crate) fn to_device(module: &dyn Module, device: Device) -> Result<()> {
    convert(module, &|t| t.to_device(device))
}

/// Replaces the content of every parameter, its gradient, and every buffer.
#[track_caller]
pub(crate) fn convert(module: &dyn Module, to: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    let mut tensors = module.named_parameters();
    tensors.extend(module.named_buffers());
    for (_, tensor) in tensors {
        let grad = tensor.grad();
        let moved = to(&tensor.detach()).here()?;
        let grad = grad.map(|g| to(&g.detach())).transpose().here()?;
        tensor.set_data(&moved)?;
        if grad.is_some() {
            tensor.set_grad(grad)?;
        }
    }
    Ok(())
}
