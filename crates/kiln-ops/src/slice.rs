//! Views of a part: ranges, single positions, windows, diagonals, and lists of parts. No element moves.

use kiln_storage::{Dims, Error, Layout, RawTensor, Result, Shape};

/// The most parts that an empty axis is divided into: their number is not bounded by the size then.
const MOST_PARTS: usize = 1 << 24;

/// The axis that is to be taken apart; there must be one.
fn axis_to_cut(op: &'static str, x: &RawTensor, axis: i64) -> Result<usize> {
    if x.rank() == 0 {
        return Err(Error::index(op, format!("{op}() cannot be applied to a 0-dim tensor.")));
    }
    x.shape().axis(op, axis)
}

/// `length` positions of `axis` from `start`; a negative start counts from the end.
///
/// # Errors
/// The range reaches past the axis.
pub fn narrow(x: &RawTensor, axis: i64, start: i64, length: i64) -> Result<RawTensor> {
    const OP: &str = "narrow";
    let axis = axis_to_cut(OP, x, axis)?;
    if length < 0 {
        return Err(Error::value(OP, format!("narrow(): length must be non-negative, got {length}")));
    }
    let n = x.shape()[axis] as i64;
    if start < -n || start > n {
        return Err(Error::index(
            OP,
            format!("start out of range (expected to be in range of [{}, {n}], but got {start})", -n),
        ));
    }
    let start = if start < 0 { start + n } else { start };
    if length > n - start {
        return Err(Error::index(
            OP,
            format!("start ({start}) + length ({length}) exceeds dimension size ({n}) of axis {axis}"),
        ));
    }
    Ok(x.with_layout(x.layout().slice(axis, start as usize, length as usize, 1)))
}

/// Position `index` of `axis`, which disappears; a negative index counts from the end.
///
/// # Errors
/// The index is not on the axis.
pub fn select(x: &RawTensor, axis: i64, index: i64) -> Result<RawTensor> {
    const OP: &str = "select";
    let axis = axis_to_cut(OP, x, axis)?;
    let n = x.shape()[axis] as i64;
    if index < -n || index >= n {
        return Err(Error::index(
            OP,
            format!("index {index} out of range for tensor of size {:?} at dimension {axis}", x.shape()),
        ));
    }
    let index = if index < 0 { index + n } else { index };
    Ok(x.with_layout(x.layout().select(axis, index as usize)))
}

/// Positions `start`, `start + step`, ... of `axis` before `end`. Bounds are clamped as Python's slices are: negative
/// ones count from the end, those outside mean the end they lie behind.
///
/// # Errors
/// The step is not positive.
pub fn slice(x: &RawTensor, axis: i64, start: Option<i64>, end: Option<i64>, step: i64) -> Result<RawTensor> {
    const OP: &str = "slice";
    let axis = axis_to_cut(OP, x, axis)?;
    if step <= 0 {
        return Err(Error::value(OP, format!("slice step must be positive, got {step}")));
    }
    let n = x.shape()[axis] as i64;
    let clamp = |at: i64| if at < 0 { at.saturating_add(n).max(0) } else { at.min(n) };
    let (start, end) = (clamp(start.unwrap_or(0)), clamp(end.unwrap_or(n)));
    let len = if end > start { (end - start - 1) / step + 1 } else { 0 };
    Ok(x.with_layout(x.layout().slice(axis, start as usize, len as usize, step as usize)))
}

/// Windows of `size` positions of `axis`, `step` apart; the window becomes the last axis.
///
/// # Errors
/// A window does not fit, or the step is not positive.
pub fn unfold(x: &RawTensor, axis: i64, size: i64, step: i64) -> Result<RawTensor> {
    const OP: &str = "unfold";
    let axis = x.shape().axis(OP, axis)?;
    let n = x.shape().get(axis).copied().unwrap_or(1) as i64;
    if size < 0 {
        return Err(Error::value(OP, format!("size is {size} but must be >= 0")));
    }
    if size > n {
        return Err(Error::value(
            OP,
            format!("maximum size for tensor at dimension {axis} is {n} but size is {size}"),
        ));
    }
    if step <= 0 {
        return Err(Error::value(OP, format!("step is {step} but must be > 0")));
    }
    Ok(x.with_layout(x.layout().unfold(axis, size as usize, step as usize)))
}

