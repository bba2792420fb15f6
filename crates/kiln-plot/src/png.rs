//! Writing PNG files: eight bits of red, green and blue.

use kiln_autograd::{Error, Result};
use png::{BitDepth, ColorType, Encoder};

/// The file of an image of rows of pixels.
pub(crate) fn encode(rgb: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(Error::other)?;
    writer.write_image_data(rgb).map_err(Error::other)?;
    writer.finish().map_err(Error::other)?;
    Ok(file)
}
