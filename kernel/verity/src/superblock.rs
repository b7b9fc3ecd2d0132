//! The superblock (`struct verity_sb` of cryptsetup's lib/verity/verity.c), at the start of its block.
//!
//! | offset | field |
//! |---|---|
//! | 0 | signature `verity\0\0` |
//! | 8 | version u32 = 1 |
//! | 12 | hash type u32 = 1 |
//! | 16 | UUID, 16 bytes |
//! | 32 | hash algorithm, 32 bytes, NUL-padded |
//! | 64, 68 | bytes of a data block, of a tree block: u32 |
//! | 72 | blocks of data, u64 |
//! | 80 | bytes of the salt, u16 |
//! | 88 | salt, 256 bytes, zero-padded |
//!
//! All else in the block is zero. The root hash covers none of it, and readers that pass over a field they do not use let a change of it pass:
//! here a superblock is read by writing the one that must stand there and comparing all bytes. UUID and salt are what it is free in.

use core::fmt;

use crate::{BLOCK, Error};

/// The longest salt.
pub const SALT_MAX: usize = 256;

const SIGNATURE: &[u8; 8] = b"verity\0\0";
const ALGORITHM: &[u8; 6] = b"sha256";
const SALT_LENGTH_AT: usize = 80;
const SALT_AT: usize = 88;
const USED: usize = 512;

/// Part of a superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Not a superblock.
    Signature,
    /// A version other than 1.
    Version,
    /// A hash type other than 1: the salt behind the block.
    HashType,
    /// Another hash than SHA-256.
    Algorithm,
    /// Blocks of another size.
    BlockSize,
    /// Another count of data blocks than the data has.
    DataBlocks,
    /// Longer than there is room for, or not followed by zeros.
    Salt,
    /// Something in the bytes that must be zero.
    Reserved,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "not one of dm-verity",
            Self::Version => "the version is not 1",
            Self::HashType => "the hash type is not 1",
            Self::Algorithm => "the hash is not sha256",
            Self::BlockSize => "blocks are not of 4096 bytes",
            Self::DataBlocks => "it counts other blocks of data than there are",
            Self::Salt => "the salt is malformed",
            Self::Reserved => "bytes that must be zero are not",
        })
    }
}

/// Which field a byte belongs to.
fn field_at(offset: usize) -> Field {
    match offset {
        0..8 => Field::Signature,
        8..12 => Field::Version,
        12..16 => Field::HashType,
        32..64 => Field::Algorithm,
        64..72 => Field::BlockSize,
        72..80 => Field::DataBlocks,
        SALT_AT..344 => Field::Salt,
        _ => Field::Reserved,
    }
}

/// What a superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Names the tree; of no use here.
    pub uuid: [u8; 16],
    /// Blocks of data.
    pub data_blocks: u64,
    salt: [u8; SALT_MAX],
    salt_length: u16,
}

impl Superblock {
    /// Of a tree over so many blocks. `None`: the salt is too long.
    #[must_use]
    pub fn new(uuid: [u8; 16], data_blocks: u64, salt: &[u8]) -> Option<Self> {
        let mut padded = [0; SALT_MAX];
        padded.get_mut(..salt.len())?.copy_from_slice(salt);
        Some(Self { uuid, data_blocks, salt: padded, salt_length: salt.len() as u16 })
    }

    /// Reads the superblock of a tree over `data_blocks`.
    ///
    /// # Errors
    /// `Section` when it is cut short; `Superblock` with the first field that is not as it must be.
    pub fn read(block: &[u8], data_blocks: u64) -> Result<Self, Error> {
        let short = Error::Section { length: block.len() as u64, expected: BLOCK as u64 };
        let block: &[u8; BLOCK] = block.first_chunk().ok_or(short)?;
        let (head, rest) = block.split_at(USED);
        let uuid = *block[16..].first_chunk().ok_or(short)?;
        let length = usize::from(u16::from_le_bytes(*block[SALT_LENGTH_AT..].first_chunk().ok_or(short)?));
        let salt = block[SALT_AT..SALT_AT + SALT_MAX].get(..length);
        // A wrong signature says more than the salt of what is no superblock.
        let wanted = Self::new(uuid, data_blocks, salt.unwrap_or_default()).ok_or(short)?;
        let expected = wanted.head();
        let is_other = |(found, wanted): (&u8, &u8)| found != wanted;
        match head.iter().zip(&expected).chain(rest.iter().map(|found| (found, &0))).position(is_other) {
            _ if salt.is_none() && block.starts_with(SIGNATURE) => Err(Error::Superblock(Field::Salt)),
            Some(offset) => Err(Error::Superblock(field_at(offset))),
            None => Ok(wanted),
        }
    }

    /// Its block.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..USED].copy_from_slice(&self.head());
        block
    }

    /// The bytes that are not zero in every superblock. A whole block is large for a kernel's stack.
    fn head(&self) -> [u8; USED] {
        let mut block = [0; USED];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, SIGNATURE);
        put(8, &1u32.to_le_bytes());
        put(12, &1u32.to_le_bytes());
        put(16, &self.uuid);
        put(32, ALGORITHM);
        put(64, &(BLOCK as u32).to_le_bytes());
        put(68, &(BLOCK as u32).to_le_bytes());
        put(72, &self.data_blocks.to_le_bytes());
        put(SALT_LENGTH_AT, &self.salt_length.to_le_bytes());
        put(SALT_AT, &self.salt);
        const { assert!(SALT_AT + SALT_MAX < USED && USED < BLOCK) };
        block
    }

    /// What stands in front of each block that is hashed.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt[..usize::from(self.salt_length)]
    }
}
