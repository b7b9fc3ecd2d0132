#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! The boot-info block: what the loader hands to the kernel (docs/formats/boot-info.md).
//!
//! The loader fills a [`BootInfo`]; after a direct boot the kernel fills the same block from the FDT, so that everything
//! after sees one form. [`MemoryMap`] turns what the firmware says about memory into the block's sorted, disjoint regions.

mod map;
mod time;

pub use map::{MapFull, MemoryMap};
pub use time::{Date, DateSource, KnownDate};

use core::fmt;
use core::mem::{offset_of, size_of};

/// `SWBTINFO` in memory order.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SWBTINFO");
/// The version this crate describes.
pub const VERSION: u32 = 1;
/// Value of [`BootInfo::bootctl_copy`] when no copy was valid.
pub const NO_COPY: u32 = u32::MAX;
/// Values of [`BootInfo::slot`].
pub mod slot {
    /// Slot `a`.
    pub const A: u32 = 0;
    /// Slot `b`.
    pub const B: u32 = 1;
    /// `base.img` on the EFI system partition.
    pub const ESP: u32 = 2;
    /// The initrd of a direct kernel boot.
    pub const INITRD: u32 = 3;
}
/// Size of a page: regions start and end on one.
pub const PAGE: u64 = 4096;

/// What a memory region is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum RegionKind {
    /// Free RAM.
    Usable = 1,
    /// Boot services and loader memory: usable once the block has been read.
    Loader = 2,
    /// The kernel's segments.
    Kernel = 3,
    /// Release header, EROFS, verity and symbols.
    Base = 4,
    /// Not for us.
    Reserved = 5,
    /// ACPI tables, reclaimable.
    AcpiTables = 6,
    /// ACPI non-volatile storage.
    AcpiNvs = 7,
    /// UEFI runtime services, code and data.
    RuntimeServices = 8,
    /// Memory-mapped devices.
    Device = 9,
}

impl RegionKind {
    /// The kind with this number.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Usable,
            2 => Self::Loader,
            3 => Self::Kernel,
            4 => Self::Base,
            5 => Self::Reserved,
            6 => Self::AcpiTables,
            7 => Self::AcpiNvs,
            8 => Self::RuntimeServices,
            9 => Self::Device,
            _ => return None,
        })
    }

    /// Whether the region is RAM that a CPU may map as Normal memory.
    pub const fn is_ram(self) -> bool {
        !matches!(self, Self::Reserved | Self::Device)
    }
}

/// One region of physical memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Region {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// A [`RegionKind`] as a number: a newer loader may know more kinds than we do.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
}

impl Region {
    /// A region of a known kind.
    pub const fn new(start: u64, length: u64, kind: RegionKind) -> Self {
        Self { start, length, kind: kind as u32, reserved: 0 }
    }

    /// The byte after the last; `None` when the region would wrap.
    pub const fn end(&self) -> Option<u64> {
        self.start.checked_add(self.length)
    }

    /// The kind, when it is one that we know. Treat others as [`RegionKind::Reserved`].
    pub const fn kind(&self) -> Option<RegionKind> {
        RegionKind::from_number(self.kind)
    }
}

/// The firmware's linear framebuffer; all zero when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Framebuffer {
    /// Physical address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// Pixels in a row that are shown.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Pixels from one row to the next.
    pub stride: u32,
    /// 0 none, 1 RGBX, 2 BGRX.
    pub format: u32,
}

