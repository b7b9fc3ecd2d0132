//! Blocks of files: maps, reservations, allocation, truncation.
//!
//! A map never has two extents that overlap, nor two neighbours that could be one. What an allocation holds is in no map until it is attached.

use alloc::vec::Vec;

use crate::layout::inode::Fields;
use crate::layout::node::{Record, UNWRITTEN};
use crate::types::{Allocation, Extent, InodeNumber, Mapping, Progress, Run};
use crate::volume::{Out, Volume};
use crate::{BLOCK, Error, FILE_MAX};

/// Extents that one step of a truncation takes away at most.
const STEP: usize = 16;
/// Runs of one allocation.
const RUNS_MAX: usize = 8;

const fn key(logical: u64) -> u64 {
    logical << 32 | u32::MAX as u64
}

fn mapping(record: &Record, at: u64) -> Mapping {
    let block = record.block + (at - u64::from(record.high));
    if record.is_unwritten() { Mapping::Unwritten(block) } else { Mapping::Data(block) }
}

/// Two extents of which the second continues the first.
fn joins(one: &Record, other: &Record) -> bool {
    one.end() == u64::from(other.high)
        && one.block.wrapping_add(u64::from(one.count())) == other.block
        && one.is_unwritten() == other.is_unwritten()
}

/// An extent's part from `from` to `to`.
fn part(record: &Record, from: u64, to: u64) -> Record {
    Record {
        high: from as u32,
        low: (to - from) as u32 | record.low & UNWRITTEN,
        block: record.block.wrapping_add(from - u64::from(record.high)),
    }
}

fn check_range(logical: u32, count: u32) -> Result<u64, Error> {
    let end = u64::from(logical) + u64::from(count);
    if count == 0 {
        return Err(Error::Invalid);
    }
    if end > FILE_MAX / BLOCK as u64 { Err(Error::FileTooBig) } else { Ok(end) }
}

/// Reading.
impl Volume {
    /// What stands at block `logical` of a file: one extent, which covers it, starts there and ends at `logical + count` at the latest.
    ///
    /// # Errors
    /// `Invalid` when it is no regular file.
    pub fn extent(&mut self, inode: InodeNumber, logical: u32, count: u32) -> Out<Extent> {
        let fields = self.regular(inode)?;
        check_range(logical, count)?;
        self.extent_of(&fields, logical, count)
    }

    fn extent_of(&mut self, fields: &Fields, logical: u32, count: u32) -> Out<Extent> {
        let (at, end) = (u64::from(logical), u64::from(logical) + u64::from(count));
        let hole = |end: u64| Ok(Extent { logical, count: (end - at) as u32, mapping: Mapping::Hole });
        let mut cursor = self.seek(fields, key(at))?;
        let Some(mut record) = self.record(&cursor) else { return hole(end) };
        if record.end() > at && u64::from(record.high) <= at {
            return Ok(Extent { logical, count: (record.end().min(end) - at) as u32, mapping: mapping(&record, at) });
        }
        if u64::from(record.high) <= at {
            if !self.advance(&mut cursor)? {
                return hole(end);
            }
            record = self.record(&cursor).unwrap_or_default();
        }
        hole(end.min(u64::from(record.high).max(at + 1)))
    }

    fn regular(&mut self, inode: InodeNumber) -> Out<Fields> {
        let fields = self.inode(inode)?;
        if fields.is_regular() { Ok(fields) } else { Err(Error::Invalid.into()) }
    }
}

