//! Writing an archive: stored members, aligned, with 64-bit numbers where they are needed.

use std::io::{self, Seek, SeekFrom, Write};

use flate2::Crc;

use super::*;
use crate::atomic::pad;
use crate::elements::Counted;
use crate::fault::{Outcome, wrong};

/// 1980-01-01, the first day that the format knows: the same content gives the same bytes.
const DATE: u16 = 1 << 5 | 1;
const TIME: u16 = 0;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// The version of the format that a reader must know: 4.5 has 64-bit sizes.
const VERSION: u16 = 45;

/// An archive being written.
pub(crate) struct Writer<W> {
    sink: Counted<W>,
    /// The contents of members begin at multiples of it.
    alignment: u64,
    members: Vec<Written>,
}

struct Written {
    name: String,
    crc: u32,
    size: u64,
    header: u64,
}

impl<W: Write + Seek> Writer<W> {
    /// An archive at the start of `sink`.
    pub(crate) fn new(sink: W, alignment: u64) -> Writer<W> {
        Writer { sink: Counted { inner: sink, written: 0 }, alignment, members: Vec::new() }
    }

    /// Adds a member of `size` bytes, which `fill` writes; gives its checksum.
    pub(crate) fn member(
        &mut self,
        name: &str,
        size: u64,
        fill: impl FnOnce(&mut dyn Write) -> Outcome<()>,
    ) -> Outcome<u32> {
        let Ok(name_length) = u16::try_from(name.len()) else {
            return wrong(format!("a zip member's name of {} bytes is too long", name.len()));
        };
        let header = self.sink.written;
        let large = size >= u64::from(u32::MAX);
        let short = if large { u32::MAX } else { size as u32 };
        let mut extra = Vec::new();
        if large {
            put(
                &mut extra,
                &[&EXTRA64.to_le_bytes(), &16u16.to_le_bytes(), &size.to_le_bytes(), &size.to_le_bytes()],
            );
        }
        // The padding field has four bytes of its own.
        let before = header + (LOCAL_LEN + name.len() + extra.len() + 4) as u64;
        let padding = before.next_multiple_of(self.alignment) - before;
        put(&mut extra, &[&EXTRA_PADDING.to_le_bytes(), &(padding as u16).to_le_bytes()]);
        let extra_length = extra.len() as u64 + padding;
        let mut record = Vec::new();
        put(&mut record, &[&LOCAL.to_le_bytes(), &VERSION.to_le_bytes(), &FLAGS.to_le_bytes()]);
        put(&mut record, &[&STORED.to_le_bytes(), &TIME.to_le_bytes(), &DATE.to_le_bytes()]);
        let crc_at = header + record.len() as u64;
        put(&mut record, &[&0u32.to_le_bytes(), &short.to_le_bytes(), &short.to_le_bytes()]);
        put(&mut record, &[&name_length.to_le_bytes(), &(extra_length as u16).to_le_bytes()]);
        put(&mut record, &[name.as_bytes(), &extra]);
        self.sink.write_all(&record)?;
        pad(&mut self.sink, before, self.alignment)?;

        let start = self.sink.written;
        let mut summed = Summed { sink: &mut self.sink, crc: Crc::new() };
        fill(&mut summed)?;
        let crc = summed.crc.sum();
        if self.sink.written - start != size {
            return wrong(format!("{} bytes written for the {size} of {name:?}", self.sink.written - start));
        }
        // The checksum is known only now.
        let end = self.sink.written;
        self.sink.inner.seek(SeekFrom::Start(crc_at))?;
        self.sink.inner.write_all(&crc.to_le_bytes())?;
        self.sink.inner.seek(SeekFrom::Start(end))?;
        self.members.push(Written { name: name.to_owned(), crc, size, header });
        Ok(crc)
    }

    /// Adds a member with the given content.
    pub(crate) fn bytes(&mut self, name: &str, content: &[u8]) -> Outcome<u32> {
        self.member(name, content.len() as u64, |sink| Ok(sink.write_all(content)?))
    }

