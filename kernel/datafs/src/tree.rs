//! The B+tree that begins in an inode.
//!
//! A record of an inner node has a key that is not above the keys below it, and above those of the record before. A node in a block is never empty. Nodes are not
//! merged with their neighbours: one goes when its last record goes, and the inode takes its only child's records back when they fit.

use crate::layout::inode::{DEPTH_MAX, Fields, RECORDS as ROOT_RECORDS, TREE, record as root_record};
use crate::layout::node::{COUNT, LEVEL, RECORD_SIZE, RECORDS, Record, check_extents, offset};
use crate::layout::{GRANULE, Kind, Owner, inode, u16_at};
use crate::types::InodeNumber;
use crate::volume::{Out, Volume};
use crate::{Damage, Error, What};

/// A node on the way from the inode to a leaf, and which of its records leads on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Level {
    /// The block; the inode's, at the top.
    pub block: u64,
    slot: usize,
    /// Offset of the first record.
    base: usize,
    pub count: usize,
    pub index: usize,
    /// Largest key that may stand in it.
    high: u64,
}

/// A way to a record of a leaf, or to where the first would be in a tree without records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub inode: InodeNumber,
    generation: u32,
    levels: [Level; DEPTH_MAX as usize + 1],
    depth: usize,
    /// Its records are extents.
    is_map: bool,
}

impl Cursor {
    pub(crate) fn leaf(&self) -> &Level {
        &self.levels[self.depth]
    }

    /// There is a record at all.
    pub(crate) fn is_some(&self) -> bool {
        self.leaf().count > 0
    }

    fn owner(&self) -> Owner {
        Owner { number: self.inode, generation: self.generation }
    }

    fn most(level: usize) -> usize {
        if level == 0 { ROOT_RECORDS } else { RECORDS }
    }
}

impl Volume {
    /// The way to the record with the largest key not above `key`; to the first record when all are above.
    pub(crate) fn seek(&mut self, inode: &Fields, key: u64) -> Out<Cursor> {
        let (slot, at) = self.inode_slot(inode.number)?;
        let mut cursor = Cursor {
            inode: inode.number,
            generation: inode.generation,
            levels: Default::default(),
            depth: usize::from(inode.depth),
            is_map: inode.is_map(),
        };
        let block = self.cache.slot(slot).block;
        let (base, count) = (at + inode::FIELDS, usize::from(inode.count));
        let index = self.floor(slot, base, count, key);
        cursor.levels[0] = Level { block, slot, base, count, index, high: u64::MAX };
        for level in 1..=cursor.depth {
            self.step_down(&mut cursor, level, key)?;
        }
        Ok(cursor)
    }

    /// Fills a level of the cursor from the record above.
    fn step_down(&mut self, cursor: &mut Cursor, level: usize, key: u64) -> Out<()> {
        let above = cursor.levels[level - 1];
        let from = self.at(&above, above.index);
        let block = from.block;
        let is_last = above.index + 1 >= above.count;
        let high = if is_last { above.high } else { self.at(&above, above.index + 1).key().wrapping_sub(1) };
        self.check_pointer(block, 1, above.block, cursor.inode)?;
        let slot = self.slot(block)?;
        let is_new = self.cache.slot(slot).verified == 0;
        self.check(slot, Kind::Node, cursor.owner(), (cursor.depth - level) as u8)?;
        if is_new && cursor.is_map && level == cursor.depth {
            self.check_map(slot, cursor.inode)?;
        }
        let bytes = self.bytes(slot);
        if usize::from(bytes[LEVEL]) != cursor.depth - level {
            return Err(Damage { block, inode: cursor.inode, what: What::Bounds }.into());
        }
        let count = usize::from(u16_at(bytes, COUNT));
        // Where this holds, a way through a tree only goes on, and meets no node twice.
        let (first, last) = (Record::read(bytes, offset(0)), Record::read(bytes, offset(count - 1)));
        if first.key() < from.key() || last.key() > high {
            return Err(Damage { block, inode: cursor.inode, what: What::Order }.into());
        }
        let index = self.floor(slot, GRANULE, count, key);
        cursor.levels[level] = Level { block, slot, base: GRANULE, count, index, high };
        Ok(())
    }

    /// A leaf of a file's map that just came from the disk.
    fn check_map(&mut self, slot: usize, inode: InodeNumber) -> Out<()> {
        let place = self.cache.slot(slot);
        let count = usize::from(u16_at(&place.bytes[..], COUNT));
        let records = (0..count).map(|index| Record::read(&place.bytes[..], offset(index)));
        if let Err(what) = check_extents(records, &self.geometry, &self.state) {
            let block = place.block;
            self.cache.slot_mut(slot).verified = 0;
            return Err(Damage { block, inode, what }.into());
        }
        Ok(())
    }

    /// A record's block must be data of the volume.
    pub(crate) fn check_pointer(&self, block: u64, count: u32, from: u64, inode: InodeNumber) -> Out<()> {
        match self.geometry.data_place(block, count, self.state.groups, self.state.blocks) {
            Some(_) => Ok(()),
            None => Err(Damage { block: from, inode, what: What::Pointer }.into()),
        }
    }

