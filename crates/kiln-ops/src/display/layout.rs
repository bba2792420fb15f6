//! Brackets, line breaks and dots.

use super::cells::Cells;
use super::{PrintOptions, Values};

/// Appends the elements in brackets; `indent` is the column that the text has reached.
pub(super) fn write_elements(
    text: &mut String,
    shape: &[usize],
    values: Values<'_>,
    indent: usize,
    options: &PrintOptions,
) {
    if shape.contains(&0) {
        text.push_str("[]");
        return;
    }
    let count = shape.iter().fold(1usize, |count, &size| count.saturating_mul(size));
    let ends = if count > options.threshold { options.edgeitems } else { usize::MAX };
    let mut indices = Vec::new();
    collect_shown(shape, ends, 0, &mut indices);
    let cells = Cells::new(values, &indices, options);
    let mut writer = Writer { text, cells, next_cell: 0, ends, linewidth: options.linewidth };
    writer.write(shape, indent);
}

/// Whether a dimension of `size` shows only its ends.
fn is_cut(size: usize, ends: usize) -> bool {
    size > ends.saturating_mul(2)
}

/// Appends the row-major indices of the elements that are shown.
fn collect_shown(shape: &[usize], ends: usize, first: usize, indices: &mut Vec<usize>) {
    let [size, inner @ ..] = shape else {
        indices.push(first);
        return;
    };
    let stride: usize = inner.iter().product();
    let (head, tail) = if is_cut(*size, ends) { (ends, size - ends) } else { (*size, *size) };
    for i in (0..head).chain(tail..*size) {
        collect_shown(inner, ends, first + i * stride, indices);
    }
}

struct Writer<'a> {
    text: &'a mut String,
    cells: Cells,
    /// Cells are used up in the order in which they were collected.
    next_cell: usize,
    ends: usize,
    linewidth: usize,
}

impl Writer<'_> {
    /// Writes the next subtensor, of this shape.
    fn write(&mut self, shape: &[usize], indent: usize) {
        match shape {
            [] => self.write_cell(),
            [size] => self.write_row(*size, indent),
            [size, inner @ ..] => {
                self.text.push('[');
                for (i, is_dots) in Places::new(*size, self.ends).enumerate() {
                    if i > 0 {
                        // Matrices are set apart by one empty line, stacks of matrices by two ...
                        self.text.push(',');
                        self.text.extend(std::iter::repeat_n('\n', inner.len()));
                        self.indent(indent + 1);
                    }
                    if is_dots {
                        self.text.push_str("...");
                    } else {
                        self.write(inner, indent + 1);
                    }
                }
                self.text.push(']');
            }
        }
    }

    /// Writes the last dimension, broken into lines.
    fn write_row(&mut self, size: usize, indent: usize) {
        let per_line = (self.linewidth.saturating_sub(indent) / (self.cells.width + 2)).max(1);
        self.text.push('[');
        for (i, is_dots) in Places::new(size, self.ends).enumerate() {
            if i > 0 && i % per_line == 0 {
                self.text.push_str(",\n");
                self.indent(indent + 1);
            } else if i > 0 {
                self.text.push_str(", ");
            }
            match is_dots {
                // Set off by a second space from the element before them, if there is one.
                true if self.ends > 0 => self.text.push_str(" ..."),
                true => self.text.push_str("..."),
                false => self.write_cell(),
            }
        }
        self.text.push(']');
    }

    fn write_cell(&mut self) {
        self.cells.write(self.next_cell, self.text);
        self.next_cell += 1;
    }

    fn indent(&mut self, columns: usize) {
        self.text.extend(std::iter::repeat_n(' ', columns));
    }
}

/// The printed places of a dimension: whether each is dots rather than an element.
struct Places {
    next: usize,
    len: usize,
    dots: Option<usize>,
}

impl Places {
    fn new(size: usize, ends: usize) -> Places {
        if is_cut(size, ends) {
            Places { next: 0, len: 2 * ends + 1, dots: Some(ends) }
        } else {
            Places { next: 0, len: size, dots: None }
        }
    }
}

impl Iterator for Places {
    type Item = bool;
    fn next(&mut self) -> Option<bool> {
        let place = self.next;
        self.next += 1;
        (place < self.len).then_some(self.dots == Some(place))
    }
}
