#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! Reads a GUID partition table (UEFI 2.10, section 5.3): the primary one, or the backup when the primary is damaged.
//!
//! [`read`] checks in this order, for each of the two: signature, revision, header size and CRC, place, the usable range,
//! the shape of the entry array and its CRC, and every entry's range and overlaps. Duplicate GUIDs and the protective MBR
//! are left to the image checker: they decide nothing here. [`grow`] makes a table fit a disk that became larger.

extern crate alloc;

mod error;
pub mod grow;
#[cfg(test)]
mod grow_tests;
#[cfg(test)]
mod tests;

pub use error::{Error, Fault};

use crc::{CRC_32_ISO_HDLC, Crc};

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// Most bytes that an array of entries may have: 128 entries of 128 bytes.
pub const ENTRIES: usize = 16384;

const HEADER: usize = 92;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A GUID as it is stored: the first three fields little-endian.
pub type Guid = [u8; 16];

/// Turns a GUID as it is written (`c12a7328-f81f-11d2-ba4b-00a0c93ec93b`) into the bytes that are stored.
pub const fn guid(text: &[u8; 36]) -> Guid {
    const ORDER: [usize; 16] = [6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut out = [0; 16];
    let mut at = 0;
    while at < 16 {
        out[at] = digit(text[ORDER[at]]) << 4 | digit(text[ORDER[at] + 1]);
        at += 1;
    }
    out
}

const fn digit(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character - b'0',
        b'a'..=b'f' => character - b'a' + 10,
        _ => panic!("a GUID is written with digits and a to f"),
    }
}

/// The GUID that a text names, written as for [`guid`] in digits and letters of either case. `None`: it is none.
pub fn parse_guid(text: &str) -> Option<Guid> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let sound =
        text.iter().enumerate().all(|(at, byte)| if is_dash(at) { *byte == b'-' } else { byte.is_ascii_hexdigit() });
    sound.then(|| guid(&text.map(|byte| byte.to_ascii_lowercase())))
}

/// A GUID as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written<'a>(pub &'a Guid);

impl core::fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (index, place) in [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].into_iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{:02x}", self.0[place])?;
        }
        Ok(())
    }
}

/// Type GUIDs of docs/formats/disk.md.
pub mod types {
    use super::{Guid, guid};
    /// EFI system partition.
    pub const ESP: Guid = guid(b"c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    /// Boot-control block.
    pub const BOOTCTL: Guid = guid(b"2fac1cdd-2005-8e58-8c5a-785f3e2452a5");
    /// Slots a and b.
    pub const BASE: Guid = guid(b"e5cd2363-558c-8e75-a344-f411b58bcbf9");
    /// Package store.
    pub const PKGS: Guid = guid(b"e00ce0e3-2b4a-84a2-97d7-aa91bfc9c34c");
    /// Persistent data.
    pub const DATA: Guid = guid(b"1cbba837-1be8-8d12-8154-2cb55ace8277");
}

/// The disk did not give the sectors. Whoever implements [`Disk`] knows why; here it only means: try the other table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// A disk of 512-byte sectors.
pub trait Disk {
    /// Its length in sectors.
    fn sectors(&self) -> u64;
    /// Reads whole sectors, from the sector `first`.
    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Unreadable>;
}

/// Which of the two tables was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The one at the disk's start.
    Primary,
    /// The one at the disk's end.
    Backup,
}

/// A partition in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its place in the table, from 1.
    pub number: u32,
    /// What it holds.
    pub type_guid: Guid,
    /// Its own GUID.
    pub guid: Guid,
    /// First sector.
    pub first: u64,
    /// Number of sectors, at least 1.
    pub sectors: u64,
    /// UTF-16 name, NUL-padded.
    pub name: [u16; 36],
}

impl Partition {
    /// Whether the name is this.
    pub fn is_named(&self, name: &str) -> bool {
        let used = self.name.iter().take_while(|&&unit| unit != 0).copied();
        used.eq(name.encode_utf16())
    }

    fn last(&self) -> u64 {
        self.first + (self.sectors - 1)
    }
}

/// A table that has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// Which of the two it is.
    pub source: Source,
    /// What is wrong with the primary table, when this is the backup.
    pub primary_fault: Option<Fault>,
    /// The disk's GUID.
    pub disk_guid: Guid,
    entries: &'a [u8],
    entry_size: usize,
}

impl<'a> Table<'a> {
    /// The partitions in use, in the order of the table.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> + use<'a> {
        (1..).zip(self.entries.chunks_exact(self.entry_size)).filter_map(|(number, entry)| partition(number, entry))
    }

    /// The partition with this type and name. The slots share a type, so both are asked for.
    pub fn find(&self, type_guid: &Guid, name: &str) -> Option<Partition> {
        self.partitions().find(|partition| partition.type_guid == *type_guid && partition.is_named(name))
    }
}

/// Reads the table of `disk` into `buffer`; the backup when the primary is damaged.
pub fn read<'a, D: Disk>(disk: &mut D, buffer: &'a mut [u8; ENTRIES]) -> Result<Table<'a>, Error> {
    let last = disk.sectors().checked_sub(1).ok_or(Error::TooSmall)?;
    // The header and 32 sectors of entries, twice, and the protective MBR.
    if last < 66 {
        return Err(Error::TooSmall);
    }
    let (source, primary_fault, header) = match Header::read(disk, 1, buffer) {
        Ok(header) => (Source::Primary, None, header),
        Err(primary) => match Header::read(disk, last, buffer) {
            Ok(header) => (Source::Backup, Some(primary), header),
            Err(backup) => return Err(Error::Damaged { primary, backup }),
        },
    };
    let entries = &buffer[..header.array_length()];
    Ok(Table { source, primary_fault, disk_guid: header.disk_guid, entries, entry_size: header.entry_size })
}

