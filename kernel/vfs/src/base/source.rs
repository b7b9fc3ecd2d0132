//! Where the blocks of a base come from: memory, or a disk. Either way a block is given out only after it was checked.

use alloc::sync::Arc;
use core::ops::Deref;

use erofs::{BLOCK, Source};
use linux::Errno;

use super::Integrity;
use crate::cache::{Cache, Object};
use crate::{Device, Page, World};

/// Blocks that can be mapped.
pub trait Blocks<W: World>: Source<Error = Errno> + Send + Sync + 'static {
    /// A share of the page that a block is; `None` when it may not be shared.
    fn share(block: &Self::Block) -> Option<W::Page>;
}

/// A base that the loader has copied to memory, where it stays, read-only, for good: a block is checked when it is first used, and its page
/// is mapped where it lies.
#[derive(Debug)]
pub struct InMemory {
    blocks: &'static [[u8; BLOCK]],
    integrity: Arc<Integrity>,
}

impl InMemory {
    /// `bytes` are held to `integrity`.
    #[must_use]
    pub fn new(bytes: &'static [u8], integrity: &Arc<Integrity>) -> Self {
        Self { blocks: bytes.as_chunks().0, integrity: integrity.clone() }
    }

    fn get(&self, index: u64) -> Option<&'static [u8; BLOCK]> {
        self.blocks.get(usize::try_from(index).ok()?)
    }
}

impl Source for InMemory {
    type Block = &'static [u8; BLOCK];
    type Error = Errno;

    fn count(&self) -> u64 {
        self.blocks.len() as u64
    }

    fn block(&self, index: u64) -> Result<Self::Block, Errno> {
        let block = self.get(index).ok_or(Errno::EIO)?;
        self.integrity.check(index, block)?;
        Ok(block)
    }

    fn block_at_hand(&self, index: u64) -> Option<Self::Block> {
        self.get(index).filter(|_| self.integrity.is_sound(index))
    }
}

impl<W: World> Blocks<W> for InMemory {
    fn share(block: &Self::Block) -> Option<W::Page> {
        W::Page::in_place(*block)
    }
}

/// A base that stays on its disk. Blocks are read into the page cache, several at once, and each is checked when it is first used.
///
/// Invariant: a block is marked as sound only by who holds a share of its page, and a page that somebody has a share of does not leave the
/// cache. So the mark is of the copy that is in the cache: it is taken off before another is read. (A copy that failed its check stays as well, until
/// memory is short: taking it out while others look at it would let them mark the next one.)
pub struct OnDisk<W: World> {
    device: Arc<dyn Device<W>>,
    /// Block of the device where the base begins.
    first: u64,
    pages: Arc<Object<W>>,
    integrity: Arc<Integrity>,
}

/// A block in the page cache.
#[derive(Clone)]
pub struct CachedBlock<P>(P);

impl<P: Page> Deref for CachedBlock<P> {
    type Target = [u8; BLOCK];

    fn deref(&self) -> &[u8; BLOCK] {
        self.0.bytes().first_chunk().expect("a page is as long as a block")
    }
}

/// So many blocks are read at once when nobody says how many he wants, and at the most. Reading is cheap beside asking for it, and what is not
/// used is not hashed.
const AHEAD_USUAL: u64 = 8;
const AHEAD_MAX: u64 = 32;

impl<W: World> OnDisk<W> {
    /// The base that begins at block `first` of `device` is held to `integrity`; its pages are kept in `cache`.
    #[must_use]
    pub fn new(device: Arc<dyn Device<W>>, first: u64, cache: &Arc<Cache<W>>, integrity: &Arc<Integrity>) -> Self {
        Self { device, first, pages: Object::new(cache, None), integrity: integrity.clone() }
    }
}

impl<W: World> Source for OnDisk<W> {
    type Block = CachedBlock<W::Page>;
    type Error = Errno;

    fn count(&self) -> u64 {
        self.integrity.blocks()
    }

    fn block(&self, index: u64) -> Result<Self::Block, Errno> {
        self.block_of_run(index, AHEAD_USUAL - 1)
    }

    fn block_of_run(&self, index: u64, ahead: u64) -> Result<Self::Block, Errno> {
        let left = self.count().checked_sub(index).filter(|&left| left > 0).ok_or(Errno::EIO)?;
        let count = (ahead + 1).clamp(AHEAD_USUAL, AHEAD_MAX).min(left);
        let page = self.pages.get_or_fill(index, count as usize, &mut |index, pages| {
            self.integrity.forget(index..index + pages.len() as u64);
            self.device.read(self.first + index, pages)
        })?;
        let block = CachedBlock(page);
        self.integrity.check(index, &block)?;
        Ok(block)
    }

    fn block_at_hand(&self, index: u64) -> Option<Self::Block> {
        // In this order: with the share in hand the mark is of this copy.
        let page = self.pages.get(index)?;
        self.integrity.is_sound(index).then_some(CachedBlock(page))
    }
}

impl<W: World> Blocks<W> for OnDisk<W> {
    fn share(block: &Self::Block) -> Option<W::Page> {
        Some(block.0.clone())
    }
}
