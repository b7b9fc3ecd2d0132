//! The sweep over a recording of which nothing else is known: what was promised then follows from its flushes alone. Whoever knows more, for instance what programs
//! told by marks, is shown what each state holds.

use super::cut::{Cut, Effort, Random};
use super::disk;
use super::oracle::{Verdict, look};
use super::record::Event;
use super::recover::recover;
use super::run::Counts;
use super::states::{Choice, Recording, State, Violation, every_state};
use super::witness::Tree;
use super::writelog::Mark;
use crate::device::Device;
use crate::mounted::read_log;

/// Of so many states one is recovered, and each recovery is cut so often.
const RECOVER: usize = 40;
const AGAIN: usize = 3;

/// Which states are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Per prefix of the log.
    pub cuts: Effort,
    /// Cuts before so many events are left out.
    pub first: usize,
    /// Of so many states one is looked at, beside those in which a flush or a mark has just ended.
    pub one_in: usize,
    /// For what is sampled.
    pub seed: u64,
}

/// What a state holds.
pub struct Seen<'a> {
    /// Its number among all states of the log.
    pub number: usize,
    /// Events before the cut.
    pub time: usize,
    /// Marks before it.
    pub marks: usize,
    /// Blocks of the device that the volume lies on.
    pub device_blocks: u64,
    /// Blocks of the volume.
    pub blocks: u64,
    /// Names and bytes.
    pub tree: &'a Tree,
}

/// Cuts a recording in every way: each state must open and be undamaged; what a completed flush covered of the log is not lost afterwards; a recovery, cut again or not, leaves
/// the names and bytes that were found. Of a disk the partition table must be readable and lead to the volume, also after a boot has mended it. `judge` may ask for more.
///
/// # Errors
/// The first violation.
pub fn sweep_log(
    recording: &Recording,
    marks: &[Mark],
    plan: &Look,
    judge: &mut dyn FnMut(&Seen<'_>) -> Verdict<()>,
) -> Result<Counts, Violation> {
    let mut random = Random::new(plan.seed);
    let mut counts = Counts::default();
    let begin = volume(recording, &State::of(&recording.before)).and_then(|volume| last_record(&volume));
    let mut stable = begin.map_err(|what| Violation { cut: Cut::start(), what })?.0;
    let epochs = Epochs::of(recording, marks);
    let (mut last_epoch, mut number, mut looked) = (usize::MAX, 0, 0);
    let tried = each(recording, &epochs, plan, &mut |state, time| {
        number += 1;
        let (epoch, is_flushed) = (epochs.at(time), epochs.is_flush(time));
        if epoch == last_epoch && random.below(plan.one_in) != 0 {
            return Ok(());
        }
        looked += 1;
        let state = &volume(recording, state)?;
        let (record, blocks) = last_record(state)?;
        let tree = Tree::of_state(state)?;
        if record < stable {
            return Err(format!("record {stable} was flushed, the last is {record}"));
        }
        if is_flushed {
            // nothing is pending
            stable = record;
        }
        last_epoch = epoch;
        let marks = epochs.marks_at(time);
        judge(&Seen { number: number - 1, time, marks, device_blocks: state.blocks(), blocks, tree: &tree })?;
        if random.below(RECOVER) == 0 {
            counts.recoveries += 1;
            counts.second_cuts +=
                recover(state, AGAIN, random.next(), &mut |after| same(&tree, &Tree::of_state(after)?))?;
        }
        Ok(())
    })?;
    Ok(Counts { cuts: tried.cuts, states: looked, ..counts })
}

/// Shows the state of this number, when there are so many.
pub fn show(recording: &Recording, marks: &[Mark], plan: &Look, wanted: usize, to: &mut dyn FnMut(&State<'_>)) -> bool {
    let mut number = 0;
    let shown = each(recording, &Epochs::of(recording, marks), plan, &mut |state, _| {
        number += 1;
        if number <= wanted {
            return Ok(());
        }
        to(state);
        Err(String::from("it has been shown"))
    });
    shown.is_err()
}

fn each(
    recording: &Recording,
    epochs: &Epochs,
    plan: &Look,
    judge: &mut dyn FnMut(&State<'_>, usize) -> Verdict<()>,
) -> Result<super::states::Tried, Violation> {
    let choice = Choice { skipped: None, cuts: plan.cuts, first: plan.first, seed: plan.seed };
    every_state(recording, &choice, &|time| epochs.at(time), judge)
}

/// The times at which more was promised than before.
struct Epochs {
    flushes: Vec<usize>,
    marks: Vec<usize>,
}

impl Epochs {
    fn of(recording: &Recording, marks: &[Mark]) -> Self {
        let is_flush = |&time: &usize| matches!(recording.log[time - 1], Event::Flush);
        Self {
            flushes: (1..=recording.log.len()).filter(is_flush).collect(),
            marks: marks.iter().map(|mark| mark.time).collect(),
        }
    }

    /// The last event before was one.
    fn is_flush(&self, time: usize) -> bool {
        self.flushes.binary_search(&time).is_ok()
    }

    fn flushes_at(&self, time: usize) -> usize {
        self.flushes.partition_point(|&flush| flush <= time)
    }

    /// Nothing has happened on the device since a mark of the same time.
    fn marks_at(&self, time: usize) -> usize {
        self.marks.partition_point(|&mark| mark <= time)
    }

    fn at(&self, time: usize) -> usize {
        self.flushes_at(time) + self.marks_at(time)
    }
}

/// The device of the volume: all of it, or the partition of a disk, which a boot that mends the table finds too.
fn volume<'a>(recording: &Recording, state: &State<'a>) -> Verdict<State<'a>> {
    if recording.geometry.is_some() {
        return Ok(state.clone());
    }
    let found = disk::data(state)?;
    let Some(mended) = disk::mended(state)? else { return Ok(found) };
    let mended = disk::data(&mended)?;
    if mended.blocks() < found.blocks() {
        return Err(format!("a boot makes the partition smaller: {} blocks of {}", mended.blocks(), found.blocks()));
    }
    same(&Tree::of_state(&found)?, &Tree::of_state(&mended)?).map_err(|what| format!("after a boot: {what}"))?;
    Ok(found)
}

/// Number of the last record that the log leads to, and the blocks of the volume.
fn last_record(state: &State<'_>) -> Verdict<(u64, u64)> {
    let volume = read_log(state, look(state.blocks())).map_err(|failure| format!("it cannot be opened: {failure}"))?;
    Ok((volume.durable(), volume.blocks()))
}

fn same(found: &Tree, after: &Tree) -> Verdict<()> {
    if found.paths != after.paths {
        return Err(String::from("other names"));
    }
    let differs =
        |(path, inode): (&String, &u32)| (found.files.get(inode) != after.files.get(inode)).then(|| path.clone());
    found.paths.iter().find_map(differs).map_or(Ok(()), |path| Err(format!("{path} has other bytes")))
}
