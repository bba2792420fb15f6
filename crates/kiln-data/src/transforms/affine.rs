//! Turned, moved, scaled and sheared images: [`RandomRotation`], [`RandomAffine`].

use kiln_autograd::{DType, Error, GridMode, GridPadding, Result, Tensor, no_grad};

use super::resample::Interpolation;
use super::{Transform, between, dimensions, in_order};

/// From pixels of the result to those of the image, both seen from the middle: `[a, b, c, d, e, f]` leads from `(x, y)` to
/// `(a x + b y + c, d x + e y + f)`.
type Matrix = [f64; 6];

/// The way back of a rotation about `center` by `angle` degrees, shears by degrees, a scale and a translation.
fn inverse(center: [f64; 2], angle: f64, translate: [f64; 2], scale: f64, shear: [f64; 2]) -> Matrix {
    let (turn, sx, sy) = (angle.to_radians(), shear[0].to_radians(), shear[1].to_radians());
    let ([cx, cy], [tx, ty]) = (center, translate);
    let (sin, cos) = (libm::sin(turn - sy), libm::cos(turn - sy));
    let (cos_sy, tan_sx) = (libm::cos(sy), libm::tan(sx));
    let a = cos / cos_sy;
    let b = -cos * tan_sx / cos_sy - libm::sin(turn);
    let c = sin / cos_sy;
    let d = -sin * tan_sx / cos_sy + libm::cos(turn);
    let [d, b, c, a] = [d, -b, -c, a].map(|x| x / scale);
    [d, b, d * (-cx - tx) + b * (-cy - ty) + cx, c, a, c * (-cx - tx) + a * (-cy - ty) + cy]
}

/// The width and height of a turned image that is shown whole.
fn expanded(matrix: &Matrix, w: usize, h: usize) -> [usize; 2] {
    let m = matrix.map(|x| x as f32);
    let (w, h) = (w as f32, h as f32);
    let corners = [[-0.5 * w, -0.5 * h], [-0.5 * w, 0.5 * h], [0.5 * w, 0.5 * h], [0.5 * w, -0.5 * h]];
    let across = corners.map(|[x, y]| x * m[0] + y * m[1] + m[2] + w * 0.5);
    let down = corners.map(|[x, y]| x * m[3] + y * m[4] + m[5] + h * 0.5);
    // Cut after four digits, so that a last one does not add a row.
    let cut = |x: f32| (x / 1e-4).trunc() * 1e-4;
    let size = |places: [f32; 4]| {
        let most = places.into_iter().fold(f32::NEG_INFINITY, f32::max);
        let least = places.into_iter().fold(f32::INFINITY, f32::min);
        (cut(most).ceil() - cut(least).floor()) as usize
    };
    [size(across), size(down)]
}

/// The image seen through a matrix, in a result of `ow` by `oh` pixels; what lies outside of it is `fill`. A pixel at the
/// border then counts by how much of it lies within; without a fill its other part is 0.
fn through(
    op: &'static str,
    image: &Tensor,
    matrix: &Matrix,
    [ow, oh]: [usize; 2],
    interpolation: Interpolation,
    fill: Option<f64>,
) -> Result<Tensor> {
    let [channels, h, w] = dimensions(op, image)?;
    let mode = match interpolation {
        Interpolation::Nearest => GridMode::Nearest,
        Interpolation::Bilinear => GridMode::Bilinear,
        other => {
            let text = format!("Interpolation mode {other:?} is unsupported; use Nearest or Bilinear");
            return Err(Error::value(op, text));
        }
    };
    let dtype = if image.dtype().is_float() { image.dtype() } else { DType::F32 };
    no_grad(|| {
        // Coordinates from -1 to 1, as the sampler takes them.
        let row = |m: [f64; 3], half: f64| -> Result<Tensor> {
            Tensor::from_vec(m.to_vec(), [3])?.to_dtype(dtype)?.div(half)
        };
        let [a, b, c, d, e, f] = *matrix;
        let theta = Tensor::stack(&[&row([a, b, c], 0.5 * w as f64)?, &row([d, e, f], 0.5 * h as f64)?], 1)?;
        let middle = |n: usize| {
            let end = n as f64 * 0.5;
            Tensor::linspace(0.5 - end, end - 0.5, n).to_dtype(dtype)
        };
        let (x, y) = (middle(ow)?.expand([oh, ow])?, middle(oh)?.unsqueeze(1)?.expand([oh, ow])?);
        let places = Tensor::stack(&[&x, &y, &x.ones_like()?], -1)?.reshape([1, oh * ow, 3])?;
        let grid = places.bmm(&theta.unsqueeze(0)?)?.reshape([1, oh, ow, 2])?.to_device(image.device())?;

        let mut dims = image.dims();
        let rank = dims.len();
        let batch = dims[..rank - 3].iter().product::<usize>();
        let pixels = image.reshape([batch, channels, h, w])?.to_dtype(dtype)?;
        let grid = grid.expand([batch, oh, ow, 2])?;
        let sample = |t: &Tensor| t.grid_sample(&grid, mode, GridPadding::Zeros, false);
        let values = sample(&pixels)?;
        let filled = match fill {
            None => values,
            Some(fill) => {
                // How much of each pixel lies within the image.
                let inside = sample(&pixels.new_ones([batch, 1, h, w]))?;
                if mode == GridMode::Nearest {
                    values.masked_fill(&inside.lt(0.5)?, fill)?
                } else {
                    values.mul(&inside)?.add(&inside.rsub(1.0)?.mul(fill)?)?
                }
            }
        };
        dims[rank - 2..].copy_from_slice(&[oh, ow]);
        let shaped = filled.reshape(dims)?;
        if image.dtype().is_float() { Ok(shaped) } else { shaped.round()?.to_dtype(image.dtype()) }
    })
}

