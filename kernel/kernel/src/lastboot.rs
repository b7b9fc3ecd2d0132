//! What this boot leaves for the next one, and what the boot before left: the crate `lastboot` over the memory that the loader keeps for that
//! (docs/formats/last-boot.md). After a direct boot, or one by an older loader, there is none, and nothing is kept.
//!
//! Events and console are written as they come, so that a hang that a device ends leaves its last words too; nobody is asked to write anything when it
//! is too late. What the boot before left is text that is shown: nothing is decided by it.

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Display, Write};

use bootinfo::{BootInfo, Region};
use lastboot::{Claim, Fault, Head, Part, Previous, Record, Recorder};

use crate::arch::mmu;
use crate::mm::kmap;
use crate::sync::{Once, Rank, SpinLock};
use crate::{event, events, panic};

pub use lastboot::End;

/// The parts of this boot's record; `None` where none is kept.
static PARTS: [SpinLock<Option<Recorder<'static>>>; lastboot::PARTS] =
    [const { SpinLock::new(Rank::LAST_BOOT, None) }; lastboot::PARTS];
/// What the boot before left.
static PREVIOUS: Once<Previous<'static>> = Once::new();

/// Takes the area, if there is one, before anything else can go wrong.
pub fn begin(info: &BootInfo, regions: &[Region]) {
    let Some(area) = kmap::map_kept(info.last_boot_start, info.last_boot_length, regions) else { return };
    let kernel = concat!(env!("CARGO_PKG_VERSION"), " ");
    let build = option_env!("SWIFT_BUILD").unwrap_or("unknown");
    let mut name = [0; 64];
    let length = name.len().min(kernel.len() + build.len());
    name.iter_mut().zip(kernel.bytes().chain(build.bytes())).for_each(|(place, byte)| *place = byte);
    let (release, kernel) = (info.release_digest, &name[..length]);
    let head = Head { time: info.time, slot: info.slot, release, kernel };
    let all = area.as_ptr_range();
    let Some(Claim { previous, parts }) = lastboot::claim(area, &head) else { return };
    mmu::clean_to_memory(all.start as u64, all.end as u64 - all.start as u64);
    for (place, part) in PARTS.iter().zip(parts) {
        *place.lock_irq() = Some(part);
    }
    // What was told before there was somewhere to keep it.
    events::last(usize::MAX, |byte| push(Part::Events, &[byte]));
    let _ = PREVIOUS.set(previous);
}

/// Appends to a part. A CPU that dies does not wait long for another one's lock.
pub fn push(part: Part, bytes: &[u8]) {
    let place = &PARTS[part as usize];
    let recorder =
        if panic::is_dying() { (0..1000).find_map(|_| place.try_lock_irq()) } else { Some(place.lock_irq()) };
    if let Some(mut recorder) = recorder
        && let Some(recorder) = recorder.as_mut()
    {
        recorder.push(bytes, |changed| mmu::clean_to_memory(changed.as_ptr() as u64, changed.len() as u64));
    }
}

/// Says how this boot ends, and why. Who says it first is believed.
pub fn end(end: End, why: &dyn Display) {
    struct Ending;
    impl Write for Ending {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            push(Part::End, text.as_bytes());
            Ok(())
        }
    }
    static SAID: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
    if !SAID.swap(true, core::sync::atomic::Ordering::Relaxed) {
        // Writing to it cannot fail; a value that cannot be shown has no reason.
        let _ = write!(Ending, "{} {why}", end.name());
    }
}

/// Says what was found. The heap is there.
pub fn announce() {
    match PREVIOUS.get() {
        None => event!("lastboot.none", why = "no memory is kept from boot to boot"),
        Some(Previous::Nothing) => {
            event!("lastboot.none", why = "memory has not outlasted the machine's start, or this is the first")
        }
        Some(Previous::Refused(fault)) => event!("lastboot.error", what = "record", why = fault),
        Some(Previous::Found(record)) => {
            let (end, why) = record.ending();
            event!("lastboot.found", boot = record.sequence, end = end, why = why);
            for part in Part::ALL.into_iter().filter(|part| record.part(*part).is_none()) {
                event!("lastboot.error", what = part.name(), why = "its checksum is wrong");
            }
        }
    }
}

fn found() -> Result<&'static Record<'static>, Option<Fault>> {
    match PREVIOUS.get() {
        None | Some(Previous::Nothing) => Err(None),
        Some(Previous::Refused(fault)) => Err(Some(*fault)),
        Some(Previous::Found(record)) => Ok(record),
    }
}

/// All that was left, for /proc/last-boot.
#[must_use]
pub fn text() -> String {
    match found() {
        Ok(record) => record.text(),
        Err(None) => "end none\n".into(),
        Err(Some(fault)) => format!("end refused\nwhy {fault}\n"),
    }
}

/// How the boot before ended, and why, in words.
#[must_use]
pub fn ending() -> (String, String) {
    match found() {
        Ok(record) => record.ending(),
        Err(None) => ("none".into(), String::new()),
        Err(Some(fault)) => ("refused".into(), format!("{fault}")),
    }
}
