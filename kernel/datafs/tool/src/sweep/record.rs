//! A device that remembers every write and every flush that ended.

use std::io;
use std::sync::Arc;

use datafs::layout::geometry::{Geometry, SUPERBLOCKS};
use datafs::{BLOCK, Bytes};

use super::cut::{Part, WHOLE};
use crate::device::Device;

/// Something that was done on a device.
#[derive(Clone)]
pub enum Event {
    /// A block was written.
    Write {
        /// Which.
        block: u64,
        /// With what.
        bytes: Arc<Bytes>,
        /// Which of its sectors: one bit each.
        sectors: Part,
    },
    /// A flush ended: what was written before is on stable media.
    Flush,
}

impl Event {
    /// A whole block was written.
    #[must_use]
    pub const fn write(block: u64, bytes: Arc<Bytes>) -> Self {
        Self::Write { block, bytes, sectors: WHOLE }
    }
}

/// A device, and a log of what was done on it.
#[derive(Clone, Default)]
pub struct Recorder<D> {
    /// The device, with all that was written.
    pub device: D,
    /// What was done since the recording began.
    pub log: Vec<Event>,
}

impl<D> Recorder<D> {
    /// Begins with a device as it is, all of it on stable media.
    #[must_use]
    pub fn new(device: D) -> Self {
        Self { device, log: Vec::new() }
    }
}

impl<D: Device> Device for Recorder<D> {
    fn blocks(&self) -> u64 {
        self.device.blocks()
    }

    fn read(&self, block: u64, into: &mut Bytes) -> io::Result<()> {
        self.device.read(block, into)
    }

    fn write(&mut self, block: u64, bytes: &Bytes) -> io::Result<()> {
        self.device.write(block, bytes)?;
        self.log.push(Event::write(block, Arc::new(*bytes)));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.device.flush()?;
        self.log.push(Event::Flush);
        Ok(())
    }
}

/// What a flush is for, by what was written before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// Data, before the record that leads to them.
    Data,
    /// Data that were overwritten in their places, and no record follows at once.
    Overwritten,
    /// A record of the log.
    Record,
    /// A checkpoint's blocks, before its superblock.
    Homes,
    /// A superblock, before the log is used again.
    Superblock,
}

impl Site {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Data, Self::Overwritten, Self::Record, Self::Homes, Self::Superblock];
}

/// The flushes of a log, by their places in it.
#[must_use]
pub fn sites(log: &[Event], geometry: &Geometry) -> Vec<(usize, Site)> {
    let written = |at: usize| match log.get(at) {
        Some(Event::Write { block, .. }) => Some(site(*block, geometry)),
        _ => None,
    };
    let flushes = log.iter().enumerate().filter(|(_, event)| matches!(event, Event::Flush));
    let what = |at: usize| match (at.checked_sub(1).and_then(written), written(at + 1)) {
        (Some(Site::Record), _) => Site::Record,
        (Some(Site::Superblock), _) => Site::Superblock,
        (_, Some(Site::Superblock)) => Site::Homes,
        (_, Some(Site::Record)) => Site::Data,
        _ => Site::Overwritten,
    };
    flushes.map(|(at, _)| (at, what(at))).collect()
}

fn site(block: u64, geometry: &Geometry) -> Site {
    if block < SUPERBLOCKS {
        Site::Superblock
    } else if block < geometry.groups_start() {
        Site::Record
    } else {
        Site::Data
    }
}

/// Bytes of a sector: what a device writes whole or not at all.
pub const SECTOR: usize = 512;
/// Sectors of a block.
pub const SECTORS: usize = BLOCK / SECTOR;
