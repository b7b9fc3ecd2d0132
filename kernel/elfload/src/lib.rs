#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! ELF64 AArch64 → a checked load plan, for the loader (the kernel) and the kernel (programs).
//!
//! [`plan`] reads the start of a file and nothing else: where the segments' bytes lie is part of the plan, and whoever
//! loads them copies or maps them. What a [`Plan`] promises its user:
//!
//! - every segment's file range lies inside the file, and its memory inside the address range asked for;
//! - segments ascend and share no page, so that each page has one protection;
//! - no segment is writable and executable;
//! - `vaddr`, `paddr` and file offset are congruent modulo the page size, so that file pages can be mapped in place;
//! - the entry point is an instruction's address inside the file bytes of an executable segment.
//!
//! References: System V ABI, chapters 4 and 5; ELF for the Arm 64-bit Architecture (AAELF64).

mod error;
#[cfg(test)]
mod tests;

pub use error::ElfError;

use arrayvec::ArrayVec;
use core::ops::Range;

/// Pages are 4 KiB on every machine that we run on.
pub const PAGE: u64 = 4096;
/// Most loadable segments that a file may have. Linkers make 2 to 6.
pub const MAX_SEGMENTS: usize = 16;
/// Most program headers that a file may have.
pub const MAX_PROGRAM_HEADERS: u16 = 64;
/// Bytes at the start of a file that always suffice for [`plan`]: the header and all program headers after it.
pub const PREFIX: usize = HEADER_SIZE + MAX_PROGRAM_HEADERS as usize * PROGRAM_HEADER_SIZE;
/// Longest name of an interpreter, its NUL included.
pub const MAX_INTERPRETER: u64 = 4096;

const HEADER_SIZE: usize = 64;
const PROGRAM_HEADER_SIZE: usize = 56;

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ET_EXEC: addresses are final.
    Fixed,
    /// ET_DYN: addresses are offsets from a base that the loader chooses.
    Relocatable,
}

/// What a segment may be used for. There is no writable and executable one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// PF_R.
    pub read: bool,
    /// PF_W.
    pub write: bool,
    /// PF_X.
    pub execute: bool,
}

/// A PT_LOAD segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its bytes lie in the file; the rest of `memory_size` is zero.
    pub file_offset: u64,
    /// Bytes from the file.
    pub file_size: u64,
    /// Virtual address, or offset from the base of a relocatable file.
    pub vaddr: u64,
    /// Physical address (only the kernel's own file means it).
    pub paddr: u64,
    /// Bytes in memory, at least `file_size` and at least 1.
    pub memory_size: u64,
    /// What it may be used for.
    pub protection: Protection,
}

impl Segment {
    /// Its addresses.
    pub fn range(&self) -> Range<u64> {
        self.vaddr..self.vaddr + self.memory_size
    }

    /// Its addresses, rounded to whole pages.
    pub fn pages(&self) -> Range<u64> {
        // Cannot overflow: `plan` has bounded the segment by a range that ends on a page.
        self.vaddr & !(PAGE - 1)..(self.vaddr + self.memory_size).next_multiple_of(PAGE)
    }
}

/// A PT_TLS segment: the image of thread-local storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Where the initialised part lies in memory.
    pub vaddr: u64,
    /// Bytes of the initialised part.
    pub file_size: u64,
    /// Bytes of the whole.
    pub memory_size: u64,
    /// A power of two.
    pub align: u64,
}

/// How to load a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Fixed or relocatable.
    pub kind: Kind,
    /// Where execution starts, in the terms of `vaddr`.
    pub entry: u64,
    /// What to load, in ascending order.
    pub segments: ArrayVec<Segment, MAX_SEGMENTS>,
    /// File range of the interpreter's name, its NUL included (PT_INTERP).
    pub interpreter: Option<Range<u64>>,
    /// Address of the program headers in memory (AT_PHDR), when a segment loads them.
    pub program_headers: Option<u64>,
    /// Their number (AT_PHNUM).
    pub program_header_count: u16,
    /// Thread-local storage.
    pub tls: Option<Tls>,
    /// Whether PT_GNU_STACK asks for an executable stack.
    pub executable_stack: bool,
    /// Largest alignment that a segment asks for, at least a page: of the base of a relocatable file.
    pub align: u64,
}

impl Plan {
    /// All addresses from the first segment to the last, rounded to whole pages.
    pub fn pages(&self) -> Range<u64> {
        let first = self.segments.first().map_or(0, |segment| segment.pages().start);
        let last = self.segments.last().map_or(0, |segment| segment.pages().end);
        first..last
    }
}

/// Size of an AT_PHENT entry.
pub const fn program_header_size() -> u64 {
    PROGRAM_HEADER_SIZE as u64
}

