//! Modules print as PyTorch prints them.

use std::fmt;

use crate::module::Module;
use crate::walk;

/// Writes a module as PyTorch prints it: the body of `Display` for modules.
///
/// # Errors
/// The formatter fails.
pub fn fmt_module(module: &dyn Module, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&text(module))
}

fn text(module: &dyn Module) -> String {
    let module = module.inner().unwrap_or(module);
    let extra = module.extra_repr();
    let children: Vec<(String, String)> =
        walk::children(module).into_iter().map(|(name, child)| (name, indented(&text(child)))).collect();
    let name = module.type_name();
    if children.is_empty() {
        return if extra.contains('\n') {
            format!("{name}(\n  {}\n)", indented(&extra))
        } else {
            format!("{name}({extra})")
        };
    }
    let mut lines: Vec<String> = extra.lines().map(str::to_owned).collect();
    if name == "ModuleList" {
        lines.extend(runs(&children));
    } else {
        lines.extend(children.iter().map(|(name, child)| format!("({name}): {child}")));
    }
    format!("{name}(\n  {}\n)", lines.join("\n  "))
}

/// Everything but the first line moved right.
fn indented(text: &str) -> String {
    text.replace('\n', "\n  ")
}

/// Lists are long: neighbours that print alike share a line.
fn runs(children: &[(String, String)]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut at = 0;
    while at < children.len() {
        let same = children[at..].iter().take_while(|(_, child)| *child == children[at].1).count();
        let (first, child) = &children[at];
        let last = &children[at + same - 1].0;
        lines.push(if same == 1 {
            format!("({first}): {child}")
        } else {
            format!("({first}-{last}): {same} x {child}")
        });
        at += same;
    }
    lines
}

/// A truth value as Python writes it.
pub(crate) fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// `Display` and `Debug` of layers.
///
/// `<N> ConvNd` is a type of any number of axes.
macro_rules! print_as_module {
    ($(<$n:ident> $layer:ident),+ $(,)?) => {$(
        impl<const $n: usize> std::fmt::Display for $layer<$n> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::print::fmt_module(self, f)
            }
        }

        impl<const $n: usize> std::fmt::Debug for $layer<$n> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::print::fmt_module(self, f)
            }
        }
    )+};
    ($($layer:ty),* $(,)?) => {$(
        impl std::fmt::Display for $layer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::print::fmt_module(self, f)
            }
        }

        impl std::fmt::Debug for $layer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::print::fmt_module(self, f)
            }
        }
    )*};
}
pub(crate) use print_as_module;

/// A number as Python writes a float.
pub(crate) fn python_float(value: f64) -> String {
    let plain = format!("{value:?}");
    // Python's exponents have a sign and two digits.
    match plain.split_once("e-") {
        Some((digits, exponent)) => format!("{}e-{exponent:0>2}", digits.trim_end_matches(".0")),
        None => plain,
    }
}
