//! Data sets: lists of samples.

use std::sync::Arc;

use kiln_autograd::kiln_ops::random::Generator;
use kiln_autograd::kiln_ops::random::sampling;
use kiln_autograd::{Error, Here, Result, Tensor};

use crate::Collate;
use crate::sampler::random_error;

/// A list of samples that can be reached by number (PyTorch's map-style `Dataset`).
///
/// ```
/// use kiln_data::{DataLoader, Dataset, Result};
/// struct Squares;
/// impl Dataset for Squares {
///     type Item = (f32, f32);
///     fn len(&self) -> usize {
///         10
///     }
///     fn get(&self, index: usize) -> Result<(f32, f32)> {
///         Ok((index as f32, (index * index) as f32))
///     }
/// }
/// for batch in &DataLoader::new(Squares, 4) {
///     let (x, y) = batch?;
///     assert_eq!(x.mul(&x)?.to_vec::<f32>()?, y.to_vec::<f32>()?);
/// }
/// # Ok::<(), kiln_data::Error>(())
/// ```
pub trait Dataset: Send + Sync + 'static {
    /// One sample.
    type Item: Collate;

    /// The number of samples.
    fn len(&self) -> usize;

    /// Sample `index`, below [`Dataset::len`].
    ///
    /// # Errors
    /// The sample cannot be made: a file is missing, the index is out of range.
    fn get(&self, index: usize) -> Result<Self::Item>;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Several samples as a batch. Data sets in memory override this to pick all rows at once.
    ///
    /// # Errors
    /// As [`Dataset::get`]; samples that do not go together.
    fn get_batch(&self, indices: &[usize]) -> Result<<Self::Item as Collate>::Batch> {
        Self::Item::collate(indices.iter().map(|&i| self.get(i)).collect::<Result<Vec<_>>>()?)
    }

    /// This data set with `f` applied to each sample.
    fn map<T: Collate, F>(self, f: F) -> MapDataset<Self, F>
    where
        Self: Sized,
        F: Fn(Self::Item) -> Result<T> + Send + Sync + 'static,
    {
        MapDataset { dataset: self, f }
    }
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn get(&self, index: usize) -> Result<D::Item> {
        (**self).get(index)
    }

    fn get_batch(&self, indices: &[usize]) -> Result<<D::Item as Collate>::Batch> {
        (**self).get_batch(indices)
    }
}

fn out_of_range(index: usize, len: usize) -> Error {
    Error::index("dataset", format!("index {index} is out of range for a data set of {len} samples"))
}

/// A data set with a function applied to each sample; made by [`Dataset::map`].
pub struct MapDataset<D, F> {
    dataset: D,
    f: F,
}

impl<D, F, T> Dataset for MapDataset<D, F>
where
    D: Dataset,
    T: Collate,
    F: Fn(D::Item) -> Result<T> + Send + Sync + 'static,
{
    type Item = T;

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, index: usize) -> Result<T> {
        (self.f)(self.dataset.get(index)?)
    }
}

/// Tensors whose first axis counts samples: one tensor or a tuple of some.
pub trait TensorRows: Collate<Batch = Self> + Clone + Sync {
    /// The sizes of the first axes.
    fn row_counts(&self) -> Result<Vec<usize>>;
    /// Row `index` of each tensor.
    fn row(&self, index: usize) -> Result<Self>;
    /// Rows in the order of a vector of positions.
    fn rows(&self, positions: &Tensor) -> Result<Self>;
}

impl TensorRows for Tensor {
    fn row_counts(&self) -> Result<Vec<usize>> {
        Ok(vec![self.size(0)?])
    }

    fn row(&self, index: usize) -> Result<Tensor> {
        self.select(0, index as i64)
    }

    fn rows(&self, positions: &Tensor) -> Result<Tensor> {
        self.index_select(0, positions)
    }
}

macro_rules! tensor_rows {
    ($(($($name:ident $t:ty),*);)*) => {$(
        impl TensorRows for ($($t,)*) {
            fn row_counts(&self) -> Result<Vec<usize>> {
                let ($($name,)*) = self;
                Ok(vec![$($name.size(0)?),*])
            }

            fn row(&self, index: usize) -> Result<Self> {
                let ($($name,)*) = self;
                Ok(($($name.row(index)?,)*))
            }

            fn rows(&self, positions: &Tensor) -> Result<Self> {
                let ($($name,)*) = self;
                Ok(($($name.rows(positions)?,)*))
            }
        }
    )*};
}
tensor_rows! {
    (a Tensor, b Tensor);
    (a Tensor, b Tensor, c Tensor);
    (a Tensor, b Tensor, c Tensor, d Tensor);
}

/// Samples that are rows of tensors (PyTorch's `TensorDataset`): `TensorDataset::new((x, y))?`.
pub struct TensorDataset<T> {
    tensors: T,
    len: usize,
}

