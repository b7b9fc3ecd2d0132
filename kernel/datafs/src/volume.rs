//! The volume's state, and how an operation changes it.
//!
//! Invariants:
//! - Between operations every block in memory is what the transactions up to the running one made of it, whole.
//! - An operation that stops leaves bytes, masks, state and counters as they were: each change goes through [`Volume::put`], [`Volume::fresh`] or a list of the
//!   transaction, and those are undone to where the operation began.
//! - No slot is removed while an operation runs, so the places of slots that it found stay right.
//! - A block is busy from its allocation in memory until it is attached, and from its release until the releasing transaction is durable. Busy blocks are never
//!   allocated, whatever the bitmap says.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::cache::{Cache, Map, page};
use crate::layout::geometry::Geometry;
use crate::layout::superblock::{State, Superblock};
use crate::layout::{GRANULE, Kind, Owner, Seed, granules, inode, names, node, write_header};
use crate::log::Log;
use crate::space::Space;
use crate::types::{Bytes, InodeNumber, Options, Statistics};
use crate::{BLOCK, Damage, Error, Missing, QUOTAS, Stop, What};

/// What operations give.
pub(crate) type Out<T> = Result<T, Stop>;

/// Bytes of a record that one operation may fill at most.
pub(crate) const OPERATION_MAX: usize = 48 * (BLOCK + 16);

/// A block with parts that the log holds and home does not.
pub(crate) struct Overlay {
    pub mask: u64,
    pub bytes: Box<Bytes>,
}

/// What the transaction that runs has collected.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Blocks that it changed, in the order of their first change.
    pub touched: Vec<u64>,
    /// Blocks that are no metadata any more.
    pub forgotten: Vec<u64>,
    /// Blocks that it released.
    pub freed: Vec<(u64, u32)>,
    /// Bytes of its record, without the header.
    pub bytes: usize,
    /// Its metadata lead to data that no flush has covered yet.
    pub has_data: bool,
}

/// What takes an operation back.
#[derive(Default)]
struct Undo {
    entries: Vec<Undone>,
    bytes: Vec<u8>,
    state: State,
    touched: usize,
    forgotten: usize,
    freed: usize,
    record: usize,
    dirty: usize,
    has_data: bool,
    allocated: Vec<(u64, u32)>,
    fresh: Vec<u64>,
}

struct Undone {
    slot: u32,
    offset: u16,
    length: u16,
    running: u64,
}

/// An open volume.
pub struct Volume {
    pub(crate) superblock: Superblock,
    pub(crate) options: Options,
    pub(crate) geometry: Geometry,
    pub(crate) seed: Seed,
    pub(crate) state: State,
    pub(crate) cache: Cache,
    /// Replayed from the log, while their home was not read.
    pub(crate) overlays: Map<u64, Overlay>,
    /// Of a checkpoint that was cut: what its blocks should be.
    pub(crate) homes: Map<u64, u32>,
    pub(crate) transaction: Transaction,
    pub(crate) log: Log,
    pub(crate) space: Space,
    /// Blocks that quota ids have reserved.
    pub(crate) quota_reserved: BTreeMap<u32, u64>,
    /// Changed blocks in memory.
    pub(crate) dirty: usize,
    undo: Undo,
}

impl core::fmt::Debug for Volume {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Volume({:?}, {} blocks in memory)", self.state, self.cache.len())
    }
}

impl Volume {
    pub(crate) fn new(superblock: Superblock, state: State, options: Options, log: Log) -> Self {
        Self {
            geometry: superblock.geometry,
            seed: Seed::new(&superblock.uuid),
            superblock,
            options,
            state,
            cache: Cache::default(),
            overlays: Map::default(),
            homes: Map::default(),
            transaction: Transaction::default(),
            log,
            space: Space::new(),
            quota_reserved: BTreeMap::new(),
            dirty: 0,
            undo: Undo::default(),
        }
    }

