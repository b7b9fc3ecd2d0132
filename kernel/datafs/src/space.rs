//! Blocks and inodes: who has which.
//!
//! What the bitmaps say belongs to transactions; what is busy, reserved or known of a group's fullness is in memory only. A hint about a group may claim more
//! room than there is, never less.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::cache::Map;
use crate::layout::geometry::{
    BLOCK_BITMAP, GROUP_BLOCKS, GROUP_TABLES, GROUP_USED_BLOCKS, GROUP_USED_INODES, Geometry, INODE_BITMAP,
    INODES_PER_BLOCK,
};
use crate::layout::{Kind, Owner, u32_at, u64_at};
use crate::types::{Bytes, InodeNumber};
use crate::volume::{Out, Volume};
use crate::{Damage, Error, Stop, What};

const WORDS: usize = GROUP_BLOCKS as usize / 64;
/// A run of this many blocks is as good as any longer one.
const GOOD_RUN: u32 = 256;
/// Reserved blocks that are allowed one block for the map of their file.
const BLOCKS_PER_NODE: u64 = 64;
/// Of a volume's data blocks one in so many is kept for maps of files, but no more than `POOL_MAX`.
const POOL_SHARE: u64 = 50;
const POOL_MAX: u64 = 4096;
const POOL_MIN: u64 = 16;

/// What is known of a group's free blocks and inodes.
#[derive(Clone, Copy, Debug)]
struct Hint {
    longest: u32,
    first: u32,
    first_inode: u32,
}

const UNKNOWN: Hint = Hint { longest: u32::MAX, first: 0, first_inode: 0 };

struct Busy {
    words: [u64; WORDS],
    count: u32,
}

/// Free space, as far as it is not on the disk.
pub(crate) struct Space {
    hints: Vec<Hint>,
    busy: Map<u32, Box<Busy>>,
    /// Blocks set aside for data to come.
    reserved: u64,
}

impl Space {
    pub(crate) fn new() -> Self {
        Self { hints: Vec::new(), busy: Map::default(), reserved: 0 }
    }

    /// Blocks that are neither used nor to be had.
    pub(crate) fn set_aside(&self) -> u64 {
        self.reserved + self.reserved.div_ceil(BLOCKS_PER_NODE)
    }

    /// Nothing is known of any group's fullness.
    pub(crate) fn forget_fullness(&mut self) {
        self.hints.clear();
    }

    fn hint(&mut self, group: u32) -> &mut Hint {
        let at = group as usize;
        if self.hints.len() <= at {
            self.hints.resize(at + 1, UNKNOWN);
        }
        &mut self.hints[at]
    }
}

/// Blocks that are kept for maps of files, so that writing back what was accepted does not fail.
pub(crate) const fn pool(data_blocks: u64) -> u64 {
    let share = data_blocks / POOL_SHARE;
    if share > POOL_MAX {
        POOL_MAX
    } else if share < POOL_MIN {
        POOL_MIN
    } else {
        share
    }
}

/// Checks a group's block, its header apart.
pub(crate) fn check_group(bytes: &Bytes, block: u64, geometry: &Geometry) -> Result<(), Damage> {
    let is_sound = u32_at(bytes, GROUP_USED_BLOCKS) <= GROUP_BLOCKS - geometry.static_blocks()
        && u32_at(bytes, GROUP_USED_INODES) <= geometry.inodes_per_group
        && u32_at(bytes, GROUP_TABLES) <= geometry.table_blocks();
    if is_sound { Ok(()) } else { Err(Damage { block, inode: 0, what: What::Bounds }) }
}

/// A bitmap of `limit` bits, with what is busy besides.
struct Bitmap<'a> {
    bytes: &'a [u8],
    busy: Option<&'a Busy>,
    limit: u32,
}

/// What a search in a bitmap found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FreeRun {
    /// The first free bit at all.
    first: u32,
    /// The run.
    start: u32,
    count: u32,
}

