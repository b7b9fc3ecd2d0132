//! A window of device registers: every access is inside it, of a natural width, and not reordered by the compiler.

use crate::mm::kmap;

/// Registers mapped as Device memory, for good.
#[derive(Clone, Copy, Debug)]
pub struct Mmio {
    base: usize,
    length: usize,
}

impl Mmio {
    /// Map `length` bytes of registers at `physical`. `None`: no room for the mapping.
    #[must_use]
    pub fn map(physical: u64, length: u64) -> Option<Self> {
        let base = kmap::map_window(physical, length, kmap::Window::Device)?;
        Some(Self { base: base as usize, length: length as usize })
    }

    /// The part of `length` bytes at `offset`. `None` where it does not lie inside.
    #[must_use]
    pub fn part(self, offset: usize, length: usize) -> Option<Self> {
        let is_inside = offset.checked_add(length)? <= self.length;
        is_inside.then_some(Self { base: self.base + offset, length })
    }

    /// Where a register of type `T` at `offset` is. An offset outside is our own bug: drivers check what a device says.
    fn at<T>(self, offset: usize) -> *mut T {
        let address = self.base + offset;
        assert!(
            offset <= self.length.saturating_sub(size_of::<T>()) && address.is_multiple_of(size_of::<T>()),
            "register {offset:#x} is outside its window of {:#x} bytes",
            self.length
        );
        address as *mut T
    }
}

macro_rules! accessors {
    ($($read:ident $write:ident $type:ty),*) => {$(
        /// Read a register.
        #[must_use]
        pub fn $read(self, offset: usize) -> $type {
            // SAFETY: `at` gives an aligned address inside a Device mapping that is never unmapped.
            unsafe { self.at::<$type>(offset).read_volatile() }
        }
        /// Write a register.
        pub fn $write(self, offset: usize, value: $type) {
            // SAFETY: as for reading; what the write does to the device is its driver's business.
            unsafe { self.at::<$type>(offset).write_volatile(value) }
        }
    )*};
}

impl Mmio {
    accessors!(read8 write8 u8, read16 write16 u16, read32 write32 u32, read64 write64 u64);
}

impl virtio::Registers for Mmio {
    fn read8(&self, offset: usize) -> u8 {
        (*self).read8(offset)
    }
    fn read16(&self, offset: usize) -> u16 {
        (*self).read16(offset)
    }
    fn read32(&self, offset: usize) -> u32 {
        (*self).read32(offset)
    }
    fn write8(&self, offset: usize, value: u8) {
        (*self).write8(offset, value);
    }
    fn write16(&self, offset: usize, value: u16) {
        (*self).write16(offset, value);
    }
    fn write32(&self, offset: usize, value: u32) {
        (*self).write32(offset, value);
    }
}
