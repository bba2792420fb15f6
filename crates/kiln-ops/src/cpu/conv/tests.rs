//! Convolutions against their definition, written down naively: bit for bit, in `f64`, and against PyTorch's values.

use super::*;
use crate::cpu::arch::{Arch, Isa, Portable};
use crate::cpu::gemm::{BLOCK, Float};

/// Sizes in the order batch, c_in, c_out, groups, then input, kernel, stride, padding, dilation, output.
type Sizes = ((usize, usize, usize, usize), [[usize; 3]; 6]);

fn shape(((batch, c_in, c_out, groups), sizes): Sizes) -> Shape3 {
    let [input, kernel, stride, padding, dilation, output] = sizes;
    ConvShape { batch, c_in, c_out, groups, input, kernel, stride, padding, dilation, output }
}

/// The shape with the usual output size.
fn usual(channels: (usize, usize, usize, usize), sizes: [[usize; 3]; 5]) -> Shape3 {
    let [input, kernel, stride, padding, dilation] = sizes;
    let output =
        [0, 1, 2].map(|d| (input[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d] + 1);
    shape((channels, [input, kernel, stride, padding, dilation, output]))
}

/// Small whole numbers, which every order of summation sums up exactly.
fn whole<T>(n: usize, times: usize, modulo: usize, minus: i64, of: impl Fn(i64) -> T) -> Vec<T> {
    (0..n).map(|i| of((i * times % modulo) as i64 - minus)).collect()
}

fn weighted(values: impl Iterator<Item = i64>) -> i64 {
    values.enumerate().map(|(i, v)| v * (i as i64 % 13 + 1)).sum()
}

#[test]
fn values_of_pytorch() {
    // torch.nn.functional.conv1d, conv2d and conv3d in float64 on the sequences below; the sums are of the output and
    // of the gradients of input and weight.
    #[rustfmt::skip]
    let cases: [(Sizes, [i64; 3]); 10] = [
        (((2, 3, 4, 1), [[1, 1, 17], [1, 1, 3], [1, 1, 1], [0, 0, 0], [1, 1, 1], [1, 1, 15]]), [-249, -40, -391]),
        (((1, 4, 6, 2), [[1, 1, 20], [1, 1, 4], [1, 1, 3], [0, 0, 2], [1, 1, 2], [1, 1, 6]]), [-1776, 508, 1432]),
        (((2, 1, 6, 1), [[1, 12, 12], [1, 5, 5], [1, 1, 1], [0, 0, 0], [1, 1, 1], [1, 8, 8]]), [-2653, -109, -1600]),
        (((3, 6, 16, 1), [[1, 12, 12], [1, 5, 5], [1, 1, 1], [0, 0, 0], [1, 1, 1], [1, 8, 8]]), [-6297, 579, -13509]),
        (((2, 3, 8, 1), [[1, 15, 13], [1, 7, 7], [1, 2, 2], [0, 3, 3], [1, 1, 1], [1, 8, 7]]), [-1374, -438, -3667]),
        (((1, 8, 8, 8), [[1, 9, 10], [1, 3, 3], [1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 9, 10]]), [-2538, 1398, 2594]),
        (((2, 8, 12, 4), [[1, 9, 8], [1, 3, 2], [1, 2, 1], [0, 1, 2], [1, 1, 3], [1, 5, 9]]), [-1370, -1015, -675]),
        (((2, 5, 7, 1), [[1, 8, 8], [1, 1, 1], [1, 2, 2], [0, 0, 0], [1, 1, 1], [1, 4, 4]]), [-641, 973, 2062]),
        (((9, 4, 3, 1), [[1, 5, 6], [1, 3, 3], [1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 5, 6]]), [2964, 4019, 4517]),
        (((2, 2, 4, 1), [[5, 6, 7], [3, 2, 3], [1, 2, 1], [1, 0, 2], [1, 1, 2], [5, 3, 7]]), [1739, 1466, 1491]),
    ];
    for (sizes, want) in cases {
        let shape = shape(sizes);
        macro_rules! check {
            ($t:ty, $of:expr, $back:expr) => {{
                let x = whole(shape.input_len(), 7, 11, 5, $of);
                let w = whole(shape.weight_len(), 5, 7, 3, $of);
                let bias = whole(shape.c_out, 3, 5, 2, $of);
                let gy = whole(shape.output_len(), 9, 13, 6, $of);
                let zero = $of(0i64);
                let (mut y, mut gx, mut gw) =
                    (vec![zero; gy.len()], vec![zero; x.len()], vec![zero; w.len()]);
                conv_forward(&shape, &x, &w, Some(&bias), &mut y);
                conv_backward_input(&shape, &gy, &w, &mut gx);
                conv_backward_weight(&shape, &x, &gy, &mut gw);
                let sum = |v: &[$t]| weighted(v.iter().map(|&v| $back(v)));
                assert_eq!([sum(&y), sum(&gx), sum(&gw)], want, "{} {shape:?}", stringify!($t));
            }};
        }
        check!(f32, |v: i64| v as f32, |v: f32| v as i64);
        check!(f64, |v: i64| v as f64, |v: f64| v as i64);
        check!(f16, |v: i64| f16::from_f64(v as f64), |v: f16| v.to_f64() as i64);
        check!(i64, |v: i64| v, |v: i64| v);
    }
}

#[test]
fn transposed_convolutions_of_pytorch() {
    // torch.nn.functional.conv_transpose2d with stride (3, 2), padding (1, 0), output_padding (2, 1), then with
    // dilation (2, 3) and output_padding (1, 2).
    let cases = [
        ([[15, 14], [3, 3], [3, 2], [1, 0], [1, 1], [5, 6]], -5116),
        ([[10, 14], [3, 3], [1, 1], [0, 0], [2, 3], [5, 6]], -2577),
    ];
    for ([input, kernel, stride, padding, dilation, output], want) in cases {
        let shape = ConvShape::<2> {
            batch: 2,
            c_in: 3,
            c_out: 4,
            groups: 1,
            input,
            kernel,
            stride,
            padding,
            dilation,
            output,
        };
        let of = |v: i64| v as f32;
        let (x, w) = (whole(shape.output_len(), 7, 11, 5, of), whole(shape.weight_len(), 5, 7, 3, of));
        let mut y = vec![0.0f32; shape.input_len()];
        conv_transposed(&shape, &x, &w, Some(&whole(3, 3, 5, 2, of)), &mut y);
        assert_eq!(weighted(y.iter().map(|&v| v as i64)), want);
    }
}

/// The sum of a chain of blocks, as the product defines it.
fn chain<T: Float>(pairs: &[(T, T)], fma: fn(T::Acc, T::Acc, T::Acc) -> T::Acc) -> T::Acc {
    let block = |pairs: &[(T, T)]| {
        pairs.iter().fold(T::Acc::default(), |sum, (a, b)| fma(a.widen_one(), b.widen_one(), sum))
    };
    pairs.chunks(BLOCK).map(block).reduce(|a, b| a + b).unwrap_or_default()
}

/// Compares all three passes with the definition, on every instruction set of the machine.
fn check_bits<T: Float + PartialEq + std::fmt::Debug>(
    shape: &Shape3,
    of: impl Fn(f64) -> T,
    fma: fn(T::Acc, T::Acc, T::Acc) -> T::Acc,
) {
    let mut state = 5u64;
    let mut random = |n: usize| -> Vec<T> {
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            of((state >> 33) as f64 / (1u64 << 30) as f64 - 1.0)
        };
        (0..n).map(|_| next()).collect()
    };
    let (x, w, gy) = (random(shape.input_len()), random(shape.weight_len()), random(shape.output_len()));
    let bias = random(shape.c_out);
    let zero = of(0.0);
    let (group_in, group_out) = shape.group_channels();
    let index = |sizes: [usize; 3], at: [isize; 3]| -> Option<usize> {
        let inside = |d: usize| at[d] >= 0 && at[d] < sizes[d] as isize;
        let [z, y, x] = at.map(|i| i as usize);
        [0, 1, 2].into_iter().all(inside).then(|| (z * sizes[1] + y) * sizes[2] + x)
    };
    let all = |sizes: [usize; 3]| {
        (0..sizes.iter().product())
            .map(move |i: usize| [i / (sizes[1] * sizes[2]), i / sizes[2] % sizes[1], i % sizes[2]])
    };
    let (inputs, outputs, taps) = (shape.input.iter().product::<usize>(), shape.positions(), shape.taps());
    // The input that an output and a tap meet at.
    let meet = |out: [usize; 3], tap: [usize; 3]| -> Option<usize> {
        let at = |d: usize| {
            (out[d] * shape.stride[d] + tap[d] * shape.dilation[d]) as isize - shape.padding[d] as isize
        };
        index(shape.input, [at(0), at(1), at(2)])
    };

    let mut want_y = Vec::new();
    for image in 0..shape.batch {
        for channel in 0..shape.c_out {
            for out in all(shape.output) {
                let mut pairs = Vec::new();
                for c in 0..group_in {
                    let plane = (image * shape.c_in + channel / group_out * group_in + c) * inputs;
                    for (i, tap) in all(shape.kernel).enumerate() {
                        let input = meet(out, tap).map_or(zero, |at| x[plane + at]);
                        pairs.push((w[(channel * group_in + c) * taps + i], input));
                    }
                }
                want_y.push(T::narrow_one(chain(&pairs, fma) + bias[channel].widen_one()));
            }
        }
    }
    let mut want_gx = Vec::new();
    for image in 0..shape.batch {
        for channel in 0..shape.c_in {
            for input in all(shape.input) {
                let mut pairs = Vec::new();
                for o in 0..group_out {
                    let out_channel = channel / group_in * group_out + o;
                    let plane = (image * shape.c_out + out_channel) * outputs;
                    for (i, tap) in all(shape.kernel).enumerate() {
                        let padded = [0, 1, 2].map(|d| {
                            (input[d] + shape.padding[d]) as isize - (tap[d] * shape.dilation[d]) as isize
                        });
                        if (0..3).any(|d| padded[d].rem_euclid(shape.stride[d] as isize) != 0) {
                            continue;
                        }
                        let at = [0, 1, 2].map(|d| padded[d].div_euclid(shape.stride[d] as isize));
                        let gradient = index(shape.output, at).map_or(zero, |at| gy[plane + at]);
                        pairs.push((w[(out_channel * group_in + channel % group_in) * taps + i], gradient));
                    }
                }
                want_gx.push(T::narrow_one(chain(&pairs, fma)));
            }
        }
    }
    let mut want_gw = Vec::new();
    for channel in 0..shape.c_out {
        for c in 0..group_in {
            for tap in all(shape.kernel) {
                let mut pairs = Vec::new();
                for image in 0..shape.batch {
                    let plane = (image * shape.c_in + channel / group_out * group_in + c) * inputs;
                    for (i, out) in all(shape.output).enumerate() {
                        let input = meet(out, tap).map_or(zero, |at| x[plane + at]);
                        pairs.push((input, gy[(image * shape.c_out + channel) * outputs + i]));
                    }
                }
                want_gw.push(T::narrow_one(chain(&pairs, fma)));
            }
        }
    }

    for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| isa <= Isa::detect()) {
        let (mut y, mut gx, mut gw) = (vec![zero; gy.len()], vec![zero; x.len()], vec![zero; w.len()]);
        float::forward(isa, shape, &x, &w, Some(&bias), &mut y);
        float::backward_input(isa, shape, &gy, &w, None, &mut gx);
        weight::backward_weight(isa, shape, &x, &gy, &mut gw);
        for (name, got, want) in [("y", &y, &want_y), ("gx", &gx, &want_gx), ("gw", &gw, &want_gw)] {
            let differs = got.iter().zip(want).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{isa:?} {name} {shape:?}: {:?}", differs.map(|i| (got[i], want[i])));
        }
    }
}

