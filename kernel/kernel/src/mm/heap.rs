//! The kernel's heap: small objects in slabs, larger ones in blocks of pages of the direct map.

use core::alloc::{GlobalAlloc, Layout};

use frames::{Slab, SlabPage, SlabStore, class_for};
use paging::PAGE_SIZE;

use super::frames as pages;
use super::layout::DIRECT_BASE;
use crate::sync::{Rank, SpinLock};

struct Heap {
    slab: SpinLock<Slab>,
}

#[global_allocator]
static HEAP: Heap = Heap { slab: SpinLock::new(Rank::HEAP, Slab::new()) };

/// Slab pages in the direct map.
struct DirectPages;

fn address(frame: u64, offset: usize) -> *mut u8 {
    (DIRECT_BASE + frame * PAGE_SIZE + offset as u64) as *mut u8
}

impl SlabStore for DirectPages {
    fn allocate_page(&mut self) -> Option<u64> {
        pages::allocate(0)
    }

    fn release_page(&mut self, frame: u64) {
        pages::release(frame, 0);
    }

    fn get(&self, frame: u64) -> SlabPage {
        // SAFETY: the frame is a page of the heap: its information is mapped, and only used here, under the heap's lock.
        unsafe { pages::slab_page(frame).read() }
    }

    fn set(&mut self, frame: u64, page: SlabPage) {
        // SAFETY: as above.
        unsafe { pages::slab_page(frame).write(page) };
    }

    fn read_link(&self, frame: u64, offset: usize) -> u16 {
        // SAFETY: a free slot of a page of the heap, at least 16 bytes and aligned to them: nobody else uses it.
        unsafe { address(frame, offset).cast::<u16>().read() }
    }

    fn write_link(&mut self, frame: u64, offset: usize, link: u16) {
        // SAFETY: as above.
        unsafe { address(frame, offset).cast::<u16>().write(link) };
    }
}

/// log2 of the pages that hold an object with whole pages to itself.
fn order(layout: Layout) -> u32 {
    let pages = layout.size().max(layout.align()).div_ceil(PAGE_SIZE as usize);
    pages.next_power_of_two().trailing_zeros()
}

// SAFETY: slots and blocks are disjoint (crate `frames` proves it on the host), large and aligned enough, and stay where they are.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place = match class_for(layout.size(), layout.align()) {
            Some(class) => self.slab.lock_irq().allocate(&mut DirectPages, class),
            None => pages::allocate(order(layout)).map(|frame| (frame, 0)),
        };
        place.map_or(core::ptr::null_mut(), |(frame, offset)| address(frame, offset))
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let physical = pointer as u64 - DIRECT_BASE;
        let (frame, offset) = (physical / PAGE_SIZE, (physical % PAGE_SIZE) as usize);
        if class_for(layout.size(), layout.align()).is_some() {
            self.slab.lock_irq().release(&mut DirectPages, frame, offset);
        } else {
            pages::release(frame, order(layout));
        }
    }
}
