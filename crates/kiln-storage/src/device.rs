//! Where a tensor's memory lives.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A device: a small value that prints as `cpu` or `gpu:0`.
///
/// ```
/// use kiln_storage::Device;
/// assert_eq!(Device::CPU.to_string(), "cpu");
/// assert_eq!(Device::gpu(1).to_string(), "gpu:1");
/// assert_eq!("gpu:1".parse::<Device>().unwrap(), Device::gpu(1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    kind: DeviceKind,
    index: u8,
}

/// The kinds of [`Device`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeviceKind {
    /// The host.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// A device with memory of its own that exists to test what stands above the backends.
    Test,
}

impl Device {
    /// The host.
    pub const CPU: Device = Device { kind: DeviceKind::Cpu, index: 0 };

    /// The graphics processor number `index`.
    pub const fn gpu(index: u8) -> Device {
        Device { kind: DeviceKind::Gpu, index }
    }

    /// The test device number `index`.
    pub const fn test(index: u8) -> Device {
        Device { kind: DeviceKind::Test, index }
    }

    /// What kind of device this is.
    pub const fn kind(self) -> DeviceKind {
        self.kind
    }

    /// Its number among the devices of its kind.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// Whether this is the host.
    #[inline]
    pub const fn is_cpu(self) -> bool {
        matches!(self.kind, DeviceKind::Cpu)
    }
}

impl Default for Device {
    fn default() -> Device {
        Device::CPU
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            DeviceKind::Cpu => f.write_str("cpu"),
            DeviceKind::Gpu => write!(f, "gpu:{}", self.index),
            DeviceKind::Test => write!(f, "test:{}", self.index),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Device {
    type Err = Error;

    /// Parses `cpu`, `gpu`, `gpu:1` and, for readers of PyTorch code, `cuda` and `cuda:1`.
    fn from_str(s: &str) -> Result<Device, Error> {
        let unknown = || Error::device("device", format!("'{s}' is none of cpu, gpu, gpu:N"));
        let (kind, index) = s.split_once(':').unwrap_or((s, "0"));
        let index = index.parse::<u8>().map_err(|_| unknown())?;
        match kind {
            "cpu" if index == 0 => Ok(Device::CPU),
            "gpu" | "cuda" => Ok(Device::gpu(index)),
            "test" => Ok(Device::test(index)),
            _ => Err(unknown()),
        }
    }
}
