//! Which slot boots.

use crate::{Block, Entry, Slot};
use arrayvec::ArrayVec;
use core::cmp::Reverse;

/// Why a slot is no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It failed verification.
    Bad,
    /// Its priority is 0.
    Unbootable,
    /// It is on trial and has no tries left.
    TriesUsedUp,
    /// Its release is older than the floor allows.
    BelowFloor,
}

impl Refusal {
    /// A stable name, shared with the test vectors.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Unbootable => "unbootable",
            Self::TriesUsedUp => "tries-used-up",
            Self::BelowFloor => "below-floor",
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Bad => "it failed verification",
            Self::Unbootable => "it is marked unbootable",
            Self::TriesUsedUp => "its tries are used up",
            Self::BelowFloor => "its rollback index is below the floor",
        })
    }
}

/// Why a slot is no candidate; `None` when it is one.
pub fn refusal(block: &Block, slot: Slot) -> Option<Refusal> {
    let entry = block.slot(slot);
    if entry.bad != 0 {
        Some(Refusal::Bad)
    } else if entry.priority == 0 {
        Some(Refusal::Unbootable)
    } else if !entry.is_good() && entry.tries == 0 {
        Some(Refusal::TriesUsedUp)
    } else if entry.rollback_index < block.rollback_floor() {
        Some(Refusal::BelowFloor)
    } else {
        None
    }
}

/// So many boots in a row that did not reach `boot.ready` put a good slot behind the other.
pub const UNFINISHED_MAX: u8 = 5;

/// The slots to try, in order: those that reach `boot.ready` first; larger priority first, among equals a good one before one on trial, then a
/// before b.
pub fn candidates(block: &Block) -> ArrayVec<Slot, 2> {
    let mut slots: ArrayVec<Slot, 2> = Slot::ALL.into_iter().filter(|&slot| refusal(block, slot).is_none()).collect();
    slots.sort_unstable_by_key(|&slot| {
        let entry: Entry = block.slot(slot);
        let is_stuck = entry.is_good() && entry.unfinished_boots >= UNFINISHED_MAX;
        (is_stuck, Reverse(entry.priority), Reverse(entry.is_good()), slot)
    });
    slots
}
