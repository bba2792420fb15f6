//! From a figure to SVG or pixels, through plotters.

use std::ops::Range;
use std::sync::Once;

use kiln_autograd::{Error, Result};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::axes::Axes;
use crate::clip::{is_inside, visible};
use crate::curve::{self, Curve, Kind};
use crate::figure::Figure;
use crate::image_grid::Picture;

const FONT: &[u8] = include_bytes!("../fonts/DejaVuSans-subset.ttf");
const FAMILY: &str = "sans-serif";
const TITLE_SIZE: u32 = 16;
const TEXT_SIZE: u32 = 13;

/// An axis shows at least this part of its numbers' size: below, neighbouring marks would be the same number.
const SMALLEST_SPAN: f64 = 1e-9;

pub(crate) fn svg(figure: &Figure) -> Result<String> {
    let mut text = String::new();
    draw(figure, SVGBackend::with_string(&mut text, figure.size).into_drawing_area())?;
    Ok(text)
}

/// Rows of pixels of three bytes.
pub(crate) fn rgb(figure: &Figure) -> Result<Vec<u8>> {
    let (width, height) = figure.size;
    let mut pixels = vec![255; 3 * width as usize * height as usize];
    draw(figure, BitMapBackend::with_buffer(&mut pixels, figure.size).into_drawing_area())?;
    Ok(pixels)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::value("savefig", error.to_string())
}

fn draw<B: DrawingBackend>(figure: &Figure, area: DrawingArea<B, Shift>) -> Result<()> {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // The font is a part of this crate, and a test draws with it.
        let _ = register_font(FAMILY, FontStyle::Normal, FONT);
    });
    area.fill(&WHITE).map_err(failed)?;
    let cells = area.split_evenly((figure.rows, figure.columns));
    for (axes, cell) in figure.axes.iter().zip(&cells) {
        match &axes.picture {
            Some(picture) => draw_picture(axes, picture, cell)?,
            // Cells that were left empty stay so, a single empty plot has its axes.
            None if axes.is_blank() && figure.axes.len() > 1 => {}
            None => draw_axes(axes, cell)?,
        }
    }
    area.present().map_err(failed)
}

impl Axes {
    fn is_blank(&self) -> bool {
        self.curves.is_empty() && self.texts.is_empty() && self.title.is_none()
    }
}

fn rgb_of(color: curve::Color) -> RGBColor {
    RGBColor(color.0, color.1, color.2)
}

fn text_style(size: u32) -> TextStyle<'static> {
    (FAMILY, size).into_font().color(&BLACK)
}

/// Where a number lies on an axis; `None` where it lies on none.
fn place(v: f64, log: bool) -> Option<f64> {
    let at = if log { v.log10() } else { v };
    at.is_finite().then_some(at)
}

/// The ends of an axis: those asked for, or so that all numbers fit with matplotlib's margin of 5%.
fn span(
    numbers: impl Iterator<Item = f64>,
    limits: Option<(f64, f64)>,
    log: bool,
    axis: &str,
) -> Result<Range<f64>> {
    let (low, high, margin) = match limits {
        Some((low, high)) => {
            let ends = place(low, log).zip(place(high, log));
            let (low, high) = ends.ok_or_else(|| {
                failed(format!("the limits {low} and {high} of the logarithmic {axis} axis must be positive"))
            })?;
            (low, high, 0.0)
        }
        None => {
            let (low, high) =
                numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
            if low > high { (0.0, 1.0, 0.05) } else { (low, high, 0.05) }
        }
    };
    let size = low.abs().max(high.abs());
    if size > f64::MAX / 4.0 {
        return Err(failed(format!("numbers up to {size:e} are too large for the {axis} axis")));
    }
    let least = (size * SMALLEST_SPAN).max(f64::MIN_POSITIVE / f64::EPSILON);
    let (mut low, mut high) = (low, high);
    if high - low < least {
        let half = if size == 0.0 { 0.5 } else { (0.05 * size).max(least) };
        (low, high) = (low - half, high + half);
    }
    let more = margin * (high - low);
    Ok(low - more..high + more)
}

