//! Kernel stacks: 16 KiB, the upper half of an aligned slot of 32 KiB whose lower half is never mapped. So an overflow faults, and bit 14 of
//! a stack pointer tells whether it is on the stack (`arch::vectors`).

use alloc::vec::Vec;

use paging::PAGE_SIZE;

use super::layout::{STACK_BASE, STACK_END};
use super::{PageRef, kmap};
use crate::sync::{Rank, SpinLock};

/// Bytes of a kernel stack.
pub const STACK_SIZE: u64 = 16 << 10;
const SLOT_SIZE: u64 = 2 * STACK_SIZE;
/// Stacks that are kept mapped for the next thread; more go back to the allocator.
const KEPT_MAX: usize = 16;

/// Invariant: slots from `next` on were never used; `kept` are mapped and `unmapped` are not, and none of them is in use.
struct Slots {
    next: u64,
    kept: Vec<u64>,
    unmapped: Vec<u64>,
}

static SLOTS: SpinLock<Slots> =
    SpinLock::new(Rank::STACKS, Slots { next: STACK_BASE, kept: Vec::new(), unmapped: Vec::new() });

/// A kernel stack.
#[derive(Debug)]
pub struct Stack {
    slot: u64,
}

impl Stack {
    /// A stack; what is on it is unknown. `None`: no memory.
    #[must_use]
    pub fn new() -> Option<Self> {
        let slot = {
            let mut slots = SLOTS.lock_irq();
            if let Some(slot) = slots.kept.pop() {
                return Some(Self { slot });
            }
            match slots.unmapped.pop() {
                Some(slot) => slot,
                None if slots.next < STACK_END => {
                    slots.next += SLOT_SIZE;
                    slots.next - SLOT_SIZE
                }
                None => return None,
            }
        };
        let start = slot + SLOT_SIZE - STACK_SIZE;
        for address in (start..slot + SLOT_SIZE).step_by(PAGE_SIZE as usize) {
            let mapped = PageRef::uncleared().is_some_and(|page| kmap::map_page(address, page));
            if !mapped {
                kmap::unmap_pages(start, address);
                SLOTS.lock_irq().unmapped.push(slot);
                return None;
            }
        }
        Some(Self { slot })
    }

    /// The address above its first byte.
    #[must_use]
    pub const fn top(&self) -> u64 {
        self.slot + SLOT_SIZE
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        {
            let mut slots = SLOTS.lock_irq();
            if slots.kept.len() < KEPT_MAX {
                slots.kept.push(self.slot);
                return;
            }
        }
        kmap::unmap_pages(self.slot + SLOT_SIZE - STACK_SIZE, self.slot + SLOT_SIZE);
        SLOTS.lock_irq().unmapped.push(self.slot);
    }
}
