//! Disks.
//!
//! - `channel`    a virtqueue of requests: in flight, answered, overdue
//! - `blk`        virtio-blk devices
//! - `scsi`       virtio-scsi hosts, and the disks behind them
//! - `disk`       transfers cut into requests, tried again, counted
//! - `part`       partitions, and the whole disk, as [`vfs::Device`]s
//! - `boot`       which disk is the one that was booted from
//! - `grow`       makes its partition table fit the disk
//!
//! Disks are found once, at boot. One that goes away, or whose device fails, stays in the list and answers `EIO` at once.

mod blk;
mod boot;
mod channel;
mod disk;
mod grow;
mod part;
mod scsi;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use disk::{Disk, SECTOR};
pub use part::{Kind, Part};

use crate::event;
use crate::sync::{Once, Rank, SpinLock};

pub use blk::start as start_blk;
pub use scsi::start as start_scsi;

/// A disk as a driver found it, with the number of its interrupt.
struct Found {
    disk: Arc<Disk>,
    interrupt: Option<u32>,
}

static FOUND: SpinLock<Vec<Found>> = SpinLock::new(Rank::DEVICE, Vec::new());

/// What there is, once all drivers have looked.
struct Registry {
    parts: Vec<Arc<Part>>,
    boot_disk: Option<Arc<Disk>>,
}

static REGISTRY: Once<Registry> = Once::new();

/// Name and number of the next disk of a kind: `vda`, `vdb`, … `vdz`, `vdaa`.
fn next_name(prefix: &str) -> (String, u32) {
    let index = FOUND.lock_irq().iter().filter(|found| found.disk.name.starts_with(prefix)).count() as u32;
    let (mut number, mut letters) = (index, Vec::new());
    loop {
        letters.push(char::from(b'a' + (number % 26) as u8));
        if number < 26 {
            break;
        }
        number = number / 26 - 1;
    }
    (prefix.chars().chain(letters.into_iter().rev()).collect(), index)
}

/// A driver has found a disk that works.
fn add(disk: Disk, interrupt: Option<u32>) -> Arc<Disk> {
    let disk = Arc::new(disk);
    FOUND.lock_irq().push(Found { disk: disk.clone(), interrupt });
    disk
}

/// All drivers have looked: reads the partition tables, and finds the disk that was booted from.
pub fn settle() {
    let found = core::mem::take(&mut *FOUND.lock_irq());
    found.iter().for_each(show);
    let mut layouts: Vec<_> = found.iter().map(|found| part::read(&found.disk)).collect();
    let boot_disk = boot::find(&layouts);
    if let Some(disk) = boot_disk.as_ref().filter(|disk| grow::fit(disk)) {
        let same =
            layouts.iter_mut().find(|layout| layout.parts.first().is_some_and(|part| Arc::ptr_eq(&part.disk, disk)));
        same.into_iter().for_each(|layout| *layout = part::read(disk));
    }
    let parts = layouts.into_iter().flat_map(|layout| layout.parts).collect();
    let _ = REGISTRY.set(Registry { parts, boot_disk });
}

fn show(found: &Found) {
    let Found { disk, interrupt } = found;
    let facts = &disk.facts;
    let irq = interrupt.map_or_else(|| String::from("poll"), |number| alloc::format!("{number}"));
    event!(
        "block.ready",
        name = disk.name,
        driver = disk.driver,
        blocks = facts.sectors / (u64::from(facts.block_size) / disk::SECTOR),
        size = facts.block_size,
        read_only = u8::from(facts.is_read_only),
        write_cache = u8::from(facts.has_write_cache),
        fua = u8::from(facts.has_fua),
        discard = u8::from(facts.discard_max.is_some()),
        irq = irq
    );
}

/// Every disk and partition: each disk before its partitions.
#[must_use]
pub fn parts() -> &'static [Arc<Part>] {
    REGISTRY.get().map_or(&[], |registry| &registry.parts)
}

/// The disk that was booted from; `None` where that is not known for sure.
#[must_use]
pub fn boot_disk() -> Option<Arc<Disk>> {
    REGISTRY.get()?.boot_disk.clone()
}

/// A partition of the disk that was booted from. `None` where it has none of this kind, or more than one.
#[must_use]
pub fn boot_part(kind: Kind) -> Option<Arc<Part>> {
    let disk = boot_disk()?;
    let mut of_kind = parts().iter().filter(|part| part.kind() == Some(kind) && Arc::ptr_eq(&part.disk, &disk));
    let part = of_kind.next()?.clone();
    of_kind.next().is_none().then_some(part)
}
