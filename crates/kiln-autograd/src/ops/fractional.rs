//! Max pooling over windows whose places are drawn at random: Graham, "Fractional max-pooling" (2014).

use kiln_ops::{DType, bf16, f16};

use crate::{Error, Result, Tensor, TensorOptions, autocast};

/// The first elements of `count` windows along an axis, from a number of `0..1`, computed in the precision of the input:
/// every operation is rounded to its dtype.
fn starts(input: usize, count: usize, pool: usize, sample: f64, dtype: DType) -> Vec<usize> {
    let rounded = |x: f64| match dtype {
        DType::F64 => x,
        DType::F16 => f16::from_f32(x as f32).to_f64(),
        DType::BF16 => bf16::from_f32(x as f32).to_f64(),
        _ => f64::from(x as f32),
    };
    let room = input - pool;
    let mut starts = Vec::with_capacity(count);
    let step = rounded(rounded(room as f64) / rounded(count as f64 - 1.0));
    for i in 0..count.saturating_sub(1) {
        let far = rounded(rounded(rounded(i as f64) + sample) * step);
        // Numbers outside of 0..1 move the windows on, by less than the next one's distance.
        let start = (far as i64).saturating_sub(rounded(sample * step) as i64);
        starts.push(start.clamp(0, room as i64) as usize);
    }
    if count > 0 {
        starts.push(room);
    }
    starts
}

/// The positions in its plane of every element of every window: `out elements * window elements` numbers.
fn windows(starts: &[Vec<usize>], kernel: &[usize], input: &[usize], places: &mut Vec<i64>) {
    let odometer = |sizes: &[usize], mut visit: Box<dyn FnMut(&[usize]) + '_>| {
        let mut at = vec![0; sizes.len()];
        for _ in 0..sizes.iter().product() {
            visit(&at);
            for i in (0..sizes.len()).rev() {
                at[i] += 1;
                if at[i] < sizes[i] {
                    break;
                }
                at[i] = 0;
            }
        }
    };
    let out: Vec<usize> = starts.iter().map(Vec::len).collect();
    odometer(
        &out,
        Box::new(|o| {
            odometer(
                kernel,
                Box::new(|k| {
                    let place =
                        (0..input.len()).fold(0, |place, i| place * input[i] + starts[i][o[i]] + k[i]);
                    places.push(place as i64);
                }),
            );
        }),
    );
}

#[track_caller]
fn pool(
    op: &'static str,
    x: &Tensor,
    kernel: &[usize],
    output: &[usize],
    samples: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    let axes = kernel.len();
    let dims = x.dims();
    if !(axes + 1..=axes + 2).contains(&dims.len()) || dims[dims.len() - axes - 1..].contains(&0) {
        return Err(Error::shape(
            op,
            format!(
                "expected [batch, channels, {axes} sizes..] or without batch, none of them 0, got {dims:?}"
            ),
        ));
    }
    crate::ops::compose::need_float(op, &[x])?;
    let (lead, input) = dims.split_at(dims.len() - axes);
    for i in 0..axes {
        let least = output[i].saturating_add(kernel[i]).saturating_sub(1);
        if kernel[i] == 0 || output[i] == 0 || least > input[i] {
            return Err(Error::value(
                op,
                format!(
                    "windows of {kernel:?} and an output of {output:?} do not fit into the input's sizes {input:?}"
                ),
            ));
        }
    }
    let batch = if lead.len() == 2 { lead[0] } else { 1 };
    let channels = lead[lead.len() - 1];
    let drawn;
    let samples = match samples {
        Some(samples) => samples,
        None => {
            let options = TensorOptions::new().dtype(x.dtype()).device(x.device());
            drawn = Tensor::rand_with([batch, channels, axes], options);
            &drawn
        }
    };
    if samples.dims() != [batch, channels, axes] {
        return Err(Error::shape(
            op,
            format!("expected random samples [{batch}, {channels}, {axes}], got {:?}", samples.shape()),
        ));
    }
    let samples = samples.to_dtype(DType::F64)?.to_vec::<f64>()?;
    if !samples.iter().all(|s| s.is_finite()) {
        return Err(Error::value(op, "random samples must be finite"));
    }
    let planes = batch * channels;
    let elements: usize = output.iter().product();
    let window: usize = kernel.iter().product();
    let mut places = Vec::new();
    for plane in samples.chunks_exact(axes.max(1)) {
        // Over two axes the first number is for the last axis.
        let number = |i: usize| plane[if axes == 2 { axes - 1 - i } else { i }];
        let starts: Vec<Vec<usize>> =
            (0..axes).map(|i| starts(input[i], output[i], kernel[i], number(i), x.dtype())).collect();
        windows(&starts, kernel, input, &mut places);
    }
    let places = Tensor::from_vec(places, [planes, elements * window])?.to_device(x.device())?;
    let flat = x.reshape([planes, input.iter().product()])?;
    let seen = flat.detach().gather(1, &places)?.reshape([planes, elements, window])?;
    let (_, largest) = seen.max_axis(2, true)?;
    let index = places.reshape([planes, elements, window])?.gather(2, &largest)?.squeeze_axis(2)?;
    let shape: Vec<usize> = lead.iter().chain(output).copied().collect();
    Ok((flat.gather(1, &index)?.reshape(shape.as_slice())?, index.reshape(shape.as_slice())?))
}

macro_rules! fractional {
    ($($name:ident $axes:literal $sizes:literal;)*) => {
        impl Tensor {
            $(
                #[doc = concat!("The largest element of each of so many windows over ", $sizes, " spatial axes, whose places are \
                    drawn at random, and the positions of these elements in their planes \
                    (`torch.nn.functional.", stringify!($name), "`).")]
                ///
                /// Shapes: `[batch, channels, sizes..] -> [batch, channels, output..]`, or without batch. `samples`, numbers
                #[doc = concat!("of `0..1`, are `[batch, channels, ", stringify!($axes), "]`; without them they are drawn from the default stream.")]
                ///
                /// # Errors
                /// Another rank, integers, windows that do not fit, samples of another shape or that are not finite.
                #[track_caller]
                pub fn $name(
                    &self,
                    kernel: [usize; $axes],
                    output: [usize; $axes],
                    samples: Option<&Tensor>,
                ) -> Result<(Tensor, Tensor)> {
                    if let Some(cast) = autocast::full() {
                        return cast.of(self)?.$name(kernel, output, cast.opt(samples)?.as_ref());
                    }
                    pool(stringify!($name), self, &kernel, &output, samples)
                }
            )*
        }
    };
}
fractional! {
    fractional_max_pool2d 2 "two";
    fractional_max_pool3d 3 "three";
}
