//! Statistics, integrals, distances, masked functions, and memory: values from PyTorch.

use kiln_autograd::{
    Alignment, BOOL, Bins, CovWeights, F64, HistogramOptions, I32, InterpolateMode, Interpolation, Result,
    Spacing, Tensor, U8,
};

fn t(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_vec(values.to_vec(), shape).unwrap()
}

fn close(got: &Tensor, want: &[f64]) {
    let got = got.to_dtype(F64).unwrap().to_vec::<f64>().unwrap();
    let near = |(g, w): (&f64, &f64)| {
        g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= 1e-4 * w.abs().max(1.0)
    };
    assert!(got.len() == want.len() && got.iter().zip(want).all(near), "{got:?}, expected {want:?}");
}

fn fails<T>(result: Result<T>, text: &str) {
    match result {
        Ok(_) => panic!("should fail: {text}"),
        Err(error) => assert!(error.to_string().contains(text), "{error}"),
    }
}

#[test]
fn covariances_and_correlations() {
    let x = t(&[1.0, 4.0, 2.0, 3.0, 8.0, 8.0], &[2, 3]);
    close(&x.cov(1, CovWeights::default()).unwrap(), &[2.3333, 3.3333, 3.3333, 8.3333]);
    close(&x.corrcoef().unwrap(), &[1.0, 0.7559, 0.7559, 1.0]);
    let negative = t(&[1.0, -1.0, 1.0], &[3]);
    let weights = CovWeights { importance: Some(&negative), ..Default::default() };
    fails(x.cov(1, weights), "aweights cannot be negative");
    fails(Tensor::ones([2, 2, 2]).cov(1, CovWeights::default()), "two or fewer dimensions");
}

#[test]
fn histograms() {
    let points = t(&[0.0, 1.0, 1.0, 0.0, 2.0, 1.0, 2.0, 2.0], &[4, 2]);
    let weight = t(&[1.0, 2.0, 4.0, 8.0], &[4]);
    let options = HistogramOptions { weight: Some(&weight), density: true, range: None };
    let (density, edges) = points.histogramdd(&[Bins::Count(3), Bins::Count(3)], options).unwrap();
    close(&density, &[0.0, 0.15, 0.0, 0.3, 0.0, 0.0, 0.0, 0.6, 1.2]);
    close(&edges[1], &[0.0, 0.6667, 1.3333, 2.0]);
    // All elements alike: a bin of width 1 around them.
    let (counts, edges) = t(&[2.0, 2.0], &[2]).histogram(2, HistogramOptions::default()).unwrap();
    close(&counts, &[0.0, 2.0]);
    close(&edges, &[1.5, 2.0, 2.5]);
    fails(t(&[f32::NAN], &[1]).histogram(2, HistogramOptions::default()), "is not finite");
    fails(t(&[1.0], &[1]).histogram(0, HistogramOptions::default()), "bins must be > 0");
    fails(
        points.histogramdd(&[Bins::Count(usize::MAX / 2), Bins::Count(3)], HistogramOptions::default()),
        "",
    );
}

#[test]
fn membership() {
    let x = t(&[1.0, f32::NAN, 3.0, 7.0], &[2, 2]);
    let among = t(&[f32::NAN, 7.0, 1.0, 1.0], &[4]);
    assert_eq!(x.isin(&among, false).unwrap().to_vec::<bool>().unwrap(), [true, false, false, true]);
    assert_eq!(x.isin(3.0, true).unwrap().to_vec::<bool>().unwrap(), [true, true, false, true]);
    fails(Tensor::full_with([1], true, BOOL).isin(&x, false), "bool");
}

#[test]
fn integrals_and_slopes() {
    let (y, x) = (t(&[1.0, 2.0, 4.0, 8.0], &[4]), t(&[0.0, 1.0, 3.0, 4.0], &[4]));
    close(&y.trapezoid(&x, -1).unwrap(), &[13.5]);
    close(&y.cumulative_trapezoid(&x, -1).unwrap(), &[1.5, 7.5, 13.5]);
    close(&y.gradient(Spacing::Even(1.0), &[], 2).unwrap()[0], &[0.5, 1.5, 3.0, 5.0]);
    close(&y.gradient(Spacing::At(&[&x]), &[0], 2).unwrap()[0], &[1.0, 1.0, 3.0, 5.0]);
    fails(y.trapezoid(&t(&[0.0, 1.0], &[2]), 0), "one `x` value for each sample");
    fails(y.gradient(Spacing::default(), &[], 3), "edge_order");
    fails(t(&[1.0], &[1]).gradient(Spacing::default(), &[], 1), "at least edge_order+1");
    fails(y.gradient(Spacing::EvenPerAxis(&[1.0, 2.0]), &[], 1), "a spacing for each");
}

