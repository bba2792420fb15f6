//! A second device, for tests only: it has memory of its own that the host cannot touch, runs a few kernels itself and
//! leaves the rest to the fallback. Nothing above `trait Backend` may tell the difference.

use std::any::Any;
use std::sync::{Mutex, Once};

use kiln::kiln_ops::elementwise::BinaryOp;
use kiln::kiln_ops::{Backend, DeviceMemory, Op, Storage, Support, register};
use kiln::prelude::*;

/// Bytes that only the backend can reach.
struct Memory(Mutex<Vec<u8>>);

impl DeviceMemory for Memory {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct TestBackend;

fn bytes(t: &RawTensor) -> &Mutex<Vec<u8>> {
    let memory = t.storage().device_memory().expect("the tensor is on the device");
    &memory.as_any().downcast_ref::<Memory>().expect("the memory is this backend's").0
}

/// The elements of a device tensor in row-major order, as they lie in memory.
fn elements(t: &RawTensor) -> Vec<Vec<u8>> {
    let (all, size) = (bytes(t).lock().unwrap(), t.dtype().size());
    let mut out = Vec::new();
    t.layout().for_each_position(|p| out.push(all[p * size..(p + 1) * size].to_vec()));
    out
}

fn write(t: &RawTensor, elements: &[Vec<u8>]) {
    let (mut all, size, mut i) = (bytes(t).lock().unwrap(), t.dtype().size(), 0);
    t.layout().for_each_position(|p| {
        all[p * size..(p + 1) * size].copy_from_slice(&elements[i]);
        i += 1;
    });
}

fn floats(t: &RawTensor) -> Vec<f32> {
    elements(t).iter().map(|b| f32::from_le_bytes(b[..].try_into().unwrap())).collect()
}

impl Backend for TestBackend {
    fn alloc(&self, device: Device, size: usize) -> Result<Storage> {
        // Not zero, so that whoever reads what was never written is found out.
        Ok(Storage::from_device(device, size, Box::new(Memory(Mutex::new(vec![0xA5; size])))))
    }

    fn upload(&self, host: &RawTensor, to: &RawTensor) -> Result<()> {
        assert!(host.is_contiguous() && to.is_contiguous() && host.device().is_cpu());
        let from: Vec<u8> = kiln::kiln_ops::with_dtype!(host.dtype(), T => {
            host.to_vec::<T>()?.into_iter().flat_map(|v| le_bytes(v.into(), host.dtype())).collect()
        });
        let start = to.layout().offset() * to.dtype().size();
        bytes(to).lock().unwrap()[start..start + from.len()].copy_from_slice(&from);
        Ok(())
    }

    fn download(&self, from: &RawTensor, host: &RawTensor) -> Result<()> {
        assert!(host.is_contiguous() && from.is_contiguous() && host.device().is_cpu());
        let values: Vec<f64> = elements(from).iter().map(|b| number(b, from.dtype())).collect();
        // Through f64: enough for the small integers of these tests.
        let n = values.len();
        let staged = RawTensor::from_vec("download", values, [n])?;
        let staged = kiln::kiln_ops::to_dtype(&staged, host.dtype())?;
        let staged =
            kiln::kiln_ops::reshape(&staged, &host.shape().iter().map(|&s| s as i64).collect::<Vec<_>>())?;
        kiln::kiln_ops::copy_(host, &staged)
    }

    fn copy(&self, from: &RawTensor, to: &RawTensor) -> Result<()> {
        assert_eq!((from.shape(), from.dtype()), (to.shape(), to.dtype()));
        let elements = elements(from);
        write(to, &elements);
        Ok(())
    }

