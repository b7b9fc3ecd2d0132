//! Directories: blocks of `struct erofs_dirent` {nid u64, nameoff u16, type u8, reserved u8}, then the names. Entries are sorted by
//! name across the whole directory, so a name is found by two binary searches: for its block, then inside it.

use core::cmp::Ordering;
use core::ops::{Deref, Range};

use crate::{BLOCK, Error, Fault, Image, Inode, NAME_MAX, Piece, Source, u16_at, u64_at};

const ENTRY: usize = 12;

/// One name in a directory.
#[derive(Clone, Debug)]
pub struct Entry<B> {
    block: B,
    name: Range<usize>,
    /// The inode it names.
    pub nid: u64,
    /// `d_type`-like: 1 file, 2 directory, 3 character, 4 block, 5 pipe, 6 socket, 7 link.
    pub kind: u8,
    /// Position of the entry behind it, for `Image::entry_at`.
    pub next: u64,
}

impl<B: Deref<Target = [u8; BLOCK]>> Entry<B> {
    /// Its bytes.
    pub fn name(&self) -> &[u8] {
        // In range: it was found there.
        &self.block[self.name.clone()]
    }
}

/// A directory block whose entry table was checked: this part of a block of the image.
struct Block<B> {
    block: B,
    part: Range<usize>,
    count: usize,
}

impl<B: Clone + Deref<Target = [u8; BLOCK]>> Block<B> {
    fn new(block: B, part: Range<usize>) -> Option<Self> {
        let bytes = &block[part.clone()];
        let first = usize::from(u16_at(bytes, 8)?);
        let sound = first >= ENTRY && first.is_multiple_of(ENTRY) && first < bytes.len();
        let count = first / ENTRY;
        sound.then_some(Self { block, part, count })
    }

    fn bytes(&self) -> &[u8] {
        &self.block[self.part.clone()]
    }

    /// Where in the part a name lies.
    fn name_range(&self, index: usize) -> Option<Range<usize>> {
        let bytes = self.bytes();
        let start = usize::from(u16_at(bytes, index * ENTRY + 8)?);
        let end = if index + 1 < self.count {
            usize::from(u16_at(bytes, (index + 1) * ENTRY + 8)?)
        } else {
            // The last name ends with the block, or at a NUL before.
            let tail = bytes.get(start..)?;
            start + tail.iter().position(|&byte| byte == 0).unwrap_or(tail.len())
        };
        let sound = start < end && end - start <= NAME_MAX && end <= bytes.len();
        sound.then_some(start..end)
    }

    fn name(&self, index: usize) -> Option<&[u8]> {
        self.bytes().get(self.name_range(index)?)
    }

    fn entry(&self, index: usize, position: u64) -> Option<Entry<B>> {
        let at = index * ENTRY;
        let next = if index + 1 < self.count { position + ENTRY as u64 } else { position - at as u64 + BLOCK as u64 };
        let (name, from) = (self.name_range(index)?, self.part.start);
        Some(Entry {
            block: self.block.clone(),
            name: from + name.start..from + name.end,
            nid: u64_at(self.bytes(), at)?,
            kind: *self.bytes().get(at + 10)?,
            next,
        })
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

/// An entry, or that there is none, or why that is not known.
type Found<S> = Result<Option<Entry<<S as Source>::Block>>, Error<<S as Source>::Error>>;

impl<S: Source> Image<S> {
    fn directory_block(&self, directory: &Inode, index: u64) -> Result<Block<S::Block>, Error<S::Error>> {
        let bad = Fault::Directory { nid: directory.nid };
        match self.piece(directory, index.saturating_mul(BLOCK as u64), 0)? {
            Piece::Data { block, range, .. } => Ok(Block::new(block, range).ok_or(bad)?),
            Piece::Hole { .. } | Piece::Packed { .. } => Err(bad.into()),
        }
    }

    /// Finds `name` in `directory`.
    ///
    /// # Errors
    /// `Data` or `Directory` when the directory is malformed; that it cannot be read.
    pub fn lookup(&self, directory: &Inode, name: &[u8]) -> Found<S> {
        let bad = Fault::Directory { nid: directory.nid };
        let (mut low, mut high) = (0, directory.size.div_ceil(BLOCK as u64));
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.directory_block(directory, middle)?;
            match block.find(name).ok_or(bad)? {
                Ok(index) => {
                    let position = middle * BLOCK as u64 + (index * ENTRY) as u64;
                    return Ok(Some(block.entry(index, position).ok_or(bad)?));
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
    /// `Data` or `Directory` when the directory is malformed or the position is none; that it cannot be read.
    pub fn entry_at(&self, directory: &Inode, position: u64) -> Found<S> {
        if position >= directory.size {
            return Ok(None);
        }
        let bad = Fault::Directory { nid: directory.nid };
        let block = self.directory_block(directory, position / BLOCK as u64)?;
        let within = (position % BLOCK as u64) as usize;
        if !within.is_multiple_of(ENTRY) || within / ENTRY >= block.count {
            return Err(bad.into());
        }
        Ok(Some(block.entry(within / ENTRY, position).ok_or(bad)?))
    }
}
