//! A disk: what it says of itself, and how transfers become requests.
//!
//! A call is cut into requests as large as the device takes; as many as there is room for are in flight at once, and all have ended when the
//! call returns. What failed for a reason that passes is tried again a few times. What goes wrong for good is an event and `EIO`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

use linux::Errno;
use platform::ArrayVec;
use virtio::outcome::{Outcome, Reason};
use virtio::scsi::Lun;
use virtio::{blk, scsi};

use super::channel::{Cell, Channel, Command, Data, Ended, SEGMENTS_MAX};
use crate::arch::timer as clock;
use crate::mm::PageRef;
use crate::{event, sched};

/// Bytes of a sector, the unit that places on a disk are counted in whatever its blocks are.
pub const SECTOR: u64 = 512;
/// Requests of one call that are looked after together.
const WAVE: usize = 16;
/// How often a request is tried.
const ATTEMPTS_MAX: u32 = 5;
/// Before the third attempt; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(10);
/// Of each operation so many errors are shown; of later ones only those whose count is a power of two.
const ERRORS_SHOWN_MAX: u32 = 8;
/// Pages that a transfer of sectors goes through at a time.
const BOUNCE_PAGES: usize = 16;

/// What a disk says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Length in sectors.
    pub sectors: u64,
    /// Bytes of a block: transfers start and end on one.
    pub block_size: u32,
    /// Most sectors in one request.
    pub transfer_max: u64,
    /// Cannot be written.
    pub is_read_only: bool,
    /// A write that has ended may be lost until the disk is told to flush.
    pub has_write_cache: bool,
    /// A single write can be told to go through the write cache.
    pub has_fua: bool,
    /// Most sectors of one discard; `None` where the disk takes none.
    pub discard_max: Option<u64>,
}

/// How a disk is spoken to.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// A virtio-blk device.
    Blk,
    /// A unit of a virtio-scsi host.
    Scsi(Lun),
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Fill pages.
    Read,
    /// Write pages; with `through` they are on stable media when it has ended.
    Write { through: bool },
    /// Empty the write cache.
    Flush,
    /// Forget sectors.
    Discard,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write { .. } => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
        })
    }
}

/// A part of a call that is one request.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The first sector, and how many.
    pub sector: u64,
    /// See `sector`.
    pub sectors: u64,
    /// Where the bytes are.
    pub pages: &'a [PageRef],
}

/// Counts of one kind of operation since the start: calls, sectors.
#[derive(Debug, Default)]
pub struct Count {
    /// Requests that were done.
    pub requests: AtomicU64,
    /// Sectors that they moved.
    pub sectors: AtomicU64,
}

/// A disk.
#[derive(Debug)]
pub struct Disk {
    /// `vda`, `sdb`.
    pub name: String,
    /// Its number among disks of this kind: 0 is `a`.
    pub index: u32,
    /// Who drives it, in events.
    pub driver: &'static str,
    /// What it says of itself.
    pub facts: Facts,
    /// The device's queue; units of one host share it.
    pub channel: Arc<Channel>,
    /// Reads, writes, flushes, discards.
    pub counts: [Count; 4],
    unit: Unit,
    is_gone: AtomicBool,
    errors: [AtomicU32; 4],
}

impl Disk {
    /// A disk that nobody has used.
    #[must_use]
    pub fn new(
        (name, index): (String, u32),
        driver: &'static str,
        facts: Facts,
        channel: Arc<Channel>,
        unit: Unit,
    ) -> Self {
        let counts = [const { Count { requests: AtomicU64::new(0), sectors: AtomicU64::new(0) } }; 4];
        let (is_gone, errors) = (AtomicBool::new(false), [const { AtomicU32::new(0) }; 4]);
        Self { name, index, driver, facts, channel, counts, unit, is_gone, errors }
    }

