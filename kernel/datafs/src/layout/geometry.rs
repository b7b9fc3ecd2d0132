//! Where things lie: superblocks, log, and then groups, each with a block of bitmaps, its inodes, and its data.

use crate::{BLOCK, InodeNumber};

use super::record::ENTRY;
use super::{GRANULE, inode};

/// Blocks of a group.
pub const GROUP_BLOCKS: u32 = 16384;
/// Copies of the superblock, in the first blocks.
pub const SUPERBLOCKS: u64 = 2;
/// Inodes in a block of them.
pub const INODES_PER_BLOCK: u32 = (BLOCK / inode::SIZE) as u32;
/// Most inodes of a group: as many as its bitmap has bits.
pub const INODES_PER_GROUP_MAX: u32 = 8192;
/// Fewest blocks of a log.
pub const LOG_BLOCKS_MIN: u32 = 256;
/// Most blocks of a log.
pub const LOG_BLOCKS_MAX: u32 = 65536;
/// Of the log's blocks one in so many is kept for a checkpoint's list of homes.
const HOMES_SHARE: u32 = 16;
/// A transaction's record fills at most one block of the log in so many, and never more than `RECORD_BLOCKS_MAX`.
const RECORD_SHARE: u32 = 4;
const RECORD_BLOCKS_MAX: u32 = 512;
/// No volume lets more changed blocks wait for a checkpoint: what it takes to replay a log is bounded.
const DIRTY_BLOCKS_MAX: usize = 16384;
/// Blocks for data that a group at the volume's end must have to count.
const LAST_GROUP_DATA_MIN: u64 = 64;
/// Most blocks of a volume: block numbers in extents have 48 bits, inode numbers 32.
pub const BLOCKS_MAX: u64 = 1 << 44;

/// In a group's block: used data blocks u32, used inodes u32, initialised blocks of inodes u32.
pub const GROUP_USED_BLOCKS: usize = 24;
/// See above.
pub const GROUP_USED_INODES: usize = 28;
/// See above.
pub const GROUP_TABLES: usize = 32;
/// Offset of the bitmap of inodes.
pub const INODE_BITMAP: usize = GRANULE;
/// Offset of the bitmap of blocks.
pub const BLOCK_BITMAP: usize = INODE_BITMAP + INODES_PER_GROUP_MAX as usize / 8;

const _: () = assert!(BLOCK_BITMAP + GROUP_BLOCKS as usize / 8 <= BLOCK);

/// What `mkfs` fixed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks of the log, which begins behind the superblocks.
    pub log_blocks: u32,
    /// Inodes of each group, a multiple of 64.
    pub inodes_per_group: u32,
}

/// A block's group, and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The group.
    pub group: u32,
    /// Blocks before it in the group.
    pub index: u32,
}

