//! Pooling against plain loops and PyTorch's numbers.

use super::*;

fn noise(n: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(next).collect()
}

struct Case(&'static [usize], [usize; 3], [usize; 3], [usize; 3], [usize; 3], bool);

/// Spatial sizes, kernel, stride, padding, dilation, ceil mode.
const CASES: [Case; 15] = [
    Case(&[24, 24], [2; 3], [2; 3], [0; 3], [1; 3], false),
    Case(&[8, 8], [2; 3], [2; 3], [0; 3], [1; 3], false),
    Case(&[2, 2], [2; 3], [2; 3], [0; 3], [1; 3], false),
    Case(&[7, 9], [2; 3], [2; 3], [0; 3], [1; 3], false),
    Case(&[7, 70], [2; 3], [2; 3], [0; 3], [1; 3], true),
    Case(&[56, 56], [2; 3], [2; 3], [0; 3], [1; 3], false),
    Case(&[13, 17], [3; 3], [2; 3], [1; 3], [1; 3], false),
    Case(&[13, 17], [3; 3], [1; 3], [1; 3], [1; 3], false),
    Case(&[14, 18], [3; 3], [3; 3], [1; 3], [1; 3], true),
    Case(&[12, 33], [3; 3], [2; 3], [1; 3], [2; 3], true),
    Case(&[5, 4], [5, 5, 4], [3; 3], [2; 3], [1; 3], true),
    Case(&[30], [3; 3], [2; 3], [1; 3], [1; 3], false),
    Case(&[30], [2; 3], [2; 3], [0; 3], [1; 3], false),
    Case(&[5, 6, 7], [2; 3], [2; 3], [1; 3], [1; 3], true),
    Case(&[3, 4, 6], [1, 2, 2], [1, 2, 2], [0; 3], [1; 3], false),
];

fn shape(case: &Case, planes: usize, dilated: bool) -> PoolShape {
    let rank = case.0.len();
    let dilation = if dilated { &case.4[..rank] } else { &[1; 3][..rank] };
    let options = PoolOptions {
        kernel: &case.1[3 - rank..],
        stride: &case.2[3 - rank..],
        padding: &case.3[3 - rank..],
        dilation,
        ceil_mode: case.5,
    };
    PoolShape::infer("pool", planes, case.0, &options).unwrap()
}

/// The places in the input plane of every window, by the definition.
fn windows(s: &PoolShape) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for o in 0..s.output_plane() {
        let out = [o / (s.output[1] * s.output[2]), o / s.output[2] % s.output[1], o % s.output[2]];
        let mut window = Vec::new();
        for k in 0..s.kernel.iter().product::<usize>() {
            let k = [k / (s.kernel[1] * s.kernel[2]), k / s.kernel[2] % s.kernel[1], k % s.kernel[2]];
            let at: Vec<i64> = (0..3)
                .map(|i| (out[i] * s.stride[i] + k[i] * s.dilation[i]) as i64 - s.padding[i] as i64)
                .collect();
            if (0..3).all(|i| (0..s.input[i] as i64).contains(&at[i])) {
                window.push((at[0] as usize * s.input[1] + at[1] as usize) * s.input[2] + at[2] as usize);
            }
        }
        all.push(window);
    }
    all
}

fn check_max(x: &[f32], g: &[f32], s: &PoolShape, windows: &[Vec<usize>], adaptive: bool) {
    let (from, to) = (s.input_plane(), s.output_plane());
    let (mut y, mut index) = (vec![0.0f32; s.planes * to], vec![0i64; s.planes * to]);
    let run = |y: &mut [f32], index: &mut [i64]| match adaptive {
        true => adaptive_max_pool(x, s, y, index),
        false => max_pool(x, s, y, index),
    };
    run(&mut y, &mut index);
    let mut alone = vec![0.0f32; y.len()];
    run(&mut alone, &mut []);
    let mut want_gx = vec![0.0f32; x.len()];
    for p in 0..s.planes {
        for (o, window) in windows.iter().enumerate() {
            let mut best = window[0];
            for &at in window {
                if x[p * from + at] > x[p * from + best] || x[p * from + at].is_nan() {
                    best = at;
                }
            }
            assert_eq!(index[p * to + o], best as i64, "{s:?} plane {p} window {o}");
            assert_eq!(y[p * to + o].to_bits(), x[p * from + best].to_bits());
            assert!(y[p * to + o] == alone[p * to + o] || alone[p * to + o].is_nan());
            want_gx[p * from + best] += g[p * to + o];
        }
    }
    let mut gx = vec![7.0f32; x.len()];
    max_pool_backward(g, &index, s, &mut gx);
    assert_eq!(gx, want_gx, "{s:?}");
    let narrow: Vec<i32> = index.iter().map(|&i| i as i32).collect();
    max_pool_backward(g, &narrow, s, &mut gx);
    assert_eq!(gx, want_gx, "{s:?}");
}

#[test]
fn maxima_and_their_places() {
    for case in &CASES {
        let s = shape(case, 5, true);
        let mut x = noise(5 * s.input_plane());
        let g: Vec<f32> = noise(5 * s.output_plane()).iter().map(|v| (v * 64.0).round()).collect();
        check_max(&x, &g, &s, &windows(&s), false);
        // Ties, infinities and NaN.
        for (i, v) in x.iter_mut().enumerate() {
            *v = match i % 23 {
                3 | 4 | 9 => f32::NEG_INFINITY,
                17 => f32::NAN,
                _ => (*v * 2.0).round(),
            };
        }
        check_max(&x, &g, &s, &windows(&s), false);
    }
}

