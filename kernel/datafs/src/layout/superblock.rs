//! The superblock: two copies, in blocks 0 and 1. A new one goes into the copy that its sequence number says (even, odd), so a cut leaves the other whole.

use crate::types::Bytes;
use crate::{BLOCK, Damage, OpenError, What};

use super::geometry::{BLOCKS_MAX, Geometry};
use super::{crc32c, put_u32, put_u64, u32_at, u64_at};

/// What the superblock begins with.
pub const MAGIC: &[u8; 8] = b"SWDATAFS";
/// Bytes of a label.
pub const LABEL_MAX: usize = 32;
/// Bytes of a [`State`].
pub const STATE_SIZE: usize = 64;

/// Features that are understood: of each kind none is defined yet.
pub const COMPAT: u64 = 0;
/// Unknown ones of this kind make the volume read-only.
pub const RO_COMPAT: u64 = 0;
/// Unknown ones of this kind keep the volume from being opened.
pub const INCOMPAT: u64 = 0;

const SUM: usize = 8;
const SUMMED: usize = 12;
const BLOCK_BITS: usize = 12;
const SEQUENCE: usize = 16;
const FEATURES: usize = 24;
const UUID: usize = 48;
const LABEL: usize = 64;
const HASH_KEY: usize = 96;
const CREATED: usize = 112;
const LOG_BLOCKS: usize = 120;
const INODES_PER_GROUP: usize = 124;
const TAIL: usize = 128;
const TAIL_SEQUENCE: usize = 136;
const STATE: usize = 160;

/// What changes with transactions: stands in the superblock as of the last checkpoint, and in every record of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Blocks of the volume.
    pub blocks: u64,
    /// Data blocks in use, of all groups.
    pub used_blocks: u64,
    /// Inodes in use, of all groups.
    pub used_inodes: u64,
    /// Groups that have been initialised: those before this number.
    pub groups: u32,
    /// First of the list of orphans; 0: none.
    pub orphans: u32,
    /// What the next inode gets as its generation.
    pub generation: u32,
}

impl State {
    /// Its bytes.
    pub fn write(&self, bytes: &mut [u8; STATE_SIZE]) {
        *bytes = [0; STATE_SIZE];
        put_u64(bytes, 0, self.blocks);
        put_u64(bytes, 8, self.used_blocks);
        put_u64(bytes, 16, self.used_inodes);
        put_u32(bytes, 24, self.groups);
        put_u32(bytes, 28, self.orphans);
        put_u32(bytes, 32, self.generation);
    }

    /// From bytes; `None` when it makes no sense.
    #[must_use]
    pub fn read(bytes: &[u8; STATE_SIZE], geometry: &Geometry) -> Option<Self> {
        let state = Self {
            blocks: u64_at(bytes, 0),
            used_blocks: u64_at(bytes, 8),
            used_inodes: u64_at(bytes, 16),
            groups: u32_at(bytes, 24),
            orphans: u32_at(bytes, 28),
            generation: u32_at(bytes, 32),
        };
        let count = geometry.group_count(state.blocks);
        let inodes = u64::from(geometry.inodes_per_group);
        let sound = state.blocks <= BLOCKS_MAX
            && count > 0
            && state.groups <= count
            && state.used_blocks <= geometry.data_blocks(state.blocks)
            && state.used_inodes <= u64::from(state.groups) * inodes
            && u64::from(state.orphans) < (u64::from(state.groups) * inodes).max(1);
        sound.then_some(state)
    }
}

/// A superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Larger is newer; its parity says which copy it is.
    pub sequence: u64,
    /// Feature bits: compatible.
    pub compat: u64,
    /// Read-only-compatible.
    pub ro_compat: u64,
    /// Incompatible.
    pub incompat: u64,
    /// Identity of the volume, as it is written.
    pub uuid: [u8; 16],
    /// UTF-8, NUL-padded.
    pub label: [u8; LABEL_MAX],
    /// Key of the hash of names.
    pub hash_key: [u8; 16],
    /// When the volume was made, nanoseconds since 1970.
    pub created: i64,
    /// What never changes.
    pub geometry: Geometry,
    /// Where in the log the first record stands that is not home yet: blocks from the log's start.
    pub tail: u32,
    /// That record's sequence number.
    pub tail_sequence: u64,
    /// As of the last checkpoint.
    pub state: State,
}

