//! `#[derive(Module)]`: a plain struct of layers, parameters and settings becomes a module.
//!
//! The derive lists the fields in their order. Which of them are layers, parameters or buffers and which are plain
//! values is found out from their types by the compiler, so that fields need no annotation: see `kiln_nn::Module`.
//!
//! Options, all rarely needed: `#[module(skip)]` on a field leaves it out; on the struct, `#[module(no_display)]` leaves
//! `Display` to you, `#[module(extra_repr = method)]` names a method `fn(&self) -> String` whose text is printed between
//! the parentheses, and `#[module(crate = path)]` says where `kiln_nn` is found.

mod field;
mod options;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Path, parse_macro_input, parse_quote};

use options::{FieldOptions, StructOptions};

/// Implements `kiln_nn::Module` and `Display` for a struct with named fields.
#[proc_macro_derive(Module, attributes(module))]
pub fn derive_module(input: TokenStream) -> TokenStream {
    derive(input, parse_quote!(::kiln_nn))
}

/// [`macro@Module`] for users of the umbrella crate, which finds the layers in `kiln::nn`.
#[proc_macro_derive(KilnModule, attributes(module))]
pub fn derive_kiln_module(input: TokenStream) -> TokenStream {
    derive(input, parse_quote!(::kiln::nn))
}

fn derive(input: TokenStream, home: Path) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input, home).unwrap_or_else(|e| e.to_compile_error()).into()
}

fn expand(input: &DeriveInput, home: Path) -> syn::Result<Tokens> {
    let name = &input.ident;
    let options = StructOptions::parse(&input.attrs)?;
    let home = options.home.unwrap_or(home);
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            name,
            "Module can be derived for structs only; for an enum, implement `parts` by matching on the variants",
        ));
    };
    let fields = match &data.fields {
        Fields::Named(fields) => Some(&fields.named),
        Fields::Unit => None,
        Fields::Unnamed(_) => {
            return Err(Error::new_spanned(
                name,
                "Module needs named fields, which become the names in the state dict",
            ));
        }
    };
    let mut generics = input.generics.clone();
    if let Some(lifetime) = generics.lifetimes().next() {
        return Err(Error::new_spanned(
            lifetime,
            "a module owns its parts, so its type cannot have lifetimes; keep tensors and layers by value",
        ));
    }
    let parameters: Vec<_> = generics.type_params().map(|p| p.ident.clone()).collect();
    let mut listed = Vec::new();
    for field in fields.into_iter().flatten() {
        let ident = field.ident.as_ref().expect("named fields have names");
        if FieldOptions::parse(&field.attrs)?.skip || field::is_phantom(&field.ty) {
            continue;
        }
        let text = ident.to_string();
        let text = text.strip_prefix("r#").unwrap_or(&text);
        let ty = &field.ty;
        if field::mentions(ty, &parameters) {
            // What a type parameter is cannot be found out here: it has to be said, and the compiler then checks it.
            generics.make_where_clause().predicates.push(parse_quote!(#ty: #home::Part));
            listed.push(quote!(parts.add(#text, &self.#ident);));
        } else {
            listed.push(quote!((&#home::__derive::Probe(&self.#ident)).list_field(#text, parts);));
        }
    }
    for parameter in &parameters {
        generics
            .make_where_clause()
            .predicates
            .push(parse_quote!(#parameter: ::core::marker::Send + ::core::marker::Sync + 'static));
    }
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let type_name = name.to_string();
    let extra_repr = options.extra_repr.map(|method| {
        quote! {
            fn extra_repr(&self) -> ::std::string::String {
                Self::#method(self)
            }
        }
    });
    let display = (!options.no_display).then(|| {
        quote! {
            impl #impl_generics ::core::fmt::Display for #name #ty_generics #where_clause {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    #home::fmt_module(self, f)
                }
            }
        }
    });
    Ok(quote! {
        impl #impl_generics #home::Module for #name #ty_generics #where_clause {
            fn parts<'parts>(&'parts self, parts: &mut #home::Parts<'parts>) {
                #[allow(unused_imports)]
                use #home::__derive::{ListPart as _, ListNothing as _};
                let _ = &parts;
                #(#listed)*
            }
            fn type_name(&self) -> &str {
                #type_name
            }
            #extra_repr
        }
        #display
    })
}
