//! What a running system may make of the block: the kernel asks before it writes one, whoever wants it written.
//!
//! Every mark only grows, so one that was raised by a lie would lock the machine out of its updates for good. None rises above what somebody has signed:
//!
//! | mark | may rise to |
//! |---|---|
//! | rollback floor, key set floor | the running release's, once that is good |
//! | loader floor | the security version of the loader that booted it, then |
//! | newest signed time, newest key set | those of the running release, or of the one in the other slot by its signatures |
//! | channel versions | nowhere: no step of this version raises them, and nothing that this kernel verifies bounds them |
//!
//! The loader on trial is the one of the release in the other slot, by its signatures, and is told of in the write that lets that release be tried.

use core::fmt;

use crate::change::LOADER_TRIES;
use crate::{Block, Entry, Loader, LoaderTrial, MAX_PRIORITY, MAX_TRIES, Marks, Slot};

/// What was booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booted {
    /// From where; `None`: from no slot.
    pub slot: Option<Slot>,
    /// The digest of its header, as the loader verified it.
    pub digest: [u8; 32],
    /// From its header.
    pub rollback_index: u64,
    /// Version of the key set that the loader accepted it under.
    pub key_set: u32,
    /// The newest time in its header and key set.
    pub signed_at: u64,
    /// Security version of the loader.
    pub loader: u32,
    /// It was booted to repair the machine, and proves nothing.
    pub recovery: bool,
}

/// What the signatures of a release vouch for. All zero: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// The newest time in its header and key set.
    pub signed_at: u64,
    /// Version of its key set.
    pub key_set: u32,
    /// The loader that it carries.
    pub loader: Option<Loader>,
}

impl Signed {
    /// The larger of each mark; a loader is the other's.
    fn or(self, other: Self) -> Self {
        let (signed_at, key_set) = (self.signed_at.max(other.signed_at), self.key_set.max(other.key_set));
        Self { signed_at, key_set, loader: other.loader }
    }

    /// What of these marks it does not vouch for.
    fn lacks(self, marks: &Marks) -> Option<&'static str> {
        if marks.signed_at > self.signed_at {
            return Some("newest signed time");
        }
        (marks.key_set_seen > self.key_set).then_some("newest key set")
    }
}

