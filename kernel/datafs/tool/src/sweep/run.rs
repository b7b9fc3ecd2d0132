//! A recorded run, and the sweep over all ways in which it can end.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use datafs::layout::geometry::Geometry;
use datafs::layout::superblock::Superblock;
use datafs::{BLOCK, Bytes, Format, InodeNumber, New, ROOT};

use super::cut::{Cut, Effort, Random, WHOLE, cuts};
use super::oracle::{Verdict, compare, undamaged, verify};
use super::pair::{Claim, History, Pair};
use super::record::{Event, Recorder, SECTOR, Site, sites};
use crate::device::{Device, MemoryDevice};
use crate::mounted::Mounted;

/// What was done on a device, and what it should have led to.
pub struct Run {
    /// The device at the beginning.
    pub before: MemoryDevice,
    /// What was done.
    pub log: Vec<Event>,
    /// What it led to.
    pub history: History,
    /// Of the volume.
    pub geometry: Geometry,
}

/// How large a volume is made for a run.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Blocks of the device.
    pub device: u64,
    /// Of them, of the volume.
    pub volume: u64,
    /// Inodes in each group.
    pub inodes: u32,
    /// Blocks of the log.
    pub log: u32,
}

/// A small volume: an empty log of 256 blocks, 64 inodes, some hundred blocks for data.
pub const SMALL: Size = Size { device: 700, volume: 700, inodes: 64, log: 256 };

/// Makes a volume.
///
/// # Panics
/// It does not fit.
#[must_use]
pub fn volume(size: Size) -> Mounted<MemoryDevice> {
    let format = Format {
        blocks: size.volume,
        uuid: *b"0123456789abcdef",
        label: b"sweep",
        hash_key: [3; 16],
        created: 1,
        log_blocks: Some(size.log),
        inodes_per_group: Some(size.inodes),
    };
    let root = New { mode: 0o755, user: 0, group: 0, device: 0, target: b"", time: 1 };
    Mounted::format(MemoryDevice::new(size.device), &format, &root).expect("it fits")
}

/// Does some work on a new volume, and records it.
///
/// # Panics
/// The volume does other than its model.
#[must_use]
pub fn record(size: Size, work: impl FnOnce(&mut Pair)) -> Run {
    let Mounted { device, volume } = volume(size);
    let before = device.clone();
    let mut pair = Pair::new(Mounted { device: Recorder::new(device), volume });
    work(&mut pair);
    let mut superblock = [0; BLOCK];
    before.read(0, &mut superblock).expect("a block");
    let geometry = Superblock::parse(&superblock, 0).expect("a superblock").geometry;
    Run { before, log: pair.mounted.device.log, history: pair.history, geometry }
}

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Per prefix of the log.
    pub cuts: Effort,
    /// Cuts before so many events are left out.
    pub first: usize,
    /// Of so many states one is opened for writing, and its recovery cut again.
    pub recover: usize,
    /// Cuts of each such recovery.
    pub again: usize,
    /// For what is sampled.
    pub seed: u64,
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cuts.
    pub cuts: usize,
    /// Different states of the device among them, each of which was opened, checked and compared.
    pub states: usize,
    /// Recoveries that were carried through.
    pub recoveries: usize,
    /// Recoveries that were cut, and carried through then.
    pub second_cuts: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.states += other.states;
        self.recoveries += other.recoveries;
        self.second_cuts += other.second_cuts;
    }
}

/// A cut after which something is wrong.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Where.
    pub cut: Cut,
    /// What.
    pub what: String,
}

