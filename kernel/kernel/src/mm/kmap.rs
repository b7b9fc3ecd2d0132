//! The kernel's own translation tables, and windows on physical memory in the vmap area.
//!
//! Nothing here is ever writable and executable, and no live entry is changed into another valid one (break before make,
//! Arm ARM D8.16.1): windows are given out once and stay.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use paging::walk::{self, Tables};
use paging::{Access, Attributes, Descriptor, Level, Memory, PAGE_SIZE};

use super::layout::{DIRECT_BASE, KERNEL_BASE, VMAP_BASE, VMAP_END};
use super::{PageRef, frames};
use crate::arch::{entry, mmu};
use crate::sync::{Rank, SpinLock};

/// Where the kernel image lies in physical memory.
static PHYSICAL_BASE: AtomicU64 = AtomicU64::new(0);

/// The vmap area is handed out upwards. Invariant: nothing from `next` on is mapped.
struct Vmap {
    next: u64,
}

static VMAP: SpinLock<Vmap> = SpinLock::new(Rank::KERNEL_MAP, Vmap { next: VMAP_BASE });

/// Tables of the pool in the image that the entry code left; used before there are frames.
static POOL_USED: AtomicU64 = AtomicU64::new(0);

/// The kernel's tables in memory.
struct KernelTables;

impl Tables for KernelTables {
    fn read(&self, table: u64, index: usize) -> Descriptor {
        mmu::read_entry(table, index)
    }

    fn write(&mut self, table: u64, index: usize, descriptor: Descriptor) {
        mmu::write_entry(table, index, descriptor);
    }

    fn allocate(&mut self) -> Option<u64> {
        let pooled = entry::pool_table(POOL_USED.fetch_add(1, Ordering::Relaxed));
        let table = pooled.or_else(|| frames::allocate(0).map(|frame| frame * PAGE_SIZE))?;
        mmu::clear_page(table);
        Some(table)
    }

    fn free(&mut self, _table: u64) {
        unreachable!("the kernel's tables stay");
    }
}

/// Called first: `physical_base` is where the image was loaded.
pub fn init(physical_base: u64) {
    PHYSICAL_BASE.store(physical_base, Ordering::Relaxed);
    POOL_USED.store(entry::pool_tables_used(), Ordering::Relaxed);
}

/// Physical address of the kernel image.
#[must_use]
pub fn physical_base() -> u64 {
    PHYSICAL_BASE.load(Ordering::Relaxed)
}

/// The kernel's address of a physical one: in the image, or in the direct map.
#[must_use]
pub fn to_virtual(physical: u64) -> u64 {
    let offset = physical.wrapping_sub(physical_base());
    if offset < entry::image_size() { KERNEL_BASE + offset } else { DIRECT_BASE + physical }
}

/// The physical address of a place in the direct map.
#[must_use]
pub fn direct_to_physical(address: u64) -> Option<u64> {
    (DIRECT_BASE..KERNEL_BASE).contains(&address).then(|| address - DIRECT_BASE)
}

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Registers.
    Device,
    /// RAM that is only read: firmware tables.
    ReadOnly,
    /// RAM that the firmware's map keeps from the allocator.
    Kept,
}

/// Maps `length` bytes from `physical`, for good, and gives the address of the first byte. `None`: no room or no memory.
pub fn map_window(physical: u64, length: u64, window: Window) -> Option<u64> {
    let (memory, access) = match window {
        Window::Device => (Memory::Device, Access::KernelWrite),
        Window::ReadOnly => (Memory::Normal, Access::KernelRead),
        Window::Kept => (Memory::Normal, Access::KernelWrite),
    };
    let attributes = Attributes { memory, access, counted: false };
    let first = physical & !(PAGE_SIZE - 1);
    let end = physical.checked_add(length)?.checked_next_multiple_of(PAGE_SIZE)?;
    let mut vmap = VMAP.lock_irq();
    let start = vmap.next;
    // One unmapped page between windows catches what runs over an end.
    let next = start.checked_add(end - first + PAGE_SIZE)?;
    if next > VMAP_END {
        return None;
    }
    for offset in (0..end - first).step_by(PAGE_SIZE as usize) {
        let slot = walk::slot(&mut KernelTables, mmu::kernel_root(), start + offset, Level::PAGE).ok()?;
        KernelTables.write(slot.table, slot.index, Descriptor::leaf(Level::PAGE, first + offset, attributes));
    }
    mmu::publish();
    vmap.next = next;
    Some(start + (physical - first))
}