/// The diagonal of the plane of two axes, `offset` places above the main one, as the last axis.
///
/// # Errors
/// The axes are the same.
pub fn diagonal(x: &RawTensor, offset: i64, a: i64, b: i64) -> Result<RawTensor> {
    const OP: &str = "diagonal";
    let (i, j) = (axis_to_cut(OP, x, a)?, axis_to_cut(OP, x, b)?);
    if i == j {
        return Err(Error::value(OP, format!("diagonal dimensions cannot be identical {a}, {b}")));
    }
    Ok(x.with_layout(x.layout().diagonal(offset, i, j)))
}

/// The memory of `x` under any sizes, strides and offset (that of `x` if `None`), all in elements.
///
/// # Errors
/// Negative numbers, or a layout that reaches past the memory.
pub fn as_strided(x: &RawTensor, sizes: &[i64], strides: &[i64], offset: Option<i64>) -> Result<RawTensor> {
    const OP: &str = "as_strided";
    if strides.iter().any(|&s| s < 0) {
        return Err(Error::value(
            OP,
            format!("Negative strides are not supported, got strides: {strides:?}"),
        ));
    }
    if sizes.iter().any(|&s| s < 0) {
        return Err(Error::value(OP, format!("sizes must not be negative, got {sizes:?}")));
    }
    let offset = offset.unwrap_or(x.layout().offset() as i64);
    if offset < 0 {
        return Err(Error::value(OP, format!("invalid storage offset {offset}")));
    }
    let shape: Shape = sizes.iter().map(|&s| s as usize).collect();
    shape.checked_numel(OP)?;
    let steps: Dims = strides.iter().map(|&s| s as usize).collect();
    let layout = Layout::new(shape, &steps, offset as usize)?;
    let room = x.storage().bytes() / x.dtype().size();
    if layout.extent().is_none_or(|e| e > room) {
        return Err(Error::value(
            OP,
            format!(
                "sizes {sizes:?}, strides {strides:?}, storage offset {offset} are out of bounds for storage of {room} \
                 elements"
            ),
        ));
    }
    Ok(x.with_layout(layout))
}

/// An axis that `op` divides into parts.
fn axis_to_divide(op: &'static str, x: &RawTensor, axis: i64) -> Result<usize> {
    if x.rank() == 0 {
        return Err(Error::shape(op, format!("{op} expects at least a 1-dimensional tensor")));
    }
    x.shape().axis(op, axis)
}

/// Consecutive parts of the given lengths, which the caller has checked.
fn parts(x: &RawTensor, axis: usize, lengths: impl Iterator<Item = usize>) -> Vec<RawTensor> {
    let mut start = 0;
    lengths
        .map(|len| {
            let part = x.with_layout(x.layout().slice(axis, start, len, 1));
            start += len;
            part
        })
        .collect()
}

/// Parts of `size` positions of `axis`, the last one maybe shorter.
///
/// # Errors
/// A negative size, or 0 for an axis that is not empty.
pub fn split(x: &RawTensor, size: i64, axis: i64) -> Result<Vec<RawTensor>> {
    const OP: &str = "split";
    let axis = axis_to_divide(OP, x, axis)?;
    let n = x.shape()[axis];
    if size < 0 {
        return Err(Error::value(
            OP,
            format!("split expects split_size be non-negative, but got split_size={size}"),
        ));
    }
    if size == 0 && n > 0 {
        return Err(Error::value(
            OP,
            format!("split_size can only be 0 if dimension size is 0, but got dimension size of {n}"),
        ));
    }
    let size = (size as usize).max(1);
    let count = n.div_ceil(size).max(1);
    Ok(parts(x, axis, (0..count).map(|i| size.min(n - i * size))))
}