fn close(got: &[f32], want: &[f64], what: &str) {
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert!((g as f64 - w).abs() < 1e-6 * (1.0 + w.abs()), "{what} at {i}: {g} instead of {w}");
    }
}

fn check_avg(
    s: &PoolShape,
    windows: &[Vec<usize>],
    divisor: impl Fn(usize) -> f64,
    options: Option<AvgPool>,
) {
    let (from, to) = (s.input_plane(), s.output_plane());
    let (x, g) = (noise(s.planes * from), noise(s.planes * to + 1)[1..].to_vec());
    let (mut want, mut want_gx) = (vec![0.0; g.len()], vec![0.0; x.len()]);
    for p in 0..s.planes {
        for (o, window) in windows.iter().enumerate() {
            want[p * to + o] = window.iter().map(|&at| x[p * from + at] as f64).sum::<f64>() / divisor(o);
            for &at in window {
                want_gx[p * from + at] += g[p * to + o] as f64 / divisor(o);
            }
        }
    }
    let (mut y, mut gx) = (vec![7.0; g.len()], vec![7.0; x.len()]);
    match options {
        Some(options) => {
            avg_pool(&x, s, options, &mut y);
            avg_pool_backward(&g, s, options, &mut gx);
        }
        None => {
            adaptive_avg_pool(&x, s, &mut y);
            adaptive_avg_pool_backward(&g, s, &mut gx);
        }
    }
    close(&y, &want, &format!("{s:?}"));
    close(&gx, &want_gx, &format!("gradient of {s:?}"));
}

#[test]
fn averages() {
    for case in &CASES {
        let s = shape(case, 5, false);
        let windows = windows(&s);
        for count_include_pad in [true, false] {
            let counted = |o: usize| {
                let out = [o / (s.output[1] * s.output[2]), o / s.output[2] % s.output[1], o % s.output[2]];
                let full = |i: usize| {
                    let start = out[i] * s.stride[i];
                    (start + s.kernel[i]).min(s.input[i] + 2 * s.padding[i]) - start
                };
                if count_include_pad { full(0) * full(1) * full(2) } else { windows[o].len() }
            };
            check_avg(
                &s,
                &windows,
                |o| counted(o) as f64,
                Some(AvgPool { count_include_pad, divisor: None }),
            );
        }
        check_avg(&s, &windows, |_| 3.0, Some(AvgPool { divisor: Some(3), ..AvgPool::default() }));
    }
}

#[test]
fn adaptive_windows() {
    let cases =
        [([1, 8, 8], [1, 1, 1]), ([1, 8, 6], [1, 4, 3]), ([1, 7, 7], [1, 3, 5]), ([3, 5, 4], [2, 2, 7])];
    for (input, output) in cases {
        let s = PoolShape::adaptive(4, input, output);
        let range = |i: usize, o: usize| o * input[i] / output[i]..((o + 1) * input[i]).div_ceil(output[i]);
        let mut windows = Vec::new();
        for o in 0..s.output_plane() {
            let mut window = Vec::new();
            for d in range(0, o / (output[1] * output[2])) {
                for h in range(1, o / output[2] % output[1]) {
                    window.extend(range(2, o % output[2]).map(|w| (d * input[1] + h) * input[2] + w));
                }
            }
            windows.push(window);
        }
        check_avg(&s, &windows, |o| windows[o].len() as f64, None);
        let g: Vec<f32> = noise(4 * s.output_plane()).iter().map(|v| (v * 64.0).round()).collect();
        check_max(&noise(4 * s.input_plane()), &g, &s, &windows, true);
    }
}

#[test]
fn sizes_are_pytorchs() {
    // torch.nn.functional.max_pool2d(torch.zeros(1, 1, 13, 17), 3, 2, 1, dilation, ceil_mode).shape
    let run = |kernel: usize, stride, padding, dilation, ceil_mode| {
        let options = PoolOptions {
            kernel: &[kernel; 2],
            stride: &[stride; 2],
            padding: &[padding; 2],
            dilation: &[dilation; 2],
            ceil_mode,
        };
        PoolShape::infer("max_pool2d", 1, &[13, 17], &options).map(|s| [s.output[1], s.output[2]])
    };
    assert_eq!(run(3, 2, 1, 1, false).unwrap(), [7, 9]);
    assert_eq!(run(2, 2, 0, 1, true).unwrap(), [7, 9]);
    assert_eq!(run(3, 2, 1, 2, true).unwrap(), [6, 8]);
    assert_eq!(run(3, 4, 1, 1, true).unwrap(), [4, 5]);
    assert_eq!(run(1, 3, 0, 1, true).unwrap(), [5, 6]);
    let text = |r: kiln_storage::Result<[usize; 2]>| r.unwrap_err().to_string();
    assert!(text(run(3, 2, 2, 1, false)).contains("pad should be at most half of effective kernel size"));
    assert!(text(run(0, 2, 0, 1, false)).contains("kernel_size should be greater than zero"));
    assert!(text(run(14, 1, 0, 1, false)).contains("Output size is too small"));
    assert!(run(usize::MAX, 1, 0, 1, false).is_err());
}