impl Geometry {
    /// Whether the numbers are within their bounds.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.log_blocks >= LOG_BLOCKS_MIN
            && self.log_blocks <= LOG_BLOCKS_MAX
            && self.inodes_per_group >= 64
            && self.inodes_per_group <= INODES_PER_GROUP_MAX
            && self.inodes_per_group.is_multiple_of(64)
    }

    /// First block of the log.
    #[must_use]
    pub const fn log_start(&self) -> u64 {
        SUPERBLOCKS
    }

    /// Blocks that a transaction's record fills at most.
    #[must_use]
    pub const fn record_blocks(&self) -> u32 {
        let share = self.log_blocks / RECORD_SHARE;
        if share < RECORD_BLOCKS_MAX { share } else { RECORD_BLOCKS_MAX }
    }

    /// Blocks of the log that are kept for a checkpoint's list of homes.
    #[must_use]
    pub const fn homes_blocks(&self) -> u32 {
        self.log_blocks / HOMES_SHARE
    }

    /// Changed blocks that may wait for a checkpoint before the next operation begins. What one operation changes comes on top, but there are
    /// never twice as many: for those the list of homes has room.
    #[must_use]
    pub const fn dirty_blocks(&self) -> usize {
        let list = self.homes_blocks() as usize * BLOCK / ENTRY / 2;
        if list < DIRTY_BLOCKS_MAX { list } else { DIRTY_BLOCKS_MAX }
    }

    /// First block of the first group.
    #[must_use]
    pub const fn groups_start(&self) -> u64 {
        SUPERBLOCKS + self.log_blocks as u64
    }

    /// Blocks of inodes in each group.
    #[must_use]
    pub const fn table_blocks(&self) -> u32 {
        self.inodes_per_group / INODES_PER_BLOCK
    }

    /// Blocks at a group's start that never hold data: bitmaps and inodes.
    #[must_use]
    pub const fn static_blocks(&self) -> u32 {
        1 + self.table_blocks()
    }

    /// Groups of a volume with so many blocks.
    #[must_use]
    pub fn group_count(&self, blocks: u64) -> u32 {
        let room = blocks.min(BLOCKS_MAX).saturating_sub(self.groups_start());
        let (whole, rest) = (room / u64::from(GROUP_BLOCKS), room % u64::from(GROUP_BLOCKS));
        let last = u64::from(rest >= u64::from(self.static_blocks()) + LAST_GROUP_DATA_MIN);
        // inode numbers have 32 bits
        (whole + last).min(u64::from(u32::MAX / self.inodes_per_group)) as u32
    }

    /// First block of a group.
    #[must_use]
    pub const fn group_start(&self, group: u32) -> u64 {
        self.groups_start() + group as u64 * GROUP_BLOCKS as u64
    }

    /// Blocks of a group; the last may have fewer.
    #[must_use]
    pub fn group_blocks(&self, group: u32, blocks: u64) -> u32 {
        blocks.saturating_sub(self.group_start(group)).min(u64::from(GROUP_BLOCKS)) as u32
    }

    /// Blocks for data in the whole volume.
    #[must_use]
    pub fn data_blocks(&self, blocks: u64) -> u64 {
        let Some(last) = self.group_count(blocks).checked_sub(1) else { return 0 };
        let whole = u64::from(GROUP_BLOCKS - self.static_blocks());
        u64::from(last) * whole + u64::from(self.group_blocks(last, blocks) - self.static_blocks())
    }

    /// Where a block lies; `None` before the groups.
    #[must_use]
    pub fn place(&self, block: u64) -> Option<Place> {
        let from = block.checked_sub(self.groups_start())?;
        let group = u32::try_from(from / u64::from(GROUP_BLOCKS)).ok()?;
        Some(Place { group, index: (from % u64::from(GROUP_BLOCKS)) as u32 })
    }

    /// Where `count` blocks for data lie, all in one of the first `groups` groups; `None` when they do not.
    #[must_use]
    pub fn data_place(&self, block: u64, count: u32, groups: u32, blocks: u64) -> Option<Place> {
        let place = self.place(block)?;
        let end = place.index.checked_add(count)?;
        let inside = place.group < groups
            && place.index >= self.static_blocks()
            && count > 0
            && end <= self.group_blocks(place.group, blocks);
        inside.then_some(place)
    }

    /// The block that an inode is in, and its offset there.
    #[must_use]
    pub const fn inode_place(&self, inode: InodeNumber) -> (u64, usize) {
        let (group, index) = (inode / self.inodes_per_group, inode % self.inodes_per_group);
        let block = self.group_start(group) + 1 + (index / INODES_PER_BLOCK) as u64;
        (block, (index % INODES_PER_BLOCK) as usize * inode::SIZE)
    }

    /// The first inode of a block of inodes; `None` when the block is none.
    #[must_use]
    pub fn first_inode(&self, block: u64) -> Option<InodeNumber> {
        let place = self.place(block)?;
        let table = place.index.checked_sub(1).filter(|&table| table < self.table_blocks())?;
        place.group.checked_mul(self.inodes_per_group)?.checked_add(table * INODES_PER_BLOCK)
    }
}
