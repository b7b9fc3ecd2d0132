#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! The release header of a slot image (docs/formats/release-header.md): parse, check, encode.
//!
//! [`Header::parse`] keeps every rule that the bytes alone must keep; [`Header::check_for`] those that depend on the
//! machine: product, profile, disk layout, size of the slot. [`SignatureArea::parse`] bounds what lies outside the signed
//! bytes; [`trust::accept`] says whether those are there who must have signed. Digests of sections are compared by whoever read them.

mod error;
pub mod keyset;
mod le;
pub mod roots;
#[cfg(test)]
mod roots_tests;
mod signatures;
#[cfg(test)]
mod tests;
pub mod trust;
#[cfg(test)]
mod trust_tests;

pub use error::ReleaseError;
pub use signatures::{Signature, SignatureArea};

use arrayvec::ArrayVec;

use crate::le::{array, is_zero, u16_at, u32_at, u64_at};

/// Bytes of the header: what is signed.
pub const HEADER_SIZE: usize = 4096;
/// Bytes of header and signature area.
pub const AREA_SIZE: usize = 16384;
/// Sections start on a multiple of this.
pub const ALIGNMENT: u64 = 4096;
/// Most sections.
pub const MAX_SECTIONS: usize = 16;
/// The version of docs/formats/disk.md that we know.
pub const DISK_LAYOUT: u32 = 1;
/// `flags_critical`: signed by throw-away keys.
pub const FLAG_DEV: u64 = 1;
/// `flags_critical`: the floor rises to this release once it is good.
pub const FLAG_REVOKES_OLDER: u64 = 2;
/// `flags_optional`: the EROFS stays on its slot, and is read from there.
pub const FLAG_BASE_ON_DISK: u64 = 1;

const FIXED: usize = 320;
const ENTRY: usize = 64;
const SECTION_CRITICAL: u32 = 1;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum SectionKind {
    /// ELF.
    Kernel = 1,
    /// EROFS root.
    Erofs = 2,
    /// dm-verity superblock and hash tree.
    Verity = 3,
    /// PE/COFF.
    Loader = 4,
    /// Names of the kernel's functions.
    Symbols = 5,
}

impl SectionKind {
    const ALL: [Self; 5] = [Self::Kernel, Self::Erofs, Self::Verity, Self::Loader, Self::Symbols];

    const fn is_required(self) -> bool {
        !matches!(self, Self::Symbols)
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Erofs => "erofs",
            Self::Verity => "verity",
            Self::Loader => "loader",
            Self::Symbols => "symbols",
        }
    }
}

/// An entry of the section table. `kind` may be a number that we do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// A [`SectionKind`] as a number.
    pub kind: u32,
    /// Bit 0: critical.
    pub flags: u32,
    /// From the slot image's start.
    pub offset: u64,
    /// Bytes, at least 1.
    pub length: u64,
    /// SHA-256 of the bytes.
    pub digest: [u8; 32],
}

/// 1 to 32 printable ASCII characters, as they are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text([u8; 32]);

impl Text {
    /// The text, when it is one.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Self::parse(bytes)
    }

    fn parse(bytes: [u8; 32]) -> Option<Self> {
        let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(32);
        let sound = length > 0
            && bytes[..length].iter().all(u8::is_ascii_graphic)
            && bytes[length..].iter().all(|&byte| byte == 0);
        sound.then_some(Self(bytes))
    }

    /// As a string.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|&byte| byte == 0).unwrap_or(32);
        // `parse` has admitted ASCII only.
        str::from_utf8(&self.0[..length]).unwrap_or_default()
    }
}

