//! What can be wrong with a partition table.

use core::fmt;

/// What is wrong with one of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what the message prints")]
pub enum Fault {
    /// The disk did not give this sector.
    Unreadable(u64),
    /// No `EFI PART`.
    Signature,
    /// A revision other than 1.0.
    Revision(u32),
    /// A header smaller than its fields or larger than a sector.
    HeaderSize(usize),
    /// The header's CRC is wrong.
    HeaderCrc,
    /// The header says it lies elsewhere.
    Place { says: u64, at: u64 },
    /// The usable sectors are empty or not on the disk.
    UsableRange { first: u64, last: u64 },
    /// An array of entries that we do not read.
    Array { count: usize, size: usize },
    /// The array is not on the disk.
    ArrayPlace(u64),
    /// The array's CRC is wrong.
    ArrayCrc,
    /// A partition ends before it starts or lies outside the usable sectors.
    PartitionRange { index: usize, first: u64, last: u64 },
    /// A partition overlaps an earlier one.
    Overlap { index: usize, first: u64, last: u64 },
}

impl Fault {
    /// A stable name, shared with the test vectors.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Signature => "signature",
            Self::Revision(_) => "revision",
            Self::HeaderSize(_) => "header-size",
            Self::HeaderCrc => "header-crc",
            Self::Place { .. } => "header-place",
            Self::UsableRange { .. } => "usable-range",
            Self::Array { .. } => "array-shape",
            Self::ArrayPlace(_) => "array-place",
            Self::ArrayCrc => "array-crc",
            Self::PartitionRange { .. } => "partition-range",
            Self::Overlap { .. } => "overlap",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unreadable(sector) => write!(f, "cannot read sector {sector}"),
            Self::Signature => f.write_str("no GPT signature"),
            Self::Revision(found) => write!(f, "GPT revision is {found:#x}, expected 0x10000"),
            Self::HeaderSize(found) => write!(f, "GPT header size is {found}, expected 92 to 512"),
            Self::HeaderCrc => f.write_str("GPT header CRC is wrong"),
            Self::Place { says, at } => {
                write!(f, "GPT header in sector {at} says it is in sector {says}")
            }
            Self::UsableRange { first, last } => {
                write!(f, "usable sectors {first} to {last} are not on the disk")
            }
            Self::Array { count, size } => {
                write!(f, "{count} entries of {size} bytes, expected 128 × 2^n bytes each and at most 16384 in all")
            }
            Self::ArrayPlace(sector) => {
                write!(f, "the entries at sector {sector} are not on the disk")
            }
            Self::ArrayCrc => f.write_str("the CRC of the entries is wrong"),
            Self::PartitionRange { index, first, last } => {
                write!(f, "partition {} has sectors {first} to {last}, outside the usable ones", index + 1)
            }
            Self::Overlap { index, first, last } => {
                write!(f, "partition {} with sectors {first} to {last} overlaps an earlier one", index + 1)
            }
        }
    }
}

impl core::error::Error for Fault {}

/// Why there is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what the message prints")]
pub enum Error {
    /// The disk has no room for two tables.
    TooSmall,
    /// Both tables are damaged.
    Damaged { primary: Fault, backup: Fault },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall => f.write_str("the disk is too small for a GPT"),
            Self::Damaged { primary, backup } => {
                write!(f, "both partition tables are damaged: primary: {primary}; backup: {backup}")
            }
        }
    }
}

impl core::error::Error for Error {}
