//! The steps of an update, each from block to block (docs/formats/bootctl.md, "Changes"). None of them writes: a block counts when it is on the disk.
//!
//! A running release that was given up (priority 0: rolled back by hand, until the reboot) is not made good, and no floor rises for it.

use crate::{Block, Entry, Loader, LoaderTrial, MAX_PRIORITY, Marks, Slot, reason};

/// Boots that a release on trial is given.
pub const TRIES: u8 = 3;
/// Starts that its loader is given.
pub const LOADER_TRIES: u32 = 3;

/// What the block remembers of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Of its header.
    pub digest: [u8; 32],
    /// ASCII, NUL-padded.
    pub version: [u8; 32],
    /// From its header.
    pub rollback_index: u64,
    /// Version of the key set that it carries.
    pub key_set: u32,
    /// Seconds since 1970; 0: not told.
    pub signed_at: u64,
}

/// The slot is about to be overwritten, and perhaps the second loader file: nothing boots them. Why the slot failed last stays readable.
#[must_use]
pub fn begin(block: &Block, slot: Slot) -> Block {
    let old = block.slot(slot);
    let entry =
        Entry { reason_code: old.reason_code, reason_time: old.reason_time, reason: old.reason, ..Entry::EMPTY };
    let mut block = with_slot(block, slot, &entry);
    block.set_loader_trial(None);
    block
}

/// The slot holds this release, read back: it is tried before the running one. `loader`: its own, read back from the second file, when that is another than the
/// one that the firmware starts: the release is tried through it.
#[must_use]
pub fn arm(block: &Block, slot: Slot, release: &Release, loader: Option<Loader>) -> Block {
    let mut block = with_slot(block, slot, &Entry { priority: MAX_PRIORITY, tries: TRIES, ..entry_of(release) });
    // Something newer than the copy is there instead.
    block.set_copy_due(false);
    block.set_loader_trial(loader.map(|loader| LoaderTrial { loader, tries: LOADER_TRIES }).as_ref());
    lower(&mut block, slot.other());
    see(&mut block, release);
    block
}

/// The loader on trial is about to be started; `None` when there is none, or none of its starts is left.
#[must_use]
pub fn start_loader(block: &Block) -> Option<Block> {
    let trial = block.loader_trial()?;
    let mut block = block.clone();
    block.set_loader_trial(Some(&LoaderTrial { tries: trial.tries.checked_sub(1)?, ..trial }));
    Some(block)
}

/// The loader on trial is given up, and with it the release that it came with.
#[must_use]
pub fn give_up_loader(block: &Block, why: &str) -> Block {
    let mut given_up = block.clone();
    given_up.set_loader_trial(None);
    let is_on_trial = |slot: &Slot| !block.slot(*slot).is_good() && block.slot(*slot).priority > 0;
    let slots = Slot::ALL.into_iter().filter(is_on_trial);
    slots.fold(given_up, |given_up, slot| give_up(&given_up, slot, reason::LOADER, why, 0))
}

/// The running system reached `boot.ready`.
#[must_use]
pub fn ready(block: &Block, running: Slot) -> Block {
    with_slot(block, running, &Entry { unfinished_boots: 0, ..block.slot(running) })
}

/// The running release is good. The floors rise to the smallest among the slots that still verify, so that none of them is forbidden: to the running
/// release's when the other does not verify, or when it `revokes_older` ones: what these leave below the floor is to become a copy, as after a [`commit`].
/// Its loader has been on trial with it, and stays.
#[must_use]
pub fn mark_good(block: &Block, running: Slot, other_verifies: bool, revokes_older: bool) -> Block {
    if block.slot(running).priority == 0 {
        return block.clone();
    }
    let entry = Entry { successful: 1, tries: 0, unfinished_boots: 0, ..block.slot(running) };
    let mut block = with_slot(block, running, &forgiven(entry));
    block.set_loader_trial(None);
    let (mine, other) = (block.slot(running), block.slot(running.other()));
    if revokes_older || !other_verifies {
        raise(&mut block, mine.rollback_index, mine.key_set);
    } else {
        raise(&mut block, mine.rollback_index.min(other.rollback_index), mine.key_set.min(other.key_set));
    }
    let is_copy = other.is_good() && other.release_digest == mine.release_digest;
    block.set_copy_due(block.is_copy_due() || revokes_older && !is_copy);
    block
}

