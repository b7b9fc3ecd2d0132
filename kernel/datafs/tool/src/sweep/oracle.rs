//! Whether what is on a device is what it should be.
//!
//! The log is a sequence of atomic records, so what is found must be what exactly the records up to one of them lead to, and that one not before the last that
//! was promised. Of a block of a file that was overwritten in its place, each sector must hold something that was written there: nothing older than what was promised, or
//! than what the file's size depends on.

use std::collections::BTreeMap;

use datafs::layout::inode::{DIRECTORY, LINK, REGULAR};
use datafs::{BLOCK, Error, FILE_MAX, InodeNumber, Mapping, Options};

use super::model::{Cell, Contents, Model, Node};
use super::pair::{Claim, History};
use super::record::SECTOR;
use crate::check::check_device;
use crate::device::Device;
use crate::mounted::{Failure, Mounted, read_log};

/// What is wrong, in words.
pub type Verdict<T> = Result<T, String>;

/// Options for looking only.
#[must_use]
pub fn look(device_blocks: u64) -> Options {
    Options { device_blocks, read_only: true, cache_blocks_max: 4096, dirty_blocks_max: 1024 }
}

/// Looks at a device as a cut left it. Gives the last record that is there.
///
/// # Errors
/// What is wrong.
pub fn verify<D: Device>(device: D, history: &History, claim: Claim) -> Verdict<u64> {
    let volume =
        read_log(&device, look(device.blocks())).map_err(|failure| format!("it cannot be opened: {failure}"))?;
    let record = volume.durable();
    if record < claim.record {
        return Err(format!("record {} was promised, the last is {record}", claim.record));
    }
    let model = history.states.get(&record).ok_or_else(|| format!("record {record} was never made"))?;
    undamaged(&device)?;
    compare(&mut Mounted { device, volume }, model, &history.contents, claim.time)?;
    Ok(record)
}

/// The check of the whole volume finds nothing.
///
/// # Errors
/// The first finding.
pub fn undamaged<D: Device>(device: &D) -> Verdict<()> {
    let report = check_device(device);
    report.findings.first().map_or(Ok(()), |finding| Err(format!("{finding} ({} findings)", report.findings.len())))
}

/// Compares all of a volume with a model. What was written before `time` to blocks of files was promised.
///
/// # Errors
/// The first difference.
pub fn compare<D: Device>(mounted: &mut Mounted<D>, model: &Model, contents: &Contents, time: usize) -> Verdict<()> {
    same("blocks of the volume", mounted.volume.blocks(), model.blocks)?;
    let statistics = mounted.volume.statistics();
    // besides those of the model: number 0, and the table of quotas
    same("inodes in use", statistics.inodes - statistics.inodes_free, model.nodes.len() as u64 + 2)?;
    for (&inode, node) in &model.nodes {
        compare_inode(mounted, inode, node, contents, time).map_err(|what| format!("inode {inode}: {what}"))?;
    }
    for (&id, &limits) in &model.limits {
        let quota = said(mounted.run(|volume| volume.quota(id)))?;
        same("limits of a quota", (quota.blocks_max, quota.inodes_max), limits)?;
        same("inodes of a quota", quota.inodes, model.inodes_of(id))?;
    }
    Ok(())
}

pub(super) fn said<T>(result: Result<T, Failure>) -> Verdict<T> {
    result.map_err(|failure| failure.to_string())
}

fn same<T: PartialEq + core::fmt::Debug>(what: &str, found: T, expected: T) -> Verdict<()> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, expected {expected:?}")) }
}

fn compare_inode<D: Device>(
    mounted: &mut Mounted<D>,
    inode: InodeNumber,
    node: &Node,
    contents: &Contents,
    time: usize,
) -> Verdict<()> {
    let attributes = said(mounted.run(|volume| volume.attributes(inode)))?;
    let size = if node.kind() == DIRECTORY { 0 } else { attributes.size };
    same("attributes", datafs::Attributes { blocks: 0, size, ..attributes }, node.attributes)?;
    compare_xattrs(mounted, inode, node)?;
    if node.is_cutting && node.attributes.links == 0 {
        return Ok(());
    }
    match node.kind() {
        DIRECTORY => same("names", names(mounted, inode)?, node.names.clone()),
        LINK => same("target", said(mounted.run(|volume| volume.target(inode)))?.to_vec(), node.target.clone()),
        REGULAR => compare_file(mounted, inode, node, contents, time),
        _ => Ok(()),
    }
}

