//! Where the levels of a tree lie. Level 0 holds the hashes of the data, each level above those of the blocks below it, and the top is
//! one block, whose hash is the root. Over a single block of data there is no tree: its hash is the root.

use crate::{BLOCK, DATA_BLOCKS_MAX, DIGESTS_PER_BLOCK, Error};

/// The most levels: 128³ blocks are fewer than [`DATA_BLOCKS_MAX`], 128⁴ more.
pub const LEVELS_MAX: usize = 4;

const _: () = assert!(DATA_BLOCKS_MAX <= DIGESTS_PER_BLOCK.pow(LEVELS_MAX as u32));

/// The shape of a tree. Blocks of the tree are counted from its top, without the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    data_blocks: u64,
    levels: usize,
    /// First block of each level.
    starts: [u64; LEVELS_MAX],
    tree_blocks: u64,
}

impl Layout {
    /// Of the tree over so many bytes.
    ///
    /// # Errors
    /// `Data`.
    pub fn over(length: u64) -> Result<Self, Error> {
        let data_blocks = length / BLOCK as u64;
        if !length.is_multiple_of(BLOCK as u64) || !(1..=DATA_BLOCKS_MAX).contains(&data_blocks) {
            return Err(Error::Data { length });
        }
        let mut counts = [0; LEVELS_MAX];
        let (mut levels, mut below) = (0, data_blocks);
        while below > 1 {
            below = below.div_ceil(DIGESTS_PER_BLOCK);
            counts[levels] = below;
            levels += 1;
        }
        let (mut starts, mut next) = ([0; LEVELS_MAX], 0);
        for level in (0..levels).rev() {
            starts[level] = next;
            next += counts[level];
        }
        Ok(Self { data_blocks, levels, starts, tree_blocks: next })
    }

    /// Blocks of data.
    #[must_use]
    pub fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// Levels of the tree.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.levels
    }

    /// Blocks of the tree.
    #[must_use]
    pub fn tree_blocks(&self) -> u64 {
        self.tree_blocks
    }

    /// Bytes of superblock and tree.
    #[must_use]
    pub fn section_length(&self) -> u64 {
        (1 + self.tree_blocks) * BLOCK as u64
    }

    /// Where the hash over data block `block` stands in `level`, or that of the blocks which lead to it: block of the tree, and number in it.
    /// `block` is one of the data, `level` one of the tree.
    #[must_use]
    pub(crate) fn place(&self, block: u64, level: usize) -> (u64, usize) {
        let number = block / DIGESTS_PER_BLOCK.pow(level as u32);
        (self.starts[level] + number / DIGESTS_PER_BLOCK, (number % DIGESTS_PER_BLOCK) as usize)
    }
}