#[test]
fn distances() {
    let (a, b) = (t(&[0.0, 0.0, 3.0, 4.0], &[2, 2]), t(&[0.0, 0.0, 1.0, 1.0, 6.0, 8.0], &[3, 2]));
    close(&a.cdist(&b, 0.0).unwrap(), &[0.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
    close(&a.cdist(&b, 3.0).unwrap(), &[0.0, 1.25992, 8.99588, 4.49794, 3.27107, 4.49794]);
    close(&a.cdist(&b, f64::INFINITY).unwrap(), &[0.0, 1.0, 8.0, 4.0, 3.0, 4.0]);
    // Many points go by a matrix product; the distance of a point from itself is 0, and so is its slope.
    let many =
        Tensor::arange(60).to_dtype(F64).unwrap().reshape([30, 2]).unwrap().requires_grad_(true).unwrap();
    let far = many.cdist(&many, 2.0).unwrap();
    close(&far.select(0, 0).unwrap().narrow(0, 0, 3).unwrap(), &[0.0, 8f64.sqrt(), 32f64.sqrt()]);
    far.sum().unwrap().backward().unwrap();
    assert!(many.grad().unwrap().isfinite().unwrap().all().unwrap().item().unwrap().is_true());
    fails(a.cdist(&t(&[1.0], &[1, 1]), 2.0), "same number of columns");
}

#[test]
fn functions_of_what_a_mask_leaves() {
    let x = Tensor::arange(12).to_dtype(kiln_autograd::F32).unwrap().reshape([3, 4]).unwrap();
    let rows = vec![true, false, true, true, false, false, false, false, true, true, false, false];
    let m = x.masked(&Tensor::from_vec(rows, [3, 4]).unwrap()).unwrap();
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    close(&m.var(&[1], 1.0, false).unwrap(), &[2.3333, nan, 0.5]);
    close(&m.median(1, false).unwrap(), &[2.0, nan, 8.0]);
    close(&m.logsumexp(&[1], false).unwrap(), &[3.3490, -inf, 9.3133]);
    close(&m.amax(&[1], false).unwrap(), &[3.0, -inf, 9.0]);
    close(&m.norm(2.0, &[1], false).unwrap(), &[3.6056, 0.0, 12.0416]);
    close(&m.softmax(1).unwrap().select(0, 0).unwrap(), &[0.0351, 0.0, 0.2595, 0.7054]);
    fails(x.masked(&x), "bool mask");
}

#[test]
fn mantissas_exponents_and_quantiles() {
    let (mantissa, exponent) = t(&[1e-42, 3e38, -0.1], &[3]).frexp().unwrap();
    close(&mantissa, &[0.6973, 0.8816, -0.8]);
    assert_eq!((exponent.dtype(), exponent.to_vec::<i32>().unwrap()), (I32, vec![-139, 128, -3]));
    close(&t(&[2.0, 3.5], &[2]).mvlgamma(3).unwrap(), &[1.5963, 3.8959]);
    let n = f32::NAN;
    let x = t(&[1.0, n, 3.0, 2.0, n, n, n, n], &[2, 4]);
    let q = t(&[0.0, 0.5, 1.0], &[3]);
    let y = x.nanquantile(&q, 1, false, Interpolation::Linear).unwrap();
    close(&y, &[1.0, f64::NAN, 2.0, f64::NAN, 3.0, f64::NAN]);
}

#[test]
fn images_of_bytes_are_weighed_in_fixed_point() {
    let x = Tensor::arange(6).mul(50).unwrap().to_dtype(U8).unwrap().reshape([1, 1, 2, 3]).unwrap();
    let to = |mode| x.interpolate(&[3, 5], mode, Alignment::default()).unwrap().to_vec::<u8>().unwrap();
    let cubic = [0, 3, 37, 71, 92, 73, 91, 125, 159, 180, 158, 179, 213, 247, 255];
    assert_eq!(to(InterpolateMode::Bicubic), cubic);
    let linear = [0, 20, 50, 80, 100, 75, 95, 125, 155, 175, 150, 170, 200, 230, 250];
    assert_eq!(to(InterpolateMode::Linear), linear);
}

#[test]
fn a_view_of_a_view_gives_gradients_only_to_what_the_first_one_shows() {
    let x = t(&[1.0, 5.0, 9.0, 2.0], &[4]).requires_grad_(true).unwrap();
    let part = x.narrow(0, 1, 2).unwrap();
    let windows = part.as_strided(&[2, 2], &[1, 1], Some(1)).unwrap();
    windows.mul(&t(&[1.0, 2.0, 3.0, 4.0], &[2, 2])).unwrap().sum().unwrap().backward().unwrap();
    close(&x.grad().unwrap(), &[0.0, 1.0, 5.0, 0.0]);
}

#[test]
fn results_are_written_where_there_is_room() {
    let x = t(&[1.0, 2.0, 3.0, 4.0], &[2, 2]);
    let memory = Tensor::zeros([6]);
    let out = memory.narrow(0, 1, 5).unwrap();
    x.mul(2.0).unwrap().out(&out).unwrap();
    assert_eq!(out.dims(), [2, 2]);
    close(&memory, &[0.0, 2.0, 4.0, 6.0, 8.0, 0.0]);
    fails(x.out(&Tensor::full_with([2, 2], 0, I32)), "can't be cast");
    fails(x.out(&Tensor::zeros([1]).expand([2, 2]).unwrap()), "more than one element");
    fails(
        x.out(&Tensor::zeros([2, 2]).requires_grad_(true).unwrap()),
        "don't support automatic differentiation",
    );
    // Computed in place: broadcast, over an operand, in another dtype, and refused.
    let (row, sum) = (t(&[10.0, 20.0], &[2]), Tensor::empty([0]));
    x.add_out(&row, &sum).unwrap();
    assert_eq!(sum.dims(), [2, 2]);
    close(&sum, &[11.0, 22.0, 13.0, 24.0]);
    sum.sub_out(&row, &sum).unwrap();
    sum.mul_out(2.0, &sum).unwrap();
    close(&sum, &[2.0, 4.0, 6.0, 8.0]);
    let (seven, quotient) = (Tensor::full_with([2], 7, I32), Tensor::zeros([2]));
    seven.div_out(2, &quotient).unwrap();
    close(&quotient, &[3.5, 3.5]);
    fails(x.add_out(&row, &Tensor::full_with([2, 2], 0, I32)), "can't be cast");
    fails(
        memory.narrow(0, 0, 5).unwrap().add_out(1.0, &memory.narrow(0, 1, 5).unwrap()),
        "single memory location",
    );
    fails(x.add_out(&t(&[1.0, 2.0, 3.0], &[3]), &sum), "must match");
    fails(x.add_out(&row, &Tensor::zeros([2, 2]).requires_grad_(true).unwrap()), "don't support automatic");
    // Without room the tensor moves, and keeps what it had.
    let (grown, seen) = (t(&[1.0, 2.0], &[2]), t(&[1.0, 2.0], &[2]));
    let old = grown.narrow(0, 0, 2).unwrap();
    grown.resize_([2, 2]).unwrap();
    close(&grown, &[1.0, 2.0, 0.0, 0.0]);
    grown.fill_(7.0).unwrap();
    close(&old, &seen.to_dtype(F64).unwrap().to_vec::<f64>().unwrap());
    fails(grown.resize_([-1]), "must not be negative");
    fails(grown.resize_([i64::MAX, i64::MAX]), "");
    fails(Tensor::empty_strided(&[2], &[1, 1], F64), "mismatch");
    fails(Tensor::empty_permuted(&[2, 3], &[0, 0], F64), "Duplicate dim");
}

#[test]
fn one_value_may_be_written_to_elements_that_share_memory() {
    let line = t(&[-1.0, 2.0, -3.0], &[3]);
    let wide = line.expand([2, 3]).unwrap();
    wide.threshold_(0.0, 9.0).unwrap();
    close(&line, &[9.0, 2.0, 9.0]);
    let mask = Tensor::from_vec(vec![false, true, false, false, false, false], [2, 3]).unwrap();
    wide.masked_fill_(&mask, 5.0).unwrap();
    close(&line, &[9.0, 5.0, 9.0]);
}
