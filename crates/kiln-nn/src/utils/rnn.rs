//! Sequences of several lengths in one batch: padded, or packed for the recurrent layers (`torch.nn.utils.rnn`).
//!
//! ```
//! use kiln_nn::{GRU, Tensor, utils::rnn::*};
//! let sequences = [3, 1, 2].map(|n| Tensor::ones([n, 4]));
//! let packed = pack_sequence(&sequences, false)?;
//! assert_eq!(packed.batch_sizes().to_vec::<i64>()?, [3, 2, 1]);
//! let (y, h) = GRU::new(4, 5).forward_packed(&packed, None)?;
//! let (padded, lengths) = pad_packed_sequence(&y, true, 0.0, None)?;
//! assert_eq!((padded.dims(), lengths.to_vec::<i64>()?, h.dims()), (vec![3, 3, 5], vec![3, 1, 2], vec![1, 3, 5]));
//! # Ok::<(), kiln_nn::Error>(())
//! ```

use kiln_autograd::{Error, Here, Result, Tensor};

/// Sequences of several lengths, step after step and without padding (`torch.nn.utils.rnn.PackedSequence`): the data of
/// the first step of all sequences, then of the second step of those that have one, and so on, longest sequence first.
#[derive(Clone)]
pub struct PackedSequence {
    data: Tensor,
    batch_sizes: Tensor,
    sizes: Vec<usize>,
    sorted_indices: Option<Tensor>,
    unsorted_indices: Option<Tensor>,
}

impl PackedSequence {
    /// Packed sequences from their parts: data `[rows, ..]`, int64 batch sizes and, if they were sorted for packing, which
    /// sequence stands at each place.
    ///
    /// # Errors
    /// Batch sizes that grow, are not positive, or whose sum is not the number of rows; an order that is not one.
    #[track_caller]
    pub fn new(data: Tensor, batch_sizes: &Tensor, sorted_indices: Option<Tensor>) -> Result<PackedSequence> {
        let bad = |what: String| Err(Error::shape("PackedSequence", what));
        if batch_sizes.rank() != 1 || data.rank() == 0 {
            return bad(format!(
                "expects rows and a vector of batch sizes, got shapes {:?} and {:?}",
                data.shape(),
                batch_sizes.shape()
            ))
            .here();
        }
        let given = batch_sizes.to_vec::<i64>()?;
        let mut sizes = Vec::with_capacity(given.len());
        for &n in &given {
            match usize::try_from(n) {
                Ok(n) if n > 0 && sizes.last().is_none_or(|&last| n <= last) => sizes.push(n),
                _ => return bad(format!("batch sizes are positive and never grow, got {given:?}")).here(),
            }
        }
        let rows = sizes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n));
        if sizes.is_empty() || rows != Some(data.shape()[0]) {
            return bad(format!("batch sizes {given:?} do not add up to {} rows", data.shape()[0])).here();
        }
        let unsorted_indices = match &sorted_indices {
            None => None,
            Some(order) => {
                let order = order.to_vec::<i64>()?;
                let inverse = inverted(&order).filter(|i| i.len() == sizes[0]);
                let Some(inverse) = inverse else {
                    return bad(format!("{order:?} is no order of {} sequences", sizes[0])).here();
                };
                Some(Tensor::from_vec(inverse, [sizes[0]])?.to_device(data.device())?)
            }
        };
        let batch_sizes = batch_sizes.detach();
        Ok(PackedSequence { data, batch_sizes, sizes, sorted_indices, unsorted_indices })
    }

    /// The rows.
    pub fn data(&self) -> &Tensor {
        &self.data
    }

    /// How many sequences have each step: int64 `[steps]`.
    pub fn batch_sizes(&self) -> &Tensor {
        &self.batch_sizes
    }

    /// Which sequence of the batch stands at each place, if they were sorted for packing.
    pub fn sorted_indices(&self) -> Option<&Tensor> {
        self.sorted_indices.as_ref()
    }

    /// At which place each sequence of the batch stands.
    pub fn unsorted_indices(&self) -> Option<&Tensor> {
        self.unsorted_indices.as_ref()
    }

    pub(crate) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The same sequences with other data, one row for each.
    pub(crate) fn with_data(&self, data: Tensor) -> PackedSequence {
        PackedSequence { data, ..self.clone() }
    }

    /// For each row its step and its place among the sequences.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        self.sizes.iter().enumerate().flat_map(|(step, &n)| (0..n).map(move |place| (step, place)))
    }
}