/// Why a change is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// It was not made from the block that counts now.
    Outdated,
    /// It would fall.
    Falls(&'static str),
    /// Nothing that runs here would be allowed any more.
    AboveRunning(&'static str),
    /// The release that runs has not proved itself, and would forbid the one to fall back to.
    OnTrial(&'static str),
    /// It would rise above what anybody has signed.
    Unsigned(&'static str),
    /// It would rise, and nothing does that here.
    Rises(&'static str),
    /// The slot to fall back to, as long as the running one has not proved itself.
    Fallback(Slot),
    /// A slot would be good that holds something else than what was booted.
    NotBooted(Slot),
    /// Of the slot that runs, which nobody can write.
    Running,
    /// A loader would be on trial that belongs to no release that is to be tried.
    Loader,
    /// Outside its bounds.
    Bounds(Slot),
    /// A byte that this version does not know.
    Unknown(usize),
}

impl Forbidden {
    /// A stable name.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Outdated => "outdated",
            Self::Falls(_) => "falls",
            Self::AboveRunning(_) => "above-running",
            Self::OnTrial(_) => "on-trial",
            Self::Unsigned(_) => "unsigned",
            Self::Rises(_) => "rises",
            Self::Fallback(_) => "fallback",
            Self::NotBooted(_) => "not-booted",
            Self::Running => "running",
            Self::Loader => "loader",
            Self::Bounds(_) => "bounds",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outdated => f.write_str("it was not made from the block that counts now"),
            Self::Falls(what) => write!(f, "the {what} would fall"),
            Self::AboveRunning(what) => write!(f, "the {what} would forbid the running release"),
            Self::OnTrial(what) => write!(f, "the {what} would rise for a release that is not good"),
            Self::Unsigned(what) => write!(f, "the {what} would be one that nobody has signed"),
            Self::Rises(what) => write!(f, "the {what} would rise, and nothing raises it here"),
            Self::Fallback(slot) => {
                write!(f, "slot {} would be changed, which is there to fall back to", slot.name())
            }
            Self::NotBooted(slot) => write!(f, "slot {} would be good without having been booted", slot.name()),
            Self::Running => f.write_str("the release of the running slot would be another"),
            Self::Loader => f.write_str("the loader on trial would be none of a release that is to be tried"),
            Self::Bounds(slot) => write!(f, "slot {}: priority, tries or mark outside their bounds", slot.name()),
            Self::Unknown(at) => write!(f, "byte {at} is not known here, and would change"),
        }
    }
}

/// Whether `new` may follow `old`. `other`: what the signatures of the release in the slot that does not run vouch for; asked only when that counts.
///
/// # Errors
/// The first rule that it breaks.
pub fn permit(old: &Block, new: &Block, booted: &Booted, other: impl FnOnce() -> Signed) -> Result<(), Forbidden> {
    if new.sequence() != old.sequence() {
        return Err(Forbidden::Outdated);
    }
    if let Some(at) = unknown_change(old, new) {
        return Err(Forbidden::Unknown(at));
    }
    for slot in Slot::ALL {
        permit_slot(slot, &old.slot(slot), &new.slot(slot), booted)?;
    }
    permit_fallback(old, new, booted)?;
    let other = core::cell::LazyCell::new(other);
    permit_loader(old, new, booted, || *other)?;
    // Good by the write before, or by this one, which the rules for slots have let pass.
    let is_good = booted.slot.is_some_and(|slot| new.slot(slot).is_good());
    permit_marks(&old.marks(), &new.marks(), booted, is_good, || *other)
}

/// A loader on trial may be left alone and given up; another one comes with the release that is to be tried.
fn permit_loader(old: &Block, new: &Block, booted: &Booted, other: impl FnOnce() -> Signed) -> Result<(), Forbidden> {
    let (before, Some(LoaderTrial { loader, tries })) = (old.loader_trial(), new.loader_trial()) else {
        return Ok(());
    };
    if before == new.loader_trial() {
        return Ok(());
    }
    let entry = booted.slot.map(|slot| new.slot(slot.other()));
    if tries > LOADER_TRIES || entry.is_none_or(|entry| entry.is_good() || entry.priority == 0) {
        return Err(Forbidden::Loader);
    }
    if other().loader == Some(loader) { Ok(()) } else { Err(Forbidden::Unsigned("loader on trial")) }
}

fn permit_marks(
    before: &Marks,
    after: &Marks,
    booted: &Booted,
    is_good: bool,
    other: impl FnOnce() -> Signed,
) -> Result<(), Forbidden> {
    for ((what, before), (_, after)) in before.named().into_iter().zip(after.named()) {
        if after < before {
            return Err(Forbidden::Falls(what));
        }
    }
    let floors = [
        ("rollback floor", before.rollback_floor, after.rollback_floor, booted.rollback_index),
        ("key set floor", before.key_set_floor.into(), after.key_set_floor.into(), booted.key_set.into()),
        ("loader floor", before.loader_floor.into(), after.loader_floor.into(), booted.loader.into()),
    ];
    for (what, before, after, running) in floors {
        if after > before && after > running {
            return Err(Forbidden::AboveRunning(what));
        }
        if after > before && !is_good {
            return Err(Forbidden::OnTrial(what));
        }
    }
    let known = Signed {
        signed_at: before.signed_at.max(booted.signed_at),
        key_set: before.key_set_seen.max(booted.key_set),
        loader: None,
    };
    if known.lacks(after).is_some()
        && let Some(what) = known.or(other()).lacks(after)
    {
        return Err(Forbidden::Unsigned(what));
    }
    let raised = before.named().into_iter().zip(after.named()).skip(Marks::RAISED).find(|(old, new)| old != new);
    raised.map_or(Ok(()), |((what, _), _)| Err(Forbidden::Rises(what)))
}

fn permit_slot(slot: Slot, old: &Entry, new: &Entry, booted: &Booted) -> Result<(), Forbidden> {
    if new.priority > MAX_PRIORITY || new.tries > MAX_TRIES || new.successful > 1 || new.bad > 1 {
        return Err(Forbidden::Bounds(slot));
    }
    let identity = |entry: &Entry| (entry.release_digest, entry.rollback_index, entry.key_set, entry.version);
    if booted.slot == Some(slot) && identity(old) != identity(new) && old.release_digest != [0; 32] {
        return Err(Forbidden::Running);
    }
    let was_good = old.is_good() && old.release_digest == new.release_digest;
    if new.is_good() && !was_good && (booted.slot.is_none() || new.release_digest != booted.digest) {
        return Err(Forbidden::NotBooted(slot));
    }
    Ok(())
}

/// As long as the running release is not good, the other slot, when it is, may only become more preferred: a rollback. Who has marked the running one good
/// needs it no more; that this is not done by a lie nobody can tell here, but it is written down, and the machine stands on a release that has booted.
fn permit_fallback(old: &Block, new: &Block, booted: &Booted) -> Result<(), Forbidden> {
    let Some(running) = booted.slot.filter(|_| !booted.recovery) else { return Ok(()) };
    let slot = running.other();
    let (before, after) = (old.slot(slot), new.slot(slot));
    if old.slot(running).is_good() || !before.is_good() {
        return Ok(());
    }
    let preferred = Entry { priority: after.priority, unfinished_boots: after.unfinished_boots, ..before };
    let is_kept =
        after == preferred && after.priority >= before.priority && after.unfinished_boots <= before.unfinished_boots;
    if is_kept { Ok(()) } else { Err(Forbidden::Fallback(slot)) }
}

/// The first byte that differs and is none of the fields that this crate sets. Sequence and digest are the writer's own.
fn unknown_change(old: &Block, new: &Block) -> Option<usize> {
    let mut same = new.clone();
    for slot in Slot::ALL {
        same.set_slot(slot, &old.slot(slot));
    }
    same.set_marks(&old.marks());
    same.put(crate::FAILED, &old.bytes[crate::FAILED..][..32 * crate::FAILED_MAX]);
    same.set_copy_due(old.is_copy_due());
    let [before, after] = [old, new].map(|block| u32::from_le_bytes(block.get(crate::LENGTH)));
    if before < crate::IN_USE && after == crate::IN_USE && new.loader_trial().is_some() {
        // A block of before there were loaders on trial becomes one of now.
        same.put(crate::LENGTH, &old.get::<4>(crate::LENGTH));
        same.put(crate::LOADER, &old.get::<{ crate::IN_USE as usize - crate::LOADER }>(crate::LOADER));
        same.put(crate::LOADER_TRIES, &old.get::<4>(crate::LOADER_TRIES));
    } else {
        same.set_loader_trial(old.loader_trial().as_ref());
    }
    (0..crate::DIGEST).find(|&at| same.bytes[at] != old.bytes[at])
}
