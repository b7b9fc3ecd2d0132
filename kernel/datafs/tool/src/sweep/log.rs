//! The sweep over a recording of which nothing else is known: what was promised then follows from its flushes alone.

use super::cut::{Effort, Random};
use super::oracle::{Verdict, look};
use super::record::Event;
use super::recover::recover;
use super::run::Counts;
use super::states::{Choice, Recording, State, Violation, every_state};
use super::witness::Tree;
use crate::device::Device;
use crate::mounted::read_log;

/// Of so many states one is recovered, and each recovery is cut so often.
const RECOVER: usize = 40;
const AGAIN: usize = 3;

/// Cuts a recording in every way: each state must open and be undamaged; what a completed flush covered of the log is not lost afterwards; a recovery, cut again or not, leaves
/// the names and bytes that were found.
///
/// # Errors
/// The first violation.
pub fn sweep_log(recording: &Recording, cuts: Effort, seed: u64) -> Result<Counts, Violation> {
    let choice = Choice { skipped: None, cuts, first: 0, seed };
    let mut random = Random::new(seed);
    let mut counts = Counts::default();
    let mut stable =
        last_record(&State::of(&recording.before)).map_err(|what| Violation { cut: super::cut::Cut::start(), what })?;
    let flushes: Vec<usize> =
        (1..=recording.log.len()).filter(|&at| matches!(recording.log[at - 1], Event::Flush)).collect();
    let epoch = |time: usize| flushes.partition_point(|&flush| flush <= time);
    let mut last_epoch = 0;
    let tried = every_state(recording, &choice, &epoch, &mut |state, time| {
        let tree = Tree::of_state(state)?;
        let record = last_record(state)?;
        if record < stable {
            return Err(format!("record {stable} was flushed, the last is {record}"));
        }
        if epoch(time) != last_epoch {
            // nothing is pending in the first state behind a flush
            (stable, last_epoch) = (record, epoch(time));
        }
        if random.below(RECOVER) == 0 {
            counts.recoveries += 1;
            counts.second_cuts +=
                recover(state, AGAIN, random.next(), &mut |after| same(&tree, &Tree::of_state(after)?))?;
        }
        Ok(())
    })?;
    Ok(Counts { cuts: tried.cuts, states: tried.states, ..counts })
}

/// Number of the last record that the log leads to.
fn last_record(state: &State<'_>) -> Verdict<u64> {
    let volume = read_log(state, look(state.blocks())).map_err(|failure| format!("it cannot be opened: {failure}"))?;
    Ok(volume.durable())
}

fn same(found: &Tree, after: &Tree) -> Verdict<()> {
    if found.paths != after.paths {
        return Err(String::from("other names"));
    }
    let differs =
        |(path, inode): (&String, &u32)| (found.files.get(inode) != after.files.get(inode)).then(|| path.clone());
    found.paths.iter().find_map(differs).map_or(Ok(()), |path| Err(format!("{path} has other bytes")))
}
