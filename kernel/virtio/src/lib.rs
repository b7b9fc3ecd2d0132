//! virtio 1.2 without hardware: split virtqueue, the two transports' registers, and the initialisation handshake.
//!
//! - [`queue`]: the driver's side of a split virtqueue;
//! - [`pci`]: vendor capabilities and the common configuration of a virtio-pci device;
//! - [`mmio`]: virtio-mmio, version 2 and the legacy version 1 that QEMU still has by default;
//! - [`Transport`] and [`negotiate`]: what a driver needs of either;
//! - [`blk`], [`scsi`]: what goes through the queues of a disk, and of a SCSI host; [`outcome`]: how a request ended.
//!
//! Memory and registers are reached through [`Registers`] and [`queue::QueueMemory`], so everything here runs against a
//! model on the host. The device is not trusted: whatever it writes, indices and lengths are checked against what the
//! driver remembers on its own side, and a device that lies gets its queue closed. Sections cited are those of the
//! "Virtual I/O Device (VIRTIO) Version 1.2" specification.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod blk;
pub mod mmio;
pub mod outcome;
pub mod pci;
pub mod queue;
pub mod scsi;

/// Device types (5).
pub mod device_type {
    /// Network card.
    pub const NET: u32 = 1;
    /// Block device.
    pub const BLOCK: u32 = 2;
    /// Console.
    pub const CONSOLE: u32 = 3;
    /// Entropy source.
    pub const ENTROPY: u32 = 4;
    /// SCSI host.
    pub const SCSI: u32 = 8;
}

/// Device status bits (2.1).
pub mod status {
    /// The guest has found the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// The guest has a driver for it.
    pub const DRIVER: u8 = 2;
    /// The driver is set up.
    pub const DRIVER_OK: u8 = 4;
    /// The features are agreed.
    pub const FEATURES_OK: u8 = 8;
    /// The device must be reset.
    pub const NEEDS_RESET: u8 = 64;
    /// The driver has given up.
    pub const FAILED: u8 = 128;
}

/// Feature bits that concern every device (6).
pub mod feature {
    /// Both sides say at which index they next want to be told, instead of whether (2.7.7, 2.7.10).
    pub const EVENT_INDEX: u64 = 1 << 29;
    /// The device follows version 1 or newer of the specification.
    pub const VERSION_1: u64 = 1 << 32;
    /// The device's addresses go through an IOMMU.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
}

/// Bits of the interrupt status (4.1.4.5, 4.2.2).
pub mod interrupt {
    /// A queue has used buffers.
    pub const QUEUE: u8 = 1;
    /// The configuration has changed, or the device needs a reset.
    pub const CONFIGURATION: u8 = 2;
}

/// The MSI-X vector that is none (4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;

/// How often the device-specific configuration is read anew because it changed meanwhile (2.5).
const GENERATIONS_MAX: usize = 16;

/// How often a status register is read while a reset completes. QEMU answers the first read.
const RESET_READS_MAX: u32 = 1_000_000;

/// A window of device registers.
#[allow(missing_docs)]
pub trait Registers {
    fn read8(&self, offset: usize) -> u8;
    fn read16(&self, offset: usize) -> u16;
    fn read32(&self, offset: usize) -> u32;
    fn write8(&self, offset: usize, value: u8);
    fn write16(&self, offset: usize, value: u16);
    fn write32(&self, offset: usize, value: u32);
}

/// Why a device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// virtio-mmio: the magic value or version is none that we know.
    NotVirtio,
    /// virtio-pci: a needed vendor capability is missing or points outside the BAR range.
    Capability(&'static str),
    /// The device did not come out of reset.
    ResetTimeout,
    /// The device does not offer VERSION_1 on a modern transport.
    Legacy,
    /// The device refused the features.
    FeaturesRefused,
    /// The device has no such queue, or one that is too small.
    NoQueue,
    /// The queue is already in use, or its memory does not fit the transport (legacy: 32-bit page numbers).
    QueueRefused,
    /// The device has no room for the MSI-X vector.
    VectorRefused,
    /// The device's configuration makes no sense, or asks for more than the driver has.
    Configuration(&'static str),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotVirtio => f.write_str("not a virtio device that we know"),
            Self::Capability(which) => write!(f, "capability {which} is missing or malformed"),
            Self::ResetTimeout => f.write_str("reset did not complete"),
            Self::Legacy => f.write_str("device does not offer VERSION_1"),
            Self::FeaturesRefused => f.write_str("device refused the features"),
            Self::NoQueue => f.write_str("no such queue"),
            Self::QueueRefused => f.write_str("queue refused"),
            Self::VectorRefused => f.write_str("MSI-X vector refused"),
            Self::Configuration(what) => write!(f, "configuration: {what}"),
        }
    }
}

impl core::error::Error for Error {}

/// Device addresses of a queue's three parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueAddresses {
    /// Descriptor table.
    pub descriptors: u64,
    /// Available ring (driver area).
    pub available: u64,
    /// Used ring (device area).
    pub used: u64,
}

/// Where and with what a queue is notified: one write, so that CPUs with different queues need no lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doorbell {
    offset: u32,
    queue: u16,
}

