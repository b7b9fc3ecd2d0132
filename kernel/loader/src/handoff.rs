//! From the firmware to the kernel: the boot-info block, the exit from boot services, caches, MMU, the jump.
//!
//! Everything that the kernel reads with its MMU off must lie in memory, not only in the cache: the block, the memory map, the
//! kernel, the base, and the last instructions here (docs/formats/boot-info.md; Arm ARM, B2.7, D7.5).

use core::arch::{asm, global_asm};
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, Ordering};

use bootctl::Current;
use bootinfo::{BootInfo, MapFull, MemoryMap, Region, RegionKind};
use bootplan::image::Image;
use bootplan::{Boot, Source};
use release::trust::Roots;
use uefi::boot::{self, MemoryType};
use uefi::mem::memory_map::MemoryMap as _;
use uefi::runtime::{self, ResetType};

use crate::console::ticks;
use crate::facts::{self, Tables};
use crate::memory::Pages;

/// Room for the block, and behind it for the regions: far more than firmwares report (AAVMF: about 60).
const BLOCK_BYTES: u64 = 64 << 10;
const REGIONS_AT: usize = 4096;
const REGIONS_MAX: usize = (BLOCK_BYTES as usize - REGIONS_AT) / size_of::<Region>();

/// Whether the firmware's services are gone: no console, no memory.
pub static LEFT: AtomicBool = AtomicBool::new(false);

/// Everything in place for the exit.
pub struct Handoff {
    boot: Boot<Pages>,
    info: BootInfo,
    block: Pages,
    /// What the boot before left there, and this one leaves.
    last_boot: Option<Pages>,
}

impl Handoff {
    /// Collects what the kernel is told; the text says why not.
    pub fn prepare(
        boot: Boot<Pages>,
        roots: &Roots<'_>,
        disk_guid: [u8; 16],
        last_boot: Option<Pages>,
        started: u64,
    ) -> Result<Self, &'static str> {
        let block = Pages::allocate(BLOCK_BYTES, bootinfo::PAGE).ok_or("no memory for the boot-info block")?;
        let image = &boot.image;
        let tables = Tables::find();
        if tables.rsdp == 0 && tables.fdt == 0 {
            // A kernel would find no console to say so.
            return Err("the firmware gives neither a device tree nor ACPI tables");
        }
        let span =
            |section: Option<&(u64, Pages)>| section.map_or((0, 0), |(length, pages)| (pages.address(), *length));
        let (erofs_start, erofs_length) = span(image.erofs.as_ref());
        let (verity_start, verity_length) = span(Some(&image.verity));
        let (symbols_start, symbols_length) = span(image.symbols.as_ref());
        let mut info = BootInfo {
            memory_map: block.address() + REGIONS_AT as u64,
            kernel_start: image.kernel.memory.address(),
            kernel_length: image.kernel.length(),
            header_start: image.area.address(),
            erofs_start,
            erofs_length,
            verity_start,
            verity_length,
            symbols_start,
            symbols_length,
            rsdp: tables.rsdp,
            fdt: tables.fdt,
            fdt_length: tables.fdt_length,
            framebuffer: facts::framebuffer(),
            slot: match boot.source {
                Source::Slot(slot) => slot as u32,
                Source::Esp => bootinfo::slot::ESP,
            },
            disk_guid,
            rollback_floor: boot.floors.rollback,
            key_set_floor: boot.floors.key_set,
            flags: if boot.recovery { bootinfo::flag::RECOVERY } else { 0 }
                | if boot.loader_on_trial { bootinfo::flag::LOADER_ON_TRIAL } else { 0 },
            key_set: image.key_set,
            rollback_index: image.header.rollback_index,
            release_digest: image.release_digest,
            root_count: roots.keys.len() as u32,
            root_quorums: roots.quorums.map(|quorum| [quorum.threshold, quorum.members]),
            loader_start_ticks: started,
            last_boot_start: last_boot.as_ref().map_or(0, Pages::address),
            last_boot_length: last_boot.as_ref().map_or(0, Pages::length),
            loader_security: crate::SECURITY.into(),
            ..BootInfo::empty()
        };
        for (place, key) in info.roots.iter_mut().zip(roots.keys) {
            *place = *key;
        }
        info.entropy_length = facts::entropy(&mut info.entropy);
        (info.time, info.time_ticks) = (facts::time(), ticks());
        if let Some(Current { block, copy, .. }) = &boot.current {
            info.bootctl_copy = *copy as u32;
            info.bootctl_sequence = block.sequence();
            info.bootctl_digest = block.digest();
        }
        let mut handoff = Self { boot, info, block, last_boot };
        // A rehearsal, while a failure can still be told.
        let map = boot::memory_map(MemoryType::LOADER_DATA).map_err(|_| "the firmware gives no memory map")?;
        handoff.fill_regions(map.entries()).map_err(|MapFull| "the firmware's memory map has too many regions")?;
        Ok(handoff)
    }

    /// Physical address of the kernel's first instruction.
    pub fn entry(&self) -> u64 {
        self.boot.image.kernel.memory.address() + self.boot.image.kernel.entry_offset()
    }

    /// Writes the regions behind the block, what we loaded carved out. How many there are.
    fn fill_regions<'a>(
        &mut self,
        descriptors: impl Iterator<Item = &'a uefi::boot::MemoryDescriptor>,
    ) -> Result<usize, MapFull> {
        let image = &self.boot.image;
        // SAFETY: the block's pages are ours, aligned, large enough for the regions from `REGIONS_AT` on, and hold zeros, which
        // are valid regions; nothing else refers to them here.
        let storage = unsafe {
            let at = self.block.as_mut().as_mut_ptr().add(REGIONS_AT);
            core::slice::from_raw_parts_mut(at.cast::<Region>(), REGIONS_MAX)
        };
        let mut map = MemoryMap::new(storage);
        facts::add_regions(&mut map, descriptors)?;
        let info = &self.info;
        // Some firmware keeps the tree in memory that is free after the exit. The kernel reclaims it as it does ACPI tables.
        if info.fdt_length > 0 {
            map.set(info.fdt, info.fdt_length, RegionKind::AcpiTables)?;
        }
        map.set(info.kernel_start, info.kernel_length, RegionKind::Kernel)?;
        for pages in base(image) {
            map.set(pages.address(), pages.length(), RegionKind::Base)?;
        }
        // A kernel that knows nothing of it leaves it alone.
        if let Some(pages) = &self.last_boot {
            map.set(pages.address(), pages.length(), RegionKind::Reserved)?;
        }
        Ok(map.regions().len())
    }

    /// Leaves the firmware for the kernel.
    pub fn jump(mut self) -> ! {
        let entry = self.entry();
        LEFT.store(true, Ordering::Relaxed);
        // SAFETY: nothing of the boot services is used after this: no console, no allocation; pages are not freed, for `self` is
        // never dropped. The crate repeats the call when the map has changed meanwhile (UEFI 2.10, section 7.4.6).
        let map = unsafe { boot::exit_boot_services(None) };
        let Ok(count) = self.fill_regions(map.entries()) else {
            // The rehearsal had room for it; there is no console left to say more.
            runtime::reset(ResetType::COLD, uefi::Status::BUFFER_TOO_SMALL, None)
        };
        self.info.memory_map_count = count as u64;
        self.info.loader_exit_ticks = ticks();
        let block = self.block.address();
        // SAFETY: the block's pages are ours, on a page boundary, and larger than the struct.
        unsafe { (block as *mut BootInfo).write(self.info) };
        let image = &self.boot.image;
        for pages in [&self.block, &image.kernel.memory].into_iter().chain(base(image)) {
            clean_to_memory(pages.address(), pages.length());
        }
        let (start, end) = (handoff_start as *const () as u64, &raw const handoff_end as u64);
        clean_to_memory(start, end - start);
        // SAFETY: interrupts, MMU and data cache are switched off there, which nothing needs any more; the code and all that the kernel
        // reads are in memory; `entry` is the first instruction of a checked kernel.
        unsafe { handoff_start(block, entry) }
    }
}

