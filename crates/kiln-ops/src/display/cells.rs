//! Elements as strings of one width.

use super::{PrintOptions, Values};

/// The printed elements of a tensor, in order.
pub(super) struct Cells {
    texts: Vec<String>,
    /// The width most cells are padded to; a few may be wider.
    pub(super) width: usize,
}

impl Cells {
    /// The elements `indices` of `values`.
    pub(super) fn new(values: Values<'_>, indices: &[usize], options: &PrintOptions) -> Cells {
        match values {
            Values::Bool(get) => {
                let name = |&i| if get(i) { "True" } else { "False" };
                Cells::of_equals(indices.iter().map(name).map(str::to_owned).collect())
            }
            Values::Int(get) => Cells::of_equals(indices.iter().map(|&i| get(i).to_string()).collect()),
            Values::Float(get) => Cells::of_floats(indices.iter().map(|&i| get(i)).collect(), options),
        }
    }

    /// Appends cell `number`, right-aligned.
    pub(super) fn write(&self, number: usize, text: &mut String) {
        let cell = &self.texts[number];
        text.extend(std::iter::repeat_n(' ', self.width.saturating_sub(cell.len())));
        text.push_str(cell);
    }

    /// Cells all of which count for the width.
    fn of_equals(texts: Vec<String>) -> Cells {
        let width = texts.iter().map(String::len).max().unwrap_or(1);
        Cells { texts, width }
    }

    /// Cells of which only the finite numbers other than 0 count for the notation and the width.
    fn of_floats(numbers: Vec<f64>, options: &PrintOptions) -> Cells {
        let counts = |x: &f64| x.is_finite() && *x != 0.0;
        let notation = Notation::of(numbers.iter().copied().filter(counts), options);
        let texts: Vec<String> = numbers.iter().map(|&x| notation.text(x, options.precision)).collect();
        let widths = texts.iter().zip(&numbers).filter(|(_, x)| counts(x)).map(|(text, _)| text.len());
        let width = widths.max().unwrap_or(1);
        Cells { texts, width }
    }
}

/// How the floating-point numbers of one tensor are written.
#[derive(Clone, Copy)]
enum Notation {
    /// All are integers: a decimal point and nothing behind it.
    Integer,
    Fixed,
    Scientific,
}

impl Notation {
    /// The notation for `numbers`, which are finite and not 0.
    fn of(numbers: impl Iterator<Item = f64>, options: &PrintOptions) -> Notation {
        // Beyond these, fixed notation loses the small numbers or pads the large ones.
        const MAX_RATIO: f64 = 1000.0;
        const MAX: f64 = 1e8;
        const MIN: f64 = 1e-4;

        let (mut smallest, mut largest) = (f64::INFINITY, 0.0f64);
        let mut integers = true;
        for x in numbers {
            smallest = smallest.min(x.abs());
            largest = largest.max(x.abs());
            integers &= x == x.trunc();
        }
        if largest == 0.0 {
            return Notation::Integer;
        }
        let called_for = largest / smallest > MAX_RATIO || largest > MAX || smallest < MIN;
        match (options.sci_mode.unwrap_or(called_for), integers) {
            (true, _) => Notation::Scientific,
            (false, true) => Notation::Integer,
            (false, false) => Notation::Fixed,
        }
    }

    fn text(self, x: f64, precision: usize) -> String {
        if x.is_nan() {
            return "nan".to_owned();
        }
        if x.is_infinite() {
            return if x > 0.0 { "inf" } else { "-inf" }.to_owned();
        }
        match self {
            Notation::Integer => format!("{x:.0}."),
            Notation::Fixed => format!("{x:.precision$}"),
            Notation::Scientific => scientific(x, precision),
        }
    }
}

/// Scientific notation as C and Python write it: the exponent has a sign and two digits at least.
fn scientific(x: f64, precision: usize) -> String {
    let text = format!("{x:.precision$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    match exponent.strip_prefix('-') {
        Some(digits) => format!("{mantissa}e-{digits:0>2}"),
        None => format!("{mantissa}e+{exponent:0>2}"),
    }
}
