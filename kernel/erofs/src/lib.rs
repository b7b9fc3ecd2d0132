//! EROFS, read from wherever its blocks come from (docs of the format: Linux Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h).
//!
//! What mkfs.erofs 1.5 makes on one device: flat files, flat with inline tail, chunk-based ones, and those compressed by LZ4 with full or
//! compact indexes and clusters of one or more blocks. Packed tails, fragments and other compressions are refused by the feature bits
//! that announce them.
//!
//! - `source`      where blocks come from: [`Source`]
//! - `superblock`  what kind of image it is
//! - `inode`       a file, and how its data are laid out
//! - `data`        where bytes of a file lie
//! - `directory`   names
//! - `packed`      the extents of a compressed file
//! - `lz4`         decompression
//!
//! The image is untrusted here: every offset is checked against it, every loop is bounded by a length that was checked, nothing panics. That a block
//! could not be had is another error than that it makes no sense.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

mod data;
mod directory;
mod inode;
mod lz4;
mod packed;
mod source;
mod superblock;
#[cfg(test)]
mod tests;

pub use data::Piece;
pub use directory::Entry;
pub use inode::Inode;
pub use lz4::decompress;
pub use packed::{Extent, LENGTH_MAX as EXTENT_LENGTH_MAX};
pub use source::Source;

/// Bytes of a block: one page, so that blocks can be mapped in place.
pub const BLOCK: usize = 4096;

/// Longest file name.
pub const NAME_MAX: usize = 255;

/// What is wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Shorter than a superblock.
    TooShort,
    /// Not EROFS.
    Magic {
        /// what stands in place of 0xe0f5e1e2
        found: u32,
    },
    /// The superblock's checksum does not match.
    Checksum {
        /// in the superblock
        stored: u32,
        /// of its bytes
        computed: u32,
    },
    /// A block size other than 4096.
    BlockSize {
        /// its base-2 logarithm
        bits: u8,
    },
    /// A feature that this reader does not have (packed tails, several devices, …).
    Feature {
        /// the unknown bits of feature_incompat
        bits: u32,
    },
    /// A compression other than LZ4.
    Compression {
        /// the bits of the algorithms in use
        bits: u16,
    },
    /// The superblock counts more blocks than there are.
    Truncated {
        /// blocks that the superblock counts
        blocks: u32,
        /// blocks that there are
        present: u64,
    },
    /// An inode lies outside, or its format is unknown.
    Inode {
        /// its number
        nid: u64,
    },
    /// A file's data lie outside the image.
    Data {
        /// its number
        nid: u64,
    },
    /// A directory block is malformed.
    Directory {
        /// its number
        nid: u64,
    },
    /// Compressed data, or what says where they lie, are malformed.
    Packed {
        /// number of the file
        nid: u64,
    },
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooShort => f.write_str("EROFS image is too short for a superblock"),
            Self::Magic { found } => write!(f, "EROFS magic is {found:#010x}, expected 0xe0f5e1e2"),
            Self::Checksum { stored, computed } => {
                write!(f, "EROFS superblock checksum is {stored:#010x}, its bytes give {computed:#010x}")
            }
            Self::BlockSize { bits } => write!(f, "EROFS block size is 2^{bits}, expected 2^12"),
            Self::Feature { bits } => write!(f, "EROFS image needs unknown features {bits:#x}"),
            Self::Compression { bits } => {
                write!(f, "EROFS image is compressed by algorithms {bits:#x}, known: LZ4 (0x1)")
            }
            Self::Truncated { blocks, present } => {
                write!(f, "EROFS superblock counts {blocks} blocks, the image has {present}")
            }
            Self::Inode { nid } => write!(f, "EROFS inode {nid} is malformed"),
            Self::Data { nid } => write!(f, "EROFS inode {nid} has data outside the image"),
            Self::Directory { nid } => write!(f, "EROFS directory {nid} is malformed"),
            Self::Packed { nid } => write!(f, "EROFS inode {nid} has malformed compressed data"),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The image makes no sense.
    Fault(Fault),
    /// A block could not be had.
    Source(E),
    /// No memory for a compressed cluster.
    Memory,
}

impl<E> From<Fault> for Error<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<E: core::fmt::Display> core::fmt::Display for Error<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Source(error) => write!(f, "EROFS image cannot be read: {error}"),
            Self::Memory => f.write_str("no memory to read the EROFS image"),
        }
    }
}

impl<E: core::fmt::Debug + core::fmt::Display> core::error::Error for Error<E> {}

/// An opened image.
#[derive(Clone, Copy, Debug)]
pub struct Image<S> {
    source: S,
    /// Byte at which the inodes begin.
    meta: u64,
    root: u64,
    inodes: u64,
    blocks: u32,
    built: (u64, u32),
    /// Compressed clusters end with their last byte, zeros stand in front of them.
    padded_in_front: bool,
    /// A compressed file may have clusters of several blocks.
    big_clusters: bool,
}

impl<S: Source> Image<S> {
    /// Where its blocks come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Number of the root directory.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Count of inodes, as the superblock says.
    pub fn inode_count(&self) -> u64 {
        self.inodes
    }

    /// Count of blocks.
    pub fn block_count(&self) -> u32 {
        self.blocks
    }

    /// When it was built: the time of every file whose inode carries none. Seconds and nanoseconds.
    pub fn build_time(&self) -> (u64, u32) {
        self.built
    }

    /// The block with this index, of those that the superblock counts.
    fn block(&self, index: u64) -> Result<Option<S::Block>, Error<S::Error>> {
        if index >= u64::from(self.blocks) {
            return Ok(None);
        }
        self.source.block(index).map(Some).map_err(Error::Source)
    }

    /// `N` bytes at an offset of the image, which may lie in two blocks; `None` outside.
    fn array<const N: usize>(&self, at: u64) -> Result<Option<[u8; N]>, Error<S::Error>> {
        const { assert!(N <= BLOCK) };
        let (index, within) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
        let Some(block) = self.block(index)? else { return Ok(None) };
        if let Some(bytes) = block.get(within..within + N) {
            return Ok(bytes.first_chunk().copied());
        }
        let Some(next) = self.block(index + 1)? else { return Ok(None) };
        let (mut bytes, first) = ([0; N], BLOCK - within);
        bytes[..first].copy_from_slice(&block[within..]);
        bytes[first..].copy_from_slice(&next[..N - first]);
        Ok(Some(bytes))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
