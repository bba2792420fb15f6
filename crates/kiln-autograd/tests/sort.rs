//! Sorting, selection, accumulation and distinct elements: values, gradients and errors of PyTorch 2.15.

mod cases;

use cases::*;
use kiln_autograd::*;

const NAN: f64 = f64::NAN;

fn ints(t: &Tensor) -> Vec<i64> {
    t.to_dtype(DType::I64).unwrap().to_vec().unwrap()
}

#[test]
fn order() {
    case(
        "SortBackward0",
        |x, _| Ok(x.sort(1, false)?.0),
        &[3, 4],
        &[-2.25, -1.25, 1.25, 2.25, -1.75, -0.25, 0.75, 3.25, -0.75, 0.25, 1.75, 2.75],
        &[0.5, 1.5, 1.0, 2.0, 0.5, 1.5, 1.0, 2.5, 0.5, 2.0, 1.0, 2.5],
        &[],
    );
    case(
        "SortBackward0",
        |x, _| Ok(x.sort(0, true)?.0),
        &[3, 4],
        &[1.75, 3.25, 2.75, 2.25, -0.25, 1.25, 0.75, 0.25, -2.25, -0.75, -1.25, -1.75],
        &[2.0, 0.5, 0.5, 2.0, 2.5, 1.0, 1.0, 1.0, 0.5, 2.5, 1.5, 1.5],
        &[],
    );
    case(
        "SortBackward0",
        |x, _| x.msort(),
        &[3, 4],
        &[-2.25, -0.75, -1.25, -1.75, -0.25, 1.25, 0.75, 0.25, 1.75, 3.25, 2.75, 2.25],
        &[0.5, 0.5, 1.5, 1.0, 2.5, 2.5, 1.0, 2.0, 2.0, 1.0, 0.5, 1.5],
        &[],
    );
    case(
        "TopkBackward0",
        |x, _| Ok(x.topk(2, 1, true)?.0),
        &[3, 2],
        &[2.25, 1.25, 3.25, 0.75, 2.75, 1.75],
        &[0.0, 1.0, 0.0, 0.5, 0.0, 1.5, 2.0, 0.0, 0.5, 0.0, 2.5, 0.0],
        &[],
    );
    case(
        "TopkBackward0",
        |x, _| Ok(x.topk(2, 0, false)?.0),
        &[2, 4],
        &[-2.25, -0.75, -1.25, -1.75, -0.25, 1.25, 0.75, 0.25],
        &[0.5, 0.5, 1.5, 0.0, 2.5, 0.0, 1.0, 2.0, 0.0, 1.0, 0.0, 1.5],
        &[],
    );
    case(
        "KthvalueBackward0",
        |x, _| Ok(x.kthvalue(2, 1, true)?.0),
        &[3, 1],
        &[-1.25, -0.25, 0.25],
        &[0.0, 0.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5],
        &[],
    );
    case(
        "KthvalueBackward0",
        |x, _| Ok(x.kthvalue(3, 0, false)?.0),
        &[4],
        &[1.75, 3.25, 2.75, 2.25],
        &[0.0, 0.0, 0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.0, 1.5, 0.0],
        &[],
    );
    case(
        "MedianBackward1",
        |x, _| Ok(x.median_axis(1, false)?.0),
        &[3],
        &[-1.25, -0.25, 0.25],
        &[0.0, 0.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5],
        &[],
    );
    case(
        "MedianBackward1",
        |x, _| Ok(x.median_axis(0, true)?.0),
        &[1, 4],
        &[-0.25, 1.25, 0.75, 0.25],
        &[0.0, 1.0, 0.0, 0.0, 0.5, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 2.0],
        &[],
    );
    case(
        "NanmedianBackward1",
        |x, _| Ok(x.nanmedian_axis(1, false)?.0),
        &[3],
        &[-1.25, -0.25, 0.25],
        &[0.0, 0.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5],
        &[],
    );
    case(
        "MedianBackward0",
        |x, _| x.median(),
        &[],
        &[0.25],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5],
        &[],
    );
    case(
        "NanmedianBackward0",
        |x, _| x.nanmedian(),
        &[],
        &[0.25],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5],
        &[],
    );
    case(
        "ModeBackward0",
        |x, _| Ok(x.mode(1, false)?.0),
        &[3],
        &[-2.25, -1.75, -0.75],
        &[0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.5, 0.0, 0.0],
        &[],
    );
}

