//! A part of a disk that is used as a device of its own: a partition, or the whole disk; and the tables that say which there are.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use bootctl::Slot;
use gpt::{Guid, Table, Unreadable};
use linux::Errno;
use vfs::device::{BLOCK_SIZE, Run, check_range};

use super::disk::{Disk, Operation, SECTOR};
use crate::event;
use crate::fs::Kernel;
use crate::mm::PageRef;

const SECTORS_PER_BLOCK: u64 = BLOCK_SIZE as u64 / SECTOR;
/// Nodes of one disk and its partitions, as Linux has it: 16 minor numbers.
const MINORS: u32 = 16;
/// `sd` (Linux, devices.txt), and the number that Linux gives virtio disks first of those that it gives when asked.
const SCSI_MAJOR: u32 = 8;
const VIRTIO_MAJOR: u32 = 254;

/// What a partition is for (docs/formats/disk.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the firmware reads.
    Esp,
    /// Slot A.
    BaseA,
    /// Slot B.
    BaseB,
    /// The boot-control block.
    Bootctl,
    /// Package store.
    Pkgs,
    /// Persistent data.
    Data,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Esp, Self::BaseA, Self::BaseB, Self::Bootctl, Self::Pkgs, Self::Data];

    /// Of a slot.
    #[must_use]
    pub const fn of(slot: Slot) -> Self {
        match slot {
            Slot::A => Self::BaseA,
            Slot::B => Self::BaseB,
        }
    }

    /// Its name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.identity().1
    }

    /// Type and name: the slots share a type.
    const fn identity(self) -> (&'static Guid, &'static str) {
        match self {
            Self::Esp => (&gpt::types::ESP, "esp"),
            Self::BaseA => (&gpt::types::BASE, "base_a"),
            Self::BaseB => (&gpt::types::BASE, "base_b"),
            Self::Bootctl => (&gpt::types::BOOTCTL, "bootctl"),
            Self::Pkgs => (&gpt::types::PKGS, "pkgs"),
            Self::Data => (&gpt::types::DATA, "data"),
        }
    }
}

/// A partition, or a whole disk.
#[derive(Debug)]
pub struct Part {
    /// The disk that it is a part of.
    pub disk: Arc<Disk>,
    /// `vda`, `vda1`.
    pub name: String,
    /// Its place in the table, from 1; 0 is the whole disk.
    pub number: u32,
    /// First sector.
    pub first: u64,
    kind: Option<Kind>,
    /// How many sectors it has.
    pub sectors: u64,
    is_claimed: AtomicBool,
}

impl Part {
    fn whole(disk: &Arc<Disk>) -> Self {
        Self {
            disk: disk.clone(),
            name: disk.name.clone(),
            number: 0,
            first: 0,
            kind: None,
            sectors: disk.facts.sectors,
            is_claimed: AtomicBool::new(false),
        }
    }

    fn of(disk: &Arc<Disk>, partition: &gpt::Partition) -> Self {
        let kind = Kind::ALL.into_iter().find(|kind| {
            let (type_guid, name) = kind.identity();
            partition.type_guid == *type_guid && partition.is_named(name)
        });
        Self {
            disk: disk.clone(),
            name: format!("{}{}", disk.name, partition.number),
            number: partition.number,
            first: partition.first,
            kind,
            sectors: partition.sectors,
            is_claimed: AtomicBool::new(false),
        }
    }

    /// What it is for, when it is one of ours.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The number of its node, as Linux numbers disks of this name.
    #[must_use]
    pub fn device_number(&self) -> u64 {
        let major = if self.disk.name.starts_with("sd") { SCSI_MAJOR } else { VIRTIO_MAJOR };
        linux::types::device(major, self.disk.index * MINORS + self.number)
    }

    /// A file system lies on it, or the base: nobody else writes it from now on.
    pub fn claim(&self) {
        self.is_claimed.store(true, Ordering::Relaxed);
    }

