//! What of a line lies inside of a plot's coordinates.

use std::ops::Range;

type Point = (f64, f64);

/// The visible parts of the line through `points`, in order. `None` is a gap. Liang and Barsky, "A New Concept and Method
/// for Line Clipping" (1984).
pub(crate) fn visible(points: &[Option<Point>], x: &Range<f64>, y: &Range<f64>) -> Vec<Vec<Point>> {
    let mut parts: Vec<Vec<Point>> = Vec::new();
    // Where the last part ends, if the next segment may continue it.
    let mut open: Option<Point> = None;
    for pair in points.windows(2) {
        let segment = match pair {
            [Some(a), Some(b)] => segment(*a, *b, x, y),
            _ => None,
        };
        let Some((from, to)) = segment else {
            open = None;
            continue;
        };
        match parts.last_mut() {
            Some(part) if open == Some(from) => part.push(to),
            _ => parts.push(vec![from, to]),
        }
        open = Some(to);
    }
    parts
}

/// The part of a segment inside of the rectangle.
fn segment(a: Point, b: Point, x: &Range<f64>, y: &Range<f64>) -> Option<(Point, Point)> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut start, mut end) = (0.0f64, 1.0f64);
    // For each border: how far the segment goes towards its outside, and how far inside it begins.
    for (towards, inside) in
        [(-dx, a.0 - x.start), (dx, x.end - a.0), (-dy, a.1 - y.start), (dy, y.end - a.1)]
    {
        if towards == 0.0 {
            if inside < 0.0 {
                return None;
            }
        } else if towards < 0.0 {
            start = start.max(inside / towards);
        } else {
            end = end.min(inside / towards);
        }
    }
    if start > end {
        return None;
    }
    let at = |t: f64| (a.0 + t * dx, a.1 + t * dy);
    Some((if start > 0.0 { at(start) } else { a }, if end < 1.0 { at(end) } else { b }))
}

/// Whether a point is inside.
pub(crate) fn is_inside(p: Point, x: &Range<f64>, y: &Range<f64>) -> bool {
    (x.start..=x.end).contains(&p.0) && (y.start..=y.end).contains(&p.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_the_border() {
        let (x, y) = (0.0..2.0, 0.0..1.0);
        let line = |points: &[Point]| visible(&points.iter().copied().map(Some).collect::<Vec<_>>(), &x, &y);
        assert_eq!(line(&[(0.5, 0.5), (1.5, 0.5)]), [[(0.5, 0.5), (1.5, 0.5)]]);
        // Out at the top and in again.
        assert_eq!(
            line(&[(0.0, 0.0), (1.0, 2.0), (2.0, 0.0)]),
            [[(0.0, 0.0), (0.5, 1.0)], [(1.5, 1.0), (2.0, 0.0)]]
        );
        // Through, past, and along the border.
        assert_eq!(line(&[(-1.0, 0.5), (3.0, 0.5)]), [[(0.0, 0.5), (2.0, 0.5)]]);
        assert!(line(&[(-1.0, 2.0), (3.0, 2.0)]).is_empty());
        assert_eq!(line(&[(0.0, 1.0), (2.0, 1.0)]), [[(0.0, 1.0), (2.0, 1.0)]]);
        let gap = [Some((0.0, 0.0)), Some((1.0, 0.0)), None, Some((1.5, 0.0)), Some((2.0, 0.0))];
        assert_eq!(visible(&gap, &x, &y).len(), 2);
    }
}
