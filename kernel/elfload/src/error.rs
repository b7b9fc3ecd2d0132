//! Why a file is refused: what, where, and what was expected.

use core::fmt;

/// Why a file cannot be loaded. `index` is the program header's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what the message prints")]
pub enum ElfError {
    /// The bytes end before what was to be read.
    Truncated { what: &'static str, have: usize },
    /// Not an ELF file.
    Magic([u8; 4]),
    /// Not ELFCLASS64.
    Class(u8),
    /// Not ELFDATA2LSB.
    ByteOrder(u8),
    /// Not EV_CURRENT.
    Version(u8),
    /// Made for another operating system.
    OsAbi(u8),
    /// Not EM_AARCH64.
    Machine(u16),
    /// Neither ET_EXEC nor ET_DYN.
    Type(u16),
    /// No program headers, too many, or of a size that we do not know.
    ProgramHeaders { count: u16, size: u16 },
    /// A segment's bytes lie outside the file.
    BeyondFile { index: u16, offset: u64, size: u64, file_length: u64 },
    /// A segment has more bytes in the file than in memory.
    LargerInFile { index: u16, file_size: u64, memory_size: u64 },
    /// A segment lies outside the addresses allowed, or wraps.
    OutOfRange { index: u16, vaddr: u64, size: u64 },
    /// An alignment that is not a power of two, or (TLS) larger than a page.
    Alignment { index: u16, align: u64 },
    /// Address and file offset differ modulo page or alignment.
    NotCongruent { index: u16, vaddr: u64, offset: u64, modulus: u64 },
    /// A segment is writable and executable.
    WritableAndExecutable { index: u16, vaddr: u64 },
    /// Segments do not ascend.
    Order { index: u16, vaddr: u64 },
    /// Two segments lie on the same page.
    Overlap { index: u16, vaddr: u64 },
    /// More than [`crate::MAX_SEGMENTS`].
    TooManySegments { index: u16 },
    /// No loadable segment.
    NothingToLoad,
    /// The entry point is not an instruction in an executable segment.
    Entry(u64),
    /// A header of which there may be one.
    Twice { index: u16, what: &'static str },
    /// An interpreter name of no use.
    InterpreterLength { index: u16, size: u64 },
    /// PT_PHDR names an address at which no segment loads the program headers.
    ProgramHeadersElsewhere { index: u16, vaddr: u64 },
    /// The image of thread-local storage is in no loadable segment.
    TlsNotLoaded { vaddr: u64, size: u64 },
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { what, have } => {
                write!(f, "the file ends inside its {what}: {have} bytes at hand")
            }
            Self::Magic(found) => write!(f, "not an ELF file: it starts with {found:02x?}"),
            Self::Class(found) => write!(f, "ELF class is {found}, expected 2 (64-bit)"),
            Self::ByteOrder(found) => {
                write!(f, "ELF byte order is {found}, expected 1 (little-endian)")
            }
            Self::Version(found) => write!(f, "ELF version is {found}, expected 1"),
            Self::OsAbi(found) => {
                write!(f, "ELF OS ABI is {found}, expected 0 (System V) or 3 (GNU)")
            }
            Self::Machine(found) => write!(f, "ELF machine is {found}, expected 183 (AArch64)"),
            Self::Type(found) => write!(f, "ELF type is {found}, expected 2 (executable) or 3 (position-independent)"),
            Self::ProgramHeaders { count, size } => {
                write!(f, "{count} program headers of {size} bytes, expected 1 to {} of 56", crate::MAX_PROGRAM_HEADERS)
            }
            Self::BeyondFile { index, offset, size, file_length } => write!(
                f,
                "program header {index}: {size:#x} bytes at offset {offset:#x} reach past the file's {file_length:#x}"
            ),
            Self::LargerInFile { index, file_size, memory_size } => write!(
                f,
                "program header {index}: {file_size:#x} bytes in the file do not fit {memory_size:#x} in memory"
            ),
            Self::OutOfRange { index, vaddr, size } => {
                write!(f, "program header {index}: {size:#x} bytes at {vaddr:#x} lie outside the addresses allowed")
            }
            Self::Alignment { index, align } => {
                write!(f, "program header {index}: alignment {align:#x} is not a power of two that is supported")
            }
            Self::NotCongruent { index, vaddr, offset, modulus } => write!(
                f,
                "program header {index}: address {vaddr:#x} and file offset {offset:#x} differ modulo {modulus:#x}"
            ),
            Self::WritableAndExecutable { index, vaddr } => {
                write!(f, "program header {index}: segment at {vaddr:#x} is writable and executable")
            }
            Self::Order { index, vaddr } => {
                write!(f, "program header {index}: segment at {vaddr:#x} lies below the one before it")
            }
            Self::Overlap { index, vaddr } => {
                write!(f, "program header {index}: segment at {vaddr:#x} shares a page with the one before it")
            }
            Self::TooManySegments { index } => {
                write!(f, "program header {index}: more than {} loadable segments", crate::MAX_SEGMENTS)
            }
            Self::NothingToLoad => f.write_str("the file has no loadable segment"),
            Self::Entry(entry) => write!(f, "entry point {entry:#x} is not an instruction in an executable segment"),
            Self::Twice { index, what } => write!(f, "program header {index}: a second {what}"),
            Self::InterpreterLength { index, size } => {
                write!(f, "program header {index}: an interpreter name of {size} bytes, expected 2 to 4096")
            }
            Self::ProgramHeadersElsewhere { index, vaddr } => {
                write!(f, "program header {index}: the program headers are not loaded at {vaddr:#x}")
            }
            Self::TlsNotLoaded { vaddr, size } => {
                write!(f, "{size:#x} bytes of thread-local storage at {vaddr:#x} are in no loadable segment")
            }
        }
    }
}

impl core::error::Error for ElfError {}