    /// Writes the directory.
    pub(crate) fn finish(mut self) -> Outcome<()> {
        let start = self.sink.written;
        for member in &self.members {
            let mut extra = Vec::new();
            let large = member.size >= u64::from(u32::MAX);
            let far = member.header >= u64::from(u32::MAX);
            if large {
                put(&mut extra, &[&member.size.to_le_bytes(), &member.size.to_le_bytes()]);
            }
            if far {
                put(&mut extra, &[&member.header.to_le_bytes()]);
            }
            if !extra.is_empty() {
                let length = extra.len() as u16;
                extra.splice(0..0, [EXTRA64.to_le_bytes(), length.to_le_bytes()].concat());
            }
            let short = if large { u32::MAX } else { member.size as u32 };
            let offset = if far { u32::MAX } else { member.header as u32 };
            let mut record = Vec::new();
            put(&mut record, &[&CENTRAL.to_le_bytes(), &VERSION.to_le_bytes(), &VERSION.to_le_bytes()]);
            put(&mut record, &[&FLAGS.to_le_bytes(), &STORED.to_le_bytes()]);
            put(&mut record, &[&TIME.to_le_bytes(), &DATE.to_le_bytes(), &member.crc.to_le_bytes()]);
            put(&mut record, &[&short.to_le_bytes(), &short.to_le_bytes()]);
            put(
                &mut record,
                &[&(member.name.len() as u16).to_le_bytes(), &(extra.len() as u16).to_le_bytes()],
            );
            // No comment, the first disk, no attributes.
            put(&mut record, &[&[0; 2 + 2 + 2 + 4], &offset.to_le_bytes(), member.name.as_bytes(), &extra]);
            self.sink.write_all(&record)?;
        }
        let size = self.sink.written - start;
        let count = self.members.len() as u64;
        let limit = u64::from(u32::MAX);
        let mut record = Vec::new();
        if count >= u64::from(u16::MAX) || size >= limit || start >= limit {
            let place = self.sink.written;
            put(&mut record, &[&END64.to_le_bytes(), &(END64_LEN as u64 - 12).to_le_bytes()]);
            put(&mut record, &[&VERSION.to_le_bytes(), &VERSION.to_le_bytes(), &[0; 8]]);
            put(&mut record, &[&count.to_le_bytes(), &count.to_le_bytes()]);
            put(&mut record, &[&size.to_le_bytes(), &start.to_le_bytes()]);
            put(&mut record, &[&LOCATOR64.to_le_bytes(), &[0; 4], &place.to_le_bytes(), &1u32.to_le_bytes()]);
        }
        let count = count.min(u16::MAX.into()) as u16;
        put(&mut record, &[&END.to_le_bytes(), &[0; 4], &count.to_le_bytes(), &count.to_le_bytes()]);
        put(
            &mut record,
            &[&(size.min(limit) as u32).to_le_bytes(), &(start.min(limit) as u32).to_le_bytes()],
        );
        put(&mut record, &[&[0; 2]]);
        self.sink.write_all(&record)?;
        Ok(())
    }
}

fn put(record: &mut Vec<u8>, fields: &[&[u8]]) {
    fields.iter().for_each(|field| record.extend_from_slice(field));
}

struct Summed<'a, W> {
    sink: &'a mut W,
    crc: Crc,
}

impl<W: Write> Write for Summed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.sink.write(bytes)?;
        self.crc.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn written(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut sink = Cursor::new(Vec::new());
        let mut writer = Writer::new(&mut sink, 64);
        for (name, content) in members {
            writer.bytes(name, content).expect("memory does not fail");
        }
        writer.finish().expect("memory does not fail");
        sink.into_inner()
    }

    #[test]
    fn contents_come_back_aligned_and_checked() {
        let bytes = written(&[("a/data.pkl", b"hello"), ("a/empty", b""), ("a/\u{fc}", &[7; 100])]);
        let mut archive = Archive::open(Cursor::new(&bytes)).expect("a whole archive");
        assert_eq!(archive.names().collect::<Vec<_>>(), ["a/data.pkl", "a/empty", "a/\u{fc}"]);
        assert_eq!(archive.read("a/data.pkl", 10).expect("there"), b"hello");
        assert_eq!(archive.read("a/empty", 10).expect("there"), b"");
        assert!(archive.read("a/\u{fc}", 10).is_err());
        assert!(archive.read("b", 10).is_err());
        let at = bytes.windows(5).position(|w| w == b"hello").expect("stored");
        assert_eq!(at % 64, 0);
        let mut damaged = bytes;
        damaged[at] ^= 1;
        let mut archive = Archive::open(Cursor::new(&damaged)).expect("the directory is whole");
        assert!(archive.read("a/data.pkl", 10).is_err());
    }

    #[test]
    fn more_members_than_sixteen_bits_count() {
        let names: Vec<String> = (0..70_000).map(|i| i.to_string()).collect();
        let members: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), n.as_bytes())).collect();
        let bytes = written(&members);
        let mut archive = Archive::open(Cursor::new(bytes)).expect("a whole archive");
        assert_eq!(archive.names().count(), 70_000);
        assert_eq!(archive.read("69999", 10).expect("there"), b"69999");
    }
}
