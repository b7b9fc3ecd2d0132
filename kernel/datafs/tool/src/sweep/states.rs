//! The states of a device that a recording can leave, one after another.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use datafs::layout::geometry::Geometry;
use datafs::layout::superblock::Superblock;
use datafs::{BLOCK, Bytes};

use super::cut::{Cut, Effort, WHOLE, cuts};
use super::oracle::Verdict;
use super::record::{Event, SECTOR, Site, sites};
use crate::device::{Device, MemoryDevice, outside};
use crate::mounted::Result;

/// What was done on a device.
pub struct Recording {
    /// The device at the beginning.
    pub before: MemoryDevice,
    /// What was done.
    pub log: Vec<Event>,
    /// Of its volume; none for a disk with partitions.
    pub geometry: Option<Geometry>,
}

impl Recording {
    /// Of what was done on a device with a volume.
    ///
    /// # Errors
    /// There is no volume on it.
    pub fn new(before: MemoryDevice, log: Vec<Event>) -> Result<Self> {
        let mut copies = [[0; BLOCK]; 2];
        before.read(0, &mut copies[0])?;
        before.read(1, &mut copies[1])?;
        let superblock = Superblock::choose([&copies[0], &copies[1]])?;
        Ok(Self { before, log, geometry: Some(superblock.geometry) })
    }

    /// Of what was done on a disk with partitions. Its flushes have no sites.
    #[must_use]
    pub const fn of_disk(before: MemoryDevice, log: Vec<Event>) -> Self {
        Self { before, log, geometry: None }
    }
}

/// Which states are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Flushes that count as if they had not been there.
    pub skipped: Option<Site>,
    /// Per prefix of the log.
    pub cuts: Effort,
    /// Cuts before so many events are left out.
    pub first: usize,
    /// For what is sampled.
    pub seed: u64,
}

/// A cut after which something is wrong.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Where.
    pub cut: Cut,
    /// What.
    pub what: String,
}

/// Cuts that were tried, and different states of the device among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Cuts.
    pub cuts: usize,
    /// Of them, those that left the device in a state of its own.
    pub states: usize,
}

/// Shows `judge` every state that a recording can leave, once for each `epoch` of the times at which it can: what is asked of it depends on no more than
/// that. The time is told too. Ends with the first that is wrong.
///
/// # Errors
/// The first violation.
pub fn every_state(
    recording: &Recording,
    choice: &Choice,
    epoch: &dyn Fn(usize) -> usize,
    judge: &mut dyn FnMut(&State<'_>, usize) -> Verdict<()>,
) -> std::result::Result<Tried, Violation> {
    let flushes = recording.geometry.map(|geometry| sites(&recording.log, &geometry)).unwrap_or_default();
    let gone = flushes.iter().filter(|flush| Some(flush.1) == choice.skipped).map(|flush| flush.0);
    let gone: HashSet<usize> = gone.collect();
    let mut states = States::new(recording);
    let mut violation = None;
    cuts(&recording.log, |at| gone.contains(&at), &choice.cuts, choice.seed, &mut |cut| {
        if cut.time < choice.first {
            return true;
        }
        let state = states.make(&cut, epoch(cut.time));
        let verdict = state.map_or(Ok(()), |state| judge(&state, cut.time));
        violation = verdict.err().map(|what| Violation { cut, what });
        violation.is_none()
    });
    violation.map_or(Ok(states.tried), Err)
}

struct States<'a> {
    log: &'a [Event],
    base: MemoryDevice,
    /// Events that are in `base`.
    applied: usize,
    /// Of each write, for telling states apart.
    hashes: Vec<u64>,
    seen: HashSet<u64>,
    /// Where the pending writes began, and in which epoch, when those were seen.
    seen_for: (usize, usize),
    tried: Tried,
}

impl<'a> States<'a> {
    fn new(recording: &'a Recording) -> Self {
        let hashes = recording.log.iter().map(|event| match event {
            Event::Write { block, bytes, .. } => hash(&(block, &bytes[..])),
            Event::Flush => 0,
        });
        Self {
            log: &recording.log,
            base: recording.before.clone(),
            applied: 0,
            hashes: hashes.collect(),
            seen: HashSet::new(),
            seen_for: (0, 0),
            tried: Tried::default(),
        }
    }

