//! RAM that a device reads and writes: a virtqueue, and the buffers that go with it.
//!
//! It is mapped Normal write-back like all RAM: virtio devices are coherent, and a hypervisor maps them so on its side too.

use crate::arch::mmu;
use crate::mm::frames::Contiguous;

/// Zeroed RAM in one piece, shared with a device.
#[derive(Debug)]
pub struct Dma {
    block: Contiguous,
}

impl Dma {
    /// At least `bytes`. `None`: no memory.
    #[must_use]
    pub fn new(bytes: usize) -> Option<Self> {
        let order = bytes.div_ceil(4096).next_power_of_two().trailing_zeros();
        Contiguous::new(order).map(|block| Self { block })
    }

    /// Its address for the device.
    #[must_use]
    pub fn device_address(&self) -> u64 {
        self.block.physical()
    }

    /// Copy out what lies at `offset`, and leave zeros there.
    pub fn take(&self, offset: usize, out: &mut [u8]) {
        for (index, byte) in out.iter_mut().enumerate() {
            let at = self.at::<u8>(offset + index);
            // SAFETY: `at` gives an address inside the block, which lives as long as `self`. Volatile: the device may write it.
            unsafe {
                *byte = at.read_volatile();
                at.write_volatile(0);
            }
        }
    }

    /// Bring what was written at `offset` to memory, for a device that does not look into the caches.
    pub fn clean(&self, offset: usize, length: usize) {
        assert!(length > 0 && offset + length <= self.block.size());
        mmu::clean_to_memory(self.block.as_ptr() as u64 + offset as u64, length as u64);
    }

    /// Copy bytes in, from `offset` on, a multiple of 8.
    pub fn put(&self, offset: usize, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for (index, word) in words.iter().enumerate() {
            let at = self.at::<u64>(offset + 8 * index);
            // SAFETY: `at` gives an aligned address inside the block, which lives as long as `self`. Volatile: the device may read it.
            unsafe { at.write_volatile(u64::from_ne_bytes(*word)) };
        }
        for (index, byte) in rest.iter().enumerate() {
            let at = self.at::<u8>(offset + 8 * words.len() + index);
            // SAFETY: as above.
            unsafe { at.write_volatile(*byte) };
        }
    }

    /// Copy bytes out, from `offset` on, a multiple of 8.
    pub fn get(&self, offset: usize, out: &mut [u8]) {
        let (words, rest) = out.as_chunks_mut::<8>();
        let behind = offset + 8 * words.len();
        for (index, word) in words.iter_mut().enumerate() {
            let at = self.at::<u64>(offset + 8 * index);
            // SAFETY: as in `put`; the device may write it.
            *word = unsafe { at.read_volatile() }.to_ne_bytes();
        }
        for (index, byte) in rest.iter_mut().enumerate() {
            let at = self.at::<u8>(behind + index);
            // SAFETY: as above.
            *byte = unsafe { at.read_volatile() };
        }
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        assert!(
            offset <= self.block.size() - size_of::<T>() && offset.is_multiple_of(size_of::<T>()),
            "{offset:#x} is outside the DMA block"
        );
        self.block.as_ptr().wrapping_add(offset).cast()
    }
}

macro_rules! accessors {
    ($($read:ident $write:ident $type:ty),*) => {$(
        fn $read(&self, offset: usize) -> $type {
            // SAFETY: `at` gives an aligned address inside the block; volatile, as the device writes it at any time.
            <$type>::from_le(unsafe { self.at::<$type>(offset).read_volatile() })
        }
        fn $write(&self, offset: usize, value: $type) {
            // SAFETY: as for reading.
            unsafe { self.at::<$type>(offset).write_volatile(value.to_le()) }
        }
    )*};
}

impl virtio::queue::QueueMemory for Dma {
    accessors!(read16 write16 u16, read32 write32 u32);

    fn write64(&self, offset: usize, value: u64) {
        // SAFETY: as for the other accesses.
        unsafe { self.at::<u64>(offset).write_volatile(value.to_le()) }
    }

    fn barrier(&self) {
        // SAFETY: a barrier only; outer shareable takes in the devices.
        unsafe { core::arch::asm!("dmb osh", options(nostack)) };
    }
}
