//! Write-back: pages get blocks, are written, and only then entered in the metadata.

use alloc::vec::Vec;

use datafs::{Allocation, Mapping};
use linux::Errno;

use super::body::{Body, Contents, index};
use crate::cache::Dirty;
use crate::device::Run;
use crate::{PAGE_SIZE, World};

/// Pages that are written together.
const BATCH: usize = 512;

/// Pages with the blocks that they go to.
struct Piece {
    allocation: Allocation,
    /// The first of the pages in the batch.
    at: usize,
    count: usize,
}

impl<W: World> Body<W> {
    /// Writes the dirty pages below `size` in ascending order. The file had this size before the pages are looked at: no byte below it is anywhere else. What
    /// lies behind is being written just now, and waits: on the device, nothing is behind a file's end that it could grow over.
    ///
    /// # Errors
    /// The first; pages behind were not tried, and the size on the disk is not above what was written.
    pub(super) fn write_pages(&self, contents: &Contents<W>, size: u64) -> Result<(), Errno> {
        let mut next = 0;
        loop {
            let dirty = contents.object.begin_write_back(next..size.div_ceil(PAGE_SIZE as u64).max(next), BATCH);
            let Some((last, _)) = dirty.last() else { return Ok(()) };
            next = last + 1;
            let result = self.write_batch(&dirty, size);
            contents.object.end_write_back(&dirty, result.is_ok());
            result?;
        }
    }

    fn write_batch(&self, dirty: &[Dirty<W::Page>], size: u64) -> Result<(), Errno> {
        let mut pieces = Vec::new();
        let result = self.find_blocks(dirty, &mut pieces);
        let result = result.and_then(|()| self.write_pieces(dirty, &pieces));
        let result = result.and_then(|()| pieces.iter_mut().try_for_each(|piece| self.attach(dirty, piece, size)));
        if result.is_err() {
            self.store.now(|volume| pieces.into_iter().for_each(|piece| volume.cancel(piece.allocation)));
        }
        result
    }

    fn find_blocks(&self, dirty: &[Dirty<W::Page>], pieces: &mut Vec<Piece>) -> Result<(), Errno> {
        let mut at = 0;
        while at < dirty.len() {
            let first = dirty[at].0;
            let row = dirty[at..].iter().zip(first..).take_while(|((page, _), wanted)| page == wanted).count();
            let allocation = self.store.run(|volume| volume.allocate(self.number(), index(first)?, row as u32))?;
            let count: usize = allocation.runs().iter().map(|run| run.count as usize).sum();
            pieces.push(Piece { allocation, at, count });
            at += count;
        }
        Ok(())
    }

    fn write_pieces(&self, dirty: &[Dirty<W::Page>], pieces: &[Piece]) -> Result<(), Errno> {
        let pages: Vec<W::Page> = dirty.iter().map(|(_, page)| page.clone()).collect();
        let mut runs: Vec<Run<'_, W>> = Vec::new();
        for piece in pieces {
            let mut at = piece.at;
            for run in piece.allocation.runs() {
                let end = at + run.count as usize;
                match runs.last_mut() {
                    Some((first, before)) if *first + before.len() as u64 == run.block => {
                        *before = &pages[at - before.len()..end];
                    }
                    _ => runs.push((run.block, &pages[at..end])),
                }
                at = end;
            }
        }
        let result = self.store.device().write_runs(&runs);
        self.store.note_written();
        result
    }

    /// Enters what was written. The size grows to the end of these pages at most: those before were written earlier.
    fn attach(&self, dirty: &[Dirty<W::Page>], piece: &mut Piece, size: u64) -> Result<(), Errno> {
        let first = dirty[piece.at].0;
        let pages = first..first + piece.count as u64;
        let size = size.min(pages.end * PAGE_SIZE as u64);
        self.store.run(|volume| {
            let mut is_new = size > self.state.lock().known.size;
            for run in piece.allocation.runs() {
                let is_plain = !run.is_new
                    && matches!(volume.extent(self.number(), run.logical, run.count)?.mapping, Mapping::Data(_));
                is_new |= !is_plain;
            }
            if !is_new {
                return Ok(());
            }
            let reserved = self.state.lock().reserved.range(pages.clone()).count();
            volume.attach(&mut piece.allocation, reserved as u32, size)?;
            self.state.lock().forget_reserved(&pages);
            self.adopt(volume, true)
        })
    }
}
