//! Commit and checkpoint.
//!
//! Invariants:
//! - One plan is out at a time. What it makes durable is fixed when it is made; operations go on in the next transaction.
//! - A record is written only when all before it are durable, and where no record stands that the superblock on the disk still needs.
//! - A block goes home only when the record of its last change is durable, and with exactly the contents as of that record.

use alloc::vec::Vec;

use crate::cache::{Slot, page};
use crate::layout::geometry::{Geometry, LOG_BLOCKS_MIN};
use crate::layout::inode::{SIZE, is_blank, seal as seal_inode};
use crate::layout::record::{ENTRY, FRESH, HEADER, Writer, blocks};
use crate::layout::superblock::State;
use crate::layout::{PLACE, Seed, seal};
use crate::types::{Block, Plan, Step};
use crate::volume::{OPERATION_MAX, Out, Volume};
use crate::{BLOCK, Error, Stop};

/// Blocks with what is written to them.
type Homes = Vec<(u64, Block)>;

/// What becomes true when the plan that is out has been executed.
#[derive(Debug)]
struct InFlight {
    sequence: u64,
    freed: Vec<(u64, u32)>,
    homes: Option<Vec<u64>>,
}

/// Where the log stands.
#[derive(Debug)]
pub(crate) struct Log {
    /// Where the next record goes.
    pub head: u32,
    /// Its sequence number: the running transaction's.
    pub sequence: u64,
    /// Blocks of the log that the superblock on the disk needs.
    pub used: u32,
    /// Number of the last durable transaction.
    pub durable: u64,
    /// Counts checkpoints: what was read from a home before one may be old.
    pub epoch: u64,
    /// A write of the log failed.
    pub has_failed: bool,
    /// Records were replayed, and are not home yet.
    pub is_replayed: bool,
    /// State as of the last record.
    pub state: State,
    in_flight: Option<InFlight>,
}

impl Log {
    pub(crate) fn new(head: u32, sequence: u64, used: u32, state: State) -> Self {
        Self {
            head,
            sequence,
            used,
            durable: sequence - 1,
            epoch: 0,
            has_failed: false,
            is_replayed: used > 0,
            state,
            in_flight: None,
        }
    }

    /// A plan is out that will make released blocks free.
    pub(crate) fn is_freeing(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|plan| !plan.freed.is_empty())
    }
}

const _: () = {
    let least = Geometry { log_blocks: LOG_BLOCKS_MIN, inodes_per_group: 64 };
    assert!(OPERATION_MAX + HEADER <= least.record_blocks() as usize * BLOCK);
};

/// Makes the checksums of a changed block right; returns the checksum that stands for all its bytes.
fn seal_slot(slot: &mut Slot, geometry: &Geometry, seed: &Seed) -> u32 {
    if geometry.first_inode(slot.block).is_none() {
        seal(&mut slot.bytes, seed);
        return crate::layout::u32_at(&slot.bytes[..], crate::layout::CHECKSUM);
    }
    let changed = slot.logged | slot.running;
    for (at, inode) in slot.bytes.chunks_exact_mut(SIZE).enumerate() {
        // A block that was replayed whole counts as changed whole; an inode that was never used stays all zero.
        if changed >> (at * 4) & 0xf != 0 && !is_blank(inode) {
            seal_inode(inode, seed);
        }
    }
    home_sum(&slot.bytes, seed)
}

/// What a checkpoint's list says of a block: the checksum over all but its first 8 bytes, which most kinds of block have in themselves.
pub(crate) fn home_sum(bytes: &[u8; BLOCK], seed: &Seed) -> u32 {
    seed.of(&bytes[PLACE..])
}

impl Volume {
    /// Number of the transaction that collects changes now. After a change, what has to be durable for the change to be: this number.
    #[must_use]
    pub fn running(&self) -> u64 {
        self.log.sequence
    }

