//! What a running system may make of the block: the kernel asks before it writes one, whoever wants it written.

use core::fmt;

use crate::{Block, Entry, MAX_PRIORITY, MAX_TRIES, Slot};

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
    /// A slot would be good that holds something else than what was booted.
    NotBooted(Slot),
    /// Of the slot that runs, which nobody can write.
    Running,
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
            Self::NotBooted(_) => "not-booted",
            Self::Running => "running",
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
            Self::NotBooted(slot) => write!(f, "slot {} would be good without having been booted", slot.name()),
            Self::Running => f.write_str("the release of the running slot would be another"),
            Self::Bounds(slot) => write!(f, "slot {}: priority, tries or mark outside their bounds", slot.name()),
            Self::Unknown(at) => write!(f, "byte {at} is not known here, and would change"),
        }
    }
}

/// Whether `new` may follow `old`.
///
/// # Errors
/// The first rule that it breaks.
pub fn permit(old: &Block, new: &Block, booted: &Booted) -> Result<(), Forbidden> {
    if new.sequence() != old.sequence() {
        return Err(Forbidden::Outdated);
    }
    if let Some(at) = unknown_change(old, new) {
        return Err(Forbidden::Unknown(at));
    }
    for ((what, before), (_, after)) in old.marks().named().into_iter().zip(new.marks().named()) {
        if after < before {
            return Err(Forbidden::Falls(what));
        }
    }
    let (before, after) = (old.marks(), new.marks());
    if after.rollback_floor > before.rollback_floor && after.rollback_floor > booted.rollback_index {
        return Err(Forbidden::AboveRunning("rollback floor"));
    }
    if after.key_set_floor > before.key_set_floor && after.key_set_floor > booted.key_set {
        return Err(Forbidden::AboveRunning("key set floor"));
    }
    Slot::ALL.into_iter().try_for_each(|slot| permit_slot(slot, &old.slot(slot), &new.slot(slot), booted))
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

/// The first byte that differs and is none of the fields that this crate sets. Sequence and digest are the writer's own.
fn unknown_change(old: &Block, new: &Block) -> Option<usize> {
    let mut same = new.clone();
    for slot in Slot::ALL {
        same.set_slot(slot, &old.slot(slot));
    }
    same.set_marks(&old.marks());
    same.put(crate::FAILED, &old.bytes[crate::FAILED..][..32 * crate::FAILED_MAX]);
    same.put(LOADER_TRIES, &old.bytes[LOADER_TRIES..][..4]);
    (0..crate::DIGEST).find(|&at| same.bytes[at] != old.bytes[at])
}

const LOADER_TRIES: usize = 52;