/// Cuts a run in every way; what was tried, or the first thing that is wrong. Without `skipped` flushes, as if the code did not have them.
///
/// # Errors
/// The first violation.
pub fn sweep(run: &Run, skipped: Option<Site>, plan: &Plan) -> Result<Counts, Violation> {
    let flushes = sites(&run.log, &run.geometry);
    let gone: HashSet<usize> = flushes.iter().filter(|flush| Some(flush.1) == skipped).map(|flush| flush.0).collect();
    let mut sweeper = Sweeper::new(run, plan);
    let mut violation = None;
    cuts(&run.log, |at| gone.contains(&at), &plan.cuts, plan.seed, &mut |cut| {
        let verdict = if cut.time < plan.first { Ok(()) } else { sweeper.look(&cut) };
        violation = verdict.err().map(|what| Violation { cut, what });
        violation.is_none()
    });
    violation.map_or(Ok(sweeper.counts), Err)
}

struct Sweeper<'a> {
    run: &'a Run,
    plan: &'a Plan,
    base: MemoryDevice,
    /// Events that are in `base`.
    applied: usize,
    /// Of each write, for telling states apart.
    hashes: Vec<u64>,
    seen: HashSet<u64>,
    seen_for: (usize, usize),
    random: Random,
    counts: Counts,
}

impl<'a> Sweeper<'a> {
    fn new(run: &'a Run, plan: &'a Plan) -> Self {
        let hashes = run.log.iter().map(|event| match event {
            Event::Write { block, bytes } => hash(&(block, &bytes[..])),
            Event::Flush => 0,
        });
        Self {
            run,
            plan,
            base: run.before.clone(),
            applied: 0,
            hashes: hashes.collect(),
            seen: HashSet::new(),
            seen_for: (0, 0),
            random: Random::new(plan.seed),
            counts: Counts::default(),
        }
    }

    fn look(&mut self, cut: &Cut) -> Verdict<()> {
        self.counts.cuts += 1;
        let start = cut.parts.first().map_or(cut.time, |part| part.0);
        self.advance(start);
        let claims = &self.run.history.claims;
        let count = claims.partition_point(|claim| claim.time <= cut.time);
        let claim = count.checked_sub(1).map_or(Claim::default(), |at| claims[at]);
        if self.seen_for != (start, count) {
            self.seen_for = (start, count);
            self.seen.clear();
        }
        let (over, sum) = self.overlay(cut);
        if !self.seen.insert(sum) {
            return Ok(());
        }
        self.counts.states += 1;
        let state = State { base: &self.base, over };
        let record = verify(state.clone(), &self.run.history, claim)?;
        if self.plan.recover > 0 && self.random.below(self.plan.recover) == 0 {
            self.counts.recoveries += 1;
            self.counts.second_cuts += recover(self.run, self.plan, (state, record, claim), self.random.next())?;
        }
        Ok(())
    }

    fn advance(&mut self, to: usize) {
        for event in &self.run.log[self.applied..to] {
            if let Event::Write { block, bytes } = event {
                self.base.put(*block, bytes.clone()).expect("it was on the device");
            }
        }
        self.applied = to;
    }