/// Makes the plan of a file from its first bytes (up to [`PREFIX`]; fewer when the file is shorter).
///
/// `allowed` bounds the addresses of all segments; both its ends lie on a page.
pub fn plan(prefix: &[u8], file_length: u64, allowed: Range<u64>) -> Result<Plan, ElfError> {
    let header = Header::parse(prefix)?;
    let mut plan = Plan {
        kind: header.kind,
        entry: header.entry,
        segments: ArrayVec::new(),
        interpreter: None,
        program_headers: None,
        program_header_count: header.count,
        tls: None,
        executable_stack: false,
        align: PAGE,
    };
    let mut explicit = None;
    for index in 0..header.count {
        let entry = header.program_header(prefix, index)?;
        match entry.kind {
            PT_LOAD if entry.memory_size == 0 => {}
            PT_LOAD => plan.add_segment(&entry, file_length, &allowed)?,
            PT_INTERP if plan.interpreter.is_some() => {
                return Err(ElfError::Twice { index, what: "PT_INTERP" });
            }
            PT_INTERP => plan.interpreter = Some(entry.interpreter(file_length)?),
            PT_TLS if plan.tls.is_some() => {
                return Err(ElfError::Twice { index, what: "PT_TLS" });
            }
            PT_TLS => plan.tls = Some(entry.tls()?),
            PT_PHDR => explicit = Some((index, entry.vaddr)),
            PT_GNU_STACK => plan.executable_stack = entry.flags & PF_X != 0,
            _ => {}
        }
    }
    plan.check_entry()?;
    plan.check_tls()?;
    plan.program_headers = plan.locate_program_headers(&header);
    if let Some((index, vaddr)) = explicit
        && plan.program_headers != Some(vaddr)
    {
        return Err(ElfError::ProgramHeadersElsewhere { index, vaddr });
    }
    Ok(plan)
}

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_AARCH64: u16 = 183;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_TLS: u32 = 7;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// `N` bytes at `offset`; `None` when they do not lie inside.
fn bytes<const N: usize>(data: &[u8], offset: usize) -> Option<[u8; N]> {
    data.get(offset..)?.first_chunk().copied()
}

struct Header {
    kind: Kind,
    entry: u64,
    offset: usize,
    count: u16,
}

impl Header {
    fn parse(prefix: &[u8]) -> Result<Self, ElfError> {
        let raw: [u8; HEADER_SIZE] =
            bytes(prefix, 0).ok_or(ElfError::Truncated { what: "ELF header", have: prefix.len() })?;
        let u16_at = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
        let u64_at = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| raw[at + i]));
        if raw[..4] != *b"\x7fELF" {
            return Err(ElfError::Magic(core::array::from_fn(|i| raw[i])));
        }
        // EI_CLASS, EI_DATA, EI_VERSION, EI_OSABI: 0 is System V, 3 GNU (a static glibc program with IFUNCs).
        if raw[4] != 2 {
            return Err(ElfError::Class(raw[4]));
        }
        if raw[5] != 1 {
            return Err(ElfError::ByteOrder(raw[5]));
        }
        if raw[6] != 1 {
            return Err(ElfError::Version(raw[6]));
        }
        if !matches!(raw[7], 0 | 3) {
            return Err(ElfError::OsAbi(raw[7]));
        }
        if u16_at(18) != EM_AARCH64 {
            return Err(ElfError::Machine(u16_at(18)));
        }
        let kind = match u16_at(16) {
            ET_EXEC => Kind::Fixed,
            ET_DYN => Kind::Relocatable,
            other => return Err(ElfError::Type(other)),
        };
        let count = u16_at(56);
        if count == 0 || count > MAX_PROGRAM_HEADERS || usize::from(u16_at(54)) != PROGRAM_HEADER_SIZE {
            return Err(ElfError::ProgramHeaders { count, size: u16_at(54) });
        }
        let offset = usize::try_from(u64_at(32)).unwrap_or(usize::MAX);
        Ok(Self { kind, entry: u64_at(24), offset, count })
    }

    fn program_header(&self, prefix: &[u8], index: u16) -> Result<ProgramHeader, ElfError> {
        let raw: [u8; PROGRAM_HEADER_SIZE] = self
            .offset
            .checked_add(usize::from(index) * PROGRAM_HEADER_SIZE)
            .and_then(|at| bytes(prefix, at))
            .ok_or(ElfError::Truncated { what: "program headers", have: prefix.len() })?;
        let u32_at = |at: usize| u32::from_le_bytes(core::array::from_fn(|i| raw[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| raw[at + i]));
        Ok(ProgramHeader {
            index,
            kind: u32_at(0),
            flags: u32_at(4),
            offset: u64_at(8),
            vaddr: u64_at(16),
            paddr: u64_at(24),
            file_size: u64_at(32),
            memory_size: u64_at(40),
            align: u64_at(48),
        })
    }
}

struct ProgramHeader {
    index: u16,
    kind: u32,
    flags: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

impl ProgramHeader {
    fn file_range(&self, file_length: u64) -> Result<Range<u64>, ElfError> {
        match self.offset.checked_add(self.file_size) {
            Some(end) if end <= file_length => Ok(self.offset..end),
            _ => {
                Err(ElfError::BeyondFile { index: self.index, offset: self.offset, size: self.file_size, file_length })
            }
        }
    }