impl Bitmap<'_> {
    fn used(&self, word: u32) -> u64 {
        u64_at(self.bytes, word as usize * 8) | self.busy.map_or(0, |busy| busy.words[word as usize])
    }

    /// The first bit from `at` on that is used, or not; `end` or the limit when there is none before.
    fn next(&self, at: u32, end: u32, is_used: bool) -> u32 {
        let (mut at, end) = (at, end.min(self.limit));
        while at < end {
            let word = if is_used { self.used(at / 64) } else { !self.used(at / 64) };
            let same = (word >> (at % 64)).trailing_zeros().min(64 - at % 64);
            at += same;
            if !at.is_multiple_of(64) || same == 0 {
                break;
            }
        }
        at.min(end)
    }

    /// The first run of `want` free bits from `from` on, or else the longest.
    fn search(&self, from: u32, want: u32) -> FreeRun {
        let first = self.next(from, self.limit, false);
        let mut best = FreeRun { first, start: first, count: 0 };
        let mut start = first;
        while start < self.limit {
            let end = self.next(start, start.saturating_add(want), true);
            if end - start > best.count {
                best = FreeRun { first, start, count: end - start };
            }
            if best.count >= want {
                break;
            }
            start = self.next(end, self.limit, false);
        }
        best
    }
}

/// Bits of a `count`-bit range that lie in the byte `at`.
fn bits_in_byte(at: usize, index: u32, count: u32) -> u8 {
    let (from, to) = ((at as u32 * 8).max(index), (at as u32 * 8 + 8).min(index + count));
    let length = to - from;
    ((1u16 << length) - 1) as u8 * (1 << (from % 8))
}

/// Room.
impl Volume {
    /// Blocks that are free for what was not reserved.
    pub(crate) fn room(&self) -> u64 {
        let data = self.geometry.data_blocks(self.state.blocks);
        data.saturating_sub(self.state.used_blocks + self.space.set_aside() + pool(data))
    }

    /// Sets blocks aside.
    pub(crate) fn set_aside(&mut self, blocks: u64) -> Result<(), Error> {
        if blocks + blocks.div_ceil(BLOCKS_PER_NODE) > self.room() {
            return Err(Error::NoSpace);
        }
        self.space.reserved += blocks;
        Ok(())
    }

    /// Gives up what was set aside.
    pub(crate) fn give_back(&mut self, blocks: u64) {
        self.space.reserved = self.space.reserved.saturating_sub(blocks);
    }

    /// Marks blocks that no one may get, or may get again.
    pub(crate) fn set_busy(&mut self, block: u64, count: u32, is_busy: bool) {
        let Some(place) = self.geometry.place(block) else { return };
        let make = || Box::new(Busy { words: [0; WORDS], count: 0 });
        let busy = self.space.busy.entry(place.group).or_insert_with(make);
        let (mut at, end) = (place.index, (place.index + count).min(GROUP_BLOCKS));
        while at < end {
            let length = (64 - at % 64).min(end - at);
            let bits = (u64::MAX >> (64 - length)) << (at % 64);
            let word = &mut busy.words[at as usize / 64];
            let old = word.count_ones();
            *word = if is_busy { *word | bits } else { *word & !bits };
            busy.count = busy.count + word.count_ones() - old;
            at += length;
        }
        if busy.count == 0 {
            self.space.busy.remove(&place.group);
        }
    }

    /// Blocks are free that were not, or may be.
    pub(crate) fn forget_fullness_at(&mut self, block: u64) {
        if let Some(place) = self.geometry.place(block) {
            let hint = self.space.hint(place.group);
            hint.longest = u32::MAX;
            hint.first = hint.first.min(place.index);
        }
    }

    /// Blocks that were busy are free now.
    pub(crate) fn release(&mut self, runs: &[(u64, u32)]) {
        for &(block, count) in runs {
            self.set_busy(block, count, false);
            self.forget_fullness_at(block);
        }
    }

