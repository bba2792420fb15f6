//! Reading an archive: the directory at once, members on demand.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::*;
use crate::fault::{Outcome, unsupported, wrong};

/// Deflate cannot shrink anything more than this; who claims more lies.
const MAX_RATIO: u64 = 1032;
/// The longest comment at the end of an archive.
const MAX_COMMENT: u64 = u16::MAX as u64;

/// An open archive.
pub(crate) struct Archive<R> {
    source: R,
    members: Vec<Member>,
    places: HashMap<String, usize>,
}

struct Member {
    name: String,
    method: u16,
    crc: u32,
    /// Bytes in the file, and of the content.
    packed: u64,
    size: u64,
    header: u64,
}

/// The numbers of a record, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, n: usize) -> Outcome<&'a [u8]> {
        let Some((head, rest)) = self.0.split_at_checked(n) else {
            return wrong("the zip directory is cut off");
        };
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn u16(&mut self) -> Outcome<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Outcome<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Outcome<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

/// Where the directory lies.
struct Directory {
    offset: u64,
    size: u64,
    count: u64,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory.
    pub(crate) fn open(mut source: R) -> Outcome<Archive<R>> {
        let length = source.seek(SeekFrom::End(0))?;
        let directory = find_directory(&mut source, length)?;
        let mut bytes = Vec::new();
        source.seek(SeekFrom::Start(directory.offset))?;
        source.by_ref().take(directory.size).read_to_end(&mut bytes)?;
        let mut fields = Fields(&bytes);
        let (mut members, mut places) = (Vec::new(), HashMap::new());
        while !fields.0.is_empty() {
            let member = Member::parse(&mut fields)?;
            if places.insert(member.name.clone(), members.len()).is_some() {
                return wrong(format!("the zip archive has two members named {:?}", member.name));
            }
            members.push(member);
        }
        if members.len() as u64 != directory.count {
            let (found, said) = (members.len(), directory.count);
            return wrong(format!("the zip directory has {found} entries and claims {said}"));
        }
        check_places(&members, directory.offset)?;
        Ok(Archive { source, members, places })
    }

    /// The names of the members, in the directory's order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|m| m.name.as_str())
    }

    /// The size of a member's content.
    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        self.places.get(name).map(|&place| self.members[place].size)
    }

    /// Calls `use_it` with the content of a member, which it must read to the end, and its size.
    pub(crate) fn member<T>(
        &mut self,
        name: &str,
        use_it: impl FnOnce(&mut dyn Read, u64) -> Outcome<T>,
    ) -> Outcome<T> {
        let Some(member) = self.places.get(name).map(|&place| &self.members[place]) else {
            return wrong(format!("the zip archive has no member {name:?}"));
        };
        let start = member.find_content(&mut self.source)?;
        self.source.seek(SeekFrom::Start(start))?;
        let packed = self.source.by_ref().take(member.packed);
        let (size, crc) = (member.size, member.crc);
        let outcome = match member.method {
            STORED => checked(packed, size, crc, use_it),
            _ => checked(DeflateDecoder::new(packed), size, crc, use_it),
        };
        outcome.map_err(|fault| fault.about(&format!("the zip member {name:?}")))
    }

    /// The whole content of a member of at most `limit` bytes.
    pub(crate) fn read(&mut self, name: &str, limit: u64) -> Outcome<Vec<u8>> {
        self.member(name, |source, size| {
            if size > limit {
                return wrong(format!("it has {size} bytes, more than the {limit} that make sense"));
            }
            let mut bytes = Vec::new();
            source.read_to_end(&mut bytes)?;
            Ok(bytes)
        })
    }
}

/// Hands out exactly `size` bytes and compares the checksum.
fn checked<T>(
    source: impl Read,
    size: u64,
    crc: u32,
    use_it: impl FnOnce(&mut dyn Read, u64) -> Outcome<T>,
) -> Outcome<T> {
    let mut sum = Summed { source, left: size, crc: Crc::new() };
    let result = use_it(&mut sum, size)?;
    if sum.left > 0 {
        return wrong(format!("{} of its {size} bytes are left over", sum.left));
    }
    if sum.source.read(&mut [0])? > 0 {
        return wrong(format!("it is longer than the {size} bytes that the directory says"));
    }
    if sum.crc.sum() != crc {
        return wrong("its checksum is wrong: the file is damaged");
    }
    Ok(result)
}

struct Summed<S> {
    source: S,
    left: u64,
    crc: Crc,
}

impl<S: Read> Read for Summed<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        let n = self.source.read(&mut buffer[..room])?;
        if n == 0 {
            // Not a clean end for who reads to the end either.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.crc.update(&buffer[..n]);
        self.left -= n as u64;
        Ok(n)
    }
}

fn find_directory<R: Read + Seek>(source: &mut R, length: u64) -> Outcome<Directory> {
    let tail = length.min(END_LEN as u64 + MAX_COMMENT);
    let start = length - tail;
    source.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    source.by_ref().take(tail).read_to_end(&mut bytes)?;
    let is_end = |at: &usize| {
        let record = &bytes[*at..];
        let comment = u16::from_le_bytes([record[20], record[21]]);
        record.starts_with(&END.to_le_bytes()) && record.len() == END_LEN + usize::from(comment)
    };
    let Some(at) =
        (0..=bytes.len().saturating_sub(END_LEN)).rev().filter(|at| at + END_LEN <= bytes.len()).find(is_end)
    else {
        return wrong("the zip archive has no directory at its end: the file is cut off or damaged");
    };
    let mut end = Fields(&bytes[at + 4..]);
    let disks = [end.u16()?, end.u16()?];
    let counts = [end.u16()?, end.u16()?];
    let (size, offset) = (end.u32()?, end.u32()?);
    if disks != [0, 0] || counts[0] != counts[1] {
        return unsupported("zip archives in several parts");
    }
    let at = start + at as u64;
    let small = Directory { offset: offset.into(), size: size.into(), count: counts[1].into() };
    let (directory, limit) = if counts[1] == u16::MAX || size == u32::MAX || offset == u32::MAX {
        find_directory64(source, at)?.unwrap_or((small, at))
    } else {
        (small, at)
    };
    if directory.offset.checked_add(directory.size).is_none_or(|end| end > limit) {
        return wrong("the zip directory lies outside of the file");
    }
    Ok(directory)
}

