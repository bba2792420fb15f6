//! The header of an array: a magic text, a version, and a Python dict that is parsed and never evaluated.

use std::io::Read;

use kiln_autograd::{DType, Tensor};

use crate::elements::ByteOrder;
use crate::fault::{Outcome, unsupported, wrong};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy itself reads headers of at most 10 000 bytes from files that it does not trust.
const MAX_HEADER: u32 = 1 << 16;
/// The elements begin at a multiple of it.
const ALIGNMENT: usize = 64;
/// NumPy's arrays have at most 64 axes.
const MAX_RANK: usize = 64;

/// The type of the elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementType {
    Plain(DType),
    /// Of 2, 4 or 8 bytes.
    Unsigned(usize),
}

/// What a header says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub(super) element: ElementType,
    pub(super) order: ByteOrder,
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
}

impl ElementType {
    /// NumPy's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            ElementType::Plain(dtype) => dtype.name(),
            ElementType::Unsigned(2) => "uint16",
            ElementType::Unsigned(4) => "uint32",
            ElementType::Unsigned(_) => "uint64",
        }
    }
}

impl Header {
    pub(super) fn read(source: &mut dyn Read) -> Outcome<Header> {
        let mut start = Vec::new();
        source.take(8).read_to_end(&mut start)?;
        if start.is_empty() {
            return wrong("the file is empty, not an array of NumPy");
        }
        if !start.starts_with(MAGIC) {
            return wrong("not an array of NumPy: it does not begin with \\x93NUMPY");
        }
        let mut length = [0; 4];
        let width = match start.get(6) {
            Some(1) => 2,
            Some(2 | 3) => 4,
            Some(version) => return unsupported(format!("version {version} of the npy format")),
            None => return wrong("the header is cut off"),
        };
        if start.len() < 8 {
            return wrong("the header is cut off");
        }
        source.read_exact(&mut length[..width])?;
        let length = u32::from_le_bytes(length);
        if length > MAX_HEADER {
            return wrong(format!("a header of {length} bytes; {MAX_HEADER} make sense"));
        }
        let mut text = Vec::new();
        source.take(length.into()).read_to_end(&mut text)?;
        if text.len() < length as usize {
            return wrong(format!("the header is cut off: {} of {length} bytes", text.len()));
        }
        match std::str::from_utf8(&text) {
            Ok(text) => Header::parse(text),
            // Version 1 and 2 are latin1, but none of the three keys needs a letter beyond ASCII.
            Err(_) => wrong("the header is no text"),
        }
    }

    fn parse(text: &str) -> Outcome<Header> {
        let mut parser = Parser { rest: text };
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        parser.expect('{')?;
        while !parser.take('}') {
            let key = parser.text()?;
            parser.expect(':')?;
            let again = match key {
                "descr" => descr.replace(parser.text()?).is_some(),
                "fortran_order" => fortran.replace(parser.flag()?).is_some(),
                "shape" => shape.replace(parser.sizes()?).is_some(),
                other => return wrong(format!("the header has the unknown key {other:?}")),
            };
            if again {
                return wrong(format!("the header has the key {key:?} twice"));
            }
            if !parser.take(',') {
                parser.expect('}')?;
                break;
            }
        }
        if !parser.rest.trim_start().is_empty() {
            return wrong("the header goes on behind its dict");
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => {
                let (element, order) = element_type(descr)?;
                Ok(Header { element, order, fortran, shape })
            }
            _ => wrong("the header lacks one of descr, fortran_order and shape"),
        }
    }
}

/// The type that a `descr` such as `<f4` names.
fn element_type(descr: &str) -> Outcome<(ElementType, ByteOrder)> {
    let native = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
    let (order, kind) = match descr.as_bytes() {
        [b'<', ..] => (ByteOrder::Little, &descr[1..]),
        [b'>', ..] => (ByteOrder::Big, &descr[1..]),
        [b'|' | b'=', ..] => (native, &descr[1..]),
        _ => (native, descr),
    };
    let element = match kind {
        "b1" | "?" => ElementType::Plain(DType::Bool),
        "u1" => ElementType::Plain(DType::U8),
        "i1" => ElementType::Plain(DType::I8),
        "i2" => ElementType::Plain(DType::I16),
        "i4" => ElementType::Plain(DType::I32),
        "i8" => ElementType::Plain(DType::I64),
        "f2" => ElementType::Plain(DType::F16),
        "f4" => ElementType::Plain(DType::F32),
        "f8" => ElementType::Plain(DType::F64),
        "u2" => ElementType::Unsigned(2),
        "u4" => ElementType::Unsigned(4),
        "u8" => ElementType::Unsigned(8),
        "c8" | "c16" => return unsupported("complex numbers, which Kiln does not have"),
        _ => {
            let shown: String = descr.chars().take(40).collect();
            return unsupported(format!(
                "elements of NumPy's type {shown:?}: only numbers and bools can be read"
            ));
        }
    };
    Ok((element, order))
}

