//! A line search for a point that satisfies the strong Wolfe conditions (Nocedal and Wright, algorithms 3.5 and 3.6).

use kiln_autograd::{Result, Tensor};

use super::largest;

/// What is known of a point of the line.
#[derive(Clone)]
pub(super) struct Point {
    /// The distance from the start, in directions.
    pub(super) t: f64,
    pub(super) loss: f64,
    pub(super) gradient: Tensor,
    /// The derivative of the loss along the direction.
    pub(super) slope: f64,
}

/// Where a search ended, and how often the loss was computed.
pub(super) struct Found {
    pub(super) point: Point,
    pub(super) evaluations: usize,
}

/// How much of the expected decrease is asked for, and how much the slope must flatten.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// A bracket shorter than this is not refined.
const SHORTEST: f64 = 1e-9;

/// The lowest point of the cubic through two points with their slopes, within bounds; their middle where there is none.
fn cubic_minimum(a: &Point, b: &Point, bounds: Option<(f64, f64)>) -> f64 {
    let (low, high) = bounds.unwrap_or((a.t.min(b.t), a.t.max(b.t)));
    let d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t);
    let square = d1 * d1 - a.slope * b.slope;
    // A NaN has no root either.
    if square.is_nan() || square < 0.0 {
        return (low + high) / 2.0;
    }
    let d2 = square.sqrt();
    let (near, far) = if a.t <= b.t { (a, b) } else { (b, a) };
    let lowest = far.t - (far.t - near.t) * ((far.slope + d2 - d1) / (far.slope - near.slope + 2.0 * d2));
    lowest.max(low).min(high)
}

/// Searches from `start` along a direction, first at the distance `t`, with at most `limit` refinements.
pub(super) fn strong_wolfe(
    look: &mut dyn FnMut(f64) -> Result<(f64, Tensor)>,
    start: Point,
    t: f64,
    direction: &Tensor,
    limit: usize,
) -> Result<Found> {
    let scale = largest(direction)?;
    let mut evaluations = 0;
    let mut evaluate = |t: f64| -> Result<Point> {
        let (loss, gradient) = look(t)?;
        evaluations += 1;
        let slope = gradient.dot(direction)?.to_f64()?;
        Ok(Point { t, loss, gradient, slope })
    };
    let too_high = |p: &Point| p.loss > start.loss + DECREASE * p.t * start.slope;
    let flat = |p: &Point| p.slope.abs() <= -CURVATURE * start.slope;

    // First a bracket around a good point: go on until the loss has risen or the slope has turned.
    let mut before = start.clone();
    let mut now = evaluate(t)?;
    let mut rounds = 0;
    let mut bracket = None;
    let mut done = false;
    while rounds < limit {
        if too_high(&now) || (rounds > 1 && now.loss >= before.loss) {
            bracket = Some([before.clone(), now.clone()]);
            break;
        }
        if flat(&now) {
            bracket = Some([now.clone(), now.clone()]);
            done = true;
            break;
        }
        if now.slope >= 0.0 {
            bracket = Some([before.clone(), now.clone()]);
            break;
        }
        let bounds = (now.t + 0.01 * (now.t - before.t), now.t * 10.0);
        let next = cubic_minimum(&before, &now, Some(bounds));
        before = now;
        now = evaluate(next)?;
        rounds += 1;
    }
    let mut bracket = bracket.unwrap_or_else(|| [start.clone(), now]);

    // Then the bracket is narrowed until one of its ends is good.
    let lower = |bracket: &[Point; 2]| if bracket[0].loss <= bracket[1].loss { 0 } else { 1 };
    let mut low = lower(&bracket);
    let mut slow = false;
    while !done && rounds < limit {
        if (bracket[1].t - bracket[0].t).abs() * scale < SHORTEST {
            break;
        }
        let mut t = cubic_minimum(&bracket[0], &bracket[1], None);
        let (left, right) = (bracket[0].t.min(bracket[1].t), bracket[0].t.max(bracket[1].t));
        let margin = 0.1 * (right - left);
        // A point that is again close to an end is moved a tenth of the bracket away from it.
        if (right - t).min(t - left) < margin {
            if slow || t >= right || t <= left {
                t = if (t - right).abs() < (t - left).abs() { right - margin } else { left + margin };
                slow = false;
            } else {
                slow = true;
            }
        } else {
            slow = false;
        }
        let now = evaluate(t)?;
        rounds += 1;
        let high = 1 - low;
        if too_high(&now) || now.loss >= bracket[low].loss {
            bracket[high] = now;
            low = lower(&bracket);
        } else {
            if flat(&now) {
                done = true;
            } else if now.slope * (bracket[high].t - bracket[low].t) >= 0.0 {
                bracket[high] = bracket[low].clone();
            }
            bracket[low] = now;
        }
    }
    let [a, b] = bracket;
    Ok(Found { point: if low == 0 { a } else { b }, evaluations })
}
