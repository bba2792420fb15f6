//! How samples become a batch.

use kiln_autograd::{Result, Tensor, kiln_ops};

/// A sample that can be collected into a batch (PyTorch's default collation): tensors are stacked, numbers become a
/// tensor, tuples are collected part by part, everything else becomes a vector through [`Vec`]'s own rules.
pub trait Collate: Sized + Send + 'static {
    /// What a batch of such samples is.
    type Batch: Send + 'static;

    /// Collects samples in order.
    ///
    /// # Errors
    /// The samples do not go together: tensors of different shapes, for example.
    fn collate(items: Vec<Self>) -> Result<Self::Batch>;
}

impl Collate for Tensor {
    type Batch = Tensor;

    fn collate(items: Vec<Tensor>) -> Result<Tensor> {
        let raws: Vec<_> = items.iter().map(|t| t.raw()).collect();
        let raws: Vec<_> = raws.iter().map(|r| &**r).collect();
        Ok(Tensor::from_raw(kiln_ops::stack(&raws, 0)?))
    }
}

macro_rules! collate_numbers {
    ($($t:ty => $as:ty),*) => {$(
        impl Collate for $t {
            type Batch = Tensor;

            fn collate(items: Vec<$t>) -> Result<Tensor> {
                let n = items.len();
                Tensor::from_vec(items.into_iter().map(|v| v as $as).collect::<Vec<$as>>(), [n])
            }
        }
    )*};
}
collate_numbers!(f32 => f32, f64 => f64, i64 => i64, i32 => i64, u8 => i64, usize => i64, bool => bool);

impl Collate for String {
    type Batch = Vec<String>;

    fn collate(items: Vec<String>) -> Result<Vec<String>> {
        Ok(items)
    }
}

macro_rules! collate_tuples {
    ($(($($name:ident $vec:ident),*);)*) => {$(
        impl<$($name: Collate),*> Collate for ($($name,)*) {
            type Batch = ($($name::Batch,)*);

            #[allow(non_snake_case)]
            fn collate(items: Vec<Self>) -> Result<Self::Batch> {
                let n = items.len();
                $(let mut $vec = Vec::with_capacity(n);)*
                for ($($name,)*) in items {
                    $($vec.push($name);)*
                }
                Ok(($($name::collate($vec)?,)*))
            }
        }
    )*};
}
collate_tuples! { (A a, B b); (A a, B b, C c); (A a, B b, C c, D d); }
