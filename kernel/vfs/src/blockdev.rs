//! A block device opened as a file: its bytes, through pages of the cache.
//!
//! Each device has pages of its own: a partition and the disk that it is on do not see each other's until they have been written, as on
//! Linux. A write ends in the cache; it is on stable media after [`BlockFile`]'s `sync`.
//!
//! Invariant: bytes are changed, and pages thrown away, with `changing` held; so what was written is never thrown away unwritten, but for a
//! device that has gone.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use linux::Errno;
use linux::flags::O_APPEND;

use crate::cache::{Cache, Object, WriteBack};
use crate::device::Run;
use crate::world::{Mutex, mutex};
use crate::{Device, File, PAGE_SIZE, Page, Sink, Source, World};

/// Pages that a read which is not at hand brings in: as many as are asked for, but at least and at most so many.
const AHEAD_MIN: usize = 8;
const AHEAD_MAX: usize = 64;
/// Pages whose shares a read takes at a time.
const RUN_MAX: usize = 16;
/// Pages that are written back at a time.
const BATCH: usize = 256;
const ALL: Range<u64> = 0..u64::MAX;

/// A device and its pages.
pub struct BlockDevice<W: World> {
    device: Arc<dyn Device<W>>,
    pages: Arc<Object<W>>,
    changing: Mutex<W, ()>,
    opens: AtomicUsize,
    /// Write-backs and flushes that failed.
    failures: AtomicU64,
}

impl<W: World> BlockDevice<W> {
    /// No pages yet.
    #[must_use]
    pub fn new(device: Arc<dyn Device<W>>, cache: &Arc<Cache<W>>) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            device,
            pages: Object::new(cache, Some(this.clone())),
            changing: mutex::<W, _>(()),
            opens: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.device.blocks() * PAGE_SIZE as u64 + self.device.tail() as u64
    }

    /// Opens it. Whoever is the first sees what is on the device, whatever was cached before.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> BlockFile<W> {
        if self.opens.fetch_add(1, Ordering::Relaxed) == 0 {
            // What could not be written stays: it is newer than what is on the device.
            let _ = self.forget();
        }
        BlockFile { device: self.clone(), failures_seen: AtomicU64::new(self.failures.load(Ordering::Relaxed)) }
    }

    /// Writes what is dirty, and lets all pages go (`BLKFLSBUF`).
    ///
    /// # Errors
    /// `EIO`; then all pages stay.
    pub fn forget(&self) -> Result<(), Errno> {
        let _changing = self.changing.lock();
        self.write_range(ALL)?;
        self.pages.remove(ALL);
        Ok(())
    }

    /// Lets the device forget the bytes of a range: whole blocks inside it, as far as it cares to.
    ///
    /// # Errors
    /// `EIO`, `EROFS`; `EINVAL` for a range that is not inside.
    pub fn discard(&self, bytes: Range<u64>) -> Result<(), Errno> {
        if bytes.end > self.size() || bytes.start > bytes.end {
            return Err(Errno::EINVAL);
        }
        let (first, end) = (bytes.start.div_ceil(PAGE_SIZE as u64), bytes.end / PAGE_SIZE as u64);
        if first >= end {
            return Ok(());
        }
        let _changing = self.changing.lock();
        self.pages.remove(first..end);
        self.device.discard(first, end - first)
    }

    /// What was written is on stable media when it returns.
    ///
    /// # Errors
    /// `EIO`.
    pub fn sync(&self) -> Result<(), Errno> {
        self.sync_range(ALL)
    }

    fn sync_range(&self, pages: Range<u64>) -> Result<(), Errno> {
        self.write_range(pages)?;
        self.device.flush().inspect_err(|_| self.fail())
    }

    fn fail(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the pages that are dirty now. What failed stays dirty, but for a device that has gone.
    fn write_range(&self, range: Range<u64>) -> Result<(), Errno> {
        let mut start = range.start;
        loop {
            let taken = self.pages.begin_write_back(start..range.end, BATCH);
            let Some(last) = taken.last().map(|(index, _)| *index) else { break };
            let shares: Vec<W::Page> = taken.iter().map(|(_, page)| page.clone()).collect();
            let result = self.device.write_runs(&runs::<W>(&taken, &shares));
            self.pages.end_write_back(&taken, result.is_ok() || self.device.is_gone());
            result.inspect_err(|_| self.fail())?;
            start = last + 1;
        }
        self.pages.wait_written(range);
        Ok(())
    }

    /// A share of a page; with it come those behind, up to `count` in all.
    fn page(&self, index: u64, count: usize) -> Result<W::Page, Errno> {
        let left = self.size().div_ceil(PAGE_SIZE as u64).saturating_sub(index);
        let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        self.pages.get_or_fill(index, count, &mut |first, pages| self.device.read(first, pages))
    }

    fn read(&self, offset: u64, to: &mut dyn Sink) -> Result<(), Errno> {
        let (mut at, size) = (offset, self.size());
        while to.room() > 0 && at < size {
            if self.device.is_gone() {
                return Err(Errno::EIO);
            }
            let (index, start) = split(at);
            let wanted = (start + to.room()).div_ceil(PAGE_SIZE);
            let mut run = self.pages.run(index, wanted.min(RUN_MAX));
            if run.is_empty() {
                run.push(self.page(index, wanted.clamp(AHEAD_MIN, AHEAD_MAX))?);
            }
            for (index, page) in (index..).zip(run) {
                let (now, start) = split(at);
                debug_assert_eq!(now, index, "the sink left room and did not take it");
                let end = usize::try_from(size - (at - start as u64)).unwrap_or(usize::MAX).min(PAGE_SIZE);
                at += to.put(&page.bytes()[start..end])? as u64;
            }
        }
        Ok(())
    }

    /// Writes up to the end of a page; returns how many bytes.
    fn write_page(&self, at: u64, size: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        if self.device.is_gone() {
            return Err(Errno::EIO);
        }
        self.pages.balance()?;
        let (index, start) = split(at);
        let there = usize::try_from(size - at).unwrap_or(usize::MAX).min(PAGE_SIZE - start);
        let wanted = there.min(from.left());
        let is_whole = start == 0 && wanted == there;
        if !is_whole {
            // Before bytes are taken: what is taken counts as written.
            self.page(index, 1)?;
        }
        // The bytes come by way of a page that nobody sees: taking them may fail in the middle.
        let fresh = W::Page::zeroed().ok_or(Errno::ENOMEM)?;
        let (before, mut result) = (from.done(), Ok(0));
        fresh.change(&mut |bytes| result = from.take(&mut bytes[start..start + wanted]));
        let count = from.done() - before;
        if count == 0 {
            return result;
        }
        let _changing = self.changing.lock();
        let there = if is_whole && count == wanted {
            match self.pages.insert_dirty(index, fresh.clone()) {
                Ok(()) => return Ok(count),
                Err(page) => page,
            }
        } else {
            self.page(index, 1)?
        };
        there.change(&mut |bytes| bytes[start..start + count].copy_from_slice(&fresh.bytes()[start..start + count]));
        // With a share of it here and the lock held, it can have gone nowhere.
        let is_kept = self.pages.mark_dirty(index);
        debug_assert!(is_kept, "page {index} went while it was changed");
        Ok(count)
    }
}

