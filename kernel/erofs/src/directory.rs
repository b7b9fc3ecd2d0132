//! Directories: blocks of `struct erofs_dirent` {nid u64, nameoff u16, type u8, reserved u8}, then the names. Entries are sorted by
//! name across the whole directory, so a name is found by two binary searches: for its block, then inside it.

use crate::{BLOCK, Error, Image, Inode, NAME_MAX, Piece, u16_at, u64_at};
use core::cmp::Ordering;

const ENTRY: usize = 12;

/// One name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its bytes.
    pub name: &'a [u8],
    /// The inode it names.
    pub nid: u64,
    /// `d_type`-like: 1 file, 2 directory, 3 character, 4 block, 5 pipe, 6 socket, 7 link.
    pub kind: u8,
    /// Position of the entry behind it, for `Image::entry_at`.
    pub next: u64,
}

/// A directory block whose entry table was checked.
struct Block<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Block<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let first = usize::from(u16_at(bytes, 8)?);
        let sound = first >= ENTRY && first.is_multiple_of(ENTRY) && first < bytes.len();
        sound.then_some(Self { bytes, count: first / ENTRY })
    }

    fn name(&self, index: usize) -> Option<&'a [u8]> {
        let start = usize::from(u16_at(self.bytes, index * ENTRY + 8)?);
        if index + 1 < self.count {
            let end = usize::from(u16_at(self.bytes, (index + 1) * ENTRY + 8)?);
            let name = self.bytes.get(start..end)?;
            return (!name.is_empty() && name.len() <= NAME_MAX).then_some(name);
        }
        // The last name ends with the block, or at a NUL before.
        let tail = self.bytes.get(start..)?;
        let name = &tail[..tail.iter().position(|&byte| byte == 0).unwrap_or(tail.len())];
        (!name.is_empty() && name.len() <= NAME_MAX).then_some(name)
    }

    fn entry(&self, index: usize, position: u64) -> Option<Entry<'a>> {
        let at = index * ENTRY;
        let next = if index + 1 < self.count { position + ENTRY as u64 } else { position - at as u64 + BLOCK as u64 };
        Some(Entry { name: self.name(index)?, nid: u64_at(self.bytes, at)?, kind: *self.bytes.get(at + 10)?, next })
    }

    fn find(&self, wanted: &[u8]) -> Option<Result<usize, Ordering>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match wanted.cmp(self.name(middle)?) {
                Ordering::Equal => return Some(Ok(middle)),
                Ordering::Less => high = middle,
                Ordering::Greater => low = middle + 1,
            }
        }
        // Where to go on looking: before this block's first name, behind its last, or nowhere.
        Some(Err(match low {
            0 => Ordering::Less,
            _ if low == self.count => Ordering::Greater,
            _ => Ordering::Equal,
        }))
    }
}

impl<'a> Image<'a> {
    fn block(&self, directory: &Inode, index: u64) -> Result<Block<'a>, Error> {
        let bad = Error::Directory { nid: directory.nid };
        match self.piece(directory, index.saturating_mul(BLOCK as u64))? {
            Piece::Data { bytes, .. } => Block::new(bytes).ok_or(bad),
            Piece::Hole { .. } => Err(bad),
        }
    }

    /// Finds `name` in `directory`.
    ///
    /// # Errors
    /// `Data` or `Directory` when the directory is malformed.
    pub fn lookup(&self, directory: &Inode, name: &[u8]) -> Result<Option<Entry<'a>>, Error> {
        let bad = Error::Directory { nid: directory.nid };
        let (mut low, mut high) = (0, directory.size.div_ceil(BLOCK as u64));
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.block(directory, middle)?;
            match block.find(name).ok_or(bad)? {
                Ok(index) => {
                    let position = middle * BLOCK as u64 + (index * ENTRY) as u64;
                    return block.entry(index, position).map(Some).ok_or(bad);
                }
                Err(Ordering::Less) => high = middle,
                Err(Ordering::Greater) => low = middle + 1,
                Err(Ordering::Equal) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The entry at `position` (0 for the first, then each entry's `next`); `None` at the end.
    ///
    /// # Errors
    /// `Data` or `Directory` when the directory is malformed or the position is none.
    pub fn entry_at(&self, directory: &Inode, position: u64) -> Result<Option<Entry<'a>>, Error> {
        if position >= directory.size {
            return Ok(None);
        }
        let bad = Error::Directory { nid: directory.nid };
        let block = self.block(directory, position / BLOCK as u64)?;
        let within = (position % BLOCK as u64) as usize;
        if !within.is_multiple_of(ENTRY) || within / ENTRY >= block.count {
            return Err(bad);
        }
        block.entry(within / ENTRY, position).map(Some).ok_or(bad)
    }
}
