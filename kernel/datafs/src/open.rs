//! Opening a volume: the superblock, and what the log holds beyond it.
//!
//! Records are taken as long as the next has the next sequence number and a good checksum. What they say is kept per block until its home is read. A home may be torn only
//! by a checkpoint that was cut; then the last record lists what each block has to be, and the parts must give exactly that. So a damaged home is never
//! taken for a torn one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use crate::cache::{Map, page};
use crate::layout::geometry::Geometry;
use crate::layout::inode::{SIZE, is_blank, is_sealed as is_inode_sealed, seal as seal_inode};
use crate::layout::record::{Head, Record, apply};
use crate::layout::superblock::{State, Superblock};
use crate::layout::{Seed, granules, is_sealed, seal};
use crate::log::{Log, home_sum};
use crate::types::{Bytes, Options};
use crate::volume::{Overlay, Volume};
use crate::{BLOCK, Damage, Error, OpenError, What};

/// Blocks that are asked for at once.
const AHEAD: u32 = 32;

/// What the log says of a block.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub mask: u64,
    pub is_fresh: bool,
    pub bytes: Box<Bytes>,
}

/// The records of a log, taken in order.
#[derive(Debug)]
pub struct Replay {
    geometry: Geometry,
    seed: Seed,
    /// State after the last record.
    pub state: State,
    /// Where the next record would be, and its sequence number.
    pub head: u32,
    /// See above.
    pub sequence: u64,
    /// Blocks that the records fill.
    pub used: u32,
    pub(crate) blocks: Map<u64, Replayed>,
    pub(crate) homes: Map<u64, u32>,
    partial: Vec<u8>,
    partial_head: Option<Head>,
    has_ended: bool,
}

impl Replay {
    /// Of the log that a superblock speaks of.
    #[must_use]
    pub fn new(superblock: &Superblock) -> Self {
        Self {
            geometry: superblock.geometry,
            seed: Seed::new(&superblock.uuid),
            state: superblock.state,
            head: superblock.tail,
            sequence: superblock.tail_sequence,
            used: 0,
            blocks: Map::default(),
            homes: Map::default(),
            partial: Vec::new(),
            partial_head: None,
            has_ended: false,
        }
    }

    /// The block to be read next; `None` at the end of the log.
    #[must_use]
    pub fn wanted(&self) -> Option<u64> {
        let ahead = (self.partial.len() / BLOCK) as u32;
        let at = (self.head + ahead) % self.geometry.log_blocks;
        let is_open = !self.has_ended && self.used + ahead < self.geometry.log_blocks;
        is_open.then(|| self.geometry.log_start() + u64::from(at))
    }

    /// Takes the block that was wanted.
    ///
    /// # Errors
    /// `Log` when a record makes no sense though its checksum is right; `NoMemory`.
    pub fn supply(&mut self, bytes: &Bytes) -> Result<(), OpenError> {
        if self.partial_head.is_none() {
            self.partial_head = Head::read(bytes, &self.geometry).filter(|head| head.sequence == self.sequence);
        }
        let Some(head) = self.partial_head.filter(|head| head.blocks() <= self.geometry.log_blocks - self.used) else {
            self.has_ended = true;
            return Ok(());
        };
        self.partial.try_reserve(BLOCK).map_err(|_| OpenError::NoMemory)?;
        self.partial.extend_from_slice(bytes);
        if self.partial.len() < head.length {
            return Ok(());
        }
        self.partial.truncate(head.length);
        let partial = core::mem::take(&mut self.partial);
        self.partial_head = None;
        if !Record::is_sealed(&partial, &self.seed) {
            self.has_ended = true;
            return Ok(());
        }
        self.take(&partial)?;
        self.head = (self.head + head.blocks()) % self.geometry.log_blocks;
        self.used += head.blocks();
        self.sequence += 1;
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), OpenError> {
        let block = self.geometry.log_start() + u64::from(self.head);
        let record = Record::parse(bytes, &self.geometry, block).map_err(OpenError::Log)?;
        for entry in record.entries() {
            if entry.is_forgotten {
                self.blocks.remove(&entry.block);
                continue;
            }
            if entry.is_fresh {
                self.blocks.remove(&entry.block);
            }
            if !self.blocks.contains_key(&entry.block) {
                let bytes = page().ok_or(OpenError::NoMemory)?;
                self.blocks.insert(entry.block, Replayed { mask: 0, is_fresh: entry.is_fresh, bytes });
            }
            if let Some(replayed) = self.blocks.get_mut(&entry.block) {
                replayed.mask |= entry.mask;
                apply(&entry, &mut replayed.bytes);
            }
        }
        self.homes = record.homes().collect();
        self.state = record.state;
        // Whoever writes a log checkpoints long before: so a crafted one cannot take all memory.
        if self.blocks.len() > 2 * self.geometry.dirty_blocks() {
            return Err(OpenError::Log(Damage { block, inode: 0, what: What::Bounds }));
        }
        Ok(())
    }

