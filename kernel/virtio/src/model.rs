//! A model of a virtio device for the tests: memory that both sides see, and registers.
use crate::queue::{Layout, QueueMemory};
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
