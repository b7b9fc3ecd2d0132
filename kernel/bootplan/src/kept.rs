//! What the firmware keeps of floors, in a variable that only boot services reach: no running system can write it, and a disk that is exchanged does not take it
//! along (docs/formats/bootctl.md, "What the firmware keeps").
//!
//! It only ever rises, and never above what stood in the header of a good release that was verified and is booted: a block that lies cannot lock the machine out.

use bootctl::Marks;
use release::Header;

use crate::image::Floors;

/// Bytes of the variable.
pub const LENGTH: usize = 64;
const MAGIC: &[u8; 8] = b"SWFLOOR1";

/// The floors; all zero: nothing is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Smallest rollback index.
    pub rollback: u64,
    /// Smallest version of a key set.
    pub key_set: u32,
    /// Smallest security version of a loader.
    pub loader: u32,
}

impl Kept {
    /// The variable's value. What another root has left, or nobody, is nothing. `roots`: the digest of those that are trusted.
    pub fn parse(value: &[u8], roots: &[u8; 32]) -> Self {
        let Some(value) = value.first_chunk::<LENGTH>().filter(|_| value.len() == LENGTH) else {
            return Self::default();
        };
        if value[..8] != MAGIC[..] || value[8..40] != roots[..] {
            return Self::default();
        }
        let long = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| value[at + byte]));
        let (key_set, loader) = (long(48) as u32, (long(48) >> 32) as u32);
        Self { rollback: long(40), key_set, loader }
    }

    /// As the variable is to be.
    pub fn encode(&self, roots: &[u8; 32]) -> [u8; LENGTH] {
        let mut value = [0; LENGTH];
        value[..8].copy_from_slice(MAGIC);
        value[8..40].copy_from_slice(roots);
        value[40..48].copy_from_slice(&self.rollback.to_le_bytes());
        value[48..52].copy_from_slice(&self.key_set.to_le_bytes());
        value[52..56].copy_from_slice(&self.loader.to_le_bytes());
        value
    }

    /// What images are held to.
    pub fn floors(&self) -> Floors {
        Floors { rollback: self.rollback, key_set: self.key_set.into() }
    }

    /// What is to be kept when a good release is booted: what the block asks for, as far as this release vouches for it.
    #[must_use]
    pub fn after(self, marks: &Marks, header: &Header, key_set: u64) -> Self {
        Self {
            rollback: self.rollback.max(marks.rollback_floor.min(header.rollback_index)),
            key_set: self.key_set.max(marks.key_set_floor.min(key_set.try_into().unwrap_or(u32::MAX))),
            loader: self.loader.max(marks.loader_floor.min(header.loader_security_version)),
        }
    }
}