#[test]
fn accumulations() {
    case(
        "CumsumBackward0",
        |x, _| x.cumsum(1),
        &[3, 4],
        &[-2.25, -1.0, -2.25, 0.0, -0.25, 3.0, 3.75, 2.0, 1.75, 1.0, 3.75, 4.0],
        &[5.0, 4.5, 3.5, 2.0, 5.5, 3.0, 2.5, 1.5, 6.0, 4.0, 1.5, 1.0],
        &[],
    );
    case(
        "CumsumBackward0",
        |x, _| x.cumsum(0),
        &[3, 4],
        &[-2.25, 1.25, -1.25, 2.25, -2.5, 4.5, -0.5, 0.5, -0.75, 3.75, 2.25, 0.75],
        &[5.0, 4.0, 3.0, 4.5, 4.5, 3.0, 1.5, 2.5, 2.0, 2.5, 0.5, 1.0],
        &[],
    );
    case(
        "CumprodBackward0",
        |x, _| x.cumprod(1),
        &[3, 4],
        &[
            -2.25,
            -2.8125,
            3.515625,
            7.91015625,
            -0.25,
            -0.8125,
            -0.609375,
            1.06640625,
            1.75,
            -1.3125,
            -3.609375,
            -0.90234375,
        ],
        &[
            -7.625, 14.625, -16.875, 7.03125, 0.1640625, 0.1796875, 1.3203125, -0.9140625, -1.421875,
            7.984375, -0.984375, -3.609375,
        ],
        &[],
    );
    case(
        "CumprodBackward0",
        |x, s| x.mul(&s.detach().ne(1.0625)?.to_dtype(DType::F64)?)?.cumprod(1),
        &[3, 4],
        &[
            -2.25, -2.8125, 3.515625, 7.91015625, -0.25, -0.8125, -0.609375, 1.06640625, 1.75, -1.3125, -0.0,
            -0.0,
        ],
        &[
            -7.625, 14.625, -16.875, 7.03125, 0.1640625, 0.1796875, 1.3203125, -0.9140625, 0.125, 4.375,
            -0.0, 0.0,
        ],
        &[],
    );
    case(
        "CumprodBackward0",
        |x, _| x.mul(&x.detach().gt(0)?.to_dtype(DType::F64)?)?.cumprod(1),
        &[3, 4],
        &[-0.0, -0.0, 0.0, 0.0, -0.0, -0.0, -0.0, 0.0, 1.75, -0.0, -0.0, -0.0],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0],
        &[],
    );
    case(
        "LogcumsumexpBackward0",
        |x, _| x.logcumsumexp(1),
        &[3, 4],
        &[
            -2.25,
            1.279750418273,
            1.35641410428,
            2.593012105791,
            -0.25,
            3.279750418273,
            3.35641410428,
            3.362453596319,
            1.75,
            1.828889734293,
            3.085097595516,
            3.142151421811,
        ],
        &[
            0.585802315907,
            2.841382470365,
            0.153555971967,
            1.419259241761,
            2.582283472351,
            2.724854375627,
            0.183830215572,
            0.00903193645,
            4.690460811385,
            0.220846472,
            1.033235943351,
            0.055456773264,
        ],
        &[],
    );
    case(
        "NegBackward0",
        |x, _| x.logcumsumexp(0)?.neg(),
        &[3, 4],
        &[
            2.25,
            -1.25,
            1.25,
            -2.25,
            0.123071988957,
            -3.376928011043,
            -0.876928011043,
            -2.268149927918,
            -1.8929316285,
            -3.3929316285,
            -2.8929316285,
            -2.3929316285,
        ],
        &[
            -0.829759785008,
            -1.352877530577,
            -1.62714104201,
            -4.339834017254,
            -2.436613550597,
            -2.607431869482,
            -0.939452291891,
            -0.04285555492,
            -1.733626664395,
            -0.039690599941,
            -0.433406666099,
            -0.117310427826,
        ],
        &[],
    );
    case(
        "CummaxBackward0",
        |x, _| Ok(x.cummax(1)?.0),
        &[3, 4],
        &[-2.25, 1.25, 1.25, 2.25, -0.25, 3.25, 3.25, 3.25, 1.75, 1.75, 2.75, 2.75],
        &[0.5, 2.5, 0.0, 2.0, 2.5, 3.0, 0.0, 0.0, 4.5, 0.0, 1.5, 0.0],
        &[],
    );
    case(
        "CumminBackward0",
        |x, _| Ok(x.cummin(0)?.0),
        &[3, 4],
        &[-2.25, 1.25, -1.25, 2.25, -2.25, 1.25, -1.25, -1.75, -2.25, -0.75, -1.25, -1.75],
        &[5.0, 1.5, 3.0, 2.0, 0.0, 0.0, 0.0, 2.5, 0.0, 2.5, 0.0, 0.0],
        &[],
    );
    case(
        "None",
        |x, _| x.diff(1, -1, None, None),
        &[3, 3],
        &[3.5, -2.5, 3.5, 3.5, -2.5, -2.5, -2.5, 3.5, -2.5],
        &[-0.5, -0.5, -0.5, 1.5, -2.0, -0.5, 2.0, 0.5, -1.0, -0.5, -0.5, 2.0],
        &[],
    );
    case(
        "None",
        |x, s| x.diff(2, 0, Some(&s.narrow(0, 0, 1)?), None),
        &[2, 4],
        &[4.8125, 2.5625, 6.3125, -4.9375, 0.0, -6.0, 0.0, 6.0],
        &[1.5, -1.5, -2.0, -2.5, -4.5, 0.0, -0.5, -1.0, 2.5, 0.5, 1.0, 1.5],
        &[0.5, 1.0, 1.5, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
    case(
        "None",
        |x, _| x.diff(5, 0, None, None),
        &[0, 4],
        &[],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        &[],
    );
}

#[test]
fn quantiles() {
    case(
        "None",
        |x, _| x.quantile(0.3, None, false, Interpolation::Linear),
        &[],
        &[-0.6],
        &[0.0, 0.0, 0.0, 0.0, 0.15, 0.0, 0.0, 0.0, 0.0, 0.35, 0.0, 0.0],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.3, 1, true, Interpolation::Linear),
        &[3, 1],
        &[-1.35, -0.4, 0.15],
        &[0.05, 0.0, 0.45, 0.0, 0.9, 0.0, 0.0, 0.1, 0.0, 0.15, 0.0, 1.35],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.6, 0, false, Interpolation::Linear),
        &[4],
        &[0.15, 1.65, 1.15, 0.65],
        &[0.0, 0.8, 0.0, 0.4, 0.4, 0.2, 1.2, 0.0, 0.1, 0.0, 0.3, 1.6],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.3, None, false, Interpolation::Lower),
        &[],
        &[-0.75],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.3, 1, true, Interpolation::Lower),
        &[3, 1],
        &[-2.25, -1.75, -0.75],
        &[0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.5, 0.0, 0.0],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.6, 0, false, Interpolation::Lower),
        &[4],
        &[-0.25, 1.25, 0.75, 0.25],
        &[0.0, 1.0, 0.0, 0.0, 0.5, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 2.0],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.3, None, false, Interpolation::Higher),
        &[],
        &[-0.25],
        &[0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.3, 1, true, Interpolation::Higher),
        &[3, 1],
        &[-1.25, -0.25, 0.25],
        &[0.0, 0.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.6, 0, false, Interpolation::Higher),
        &[4],
        &[1.75, 3.25, 2.75, 2.25],
        &[0.0, 0.0, 0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.0, 1.5, 0.0],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.3, None, false, Interpolation::Nearest),
        &[],
        &[-0.75],
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.3, 1, true, Interpolation::Nearest),
        &[3, 1],
        &[-1.25, -0.25, 0.25],
        &[0.0, 0.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.6, 0, false, Interpolation::Nearest),
        &[4],
        &[-0.25, 1.25, 0.75, 0.25],
        &[0.0, 1.0, 0.0, 0.0, 0.5, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 2.0],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.3, None, false, Interpolation::Midpoint),
        &[],
        &[-0.5],
        &[0.0, 0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.25, 0.0, 0.0],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.3, 1, true, Interpolation::Midpoint),
        &[3, 1],
        &[-1.75, -1.0, -0.25],
        &[0.25, 0.0, 0.25, 0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.75, 0.0, 0.75],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(0.6, 0, false, Interpolation::Midpoint),
        &[4],
        &[0.75, 2.25, 1.75, 1.25],
        &[0.0, 0.5, 0.0, 1.0, 0.25, 0.5, 0.75, 0.0, 0.25, 0.0, 0.75, 1.0],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(&f(&[0.1, 0.5, 0.9]), 1, false, Interpolation::Linear),
        &[3, 3],
        &[-1.95, -1.3, -0.45, 0.0, 0.25, 1.0, 1.95, 2.5, 2.45],
        &[0.35, 1.3, 1.15, 0.7, 1.55, 1.05, 1.7, 0.7, 0.85, 1.05, 1.4, 0.7],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(&f(&[0.1, 0.9]), 0, true, Interpolation::Linear),
        &[2, 1, 4],
        &[-1.85, -0.35, -0.85, -1.35, 1.35, 2.85, 2.35, 1.85],
        &[0.4, 0.3, 1.2, 1.2, 0.6, 0.4, 0.5, 1.6, 2.0, 0.8, 0.8, 0.7],
        &[],
    );
    case(
        "None",
        |x, _| x.quantile(&f(&[0.1, 0.9]), None, true, Interpolation::Linear),
        &[2, 1, 1],
        &[-1.7, 2.7],
        &[0.0, 0.0, 0.05, 0.1, 0.0, 0.0, 0.0, 0.45, 0.0, 0.0, 0.9, 0.0],
        &[],
    );
}

