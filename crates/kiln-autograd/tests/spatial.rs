//! Places in images: values of PyTorch that its recorded calls do not have.

use kiln_autograd::{DType, GridMode, GridPadding, Result, Tensor};

fn close(t: &Tensor, want: &[f64]) {
    let got = t.to_dtype(DType::F64).and_then(|t| t.flatten(0, -1)?.to_vec::<f64>()).expect("numbers");
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() <= 1e-5 * w.abs()), "{got:?}, expected {want:?}");
}

#[test]
fn cubic_convolution_over_three_axes() -> Result<()> {
    let x = Tensor::from_vec((0..27).map(|i| (i * i) as f32).collect::<Vec<_>>(), [1, 1, 3, 3, 3])?;
    let grid = Tensor::from_vec(vec![0.1f32, -0.3, 0.5, 0.9, 0.2, -0.7], [1, 1, 1, 2, 3])?;
    let y = x.grid_sample(&grid, GridMode::Bicubic, GridPadding::Border, false)?;
    close(&y, &[362.50665283203125, 32.887203216552734]);
    Ok(())
}

#[test]
fn windows_of_fractional_pooling_start_where_the_dtype_rounds_to() -> Result<()> {
    let x = Tensor::from_vec((0..100).map(|i| i as f32).collect::<Vec<_>>(), [1, 1, 10, 10])?;
    for (dtype, sample, first_row) in [
        (DType::F32, 0.999, [22.0, 24.0, 26.0, 29.0]),
        (DType::F16, 0.999, [22.0, 24.0, 27.0, 29.0]),
        (DType::F32, 2.0, [22.0, 25.0, 27.0, 29.0]),
        (DType::F32, -1.0, [22.0, 24.0, 26.0, 29.0]),
    ] {
        let samples = Tensor::full([1, 1, 2], sample).to_dtype(dtype)?;
        let (y, _) = x.to_dtype(dtype)?.fractional_max_pool2d([3, 3], [4, 4], Some(&samples))?;
        close(&y.select(2, 0)?, &first_row);
    }
    let nowhere = Tensor::full([1, 1, 2], f64::NAN);
    assert!(x.fractional_max_pool2d([3, 3], [4, 4], Some(&nowhere)).is_err());
    Ok(())
}