/// A parser of the few Python literals that headers have.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn take(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: char) -> Outcome<()> {
        if self.take(c) { Ok(()) } else { self.fail(&format!("{c:?}")) }
    }

    fn fail<T>(&self, wanted: &str) -> Outcome<T> {
        let found: String = self.rest.chars().take(20).collect();
        wrong(format!("the header should have {wanted} where it has {found:?}"))
    }

    fn text(&mut self) -> Outcome<&'a str> {
        for quote in ['\'', '"'] {
            if self.take(quote) {
                let Some((text, rest)) = self.rest.split_once(quote) else {
                    return self.fail("the end of a text");
                };
                if text.contains('\\') {
                    return self.fail("a text without escapes");
                }
                self.rest = rest;
                return Ok(text);
            }
        }
        // A list of fields is the type of a record.
        if self.rest.starts_with('[') {
            return unsupported("an array of records: only numbers and bools can be read");
        }
        self.fail("a text")
    }

    fn flag(&mut self) -> Outcome<bool> {
        self.rest = self.rest.trim_start();
        for (word, flag) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(flag);
            }
        }
        self.fail("True or False")
    }

    fn sizes(&mut self) -> Outcome<Vec<usize>> {
        self.expect('(')?;
        let (mut sizes, mut comma) = (Vec::new(), true);
        while !self.take(')') {
            if !comma {
                return self.fail("','");
            }
            if sizes.len() == MAX_RANK {
                return wrong(format!("an array with more than {MAX_RANK} axes"));
            }
            sizes.push(self.size()?);
            comma = self.take(',');
        }
        if sizes.len() == 1 && !comma {
            return wrong("the header's shape is a number, not a tuple");
        }
        Ok(sizes)
    }

    fn size(&mut self) -> Outcome<usize> {
        self.rest = self.rest.trim_start();
        let digits = self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = self.rest.split_at(digits);
        let Ok(size) = number.parse() else {
            return self.fail("a size");
        };
        // Python 2 wrote long integers with it.
        self.rest = rest.strip_prefix('L').unwrap_or(rest);
        Ok(size)
    }
}

/// The header that a tensor is written with.
pub(super) fn written(tensor: &Tensor) -> Outcome<Vec<u8>> {
    let descr = match tensor.dtype() {
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        other => return unsupported(format!("NumPy has no {other}: convert the tensor with to_dtype first")),
    };
    let mut shape: String = tensor.dims().iter().map(|size| format!("{size}, ")).collect();
    if tensor.rank() > 1 {
        shape.truncate(shape.len() - 2);
    } else {
        shape.truncate(shape.trim_end().len());
    }
    let mut header = MAGIC.to_vec();
    header.extend([1, 0, 0, 0]);
    header.extend(format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}").as_bytes());
    // The last byte is the end of the line.
    header.resize((header.len() + 1).next_multiple_of(ALIGNMENT) - 1, b' ');
    header.push(b'\n');
    let Ok(length) = u16::try_from(header.len() - 10) else {
        return unsupported(format!("an array of {} axes cannot be saved", tensor.rank()));
    };
    header[8..10].copy_from_slice(&length.to_le_bytes());
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Option<Vec<usize>> {
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {text}, }}");
        Header::parse(&text).ok().map(|h| h.shape)
    }

    #[test]
    fn shapes_are_tuples_of_sizes() {
        assert_eq!(shape("()"), Some(vec![]));
        assert_eq!(shape("(3,)"), Some(vec![3]));
        assert_eq!(shape("( 2 , 3L)"), Some(vec![2, 3]));
        for bad in ["(3)", "3", "(-1,)", "(2 3)", "(,)", "(1.0,)", "(99999999999999999999,)", "[2]"] {
            assert_eq!(shape(bad), None, "{bad}");
        }
    }

    #[test]
    fn code_and_unknown_keys_are_refused() {
        for bad in [
            "{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (), 'more': 1}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': ()} + 1",
            "",
        ] {
            assert!(Header::parse(bad).is_err(), "{bad}");
        }
    }
}
