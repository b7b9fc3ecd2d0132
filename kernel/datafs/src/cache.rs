//! Blocks of metadata in memory.
//!
//! A block is clean, or differs from what is at its home: then `logged` and `running` say which granules. A block that differs, or is on its way home, is
//! never dropped. The others go by second chance.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

use crate::types::Bytes;

/// Hash of a block's number: they are dense, so a multiplication spreads them well.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0.rotate_left(8) ^ u64::from(byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A map by block or inode number.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// A zeroed block, in an allocation of exactly one page; `None` when there is no memory.
#[must_use]
pub fn page() -> Option<Box<Bytes>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(crate::BLOCK).ok()?;
    bytes.resize(crate::BLOCK, 0u8);
    bytes.into_boxed_slice().try_into().ok()
}

/// A block in memory.
pub struct Slot {
    /// Its number.
    pub block: u64,
    /// Its bytes. Checksums in them are right only while it is clean.
    pub bytes: Box<Bytes>,
    /// Granules that differ from home by transactions that have a record, or a plan for one.
    pub logged: u64,
    /// Granules that the running transaction changed.
    pub running: u64,
    /// Parts whose checksum and contents were looked at: bit 0, or of a block of inodes one for each.
    pub verified: u16,
    /// The running transaction made it.
    pub is_fresh: bool,
    /// A plan is writing it home.
    pub is_in_flight: bool,
    was_used: bool,
}

impl Slot {
    /// Its bytes are at home.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.logged | self.running == 0
    }
}

/// All of them.
#[derive(Default)]
pub struct Cache {
    slots: Vec<Slot>,
    index: Map<u64, u32>,
    last: usize,
    hand: usize,
}

impl Cache {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Where a block is. Places are stable until one is removed.
    pub fn find(&mut self, block: u64) -> Option<usize> {
        if self.slots.get(self.last).is_some_and(|slot| slot.block == block) {
            return Some(self.last);
        }
        let at = *self.index.get(&block)? as usize;
        self.slots[at].was_used = true;
        self.last = at;
        Some(at)
    }

    /// Whether a block is there.
    #[must_use]
    pub fn has(&self, block: u64) -> bool {
        self.index.contains_key(&block)
    }

    /// The slot at a place.
    #[must_use]
    pub fn slot(&self, at: usize) -> &Slot {
        &self.slots[at]
    }

    /// The slot at a place.
    pub fn slot_mut(&mut self, at: usize) -> &mut Slot {
        &mut self.slots[at]
    }

    /// Copies bytes from one block to another.
    pub fn copy(&mut self, from: usize, range: core::ops::Range<usize>, to: usize, at: usize) {
        if let Ok([from, to]) = self.slots.get_disjoint_mut([from, to]) {
            to.bytes[at..at + range.len()].copy_from_slice(&from.bytes[range]);
        }
    }

    /// Puts a block in that is not there; `None` when there is no memory.
    pub fn insert(&mut self, block: u64, bytes: Box<Bytes>) -> Option<usize> {
        self.slots.try_reserve(1).ok()?;
        self.index.try_reserve(1).ok()?;
        let at = self.slots.len();
        self.slots.push(Slot {
            block,
            bytes,
            logged: 0,
            running: 0,
            verified: 0,
            is_fresh: false,
            is_in_flight: false,
            was_used: true,
        });
        self.index.insert(block, at as u32);
        self.last = at;
        Some(at)
    }

    /// Takes a block out.
    pub fn remove(&mut self, block: u64) {
        let Some(at) = self.index.remove(&block) else { return };
        self.slots.swap_remove(at as usize);
        if let Some(moved) = self.slots.get(at as usize) {
            self.index.insert(moved.block, at);
        }
    }

    /// Drops up to `count` clean blocks that were not used since the hand came by; returns how many.
    pub fn shrink(&mut self, count: usize) -> usize {
        let (mut dropped, mut left) = (0, 2 * self.slots.len());
        while dropped < count && left > 0 && !self.slots.is_empty() {
            left -= 1;
            self.hand %= self.slots.len();
            let slot = &mut self.slots[self.hand];
            if !slot.is_clean() || slot.is_in_flight || core::mem::take(&mut slot.was_used) {
                self.hand += 1;
                continue;
            }
            let block = slot.block;
            self.remove(block); // another takes its place: the hand stays
            dropped += 1;
        }
        dropped
    }

    /// All blocks.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slots.iter_mut()
    }
}
