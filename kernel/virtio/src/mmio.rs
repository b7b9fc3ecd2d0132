//! virtio-mmio (4.2): one register window for each slot, version 2, and the legacy version 1 (4.2.4).

use crate::{Doorbell, Error, QueueAddresses, Registers, Transport};

const MAGIC: usize = 0x000;
const VERSION: usize = 0x004;
const DEVICE_ID: usize = 0x008;
const DEVICE_FEATURES: usize = 0x010;
const DEVICE_FEATURES_SEL: usize = 0x014;
const DRIVER_FEATURES: usize = 0x020;
const DRIVER_FEATURES_SEL: usize = 0x024;
const LEGACY_GUEST_PAGE_SIZE: usize = 0x028;
const QUEUE_SEL: usize = 0x030;
const QUEUE_NUM_MAX: usize = 0x034;
const QUEUE_NUM: usize = 0x038;
const LEGACY_QUEUE_ALIGN: usize = 0x03c;
const LEGACY_QUEUE_PFN: usize = 0x040;
const QUEUE_READY: usize = 0x044;
const QUEUE_NOTIFY: usize = 0x050;
const INTERRUPT_STATUS: usize = 0x060;
const INTERRUPT_ACK: usize = 0x064;
const STATUS: usize = 0x070;
const QUEUE_DESC: usize = 0x080;
const QUEUE_DRIVER: usize = 0x090;
const QUEUE_DEVICE: usize = 0x0a0;
const CONFIG_GENERATION: usize = 0x0fc;
/// Device-specific configuration.
pub const CONFIG: usize = 0x100;
/// The longest device-specific configuration that is read, all of it inside QEMU's slots of 512 bytes.
const CONFIG_LENGTH: usize = 0x100;

const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"virt");
/// Page size that legacy queue addresses are counted in, and that their used ring is aligned to.
pub const LEGACY_PAGE: u32 = 4096;

/// A virtio-mmio slot with a device in it.
#[derive(Debug)]
pub struct Mmio<R> {
    registers: R,
    legacy: bool,
}

impl<R: Registers> Mmio<R> {
    /// Look at a slot: `None` when it is empty (device ID 0).
    ///
    /// # Errors
    /// [`Error::NotVirtio`] when the registers are not virtio's, or of an unknown version.
    pub fn probe(registers: R) -> Result<Option<Self>, Error> {
        if registers.read32(MAGIC) != MAGIC_VALUE {
            return Err(Error::NotVirtio);
        }
        let legacy = match registers.read32(VERSION) {
            1 => true,
            2 => false,
            _ => return Err(Error::NotVirtio),
        };
        Ok((registers.read32(DEVICE_ID) != 0).then_some(Self { registers, legacy }))
    }

    /// The register window, for the device-specific configuration at [`CONFIG`].
    pub const fn registers(&self) -> &R {
        &self.registers
    }

    fn write64(&self, offset: usize, value: u64) {
        self.registers.write32(offset, value as u32);
        self.registers.write32(offset + 4, (value >> 32) as u32);
    }
}

impl<R: Registers> Transport for Mmio<R> {
    fn device_type(&self) -> u32 {
        self.registers.read32(DEVICE_ID)
    }

    fn is_legacy(&self) -> bool {
        self.legacy
    }

    fn status(&self) -> u8 {
        self.registers.read32(STATUS) as u8
    }

    fn set_status(&self, status: u8) {
        self.registers.write32(STATUS, u32::from(status));
        if self.legacy && status == 0 {
            self.registers.write32(LEGACY_GUEST_PAGE_SIZE, LEGACY_PAGE);
        }
    }

    fn device_features(&self) -> u64 {
        let half = |which| {
            self.registers.write32(DEVICE_FEATURES_SEL, which);
            u64::from(self.registers.read32(DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    fn set_driver_features(&self, features: u64) {
        for (which, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.registers.write32(DRIVER_FEATURES_SEL, which);
            self.registers.write32(DRIVER_FEATURES, half);
        }
    }

    fn queue_size_max(&self, queue: u16) -> u16 {
        self.registers.write32(QUEUE_SEL, u32::from(queue));
        u16::try_from(self.registers.read32(QUEUE_NUM_MAX)).unwrap_or(u16::MAX)
    }

    fn set_queue(&self, queue: u16, size: u16, addresses: &QueueAddresses) -> Result<Doorbell, Error> {
        if size == 0 || size > self.queue_size_max(queue) {
            return Err(Error::NoQueue);
        }
        let busy = if self.legacy { LEGACY_QUEUE_PFN } else { QUEUE_READY };
        if self.registers.read32(busy) != 0 {
            return Err(Error::QueueRefused);
        }
        self.registers.write32(QUEUE_NUM, u32::from(size));
        if self.legacy {
            // A legacy device finds the rings by itself, from the page number and the alignment (2.7.2).
            let page = u64::from(LEGACY_PAGE);
            let frame = u32::try_from(addresses.descriptors / page).map_err(|_| Error::QueueRefused)?;
            if !addresses.descriptors.is_multiple_of(page) || !addresses.used.is_multiple_of(page) {
                return Err(Error::QueueRefused);
            }
            self.registers.write32(LEGACY_QUEUE_ALIGN, LEGACY_PAGE);
            self.registers.write32(LEGACY_QUEUE_PFN, frame);
        } else {
            self.write64(QUEUE_DESC, addresses.descriptors);
            self.write64(QUEUE_DRIVER, addresses.available);
            self.write64(QUEUE_DEVICE, addresses.used);
            self.registers.write32(QUEUE_READY, 1);
        }
        Ok(Doorbell { offset: QUEUE_NOTIFY as u32, queue })
    }

    fn notify(&self, doorbell: Doorbell) {
        self.registers.write32(doorbell.offset as usize, u32::from(doorbell.queue));
    }

    fn acknowledge_interrupt(&self) -> u8 {
        let status = self.registers.read32(INTERRUPT_STATUS);
        self.registers.write32(INTERRUPT_ACK, status);
        status as u8
    }

    fn config8(&self, offset: usize) -> u8 {
        if offset < CONFIG_LENGTH { self.registers.read8(CONFIG + offset) } else { 0 }
    }

    fn config16(&self, offset: usize) -> u16 {
        if offset + 2 <= CONFIG_LENGTH { self.registers.read16(CONFIG + offset) } else { 0 }
    }

    fn config32(&self, offset: usize) -> u32 {
        if offset + 4 <= CONFIG_LENGTH { self.registers.read32(CONFIG + offset) } else { 0 }
    }

    fn config_generation(&self) -> u32 {
        // A legacy device has no such register (4.2.4): its configuration is taken as it is read.
        if self.legacy { 0 } else { self.registers.read32(CONFIG_GENERATION) }
    }
}

#[cfg(test)]
#[path = "mmio_tests.rs"]
mod tests;