/// Parts of the given lengths of `axis`.
///
/// # Errors
/// The lengths do not add up to the axis' size.
pub fn split_with_sizes(x: &RawTensor, sizes: &[i64], axis: i64) -> Result<Vec<RawTensor>> {
    const OP: &str = "split_with_sizes";
    let axis = axis_to_divide(OP, x, axis)?;
    if sizes.iter().any(|&s| s < 0) {
        return Err(Error::value(
            OP,
            format!("expects split_sizes have only non-negative entries, but got split_sizes={sizes:?}"),
        ));
    }
    let n = x.shape()[axis];
    if sizes.iter().map(|&s| s as i128).sum::<i128>() != n as i128 {
        return Err(Error::value(
            OP,
            format!(
                "expects split_sizes to sum exactly to {n} (input tensor's size at dimension {axis}), but got \
                 split_sizes={sizes:?}"
            ),
        ));
    }
    Ok(parts(x, axis, sizes.iter().map(|&s| s as usize)))
}

/// At most `chunks` parts of `axis`, all of one size but the last.
///
/// # Errors
/// `chunks` is not positive.
pub fn chunk(x: &RawTensor, chunks: i64, axis: i64) -> Result<Vec<RawTensor>> {
    const OP: &str = "chunk";
    let at = axis_to_divide(OP, x, axis)?;
    let count = part_count(OP, "chunk expects `chunks` to be greater than 0, got:", chunks, x.shape()[at])?;
    match x.shape()[at] {
        0 => Ok(parts(x, at, std::iter::repeat_n(0, count))),
        n => split(x, n.div_ceil(count) as i64, axis),
    }
}

fn part_count(op: &'static str, complaint: &str, count: i64, n: usize) -> Result<usize> {
    if count <= 0 {
        return Err(Error::value(op, format!("{complaint} {count}")));
    }
    if count as usize > MOST_PARTS.max(n) {
        return Err(Error::value(op, format!("{count} parts of an axis of {n} are too many")));
    }
    Ok(count as usize)
}

/// `sections` parts of `axis`, the first ones one longer where the size does not divide.
///
/// # Errors
/// `sections` is not positive.
pub fn tensor_split(x: &RawTensor, sections: i64, axis: i64) -> Result<Vec<RawTensor>> {
    const OP: &str = "tensor_split";
    let axis = axis_to_divide(OP, x, axis)?;
    let n = x.shape()[axis];
    let count = part_count(OP, "number of sections must be larger than 0, got", sections, n)?;
    Ok(parts(x, axis, (0..count).map(|i| n / count + usize::from(i < n % count))))
}

/// Parts of `axis` between the given positions, which are clamped like the bounds of a [`slice()`].
///
/// # Errors
/// A 0-dim tensor.
pub fn tensor_split_at(x: &RawTensor, positions: &[i64], axis: i64) -> Result<Vec<RawTensor>> {
    let at = axis_to_divide("tensor_split", x, axis)? as i64;
    let starts = std::iter::once(None).chain(positions.iter().copied().map(Some));
    let ends = positions.iter().copied().map(Some).chain([None]);
    starts.zip(ends).map(|(start, end)| slice(x, at, start, end, 1)).collect()
}

