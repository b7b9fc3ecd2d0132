//! A recorded run, and the sweep over all ways in which it can end.

use datafs::{BLOCK, Format, InodeNumber, New, ROOT};

use super::cut::{Cut, Effort, Random, cuts};
use super::oracle::{Verdict, compare, undamaged, verify};
use super::pair::{Claim, History, Pair};
use super::record::{Event, Recorder, Site};
use super::states::{Choice, Recording, State, Violation, every_state};
use crate::device::{Device, MemoryDevice};
use crate::mounted::Mounted;

/// What was done on a device, and what it should have led to.
pub struct Run {
    /// What was done.
    pub recording: Recording,
    /// What it led to.
    pub history: History,
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
    Run { recording: Recording::new(before, pair.mounted.device.log), history: pair.history }
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

/// Cuts a run in every way; what was tried, or the first thing that is wrong. Without `skipped` flushes, as if the code did not have them.
///
/// # Errors
/// The first violation.
pub fn sweep(run: &Run, skipped: Option<Site>, plan: &Plan) -> Result<Counts, Violation> {
    let claims = &run.history.claims;
    let epoch = |time: usize| claims.partition_point(|claim| claim.time <= time);
    let choice = Choice { skipped, cuts: plan.cuts, first: plan.first, seed: plan.seed };
    let mut random = Random::new(plan.seed);
    let mut counts = Counts::default();
    let tried = every_state(&run.recording, &choice, &epoch, &mut |state, time| {
        let claim = epoch(time).checked_sub(1).map_or(Claim::default(), |at| claims[at]);
        let record = verify(state.clone(), &run.history, claim)?;
        if plan.recover > 0 && random.below(plan.recover) == 0 {
            counts.recoveries += 1;
            counts.second_cuts += recover(run, plan, (state.clone(), record, claim), random.next())?;
        }
        Ok(())
    })?;
    Ok(Counts { cuts: tried.cuts, states: tried.states, ..counts })
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