impl core::fmt::Debug for Text {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// The signed bytes, read. Field names as in the format's table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "docs/formats/release-header.md is the meaning of each")]
pub struct Header {
    pub minor: u16,
    pub product: Text,
    pub profile: Text,
    pub version: Text,
    pub rollback_index: u64,
    pub signed_at: u64,
    pub flags_critical: u64,
    pub flags_optional: u64,
    pub min_slot_size: u64,
    pub min_disk_layout: u32,
    pub loader_security_version: u32,
    pub datafs_compat: u64,
    pub datafs_ro_compat: u64,
    pub datafs_incompat: u64,
    pub package_abi_min: u32,
    pub package_abi_max: u32,
    pub verity_root: [u8; 32],
    pub sections: ArrayVec<Section, MAX_SECTIONS>,
}

/// The release digest: of the header's 4096 bytes.
pub fn digest(header: &[u8; HEADER_SIZE]) -> [u8; 32] {
    sha256::best()(header)
}

fn text_at(data: &[u8; HEADER_SIZE], at: usize, what: &'static str) -> Result<Text, ReleaseError> {
    Text::parse(array(data, at)).ok_or(ReleaseError::Text(what))
}

impl Header {
    /// Reads the header from the first bytes of a slot image.
    pub fn parse(image: &[u8]) -> Result<Self, ReleaseError> {
        let raw: &[u8; HEADER_SIZE] = image.first_chunk().ok_or(ReleaseError::Truncated(image.len()))?;
        if raw[..8] != *b"SWIFTREL" {
            return Err(ReleaseError::Magic);
        }
        if u16_at(raw, 8) != 1 {
            return Err(ReleaseError::Major(u16_at(raw, 8)));
        }
        let minor = u16_at(raw, 10);
        let (count, entry) = (u32_at(raw, 312) as usize, u32_at(raw, 316) as usize);
        if !(1..=MAX_SECTIONS).contains(&count) || entry != ENTRY {
            return Err(ReleaseError::SectionCount { count, entry });
        }
        let length = FIXED + ENTRY * count;
        if u32_at(raw, 12) as usize != length {
            return Err(ReleaseError::HeaderLength { found: u32_at(raw, 12), expected: length as u32 });
        }
        if minor == 0 && !(is_zero(&raw[224..312]) && is_zero(&raw[length..])) {
            return Err(ReleaseError::Reserved("header"));
        }
        let header = Self {
            minor,
            product: text_at(raw, 16, "product")?,
            profile: text_at(raw, 48, "profile")?,
            version: text_at(raw, 80, "version")?,
            rollback_index: u64_at(raw, 112),
            signed_at: u64_at(raw, 120),
            flags_critical: u64_at(raw, 128),
            flags_optional: u64_at(raw, 136),
            min_slot_size: u64_at(raw, 144),
            min_disk_layout: u32_at(raw, 152),
            loader_security_version: u32_at(raw, 156),
            datafs_compat: u64_at(raw, 160),
            datafs_ro_compat: u64_at(raw, 168),
            datafs_incompat: u64_at(raw, 176),
            package_abi_min: u32_at(raw, 184),
            package_abi_max: u32_at(raw, 188),
            verity_root: array(raw, 192),
            sections: parse_sections(raw, minor, count)?,
        };
        header.check()?;
        Ok(header)
    }

    /// The rules that hold for any machine.
    fn check(&self) -> Result<(), ReleaseError> {
        let unknown = self.flags_critical & !(FLAG_DEV | FLAG_REVOKES_OLDER);
        if unknown != 0 {
            return Err(ReleaseError::Flags(unknown));
        }
        if self.package_abi_min > self.package_abi_max {
            return Err(ReleaseError::PackageAbi { min: self.package_abi_min, max: self.package_abi_max });
        }
        let mut free_from = AREA_SIZE as u64;
        for (index, section) in self.sections.iter().enumerate() {
            self.check_flags(index, section)?;
            let end = section.offset.checked_add(section.length);
            match end {
                Some(end)
                    if section.length > 0
                        && section.offset.is_multiple_of(ALIGNMENT)
                        && section.offset >= free_from
                        && end <= self.min_slot_size =>
                {
                    free_from = end;
                }
                _ => {
                    let Section { offset, length, .. } = *section;
                    return Err(ReleaseError::SectionRange { index, offset, length });
                }
            }
        }
        for kind in SectionKind::ALL {
            match self.sections.iter().filter(|section| section.kind == kind as u32).count() {
                0 if kind.is_required() => return Err(ReleaseError::MissingSection(kind)),
                0 | 1 => {}
                _ => return Err(ReleaseError::DuplicateSection(kind)),
            }
        }
        Ok(())
    }