#[test]
fn places_go_with_the_values() {
    let (x, _) = inputs();
    for (values, places) in [
        x.sort(1, true).unwrap(),
        x.topk(3, 1, false).unwrap(),
        x.kthvalue(3, 1, true).unwrap(),
        x.median_axis(1, true).unwrap(),
        x.mode(1, true).unwrap(),
        x.cummin(1).unwrap(),
    ] {
        assert!(x.gather(1, &places).unwrap().equal(&values).unwrap());
    }
    assert_eq!(ints(&x.argsort(0, false).unwrap()), ints(&x.sort(0, false).unwrap().1));
    // torch.tensor([[1, 2, 2, 1], [3, 3, 3, 0]]).mode(1)
    let (values, places) = i2([2, 4], &[1, 2, 2, 1, 3, 3, 3, 0]).mode(1, false).unwrap();
    assert_eq!((ints(&values), ints(&places)), (vec![1, 3], vec![3, 2]));
    // torch.sort(torch.tensor([2, 1, 2, 1]), stable=True)
    assert_eq!(ints(&i(&[2, 1, 2, 1]).argsort(0, false).unwrap()), [1, 3, 0, 2]);
    assert_eq!(ints(&i(&[2, 1, 2, 1]).argsort(0, true).unwrap()), [0, 2, 1, 3]);
}