    fn execute(&self, op: &Op, inputs: &[&RawTensor], outputs: &[&RawTensor]) -> Result<Support> {
        let all_f32 = inputs.iter().chain(outputs).all(|t| t.dtype() == DType::F32);
        match op {
            Op::Fill(value) if all_f32 => {
                let one = (value.to_f64() as f32).to_le_bytes().to_vec();
                write(outputs[0], &vec![one; outputs[0].numel()]);
            }
            Op::Binary(code @ (BinaryOp::Add | BinaryOp::Mul), DType::F32) if all_f32 => {
                let (a, b) = (floats(inputs[0]), floats(inputs[1]));
                let f = if *code == BinaryOp::Add { |a: f32, b: f32| a + b } else { |a: f32, b: f32| a * b };
                let y: Vec<Vec<u8>> =
                    a.iter().zip(&b).map(|(a, b)| f(*a, *b).to_le_bytes().to_vec()).collect();
                write(outputs[0], &y);
            }
            Op::Copy if inputs[0].dtype() == outputs[0].dtype() => self.copy(inputs[0], outputs[0])?,
            _ => return Ok(Support::Unsupported),
        }
        Ok(Support::Done)
    }
}

fn le_bytes(value: Scalar, dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F32 => (value.to_f64() as f32).to_le_bytes().to_vec(),
        DType::F64 => value.to_f64().to_le_bytes().to_vec(),
        DType::I64 => value.to_i64().to_le_bytes().to_vec(),
        DType::I32 => (value.to_i64() as i32).to_le_bytes().to_vec(),
        DType::Bool | DType::U8 => vec![value.to_i64() as u8],
        other => unimplemented_dtype(other),
    }
}

fn number(b: &[u8], dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f32::from_le_bytes(b.try_into().unwrap()) as f64,
        DType::F64 => f64::from_le_bytes(b.try_into().unwrap()),
        DType::I64 => i64::from_le_bytes(b.try_into().unwrap()) as f64,
        DType::I32 => i32::from_le_bytes(b.try_into().unwrap()) as f64,
        DType::Bool | DType::U8 => b[0] as f64,
        other => unimplemented_dtype(other),
    }
}

fn unimplemented_dtype(dtype: DType) -> ! {
    panic!("the test device does not move {dtype}")
}

fn device() -> Device {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| register(Device::test(0), Box::new(TestBackend)).unwrap());
    Device::test(0)
}

fn host(t: &Tensor) -> Vec<f32> {
    t.detach().to_device(Device::CPU).unwrap().to_vec().unwrap()
}

#[test]
fn host_memory_is_not_assumed() {
    let x = tensor![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].to_device(device()).unwrap();
    assert_eq!(x.device(), device());
    assert!(x.raw().to_vec::<f32>().unwrap_err().to_string().contains("test:0"));
    assert_eq!(
        x.to_vec::<f32>().unwrap(),
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "reading values goes through a copy"
    );
    assert!(x.to_string().contains("device='test:0'"), "{x}");
}

/// The tutorial's steps with an accelerator: made on it, moved to it, added, and brought back as doubles in one call.
#[test]
fn one_call_moves_and_converts() {
    assert!(kiln::is_available(device()) && !kiln::is_available(Device::gpu(5)));
    let x = tensor![1.0, -2.5, 3.0];
    let y = Tensor::ones_with([3], device());
    let z = &x.to(device()).unwrap() + &y;
    assert_eq!(host(&z), host(&(&x + 1.0)));
    let back = z.to((Device::CPU, F64)).unwrap();
    assert_eq!((back.device(), back.dtype()), (Device::CPU, F64));
    assert_eq!(back.to_vec::<f64>().unwrap(), [2.0, -1.5, 4.0]);
    assert!(z.to(&z).unwrap().is_same(&z), "nothing to be done");

    // One node, whose gradient goes the same way back.
    let leaf = tensor![2.0, 3.0].requires_grad_(true).unwrap();
    let moved = leaf.to((device(), I64)).unwrap();
    assert!(!moved.requires_grad(), "integers have no gradients");
    let moved = leaf.to((F64, device())).unwrap();
    assert_eq!(moved.grad_fn().unwrap().name(), "ToCopyBackward0");
    moved.to(Device::CPU).unwrap().sum().unwrap().backward().unwrap();
    let grad = leaf.grad().unwrap();
    assert_eq!((grad.device(), grad.dtype()), (Device::CPU, F32));
    assert_eq!(host(&grad), [1.0, 1.0]);
}

