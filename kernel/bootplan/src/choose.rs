//! Going through the candidates. Every change of the boot-control block is on the disk before it counts.
//!
//! A release on trial may have a loader on trial with it: this one then starts that one, which chooses anew and boots the release or comes back. A loader that
//! was started so boots nothing else and judges nobody: what it thinks of a slot may be its own mistake.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use bootctl::{
    Block, Current, Entry, Loader, MAX_PRIORITY, Marks, Refusal, Slot, State, UNFINISHED_MAX, Write, candidates,
    change, reason, refusal,
};

use crate::Control;
use crate::image::{Blame, Floors, Image, LoadError};
use crate::kept::Kept;

/// Where an image may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A slot of the disk.
    Slot(Slot),
    /// `base.img` on the EFI system partition.
    Esp,
}

impl Source {
    /// The name in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slot(slot) => slot.name(),
            Self::Esp => "esp",
        }
    }
}

/// What the disk offers.
pub enum Disk {
    /// No boot-control block or no slots: `base.img` is all there can be.
    NoSlots,
    /// Slots, and what was found of the boot-control block.
    Slots(Control),
}

/// How the loader was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// A person at the console wants to repair the machine.
    pub recovery: bool,
    /// Another loader tries this one.
    pub on_trial: bool,
    /// The floors that the firmware keeps.
    pub kept: Kept,
}

/// What the choice needs done.
pub trait Machine {
    /// Memory of a loaded image.
    type Buffer: AsRef<[u8]>;
    /// Loads and checks an image: on or above the floors, and the release as named unless all zero.
    fn load(&mut self, source: Source, floors: Floors, release: [u8; 32]) -> Result<Image<Self::Buffer>, LoadError>;
    /// What the header of a slot's image that verifies would be held to; the sections are not looked at.
    fn marks(&mut self, slot: Slot) -> Result<Floors, LoadError>;
    /// Writes a copy of the boot-control block and flushes; the text says why not.
    fn write(&mut self, write: &Write) -> Result<(), String>;
    /// Whether the firmware starts this loader already: its file and the second have changed places.
    fn is_first(&mut self, loader: &Loader) -> bool;
    /// Starts this loader from the second file, to be tried. Comes back only when it does not boot anything: the text says why not.
    fn start(&mut self, loader: &Loader) -> String;
    /// What stands in the boot-control block now.
    fn control(&mut self) -> Control;
    /// Tells the person at the console, at once.
    fn report(&mut self, attempt: &Attempt);
}

/// Something that did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What: a part of an image, or the boot-control block.
    pub what: &'static str,
    /// With which image.
    pub source: Source,
    /// Why.
    pub why: String,
}

/// What is to be booted.
pub struct Boot<B> {
    /// Where it came from.
    pub source: Source,
    /// It.
    pub image: Image<B>,
    /// What it was held to.
    pub floors: Floors,
    /// It boots to be repaired: no packages, no persistent data.
    pub recovery: bool,
    /// Through the loader that is on trial with it.
    pub loader_on_trial: bool,
    /// The floors that the firmware is to keep from now on.
    pub keep: Kept,
    /// The boot-control block as it now stands on the disk; `None` also when it is not known which one does.
    pub current: Option<Current>,
}

/// Nothing can be booted; why not, in the order in which it was tried.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub Vec<Attempt>);