/// A centre in pixels, seen from the middle of the image.
fn from_middle(center: Option<[f64; 2]>, h: usize, w: usize) -> [f64; 2] {
    center.map_or([0.0; 2], |[x, y]| [x - w as f64 * 0.5, y - h as f64 * 0.5])
}

/// The image turned by `angle` degrees against the clock, about `center` `[x, y]` in pixels or the middle; `expand` makes the
/// result as large as the turned image. `fill` is what lies around it; without one, border pixels fade to 0.
///
/// # Errors
/// The tensor is no image; an interpolation other than nearest and bilinear.
pub fn rotate(
    image: &Tensor,
    angle: f64,
    interpolation: Interpolation,
    expand: bool,
    center: Option<[f64; 2]>,
    fill: Option<f64>,
) -> Result<Tensor> {
    let [_, h, w] = dimensions("rotate", image)?;
    let matrix = inverse(from_middle(center, h, w), -angle, [0.0; 2], 1.0, [0.0; 2]);
    let size = if expand { expanded(&matrix, w, h) } else { [w, h] };
    through("rotate", image, &matrix, size, interpolation, fill)
}

/// How [`affine`] moves an image; the default moves nothing.
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    /// Degrees, with the clock.
    pub angle: f64,
    /// Pixels to the right and down.
    pub translate: [f64; 2],
    /// The factor of its size.
    pub scale: f64,
    /// Degrees along x and y.
    pub shear: [f64; 2],
    /// What stays in its place, in pixels; the middle by default.
    pub center: Option<[f64; 2]>,
}

impl Default for Affine {
    fn default() -> Affine {
        Affine { angle: 0.0, translate: [0.0; 2], scale: 1.0, shear: [0.0; 2], center: None }
    }
}

/// The image turned, moved, scaled and sheared; `fill` as for [`rotate`].
///
/// # Errors
/// The tensor is no image; a scale that is not positive; an interpolation other than nearest and bilinear.
pub fn affine(
    image: &Tensor,
    how: &Affine,
    interpolation: Interpolation,
    fill: Option<f64>,
) -> Result<Tensor> {
    let [_, h, w] = dimensions("affine", image)?;
    if how.scale.is_nan() || how.scale <= 0.0 {
        return Err(Error::value("affine", format!("Argument scale should be positive, got {}", how.scale)));
    }
    let matrix = inverse(from_middle(how.center, h, w), how.angle, how.translate, how.scale, how.shear);
    through("affine", image, &matrix, [w, h], interpolation, fill)
}

/// Images turned by a random angle (`torchvision.transforms.RandomRotation`).
#[derive(Clone, Copy, Debug)]
pub struct RandomRotation {
    degrees: (f64, f64),
    interpolation: Interpolation,
    expand: bool,
    center: Option<[f64; 2]>,
    fill: f64,
}

impl RandomRotation {
    /// By up to so many degrees either way, to the nearest pixels, with zeros around.
    pub fn new(degrees: f64) -> RandomRotation {
        RandomRotation::between(-degrees, degrees)
    }

    /// By an angle of this range.
    pub fn between(least: f64, greatest: f64) -> RandomRotation {
        let interpolation = Interpolation::Nearest;
        RandomRotation { degrees: (least, greatest), interpolation, expand: false, center: None, fill: 0.0 }
    }

    /// How pixels between pixels are found: nearest or bilinear.
    #[must_use]
    pub fn interpolation(self, interpolation: Interpolation) -> RandomRotation {
        RandomRotation { interpolation, ..self }
    }

    /// Whether the result is as large as the turned image.
    #[must_use]
    pub fn expand(self, expand: bool) -> RandomRotation {
        RandomRotation { expand, ..self }
    }

    /// What stays in its place, `[x, y]` in pixels; the middle by default.
    #[must_use]
    pub fn center(self, center: [f64; 2]) -> RandomRotation {
        RandomRotation { center: Some(center), ..self }
    }

    /// The value around the image.
    #[must_use]
    pub fn fill(self, fill: f64) -> RandomRotation {
        RandomRotation { fill, ..self }
    }
}

