//! What the blocks of a base are held to: its dm-verity tree, and the count of those that were found not to be what they were.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use linux::Errno;
use sha256::Engine;
use verity::{BLOCK, Bitmap, Failure, Verifier};

/// Where the tree of a base is, and what it leads to.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// Superblock and tree, which stay in memory for good and do not change.
    pub section: &'static [u8],
    /// Bytes of the base.
    pub length: u64,
    /// The hash of the whole.
    pub root: [u8; verity::DIGEST],
}

/// The tree of a base, and what is known of its blocks.
#[derive(Debug)]
pub struct Integrity {
    verifier: Verifier<&'static [u8]>,
    /// Blocks that were checked. The source of the blocks sees to it that this is true of the copy that it gives out.
    sound: Bitmap,
    failures: AtomicU64,
    report: fn(Failure),
}

impl Integrity {
    /// Nothing is known yet. `report` is told of each check that fails.
    ///
    /// # Errors
    /// What is wrong with the tree's superblock or size.
    pub fn new(tree: &Tree, engine: Engine, report: fn(Failure)) -> Result<Arc<Self>, verity::Error> {
        let verifier = Verifier::new(tree.section, tree.length, tree.root, engine)?;
        let sound = Bitmap::new(verifier.layout().data_blocks())?;
        Ok(Arc::new(Self { verifier, sound, failures: AtomicU64::new(0), report }))
    }

    /// The tree.
    #[must_use]
    pub fn verifier(&self) -> &Verifier<&'static [u8]> {
        &self.verifier
    }

    /// How many blocks of the base are there.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.verifier.layout().data_blocks()
    }

    /// How many are known to be sound, of those that are in memory.
    #[must_use]
    pub fn verified(&self) -> u64 {
        self.sound.count()
    }

    /// How many checks have failed: each read of a damaged block is one.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether a block was checked.
    pub(super) fn is_sound(&self, block: u64) -> bool {
        self.sound.contains(block)
    }

    /// Checks a block unless that was done.
    ///
    /// # Errors
    /// `EIO` when it is not what it was when the base was built.
    pub(super) fn check(&self, block: u64, bytes: &[u8; BLOCK]) -> Result<(), Errno> {
        if self.sound.contains(block) {
            return Ok(());
        }
        match self.verifier.verify(block, bytes) {
            Ok(()) => {
                self.sound.insert(block);
                Ok(())
            }
            Err(failure) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                (self.report)(failure);
                Err(Errno::EIO)
            }
        }
    }

    /// Another copy of these blocks is about to be read.
    pub(super) fn forget(&self, blocks: core::ops::Range<u64>) {
        blocks.for_each(|block| self.sound.remove(block));
    }
}
