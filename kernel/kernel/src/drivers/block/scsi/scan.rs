//! Which units a host has, and which of them are disks. Every target is asked for its units, several at a time; each unit is then asked what
//! it is. What it does not understand is taken as absent: only that it is a disk, and how large, must be known.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use platform::ArrayVec;
use virtio::outcome::{Outcome, Reason};
use virtio::scsi::answer::{self, BlockLimits, Capacity, Mode, page};
use virtio::scsi::{self, Command as Block, Lun};

use crate::arch::timer as clock;
use crate::drivers::block::channel::{Cell, Channel, Command, Data, Ended};
use crate::drivers::block::disk::{Facts, SECTOR};
use crate::mm::PageRef;
use crate::sched;

/// Targets that are asked at a time.
const WAVE: usize = 32;
/// More units of one host are not used.
const UNITS_MAX: usize = 64;
/// How often a unit is asked: each attention that it has to tell of costs one.
const ATTEMPTS_MAX: u32 = 8;
/// Before an attempt after the second.
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes asked for of a list of units; of other answers [`answer::LENGTH`] are enough.
const LIST_LENGTH: usize = vfs::PAGE_SIZE;

/// The disks behind a host.
pub fn disks(channel: &Arc<Channel>, host: &scsi::Facts) -> Vec<(Lun, Facts)> {
    let mut units = Vec::new();
    let targets: Vec<u8> = (0..=host.target_max).collect();
    for targets in targets.chunks(WAVE) {
        list_units(channel, targets, &mut units);
    }
    units.retain(|lun| lun.unit <= host.lun_max);
    units.truncate(UNITS_MAX);
    let disk = |lun| Some((lun, Unit { channel, lun }.disk(host)?));
    units.into_iter().filter_map(disk).collect()
}

/// Asks each of these targets for its units. Whether a target is there at all is what most answers say.
fn list_units(channel: &Arc<Channel>, targets: &[u8], units: &mut Vec<Lun>) {
    let mut asked = ArrayVec::<_, WAVE>::new();
    let mut later = ArrayVec::<_, WAVE>::new();
    for &target in targets {
        let unit = Unit { channel, lun: Lun { target, unit: 0 } };
        let Some(page) = PageRef::zeroed() else { return };
        match unit.send(&Block::report_luns(LIST_LENGTH as u32), &page, LIST_LENGTH) {
            Some(cell) => asked.push((unit, page, cell)),
            None => later.push(unit),
        }
    }
    channel.notify();
    for (unit, page, cell) in asked {
        match unit.collect(cell, &page) {
            Some(Outcome::Gone(_)) | None => {}
            Some(Outcome::Again(_)) => later.push(unit),
            outcome => unit.add_listed(outcome.filter(is_answer).map(|_| page), units),
        }
    }
    for unit in later {
        unit.add_listed(unit.ask(&Block::report_luns(LIST_LENGTH as u32), LIST_LENGTH), units);
    }
}

/// A unit that can be asked.
struct Unit<'a> {
    channel: &'a Arc<Channel>,
    lun: Lun,
}

/// An answer is shorter than what was asked for as a rule, and that is no error here.
fn is_answer(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done | Outcome::Failed(Reason::Short))
}

impl Unit<'_> {
    /// Sends a command whose answer goes into `page`. `None`: there is no room for it now, or the device has failed.
    fn send(&self, command: &Block, page: &PageRef, length: usize) -> Option<Cell> {
        let header = scsi::request(self.lun, 0, command).into_iter().collect();
        let command = Command { header, parameters: ArrayVec::new() };
        let pages = core::slice::from_ref(page);
        let data = Data { pages: if length > 0 { pages } else { &[] }, length, device_writes: true };
        self.channel.try_submit(&command, data)?.ok()
    }

    /// Waits for the end. `None`: the device has failed.
    fn collect(&self, cell: Cell, page: &PageRef) -> Option<Outcome> {
        match self.channel.wait(cell) {
            Ended::Answered(outcome) => Some(outcome),
            Ended::Reset => None,
            Ended::Lost => {
                // The device may write it at any time: nobody else may ever get it.
                core::mem::forget(page.clone());
                None
            }
        }
    }

    /// What the unit says to a command; `None` where it says nothing of use.
    fn ask(&self, command: &Block, length: usize) -> Option<PageRef> {
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 1 {
                let _ = sched::sleep_until(clock::now() + PAUSE, false);
            }
            let page = PageRef::zeroed()?;
            let cell = self.send(command, &page, length)?;
            self.channel.notify();
            match self.collect(cell, &page)? {
                Outcome::Again(_) => {}
                outcome => return is_answer(&outcome).then_some(page),
            }
        }
        None
    }

    fn ask_bytes(&self, command: &Block) -> Option<[u8; answer::LENGTH]> {
        let mut bytes = [0; answer::LENGTH];
        self.ask(command, answer::LENGTH)?.read(0, &mut bytes);
        Some(bytes)
    }

    /// Adds what the unit lists; a target that lists nothing may have its unit 0 all the same.
    fn add_listed(&self, list: Option<PageRef>, units: &mut Vec<Lun>) {
        match list {
            Some(page) => units.extend(answer::luns(self.lun.target, page.bytes()).take(UNITS_MAX)),
            None => units.push(self.lun),
        }
    }

    /// What the unit says of itself; `None`: it is no disk, or does not say how large it is.
    fn disk(&self, host: &scsi::Facts) -> Option<Facts> {
        const ALL: u16 = answer::LENGTH as u16;
        if !answer::is_disk(&self.ask_bytes(&Block::inquiry(ALL))?) {
            return None;
        }
        // Whatever has happened to it before is told now.
        self.ask(&Block::TEST_UNIT_READY, 0);
        let capacity = Capacity::parse(&self.ask_bytes(&Block::read_capacity(ALL.into()))?)?;
        let mode = self.ask_bytes(&Block::mode_sense(page::CACHING, ALL as u8));
        let mode = Mode::parse(mode.as_ref().map_or(&[], <[u8; _]>::as_slice));
        let product_data = |page| self.ask_bytes(&Block::product_data(page, ALL));
        let limits =
            product_data(page::BLOCK_LIMITS).map_or_else(BlockLimits::default, |data| BlockLimits::parse(&data));
        let takes_unmap =
            capacity.is_provisioned && product_data(page::PROVISIONING).is_some_and(|data| answer::takes_unmap(&data));
        let per_block = u64::from(capacity.block_size) / SECTOR;
        let in_sectors = |blocks: u32| u64::from(if blocks == 0 { u32::MAX } else { blocks }) * per_block;
        let transfer_max = in_sectors(limits.transfer_max).min(host.sectors_max.into());
        Some(Facts {
            sectors: capacity.blocks * per_block,
            block_size: capacity.block_size,
            transfer_max,
            is_read_only: mode.is_write_protected,
            // One that does not say may have one, if it knows the command that empties it.
            has_write_cache: mode.has_write_cache.unwrap_or_else(|| self.ask(&Block::SYNCHRONIZE_CACHE, 0).is_some()),
            has_fua: mode.has_fua,
            discard_max: takes_unmap.then(|| in_sectors(limits.unmap_max)),
        })
    }
}
