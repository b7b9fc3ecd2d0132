//! What a volume holds, as JSON documents.

use datafs::check::Report;
use datafs::layout::superblock::Superblock;
use datafs::{BLOCK, InodeNumber};
use serde_json::{Value, json};

use crate::device::Device;
use crate::mounted::{self, Mounted, Result};
use crate::sweep::run::Counts;
use crate::tree;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entries of a directory, or the file itself.
///
/// # Errors
/// What the volume says.
pub fn list<D: Device>(volume: &mut Mounted<D>, path: &[u8], recursive: bool) -> Result<Value> {
    let inode = tree::resolve(volume, path)?;
    let mut rows = Vec::new();
    let name = path.strip_suffix(b"/").unwrap_or(path);
    let name = if name.is_empty() { b"/" } else { name };
    let own = row(volume, name, inode)?;
    if own["kind"] != "directory" {
        return Ok(json!({ "entries": [own] }));
    }
    let mut waiting = vec![(Vec::new(), inode)];
    while let Some((prefix, directory)) = waiting.pop() {
        let mut below = Vec::new();
        for (entry, number) in tree::entries(volume, directory)? {
            let shown = if prefix.is_empty() { entry } else { [prefix.as_slice(), &entry].join(&b'/') };
            let row = row(volume, &shown, number)?;
            if recursive && row["kind"] == "directory" {
                below.push((shown, number));
            }
            rows.push(row);
        }
        waiting.extend(below.into_iter().rev());
    }
    Ok(json!({ "entries": rows }))
}

fn row<D: Device>(volume: &mut Mounted<D>, name: &[u8], inode: InodeNumber) -> Result<Value> {
    let attributes = volume.run(|v| v.attributes(inode))?;
    let kind = match attributes.mode >> 12 {
        0o04 => "directory",
        0o10 => "file",
        0o12 => "link",
        0o02 | 0o06 => "device",
        0o01 => "fifo",
        _ => "socket",
    };
    let target = if kind == "link" { Some(text(&volume.run(|v| v.target(inode))?)) } else { None };
    Ok(json!({
        "name": text(name), "inode": inode, "kind": kind, "mode": attributes.mode, "links": attributes.links,
        "user": attributes.user, "group": attributes.group, "size": attributes.size, "blocks": attributes.blocks,
        "modified": attributes.modified.div_euclid(1_000_000_000), "quota": attributes.quota, "target": target,
    }))
}

/// Both superblocks as they stand, and the volume as it is with the log applied.
///
/// # Errors
/// Why it cannot be opened.
pub fn facts<D: Device>(device: &D) -> Result<Value> {
    let mut copies = Vec::new();
    for copy in 0..2.min(device.blocks()) {
        let mut bytes = [0; BLOCK];
        device.read(copy, &mut bytes)?;
        copies.push(match Superblock::parse(&bytes, copy) {
            Ok(found) => {
                json!({ "sequence": found.sequence, "tail": found.tail, "tail_sequence": found.tail_sequence })
            }
            Err(damage) => json!({ "problem": damage.to_string() }),
        });
    }
    let options = datafs::Options { read_only: true, ..mounted::options(device.blocks()) };
    let volume = mounted::read_log(device, options)?;
    let statistics = volume.statistics();
    let superblock = volume.superblock();
    Ok(json!({
        "superblocks": copies,
        "uuid": hexadecimal(&superblock.uuid), "label": text(volume.label()),
        "features": { "compat": superblock.compat, "ro_compat": superblock.ro_compat, "incompat": superblock.incompat },
        "created": superblock.created.div_euclid(1_000_000_000), "block_size": BLOCK, "blocks": volume.blocks(),
        "device_blocks": device.blocks(), "log_blocks": superblock.geometry.log_blocks,
        "inodes_per_group": superblock.geometry.inodes_per_group, "log_to_replay": volume.wants_checkpoint(),
        "orphans": volume.first_orphan().is_some(),
        "space": { "blocks": statistics.blocks, "free": statistics.free, "inodes": statistics.inodes,
                   "inodes_free": statistics.inodes_free },
    }))
}

/// What a check found.
#[must_use]
pub fn report(report: &Report) -> Value {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            json!({ "fault": finding.fault.name(), "words": finding.fault.words(), "block": finding.block,
                    "inode": finding.inode, "detail": finding.detail })
        })
        .collect();
    json!({
        "findings": findings, "more": report.more, "records": report.records, "blocks": report.blocks,
        "used_blocks": report.used_blocks, "inodes": report.inodes, "directories": report.directories,
        "orphans": report.orphans,
    })
}

/// How a recording of so many events was cut; nothing was found to be wrong.
#[must_use]
pub fn counts(events: usize, marks: usize, counts: &Counts) -> Value {
    json!({
        "events": events,
        "marks": marks,
        "cuts": counts.cuts,
        "states": counts.states,
        "recoveries": counts.recoveries,
        "second_cuts": counts.second_cuts,
    })
}