    /// Blocks that the log says something of, and that have to be read for it.
    pub fn partial_blocks(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.iter().filter(|(_, replayed)| !replayed.is_fresh).map(|(&block, _)| block)
    }
}

/// Puts what the log says of a block over what is at its home. Gives the granules that differ from home now.
///
/// # Errors
/// When the home is neither whole nor torn by the checkpoint that `home` is of.
pub(crate) fn complete(
    bytes: &mut Bytes,
    block: u64,
    over: (u64, &Bytes),
    home: Option<u32>,
    geometry: &Geometry,
    seed: &Seed,
) -> Result<u64, Damage> {
    let wrong = Damage { block, inode: 0, what: What::Checksum };
    let first = geometry.first_inode(block);
    let was_sealed = is_sealed(bytes, seed);
    let mut sound = 0u64;
    for (at, inode) in bytes.chunks_exact(SIZE).enumerate() {
        sound |= u64::from(is_blank(inode) || is_inode_sealed(inode, seed)) << at;
    }
    let (mut mask, from) = over;
    put_granules(bytes, mask, from);
    if first.is_none() {
        seal(bytes, seed);
    } else {
        for (at, inode) in bytes.chunks_exact_mut(SIZE).enumerate() {
            let own = granules(at * SIZE, SIZE);
            // An inode that was damaged at home stays so, unless all of it is new.
            if mask & own != 0 && (sound >> at & 1 != 0 || mask & own == own || home.is_some()) {
                seal_inode(inode, seed);
            } else {
                mask &= !own;
            }
        }
    }
    match home {
        Some(sum) if home_sum(bytes, seed) != sum => Err(wrong),
        None if first.is_none() && !was_sealed => Err(wrong),
        _ => Ok(mask),
    }
}

fn put_granules(into: &mut Bytes, mask: u64, from: &Bytes) {
    for at in (0..64).filter(|at| mask >> at & 1 != 0) {
        let range = at * crate::layout::GRANULE..(at + 1) * crate::layout::GRANULE;
        into[range.clone()].copy_from_slice(&from[range]);
    }
}

/// Makes all checksums of a block right that the log gives whole.
pub(crate) fn seal_all(bytes: &mut Bytes, block: u64, geometry: &Geometry, seed: &Seed) {
    if geometry.first_inode(block).is_none() {
        seal(bytes, seed);
        return;
    }
    bytes.chunks_exact_mut(SIZE).filter(|inode| !is_blank(inode)).for_each(|inode| seal_inode(inode, seed));
}

/// Looks through the whole log for a whole record that is newer than those that were replayed. There is none, unless the superblock that led to it was lost.
#[derive(Debug)]
pub(crate) struct Scan {
    geometry: Geometry,
    seed: Seed,
    /// The first sequence number that there must not be.
    beyond: u64,
    at: u32,
    partial: Vec<u8>,
    head: Option<Head>,
    /// Its block and sequence number.
    pub found: Option<(u64, u64)>,
}

impl Scan {
    pub(crate) fn new(superblock: &Superblock, beyond: u64) -> Self {
        let (geometry, seed) = (superblock.geometry, Seed::new(&superblock.uuid));
        Self { geometry, seed, beyond, at: 0, partial: Vec::new(), head: None, found: None }
    }

    pub(crate) fn wanted(&self) -> Option<u64> {
        let is_open = self.found.is_none() && self.at < self.geometry.log_blocks;
        let at = (self.at + (self.partial.len() / BLOCK) as u32) % self.geometry.log_blocks;
        is_open.then(|| self.geometry.log_start() + u64::from(at))
    }

    /// # Errors
    /// `NoMemory`.
    pub(crate) fn supply(&mut self, bytes: &Bytes) -> Result<(), OpenError> {
        if self.partial.is_empty() {
            self.head = Head::read(bytes, &self.geometry).filter(|head| head.sequence >= self.beyond);
        }
        if let Some(head) = self.head {
            self.partial.try_reserve(BLOCK).map_err(|_| OpenError::NoMemory)?;
            self.partial.extend_from_slice(bytes);
            if self.partial.len() < head.length {
                return Ok(());
            }
            if Record::is_sealed(&self.partial[..head.length], &self.seed) {
                self.found = Some((self.geometry.log_start() + u64::from(self.at), head.sequence));
            }
        }
        self.partial.clear();
        self.at += 1;
        Ok(())
    }
}

