//! The options of `#[module(..)]`.

use syn::{Attribute, Ident, Path, Result};

/// Options of the struct.
#[derive(Default)]
pub(crate) struct StructOptions {
    /// Where `kiln_nn` is found.
    pub(crate) home: Option<Path>,
    /// The method that gives the text between the parentheses.
    pub(crate) extra_repr: Option<Ident>,
    /// The user implements `Display`.
    pub(crate) no_display: bool,
}

impl StructOptions {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<StructOptions> {
        let mut options = StructOptions::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("module")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("crate") {
                    options.home = Some(Path::parse_mod_style(meta.value()?)?);
                } else if meta.path.is_ident("extra_repr") {
                    options.extra_repr = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("no_display") {
                    options.no_display = true;
                } else {
                    return Err(meta.error(
                        "unknown option; a struct takes `no_display`, `extra_repr = method` and `crate = path`",
                    ));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

/// Options of a field.
#[derive(Default)]
pub(crate) struct FieldOptions {
    /// The field is no part of the module.
    pub(crate) skip: bool,
}

impl FieldOptions {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<FieldOptions> {
        let mut options = FieldOptions::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("module")) {
            attribute.parse_nested_meta(|meta| {
                if !meta.path.is_ident("skip") {
                    return Err(meta.error("unknown option; a field takes `skip`"));
                }
                options.skip = true;
                Ok(())
            })?;
        }
        Ok(options)
    }
}
