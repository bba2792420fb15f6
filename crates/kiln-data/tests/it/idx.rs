//! The IDX reader on small files made here: every type, every way a file can be wrong.

use std::io::{self, Read};

use crate::common::{gzip, idx};
use kiln_data::DataError;
use kiln_data::idx::{IdxArray, IdxData};
use kiln_data::kiln_autograd::kiln_ops::random::Generator;

fn read(bytes: &[u8]) -> Result<IdxArray, DataError> {
    IdxArray::read(bytes, "specimen")
}

/// The message of the format error that reading must give.
fn complaint(bytes: &[u8]) -> String {
    match read(bytes) {
        Err(error @ DataError::Format { .. }) => {
            let text = error.to_string();
            assert!(text.starts_with("specimen: "), "{text}");
            text
        }
        other => panic!("expected a format error, not {other:?}"),
    }
}

#[test]
fn every_element_type_is_read_big_endian() {
    let cases: [(u8, &[u8], IdxData); 6] = [
        (0x08, &[0, 255], IdxData::U8(vec![0, 255])),
        (0x09, &[0x80, 0x7f], IdxData::I8(vec![-128, 127])),
        (0x0b, &[0xff, 0xfe, 0x01, 0x02], IdxData::I16(vec![-2, 258])),
        (0x0c, &[0xff, 0xff, 0xff, 0xfd, 0, 1, 0, 0], IdxData::I32(vec![-3, 65536])),
        (0x0d, &[0x3f, 0xc0, 0, 0, 0xc0, 0x20, 0, 0], IdxData::F32(vec![1.5, -2.5])),
        (0x0e, &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc0, 4, 0, 0, 0, 0, 0, 0], IdxData::F64(vec![1.5, -2.5])),
    ];
    for (code, bytes, expected) in cases {
        let file = idx(code, &[2], bytes);
        for packed in [file.clone(), gzip(&file)] {
            let array = read(&packed).unwrap();
            assert_eq!((array.dims.as_slice(), &array.data), ([2].as_slice(), &expected));
        }
    }
}

#[test]
fn any_rank_is_read() {
    assert_eq!(read(&idx(8, &[], &[9])).unwrap(), IdxArray { dims: vec![], data: IdxData::U8(vec![9]) });
    assert_eq!(read(&idx(8, &[1; 255], &[9])).unwrap().dims, [1; 255]);
    assert_eq!(read(&idx(8, &[2, 0, 5], &[])).unwrap().dims, [2, 0, 5]);
    assert!(read(&idx(0x0e, &[0], &[])).unwrap().data.is_empty());
}

#[test]
fn more_than_one_chunk_is_read_in_order() {
    let values: Vec<i32> = (0..50_000).map(|i| i * 42_000).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    let file = idx(0x0c, &[250, 200], &bytes);
    assert_eq!(read(&gzip(&file)).unwrap().data, IdxData::I32(values));
}

#[test]
fn a_wrong_header_is_refused() {
    assert!(complaint(&[]).contains("the file is empty"));
    assert!(complaint(&[0, 0, 8]).contains("3 bytes where the header has 4"));
    assert!(complaint(&[0x1f]).contains("1 bytes where the header has 4"));
    assert!(complaint(&[0, 1, 8, 1, 0, 0, 0, 0]).contains("starts with 00 01"));
    assert!(complaint(b"\x89PNG\r\n").contains("starts with 89 50"));
    for code in [0, 7, 0x0a, 0x0f, 255] {
        assert!(complaint(&idx(code, &[1], &[0])).contains(&format!("element type 0x{code:02x}")));
    }
    assert!(complaint(&idx(8, &[1, 2], &[])[..9]).contains("5 of 8 bytes for 2 sizes"));
}

#[test]
fn every_cut_and_every_extra_byte_is_refused() {
    for (code, width) in [(8, 1), (9, 1), (0x0b, 2), (0x0c, 4), (0x0d, 4), (0x0e, 8)] {
        let whole = idx(code, &[2, 3], &vec![1; 6 * width]);
        for length in 0..whole.len() {
            complaint(&whole[..length]);
            complaint(&gzip(&whole[..length]));
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert!(complaint(&longer).contains("left over"));
        assert!(complaint(&gzip(&longer)).contains("left over"));
    }
}

#[test]
fn sizes_that_overflow_are_refused() {
    assert!(complaint(&idx(8, &[u32::MAX; 3], &[0; 9])).contains("more than this machine can address"));
    assert!(complaint(&idx(0x0e, &[u32::MAX; 2], &[0; 9])).contains("more than this machine can address"));
    // An empty axis does not hide the overflow of the others.
    assert!(complaint(&idx(8, &[0, u32::MAX, u32::MAX, u32::MAX], &[])).contains("more than"));
}

/// A reader that counts what is taken from it.
struct Counted<R>(R, usize);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(buffer.len() <= 1 << 20, "a buffer of {} bytes for a file of a few", buffer.len());
        let got = self.0.read(buffer)?;
        self.1 += got;
        Ok(got)
    }
}

