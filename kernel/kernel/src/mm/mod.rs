//! Memory: physical pages, the kernel's heap and mappings, address spaces, and copies to and from users.

pub mod frames;
pub mod heap;
pub mod kmap;
pub mod layout;
mod page;
mod space;
pub mod stack;
pub mod user;

use bootinfo::{Region, RegionKind};
use paging::PAGE_SIZE;

use crate::arch::trap::{Access, FaultKind};
use crate::boot;
use crate::sync::Once;
use crate::{event, sched};

pub use page::PageRef;
pub use space::{AddressSpace, Backing, PageSource, Place, Protection, SharedMemory, Sharing, shared_pages};

/// Maps RAM in the direct map and hands it to the page allocator.
///
/// Of what the loader left in `Loader` memory only the command line is kept: the firmware's tables have been read.
pub fn init(regions: &[Region]) {
    let info = boot::info();
    let kept = [(info.command_line, info.command_line_length)];
    let (mut ram, mut base) = (0, 0);
    for region in regions {
        let end = region.start + region.length;
        match region.kind() {
            Some(RegionKind::Usable | RegionKind::Loader) => {
                ram += region.length;
                add_without(region.start, end, &kept);
            }
            Some(RegionKind::Base) => {
                (ram, base) = (ram + region.length, base + region.length);
                assert!(kmap::map_direct(region.start, end, false), "no memory for the direct map");
            }
            Some(RegionKind::AcpiTables | RegionKind::AcpiNvs) => {
                ram += region.length;
                assert!(kmap::map_direct(region.start, end, false), "no memory for the direct map");
            }
            // The image is reached at its own addresses, so that its text has no writable alias.
            Some(RegionKind::Kernel) => ram += region.length,
            Some(RegionKind::Reserved | RegionKind::RuntimeServices | RegionKind::Device) | None => {}
        }
    }
    frames::set_total_bytes(ram);
    event!("memory.ready", ram = ram, free = frames::free_bytes(), kernel = info.kernel_length, base = base);
}

/// Adds `start..end` but for the parts of it that are kept.
fn add_without(start: u64, end: u64, kept: &[(u64, u64)]) {
    let taken = kept.iter().filter(|(at, length)| *length > 0 && *at < end && at + length > start).min();
    let Some((at, length)) = taken else {
        assert!(kmap::map_direct(start, end, true), "no memory for the direct map");
        assert!(frames::add(start, end), "more regions of RAM than the allocator keeps");
        return;
    };
    let (before, after) = (at & !(PAGE_SIZE - 1), (at + length).next_multiple_of(PAGE_SIZE));
    if start < before {
        add_without(start, before, kept);
    }
    if after < end {
        add_without(after, end, kept);
    }
}

/// Who frees memory that is in use but need not be; says whether it did.
static RECLAIMER: Once<fn() -> bool> = Once::new();

/// From now on `reclaimer` is asked when there is no memory. It does not sleep.
pub fn set_reclaimer(reclaimer: fn() -> bool) {
    let _ = RECLAIMER.set(reclaimer);
}

/// There is no memory; whether there is some now. No spinlock is held.
fn reclaim() -> bool {
    RECLAIMER.get().is_some_and(|reclaimer| reclaimer())
}

/// A fault at a user address, of the current thread or of the kernel on its behalf. `Ok`: try again.
pub fn user_fault(address: u64, access: Access) -> Result<(), FaultKind> {
    let space = sched::current().space().ok_or(FaultKind::NotMapped)?;
    space.fault(address, access)
}