fn compare_xattrs<D: Device>(mounted: &mut Mounted<D>, inode: InodeNumber, node: &Node) -> Verdict<()> {
    let names = said(mounted.run(|volume| volume.xattr_names(inode)))?;
    let mut found = BTreeMap::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        match mounted.run(|volume| volume.xattr(inode, name)) {
            Ok(value) => found.insert(name.to_vec(), value),
            Err(Failure::Volume(Error::NoAttribute)) => return Err(String::from("a name without an attribute")),
            Err(failure) => return Err(failure.to_string()),
        };
    }
    same("extended attributes", found, node.xattrs.clone())
}

/// The entries of a directory.
pub(super) fn names<D: Device>(
    mounted: &mut Mounted<D>,
    inode: InodeNumber,
) -> Verdict<BTreeMap<Vec<u8>, InodeNumber>> {
    let mut found = BTreeMap::new();
    let mut position = Some(0);
    while let Some(at) = position {
        let mut twice = None;
        position = said(mounted.run(|volume| {
            volume.entries(inode, at, &mut |entry| {
                if found.insert(entry.name.to_vec(), entry.inode).is_some() {
                    twice = Some(entry.name.to_vec());
                }
                true
            })
        }))?;
        if let Some(name) = twice {
            return Err(format!("{name:?} twice"));
        }
    }
    for (name, &expected) in &found {
        let looked_up = said(mounted.run(|volume| volume.lookup(inode, name)))?;
        same("a name that is listed", looked_up.map(|found| found.inode), Some(expected))?;
    }
    Ok(found)
}

fn compare_file<D: Device>(
    mounted: &mut Mounted<D>,
    inode: InodeNumber,
    node: &Node,
    contents: &Contents,
    time: usize,
) -> Verdict<()> {
    let last = (FILE_MAX / BLOCK as u64) as u32;
    let end = if node.is_cutting { node.attributes.size.div_ceil(BLOCK as u64) as u32 } else { last };
    let mut cells = node.cells.range(..end);
    let mut at = 0;
    while at < end {
        let extent = said(mounted.run(|volume| volume.extent(inode, at, end - at)))?;
        at += extent.count;
        if extent.mapping == Mapping::Hole {
            continue;
        }
        for step in 0..extent.count {
            let logical = extent.logical + step;
            let cell = cells.next();
            match (extent.mapping, cell) {
                (Mapping::Unwritten(_), Some((&expected, Cell::Unwritten))) if expected == logical => {}
                (Mapping::Data(block), Some((&expected, &Cell::Data { id, floor }))) if expected == logical => {
                    let length = node.attributes.size.saturating_sub(u64::from(logical) * BLOCK as u64);
                    let bytes = said(read(&mounted.device, block + u64::from(step)))?;
                    let bytes = &bytes[..length.min(BLOCK as u64) as usize];
                    compare_block(bytes, contents, id, floor, time)
                        .map_err(|what| format!("block {logical}: {what}"))?;
                }
                _ => return Err(format!("block {logical} is {:?}, expected {cell:?}", extent.mapping)),
            }
        }
    }
    same("blocks that are missing", cells.next(), None)
}

fn read<D: Device>(device: &D, block: u64) -> Result<datafs::Bytes, Failure> {
    let mut bytes = [0; BLOCK];
    device.read(block, &mut bytes)?;
    Ok(bytes)
}

fn compare_block(bytes: &[u8], contents: &Contents, id: usize, floor: usize, time: usize) -> Verdict<()> {
    let versions = contents.versions(id);
    let promised = versions.iter().rposition(|version| version.written <= time).unwrap_or(0);
    let allowed = &versions[floor.max(promised)..];
    for (sector, found) in bytes.chunks(SECTOR).enumerate() {
        let range = sector * SECTOR..sector * SECTOR + found.len();
        if !allowed.iter().any(|version| version.bytes[range.clone()] == *found) {
            let which = versions.iter().rposition(|version| version.bytes[range.clone()] == *found);
            let (from, to) = (floor.max(promised), versions.len() - 1);
            return Err(format!("sector {sector} holds version {which:?}, expected {from} to {to}"));
        }
    }
    Ok(())
}