#[test]
fn nan_is_the_largest_and_the_median_of_its_row() {
    // torch.tensor([[3., 1., nan, 2.], [5., 4., 2., 1.], [nan] * 4]).median(1), nanmedian(1), median(), nanmedian()
    let x =
        Tensor::from_vec(vec![3.0, 1.0, NAN, 2.0, 5.0, 4.0, 2.0, 1.0, NAN, NAN, NAN, NAN], [3, 4]).unwrap();
    let (values, places) = x.median_axis(1, false).unwrap();
    assert!(values.isnan().unwrap().to_vec::<bool>().unwrap() == [true, false, true]);
    assert_eq!(ints(&places), [2, 2, 0]);
    let (values, places) = x.nanmedian_axis(1, false).unwrap();
    assert_eq!(values.to_vec::<f64>().unwrap()[..2], [2.0, 2.0]);
    assert_eq!(ints(&places)[..2], [3, 2]);
    assert!(x.median().unwrap().to_f64().unwrap().is_nan());
    assert_eq!(x.nanmedian().unwrap().to_f64().unwrap(), 2.0);
    assert!(x.quantile(0.5, 1, false, Interpolation::Linear).unwrap().to_vec::<f64>().unwrap()[0].is_nan());
    let sorted = x.narrow(0, 0, 1).unwrap().sort(1, true).unwrap();
    assert!(sorted.0.to_vec::<f64>().unwrap()[0].is_nan());
    assert_eq!(ints(&sorted.1), [2, 0, 3, 1]);
    // torch.tensor([1., 3., 3., nan, 2., nan]).cummax(0).indices
    let (_, places) = f(&[1.0, 3.0, 3.0, NAN, 2.0, NAN]).cummax(0).unwrap();
    assert_eq!(ints(&places), [0, 1, 2, 3, 3, 5]);
}

