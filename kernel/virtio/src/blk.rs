//! virtio-blk (5.2): what a disk says of itself, requests, and their answers. Sectors are of 512 bytes whatever the block size is.

use crate::outcome::{Outcome, Reason};
use crate::{Error, Transport, config, config64};

/// Feature bits (5.2.3).
pub mod feature {
    /// `size_max` is valid.
    pub const SIZE_MAX: u64 = 1 << 1;
    /// `seg_max` is valid.
    pub const SEG_MAX: u64 = 1 << 2;
    /// Cannot be written.
    pub const RO: u64 = 1 << 5;
    /// `blk_size` is valid.
    pub const BLK_SIZE: u64 = 1 << 6;
    /// Has a write cache, and a command that empties it.
    pub const FLUSH: u64 = 1 << 9;
    /// `writeback` says whether the write cache is on.
    pub const CONFIG_WCE: u64 = 1 << 11;
    /// Takes discard requests.
    pub const DISCARD: u64 = 1 << 13;
    /// All that the driver understands.
    pub const WANTED: u64 =
        SIZE_MAX | SEG_MAX | RO | BLK_SIZE | FLUSH | CONFIG_WCE | DISCARD | crate::feature::EVENT_INDEX;
}

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Bytes of a request's header, which the device reads, and of its status, which it writes (5.2.6).
pub const HEADER_LENGTH: usize = 16;
/// See [`HEADER_LENGTH`].
pub const STATUS_LENGTH: usize = 1;
/// What the status is set to before: no device answers that.
pub const STATUS_NONE: u8 = 0xff;
/// Bytes of the range of a discard request.
pub const RANGE_LENGTH: usize = 16;
/// The largest block: a page.
const BLOCK_SIZE_MAX: u32 = 4096;

/// Places in the configuration (5.2.4).
mod place {
    pub const CAPACITY: usize = 0;
    pub const SIZE_MAX: usize = 8;
    pub const SEG_MAX: usize = 12;
    pub const BLK_SIZE: usize = 20;
    pub const WRITEBACK: usize = 32;
    pub const MAX_DISCARD_SECTORS: usize = 36;
    pub const MAX_DISCARD_SEG: usize = 40;
    pub const DISCARD_SECTOR_ALIGNMENT: usize = 44;
}

/// What a disk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Length in sectors, a multiple of the block.
    pub sectors: u64,
    /// Bytes of a block: requests start and end on one. A power of two from 512 to 4096.
    pub block_size: u32,
    /// Most pieces of data in one request.
    pub segments_max: u32,
    /// Most bytes of one piece; at least a page.
    pub segment_length_max: u32,
    /// Cannot be written.
    pub is_read_only: bool,
    /// A write that has ended may still be lost, until a flush has ended that began later.
    pub has_write_cache: bool,
    /// Most sectors of one discard request, and the alignment at which one is of use; `None` where the disk takes none.
    pub discard: Option<(u32, u32)>,
}

/// Read the configuration; `features` are those agreed.
///
/// # Errors
/// It makes no sense, or blocks are larger or pieces smaller than a page.
pub fn facts<T: Transport + ?Sized>(transport: &T, features: u64) -> Result<Facts, Error> {
    let has = |feature| features & feature != 0;
    let [size_max, seg_max, blk_size] = [place::SIZE_MAX, place::SEG_MAX, place::BLK_SIZE];
    let (capacity, size_max, seg_max, block_size, writeback) = config(transport, |transport| {
        let field = |feature, offset| has(feature).then(|| transport.config32(offset));
        (
            config64(transport, place::CAPACITY),
            field(feature::SIZE_MAX, size_max),
            field(feature::SEG_MAX, seg_max),
            field(feature::BLK_SIZE, blk_size),
            transport.config8(place::WRITEBACK),
        )
    })?;
    let block_size = block_size.unwrap_or(SECTOR as u32);
    if !block_size.is_power_of_two() || !(SECTOR as u32..=BLOCK_SIZE_MAX).contains(&block_size) {
        return Err(Error::Configuration("blk_size is none of 512 to 4096"));
    }
    let segment_length_max = size_max.unwrap_or(u32::MAX);
    if segment_length_max < BLOCK_SIZE_MAX {
        return Err(Error::Configuration("size_max is less than a page"));
    }
    if capacity > u64::MAX / SECTOR {
        return Err(Error::Configuration("capacity"));
    }
    Ok(Facts {
        sectors: capacity - capacity % (u64::from(block_size) / SECTOR),
        block_size,
        // Without SEG_MAX nothing is said of how many pieces go; one always does.
        segments_max: seg_max.unwrap_or(1).max(1),
        segment_length_max,
        is_read_only: has(feature::RO),
        // 5.2.5.2: without FLUSH, or with CONFIG_WCE and `writeback` 0, a write is on stable media when it has ended.
        has_write_cache: has(feature::FLUSH) && !(has(feature::CONFIG_WCE) && writeback == 0),
        discard: if has(feature::DISCARD) { discard(transport)? } else { None },
    })
}

fn discard<T: Transport + ?Sized>(transport: &T) -> Result<Option<(u32, u32)>, Error> {
    let [sectors, segments, alignment] = config(transport, |transport| {
        [place::MAX_DISCARD_SECTORS, place::MAX_DISCARD_SEG, place::DISCARD_SECTOR_ALIGNMENT]
            .map(|offset| transport.config32(offset))
    })?;
    Ok((sectors > 0 && segments > 0).then_some((sectors, alignment.max(1))))
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read from this sector on, as much as there are buffers for.
    Read(u64),
    /// Write.
    Write(u64),
    /// Everything written so far onto stable media.
    Flush,
    /// Forget what is in the ranges that follow ([`range`]).
    Discard,
}

impl Request {
    /// The header: type, a reserved word, sector.
    #[must_use]
    pub fn header(self) -> [u8; HEADER_LENGTH] {
        let (kind, sector): (u32, u64) = match self {
            Self::Read(sector) => (0, sector),
            Self::Write(sector) => (1, sector),
            Self::Flush => (4, 0),
            Self::Discard => (11, 0),
        };
        let mut header = [0; HEADER_LENGTH];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        header
    }
}

/// A range to discard: first sector, how many, no flags.
#[must_use]
pub fn range(sector: u64, count: u32) -> [u8; RANGE_LENGTH] {
    let mut range = [0; RANGE_LENGTH];
    range[..8].copy_from_slice(&sector.to_le_bytes());
    range[8..12].copy_from_slice(&count.to_le_bytes());
    range
}

/// What the status byte says.
#[must_use]
pub const fn outcome(status: u8) -> Outcome {
    match status {
        0 => Outcome::Done,
        status => Outcome::Failed(Reason::Status(status)),
    }
}

#[cfg(test)]
#[path = "blk_tests.rs"]
mod tests;
