//! Sums, means or maxima of rows of a table, bag by bag.

use kiln_ops::DType;

use crate::{Error, Here, Result, Tensor};

/// What becomes of the rows of a bag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BagMode {
    /// Their sum, weighted if there are weights.
    Sum,
    /// Their mean.
    #[default]
    Mean,
    /// The largest of each column.
    Max,
}

/// The options of [`Tensor::embedding_bag`]; the default is PyTorch's.
#[derive(Clone, Copy, Default)]
pub struct EmbeddingBagOptions<'a> {
    /// Where each bag starts, for indices that are a vector.
    pub offsets: Option<&'a Tensor>,
    /// What becomes of the rows.
    pub mode: BagMode,
    /// A factor for each row of a sum, in the indices' shape.
    pub per_sample_weights: Option<&'a Tensor>,
    /// The last offset is the end of the last bag.
    pub include_last_offset: bool,
    /// Indices of this row (negative: from the end) count for nothing.
    pub padding_idx: Option<i64>,
    /// Divides the gradient of a row by how often its index occurs.
    pub scale_grad_by_freq: bool,
}

const OP: &str = "embedding_bag";

impl Tensor {
    /// The sum, mean or maximum of the rows of this table that each bag of indices names
    /// (`torch.nn.functional.embedding_bag`). Bags are the rows of a matrix of indices, or runs of a vector that start at
    /// `offsets`; an empty bag gives zeros.
    ///
    /// Shapes: a table `[rows, width]` and `[bags, n]` give `[bags, width]`, as do `[n]` and offsets `[bags]`.
    ///
    /// ```
    /// use kiln_autograd::{BagMode, EmbeddingBagOptions, Tensor};
    /// let table = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [3, 1])?;
    /// let bags = Tensor::from_vec(vec![0i64, 2, 1, 1], [2, 2])?;
    /// let options = EmbeddingBagOptions { mode: BagMode::Sum, ..EmbeddingBagOptions::default() };
    /// assert_eq!(table.embedding_bag(&bags, &options)?.to_vec::<f32>()?, [4.0, 4.0]);
    /// # Ok::<(), kiln_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::embedding`]; offsets that are missing, superfluous, not growing or out of range; weights of another
    /// shape or dtype, or for other than a sum.
    #[track_caller]
    pub fn embedding_bag(&self, indices: &Tensor, options: &EmbeddingBagOptions<'_>) -> Result<Tensor> {
        let (starts, ends) = bags(indices, options)?;
        let count = indices.numel();
        let rows = if self.rank() == 2 { self.shape()[0] as i64 } else { 0 };
        let padding = match options.padding_idx {
            Some(p) if p < -rows || p >= rows => {
                return Err(Error::index(
                    OP,
                    format!("padding_idx must be within the number of embeddings, got {p} for {rows} rows"),
                ));
            }
            p => p.map(|p| p.rem_euclid(rows)),
        };
        if options.scale_grad_by_freq && options.mode == BagMode::Max {
            return Err(Error::value(OP, "max mode does not support scaling the gradient by the frequency"));
        }
        if let Some(w) = options.per_sample_weights {
            if options.mode != BagMode::Sum {
                return Err(Error::value(
                    OP,
                    format!("per_sample_weights is only supported for mode='sum', got {:?}", options.mode),
                ));
            }
            if w.shape() != indices.shape() || w.dtype() != self.dtype() {
                return Err(Error::shape(
                    OP,
                    format!(
                        "per_sample_weights must have the indices' shape {:?} and the table's dtype {}, got {:?} and {}",
                        indices.shape(),
                        self.dtype(),
                        w.shape(),
                        w.dtype()
                    ),
                ));
            }
        }
        let flat = indices.reshape([count as i64])?;
        let mut bag_of = vec![-1i64; count];
        for (bag, (&start, &end)) in starts.iter().zip(&ends).enumerate() {
            bag_of[start..end].fill(bag as i64);
        }
        // Padding and what lies past the last bag is left out from the start.
        let mut kept: Vec<i64> = (0..count as i64).filter(|&i| bag_of[i as usize] >= 0).collect();
        if let Some(p) = padding {
            let values = flat.to_dtype(DType::I64)?.to_vec::<i64>()?;
            kept.retain(|&i| values[i as usize] != p);
        }
        let bag_of: Vec<i64> = kept.iter().map(|&i| bag_of[i as usize]).collect();
        let places = (kept.len() < count)
            .then(|| Tensor::from_vec(kept, [bag_of.len()])?.to_device(indices.device()))
            .transpose()
            .here()?;
        // Checks all indices, those of the padding too.
        if places.is_some() {
            crate::no_grad(|| self.embedding(indices, None, false)).here()?;
        }
        let select = |t: &Tensor| places.as_ref().map_or_else(|| Ok(t.clone()), |p| t.index_select(0, p));
        let half = matches!(self.dtype(), DType::F16 | DType::BF16);
        let mut picked = self.embedding(&select(&flat).here()?, None, options.scale_grad_by_freq)?;
        if half {
            picked = picked.to_dtype(DType::F32)?;
        }
        if let Some(w) = options.per_sample_weights {
            picked = picked.mul(&select(&w.reshape([count as i64])?).here()?.unsqueeze(-1)?)?;
        }
        let y = bagged(&picked, bag_of, starts.len(), options.mode)?;
        if half { y.to_dtype(self.dtype()) } else { Ok(y) }
    }
}