/// Every position of `axis` as a view without the axis.
///
/// # Errors
/// A 0-dim tensor.
pub fn unbind(x: &RawTensor, axis: i64) -> Result<Vec<RawTensor>> {
    const OP: &str = "unbind";
    if x.rank() == 0 {
        return Err(Error::index(OP, format!("Dimension specified as {axis} but tensor has no dimensions")));
    }
    let axis = x.shape().axis(OP, axis)?;
    Ok((0..x.shape()[axis]).map(|i| x.with_layout(x.layout().select(axis, i))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(shape: &[usize]) -> RawTensor {
        let n = shape.iter().product::<usize>() as i64;
        RawTensor::from_vec("test", (0..n).collect(), shape).unwrap()
    }

    fn fails<T>(r: Result<T>, part: &str) {
        let text = r.map(|_| ()).unwrap_err().to_string();
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }

    fn values(t: &RawTensor) -> Vec<i64> {
        t.to_vec().unwrap()
    }

    fn sizes(parts: &[RawTensor], axis: usize) -> Vec<usize> {
        parts.iter().map(|p| p.shape()[axis]).collect()
    }

    #[test]
    fn ranges() {
        let x = numbers(&[3, 4]);
        assert_eq!(values(&narrow(&x, 0, -1, 1).unwrap()), [8, 9, 10, 11]);
        assert_eq!(*narrow(&x, 0, 3, 0).unwrap().shape(), [0, 4]);
        fails(narrow(&x, 0, 2, 2), "start (2) + length (2) exceeds dimension size (3)");
        fails(narrow(&x, 0, 4, 0), "expected to be in range of [-3, 3], but got 4");
        fails(narrow(&x, 0, 0, -1), "length must be non-negative");
        fails(narrow(&numbers(&[]), 0, 0, 1), "narrow() cannot be applied to a 0-dim tensor");
        assert_eq!(values(&select(&x, 1, -1).unwrap()), [3, 7, 11]);
        fails(select(&x, 0, 3), "index 3 out of range for tensor of size [3, 4] at dimension 0");
        fails(select(&x, 0, -4), "index -4 out of range");
        fails(select(&x, 2, 0), "but got 2");
    }

    #[test]
    fn slices_clamp_like_python() {
        let x = numbers(&[10]);
        let rows: [(Option<i64>, Option<i64>, i64, &[i64]); 9] = [
            (None, None, 4, &[0, 4, 8]),
            (Some(-3), None, 1, &[7, 8, 9]),
            (Some(-30), Some(2), 1, &[0, 1]),
            (Some(8), Some(99), 1, &[8, 9]),
            (Some(5), Some(2), 1, &[]),
            (Some(20), Some(30), 1, &[]),
            (Some(1), Some(-1), 3, &[1, 4, 7]),
            (Some(i64::MIN), Some(i64::MAX), i64::MAX, &[0]),
            (Some(9), None, i64::MAX, &[9]),
        ];
        for (start, end, step, want) in rows {
            assert_eq!(
                values(&slice(&x, 0, start, end, step).unwrap()),
                want,
                "{start:?}..{end:?} by {step}"
            );
        }
        fails(slice(&x, 0, None, None, 0), "slice step must be positive");
        fails(slice(&numbers(&[]), 0, None, None, 1), "slice() cannot be applied to a 0-dim tensor");
    }

    #[test]
    fn windows_and_diagonals() {
        let x = numbers(&[3, 4]);
        assert_eq!(values(&unfold(&numbers(&[5]), 0, 2, 3).unwrap()), [0, 1, 3, 4]);
        assert_eq!(*unfold(&x, 1, 0, 1).unwrap().shape(), [3, 5, 0]);
        assert_eq!(*unfold(&numbers(&[]), 0, 1, 1).unwrap().shape(), [1]);
        fails(unfold(&numbers(&[]), 0, 2, 1), "maximum size for tensor at dimension 0 is 1 but size is 2");
        fails(unfold(&x, 1, 5, 1), "maximum size for tensor at dimension 1 is 4 but size is 5");
        fails(unfold(&x, 1, 2, 0), "step is 0 but must be > 0");
        fails(unfold(&x, 1, -1, 1), "size is -1 but must be >= 0");
        assert_eq!(values(&diagonal(&x, 1, 0, 1).unwrap()), [1, 6, 11]);
        assert_eq!(values(&diagonal(&x, -1, -2, -1).unwrap()), [4, 9]);
        assert_eq!(*diagonal(&x, i64::MIN, 0, 1).unwrap().shape(), [0]);
        fails(diagonal(&x, 0, 0, 0), "diagonal dimensions cannot be identical 0, 0");
    }

    #[test]
    fn strided_views_stay_inside_the_memory() {
        let x = numbers(&[3, 4]);
        assert_eq!(values(&as_strided(&x, &[2, 2], &[1, 1], Some(3)).unwrap()), [3, 4, 4, 5]);
        let rest = narrow(&x, 0, 1, 2).unwrap();
        assert_eq!(values(&as_strided(&rest, &[2], &[1], None).unwrap()), [4, 5]);
        assert_eq!(values(&as_strided(&rest, &[2], &[1], Some(0)).unwrap()), [0, 1]);
        fails(as_strided(&x, &[2, 20], &[1, 1], None), "are out of bounds for storage of 12 elements");
        fails(as_strided(&x, &[2], &[1, 1], None), "mismatch in length of strides and shape");
        fails(as_strided(&x, &[2], &[-1], None), "Negative strides are not supported");
        fails(as_strided(&x, &[-2], &[1], None), "must not be negative");
        fails(as_strided(&x, &[2], &[1], Some(-1)), "invalid storage offset -1");
        fails(as_strided(&x, &[i64::MAX, 3], &[i64::MAX, 1], None), "overflows");
    }

    #[test]
    fn lists_of_parts() {
        let x = numbers(&[3, 4]);
        assert_eq!(sizes(&split(&x, 3, 1).unwrap(), 1), [3, 1]);
        assert_eq!(values(&split(&x, 3, 1).unwrap()[1]), [3, 7, 11]);
        assert_eq!(sizes(&split(&numbers(&[0, 3]), 0, 0).unwrap(), 0), [0]);
        fails(
            split(&x, 0, 1),
            "split_size can only be 0 if dimension size is 0, but got dimension size of 4",
        );
        fails(split(&x, -1, 1), "split_size=-1");
        fails(split(&numbers(&[]), 1, 0), "at least a 1-dimensional tensor");
        assert_eq!(sizes(&split_with_sizes(&x, &[1, 0, 3], 1).unwrap(), 1), [1, 0, 3]);
        fails(split_with_sizes(&x, &[1, 2], 1), "to sum exactly to 4");
        fails(split_with_sizes(&x, &[1, -1, 4], 1), "only non-negative entries");
        assert_eq!(sizes(&chunk(&numbers(&[7]), 3, 0).unwrap(), 0), [3, 3, 1]);
        assert_eq!(sizes(&chunk(&numbers(&[5]), 4, 0).unwrap(), 0), [2, 2, 1]);
        assert_eq!(sizes(&chunk(&numbers(&[0]), 3, 0).unwrap(), 0), [0, 0, 0]);
        fails(chunk(&x, 0, 0), "greater than 0, got: 0");
        fails(chunk(&numbers(&[0]), i64::MAX, 0), "too many");
        let seven = numbers(&[7]);
        assert_eq!(sizes(&tensor_split(&seven, 3, 0).unwrap(), 0), [3, 2, 2]);
        assert_eq!(sizes(&tensor_split_at(&seven, &[2, 5, 9], 0).unwrap(), 0), [2, 3, 2, 0]);
        assert_eq!(sizes(&tensor_split_at(&seven, &[-2, 1], 0).unwrap(), 0), [5, 0, 6]);
        fails(tensor_split(&seven, 0, 0), "number of sections must be larger than 0, got 0");
        let columns = unbind(&x, -1).unwrap();
        assert_eq!((columns.len(), values(&columns[2])), (4, vec![2, 6, 10]));
        fails(unbind(&numbers(&[]), 0), "tensor has no dimensions");
        assert!(unbind(&numbers(&[0, 3]), 0).unwrap().is_empty());
    }
}
