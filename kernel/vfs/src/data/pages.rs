//! Reading, writing and mapping through the page cache.

use alloc::vec::Vec;
use core::ops::Range;

use datafs::{FILE_MAX, Mapping};
use linux::Errno;
use linux::flags::{O_APPEND, O_NOATIME};

use super::body::{Body, Contents, index};
use crate::device::Run;
use crate::world::Page;
use crate::{PAGE_SIZE, Sink, Source, World};

const SIZE: u64 = PAGE_SIZE as u64;
/// Pages for which blocks are reserved at a time.
const CHUNK: u64 = 64;

impl<W: World> Body<W> {
    /// A page of the file, and up to `count` behind it if it is not there.
    ///
    /// # Errors
    /// `EIO`, `ENOMEM`.
    pub(super) fn page_at(&self, contents: &Contents<W>, page: u64, count: usize) -> Result<W::Page, Errno> {
        contents.object.get_or_fill(page, count, &mut |first, pages| self.fill(first, pages))
    }

    /// Reads pages. Their slots are taken, and who makes the file shorter or punches a hole says so before he waits for these: what is not to be
    /// read any more is known here.
    fn fill(&self, first: u64, pages: &[W::Page]) -> Result<(), Errno> {
        let state = self.state.lock();
        let (size, punching) = (state.size, state.punching.clone());
        drop(state);
        let inside = (size.div_ceil(SIZE).saturating_sub(first) as usize).min(pages.len());
        let mut runs: Vec<Run<'_, W>> = Vec::new();
        let mut at = 0;
        while at < inside {
            let here = first + at as u64;
            let extent = self.store.run(|volume| volume.extent(self.number(), index(here)?, (inside - at) as u32))?;
            let end = at + extent.count as usize;
            match extent.mapping {
                Mapping::Data(block) => runs.push((block, &pages[at..end])),
                Mapping::Hole | Mapping::Unwritten(_) => clear(&pages[at..end]),
            }
            at = end;
        }
        clear(&pages[inside..]);
        // Of several pages the first is asked for again alone: what nobody wanted yet is nobody's error.
        let is_wanted = pages.len() == 1;
        self.store.device().read_runs(&runs).inspect_err(|error| {
            if is_wanted {
                self.note_unread(first, *error);
            }
        })?;
        for (page, place) in pages.iter().zip(first..) {
            if punching.contains(&place) {
                clear(core::slice::from_ref(page));
            } else if size / SIZE == place {
                page.change(&mut |bytes| bytes[(size % SIZE) as usize..].fill(0));
            }
        }
        Ok(())
    }

    /// Gives bytes from `offset` on. `ahead` says how many pages to read where one is not there and so many are wanted.
    ///
    /// # Errors
    /// `EIO`, `EFAULT`, `ENOMEM`.
    pub(super) fn read(
        &self,
        offset: u64,
        to: &mut dyn Sink,
        flags: u32,
        ahead: &dyn Fn(u64, u64) -> u64,
    ) -> Result<(), Errno> {
        let contents = self.contents()?;
        let mut offset = offset;
        loop {
            let size = self.size();
            let (page, within) = (offset / SIZE, (offset % SIZE) as usize);
            let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
            let length = (PAGE_SIZE - within).min(to.room()).min(left);
            if length == 0 {
                break;
            }
            let wanted = (within + to.room()).div_ceil(PAGE_SIZE) as u64;
            let count = ahead(page, wanted).min(size.div_ceil(SIZE) - page);
            let share = self.page_at(contents, page, count as usize)?;
            offset += to.put(&share.bytes()[within..within + length])? as u64;
        }
        if flags & O_NOATIME == 0 {
            self.note_access();
        }
        Ok(())
    }