/// Maps `start..end` of RAM (whole pages) in the direct map, in the largest pieces that fit. False: no memory for tables.
///
/// # Panics
/// When part of it is mapped already.
pub fn map_direct(start: u64, end: u64, writable: bool) -> bool {
    let access = if writable { Access::KernelWrite } else { Access::KernelRead };
    let attributes = Attributes { memory: Memory::Normal, access, counted: false };
    let mut at = start;
    while at < end {
        let fits = |level: &Level| at.is_multiple_of(level.size()) && end - at >= level.size();
        let level = [Level(1), Level(2)].into_iter().find(fits).unwrap_or(Level::PAGE);
        let Ok(slot) = walk::slot(&mut KernelTables, mmu::kernel_root(), DIRECT_BASE + at, level) else {
            return false;
        };
        assert!(!KernelTables.read(slot.table, slot.index).is_valid(), "{at:#x} is in the direct map already");
        KernelTables.write(slot.table, slot.index, Descriptor::leaf(level, at, attributes));
        at += level.size();
    }
    mmu::publish();
    true
}

/// Maps RAM that is only read, for good: firmware tables.
pub fn map_bytes(physical: u64, length: u64) -> Option<&'static [u8]> {
    let address = map_window(physical, length, Window::ReadOnly)?;
    // SAFETY: a mapping of this length that is never unmapped, read-only here and written by nobody: the firmware is gone.
    Some(unsafe { core::slice::from_raw_parts(address as *const u8, length as usize) })
}

/// Maps RAM in which this boot leaves something for the next, for good. `None`: it is not kept from everybody else, or there is no room.
pub fn map_kept(physical: u64, length: u64, regions: &[bootinfo::Region]) -> Option<&'static mut [u8]> {
    static MAPPED: AtomicBool = AtomicBool::new(false);
    let is_kept = bootinfo::is_within(regions, physical, length, bootinfo::RegionKind::Reserved);
    if physical == 0 || length == 0 || !is_kept || MAPPED.swap(true, Ordering::Relaxed) {
        return None;
    }
    let address = map_window(physical, length, Window::Kept)?;
    // SAFETY: a mapping of this length that is never unmapped, of RAM in a reserved region, which neither the direct map nor the allocator has;
    // it is made once, so nobody else has a reference into it. Any bytes are `u8`s.
    Some(unsafe { core::slice::from_raw_parts_mut(address as *mut u8, length as usize) })
}

/// What may be made of any bytes.
///
/// # Safety
/// Every pattern of bits is a valid value.
pub unsafe trait Plain: Copy {}

// SAFETY: integers and arrays of them only.
unsafe impl Plain for bootinfo::BootInfo {}
// SAFETY: integers only.
unsafe impl Plain for bootinfo::Region {}

/// The value at `index` of an array of them; `None` when it does not lie inside whole.
pub fn read_plain<T: Plain>(bytes: &[u8], index: usize) -> Option<T> {
    let start = index.checked_mul(size_of::<T>())?;
    let found = bytes.get(start..start.checked_add(size_of::<T>())?)?;
    // SAFETY: as long as a `T`, and any bytes are one.
    Some(unsafe { found.as_ptr().cast::<T>().read_unaligned() })
}

/// The bytes of the base image, in the direct map. `None`: there is none.
#[must_use]
pub fn base_bytes(physical: u64, length: u64) -> Option<&'static [u8]> {
    let whole = physical != 0 && physical.is_multiple_of(PAGE_SIZE) && length > 0;
    // SAFETY: the boot-info block names this range as a section of the base, whose region `mm::init` mapped read-only, for good; the allocator never
    // got it, so nobody writes it.
    whole.then(|| unsafe { core::slice::from_raw_parts((DIRECT_BASE + physical) as *const u8, length as usize) })
}

/// Maps a page of the allocator for the kernel to read and write, where nothing is mapped; the mapping takes the share. False: no memory for tables.
pub fn map_page(address: u64, page: PageRef) -> bool {
    let _guard = VMAP.lock_irq();
    let Ok(slot) = walk::slot(&mut KernelTables, mmu::kernel_root(), address, Level::PAGE) else {
        return false;
    };
    let (physical, counted) = page.into_entry();
    let attributes = Attributes { memory: Memory::Normal, access: Access::KernelWrite, counted };
    KernelTables.write(slot.table, slot.index, Descriptor::leaf(Level::PAGE, physical, attributes));
    mmu::publish();
    true
}

/// Takes back what [`map_page`] mapped in `start..end`.
pub fn unmap_pages(start: u64, end: u64) {
    let _guard = VMAP.lock_irq();
    let mut each = |tables: &mut KernelTables, address, slot: walk::Slot, leaf: Descriptor| {
        tables.write(slot.table, slot.index, Descriptor::INVALID);
        mmu::invalidate_kernel(address);
        drop(PageRef::from_entry(leaf.address(), leaf.is_counted()));
    };
    walk::for_each_leaf(&mut KernelTables, mmu::kernel_root(), start, end, &mut each);
}
