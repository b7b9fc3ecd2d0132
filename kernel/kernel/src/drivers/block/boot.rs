//! The disk that the system was booted from, and no other: the rule is [`bootctl::disk`]'s, this says what is wanted and what there is.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use bootctl::disk::{Candidate, Choice, Stamp, Wanted};
use bootctl::{OFFSETS, SIZE};
use bootinfo::slot;
use gpt::Written;
use linux::Errno;

use super::disk::{Disk, SECTOR};
use super::part::{Kind, Layout, Part};
use crate::{boot, event};

/// Looks for the disk among those that were found. An event says which it is, or why it is none.
pub fn find(layouts: &[Layout]) -> Option<Arc<Disk>> {
    let wanted = wanted()?;
    let with_table = || layouts.iter().filter_map(|layout| Some((layout, layout.guid?)));
    let candidates: Vec<Candidate> = with_table()
        .map(|(layout, guid)| Candidate {
            guid,
            stamp: stamp(layout),
            has_ours: layout.parts.iter().any(|part| part.kind().is_some()),
        })
        .collect();
    match wanted.choose(&candidates) {
        Choice::One(index) => {
            let (layout, guid) = with_table().nth(index)?;
            let disk = layout.parts.first()?.disk.clone();
            event!("disk.boot", name = disk.name, guid = Written(&guid), by = reason(&wanted));
            Some(disk)
        }
        Choice::None => {
            event!("disk.missing", wanted = reason(&wanted), disks = layouts.len());
            None
        }
        Choice::Several(count) => {
            event!("disk.ambiguous", wanted = reason(&wanted), disks = count);
            None
        }
    }
}

fn reason(wanted: &Wanted) -> &'static str {
    match wanted {
        Wanted::Loader { .. } => "loader",
        Wanted::Guid(_) => "command-line",
        Wanted::Only => "partitions",
    }
}

/// Who names the disk: the loader, which knows where it came from; after a direct boot `swift.disk=GUID` on the command line, or nobody.
fn wanted() -> Option<Wanted> {
    let info = boot::info();
    if info.slot != slot::INITRD {
        let stamp = (info.bootctl_copy != bootinfo::NO_COPY).then_some((info.bootctl_sequence, info.bootctl_digest));
        return Some(Wanted::Loader { guid: info.disk_guid, stamp });
    }
    let Some(text) = boot::option("swift.disk") else { return Some(Wanted::Only) };
    let guid = gpt::parse_guid(text);
    if guid.is_none() {
        // Whoever named a disk does not want any other.
        event!("disk.missing", wanted = "command-line", why = "swift.disk is no GUID");
    }
    guid.map(Wanted::Guid)
}

/// The boot-control block that is current on a disk.
fn stamp(layout: &Layout) -> Option<Stamp> {
    let part = layout.parts.iter().find(|part| part.kind() == Some(Kind::Bootctl))?;
    // One that cannot be read is not valid.
    let copies = OFFSETS.map(|offset| read_at(part, offset, SIZE).unwrap_or_default());
    bootctl::disk::stamp([&copies[0], &copies[1]])
}

fn read_at(part: &Part, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let (first, count) = (offset / SECTOR, length as u64 / SECTOR);
    if first + count > part.sectors {
        return Err(Errno::EIO);
    }
    let mut bytes = vec![0; length];
    part.disk.read_sectors(part.first + first, &mut bytes)?;
    Ok(bytes)
}
