//! Physical pages: the pure allocator of crate `frames` over the real memory, with a cache of single pages for each CPU in front of it.
//!
//! Per open section (2 MiB) there are a page of [`FrameInfo`]s, at a fixed place of the metadata window, and a [`Section`] record in another
//! window. Both windows are mapped as sections are opened, with frames of the section itself.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use frames::{CACHE_BATCH, Cache, FRAMES_PER_SECTION, Frames, Region, Section, SlabPage, Store};
use paging::walk::{self, Tables};
use paging::{Access, Attributes, Descriptor, Level, Memory, PAGE_SIZE};

use super::kmap;
use super::layout::{META_BASE, SECTION_BASE};
use crate::arch::cpu::{self, CPUS_MAX};
use crate::arch::mmu;
use crate::sync::{Rank, SpinLock};

static FRAMES: SpinLock<Frames> = SpinLock::new(Rank::FRAMES, Frames::new());

/// How many are free there, for who does not hold the lock: what it was when the lock was last given back.
static FREE: AtomicU64 = AtomicU64::new(0);

/// Does something with the lock held.
fn with_frames<T>(work: impl FnOnce(&mut Frames) -> T) -> T {
    let mut frames = FRAMES.lock_irq();
    let result = work(&mut frames);
    FREE.store(frames.free_frames(), Ordering::Relaxed);
    result
}

/// A CPU's cache, on cache lines of its own. Its own CPU takes the lock, and another one only when memory is short.
#[repr(align(128))]
struct CpuCache(SpinLock<Cache>);

static CACHES: [CpuCache; CPUS_MAX] = [const { CpuCache(SpinLock::new(Rank::FRAME_CACHE, Cache::new())) }; CPUS_MAX];

/// Bytes from one section record to the next.
const RECORD_STRIDE: u64 = 128;
const _: () = assert!(size_of::<Section>() as u64 <= RECORD_STRIDE);

/// What is kept for each frame of an open section: for an allocated page, how many [`super::PageRef`]s and table entries share it; for a page of
/// the heap, a [`SlabPage`]; for one in a CPU's cache, [`CACHED`].
type FrameInfo = u64;
/// Neither a count of shares nor a page of the heap: there is no class 31 of slots.
const CACHED: FrameInfo = FrameInfo::MAX;
const _: () = assert!(size_of::<SlabPage>() == size_of::<FrameInfo>());
const _: () = assert!(size_of::<FrameInfo>() as u64 * FRAMES_PER_SECTION == PAGE_SIZE);

fn info(frame: u64) -> *mut FrameInfo {
    (META_BASE as *mut FrameInfo).wrapping_add(frame as usize)
}

/// The count of shares of an allocated page.
pub fn shares(frame: u64) -> &'static AtomicU32 {
    // SAFETY: the frame is allocated, so its section is open and its information is mapped for good, aligned, and not a heap page's. All
    // accesses to it are atomic.
    unsafe { AtomicU32::from_ptr(info(frame).cast()) }
}

/// Says whether a page is in a cache; gives what was said before. The caller has the page and nobody else.
fn set_info(frame: u64, new: FrameInfo) -> FrameInfo {
    // SAFETY: as in `shares`; nobody else has the page, so nobody reads or writes this meanwhile, unless it is freed twice, which is found here.
    let info = unsafe { AtomicU64::from_ptr(info(frame)) };
    let before = info.load(Ordering::Relaxed);
    info.store(new, Ordering::Relaxed);
    before
}

/// What the heap remembers of one of its pages.
pub fn slab_page(frame: u64) -> *mut SlabPage {
    info(frame).cast()
}

/// The two metadata windows.
struct Windows;

/// Maps metadata: tables and pages come from the section that is being opened.
struct Opening<'a> {
    base: u64,
    fresh: &'a mut Section,
}

impl Tables for Opening<'_> {
    fn read(&self, table: u64, index: usize) -> Descriptor {
        mmu::read_entry(table, index)
    }

    fn write(&mut self, table: u64, index: usize, descriptor: Descriptor) {
        mmu::write_entry(table, index, descriptor);
    }

    fn allocate(&mut self) -> Option<u64> {
        let page = (self.base + self.fresh.take(0)? as u64) * PAGE_SIZE;
        mmu::clear_page(page);
        Some(page)
    }

    fn free(&mut self, _table: u64) {
        unreachable!("metadata stays mapped");
    }
}

impl Opening<'_> {
    /// Maps the page of a window that holds `address`, unless it is mapped.
    fn back(&mut self, address: u64) -> Option<()> {
        let slot = walk::slot(self, mmu::kernel_root(), address, Level::PAGE).ok()?;
        if self.read(slot.table, slot.index).is_valid() {
            return Some(());
        }
        let page = self.allocate()?;
        let attributes = Attributes { memory: Memory::Normal, access: Access::KernelWrite, counted: false };
        self.write(slot.table, slot.index, Descriptor::leaf(Level::PAGE, page, attributes));
        Some(())
    }
}

/// Frames that opening a section may take: two pages, and for each three tables.
const OPENING_FRAMES_MAX: u32 = 8;

impl Store for Windows {
    fn open(&mut self, index: u32, fresh: &mut Section) -> bool {
        if fresh.free_frames() < OPENING_FRAMES_MAX {
            return false;
        }
        let base = u64::from(index) * FRAMES_PER_SECTION;
        let mut opening = Opening { base, fresh };
        let backed = opening
            .back(META_BASE + u64::from(index) * PAGE_SIZE)
            .and_then(|()| opening.back(SECTION_BASE + u64::from(index) * RECORD_STRIDE));
        mmu::publish();
        backed.is_some()
    }

