//! One series of points in a plot and how it looks.

use kiln_autograd::{Error, Result};

use crate::Points;

/// A colour: red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub u8, pub u8, pub u8);

impl Color {
    /// Black.
    pub const BLACK: Color = Color(0, 0, 0);
    /// Red.
    pub const RED: Color = Color(255, 0, 0);
    /// Green, as dark as matplotlib's.
    pub const GREEN: Color = Color(0, 128, 0);
    /// Blue.
    pub const BLUE: Color = Color(0, 0, 255);
    /// Grey.
    pub const GRAY: Color = Color(128, 128, 128);

    /// The colours that series without one get in turn: matplotlib's `C0` to `C9`.
    pub const CYCLE: [Color; 10] = [
        Color(31, 119, 180),
        Color(255, 127, 14),
        Color(44, 160, 44),
        Color(214, 39, 40),
        Color(148, 103, 189),
        Color(140, 86, 75),
        Color(227, 119, 194),
        Color(127, 127, 127),
        Color(188, 189, 34),
        Color(23, 190, 207),
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Line { dashed: bool },
    Dots,
}

/// A line or a set of dots; made by [`Axes::plot`](crate::Axes::plot) and [`Axes::scatter`](crate::Axes::scatter), which
/// hand it out so that its looks can be set.
#[derive(Clone, Debug)]
pub struct Curve {
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) kind: Kind,
    pub(crate) color: Color,
    pub(crate) label: Option<String>,
    /// The width of a line, the radius of a dot, in pixels.
    pub(crate) size: u32,
}

/// Beyond this a file would be too large for anything that shows it.
const MOST_POINTS: usize = 4_000_000;

impl Curve {
    pub(crate) fn new(op: &'static str, x: &[f64], y: &[f64], kind: Kind, color: Color) -> Result<Curve> {
        if x.len() != y.len() {
            return Err(Error::shape(
                op,
                format!(
                    "x and y must have same first dimension, but have shapes ({},) and ({},)",
                    x.len(),
                    y.len()
                ),
            ));
        }
        if x.len() > MOST_POINTS {
            return Err(Error::value(
                op,
                format!(
                    "{} points are more than the {MOST_POINTS} that a file can show; draw every n-th",
                    x.len()
                ),
            ));
        }
        let points = x.iter().copied().zip(y.iter().copied()).collect();
        let size = if kind == Kind::Dots { 3 } else { 2 };
        Ok(Curve { points, kind, color, label: None, size })
    }

    pub(crate) fn of(
        op: &'static str,
        x: &impl Points,
        y: &impl Points,
        kind: Kind,
        color: Color,
    ) -> Result<Curve> {
        Curve::new(op, &x.points()?, &y.points()?, kind, color)
    }

    /// The text in the legend.
    pub fn label(&mut self, text: impl Into<String>) -> &mut Curve {
        self.label = Some(text.into());
        self
    }

    /// The colour; by default the next one of [`Color::CYCLE`].
    pub fn color(&mut self, color: Color) -> &mut Curve {
        self.color = color;
        self
    }

    /// The width of the line or the radius of the dots, in pixels (at most 50).
    pub fn size(&mut self, pixels: u32) -> &mut Curve {
        self.size = pixels.clamp(1, 50);
        self
    }

    /// Draws a dashed line (`linestyle='--'`); dots stay dots.
    pub fn dashed(&mut self) -> &mut Curve {
        if let Kind::Line { dashed } = &mut self.kind {
            *dashed = true;
        }
        self
    }
}