#[test]
fn views_share_memory_on_the_device() {
    let x = Tensor::zeros([2, 3]).to_device(device()).unwrap();
    let column = x.t().unwrap().select(0, 1).unwrap();
    column.fill_(9.0).unwrap();
    x.narrow(1, 0, 1).unwrap().add_(1.0).unwrap();
    assert_eq!(host(&x), [1.0, 9.0, 0.0, 1.0, 9.0, 0.0]);
    assert_eq!(host(&x.t().unwrap().contiguous().unwrap()), [1.0, 1.0, 9.0, 9.0, 0.0, 0.0]);
    // sqrt_ has no kernel there: the fallback must bring the view's elements, and only those, up to date.
    let version = x.version();
    column.sqrt_().unwrap();
    assert_eq!(x.version(), version + 1);
    assert_eq!(host(&x), [1.0, 3.0, 0.0, 1.0, 3.0, 0.0]);
}

#[test]
fn devices_do_not_mix() {
    let (a, b) = (tensor![1.0, 2.0].to_device(device()).unwrap(), tensor![1.0, 2.0]);
    for error in [
        a.add(&b).unwrap_err(),
        b.matmul(&a).unwrap_err(),
        a.add_(&b).unwrap_err(),
        b.where_self(&b.gt(0.0).unwrap(), &a).unwrap_err(),
        Tensor::cat(&[&a, &b], 0).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("test:0") && text.contains("cpu"), "{text}");
        assert!(matches!(error.kind(), ErrorKind::Device { .. }), "{text}");
    }
    assert_eq!(host(&a), [1.0, 2.0], "a refused in-place operation changes nothing");
    // Numbers and zero-dimensional host tensors go with every device.
    assert_eq!(host(&a.add(&Tensor::scalar(1.0).unwrap()).unwrap()), [2.0, 3.0]);
    assert!(tensor![1.0].to_device(Device::gpu(5)).unwrap_err().to_string().contains("gpu:5"));
}

#[test]
fn assignment_crosses_devices() {
    let x = Tensor::zeros([3]).to_device(device()).unwrap();
    x.copy_(&tensor![1, 2, 3]).unwrap();
    let y = Tensor::zeros([2, 3]);
    y.copy_(&x).unwrap();
    assert_eq!(host(&y), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
}

/// A network trained on the device, through its own kernels and the fallback, has the bits of one trained on the host.
#[test]
fn training_on_the_device_gives_the_hosts_bits() {
    let _turn = crate::turn();
    let run = |device: Device| {
        manual_seed(3);
        let model = sequential![
            Conv2d::new(1, 4, 3),
            ReLU::new(),
            MaxPool2d::new(2),
            Flatten::new(),
            Linear::new(36, 16),
            Tanh::new(),
            Linear::new(16, 10)
        ];
        let x = Tensor::rand([8, 1, 8, 8]);
        let y = Tensor::randint(0, 10, [8]).unwrap();
        model.to_device(device).unwrap();
        let (x, y) = (x.to_device(device).unwrap(), y.to_device(device).unwrap());
        let mut optimizer = SGD::new(model.parameters(), 0.1).momentum(0.9);
        for _ in 0..3 {
            optimizer.zero_grad();
            let loss = CrossEntropyLoss::new().forward(&model.forward(&x).unwrap(), &y).unwrap();
            loss.backward().unwrap();
            optimizer.step().unwrap();
        }
        model.parameters().iter().flat_map(host).map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(run(device()), run(Device::CPU));
}