/// The block itself. All addresses are physical; 0 means absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct BootInfo {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// Size of the struct as its writer knew it.
    pub size: u32,
    /// Array of [`Region`], sorted, not overlapping.
    pub memory_map: u64,
    /// Entries of the array.
    pub memory_map_count: u64,
    /// Where the kernel's segments lie.
    pub kernel_start: u64,
    /// Bytes of them.
    pub kernel_length: u64,
    /// The release header area, copied from the slot image.
    pub header_start: u64,
    /// EROFS section, on a page boundary.
    pub erofs_start: u64,
    /// Bytes of it.
    pub erofs_length: u64,
    /// Verity section.
    pub verity_start: u64,
    /// Bytes of it.
    pub verity_length: u64,
    /// Kernel symbols section.
    pub symbols_start: u64,
    /// Bytes of it.
    pub symbols_length: u64,
    /// ACPI 2.0 root pointer.
    pub rsdp: u64,
    /// Flattened device tree.
    pub fdt: u64,
    /// Bytes of it.
    pub fdt_length: u64,
    /// The firmware's screen.
    pub framebuffer: Framebuffer,
    /// UTF-8, not terminated.
    pub command_line: u64,
    /// Bytes of it.
    pub command_line_length: u64,
    /// Bytes in use of `entropy`.
    pub entropy_length: u32,
    /// Zero.
    pub reserved: u32,
    /// From EFI_RNG_PROTOCOL or the FDT's rng-seed.
    pub entropy: [u8; 64],
    /// One of [`slot`].
    pub slot: u32,
    /// Boot-control copy that was current; [`NO_COPY`] when none.
    pub bootctl_copy: u32,
    /// Its sequence number.
    pub bootctl_sequence: u64,
    /// Its digest.
    pub bootctl_digest: [u8; 32],
    /// As stored in the GPT.
    pub disk_guid: [u8; 16],
    /// The floor that the loader enforced.
    pub rollback_floor: u64,
    /// CNTVCT_EL0 when the loader started.
    pub loader_start_ticks: u64,
    /// CNTVCT_EL0 when it left.
    pub loader_exit_ticks: u64,
    /// What the firmware's clock showed, in seconds since 1970.
    pub time: u64,
    /// CNTVCT_EL0 when it was read.
    pub time_ticks: u64,
    /// The smallest version of a key set that the loader took.
    pub key_set_floor: u64,
    /// Of [`flag`].
    pub flags: u32,
    /// How many of `roots` are used; 0: nobody verified anything.
    pub root_count: u32,
    /// Who of them must sign a key set: (so many, of those that the bits name), by the present root, and by the one before while root is rotated.
    pub root_quorums: [[u32; 2]; 2],
    /// The root public keys that the loader trusts, Ed25519.
    pub roots: [[u8; 32]; ROOTS_MAX],
    /// Version of the key set that the release was accepted under.
    pub key_set: u64,
    /// The release's rollback index.
    pub rollback_index: u64,
    /// Of its header.
    pub release_digest: [u8; 32],
    /// Memory that is the same from boot to boot, in which each leaves something for the next; in a region that is reserved.
    pub last_boot_start: u64,
    /// Bytes of it.
    pub last_boot_length: u64,
    /// The loader's security version; 0: it has none.
    pub loader_security: u64,
}

/// Most root keys.
pub const ROOTS_MAX: usize = 8;
/// Bits of [`BootInfo::flags`].
pub mod flag {
    /// The system boots to be repaired: no packages, no persistent data.
    pub const RECOVERY: u32 = 1;
    /// The loader is on trial with the release: it, or this boot, has not been found good yet.
    pub const LOADER_ON_TRIAL: u32 = 2;
}
/// What the shortest block has: fields behind it came later, and are absent in a shorter one.
pub const SIZE_MIN: usize = offset_of!(BootInfo, key_set_floor);
/// What a block had before [`BootInfo::last_boot_start`].
const SIZE_BEFORE_LAST_BOOT: usize = offset_of!(BootInfo, last_boot_start);
/// What a block had before [`BootInfo::loader_security`].
const SIZE_BEFORE_SECURITY: usize = offset_of!(BootInfo, loader_security);

/// Bytes of the block.
pub const SIZE: usize = size_of::<BootInfo>();

