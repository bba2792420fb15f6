//! What a device must do: [`Backend`], the slots that hold one per device, and the fallback to the host.
//!
//! Entries in this crate check arguments once, allocate the results and hand a [`Op`] with its operands to
//! [`run`]. A backend executes the kernels it knows and answers [`Support::Unsupported`] for the rest, which then run
//! on the host with the operands copied there and the results copied back.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use kiln_storage::{DType, Device, DeviceKind, Error, Layout, RawTensor, Result, Shape, Storage};
use parking_lot::Mutex;

use crate::cpu;
use crate::op::Op;

/// Whether a backend executed a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Support {
    /// The outputs hold the result (or will, before anybody can read them).
    Done,
    /// The backend does not have this kernel; nothing was changed.
    Unsupported,
}

/// A device's memory and kernels. Only memory and copies are required.
///
/// All operands of one call live on the backend's own device and have passed the entry's checks; layouts are
/// arbitrary, views included, unless the kernel's documentation says "contiguous".
pub trait Backend: Send + Sync {
    /// Memory of `bytes` bytes on `device`, content undefined.
    fn alloc(&self, device: Device, bytes: usize) -> Result<Storage>;

    /// Copies a contiguous host tensor into a contiguous tensor of the same shape and dtype on the device.
    fn upload(&self, host: &RawTensor, to: &RawTensor) -> Result<()>;

    /// Copies a contiguous tensor on the device into a contiguous host tensor of the same shape and dtype.
    fn download(&self, from: &RawTensor, host: &RawTensor) -> Result<()>;

    /// Copies between two tensors of the device with the same shape and dtype and any layouts.
    fn copy(&self, from: &RawTensor, to: &RawTensor) -> Result<()>;

    /// Executes a kernel; see [`Op`] for the operands of each.
    fn execute(&self, kernel: &Op, inputs: &[&RawTensor], outputs: &[&RawTensor]) -> Result<Support> {
        let _ = (kernel, inputs, outputs);
        Ok(Support::Unsupported)
    }
}

const SLOTS: usize = 8;
static GPU: [OnceLock<Box<dyn Backend>>; SLOTS] = [const { OnceLock::new() }; SLOTS];
static TEST: [OnceLock<Box<dyn Backend>>; SLOTS] = [const { OnceLock::new() }; SLOTS];

fn slot(device: Device) -> Option<&'static OnceLock<Box<dyn Backend>>> {
    match device.kind() {
        DeviceKind::Cpu => None,
        DeviceKind::Gpu => GPU.get(device.index()),
        DeviceKind::Test => TEST.get(device.index()),
    }
}

/// Installs the backend of `device`. The first one stays.
///
/// # Errors
/// The device is the host, has a number above 7, or has a backend already.
pub fn register(device: Device, backend: Box<dyn Backend>) -> Result<()> {
    let free = slot(device).ok_or_else(|| Error::device("register", format!("{device} takes no backend")))?;
    free.set(backend).map_err(|_| Error::device("register", format!("{device} has a backend already")))
}

/// Whether `device` can be used: the host always, others when a backend was registered.
pub fn is_available(device: Device) -> bool {
    device.is_cpu() || slot(device).is_some_and(|s| s.get().is_some())
}

/// The first graphics processor that can be used (`torch.device("cuda")` after `torch.cuda.is_available()`).
///
/// # Errors
/// There is none.
pub fn gpu() -> Result<Device> {
    let devices = (0..SLOTS as u8).map(Device::gpu);
    devices.into_iter().find(|&device| is_available(device)).ok_or_else(|| {
        Error::device("gpu", "no graphics processor is available; best_device() gives the host then")
    })
}

/// The first graphics processor that can be used, else the host: what a program computes on that is to run everywhere.
///
/// ```
/// let device = kiln_ops::best_device();
/// assert!(kiln_ops::is_available(device));
/// ```
pub fn best_device() -> Device {
    gpu().unwrap_or(Device::CPU)
}

