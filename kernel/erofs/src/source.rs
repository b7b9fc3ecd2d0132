//! Where the blocks of an image come from.

use core::convert::Infallible;
use core::ops::Deref;

use crate::BLOCK;

/// The blocks of an image, sound by whatever the source holds them to.
pub trait Source {
    /// A block that is there: a handle to its bytes, which stay as they are as long as it lives.
    type Block: Clone + Deref<Target = [u8; BLOCK]>;
    /// Why a block is not to be had.
    type Error;

    /// How many there are.
    fn count(&self) -> u64;

    /// The block with this index, which is below the count.
    ///
    /// # Errors
    /// Why it is not to be had.
    fn block(&self, index: u64) -> Result<Self::Block, Self::Error>;

    /// The same; the caller will go on with up to `ahead` blocks behind it.
    ///
    /// # Errors
    /// Why it is not to be had.
    fn block_of_run(&self, index: u64, _ahead: u64) -> Result<Self::Block, Self::Error> {
        self.block(index)
    }

    /// The same, if it is at hand: without waiting, and without work.
    fn block_at_hand(&self, index: u64) -> Option<Self::Block> {
        self.block(index).ok()
    }
}

/// An image in memory that nobody doubts.
impl<'a> Source for &'a [u8] {
    type Block = &'a [u8; BLOCK];
    type Error = Infallible;

    fn count(&self) -> u64 {
        (self.len() / BLOCK) as u64
    }

    fn block(&self, index: u64) -> Result<&'a [u8; BLOCK], Infallible> {
        // Below the count, as the trait has it.
        Ok(&self.as_chunks::<BLOCK>().0[index as usize])
    }
}
