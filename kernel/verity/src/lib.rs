//! dm-verity, version 1: blocks of data that are checked against a tree of hashes whose root is known (Linux,
//! Documentation/admin-guide/device-mapper/verity.rst; cryptsetup, `veritysetup format`).
//!
//! One form of it: SHA-256, blocks of 4096 bytes of data and of tree, the salt in front of each block, hash type 1, a superblock of
//! version 1 in the first block of the tree's section and the tree behind it, its top first. What else veritysetup can make is refused.
//!
//! - `superblock`  the first block: what it must say is derived from what is to be checked, and it says exactly that
//! - `layout`      where each level of the tree lies
//! - `bitmap`      which blocks are known to be sound
//! - `verifier`    checks a block against the root, each block of the tree once
//!
//! The tree is untrusted: whatever its bytes are, nothing panics, and a block passes only when the hashes lead to the root.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod bitmap;
mod layout;
mod superblock;
#[cfg(test)]
mod tests;
mod verifier;

pub use bitmap::Bitmap;
pub use layout::{LEVELS_MAX, Layout};
pub use superblock::{Field, SALT_MAX, Superblock};
pub use verifier::{Failure, Verifier};

/// Bytes of a block, of data and of the tree: a page.
pub const BLOCK: usize = 4096;
/// Bytes of a hash.
pub const DIGEST: usize = sha256::LENGTH;
/// Hashes in a block of the tree.
pub const DIGESTS_PER_BLOCK: u64 = (BLOCK / DIGEST) as u64;
/// The most blocks of data: 64 GiB, the largest slot.
pub const DATA_BLOCKS_MAX: u64 = 1 << 24;

/// Why a tree cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// What is to be checked is not 1 to [`DATA_BLOCKS_MAX`] whole blocks.
    Data {
        /// its bytes
        length: u64,
    },
    /// The section does not have the size of a superblock and the tree over so much data.
    Section {
        /// its bytes
        length: u64,
        /// what it must have
        expected: u64,
    },
    /// The superblock does not say what it must.
    Superblock(Field),
    /// No memory to remember what was checked.
    Memory,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Data { length } => {
                write!(f, "verity: data of {length} bytes are not 1 to {DATA_BLOCKS_MAX} blocks of {BLOCK}")
            }
            Self::Section { length, expected } => {
                write!(f, "verity: superblock and tree have {length} bytes, over this data {expected}")
            }
            Self::Superblock(field) => write!(f, "verity superblock: {field}"),
            Self::Memory => f.write_str("verity: no memory"),
        }
    }
}

impl core::error::Error for Error {}