/// The map.
impl Volume {
    /// Enters an extent where there is none.
    fn map(&mut self, fields: &mut Fields, new: Record) -> Out<()> {
        let mut cursor = self.seek(fields, new.key() | u64::from(u32::MAX))?;
        let Some(found) = self.record(&cursor) else { return self.insert(fields, &cursor, new) };
        let mut before = None;
        let mut behind = Some(found);
        let at_before = cursor;
        if found.high <= new.high {
            before = Some(found);
            behind = if self.advance(&mut cursor)? { self.record(&cursor) } else { None };
        }
        if before.is_some_and(|record| record.end() > u64::from(new.high))
            || behind.is_some_and(|record| u64::from(record.high) < new.end())
        {
            return Err(Error::Invalid.into());
        }
        let before = before.filter(|record| joins(record, &new));
        let behind = behind.filter(|record| joins(&new, record));
        match (before, behind) {
            (Some(one), Some(other)) => {
                self.replace(&at_before, Record { low: one.low + new.count() + other.count(), ..one });
                self.delete(fields, &cursor)
            }
            (Some(one), None) => {
                self.replace(&at_before, Record { low: one.low + new.count(), ..one });
                Ok(())
            }
            (None, Some(other)) => {
                self.replace(&cursor, Record { low: new.low + other.count(), ..new });
                Ok(())
            }
            (None, None) => self.insert(fields, &at_before, new),
        }
    }

    /// Takes the extents between two blocks of the file out of its map, at most `steps` of them; their blocks are released, or kept for the caller.
    fn unmap(&mut self, fields: &mut Fields, first: u64, end: u64, steps: usize, release: bool) -> Out<Progress> {
        for _ in 0..steps {
            let mut cursor = self.seek(fields, key(first))?;
            let Some(mut record) = self.record(&cursor) else { return Ok(Progress::Done) };
            if record.end() <= first {
                if !self.advance(&mut cursor)? {
                    return Ok(Progress::Done);
                }
                record = self.record(&cursor).unwrap_or_default();
            }
            let (from, to) = (first.max(u64::from(record.high)), end.min(record.end()));
            if from >= to {
                return Ok(Progress::Done);
            }
            if release {
                let gone = part(&record, from, to);
                self.release_extent(fields, gone.block, gone.count())?;
            }
            let left = part(&record, u64::from(record.high), from);
            let right = part(&record, to, record.end());
            match (left.count() > 0, right.count() > 0) {
                (false, false) => self.delete(fields, &cursor)?,
                (true, false) => self.replace(&cursor, left),
                (false, true) => self.replace(&cursor, right),
                (true, true) => {
                    self.replace(&cursor, left);
                    let cursor = self.seek(fields, right.key())?;
                    self.insert(fields, &cursor, right)?;
                }
            }
        }
        Ok(Progress::More)
    }

    fn release_extent(&mut self, fields: &mut Fields, block: u64, count: u32) -> Out<()> {
        self.charge(fields.quota, -i64::from(count), 0, false)?;
        self.free_blocks(block, count, fields.number)?;
        fields.blocks = fields.blocks.saturating_sub(u64::from(count));
        Ok(())
    }

    /// Takes away a step of the extents from a block of the file on, the last ones first.
    pub(crate) fn cut(&mut self, fields: &mut Fields, from: u64) -> Out<Progress> {
        for _ in 0..STEP {
            let cursor = self.seek(fields, u64::MAX)?;
            let Some(record) = self.record(&cursor) else { return Ok(Progress::Done) };
            if record.end() <= from {
                return Ok(Progress::Done);
            }
            let first = from.max(u64::from(record.high));
            let gone = part(&record, first, record.end());
            self.release_extent(fields, gone.block, gone.count())?;
            if first == u64::from(record.high) {
                self.delete(fields, &cursor)?;
            } else {
                self.replace(&cursor, part(&record, u64::from(record.high), first));
            }
        }
        Ok(Progress::More)
    }
}

/// Space for data.
impl Volume {
    /// Sets blocks aside for holes of a file that will be written, and what their metadata may need.
    ///
    /// # Errors
    /// `NoSpace`, `Quota`.
    pub fn reserve(&mut self, inode: InodeNumber, blocks: u32) -> Out<()> {
        let fields = self.regular(inode)?;
        self.check_quota(fields.quota, u64::from(blocks))?;
        self.set_aside(u64::from(blocks))?;
        self.hold_quota(fields.quota, blocks);
        Ok(())
    }

    /// Gives back what was reserved and is not needed.
    ///
    /// # Errors
    /// As `attributes`.
    pub fn unreserve(&mut self, inode: InodeNumber, blocks: u32) -> Out<()> {
        let fields = self.regular(inode)?;
        self.end_reservation(fields.quota, blocks);
        Ok(())
    }

