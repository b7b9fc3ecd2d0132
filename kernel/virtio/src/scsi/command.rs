//! The commands that a disk is driven with (SPC-5, SBC-4), as command descriptor blocks.

/// Longest of the commands here.
const LENGTH_MAX: usize = 16;
/// Bytes of the parameters of an [`Command::unmap`] with one range.
pub const UNMAP_LENGTH: usize = 24;

/// A command descriptor block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    bytes: [u8; LENGTH_MAX],
    length: u8,
}

impl Command {
    const fn new<const N: usize>(bytes: [u8; N]) -> Self {
        let mut block = [0; LENGTH_MAX];
        let mut at = 0;
        while at < N {
            block[at] = bytes[at];
            at += 1;
        }
        Self { bytes: block, length: N as u8 }
    }

    /// The block.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Whether the unit takes commands (SPC-5, 6.47); brings unit attentions to light.
    pub const TEST_UNIT_READY: Self = Self::new([0; 6]);

    /// Everything written so far onto stable media: block 0, and all that follow (SBC-4, 5.27, SYNCHRONIZE CACHE (10)).
    pub const SYNCHRONIZE_CACHE: Self = Self::new([0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

    /// What the unit is (SPC-5, 6.6.1); at most `length` bytes.
    #[must_use]
    pub const fn inquiry(length: u16) -> Self {
        let [high, low] = length.to_be_bytes();
        Self::new([0x12, 0, 0, high, low, 0])
    }

    /// A page of vital product data.
    #[must_use]
    pub const fn product_data(page: u8, length: u16) -> Self {
        let [high, low] = length.to_be_bytes();
        Self::new([0x12, 1, page, high, low, 0])
    }

    /// The current values of a mode page, without block descriptors (SPC-5, 6.14, MODE SENSE (6)).
    #[must_use]
    pub const fn mode_sense(page: u8, length: u8) -> Self {
        Self::new([0x1a, 0x08, page & 0x3f, 0, length, 0])
    }

    /// How many blocks, and how long (SBC-4, 5.21).
    #[must_use]
    pub const fn read_capacity(length: u32) -> Self {
        let [a, b, c, d] = length.to_be_bytes();
        Self::new([0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, 0, 0])
    }

    /// The target's units (SPC-5, 6.33); at most `length` bytes.
    #[must_use]
    pub const fn report_luns(length: u32) -> Self {
        let [a, b, c, d] = length.to_be_bytes();
        Self::new([0xa0, 0, 0, 0, 0, 0, a, b, c, d, 0, 0])
    }

    /// SBC-4, 5.18.
    #[must_use]
    pub const fn read(block: u64, count: u32) -> Self {
        Self::transfer(0x88, 0, block, count)
    }

    /// SBC-4, 5.43; with `through` the blocks are on stable media when it has ended (FUA).
    #[must_use]
    pub const fn write(block: u64, count: u32, through: bool) -> Self {
        Self::transfer(0x8a, if through { 0x08 } else { 0 }, block, count)
    }

    const fn transfer(code: u8, flags: u8, block: u64, count: u32) -> Self {
        let [a, b, c, d, e, f, g, h] = block.to_be_bytes();
        let [i, j, k, l] = count.to_be_bytes();
        Self::new([code, flags, a, b, c, d, e, f, g, h, i, j, k, l, 0, 0])
    }

    /// Forget what is in the range of the parameters (SBC-4, 5.32).
    #[must_use]
    pub const fn unmap() -> Self {
        Self::new([0x42, 0, 0, 0, 0, 0, 0, 0, UNMAP_LENGTH as u8, 0])
    }
}

/// The parameters of an [`Command::unmap`] of one range (SBC-4, 5.32.2).
#[must_use]
pub fn unmap_range(block: u64, count: u32) -> [u8; UNMAP_LENGTH] {
    let mut parameters = [0; UNMAP_LENGTH];
    parameters[1] = UNMAP_LENGTH as u8 - 2;
    parameters[3] = UNMAP_LENGTH as u8 - 8;
    parameters[8..16].copy_from_slice(&block.to_be_bytes());
    parameters[16..20].copy_from_slice(&count.to_be_bytes());
    parameters
}