    /// A group's block; the group behind the last one is made.
    pub(crate) fn group(&mut self, group: u32) -> Out<usize> {
        let block = self.geometry.group_start(group);
        if group == self.state.groups && group < self.geometry.group_count(self.state.blocks) {
            return self.make_group(group, block);
        }
        if group >= self.state.groups {
            return Err(Damage { block, inode: 0, what: What::Pointer }.into());
        }
        let slot = self.slot(block)?;
        self.check(slot, Kind::Group, Owner::group(group), 0)?;
        Ok(slot)
    }

    fn make_group(&mut self, group: u32, block: u64) -> Out<usize> {
        let slot = self.fresh(block, Kind::Group, Owner::group(group))?;
        self.state.groups = group + 1;
        let count = self.geometry.static_blocks();
        self.set_bits(slot, BLOCK_BITMAP, 0, count, true)?;
        if group == 0 {
            self.set_bits(slot, INODE_BITMAP, 0, 1, true)?; // there is no inode 0
            self.put(slot, GROUP_USED_INODES, &1u32.to_le_bytes());
            self.state.used_inodes += 1;
        }
        Ok(slot)
    }

    /// Sets bits of a bitmap that have the other value.
    fn set_bits(&mut self, slot: usize, bitmap: usize, index: u32, count: u32, value: bool) -> Out<()> {
        let block = self.cache.slot(slot).block;
        let (first, last) = (index as usize / 8, (index + count - 1) as usize / 8);
        let bytes = self.alter(slot, bitmap + first, last + 1 - first);
        for (at, byte) in bytes.iter_mut().enumerate() {
            let bits = bits_in_byte(first + at, index, count);
            if (*byte & bits != 0) == value || (!value && *byte & bits != bits) {
                return Err(Damage { block, inode: 0, what: What::Value }.into());
            }
            *byte ^= bits;
        }
        Ok(())
    }

    fn add_to(&mut self, slot: usize, field: usize, count: u32, is_more: bool) -> Out<()> {
        let old = u32_at(self.bytes(slot), field);
        let new = if is_more { old.checked_add(count) } else { old.checked_sub(count) };
        let most = match field {
            GROUP_USED_BLOCKS => GROUP_BLOCKS - self.geometry.static_blocks(),
            _ => self.geometry.inodes_per_group,
        };
        let block = self.cache.slot(slot).block;
        let new = new.filter(|&new| new <= most).ok_or(Damage { block, inode: 0, what: What::Bounds })?;
        self.put(slot, field, &new.to_le_bytes());
        Ok(())
    }
}

/// Blocks.
impl Volume {
    /// Finds free blocks: at `goal`, else in or behind its group; at most `want`. `None` when nothing is free.
    ///
    /// They are free in the bitmap and not busy; the caller makes them one or the other at once.
    pub(crate) fn find_run(&mut self, goal: u64, want: u32) -> Out<Option<(u64, u32)>> {
        let groups = self.geometry.group_count(self.state.blocks);
        let near = self.geometry.place(goal).filter(|place| place.group < groups);
        if let Some(place) = near
            && place.group < self.state.groups
            && place.index >= self.geometry.static_blocks()
        {
            let end = self.bitmap(place.group)?.next(place.index, place.index.saturating_add(want), true);
            if end > place.index {
                return Ok(Some(self.take(place.group, place.index, end - place.index)));
            }
        }
        let first = near.map_or(0, |place| place.group.min(self.state.groups));
        for need in [want.min(GOOD_RUN), 1] {
            for step in 0..groups {
                let group = (first + step) % groups;
                if group > self.state.groups || self.space.hint(group).longest < need {
                    continue;
                }
                let from = self.space.hint(group).first.max(self.geometry.static_blocks());
                let run = self.bitmap(group)?.search(from, want);
                let hint = self.space.hint(group);
                hint.first = run.first;
                if run.count < need {
                    hint.longest = run.count;
                    continue;
                }
                return Ok(Some(self.take(group, run.start, run.count)));
            }
        }
        if self.transaction.freed.is_empty() && !self.log.is_freeing() { Ok(None) } else { Err(Stop::Commit) }
    }

