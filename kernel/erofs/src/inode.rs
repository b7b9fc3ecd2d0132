//! Inodes (`struct erofs_inode_compact`, `struct erofs_inode_extended`).

use crate::packed::Table;
use crate::{Error, Fault, Image, Source, u16_at, u32_at, u64_at};

const UNIT: u64 = 32;
const COMPACT: usize = 32;
const EXTENDED: usize = 64;
const CHUNK_BITS: u32 = 0x1f;
const CHUNK_INDEXES: u32 = 0x20;
const FORMAT: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// How a file's data are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Blocks one behind the other.
    Plain { start: u32 },
    /// The same, but the last block's bytes follow the inode at this offset of the image.
    Inline { start: u32, tail: u64 },
    /// Chunks of 2^`bits` blocks, each with an entry in the table at this offset.
    Chunks { bits: u32, table: u64, entry: u64 },
    /// Compressed extents, found through a table.
    Packed(Table),
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
    pub(crate) layout: Layout,
}

impl Inode {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.mode & FORMAT == DIRECTORY
    }

    /// Whether its bytes are compressed.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        matches!(self.layout, Layout::Packed(_))
    }

    /// `st_rdev` of a device.
    #[must_use]
    pub fn device(&self) -> u32 {
        if let Layout::None { device } = self.layout { device } else { 0 }
    }
}

impl<S: Source> Image<S> {
    /// Reads inode `nid`.
    ///
    /// # Errors
    /// `Inode` when it lies outside or has an unknown format; that it cannot be read.
    pub fn inode(&self, nid: u64) -> Result<Inode, Error<S::Error>> {
        let bad = Fault::Inode { nid };
        let at = nid.checked_mul(UNIT).and_then(|offset| self.meta.checked_add(offset)).ok_or(bad)?;
        let compact: [u8; COMPACT] = self.array(at)?.ok_or(bad)?;
        // The first two bytes say how long it is.
        let (inode, behind, kind, union) = if compact[0] & 1 == 0 {
            parse_compact(&compact, nid, at).ok_or(bad)?
        } else {
            parse_extended(&self.array(at)?.ok_or(bad)?, nid, at).ok_or(bad)?
        };
        if inode.size > i64::MAX as u64 {
            return Err(bad.into());
        }
        let layout = self.layout(&inode, kind, union, behind)?.ok_or(bad)?;
        Ok(Inode { layout, ..inode })
    }

    fn layout(&self, inode: &Inode, kind: u16, union: u32, behind: u64) -> Result<Option<Layout>, Error<S::Error>> {
        if !matches!(inode.mode & FORMAT, REGULAR | DIRECTORY | LINK) {
            return Ok(Some(Layout::None { device: union }));
        }
        // Bits above the layout's three are reserved by Linux 6.1.
        Ok(match kind {
            0 => Some(Layout::Plain { start: union }),
            2 => Some(Layout::Inline { start: union, tail: behind }),
            // Directories and links are never compressed: their readers need all bytes at once.
            1 | 3 if inode.mode & FORMAT == REGULAR => {
                self.packed_table(inode.nid, kind == 1, behind)?.map(Layout::Packed)
            }
            4 if union & !(CHUNK_BITS | CHUNK_INDEXES) & 0xffff == 0 => {
                let entry = if union & CHUNK_INDEXES != 0 { 8 } else { 4 };
                Some(Layout::Chunks { bits: union & CHUNK_BITS, table: behind.next_multiple_of(entry), entry })
            }
            _ => None,
        })
    }
}

/// Inode, byte behind it and its extended attributes, kind of layout, and what the layout needs.
type Parsed = (Inode, u64, u16, u32);

fn behind(raw: &[u8], at: u64, header: usize) -> Option<u64> {
    let attributes = match u64::from(u16_at(raw, 2)?) {
        0 => 0,
        count => 12 + (count - 1) * 4,
    };
    Some(at + header as u64 + attributes)
}

fn parse_compact(raw: &[u8; COMPACT], nid: u64, at: u64) -> Option<Parsed> {
    let inode = Inode {
        nid,
        mode: u32::from(u16_at(raw, 4)?),
        uid: u32::from(u16_at(raw, 24)?),
        gid: u32::from(u16_at(raw, 26)?),
        nlink: u32::from(u16_at(raw, 6)?),
        size: u64::from(u32_at(raw, 8)?),
        modified: None,
        layout: Layout::None { device: 0 },
    };
    Some((inode, behind(raw, at, COMPACT)?, u16_at(raw, 0)? >> 1, u32_at(raw, 16)?))
}

fn parse_extended(raw: &[u8; EXTENDED], nid: u64, at: u64) -> Option<Parsed> {
    let inode = Inode {
        nid,
        mode: u32::from(u16_at(raw, 4)?),
        uid: u32_at(raw, 24)?,
        gid: u32_at(raw, 28)?,
        nlink: u32_at(raw, 44)?,
        size: u64_at(raw, 8)?,
        modified: Some((u64_at(raw, 32)?, u32_at(raw, 40)?)),
        layout: Layout::None { device: 0 },
    };
    Some((inode, behind(raw, at, EXTENDED)?, u16_at(raw, 0)? >> 1, u32_at(raw, 16)?))
}