const _: () = {
    assert!(size_of::<Region>() == 24 && size_of::<Framebuffer>() == 32 && SIZE == 712 && SIZE_MIN == 352);
    assert!(SIZE_BEFORE_LAST_BOOT == 688 && SIZE_BEFORE_SECURITY == 704);
    assert!(offset_of!(BootInfo, memory_map) == 16);
    assert!(offset_of!(BootInfo, kernel_start) == 32);
    assert!(offset_of!(BootInfo, header_start) == 48);
    assert!(offset_of!(BootInfo, erofs_start) == 56);
    assert!(offset_of!(BootInfo, verity_start) == 72);
    assert!(offset_of!(BootInfo, symbols_start) == 88);
    assert!(offset_of!(BootInfo, rsdp) == 104);
    assert!(offset_of!(BootInfo, framebuffer) == 128);
    assert!(offset_of!(BootInfo, command_line) == 160);
    assert!(offset_of!(BootInfo, entropy_length) == 176);
    assert!(offset_of!(BootInfo, entropy) == 184);
    assert!(offset_of!(BootInfo, slot) == 248);
    assert!(offset_of!(BootInfo, bootctl_sequence) == 256);
    assert!(offset_of!(BootInfo, disk_guid) == 296);
    assert!(offset_of!(BootInfo, rollback_floor) == 312);
    assert!(offset_of!(BootInfo, loader_exit_ticks) == 328);
    assert!(offset_of!(BootInfo, time) == 336);
    assert!(offset_of!(BootInfo, flags) == 360);
    assert!(offset_of!(BootInfo, roots) == 384);
};

impl BootInfo {
    /// A block in which everything is absent.
    pub const fn empty() -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            size: SIZE as u32,
            memory_map: 0,
            memory_map_count: 0,
            kernel_start: 0,
            kernel_length: 0,
            header_start: 0,
            erofs_start: 0,
            erofs_length: 0,
            verity_start: 0,
            verity_length: 0,
            symbols_start: 0,
            symbols_length: 0,
            rsdp: 0,
            fdt: 0,
            fdt_length: 0,
            framebuffer: Framebuffer { base: 0, size: 0, width: 0, height: 0, stride: 0, format: 0 },
            command_line: 0,
            command_line_length: 0,
            entropy_length: 0,
            reserved: 0,
            entropy: [0; 64],
            slot: slot::INITRD,
            bootctl_copy: NO_COPY,
            bootctl_sequence: 0,
            bootctl_digest: [0; 32],
            disk_guid: [0; 16],
            rollback_floor: 0,
            loader_start_ticks: 0,
            loader_exit_ticks: 0,
            time: 0,
            time_ticks: 0,
            key_set_floor: 0,
            flags: 0,
            root_count: 0,
            root_quorums: [[0; 2]; 2],
            roots: [[0; 32]; ROOTS_MAX],
            key_set: 0,
            rollback_index: 0,
            release_digest: [0; 32],
            last_boot_start: 0,
            last_boot_length: 0,
            loader_security: 0,
        }
    }

    /// Leaves out what the block's writer did not know: an older loader may start a newer kernel. In place: it is read on a small stack.
    pub fn keep_known(&mut self) {
        if self.size as usize >= SIZE {
            return;
        }
        self.loader_security = 0;
        if self.size as usize >= SIZE_BEFORE_SECURITY {
            return;
        }
        (self.last_boot_start, self.last_boot_length) = (0, 0);
        if self.size as usize >= SIZE_BEFORE_LAST_BOOT {
            return;
        }
        (self.key_set_floor, self.flags, self.root_count) = (0, 0, 0);
        (self.key_set, self.rollback_index) = (0, 0);
        self.root_quorums = [[0; 2]; 2];
        self.roots.fill([0; 32]);
        self.release_digest.fill(0);
    }

    /// The root keys.
    pub fn root_keys(&self) -> &[[u8; 32]] {
        self.roots.get(..self.root_count as usize).unwrap_or_default()
    }

    /// The entropy that the loader found.
    pub fn entropy(&self) -> &[u8] {
        &self.entropy[..(self.entropy_length as usize).min(self.entropy.len())]
    }

    /// Checks what can be checked without following an address. The kernel runs this before it believes anything else.
    pub fn check(&self) -> Result<(), BootInfoError> {
        if self.magic != MAGIC {
            return Err(BootInfoError::Magic(self.magic));
        }
        if self.version != VERSION {
            return Err(BootInfoError::Version(self.version));
        }
        if (self.size as usize) < SIZE_MIN {
            return Err(BootInfoError::Size(self.size));
        }
        if self.memory_map == 0 || !self.memory_map.is_multiple_of(8) || self.memory_map_count == 0 {
            return Err(BootInfoError::NoMemoryMap);
        }
        if self.entropy_length as usize > self.entropy.len() {
            return Err(BootInfoError::Entropy(self.entropy_length));
        }
        let spans = [
            ("kernel", self.kernel_start, self.kernel_length),
            ("header", self.header_start, 0),
            ("erofs", self.erofs_start, self.erofs_length),
            ("verity", self.verity_start, self.verity_length),
            ("symbols", self.symbols_start, self.symbols_length),
            ("last boot", self.last_boot_start, self.last_boot_length),
        ];
        for (what, start, length) in spans {
            let absent_with_length = start == 0 && length != 0;
            if absent_with_length || !start.is_multiple_of(PAGE) || start.checked_add(length).is_none() {
                return Err(BootInfoError::Span { what, start, length });
            }
        }
        Ok(())
    }
}