    fn bitmap(&mut self, group: u32) -> Out<Bitmap<'_>> {
        let slot = self.group(group)?;
        let limit = self.geometry.group_blocks(group, self.state.blocks);
        let busy = self.space.busy.get(&group).map(|busy| &**busy);
        Ok(Bitmap { bytes: &self.cache.slot(slot).bytes[BLOCK_BITMAP..], busy, limit })
    }

    fn take(&mut self, group: u32, index: u32, count: u32) -> (u64, u32) {
        let hint = self.space.hint(group);
        if hint.first == index {
            hint.first += count;
        }
        let block = self.geometry.group_start(group) + u64::from(index);
        self.note_allocated(block, count);
        (block, count)
    }

    /// Enters blocks as used.
    pub(crate) fn mark_used(&mut self, block: u64, count: u32) -> Out<()> {
        let outside = Damage { block, inode: 0, what: What::Pointer };
        let place = self.geometry.data_place(block, count, self.state.groups, self.state.blocks).ok_or(outside)?;
        let slot = self.group(place.group)?;
        self.set_bits(slot, BLOCK_BITMAP, place.index, count, true)?;
        self.add_to(slot, GROUP_USED_BLOCKS, count, true)?;
        // A count that bounds refuse must not come into a record.
        let used = self.state.used_blocks.saturating_add(u64::from(count));
        if used > self.geometry.data_blocks(self.state.blocks) {
            return Err(Damage { block, inode: 0, what: What::Bounds }.into());
        }
        self.state.used_blocks = used;
        Ok(())
    }

    /// Releases blocks; they are busy until the transaction is durable.
    pub(crate) fn free_blocks(&mut self, block: u64, count: u32, inode: InodeNumber) -> Out<()> {
        let outside = Damage { block: self.geometry.inode_place(inode).0, inode, what: What::Pointer };
        let place = self.geometry.data_place(block, count, self.state.groups, self.state.blocks).ok_or(outside)?;
        let slot = self.group(place.group)?;
        self.set_bits(slot, BLOCK_BITMAP, place.index, count, false)?;
        self.add_to(slot, GROUP_USED_BLOCKS, count, false)?;
        self.state.used_blocks = self.state.used_blocks.saturating_sub(u64::from(count));
        self.set_busy(block, count, true);
        self.transaction.freed.push((block, count));
        Ok(())
    }

    /// Allocates one block for metadata of an inode. `is_urgent`: for a map of data that were accepted; it may use what is kept for that.
    pub(crate) fn allocate_metadata(&mut self, inode: InodeNumber, is_urgent: bool) -> Out<u64> {
        if !is_urgent && self.room() == 0 {
            return Err(Error::NoSpace.into());
        }
        let goal = self.geometry.group_start(inode / self.geometry.inodes_per_group);
        let (block, _) = self.find_run(goal, 1)?.ok_or(Error::NoSpace)?;
        self.mark_used(block, 1)?;
        Ok(block)
    }

    /// Releases a block of metadata.
    pub(crate) fn free_metadata(&mut self, block: u64, inode: InodeNumber) -> Out<()> {
        self.free_blocks(block, 1, inode)?;
        self.transaction.forgotten.push(block);
        self.transaction.bytes += 16;
        Ok(())
    }
}