    /// What the pending writes left, and a hash of it.
    fn overlay(&self, cut: &Cut) -> (HashMap<u64, Arc<Bytes>>, u64) {
        let mut over: HashMap<u64, (Arc<Bytes>, u64)> = HashMap::new();
        for &(at, part) in cut.parts.iter().filter(|part| part.1 != 0) {
            let Event::Write { block, bytes } = &self.run.log[at] else { continue };
            let whole = (bytes.clone(), self.hashes[at]);
            match over.entry(*block) {
                Entry::Occupied(mut entry) if part == WHOLE => drop(entry.insert(whole)),
                Entry::Vacant(entry) if part == WHOLE => drop(entry.insert(whole)),
                entry => {
                    let old = match &entry {
                        Entry::Occupied(entry) => *entry.get().0,
                        Entry::Vacant(_) => self.base.get(*block).map_or([0; BLOCK], |bytes| **bytes),
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

/// Opens a state for writing; it must hold the same then, can be used, and its recovery can be cut in its turn: gives how often it was.
fn recover(run: &Run, plan: &Plan, found: (State<'_>, u64, Claim), seed: u64) -> Verdict<usize> {
    let (state, record, claim) = found;
    let model = run.history.states[&record].reclaimed();
    let again = |what| format!("when it was recovered: {what}");
    let mut mounted = carry_through(Recorder::new(state.clone())).map_err(again)?;
    compare(&mut mounted, &model, &run.history.contents, claim.time).map_err(again)?;
    let log = std::mem::take(&mut mounted.device.log);
    use_it(&mut mounted).map_err(again)?;
    let sample = reservoir(&log, plan, &mut Random::new(seed));
    for cut in &sample {
        let mut second = state.clone();
        second.apply(&log, cut);
        let again = |what| format!("when its recovery was cut at {cut:?}: {what}");
        let mut mounted = carry_through(second).map_err(again)?;
        compare(&mut mounted, &model, &run.history.contents, claim.time).map_err(again)?;
    }
    Ok(sample.len())
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

fn carry_through<D: Device>(device: D) -> Verdict<Mounted<D>> {
    let mounted = Mounted::open(device).and_then(|mut mounted| {
        mounted.checkpoint()?;
        Ok(mounted)
    });
    let mounted = mounted.map_err(|failure| failure.to_string())?;
    undamaged(&mounted.device)?;
    Ok(mounted)
}

/// A volume that was recovered takes new files.
fn use_it<D: Device>(mounted: &mut Mounted<D>) -> Verdict<()> {
    let new = New { mode: 0o100_600, user: 0, group: 0, device: 0, target: b"", time: 9 };
    let name = b"made after the cut";
    let result = mounted.run(|volume| volume.create(ROOT, name, &new)).and_then(|inode: InodeNumber| {
        mounted.write(inode, 0, &[7; 3 * BLOCK])?;
        mounted.sync()?;
        mounted.contents(inode)
    });
    undamaged(&mounted.device)?;
    match result {
        Ok(bytes) if bytes == [7; 3 * BLOCK] => Ok(()),
        Ok(_) => Err(String::from("a new file has other bytes")),
        Err(crate::Failure::Volume(datafs::Error::NoSpace | datafs::Error::NoInodes)) => Ok(()),
        Err(failure) => Err(format!("a new file cannot be written: {failure}")),
    }
}

/// Some of the cuts of a recovery.
fn reservoir(log: &[Event], plan: &Plan, random: &mut Random) -> Vec<Cut> {
    let mut kept: Vec<Cut> = Vec::new();
    let mut count = 0;
    let effort = Effort { window_max: 0, subsets: 2, sectors: 1, torn: 1, stride: 1 };
    cuts(log, |_| false, &effort, random.next(), &mut |cut| {
        count += 1;
        if kept.len() < plan.again {
            kept.push(cut);
        } else if let Some(place) = kept.get_mut(random.below(count)) {
            *place = cut;
        }
        true
    });
    kept
}

/// A device as a cut left it: what was on stable media, and what is there of the rest.
#[derive(Clone)]
pub struct State<'a> {
    base: &'a MemoryDevice,
    over: HashMap<u64, Arc<Bytes>>,
}

impl State<'_> {
    fn apply(&mut self, log: &[Event], cut: &Cut) {
        let start = cut.parts.first().map_or(cut.time, |part| part.0);
        let stable = (0..start).map(|at| (at, WHOLE));
        for (at, part) in stable.chain(cut.parts.iter().copied()) {
            if let Event::Write { block, bytes } = &log[at] {
                let mut old = [0; BLOCK];
                self.read(*block, &mut old).expect("it was on the device");
                self.over.insert(*block, Arc::new(tear(old, bytes, part)));
            }
        }
    }
}

impl Device for State<'_> {
    fn blocks(&self) -> u64 {
        self.base.blocks()
    }

    fn read(&self, block: u64, into: &mut Bytes) -> io::Result<()> {
        match self.over.get(&block) {
            Some(bytes) => into.copy_from_slice(&bytes[..]),
            None => self.base.read(block, into)?,
        }
        Ok(())
    }

    fn write(&mut self, block: u64, bytes: &Bytes) -> io::Result<()> {
        self.over.insert(block, Arc::new(*bytes));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
