#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! What a boot leaves for the next one, in memory that the loader keeps out of everybody's use (docs/formats/last-boot.md).
//!
//! Two records take turns in the area: a boot writes its own ([`claim`]) and leaves that of the boot before as it is, so nothing is copied and a kernel
//! that dies early takes nothing away. A record is a head, written once, and four parts ([`Recorder`]), each a ring of text with a checksum that
//! follows every write: how it ended, the report of a panic, the console's tail, the last events.
//!
//! What is found ([`Record`]) is shown, and never acted on: memory after a reset may hold anything, and whoever ran before may have written it.

extern crate alloc;

mod part;
mod record;
mod text;

pub use part::{Recorder, Tail};
pub use record::{Fault, Head, Record, SEQUENCE_MAX};

use record::MAGIC;

/// Bytes of the area: two records.
pub const AREA: usize = 2 * RECORD;
/// Bytes of a record.
pub const RECORD: usize = 64 << 10;
/// Bytes of its head.
pub const HEAD: usize = 512;
/// How many parts a record has.
pub const PARTS: usize = 4;

/// A part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// How the boot ended, by [`End`], and why.
    End = 0,
    /// The report of a panic.
    Report = 1,
    /// What the console showed last.
    Console = 2,
    /// The last events.
    Events = 3,
}

impl Part {
    /// All of them, in their order in a record.
    pub const ALL: [Self; PARTS] = [Self::End, Self::Report, Self::Console, Self::Events];

    /// Its name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Report => "report",
            Self::Console => "console",
            Self::Events => "events",
        }
    }

    /// Bytes, with those that count and check.
    pub const fn length(self) -> usize {
        match self {
            Self::End => 512,
            Self::Report => (16 << 10) - HEAD - 512,
            Self::Console => 16 << 10,
            Self::Events => 32 << 10,
        }
    }
}

const _: () = {
    let parts = Part::End.length() + Part::Report.length() + Part::Console.length() + Part::Events.length();
    assert!(HEAD + parts == RECORD);
};

/// How a boot ended, as far as its kernel could say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The kernel panicked.
    Panic,
    /// By order: the machine was to start again.
    Restart,
    /// By order: the machine was to stand still, or to go off.
    Stop,
    /// A boot that could not go on.
    GaveUp,
    /// Nobody fed the kernel's own watchdog.
    Watchdog,
}

impl End {
    /// Its name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::GaveUp => "gave-up",
            Self::Watchdog => "watchdog",
        }
    }
}

/// The name of an end of which nobody said anything: a hang that a device ended, a reset from outside, a loss of power that memory outlasted.
pub const CUT: &str = "cut";

/// What the area held.
#[derive(Clone, Copy, Debug)]
pub enum Previous<'a> {
    /// Nothing of ours: memory did not last, or this is the first boot.
    Nothing,
    /// A record that cannot be believed. An older one beside it is not taken for it.
    Refused(Fault),
    /// The record of the boot before.
    Found(Record<'a>),
}

/// An area that is in use.
pub struct Claim<'a> {
    /// Of the boot before.
    pub previous: Previous<'a>,
    /// The parts of this boot's record, as [`Part::ALL`].
    pub parts: [Recorder<'a>; PARTS],
}

/// Whether an area looks as if a boot had left something in it: for who chooses between places.
pub fn is_used(area: &[u8]) -> bool {
    area.chunks(RECORD).take(2).any(|record| record.starts_with(&MAGIC))
}

/// Finds the record of the boot before and begins that of this one, in the other's place. `None`: the area is shorter than one.
///
/// A record that is refused is overwritten or forgotten, so it is reported once.
pub fn claim<'a>(area: &'a mut [u8], head: &Head<'_>) -> Option<Claim<'a>> {
    let (first, second) = area.get_mut(..AREA)?.split_at_mut(RECORD);
    let found = [&*first, &*second].map(|bytes| Record::parse(bytes).map(|record| record.sequence));
    let is_refused = |found: &Result<u64, Fault>| matches!(found, Err(fault) if *fault != Fault::Absent);
    let own = match found {
        [Ok(a), Ok(b)] => usize::from(a >= b),
        _ => found.iter().position(is_refused).or_else(|| found.iter().position(Result::is_err)).unwrap_or(0),
    };
    let (mine, other) = if own == 0 { (first, second) } else { (second, first) };
    let refused = found.iter().copied().filter_map(Result::err).find(|fault| *fault != Fault::Absent);
    if is_refused(&found[1 - own]) {
        other[..MAGIC.len()].fill(0);
    }
    let previous = match (refused, Record::parse(other)) {
        (Some(fault), _) => Previous::Refused(fault),
        (None, Ok(record)) => Previous::Found(record),
        (None, Err(_)) => Previous::Nothing,
    };
    let sequence = found.iter().flatten().max().map_or(1, |newest| newest + 1);
    Some(Claim { previous, parts: record::begin(mine, sequence, head) })
}

#[cfg(test)]
mod tests;
