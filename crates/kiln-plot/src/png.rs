//! Writing PNG files (ISO/IEC 15948): eight bits of red, green and blue.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use kiln_autograd::{Error, Result};

const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
/// Eight bits a channel, true colour, and the only methods of compression, filtering and no interlacing.
const TRUE_COLOR: [u8; 5] = [8, 2, 0, 0, 0];

/// The file of an image of rows of pixels.
pub(crate) fn encode(rgb: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>> {
    let row = 3 * width as usize;
    let mut data = ZlibEncoder::new(Vec::new(), Compression::default());
    for line in rgb.chunks_exact(row) {
        // Filter 0: the bytes as they are. Plots have long runs of one colour anyway.
        data.write_all(&[0]).and_then(|()| data.write_all(line)).map_err(Error::other)?;
    }
    let data = data.finish().map_err(Error::other)?;
    let mut file = SIGNATURE.to_vec();
    let size: Vec<u8> = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(&mut file, b"IHDR", &[size.as_slice(), &TRUE_COLOR].concat());
    chunk(&mut file, b"IDAT", &data);
    chunk(&mut file, b"IEND", &[]);
    Ok(file)
}

fn chunk(file: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    let mut crc = Crc::new();
    crc.update(name);
    crc.update(data);
    // A plot's data is far below the 2 GiB that a chunk may have.
    file.extend((data.len() as u32).to_be_bytes());
    file.extend(name);
    file.extend(data);
    file.extend(crc.sum().to_be_bytes());
}