impl<W: World> WriteBack for BlockDevice<W> {
    fn write_back(&self) -> Result<(), Errno> {
        self.write_range(ALL)
    }
}

/// A place as page and byte in it.
fn split(at: u64) -> (u64, usize) {
    (at / PAGE_SIZE as u64, (at % PAGE_SIZE as u64) as usize)
}

/// Pages in ascending order as runs of consecutive ones.
fn runs<'a, W: World>(taken: &[(u64, W::Page)], shares: &'a [W::Page]) -> Vec<Run<'a, W>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for at in 1..=taken.len() {
        if at == taken.len() || taken[at].0 != taken[at - 1].0 + 1 {
            runs.push((taken[start].0, &shares[start..at]));
            start = at;
        }
    }
    runs
}

/// A block device that is open.
pub struct BlockFile<W: World> {
    device: Arc<BlockDevice<W>>,
    /// Failures that its user knows of.
    failures_seen: AtomicU64,
}

impl<W: World> Drop for BlockFile<W> {
    fn drop(&mut self) {
        self.device.opens.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<W: World> BlockFile<W> {
    fn sync_pages(&self, pages: Range<u64>) -> Result<(), Errno> {
        let result = self.device.sync_range(pages);
        let failures = self.device.failures.load(Ordering::Relaxed);
        let is_news = self.failures_seen.swap(failures, Ordering::Relaxed) != failures;
        if is_news { Err(Errno::EIO) } else { result }
    }
}

fn pages_of(bytes: Range<u64>) -> Range<u64> {
    bytes.start / PAGE_SIZE as u64..bytes.end.div_ceil(PAGE_SIZE as u64)
}

impl<W: World> File<W> for BlockFile<W> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Option<u64> {
        Some(self.device.size())
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _flags: u32) -> Result<(), Errno> {
        self.device.read(offset, to)
    }

    fn write(&self, offset: u64, from: &mut dyn Source, flags: u32) -> Result<u64, Errno> {
        let size = self.device.size();
        let start = if flags & O_APPEND != 0 { size } else { offset };
        if from.left() > 0 && start >= size {
            return Err(Errno::ENOSPC);
        }
        let mut at = start;
        while from.left() > 0 && at < size {
            match self.device.write_page(at, size, from) {
                Ok(count) => at += count as u64,
                Err(error) if at == start => return Err(error),
                Err(_) => break,
            }
        }
        Ok(at)
    }

    fn sync(&self, bytes: Range<u64>, _data_only: bool) -> Result<(), Errno> {
        self.sync_pages(pages_of(bytes))
    }

    fn write_out(&self, bytes: Range<u64>) -> Result<(), Errno> {
        self.device.write_range(pages_of(bytes))
    }
}
