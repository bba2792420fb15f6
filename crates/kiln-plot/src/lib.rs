//! Plots as matplotlib draws them: curves and points in axes, grids of images, figures that are redrawn while a network
//! trains, saved as SVG or PNG. No display is needed.
//!
//! ```
//! use kiln_autograd::Tensor;
//! use kiln_plot::Figure;
//!
//! let x = Tensor::linspace(0.0, 6.28, 100);
//! let mut figure = Figure::new();
//! figure.plot(&x, &x.sin()?)?.label("sin");
//! figure.plot(&x, &x.cos()?)?.label("cos").dashed();
//! figure.title("Waves").xlabel("x").legend();
//! let svg = figure.to_svg()?;
//! assert!(svg.starts_with("<svg") && svg.contains("Waves"));
//! # Ok::<(), kiln_autograd::Error>(())
//! ```

mod axes;
mod clip;
mod curve;
mod figure;
mod image_grid;
mod live;
mod png;
mod points;
mod render;

pub use axes::Axes;
pub use curve::{Color, Curve};
pub use figure::Figure;
pub use image_grid::{Colormap, show_images};
pub use kiln_autograd::{Error, Result, Tensor};
pub use live::Animator;
pub use points::Points;