/// The directory by the records with 64-bit numbers, and where these begin.
fn find_directory64<R: Read + Seek>(source: &mut R, end: u64) -> Outcome<Option<(Directory, u64)>> {
    let Some(at) = end.checked_sub(LOCATOR64_LEN as u64) else { return Ok(None) };
    let mut record = [0; LOCATOR64_LEN];
    source.seek(SeekFrom::Start(at))?;
    source.read_exact(&mut record)?;
    let mut locator = Fields(&record);
    if locator.u32()? != LOCATOR64 {
        return Ok(None);
    }
    let (_disk, place, _disks) = (locator.u32()?, locator.u64()?, locator.u32()?);
    if place.checked_add(END64_LEN as u64).is_none_or(|end| end > at) {
        return wrong("the zip64 directory lies outside of the file");
    }
    let mut record = [0; END64_LEN];
    source.seek(SeekFrom::Start(place))?;
    source.read_exact(&mut record)?;
    let mut end = Fields(&record);
    if end.u32()? != END64 {
        return wrong("the zip64 directory is damaged");
    }
    let _record_length_versions_disks = end.bytes(8 + 2 + 2 + 4 + 4)?;
    let _count_here = end.u64()?;
    let (count, size, offset) = (end.u64()?, end.u64()?, end.u64()?);
    Ok(Some((Directory { offset, size, count }, place)))
}

impl Member {
    fn parse(fields: &mut Fields<'_>) -> Outcome<Member> {
        if fields.u32()? != CENTRAL {
            return wrong("the zip directory is damaged");
        }
        let _versions = fields.bytes(4)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let _time = fields.bytes(4)?;
        let (crc, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let lengths = [fields.u16()?, fields.u16()?, fields.u16()?].map(usize::from);
        let disk = fields.u16()?;
        let _attributes = fields.bytes(6)?;
        let header = fields.u32()?;
        let name = fields.bytes(lengths[0])?;
        let mut extra = Fields(fields.bytes(lengths[1])?);
        let _comment = fields.bytes(lengths[2])?;
        let Ok(name) = std::str::from_utf8(name) else {
            return wrong(format!("a zip member has the name \"{}\", no UTF-8", name.escape_ascii()));
        };
        let mut member = Member {
            name: name.to_owned(),
            method,
            crc,
            packed: packed.into(),
            size: size.into(),
            header: header.into(),
        };
        while extra.0.len() >= 4 {
            let (id, length) = (extra.u16()?, extra.u16()?);
            let mut field = Fields(extra.bytes(length.into())?);
            if id == EXTRA64 {
                // The fields that did not fit, in this order.
                for (short, long) in
                    [(size, &mut member.size), (packed, &mut member.packed), (header, &mut member.header)]
                {
                    if short == u32::MAX {
                        *long = field.u64()?;
                    }
                }
            }
        }
        if flags & 1 != 0 {
            return unsupported(format!("the zip member {name:?} is encrypted"));
        }
        if disk != 0 {
            return unsupported("zip archives in several parts");
        }
        let fits = match method {
            STORED => member.packed == member.size,
            DEFLATED => member.size <= member.packed.saturating_mul(MAX_RATIO).saturating_add(MAX_RATIO),
            _ => return unsupported(format!("the zip member {name:?} is packed by method {method}")),
        };
        if !fits {
            let (size, packed) = (member.size, member.packed);
            return wrong(format!("the zip member {name:?} claims {size} bytes in {packed}"));
        }
        Ok(member)
    }

    /// Where the content begins: behind the header in front of it, whose length only that header says.
    fn find_content<R: Read + Seek>(&self, source: &mut R) -> Outcome<u64> {
        let mut header = [0; LOCAL_LEN];
        source.seek(SeekFrom::Start(self.header))?;
        source.read_exact(&mut header)?;
        let mut fields = Fields(&header);
        let mut name = vec![0; self.name.len()];
        source.read_exact(&mut name)?;
        if fields.u32()? != LOCAL || name != self.name.as_bytes() {
            return wrong(format!("the header of the zip member {:?} is damaged", self.name));
        }
        let _fixed = fields.bytes(LOCAL_LEN - 4 - 4)?;
        let (name, extra) = (fields.u16()?, fields.u16()?);
        Ok(self.header + LOCAL_LEN as u64 + u64::from(name) + u64::from(extra))
    }
}

/// Members lie one after the other in front of the directory: what is read is then never more than the file holds, even if
/// all members are.
fn check_places(members: &[Member], end: u64) -> Outcome<()> {
    let mut order: Vec<&Member> = members.iter().collect();
    order.sort_by_key(|m| m.header);
    let next = order.iter().skip(1).map(|m| m.header).chain([end]);
    for (member, next) in order.iter().zip(next) {
        let least = (LOCAL_LEN + member.name.len()) as u64;
        let stop = member.header.checked_add(least).and_then(|n| n.checked_add(member.packed));
        if stop.is_none_or(|stop| stop > next) {
            return wrong(format!("the zip member {:?} reaches past its place", member.name));
        }
    }
    Ok(())
}