fn u32_at(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(core::array::from_fn(|i| data[at + i]))
}

fn u64_at(data: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|i| data[at + i]))
}

/// `None` for an unused entry, or one whose range is empty (`check_entries` has refused those).
fn partition(number: u32, entry: &[u8]) -> Option<Partition> {
    let type_guid: Guid = core::array::from_fn(|i| entry[i]);
    let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
    let sectors = last.checked_sub(first)?.checked_add(1)?;
    (type_guid != [0; 16]).then(|| Partition {
        number,
        type_guid,
        guid: core::array::from_fn(|i| entry[16 + i]),
        first,
        sectors,
        name: core::array::from_fn(|i| u16::from_le_bytes([entry[56 + 2 * i], entry[57 + 2 * i]])),
    })
}

struct Header {
    disk_guid: Guid,
    first_usable: u64,
    last_usable: u64,
    entries_at: u64,
    entry_count: usize,
    entry_size: usize,
    entries_crc: u32,
}

impl Header {
    fn read<D: Disk>(disk: &mut D, at: u64, buffer: &mut [u8; ENTRIES]) -> Result<Self, Fault> {
        let mut sector = [0; SECTOR];
        disk.read(at, &mut sector).map_err(|Unreadable| Fault::Unreadable(at))?;
        let header = Self::parse(&sector, at, disk.sectors())?;
        let whole_sectors = header.array_length().next_multiple_of(SECTOR);
        disk.read(header.entries_at, &mut buffer[..whole_sectors])
            .map_err(|Unreadable| Fault::Unreadable(header.entries_at))?;
        header.check_entries(&buffer[..header.array_length()])?;
        Ok(header)
    }

    fn parse(sector: &[u8; SECTOR], at: u64, sectors: u64) -> Result<Self, Fault> {
        if sector[..8] != *b"EFI PART" {
            return Err(Fault::Signature);
        }
        let revision = u32_at(sector, 8);
        if revision != 0x0001_0000 {
            return Err(Fault::Revision(revision));
        }
        let size = u32_at(sector, 12) as usize;
        if !(HEADER..=SECTOR).contains(&size) {
            return Err(Fault::HeaderSize(size));
        }
        let mut without_crc = *sector;
        without_crc[16..20].fill(0);
        if CRC.checksum(&without_crc[..size]) != u32_at(sector, 16) {
            return Err(Fault::HeaderCrc);
        }
        if u64_at(sector, 24) != at {
            return Err(Fault::Place { says: u64_at(sector, 24), at });
        }
        let header = Self {
            disk_guid: core::array::from_fn(|i| sector[56 + i]),
            first_usable: u64_at(sector, 40),
            last_usable: u64_at(sector, 48),
            entries_at: u64_at(sector, 72),
            entry_count: u32_at(sector, 80) as usize,
            entry_size: u32_at(sector, 84) as usize,
            entries_crc: u32_at(sector, 88),
        };
        if header.first_usable > header.last_usable || header.last_usable >= sectors {
            return Err(Fault::UsableRange { first: header.first_usable, last: header.last_usable });
        }
        header.check_array(sectors)?;
        Ok(header)
    }

    fn check_array(&self, sectors: u64) -> Result<(), Fault> {
        // 128 × 2ⁿ bytes per entry.
        let sound_size = self.entry_size >= 128 && self.entry_size.is_power_of_two();
        let length = self.entry_count.checked_mul(self.entry_size).filter(|length| (1..=ENTRIES).contains(length));
        let (true, Some(length)) = (sound_size, length) else {
            return Err(Fault::Array { count: self.entry_count, size: self.entry_size });
        };
        let end = self.entries_at.checked_add(length.div_ceil(SECTOR) as u64);
        if self.entries_at < 2 || end.is_none_or(|end| end > sectors) {
            return Err(Fault::ArrayPlace(self.entries_at));
        }
        Ok(())
    }

    /// Bounded by `check_array`.
    fn array_length(&self) -> usize {
        self.entry_count * self.entry_size
    }

    fn check_entries(&self, entries: &[u8]) -> Result<(), Fault> {
        if CRC.checksum(entries) != self.entries_crc {
            return Err(Fault::ArrayCrc);
        }
        let mut used = 0;
        for (index, entry) in entries.chunks_exact(self.entry_size).enumerate() {
            if entry[..16] == [0; 16] {
                continue;
            }
            let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
            if first > last || first < self.first_usable || last > self.last_usable {
                return Err(Fault::PartitionRange { index, first, last });
            }
            // At most 128 entries, so comparing each with those before it is cheap.
            let earlier = entries.chunks_exact(self.entry_size).take(index).filter_map(|entry| partition(0, entry));
            for (_, other) in (0..used).zip(earlier) {
                if first <= other.last() && other.first <= last {
                    return Err(Fault::Overlap { index, first, last });
                }
            }
            used += 1;
        }
        Ok(())
    }
}