/// What of the image stays in memory beside the kernel.
fn base(image: &Image<Pages>) -> impl Iterator<Item = &Pages> {
    let sections = [image.erofs.as_ref(), Some(&image.verity), image.symbols.as_ref()];
    [&image.area].into_iter().chain(sections.into_iter().flatten().map(|(_, pages)| pages))
}

/// `DC CVAC` over a range: by lines of the smallest data cache (CTR_EL0.DminLine).
fn clean_to_memory(start: u64, length: u64) {
    let ctr: u64;
    // SAFETY: reads an identification register.
    unsafe { asm!("mrs {}, CTR_EL0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    let line = 4u64 << (ctr >> 16 & 15);
    let mut at = start & !(line - 1);
    while at < start + length {
        // SAFETY: cleaning a line of mapped memory changes no value.
        unsafe { asm!("dc cvac, {}", in(reg) at, options(nostack, preserves_flags)) };
        at += line;
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}

unsafe extern "C" {
    /// Jumps to `entry` with x0 = `block`.
    fn handoff_start(block: u64, entry: u64) -> !;
    static handoff_end: u8;
}

// Runs at its physical address, for UEFI maps memory so. Touches no memory once the MMU is off. SCTLR: M is bit 0, C bit 2, I bit 12
// (Arm ARM, D23.2.136).
global_asm!(
    ".section .text.handoff, \"xr\"",
    ".balign 256",
    ".global handoff_start",
    "handoff_start:",
    "    msr     daifset, #15",
    "    mov     x3, #0x1005",
    "    mrs     x2, CurrentEL",
    "    cmp     x2, #8",
    "    b.eq    1f",
    "    mrs     x2, sctlr_el1",
    "    bic     x2, x2, x3",
    "    msr     sctlr_el1, x2",
    "    b       2f",
    "1:  mrs     x2, sctlr_el2",
    "    bic     x2, x2, x3",
    "    msr     sctlr_el2, x2",
    "2:  isb",
    "    ic      iallu",
    "    dsb     sy",
    "    isb",
    "    br      x1",
    ".global handoff_end",
    "handoff_end:",
);
