//! A share of one physical page.

use core::sync::atomic::{AtomicU64, Ordering};

use paging::PAGE_SIZE;

use super::{frames, kmap};
use crate::arch::mmu;

/// A share of a page: the page is freed with its last share. A *foreign* page (of the base image, or the page of zeros) is not the allocator's,
/// lives for ever and is not counted.
#[derive(Debug)]
pub struct PageRef {
    physical: u64,
    counted: bool,
}

impl PageRef {
    /// A new page; what is in it is unknown, and must not reach a user. `None` already while there is some memory: that is the heap's.
    #[must_use]
    pub fn uncleared() -> Option<Self> {
        let frame = frames::allocate_page()?;
        frames::shares(frame).store(1, Ordering::Relaxed);
        Some(Self { physical: frame * PAGE_SIZE, counted: true })
    }

    /// A new page of zeros.
    #[must_use]
    pub fn zeroed() -> Option<Self> {
        let page = Self::uncleared()?;
        mmu::clear_page(page.physical);
        Some(page)
    }

    /// A page that is not the allocator's and stays for ever.
    #[must_use]
    pub const fn foreign(physical: u64) -> Self {
        Self { physical, counted: false }
    }

    /// A new page with the same bytes.
    #[must_use]
    pub fn copy(&self) -> Option<Self> {
        let page = Self::uncleared()?;
        mmu::copy_page(page.physical, self.physical);
        Some(page)
    }

    /// Physical address.
    #[must_use]
    pub const fn physical(&self) -> u64 {
        self.physical
    }

    /// Has a count of shares.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        self.counted
    }

    /// Nobody else has a share.
    #[must_use]
    pub fn is_sole(&self) -> bool {
        self.counted && frames::shares(self.physical / PAGE_SIZE).load(Ordering::Acquire) == 1
    }

    /// Gives the share to a table entry, which says `counted`.
    #[must_use = "the share is lost"]
    pub fn into_entry(self) -> (u64, bool) {
        let parts = (self.physical, self.counted);
        core::mem::forget(self);
        parts
    }

    /// Takes the share back from a table entry that is no more.
    #[must_use]
    pub const fn from_entry(physical: u64, counted: bool) -> Self {
        Self { physical, counted }
    }

    /// Its bytes. Others may write the page meanwhile; then what is seen is some mixture.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: a page of RAM that this share keeps. A program that has the page mapped may change bytes at any time; they are copied from here by
        // plain loads, and nothing is decided on a byte that is then read again.
        unsafe { core::slice::from_raw_parts(kmap::to_virtual(self.physical) as *const u8, PAGE_SIZE as usize) }
    }

    /// Gives its bytes to `change`, which may itself fault and sleep: so it can copy from a program straight into the page.
    ///
    /// # Panics
    /// When the page is foreign: those are read-only.
    pub fn change(&self, change: &mut dyn FnMut(&mut [u8])) {
        assert!(self.counted);
        // SAFETY: a page of RAM that this share keeps. Others that hold shares may change bytes meanwhile (two writes to one place of a shared file
        // are unordered for programs too); `change` only stores, and decides nothing on what it finds.
        change(unsafe {
            core::slice::from_raw_parts_mut(kmap::to_virtual(self.physical) as *mut u8, PAGE_SIZE as usize)
        });
    }

    /// The page that these bytes are, when they are a whole page of RAM that is read-only for good.
    #[must_use]
    pub fn in_place(bytes: &'static [u8]) -> Option<Self> {
        let whole = bytes.len() == PAGE_SIZE as usize && bytes.as_ptr().addr().is_multiple_of(PAGE_SIZE as usize);
        let physical = kmap::direct_to_physical(bytes.as_ptr().addr() as u64).filter(|_| whole)?;
        Some(Self::foreign(physical))
    }

    /// Stores the first eight bytes at once: who has the page mapped sees the old ones or the new ones.
    ///
    /// # Panics
    /// When the page is foreign: those are read-only.
    pub fn store_word(&self, word: u64) {
        assert!(self.counted);
        // SAFETY: an aligned word in a page of RAM that this share keeps; the kernel reaches it only through here.
        let first = unsafe { AtomicU64::from_ptr(kmap::to_virtual(self.physical) as *mut u64) };
        first.store(word, Ordering::Relaxed);
    }

    /// Copies bytes out, from `offset` on. Others may write the page meanwhile; then what is read is some mixture.
    ///
    /// # Panics
    /// When that goes past the page.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset <= PAGE_SIZE as usize && bytes.len() <= PAGE_SIZE as usize - offset);
        let from = (kmap::to_virtual(self.physical) as *const u8).wrapping_add(offset);
        // SAFETY: inside a page of RAM that this share keeps.
        unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Copies bytes in, from `offset` on.
    ///
    /// # Panics
    /// When that goes past the page, or the page is foreign: those are read-only.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(self.counted && offset <= PAGE_SIZE as usize && bytes.len() <= PAGE_SIZE as usize - offset);
        let to = (kmap::to_virtual(self.physical) as *mut u8).wrapping_add(offset);
        // SAFETY: inside a page of RAM that this share keeps.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

impl Clone for PageRef {
    fn clone(&self) -> Self {
        if self.counted {
            frames::share(self.physical / PAGE_SIZE);
        }
        Self { physical: self.physical, counted: self.counted }
    }
}

impl Drop for PageRef {
    fn drop(&mut self) {
        if self.counted {
            frames::unshare(self.physical / PAGE_SIZE);
        }
    }
}