    fn interpreter(&self, file_length: u64) -> Result<Range<u64>, ElfError> {
        if !(2..=MAX_INTERPRETER).contains(&self.file_size) {
            return Err(ElfError::InterpreterLength { index: self.index, size: self.file_size });
        }
        self.file_range(file_length)
    }

    fn tls(&self) -> Result<Tls, ElfError> {
        let align = self.align.max(1);
        if !align.is_power_of_two() || align > PAGE {
            return Err(ElfError::Alignment { index: self.index, align: self.align });
        }
        if self.file_size > self.memory_size {
            return Err(self.larger_in_file());
        }
        Ok(Tls { vaddr: self.vaddr, file_size: self.file_size, memory_size: self.memory_size, align })
    }

    fn larger_in_file(&self) -> ElfError {
        ElfError::LargerInFile { index: self.index, file_size: self.file_size, memory_size: self.memory_size }
    }

    fn segment(&self, file_length: u64, allowed: &Range<u64>) -> Result<Segment, ElfError> {
        let index = self.index;
        if self.file_size > self.memory_size {
            return Err(self.larger_in_file());
        }
        self.file_range(file_length)?;
        let end = self.vaddr.checked_add(self.memory_size);
        if self.vaddr < allowed.start || end.is_none_or(|end| end > allowed.end) {
            return Err(ElfError::OutOfRange { index, vaddr: self.vaddr, size: self.memory_size });
        }
        if self.paddr.checked_add(self.memory_size).is_none() {
            return Err(ElfError::OutOfRange { index, vaddr: self.paddr, size: self.memory_size });
        }
        if self.align > 1 && !self.align.is_power_of_two() {
            return Err(ElfError::Alignment { index, align: self.align });
        }
        // The file may be mapped, so page and file offset must agree (System V ABI, chapter 5, "Program Loading").
        let modulus = self.align.max(PAGE);
        let congruent = self.vaddr % modulus == self.offset % modulus && self.vaddr % PAGE == self.paddr % PAGE;
        if !congruent {
            return Err(ElfError::NotCongruent { index, vaddr: self.vaddr, offset: self.offset, modulus });
        }
        let protection =
            Protection { read: self.flags & PF_R != 0, write: self.flags & PF_W != 0, execute: self.flags & PF_X != 0 };
        if protection.write && protection.execute {
            return Err(ElfError::WritableAndExecutable { index, vaddr: self.vaddr });
        }
        Ok(Segment {
            file_offset: self.offset,
            file_size: self.file_size,
            vaddr: self.vaddr,
            paddr: self.paddr,
            memory_size: self.memory_size,
            protection,
        })
    }
}

impl Plan {
    fn add_segment(&mut self, entry: &ProgramHeader, file_length: u64, allowed: &Range<u64>) -> Result<(), ElfError> {
        let segment = entry.segment(file_length, allowed)?;
        if let Some(previous) = self.segments.last() {
            if segment.vaddr < previous.vaddr {
                return Err(ElfError::Order { index: entry.index, vaddr: segment.vaddr });
            }
            if segment.pages().start < previous.pages().end {
                return Err(ElfError::Overlap { index: entry.index, vaddr: segment.vaddr });
            }
        }
        self.align = self.align.max(entry.align);
        self.segments.try_push(segment).map_err(|_| ElfError::TooManySegments { index: entry.index })
    }

    fn check_entry(&self) -> Result<(), ElfError> {
        if self.segments.is_empty() {
            return Err(ElfError::NothingToLoad);
        }
        let starts_here = |segment: &Segment| {
            segment.protection.execute
                && self.entry >= segment.vaddr
                && self.entry.is_multiple_of(4)
                && self.entry - segment.vaddr < segment.file_size
        };
        if self.segments.iter().any(starts_here) { Ok(()) } else { Err(ElfError::Entry(self.entry)) }
    }

    /// The C library copies the initialised part from memory, so a segment must load it.
    fn check_tls(&self) -> Result<(), ElfError> {
        let Some(tls) = &self.tls else { return Ok(()) };
        let loaded = |segment: &Segment| {
            tls.vaddr >= segment.vaddr
                && tls.vaddr - segment.vaddr <= segment.memory_size
                && tls.file_size <= segment.memory_size - (tls.vaddr - segment.vaddr)
        };
        if tls.file_size == 0 || self.segments.iter().any(loaded) {
            Ok(())
        } else {
            Err(ElfError::TlsNotLoaded { vaddr: tls.vaddr, size: tls.file_size })
        }
    }

    fn locate_program_headers(&self, header: &Header) -> Option<u64> {
        let offset = header.offset as u64;
        let size = u64::from(header.count) * PROGRAM_HEADER_SIZE as u64;
        self.segments.iter().find_map(|segment| {
            let into = offset.checked_sub(segment.file_offset)?;
            (into.checked_add(size)? <= segment.file_size).then(|| segment.vaddr + into)
        })
    }
}
