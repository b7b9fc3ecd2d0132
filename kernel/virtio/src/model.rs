//! A model of a virtio device for the tests: memory that both sides see, and registers.
use crate::queue::{Layout, QueueMemory};
use crate::{Doorbell, Error, QueueAddresses, Transport};
use core::cell::{Cell, RefCell};
use std::vec::Vec;

/// Memory shared by driver and model device; an access outside it, or a misaligned one, fails the test.
pub struct SharedMemory(pub RefCell<Vec<u8>>);

impl SharedMemory {
    pub fn new(length: usize) -> Self {
        Self(RefCell::new(std::vec![0; length]))
    }

    fn read<const W: usize>(&self, offset: usize) -> [u8; W] {
        assert!(offset.is_multiple_of(W), "misaligned read");
        self.0.borrow()[offset..offset + W].try_into().unwrap()
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset.is_multiple_of(bytes.len()), "misaligned write");
        self.0.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

impl QueueMemory for SharedMemory {
    fn read16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.read(offset))
    }
    fn read32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.read(offset))
    }
    fn write16(&self, offset: usize, value: u16) {
        self.write(offset, &value.to_le_bytes());
    }
    fn write32(&self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }
    fn write64(&self, offset: usize, value: u64) {
        self.write(offset, &value.to_le_bytes());
    }
    fn barrier(&self) {}
}

/// One descriptor as a device reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub address: u64,
    pub length: u32,
    pub writable: bool,
}

/// The device's side of a queue, written from the specification and not from the driver.
pub struct Device {
    layout: Layout,
    size: u16,
    seen: Cell<u16>,
    used: Cell<u16>,
}

impl Device {
    pub fn new(layout: Layout, size: u16) -> Self {
        Self { layout, size, seen: Cell::new(0), used: Cell::new(0) }
    }

    /// The next chain that the driver made available: its head and its descriptors.
    pub fn next(&self, memory: &SharedMemory) -> Option<(u16, Vec<Descriptor>)> {
        let index = memory.read16(self.layout.available + 2);
        if index == self.seen.get() {
            return None;
        }
        let slot = usize::from(self.seen.get() % self.size);
        self.seen.set(self.seen.get().wrapping_add(1));
        let head = memory.read16(self.layout.available + 4 + 2 * slot);
        let mut chain = Vec::new();
        let mut at = head;
        loop {
            assert!(at < self.size && chain.len() < usize::from(self.size), "descriptor chain is broken");
            let offset = usize::from(at) * 16;
            let flags = memory.read16(offset + 12);
            let low = u64::from(memory.read32(offset));
            let address = low | u64::from(memory.read32(offset + 4)) << 32;
            chain.push(Descriptor { address, length: memory.read32(offset + 8), writable: flags & 2 != 0 });
            if flags & 1 == 0 {
                return Some((head, chain));
            }
            at = memory.read16(offset + 14);
        }
    }

    /// Give a chain back.
    pub fn give_back(&self, memory: &SharedMemory, id: u32, written: u32) {
        let slot = usize::from(self.used.get() % self.size);
        memory.write32(self.layout.used + 4 + 8 * slot, id);
        memory.write32(self.layout.used + 4 + 8 * slot + 4, written);
        self.used.set(self.used.get().wrapping_add(1));
        memory.write16(self.layout.used + 2, self.used.get());
    }
}

/// A transport of which only the device-specific configuration is there; a read past its end is 0. Each generation in `changes` is seen
/// once before it stands still.
pub struct Configuration {
    pub bytes: Vec<u8>,
    pub changes: Cell<u32>,
}

impl Configuration {
    pub fn new(length: usize) -> Self {
        Self { bytes: std::vec![0; length], changes: Cell::new(0) }
    }

    pub fn with(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn read<const W: usize>(&self, offset: usize) -> [u8; W] {
        assert!(offset.is_multiple_of(W), "misaligned read");
        self.bytes.get(offset..).and_then(|bytes| bytes.first_chunk().copied()).unwrap_or([0; W])
    }
}

impl Transport for Configuration {
    fn device_type(&self) -> u32 {
        unreachable!()
    }
    fn is_legacy(&self) -> bool {
        false
    }
    fn status(&self) -> u8 {
        unreachable!()
    }
    fn set_status(&self, _: u8) {}
    fn device_features(&self) -> u64 {
        unreachable!()
    }
    fn set_driver_features(&self, _: u64) {}
    fn queue_size_max(&self, _: u16) -> u16 {
        0
    }
    fn set_queue(&self, _: u16, _: u16, _: &QueueAddresses) -> Result<Doorbell, Error> {
        Err(Error::NoQueue)
    }
    fn notify(&self, _: Doorbell) {}
    fn acknowledge_interrupt(&self) -> u8 {
        0
    }
    fn config8(&self, offset: usize) -> u8 {
        self.read::<1>(offset)[0]
    }
    fn config16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.read(offset))
    }
    fn config32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.read(offset))
    }
    fn config_generation(&self) -> u32 {
        let left = self.changes.get();
        self.changes.set(left.saturating_sub(1));
        left
    }
}
