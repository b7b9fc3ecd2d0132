//! The driver's side of a split virtqueue (2.7).
//!
//! Invariants: the free list and the chains in flight are kept here, in memory that the device cannot reach; the shared
//! memory is only ever written from them, and of what the device writes only the used index and the used elements are
//! read, once each, and checked. `free + Σ length of chains in flight = size`.
//!
//! Neither side is told more than it wants to know: [`Queue::should_notify`] and [`Queue::enable_interrupts`], by indices where
//! `EVENT_INDEX` was agreed (2.7.7, 2.7.10), else by flags.

use alloc::boxed::Box;
use alloc::vec;

use crate::QueueAddresses;

/// Descriptor flags (2.7.5).
const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// Used ring flag: the device does not want to be notified (2.7.8).
const NO_NOTIFY: u16 = 1;
/// Available ring flag: the driver does not want to be interrupted (2.7.7).
const NO_INTERRUPT: u16 = 1;
const DESCRIPTOR_LENGTH: usize = 16;
const NONE: u16 = u16::MAX;

/// Offsets of a queue's three parts in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Descriptors.
    pub size: u16,
    /// Available ring; the descriptor table is at 0.
    pub available: usize,
    /// Used ring.
    pub used: usize,
    /// Bytes in all.
    pub length: usize,
}

impl Layout {
    /// Parts of a queue of `size` (a power of two) descriptors. The used ring is aligned to `used_alignment`: 4 for a
    /// modern device, the page size for a legacy one (2.7.2).
    #[must_use]
    pub const fn new(size: u16, used_alignment: usize) -> Self {
        let count = size as usize;
        let available = count * DESCRIPTOR_LENGTH;
        let used = (available + 6 + 2 * count).next_multiple_of(used_alignment);
        Self { size, available, used, length: used + 6 + 8 * count }
    }

    /// Where the driver says at which used index it wants the next interrupt.
    const fn used_event(&self) -> usize {
        self.available + 4 + 2 * self.size as usize
    }

    /// Where the device says at which available index it wants the next notification.
    const fn available_event(&self) -> usize {
        self.used + 4 + 8 * self.size as usize
    }

    /// Device addresses when the memory starts at `base`.
    #[must_use]
    pub const fn addresses(&self, base: u64) -> QueueAddresses {
        QueueAddresses { descriptors: base, available: base + self.available as u64, used: base + self.used as u64 }
    }
}

/// Memory shared with the device: zeroed, at least [`Layout::length`] bytes, naturally aligned accesses that are
/// neither torn nor cached in registers.
#[allow(missing_docs)]
pub trait QueueMemory {
    fn read16(&self, offset: usize) -> u16;
    fn read32(&self, offset: usize) -> u32;
    fn write16(&self, offset: usize, value: u16);
    fn write32(&self, offset: usize, value: u32);
    fn write64(&self, offset: usize, value: u64);
    /// Order every access before it against every access after it, as the device sees them.
    fn barrier(&self);
}

/// A piece of memory lent to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Device address.
    pub address: u64,
    /// Length in bytes.
    pub length: u32,
    /// Whether the device writes it (else reads it). Buffers that it reads come first in a chain.
    pub device_writes: bool,
}

/// A chain that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What [`Queue::add`] returned for it.
    pub head: u16,
    /// Bytes that the device says it wrote; never more than the chain's writable bytes.
    pub written: u32,
}