impl Transform for RandomRotation {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        in_order("RandomRotation", "degrees", self.degrees, (f64::MIN, f64::MAX))?;
        let angle = between("RandomRotation", self.degrees.0, self.degrees.1)?;
        rotate(image, angle, self.interpolation, self.expand, self.center, Some(self.fill))
    }
}

/// Images turned, moved, scaled and sheared at random (`torchvision.transforms.RandomAffine`).
#[derive(Clone, Copy, Debug)]
pub struct RandomAffine {
    degrees: (f64, f64),
    translate: Option<[f64; 2]>,
    scale: Option<(f64, f64)>,
    shear: Option<[(f64, f64); 2]>,
    interpolation: Interpolation,
    fill: f64,
    center: Option<[f64; 2]>,
}

impl RandomAffine {
    /// Turned by up to so many degrees either way, to the nearest pixels, with zeros around.
    pub fn new(degrees: f64) -> RandomAffine {
        RandomAffine {
            degrees: (-degrees, degrees),
            translate: None,
            scale: None,
            shear: None,
            interpolation: Interpolation::Nearest,
            fill: 0.0,
            center: None,
        }
    }

    /// Turned by an angle of this range.
    #[must_use]
    pub fn degrees(self, least: f64, greatest: f64) -> RandomAffine {
        RandomAffine { degrees: (least, greatest), ..self }
    }

    /// Moved by up to these parts of the width and of the height either way.
    #[must_use]
    pub fn translate(self, across: f64, down: f64) -> RandomAffine {
        RandomAffine { translate: Some([across, down]), ..self }
    }

    /// Scaled by a factor of this range.
    #[must_use]
    pub fn scale(self, least: f64, greatest: f64) -> RandomAffine {
        RandomAffine { scale: Some((least, greatest)), ..self }
    }

    /// Sheared along x by up to so many degrees either way.
    #[must_use]
    pub fn shear(self, degrees: f64) -> RandomAffine {
        self.shear_x(-degrees, degrees)
    }

    /// Sheared along x by degrees of this range.
    #[must_use]
    pub fn shear_x(self, least: f64, greatest: f64) -> RandomAffine {
        RandomAffine { shear: Some([(least, greatest), (0.0, 0.0)]), ..self }
    }

    /// Sheared along x and along y by degrees of these ranges.
    #[must_use]
    pub fn shear_both(self, x: (f64, f64), y: (f64, f64)) -> RandomAffine {
        RandomAffine { shear: Some([x, y]), ..self }
    }

    /// How pixels between pixels are found: nearest or bilinear.
    #[must_use]
    pub fn interpolation(self, interpolation: Interpolation) -> RandomAffine {
        RandomAffine { interpolation, ..self }
    }

    /// The value around the image.
    #[must_use]
    pub fn fill(self, fill: f64) -> RandomAffine {
        RandomAffine { fill, ..self }
    }

    /// What stays in its place, `[x, y]` in pixels; the middle by default.
    #[must_use]
    pub fn center(self, center: [f64; 2]) -> RandomAffine {
        RandomAffine { center: Some(center), ..self }
    }

    fn draw(&self, h: usize, w: usize) -> Result<Affine> {
        const OP: &str = "RandomAffine";
        let mut drawn = Affine { center: self.center, ..Affine::default() };
        drawn.angle = between(OP, self.degrees.0, self.degrees.1)?;
        if let Some([across, down]) = self.translate {
            for (to, most) in drawn.translate.iter_mut().zip([across * w as f64, down * h as f64]) {
                *to = between(OP, -most, most)?.round_ties_even();
            }
        }
        if let Some((least, greatest)) = self.scale {
            drawn.scale = between(OP, least, greatest)?;
        }
        if let Some([x, y]) = self.shear {
            drawn.shear[0] = between(OP, x.0, x.1)?;
            // A range of nothing but 0 draws nothing.
            if y != (0.0, 0.0) {
                drawn.shear[1] = between(OP, y.0, y.1)?;
            }
        }
        Ok(drawn)
    }
}

impl Transform for RandomAffine {
    fn apply(&self, image: &Tensor) -> Result<Tensor> {
        const OP: &str = "RandomAffine";
        let any = (f64::MIN, f64::MAX);
        in_order(OP, "degrees", self.degrees, any)?;
        if let Some([across, down]) = self.translate {
            in_order(OP, "translation", (across, across), (0.0, 1.0))?;
            in_order(OP, "translation", (down, down), (0.0, 1.0))?;
        }
        self.scale.map_or(Ok(()), |scale| in_order(OP, "scale", scale, (f64::MIN_POSITIVE, f64::MAX)))?;
        for range in self.shear.iter().flatten() {
            in_order(OP, "shear", *range, any)?;
        }
        let [_, h, w] = dimensions(OP, image)?;
        affine(image, &self.draw(h, w)?, self.interpolation, Some(self.fill))
    }
}
