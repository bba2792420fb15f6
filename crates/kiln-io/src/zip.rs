//! The zip container, as far as checkpoints and npz files use it: stored and deflated members, zip64, checksums.
//!
//! The reader believes nothing: members lie inside the file and do not overlap, names are unique, lengths bound what is
//! read, and checksums are compared. The writer aligns what members hold, so that a file can be mapped into memory.

mod read;
mod write;

pub(crate) use read::Archive;
pub(crate) use write::Writer;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;

/// Bytes of the fixed parts of the records.
const LOCAL_LEN: usize = 30;
const END_LEN: usize = 22;
const LOCATOR64_LEN: usize = 20;
const END64_LEN: usize = 56;

/// The extra field with 64-bit sizes.
const EXTRA64: u16 = 1;
/// The id of the field that only takes up room; PyTorch's.
const EXTRA_PADDING: u16 = u16::from_le_bytes(*b"FB");

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