    /// How it is spoken to.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// It has been taken away, or its device has failed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed) || self.channel.is_broken()
    }

    /// It has been taken away: from now on everything is `EIO`.
    pub fn set_gone(&self, why: impl fmt::Display) {
        if !self.is_gone.swap(true, Ordering::Relaxed) {
            event!("block.removed", name = self.name, why = why);
        }
    }

    /// The requests that `count` sectors from `sector` on become, their bytes in whole `pages` (the last one perhaps in part).
    pub fn chunks<'a>(
        &self,
        sector: u64,
        count: u64,
        pages: &'a [PageRef],
    ) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        const PER_PAGE: u64 = vfs::PAGE_SIZE as u64 / SECTOR;
        let most = (self.facts.transfer_max / PER_PAGE).clamp(1, SEGMENTS_MAX as u64) as usize;
        let most = most.min(self.channel.segments_max());
        (sector..).step_by(most * PER_PAGE as usize).zip(pages.chunks(most)).map(move |(at, pages)| {
            let sectors = (pages.len() as u64 * PER_PAGE).min(sector + count - at);
            Chunk { sector: at, sectors, pages }
        })
    }

    /// Does `operation` on each chunk; all have ended when it returns.
    ///
    /// # Errors
    /// `EIO`, the others were tried all the same; `EROFS`.
    pub fn run<'a>(&self, operation: Operation, mut chunks: impl Iterator<Item = Chunk<'a>>) -> Result<(), Errno> {
        if self.facts.is_read_only && matches!(operation, Operation::Write { .. } | Operation::Discard) {
            return Err(Errno::EROFS);
        }
        let mut result = Ok(());
        loop {
            let wave: ArrayVec<Chunk<'_>, WAVE> = chunks.by_ref().take(WAVE).collect();
            if wave.is_empty() {
                return result;
            }
            result = result.and(self.run_wave(operation, &wave));
        }
    }

    fn run_wave(&self, operation: Operation, wave: &[Chunk<'_>]) -> Result<(), Errno> {
        let mut left: ArrayVec<Chunk<'_>, WAVE> = wave.iter().copied().collect();
        let mut result = Ok(());
        for attempt in 1..=ATTEMPTS_MAX {
            let mut again = ArrayVec::<_, WAVE>::new();
            self.attempt(operation, &left, |chunk, outcome| match outcome {
                Outcome::Again(reason) if attempt < ATTEMPTS_MAX && may_try_again(operation, reason) => {
                    again.push(chunk)
                }
                outcome => result = result.and(self.settle(operation, &chunk, outcome)),
            })?;
            if again.is_empty() {
                break;
            }
            left = again;
            if attempt > 1 {
                let _ = sched::sleep_until(clock::now() + PAUSE * (1 << (attempt - 2)), false);
            }
        }
        result
    }

    /// Sends every chunk once and tells `each` how it ended.
    fn attempt<'a>(
        &self,
        operation: Operation,
        chunks: &[Chunk<'a>],
        mut each: impl FnMut(Chunk<'a>, Outcome),
    ) -> Result<(), Errno> {
        let mut sent = ArrayVec::<(Cell, Chunk<'a>), WAVE>::new();
        let mut is_broken = false;
        for chunk in chunks {
            if self.is_gone.load(Ordering::Relaxed) {
                is_broken = true;
                break;
            }
            let command = self.command(operation, chunk);
            let length = (chunk.sectors * SECTOR).min((chunk.pages.len() * vfs::PAGE_SIZE) as u64) as usize;
            let data = Data { pages: chunk.pages, length, device_writes: operation == Operation::Read };
            // Who has something in flight waits for that, and never for room: so there is room for others in the end.
            let cell = loop {
                if let Some(cell) = self.channel.try_submit(&command, data) {
                    break cell;
                }
                self.channel.notify();
                if sent.is_empty() {
                    break self.channel.submit(&command, data);
                }
                let (cell, chunk) = sent.remove(0);
                is_broken |= !self.collect(cell, chunk, &mut each);
            };
            match cell {
                Ok(cell) => sent.push((cell, *chunk)),
                Err(_) => is_broken = true,
            }
        }
        self.channel.notify();
        for (cell, chunk) in sent {
            is_broken |= !self.collect(cell, chunk, &mut each);
        }
        if is_broken { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Waits for a request. False: the device has failed.
    fn collect<'a>(&self, cell: Cell, chunk: Chunk<'a>, each: &mut impl FnMut(Chunk<'a>, Outcome)) -> bool {
        match self.channel.wait(cell) {
            Ended::Answered(outcome) => {
                each(chunk, outcome);
                true
            }
            Ended::Reset => false,
            Ended::Lost => {
                // The device may write them at any time: nobody else may ever get them.
                chunk.pages.iter().cloned().for_each(core::mem::forget);
                false
            }
        }
    }

    /// Draws the consequences of how a request ended.
    fn settle(&self, operation: Operation, chunk: &Chunk<'_>, outcome: Outcome) -> Result<(), Errno> {
        let kind = match operation {
            Operation::Read => 0,
            Operation::Write { .. } => 1,
            Operation::Flush => 2,
            Operation::Discard => 3,
        };
        let reason = match outcome {
            Outcome::Done => {
                self.counts[kind].requests.fetch_add(1, Ordering::Relaxed);
                self.counts[kind].sectors.fetch_add(chunk.sectors, Ordering::Relaxed);
                return Ok(());
            }
            // A hint that a device does not understand is none.
            Outcome::Failed(Reason::Status(2) | Reason::Sense { key: 5, .. }) if operation == Operation::Discard => {
                return Ok(());
            }
            Outcome::Gone(reason) => {
                self.set_gone(reason);
                return Err(Errno::EIO);
            }
            // It went while this was on its way.
            Outcome::Failed(_) | Outcome::Again(_) if self.is_gone() => return Err(Errno::EIO),
            Outcome::Failed(reason) | Outcome::Again(reason) => reason,
        };
        let count = self.errors[kind].fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if count <= ERRORS_SHOWN_MAX || count.is_power_of_two() {
            event!(
                "block.error",
                what = self.name,
                why = reason,
                operation = operation,
                sector = chunk.sector,
                sectors = chunk.sectors,
                count = count
            );
        }
        Err(Errno::EIO)
    }

    /// The request for a chunk, in the device's own words.
    fn command(&self, operation: Operation, chunk: &Chunk<'_>) -> Command {
        let mut parameters = ArrayVec::new();
        let mut with = |bytes: &[u8]| parameters.extend(bytes.iter().copied());
        let header = match self.unit {
            Unit::Blk => {
                let request = match operation {
                    Operation::Read => blk::Request::Read(chunk.sector),
                    Operation::Write { .. } => blk::Request::Write(chunk.sector),
                    Operation::Flush => blk::Request::Flush,
                    Operation::Discard => {
                        with(&blk::range(chunk.sector, chunk.sectors as u32));
                        blk::Request::Discard
                    }
                };
                request.header().into_iter().collect()
            }
            Unit::Scsi(lun) => {
                let per_block = u64::from(self.facts.block_size) / SECTOR;
                let (block, count) = (chunk.sector / per_block, (chunk.sectors / per_block) as u32);
                let command = match operation {
                    Operation::Read => scsi::Command::read(block, count),
                    Operation::Write { through } => scsi::Command::write(block, count, through),
                    Operation::Flush => scsi::Command::SYNCHRONIZE_CACHE,
                    Operation::Discard => {
                        with(&scsi::command::unmap_range(block, count));
                        scsi::Command::unmap()
                    }
                };
                scsi::request(lun, chunk.sector, &command).into_iter().collect()
            }
        };
        Command { header, parameters }
    }

    /// Returns when every write that had ended before is on stable media.
    ///
    /// # Errors
    /// `EIO`.
    pub fn flush(&self) -> Result<(), Errno> {
        if !self.facts.has_write_cache {
            // What has ended is there already; only that the disk still is must be known.
            return if self.is_gone() { Err(Errno::EIO) } else { Ok(()) };
        }
        self.run(Operation::Flush, core::iter::once(Chunk { sector: 0, sectors: 0, pages: &[] }))
    }

    /// Lets the disk forget what is in these sectors, as far as it cares to.
    ///
    /// # Errors
    /// `EIO`, `EROFS`.
    pub fn discard(&self, sector: u64, count: u64) -> Result<(), Errno> {
        let Some(most) = self.facts.discard_max else { return Ok(()) };
        let end = sector + count;
        let step = usize::try_from(most).unwrap_or(usize::MAX);
        let chunks =
            (sector..end).step_by(step).map(|at| Chunk { sector: at, sectors: most.min(end - at), pages: &[] });
        self.run(Operation::Discard, chunks)
    }

    /// Reads whole sectors.
    ///
    /// # Errors
    /// `EIO`, also for sectors that are not there or parts of blocks; `ENOMEM`.
    pub fn read_sectors(&self, first: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.check_sectors(first, into.len())?;
        let mut sector = first;
        for part in into.chunks_mut(BOUNCE_PAGES * vfs::PAGE_SIZE) {
            let pages = bounce(part.len())?;
            let count = part.len() as u64 / SECTOR;
            self.run(Operation::Read, self.chunks(sector, count, &pages))?;
            pages.iter().zip(part.chunks_mut(vfs::PAGE_SIZE)).for_each(|(page, bytes)| page.read(0, bytes));
            sector += count;
        }
        Ok(())
    }

    /// Writes whole sectors. They are on stable media after a [`Disk::flush`].
    ///
    /// # Errors
    /// As [`Disk::read_sectors`]; `EROFS`.
    pub fn write_sectors(&self, first: u64, from: &[u8]) -> Result<(), Errno> {
        self.check_sectors(first, from.len())?;
        let mut sector = first;
        for part in from.chunks(BOUNCE_PAGES * vfs::PAGE_SIZE) {
            let pages = bounce(part.len())?;
            pages.iter().zip(part.chunks(vfs::PAGE_SIZE)).for_each(|(page, bytes)| page.write(0, bytes));
            let count = part.len() as u64 / SECTOR;
            self.run(Operation::Write { through: false }, self.chunks(sector, count, &pages))?;
            sector += count;
        }
        Ok(())
    }

    fn check_sectors(&self, first: u64, bytes: usize) -> Result<(), Errno> {
        let block = u64::from(self.facts.block_size);
        let count = bytes as u64 / SECTOR;
        let is_there = first.checked_add(count).is_some_and(|end| end <= self.facts.sectors);
        let is_whole = (bytes as u64).is_multiple_of(block) && first.is_multiple_of(block / SECTOR);
        if is_there && is_whole { Ok(()) } else { Err(Errno::EIO) }
    }
}

/// A flush that was begun and given up may have lost what it was to save: the next one would say that all is well.
fn may_try_again(operation: Operation, reason: Reason) -> bool {
    let is_untouched =
        matches!(reason, Reason::Sense { key: scsi::UNIT_ATTENTION | scsi::NOT_READY, .. } | Reason::ScsiStatus(_));
    operation != Operation::Flush || is_untouched
}

fn bounce(bytes: usize) -> Result<Vec<PageRef>, Errno> {
    (0..bytes.div_ceil(vfs::PAGE_SIZE)).map(|_| PageRef::zeroed().ok_or(Errno::ENOMEM)).collect()
}