    fn end_reservation(&mut self, quota: u32, blocks: u32) {
        self.give_back(u64::from(blocks));
        self.release_quota(quota, blocks);
    }

    /// Finds blocks for `count` blocks of a file from `logical` on, near those before. What is a hole gets new blocks, what is unwritten or written
    /// keeps its own. Who did not reserve may take away what others reserved.
    ///
    /// # Errors
    /// `NoSpace`, which those who reserved do not see.
    pub fn allocate(&mut self, inode: InodeNumber, logical: u32, count: u32) -> Out<Allocation> {
        check_range(logical, count)?;
        let mut runs = Vec::new();
        runs.try_reserve_exact(RUNS_MAX).map_err(|_| Error::NoMemory)?;
        let result = self.operate(|volume| volume.allocate_runs(inode, logical, count, &mut runs));
        let allocation = Allocation { inode, runs };
        match result {
            Ok(()) => Ok(allocation),
            Err(stop) => {
                self.cancel(allocation);
                Err(stop)
            }
        }
    }

    fn allocate_runs(&mut self, inode: InodeNumber, logical: u32, count: u32, runs: &mut Vec<Run>) -> Out<()> {
        let fields = self.regular(inode)?;
        let (mut at, end) = (logical, logical + count);
        while at < end && runs.len() < RUNS_MAX {
            let extent = self.extent_of(&fields, at, end - at)?;
            let run = match extent.mapping {
                Mapping::Data(block) | Mapping::Unwritten(block) => {
                    Run { logical: at, count: extent.count, block, is_new: false }
                }
                Mapping::Hole => {
                    let goal = self.goal(&fields, at, runs)?;
                    let Some((block, count)) = self.find_run(goal, extent.count)? else { break };
                    self.set_busy(block, count, true);
                    Run { logical: at, count, block, is_new: true }
                }
            };
            runs.push(run);
            at += run.count;
        }
        if runs.is_empty() { Err(Error::NoSpace.into()) } else { Ok(()) }
    }

    /// Where a hole's blocks should be: as far from those before as they are in the file, or where the inode is.
    fn goal(&mut self, fields: &Fields, logical: u32, runs: &[Run]) -> Out<u64> {
        if let Some(run) = runs.last() {
            return Ok(run.block + u64::from(run.count));
        }
        let cursor = self.seek(fields, key(u64::from(logical)))?;
        let near = self.record(&cursor).filter(|record| record.high <= logical);
        Ok(match near {
            Some(record) => {
                let (behind, far) = (record.block + u64::from(record.count()), u64::from(logical - record.high));
                let same = |block: u64| self.geometry.place(block).map(|place| place.group);
                let goal = record.block + far;
                if same(goal) == same(record.block) { goal } else { behind }
            }
            None => self.geometry.group_start(fields.number / self.geometry.inodes_per_group),
        })
    }

    /// Enters an allocation whose blocks are written. `reserved` blocks of the file's reservation are used up by it; `size` is the file's new size
    /// if that is larger than what it has. It is over with `Ok`: nothing is left to cancel.
    ///
    /// # Errors
    /// `Quota`, `NoSpace`, which those who reserved do not see; `Invalid` when the file's map is not what it was.
    pub fn attach(&mut self, allocation: &mut Allocation, reserved: u32, size: u64) -> Out<()> {
        self.attach_runs(allocation, reserved, size, false)
    }

    /// Enters an allocation as blocks that read as zeroes until they are written (`fallocate`).
    ///
    /// # Errors
    /// As [`Volume::attach`].
    pub fn attach_unwritten(&mut self, allocation: &mut Allocation, reserved: u32, size: u64) -> Out<()> {
        self.attach_runs(allocation, reserved, size, true)
    }