    fn floor(&self, slot: usize, base: usize, count: usize, key: u64) -> usize {
        let bytes = self.bytes(slot);
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if Record::read(bytes, base + middle * RECORD_SIZE).key() <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    fn at(&self, level: &Level, index: usize) -> Record {
        Record::read(self.bytes(level.slot), level.base + index * RECORD_SIZE)
    }

    /// The record that a cursor leads to.
    pub(crate) fn record(&self, cursor: &Cursor) -> Option<Record> {
        cursor.is_some().then(|| self.at(cursor.leaf(), cursor.leaf().index))
    }

    /// Goes to the next record; false, and nowhere, when there is none.
    pub(crate) fn advance(&mut self, cursor: &mut Cursor) -> Out<bool> {
        let has_next = |level: &Level| level.index + 1 < level.count;
        let Some(from) = (0..=cursor.depth).rev().find(|&level| has_next(&cursor.levels[level])) else {
            return Ok(false);
        };
        let mut next = *cursor;
        next.levels[from].index += 1;
        for level in from + 1..=next.depth {
            self.step_down(&mut next, level, 0)?;
        }
        *cursor = next;
        Ok(true)
    }

    /// Writes a record in place of the one that the cursor leads to. Its key must fit between the neighbours'.
    pub(crate) fn replace(&mut self, cursor: &Cursor, record: Record) {
        let leaf = cursor.leaf();
        self.put(leaf.slot, leaf.base + leaf.index * RECORD_SIZE, &record.bytes());
        if leaf.index == 0 {
            self.lower_keys(cursor, cursor.depth, record);
        }
    }

    /// Adds a record. The cursor must come from seeking its key.
    pub(crate) fn insert(&mut self, fields: &mut Fields, cursor: &Cursor, record: Record) -> Out<()> {
        let mut cursor = *cursor;
        if self.record(&cursor).is_some_and(|found| found.key() < record.key()) {
            cursor.levels[cursor.depth].index += 1;
        }
        self.insert_at(fields, cursor, cursor.depth, record)
    }

    /// Puts a record into a level before the index there.
    fn insert_at(&mut self, fields: &mut Fields, cursor: Cursor, level: usize, record: Record) -> Out<()> {
        let place = cursor.levels[level];
        if place.count < Cursor::most(level) {
            self.shift_in(&place, place.index, place.count, record);
            self.set_count(fields, &cursor, level, place.count + 1);
            if place.index == 0 && level > 0 {
                self.lower_keys(&cursor, level, record);
            }
            return Ok(());
        }
        if level == 0 {
            return self.push_down(fields, cursor, record);
        }
        self.split(fields, cursor, level, record)
    }

    /// A record came first in a level: the keys that lead to it must not be above.
    fn lower_keys(&mut self, cursor: &Cursor, level: usize, record: Record) {
        for upper in (0..level).rev() {
            let above = cursor.levels[upper];
            let old = self.at(&above, above.index);
            if old.key() <= record.key() {
                return;
            }
            let new = Record { high: record.high, low: record.low, block: old.block };
            self.put(above.slot, above.base + above.index * RECORD_SIZE, &new.bytes());
            if above.index > 0 {
                return;
            }
        }
    }

    fn shift_in(&mut self, place: &Level, index: usize, count: usize, record: Record) {
        let at = place.base + index * RECORD_SIZE;
        let moved = (count - index) * RECORD_SIZE;
        let bytes = self.alter(place.slot, at, moved + RECORD_SIZE);
        bytes.copy_within(..moved, RECORD_SIZE);
        bytes[..RECORD_SIZE].copy_from_slice(&record.bytes());
    }

    fn set_count(&mut self, fields: &mut Fields, cursor: &Cursor, level: usize, count: usize) {
        let place = cursor.levels[level];
        let at = if level == 0 {
            fields.count = count as u16;
            place.base - inode::FIELDS + TREE + 2
        } else {
            COUNT
        };
        self.put(place.slot, at, &(count as u16).to_le_bytes());
    }

    fn set_depth(&mut self, fields: &mut Fields, root: &Level, depth: usize) {
        fields.depth = depth as u8;
        self.put(root.slot, root.base - inode::FIELDS + TREE, &[depth as u8]);
    }

    fn make_node(&mut self, fields: &mut Fields, cursor: &Cursor, level: u8) -> Out<Level> {
        let block = self.allocate_owned(fields, true)?;
        let slot = self.fresh(block, Kind::Node, cursor.owner())?;
        self.put(slot, LEVEL, &[level]);
        Ok(Level { block, slot, base: GRANULE, count: 0, index: 0, high: u64::MAX })
    }

    /// The inode is full: its records go into a node of their own.
    fn push_down(&mut self, fields: &mut Fields, cursor: Cursor, record: Record) -> Out<()> {
        if cursor.depth == usize::from(DEPTH_MAX) {
            return Err(Error::NoSpace.into());
        }
        let root = cursor.levels[0];
        let mut node = self.make_node(fields, &cursor, cursor.depth as u8)?;
        let mut records = [0; ROOT_RECORDS * RECORD_SIZE];
        records.copy_from_slice(&self.bytes(root.slot)[root.base..root.base + ROOT_RECORDS * RECORD_SIZE]);
        let first = self.at(&root, 0);
        self.put(node.slot, GRANULE, &records);
        node.count = ROOT_RECORDS;
        node.index = root.index;
        let mut below = cursor;
        below.levels[1..].copy_from_slice(&cursor.levels[..usize::from(DEPTH_MAX)]);
        below.levels[1] = node;
        below.depth = cursor.depth + 1;
        below.levels[0] = Level { index: 0, count: 1, ..root };
        self.put(root.slot, root.base, &Record { block: node.block, ..first }.bytes());
        self.set_count(fields, &below, 0, 1);
        self.set_depth(fields, &root, below.depth);
        self.set_count(fields, &below, 1, ROOT_RECORDS);
        self.insert_at(fields, below, 1, record)
    }

    /// A node is full: its upper half goes into a new one; or nothing does, when the record comes last, for then more will.
    fn split(&mut self, fields: &mut Fields, cursor: Cursor, level: usize, record: Record) -> Out<()> {
        let place = cursor.levels[level];
        let mut right = self.make_node(fields, &cursor, (cursor.depth - level) as u8)?;
        let keep = if place.index == place.count { place.count } else { place.count / 2 };
        right.count = place.count - keep;
        if right.count > 0 {
            self.copy(place.slot, offset(keep), right.slot, offset(0), right.count * RECORD_SIZE);
            self.set_count(fields, &cursor, level, keep);
        }
        let mut other = cursor;
        if place.index > keep || right.count == 0 {
            right.index = place.index - keep;
            self.shift_in(&right, right.index, right.count, record);
            right.count += 1;
        } else {
            self.shift_in(&place, place.index, keep, record);
            self.set_count(fields, &cursor, level, keep + 1);
            if place.index == 0 {
                self.lower_keys(&cursor, level, record);
            }
        }
        other.levels[level] = right;
        self.set_count(fields, &other, level, right.count);
        let mut above = cursor;
        above.levels[level - 1].index += 1;
        let first = self.at(&right, 0);
        self.insert_at(fields, above, level - 1, Record { block: right.block, ..first })
    }

    /// Takes out the record that the cursor leads to; nodes that become empty go with it.
    pub(crate) fn delete(&mut self, fields: &mut Fields, cursor: &Cursor) -> Out<()> {
        let mut level = cursor.depth;
        loop {
            let place = cursor.levels[level];
            let at = place.base + place.index * RECORD_SIZE;
            let behind = (place.count - place.index - 1) * RECORD_SIZE;
            if place.count > 1 || level == 0 {
                if behind > 0 {
                    self.alter(place.slot, at, behind + RECORD_SIZE).copy_within(RECORD_SIZE.., 0);
                }
                self.set_count(fields, cursor, level, place.count - 1);
                break;
            }
            self.free_owned(fields, place.block)?;
            level -= 1;
        }
        let root = cursor.levels[0];
        if fields.count == 0 && fields.depth > 0 {
            self.set_depth(fields, &root, 0);
        }
        self.pull_up(fields, &root)
    }

    /// The inode's only node has few records: they come back into the inode.
    fn pull_up(&mut self, fields: &mut Fields, root: &Level) -> Out<()> {
        if fields.depth == 0 || fields.count != 1 {
            return Ok(());
        }
        let first = root_record(&self.bytes(root.slot)[root.base - inode::FIELDS..], 0);
        let mut cursor = self.seek(fields, first.key())?;
        let child = cursor.levels[1];
        if child.count > ROOT_RECORDS {
            return Ok(());
        }
        let mut records = [0; ROOT_RECORDS * RECORD_SIZE];
        let length = child.count * RECORD_SIZE;
        records[..length].copy_from_slice(&self.bytes(child.slot)[offset(0)..offset(0) + length]);
        self.put(root.slot, root.base, &records[..length]);
        cursor.levels[0] = *root;
        self.set_count(fields, &cursor, 0, child.count);
        self.set_depth(fields, root, usize::from(fields.depth) - 1);
        self.free_owned(fields, child.block)
    }

    /// Allocates a block of metadata for an inode, and counts it.
    pub(crate) fn allocate_owned(&mut self, fields: &mut Fields, is_urgent: bool) -> Out<u64> {
        self.charge(fields.quota, 1, 0, !is_urgent)?;
        let block = self.allocate_metadata(fields.number, is_urgent)?;
        fields.blocks += 1;
        Ok(block)
    }

    /// Releases a block of metadata of an inode.
    pub(crate) fn free_owned(&mut self, fields: &mut Fields, block: u64) -> Out<()> {
        self.charge(fields.quota, -1, 0, false)?;
        self.free_metadata(block, fields.number)?;
        fields.blocks = fields.blocks.saturating_sub(1);
        Ok(())
    }
}