/// The rows of each bag as one.
#[track_caller]
fn bagged(rows: &Tensor, bag_of: Vec<i64>, bags: usize, mode: BagMode) -> Result<Tensor> {
    let (n, width) = (bag_of.len(), rows.shape()[1]);
    let out = rows.new_zeros([bags, width]);
    let mut counts = vec![0f32; bags];
    bag_of.iter().for_each(|&b| counts[b as usize] += 1.0);
    let bag = Tensor::from_vec(bag_of, [n])?.to_device(rows.device())?;
    match mode {
        BagMode::Sum => out.index_add(0, &bag, rows),
        BagMode::Mean => {
            counts.iter_mut().for_each(|c| *c = c.max(1.0));
            let counts =
                Tensor::from_vec(counts, [bags, 1])?.to_dtype(rows.dtype())?.to_device(rows.device())?;
            out.index_add(0, &bag, rows)?.div(&counts)
        }
        BagMode::Max if n == 0 || width == 0 => Ok(out),
        BagMode::Max => {
            // The first row with the largest element gets the gradient.
            let first = crate::no_grad(|| {
                let bag = bag.unsqueeze(-1)?.expand([n as i64, width as i64])?;
                let lowest = out.full_like(f64::NEG_INFINITY)?;
                let largest = lowest.scatter_reduce(0, &bag, rows, crate::ScatterReduction::Amax, true)?;
                let here = rows.eq(&largest.gather(0, &bag)?)?.logical_or(&rows.isnan()?)?;
                let place = Tensor::arange(n as i64).to_device(rows.device())?.unsqueeze(-1)?;
                let place = place.where_self(&here, n as i64)?;
                let none = place.new_full([bags, width], n as i64);
                none.scatter_reduce(0, &bag, &place, crate::ScatterReduction::Amin, true)
            })
            .here()?;
            let empty = first.eq(n as i64)?;
            rows.gather(0, &first.clamp_max(n as i64 - 1)?)?.masked_fill(&empty, 0.0)
        }
    }
}

/// Where each bag starts and ends among the flattened indices.
#[track_caller]
fn bags(indices: &Tensor, options: &EmbeddingBagOptions<'_>) -> Result<(Vec<usize>, Vec<usize>)> {
    let count = indices.numel();
    match (indices.rank(), options.offsets) {
        (2, None) => {
            let width = indices.shape()[1];
            Ok((0..indices.shape()[0]).map(|b| (b * width, (b + 1) * width)).unzip())
        }
        (2, Some(_)) => Err(Error::value(
            OP,
            "if input is 2D, then offsets has to be None, as input is treated as bags of one length each; remove the \
             offsets",
        )),
        (1, None) => Err(Error::value(OP, "offsets has to be a 1D Tensor but got none: input is 1D")),
        (1, Some(offsets)) => {
            if offsets.rank() != 1 || !matches!(offsets.dtype(), DType::I32 | DType::I64) {
                return Err(Error::shape(
                    OP,
                    format!(
                        "offsets has to be a 1D Tensor of int32 or int64, got shape {:?} and {}",
                        offsets.shape(),
                        offsets.dtype()
                    ),
                ));
            }
            let mut starts = offsets.to_dtype(DType::I64)?.to_vec::<i64>()?;
            if let Some(&first) = starts.first().filter(|&&f| f != 0) {
                return Err(Error::value(
                    OP,
                    format!(
                        "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position \
                         0. However, got {first}"
                    ),
                ));
            }
            if let Some(last) = starts.last().filter(|&&l| l > count as i64) {
                return Err(Error::value(
                    OP,
                    format!(
                        "offsets[-1] can not be greater than input's length({count}), but got offsets[-1] of {last}"
                    ),
                ));
            }
            if !starts.is_sorted() {
                return Err(Error::value(OP, "offsets must not decrease"));
            }
            if !options.include_last_offset {
                starts.push(count as i64);
            } else if starts.is_empty() {
                return Err(Error::value(OP, "include_last_offset: numBags should be at least 1"));
            }
            let edges: Vec<usize> = starts.into_iter().map(|s| s as usize).collect();
            Ok((edges[..edges.len() - 1].to_vec(), edges[1..].to_vec()))
        }
        (rank, _) => Err(Error::shape(
            OP,
            format!("input has to be 1D or 2D Tensor, but got Tensor of dimension {rank}"),
        )),
    }
}
