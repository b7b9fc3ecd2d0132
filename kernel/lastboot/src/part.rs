//! A part: a ring of text whose checksum follows each write.
//!
//! The checksum is the XOR of a hash of every (place, byte) that the ring holds, so that a byte that takes another's place changes it at the cost of two
//! hashes, and the whole need not be read. It finds damage; it keeps nobody out who can write memory.

use core::ops::Range;

/// Bytes before the ring: how many were ever written, and the checksum.
pub(crate) const COUNTERS: usize = 16;

/// A bijection that mixes every bit into every other (Steele, Lea, Flood: SplitMix, OOPSLA 2014).
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

const fn hash(salt: u64, place: usize, byte: u8) -> u64 {
    mix(salt.wrapping_add(((place as u64) << 8 | byte as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The checksum of bytes at places from 0 on.
pub(crate) fn checksum(salt: u64, bytes: &[u8]) -> u64 {
    bytes.iter().enumerate().fold(0, |sum, (place, byte)| sum ^ hash(salt, place, *byte))
}

/// Bound to the record and the part, so that what an older record left there is not taken for it.
pub(crate) const fn salt(head_sum: u64, part: usize) -> u64 {
    mix(head_sum ^ (part as u64 + 1))
}

pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Writes a part.
///
/// Invariant: between two calls the counters in memory agree with the ring.
pub struct Recorder<'a> {
    counters: &'a mut [u8],
    ring: &'a mut [u8],
    salt: u64,
    sum: u64,
    written: u64,
}

impl<'a> Recorder<'a> {
    /// Begins a part that holds nothing yet.
    pub(crate) fn begin(part: &'a mut [u8], salt: u64) -> Self {
        let (counters, ring) = part.split_at_mut(COUNTERS);
        // What was there before is nobody's any more.
        ring.fill(0);
        let mut recorder = Self { counters, ring, salt, sum: 0, written: 0 };
        recorder.settle();
        recorder
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.written == 0
    }

    /// Appends bytes; the oldest make room. `changed` is told of the memory that was written, to bring it out of caches.
    pub fn push(&mut self, bytes: &[u8], mut changed: impl FnMut(&[u8])) {
        let length = self.ring.len() as u64;
        let start = self.written;
        for &byte in bytes {
            let place = (self.written % length) as usize;
            if self.written >= length {
                self.sum ^= hash(self.salt, place, self.ring[place]);
            }
            self.sum ^= hash(self.salt, place, byte);
            self.ring[place] = byte;
            self.written += 1;
        }
        for range in around(start, bytes.len(), self.ring.len()) {
            changed(&self.ring[range]);
        }
        self.settle();
        changed(self.counters);
    }

    fn settle(&mut self) {
        self.counters[..8].copy_from_slice(&self.written.to_le_bytes());
        self.counters[8..].copy_from_slice(&(self.sum ^ mix(self.salt ^ self.written)).to_le_bytes());
    }
}

/// The places of a ring of `length` that `count` bytes from position `start` on take.
fn around(start: u64, count: usize, length: usize) -> [Range<usize>; 2] {
    let count = count.min(length);
    let first = (start % length as u64) as usize;
    let end = (first + count).min(length);
    [first..end, 0..count - (end - first)]
}

/// What a part holds.
#[derive(Clone, Copy, Debug)]
pub struct Tail<'a> {
    older: &'a [u8],
    newer: &'a [u8],
    /// More was written than there is room for: it begins in the middle of a line.
    pub is_cut: bool,
}

impl<'a> Tail<'a> {
    /// `None`: the bytes are not what a recorder left, or one that was stopped in the middle of a write.
    pub(crate) fn parse(part: &'a [u8], salt: u64) -> Option<Self> {
        let (written, sum) = (word(part, 0)?, word(part, 8)?);
        let ring = part.get(COUNTERS..)?;
        let is_cut = written > ring.len() as u64;
        let used = if is_cut { ring } else { ring.get(..written as usize)? };
        if checksum(salt, used) ^ mix(salt ^ written) != sum {
            return None;
        }
        let oldest = if is_cut { (written % ring.len() as u64) as usize } else { 0 };
        let (newer, older) = used.split_at(oldest);
        Some(Self { older, newer, is_cut })
    }

    /// The bytes, oldest first.
    pub fn bytes(&self) -> impl Iterator<Item = u8> + Clone + use<'a> {
        self.older.iter().chain(self.newer).copied()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.older.is_empty() && self.newer.is_empty()
    }
}
