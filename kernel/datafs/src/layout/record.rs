//! Records of the log: one transaction each, under one checksum.
//!
//! A record begins a block of the log, fills as many as it needs, and goes on at the log's start when it comes to the end. Header, then per changed block
//! {block and flags u64, mask u64, the granules of the mask}, then, of a checkpoint, per block that is to be written home {block u64, CRC-32C of its final bytes u32,
//! zero u32}. A checkpoint's record is the last until the superblock names a tail behind it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::types::Bytes;
use crate::{BLOCK, Damage, What};

use super::geometry::Geometry;
use super::superblock::{STATE_SIZE, State};
use super::{GRANULE, Seed, put_u32, put_u64, u32_at, u64_at};

const MAGIC: u32 = u32::from_le_bytes(*b"DfsR");
const SUM: usize = 4;
const SUMMED: usize = 8;
const SEQUENCE: usize = 8;
const LENGTH: usize = 16;
const ENTRIES: usize = 20;
const HOMES: usize = 24;
const STATE: usize = 32;
/// Bytes of a record's header.
pub const HEADER: usize = STATE + STATE_SIZE;
/// Bytes of an entry before its granules, and of a home.
pub const ENTRY: usize = 16;

/// The block was newly made: granules that the mask leaves out are zero, whatever is at home.
pub const FRESH: u64 = 1 << 63;
/// The block is none of the metadata any more: nothing that an earlier record says of it counts.
pub const FORGOTTEN: u64 = 1 << 62;
/// The bits of a block's number.
pub const NUMBER: u64 = (1 << 48) - 1;

/// What a record's first block says of it, before the rest was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its sequence number.
    pub sequence: u64,
    /// Its bytes.
    pub length: usize,
}

impl Head {
    /// Reads the head; `None` when no record of this log begins there.
    #[must_use]
    pub fn read(block: &Bytes, geometry: &Geometry) -> Option<Self> {
        let length = u32_at(block, LENGTH) as usize;
        let fits = (HEADER..=(geometry.record_blocks() + geometry.homes_blocks()) as usize * BLOCK).contains(&length);
        (u32_at(block, 0) == MAGIC && fits).then(|| Self { sequence: u64_at(block, SEQUENCE), length })
    }

    /// Blocks that it fills.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        self.length.div_ceil(BLOCK) as u32
    }
}

/// One block's part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The block.
    pub block: u64,
    /// `FRESH`.
    pub is_fresh: bool,
    /// `FORGOTTEN`.
    pub is_forgotten: bool,
    /// Which granules changed.
    pub mask: u64,
    /// Those granules, in their order.
    pub granules: &'a [u8],
}

/// A record whose checksum is right and whose parts are in bounds.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    bytes: &'a [u8],
    entries: usize,
    homes: usize,
    /// The state after it.
    pub state: State,
}

impl<'a> Record<'a> {
    /// Whether the checksum of `bytes`, a whole record, is right.
    #[must_use]
    pub fn is_sealed(bytes: &[u8], seed: &Seed) -> bool {
        u32_at(bytes, SUM) == seed.of(&bytes[SUMMED..])
    }

    /// Checks a record's parts. `block` is the one that it begins in.
    ///
    /// # Errors
    /// What makes no sense in it.
    pub fn parse(bytes: &'a [u8], geometry: &Geometry, block: u64) -> Result<Self, Damage> {
        let wrong = |what| Err(Damage { block, inode: 0, what });
        let (entries, homes) = (u32_at(bytes, ENTRIES) as usize, u32_at(bytes, HOMES) as usize);
        let state = bytes[STATE..].first_chunk().and_then(|bytes| State::read(bytes, geometry));
        let Some(state) = state else { return wrong(What::Bounds) };
        // Metadata lie in groups that are initialised by then, never in superblocks or the log.
        let is_place =
            |block: u64| geometry.place(block).is_some_and(|place| place.group < state.groups) && block < state.blocks;
        let mut at = HEADER;
        for _ in 0..entries {
            let Some(entry) = Self::entry_at(bytes, at) else { return wrong(What::Bounds) };
            let flags = u64_at(bytes, at) & !NUMBER;
            if flags & !(FRESH | FORGOTTEN) != 0 || entry.is_forgotten && (entry.is_fresh || entry.mask != 0) {
                return wrong(What::Value);
            }
            if !is_place(entry.block) {
                return wrong(What::Pointer);
            }
            at += ENTRY + entry.granules.len();
        }
        if homes.checked_mul(ENTRY).and_then(|homes| homes.checked_add(at)) != Some(bytes.len()) {
            return wrong(What::Bounds);
        }
        if !bytes[at..].chunks_exact(ENTRY).all(|home| is_place(u64_at(home, 0))) {
            return wrong(What::Pointer);
        }
        Ok(Self { bytes, entries, homes, state })
    }