/// What a driver needs of a transport.
pub trait Transport {
    /// Device type (5); 0 is an empty slot.
    fn device_type(&self) -> u32;
    /// Whether the device speaks the pre-1.0 protocol: no VERSION_1, no FEATURES_OK.
    fn is_legacy(&self) -> bool;
    /// Device status.
    fn status(&self) -> u8;
    /// Write the device status; 0 resets.
    fn set_status(&self, status: u8);
    /// Features that the device offers.
    fn device_features(&self) -> u64;
    /// Features that the driver accepts.
    fn set_driver_features(&self, features: u64);
    /// Largest size of queue `queue`; 0 when there is none.
    fn queue_size_max(&self, queue: u16) -> u16;
    /// Give the device a queue and enable it. Returns the queue's doorbell.
    ///
    /// # Errors
    /// The transport cannot use this queue or these addresses.
    fn set_queue(&self, queue: u16, size: u16, addresses: &QueueAddresses) -> Result<Doorbell, Error>;
    /// Tell the device that the doorbell's queue has new buffers.
    fn notify(&self, doorbell: Doorbell);
    /// Read the interrupt status and acknowledge it: bits of [`interrupt`]. Not for a device whose interrupts are messages.
    fn acknowledge_interrupt(&self) -> u8;

    /// Read 8 bits of the device-specific configuration; 0 where it has no such place.
    fn config8(&self, offset: usize) -> u8;
    /// Read 16 bits of it.
    fn config16(&self, offset: usize) -> u16;
    /// Read 32 bits of it.
    fn config32(&self, offset: usize) -> u32;
    /// Changes whenever the device-specific configuration does; see [`config`].
    fn config_generation(&self) -> u32;

    /// Have changes of the configuration told by this MSI-X vector.
    ///
    /// # Errors
    /// There is no such vector, or no MSI-X.
    fn set_config_vector(&self, _vector: u16) -> Result<(), Error> {
        Err(Error::VectorRefused)
    }
    /// Have the used buffers of `queue` told by this MSI-X vector. Called before the queue is enabled.
    ///
    /// # Errors
    /// There is no such vector, or no MSI-X.
    fn set_queue_vector(&self, _queue: u16, _vector: u16) -> Result<(), Error> {
        Err(Error::VectorRefused)
    }
}

/// Several fields of the device-specific configuration as they are at one time (2.5).
///
/// # Errors
/// The configuration changes each time it is read.
pub fn config<T: Transport + ?Sized, V>(transport: &T, read: impl Fn(&T) -> V) -> Result<V, Error> {
    let mut before = transport.config_generation();
    for _ in 0..GENERATIONS_MAX {
        let value = read(transport);
        let after = transport.config_generation();
        if before == after {
            return Ok(value);
        }
        before = after;
    }
    Err(Error::Configuration("it never stands still"))
}

/// 64 bits of the device-specific configuration, to be read inside [`config`].
pub fn config64<T: Transport + ?Sized>(transport: &T, offset: usize) -> u64 {
    u64::from(transport.config32(offset)) | u64::from(transport.config32(offset + 4)) << 32
}

/// Reset the device and wait until it is (2.4): it then uses none of the memory that it was lent. Its status is read at most `reads_max`
/// times.
///
/// # Errors
/// It is not reset by then, and may still use the memory.
pub fn reset<T: Transport + ?Sized>(transport: &T, reads_max: u32) -> Result<(), Error> {
    transport.set_status(0);
    let is_reset = (0..reads_max).any(|_| transport.status() == 0);
    if is_reset { Ok(()) } else { Err(Error::ResetTimeout) }
}

/// 3.1.1 up to FEATURES_OK: reset, acknowledge, agree on `wanted` as far as offered. The driver then sets up its queues
/// and ends with [`start`]. Returns the agreed features.
///
/// # Errors
/// The device does not reset, is legacy on a modern transport, or refuses the features; it is then marked failed.
pub fn negotiate<T: Transport + ?Sized>(transport: &T, wanted: u64) -> Result<u64, Error> {
    reset(transport, RESET_READS_MAX)?;
    transport.set_status(status::ACKNOWLEDGE);
    transport.set_status(status::ACKNOWLEDGE | status::DRIVER);
    let offered = transport.device_features();
    let failed = |error| {
        transport.set_status(status::FAILED);
        Err(error)
    };
    if transport.is_legacy() {
        let agreed = offered & wanted & 0xffff_ffff;
        transport.set_driver_features(agreed);
        return Ok(agreed);
    }
    if offered & feature::VERSION_1 == 0 {
        return failed(Error::Legacy);
    }
    // ACCESS_PLATFORM, once offered, must be taken (6.1); without an IOMMU it changes nothing for us.
    let agreed = offered & (wanted | feature::VERSION_1 | feature::ACCESS_PLATFORM);
    transport.set_driver_features(agreed);
    let status = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
    transport.set_status(status);
    if transport.status() & status::FEATURES_OK == 0 {
        return failed(Error::FeaturesRefused);
    }
    Ok(agreed)
}

/// 3.1.1, the last step: the queues are set up, the device may run.
pub fn start<T: Transport + ?Sized>(transport: &T) {
    transport.set_status(transport.status() | status::DRIVER_OK);
}

#[cfg(test)]
mod model;
