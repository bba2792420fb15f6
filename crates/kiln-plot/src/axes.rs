//! [`Axes`]: one plot of a figure, what is in it and what is written around it.

use kiln_autograd::{Error, Result, Tensor};

use crate::curve::{Color, Curve, Kind};
use crate::image_grid::{Colormap, Picture};
use crate::points::Points;

/// One plot of a [`Figure`](crate::Figure): series in coordinates, or an image.
#[derive(Clone, Debug, Default)]
pub struct Axes {
    pub(crate) curves: Vec<Curve>,
    pub(crate) picture: Option<Picture>,
    pub(crate) texts: Vec<(f64, f64, String)>,
    pub(crate) title: Option<String>,
    pub(crate) xlabel: Option<String>,
    pub(crate) ylabel: Option<String>,
    pub(crate) xlim: Option<(f64, f64)>,
    pub(crate) ylim: Option<(f64, f64)>,
    pub(crate) log_x: bool,
    pub(crate) log_y: bool,
    pub(crate) grid: bool,
    pub(crate) legend: bool,
}

impl Axes {
    fn add(&mut self, curve: Curve) -> &mut Curve {
        self.curves.push(curve);
        self.curves.last_mut().expect("just pushed")
    }

    fn next_color(&self) -> Color {
        Color::CYCLE[self.curves.len() % Color::CYCLE.len()]
    }

    /// A line through points (`plt.plot`). Where a number is not finite the line has a gap.
    ///
    /// # Errors
    /// Different numbers of `x` and `y`, or millions of them.
    pub fn plot(&mut self, x: impl Points, y: impl Points) -> Result<&mut Curve> {
        let curve = Curve::of("plot", &x, &y, Kind::Line { dashed: false }, self.next_color())?;
        Ok(self.add(curve))
    }

    /// Dots (`plt.scatter`). Those that are not finite are left out.
    ///
    /// # Errors
    /// As [`Axes::plot`].
    pub fn scatter(&mut self, x: impl Points, y: impl Points) -> Result<&mut Curve> {
        let curve = Curve::of("scatter", &x, &y, Kind::Dots, self.next_color())?;
        Ok(self.add(curve))
    }

    /// An image in place of coordinates (`plt.imshow` with `axis('off')`): `[height, width]`, which `colormap` colours
    /// from the smallest to the largest number, or `[height, width, 3]` or `[3, height, width]`, of bytes or of floats
    /// from 0 to 1. What is not finite is white.
    ///
    /// # Errors
    /// Another shape, or more than 4 million pixels.
    pub fn imshow(&mut self, image: &Tensor, colormap: Colormap) -> Result<&mut Axes> {
        self.picture = Some(Picture::new(image, colormap)?);
        Ok(self)
    }

    /// Writes a text that starts at a point of the coordinates (`plt.text`).
    pub fn text(&mut self, x: f64, y: f64, text: impl Into<String>) -> &mut Axes {
        self.texts.push((x, y, text.into()));
        self
    }

    /// The text above.
    pub fn title(&mut self, text: impl Into<String>) -> &mut Axes {
        self.title = Some(text.into());
        self
    }

    /// The text below the horizontal axis.
    pub fn xlabel(&mut self, text: impl Into<String>) -> &mut Axes {
        self.xlabel = Some(text.into());
        self
    }

    /// The text beside the vertical axis.
    pub fn ylabel(&mut self, text: impl Into<String>) -> &mut Axes {
        self.ylabel = Some(text.into());
        self
    }

    /// The ends of the horizontal axis; by default all points fit.
    ///
    /// # Errors
    /// Not two different finite numbers, the smaller one first.
    pub fn xlim(&mut self, low: f64, high: f64) -> Result<&mut Axes> {
        self.xlim = Some(limits("xlim", low, high)?);
        Ok(self)
    }

    /// The ends of the vertical axis; by default all points fit.
    ///
    /// # Errors
    /// As [`Axes::xlim`].
    pub fn ylim(&mut self, low: f64, high: f64) -> Result<&mut Axes> {
        self.ylim = Some(limits("ylim", low, high)?);
        Ok(self)
    }

    /// A logarithmic horizontal axis (`xscale('log')`); what is not positive is not drawn.
    pub fn log_x(&mut self) -> &mut Axes {
        self.log_x = true;
        self
    }

    /// A logarithmic vertical axis (`yscale('log')`); what is not positive is not drawn.
    pub fn log_y(&mut self) -> &mut Axes {
        self.log_y = true;
        self
    }

    /// Lines across at the numbers of the axes.
    pub fn grid(&mut self) -> &mut Axes {
        self.grid = true;
        self
    }

    /// Shows the labels of the series.
    pub fn legend(&mut self) -> &mut Axes {
        self.legend = true;
        self
    }

    /// Removes everything (`cla`).
    pub fn clear(&mut self) {
        *self = Axes::default();
    }
}

fn limits(op: &'static str, low: f64, high: f64) -> Result<(f64, f64)> {
    if low.is_finite() && high.is_finite() && low < high {
        return Ok((low, high));
    }
    Err(Error::value(
        op,
        format!("an axis from {low} to {high}: two finite numbers are needed, the smaller one first"),
    ))
}
