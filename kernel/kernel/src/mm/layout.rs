//! The kernel's half of the address space (`docs/kernel.md`).

/// Direct map: this plus a physical address.
pub const DIRECT_BASE: u64 = 0xffff_0000_0000_0000;
/// The kernel image.
pub const KERNEL_BASE: u64 = 0xffff_8000_0000_0000;
/// Kernel stacks and windows on registers and firmware tables.
pub const VMAP_BASE: u64 = 0xffff_9000_0000_0000;
/// Where the vmap area ends.
pub const VMAP_END: u64 = 0xffff_9080_0000_0000;
/// Kernel stacks.
pub const STACK_BASE: u64 = 0xffff_9080_0000_0000;
/// Where they end.
pub const STACK_END: u64 = 0xffff_9081_0000_0000;
/// Page metadata, one page of it per 2 MiB of RAM in use.
pub const META_BASE: u64 = 0xffff_a000_0000_0000;
/// Section records of the page allocator.
pub const SECTION_BASE: u64 = 0xffff_a080_0000_0000;
/// First address that a user may not map.
pub const USER_END: u64 = 0x0001_0000_0000_0000;