/// A number at a mark, as short as it can be told.
fn mark(v: f64, log: bool) -> String {
    let v = if log { 10f64.powf(v) } else { v };
    // Between the powers of ten two digits are enough.
    let v = if log { format!("{v:.1e}").parse().unwrap_or(v) } else { v };
    let size = v.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        let text = format!("{v:.2e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trimmed(digits));
    }
    let digits = if size >= 100.0 {
        1
    } else if size >= 1.0 {
        3
    } else {
        6
    };
    let text = format!("{v:.digits$}");
    match trimmed(&text) {
        "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

fn draw_axes<B: DrawingBackend>(axes: &Axes, area: &DrawingArea<B, Shift>) -> Result<()> {
    let place = |(x, y): (f64, f64)| place(x, axes.log_x).zip(place(y, axes.log_y));
    let shown = || axes.curves.iter().flat_map(|c| &c.points).filter_map(|&p| place(p));
    let x = span(shown().map(|p| p.0), axes.xlim, axes.log_x, "x")?;
    let y = span(shown().map(|p| p.1), axes.ylim, axes.log_y, "y")?;
    let mut builder = ChartBuilder::on(area);
    builder.margin(12).x_label_area_size(44).y_label_area_size(64);
    if let Some(title) = &axes.title {
        builder.caption(title, text_style(TITLE_SIZE));
    }
    let mut chart = builder.build_cartesian_2d(x.clone(), y.clone()).map_err(failed)?;
    let (log_x, log_y) = (axes.log_x, axes.log_y);
    let (x_mark, y_mark) = (move |v: &f64| mark(*v, log_x), move |v: &f64| mark(*v, log_y));
    let mut mesh = chart.configure_mesh();
    mesh.label_style(text_style(TEXT_SIZE))
        .axis_desc_style(text_style(TEXT_SIZE))
        .x_labels(8)
        .y_labels(8)
        .x_label_formatter(&x_mark)
        .y_label_formatter(&y_mark)
        .light_line_style(TRANSPARENT);
    if axes.grid {
        mesh.bold_line_style(BLACK.mix(0.15));
    } else {
        mesh.disable_mesh();
    }
    if let Some(label) = &axes.xlabel {
        mesh.x_desc(label);
    }
    if let Some(label) = &axes.ylabel {
        mesh.y_desc(label);
    }
    mesh.draw().map_err(failed)?;
    for curve in &axes.curves {
        draw_curve(curve, &mut chart, &place, (&x, &y))?;
    }
    for (left, base, text) in &axes.texts {
        if let Some(at) = place((*left, *base)) {
            let text = Text::new(text.clone(), at, text_style(TEXT_SIZE));
            chart.draw_series(std::iter::once(text)).map_err(failed)?;
        }
    }
    if axes.legend && axes.curves.iter().any(|c| c.label.is_some()) {
        chart
            .configure_series_labels()
            .label_font(text_style(TEXT_SIZE))
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .position(SeriesLabelPosition::UpperRight)
            .draw()
            .map_err(failed)?;
    }
    Ok(())
}

type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn draw_curve<'a, B: DrawingBackend + 'a>(
    curve: &Curve,
    chart: &mut Chart<'a, B>,
    place: &impl Fn((f64, f64)) -> Option<(f64, f64)>,
    (x, y): (&Range<f64>, &Range<f64>),
) -> Result<()> {
    let color = rgb_of(curve.color);
    let stroke = ShapeStyle::from(color).stroke_width(curve.size);
    match curve.kind {
        Kind::Dots => {
            let dots = curve.points.iter().filter_map(|&p| place(p)).filter(|&p| is_inside(p, x, y));
            let drawn = chart
                .draw_series(dots.map(|p| Circle::new(p, curve.size, color.filled())))
                .map_err(failed)?;
            if let Some(label) = &curve.label {
                let size = curve.size;
                drawn.label(label).legend(move |(x, y)| Circle::new((x + 10, y), size, color.filled()));
            }
        }
        Kind::Line { dashed } => {
            // The label goes to one of the line's parts, also when there are none.
            let mut label = curve.label.as_ref();
            let places: Vec<Option<(f64, f64)>> = curve.points.iter().map(|&p| place(p)).collect();
            let mut parts = visible(&places, x, y);
            if parts.is_empty() {
                parts.push(Vec::new());
            }
            for points in parts {
                let drawn = if dashed {
                    chart.draw_series(DashedLineSeries::new(points, 6, 4, stroke))
                } else {
                    chart.draw_series(LineSeries::new(points, stroke))
                };
                let drawn = drawn.map_err(failed)?;
                if let Some(label) = label.take() {
                    drawn
                        .label(label)
                        .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 20, y)], stroke));
                }
            }
        }
    }
    Ok(())
}

fn draw_picture<B: DrawingBackend>(
    axes: &Axes,
    picture: &Picture,
    area: &DrawingArea<B, Shift>,
) -> Result<()> {
    let area = area.margin(4, 4, 4, 4);
    let area = match &axes.title {
        Some(title) => area.titled(title, text_style(TEXT_SIZE)).map_err(failed)?,
        None => area,
    };
    let (width, height) = area.dim_in_pixel();
    let scale = (f64::from(width) / picture.width as f64).min(f64::from(height) / picture.height as f64);
    if !scale.is_finite() || picture.pixels.is_empty() {
        return Ok(());
    }
    let start = |room: u32, n: usize| (f64::from(room) - scale * n as f64) / 2.0;
    let (left, top) = (start(width, picture.width), start(height, picture.height));
    let x = |i: usize| (left + scale * i as f64).round() as i32;
    let y = |i: usize| (top + scale * i as f64).round() as i32;
    for (i, row) in picture.pixels.chunks_exact(picture.width).enumerate() {
        // Neighbours of one colour are one rectangle.
        let mut j = 0;
        for run in row.chunk_by(|a, b| a == b) {
            let color = RGBColor(run[0][0], run[0][1], run[0][2]);
            let corners = [(x(j), y(i)), (x(j + run.len()), y(i + 1))];
            j += run.len();
            area.draw(&Rectangle::new(corners, color.filled())).map_err(failed)?;
        }
    }
    Ok(())
}