    /// Gives a block that an operation missed. It is dropped silently when it came too late; the operation will ask again.
    ///
    /// # Errors
    /// `NoMemory`; `Damaged` when the log has parts of it and the rest is not what it was. Other damage is told by the operation that needs the block.
    pub fn supply(&mut self, missing: Missing, bytes: &Bytes) -> Result<(), Error> {
        if missing.epoch != self.log.epoch || self.cache.has(missing.block) {
            return Ok(());
        }
        let over = (self.cache.len() + 1).saturating_sub(self.options.cache_blocks_max.max(64));
        if over > 0 {
            self.cache.shrink(over);
        }
        let mut own = page().ok_or(Error::NoMemory)?;
        own.copy_from_slice(bytes);
        if self.overlays.contains_key(&missing.block) {
            return self.supply_replayed(missing.block, own);
        }
        self.cache.insert(missing.block, own).map(|_| ()).ok_or(Error::NoMemory)
    }

    /// Blocks of metadata in memory.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// Drops up to `count` clean blocks that were not used lately; returns how many went.
    pub fn shrink(&mut self, count: usize) -> usize {
        self.cache.shrink(count)
    }

    /// Nothing can be changed: the volume was opened so, an unknown feature asks for it, or a write of the log failed.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.options.read_only || !self.superblock.is_writable() || self.log.has_failed
    }

    /// The volume becomes larger: up to `blocks` blocks, which the device has. Groups are made when they are first used.
    ///
    /// # Errors
    /// `Invalid` when it would become smaller, or larger than the device.
    pub fn grow(&mut self, blocks: u64) -> Out<()> {
        self.operate(|volume| {
            let most = volume.options.device_blocks.min(crate::layout::geometry::BLOCKS_MAX);
            if blocks < volume.state.blocks || blocks > most {
                return Err(Error::Invalid.into());
            }
            volume.state.blocks = blocks;
            Ok(())
        })?;
        self.space.forget_fullness();
        Ok(())
    }

    /// The device became larger, and this many blocks are there now.
    pub fn set_device_blocks(&mut self, blocks: u64) {
        self.options.device_blocks = self.options.device_blocks.max(blocks);
    }

    /// What `statfs` tells. Never stops.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let data = self.geometry.data_blocks(self.state.blocks);
        let blocks = data.saturating_sub(crate::space::pool(data));
        let groups = u64::from(self.geometry.group_count(self.state.blocks));
        let inodes = groups * u64::from(self.geometry.inodes_per_group);
        Statistics {
            blocks,
            free: blocks.saturating_sub(self.state.used_blocks + self.space.set_aside()),
            inodes,
            inodes_free: inodes.saturating_sub(self.state.used_inodes),
        }
    }

    /// Blocks of the volume, everything included.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.state.blocks
    }

    /// The superblock that it was opened with.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The volume's UUID, as it is written.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        self.superblock.uuid
    }

    /// The volume's label, without padding.
    #[must_use]
    pub fn label(&self) -> &[u8] {
        let label = &self.superblock.label;
        &label[..label.iter().position(|&byte| byte == 0).unwrap_or(label.len())]
    }

    /// First of the orphans: inodes without a name, and files whose truncation is not finished. After opening, before anything else, each is reclaimed.
    #[must_use]
    pub fn first_orphan(&self) -> Option<InodeNumber> {
        (self.state.orphans != 0).then_some(self.state.orphans)
    }
}

/// Operations.
impl Volume {
    /// Runs an operation: all of it, or nothing.
    pub(crate) fn operate<T>(&mut self, work: impl FnOnce(&mut Self) -> Out<T>) -> Out<T> {
        if self.log.has_failed {
            return Err(Error::Failed.into());
        }
        if self.is_read_only() {
            return Err(Error::ReadOnly.into());
        }
        self.check_room()?;
        self.begin();
        match work(self) {
            Ok(value) => {
                debug_assert!(self.transaction.bytes - self.undo.record <= OPERATION_MAX, "operation too large");
                self.keep();
                Ok(value)
            }
            Err(stop) => {
                self.undo();
                Err(stop)
            }
        }
    }

    fn begin(&mut self) {
        let (undo, transaction) = (&mut self.undo, &self.transaction);
        undo.entries.clear();
        undo.bytes.clear();
        undo.allocated.clear();
        undo.fresh.clear();
        undo.state = self.state;
        undo.touched = transaction.touched.len();
        undo.forgotten = transaction.forgotten.len();
        undo.freed = transaction.freed.len();
        undo.record = transaction.bytes;
        undo.dirty = self.dirty;
        undo.has_data = transaction.has_data;
    }

    fn keep(&mut self) {
        for at in self.undo.forgotten..self.transaction.forgotten.len() {
            let block = self.transaction.forgotten[at];
            if let Some(slot) = self.cache.find(block) {
                self.dirty -= usize::from(!self.cache.slot(slot).is_clean());
                self.cache.remove(block);
            }
        }
    }

