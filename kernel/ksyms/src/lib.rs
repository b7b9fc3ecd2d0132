//! Names for kernel addresses: reader of the slot image's kernel-symbols section (docs/formats/release-header.md).
//!
//! A panic is read when everything else may be broken, so nothing here allocates, loops without a bound or panics,
//! whatever the bytes. Order of entries is not checked up front (a dying kernel has better things to do than to walk a
//! megabyte): on an unordered table a lookup merely finds the wrong name.
#![no_std]
#![forbid(unsafe_code)]

/// Address that the entries' offsets count from: the start of the kernel image.
pub const KERNEL_BASE: u64 = 0xffff_8000_0000_0000;
/// Longest name that is returned; longer ones are cut at a character.
pub const NAME_LENGTH_MAX: usize = 256;

const MAGIC: &[u8; 8] = b"SWSYMTAB";
const VERSION: u32 = 1;
const HEADER_LENGTH: usize = 24;
const ENTRY_LENGTH: usize = 8;

/// Why a section was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Shorter than its header, or than the header says.
    Truncated,
    /// The magic is not `SWSYMTAB`.
    Magic,
    /// A version other than 1.
    Version(u32),
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated => f.write_str("kernel symbols: section is truncated"),
            Self::Magic => f.write_str("kernel symbols: magic is not SWSYMTAB"),
            Self::Version(version) => write!(f, "kernel symbols: version {version}, expected {VERSION}"),
        }
    }
}

impl core::error::Error for Error {}

/// A function and a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Demangled name.
    pub name: &'a str,
    /// Bytes from its start.
    pub offset: u64,
}

/// The symbols of the running kernel.
#[derive(Clone, Copy, Debug)]
pub struct Symbols<'a> {
    entries: &'a [[u8; ENTRY_LENGTH]],
    names: &'a [u8],
}

impl<'a> Symbols<'a> {
    /// Read a section.
    ///
    /// # Errors
    /// It is not one, or shorter than it says.
    pub fn parse(section: &'a [u8]) -> Result<Self, Error> {
        let (magic, rest) = section.split_first_chunk::<8>().ok_or(Error::Truncated)?;
        if magic != MAGIC {
            return Err(Error::Magic);
        }
        let word = |index: usize| rest.get(index * 4..).and_then(<[u8]>::first_chunk).copied().map(u32::from_le_bytes);
        let (Some(version), Some(count), Some(names_length)) = (word(0), word(1), word(2)) else {
            return Err(Error::Truncated);
        };
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let body = section.get(HEADER_LENGTH..).ok_or(Error::Truncated)?;
        let table_length = (count as usize).checked_mul(ENTRY_LENGTH).ok_or(Error::Truncated)?;
        let (table, names) = body.split_at_checked(table_length).ok_or(Error::Truncated)?;
        let names = names.get(..names_length as usize).ok_or(Error::Truncated)?;
        Ok(Self { entries: table.as_chunks().0, names })
    }

    /// The function that `address` lies in: the last symbol that starts at or below it.
    #[must_use]
    pub fn lookup(&self, address: u64) -> Option<Symbol<'a>> {
        let target = u32::try_from(address.checked_sub(KERNEL_BASE)?).ok()?;
        let after = self.entries.partition_point(|entry| entry_fields(entry).0 <= target);
        let (start, name) = entry_fields(self.entries.get(after.checked_sub(1)?)?);
        Some(Symbol { name: self.name(name)?, offset: u64::from(target.checked_sub(start)?) })
    }

    fn name(&self, at: u32) -> Option<&'a str> {
        let bytes = self.names.get(at as usize..)?;
        let bytes = &bytes[..bytes.len().min(NAME_LENGTH_MAX)];
        let bytes = bytes.split(|byte| *byte == 0).next()?;
        match core::str::from_utf8(bytes) {
            Ok(name) => Some(name),
            Err(error) => core::str::from_utf8(bytes.get(..error.valid_up_to())?).ok(),
        }
    }
}

/// {offset u32, name u32}
fn entry_fields(entry: &[u8; ENTRY_LENGTH]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *entry;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    fn section(symbols: &[(u32, &str)]) -> Vec<u8> {
        let mut names = Vec::new();
        let mut table = Vec::new();
        for (offset, name) in symbols {
            table.extend(offset.to_le_bytes());
            table.extend((names.len() as u32).to_le_bytes());
            names.extend(name.as_bytes());
            names.push(0);
        }
        let mut bytes = MAGIC.to_vec();
        for word in [VERSION, symbols.len() as u32, names.len() as u32, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(table);
        bytes.extend(names);
        bytes
    }

    #[test]
    fn finds_the_function_around_an_address() {
        let bytes = section(&[(0x100, "boot"), (0x200, "kernel::panic::die"), (0x200_0000, "last")]);
        let symbols = Symbols::parse(&bytes).unwrap();
        let at = |offset| symbols.lookup(KERNEL_BASE + offset);
        assert_eq!(at(0xff), None);
        assert_eq!(at(0x100), Some(Symbol { name: "boot", offset: 0 }));
        assert_eq!(at(0x1ff), Some(Symbol { name: "boot", offset: 0xff }));
        assert_eq!(at(0x204), Some(Symbol { name: "kernel::panic::die", offset: 4 }));
        assert_eq!(at(0x200_0001), Some(Symbol { name: "last", offset: 1 }));
        assert_eq!((at(1 << 32), symbols.lookup(0x1234), symbols.lookup(u64::MAX)), (None, None, None));
    }

    #[test]
    fn refuses_what_is_not_whole() {
        let bytes = section(&[(0, "a"), (4, "b")]);
        for length in 0..bytes.len() {
            assert_eq!(Symbols::parse(&bytes[..length]).err(), Some(Error::Truncated), "{length} bytes");
        }
        let mut other = bytes.clone();
        other[0] = b'X';
        assert_eq!(Symbols::parse(&other).err(), Some(Error::Magic));
        let mut other = bytes;
        other[8] = 2;
        assert_eq!(Symbols::parse(&other).err(), Some(Error::Version(2)));
    }

    #[test]
    fn a_name_without_an_end_is_cut() {
        let long = String::from_iter(core::iter::repeat_n('n', 300));
        let bytes = section(&[(0, &long)]);
        assert_eq!(Symbols::parse(&bytes).unwrap().lookup(KERNEL_BASE).unwrap().name.len(), NAME_LENGTH_MAX);
        let mut bytes = section(&[(0, "ab")]);
        *bytes.last_mut().unwrap() = b'c';
        assert_eq!(Symbols::parse(&bytes).unwrap().lookup(KERNEL_BASE).map(|symbol| symbol.name), Some("abc"));
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_a_panic(
            edits in prop::collection::vec((8_usize..60, any::<u8>()), 0..16), address in any::<u32>()
        ) {
            let mut bytes = section(&[(0, "a"), (9, "bé"), (100, "ccc")]);
            let length = bytes.len();
            for (at, byte) in edits { bytes[at % length] = byte; }
            if let Ok(symbols) = Symbols::parse(&bytes) {
                let _ = symbols.lookup(KERNEL_BASE + u64::from(address));
                let _ = symbols.lookup(KERNEL_BASE + u64::from(address % 128));
            }
        }
    }
}
