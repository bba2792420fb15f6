//! Figures that are redrawn while something runs.

use std::path::PathBuf;

use kiln_autograd::{Error, Result};

use crate::{Axes, Figure};

/// Lines that grow point by point, drawn anew after each: losses and accuracies over epochs. Each frame replaces the last
/// one in its file, which a viewer or browser shows.
///
/// ```
/// use kiln_plot::Animator;
/// let mut animator = Animator::new(&["train loss", "train acc"]);
/// animator.axes().xlabel("epoch").xlim(1.0, 10.0)?;
/// for epoch in 1..=3 {
///     animator.add(epoch as f64, &[Some(1.0 / epoch as f64), None])?;
/// }
/// assert!(animator.figure().to_svg()?.contains("train loss"));
/// # Ok::<(), kiln_autograd::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Animator {
    figure: Figure,
    path: Option<PathBuf>,
    lines: usize,
}

impl Animator {
    /// Lines with these names in the legend, without points. Without [`Animator::path`] nothing is written until the
    /// figure is saved.
    pub fn new(names: &[&str]) -> Animator {
        let mut figure = Figure::new();
        for name in names {
            // Empty lists always have the same length.
            if let Ok(line) = figure.plot([0.0; 0], [0.0; 0]) {
                line.label(*name);
            }
        }
        figure.legend().grid();
        Animator { figure, path: None, lines: names.len() }
    }

    /// The file, `.svg` or `.png`, that every frame is written to.
    pub fn path(mut self, path: impl Into<PathBuf>) -> Animator {
        self.path = Some(path.into());
        self
    }

    /// The plot, for its labels and limits.
    pub fn axes(&mut self) -> &mut Axes {
        &mut self.figure
    }

    /// The figure as it is now.
    pub fn figure(&self) -> &Figure {
        &self.figure
    }

    /// Adds a point to each line that has a value, and draws the next frame.
    ///
    /// # Errors
    /// Another number of values than of lines; the frame cannot be written.
    pub fn add(&mut self, x: f64, values: &[Option<f64>]) -> Result<()> {
        if values.len() != self.lines {
            return Err(Error::value(
                "Animator",
                format!("{} values for {} lines", values.len(), self.lines),
            ));
        }
        for (line, value) in self.figure.curves.iter_mut().zip(values) {
            line.points.extend(value.map(|y| (x, y)));
        }
        match &self.path {
            Some(path) => self.figure.savefig(path),
            None => Ok(()),
        }
    }
}
