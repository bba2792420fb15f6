//! What a new tensor is made of, as one argument: dtype, device, and whether it requires grad; where one is brought to.

use kiln_ops::{DType, Device, default_dtype};

use crate::Tensor;

/// The last argument of constructors like [`Tensor::zeros_with`]: a [`DType`], a [`Device`], both, or all there is to say.
///
/// ```
/// use kiln_autograd::{Device, F64, Tensor, TensorOptions};
/// let a = Tensor::zeros_with([2, 3], F64);
/// let b = Tensor::zeros_with([2, 3], (F64, Device::CPU));
/// let c = Tensor::zeros_with([2, 3], TensorOptions::new().dtype(F64).requires_grad(true));
/// assert!(c.requires_grad() && [a, b, c].iter().all(|t| t.dtype() == F64));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TensorOptions {
    pub(crate) dtype: Option<DType>,
    pub(crate) device: Device,
    pub(crate) requires_grad: bool,
}

impl TensorOptions {
    /// The dtype that the constructor chooses, on the host, without grad.
    pub fn new() -> TensorOptions {
        TensorOptions::default()
    }

    /// With this dtype.
    pub fn dtype(self, dtype: DType) -> TensorOptions {
        TensorOptions { dtype: Some(dtype), ..self }
    }

    /// On this device.
    pub fn device(self, device: Device) -> TensorOptions {
        TensorOptions { device, ..self }
    }

    /// Whether to ask for a gradient.
    pub fn requires_grad(self, requires_grad: bool) -> TensorOptions {
        TensorOptions { requires_grad, ..self }
    }

    /// The dtype, the default float dtype when none was named.
    pub(crate) fn float(self) -> DType {
        self.dtype.unwrap_or_else(default_dtype)
    }
}

impl From<DType> for TensorOptions {
    fn from(dtype: DType) -> TensorOptions {
        TensorOptions::new().dtype(dtype)
    }
}

impl From<Device> for TensorOptions {
    fn from(device: Device) -> TensorOptions {
        TensorOptions::new().device(device)
    }
}

impl From<(DType, Device)> for TensorOptions {
    fn from((dtype, device): (DType, Device)) -> TensorOptions {
        TensorOptions::new().dtype(dtype).device(device)
    }
}

/// The dtype and device of a tensor, as in `Tensor::zeros_with([3], &x)`.
impl From<&Tensor> for TensorOptions {
    fn from(like: &Tensor) -> TensorOptions {
        TensorOptions::from((like.dtype(), like.device()))
    }
}

/// Where [`Tensor::to`] brings a tensor: a [`DType`], a [`Device`], both in either order, or those of another tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    pub(crate) dtype: Option<DType>,
    pub(crate) device: Option<Device>,
}

impl From<DType> for Destination {
    fn from(dtype: DType) -> Destination {
        Destination { dtype: Some(dtype), device: None }
    }
}

impl From<Device> for Destination {
    fn from(device: Device) -> Destination {
        Destination { dtype: None, device: Some(device) }
    }
}

impl From<(DType, Device)> for Destination {
    fn from((dtype, device): (DType, Device)) -> Destination {
        Destination { dtype: Some(dtype), device: Some(device) }
    }
}

impl From<(Device, DType)> for Destination {
    fn from((device, dtype): (Device, DType)) -> Destination {
        Destination::from((dtype, device))
    }
}

impl From<&Tensor> for Destination {
    fn from(like: &Tensor) -> Destination {
        Destination::from((like.dtype(), like.device()))
    }
}

macro_rules! dtypes {
    ($($name:ident = $variant:ident, $torch:literal;)*) => {$(
        #[doc = concat!("[`DType::", stringify!($variant), "`], PyTorch's `torch.", $torch, "`.")]
        pub const $name: DType = DType::$variant;
    )*};
}

dtypes! {
    BOOL = Bool, "bool";
    U8 = U8, "uint8";
    I8 = I8, "int8";
    I16 = I16, "int16";
    I32 = I32, "int32";
    I64 = I64, "int64";
    F16 = F16, "float16";
    BF16 = BF16, "bfloat16";
    F32 = F32, "float32";
    F64 = F64, "float64";
}
