//! Inodes and where their data lie (`struct erofs_inode_compact`, `struct erofs_inode_extended`).

use crate::{BLOCK, Error, Image, u16_at, u32_at, u64_at};

const UNIT: u64 = 32;
const COMPACT: usize = 32;
const EXTENDED: usize = 64;
const CHUNK_BITS: u32 = 0x1f;
const CHUNK_INDEXES: u32 = 0x20;
const NO_BLOCK: u32 = u32::MAX;
const FORMAT: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// How a file's data are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Blocks one behind the other.
    Plain { start: u32 },
    /// The same, but the last block's bytes follow the inode at this offset of the image.
    Inline { start: u32, tail: usize },
    /// Chunks of 2^`bits` blocks, each with an entry in the table at this offset.
    Chunks { bits: u32, table: usize, entry: usize },
    /// A device number in place of data, or no data at all.
    None { device: u32 },
}

/// One file, directory, link or device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Its number.
    pub nid: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Links.
    pub nlink: u32,
    /// Bytes.
    pub size: u64,
    /// Seconds and nanoseconds; `None` for the image's build time.
    pub modified: Option<(u64, u32)>,
    layout: Layout,
}

/// Bytes of a file that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// They are these.
    Data {
        /// the bytes
        bytes: &'a [u8],
        /// their offset in the image
        offset: usize,
    },
    /// So many zeroes.
    Hole {
        /// count
        length: usize,
    },
}

impl Piece<'_> {
    /// Count of bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Self::Data { bytes, .. } => bytes.len(),
            Self::Hole { length } => *length,
        }
    }
}

impl Inode {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.mode & FORMAT == DIRECTORY
    }

    /// `st_rdev` of a device.
    #[must_use]
    pub fn device(&self) -> u32 {
        if let Layout::None { device } = self.layout { device } else { 0 }
    }
}

impl<'a> Image<'a> {
    /// Reads inode `nid`.
    ///
    /// # Errors
    /// `Inode` when it lies outside or has an unknown format.
    pub fn inode(&self, nid: u64) -> Result<Inode, Error> {
        self.parse(nid).ok_or(Error::Inode { nid })
    }

    fn parse(&self, nid: u64) -> Option<Inode> {
        let at = self.meta.checked_add(usize::try_from(nid.checked_mul(UNIT)?).ok()?)?;
        let raw = self.bytes.get(at..at.checked_add(COMPACT)?)?;
        let format = u16_at(raw, 0)?;
        let extended = format & 1 != 0;
        let header = if extended { EXTENDED } else { COMPACT };
        let raw = self.bytes.get(at..at.checked_add(header)?)?;
        let mode = u32::from(u16_at(raw, 4)?);
        let attributes = match usize::from(u16_at(raw, 2)?) {
            0 => 0,
            count => 12 + (count - 1) * 4,
        };
        let union = u32_at(raw, 16)?;
        let behind = at + header + attributes;
        let layout = layout(mode, format >> 1, union, behind)?;
        let inode = if extended {
            Inode {
                nid,
                mode,
                uid: u32_at(raw, 24)?,
                gid: u32_at(raw, 28)?,
                nlink: u32_at(raw, 44)?,
                size: u64_at(raw, 8)?,
                modified: Some((u64_at(raw, 32)?, u32_at(raw, 40)?)),
                layout,
            }
        } else {
            Inode {
                nid,
                mode,
                uid: u32::from(u16_at(raw, 24)?),
                gid: u32::from(u16_at(raw, 26)?),
                nlink: u32::from(u16_at(raw, 6)?),
                size: u64::from(u32_at(raw, 8)?),
                modified: None,
                layout,
            }
        };
        (inode.size <= i64::MAX as u64).then_some(inode)
    }

    /// The bytes of a file from `offset` as far as they lie together, at most to the end of a block (so that a page of a file is one
    /// piece); empty at the end of the file.
    ///
    /// # Errors
    /// `Data` when they lie outside the image.
    pub fn piece(&self, inode: &Inode, offset: u64) -> Result<Piece<'a>, Error> {
        if offset >= inode.size {
            return Ok(Piece::Hole { length: 0 });
        }
        self.locate(inode, offset).ok_or(Error::Data { nid: inode.nid })
    }

    fn locate(&self, inode: &Inode, offset: u64) -> Option<Piece<'a>> {
        let block = offset / BLOCK as u64;
        let within = (offset % BLOCK as u64) as usize;
        let length = (BLOCK - within).min(usize::try_from(inode.size - offset).ok()?);
        let last = (inode.size - 1) / BLOCK as u64;
        let start = match inode.layout {
            Layout::Inline { tail, .. } if block == last => {
                // The tail never crosses a block of the image (erofs_fs.h, EROFS_INODE_FLAT_INLINE).
                (tail % BLOCK + within + length <= BLOCK).then_some(tail)?
            }
            Layout::Plain { start } | Layout::Inline { start, .. } => {
                usize::try_from(u64::from(start).checked_add(block)?).ok()?.checked_mul(BLOCK)?
            }
            Layout::Chunks { bits, table, entry } => {
                let index = usize::try_from(block >> bits).ok()?.checked_mul(entry)?;
                let at = table.checked_add(index)?;
                let address = if entry == 8 {
                    // Only the primary device exists.
                    (u16_at(self.bytes, at.checked_add(2)?)? == 0).then_some(u32_at(self.bytes, at.checked_add(4)?)?)?
                } else {
                    u32_at(self.bytes, at)?
                };
                if address == NO_BLOCK {
                    return Some(Piece::Hole { length });
                }
                let in_chunk = block & ((1u64 << bits) - 1);
                usize::try_from(u64::from(address).checked_add(in_chunk)?).ok()?.checked_mul(BLOCK)?
            }
            Layout::None { .. } => return None,
        };
        let offset = start.checked_add(within)?;
        let bytes = self.bytes.get(offset..offset.checked_add(length)?)?;
        Some(Piece::Data { bytes, offset })
    }

    /// Copies bytes of a file from `offset`; returns how many there were.
    ///
    /// # Errors
    /// `Data` when they lie outside the image.
    pub fn read(&self, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while done < into.len() {
            let piece = self.piece(inode, offset.saturating_add(done as u64))?;
            let count = piece.length().min(into.len() - done);
            if count == 0 {
                break;
            }
            let target = &mut into[done..done + count];
            match piece {
                Piece::Data { bytes, .. } => target.copy_from_slice(&bytes[..count]),
                Piece::Hole { .. } => target.fill(0),
            }
            done += count;
        }
        Ok(done)
    }
}

fn layout(mode: u32, kind: u16, union: u32, behind: usize) -> Option<Layout> {
    // Bits above the layout's three are reserved by Linux 6.1.
    if !matches!(mode & FORMAT, 0o100_000 | 0o040_000 | 0o120_000) {
        return Some(Layout::None { device: union });
    }
    match kind {
        0 => Some(Layout::Plain { start: union }),
        2 => Some(Layout::Inline { start: union, tail: behind }),
        4 => {
            if union & !(CHUNK_BITS | CHUNK_INDEXES) & 0xffff != 0 {
                return None;
            }
            let entry = if union & CHUNK_INDEXES != 0 { 8 } else { 4 };
            Some(Layout::Chunks { bits: union & CHUNK_BITS, table: behind.next_multiple_of(entry), entry })
        }
        _ => None,
    }
}