    fn check_flags(&self, index: usize, section: &Section) -> Result<(), ReleaseError> {
        let critical = section.flags & SECTION_CRITICAL != 0;
        let known = SectionKind::ALL.into_iter().find(|&kind| kind as u32 == section.kind);
        match known {
            None if critical => Err(ReleaseError::UnknownCritical { index, kind: section.kind }),
            Some(kind) if critical != kind.is_required() => {
                Err(ReleaseError::SectionFlags { index, flags: section.flags })
            }
            _ if self.minor == 0 && section.flags & !SECTION_CRITICAL != 0 => {
                Err(ReleaseError::SectionFlags { index, flags: section.flags })
            }
            _ => Ok(()),
        }
    }

    /// The rules that depend on where the release is to run. A loader that was built for no profile takes any.
    pub fn check_for(&self, product: &str, profile: Option<&str>, partition_size: u64) -> Result<(), ReleaseError> {
        if self.product.as_str() != product {
            return Err(ReleaseError::Product(self.product));
        }
        if profile.is_some_and(|profile| profile != self.profile.as_str()) {
            return Err(ReleaseError::Profile(self.profile));
        }
        if self.min_disk_layout > DISK_LAYOUT {
            return Err(ReleaseError::DiskLayout(self.min_disk_layout));
        }
        if self.min_slot_size > partition_size {
            return Err(ReleaseError::SlotSize { needed: self.min_slot_size, have: partition_size });
        }
        Ok(())
    }

    /// The section of this kind.
    pub fn section(&self, kind: SectionKind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind as u32)
    }

    /// The bytes to be signed. Refuses what [`Header::parse`] would refuse.
    pub fn encode(&self) -> Result<[u8; HEADER_SIZE], ReleaseError> {
        if self.sections.is_empty() {
            return Err(ReleaseError::SectionCount { count: 0, entry: ENTRY });
        }
        self.check()?;
        let mut raw = [0; HEADER_SIZE];
        let mut put = |at: usize, data: &[u8]| raw[at..at + data.len()].copy_from_slice(data);
        put(0, b"SWIFTREL");
        put(8, &1u16.to_le_bytes());
        put(10, &self.minor.to_le_bytes());
        put(12, &((FIXED + ENTRY * self.sections.len()) as u32).to_le_bytes());
        for (at, text) in [(16, self.product), (48, self.profile), (80, self.version)] {
            put(at, &text.0);
        }
        for (at, value) in [
            (112, self.rollback_index),
            (120, self.signed_at),
            (128, self.flags_critical),
            (136, self.flags_optional),
            (144, self.min_slot_size),
            (160, self.datafs_compat),
            (168, self.datafs_ro_compat),
            (176, self.datafs_incompat),
        ] {
            put(at, &value.to_le_bytes());
        }
        for (at, value) in [
            (152, self.min_disk_layout),
            (156, self.loader_security_version),
            (184, self.package_abi_min),
            (188, self.package_abi_max),
            (312, self.sections.len() as u32),
            (316, ENTRY as u32),
        ] {
            put(at, &value.to_le_bytes());
        }
        put(192, &self.verity_root);
        for (index, section) in self.sections.iter().enumerate() {
            let at = FIXED + ENTRY * index;
            put(at, &section.kind.to_le_bytes());
            put(at + 4, &section.flags.to_le_bytes());
            put(at + 8, &section.offset.to_le_bytes());
            put(at + 16, &section.length.to_le_bytes());
            put(at + 24, &section.digest);
        }
        Ok(raw)
    }
}

/// `count` is at most [`MAX_SECTIONS`], so every entry lies inside the header.
fn parse_sections(
    raw: &[u8; HEADER_SIZE],
    minor: u16,
    count: usize,
) -> Result<ArrayVec<Section, MAX_SECTIONS>, ReleaseError> {
    let mut sections = ArrayVec::new();
    for at in (FIXED..).step_by(ENTRY).take(count) {
        if minor == 0 && u64_at(raw, at + 56) != 0 {
            return Err(ReleaseError::Reserved("section table"));
        }
        sections.push(Section {
            kind: u32_at(raw, at),
            flags: u32_at(raw, at + 4),
            offset: u64_at(raw, at + 8),
            length: u64_at(raw, at + 16),
            digest: array(raw, at + 24),
        });
    }
    Ok(sections)
}
