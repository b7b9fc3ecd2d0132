//! What is in the data that some commands bring. A unit may say anything: what is not there reads as absent.

use super::Lun;

/// Bytes that are asked for with each command. All start as zeroes, so that what a unit leaves out is 0.
pub const LENGTH: usize = 255;

/// Pages of vital product data, and the mode page, that are asked for.
pub mod page {
    /// Block limits (SBC-4, 6.6.4).
    pub const BLOCK_LIMITS: u8 = 0xb0;
    /// Logical block provisioning (SBC-4, 6.6.7).
    pub const PROVISIONING: u8 = 0xb2;
    /// Mode page: caching (SBC-4, 6.5.6).
    pub const CACHING: u8 = 0x08;
}

fn u8_at(data: &[u8], at: usize) -> u8 {
    data.get(at).copied().unwrap_or(0)
}

fn u16_at(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([u8_at(data, at), u8_at(data, at + 1)])
}

fn u32_at(data: &[u8], at: usize) -> u32 {
    u32::from(u16_at(data, at)) << 16 | u32::from(u16_at(data, at + 2))
}

fn u64_at(data: &[u8], at: usize) -> u64 {
    u64::from(u32_at(data, at)) << 32 | u64::from(u32_at(data, at + 4))
}

/// INQUIRY (SPC-5, 6.6.2): whether a disk is here. Qualifier 0 is a unit that is connected, type 0 a direct access device.
#[must_use]
pub fn is_disk(data: &[u8]) -> bool {
    data.first() == Some(&0)
}

/// REPORT LUNS (SPC-5, 6.33): the units of `target` that are addressed as peripheral devices or flat.
pub fn luns(target: u8, data: &[u8]) -> impl Iterator<Item = Lun> + use<'_> {
    let listed = u32_at(data, 0) as usize / 8;
    let entries = data.get(8..).unwrap_or_default().as_chunks::<8>().0;
    entries.iter().take(listed).filter_map(move |entry| {
        let unit = match entry {
            [0, unit, 0, 0, 0, 0, 0, 0] => u16::from(*unit),
            [high @ 0x40..=0x7f, low, 0, 0, 0, 0, 0, 0] => u16::from_be_bytes([high & 0x3f, *low]),
            _ => return None,
        };
        Some(Lun { target, unit })
    })
}

/// READ CAPACITY (16) (SBC-4, 5.21.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many blocks.
    pub blocks: u64,
    /// Bytes of each.
    pub block_size: u32,
    /// Blocks can be unmapped.
    pub is_provisioned: bool,
}

impl Capacity {
    /// `None` where it makes no sense: a block size that is none of 512 to 4096, or more bytes than 64 bits count.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let blocks = u64_at(data, 0).checked_add(1)?;
        let block_size = u32_at(data, 8);
        let is_sane = block_size.is_power_of_two() && (512..=4096).contains(&block_size);
        blocks.checked_mul(block_size.into()).filter(|_| is_sane)?;
        Some(Self { blocks, block_size, is_provisioned: u8_at(data, 14) & 0x80 != 0 })
    }
}

/// MODE SENSE (6) of the caching page (SPC-5, 7.5; SBC-4, 6.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Cannot be written.
    pub is_write_protected: bool,
    /// Understands FUA.
    pub has_fua: bool,
    /// Its write cache is on; `None` where the page is not there.
    pub has_write_cache: Option<bool>,
}

impl Mode {
    /// The header (length, medium type, device-specific parameter, length of block descriptors), then pages.
    #[must_use]
    pub fn parse(data: &[u8]) -> Self {
        let parameter = u8_at(data, 2);
        let at = 4 + usize::from(u8_at(data, 3));
        let end = usize::from(u8_at(data, 0)) + 1;
        let is_there = at + 2 < end && u8_at(data, at) & 0x3f == page::CACHING && u8_at(data, at + 1) > 0;
        Self {
            is_write_protected: parameter & 0x80 != 0,
            has_fua: parameter & 0x10 != 0,
            has_write_cache: is_there.then(|| u8_at(data, at + 2) & 0x04 != 0),
        }
    }
}

/// What the block limits page says; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockLimits {
    /// Most blocks in one transfer.
    pub transfer_max: u32,
    /// Most blocks in one unmap.
    pub unmap_max: u32,
    /// Ranges of one unmap.
    pub unmap_ranges_max: u32,
    /// Blocks at whose multiples an unmap is of use.
    pub unmap_granularity: u32,
}

impl BlockLimits {
    /// All 0 when it is another page.
    #[must_use]
    pub fn parse(data: &[u8]) -> Self {
        if u8_at(data, 1) != page::BLOCK_LIMITS {
            return Self::default();
        }
        let [transfer_max, unmap_max, unmap_ranges_max, unmap_granularity] = [8, 20, 24, 28].map(|at| u32_at(data, at));
        Self { transfer_max, unmap_max, unmap_ranges_max, unmap_granularity }
    }
}

/// Whether the provisioning page says that UNMAP is taken (LBPU).
#[must_use]
pub fn takes_unmap(data: &[u8]) -> bool {
    u8_at(data, 1) == page::PROVISIONING && u8_at(data, 5) & 0x80 != 0
}