/// Why a queue operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not enough free descriptors now.
    Full,
    /// The chain is empty, longer than the queue, or has a readable buffer after a writable one.
    BadChain,
    /// The device broke the protocol; the queue stays closed until the device is reset.
    Device(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Chain {
    length: u16,
    writable: u32,
}

/// A queue. Its bookkeeping is on the heap: of a queue of 256 it is 3.5 KiB, for which kernel stacks have no room.
#[derive(Debug)]
pub struct Queue {
    layout: Layout,
    has_event_index: bool,
    has_false_lengths: bool,
    /// Links of the free list and of the chains in flight.
    next: Box<[u16]>,
    in_flight: Box<[Option<Chain>]>,
    free_head: u16,
    free: u16,
    /// Descriptors in flight by chain count: bounds how far the used index may run ahead.
    chains: u16,
    available_index: u16,
    /// The available index when [`Queue::should_notify`] was last asked.
    notified_index: u16,
    used_index: u16,
    broken: Option<&'static str>,
}

impl Queue {
    /// An empty queue in zeroed memory of this layout; `has_event_index` when the feature was agreed.
    ///
    /// # Panics
    /// When the layout's size is no power of two: drivers look at what a device says.
    #[must_use]
    pub fn new(layout: Layout, has_event_index: bool) -> Self {
        let size = layout.size;
        assert!(size.is_power_of_two(), "a queue of {size} descriptors");
        Self {
            layout,
            has_event_index,
            has_false_lengths: false,
            next: (1..size).chain([NONE]).collect(),
            in_flight: vec![None; usize::from(size)].into_boxed_slice(),
            free_head: 0,
            free: size,
            chains: 0,
            available_index: 0,
            notified_index: 0,
            used_index: 0,
            broken: None,
        }
    }

    /// The device may say that it wrote more than there was to write, which then counts as all of it: QEMU's virtio-scsi adds what it read.
    pub const fn allow_false_lengths(&mut self) {
        self.has_false_lengths = true;
    }

    /// Descriptors that are free.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.free as usize
    }

    /// Lend a chain of buffers to the device and publish it (2.7.13). Returns its head, by which it comes back.
    ///
    /// # Errors
    /// See [`Error`]; the queue is unchanged.
    pub fn add(&mut self, memory: &impl QueueMemory, buffers: &[Buffer]) -> Result<u16, Error> {
        if let Some(why) = self.broken {
            return Err(Error::Device(why));
        }
        let is_ordered = buffers.is_sorted_by_key(|buffer| buffer.device_writes);
        if buffers.is_empty() || buffers.len() > usize::from(self.layout.size) || !is_ordered {
            return Err(Error::BadChain);
        }
        if buffers.len() > self.free() {
            return Err(Error::Full);
        }
        let head = self.free_head;
        let mut at = head;
        let mut writable = 0_u32;
        for (index, buffer) in buffers.iter().enumerate() {
            let next = self.next[usize::from(at)];
            let last = index + 1 == buffers.len();
            let flags = if buffer.device_writes { WRITE } else { 0 } | if last { 0 } else { NEXT };
            let offset = usize::from(at) * DESCRIPTOR_LENGTH;
            memory.write64(offset, buffer.address);
            memory.write32(offset + 8, buffer.length);
            memory.write16(offset + 12, flags);
            memory.write16(offset + 14, if last { 0 } else { next });
            if buffer.device_writes {
                writable = writable.saturating_add(buffer.length);
            }
            if last {
                self.free_head = next;
                self.next[usize::from(at)] = NONE;
            }
            at = next;
        }
        let length = buffers.len() as u16;
        self.in_flight[usize::from(head)] = Some(Chain { length, writable });
        self.free -= length;
        self.chains += 1;
        let slot = usize::from(self.available_index % self.layout.size);
        memory.write16(self.layout.available + 4 + 2 * slot, head);
        self.available_index = self.available_index.wrapping_add(1);
        memory.barrier(); // the descriptors and the ring entry before the index (2.7.13.2)
        memory.write16(self.layout.available + 2, self.available_index);
        memory.barrier(); // the index before the device's flags are read, and before a notification
        Ok(head)
    }

    /// Whether the device wants to be told of what was added since this was last asked (2.7.13.4).
    #[must_use = "a device that is not told sleeps on"]
    pub fn should_notify(&mut self, memory: &impl QueueMemory) -> bool {
        let before = core::mem::replace(&mut self.notified_index, self.available_index);
        if !self.has_event_index {
            return before != self.available_index && memory.read16(self.layout.used) & NO_NOTIFY == 0;
        }
        let event = memory.read16(self.layout.available_event());
        // The index went past the one that the device waits for (2.7.10.1).
        self.available_index.wrapping_sub(event).wrapping_sub(1) < self.available_index.wrapping_sub(before)
    }

    /// Asks for an interrupt when the device has used more than what [`Queue::poll`] has given. True: it has already, so poll again
    /// (2.7.14).
    #[must_use = "what the device has used already brings no interrupt"]
    pub fn enable_interrupts(&mut self, memory: &impl QueueMemory) -> bool {
        if self.has_event_index {
            memory.write16(self.layout.used_event(), self.used_index);
        } else {
            memory.write16(self.layout.available, 0);
        }
        memory.barrier(); // the wish before the index is looked at
        memory.read16(self.layout.used + 2) != self.used_index
    }

    /// Asks for no interrupts, of a device without `EVENT_INDEX`; with it there are none until [`Queue::enable_interrupts`] anyway.
    pub fn disable_interrupts(&mut self, memory: &impl QueueMemory) {
        if !self.has_event_index {
            memory.write16(self.layout.available, NO_INTERRUPT);
        }
    }

    /// Take back the next chain that the device has used (2.7.14).
    ///
    /// # Errors
    /// [`Error::Device`] when what it wrote cannot be true.
    pub fn poll(&mut self, memory: &impl QueueMemory) -> Result<Option<Completion>, Error> {
        if let Some(why) = self.broken {
            return Err(Error::Device(why));
        }
        let ahead = memory.read16(self.layout.used + 2).wrapping_sub(self.used_index);
        if ahead == 0 {
            return Ok(None);
        }
        if ahead > self.chains {
            return Err(self.close("used index is ahead of what was made available"));
        }
        memory.barrier(); // the index before the element
        let slot = usize::from(self.used_index % self.layout.size);
        let element = self.layout.used + 4 + 8 * slot;
        let (id, written) = (memory.read32(element), memory.read32(element + 4));
        let chain = usize::try_from(id).ok().and_then(|id| self.in_flight.get_mut(id)).and_then(Option::take);
        let Some(chain) = chain else {
            return Err(self.close("used element names no chain in flight"));
        };
        if written > chain.writable && !self.has_false_lengths {
            return Err(self.close("used length is larger than the chain"));
        }
        let written = written.min(chain.writable);
        let head = id as u16; // below the size: `in_flight` has it
        self.release(head, chain.length);
        self.used_index = self.used_index.wrapping_add(1);
        Ok(Some(Completion { head, written }))
    }

    /// Put a chain of `length` descriptors back at the front of the free list.
    fn release(&mut self, head: u16, length: u16) {
        let mut last = head;
        for _ in 1..length {
            last = self.next[usize::from(last)];
        }
        self.next[usize::from(last)] = self.free_head;
        self.free_head = head;
        self.free += length;
        self.chains -= 1;
    }

    fn close(&mut self, why: &'static str) -> Error {
        self.broken = Some(why);
        Error::Device(why)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