/// A volume that is being opened: reads its log.
///
/// `new` takes the device's first two blocks; then, as long as `wanted` names blocks, the caller reads them and gives them with `supply`, in
/// order; then `finish`. A volume whose log held something asks for a checkpoint before its first change.
#[derive(Debug)]
pub struct Opening {
    superblock: Superblock,
    options: Options,
    replay: Replay,
    /// The other superblock is damaged: it may have been the newer one.
    is_alone: bool,
    scan: Option<Scan>,
}

impl Opening {
    /// Chooses and checks the superblock.
    ///
    /// # Errors
    /// Why this is no volume that can be opened.
    pub fn new(copies: [&Bytes; 2], options: Options) -> Result<Self, OpenError> {
        let superblock = Superblock::choose(copies)?;
        let replay = Replay::new(&superblock);
        let is_alone = Superblock::parse(copies[1 - superblock.copy() as usize], 1 - superblock.copy()).is_err();
        Ok(Self { superblock, options, replay, is_alone, scan: None })
    }

    /// Blocks to be read next, if any. They may be more than the log turns out to need.
    #[must_use]
    pub fn wanted(&self) -> Option<Range<u64>> {
        let first = self.next()?;
        let geometry = &self.replay.geometry;
        let last = geometry.log_start() + u64::from(geometry.log_blocks);
        Some(first..last.min(first + u64::from(AHEAD)))
    }

    fn next(&self) -> Option<u64> {
        self.scan.as_ref().map_or_else(|| self.replay.wanted(), Scan::wanted)
    }

    /// Takes the next block that is wanted.
    ///
    /// # Errors
    /// `Log` when it makes no sense though its checksum is right; `Stale` when the newest superblock was lost.
    pub fn supply(&mut self, block: u64, bytes: &Bytes) -> Result<(), OpenError> {
        if self.next() != Some(block) {
            return Ok(());
        }
        let Some(scan) = &mut self.scan else {
            self.replay.supply(bytes)?;
            if self.is_alone && self.replay.wanted().is_none() {
                self.scan = Some(Scan::new(&self.superblock, self.replay.sequence));
            }
            return Ok(());
        };
        scan.supply(bytes)?;
        if scan.found.is_some() { Err(OpenError::Stale) } else { Ok(()) }
    }

    /// The volume.
    ///
    /// # Errors
    /// `DeviceTooSmall`, `NoMemory`.
    pub fn finish(self) -> Result<Volume, OpenError> {
        let Self { superblock, options, mut replay, .. } = self;
        let blocks = replay.state.blocks;
        if blocks > options.device_blocks {
            return Err(OpenError::DeviceTooSmall { blocks, device: options.device_blocks });
        }
        let log = Log::new(replay.head, replay.sequence, replay.used, replay.state);
        let mut volume = Volume::new(superblock, replay.state, options, log);
        for (block, mut replayed) in replay.blocks.drain() {
            if replayed.is_fresh {
                // What is looked at before its next checkpoint has to have good checksums too.
                seal_all(&mut replayed.bytes, block, &volume.geometry, &volume.seed);
                volume.insert_replayed(block, replayed.bytes, u64::MAX).map_err(|_| OpenError::NoMemory)?;
            } else {
                volume.overlays.insert(block, Overlay { mask: replayed.mask, bytes: replayed.bytes });
            }
        }
        volume.homes = replay.homes;
        Ok(volume)
    }
}

impl Volume {
    /// Puts a block in whose bytes are not home.
    fn insert_replayed(&mut self, block: u64, bytes: Box<Bytes>, mask: u64) -> Result<(), Error> {
        let at = self.cache.insert(block, bytes).ok_or(Error::NoMemory)?;
        self.cache.slot_mut(at).logged = mask;
        self.dirty += usize::from(mask != 0);
        Ok(())
    }

    /// Takes the home of a block that the log has parts of.
    pub(crate) fn supply_replayed(&mut self, block: u64, mut bytes: Box<Bytes>) -> Result<(), Error> {
        let Some(over) = self.overlays.get(&block) else { return Ok(()) };
        let home = self.homes.get(&block).copied();
        let mask = complete(&mut bytes, block, (over.mask, &over.bytes), home, &self.geometry, &self.seed)
            .map_err(Error::Damaged)?;
        self.insert_replayed(block, bytes, mask)?;
        self.overlays.remove(&block);
        Ok(())
    }
}
