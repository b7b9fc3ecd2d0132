//! A block device as file systems see it: a partition, or a whole disk, in blocks of a page.

use linux::Errno;

use crate::{PAGE_SIZE, World};

/// Bytes of a block: a page, so that a page of a cache is lent to the device as it is.
pub const BLOCK_SIZE: usize = PAGE_SIZE;

/// Consecutive blocks from the first on, one page each.
pub type Run<'a, W> = (u64, &'a [<W as World>::Page]);

/// A partition or a disk. Every call sleeps until the device has answered; no spinlock may be held.
///
/// Calls from several threads are in flight at once, and so may be overtaken by each other: who needs an order waits for the first
/// before the second, and who needs it on stable media calls [`Device::flush`] between the two. An error leaves the blocks that it
/// concerns unknown: old, new, or a mixture of sectors of both. A device that has gone, or that no longer answers, gives `EIO` at once.
pub trait Device<W: World>: Send + Sync {
    /// How many whole blocks it has.
    fn blocks(&self) -> u64;

    /// Bytes behind the last whole block, less than a block. Where there are some, they are the beginning of one block more that can be read
    /// and written; the rest of its page is left alone.
    fn tail(&self) -> usize {
        0
    }

    /// Whether writing is refused.
    fn is_read_only(&self) -> bool;

    /// Whether everything is an error for good.
    fn is_gone(&self) -> bool {
        false
    }

    /// Fills one page for each of the consecutive blocks from `block` on.
    ///
    /// # Errors
    /// `EIO`, also for blocks that are not there; some pages may have been filled.
    fn read(&self, block: u64, pages: &[W::Page]) -> Result<(), Errno>;

    /// Writes one page to each of the consecutive blocks from `block` on. The bytes are on stable media only after a [`Device::flush`].
    ///
    /// # Errors
    /// `EIO`, also for blocks that are not there; `EROFS` when it is read-only. Some blocks may have been written.
    fn write(&self, block: u64, pages: &[W::Page]) -> Result<(), Errno>;

    /// Reads several runs, which may be in flight at once; all have ended when it returns.
    ///
    /// # Errors
    /// The first error of any run, as for [`Device::read`]; the others were tried all the same.
    fn read_runs(&self, runs: &[Run<'_, W>]) -> Result<(), Errno> {
        let mut result = Ok(());
        for (block, pages) in runs {
            result = result.and(self.read(*block, pages));
        }
        result
    }

    /// Writes several runs, which may be in flight at once and reach the media in any order; all have ended when it returns.
    ///
    /// # Errors
    /// The first error of any run, as for [`Device::write`]; the others were tried all the same.
    fn write_runs(&self, runs: &[Run<'_, W>]) -> Result<(), Errno> {
        let mut result = Ok(());
        for (block, pages) in runs {
            result = result.and(self.write(*block, pages));
        }
        result
    }

    /// Writes like [`Device::write`], and returns when these blocks are on stable media; it says nothing of other writes. A device that can
    /// do that with one request has no need of a flush.
    ///
    /// # Errors
    /// As for [`Device::write`] and [`Device::flush`].
    fn write_through(&self, block: u64, pages: &[W::Page]) -> Result<(), Errno> {
        self.write(block, pages)?;
        self.flush()
    }

    /// Returns when every write that had ended before this call began is on stable media.
    ///
    /// # Errors
    /// `EIO`: of the writes since the last flush that succeeded, none can be relied on.
    fn flush(&self) -> Result<(), Errno>;

    /// Says that nobody needs what is in these blocks any longer; what they hold then is unknown. A hint: `Ok` where the device takes none.
    ///
    /// # Errors
    /// `EIO`; `EROFS` when it is read-only.
    fn discard(&self, block: u64, count: u64) -> Result<(), Errno>;
}

/// `Ok` when the consecutive blocks from `block` on are all on a device of `blocks`.
///
/// # Errors
/// `EIO`.
pub fn check_range(blocks: u64, block: u64, count: u64) -> Result<(), Errno> {
    let is_inside = block.checked_add(count).is_some_and(|end| end <= blocks);
    if is_inside { Ok(()) } else { Err(Errno::EIO) }
}
