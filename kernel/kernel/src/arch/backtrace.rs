//! Return addresses of the callers, found through the chain of frame pointers (AAPCS64, 6.4.6). The kernel is built with
//! `-Cforce-frame-pointers=yes`.

use core::arch::asm;

/// A chain longer than this is cut.
pub const FRAMES_MAX: usize = 32;
/// Kernel stacks are smaller than this: a frame record further up is not believed.
const STACK_LENGTH_MAX: u64 = 64 << 10;
const KERNEL_HALF: u64 = 0xffff_0000_0000_0000;

/// The frame pointer of the function that this is inlined into.
#[inline(always)]
#[must_use]
pub fn frame_pointer() -> u64 {
    let pointer;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, x29", out(reg) pointer, options(nomem, nostack)) };
    pointer
}

/// Calls `found` with each return address, from the frame record at `pointer` outwards. Records must lie on one stack, each
/// above the last, so a broken chain ends.
pub fn walk(pointer: u64, mut found: impl FnMut(u64)) {
    let mut record = pointer;
    for _ in 0..FRAMES_MAX {
        let is_record = record >= KERNEL_HALF && record.is_multiple_of(16) && record - pointer < STACK_LENGTH_MAX;
        if !is_record {
            return;
        }
        // SAFETY: an aligned kernel address above a frame pointer of a running function and no more than a stack away; a chain
        // that leads off a stack meets its guard page, which ends in the panic's second-fault stop.
        let [next, return_address] = unsafe { (record as *const [u64; 2]).read_volatile() };
        if return_address == 0 {
            return;
        }
        found(return_address);
        if next <= record {
            return;
        }
        record = next;
    }
}
