//! Blocks of a directory: entries in any order, a hash in each.
//!
//! An entry reaches to the next; what it does not need is room for another. Only the first of a block may be free (inode 0).
//! Entries of equal hash have different ordinals; hash and ordinal are the entry's place in the directory's order.

use crate::types::{Bytes, InodeNumber};
use crate::{BLOCK, Damage, NAME_MAX, What};

use super::{GRANULE, put_u16, put_u32, u16_at, u32_at};

/// Bytes of an entry before its name.
pub const HEADER: usize = 14;
/// Bytes of a block that entries share.
pub const ROOM: usize = BLOCK - GRANULE;

/// Bytes that an entry needs.
#[must_use]
pub const fn needed(name: usize) -> usize {
    (HEADER + name).next_multiple_of(4)
}

/// An entry as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub at: usize,
    /// Bytes up to the next.
    pub length: usize,
    /// Hash of the name.
    pub hash: u32,
    /// Tells those of equal hash apart.
    pub ordinal: u16,
    /// What it names; 0: free.
    pub inode: InodeNumber,
    /// Type bits of the mode, shifted down by 12.
    pub kind: u8,
    /// Bytes of the name.
    pub name_length: usize,
}

impl Entry {
    /// Reads one. The block was checked.
    #[must_use]
    pub fn read(bytes: &Bytes, at: usize) -> Self {
        Self {
            at,
            hash: u32_at(bytes, at),
            ordinal: u16_at(bytes, at + 4),
            length: usize::from(u16_at(bytes, at + 6)),
            inode: u32_at(bytes, at + 8),
            name_length: usize::from(bytes[at + 12]),
            kind: bytes[at + 13],
        }
    }

    /// Its name.
    #[must_use]
    pub fn name<'a>(&self, bytes: &'a Bytes) -> &'a [u8] {
        &bytes[self.at + HEADER..self.at + HEADER + self.name_length]
    }

    /// Its place in the directory's order.
    #[must_use]
    pub const fn key(&self) -> u64 {
        key(self.hash, self.ordinal)
    }

    /// Bytes that it needs of its length.
    #[must_use]
    pub const fn used(&self) -> usize {
        if self.inode == 0 { 0 } else { needed(self.name_length) }
    }
}

/// A key of a tree for a place in a directory's order.
#[must_use]
pub const fn key(hash: u32, ordinal: u16) -> u64 {
    (hash as u64) << 32 | ordinal as u64
}

/// Writes an entry's header and name at the start of `bytes`.
pub fn write(bytes: &mut [u8], entry: &Entry, name: &[u8]) {
    put_u32(bytes, 0, entry.hash);
    put_u16(bytes, 4, entry.ordinal);
    put_u16(bytes, 6, entry.length as u16);
    put_u32(bytes, 8, entry.inode);
    bytes[12] = name.len() as u8;
    bytes[13] = entry.kind;
    bytes[HEADER..HEADER + name.len()].copy_from_slice(name);
}

/// Fills a block's room with entries of `old`; what is left belongs to the last.
pub fn fill(room: &mut [u8], old: &Bytes, entries: impl Iterator<Item = Entry>) {
    room.fill(0);
    let (mut at, mut last) = (0, 0);
    for entry in entries {
        let length = entry.used();
        write(&mut room[at..], &Entry { length, ..entry }, entry.name(old));
        last = at;
        at += length;
    }
    put_u16(room, last + 6, (ROOM - last) as u16);
}

/// The entries of a checked block, free ones too.
pub fn entries(bytes: &Bytes) -> impl Iterator<Item = Entry> + '_ {
    let mut at = GRANULE;
    core::iter::from_fn(move || {
        (at < BLOCK).then(|| {
            let entry = Entry::read(bytes, at);
            at += entry.length;
            entry
        })
    })
}

/// Checks a block's entries; its header was checked.
///
/// # Errors
/// What is wrong.
pub fn check(bytes: &Bytes, block: u64, inode: InodeNumber) -> Result<(), Damage> {
    let wrong = |what| Err(Damage { block, inode, what });
    let mut at = GRANULE;
    while at < BLOCK {
        if BLOCK - at < HEADER {
            return wrong(What::Bounds);
        }
        let entry = Entry::read(bytes, at);
        let is_sound =
            entry.length.is_multiple_of(4) && entry.length >= HEADER.max(entry.used()) && entry.length <= BLOCK - at;
        if !is_sound || (entry.inode == 0 && at != GRANULE) {
            return wrong(What::Bounds);
        }
        if entry.inode != 0 && !is_name(entry.name(bytes)) {
            return wrong(What::Value);
        }
        at += entry.length;
    }
    Ok(())
}

/// Whether a directory can have this name.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

/// SipHash-1-3 of a name under the volume's key, its low half: the attacker who does not know the key cannot make names collide.
#[must_use]
pub fn hash(key: &[u8; 16], name: &[u8]) -> u32 {
    let word = |at: usize| super::u64_at(key, at);
    let mut v = [
        word(0) ^ 0x736f_6d65_7073_6575,
        word(8) ^ 0x646f_7261_6e64_6f6d,
        word(0) ^ 0x6c79_6765_6e65_7261,
        word(8) ^ 0x7465_6462_7974_6573,
    ];
    let (chunks, rest) = name.as_chunks::<8>();
    for chunk in chunks {
        let message = u64::from_le_bytes(*chunk);
        v[3] ^= message;
        round(&mut v);
        v[0] ^= message;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = name.len() as u8;
    let message = u64::from_le_bytes(last);
    v[3] ^= message;
    round(&mut v);
    v[0] ^= message;
    v[2] ^= 0xff;
    (0..3).for_each(|_| round(&mut v));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

const fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}
