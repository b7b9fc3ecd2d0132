//! Translation tables as the CPU sees them: entries in memory, barriers, invalidation.

use core::sync::atomic::{AtomicU64, Ordering};

use paging::{Descriptor, PAGE_SIZE, TABLE_ENTRIES};

use super::sysreg;
use crate::mm::kmap;

/// Physical address of the root of the kernel's half.
#[must_use]
pub fn kernel_root() -> u64 {
    sysreg::read!(TTBR1_EL1) & 0x0000_ffff_ffff_f000
}

fn entry_at(table: u64, index: usize) -> *mut u64 {
    debug_assert!(index < TABLE_ENTRIES && table % PAGE_SIZE == 0);
    (kmap::to_virtual(table) + index as u64 * 8) as *mut u64
}

fn entry(table: u64, index: usize) -> &'static AtomicU64 {
    // SAFETY: `table` is a translation table's page, mapped as RAM in the image or the direct map as long as it is in use. The CPU's walker
    // reads it at any time: hence atomic.
    unsafe { AtomicU64::from_ptr(entry_at(table, index)) }
}

/// Entry `index` of the table at physical address `table`.
#[must_use]
pub fn read_entry(table: u64, index: usize) -> Descriptor {
    Descriptor(entry(table, index).load(Ordering::Relaxed))
}

/// Replaces it.
pub fn write_entry(table: u64, index: usize, descriptor: Descriptor) {
    entry(table, index).store(descriptor.0, Ordering::Relaxed);
}

/// Clears a page that nobody else uses yet.
pub fn clear_page(physical: u64) {
    // SAFETY: a page of RAM that the caller owns, at its kernel address.
    unsafe { core::ptr::write_bytes(kmap::to_virtual(physical) as *mut u8, 0, PAGE_SIZE as usize) };
}

/// Copies a page into one that nobody else uses yet.
pub fn copy_page(to: u64, from: u64) {
    let (to, from) = (kmap::to_virtual(to) as *mut u8, kmap::to_virtual(from) as *const u8);
    // SAFETY: two different pages of RAM at their kernel addresses; the caller owns `to`. A user may write `from` meanwhile: then some mixture is copied.
    unsafe { core::ptr::copy_nonoverlapping(from, to, PAGE_SIZE as usize) };
}

/// Makes new entries (invalid before) visible to the walkers of all CPUs (Arm ARM, D8.16).
pub fn publish() {
    // SAFETY: barriers only.
    unsafe { core::arch::asm!("dsb ishst", "isb", options(nostack)) };
}

/// Makes every CPU forget the translation of one page of the kernel, whose entry has just been made invalid. The invalidation is repeated: on some
/// cores the first may complete before earlier accesses through the old entry have (CVE-2025-10263).
pub fn invalidate_kernel(address: u64) {
    let operand = address >> 12 & 0xfff_ffff_ffff;
    // SAFETY: the entry is invalid already, so only what nobody may use any more is forgotten.
    unsafe {
        core::arch::asm!(
            "dsb ishst", "tlbi vaale1is, {0}", "dsb ish", "tlbi vaale1is, {0}", "dsb ish", "isb",
            in(reg) operand, options(nostack)
        );
    }
}

/// Leaves user addresses without translation: the page of zeros is a table of invalid entries.
pub fn deactivate_user() {
    set_user_root(super::entry::zero_page(), 0);
}

/// Makes `root` translate user addresses, with this address space identifier.
pub fn set_user_root(root: u64, asid: u16) {
    // SAFETY: a root of user tables (or the page of zeros), which nothing in the kernel's half depends on.
    unsafe {
        sysreg::write!(TTBR0_EL1, root | u64::from(asid) << 48);
        core::arch::asm!("isb", options(nostack));
    }
}

/// Writes the lines of `start..start + length` back to memory, for a reader whose caches are off (Arm ARM, D7.5.9).
pub fn clean_to_memory(start: u64, length: u64) {
    let line = 4 << (sysreg::read!(CTR_EL0) >> 16 & 15);
    let first = start & !(line - 1);
    for address in (first..start + length).step_by(line as usize) {
        // SAFETY: cleaning changes no data.
        unsafe { core::arch::asm!("dc cvac, {}", in(reg) address, options(nostack)) };
    }
    // SAFETY: barrier only.
    unsafe { core::arch::asm!("dsb sy", options(nostack)) };
}

/// Forgets all translations of users on this CPU.
pub fn flush_this_cpu() {
    // SAFETY: translations are only forgotten.
    unsafe { core::arch::asm!("dsb nshst", "tlbi vmalle1", "dsb nsh", "isb", options(nostack)) };
}

/// Forgets one page of the space with this identifier, on this CPU only or on all. The entry has changed before. Twice on all: see
/// [`invalidate_kernel`].
pub fn flush_user_page(asid: u16, address: u64, only_here: bool) {
    let operand = u64::from(asid) << 48 | (address >> 12 & 0xfff_ffff_ffff);
    // SAFETY: translations are only forgotten.
    unsafe {
        if only_here {
            core::arch::asm!("dsb nshst", "tlbi vae1, {0}", "dsb nsh", "isb", in(reg) operand, options(nostack));
        } else {
            core::arch::asm!(
                "dsb ishst", "tlbi vae1is, {0}", "dsb ish", "tlbi vae1is, {0}", "dsb ish", "isb",
                in(reg) operand, options(nostack)
            );
        }
    }
}

/// Forgets the space with this identifier, on this CPU only or on all.
pub fn flush_user(asid: u16, only_here: bool) {
    let operand = u64::from(asid) << 48;
    // SAFETY: translations are only forgotten.
    unsafe {
        if only_here {
            core::arch::asm!("dsb nshst", "tlbi aside1, {0}", "dsb nsh", "isb", in(reg) operand, options(nostack));
        } else {
            core::arch::asm!(
                "dsb ishst", "tlbi aside1is, {0}", "dsb ish", "tlbi aside1is, {0}", "dsb ish", "isb",
                in(reg) operand, options(nostack)
            );
        }
    }
}

/// Makes instructions that the kernel has written to a page the ones that are fetched (Arm ARM, B2.4.4).
pub fn sync_instructions(physical: u64) {
    let features = sysreg::read!(CTR_EL0);
    let (instruction_line, data_line) = (4 << (features & 15), 4 << (features >> 16 & 15));
    let start = kmap::to_virtual(physical);
    // CTR_EL0.IDC and DIC say that one or the other is not needed.
    if features & 1 << 28 == 0 {
        for address in (start..start + PAGE_SIZE).step_by(data_line) {
            // SAFETY: cleaning changes no data.
            unsafe { core::arch::asm!("dc cvau, {}", in(reg) address, options(nostack)) };
        }
    }
    // SAFETY: barrier only.
    unsafe { core::arch::asm!("dsb ish", options(nostack)) };
    if features & 1 << 29 == 0 {
        for address in (start..start + PAGE_SIZE).step_by(instruction_line) {
            // SAFETY: instructions are only fetched anew.
            unsafe { core::arch::asm!("ic ivau, {}", in(reg) address, options(nostack)) };
        }
    }
    // SAFETY: barriers only.
    unsafe { core::arch::asm!("dsb ish", "isb", options(nostack)) };
}