impl Superblock {
    /// Its block.
    #[must_use]
    pub fn encode(&self) -> alloc::boxed::Box<Bytes> {
        let mut bytes = alloc::boxed::Box::new([0; BLOCK]);
        bytes[..8].copy_from_slice(MAGIC);
        put_u32(&mut bytes[..], BLOCK_BITS, BLOCK.trailing_zeros());
        put_u64(&mut bytes[..], SEQUENCE, self.sequence);
        put_u64(&mut bytes[..], FEATURES, self.compat);
        put_u64(&mut bytes[..], FEATURES + 8, self.ro_compat);
        put_u64(&mut bytes[..], FEATURES + 16, self.incompat);
        bytes[UUID..UUID + 16].copy_from_slice(&self.uuid);
        bytes[LABEL..LABEL + LABEL_MAX].copy_from_slice(&self.label);
        bytes[HASH_KEY..HASH_KEY + 16].copy_from_slice(&self.hash_key);
        put_u64(&mut bytes[..], CREATED, self.created.cast_unsigned());
        put_u32(&mut bytes[..], LOG_BLOCKS, self.geometry.log_blocks);
        put_u32(&mut bytes[..], INODES_PER_GROUP, self.geometry.inodes_per_group);
        put_u32(&mut bytes[..], TAIL, self.tail);
        put_u64(&mut bytes[..], TAIL_SEQUENCE, self.tail_sequence);
        let mut state = [0; STATE_SIZE];
        self.state.write(&mut state);
        bytes[STATE..STATE + STATE_SIZE].copy_from_slice(&state);
        let sum = crc32c(&bytes[SUMMED..]);
        put_u32(&mut bytes[..], SUM, sum);
        bytes
    }

    /// Which of the two blocks it goes to.
    #[must_use]
    pub const fn copy(&self) -> u64 {
        self.sequence % 2
    }

    /// Reads one copy.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &Bytes, copy: u64) -> Result<Self, Damage> {
        let wrong = |what| Err(Damage { block: copy, inode: 0, what });
        if &bytes[..8] != MAGIC {
            return wrong(What::Kind);
        }
        if u32_at(bytes, SUM) != crc32c(&bytes[SUMMED..]) {
            return wrong(What::Checksum);
        }
        let geometry =
            Geometry { log_blocks: u32_at(bytes, LOG_BLOCKS), inodes_per_group: u32_at(bytes, INODES_PER_GROUP) };
        if u32_at(bytes, BLOCK_BITS) != BLOCK.trailing_zeros() || !geometry.is_valid() {
            return wrong(What::Value);
        }
        let Some(state) = State::read(array(bytes, STATE), &geometry) else { return wrong(What::Bounds) };
        let superblock = Self {
            sequence: u64_at(bytes, SEQUENCE),
            compat: u64_at(bytes, FEATURES),
            ro_compat: u64_at(bytes, FEATURES + 8),
            incompat: u64_at(bytes, FEATURES + 16),
            uuid: *array(bytes, UUID),
            label: *array(bytes, LABEL),
            hash_key: *array(bytes, HASH_KEY),
            created: u64_at(bytes, CREATED).cast_signed(),
            geometry,
            tail: u32_at(bytes, TAIL),
            tail_sequence: u64_at(bytes, TAIL_SEQUENCE),
            state,
        };
        if superblock.copy() != copy {
            return wrong(What::Place);
        }
        if superblock.tail >= geometry.log_blocks || superblock.tail_sequence == 0 {
            return wrong(What::Bounds);
        }
        Ok(superblock)
    }

    /// The newer of two copies that are whole.
    ///
    /// # Errors
    /// Why there is none, or that it needs features that are not known.
    pub fn choose(copies: [&Bytes; 2]) -> Result<Self, OpenError> {
        // The features of a newer release may change everything else, so they come first, under the checksum alone.
        let newest = (0..2)
            .filter(|&at| &copies[at][..8] == MAGIC && u32_at(copies[at], SUM) == crc32c(&copies[at][SUMMED..]))
            .max_by_key(|&at| u64_at(copies[at], SEQUENCE));
        if let Some(at) = newest {
            let unknown = u64_at(copies[at], FEATURES + 16) & !INCOMPAT;
            if unknown != 0 {
                return Err(OpenError::Features { incompat: unknown });
            }
        }
        match (Self::parse(copies[0], 0), Self::parse(copies[1], 1)) {
            (Ok(one), Ok(other)) => Ok(if one.sequence > other.sequence { one } else { other }),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
            (Err(one), Err(other)) if one.what == What::Kind && other.what == What::Kind => Err(OpenError::NotDatafs),
            (Err(one), Err(other)) => {
                let is_second = newest == Some(1) || newest.is_none() && one.what == What::Kind;
                Err(OpenError::Superblock(if is_second { other } else { one }))
            }
        }
    }

    /// It may be changed: every read-only-compatible feature is known.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.ro_compat & !RO_COMPAT == 0
    }
}

fn array<const N: usize>(bytes: &Bytes, at: usize) -> &[u8; N] {
    bytes[at..].first_chunk().unwrap_or(&[0; N])
}