fn inverted(order: &[i64]) -> Option<Vec<i64>> {
    let mut inverse = vec![-1; order.len()];
    for (place, &sequence) in order.iter().enumerate() {
        let slot = usize::try_from(sequence).ok().and_then(|s| inverse.get_mut(s)).filter(|s| **s < 0)?;
        *slot = place as i64;
    }
    Some(inverse)
}

#[track_caller]
fn indices(of: impl Iterator<Item = usize>, like: &Tensor) -> Result<Tensor> {
    let of: Vec<i64> = of.map(|i| i as i64).collect();
    let n = of.len();
    Tensor::from_vec(of, [n])?.to_device(like.device())
}

/// Packs padded sequences of the given lengths (`torch.nn.utils.rnn.pack_padded_sequence`). `input` is `[steps, batch,
/// ..]`, or `[batch, steps, ..]` with `batch_first`. With `enforce_sorted` the lengths must not grow; without, the
/// sequences are sorted, and layers put their results back in order.
///
/// # Errors
/// Lengths that are not positive, longer than the input, more or fewer than sequences, or not sorted though enforced.
#[track_caller]
pub fn pack_padded_sequence(
    input: &Tensor,
    lengths: &[usize],
    batch_first: bool,
    enforce_sorted: bool,
) -> Result<PackedSequence> {
    const OP: &str = "pack_padded_sequence";
    let bad = |what: String| Err(Error::value(OP, what));
    if input.rank() < 2 {
        return bad(format!("expected an input of steps and sequences, got shape {:?}", input.shape()))
            .here();
    }
    let input = if batch_first { input.transpose(0, 1)? } else { input.clone() };
    let (steps, batch) = (input.shape()[0], input.shape()[1]);
    if lengths.len() != batch {
        return bad(format!(
            "Expected `len(lengths)` to be equal to batch_size, but got {} (batch_size={batch})",
            lengths.len()
        ))
        .here();
    }
    if lengths.is_empty() || lengths.contains(&0) {
        return bad(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
                .to_owned(),
        )
        .here();
    }
    if let Some(long) = lengths.iter().find(|&&n| n > steps) {
        return bad(format!("a length of {long} in an input of {steps} steps")).here();
    }
    let mut order: Vec<usize> = (0..batch).collect();
    if enforce_sorted && !lengths.is_sorted_by(|a, b| a >= b) {
        return bad(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass \
             `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement"
                .to_owned(),
        )
        .here();
    }
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    let longest = lengths[order[0]];
    let mut sizes = vec![0i64; longest];
    lengths.iter().for_each(|&n| sizes[..n].iter_mut().for_each(|s| *s += 1));
    let rows =
        sizes.iter().enumerate().flat_map(|(t, &n)| order[..n as usize].iter().map(move |i| t * batch + i));
    let data = input.flatten(0, 1)?.index_select(0, &indices(rows, &input)?)?;
    let sorted = if enforce_sorted { None } else { Some(indices(order.into_iter(), &input)?) };
    PackedSequence::new(data, &Tensor::from_vec(sizes, [longest])?, sorted)
}

/// The sequences of a packed batch with padding behind them, and their lengths, int64 `[batch]`
/// (`torch.nn.utils.rnn.pad_packed_sequence`): `[steps, batch, ..]`, or `[batch, steps, ..]` with `batch_first`; at least
/// `total_length` steps.
///
/// # Errors
/// A `total_length` below the longest sequence's.
#[track_caller]
pub fn pad_packed_sequence(
    sequence: &PackedSequence,
    batch_first: bool,
    padding_value: f64,
    total_length: Option<usize>,
) -> Result<(Tensor, Tensor)> {
    let (longest, batch) = (sequence.sizes.len(), sequence.sizes[0]);
    let steps = total_length.unwrap_or(longest);
    if steps < longest {
        return Err(Error::value(
            "pad_packed_sequence",
            format!(
                "Expected total_length to be at least the length of the longest sequence in input, but got \
                 total_length={steps} and max sequence length being {longest}"
            ),
        ));
    }
    let data = &sequence.data;
    let rows = indices(sequence.places().map(|(step, place)| step * batch + place), data)?;
    let mut padded = placed(data, &rows, [steps, batch], padding_value)?;
    let mut lengths = vec![0i64; batch];
    sequence.sizes.iter().for_each(|&n| lengths[..n].iter_mut().for_each(|l| *l += 1));
    let mut lengths = Tensor::from_vec(lengths, [batch])?;
    if let Some(order) = &sequence.unsorted_indices {
        padded = padded.index_select(1, order)?;
        lengths = lengths.index_select(0, &order.to_device(lengths.device())?)?;
    }
    Ok((if batch_first { padded.transpose(0, 1)? } else { padded }, lengths))
}

/// `[a, b, ..]` with row `i` of `data` at position `rows[i]` of the first two axes and `value` elsewhere.
#[track_caller]
fn placed(data: &Tensor, rows: &Tensor, [a, b]: [usize; 2], value: f64) -> Result<Tensor> {
    let mut shape = data.dims();
    let Some(many) = a.checked_mul(b) else {
        return Err(Error::value("pad", format!("{a} by {b} rows are too many")));
    };
    shape[0] = many;
    let flat = data.new_full(shape, value).index_copy(0, rows, data)?;
    flat.unflatten(0, &[a as i64, b as i64][..])
}

/// Sequences `[length, ..]` side by side with padding behind the shorter ones (`torch.nn.utils.rnn.pad_sequence`):
/// `[longest, batch, ..]`, or `[batch, longest, ..]` with `batch_first`.
///
/// ```
/// use kiln_nn::{Tensor, utils::rnn::pad_sequence};
/// let (a, b) = (Tensor::ones([2]), Tensor::ones([1]));
/// assert_eq!(pad_sequence(&[a, b], true, 0.0)?.to_vec::<f32>()?, [1.0, 1.0, 1.0, 0.0]);
/// # Ok::<(), kiln_nn::Error>(())
/// ```
///
/// # Errors
/// No sequences, or sequences that differ in other than their length.
#[track_caller]
pub fn pad_sequence(sequences: &[Tensor], batch_first: bool, padding_value: f64) -> Result<Tensor> {
    const OP: &str = "pad_sequence";
    let Some(first) = sequences.first() else {
        return Err(Error::value(OP, "received an empty list of sequences"));
    };
    if let Some(other) = sequences.iter().find(|s| s.rank() == 0 || s.dims()[1..] != first.dims()[1..]) {
        return Err(Error::shape(
            OP,
            format!(
                "sequences may only differ in their length, got {:?} and {:?}",
                first.shape(),
                other.shape()
            ),
        ));
    }
    let batch = sequences.len();
    let longest = sequences.iter().map(|s| s.shape()[0]).max().unwrap_or(0);
    let data = Tensor::cat(&sequences.iter().collect::<Vec<_>>(), 0)?;
    let steps = |i: usize| 0..sequences[i].shape()[0];
    if batch_first {
        let rows = (0..batch).flat_map(|i| steps(i).map(move |t| i * longest + t));
        placed(&data, &indices(rows, &data)?, [batch, longest], padding_value)
    } else {
        let rows = (0..batch).flat_map(|i| steps(i).map(move |t| t * batch + i));
        placed(&data, &indices(rows, &data)?, [longest, batch], padding_value)
    }
}

/// The sequences of the given lengths in a padded batch (`torch.nn.utils.rnn.unpad_sequence`).
///
/// # Errors
/// More or fewer lengths than sequences, or longer ones than the input.
#[track_caller]
pub fn unpad_sequence(padded: &Tensor, lengths: &[usize], batch_first: bool) -> Result<Vec<Tensor>> {
    let padded = if batch_first { padded.clone() } else { padded.transpose(0, 1)? };
    if padded.shape()[0] != lengths.len() {
        return Err(Error::value(
            "unpad_sequence",
            format!("expected {} lengths, got {}", padded.shape()[0], lengths.len()),
        ));
    }
    let one = |(i, &n): (usize, &usize)| padded.select(0, i as i64)?.narrow(0, 0, n as i64);
    lengths.iter().enumerate().map(one).collect::<Result<_>>().here()
}

/// Packs sequences `[length, ..]` (`torch.nn.utils.rnn.pack_sequence`); see [`pack_padded_sequence`].
///
/// # Errors
/// As [`pad_sequence`] and [`pack_padded_sequence`].
#[track_caller]
pub fn pack_sequence(sequences: &[Tensor], enforce_sorted: bool) -> Result<PackedSequence> {
    let padded = pad_sequence(sequences, false, 0.0)?;
    let lengths: Vec<usize> = sequences.iter().map(|s| s.shape()[0]).collect();
    pack_padded_sequence(&padded, &lengths, false, enforce_sorted)
}

/// The sequences of a packed batch (`torch.nn.utils.rnn.unpack_sequence`).
///
/// # Errors
/// Memory that is lent out or not there.
#[track_caller]
pub fn unpack_sequence(packed: &PackedSequence) -> Result<Vec<Tensor>> {
    let (padded, lengths) = pad_packed_sequence(packed, true, 0.0, None)?;
    let lengths: Vec<usize> = lengths.to_vec::<i64>()?.into_iter().map(|n| n as usize).collect();
    unpad_sequence(&padded, &lengths, true)
}