impl<T: TensorRows> TensorDataset<T> {
    /// The data set whose sample `i` is row `i` of every tensor.
    ///
    /// # Errors
    /// The tensors have different numbers of rows, or no axis.
    #[track_caller]
    pub fn new(tensors: T) -> Result<TensorDataset<T>> {
        let counts = tensors.row_counts().here()?;
        if counts.iter().any(|&n| n != counts[0]) {
            return Err(Error::shape(
                "TensorDataset",
                format!("size mismatch between tensors: first axes of {counts:?}"),
            ));
        }
        Ok(TensorDataset { tensors, len: counts[0] })
    }

    /// The tensors.
    pub fn tensors(&self) -> &T {
        &self.tensors
    }
}

impl<T: TensorRows> Dataset for TensorDataset<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<T> {
        if index >= self.len {
            return Err(out_of_range(index, self.len));
        }
        self.tensors.row(index)
    }

    fn get_batch(&self, indices: &[usize]) -> Result<T> {
        self.tensors.rows(&positions(indices)?)
    }
}

/// Sample numbers as a tensor.
pub(crate) fn positions(indices: &[usize]) -> Result<Tensor> {
    Tensor::from_vec(indices.iter().map(|&i| i as i64).collect::<Vec<_>>(), [indices.len()])
}

/// Some samples of a data set, in a given order.
pub struct Subset<D> {
    dataset: Arc<D>,
    indices: Vec<usize>,
}

impl<D: Dataset> Subset<D> {
    /// The samples of `dataset` with the given numbers.
    ///
    /// # Errors
    /// A number is out of range.
    #[track_caller]
    pub fn new(dataset: Arc<D>, indices: Vec<usize>) -> Result<Subset<D>> {
        if let Some(&bad) = indices.iter().find(|&&i| i >= dataset.len()) {
            return Err(out_of_range(bad, dataset.len()));
        }
        Ok(Subset { dataset, indices })
    }

    /// The numbers of the samples in the whole data set.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn get(&self, index: usize) -> Result<D::Item> {
        let at = self.indices.get(index).ok_or_else(|| out_of_range(index, self.indices.len()))?;
        self.dataset.get(*at)
    }

    fn get_batch(&self, indices: &[usize]) -> Result<<D::Item as Collate>::Batch> {
        let at: Option<Vec<usize>> = indices.iter().map(|&i| self.indices.get(i).copied()).collect();
        self.dataset.get_batch(&at.ok_or_else(|| out_of_range(usize::MAX, self.indices.len()))?)
    }
}

/// Data sets one after the other.
pub struct ConcatDataset<D> {
    datasets: Vec<D>,
    /// The number of samples up to and including each.
    ends: Vec<usize>,
}

impl<D: Dataset> ConcatDataset<D> {
    /// The samples of all `datasets`, in order.
    ///
    /// # Errors
    /// The list is empty.
    #[track_caller]
    pub fn new(datasets: Vec<D>) -> Result<ConcatDataset<D>> {
        if datasets.is_empty() {
            return Err(Error::value("ConcatDataset", "datasets should not be an empty iterable"));
        }
        let ends = datasets
            .iter()
            .scan(0, |end, d| {
                *end += d.len();
                Some(*end)
            })
            .collect();
        Ok(ConcatDataset { datasets, ends })
    }
}

impl<D: Dataset> Dataset for ConcatDataset<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn get(&self, index: usize) -> Result<D::Item> {
        let which = self.ends.partition_point(|&end| end <= index);
        let dataset = self.datasets.get(which).ok_or_else(|| out_of_range(index, self.len()))?;
        let start = if which == 0 { 0 } else { self.ends[which - 1] };
        dataset.get(index - start)
    }
}

/// Cuts a data set at random into parts of the given lengths (`torch.utils.data.random_split`), with `generator` or the
/// default random stream.
///
/// # Errors
/// The lengths do not sum to the number of samples.
#[track_caller]
pub fn random_split<D: Dataset>(
    dataset: D,
    lengths: &[usize],
    generator: Option<&mut Generator>,
) -> Result<Vec<Subset<D>>> {
    let n = dataset.len();
    let (order, cuts) = match generator {
        Some(g) => sampling::random_split(g, n, lengths),
        None => sampling::random_split(&mut kiln_autograd::kiln_ops::random::default_generator(), n, lengths),
    }
    .map_err(|e| random_error("random_split", e))
    .here()?;
    let dataset = Arc::new(dataset);
    cuts.into_iter()
        .map(|part| Subset::new(dataset.clone(), order[part].iter().map(|&i| i as usize).collect()))
        .collect::<Result<_>>()
        .here()
}

/// [`random_split`] by fractions that sum to 1.
///
/// # Errors
/// The fractions do not sum to 1.
#[track_caller]
pub fn random_split_fractions<D: Dataset>(
    dataset: D,
    fractions: &[f64],
    generator: Option<&mut Generator>,
) -> Result<Vec<Subset<D>>> {
    let lengths = sampling::split_lengths(dataset.len(), fractions)
        .map_err(|e| random_error("random_split", e))
        .here()?;
    random_split(dataset, &lengths, generator).here()
}