    /// Takes bytes to `offset`, or to the end with `O_APPEND`; returns the offset behind them.
    ///
    /// # Errors
    /// `ENOSPC`, `EDQUOT`, `EFBIG`, `EIO`, `EFAULT`, `ENOMEM`, `EROFS`, when nothing was written.
    pub(super) fn write(&self, offset: u64, from: &mut dyn Source, flags: u32) -> Result<u64, Errno> {
        let contents = self.contents()?;
        self.store.check_writable()?;
        contents.object.balance()?;
        let _writing = contents.writing.lock();
        let start = if flags & O_APPEND != 0 { self.size() } else { offset };
        if from.left() == 0 {
            return Ok(start);
        }
        if start >= FILE_MAX {
            return Err(Errno::EFBIG);
        }
        let end = start.saturating_add(from.left() as u64).min(FILE_MAX);
        self.finish_cut()?;
        if start != self.size() && end > self.size() {
            self.clear_tail(contents)?;
        }
        let mut at = start;
        let mut result = Ok(());
        while at < end && result.is_ok() {
            let pages = at / SIZE..end.div_ceil(SIZE).min(at / SIZE + CHUNK);
            result = self.write_chunk(contents, &mut at, pages, from).and_then(|()| contents.object.balance());
        }
        if at > start {
            self.touch();
        }
        if at == start { result.map(|()| start) } else { Ok(at) }
    }

    fn write_chunk(
        &self,
        contents: &Contents<W>,
        at: &mut u64,
        pages: Range<u64>,
        from: &mut dyn Source,
    ) -> Result<(), Errno> {
        let pages = match self.reserve(pages.clone()) {
            // Perhaps there is room for a part.
            Err(Errno::ENOSPC | Errno::EDQUOT) if pages.end - pages.start > 1 => {
                let first = pages.start..pages.start + 1;
                self.reserve(first.clone())?;
                first
            }
            result => result.map(|()| pages)?,
        };
        let mut result = Ok(());
        for page in pages.clone() {
            let within = (*at % SIZE) as usize;
            let length = (PAGE_SIZE - within).min(from.left()).min((FILE_MAX - *at) as usize);
            let before = from.done();
            result = self.write_page(contents, page, within, length, from);
            if from.done() > before {
                *at += (from.done() - before) as u64;
                let mut state = self.state.lock();
                state.size = state.size.max(*at);
            }
            if result.is_err() {
                // Nobody reserves for a mapping meanwhile.
                let _cleaning = contents.cleaning.lock();
                self.unreserve_unused(contents, pages);
                break;
            }
        }
        result
    }

    /// Takes bytes into one page, which is dirty afterwards if there were any.
    fn write_page(
        &self,
        contents: &Contents<W>,
        page: u64,
        within: usize,
        length: usize,
        from: &mut dyn Source,
    ) -> Result<(), Errno> {
        let is_behind = page * SIZE >= self.size();
        let before = from.done();
        if !is_behind && length < PAGE_SIZE || contents.object.get(page).is_some() {
            let share = self.page_at(contents, page, 1)?;
            let result = take(&share, within, length, from);
            // The share keeps it in the cache.
            if from.done() > before {
                contents.object.mark_dirty(page);
            }
            return result;
        }
        let fresh = W::Page::zeroed().ok_or(Errno::ENOMEM)?;
        let result = take(&fresh, within, length, from);
        let count = from.done() - before;
        if count == 0 {
            return result;
        }
        if count == length || is_behind {
            let there = contents.object.insert_dirty(page, fresh.clone());
            if there.is_ok() {
                return result;
            }
        }
        // Somebody read it meanwhile, or its other bytes count: what was taken goes there.
        let share = self.page_at(contents, page, 1)?;
        share.change(&mut |bytes| {
            bytes[within..within + count].copy_from_slice(&fresh.bytes()[within..within + count]);
        });
        contents.object.mark_dirty(page);
        result
    }

    /// The file is about to grow: behind its end, in the page that it ends in, there have to be zeroes, in memory and on the device. Under `writing`.
    ///
    /// # Errors
    /// `EIO`, `ENOSPC`, `ENOMEM`.
    pub(super) fn clear_tail(&self, contents: &Contents<W>) -> Result<(), Errno> {
        let size = self.size();
        if size.is_multiple_of(SIZE) { Ok(()) } else { self.clear_part(contents, size / SIZE, size % SIZE..SIZE) }
    }