    fn undo(&mut self) {
        while let Some(entry) = self.undo.entries.pop() {
            let slot = self.cache.slot_mut(entry.slot as usize);
            let (at, length) = (usize::from(entry.offset), usize::from(entry.length));
            let from = self.undo.bytes.len() - length;
            slot.bytes[at..at + length].copy_from_slice(&self.undo.bytes[from..]);
            slot.running = entry.running;
            self.undo.bytes.truncate(from);
        }
        for at in self.undo.freed..self.transaction.freed.len() {
            let (block, count) = self.transaction.freed[at];
            self.set_busy(block, count, false);
        }
        for at in 0..self.undo.allocated.len() {
            let (block, _) = self.undo.allocated[at];
            self.forget_fullness_at(block);
        }
        while let Some(block) = self.undo.fresh.pop() {
            self.cache.remove(block);
        }
        let (undo, transaction) = (&self.undo, &mut self.transaction);
        transaction.touched.truncate(undo.touched);
        transaction.forgotten.truncate(undo.forgotten);
        transaction.freed.truncate(undo.freed);
        transaction.bytes = undo.record;
        transaction.has_data = undo.has_data;
        self.dirty = undo.dirty;
        self.state = undo.state;
    }

    /// The operation allocated blocks in a bitmap.
    pub(crate) fn note_allocated(&mut self, block: u64, count: u32) {
        self.undo.allocated.push((block, count));
    }

    /// Where a block is in memory.
    pub(crate) fn slot(&mut self, block: u64) -> Out<usize> {
        match self.cache.find(block) {
            Some(at) => Ok(at),
            None => Err(self.missing(block)),
        }
    }

    pub(crate) fn missing(&self, block: u64) -> Stop {
        Stop::Missing(Missing { block, epoch: self.log.epoch })
    }

    /// A block's bytes.
    pub(crate) fn bytes(&self, slot: usize) -> &Bytes {
        &self.cache.slot(slot).bytes
    }

    /// Changes bytes of a block.
    pub(crate) fn put(&mut self, slot: usize, offset: usize, bytes: &[u8]) {
        let into = self.alter(slot, offset, bytes.len());
        into.copy_from_slice(bytes);
    }

    /// Gives bytes of a block to be changed.
    pub(crate) fn alter(&mut self, slot: usize, offset: usize, length: usize) -> &mut [u8] {
        let place = self.cache.slot_mut(slot);
        let range = offset..offset + length;
        self.undo.entries.push(Undone {
            slot: slot as u32,
            offset: offset as u16,
            length: length as u16,
            running: place.running,
        });
        self.undo.bytes.extend_from_slice(&place.bytes[range.clone()]);
        if place.running == 0 {
            self.dirty += usize::from(place.is_clean());
            self.transaction.touched.push(place.block);
            self.transaction.bytes += 16;
        }
        let mask = place.running | granules(offset, length);
        self.transaction.bytes += (mask ^ place.running).count_ones() as usize * GRANULE;
        place.running = mask;
        &mut place.bytes[range]
    }

    /// Copies bytes from one block to another.
    pub(crate) fn copy(&mut self, from: usize, offset: usize, to: usize, at: usize, length: usize) {
        self.alter(to, at, length);
        self.cache.copy(from, offset..offset + length, to, at);
    }

    /// Makes a block of metadata, which was just allocated: its header and zeroes.
    pub(crate) fn fresh(&mut self, block: u64, kind: Kind, owner: Owner) -> Out<usize> {
        let slot = self.fresh_blank(block)?;
        let mut header = [0; GRANULE];
        write_header(&mut header, kind, block, owner);
        self.put(slot, 0, &header);
        self.cache.slot_mut(slot).verified = 1;
        Ok(slot)
    }

    /// Makes a block of zeroes, of which something is changed next.
    pub(crate) fn fresh_blank(&mut self, block: u64) -> Out<usize> {
        // What may be there was supplied when the block had another use; it is clean, for nothing refers to it.
        let slot = match self.cache.find(block) {
            Some(slot) if self.cache.slot(slot).is_clean() => {
                self.cache.slot_mut(slot).bytes.fill(0);
                slot
            }
            // Something refers to it though the bitmap has it free.
            Some(_) => return Err(Damage { block, inode: 0, what: What::Pointer }.into()),
            None => {
                let bytes = page().ok_or(Error::NoMemory)?;
                self.cache.insert(block, bytes).ok_or(Error::NoMemory)?
            }
        };
        let place = self.cache.slot_mut(slot);
        place.is_fresh = true;
        place.verified = 0;
        self.undo.fresh.push(block);
        Ok(slot)
    }

