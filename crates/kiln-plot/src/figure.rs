//! [`Figure`]: plots side by side, and the files they are saved to.

use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use kiln_autograd::{Error, Result};

use crate::axes::Axes;
use crate::{png, render};

/// A picture of one plot or of a grid of them. What is called on the figure itself goes to its first plot.
#[derive(Clone, Debug)]
pub struct Figure {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) axes: Vec<Axes>,
    /// Width and height in pixels.
    pub(crate) size: (u32, u32),
}

/// matplotlib's pixels per inch.
const DPI: f64 = 100.0;

/// The most pixels along a side.
const LONGEST: f64 = 16_384.0;

impl Default for Figure {
    fn default() -> Self {
        Figure { rows: 1, columns: 1, axes: vec![Axes::default()], size: (640, 480) }
    }
}

impl Figure {
    /// One empty plot, 6.4 by 4.8 inches.
    pub fn new() -> Figure {
        Figure::default()
    }

    /// A grid of empty plots (`plt.subplots`); [`Figure::at`] gives one of them.
    ///
    /// # Errors
    /// No plots, or more than 10000.
    pub fn subplots(rows: usize, columns: usize) -> Result<Figure> {
        match rows.checked_mul(columns) {
            Some(n @ 1..=10_000) => {
                Ok(Figure { rows, columns, axes: vec![Axes::default(); n], ..Figure::default() })
            }
            _ => Err(Error::value("subplots", format!("a grid of {rows} by {columns} plots"))),
        }
    }

    /// Another size, in inches of 100 pixels (`figsize`).
    ///
    /// # Errors
    /// A side without pixels or with more than 16384.
    pub fn figsize(mut self, width: f64, height: f64) -> Result<Figure> {
        let pixels = |inches: f64| {
            let n = (inches * DPI).round();
            if (1.0..=LONGEST).contains(&n) { Some(n as u32) } else { None }
        };
        match (pixels(width), pixels(height)) {
            (Some(w), Some(h)) => {
                self.size = (w, h);
                Ok(self)
            }
            _ => Err(Error::value("figsize", format!("a figure of {width} by {height} inches"))),
        }
    }

    /// The plot in a row and a column, counted from 0.
    ///
    /// # Errors
    /// There is none.
    pub fn at(&mut self, row: usize, column: usize) -> Result<&mut Axes> {
        let (rows, columns) = (self.rows, self.columns);
        if row >= rows || column >= columns {
            return Err(Error::index(
                "subplots",
                format!("no plot ({row}, {column}) in a grid of {rows} by {columns}"),
            ));
        }
        Ok(&mut self.axes[row * columns + column])
    }

    /// The picture as a text in the SVG format.
    ///
    /// # Errors
    /// Numbers that no axis can show.
    pub fn to_svg(&self) -> Result<String> {
        render::svg(self)
    }

    /// The picture as the bytes of a PNG file.
    ///
    /// # Errors
    /// As [`Figure::to_svg`].
    pub fn to_png(&self) -> Result<Vec<u8>> {
        png::encode(&render::rgb(self)?, self.size)
    }

    /// Saves the picture; the name's end, `.svg` or `.png`, says how (`plt.savefig`). An existing file is replaced whole
    /// or not at all.
    ///
    /// # Errors
    /// Another end; a folder that cannot be written to; as [`Figure::to_svg`].
    pub fn savefig(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let end = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        let bytes = match end.as_str() {
            "svg" => self.to_svg()?.into_bytes(),
            "png" => self.to_png()?,
            _ => {
                return Err(Error::value(
                    "savefig",
                    format!("Format '{end}' is not supported (supported formats: png, svg)"),
                ));
            }
        };
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("figure");
        let beside = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let written = std::fs::File::create(&beside).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.and_then(|()| std::fs::rename(&beside, path)).map_err(|error| {
            // What was written so far is of no use; it may never have been created.
            let _ = std::fs::remove_file(&beside);
            Error::io(path, error)
        })
    }
}

impl Deref for Figure {
    type Target = Axes;

    fn deref(&self) -> &Axes {
        &self.axes[0]
    }
}

impl DerefMut for Figure {
    fn deref_mut(&mut self) -> &mut Axes {
        &mut self.axes[0]
    }
}