#[test]
fn bits_are_those_of_the_definition() {
    let one = [1; 3];
    let cases = [
        usual((8, 1, 6, 1), [[1, 28, 28], [1, 5, 5], one, [0; 3], one]),
        usual((9, 6, 16, 1), [[1, 12, 12], [1, 5, 5], one, [0; 3], one]),
        usual((2, 3, 5, 1), [[1, 17, 40], [1, 7, 7], [1, 2, 2], [0, 3, 3], one]),
        usual((10, 40, 20, 1), [[1, 5, 4], [1, 3, 3], one, [0, 1, 1], one]),
        usual((2, 8, 8, 4), [[1, 9, 11], [1, 3, 2], [1, 3, 1], [0, 1, 2], [1, 2, 3]]),
        usual((1, 6, 6, 6), [[1, 1, 50], [1, 1, 5], [1, 1, 2], [0, 0, 2], [1, 1, 3]]),
        usual((2, 20, 33, 1), [[1, 6, 9], one, one, [0; 3], one]),
        usual((2, 3, 4, 1), [[6, 5, 7], [2, 3, 3], [2, 1, 1], [1, 0, 1], [1, 2, 1]]),
        usual((2, 4, 3, 1), [[1, 8, 8], [1, 2, 2], [1, 3, 3], [0; 3], one]),
    ];
    for shape in &cases {
        check_bits::<f32>(shape, |v| v as f32, Portable::fma32);
    }
    for shape in &cases[3..] {
        check_bits::<f64>(shape, |v| v, Portable::fma64);
        check_bits::<bf16>(shape, bf16::from_f64, Portable::fma32);
    }
}

