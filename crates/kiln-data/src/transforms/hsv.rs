//! Colours by hue, saturation and value: Smith, "Color gamut transform pairs" (1978).

use kiln_autograd::kiln_ops::DType;
use kiln_autograd::{Result, Tensor};

/// Hue, saturation and value, each `[.., h, w]` from 0 to 1, of red, green and blue `[.., 3, h, w]`.
pub(super) fn rgb_to_hsv(image: &Tensor) -> Result<[Tensor; 3]> {
    let [r, g, b] = [image.select(-3, 0)?, image.select(-3, 1)?, image.select(-3, 2)?];
    let most = r.maximum(&g)?.maximum(&b)?;
    let least = r.minimum(&g)?.minimum(&b)?;
    let gray = most.eq(&least)?;
    let range = most.sub(&least)?;
    let ones = most.ones_like()?;
    // Where all are equal range is 0, and so are hue and saturation, whatever they are divided by.
    let saturation = range.div(&ones.where_self(&gray, &most)?)?;
    let divisor = ones.where_self(&gray, &range)?;
    let far = |x: &Tensor| most.sub(x)?.div(&divisor);
    let (rc, gc, bc) = (far(&r)?, far(&g)?, far(&b)?);
    // The sixth of the circle follows from which colour is the strongest; the first one of equals counts.
    let hue = gc.add(4.0)?.sub(&rc)?;
    let hue = rc.add(2.0)?.sub(&bc)?.where_self(&most.eq(&g)?, &hue)?;
    let hue = bc.sub(&gc)?.where_self(&most.eq(&r)?, &hue)?;
    let hue = hue.div(6.0)?.add(1.0)?.fmod(1.0)?;
    Ok([hue, saturation, most])
}

/// Red, green and blue `[.., 3, h, w]`.
pub(super) fn hsv_to_rgb([h, s, v]: &[Tensor; 3]) -> Result<Tensor> {
    let sixths = h.mul(6.0)?;
    let sixth = sixths.floor()?;
    let f = sixths.sub(&sixth)?;
    let sixth = sixth.to_dtype(DType::I32)?.remainder(6)?;
    let mixed = |part: &Tensor| v.mul(&part.rsub(1.0)?)?.clamp(0.0, 1.0);
    let p = mixed(s)?;
    let q = mixed(&s.mul(&f)?)?;
    let t = mixed(&s.mul(&f.rsub(1.0)?)?)?;
    // Which of them red, green and blue are, in each sixth of the circle.
    let colours = [[v, &q, &p, &p, &t, v], [&t, v, v, &q, &p, &p], [&p, &p, &t, v, v, &q]];
    let mut planes = Vec::with_capacity(3);
    for choices in colours {
        let mut plane = choices[5].clone();
        for (i, choice) in choices.into_iter().enumerate().take(5) {
            plane = choice.where_self(&sixth.eq(i as i64)?, &plane)?;
        }
        planes.push(plane);
    }
    Tensor::stack(&planes.iter().collect::<Vec<_>>(), -3)
}