#[test]
fn other_dtypes_and_numbers() {
    let bools = Tensor::from_vec(vec![true, false, true], [3]).unwrap();
    assert_eq!(ints(&bools.cumsum(0).unwrap()), [1, 1, 2]);
    assert_eq!(bools.sort(0, false).unwrap().0.to_vec::<bool>().unwrap(), [false, true, true]);
    assert_eq!(bools.diff(1, 0, None, None).unwrap().to_vec::<bool>().unwrap(), [true, true]);
    let bytes = Tensor::from_vec(vec![1i8, 2, 3], [3]).unwrap();
    let y = bytes.cumprod(0).unwrap();
    assert_eq!((y.dtype(), ints(&y)), (DType::I64, vec![1, 2, 6]));
    let two = Tensor::scalar(2.0).unwrap();
    assert_eq!(two.sort(0, false).unwrap().1.dims(), [0usize; 0]);
    assert_eq!(two.topk(1, -1, true).unwrap().0.to_f64().unwrap(), 2.0);
    assert_eq!(two.cumsum(0).unwrap().to_f64().unwrap(), 2.0);
    assert_eq!(two.median_axis(0, true).unwrap().0.dims(), [0usize; 0]);
    assert_eq!(two.nanmedian_axis(0, true).unwrap().0.dims(), [0usize; 0]);
    assert_eq!(two.quantile(0.5, 0, true, Interpolation::Linear).unwrap().dims(), [0usize; 0]);
    let none = f(&[]);
    assert_eq!(none.sort(0, false).unwrap().0.dims(), [0]);
    assert_eq!(none.cumsum(0).unwrap().dims(), [0]);
    assert!(none.median().unwrap().to_f64().unwrap().is_nan());
}