    /// See [`Part::claim`].
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.is_claimed.load(Ordering::Relaxed)
    }

    fn transfer(&self, operation: Operation, runs: &[Run<'_, Kernel>]) -> Result<(), Errno> {
        let total = self.sectors;
        for (block, pages) in runs {
            check_range(total.div_ceil(SECTORS_PER_BLOCK), *block, pages.len() as u64)?;
        }
        let chunks = runs.iter().flat_map(|(block, pages)| {
            let first = block * SECTORS_PER_BLOCK;
            let sectors = (pages.len() as u64 * SECTORS_PER_BLOCK).min(total - first);
            self.disk.chunks(self.first + first, sectors, pages)
        });
        self.disk.run(operation, chunks)
    }
}

impl vfs::Device<Kernel> for Part {
    fn blocks(&self) -> u64 {
        self.sectors / SECTORS_PER_BLOCK
    }

    fn tail(&self) -> usize {
        ((self.sectors % SECTORS_PER_BLOCK) * SECTOR) as usize
    }

    fn is_read_only(&self) -> bool {
        self.disk.facts.is_read_only
    }

    fn is_gone(&self) -> bool {
        self.disk.is_gone()
    }

    fn read(&self, block: u64, pages: &[PageRef]) -> Result<(), Errno> {
        self.read_runs(&[(block, pages)])
    }

    fn write(&self, block: u64, pages: &[PageRef]) -> Result<(), Errno> {
        self.write_runs(&[(block, pages)])
    }

    fn read_runs(&self, runs: &[Run<'_, Kernel>]) -> Result<(), Errno> {
        self.transfer(Operation::Read, runs)
    }

    fn write_runs(&self, runs: &[Run<'_, Kernel>]) -> Result<(), Errno> {
        self.transfer(Operation::Write { through: false }, runs)
    }

    fn write_through(&self, block: u64, pages: &[PageRef]) -> Result<(), Errno> {
        if self.disk.facts.has_fua {
            return self.transfer(Operation::Write { through: true }, &[(block, pages)]);
        }
        self.write(block, pages)?;
        self.flush()
    }

    fn flush(&self) -> Result<(), Errno> {
        self.disk.flush()
    }

    fn discard(&self, block: u64, count: u64) -> Result<(), Errno> {
        check_range(vfs::Device::<Kernel>::blocks(self), block, count)?;
        self.disk.discard(self.first + block * SECTORS_PER_BLOCK, count * SECTORS_PER_BLOCK)
    }
}

impl gpt::Disk for &Disk {
    fn sectors(&self) -> u64 {
        self.facts.sectors
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        self.read_sectors(first, into).map_err(|_| Unreadable)
    }
}

/// A disk, the GUID of its table where it has one, and its parts: the whole disk first.
pub struct Layout {
    /// Of the table.
    pub guid: Option<Guid>,
    /// The whole disk, then the partitions.
    pub parts: Vec<Arc<Part>>,
}

/// Reads the table of a disk; what is wrong with it is an event.
#[must_use]
pub fn read(disk: &Arc<Disk>) -> Layout {
    let mut layout = Layout { guid: None, parts: Vec::from([Arc::new(Part::whole(disk))]) };
    if u64::from(disk.facts.block_size) != SECTOR {
        // The table's own unit is the block then; ours are made of sectors (docs/formats/disk.md), so none is on such a disk.
        return layout;
    }
    // Made on the heap: as an array it would first stand on the stack, which is no larger.
    let buffer: Result<Box<[u8; gpt::ENTRIES]>, _> = vec![0; gpt::ENTRIES].into_boxed_slice().try_into();
    let Ok(mut buffer) = buffer else { return layout };
    let table: Table<'_> = match gpt::read(&mut &**disk, &mut buffer) {
        Ok(table) => table,
        Err(gpt::Error::TooSmall) => return layout,
        // No table at all, as on a new disk, is nothing wrong.
        Err(gpt::Error::Damaged { primary: gpt::Fault::Signature, backup: gpt::Fault::Signature }) => return layout,
        Err(error) => {
            event!("gpt.error", what = disk.name, why = error);
            return layout;
        }
    };
    if let Some(fault) = table.primary_fault {
        event!("gpt.recovered", name = disk.name, why = fault);
    }
    layout.guid = Some(table.disk_guid);
    let numbered = table.partitions().filter(|partition| partition.number < MINORS);
    layout.parts.extend(numbered.map(|partition| Arc::new(Part::of(disk, &partition))));
    layout
}
