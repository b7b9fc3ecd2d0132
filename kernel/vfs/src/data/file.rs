//! An open file.

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use linux::Errno;

use super::node::Node;
use crate::file::Allocate;
use crate::inode::Kind;
use crate::{File, Sink, Source, World};

/// Pages that are read at once at most, beyond what a call wants.
const AHEAD_MAX: u64 = 64;
/// Pages that a fault reads around the one that it needs: programs are read so.
const FAULT_AHEAD: u64 = 8;

/// An open file: what one who has it open was told, and where he reads.
pub(super) struct Handle<W: World> {
    node: Arc<Node<W>>,
    /// The page behind the last that was read.
    next: AtomicU64,
    /// Pages to read ahead.
    window: AtomicU64,
    /// Failures to write that this one knows of.
    seen: AtomicU64,
}

impl<W: World> Handle<W> {
    pub(super) fn new(node: Arc<Node<W>>) -> Self {
        let seen = AtomicU64::new(node.body.failures());
        Self { node, next: AtomicU64::new(0), window: AtomicU64::new(1), seen }
    }

    /// How many pages to read from `page` on, if it has to be read: more each time while reading goes on where it ended.
    fn ahead(&self, page: u64, wanted: u64) -> u64 {
        let next = self.next.swap(page + 1, Ordering::Relaxed);
        if next == page + 1 {
            // The same page again, in small pieces.
            return self.window.load(Ordering::Relaxed);
        }
        let window = if next == page { (self.window.load(Ordering::Relaxed) * 2).min(AHEAD_MAX) } else { 1 };
        self.window.store(window, Ordering::Relaxed);
        window.max(wanted.min(AHEAD_MAX))
    }
}

impl<W: World> File<W> for Handle<W> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, flags: u32) -> Result<(), Errno> {
        self.node.body.read(offset, to, flags, &|page, wanted| self.ahead(page, wanted))
    }

    fn write(&self, offset: u64, from: &mut dyn Source, flags: u32) -> Result<u64, Errno> {
        self.node.body.write(offset, from, flags)
    }

    fn page(&self, index: u64, write: bool) -> Result<W::Page, Errno> {
        self.node.body.map(index, write, FAULT_AHEAD)
    }

    fn is_mappable(&self) -> bool {
        self.node.body.kind() == Kind::Regular
    }

    fn sync(&self, _bytes: Range<u64>, data_only: bool) -> Result<(), Errno> {
        let body = &self.node.body;
        // All of the file: what else is dirty has to go some time, and sizes may only grow over what is written.
        let result = body.clean(data_only);
        let result = result.and_then(|()| body.store.make_stable(body.transaction(data_only)));
        let failures = body.failures();
        let is_new = self.seen.swap(failures, Ordering::AcqRel) != failures;
        if is_new { result.and(Err(Errno::EIO)) } else { result }
    }

    fn write_out(&self, _bytes: Range<u64>) -> Result<(), Errno> {
        self.node.body.clean(true)
    }

    fn allocate(&self, how: Allocate, offset: u64, length: u64) -> Result<(), Errno> {
        self.node.body.allocate(how, offset, offset.saturating_add(length))
    }

    fn seek_data(&self, offset: u64, size: u64, hole: bool) -> Result<u64, Errno> {
        self.node.body.seek_data(offset, size, hole)
    }
}
