//! Where the bytes of a file lie.

use alloc::vec::Vec;
use core::ops::Range;

use crate::inode::Layout;
use crate::{BLOCK, Error, Extent, Fault, Image, Inode, Source, u16_at, u32_at};

const NO_BLOCK: u32 = u32::MAX;

/// Bytes of a file that lie together.
#[derive(Clone, Debug)]
pub enum Piece<B> {
    /// A part of a block.
    Data {
        /// the block
        block: B,
        /// which block of the image it is
        index: u64,
        /// the part
        range: Range<usize>,
    },
    /// So many zeroes.
    Hole {
        /// count
        length: usize,
    },
    /// So many bytes that are compressed: [`Image::extent`] says where.
    Packed {
        /// count
        length: usize,
    },
}

impl<B> Piece<B> {
    /// Count of bytes.
    pub fn length(&self) -> usize {
        match self {
            Self::Data { range, .. } => range.len(),
            Self::Hole { length } | Self::Packed { length } => *length,
        }
    }
}

/// The same without the bytes.
enum Place {
    Block { index: u64, range: Range<usize>, behind: u64 },
    Hole { length: usize },
    Packed { length: usize },
}

impl<S: Source> Image<S> {
    /// The bytes of a file from `offset` as far as they lie together, at most to the end of a block (so that a page of a file is one
    /// piece); empty at the end of the file. The caller will go on with up to `ahead` bytes behind it.
    ///
    /// # Errors
    /// `Data` when they lie outside the image; that they cannot be read.
    pub fn piece(&self, inode: &Inode, offset: u64, ahead: u64) -> Result<Piece<S::Block>, Error<S::Error>> {
        if offset >= inode.size {
            return Ok(Piece::Hole { length: 0 });
        }
        Ok(match self.locate(inode, offset)?.ok_or(Fault::Data { nid: inode.nid })? {
            Place::Block { index, range, behind } => {
                let ahead = behind.min(ahead.div_ceil(BLOCK as u64));
                let block = self.source.block_of_run(index, ahead).map_err(Error::Source)?;
                Piece::Data { block, index, range }
            }
            Place::Hole { length } => Piece::Hole { length },
            Place::Packed { length } => Piece::Packed { length },
        })
    }

    /// The block that is the page of a file at `offset`, if there is such a block and it is at hand.
    pub fn page_at_hand(&self, inode: &Inode, offset: u64) -> Option<S::Block> {
        // Of these nothing has to be read to know where they lie.
        let known = matches!(inode.layout, Layout::Plain { .. } | Layout::Inline { .. }) && offset < inode.size;
        match known.then(|| self.locate(inode, offset))?.ok()?? {
            Place::Block { index, range, .. } if range.len() == BLOCK => self.source.block_at_hand(index),
            _ => None,
        }
    }

    /// Where the byte at `offset`, which the file has, lies. `None`: nowhere in the image.
    fn locate(&self, inode: &Inode, offset: u64) -> Result<Option<Place>, Error<S::Error>> {
        let block = offset / BLOCK as u64;
        let within = (offset % BLOCK as u64) as usize;
        let length = usize::try_from(inode.size - offset).map_or(BLOCK, |left| left.min(BLOCK)).min(BLOCK - within);
        let last = (inode.size - 1) / BLOCK as u64;
        let (index, behind) = match inode.layout {
            Layout::Inline { tail, .. } if block == last => {
                // The tail never crosses a block of the image (erofs_fs.h, EROFS_INODE_FLAT_INLINE).
                let start = (tail % BLOCK as u64) as usize + within;
                let range = start..start + length;
                let index = tail / BLOCK as u64;
                return Ok((range.end <= BLOCK && self.has(index)).then_some(Place::Block { index, range, behind: 0 }));
            }
            Layout::Plain { start } => (u64::from(start) + block, last - block),
            Layout::Inline { start, .. } => (u64::from(start) + block, last - 1 - block),
            Layout::Chunks { bits, table, entry } => {
                let Some(address) = self.chunk(table, entry, block >> bits)? else { return Ok(None) };
                if address == NO_BLOCK {
                    return Ok(Some(Place::Hole { length }));
                }
                let chunk_mask = (1 << bits) - 1;
                (u64::from(address) + (block & chunk_mask), (chunk_mask - (block & chunk_mask)).min(last - block))
            }
            Layout::Packed(_) => return Ok(Some(Place::Packed { length })),
            Layout::None { .. } => return Ok(None),
        };
        // What lies behind is read only as far as there is an image.
        let behind = behind.min(u64::from(self.blocks).saturating_sub(index + 1));
        Ok(self.has(index).then_some(Place::Block { index, range: within..within + length, behind }))
    }

    fn has(&self, index: u64) -> bool {
        index < u64::from(self.blocks)
    }

    /// Address of a chunk. `None`: there is no such entry, or it lies on another device.
    fn chunk(&self, table: u64, entry: u64, number: u64) -> Result<Option<u32>, Error<S::Error>> {
        let Some(at) = number.checked_mul(entry).and_then(|offset| table.checked_add(offset)) else { return Ok(None) };
        if entry == 4 {
            return Ok(self.array::<4>(at)?.map(u32::from_le_bytes));
        }
        // Only the primary device exists.
        let Some(raw) = self.array::<8>(at)? else { return Ok(None) };
        Ok(u16_at(&raw, 2).filter(|&device| device == 0).and_then(|_| u32_at(&raw, 4)))
    }

    /// Copies bytes of a file from `offset`; returns how many there were.
    ///
    /// # Errors
    /// `Data` when they lie outside the image; that they cannot be read.
    pub fn read(&self, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<usize, Error<S::Error>> {
        let mut done = 0;
        while done < into.len() {
            let at = offset.saturating_add(done as u64);
            let ahead = (into.len() - done) as u64;
            let target = &mut into[done..];
            done += match self.piece(inode, at, ahead)? {
                Piece::Hole { length: 0 } => break,
                Piece::Data { block, range, .. } => {
                    let count = range.len().min(target.len());
                    target[..count].copy_from_slice(&block[range][..count]);
                    count
                }
                Piece::Hole { length } => {
                    let count = length.min(target.len());
                    target[..count].fill(0);
                    count
                }
                Piece::Packed { .. } => self.read_packed(inode, at, target)?,
            };
        }
        Ok(done)
    }

    /// The part of `into` that the extent at `offset` fills.
    fn read_packed(&self, inode: &Inode, offset: u64, into: &mut [u8]) -> Result<usize, Error<S::Error>> {
        let extent = self.extent(inode, offset)?;
        let bytes = self.unpack(inode, &extent)?;
        let from = (offset - extent.start) as usize;
        let count = (bytes.len() - from).min(into.len());
        into[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    /// All bytes of an extent that [`Image::extent`] has found in this file.
    ///
    /// # Errors
    /// `Packed` when they make no sense; `Memory`; that they cannot be read.
    pub fn unpack(&self, inode: &Inode, extent: &Extent) -> Result<Vec<u8>, Error<S::Error>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(extent.length).map_err(|_| Error::Memory)?;
        bytes.resize(extent.length, 0);
        self.unpack_into(inode, extent, &mut bytes)?;
        Ok(bytes)
    }
}
