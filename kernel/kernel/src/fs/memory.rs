//! The page cache of this machine, and how its pages become free memory again.
//!
//! A page that was read into the cache stays as long as there is memory. When less than a part of it is free, and when a page is wanted and there is
//! none, those that nobody uses go.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use vfs::cache::{Cache, Limits};
use vfs::dentry;

use super::{Kernel, data};
use crate::mm::{self, PageRef, frames};
use crate::sync::Once;

/// Of all memory this part is kept free of pages that can be read again: for programs, and for the kernel's own heap.
const FREE_SHARE: u64 = 32;
/// Of all memory so much may be dirty, and so much before somebody writes it back.
const DIRTY_SHARE: u64 = 8;
const DIRTY_BACKGROUND_SHARE: u64 = 16;
/// So many pages are freed at once: the next who want some find them.
const BATCH: usize = 64;

/// Names of files are kept up to one for so much of all memory; a name and its file take a twentieth of it.
const BYTES_PER_NAME: u64 = 32768;

static CACHE: Once<Arc<Cache<Kernel>>> = Once::new();

/// The page cache.
pub fn cache() -> &'static Arc<Cache<Kernel>> {
    CACHE.get_or_init(|| {
        let pages = frames::total_bytes() / vfs::PAGE_SIZE as u64;
        mm::set_reclaimer(reclaim);
        Cache::new(Limits {
            dirty_max: (pages / DIRTY_SHARE) as usize,
            dirty_background: (pages / DIRTY_BACKGROUND_SHARE) as usize,
        })
    })
}

/// A name more is in memory: when there are too many, those that nobody uses go. Twice as many as are in use then may come before the next time.
pub fn name_kept() {
    static MOST: AtomicUsize = AtomicUsize::new(0);
    static IS_PRUNING: AtomicBool = AtomicBool::new(false);
    let least = (frames::total_bytes() / BYTES_PER_NAME) as usize;
    if dentry::count() <= MOST.load(Ordering::Relaxed).max(least) || IS_PRUNING.swap(true, Ordering::Acquire) {
        return;
    }
    for volume in super::root().map(|root| root.mount().volumes()).unwrap_or_default() {
        volume.root().prune_unused();
    }
    MOST.store(2 * dentry::count(), Ordering::Relaxed);
    IS_PRUNING.store(false, Ordering::Release);
}

/// Frees pages of the cache, or else metadata of file systems; says whether there were any.
fn reclaim() -> bool {
    CACHE.get().is_some_and(|cache| cache.reclaim(BATCH) > 0) || data::shrink(BATCH) > 0
}

/// A page for a file system.
pub fn page() -> Option<PageRef> {
    if frames::is_short(FREE_SHARE) {
        reclaim();
    }
    PageRef::zeroed().or_else(|| if reclaim() { PageRef::zeroed() } else { None })
}
