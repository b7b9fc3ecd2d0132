//! What may be on the medium when the power goes: every way that a log of writes and flushes can be cut.
//!
//! A completed flush covers every write before it. Of the writes behind the last one, each is there, or is not, or some of its sectors are, whatever became of the
//! others; so any order in which the device wrote them is among the cuts. Per prefix of the log, with its last write there at least in part (without it,
//! the cut is one of a shorter prefix):
//!
//! 1. everything pending is there;
//! 2. the last write is torn: each proper prefix of its sectors, and some of the other sets of them;
//! 3. the last write is there, and of the others every subset when they are few, else a sample of subsets;
//! 4. a sample in which any of the pending writes may be torn.

use super::record::{Event, SECTORS};

/// How much is tried where not everything can be.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Windows of so many pending writes have all their subsets tried.
    pub window_max: usize,
    /// Subsets per prefix of larger windows.
    pub subsets: usize,
    /// Sets of sectors of a torn last write, beside prefixes.
    pub sectors: usize,
    /// Cuts per prefix with several torn writes.
    pub torn: usize,
    /// Of so many prefixes with larger windows one is cut.
    pub stride: usize,
}

/// Which sectors of a write are on the medium: one bit each.
pub type Part = u8;
/// All of them.
pub const WHOLE: Part = Part::MAX;

/// A cut: so many events had happened, and of the writes behind the last flush, in their order, these parts are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Events before it.
    pub time: usize,
    /// Pending writes by their places in the log, and what is there of them.
    pub parts: Vec<(usize, Part)>,
}

impl Cut {
    /// Before anything happened.
    #[must_use]
    pub const fn start() -> Self {
        Self { time: 0, parts: Vec::new() }
    }
}

/// Numbers that a seed gives: SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Gives all cuts of a log to `take`, until it says false. Events for which `is_skipped` says so count as if they had not been done.
pub fn cuts(
    log: &[Event],
    is_skipped: impl Fn(usize) -> bool,
    effort: &Effort,
    seed: u64,
    take: &mut dyn FnMut(Cut) -> bool,
) {
    let mut random = Random::new(seed);
    let mut pending: Vec<usize> = Vec::new();
    let mut go_on = take(Cut::start());
    for (at, event) in log.iter().enumerate().filter(|&(at, _)| !is_skipped(at)) {
        match event {
            Event::Flush => {
                pending.clear();
                go_on = go_on && take(Cut { time: at + 1, parts: Vec::new() });
            }
            Event::Write { .. } => {
                pending.push(at);
                if pending.len() > effort.window_max && random.below(effort.stride) != 0 {
                    continue;
                }
                let mut give = |parts: &[Part]| {
                    go_on = go_on
                        && take(Cut {
                            time: at + 1,
                            parts: pending.iter().copied().zip(parts.iter().copied()).collect(),
                        });
                };
                windows(pending.len(), effort, &mut random, &mut give);
            }
        }
        if !go_on {
            return;
        }
    }
}

/// The cuts of one prefix with so many pending writes.
fn windows(count: usize, effort: &Effort, random: &mut Random, give: &mut impl FnMut(&[Part])) {
    let mut parts = vec![WHOLE; count];
    let last = count - 1;
    give(&parts);
    for sectors in 1..SECTORS {
        parts[last] = (1 << sectors) - 1;
        give(&parts);
    }
    for _ in 0..effort.sectors {
        parts[last] = proper(random);
        give(&parts);
    }
    parts[last] = WHOLE;
    if count <= effort.window_max {
        for subset in 0..(1usize << last) - 1 {
            (0..last).for_each(|at| parts[at] = if subset >> at & 1 != 0 { WHOLE } else { 0 });
            give(&parts);
        }
    } else {
        for _ in 0..effort.subsets {
            sample(&mut parts[..last], random);
            give(&parts);
        }
    }
    for _ in 0..effort.torn {
        sample(&mut parts[..last], random);
        parts[last] = proper(random);
        let torn = random.below(count);
        parts[torn] = proper(random);
        give(&parts);
    }
}

/// Some sectors, not all and not none.
fn proper(random: &mut Random) -> Part {
    1 + random.below(usize::from(WHOLE) - 1) as Part
}

/// A subset: half of them, most of them, few of them, or all but one.
fn sample(parts: &mut [Part], random: &mut Random) {
    let lost_of_8 = [4, 1, 7, 0][random.below(4)];
    for part in parts.iter_mut() {
        *part = if random.below(8) < lost_of_8 { 0 } else { WHOLE };
    }
    if lost_of_8 == 0 && !parts.is_empty() {
        parts[random.below(parts.len())] = 0;
    }
}
