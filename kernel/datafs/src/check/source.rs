//! Where the blocks come from: the device, with what the log says over it.

use alloc::format;
use alloc::string::String;

use crate::layout::Seed;
use crate::layout::geometry::Geometry;
use crate::layout::superblock::{State, Superblock};
use crate::open::{Replay, Scan, complete, seal_all};
use crate::types::Bytes;
use crate::{BLOCK, OpenError};

use super::{Fault, Report};

/// The device did not give a block. Whoever implements [`Source`] knows why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// A device to be read.
pub trait Source {
    /// Reads a block.
    ///
    /// # Errors
    /// It cannot be had.
    fn read(&mut self, block: u64, into: &mut Bytes) -> Result<(), Unreadable>;
}

/// Blocks as they are once the log is replayed.
pub(super) struct Blocks<'a> {
    source: &'a mut dyn Source,
    replay: Replay,
    geometry: Geometry,
    pub seed: Seed,
}

impl Blocks<'_> {
    pub(super) fn read(&mut self, block: u64) -> Result<Bytes, Fault> {
        let Some(replayed) = self.replay.blocks.get(&block) else {
            let mut bytes = [0; BLOCK];
            self.source.read(block, &mut bytes).map_err(|Unreadable| Fault::Unreadable)?;
            return Ok(bytes);
        };
        let mut bytes = *replayed.bytes;
        if replayed.is_fresh {
            seal_all(&mut bytes, block, &self.geometry, &self.seed);
            return Ok(bytes);
        }
        self.source.read(block, &mut bytes).map_err(|Unreadable| Fault::Unreadable)?;
        let home = self.replay.homes.get(&block).copied();
        let over = (replayed.mask, &*replayed.bytes);
        complete(&mut bytes, block, over, home, &self.geometry, &self.seed).map_err(|_| Fault::LogHome)?;
        Ok(bytes)
    }
}

pub(super) struct Opened<'a> {
    pub superblock: Superblock,
    pub state: State,
    pub blocks: Blocks<'a>,
}

/// Superblocks and log. `None` when there is no volume to look at.
pub(super) fn open<'a>(source: &'a mut dyn Source, device_blocks: u64, report: &mut Report) -> Option<Opened<'a>> {
    let mut copies = [[0; BLOCK]; 2];
    for (at, copy) in copies.iter_mut().enumerate() {
        if source.read(at as u64, copy) == Err(Unreadable) {
            report.add(Fault::Unreadable, at as u64, 0, String::from("a superblock"));
        }
    }
    let superblock = match Superblock::choose([&copies[0], &copies[1]]) {
        Ok(superblock) => superblock,
        Err(error) => {
            refuse(error, report);
            return None;
        }
    };
    let alone = (0..2).find(|&at| Superblock::parse(&copies[at], at as u64).is_err());
    compare_copies(&superblock, &copies, report);
    let replay = match replay(source, &superblock, report) {
        Ok(replay) => replay,
        Err(error) => {
            refuse(error, report);
            return None;
        }
    };
    report.records = replay.sequence - superblock.tail_sequence;
    let state = replay.state;
    if state.blocks > device_blocks {
        refuse(OpenError::DeviceTooSmall { blocks: state.blocks, device: device_blocks }, report);
        return None;
    }
    if let Some((block, sequence)) = later_record(source, &superblock, &replay) {
        let detail = format!("the log is read up to record {}, and has {sequence}", replay.sequence - 1);
        if let Some(at) = alone {
            report.add(Fault::SuperblockStale, at as u64, 0, detail);
            return None;
        }
        report.add(Fault::LogGap, block, 0, detail);
    }
    let seed = Seed::new(&superblock.uuid);
    let blocks = Blocks { source, replay, geometry: superblock.geometry, seed };
    Some(Opened { superblock, state, blocks })
}

fn refuse(error: OpenError, report: &mut Report) {
    let (fault, block, detail) = match error {
        OpenError::NotDatafs => (Fault::NotDatafs, 0, String::new()),
        OpenError::Superblock(damage) => (Fault::Superblock, damage.block, String::from(damage.what.text())),
        OpenError::Features { incompat } => (Fault::Features, 0, format!("incompatible features {incompat:#x}")),
        OpenError::DeviceTooSmall { blocks, device } => {
            (Fault::DeviceSize, 0, format!("{blocks} blocks on a device of {device}"))
        }
        OpenError::Stale => (Fault::SuperblockStale, 0, String::new()),
        OpenError::Log(damage) => (Fault::LogRecord, damage.block, String::from(damage.what.text())),
        OpenError::NoMemory => (Fault::Memory, 0, String::new()),
    };
    report.add(fault, block, 0, detail);
}

fn replay(source: &mut dyn Source, superblock: &Superblock, report: &mut Report) -> Result<Replay, OpenError> {
    let mut replay = Replay::new(superblock);
    let mut bytes = [0; BLOCK];
    while let Some(block) = replay.wanted() {
        if source.read(block, &mut bytes) == Err(Unreadable) {
            report.add(Fault::Unreadable, block, 0, String::from("of the log"));
            break;
        }
        replay.supply(&bytes)?;
    }
    Ok(replay)
}

/// A whole record that is newer than all that the superblock leads to, and where it begins.
fn later_record(source: &mut dyn Source, superblock: &Superblock, replay: &Replay) -> Option<(u64, u64)> {
    let mut scan = Scan::new(superblock, replay.sequence);
    let mut bytes = [0; BLOCK];
    while let Some(block) = scan.wanted() {
        if source.read(block, &mut bytes) == Err(Unreadable) {
            bytes.fill(0); // told when it was to be replayed, or of no use
        }
        scan.supply(&bytes).ok()?;
    }
    scan.found
}

/// What is wrong with the copy of the superblock that is not used.
fn compare_copies(superblock: &Superblock, copies: &[Bytes; 2], report: &mut Report) {
    let at = 1 - superblock.copy();
    match Superblock::parse(&copies[at as usize], at) {
        Err(damage) => report.add(Fault::SuperblockCopy, at, 0, String::from(damage.what.text())),
        Ok(other) => {
            let is_same = (other.uuid, other.hash_key, other.geometry, other.created, other.label)
                == (superblock.uuid, superblock.hash_key, superblock.geometry, superblock.created, superblock.label);
            if !is_same {
                report.add(Fault::SuperblockDiffers, at, 0, String::new());
            }
        }
    }
}
