//! Pages from the firmware.

use core::ptr::NonNull;

use bootplan::image::Memory;
use memops as _;
use uefi::boot::{self, AllocateType, MemoryType, PAGE_SIZE};

/// Whole pages that this program owns. UEFI memory is mapped at its physical address (UEFI 2.10, section 2.3.6).
pub struct Pages {
    start: NonNull<u8>,
    count: usize,
}

impl Pages {
    /// At least `length` bytes at a multiple of `alignment`, a power of two of at least a page. They hold zeros.
    pub fn allocate(length: u64, alignment: u64) -> Option<Self> {
        let count = usize::try_from(length).ok()?.div_ceil(PAGE_SIZE).max(1);
        let spare = (alignment as usize / PAGE_SIZE).max(1) - 1;
        let start =
            boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_DATA, count.checked_add(spare)?).ok()?;
        let before = (start.as_ptr() as usize).next_multiple_of(alignment as usize) - start.as_ptr() as usize;
        let before = before / PAGE_SIZE;
        // SAFETY: `before` is at most `spare`, so all three parts lie in the allocation; the outer two are not used again.
        unsafe {
            let aligned = start.add(before * PAGE_SIZE);
            if before > 0 {
                let _ = boot::free_pages(start, before);
            }
            if spare > before {
                let _ = boot::free_pages(aligned.add(count * PAGE_SIZE), spare - before);
            }
            aligned.write_bytes(0, count * PAGE_SIZE);
            Some(Self { start: aligned, count })
        }
    }

    /// These pages, with what is in them, where nobody else has them.
    pub fn take(address: u64, length: usize) -> Option<Self> {
        let count = length.div_ceil(PAGE_SIZE);
        let start = boot::allocate_pages(AllocateType::Address(address), MemoryType::LOADER_DATA, count).ok()?;
        Some(Self { start, count })
    }

    /// Their physical address.
    pub fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Their bytes.
    pub fn length(&self) -> u64 {
        (self.count * PAGE_SIZE) as u64
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the pages are ours until `drop`, and were written as a whole by `allocate`.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.count * PAGE_SIZE) }
    }
}

impl AsMut<[u8]> for Pages {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `as_ref`, and `self` is borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.count * PAGE_SIZE) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the pages any more: every view of them borrows `self`.
        let _ = unsafe { boot::free_pages(self.start, self.count) };
    }
}

/// The firmware as a giver of memory for images.
pub struct Firmware;

impl Memory for Firmware {
    type Buffer = Pages;

    fn allocate(&mut self, length: u64, alignment: u64) -> Option<Pages> {
        Pages::allocate(length, alignment)
    }
}