/// Inodes.
impl Volume {
    /// Allocates an inode in the group of another, or behind. Its fields are still what they were.
    pub(crate) fn allocate_inode(&mut self, near: InodeNumber) -> Out<InodeNumber> {
        let groups = self.geometry.group_count(self.state.blocks);
        let per_group = self.geometry.inodes_per_group;
        for step in 0..groups {
            let group = (near / per_group + step) % groups;
            if group > self.state.groups {
                continue;
            }
            let slot = self.group(group)?;
            if u32_at(self.bytes(slot), GROUP_USED_INODES) >= per_group {
                continue;
            }
            let from = self.space.hint(group).first_inode;
            let bitmap = Bitmap { bytes: &self.bytes(slot)[INODE_BITMAP..], busy: None, limit: per_group };
            let index = bitmap.next(from, per_group, false);
            if index >= per_group {
                continue;
            }
            self.set_bits(slot, INODE_BITMAP, index, 1, true)?;
            self.add_to(slot, GROUP_USED_INODES, 1, true)?;
            self.make_table(group, slot, index / INODES_PER_BLOCK)?;
            if self.state.used_inodes >= u64::from(self.state.groups) * u64::from(per_group) {
                return Err(Damage { block: self.geometry.group_start(group), inode: 0, what: What::Bounds }.into());
            }
            self.space.hint(group).first_inode = index;
            self.state.used_inodes += 1;
            return Ok(group * per_group + index);
        }
        Err(Error::NoInodes.into())
    }

    /// Initialises a block of inodes when it is the next that is not.
    fn make_table(&mut self, group: u32, slot: usize, table: u32) -> Out<()> {
        let made = u32_at(self.bytes(slot), GROUP_TABLES);
        if table > made {
            // The least free number is taken, so those before are in use and have their blocks.
            let block = self.geometry.group_start(group);
            return Err(Damage { block, inode: 0, what: What::Bounds }.into());
        }
        if table == made {
            self.fresh_blank(self.geometry.group_start(group) + 1 + u64::from(table))?;
            self.put(slot, GROUP_TABLES, &(table + 1).to_le_bytes());
        }
        Ok(())
    }

    /// Releases an inode's number.
    pub(crate) fn free_inode(&mut self, inode: InodeNumber) -> Out<()> {
        let (group, index) = (inode / self.geometry.inodes_per_group, inode % self.geometry.inodes_per_group);
        let slot = self.group(group)?;
        self.set_bits(slot, INODE_BITMAP, index, 1, false)?;
        self.add_to(slot, GROUP_USED_INODES, 1, false)?;
        self.state.used_inodes = self.state.used_inodes.saturating_sub(1);
        let hint = self.space.hint(group);
        hint.first_inode = hint.first_inode.min(index);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const BITS: u32 = 256;

    /// Words of all kinds: with runs, full, empty.
    fn words() -> impl Strategy<Value = Vec<u64>> {
        let word = prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), (0u32..64).prop_map(|bits| u64::MAX << bits)];
        prop::collection::vec(word, BITS as usize / 64)
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_look_at_each_bit_finds(
            used in words(), busy in words(), limit in 0..=BITS, at in 0..=BITS, end in 0..=BITS, want in 1..2 * BITS
        ) {
            let mut words = [0; WORDS];
            words[..busy.len()].copy_from_slice(&busy);
            let busy = Busy { words, count: 1 };
            let bytes: Vec<u8> = used.iter().flat_map(|word| word.to_le_bytes()).collect();
            let bitmap = Bitmap { bytes: &bytes, busy: Some(&busy), limit };
            let is_used = |bit: u32| (used[bit as usize / 64] | busy.words[bit as usize / 64]) >> (bit % 64) & 1 == 1;
            let next = |at: u32, value| (at..limit).find(|&bit| is_used(bit) == value).unwrap_or(limit);
            for value in [false, true] {
                let wanted = (at..end.min(limit)).find(|&bit| is_used(bit) == value).unwrap_or(end.min(limit));
                prop_assert_eq!(bitmap.next(at.min(wanted), end, value), wanted);
            }
            let mut best = (at, 0);
            let mut start = next(at, false);
            let first = start;
            while start < limit && best.1 < want {
                let behind = next(start, true);
                if (behind - start).min(want) > best.1 {
                    best = (start, (behind - start).min(want));
                }
                start = next(behind, false);
            }
            let found = bitmap.search(at, want);
            prop_assert_eq!((found.first, found.count), (first, best.1));
            prop_assert!(best.1 == 0 || found.start == best.0);
        }
    }
}
