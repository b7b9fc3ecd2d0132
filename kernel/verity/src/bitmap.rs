//! Which of a fixed number of blocks are known to be sound. Any CPU may set and look at any time: a bit that is seen was set after its
//! block was checked.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// One bit a block.
#[derive(Debug)]
pub struct Bitmap {
    words: Box<[AtomicU64]>,
    count: AtomicU64,
}

impl Bitmap {
    /// For `blocks`, none of which is known.
    ///
    /// # Errors
    /// `Memory`.
    pub fn new(blocks: u64) -> Result<Self, Error> {
        let length = usize::try_from(blocks.div_ceil(u64::from(u64::BITS))).map_err(|_| Error::Memory)?;
        let mut words = Vec::new();
        words.try_reserve_exact(length).map_err(|_| Error::Memory)?;
        words.resize_with(length, AtomicU64::default);
        Ok(Self { words: words.into(), count: AtomicU64::new(0) })
    }

    /// Whether this block is known.
    #[must_use]
    pub fn contains(&self, block: u64) -> bool {
        let Some((word, bit)) = self.place(block) else { return false };
        word.load(Ordering::Acquire) & bit != 0
    }

    /// From now on this block is known.
    pub fn insert(&self, block: u64) {
        let Some((word, bit)) = self.place(block) else { return };
        if word.fetch_or(bit, Ordering::Release) & bit == 0 {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// This block is not known any longer: another copy of it was read.
    pub fn remove(&self, block: u64) {
        let Some((word, bit)) = self.place(block) else { return };
        if word.fetch_and(!bit, Ordering::AcqRel) & bit != 0 {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many are known.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn place(&self, block: u64) -> Option<(&AtomicU64, u64)> {
        let word = self.words.get(usize::try_from(block / u64::from(u64::BITS)).ok()?)?;
        Some((word, 1 << (block % u64::from(u64::BITS))))
    }
}
