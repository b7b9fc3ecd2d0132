//! Translation tables as the CPU sees them: entries in memory, barriers, invalidation.

use core::sync::atomic::{AtomicU64, Ordering};

use paging::{Descriptor, PAGE_SIZE, TABLE_ENTRIES};

use super::sysreg;
use crate::mm::kmap;
use crate::mm::layout::DIRECT_BASE;

/// Physical address of the root of the kernel's half.
#[must_use]
pub fn kernel_root() -> u64 {
    sysreg::read!(TTBR1_EL1) & 0x0000_ffff_ffff_f000
}

fn entry_at(table: u64, index: usize) -> *mut u64 {
    debug_assert!(index < TABLE_ENTRIES && table.is_multiple_of(PAGE_SIZE));
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

/// The entries of a table that is a page of the allocator, and so in the direct map.
fn direct_entries(table: u64) -> &'static [AtomicU64; TABLE_ENTRIES] {
    debug_assert!(table.is_multiple_of(PAGE_SIZE));
    // SAFETY: a translation table's page, mapped as RAM as long as it is in use; the CPU's walker reads it at any time: hence atomic.
    unsafe { &*((DIRECT_BASE + table) as *const [AtomicU64; TABLE_ENTRIES]) }
}

/// Entry `index` of a table that is a page of the allocator.
#[inline]
#[must_use]
pub fn read_direct(table: u64, index: usize) -> Descriptor {
    Descriptor(direct_entries(table)[index].load(Ordering::Relaxed))
}

/// Replaces it.
#[inline]
pub fn write_direct(table: u64, index: usize, descriptor: Descriptor) {
    direct_entries(table)[index].store(descriptor.0, Ordering::Relaxed);
}

/// The first valid entry of `from..to` of a table that is a page of the allocator.
#[must_use]
pub fn next_valid_direct(table: u64, from: usize, to: usize) -> Option<(usize, Descriptor)> {
    const STEP: usize = 8;
    let entries = &direct_entries(table)[..to];
    let load = |entry: &AtomicU64| entry.load(Ordering::Relaxed);
    let mut index = from;
    while index < to {
        // Most of a table is empty: look at several at once. Bit 0 says valid.
        if let Some(several) = entries[index..].first_chunk::<STEP>()
            && several.iter().fold(0, |any, entry| any | load(entry)) & 1 == 0
        {
            index += STEP;
            continue;
        }
        let descriptor = Descriptor(load(&entries[index]));
        if descriptor.is_valid() {
            return Some((index, descriptor));
        }
        index += 1;
    }
    None
}

core::arch::global_asm!(
    r#"
.section .text
// x0 = a page: cleared by whole blocks where DC ZVA is allowed (DCZID_EL0; Arm ARM, C5.3.9).
.global page_clear
page_clear:
    add     x1, x0, #4096
    mrs     x2, DCZID_EL0
    tbnz    x2, #4, 2f
    mov     x3, #4
    lsl     x3, x3, x2
1:  dc      zva, x0
    add     x0, x0, x3
    cmp     x0, x1
    b.lo    1b
    ret
2:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    2b
    ret

// x0 = page to copy to, x1 = page to copy from.
.global page_copy
page_copy:
    add     x2, x0, #4096
1:  ldp     x4, x5, [x1]
    ldp     x6, x7, [x1, #16]
    ldp     x8, x9, [x1, #32]
    ldp     x10, x11, [x1, #48]
    add     x1, x1, #64
    stp     x4, x5, [x0]
    stp     x6, x7, [x0, #16]
    stp     x8, x9, [x0, #32]
    stp     x10, x11, [x0, #48]
    add     x0, x0, #64
    cmp     x0, x2
    b.lo    1b
    ret
"#
);

unsafe extern "C" {
    fn page_clear(page: *mut u8);
    fn page_copy(to: *mut u8, from: *const u8);
}

/// Clears a page that nobody else uses yet.
pub fn clear_page(physical: u64) {
    // SAFETY: a page of RAM that the caller owns, at its kernel address, mapped as Normal memory.
    unsafe { page_clear(kmap::to_virtual(physical) as *mut u8) };
}

/// Copies a page into one that nobody else uses yet.
pub fn copy_page(to: u64, from: u64) {
    let (to, from) = (kmap::to_virtual(to) as *mut u8, kmap::to_virtual(from) as *const u8);
    // SAFETY: two different pages of RAM at their kernel addresses; the caller owns `to`. A user may write `from` meanwhile: then some mixture is copied.
    unsafe { page_copy(to, from) };
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