/// Whether all of a range lies in one region of this kind.
pub fn is_within(regions: &[Region], start: u64, length: u64, kind: RegionKind) -> bool {
    let Some(end) = start.checked_add(length) else { return false };
    regions.iter().any(|region| {
        region.kind() == Some(kind) && region.start <= start && region.end().is_some_and(|after| end <= after)
    })
}

/// Checks a memory map that was handed over: sorted, disjoint, on page boundaries, nothing empty or wrapping.
pub fn check_memory_map(regions: &[Region]) -> Result<(), BootInfoError> {
    let mut free_from = 0;
    for (index, region) in regions.iter().enumerate() {
        let aligned = region.start.is_multiple_of(PAGE) && region.length.is_multiple_of(PAGE);
        match region.end() {
            Some(end) if aligned && region.length != 0 && region.start >= free_from => free_from = end,
            _ => {
                return Err(BootInfoError::Region { index, region: *region });
            }
        }
    }
    Ok(())
}

/// Why a block is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootInfoError {
    /// Not a boot-info block.
    Magic(u64),
    /// A version that we do not know.
    Version(u32),
    /// Shorter than this version.
    Size(u32),
    /// No memory map, or one that is not aligned.
    NoMemoryMap,
    /// More entropy than there is room for.
    Entropy(u32),
    /// An address that is not on a page, wraps, or is absent with a length.
    Span {
        /// Which.
        what: &'static str,
        /// Its address.
        start: u64,
        /// Its length.
        length: u64,
    },
    /// A region that is out of order, empty, unaligned, overlapping or wrapping.
    Region {
        /// Its place in the map.
        index: usize,
        /// The region.
        region: Region,
    },
}

impl fmt::Display for BootInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Magic(found) => write!(f, "boot-info magic is {found:#x}, expected {MAGIC:#x}"),
            Self::Version(found) => write!(f, "boot-info version is {found}, expected {VERSION}"),
            Self::Size(found) => write!(f, "boot-info size is {found}, expected at least {SIZE}"),
            Self::NoMemoryMap => f.write_str("boot-info has no memory map"),
            Self::Entropy(found) => write!(f, "boot-info entropy length is {found}, expected at most 64"),
            Self::Span { what, start, length } => {
                write!(f, "boot-info {what} at {start:#x} with length {length:#x} is not a range on a page boundary")
            }
            Self::Region { index, region } => write!(
                f,
                "memory map entry {index} ({:#x}, length {:#x}) is out of order, unaligned, empty or overlapping",
                region.start, region.length
            ),
        }
    }
}

