//! From the firmware's or the loader's jump to `boot::main` in the high half, for the first CPU; and from PSCI to
//! `smp::secondary_main` for the others. Everything here runs at physical addresses with the MMU off until `enable_mmu`, so it only uses
//! addresses relative to the program counter, aligned accesses, and no exclusives (Arm ARM, B2.2.1).

use paging::descriptor::MAIR;
use paging::{Access, Attributes, Descriptor, Level, Memory, PAGE_SIZE, TABLE_ENTRIES};

use crate::mm::kmap;
use crate::mm::layout::KERNEL_BASE;

/// SCTLR_EL1 with the MMU off: only the bits that are one on every core (Arm ARM, D19.2.118).
const SCTLR_OFF: u64 = 0x30d0_0800;
/// SCTLR_EL1: MMU and caches on, stack alignment checked, and what Linux programs at EL0 use allowed: DC ZVA (14), CTR_EL0 (15), WFI
/// (16), WFE (18), cache maintenance (26). SPAN (23) clear: PAN is set at each exception where it exists.
const SCTLR_ON: u64 =
    (SCTLR_OFF & !(1 << 23)) | 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26;
/// TCR_EL1: both halves 48-bit with 4 KiB pages, walks write-back inner shareable, top byte of user addresses ignored as on Linux.
/// IPS and AS are added from the CPU's own registers.
const TCR: u64 = 16 | 0x3500 | 16 << 16 | 0x3500 << 16 | 2 << 30 | 1 << 37;

