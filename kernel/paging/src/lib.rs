//! AArch64 stage-1 translation tables, 4 KiB granule, 48-bit addresses (Arm ARM, D8.3): what a descriptor says, and walks
//! over tables that somebody else stores ([`TableMemory`]). Nothing here touches hardware or memory.
//!
//! * [`descriptor`]: one 64-bit entry.
//! * [`walk`]: find, make and free entries.
//! * [`asid`]: who holds which address space identifier.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod asid;
pub mod descriptor;
pub mod walk;

pub use descriptor::{Access, Attributes, Descriptor, Level, Memory};

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;
/// Entries in a table.
pub const TABLE_ENTRIES: usize = 512;
