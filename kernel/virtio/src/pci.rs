//! virtio-pci, modern interface (4.1): where the vendor capabilities say the registers lie, and their use.

use crate::{Doorbell, Error, QueueAddresses, Registers, Transport};

/// PCI vendor of all virtio devices.
pub const VENDOR: u16 = 0x1af4;
const CAPABILITIES_POINTER: u8 = 0x34;
const STATUS_HAS_CAPABILITIES: u32 = 1 << 20;
const CAPABILITY_VENDOR: u8 = 0x09;
/// The 192 bytes after the header hold at most this many capabilities; a longer list is a loop.
const CAPABILITIES_MAX: usize = 48;

/// Registers of the common configuration (4.1.4.3).
mod common {
    pub const DEVICE_FEATURE_SELECT: usize = 0x00;
    pub const DEVICE_FEATURE: usize = 0x04;
    pub const DRIVER_FEATURE_SELECT: usize = 0x08;
    pub const DRIVER_FEATURE: usize = 0x0c;
    pub const CONFIG_VECTOR: usize = 0x10;
    pub const STATUS: usize = 0x14;
    pub const CONFIG_GENERATION: usize = 0x15;
    pub const QUEUE_SELECT: usize = 0x16;
    pub const QUEUE_SIZE: usize = 0x18;
    pub const QUEUE_VECTOR: usize = 0x1a;
    pub const QUEUE_ENABLE: usize = 0x1c;
    pub const QUEUE_NOTIFY_OFF: usize = 0x1e;
    pub const QUEUE_DESC: usize = 0x20;
    pub const QUEUE_DRIVER: usize = 0x28;
    pub const QUEUE_DEVICE: usize = 0x30;
    pub const LENGTH: u32 = 0x38;
}

/// Device type of a PCI function of vendor [`VENDOR`]: 0x1040 + type, or a transitional number (4.1.2).
#[must_use]
pub const fn device_type(device: u16) -> Option<u32> {
    match device {
        0x1040..=0x107f => Some(device as u32 - 0x1040),
        0x1000 => Some(1),
        0x1001 => Some(2),
        0x1002 => Some(5),
        0x1003 => Some(3),
        0x1004 => Some(8),
        0x1005 => Some(4),
        0x1009 => Some(9),
        _ => None,
    }
}

/// A function's configuration space: aligned 32-bit reads below 256.
pub trait ConfigSpace {
    /// Read the 32 bits at `offset`, a multiple of 4.
    fn read32(&self, offset: u8) -> u32;
}

/// A piece of a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// BAR number, 0 to 5.
    pub bar: u8,
    /// First byte in the BAR.
    pub offset: u32,
    /// Length in bytes.
    pub length: u32,
}

/// The registers' places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Common configuration.
    pub common: Piece,
    /// Notifications.
    pub notify: Piece,
    /// Bytes of the notification area for each step of `queue_notify_off`.
    pub notify_multiplier: u32,
    /// Interrupt status.
    pub isr: Piece,
    /// Device-specific configuration; some devices have none.
    pub device: Option<Piece>,
}

/// Walk the capability list for the virtio structures (4.1.4). Where a device offers several of one type, the first is
/// taken: they come in the device's order of preference. Type 5 (configuration access) is not needed.
///
/// # Errors
/// One that is needed is missing or makes no sense.
pub fn capabilities(config: &impl ConfigSpace) -> Result<Capabilities, Error> {
    let mut pieces: [Option<Piece>; 4] = [None; 4];
    let mut notify_multiplier = 0;
    let has_list = config.read32(0x04) & STATUS_HAS_CAPABILITIES != 0;
    let mut at = if has_list { config.read32(CAPABILITIES_POINTER) as u8 & 0xfc } else { 0 };
    for _ in 0..CAPABILITIES_MAX {
        if at < 0x40 {
            break; // the end of the list, or a pointer into the header
        }
        let [id, next, length, kind] = config.read32(at).to_le_bytes();
        let index = usize::from(kind).wrapping_sub(1);
        // A capability must lie inside the 256 bytes: at + length <= 256.
        let fits = |bytes: u8| length >= bytes && u16::from(at) + u16::from(bytes) <= 256;
        if id == CAPABILITY_VENDOR && index < pieces.len() && pieces[index].is_none() && fits(16) {
            let [bar, ..] = config.read32(at + 4).to_le_bytes();
            let piece = Piece { bar, offset: config.read32(at + 8), length: config.read32(at + 12) };
            // A BAR number from 6 up is reserved, the capability then ignored; registers are naturally aligned.
            let alignment = [4, 2, 1, 4][index];
            let is_sane =
                bar < 6 && piece.offset.is_multiple_of(alignment) && piece.offset.checked_add(piece.length).is_some();
            if is_sane && (kind != 2 || fits(20)) {
                pieces[index] = Some(piece);
                if kind == 2 {
                    notify_multiplier = config.read32(at + 16);
                }
            }
        }
        at = next & 0xfc;
    }
    let [common, notify, isr, device] = pieces;
    let needed = |piece: Option<Piece>, length: u32, name| {
        piece.filter(|piece| piece.length >= length).ok_or(Error::Capability(name))
    };
    Ok(Capabilities {
        common: needed(common, common::LENGTH, "common")?,
        notify: needed(notify, 2, "notify")?,
        notify_multiplier,
        isr: needed(isr, 1, "isr")?,
        device,
    })
}

