//! Images, one or a grid of them.

use kiln_autograd::{DType, Error, Result, Tensor};
use plotters::style::colors::colormaps::{ColorMap, ViridisRGB};

use crate::Figure;

/// How numbers become colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colormap {
    /// From dark blue over green to yellow: matplotlib's default.
    #[default]
    Viridis,
    /// From black to white.
    Gray,
}

impl Colormap {
    /// The colour of a number between 0 and 1.
    fn color(self, at: f64) -> [u8; 3] {
        match self {
            Colormap::Viridis => {
                let color = ViridisRGB.get_color_normalized(at, 0.0, 1.0);
                [color.0, color.1, color.2]
            }
            Colormap::Gray => [(at * 255.0).round() as u8; 3],
        }
    }
}

const WHITE: [u8; 3] = [255; 3];

/// The most pixels of an image.
const MOST_PIXELS: usize = 4_000_000;

/// The pixels of an image, row by row.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<[u8; 3]>,
}

impl Picture {
    pub(crate) fn new(image: &Tensor, colormap: Colormap) -> Result<Picture> {
        let image = image.detach();
        let dims = image.dims();
        let (height, width, color) = match dims.as_slice() {
            &[h, w] | &[1, h, w] | &[h, w, 1] => (h, w, false),
            &[h, w, 3] | &[3, h, w] => (h, w, true),
            _ => {
                return Err(Error::shape(
                    "imshow",
                    format!(
                        "Invalid shape {dims:?} for image data: [H, W], [H, W, 3] or [3, H, W] is expected"
                    ),
                ));
            }
        };
        if height * width > MOST_PIXELS {
            return Err(Error::shape(
                "imshow",
                format!("{height} by {width} pixels are more than {MOST_PIXELS}"),
            ));
        }
        let image = if dims.first() == Some(&3) && dims.last() != Some(&3) {
            image.permute(&[1, 2, 0])?
        } else {
            image
        };
        let bytes = image.dtype() == DType::U8;
        let numbers: Vec<f64> = image.to_dtype(DType::F64)?.to_vec()?;
        let pixels = if color {
            let channel = |v: f64| if bytes { v as u8 } else { (v.clamp(0.0, 1.0) * 255.0).round() as u8 };
            let pixel = |p: &[f64]| match p.iter().all(|v| v.is_finite()) {
                true => [channel(p[0]), channel(p[1]), channel(p[2])],
                false => WHITE,
            };
            numbers.chunks_exact(3).map(pixel).collect()
        } else {
            let finite = || numbers.iter().copied().filter(|v| v.is_finite());
            let (low, high) =
                (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
            // Halved, so that the distance of the largest numbers is finite as well.
            let span = high / 2.0 - low / 2.0;
            let at = |v: f64| if span > 0.0 { ((v / 2.0 - low / 2.0) / span).clamp(0.0, 1.0) } else { 0.0 };
            numbers.iter().map(|&v| if v.is_finite() { colormap.color(at(v)) } else { WHITE }).collect()
        };
        Ok(Picture { width, height, pixels })
    }
}

/// Images in a grid of `rows` by `columns`, row by row, each with its title if there is one. Fewer images leave cells
/// empty.
///
/// ```
/// use kiln_autograd::Tensor;
/// use kiln_plot::{Colormap, show_images};
/// let digits = Tensor::rand([10, 28, 28]);
/// let figure = show_images(&digits.unbind(0)?, 2, 5, &["five", "zero"], Colormap::Gray)?;
/// assert!(figure.to_png()?.starts_with(b"\x89PNG"));
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
///
/// # Errors
/// More images than cells; images that [`Axes::imshow`](crate::Axes::imshow) refuses.
pub fn show_images(
    images: &[Tensor],
    rows: usize,
    columns: usize,
    titles: &[&str],
    colormap: Colormap,
) -> Result<Figure> {
    let mut figure = Figure::subplots(rows, columns)?.figsize(1.5 * columns as f64, 1.7 * rows as f64)?;
    if images.len() > figure.axes.len() {
        return Err(Error::value(
            "show_images",
            format!("{} images for a grid of {rows} by {columns}", images.len()),
        ));
    }
    for (i, (axes, image)) in figure.axes.iter_mut().zip(images).enumerate() {
        axes.imshow(image, colormap)?;
        if let Some(title) = titles.get(i) {
            axes.title(*title);
        }
    }
    Ok(figure)
}
