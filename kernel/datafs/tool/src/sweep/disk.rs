//! A disk with partitions: where a cut leaves its volume, by the kernel's own reading of the partition table.

use std::array::from_fn;

use datafs::BLOCK;
use gpt::{ENTRIES, Unreadable, types};

use super::oracle::Verdict;
use super::record::{SECTOR, SECTORS};
use super::states::State;
use crate::device::Device;

/// GUIDs for a disk that has grown.
const GUIDS: (gpt::Guid, gpt::Guid) = ([1; 16], [2; 16]);

struct Sectors<'a, D>(&'a D);

impl<D: Device> gpt::Disk for Sectors<'_, D> {
    fn sectors(&self) -> u64 {
        self.0.blocks() * SECTORS as u64
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        for (sector, into) in (first..).zip(into.chunks_mut(SECTOR)) {
            let mut bytes = [0; BLOCK];
            self.0.read(sector / SECTORS as u64, &mut bytes).map_err(|_| Unreadable)?;
            let at = (sector % SECTORS as u64) as usize * SECTOR;
            into.copy_from_slice(&bytes[at..at + into.len()]);
        }
        Ok(())
    }
}

/// The data partition of a disk, as a device.
///
/// # Errors
/// No table can be read, or has it not.
pub fn data<'a>(disk: &State<'a>) -> Verdict<State<'a>> {
    let mut buffer = [0; ENTRIES];
    let table = gpt::read(&mut Sectors(disk), &mut buffer).map_err(|error| format!("no partition table: {error}"))?;
    let found = table.find(&types::DATA, "data").ok_or("no partition data")?;
    let part = found.first.is_multiple_of(SECTORS as u64).then(|| found.first / SECTORS as u64);
    part.and_then(|first| disk.part(first, found.sectors / SECTORS as u64))
        .ok_or_else(|| String::from("the partition data is not whole blocks of the disk"))
}

/// Does what a boot does to a table that does not fit its disk, if it does not. Both copies are sound then.
///
/// # Errors
/// There is nothing that it could be mended from, or it is not mended.
pub fn mended<'a>(disk: &State<'a>) -> Verdict<Option<State<'a>>> {
    let fault = |fault: gpt::Fault| format!("its partition table cannot be mended: {fault}");
    let Some(plan) = gpt::grow::plan(&mut Sectors(disk), Some(GUIDS)).map_err(fault)? else { return Ok(None) };
    let mut mended = disk.clone();
    for write in &plan.writes {
        put(&mut mended, write.first, &write.bytes)?;
    }
    match gpt::grow::plan(&mut Sectors(&mended), Some(GUIDS)).map_err(fault)? {
        Some(plan) => Err(format!("its partition table is not mended: {:?}", plan.reason)),
        None => Ok(Some(mended)),
    }
}

fn put(disk: &mut State<'_>, first: u64, bytes: &[u8]) -> Verdict<()> {
    for (sector, bytes) in (first..).zip(bytes.chunks(SECTOR)) {
        let (block, at) = (sector / SECTORS as u64, (sector % SECTORS as u64) as usize * SECTOR);
        let mut whole = [0; BLOCK];
        disk.read(block, &mut whole).map_err(|error| error.to_string())?;
        let new = from_fn(|i| if (at..at + SECTOR).contains(&i) { bytes[i - at] } else { whole[i] });
        disk.write(block, &new).map_err(|error| error.to_string())?;
    }
    Ok(())
}