#[test]
fn distinct_elements_and_slices() {
    // t = torch.tensor([[3, 1, 2], [3, 1, 2], [0, 5, 1], [3, 1, 2]])
    let t = i2([4, 3], &[3, 1, 2, 3, 1, 2, 0, 5, 1, 3, 1, 2]);
    let all = t.unique_with(None).unwrap();
    assert_eq!(ints(&all.values), [0, 1, 2, 3, 5]);
    assert_eq!(ints(&all.inverse), [3, 1, 2, 3, 1, 2, 0, 4, 1, 3, 1, 2]);
    assert_eq!((all.inverse.dims(), ints(&all.counts)), (vec![4, 3], vec![1, 4, 3, 3, 1]));
    let rows = t.unique_with(0).unwrap();
    assert_eq!((ints(&rows.values), ints(&rows.inverse)), (vec![0, 5, 1, 3, 1, 2], vec![1, 1, 0, 1]));
    assert_eq!(ints(&rows.counts), [1, 3]);
    let columns = t.unique_with(1).unwrap();
    assert_eq!(ints(&columns.values), [1, 2, 3, 1, 2, 3, 5, 1, 0, 1, 2, 3]);
    assert_eq!(ints(&columns.inverse), [2, 0, 1]);
    let runs = t.unique_consecutive_with(0).unwrap();
    assert_eq!(ints(&runs.values), [3, 1, 2, 0, 5, 1, 3, 1, 2]);
    assert_eq!((ints(&runs.inverse), ints(&runs.counts)), (vec![0, 0, 1, 2], vec![2, 1, 1]));
    assert_eq!(ints(&i(&[1, 1, 2, 1]).unique_consecutive().unwrap()), [1, 2, 1]);
    // torch.tensor([1., nan, nan, 1.]).unique(return_counts=True)
    let found = f(&[1.0, NAN, NAN, 1.0]).unique_with(None).unwrap();
    assert_eq!(ints(&found.counts), [2, 1, 1]);
    // Slices are compared from the first of the other axes on:
    // torch.tensor([[[0, 0], [1, 0]], [[0, 0], [0, 1]]]).unique(dim=2)
    let x = Tensor::from_vec(vec![0i64, 0, 1, 0, 0, 0, 0, 1], [2, 2, 2]).unwrap();
    assert_eq!(ints(&x.unique_with(2).unwrap().values), [0, 0, 0, 1, 0, 0, 1, 0]);
    let (x, _) = inputs();
    fails(x.unique().unwrap().sum().unwrap().backward(), "not implemented");
}

#[test]
fn errors() {
    let (x, _) = inputs();
    fails(x.sort(2, false), "Dimension out of range");
    fails(x.topk(5, 1, true), "selected index k out of range");
    fails(x.kthvalue(0, 1, false), "selected number k out of range for dimension 1");
    fails(x.kthvalue(5, 1, false), "selected number k out of range for dimension 1");
    fails(f(&[]).mode(0, false), "Expected reduction dim");
    fails(f(&[]).median_axis(0, false), "Expected reduction dim");
    fails(f(&[]).nanmedian_axis(0, false), "Expected reduction dim");
    fails(i(&[1]).quantile(0.5, None, false, Interpolation::Linear), "either float or double");
    fails(x.quantile(1.5, None, false, Interpolation::Linear), "in the range [0, 1]");
    fails(x.quantile(NAN, None, false, Interpolation::Linear), "in the range [0, 1]");
    fails(f(&[]).quantile(0.5, None, false, Interpolation::Linear), "non-empty");
    fails(x.quantile(&Tensor::scalar(0.5f32).unwrap(), None, false, Interpolation::Linear), "same dtype");
    fails(Tensor::scalar(1.0).unwrap().diff(1, 0, None, None), "at least one-dimensional");
    fails(i(&[1]).logcumsumexp(0), "not implemented for");
    fails(x.cumsum(2), "Dimension out of range");
    fails(Tensor::full([2, 0, 3], 1.0).unique_with(0), "0 sized dimensions");
}
