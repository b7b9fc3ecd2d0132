//! Records of trees, and the blocks that hold them.
//!
//! One kind of B+tree serves all: extents of a file (key: first block of the file), blocks of a directory (key: least hash and ordinal of their entries), of a long
//! symbolic link and of the table of quotas (key: index). A record of an inner node leads to the node whose keys are not below the record's.

use crate::types::Bytes;
use crate::{BLOCK, Damage, FILE_MAX, What};

use super::geometry::Geometry;
use super::superblock::State;
use super::{GRANULE, put_u32, put_u64, u16_at, u32_at, u64_at};

/// Bytes of a record.
pub const RECORD_SIZE: usize = 16;
/// Records of a node.
pub const RECORDS: usize = (BLOCK - GRANULE) / RECORD_SIZE;
/// In a node's header: its level (u8, 0 at the leaves).
pub const LEVEL: usize = 24;
/// In a node's header: how many records it has (u16).
pub const COUNT: usize = 26;

/// In an extent's `low`: its blocks were never written.
pub const UNWRITTEN: u32 = 1 << 31;

/// A record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// First part of the key.
    pub high: u32,
    /// Second part of the key; of an extent its length and `UNWRITTEN`.
    pub low: u32,
    /// A block.
    pub block: u64,
}

impl Record {
    /// Reads one.
    #[must_use]
    pub fn read(bytes: &[u8], at: usize) -> Self {
        Self { high: u32_at(bytes, at), low: u32_at(bytes, at + 4), block: u64_at(bytes, at + 8) }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; RECORD_SIZE] {
        let mut bytes = [0; RECORD_SIZE];
        put_u32(&mut bytes, 0, self.high);
        put_u32(&mut bytes, 4, self.low);
        put_u64(&mut bytes, 8, self.block);
        bytes
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> u64 {
        (self.high as u64) << 32 | self.low as u64
    }

    /// Blocks of an extent.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.low & !UNWRITTEN
    }

    /// First block of a file behind an extent.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.high as u64 + self.count() as u64
    }

    /// Whether an extent's blocks were never written.
    #[must_use]
    pub const fn is_unwritten(&self) -> bool {
        self.low & UNWRITTEN != 0
    }
}

/// Offset of a node's record.
#[must_use]
pub const fn offset(index: usize) -> usize {
    GRANULE + index * RECORD_SIZE
}

/// Whether extents, in the order of their keys, lie in the volume's data and do not overlap.
pub fn check_extents(records: impl Iterator<Item = Record>, geometry: &Geometry, state: &State) -> Result<(), What> {
    let mut end = 0;
    for record in records {
        if geometry.data_place(record.block, record.count(), state.groups, state.blocks).is_none() {
            return Err(What::Pointer);
        }
        if u64::from(record.high) < end {
            return Err(What::Order);
        }
        end = record.end();
    }
    if end > FILE_MAX / BLOCK as u64 { Err(What::Bounds) } else { Ok(()) }
}

/// Checks a node's contents; its header was checked.
///
/// # Errors
/// What is wrong.
pub fn check(bytes: &Bytes, block: u64, inode: u32, level: u8) -> Result<(), Damage> {
    let wrong = |what| Err(Damage { block, inode, what });
    let count = usize::from(u16_at(bytes, COUNT));
    if bytes[LEVEL] != level || !(1..=RECORDS).contains(&count) {
        return wrong(What::Bounds);
    }
    let in_order =
        (1..count).all(|index| Record::read(bytes, offset(index - 1)).key() < Record::read(bytes, offset(index)).key());
    if in_order { Ok(()) } else { wrong(What::Order) }
}
