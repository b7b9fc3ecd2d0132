//! Truncation, holes, room for later.

use datafs::{FILE_MAX, Progress};
use linux::Errno;

use super::body::{Body, Contents, index, now};
use crate::file::Allocate;
use crate::world::Page;
use crate::{PAGE_SIZE, World};

const SIZE: u64 = PAGE_SIZE as u64;
/// Blocks that `fallocate` asks for at a time.
const CHUNK: u64 = 4096;

impl<W: World> Body<W> {
    /// Makes the file shorter or longer.
    ///
    /// # Errors
    /// `EFBIG`, `EINVAL`, `EROFS`, `EIO`, `ENOSPC`.
    pub(super) fn truncate(&self, size: u64) -> Result<(), Errno> {
        let contents = self.contents()?;
        self.store.check_writable()?;
        if size > FILE_MAX {
            return Err(Errno::EFBIG);
        }
        let _writing = contents.writing.lock();
        self.finish_cut()?;
        if size > self.size() {
            self.clear_tail(contents)?;
            self.state.lock().size = size;
        } else {
            self.cut(contents, size)?;
        }
        self.touch();
        Ok(())
    }

    fn cut(&self, contents: &Contents<W>, size: u64) -> Result<(), Errno> {
        let _cleaning = contents.cleaning.lock();
        // From here on nobody reads what lies behind; who began before is waited for.
        self.state.lock().size = size;
        let behind = size.div_ceil(SIZE);
        contents.object.remove(behind..u64::MAX);
        self.unreserve(behind..u64::MAX);
        if !size.is_multiple_of(SIZE) {
            // When it cannot be read, there is no page that shows what was cut off; the device is cleared before the file grows.
            if let Ok(last) = self.page_at(contents, size / SIZE, 1) {
                last.change(&mut |bytes| bytes[(size % SIZE) as usize..].fill(0));
            }
        }
        self.state.lock().is_cut = true;
        // Until it is done it is not forgotten, and the write-back goes on with it.
        self.note_changed();
        self.finish_cut()
    }

    /// Goes on with a truncation until nothing is left behind the end. Under `writing` or `cleaning`.
    ///
    /// # Errors
    /// `EIO`: the file must not grow.
    pub(super) fn finish_cut(&self) -> Result<(), Errno> {
        let state = self.state.lock();
        if !state.is_cut {
            return Ok(());
        }
        // What the volume does not have yet comes with the write-back.
        let size = state.size.min(state.known.size);
        drop(state);
        let time = now::<W>();
        loop {
            let progress = self.store.run(|volume| {
                let progress = volume.truncate(self.number(), size, time)?;
                self.adopt(volume, true)?;
                Ok(progress)
            })?;
            if progress == Progress::Done {
                break;
            }
        }
        self.state.lock().is_cut = false;
        Ok(())
    }

    /// `fallocate`.
    ///
    /// # Errors
    /// `ENODEV`, `EROFS`, `EFBIG`, `ENOSPC`, `EDQUOT`, `EIO`.
    pub(super) fn allocate(&self, how: Allocate, offset: u64, end: u64) -> Result<(), Errno> {
        let contents = self.contents.as_ref().ok_or(Errno::ENODEV)?;
        self.store.check_writable()?;
        let _writing = contents.writing.lock();
        self.finish_cut()?;
        match how {
            Allocate::Punch => self.punch(contents, offset, end.min(FILE_MAX))?,
            Allocate::Keep | Allocate::Extend => {
                if end > FILE_MAX {
                    return Err(Errno::EFBIG);
                }
                self.fill_holes(contents, offset / SIZE, end.div_ceil(SIZE))?;
                if how == Allocate::Extend && end > self.size() {
                    self.clear_tail(contents)?;
                    self.state.lock().size = end;
                }
            }
        }
        self.touch();
        Ok(())
    }

    fn punch(&self, contents: &Contents<W>, start: u64, end: u64) -> Result<(), Errno> {
        let (first, last) = (start.div_ceil(SIZE), end / SIZE);
        if start >= end {
            return Ok(());
        }
        if first > last {
            return self.clear_part(contents, last, start % SIZE..end % SIZE);
        }
        if !start.is_multiple_of(SIZE) {
            self.clear_part(contents, start / SIZE, start % SIZE..SIZE)?;
        }
        if !end.is_multiple_of(SIZE) {
            self.clear_part(contents, last, 0..end % SIZE)?;
        }
        if first == last {
            return Ok(());
        }
        let _cleaning = contents.cleaning.lock();
        // As for a truncation: who reads from here on sees zeroes.
        self.state.lock().punching = first..last;
        contents.object.remove(first..last);
        self.unreserve(first..last);
        let result = self.release(first, last);
        if result.is_err() {
            // Those that are still there show what they hold.
            contents.object.remove(first..last);
        }
        self.state.lock().punching = 0..0;
        result
    }

    fn release(&self, first: u64, last: u64) -> Result<(), Errno> {
        loop {
            let progress = self.store.run_with_room(|volume| {
                let progress = volume.punch(self.number(), index(first)?, index(last - first)?)?;
                self.adopt(volume, true)?;
                Ok(progress)
            })?;
            if progress == Progress::Done {
                return Ok(());
            }
        }
    }

    /// Gives blocks to all holes of a range; they read as zeroes until they are written.
    fn fill_holes(&self, contents: &Contents<W>, first: u64, end: u64) -> Result<(), Errno> {
        let _cleaning = contents.cleaning.lock();
        let mut at = first;
        while at < end {
            let pages = at..end.min(at + CHUNK);
            self.reserve(pages.clone())?;
            match self.fill_some(pages.start, pages.end) {
                Ok(next) => at = next,
                Err(error) => {
                    self.unreserve_unused(contents, pages);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn fill_some(&self, first: u64, end: u64) -> Result<u64, Errno> {
        let mut allocation =
            self.store.run(|volume| volume.allocate(self.number(), index(first)?, index(end - first)?))?;
        let count: u64 = allocation.runs().iter().map(|run| u64::from(run.count)).sum();
        let pages = first..first + count;
        let result = self.store.run(|volume| {
            let reserved = self.state.lock().reserved.range(pages.clone()).count();
            volume.attach_unwritten(&mut allocation, reserved as u32, 0)?;
            self.state.lock().forget_reserved(&pages);
            self.adopt(volume, true)
        });
        if result.is_err() {
            self.store.now(|volume| volume.cancel(allocation));
        }
        result.map(|()| pages.end)
    }
}