    fn section(&mut self, index: u32) -> &mut Section {
        let record = (SECTION_BASE + u64::from(index) * RECORD_STRIDE) as *mut Section;
        // SAFETY: the record of an open section is mapped, and only reached through here, under the lock of `FRAMES`. Its page was cleared,
        // and all-zero bytes are a valid record.
        unsafe { &mut *record }
    }
}

/// Adds RAM, in ascending order, before the first allocation. False: too many regions.
pub fn add(start: u64, end: u64) -> bool {
    let region = Region { start: start.div_ceil(PAGE_SIZE), end: end / PAGE_SIZE };
    region.start >= region.end || with_frames(|frames| frames.add(region))
}

/// Takes 2^`order` pages; gives the first one's frame number. What is in them is unknown.
pub fn allocate(order: u32) -> Option<u64> {
    let from_all = || with_frames(|frames| frames.allocate(&mut Windows, order));
    let found = if order == 0 { from_own_cache() } else { from_all() };
    let frame = found.or_else(|| {
        // What is missing may lie in the caches.
        caches().for_each(|cache| {
            let mut cache = cache.lock_irq();
            with_frames(|frames| cache.spill(frames, &mut Windows, 0));
        });
        from_all()
    })?;
    if order == 0 {
        set_info(frame, 0);
    }
    Some(frame)
}

fn caches() -> impl Iterator<Item = &'static SpinLock<Cache>> {
    CACHES[..cpu::all().len()].iter().map(|cache| &cache.0)
}

/// This CPU's cache. The kernel is not preempted, so the CPU stays the same until the caller has the lock.
fn own_cache() -> &'static SpinLock<Cache> {
    &CACHES[cpu::this().index].0
}

fn from_own_cache() -> Option<u64> {
    let mut cache = own_cache().lock_irq();
    if cache.count() == 0 {
        with_frames(|frames| cache.fill(frames, &mut Windows));
    }
    cache.take()
}

/// Of all memory this part is left to the kernel's heap: programs and caches do not get the last pages, so that they, and not the kernel, are refused.
const HEAP_SHARE: u64 = 64;

/// No more than this part of all memory is free, without what the CPUs have for themselves: nobody's lock is taken for that.
pub fn is_short(share: u64) -> bool {
    FREE.load(Ordering::Relaxed) <= total_bytes() / PAGE_SIZE / share
}

/// Takes a page for a program or a cache.
pub fn allocate_page() -> Option<u64> {
    let frame = if is_short(HEAP_SHARE) { None } else { from_own_cache() }?;
    set_info(frame, 0);
    Some(frame)
}

/// Gives them back.
///
/// # Panics
/// When one of them is free already: that is a bug in the kernel, and memory is no longer to be trusted.
pub fn release(frame: u64, order: u32) {
    if order > 0 {
        return with_frames(|frames| frames.release(&mut Windows, frame, order));
    }
    let before = set_info(frame, CACHED);
    assert!(before != CACHED, "page freed twice");
    let mut cache = own_cache().lock_irq();
    if cache.is_full() {
        with_frames(|frames| cache.spill(frames, &mut Windows, CACHE_BATCH));
    }
    cache.put(frame);
}

/// Bytes of RAM that the firmware gave, in use by whatever.
static TOTAL: AtomicU64 = AtomicU64::new(0);

/// Says how much RAM there is.
pub fn set_total_bytes(bytes: u64) {
    TOTAL.store(bytes, Ordering::Relaxed);
}

/// Bytes of RAM that the firmware gave, in use by whatever.
#[must_use]
pub fn total_bytes() -> u64 {
    TOTAL.load(Ordering::Relaxed)
}

/// Bytes that can be allocated.
#[must_use]
pub fn free_bytes() -> u64 {
    let cached: u64 = caches().map(|cache| cache.lock_irq().count() as u64).sum();
    (FRAMES.lock_irq().free_frames() + cached) * PAGE_SIZE
}

/// Adds a share.
pub fn share(frame: u64) {
    let before = shares(frame).fetch_add(1, Ordering::Relaxed);
    assert!(before > 0 && before < u32::MAX / 2, "share of a page with {before} shares");
}

/// Takes a share away; the last one frees the page.
pub fn unshare(frame: u64) {
    let before = shares(frame).fetch_sub(1, Ordering::AcqRel);
    assert!(before > 0, "page freed twice");
    if before == 1 {
        release(frame, 0);
    }
}

/// RAM in one piece, for devices.
#[derive(Debug)]
pub struct Contiguous {
    frame: u64,
    order: u32,
}

impl Contiguous {
    /// 2^`order` pages, cleared, aligned to their size.
    #[must_use]
    pub fn new(order: u32) -> Option<Self> {
        let block = Self { frame: allocate(order)?, order };
        (0..1 << order).for_each(|page| mmu::clear_page((block.frame + page) * PAGE_SIZE));
        Some(block)
    }

    /// Physical address of the first byte.
    #[must_use]
    pub fn physical(&self) -> u64 {
        self.frame * PAGE_SIZE
    }

    /// The kernel's address of the first byte.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        kmap::to_virtual(self.physical()) as *mut u8
    }

    /// How many bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        (PAGE_SIZE as usize) << self.order
    }
}

impl Drop for Contiguous {
    fn drop(&mut self) {
        release(self.frame, self.order);
    }
}