#[test]
fn a_header_that_promises_terabytes_costs_nothing() {
    for code in [8, 0x0d] {
        let file = idx(code, &[1 << 20, 1 << 20], &[5; 100]);
        let mut reader = Counted(file.as_slice(), 0);
        let error = IdxArray::read(&mut reader, "specimen").unwrap_err().to_string();
        assert!(error.contains("the data is cut off: 100 of the"), "{error}");
        assert_eq!(reader.1, file.len());
        assert!(complaint(&gzip(&file)).contains("100 of the"));
    }
}

#[test]
fn damaged_gzip_is_refused() {
    let packed = gzip(&idx(8, &[3, 100], &(0..300).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()));
    for length in 2..packed.len() {
        complaint(&packed[..length]);
    }
    // The checksum and the length stand in the last eight bytes.
    for at in packed.len() - 8..packed.len() {
        let mut damaged = packed.clone();
        damaged[at] ^= 1;
        assert!(complaint(&damaged).contains("gzip stream is damaged"));
    }
    for at in 10..packed.len() - 8 {
        let mut damaged = packed.clone();
        damaged[at] ^= 0x55;
        complaint(&damaged);
    }
    let trailing = [packed.as_slice(), b"rubbish"].concat();
    complaint(&trailing);
}

/// Changed copies of each file: each is refused, or read as its header says, by reads of bounded size.
#[test]
fn changed_files_are_refused_or_read_whole() {
    let numbers: Vec<u8> = (0..1200u32).map(|i| (i * i % 251) as u8).collect();
    let plain =
        [idx(8, &[3, 20, 20], &numbers), idx(0x0e, &[3, 2, 25], &numbers), idx(0x0b, &[600], &numbers)];
    let mut dice = Generator::new(0);
    let mut below = |n: usize| dice.next_u64() as usize % n.max(1);
    let mut read_again = 0;
    for file in plain.iter().flat_map(|file| [file.clone(), gzip(file)]) {
        for _ in 0..3000 {
            let mut bytes = file.clone();
            for _ in 0..1 + below(3) {
                // Headers are short: half of the changes go there.
                let at = if below(2) == 0 { below(24.min(bytes.len())) } else { below(bytes.len()) };
                match below(5) {
                    0 if at < bytes.len() => bytes[at] ^= 1 << below(8),
                    1 if at < bytes.len() => bytes[at] = [0, 0xff, 0x7f, 0x80][below(4)],
                    2 => bytes.truncate(at),
                    3 => bytes.insert(at, below(256) as u8),
                    _ => {
                        let end = (at + 4).min(bytes.len());
                        bytes.splice(at..end, [0x7f, 0xff, 0xff, 0xff]);
                    }
                }
            }
            let mut reader = Counted(bytes.as_slice(), 0);
            if let Ok(array) = IdxArray::read(&mut reader, "changed") {
                assert_eq!(array.dims.iter().product::<usize>(), array.data.len());
                read_again += 1;
            }
        }
    }
    assert!(read_again > 0);
}

/// Delivers single bytes and interruptions, then perhaps fails.
struct Halting<'a> {
    rest: &'a [u8],
    interrupt: bool,
    fail: bool,
}

impl Read for Halting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match self.rest.split_first() {
            Some((&byte, rest)) => {
                (buffer[0], self.rest) = (byte, rest);
                Ok(1)
            }
            None if self.fail => Err(io::Error::other("the cable is out")),
            None => Ok(0),
        }
    }
}

#[test]
fn slow_readers_are_read_whole_and_their_errors_passed_on() {
    let file = idx(0x0b, &[2], &[0, 1, 0, 2]);
    let slow = Halting { rest: &file, interrupt: false, fail: false };
    assert_eq!(IdxArray::read(slow, "slow").unwrap().data, IdxData::I16(vec![1, 2]));
    for length in 0..=file.len() {
        let failing = Halting { rest: &file[..length], interrupt: false, fail: true };
        let error = IdxArray::read(failing, "socket").unwrap_err();
        assert!(matches!(error, DataError::Io { .. }), "{error:?}");
        assert_eq!(error.to_string(), "cannot read socket: the cable is out");
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = IdxArray::open(folder.path().join("missing.idx")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot open ") && missing.contains("missing.idx"), "{missing}");
    assert!(matches!(IdxArray::open(folder.path()), Err(DataError::Io { .. })));
}
