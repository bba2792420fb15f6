//! What the derive can tell from the written type of a field.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Ident, Type};

/// Whether the type is `PhantomData<..>`, which holds nothing.
pub(crate) fn is_phantom(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|s| s.ident == "PhantomData"),
        _ => false,
    }
}

/// Whether the type is made with one of the struct's type parameters.
pub(crate) fn mentions(ty: &Type, parameters: &[Ident]) -> bool {
    !parameters.is_empty() && mentioned(ty.to_token_stream(), parameters)
}

fn mentioned(tokens: TokenStream, parameters: &[Ident]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => parameters.contains(&ident),
        TokenTree::Group(group) => mentioned(group.stream(), parameters),
        _ => false,
    })
}
