//! PNG and JPEG files as tensors: what `torchvision.io` reads.

use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use kiln_autograd::{Error, Result, Tensor};
use png::{Limits, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Which channels an image has in memory (`torchvision.io.ImageReadMode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageMode {
    /// As in the file: gray, gray and alpha, colours, or colours and alpha; palettes become colours.
    #[default]
    Unchanged,
    /// One channel.
    Gray,
    /// Red, green and blue.
    Rgb,
}

/// Larger images, and larger files, are refused: their headers are written quickly.
const LIMIT: usize = 512 << 20;

/// Decoded pixels, those of a row one behind the other.
struct Pixels {
    data: Vec<u8>,
    /// Height, width and channels: gray, gray and alpha, colours, or colours and alpha.
    shape: [usize; 3],
}

/// The pixels of a PNG or JPEG file, u8 `[channels, height, width]` (`torchvision.io.read_image`). The format is told by the
/// content, not by the name. Of 16 bits the upper ones count.
///
/// ```no_run
/// use kiln_data::images::{ImageMode, read_image};
/// let image = read_image("cat.jpg", ImageMode::Rgb)?;
/// assert_eq!(image.dims()[0], 3);
/// # Ok::<(), kiln_data::Error>(())
/// ```
///
/// # Errors
/// The file cannot be read, is damaged, or would take more than 512 MiB.
pub fn read_image(path: impl AsRef<Path>, mode: ImageMode) -> Result<Tensor> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT as u64).read_to_end(&mut bytes));
    read.map_err(|e| Error::io(path, e))?;
    decode(&bytes, path, mode)
}

/// The pixels of an image in memory (`torchvision.io.decode_image`): see [`read_image`].
///
/// # Errors
/// As [`read_image`].
pub fn decode_image(bytes: &[u8], mode: ImageMode) -> Result<Tensor> {
    decode(bytes, Path::new("image"), mode)
}

fn decode(bytes: &[u8], path: &Path, mode: ImageMode) -> Result<Tensor> {
    let bad = |detail: String| Error::format(path, detail);
    let decoder: fn(&[u8], ImageMode) -> Result<Pixels, String> = match bytes {
        [0x89, b'P', b'N', b'G', ..] => png_pixels,
        [0xff, 0xd8, ..] => jpeg_pixels,
        _ => return Err(bad("neither a PNG nor a JPEG file".to_owned())),
    };
    // Files are hostile, and decoders are not ours: one that gives up with a panic is an error too.
    let decoded = catch_unwind(AssertUnwindSafe(|| decoder(bytes, mode)))
        .map_err(|_| bad("the image is damaged: its decoder gave up".to_owned()))?;
    let Pixels { data, shape: [h, w, channels] } = decoded.map_err(bad)?;
    let (data, channels) = in_mode(data, channels, mode);
    Tensor::from_vec(data, [h, w, channels])?.permute(&[2, 0, 1])?.contiguous()
}

/// The number of bytes of an image, if it is not too many.
fn size(bytes: Option<usize>) -> Result<usize, String> {
    bytes.filter(|n| *n <= LIMIT).ok_or_else(|| format!("the image is larger than {} MiB", LIMIT >> 20))
}

fn png_pixels(bytes: &[u8], _mode: ImageMode) -> Result<Pixels, String> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: LIMIT });
    // Palettes, few bits and transparent colours are expanded, 16 bits cut.
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let mut data = vec![0; size(reader.output_buffer_size())?];
    let frame = reader.next_frame(&mut data).map_err(|e| e.to_string())?;
    data.truncate(frame.buffer_size());
    Ok(Pixels { data, shape: [frame.height as usize, frame.width as usize, frame.color_type.samples()] })
}

fn jpeg_pixels(bytes: &[u8], mode: ImageMode) -> Result<Pixels, String> {
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    // Brightness is what the file holds; everything else becomes colours.
    let gray = mode == ImageMode::Gray || decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (space, channels) = if gray { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    size(decoder.output_buffer_size())?;
    let (w, h) = decoder.dimensions().ok_or("no header")?;
    let data = decoder.decode().map_err(|e| e.to_string())?;
    Ok(Pixels { data, shape: [h, w, channels] })
}

/// The channels that are asked for.
fn in_mode(data: Vec<u8>, channels: usize, mode: ImageMode) -> (Vec<u8>, usize) {
    let pixels = data.chunks_exact(channels.max(1));
    match (mode, channels) {
        (ImageMode::Unchanged, _) | (ImageMode::Gray, 1) | (ImageMode::Rgb, 3) => (data, channels),
        (ImageMode::Gray, 2) => (pixels.map(|p| p[0]).collect(), 1),
        (ImageMode::Gray, _) => (pixels.map(brightness).collect(), 1),
        (ImageMode::Rgb, 1 | 2) => (pixels.flat_map(|p| [p[0]; 3]).collect(), 3),
        (ImageMode::Rgb, _) => (pixels.flat_map(|p| [p[0], p[1], p[2]]).collect(), 3),
    }
}

/// By the weights of ITU-R 601, in whole numbers as PIL has it.
fn brightness(colours: &[u8]) -> u8 {
    let [r, g, b] = [colours[0], colours[1], colours[2]].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}