core::arch::global_asm!(
    r#"
.section .head, "ax"
.global image_entry
image_entry:                        // arm64 boot protocol: Documentation/arch/arm64/booting.rst of Linux
    b       1f
    .long   0
    .quad   0                       // text_offset
    .quad   image_bytes
    .quad   0xa                     // little-endian, 4 KiB pages, anywhere
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0
1:  mov     x19, #0
    b       2f
.global loader_entry
loader_entry:
    mov     x19, #1
2:  mov     x20, x0
    mrs     x21, CurrentEL
    lsr     x21, x21, #2
    bl      to_el1
    adrp    x0, boot_stack_top
    mov     sp, x0
    adrp    x1, bss_start
    add     x1, x1, :lo12:bss_start
    adrp    x2, bss_end
    add     x2, x2, :lo12:bss_end
3:  cmp     x1, x2
    b.hs    4f
    stp     xzr, xzr, [x1], #16
    b       3b
4:  adrp    x22, kernel_start
    mov     x0, x22
    bl      {early_tables}
    // What was written with the MMU off is in memory; lines of it that a loader left in the cache are stale.
    adrp    x2, bss_start
    adrp    x3, kernel_end
    mrs     x4, CTR_EL0
    ubfx    x4, x4, #16, #4
    mov     x5, #4
    lsl     x5, x5, x4
5:  dc      ivac, x2
    add     x2, x2, x5
    cmp     x2, x3
    b.lo    5b
    dsb     sy
    bl      enable_mmu
    ldr     x8, =boot_stack_top
    mov     sp, x8
    mov     x29, #0
    mov     x30, #0
    mov     x0, x19
    mov     x1, x20
    mov     x2, x22
    mov     x3, x21
    ldr     x8, ={main}
    br      x8

// From PSCI CPU_ON: x0 = physical address of an smp::Start.
.global secondary_entry
secondary_entry:
    mov     x20, x0
    bl      to_el1
    ldp     x0, x1, [x20]
    ldp     x21, x22, [x20, #16]
    bl      enable_mmu
    mov     sp, x21
    mov     x29, #0
    mov     x30, #0
    mov     x0, x22
    ldr     x8, ={secondary_main}
    br      x8

// In: x0, x1 = TTBR0, TTBR1. Uses x8 to x10.
enable_mmu:
    ldr     x8, ={mair}
    msr     mair_el1, x8
    ldr     x8, ={tcr}
    mrs     x9, ID_AA64MMFR0_EL1
    and     x10, x9, #15            // PARange: 48 bits at most without FEAT_LPA
    cmp     x10, #5
    b.ls    1f
    mov     x10, #5
1:  bfi     x8, x10, #32, #3
    ubfx    x10, x9, #4, #4         // ASIDBits: 2 means 16
    cmp     x10, #2
    b.ne    2f
    orr     x8, x8, #(1 << 36)
2:  msr     tcr_el1, x8
    msr     ttbr0_el1, x0
    msr     ttbr1_el1, x1
    isb
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    isb
    ldr     x8, ={sctlr_on}
    msr     sctlr_el1, x8
    isb
    ret

// Leave EL2 for EL1, if there: EL1 is AArch64, nothing is trapped, timers and GIC are ours, IDs are the real ones.
to_el1:
    msr     daifset, #15
    ldr     x9, ={sctlr_off}
    mrs     x8, CurrentEL
    cmp     x8, #8
    b.eq    1f
    msr     sctlr_el1, x9
    isb
    ret
1:  msr     sctlr_el1, x9
    ldr     x9, =(1 << 31 | 3 << 40) // HCR_EL2: RW; API and APK so that pointer authentication does not trap
    msr     hcr_el2, x9
    mrs     x9, cnthctl_el2
    orr     x9, x9, #3
    msr     cnthctl_el2, x9
    msr     cntvoff_el2, xzr
    mov     x9, #0x33ff             // CPTR_EL2: the bits that are one, no FP trap
    msr     cptr_el2, x9
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x9, mdcr_el2
    and     x9, x9, #31
    msr     mdcr_el2, x9
    mrs     x9, midr_el1
    msr     vpidr_el2, x9
    mrs     x9, mpidr_el1
    msr     vmpidr_el2, x9
    mrs     x9, ID_AA64PFR0_EL1
    ubfx    x9, x9, #24, #4         // GIC system registers
    cbz     x9, 2f
    mrs     x9, S3_4_C12_C9_5       // ICC_SRE_EL2
    orr     x9, x9, #1
    orr     x9, x9, #8
    msr     S3_4_C12_C9_5, x9
    isb
    msr     S3_4_C12_C11_0, xzr     // ICH_HCR_EL2
2:  mov     x9, #0x3c5              // EL1h, all masked
    msr     spsr_el2, x9
    msr     elr_el2, x30
    eret
"#,
    early_tables = sym early_tables,
    main = sym crate::boot::main,
    secondary_main = sym super::smp::secondary_main,
    mair = const MAIR,
    tcr = const TCR,
    sctlr_on = const SCTLR_ON,
    sctlr_off = const SCTLR_OFF,
);

unsafe extern "C" {
    fn secondary_entry();
    static text_end: u8;
    static rodata_end: u8;
    static kernel_end: u8;
    static identity_tables: u8;
    #[link_name = "zero_page"]
    static zero_page_start: u8;
    static table_pool: u8;
}

/// Pages of the table pool in `kernel.ld`.
pub const TABLE_POOL_PAGES: u64 = 14;

/// The two table roots, in the registers that `enable_mmu` expects.
#[repr(C)]
struct Roots {
    ttbr0: u64,
    ttbr1: u64,
}

/// Clears one page of the image with the MMU off.
///
/// # Safety
/// `page` is a page of the kernel image's uncleared part that nothing uses yet.
unsafe fn clear(page: u64) -> *mut u64 {
    let words = page as *mut u64;
    for index in 0..TABLE_ENTRIES {
        // SAFETY: inside the page; volatile keeps this from becoming a `memset` that might use DC ZVA.
        unsafe { words.add(index).write_volatile(0) };
    }
    words
}

/// Builds the identity map of the kernel's first 2 MiB and the final map of the kernel image, W^X from the first instruction in
/// the high half. Runs with the MMU off, at physical addresses.
extern "C" fn early_tables(physical_base: u64) -> Roots {
    let text = Attributes { memory: Memory::Normal, access: Access::KernelExecute, counted: false };
    let read = Attributes { access: Access::KernelRead, ..text };
    let write = Attributes { access: Access::KernelWrite, ..text };
    let [after_text, after_rodata, after_kernel, identity, pool] = [
        &raw const text_end,
        &raw const rodata_end,
        &raw const kernel_end,
        &raw const identity_tables,
        &raw const table_pool,
    ]
    .map(|symbol| symbol as u64);
    // SAFETY: these pages of the image are for this; nothing uses them yet, and with the MMU off addresses are physical.
    unsafe {
        clear(&raw const zero_page_start as u64);
        let [id0, id1, id2] = [0, 1, 2].map(|page| clear(identity + page * PAGE_SIZE));
        id0.add(Level(0).index(physical_base)).write_volatile(Descriptor::table(id1 as u64).0);
        id1.add(Level(1).index(physical_base)).write_volatile(Descriptor::table(id2 as u64).0);
        id2.add(Level(2).index(physical_base)).write_volatile(Descriptor::leaf(Level(2), physical_base, text).0);

        let [root, middle, lower] = [0, 1, 2].map(|page| clear(pool + page * PAGE_SIZE));
        root.add(Level(0).index(KERNEL_BASE)).write_volatile(Descriptor::table(middle as u64).0);
        middle.add(Level(1).index(KERNEL_BASE)).write_volatile(Descriptor::table(lower as u64).0);
        let mut next_table = pool + 3 * PAGE_SIZE;
        let mut pages = core::ptr::null_mut::<u64>();
        let mut page = physical_base;
        while page < after_kernel {
            let offset = page - physical_base;
            if offset.is_multiple_of(Level(2).size()) {
                pages = clear(next_table);
                lower.add(Level(2).index(offset)).write_volatile(Descriptor::table(next_table).0);
                next_table += PAGE_SIZE;
            }
            let attributes = if page < after_text {
                text
            } else if page < after_rodata {
                read
            } else {
                write
            };
            pages.add(Level(3).index(offset)).write_volatile(Descriptor::leaf(Level(3), page, attributes).0);
            page += PAGE_SIZE;
        }
        Roots { ttbr0: id0 as u64, ttbr1: root as u64 }
    }
}

/// Bytes of the kernel image in memory, from its first to the end of everything it holds.
#[must_use]
pub fn image_size() -> u64 {
    &raw const kernel_end as u64 - KERNEL_BASE
}

/// Tables of the pool that [`early_tables`] used.
#[must_use]
pub fn pool_tables_used() -> u64 {
    3 + image_size().div_ceil(Level(2).size())
}

/// Physical address of a table of the pool.
#[must_use]
pub fn pool_table(index: u64) -> Option<u64> {
    let offset = &raw const table_pool as u64 - KERNEL_BASE + index * PAGE_SIZE;
    (index < TABLE_POOL_PAGES).then(|| kmap::physical_base() + offset)
}

/// Physical address of a page of zeros that stays one.
#[must_use]
pub fn zero_page() -> u64 {
    kmap::physical_base() + (&raw const zero_page_start as u64 - KERNEL_BASE)
}

/// Physical address of the roots of the identity map.
#[must_use]
pub fn identity_root() -> u64 {
    kmap::physical_base() + (&raw const identity_tables as u64 - KERNEL_BASE)
}

/// Physical address at which PSCI starts another CPU.
#[must_use]
pub fn secondary_entry_physical() -> u64 {
    kmap::physical_base() + (secondary_entry as *const () as u64 - KERNEL_BASE)
}
