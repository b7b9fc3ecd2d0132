//! A process's address space: the map of its areas (crate `vmmap`), its translation tables, and what brings pages in.
//!
//! Pages come when they are touched. A private page is shared until it is written: the table entry is read-only although the area is writable,
//! and the write fault copies (or, for the last one to share it, only lifts the protection). Every table entry of a counted page holds one share.
//!
//! Invariants, under the lock of [`Inner`]: an entry translates only inside an area; what it lets users do is no more than the area's
//! protection; an entry of a private area is writable only when its page has no other share.
//!
//! * `fault`: what happens when a page is touched.
//! * `change`: mapping, unmapping, protecting, moving, growing the heap, forking.
//! * `object`: pages that several spaces share without a file.

mod change;
mod fault;
mod object;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use linux::Errno;
use paging::asid::{Asids, Context};
use paging::walk::{self, Tables};
use paging::{Descriptor, PAGE_SIZE};
pub use vmmap::Protection;
use vmmap::{Area, Map};

use super::layout::USER_END;
use super::{PageRef, frames};
use crate::arch::cpu::{self, CPUS_MAX};
use crate::arch::mmu;
use crate::sync::{Mutex, Rank, SpinLock, mutex};

pub use change::Place;
pub use object::{SharedMemory, pages as shared_pages};

/// Lowest address that may be mapped: a null pointer with an offset stays a fault.
pub const USER_START: u64 = 0x1_0000;

/// Something whose pages can be mapped: a file, shared memory.
pub trait PageSource: Send + Sync {
    /// The page with this index. With `write` the caller will map it writable and shared. May sleep.
    ///
    /// # Errors
    /// Whatever it is, the program gets SIGBUS; `ENOMEM` means that there is no memory.
    fn page(&self, index: u64, write: bool) -> Result<PageRef, Errno>;

    /// The same to read, if it is at hand: without waiting, and without work.
    fn page_at_hand(&self, _index: u64) -> Option<PageRef> {
        None
    }

    /// Makes what was written to these pages through mappings lasting (`msync`).
    ///
    /// # Errors
    /// `EIO`.
    fn sync(&self, _pages: core::ops::Range<u64>) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether a shared mapping may write it.
    fn is_writable(&self) -> bool {
        true
    }

    /// What `/proc/self/maps` says of it: path, device, inode.
    fn describe(&self) -> (alloc::string::String, u64, u64) {
        (alloc::string::String::new(), 0, 0)
    }
}

/// Pages of an object that are mapped shared.
pub type SharedPart = (Arc<dyn PageSource>, Range<u64>);

/// Whether writes are seen by others who map the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Copy on write.
    Private,
    /// One page for all.
    Shared,
}

/// Where an area's pages come from.
#[derive(Clone)]
pub enum Backing {
    /// Zeros.
    Anonymous,
    /// An object's pages from this one on.
    Object {
        /// the object
        source: Arc<dyn PageSource>,
        /// index of the page at the area's start
        first_page: u64,
        /// private or shared
        sharing: Sharing,
    },
}

impl fmt::Debug for Backing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => write!(formatter, "Anonymous"),
            Self::Object { first_page, sharing, .. } => write!(formatter, "Object({first_page}, {sharing:?})"),
        }
    }
}

impl vmmap::Backing for Backing {
    fn advanced(&self, bytes: u64) -> Self {
        match self {
            Self::Anonymous => Self::Anonymous,
            Self::Object { source, first_page, sharing } => {
                let first_page = first_page + bytes / PAGE_SIZE;
                Self::Object { source: source.clone(), first_page, sharing: *sharing }
            }
        }
    }

    fn continues(&self, length: u64, next: &Self) -> bool {
        match (self, next) {
            (Self::Anonymous, Self::Anonymous) => true,
            (Self::Object { source, first_page, sharing }, Self::Object { source: s, first_page: f, sharing: h }) => {
                Arc::ptr_eq(source, s) && first_page + length / PAGE_SIZE == *f && sharing == h
            }
            _ => false,
        }
    }
}

impl Backing {
    fn is_shared(&self) -> bool {
        matches!(self, Self::Object { sharing: Sharing::Shared, .. })
    }

    /// Whether its protection may come to let users write.
    fn may_be_written(&self) -> bool {
        match self {
            Self::Object { source, sharing: Sharing::Shared, .. } => source.is_writable(),
            _ => true,
        }
    }
}

/// The tables of a space in memory.
struct UserTables;

impl Tables for UserTables {
    fn read(&self, table: u64, index: usize) -> Descriptor {
        mmu::read_direct(table, index)
    }

    fn next_valid(&self, table: u64, from: usize, to: usize) -> Option<(usize, Descriptor)> {
        mmu::next_valid_direct(table, from, to)
    }

    fn write(&mut self, table: u64, index: usize, descriptor: Descriptor) {
        mmu::write_direct(table, index, descriptor);
    }