    /// What a cut leaves, if that is new.
    fn make(&mut self, cut: &Cut, epoch: usize) -> Option<State<'_>> {
        self.tried.cuts += 1;
        let start = cut.parts.first().map_or(cut.time, |part| part.0);
        self.advance(start);
        if self.seen_for != (start, epoch) {
            self.seen_for = (start, epoch);
            self.seen.clear();
        }
        let (over, sum) = self.overlay(cut);
        let is_new = self.seen.insert(sum);
        self.tried.states += usize::from(is_new);
        is_new.then(|| State { over, ..State::of(&self.base) })
    }

    fn advance(&mut self, to: usize) {
        for event in &self.log[self.applied..to] {
            if let Event::Write { block, bytes, sectors } = event {
                let bytes = match *sectors {
                    WHOLE => bytes.clone(),
                    part => Arc::new(tear(bytes_of(&self.base, *block), bytes, part)),
                };
                self.base.put(*block, bytes).expect("it was on the device");
            }
        }
        self.applied = to;
    }

    /// What the pending writes left, and a hash of it.
    fn overlay(&self, cut: &Cut) -> (HashMap<u64, Arc<Bytes>>, u64) {
        let mut over: HashMap<u64, (Arc<Bytes>, u64)> = HashMap::new();
        for &(at, part) in &cut.parts {
            let Event::Write { block, bytes, sectors } = &self.log[at] else { continue };
            let part = part & sectors;
            if part == 0 {
                continue;
            }
            let whole = (bytes.clone(), self.hashes[at]);
            match over.entry(*block) {
                Entry::Occupied(mut entry) if part == WHOLE => drop(entry.insert(whole)),
                Entry::Vacant(entry) if part == WHOLE => drop(entry.insert(whole)),
                entry => {
                    let old = match &entry {
                        Entry::Occupied(entry) => *entry.get().0,
                        Entry::Vacant(_) => bytes_of(&self.base, *block),
                    };
                    let torn = tear(old, bytes, part);
                    let sum = hash(&(block, &torn[..]));
                    entry.insert_entry((Arc::new(torn), sum));
                }
            }
        }
        let sum = over.values().fold(0u64, |sum, entry| sum.wrapping_add(entry.1));
        (over.into_iter().map(|(block, entry)| (block, entry.0)).collect(), sum)
    }
}

fn bytes_of(device: &MemoryDevice, block: u64) -> Bytes {
    device.get(block).map_or([0; BLOCK], |bytes| **bytes)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn tear(mut old: Bytes, new: &Bytes, part: u8) -> Bytes {
    for sector in (0..BLOCK / SECTOR).filter(|sector| part >> sector & 1 != 0) {
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        old[range.clone()].copy_from_slice(&new[range]);
    }
    old
}

/// A device as a cut left it, or a part of it: what was on stable media, and what is there of the rest.
#[derive(Clone)]
pub struct State<'a> {
    base: &'a MemoryDevice,
    over: HashMap<u64, Arc<Bytes>>,
    first: u64,
    count: u64,
}

impl<'a> State<'a> {
    /// A device as it is.
    #[must_use]
    pub fn of(base: &'a MemoryDevice) -> Self {
        Self { base, over: HashMap::new(), first: 0, count: base.blocks() }
    }

    /// So many of its blocks, from one on, as a device of their own.
    #[must_use]
    pub fn part(&self, first: u64, count: u64) -> Option<Self> {
        let is_inside = first.checked_add(count).is_some_and(|end| end <= self.count);
        is_inside.then(|| Self { first: self.first + first, count, ..self.clone() })
    }

    fn place(&self, block: u64) -> io::Result<u64> {
        if block < self.count { Ok(self.first + block) } else { Err(outside(block)) }
    }

    /// Lets a further log, cut too, go over it.
    ///
    /// # Panics
    /// The log is of a larger device.
    pub fn apply(&mut self, log: &[Event], cut: &Cut) {
        let start = cut.parts.first().map_or(cut.time, |part| part.0);
        let stable = (0..start).map(|at| (at, WHOLE));
        for (at, part) in stable.chain(cut.parts.iter().copied()) {
            if let Event::Write { block, bytes, sectors } = &log[at] {
                let mut old = [0; BLOCK];
                self.read(*block, &mut old).expect("it was on the device");
                self.write(*block, &tear(old, bytes, part & sectors)).expect("it was on the device");
            }
        }
    }
}

impl Device for State<'_> {
    fn blocks(&self) -> u64 {
        self.count
    }

    fn read(&self, block: u64, into: &mut Bytes) -> io::Result<()> {
        let block = self.place(block)?;
        match self.over.get(&block) {
            Some(bytes) => into.copy_from_slice(&bytes[..]),
            None => self.base.read(block, into)?,
        }
        Ok(())
    }

    fn write(&mut self, block: u64, bytes: &Bytes) -> io::Result<()> {
        let block = self.place(block)?;
        self.over.insert(block, Arc::new(*bytes));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