/// A virtio-pci device: its register windows as [`Capabilities`] names them.
#[derive(Debug)]
pub struct Pci<R> {
    device_type: u32,
    common: R,
    notify: R,
    notify_length: u32,
    notify_multiplier: u32,
    isr: R,
    /// Device-specific configuration and its length.
    device: Option<(R, usize)>,
}

impl<R: Registers> Pci<R> {
    /// A device of this type, with windows for its pieces; `window` is called once for each. `None` where it gave none.
    pub fn new(
        device_type: u32,
        capabilities: &Capabilities,
        mut window: impl FnMut(Piece) -> Option<R>,
    ) -> Option<Self> {
        Some(Self {
            device_type,
            common: window(capabilities.common)?,
            notify: window(capabilities.notify)?,
            notify_length: capabilities.notify.length,
            notify_multiplier: capabilities.notify_multiplier,
            isr: window(capabilities.isr)?,
            device: match capabilities.device {
                Some(piece) => Some((window(piece)?, piece.length as usize)),
                None => None,
            },
        })
    }

    /// The device-specific configuration, where it has `length` bytes at `offset`.
    fn config_at(&self, offset: usize, length: usize) -> Option<&R> {
        let (registers, whole) = self.device.as_ref()?;
        (offset.checked_add(length)? <= *whole).then_some(registers)
    }

    fn write64(&self, offset: usize, value: u64) {
        self.common.write32(offset, value as u32);
        self.common.write32(offset + 4, (value >> 32) as u32);
    }

    /// Where in the notification area the selected queue is notified (4.1.4.4), if that lies inside.
    fn notify_offset(&self) -> Option<u32> {
        let steps = u32::from(self.common.read16(common::QUEUE_NOTIFY_OFF));
        let offset = steps.checked_mul(self.notify_multiplier)?;
        (offset.is_multiple_of(2) && offset.checked_add(2)? <= self.notify_length).then_some(offset)
    }
}

impl<R: Registers> Transport for Pci<R> {
    fn device_type(&self) -> u32 {
        self.device_type
    }

    fn is_legacy(&self) -> bool {
        false
    }

    fn status(&self) -> u8 {
        self.common.read8(common::STATUS)
    }

    fn set_status(&self, status: u8) {
        self.common.write8(common::STATUS, status);
    }

    fn device_features(&self) -> u64 {
        let half = |which| {
            self.common.write32(common::DEVICE_FEATURE_SELECT, which);
            u64::from(self.common.read32(common::DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    fn set_driver_features(&self, features: u64) {
        for (which, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.common.write32(common::DRIVER_FEATURE_SELECT, which);
            self.common.write32(common::DRIVER_FEATURE, half);
        }
    }

    fn queue_size_max(&self, queue: u16) -> u16 {
        self.common.write16(common::QUEUE_SELECT, queue);
        self.common.read16(common::QUEUE_SIZE)
    }

    fn set_queue(&self, queue: u16, size: u16, addresses: &QueueAddresses) -> Result<Doorbell, Error> {
        if size == 0 || size > self.queue_size_max(queue) {
            return Err(Error::NoQueue);
        }
        let offset = self.notify_offset().ok_or(Error::QueueRefused)?;
        if self.common.read16(common::QUEUE_ENABLE) != 0 {
            return Err(Error::QueueRefused);
        }
        self.common.write16(common::QUEUE_SIZE, size);
        self.write64(common::QUEUE_DESC, addresses.descriptors);
        self.write64(common::QUEUE_DRIVER, addresses.available);
        self.write64(common::QUEUE_DEVICE, addresses.used);
        self.common.write16(common::QUEUE_ENABLE, 1); // last (4.1.5.1.3)
        Ok(Doorbell { offset, queue })
    }

    fn notify(&self, doorbell: Doorbell) {
        self.notify.write16(doorbell.offset as usize, doorbell.queue);
    }

    fn acknowledge_interrupt(&self) -> u8 {
        self.isr.read8(0) // reading clears it (4.1.4.5)
    }

    fn config8(&self, offset: usize) -> u8 {
        self.config_at(offset, 1).map_or(0, |registers| registers.read8(offset))
    }

    fn config16(&self, offset: usize) -> u16 {
        self.config_at(offset, 2).map_or(0, |registers| registers.read16(offset))
    }

    fn config32(&self, offset: usize) -> u32 {
        self.config_at(offset, 4).map_or(0, |registers| registers.read32(offset))
    }

    fn config_generation(&self) -> u32 {
        self.common.read8(common::CONFIG_GENERATION).into()
    }

    fn set_config_vector(&self, vector: u16) -> Result<(), Error> {
        self.common.write16(common::CONFIG_VECTOR, vector);
        // A device without room for it says so by NO_VECTOR (4.1.5.1.2.1).
        if self.common.read16(common::CONFIG_VECTOR) == vector { Ok(()) } else { Err(Error::VectorRefused) }
    }

    fn set_queue_vector(&self, queue: u16, vector: u16) -> Result<(), Error> {
        self.common.write16(common::QUEUE_SELECT, queue);
        self.common.write16(common::QUEUE_VECTOR, vector);
        if self.common.read16(common::QUEUE_VECTOR) == vector { Ok(()) } else { Err(Error::VectorRefused) }
    }
}

#[cfg(test)]
#[path = "pci_tests.rs"]
mod tests;