    fn allocate(&mut self) -> Option<u64> {
        let table = frames::allocate(0)? * PAGE_SIZE;
        mmu::clear_page(table);
        Some(table)
    }

    fn free(&mut self, table: u64) {
        frames::release(table / PAGE_SIZE, 0);
    }
}

/// What the lock guards, together with the tables.
#[derive(Debug)]
struct Inner {
    map: Map<Backing>,
    /// The heap of brk(2): where it starts, and where it ends now.
    heap: core::ops::Range<u64>,
    /// Mappings without an address go below this.
    ceiling: u64,
}

/// An address space.
#[derive(Debug)]
pub struct AddressSpace {
    root: u64,
    /// Raw [`Context`], written under the lock of [`ASIDS`].
    context: SpinLock<Context>,
    /// CPUs that may hold translations under the present identifier, one bit each.
    cpus: AtomicU64,
    inner: Mutex<Inner>,
}

static ASIDS: SpinLock<Asids<CPUS_MAX>> = SpinLock::new(Rank::ASIDS, Asids::new());

impl AddressSpace {
    /// Nothing mapped.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new() -> Result<Arc<Self>, Errno> {
        let inner = Inner { map: Map::new(USER_START..USER_END), heap: 0..0, ceiling: USER_END - PAGE_SIZE };
        Self::with(inner)
    }

    fn with(inner: Inner) -> Result<Arc<Self>, Errno> {
        let root = UserTables.allocate().ok_or(Errno::ENOMEM)?;
        Ok(Arc::new(Self {
            root,
            context: SpinLock::new(Rank::CONTEXT, Context::default()),
            cpus: AtomicU64::new(0),
            inner: mutex(inner),
        }))
    }

    /// Makes this CPU translate user addresses with it. Interrupts are masked, or the caller is this CPU's only way to do so.
    pub fn activate(&self) {
        let mut context = self.context.lock_irq();
        let cpu = cpu::this().index;
        let activation = ASIDS.lock_irq().activate(cpu, &mut context);
        if activation.is_new {
            self.cpus.store(1 << cpu, Ordering::SeqCst);
        } else {
            self.cpus.fetch_or(1 << cpu, Ordering::SeqCst);
        }
        if activation.flush {
            mmu::flush_this_cpu();
        }
        mmu::set_user_root(self.root, context.asid());
    }

    /// Makes every CPU that may know a translation of `address` forget it. The entry is invalid by now, or says less or more than before.
    fn flush_page(&self, address: u64) {
        let context = self.context.lock_irq();
        mmu::flush_user_page(context.asid(), address, self.is_only_here());
    }

    /// Makes every CPU forget everything about this space.
    fn flush_all(&self) {
        let context = self.context.lock_irq();
        if context.asid() != 0 {
            mmu::flush_user(context.asid(), self.is_only_here());
        }
    }

    /// No other CPU has translated with it. The caller has masked interrupts.
    fn is_only_here(&self) -> bool {
        // The entry's change must be visible before another CPU's mark is looked for: a CPU that marks itself later reads the new entry.
        mmu::publish();
        self.cpus.load(Ordering::SeqCst) == 1 << cpu::this().index
    }

    /// The areas, for `/proc/self/maps`.
    pub fn areas(&self) -> Vec<Area<Backing>> {
        self.inner.lock().map.areas().cloned().collect()
    }

    /// What is mapped shared in a range: objects with their pages. And whether all of the range is mapped.
    pub fn shared_in(&self, range: Range<u64>) -> (Vec<SharedPart>, bool) {
        let inner = self.inner.lock();
        let inside = inner.map.areas().filter(|area| area.start < range.end && range.start < area.end);
        let shared = inside.filter_map(|area| match &area.backing {
            Backing::Object { source, first_page, sharing: Sharing::Shared } => {
                let page = |address: u64| first_page + (address - area.start) / PAGE_SIZE;
                Some((source.clone(), page(range.start.max(area.start))..page(range.end.min(area.end))))
            }
            _ => None,
        });
        (shared.collect(), inner.map.is_covered(range.start, range.end))
    }

    /// Bytes that are mapped, whether in memory or not.
    pub fn mapped_bytes(&self) -> u64 {
        self.inner.lock().map.mapped_bytes()
    }

    /// Where the heap is.
    pub fn heap(&self) -> core::ops::Range<u64> {
        self.inner.lock().heap.clone()
    }

    /// Pages that are in memory.
    pub fn resident_pages(&self) -> u64 {
        let _inner = self.inner.lock();
        let mut pages = 0;
        walk::for_each_leaf(&mut UserTables, self.root, 0, USER_END, &mut |_, _, _, _| pages += 1);
        pages
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        // Nobody translates with it: each thread and each CPU that does holds a share. Its identifier is not used for another before all TLBs
        // have been flushed (`paging::asid`).
        let mut each = |leaf: Descriptor| drop(PageRef::from_entry(leaf.address(), leaf.is_counted()));
        walk::tear_down(&mut UserTables, self.root, &mut each);
    }
}