    /// Makes a part of a page zero. Under `writing`.
    pub(super) fn clear_part(&self, contents: &Contents<W>, page: u64, part: Range<u64>) -> Result<(), Errno> {
        let mapping = self.store.run(|volume| Ok(volume.extent(self.number(), index(page)?, 1)?.mapping))?;
        let is_there = contents.object.get(page).is_some();
        if !is_there && !matches!(mapping, Mapping::Data(_)) {
            return Ok(());
        }
        let share = self.page_at(contents, page, 1)?;
        let range = part.start as usize..part.end as usize;
        if share.bytes()[range.clone()].iter().all(|&byte| byte == 0) && mapping == Mapping::Hole {
            return Ok(());
        }
        self.reserve(page..page + 1)?;
        share.change(&mut |bytes| bytes[range.clone()].fill(0));
        contents.object.mark_dirty(page);
        Ok(())
    }

    /// The page for a mapping; `write` for a shared one that is written.
    ///
    /// # Errors
    /// `ENXIO` behind the end; `ENODEV` when it is no regular file; `EIO`, `ENOSPC`, `EDQUOT`, `ENOMEM`, `EROFS`.
    pub(super) fn map(&self, page: u64, write: bool, ahead: u64) -> Result<W::Page, Errno> {
        let contents = self.contents.as_ref().ok_or(Errno::ENODEV)?;
        let left = || self.size().div_ceil(SIZE).checked_sub(page).filter(|&left| left > 0).ok_or(Errno::ENXIO);
        if !write {
            let count = ahead.min(left()?);
            return self.page_at(contents, page, count as usize);
        }
        self.store.check_writable()?;
        contents.object.balance()?;
        let cleaning = contents.cleaning.lock();
        left()?;
        // The share keeps the page in the cache, and nobody makes the file shorter now.
        let _share = self.page_at(contents, page, 1)?;
        self.reserve(page..page + 1)?;
        let mapped = contents.object.map_writable(page).ok_or(Errno::EIO)?;
        drop(cleaning);
        self.touch();
        Ok(mapped)
    }

    /// The next data, or hole, at or behind `offset`.
    ///
    /// # Errors
    /// `ENXIO` when there is none before the end; `EIO`.
    pub(super) fn seek_data(&self, offset: u64, size: u64, hole: bool) -> Result<u64, Errno> {
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        let Some(contents) = &self.contents else { return Ok(if hole { size } else { offset }) };
        let end = size.div_ceil(SIZE);
        let mut at = offset / SIZE;
        while at < end {
            let extent = self.store.run(|volume| volume.extent(self.number(), index(at)?, (end - at) as u32))?;
            let behind = at + u64::from(extent.count);
            if matches!(extent.mapping, Mapping::Data(_)) {
                if !hole {
                    return Ok((at * SIZE).max(offset));
                }
                at = behind;
                continue;
            }
            // Pages that were not written back yet are data, too.
            let dirty = contents.object.next_dirty(at).filter(|&dirty| dirty < behind);
            match dirty {
                Some(dirty) if !hole => return Ok((dirty * SIZE).max(offset)),
                Some(dirty) if dirty == at => at += 1,
                _ if hole => return Ok((at * SIZE).max(offset)),
                _ => at = behind,
            }
        }
        if hole { Ok(size) } else { Err(Errno::ENXIO) }
    }
}

fn clear<P: Page>(pages: &[P]) {
    pages.iter().for_each(|page| page.change(&mut |bytes| bytes.fill(0)));
}

fn take<P: Page>(page: &P, within: usize, length: usize, from: &mut dyn Source) -> Result<(), Errno> {
    let mut result = Ok(());
    page.change(&mut |bytes| result = from.take(&mut bytes[within..within + length]).map(|_| ()));
    result
}
