//! Why a release is refused.

use crate::{AREA_SIZE, DISK_LAYOUT, MAX_SECTIONS, SectionKind, Text};
use core::fmt;

/// Why a release is refused. `index` is a section's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what the message prints")]
pub enum ReleaseError {
    /// The image ends inside the header area.
    Truncated(usize),
    /// Not a release header.
    Magic,
    /// A major version that we do not know.
    Major(u16),
    /// No sections, too many, or entries of another length.
    SectionCount { count: usize, entry: usize },
    /// The header's length does not fit its sections.
    HeaderLength { found: u32, expected: u32 },
    /// Bytes that must be zero are not.
    Reserved(&'static str),
    /// A text that is empty, not ASCII or not padded with NUL.
    Text(&'static str),
    /// Critical flags that we do not know.
    Flags(u64),
    /// The package ABI range is reversed.
    PackageAbi { min: u32, max: u32 },
    /// A section that is empty, unaligned, out of order, overlapping, or not in the slot.
    SectionRange { index: usize, offset: u64, length: u64 },
    /// A section that must be critical and is not, or the other way round, or has unknown flags.
    SectionFlags { index: usize, flags: u32 },
    /// A critical section that we do not know.
    UnknownCritical { index: usize, kind: u32 },
    /// A required section is missing.
    MissingSection(SectionKind),
    /// A section is present twice.
    DuplicateSection(SectionKind),
    /// For another product.
    Product(Text),
    /// For another profile.
    Profile(Text),
    /// For a newer disk layout.
    DiskLayout(u32),
    /// For a larger slot.
    SlotSize { needed: u64, have: u64 },
    /// The signature area is damaged.
    SignatureArea(&'static str),
}

impl ReleaseError {
    /// A stable name, shared with the test vectors.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Truncated(_) => "truncated",
            Self::Magic => "magic",
            Self::Major(_) => "major",
            Self::SectionCount { .. } => "section-count",
            Self::HeaderLength { .. } => "header-length",
            Self::Reserved(_) => "reserved",
            Self::Text(_) => "text",
            Self::Flags(_) => "flags",
            Self::PackageAbi { .. } => "package-abi",
            Self::SectionRange { .. } => "section-range",
            Self::SectionFlags { .. } => "section-flags",
            Self::UnknownCritical { .. } => "unknown-critical",
            Self::MissingSection(_) => "missing-section",
            Self::DuplicateSection(_) => "duplicate-section",
            Self::Product(_) => "product",
            Self::Profile(_) => "profile",
            Self::DiskLayout(_) => "disk-layout",
            Self::SlotSize { .. } => "slot-size",
            Self::SignatureArea(_) => "signature-area",
        }
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(have) => write!(f, "the image ends after {have} bytes, expected at least {AREA_SIZE}"),
            Self::Magic => f.write_str("no release header: it does not start with SWIFTREL"),
            Self::Major(found) => write!(f, "release header version is {found}, expected 1"),
            Self::SectionCount { count, entry } => {
                write!(f, "{count} sections in entries of {entry} bytes, expected 1 to {MAX_SECTIONS} of 64")
            }
            Self::HeaderLength { found, expected } => {
                write!(f, "header length is {found}, expected {expected} for its sections")
            }
            Self::Reserved(where_) => write!(f, "reserved bytes of the {where_} are not zero"),
            Self::Text(what) => write!(f, "{what} is not 1 to 32 printable ASCII characters padded with NUL"),
            Self::Flags(unknown) => write!(f, "unknown critical flags {unknown:#x}: a newer loader is needed"),
            Self::PackageAbi { min, max } => write!(f, "package ABI range {min} to {max} is reversed"),
            Self::SectionRange { index, offset, length } => write!(
                f,
                "section {index} ({length} bytes at {offset}) is empty, not on a page, out of order, or not in the slot"
            ),
            Self::SectionFlags { index, flags } => {
                write!(f, "section {index} has flags {flags:#x}, which do not fit its type")
            }
            Self::UnknownCritical { index, kind } => {
                write!(f, "section {index} is critical and of unknown type {kind}: a newer loader is needed")
            }
            Self::MissingSection(kind) => write!(f, "the {} section is missing", kind.name()),
            Self::DuplicateSection(kind) => write!(f, "the {} section is present twice", kind.name()),
            Self::Product(found) => write!(f, "the release is for product {}", found.as_str()),
            Self::Profile(found) => write!(f, "the release is for profile {}", found.as_str()),
            Self::DiskLayout(found) => write!(f, "the release needs disk layout {found}, this disk has {DISK_LAYOUT}"),
            Self::SlotSize { needed, have } => {
                write!(f, "the release needs a slot of {needed} bytes, this one has {have}")
            }
            Self::SignatureArea(what) => write!(f, "signature area: {what}"),
        }
    }
}

impl core::error::Error for ReleaseError {}
