//! The boot disk's partition table is made to fit its disk, before anything uses a partition (docs/formats/disk.md, "A larger disk").
//!
//! What is written, and in which order, is [`gpt::grow`]'s; a cut between any two writes leaves a table that firmware and [`gpt::read`] accept.

use alloc::sync::Arc;

use gpt::grow::{Plan, Reason};
use gpt::{Guid, Written};
use linux::Errno;

use super::disk::Disk;
use crate::{event, random};

/// Rewrites the table if the disk has become larger, or a copy is damaged; true when it was.
pub fn fit(disk: &Arc<Disk>) -> bool {
    if disk.facts.is_read_only {
        return false;
    }
    let guids = random::is_seeded().then(|| (random_guid(), random_guid()));
    // A table that cannot be read has been told of, when the partitions were looked for.
    let Ok(Some(plan)) = gpt::grow::plan(&mut &**disk, guids) else { return false };
    if let Err(error) = execute(disk, &plan) {
        event!("gpt.error", what = disk.name, why = error);
        return false;
    }
    match plan.reason {
        Reason::Grown { from, to } => {
            let named = guids.map_or([0; 16], |(disk, _)| disk);
            event!("gpt.grown", name = disk.name, from = from, to = to, guid = Written(&named));
        }
        Reason::Primary(fault) => event!("gpt.repaired", name = disk.name, copy = "primary", why = fault),
        Reason::Backup(fault) => event!("gpt.repaired", name = disk.name, copy = "backup", why = fault),
    }
    true
}

fn execute(disk: &Disk, plan: &Plan) -> Result<(), Errno> {
    for write in &plan.writes {
        disk.write_sectors(write.first, &write.bytes)?;
        disk.flush()?;
    }
    Ok(())
}

/// Version 4 (RFC 9562, section 5.4), as it is stored: the first three fields little-endian.
fn random_guid() -> Guid {
    let mut guid = [0; 16];
    random::fill(&mut guid);
    guid[7] = guid[7] & 0x0f | 0x40;
    guid[8] = guid[8] & 0x3f | 0x80;
    guid
}
