//! A recorded run, and the sweep over all ways in which it can end.

use datafs::{Format, New};

use super::cut::{Effort, Random};
use super::oracle::{compare, look, verify};
use super::pair::{Claim, History, Pair};
use super::record::{Recorder, Site};
use super::recover::recover;
use super::states::{Choice, Recording, Violation, every_state};
use crate::device::{Device, MemoryDevice};
use crate::mounted::{Mounted, read_log};

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
    Run { recording: Recording::new(before, pair.mounted.device.log).expect("a volume"), history: pair.history }
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
            let model = run.history.states[&record].reclaimed();
            counts.recoveries += 1;
            counts.second_cuts += recover(state, plan.again, random.next(), &mut |state| {
                let volume = read_log(state, look(state.blocks())).map_err(|failure| failure.to_string())?;
                let mut mounted = Mounted { device: state.clone(), volume };
                compare(&mut mounted, &model, &run.history.contents, claim.time)
            })?;
        }
        Ok(())
    })?;
    Ok(Counts { cuts: tried.cuts, states: tried.states, ..counts })
}