impl core::error::Error for BootInfoError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> BootInfo {
        BootInfo { memory_map: 0x4000_0000, memory_map_count: 1, ..BootInfo::empty() }
    }

    #[test]
    fn a_sound_block_passes_and_a_larger_one_too() {
        assert_eq!(good().check(), Ok(()));
        assert_eq!(BootInfo { size: SIZE as u32 + 8, ..good() }.check(), Ok(()));
    }

    #[test]
    fn what_an_older_loader_did_not_know_is_absent() {
        let told = BootInfo {
            flags: flag::RECOVERY,
            key_set_floor: 3,
            root_count: 2,
            root_quorums: [[1, 3]; 2],
            roots: [[7; 32]; ROOTS_MAX],
            key_set: 4,
            rollback_index: 5,
            release_digest: [6; 32],
            last_boot_start: 0x1000,
            last_boot_length: 0x1000,
            loader_security: 3,
            time: 9,
            ..good()
        };
        let known = |mut block: BootInfo| {
            block.keep_known();
            block
        };
        assert_eq!((known(told), told.root_keys().len()), (told, 2));
        let before = BootInfo { size: SIZE_BEFORE_LAST_BOOT as u32, ..told };
        let nothing_left = BootInfo { last_boot_start: 0, last_boot_length: 0, loader_security: 0, ..before };
        assert_eq!(known(before), nothing_left);
        let before = BootInfo { size: SIZE_BEFORE_SECURITY as u32, ..told };
        assert_eq!(known(before), BootInfo { loader_security: 0, ..before });
        let short = BootInfo { size: SIZE_MIN as u32, ..told };
        assert_eq!((short.check(), known(short)), (Ok(()), BootInfo { size: SIZE_MIN as u32, time: 9, ..good() }));
        assert!(BootInfo { root_count: 9, ..told }.root_keys().is_empty());
    }

    #[test]
    fn each_unsound_field_is_named() {
        let table = [
            (BootInfo { magic: 0, ..good() }, BootInfoError::Magic(0)),
            (BootInfo { version: 2, ..good() }, BootInfoError::Version(2)),
            (BootInfo { size: SIZE_MIN as u32 - 1, ..good() }, BootInfoError::Size(SIZE_MIN as u32 - 1)),
            (BootInfo { memory_map: 0, ..good() }, BootInfoError::NoMemoryMap),
            (BootInfo { memory_map_count: 0, ..good() }, BootInfoError::NoMemoryMap),
            (BootInfo { entropy_length: 65, ..good() }, BootInfoError::Entropy(65)),
            (
                BootInfo { erofs_start: 0x1001, erofs_length: 1, ..good() },
                BootInfoError::Span { what: "erofs", start: 0x1001, length: 1 },
            ),
            (BootInfo { verity_length: 1, ..good() }, BootInfoError::Span { what: "verity", start: 0, length: 1 }),
            (
                BootInfo { kernel_start: 0x1000, kernel_length: u64::MAX, ..good() },
                BootInfoError::Span { what: "kernel", start: 0x1000, length: u64::MAX },
            ),
        ];
        for (block, error) in table {
            assert_eq!(block.check(), Err(error));
            assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn maps_that_overlap_wrap_or_are_unaligned_are_refused() {
        let usable = |start, length| Region::new(start, length, RegionKind::Usable);
        assert_eq!(check_memory_map(&[usable(0, 0x1000), usable(0x1000, 0x1000)]), Ok(()));
        for bad in [
            [usable(0x1000, 0x1000), usable(0, 0x1000)],
            [usable(0, 0x2000), usable(0x1000, 0x1000)],
            [usable(0, 0), usable(0x1000, 0x1000)],
            [usable(0, 0x1000), usable(0x1800, 0x1000)],
            [usable(0, 0x1000), usable(0xffff_ffff_ffff_f000, 0x1000)],
        ] {
            assert!(check_memory_map(&bad).is_err(), "{bad:x?}");
        }
    }

    #[test]
    fn a_range_is_within_one_region_of_its_kind_or_none() {
        let regions =
            [Region::new(0x1000, 0x2000, RegionKind::Reserved), Region::new(0x3000, 0x2000, RegionKind::Usable)];
        let within = |start, length| is_within(&regions, start, length, RegionKind::Reserved);
        assert!(within(0x1000, 0x2000) && within(0x2000, 0x1000));
        assert!(!within(0x1000, 0x2001) && !within(0x2000, 0x2000) && !within(0x3000, 0x1000) && !within(0, 0x2000));
        assert!(!within(0x1000, u64::MAX) && !is_within(&[], 0x1000, 1, RegionKind::Reserved));
    }

    #[test]
    fn kinds_keep_their_numbers() {
        for number in 0..12 {
            assert_eq!(
                RegionKind::from_number(number).map(|kind| kind as u32),
                (1..=9).contains(&number).then_some(number)
            );
        }
    }
}