    /// Looks at a block of metadata, which must be of this kind and owner: its checksum and contents once, its header each time.
    pub(crate) fn check(&mut self, slot: usize, kind: Kind, owner: Owner, level: u8) -> Out<()> {
        let place = self.cache.slot(slot);
        let (block, is_new) = (place.block, place.verified == 0);
        crate::layout::check_header(&place.bytes, kind, block, owner, is_new.then_some(&self.seed))?;
        if is_new {
            self.check_contents(slot, kind, owner, level)?;
            self.cache.slot_mut(slot).verified = 1;
        }
        Ok(())
    }

    fn check_contents(&self, slot: usize, kind: Kind, owner: Owner, level: u8) -> Result<(), Damage> {
        let place = self.cache.slot(slot);
        match kind {
            Kind::Group => crate::space::check_group(&place.bytes, place.block, &self.geometry),
            Kind::Node => node::check(&place.bytes, place.block, owner.number, level),
            Kind::Names => names::check(&place.bytes, place.block, owner.number),
            Kind::Xattr => crate::xattr::check(&place.bytes, place.block, owner.number),
            Kind::Link | Kind::Quota => Ok(()),
        }
    }
}

/// Inodes.
impl Volume {
    /// Finds an inode, in use or not: its slot and its offset there.
    pub(crate) fn inode_slot(&mut self, number: InodeNumber) -> Out<(usize, usize)> {
        let group = number / self.geometry.inodes_per_group;
        if number == 0 || group >= self.state.groups {
            return Err(Error::Stale.into());
        }
        let (block, offset) = self.geometry.inode_place(number);
        let slot = self.slot(block)?;
        let place = self.cache.slot_mut(slot);
        let bit = 1 << (offset / inode::SIZE);
        if place.verified & bit == 0 {
            let bytes = &place.bytes[offset..offset + inode::SIZE];
            inode::check(bytes, number, block, &self.seed)?;
            let fields = inode::Fields::read(bytes);
            if fields.is_map() && fields.depth == 0 {
                let records = (0..usize::from(fields.count)).map(|index| inode::record(bytes, index));
                let checked = node::check_extents(records, &self.geometry, &self.state);
                checked.map_err(|what| Damage { block, inode: number, what })?;
            }
            place.verified |= bit;
        }
        Ok((slot, offset))
    }

    /// An inode that is in use; the table of quotas, which nothing names, is none for operations.
    pub(crate) fn inode(&mut self, number: InodeNumber) -> Out<inode::Fields> {
        if number == QUOTAS {
            return Err(Error::Stale.into());
        }
        self.used_inode(number)
    }

    /// An inode that is in use, the table of quotas among them.
    pub(crate) fn used_inode(&mut self, number: InodeNumber) -> Out<inode::Fields> {
        let (slot, offset) = self.inode_slot(number)?;
        let fields = inode::Fields::read(&self.bytes(slot)[offset..offset + inode::SIZE]);
        if fields.mode == 0 { Err(Error::Stale.into()) } else { Ok(fields) }
    }

    /// Writes an inode's fields: the granules in which they differ.
    pub(crate) fn put_inode(&mut self, fields: &inode::Fields) -> Out<()> {
        let (slot, offset) = self.inode_slot(fields.number)?;
        let mut new = [0; inode::FIELDS];
        new.copy_from_slice(&self.bytes(slot)[offset..offset + inode::FIELDS]);
        fields.write(&mut new);
        for part in [0..GRANULE, GRANULE..inode::FIELDS] {
            let old = &self.bytes(slot)[offset + part.start..offset + part.end];
            if *old != new[part.clone()] {
                self.put(slot, offset + part.start, &new[part]);
            }
        }
        Ok(())
    }

    /// Damage of an inode, in its own block.
    pub(crate) fn inode_damage(&self, number: InodeNumber, what: What) -> Stop {
        Damage { block: self.geometry.inode_place(number).0, inode: number, what }.into()
    }
}
