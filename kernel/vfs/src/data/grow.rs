//! A volume takes in what its device has behind it (docs/formats/disk.md, "A larger disk").

use alloc::vec::Vec;
use core::ops::Range;

use datafs::layout::geometry::BLOCKS_MAX;
use linux::Errno;

use super::store::Store;
use crate::World;
use crate::world::Page;

/// Blocks behind the old end that are cleared: the partition table that ended the disk lies in them.
const CLEARED: u64 = 512;
/// Blocks of zeroes that are written at once.
const BATCH: u64 = 64;

impl<W: World> Store<W> {
    /// Grows the volume to its device; gives how many blocks it had, and has. What lies behind its old end is cleared, on stable media, before it belongs to the
    /// volume: a cut leaves the old volume, or the new one.
    ///
    /// # Errors
    /// `EIO`, `ENOMEM`: the volume is as it was, or nothing can be written to it any more.
    pub(super) fn fit(&self) -> Result<Option<Range<u64>>, Errno> {
        let (old, new) = (self.now(|volume| volume.blocks()), self.device().blocks().min(BLOCKS_MAX));
        if self.is_read_only() || new <= old {
            return Ok(None);
        }
        self.clear(old..new.min(old + CLEARED))?;
        self.run(|volume| volume.grow(new))?;
        self.commit(false)?;
        Ok(Some(old..new))
    }

    fn clear(&self, blocks: Range<u64>) -> Result<(), Errno> {
        let zeroes: Option<Vec<W::Page>> = (0..BATCH).map(|_| W::Page::zeroed()).collect();
        let zeroes = zeroes.ok_or(Errno::ENOMEM)?;
        let mut at = blocks.start;
        while at < blocks.end {
            let count = BATCH.min(blocks.end - at);
            self.device().write(at, &zeroes[..count as usize])?;
            at += count;
        }
        self.device().flush()
    }
}