    fn entry_at(bytes: &'a [u8], at: usize) -> Option<Entry<'a>> {
        let head = bytes.get(at..at.checked_add(ENTRY)?)?;
        let (word, mask) = (u64_at(head, 0), u64_at(head, 8));
        let length = mask.count_ones() as usize * GRANULE;
        let granules = bytes.get(at + ENTRY..at + ENTRY + length)?;
        let (is_fresh, is_forgotten) = (word & FRESH != 0, word & FORGOTTEN != 0);
        Some(Entry { block: word & NUMBER, is_fresh, is_forgotten, mask, granules })
    }

    /// The changed blocks.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> {
        let (bytes, mut at) = (self.bytes, HEADER);
        (0..self.entries).filter_map(move |_| {
            let entry = Self::entry_at(bytes, at)?;
            at += ENTRY + entry.granules.len();
            Some(entry)
        })
    }

    /// It is a checkpoint's.
    #[must_use]
    pub fn is_checkpoint(&self) -> bool {
        self.homes > 0
    }

    /// Of a checkpoint: each block that is written home, and the CRC-32C of what is written.
    pub fn homes(&self) -> impl Iterator<Item = (u64, u32)> + 'a {
        let from = self.bytes.len() - self.homes * ENTRY;
        self.bytes[from..].chunks_exact(ENTRY).map(|home| (u64_at(home, 0), u32_at(home, 8)))
    }
}

/// Copies granules into their places.
pub fn apply(entry: &Entry<'_>, into: &mut Bytes) {
    let mut mask = entry.mask;
    for granule in entry.granules.chunks_exact(GRANULE) {
        let at = mask.trailing_zeros() as usize * GRANULE;
        mask &= mask - 1;
        into[at..at + GRANULE].copy_from_slice(granule);
    }
}

/// A record that is being written.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    entries: u32,
    homes: u32,
}

impl Writer {
    /// An empty one, with room for `bytes` bytes; `None` when there is no memory for it.
    #[must_use]
    pub fn new(bytes: usize) -> Option<Self> {
        let mut room = Vec::new();
        room.try_reserve_exact(bytes.max(HEADER).next_multiple_of(BLOCK)).ok()?;
        room.resize(HEADER, 0);
        Some(Self { bytes: room, entries: 0, homes: 0 })
    }

    /// Adds what changed in a block.
    pub fn entry(&mut self, block: u64, flags: u64, mask: u64, contents: &Bytes) {
        self.bytes.extend_from_slice(&(block | flags).to_le_bytes());
        self.bytes.extend_from_slice(&mask.to_le_bytes());
        let mut left = mask;
        while left != 0 {
            let first = left.trailing_zeros() as usize;
            let count = (left >> first).trailing_ones() as usize;
            self.bytes.extend_from_slice(&contents[first * GRANULE..(first + count) * GRANULE]);
            left &= u64::MAX.checked_shl((first + count) as u32).unwrap_or(0);
        }
        self.entries += 1;
    }

    /// Adds a block that is no metadata any more.
    pub fn forget(&mut self, block: u64) {
        self.bytes.extend_from_slice(&(block | FORGOTTEN).to_le_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.entries += 1;
    }

    /// Adds a block that is to be written home; after all entries.
    pub fn home(&mut self, block: u64, sum: u32) {
        self.bytes.extend_from_slice(&block.to_le_bytes());
        self.bytes.extend_from_slice(&sum.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.homes += 1;
    }

    /// The whole record, padded to blocks.
    #[must_use]
    pub fn finish(mut self, sequence: u64, state: &State, seed: &Seed) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        put_u32(&mut self.bytes, 0, MAGIC);
        put_u64(&mut self.bytes, SEQUENCE, sequence);
        put_u32(&mut self.bytes, LENGTH, length);
        put_u32(&mut self.bytes, ENTRIES, self.entries);
        put_u32(&mut self.bytes, HOMES, self.homes);
        if let Some(into) = self.bytes[STATE..].first_chunk_mut() {
            state.write(into);
        }
        let sum = seed.of(&self.bytes[SUMMED..]);
        put_u32(&mut self.bytes, SUM, sum);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self.bytes
    }
}

/// Cuts a record into blocks; `None` when there is no memory for them.
#[must_use]
pub fn blocks(bytes: &[u8]) -> Option<Vec<Box<Bytes>>> {
    let mut blocks = Vec::new();
    blocks.try_reserve_exact(bytes.len() / BLOCK).ok()?;
    for chunk in bytes.as_chunks::<BLOCK>().0 {
        let mut block = crate::cache::page()?;
        block.copy_from_slice(chunk);
        blocks.push(block);
    }
    Some(blocks)
}
