//! Going through the candidates. Every change of the boot-control block is on the disk before it counts.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use bootctl::{Block, Current, Entry, MAX_PRIORITY, Refusal, Slot, State, Write, candidates, reason, refusal};

use crate::image::{Blame, Image, LoadError};

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
    /// Slots, and the boot-control block that counts, when one does.
    Slots(Option<Box<Current>>),
}

/// What the choice needs done.
pub trait Machine {
    /// Memory of a loaded image.
    type Buffer: AsRef<[u8]>;
    /// Loads and checks an image: rollback index at least `floor`, and the release as named unless all zero.
    fn load(&mut self, source: Source, floor: u64, release: [u8; 32]) -> Result<Image<Self::Buffer>, LoadError>;
    /// Writes a copy of the boot-control block and flushes; the text says why not.
    fn write(&mut self, write: &Write) -> Result<(), String>;
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
    /// The floor that it was held to.
    pub floor: u64,
    /// The boot-control block as it now stands on the disk.
    pub current: Option<Current>,
}

/// Nothing can be booted; why not, in the order in which it was tried.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub Vec<Attempt>);

/// Finds what to boot.
pub fn choose<M: Machine>(machine: &mut M, disk: Disk) -> Result<Boot<M::Buffer>, Refused> {
    let mut choice = Choice { machine, attempts: Vec::new() };
    let (floor, current, booted) = match disk {
        Disk::NoSlots => (0, None, None),
        Disk::Slots(Some(mut current)) => {
            let floor = current.block.rollback_floor();
            let booted = choice.take_candidate(&mut current, floor);
            (floor, Some(*current), booted)
        }
        Disk::Slots(None) => choice.rebuild(),
    };
    let booted = booted.or_else(|| {
        let image = choice.load(Source::Esp, floor, [0; 32]).ok()?;
        Some((Source::Esp, image))
    });
    match booted {
        Some((source, image)) => Ok(Boot { source, image, floor, current }),
        None => Err(Refused(choice.attempts)),
    }
}

struct Choice<'m, M> {
    machine: &'m mut M,
    attempts: Vec<Attempt>,
}

type Booted<B> = Option<(Source, Image<B>)>;

impl<M: Machine> Choice<'_, M> {
    fn failed(&mut self, what: &'static str, source: Source, why: &dyn fmt::Display) {
        let attempt = Attempt { what, source, why: why.to_string() };
        self.machine.report(&attempt);
        self.attempts.push(attempt);
    }

    fn load(&mut self, source: Source, floor: u64, release: [u8; 32]) -> Result<Image<M::Buffer>, LoadError> {
        self.machine
            .load(source, floor, release)
            .inspect_err(|error| self.attempts.push(Attempt { what: error.what(), source, why: error.to_string() }))
            .inspect_err(|_| self.machine.report(self.attempts.last().expect("just pushed")))
    }

    /// Makes `changed` current, on the disk first. No write when nothing changed.
    fn commit(&mut self, current: &mut Current, changed: &Block) -> Result<(), String> {
        if *changed == current.block {
            return Ok(());
        }
        let write = current.next(changed).ok_or("its sequence number is at its end")?;
        self.machine.write(&write)?;
        *current = Current::written(write);
        Ok(())
    }

    /// As `commit`, where a boot goes on without it.
    fn note(&mut self, current: &mut Current, slot: Slot, change: impl FnOnce(&mut Entry)) {
        let mut changed = current.block.clone();
        let mut entry = changed.slot(slot);
        change(&mut entry);
        changed.set_slot(slot, &entry);
        if let Err(why) = self.commit(current, &changed) {
            self.failed("bootctl", Source::Slot(slot), &why);
        }
    }

    fn take_candidate(&mut self, current: &mut Current, floor: u64) -> Booted<M::Buffer> {
        for slot in Slot::ALL {
            let Some(refused) = refusal(&current.block, slot) else { continue };
            let entry = current.block.slot(slot);
            let recorded = entry.reason_text();
            let why = if recorded.is_empty() { refused.to_string() } else { format!("{refused} ({recorded})") };
            self.attempts.push(Attempt { what: "choice", source: Source::Slot(slot), why });
            if refused == Refusal::TriesUsedUp {
                self.note(current, slot, |entry| {
                    entry.priority = 0;
                    entry.set_reason(reason::TRIES, "its tries were used up before it was marked good");
                });
            }
        }
        for slot in candidates(&current.block) {
            let source = Source::Slot(slot);
            let entry = current.block.slot(slot);
            match self.load(source, floor, entry.release_digest) {
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
            changed.set_slot(slot, &entry);
        }
        changed.set_last_booted(slot);
        let written = self.commit(current, &changed);
        if let Err(why) = &written {
            self.failed("bootctl", Source::Slot(slot), &format_args!("cannot record the boot: {why}"));
        }
        written.is_ok() || !on_trial
    }

    fn remember(&mut self, current: &mut Current, slot: Slot, error: &LoadError) {
        let why = error.to_string();
        match error.blame() {
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

    /// No copy of the block is valid: made anew from the slots that verify. Both count as good, the newer one is preferred,
    /// and the older one's index is the floor.
    fn rebuild(&mut self) -> (u64, Option<Current>, Booted<M::Buffer>) {
        let mut block = Block::empty();
        let mut best: Booted<M::Buffer> = None;
        let mut floor = None;
        for slot in Slot::ALL {
            let Ok(image) = self.load(Source::Slot(slot), 0, [0; 32]) else { continue };
            let index = image.header.rollback_index;
            let newer = best.as_ref().is_none_or(|(_, other)| index > other.header.rollback_index);
            let mut entry = Entry {
                priority: if newer { MAX_PRIORITY } else { MAX_PRIORITY - 1 },
                successful: 1,
                rollback_index: index,
                release_digest: image.release_digest,
                ..Entry::EMPTY
            };
            let version = image.header.version.as_str().as_bytes();
            entry.version[..version.len()].copy_from_slice(version);
            if newer && let Some((Source::Slot(other), _)) = &best {
                let lowered = Entry { priority: MAX_PRIORITY - 1, ..block.slot(*other) };
                block.set_slot(*other, &lowered);
            }
            block.set_slot(slot, &entry);
            floor = Some(floor.map_or(index, |floor: u64| floor.min(index)));
            if newer {
                block.set_last_booted(slot);
                best = Some((Source::Slot(slot), image));
            }
        }
        let Some(floor) = floor else { return (0, None, None) };
        block.set_rollback_floor(floor);
        let write = bootctl::first_write(block);
        match self.machine.write(&write) {
            // The other copy is still damaged; the next change of the block is written there.
            Ok(()) => (floor, Some(Current { state: State::OneCopy, ..Current::written(write) }), best),
            Err(why) => {
                let source = best.as_ref().map_or(Source::Esp, |(source, _)| *source);
                self.failed("bootctl", source, &format_args!("cannot write a new block: {why}"));
                (floor, None, best)
            }
        }
    }
}
