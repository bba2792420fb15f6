//! Walking through a module's parts: a module's own first, parameters before buffers, then the modules inside.

use std::collections::HashSet;

use kiln_autograd::{Result, Tensor};

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

fn join(prefix: &str, name: &str) -> String {
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
pub(crate) fn apply(module: &dyn Module, f: &mut dyn FnMut(&dyn Module) -> Result<()>) -> Result<()> {
    for (_, inside) in children(module) {
        apply(inside, f)?;
    }
    f(module.inner().unwrap_or(module))
}

/// Each tensor once, under its first name.
pub(crate) fn first_of_each(named: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    let mut seen = HashSet::new();
    named.into_iter().filter(|(_, t)| seen.insert(t.id())).collect()
}

/// Replaces the content of every parameter, its gradient, and every buffer.
pub(crate) fn convert(module: &dyn Module, to: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    let mut tensors = module.named_parameters();
    tensors.extend(module.named_buffers());
    for (_, tensor) in tensors {
        let grad = tensor.grad();
        let moved = to(&tensor.detach())?;
        let grad = grad.map(|g| to(&g.detach())).transpose()?;
        tensor.set_data(&moved)?;
        if grad.is_some() {
            tensor.set_grad(grad)?;
        }
    }
    Ok(())
}