    fn attach_runs(&mut self, allocation: &mut Allocation, reserved: u32, size: u64, unwritten: bool) -> Out<()> {
        let (inode, runs) = (allocation.inode, &allocation.runs);
        let quota = self.operate(|volume| {
            let mut fields = volume.regular(inode)?;
            for run in runs {
                volume.attach_run(&mut fields, run, reserved, unwritten)?;
            }
            if size > FILE_MAX {
                return Err(Error::FileTooBig.into());
            }
            // The bytes up to the new end were written in place, also where no block is new.
            volume.transaction.has_data |= size > fields.size;
            fields.size = fields.size.max(size);
            volume.put_inode(&fields)?;
            Ok(fields.quota)
        })?;
        self.end_reservation(quota, reserved);
        for run in allocation.runs.drain(..).filter(|run| run.is_new) {
            self.set_busy(run.block, run.count, false);
        }
        Ok(())
    }

    fn attach_run(&mut self, fields: &mut Fields, run: &Run, reserved: u32, unwritten: bool) -> Out<()> {
        let flag = if unwritten { UNWRITTEN } else { 0 };
        let record = Record { high: run.logical, low: run.count | flag, block: run.block };
        if run.is_new {
            self.charge(fields.quota, i64::from(run.count), 0, reserved == 0)?;
            self.mark_used(run.block, run.count)?;
            fields.blocks += u64::from(run.count);
            self.transaction.has_data |= !unwritten;
            return self.map(fields, record);
        }
        let extent = self.extent_of(fields, run.logical, run.count)?;
        match extent.mapping {
            Mapping::Data(block) if block == run.block && extent.count == run.count => Ok(()),
            Mapping::Unwritten(block) if block == run.block && extent.count == run.count => {
                if unwritten {
                    return Ok(());
                }
                self.transaction.has_data = true;
                let _ = self.unmap(fields, u64::from(run.logical), record.end(), 2, false)?;
                self.map(fields, record)
            }
            _ => Err(Error::Invalid.into()),
        }
    }

    /// Gives up an allocation.
    pub fn cancel(&mut self, allocation: Allocation) {
        for run in allocation.runs.iter().filter(|run| run.is_new) {
            self.release(&[(run.block, run.count)]);
        }
    }
}

/// Shorter and longer.
impl Volume {
    /// Makes a file shorter (or longer), step by step. Between the steps it already has its new size; it must not grow before the last one.
    /// Before it becomes longer the caller makes the bytes of its last block behind the end zero; they are what they were when it became shorter.
    ///
    /// # Errors
    /// `Invalid`, `FileTooBig`.
    pub fn truncate(&mut self, inode: InodeNumber, size: u64, time: i64) -> Out<Progress> {
        if size > FILE_MAX {
            return Err(Error::FileTooBig.into());
        }
        self.operate(|volume| {
            let mut fields = volume.regular(inode)?;
            volume.note_longer(&fields, size);
            (fields.size, fields.modified, fields.changed) = (size, time, time);
            volume.put_inode(&fields)?;
            volume.cut_to_size(fields)
        })
    }

    /// A file becomes longer: the zeroes behind its old end, in its last block, must be on stable media before the record that says so.
    pub(crate) fn note_longer(&mut self, fields: &Fields, size: u64) {
        self.transaction.has_data |= size > fields.size && !fields.size.is_multiple_of(BLOCK as u64);
    }

    /// A step of a truncation to the size that the inode has; until it is done the inode stands among the orphans.
    pub(crate) fn cut_to_size(&mut self, mut fields: Fields) -> Out<Progress> {
        let from = fields.size.div_ceil(BLOCK as u64);
        let progress = self.cut(&mut fields, from)?;
        if progress == Progress::More && !fields.is_orphan() {
            self.add_orphan(&mut fields)?;
        }
        if progress == Progress::Done && fields.is_orphan() && fields.links > 0 {
            self.remove_orphan(&mut fields)?;
        }
        self.put_inode(&fields)?;
        Ok(progress)
    }

    /// Takes the blocks of a range away, step by step: it becomes a hole.
    ///
    /// # Errors
    /// `Invalid`; `NoSpace` when the map of the file needs a further block.
    pub fn punch(&mut self, inode: InodeNumber, logical: u32, count: u32) -> Out<Progress> {
        let end = check_range(logical, count)?;
        self.operate(|volume| {
            let mut fields = volume.regular(inode)?;
            let progress = volume.unmap(&mut fields, u64::from(logical), end, STEP, true)?;
            volume.put_inode(&fields)?;
            Ok(progress)
        })
    }
}
