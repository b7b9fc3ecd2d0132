//! EROFS, read from a byte slice that holds the whole image (docs of the format: Linux fs/erofs/erofs_fs.h).
//!
//! Uncompressed images only: flat, flat with inline tail, and chunk-based files. The image is untrusted here: every offset is
//! checked against the slice, every loop is bounded by a length that was checked, nothing panics.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod directory;
mod inode;
mod superblock;
#[cfg(test)]
mod tests;

pub use directory::Entry;
pub use inode::{Inode, Piece};

/// Bytes of a block: one page, so that blocks can be mapped in place.
pub const BLOCK: usize = 4096;

/// Longest file name.
pub const NAME_MAX: usize = 255;

/// What is wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shorter than a superblock.
    TooShort {
        /// bytes that there are
        length: usize,
    },
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
    /// A feature that this reader does not have (compression, several devices, …).
    Feature {
        /// the unknown bits of feature_incompat
        bits: u32,
    },
    /// The superblock counts more blocks than the slice holds.
    Truncated {
        /// blocks that the superblock counts
        blocks: u32,
        /// blocks that there are
        present: usize,
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
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooShort { length } => write!(f, "EROFS image of {length} bytes is too short for a superblock"),
            Self::Magic { found } => write!(f, "EROFS magic is {found:#010x}, expected 0xe0f5e1e2"),
            Self::Checksum { stored, computed } => {
                write!(f, "EROFS superblock checksum is {stored:#010x}, its bytes give {computed:#010x}")
            }
            Self::BlockSize { bits } => write!(f, "EROFS block size is 2^{bits}, expected 2^12"),
            Self::Feature { bits } => write!(f, "EROFS image needs unknown features {bits:#x}"),
            Self::Truncated { blocks, present } => {
                write!(f, "EROFS superblock counts {blocks} blocks, the image has {present}")
            }
            Self::Inode { nid } => write!(f, "EROFS inode {nid} is malformed"),
            Self::Data { nid } => write!(f, "EROFS inode {nid} has data outside the image"),
            Self::Directory { nid } => write!(f, "EROFS directory {nid} is malformed"),
        }
    }
}

impl core::error::Error for Error {}

/// An opened image.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    meta: usize,
    root: u64,
    inodes: u64,
    blocks: u32,
    built: (u64, u32),
}

impl Image<'_> {
    /// Number of the root directory.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Count of inodes, as the superblock says.
    #[must_use]
    pub fn inode_count(&self) -> u64 {
        self.inodes
    }

    /// Count of blocks.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.blocks
    }

    /// When it was built: the time of every file whose inode carries none. Seconds and nanoseconds.
    #[must_use]
    pub fn build_time(&self) -> (u64, u32) {
        self.built
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