#[test]
fn non_finite_weights_meet_padding_as_zeros() {
    let shape = usual((1, 1, 1, 1), [[1, 3, 3], [1, 3, 3], [1; 3], [0, 1, 1], [1; 3]]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut w = vec![1.0f32; 9];
        w[0] = bad;
        let mut y = vec![0.0; 9];
        conv_forward(&shape, &[1.0f32; 9], &w, None, &mut y);
        // The first weight meets padding in the first row and column.
        let edge = |i: usize| i < 3 || i.is_multiple_of(3);
        assert!((0..9).all(|i| if edge(i) || bad.is_nan() { y[i].is_nan() } else { y[i] == bad }), "{y:?}");
    }
}

#[test]
fn nothing_in_nothing_out() {
    let empty = ConvShape::<2> {
        batch: 0,
        c_in: 2,
        c_out: 3,
        groups: 1,
        input: [4, 4],
        kernel: [3, 3],
        stride: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
        output: [2, 2],
    };
    let mut gw = [1.0f32; 54];
    conv_backward_weight(&empty, &[], &[], &mut gw);
    assert_eq!(gw, [0.0; 54]);
    conv_forward(&empty, &[], &gw, None, &mut []);
    conv_backward_input(&empty, &[], &gw, &mut []);
    // No input channels: the bias is all there is.
    let shape = ConvShape { batch: 1, c_in: 0, ..empty };
    let mut y = [0.0f32; 12];
    conv_forward(&shape, &[], &[], Some(&[1.0, 2.0, 3.0]), &mut y);
    assert_eq!(y, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0]);
}