/// No way back behind the running release and the loader that booted it, by its security version: the floors rise to theirs. The other slot is to become a copy
/// of the release, also when that is cut.
#[must_use]
pub fn commit(block: &Block, running: Slot, loader: u32) -> Block {
    let entry = block.slot(running);
    let mut block = block.clone();
    if entry.priority > 0 {
        raise(&mut block, entry.rollback_index, entry.key_set);
        let marks = block.marks();
        block.set_marks(&Marks { loader_floor: marks.loader_floor.max(loader), ..marks });
        block.set_copy_due(true);
    }
    block
}

/// Whether the running release is to be copied to the other slot now: it was made sure that nothing older boots, and a cut came before the copy.
#[must_use]
pub fn wants_copy(block: &Block, running: Slot) -> bool {
    let entry = block.slot(running);
    block.is_copy_due() && entry.is_good() && entry.priority > 0
}

/// The other slot holds a copy of the running release, read back.
#[must_use]
pub fn copied(block: &Block, running: Slot) -> Block {
    let entry = block.slot(running);
    let mut block = block.clone();
    if entry.priority == 0 {
        return block;
    }
    block.set_copy_due(false);
    block.set_slot(running, &Entry { priority: MAX_PRIORITY, ..entry });
    block.set_slot(running.other(), &Entry { priority: MAX_PRIORITY - 1, unfinished_boots: 0, ..entry });
    block
}

/// Why the running release is not good. What its tries lead to is the loader's to see.
#[must_use]
pub fn fail(block: &Block, running: Slot, code: u16, why: &str, time: u64) -> Block {
    let mut entry = block.slot(running);
    entry.set_reason(code, why);
    entry.reason_time = time;
    with_slot(block, running, &entry)
}

/// By hand, from the running release to the other, which is good and verifies. The running one is not tried again.
#[must_use]
pub fn roll_back(block: &Block, running: Slot, why: &str, time: u64) -> Block {
    let mut block = fail(block, running, reason::OPERATOR, why, time);
    block.set_loader_trial(None);
    let entry = block.slot(running);
    block.add_failed_release(entry.release_digest);
    block.set_slot(running, &Entry { priority: 0, tries: 0, successful: 0, ..entry });
    let other = block.slot(running.other());
    block.set_slot(running.other(), &Entry { priority: MAX_PRIORITY, unfinished_boots: 0, ..other });
    block
}

/// A release on trial that is given up: it will not boot, and is remembered as one that failed here.
#[must_use]
pub fn give_up(block: &Block, slot: Slot, code: u16, why: &str, time: u64) -> Block {
    let mut block = block.clone();
    let mut entry = block.slot(slot);
    // What a health check or a panic said is worth more than that the tries, or its loader's starts, came to an end.
    if !matches!(code, reason::TRIES | reason::LOADER) || entry.reason_code == reason::NONE {
        entry.set_reason(code, why);
        entry.reason_time = time;
    }
    block.add_failed_release(entry.release_digest);
    block.set_slot(slot, &Entry { priority: 0, tries: 0, ..entry });
    block.set_loader_trial(None);
    block
}

/// Releases that failed here may be tried once more.
#[must_use]
pub fn retry(block: &Block) -> Block {
    let mut block = block.clone();
    block.clear_failed_releases();
    block
}

fn entry_of(release: &Release) -> Entry {
    Entry {
        rollback_index: release.rollback_index,
        release_digest: release.digest,
        version: release.version,
        key_set: release.key_set,
        ..Entry::EMPTY
    }
}

fn with_slot(block: &Block, slot: Slot, entry: &Entry) -> Block {
    let mut block = block.clone();
    block.set_slot(slot, entry);
    block
}

fn forgiven(entry: Entry) -> Entry {
    Entry { reason_code: reason::NONE, reason_time: 0, reason: Entry::EMPTY.reason, ..entry }
}

/// Behind the other one, and still bootable.
fn lower(block: &mut Block, slot: Slot) {
    let entry = block.slot(slot);
    if entry.priority == MAX_PRIORITY {
        block.set_slot(slot, &Entry { priority: MAX_PRIORITY - 1, ..entry });
    }
}

fn see(block: &mut Block, release: &Release) {
    let mut marks = block.marks();
    marks.signed_at = marks.signed_at.max(release.signed_at);
    marks.key_set_seen = marks.key_set_seen.max(release.key_set);
    block.set_marks(&marks);
}

fn raise(block: &mut Block, index: u64, key_set: u32) {
    let mut marks = block.marks();
    marks.rollback_floor = marks.rollback_floor.max(index);
    marks.key_set_floor = marks.key_set_floor.max(key_set);
    block.set_marks(&marks);
}
