//! A table on a disk that became larger, or that was damaged: what to write so that it fits its disk again.
//!
//! A plan is one or two writes, each of which must be on stable media before the next begins. Whatever prefix of it, torn or
//! reordered within one write, is on the disk at a power cut, [`crate::read`] and firmware find a sound table: the backup lies in
//! the disk's last sectors before the primary names it, and a half-written primary fails its CRC, whereupon the backup counts.
//! After the cut the next plan does the rest.
//!
//! The table that lay at the old end is not erased here: it is inside the grown partition, and whoever grows what is in there
//! clears the sectors first.

use alloc::vec;
use alloc::vec::Vec;

use crate::{CRC, Disk, ENTRIES, Fault, Guid, Header, SECTOR, Unreadable, partition, types, u64_at};

/// Partitions start and end on this many sectors (1 MiB).
const ALIGNMENT: u64 = 2048;
/// Sectors of a table's copy: 32 of entries and the header.
const COPY: u64 = 33;

/// Why something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The disk is larger than its table says. Sectors of the data partition before and after.
    Grown {
        /// sectors that it had
        from: u64,
        /// sectors that it has now
        to: u64,
    },
    /// The primary table is damaged; the backup is sound.
    Primary(Fault),
    /// The backup table is damaged; the primary is sound.
    Backup(Fault),
}

/// Sectors to write; then a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The first sector.
    pub first: u64,
    /// Whole sectors.
    pub bytes: Vec<u8>,
}

/// What to write, in this order, with a flush after each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Why.
    pub reason: Reason,
    /// One or two.
    pub writes: Vec<Write>,
}

/// A table as it lies on the disk.
struct Copy {
    header: [u8; SECTOR],
    entries: Vec<u8>,
    entry_size: usize,
    alternate: u64,
}

impl Copy {
    fn read<D: Disk>(disk: &mut D, at: u64) -> Result<Self, Fault> {
        let mut buffer = alloc::boxed::Box::new([0; ENTRIES]);
        let checked = Header::read(disk, at, &mut buffer)?;
        let mut header = [0; SECTOR];
        disk.read(at, &mut header).map_err(|Unreadable| Fault::Unreadable(at))?;
        let entries = buffer[..checked.array_length()].to_vec();
        Ok(Self { alternate: u64_at(&header, 32), header, entries, entry_size: checked.entry_size })
    }

    /// The 33 sectors of the copy at the disk's end, header last.
    fn backup(&self, last: u64) -> Write {
        let mut bytes = self.padded_entries();
        bytes.extend(self.header_at(last, 1, last - (COPY - 1)));
        Write { first: last - (COPY - 1), bytes }
    }

    /// The 33 sectors behind the MBR, and the MBR before them.
    fn primary(&self, mut mbr: [u8; SECTOR], last: u64) -> Write {
        protect(&mut mbr, last);
        let mut bytes = mbr.to_vec();
        bytes.extend(self.header_at(1, last, 2));
        bytes.extend(self.padded_entries());
        Write { first: 0, bytes }
    }

    fn padded_entries(&self) -> Vec<u8> {
        let mut bytes = self.entries.clone();
        bytes.resize(ENTRIES, 0);
        bytes
    }

    fn header_at(&self, at: u64, alternate: u64, entries_at: u64) -> [u8; SECTOR] {
        let mut header = self.header;
        header[24..32].copy_from_slice(&at.to_le_bytes());
        header[32..40].copy_from_slice(&alternate.to_le_bytes());
        header[72..80].copy_from_slice(&entries_at.to_le_bytes());
        header[88..92].copy_from_slice(&CRC.checksum(&self.entries).to_le_bytes());
        let size = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
        header[16..20].fill(0);
        let crc = CRC.checksum(&header[..size]); // `Header::parse` has bounded the size
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Lets the data partition, if it is the last on the disk, end where the last whole MiB before the backup does. Its sectors before
    /// and after; equal when there is nothing to grow.
    fn stretch(&mut self, last: u64, guid: Option<&Guid>) -> (u64, u64) {
        let usable = last - COPY;
        self.header[48..56].copy_from_slice(&usable.to_le_bytes());
        let end = (usable + 1) / ALIGNMENT * ALIGNMENT;
        let used = || (1..).zip(self.entries.chunks_exact(self.entry_size));
        let partitions = || used().filter_map(|(number, entry)| partition(number, entry));
        let highest = partitions().map(|partition| partition.last()).max();
        let data = partitions().find(|found| found.type_guid == types::DATA && Some(found.last()) == highest);
        let Some(found) = data else { return (0, 0) };
        let sectors = found.sectors.max(end.saturating_sub(found.first));
        let entry = &mut self.entries[(found.number as usize - 1) * self.entry_size..];
        entry[40..48].copy_from_slice(&(found.first + sectors - 1).to_le_bytes());
        if let Some(guid) = guid {
            entry[16..32].copy_from_slice(guid);
        }
        (found.sectors, sectors)
    }
}

/// The protective MBR covers the disk as far as its field can say (UEFI 2.10, 5.2.3). One of another kind stays as it is.
fn protect(mbr: &mut [u8; SECTOR], last: u64) {
    const ENTRY: usize = 446;
    if mbr[510..] == [0x55, 0xaa] && mbr[ENTRY + 4] == 0xee {
        let sectors = u32::try_from(last).unwrap_or(u32::MAX);
        mbr[ENTRY + 12..ENTRY + 16].copy_from_slice(&sectors.to_le_bytes());
    }
}

/// What must be written so that the table fits `disk`; `None` when it does. With `guids` a disk that has grown gets these for
/// itself and its data partition: copies of one image become distinct machines.
///
/// # Errors
/// The primary's fault, when neither table is sound or the disk is too small for two.
pub fn plan<D: Disk>(disk: &mut D, guids: Option<(Guid, Guid)>) -> Result<Option<Plan>, Fault> {
    let last = disk.sectors().saturating_sub(1);
    let primary = Copy::read(disk, 1);
    let backup = if last > 2 * COPY { Copy::read(disk, last) } else { Err(Fault::Signature) };
    let mut mbr = [0; SECTOR];
    disk.read(0, &mut mbr).map_err(|Unreadable| Fault::Unreadable(0))?;
    match (primary, backup) {
        (Ok(primary), backup) if primary.alternate == last => match backup {
            Ok(_) => Ok(None),
            Err(fault) => Ok(Some(Plan { reason: Reason::Backup(fault), writes: vec![primary.backup(last)] })),
        },
        (Ok(mut table), _) => {
            if let Some((disk_guid, _)) = &guids {
                table.header[56..72].copy_from_slice(disk_guid);
            }
            let (from, to) = table.stretch(last, guids.as_ref().map(|(_, data)| data));
            let writes = vec![table.backup(last), table.primary(mbr, last)];
            Ok(Some(Plan { reason: Reason::Grown { from, to }, writes }))
        }
        (Err(fault), Ok(backup)) => {
            Ok(Some(Plan { reason: Reason::Primary(fault), writes: vec![backup.primary(mbr, last)] }))
        }
        (Err(fault), Err(_)) => Err(fault),
    }
}
