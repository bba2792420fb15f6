//! Memory shared with vectors, slices and arrays.

use kiln_autograd::*;

#[test]
fn slices_lend_and_lock() -> Result<()> {
    let x = tensor![[1., 2.], [3., 4.]];
    let before = x.version();
    {
        let a = x.as_slice::<f32>()?;
        let b = x.as_slice::<f32>()?;
        assert_eq!(a[..], b[..]);
        // Reading goes on beside readers; a writer of the same thread is refused, not made to wait for ever.
        assert_eq!((&x + 1.0).to_vec::<f32>()?, [2.0, 3.0, 4.0, 5.0]);
        let error = x.add_(1.0).unwrap_err().to_string();
        assert!(error.contains("lent out"), "{error}");
    }
    x.as_slice_mut::<f32>()?.reverse();
    assert_eq!(x.to_vec::<f32>()?, [4.0, 3.0, 2.0, 1.0]);
    assert_eq!(x.version(), before + 1);
    let row = x.i(1)?;
    row.as_slice_mut::<f32>()?[0] = 9.0;
    assert_eq!(x.to_vec::<f32>()?, [4.0, 3.0, 9.0, 1.0]);
    assert!(x.t()?.as_slice::<f32>().map(|_| ()).unwrap_err().to_string().contains("contiguous"));
    assert!(x.as_slice::<f64>().map(|_| ()).unwrap_err().to_string().contains("float32"));
    Ok(())
}

#[test]
fn changes_from_outside_respect_the_history() -> Result<()> {
    let x = tensor![1., 2.].requires_grad_(true)?;
    assert!(x.as_slice_mut::<f32>().map(|_| ()).unwrap_err().to_string().contains("leaf Variable"));
    no_grad(|| x.as_slice_mut::<f32>().map(|mut s| s[0] = 3.0))?;
    let y = &x * &x;
    assert!(y.as_slice_mut::<f32>().map(|_| ()).unwrap_err().to_string().contains("history"));
    // The change is counted, and so noticed by the derivative that saved x.
    x.detach().as_slice_mut::<f32>()?[1] = 0.0;
    assert!(y.sum()?.backward().unwrap_err().to_string().contains("modified by an inplace operation"));
    Ok(())
}

#[test]
fn numbers_and_vectors_convert() -> Result<()> {
    let x = Tensor::from(vec![1i64, 2, 3]);
    assert_eq!((x.dims(), x.dtype()), (vec![3], I64));
    assert_eq!(f32::try_from(&x.sum()?)?, 6.0);
    assert_eq!(i64::try_from(tensor!(2.9))?, 2);
    assert!(bool::try_from(&x.i(0)?)?);
    assert!(f64::try_from(&x).is_err());
    assert_eq!(Tensor::from(&[0.5f64, 1.5][..]).dtype(), F64);
    Ok(())
}

#[cfg(feature = "ndarray")]
#[test]
fn arrays_share_memory_both_ways() -> Result<()> {
    use kiln_autograd::ndarray::{Axis, array};
    let a = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let address = a.as_ptr();
    let x = Tensor::from_ndarray(a)?;
    assert_eq!(x.as_ndarray::<f32>()?.as_ptr(), address);
    x.t()?.as_ndarray_mut::<f32>()?[[2, 0]] = 30.0;
    assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0, 30.0, 4.0, 5.0, 6.0]);
    assert_eq!(x.as_ndarray::<f32>()?.sum_axis(Axis(1)).into_raw_vec_and_offset().0, [33.0, 15.0]);
    let owned = x.as_ndarray::<f32>()?.to_owned();
    x.zero_()?;
    assert_eq!(owned[[0, 2]], 30.0);
    let reversed = array![1i64, 2, 3].slice_move(kiln_autograd::ndarray::s![..;-1]);
    assert_eq!(Tensor::from_ndarray(reversed)?.to_vec::<i64>()?, [3, 2, 1]);
    assert!(tensor!(1.).expand([4])?.as_ndarray_mut::<f32>().is_err());
    Ok(())
}

#[test]
fn other_threads_wait_for_a_guard() -> Result<()> {
    let x = tensor![1., 2.];
    let mut guard = x.as_slice_mut::<f32>()?;
    let sum = std::thread::scope(|s| {
        let other = s.spawn(|| (&x + 0.0).sum().and_then(|t| t.to_f64()));
        guard[0] = 40.0;
        drop(guard);
        other.join().unwrap()
    })?;
    assert_eq!(sum, 42.0);
    Ok(())
}
