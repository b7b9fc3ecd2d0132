//! Inodes: 256 bytes each, 16 to a block.
//!
//! The first granule holds what changes often, so that a write's new size and times are one patch of the log. The map of a file (or a directory's tree) begins
//! in the inode: up to 9 records, or the nodes above the rest.

use crate::types::InodeNumber;
use crate::{Damage, What};

use super::node::{RECORD_SIZE, Record};
use super::{Seed, put_u16, put_u32, put_u64, u16_at, u32_at, u64_at};

/// Bytes of an inode.
pub const SIZE: usize = 256;
/// Bytes of it that are no records.
pub const FIELDS: usize = 112;
/// Records in it.
pub const RECORDS: usize = (SIZE - FIELDS) / RECORD_SIZE;
/// Longest target of a symbolic link that stands in the inode, in place of records.
pub const TARGET_MAX: usize = SIZE - FIELDS;
/// Most levels of nodes below the inode.
pub const DEPTH_MAX: u8 = 5;
/// Offset of the tree's depth (u8); its count of records (u16) stands two bytes further.
pub const TREE: usize = 104;

/// It stands in the list of orphans.
pub const ORPHAN: u16 = 1;
const FLAGS: u16 = ORPHAN;

/// Type bits of a mode.
pub const TYPE: u32 = 0o170_000;
/// A regular file.
pub const REGULAR: u32 = 0o100_000;
/// A directory.
pub const DIRECTORY: u32 = 0o040_000;
/// A symbolic link.
pub const LINK: u32 = 0o120_000;
/// Character device, block device, FIFO, socket.
const SPECIAL: [u32; 4] = [0o020_000, 0o060_000, 0o010_000, 0o140_000];

/// Whether type bits of a mode name a type.
#[must_use]
pub fn is_type(kind: u32) -> bool {
    matches!(kind, REGULAR | DIRECTORY | LINK) || SPECIAL.contains(&kind)
}

/// The fields of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Its own number.
    pub number: InodeNumber,
    /// Type and permission bits; 0: free.
    pub mode: u32,
    /// `ORPHAN`.
    pub flags: u16,
    /// Names.
    pub links: u32,
    /// Bytes.
    pub size: u64,
    /// Blocks that it fills, its metadata included.
    pub blocks: u64,
    /// Times: nanoseconds since 1970.
    pub modified: i64,
    /// Of any change.
    pub changed: i64,
    /// Of the last read.
    pub accessed: i64,
    /// Differs with each use of the number.
    pub generation: u32,
    /// Quota id.
    pub quota: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// When it was made.
    pub created: i64,
    /// A device's number; a directory's parent.
    pub device: u64,
    /// Block of extended attributes; 0: none.
    pub xattrs: u64,
    /// Next of the list of orphans.
    pub next_orphan: InodeNumber,
    /// The one before.
    pub previous_orphan: InodeNumber,
    /// Levels of nodes between the inode and the leaves of its tree.
    pub depth: u8,
    /// Records in the inode.
    pub count: u16,
}