    /// Every transaction up to this number is on stable media.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.log.durable
    }

    /// Whether there is anything that a commit would make durable.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        let transaction = &self.transaction;
        let is_empty =
            transaction.touched.is_empty() && transaction.forgotten.is_empty() && transaction.freed.is_empty();
        !is_empty || self.state != self.log.state
    }

    /// Whether it would be good to checkpoint soon: the log is half full, or many blocks are changed.
    #[must_use]
    pub fn wants_checkpoint(&self) -> bool {
        self.log.is_replayed
            || self.log.used > self.geometry.log_blocks / 2
            || self.dirty > self.dirty_max() - self.dirty_max() / 4
    }

    fn dirty_max(&self) -> usize {
        self.options.dirty_blocks_max.clamp(128, self.geometry.dirty_blocks())
    }

    /// Before an operation: the transaction and the log have room for whatever it does.
    pub(crate) fn check_room(&self) -> Out<()> {
        if self.log.is_replayed {
            return Err(Stop::Checkpoint);
        }
        if self.transaction.bytes + HEADER + OPERATION_MAX > self.geometry.record_blocks() as usize * BLOCK {
            return Err(Stop::Commit);
        }
        let free = self.geometry.log_blocks - self.log.used;
        let needed = self.geometry.record_blocks() + self.geometry.homes_blocks();
        if free < needed || self.dirty >= self.dirty_max() {
            return Err(Stop::Checkpoint);
        }
        Ok(())
    }

    /// Makes the running transaction durable; `None` when it is empty. `Commit` when another plan is out.
    ///
    /// # Errors
    /// `Failed`, `NoMemory`; `Checkpoint` when the log was replayed and is not home.
    pub fn commit(&mut self) -> Out<Option<Plan>> {
        self.check_plan()?;
        if self.is_read_only() || !self.is_changed() {
            return Ok(None);
        }
        if self.log.is_replayed {
            return Err(Stop::Checkpoint);
        }
        self.plan(false).map(Some)
    }

    /// Makes the running transaction durable, writes all changed blocks to their places, and empties the log; `None` when there is nothing of all this.
    ///
    /// # Errors
    /// As [`Volume::commit`]; `Missing` while what was replayed from the log is not complete in memory.
    pub fn checkpoint(&mut self) -> Out<Option<Plan>> {
        self.check_plan()?;
        if self.is_read_only() || (!self.is_changed() && self.log.used == 0) {
            return Ok(None);
        }
        if let Some(&block) = self.overlays.keys().min() {
            return Err(self.missing(block));
        }
        self.plan(true).map(Some)
    }

    fn check_plan(&self) -> Out<()> {
        if self.log.has_failed {
            return Err(Error::Failed.into());
        }
        if self.log.in_flight.is_some() { Err(Stop::Commit) } else { Ok(()) }
    }

    fn plan(&mut self, is_checkpoint: bool) -> Out<Plan> {
        let mut steps = Vec::new();
        if self.transaction.has_data {
            steps.push(Step::Flush);
        }
        let (record, homes) = self.make_record(is_checkpoint)?;
        let count = (record.len() / BLOCK) as u32;
        let head = (self.log.head + count) % self.geometry.log_blocks;
        let mut next = self.log.sequence + u64::from(count > 0);
        if count > 0 {
            steps.push(Step::Write(self.record_writes(&record)?));
            steps.push(Step::Flush);
        }
        let mut homes_out = None;
        if let Some(homes) = homes {
            if self.log.is_replayed {
                // What a cut left behind the last record shall never be taken for one.
                next += u64::from(self.geometry.log_blocks);
            }
            homes_out = Some(homes.iter().map(|home| home.0).collect());
            steps.push(Step::Write(homes));
            steps.push(Step::Flush);
            self.superblock.sequence += 1;
            self.superblock.tail = head;
            self.superblock.tail_sequence = next;
            self.superblock.state = self.state;
            steps.push(Step::Write(Vec::from([(self.superblock.copy(), Block(self.superblock.encode()))])));
            steps.push(Step::Flush);
        }
        self.hand_over(next - 1, homes_out);
        self.log.head = head;
        self.log.used += count;
        self.log.sequence = next;
        Ok(Plan { steps })
    }

    /// The plan is made: what it holds is the running transaction no more.
    fn hand_over(&mut self, sequence: u64, homes: Option<Vec<u64>>) {
        for &block in &self.transaction.touched {
            if let Some(at) = self.cache.find(block) {
                let slot = self.cache.slot_mut(at);
                slot.logged |= core::mem::take(&mut slot.running);
                slot.is_fresh = false;
            }
        }
        if let Some(homes) = &homes {
            for &block in homes {
                if let Some(at) = self.cache.find(block) {
                    let slot = self.cache.slot_mut(at);
                    slot.logged = 0;
                    slot.is_in_flight = true;
                }
            }
            self.dirty = 0;
            self.log.epoch += 1;
        }
        self.transaction.touched.clear();
        self.transaction.forgotten.clear();
        self.transaction.bytes = 0;
        self.transaction.has_data = false;
        self.log.state = self.state;
        self.log.in_flight = Some(InFlight { sequence, freed: core::mem::take(&mut self.transaction.freed), homes });
    }

    /// A plan was executed whole, every write and flush without an error.
    pub fn done(&mut self, plan: Plan) {
        drop(plan);
        let Some(done) = self.log.in_flight.take() else { return };
        self.log.durable = done.sequence;
        self.release(&done.freed);
        let Some(homes) = done.homes else { return };
        for block in homes {
            if let Some(at) = self.cache.find(block) {
                self.cache.slot_mut(at).is_in_flight = false;
            }
        }
        self.log.used = 0;
        self.log.is_replayed = false;
        self.homes.clear();
    }

    /// A write or flush of a plan failed: what is in the log is unknown now, and nothing can be changed any more.
    pub fn failed(&mut self, plan: Plan) {
        drop(plan);
        self.log.has_failed = true;
    }

    /// The record of the running transaction, and of a checkpoint the blocks to be written home. Nothing is changed but checksums.
    fn make_record(&mut self, is_checkpoint: bool) -> Out<(Vec<u8>, Option<Homes>)> {
        // A checkpoint that was cut has its list in the log.
        let needs_record = !self.log.is_replayed || self.homes.is_empty();
        let homes = if is_checkpoint { self.dirty } else { 0 };
        let size = HEADER + self.transaction.bytes + homes * ENTRY;
        let mut writer = Writer::new(if needs_record { size } else { 0 }).ok_or(Error::NoMemory)?;
        for &block in &self.transaction.touched {
            if let Some(at) = self.cache.find(block) {
                let slot = self.cache.slot(at);
                writer.entry(block, if slot.is_fresh { FRESH } else { 0 }, slot.running, &slot.bytes);
            }
        }
        self.transaction.forgotten.iter().for_each(|&block| writer.forget(block));
        let writes = if is_checkpoint { Some(self.homes(&mut writer)?) } else { None };
        if !needs_record {
            return Ok((Vec::new(), writes));
        }
        Ok((writer.finish(self.log.sequence, &self.state, &self.seed), writes))
    }

    fn homes(&mut self, writer: &mut Writer) -> Out<Homes> {
        let mut homes = Vec::new();
        homes.try_reserve_exact(self.dirty).map_err(|_| Error::NoMemory)?;
        for slot in self.cache.iter_mut().filter(|slot| !slot.is_clean()) {
            let sum = seal_slot(slot, &self.geometry, &self.seed);
            let mut copy = page().ok_or(Error::NoMemory)?;
            copy.copy_from_slice(&slot.bytes[..]);
            homes.push((slot.block, sum, Block(copy)));
        }
        homes.sort_unstable_by_key(|home| home.0);
        homes.iter().for_each(|&(block, sum, _)| writer.home(block, sum));
        Ok(homes.into_iter().map(|(block, _, bytes)| (block, bytes)).collect())
    }

    fn record_writes(&self, record: &[u8]) -> Out<Homes> {
        let blocks = blocks(record).ok_or(Error::NoMemory)?;
        let place = |index: usize| {
            let at = (self.log.head as usize + index) % self.geometry.log_blocks as usize;
            self.geometry.log_start() + at as u64
        };
        Ok(blocks.into_iter().enumerate().map(|(index, block)| (place(index), Block(block))).collect())
    }
}