/// The backend of a device other than the host.
pub(crate) fn backend(op: &'static str, device: Device) -> Result<&'static dyn Backend> {
    slot(device).and_then(|s| s.get()).map(|b| &**b).ok_or_else(|| {
        Error::device(
            op,
            format!(
                "{device} is not available: no backend is registered for it; gpu() tells whether there is one"
            ),
        )
    })
}

/// A contiguous tensor on `device` with undefined content.
#[inline(always)]
pub(crate) fn uninit(op: &'static str, shape: &Shape, dtype: DType, device: Device) -> Result<RawTensor> {
    if device.is_cpu() {
        return RawTensor::uninit(op, shape.clone(), dtype);
    }
    let bytes = shape.checked_numel(op)? * dtype.size();
    let storage = backend(op, device)?.alloc(device, bytes)?;
    RawTensor::new(op, storage, Layout::contiguous(shape.clone()), dtype)
}

/// Executes `kernel` where its operands live.
#[inline]
pub(crate) fn run(
    op: &'static str,
    kernel: &Op,
    inputs: &[&RawTensor],
    outputs: &[&RawTensor],
) -> Result<()> {
    if outputs.iter().any(|t| !t.is_contiguous() && t.layout().overlaps_itself()) {
        return run_overlapping(op, kernel, inputs, outputs);
    }
    let device = outputs[0].device();
    if device.is_cpu() {
        return cpu::execute(op, kernel, inputs, outputs);
    }
    let backend = backend(op, device)?;
    match backend.execute(kernel, inputs, outputs)? {
        Support::Done => Ok(()),
        Support::Unsupported => on_host(op, backend, kernel, inputs, outputs),
    }
}

/// Executes `kernel` with outputs some of whose elements are one place in memory: results are made elsewhere and written
/// in row-major order, so that the last of those elements stays whatever the number of threads.
#[cold]
fn run_overlapping(
    op: &'static str,
    kernel: &Op,
    inputs: &[&RawTensor],
    outputs: &[&RawTensor],
) -> Result<()> {
    let results = outputs.iter().map(|t| crate::contiguous_copy(t)).collect::<Result<Vec<_>>>()?;
    run(op, kernel, inputs, &results.iter().collect::<Vec<_>>())?;
    results.iter().zip(outputs).try_for_each(|(result, output)| write_in_order(op, result, output))
}

fn write_in_order(op: &'static str, from: &RawTensor, to: &RawTensor) -> Result<()> {
    if !to.layout().overlaps_itself() {
        return run(op, &Op::Copy, &[from], &[to]);
    }
    (0..to.shape()[0]).try_for_each(|i| {
        let part = |t: &RawTensor| t.with_layout(t.layout().select(0, i));
        write_in_order(op, &part(from), &part(to))
    })
}

/// Copies the operands to the host, runs the kernel there and copies the results back.
fn on_host(
    op: &'static str,
    backend: &dyn Backend,
    kernel: &Op,
    inputs: &[&RawTensor],
    outputs: &[&RawTensor],
) -> Result<()> {
    warn_once(op, outputs[0].device());
    let inputs = inputs.iter().map(|t| fetch(op, backend, t)).collect::<Result<Vec<_>>>()?;
    // Kernels that update their output need its present content.
    let results = outputs.iter().map(|t| fetch(op, backend, t)).collect::<Result<Vec<_>>>()?;
    cpu::execute(op, kernel, &inputs.iter().collect::<Vec<_>>(), &results.iter().collect::<Vec<_>>())?;
    for (result, output) in results.iter().zip(outputs) {
        store(op, backend, result, output)?;
    }
    Ok(())
}

/// A contiguous host copy of a tensor of the backend's device.
pub(crate) fn fetch(op: &'static str, backend: &dyn Backend, t: &RawTensor) -> Result<RawTensor> {
    let host = RawTensor::uninit(op, t.shape().clone(), t.dtype())?;
    if t.is_contiguous() {
        backend.download(t, &host)?;
    } else {
        let dense = uninit(op, t.shape(), t.dtype(), t.device())?;
        backend.copy(t, &dense)?;
        backend.download(&dense, &host)?;
    }
    Ok(host)
}

/// Copies a contiguous host tensor into a tensor of the backend's device.
pub(crate) fn store(op: &'static str, backend: &dyn Backend, host: &RawTensor, t: &RawTensor) -> Result<()> {
    if t.is_contiguous() {
        return backend.upload(host, t);
    }
    let dense = uninit(op, t.shape(), t.dtype(), t.device())?;
    backend.upload(host, &dense)?;
    backend.copy(&dense, t)
}

#[cold]
fn warn_once(op: &'static str, device: Device) {
    static WARNED: Mutex<BTreeSet<(&'static str, Device)>> = Mutex::new(BTreeSet::new());
    if WARNED.lock().insert((op, device)) {
        eprintln!("kiln: {op} has no kernel on {device} and runs on the host (said once)");
    }
}