impl Fields {
    /// Reads them, without any check.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        Self {
            number: u32_at(bytes, 4),
            mode: u32::from(u16_at(bytes, 8)),
            flags: u16_at(bytes, 10),
            links: u32_at(bytes, 12),
            size: u64_at(bytes, 16),
            blocks: u64_at(bytes, 24),
            modified: u64_at(bytes, 32).cast_signed(),
            changed: u64_at(bytes, 40).cast_signed(),
            accessed: u64_at(bytes, 48).cast_signed(),
            generation: u32_at(bytes, 56),
            quota: u32_at(bytes, 60),
            user: u32_at(bytes, 64),
            group: u32_at(bytes, 68),
            created: u64_at(bytes, 72).cast_signed(),
            device: u64_at(bytes, 80),
            xattrs: u64_at(bytes, 88),
            next_orphan: u32_at(bytes, 96),
            previous_orphan: u32_at(bytes, 100),
            depth: bytes[TREE],
            count: u16_at(bytes, TREE + 2),
        }
    }

    /// Writes them; the checksum's place and the records are left as they are.
    pub fn write(&self, bytes: &mut [u8]) {
        put_u32(bytes, 4, self.number);
        put_u16(bytes, 8, self.mode as u16);
        put_u16(bytes, 10, self.flags);
        put_u32(bytes, 12, self.links);
        put_u64(bytes, 16, self.size);
        put_u64(bytes, 24, self.blocks);
        put_u64(bytes, 32, self.modified.cast_unsigned());
        put_u64(bytes, 40, self.changed.cast_unsigned());
        put_u64(bytes, 48, self.accessed.cast_unsigned());
        put_u32(bytes, 56, self.generation);
        put_u32(bytes, 60, self.quota);
        put_u32(bytes, 64, self.user);
        put_u32(bytes, 68, self.group);
        put_u64(bytes, 72, self.created.cast_unsigned());
        put_u64(bytes, 80, self.device);
        put_u64(bytes, 88, self.xattrs);
        put_u32(bytes, 96, self.next_orphan);
        put_u32(bytes, 100, self.previous_orphan);
        bytes[TREE] = self.depth;
        bytes[TREE + 1] = 0;
        put_u16(bytes, TREE + 2, self.count);
        put_u32(bytes, TREE + 4, 0);
    }

    /// Type bits of the mode.
    #[must_use]
    pub const fn kind(&self) -> u32 {
        self.mode & TYPE
    }

    /// It is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        self.kind() == DIRECTORY
    }

    /// It is a regular file.
    #[must_use]
    pub const fn is_regular(&self) -> bool {
        self.kind() == REGULAR
    }

    /// Its tree is a map of extents.
    #[must_use]
    pub const fn is_map(&self) -> bool {
        self.is_regular() && self.number != crate::QUOTAS
    }

    /// It is an orphan.
    #[must_use]
    pub const fn is_orphan(&self) -> bool {
        self.flags & ORPHAN != 0
    }

    /// Its target stands in it.
    #[must_use]
    pub const fn has_target(&self) -> bool {
        self.kind() == LINK && self.size <= TARGET_MAX as u64
    }
}

/// Record `index` of an inode.
#[must_use]
pub fn record(inode: &[u8], index: usize) -> Record {
    Record::read(inode, FIELDS + index * RECORD_SIZE)
}

/// Whether an inode's checksum is right.
#[must_use]
pub fn is_sealed(inode: &[u8], seed: &Seed) -> bool {
    u32_at(inode, 0) == seed.of(&inode[4..SIZE])
}

/// Makes an inode's checksum right.
pub fn seal(inode: &mut [u8], seed: &Seed) {
    let sum = seed.of(&inode[4..SIZE]);
    put_u32(inode, 0, sum);
}

/// It was never used since its block was initialised.
#[must_use]
pub fn is_blank(inode: &[u8]) -> bool {
    inode.iter().all(|&byte| byte == 0)
}

/// Checks what an inode says by itself. Whether it may be free is the caller's question.
///
/// # Errors
/// What is wrong.
pub fn check(inode: &[u8], number: InodeNumber, block: u64, seed: &Seed) -> Result<(), Damage> {
    let wrong = |what| Err(Damage { block, inode: number, what });
    if is_blank(inode) {
        return Ok(());
    }
    if !is_sealed(inode, seed) {
        return wrong(What::Checksum);
    }
    let fields = Fields::read(inode);
    if fields.number != number {
        return wrong(What::Place);
    }
    if fields.mode == 0 {
        return Ok(());
    }
    if !is_type(fields.kind()) || fields.flags & !FLAGS != 0 {
        return wrong(What::Value);
    }
    if fields.depth > DEPTH_MAX || usize::from(fields.count) > RECORDS || (fields.depth > 0 && fields.count == 0) {
        return wrong(What::Bounds);
    }
    let has_tree = matches!(fields.kind(), REGULAR | DIRECTORY) || fields.kind() == LINK && !fields.has_target();
    if !has_tree && (fields.count > 0 || fields.depth > 0) {
        return wrong(What::Value);
    }
    if fields.kind() == LINK && !(1..=crate::TARGET_MAX as u64).contains(&fields.size) {
        return wrong(What::Bounds);
    }
    if fields.size > crate::FILE_MAX {
        return wrong(What::Bounds);
    }
    let in_order = (1..usize::from(fields.count)).all(|at| record(inode, at - 1).key() < record(inode, at).key());
    if !in_order {
        return wrong(What::Order);
    }
    Ok(())
}