/// Finds what to boot.
///
/// # Errors
/// Nothing can be booted; for a loader on trial: the release that it came with cannot.
pub fn choose<M: Machine>(machine: &mut M, disk: Disk, asked: Asked) -> Result<Boot<M::Buffer>, Refused> {
    let is_whole = matches!(&disk, Disk::Slots(control) if control.is_whole());
    let Asked { recovery, on_trial, kept } = asked;
    let mut choice = Choice { machine, attempts: Vec::new(), refused: Vec::new(), is_whole, on_trial, kept };
    let mut loader_on_trial = on_trial;
    let (floors, current, booted) = match disk {
        Disk::Slots(Control { current: Some(mut current), .. }) => {
            if !recovery {
                choice.retire(&mut current);
            }
            let floors = choice.floors(&mut current);
            if !recovery && !on_trial {
                loader_on_trial = choice.loader(&mut current, floors);
            }
            let booted = if recovery { None } else { choice.take_candidate(&mut current, floors) };
            (floors, Some(*current), booted)
        }
        Disk::Slots(Control { current: None, .. }) if !on_trial => choice.rebuild(),
        _ => (kept.floors(), None, None),
    };
    let is_whole = choice.is_whole;
    // A kernel that looks for the disk with this block would not find it where the other copy can be read again.
    let known = |current: Option<Current>| current.filter(|_| is_whole);
    let boot = |source, image: Image<M::Buffer>, recovery: bool, current: Option<Current>| {
        let proves = !recovery && !loader_on_trial;
        let keep = if proves { vouched(kept, source, &image, current.as_ref()) } else { kept };
        Boot { source, image, floors, recovery, loader_on_trial, keep, current }
    };
    if let Some((source, image)) = booted {
        return Ok(boot(source, image, recovery, known(current)));
    }
    if on_trial {
        return Err(Refused(choice.attempts));
    }
    if let Some(current) = &current
        && let Some((source, image)) = choice.take_any(&current.block, floors)
    {
        return Ok(boot(source, image, true, known(Some(current.clone()))));
    }
    match choice.load(Source::Esp, floors, [0; 32]) {
        Ok(image) => Ok(boot(Source::Esp, image, recovery, known(current))),
        Err(_) => Err(Refused(choice.attempts)),
    }
}

/// What the firmware is to keep when this is booted: no more for a release that is not good.
fn vouched<B>(kept: Kept, source: Source, image: &Image<B>, current: Option<&Current>) -> Kept {
    let (Source::Slot(slot), Some(Current { block, .. })) = (source, current) else { return kept };
    if block.slot(slot).is_good() { kept.after(&block.marks(), &image.header, image.key_set) } else { kept }
}

struct Choice<'m, M> {
    machine: &'m mut M,
    attempts: Vec<Attempt>,
    /// Whose images were looked at in this boot and are not booted.
    refused: Vec<Source>,
    /// Both copies of the block are known: it can be written.
    is_whole: bool,
    /// This loader is: it writes nothing but the boot that it is there for.
    on_trial: bool,
    kept: Kept,
}

const UNREAD: &str = "a copy cannot be read, and may be the one that counts: nothing is written";

type Booted<B> = Option<(Source, Image<B>)>;

