//! The bytes on the disk: offsets, sizes, checks of a structure by itself. Integers are little-endian. In words: `docs/formats/datafs.md`.
//!
//! What stands here knows nothing of a cache or a transaction, so that the kernel, `mkfs` and `fsck` read the same way.

pub mod geometry;
pub mod inode;
pub mod names;
pub mod node;
pub mod record;
pub mod superblock;

use crc::{CRC_32_ISCSI, Crc, Digest, Table};

use crate::types::Bytes;
use crate::{BLOCK, Damage, InodeNumber, What};

/// Bytes at the start of each block of metadata; what a patch of the log covers too.
pub const GRANULE: usize = 64;
/// Of every such header: magic u32, checksum u32 of what stands behind it, own block u64, owner u32, generation of the owner u32.
pub(crate) const CHECKSUM: usize = 4;
pub(crate) const PLACE: usize = 8;
const OWNER: usize = 16;
const GENERATION: usize = 20;

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// CRC-32C of bytes, as it is known from iSCSI.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes)
}

/// The checksums of one volume: CRC-32C of its UUID and then the bytes, so that another volume's structures never count.
#[derive(Clone)]
pub struct Seed(Digest<'static, u32, Table<16>>);

impl core::fmt::Debug for Seed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seed")
    }
}

impl Seed {
    /// Of the volume with this UUID.
    #[must_use]
    pub fn new(uuid: &[u8; 16]) -> Self {
        let mut digest = CRC32C.digest();
        digest.update(uuid);
        Self(digest)
    }

    /// Checksum of bytes.
    #[must_use]
    pub fn of(&self, bytes: &[u8]) -> u32 {
        let mut digest = self.0.clone();
        digest.update(bytes);
        digest.finalize()
    }
}

/// What a block of metadata is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bitmaps of a group; owned by the group's number.
    Group,
    /// A node of a tree; this and the others are owned by an inode.
    Node,
    /// Entries of a directory.
    Names,
    /// Part of the target of a symbolic link.
    Link,
    /// Extended attributes.
    Xattr,
    /// Use and limits of quota ids.
    Quota,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Group, Self::Node, Self::Names, Self::Link, Self::Xattr, Self::Quota];

    /// What a block of the kind begins with.
    #[must_use]
    pub const fn magic(self) -> u32 {
        u32::from_le_bytes(*match self {
            Self::Group => b"DfsG",
            Self::Node => b"DfsN",
            Self::Names => b"DfsD",
            Self::Link => b"DfsL",
            Self::Xattr => b"DfsX",
            Self::Quota => b"DfsQ",
        })
    }

    /// The kind of a block, by its magic.
    #[must_use]
    pub fn of(bytes: &Bytes) -> Option<Self> {
        let magic = u32_at(bytes, 0);
        Self::ALL.into_iter().find(|kind| kind.magic() == magic)
    }
}

/// Whom a block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The inode, or of a group's block the group.
    pub number: u32,
    /// The inode's generation; 0 of a group.
    pub generation: u32,
}

impl Owner {
    /// A group's own block.
    #[must_use]
    pub const fn group(number: u32) -> Self {
        Self { number, generation: 0 }
    }
}

/// Writes a block's header, without the checksum.
pub fn write_header(bytes: &mut [u8; GRANULE], kind: Kind, block: u64, owner: Owner) {
    *bytes = [0; GRANULE];
    put_u32(bytes, 0, kind.magic());
    put_u64(bytes, PLACE, block);
    put_u32(bytes, OWNER, owner.number);
    put_u32(bytes, GENERATION, owner.generation);
}

/// Whether a block is what it should be; its checksum is looked at when `is_new` (it came from the disk).
///
/// # Errors
/// What is wrong.
pub fn check_header(
    bytes: &Bytes,
    kind: Kind,
    block: u64,
    owner: Owner,
    seed: Option<&Seed>,
) -> core::result::Result<(), Damage> {
    let inode = if kind == Kind::Group { 0 } else { owner.number };
    let wrong = |what| Err(Damage { block, inode, what });
    if u32_at(bytes, 0) != kind.magic() {
        return wrong(What::Kind);
    }
    if seed.is_some_and(|seed| !is_sealed(bytes, seed)) {
        return wrong(What::Checksum);
    }
    if u64_at(bytes, PLACE) != block {
        return wrong(What::Place);
    }
    if u32_at(bytes, OWNER) != owner.number || u32_at(bytes, GENERATION) != owner.generation {
        return wrong(What::Owner);
    }
    Ok(())
}

/// Whether a block's checksum is right.
#[must_use]
pub fn is_sealed(bytes: &Bytes, seed: &Seed) -> bool {
    u32_at(bytes, CHECKSUM) == seed.of(&bytes[PLACE..])
}

/// Makes a block's checksum right.
pub fn seal(bytes: &mut Bytes, seed: &Seed) {
    let sum = seed.of(&bytes[PLACE..]);
    put_u32(bytes, CHECKSUM, sum);
}

/// The inode that a block says it belongs to.
#[must_use]
pub fn owner_of(bytes: &Bytes) -> InodeNumber {
    u32_at(bytes, OWNER)
}

/// The granules that a range of a block touches, a bit each.
#[must_use]
pub const fn granules(offset: usize, length: usize) -> u64 {
    if length == 0 {
        return 0;
    }
    let (first, last) = (offset / GRANULE, (offset + length - 1) / GRANULE);
    (u64::MAX >> (63 - (last - first))) << first
}

const _: () = assert!(BLOCK / GRANULE == 64);

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let mut value = [0; 2];
    value.copy_from_slice(&bytes[at..at + 2]);
    u16::from_le_bytes(value)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
