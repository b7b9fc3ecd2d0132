//! Memory that several spaces share without a file: MAP_SHARED and MAP_ANONYMOUS.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use linux::Errno;

use super::PageSource;
use crate::mm::PageRef;
use crate::sync::{Rank, SpinLock};

/// Pages of all of it.
static PAGES: AtomicUsize = AtomicUsize::new(0);

/// How many pages such memory has taken.
#[must_use]
pub fn pages() -> usize {
    PAGES.load(Ordering::Relaxed)
}

/// Pages of zeros to begin with, made when they are first touched.
#[derive(Debug)]
pub struct SharedMemory {
    pages: SpinLock<BTreeMap<u64, PageRef>>,
    count: u64,
}

impl SharedMemory {
    /// `length` bytes.
    #[must_use]
    pub fn new(length: u64) -> Arc<Self> {
        let count = length.div_ceil(paging::PAGE_SIZE);
        Arc::new(Self { pages: SpinLock::new(Rank::SHARED_MEMORY, BTreeMap::new()), count })
    }
}

impl PageSource for SharedMemory {
    fn page(&self, index: u64, _write: bool) -> Result<PageRef, Errno> {
        if index >= self.count {
            return Err(Errno::ENXIO);
        }
        let mut pages = self.pages.lock();
        if let Some(page) = pages.get(&index) {
            return Ok(page.clone());
        }
        let page = PageRef::zeroed().ok_or(Errno::ENOMEM)?;
        pages.insert(index, page.clone());
        PAGES.fetch_add(1, Ordering::Relaxed);
        Ok(page)
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        PAGES.fetch_sub(self.pages.get_mut().len(), Ordering::Relaxed);
    }
}