impl<M: Machine> Choice<'_, M> {
    fn failed(&mut self, what: &'static str, source: Source, why: &dyn fmt::Display) {
        let attempt = Attempt { what, source, why: why.to_string() };
        self.machine.report(&attempt);
        self.attempts.push(attempt);
    }

    fn load(&mut self, source: Source, floors: Floors, release: [u8; 32]) -> Result<Image<M::Buffer>, LoadError> {
        self.machine
            .load(source, floors, release)
            .inspect_err(|error| self.attempts.push(Attempt { what: error.what(), source, why: error.to_string() }))
            .inspect_err(|_| self.machine.report(self.attempts.last().expect("just pushed")))
            .inspect_err(|_| self.refused.push(source))
    }

    /// Lets the loader on trial have its turn, where there is one. Whether it is the one that runs: the files have changed places, and the block does not say so yet.
    fn loader(&mut self, current: &mut Current, floors: Floors) -> bool {
        let Some(trial) = current.block.loader_trial() else { return false };
        if self.machine.is_first(&trial.loader) {
            return true;
        }
        let on_trial = |slot: &Slot| !current.block.slot(*slot).is_good();
        let release = candidates(&current.block).first().copied().filter(on_trial);
        let floor = current.block.marks().loader_floor.max(self.kept.loader);
        let why = match release {
            None => "the release that it came with is not to be tried".into(),
            Some(_) if trial.loader.security < floor => {
                format!("its security version {} is below the floor {floor}", trial.loader.security)
            }
            Some(slot) => match self.try_loader(current, &trial.loader, slot, floors) {
                Some(why) => why,
                None => return false,
            },
        };
        self.failed("new-loader", Source::Esp, &why);
        let given_up = change::give_up_loader(&current.block, &why);
        if let Err(why) = self.commit(current, &given_up) {
            self.failed("bootctl", Source::Esp, &why);
        }
        false
    }

    /// Starts the loader for the release in this slot. Why it is to be given up; `None`: it is not to blame.
    fn try_loader(&mut self, current: &mut Current, loader: &Loader, slot: Slot, floors: Floors) -> Option<String> {
        let Some(started) = change::start_loader(&current.block) else {
            return Some(format!(
                "the new loader was started {} times and came to no good system",
                change::LOADER_TRIES
            ));
        };
        // A start that cannot be counted is none. The release is not booted either: its try could not be counted.
        if let Err(why) = self.commit(current, &started) {
            self.failed("bootctl", Source::Esp, &format_args!("cannot record the start of the new loader: {why}"));
            return None;
        }
        let why = self.machine.start(loader);
        let now = self.machine.control();
        self.is_whole &= now.is_whole();
        if let Some(now) = now.current {
            *current = *now;
        }
        // It may have come back for a good reason: then that is the one to remember.
        let release = current.block.slot(slot).release_digest;
        match self.load(Source::Slot(slot), floors, release) {
            Err(error) if error.blame() == Blame::Image => {
                self.remember(current, slot, &error);
                None
            }
            _ => Some(format!("the new loader came back: {why}")),
        }
    }

    /// What the block asks for. No honest writer raises a floor above every good release of this machine: one that is above the headers of all good
    /// slots that verify is damage, and is put back to the smallest of theirs, as when the block is made anew.
    fn floors(&mut self, current: &mut Current) -> Floors {
        let marks = current.block.marks();
        let asked = Floors { rollback: marks.rollback_floor, key_set: marks.key_set_floor.into() };
        let entries = Slot::ALL.map(|slot| (slot, current.block.slot(slot)));
        let seems_sound = |(_, entry): &(Slot, Entry)| {
            entry.is_good()
                && entry.rollback_index >= asked.rollback
                && (asked.key_set == 0 || u64::from(entry.key_set) >= asked.key_set)
                && asked.rollback < u64::MAX
        };
        if asked == Floors::default() || entries.iter().any(seems_sound) {
            return self.with_kept(asked);
        }
        let good = entries.iter().filter(|(_, entry)| entry.is_good());
        let found: Vec<Floors> = good.filter_map(|(slot, _)| self.machine.marks(*slot).ok()).collect();
        let smallest = |of: fn(&Floors) -> u64| found.iter().map(of).min();
        let largest = |of: fn(&Floors) -> u64| found.iter().map(of).max();
        let put_back = |asked: u64, of: fn(&Floors) -> u64| match (smallest(of), largest(of)) {
            (Some(smallest), Some(largest)) if largest < asked => smallest,
            _ => asked,
        };
        let floors = Floors {
            rollback: put_back(asked.rollback, |floors| floors.rollback),
            key_set: put_back(asked.key_set, |floors| floors.key_set),
        };
        if floors != asked {
            let source = current.block.last_booted().map_or(Source::Slot(Slot::A), Source::Slot);
            let why = format!(
                "floors {}/{} are above every good slot: damage; {}/{} are taken",
                asked.rollback, asked.key_set, floors.rollback, floors.key_set
            );
            self.failed("bootctl", source, &why);
            let mut changed = current.block.clone();
            let key_set_floor = floors.key_set.try_into().unwrap_or(marks.key_set_floor);
            changed.set_marks(&Marks { rollback_floor: floors.rollback, key_set_floor, ..marks });
            if !self.on_trial
                && let Err(why) = self.commit(current, &changed)
            {
                self.failed("bootctl", source, &why);
            }
        }
        self.with_kept(floors)
    }

    /// The firmware's are never damage.
    fn with_kept(&self, floors: Floors) -> Floors {
        let kept = self.kept.floors();
        Floors { rollback: floors.rollback.max(kept.rollback), key_set: floors.key_set.max(kept.key_set) }
    }

    /// To repair the machine: whatever slot verifies and stands on the floors, the preferred and the good one first. It costs no try.
    fn take_any(&mut self, block: &Block, floors: Floors) -> Booted<M::Buffer> {
        let mut slots = Slot::ALL;
        slots.sort_by_key(|&slot| {
            let entry = block.slot(slot);
            (core::cmp::Reverse(entry.is_good()), core::cmp::Reverse(entry.priority), slot)
        });
        slots.into_iter().map(Source::Slot).find_map(|source| {
            if self.refused.contains(&source) {
                return None;
            }
            Some((source, self.load(source, floors, [0; 32]).ok()?))
        })
    }

    /// Makes `changed` current, on the disk first. No write when nothing changed.
    fn commit(&mut self, current: &mut Current, changed: &Block) -> Result<(), String> {
        if *changed == current.block {
            return Ok(());
        }
        if !self.is_whole {
            return Err(UNREAD.into());
        }
        let write = current.next(changed).ok_or("its sequence number is at its end")?;
        self.machine.write(&write)?;
        *current = Current::written(write);
        Ok(())
    }

    /// As `commit`, where a boot goes on without it.
    fn note(&mut self, current: &mut Current, slot: Slot, change: impl FnOnce(&mut Entry)) {
        if self.on_trial {
            return;
        }
        let mut changed = current.block.clone();
        let mut entry = changed.slot(slot);
        change(&mut entry);
        changed.set_slot(slot, &entry);
        if !entry.is_good() && entry.priority == 0 {
            // The loader that came with it goes with it.
            changed.set_loader_trial(None);
        }
        if let Err(why) = self.commit(current, &changed) {
            self.failed("bootctl", Source::Slot(slot), &why);
        }
    }

    /// Says why slots are no candidates. One whose tries have come to 0 is given up.
    fn retire(&mut self, current: &mut Current) {
        for slot in Slot::ALL {
            let Some(refused) = refusal(&current.block, slot) else { continue };
            let entry = current.block.slot(slot);
            let recorded = entry.reason_text();
            let why = if recorded.is_empty() { refused.to_string() } else { format!("{refused} ({recorded})") };
            self.attempts.push(Attempt { what: "choice", source: Source::Slot(slot), why });
            if refused == Refusal::TriesUsedUp && !self.on_trial {
                let why = "its tries were used up before it was marked good";
                let changed = change::give_up(&current.block, slot, reason::TRIES, why, 0);
                if let Err(why) = self.commit(current, &changed) {
                    self.failed("bootctl", Source::Slot(slot), &why);
                }
            }
        }
    }

    fn take_candidate(&mut self, current: &mut Current, floors: Floors) -> Booted<M::Buffer> {
        let wanted = |slot: &Slot| !self.on_trial || !current.block.slot(*slot).is_good();
        // The loader on trial was started for the first of them.
        let most = if self.on_trial { 1 } else { Slot::ALL.len() };
        let slots: Vec<Slot> = candidates(&current.block).into_iter().take(most).filter(wanted).collect();
        for slot in slots {
            let source = Source::Slot(slot);
            let entry = current.block.slot(slot);
            match self.load(source, floors, entry.release_digest) {
                Ok(image) => {
                    if self.spend(current, slot) {
                        return Some((source, image));
                    }
                }
                Err(error) => self.remember(current, slot, &error),
            }
        }
        None
    }

    /// Records the boot before it happens. Whether it may happen.
    fn spend(&mut self, current: &mut Current, slot: Slot) -> bool {
        let mut changed = current.block.clone();
        let mut entry = changed.slot(slot);
        let on_trial = !entry.is_good();
        if on_trial {
            // A candidate on trial has tries.
            entry.tries -= 1;
        } else {
            // The running system takes it back when it is ready.
            entry.unfinished_boots = entry.unfinished_boots.saturating_add(1);
            if entry.unfinished_boots == UNFINISHED_MAX {
                entry.set_reason(reason::HANG, "its boots do not reach boot.ready");
            }
        }
        changed.set_slot(slot, &entry);
        changed.set_last_booted(slot);
        let written = self.commit(current, &changed);
        if let Err(why) = &written {
            self.failed("bootctl", Source::Slot(slot), &format_args!("cannot record the boot: {why}"));
        }
        written.is_ok() || !on_trial
    }

    fn remember(&mut self, current: &mut Current, slot: Slot, error: &LoadError) {
        let why = error.to_string();
        let marks = current.block.marks();
        match error.blame() {
            // Of the firmware's alone: whoever owns the machine may reset them.
            _ if self.is_of_kept(error, &marks) => {}
            Blame::Image => self.note(current, slot, |entry| {
                entry.bad = 1;
                entry.priority = 0;
                entry.set_reason(reason::VERIFICATION, &why);
            }),
            // Once is enough: a medium that stays unreadable must not cost a write per boot.
            Blame::Medium if current.block.slot(slot).reason_code != reason::UNREADABLE => {
                self.note(current, slot, |entry| entry.set_reason(reason::UNREADABLE, &why));
            }
            Blame::Medium | Blame::Machine => {}
        }
    }

    /// Below a floor that only the firmware keeps.
    fn is_of_kept(&self, error: &LoadError, marks: &Marks) -> bool {
        match *error {
            LoadError::BelowFloor { index, .. } => index >= marks.rollback_floor,
            LoadError::OldKeys { key_set, .. } => key_set >= marks.key_set_floor.into(),
            _ => false,
        }
    }

    /// No copy of the block is valid: made anew from the slots that verify. Both count as good, the newer one is preferred, and the older one's index
    /// is the floor. Where one could not be told just now, the best of the others boots, and the block waits for a boot that knows both: a slot that was
    /// left out would be forgotten.
    fn rebuild(&mut self) -> (Floors, Option<Current>, Booted<M::Buffer>) {
        let (mut found, mut is_known) = (Vec::new(), true);
        for slot in Slot::ALL {
            // One after the other: there may not be memory for two.
            match self.load(Source::Slot(slot), self.kept.floors(), [0; 32]) {
                Ok(image) => found.push((slot, entry_of(&image))),
                Err(error) => is_known &= matches!(error, LoadError::Absent(_)) || error.blame() == Blame::Image,
            }
        }
        found.sort_by_key(|(_, entry)| core::cmp::Reverse(entry.rollback_index));
        let mut block = Block::empty();
        for (&(slot, entry), lower) in found.iter().zip(0..) {
            block.set_slot(slot, &Entry { priority: MAX_PRIORITY - lower, ..entry });
        }
        let smallest = |of: fn(&Entry) -> u64| found.iter().map(|(_, entry)| of(entry)).min();
        let floors = smallest(|entry| entry.rollback_index).zip(smallest(|entry| entry.key_set.into()));
        let Some((rollback, key_set)) = floors else { return (self.kept.floors(), None, None) };
        let floors = Floors { rollback, key_set };
        let best = found.iter().find_map(|(slot, entry)| {
            let source = Source::Slot(*slot);
            Some((source, self.load(source, floors, entry.release_digest).ok()?))
        });
        let Some((Source::Slot(slot), _)) = &best else { return (floors, None, None) };
        block.set_last_booted(*slot);
        let key_set_floor = key_set.try_into().unwrap_or(0);
        block.set_marks(&Marks { rollback_floor: rollback, key_set_floor, ..block.marks() });
        let current = if !self.is_whole {
            self.failed("bootctl", Source::Slot(*slot), &UNREAD);
            None
        } else if !is_known {
            let why = "it is not made anew: a slot could not be told, and would be forgotten";
            self.failed("bootctl", Source::Slot(*slot), &why);
            None
        } else {
            self.write_anew(*slot, block)
        };
        (floors, current, best)
    }

    fn write_anew(&mut self, slot: Slot, block: Block) -> Option<Current> {
        let [first, second] = bootctl::first_writes(block);
        let written = [&first, &second].map(|write| self.machine.write(write));
        for why in written.iter().filter_map(|written| written.as_ref().err()) {
            self.failed("bootctl", Source::Slot(slot), &format_args!("cannot write a new block: {why}"));
        }
        match written {
            [Ok(()), Ok(())] => Some(Current::written(first)),
            // The other copy is still damaged; the next change of the block is written there.
            [Ok(()), Err(_)] => Some(Current { state: State::OneCopy, ..Current::written(first) }),
            [Err(_), Ok(())] => Some(Current { state: State::OneCopy, ..Current::written(second) }),
            [Err(_), Err(_)] => None,
        }
    }
}

/// What the block remembers of an image that verifies.
fn entry_of<B>(image: &Image<B>) -> Entry {
    let mut entry = Entry {
        successful: 1,
        rollback_index: image.header.rollback_index,
        release_digest: image.release_digest,
        key_set: image.key_set.try_into().unwrap_or(0),
        ..Entry::EMPTY
    };
    let version = image.header.version.as_str().as_bytes();
    entry.version[..version.len()].copy_from_slice(version);
    entry
}
