//! A slot's contents against the digests of its header: section by section, a part at a time, so that whoever asks can do other things between.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use release::{AREA_SIZE, Header, Section, SectionKind};
use rt::Errno;
use sha256::{Engine, Hasher};

use crate::{CHUNK, Source};

/// Why contents are not those of the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Header or signatures are not the ones that were verified.
    Area,
    /// The SHA-256 of this section is another.
    Section(&'static str),
    /// There is something between the sections.
    Gap(u64),
    /// The bytes cannot be read.
    Read(u64, Errno),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Area => f.write_str("header or signatures are not the ones that were verified"),
            Self::Section(name) => write!(f, "the SHA-256 of the {name} is not the one in the header"),
            Self::Gap(at) => write!(f, "byte {at}, between two sections, is not zero"),
            Self::Read(at, why) => write!(f, "cannot read at byte {at}: {}", rt::errno::text(*why)),
        }
    }
}

/// Where the last section ends.
pub fn end(header: &Header) -> u64 {
    header.sections.iter().map(|section| section.offset + section.length).max().unwrap_or(AREA_SIZE as u64)
}

/// A check on its way.
pub struct Check {
    area: Vec<u8>,
    sections: Vec<Section>,
    /// Everything before was right.
    at: u64,
    hasher: Hasher,
    buffer: Vec<u8>,
}

impl Check {
    /// Of a slot that is to hold this header area.
    pub fn new(area: &[u8], header: &Header) -> Self {
        Self {
            area: area.into(),
            sections: header.sections.to_vec(),
            at: 0,
            hasher: Hasher::new(Engine::best()),
            buffer: vec![0; CHUNK],
        }
    }

    /// Bytes that were found right, and all.
    pub fn progress(&self) -> (u64, u64) {
        let all = self.sections.last().map_or(AREA_SIZE as u64, |last| last.offset + last.length);
        (self.at.min(all), all)
    }

    /// Looks at the next part. True when there is none left.
    ///
    /// # Errors
    /// What is wrong.
    pub fn step(&mut self, source: &mut (impl Source + ?Sized)) -> Result<bool, Fault> {
        if self.at == 0 {
            let part = &mut self.buffer[..AREA_SIZE];
            source.read(0, part).map_err(|why| Fault::Read(0, why))?;
            if part[..] != self.area[..] {
                return Err(Fault::Area);
            }
            self.at = AREA_SIZE as u64;
            return Ok(false);
        }
        // The sections are in ascending order and do not overlap: `Header::parse` sees to that.
        let Some(section) = self.sections.iter().find(|section| self.at < section.offset + section.length) else {
            return Ok(true);
        };
        let in_section = self.at >= section.offset;
        let end = if in_section { section.offset + section.length } else { section.offset };
        let length = (end - self.at).min(CHUNK as u64) as usize;
        let part = &mut self.buffer[..length];
        source.read(self.at, part).map_err(|why| Fault::Read(self.at, why))?;
        if !in_section {
            if let Some(place) = part.iter().position(|&byte| byte != 0) {
                return Err(Fault::Gap(self.at + place as u64));
            }
        } else {
            self.hasher.update(part);
            if self.at + length as u64 == end {
                let hasher = core::mem::replace(&mut self.hasher, Hasher::new(Engine::best()));
                if hasher.after(&[]) != section.digest {
                    return Err(Fault::Section(name(section)));
                }
            }
        }
        self.at += length as u64;
        Ok(false)
    }
}

fn name(section: &Section) -> &'static str {
    use SectionKind::{Erofs, Kernel, Loader, Symbols, Verity};
    let known = [Kernel, Erofs, Verity, Loader, Symbols].into_iter().find(|&kind| kind as u32 == section.kind);
    known.map_or("section", SectionKind::name)
}
