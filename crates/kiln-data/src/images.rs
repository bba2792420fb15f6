//! PNG and JPEG files as tensors: what `torchvision.io` reads.

use std::io::{BufRead, Cursor, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageReader};
use kiln_autograd::{Error, Result, Tensor};

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
    let reader = ImageReader::open(path).map_err(|e| Error::io(path, e))?;
    decode(reader, path, mode)
}

/// The pixels of an image in memory (`torchvision.io.decode_image`): see [`read_image`].
///
/// # Errors
/// As [`read_image`].
pub fn decode_image(bytes: &[u8], mode: ImageMode) -> Result<Tensor> {
    decode(ImageReader::new(Cursor::new(bytes)), Path::new("image"), mode)
}

fn decode<R: BufRead + Seek>(reader: ImageReader<R>, path: &Path, mode: ImageMode) -> Result<Tensor> {
    let reader = reader.with_guessed_format().map_err(|e| Error::io(path, e))?;
    // Files are hostile, and decoders are not ours: one that gives up with a panic is an error too. What memory they may take
    // is limited by default.
    let decoded = catch_unwind(AssertUnwindSafe(|| reader.decode()))
        .map_err(|_| Error::format(path, "the image is damaged: its decoder gave up"))?;
    tensor(decoded.map_err(|e| Error::format(path, e.to_string()))?, mode)
}

fn tensor(image: DynamicImage, mode: ImageMode) -> Result<Tensor> {
    let (h, w) = (image.height() as usize, image.width() as usize);
    let color = image.color();
    let (pixels, channels) = match (mode, color.has_color(), color.has_alpha()) {
        (ImageMode::Unchanged, false, false) => (image.into_luma8().into_raw(), 1),
        (ImageMode::Unchanged, false, true) => (image.into_luma_alpha8().into_raw(), 2),
        (ImageMode::Unchanged, true, true) => (image.into_rgba8().into_raw(), 4),
        (ImageMode::Gray, true, _) => (gray(&image.into_rgb8().into_raw()), 1),
        (ImageMode::Gray, false, _) => (image.into_luma8().into_raw(), 1),
        (ImageMode::Unchanged, true, false) | (ImageMode::Rgb, ..) => (image.into_rgb8().into_raw(), 3),
    };
    Tensor::from_vec(pixels, [h, w, channels])?.permute(&[2, 0, 1])?.contiguous()
}

/// Brightness by the weights of ITU-R 601, in whole numbers as PIL and libjpeg have it.
fn gray(colours: &[u8]) -> Vec<u8> {
    let one = |c: &[u8]| {
        let [r, g, b] = [c[0], c[1], c[2]].map(u32::from);
        ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
    };
    colours.chunks_exact(3).map(one).collect()
}
