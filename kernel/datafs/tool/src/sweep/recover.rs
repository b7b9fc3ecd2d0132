//! Recovery from a cut, and its own cuts.

use datafs::{BLOCK, Error, InodeNumber, New, ROOT};

use super::cut::{Cut, Effort, Random, cuts};
use super::oracle::{Verdict, undamaged};
use super::record::{Event, Recorder};
use super::states::State;
use crate::device::Device;
use crate::mounted::{Failure, Mounted};

/// Opens a state for writing: what is on the device then is `same` as before and undamaged, and takes a new file. Its recovery is cut at `again` places in its turn, and
/// the next one must lead to the same. Gives how often it was cut.
///
/// # Errors
/// What is wrong.
pub fn recover(
    state: &State<'_>,
    again: usize,
    seed: u64,
    same: &mut dyn FnMut(&State<'_>) -> Verdict<()>,
) -> Verdict<usize> {
    let at_first = |what| format!("when it was recovered: {what}");
    let mut mounted = carry_through(Recorder::new(state.clone())).map_err(at_first)?;
    same(&mounted.device.device).map_err(at_first)?;
    let log = std::mem::take(&mut mounted.device.log);
    use_it(&mut mounted).map_err(at_first)?;
    let sample = some_cuts(&log, again, &mut Random::new(seed));
    for cut in &sample {
        let mut second = state.clone();
        second.apply(&log, cut);
        let at_last = |what| format!("when its recovery was cut at {cut:?}: {what}");
        same(&carry_through(second).map_err(at_last)?.device).map_err(at_last)?;
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
        Err(Failure::Volume(Error::NoSpace | Error::NoInodes)) => Ok(()),
        Err(failure) => Err(format!("a new file cannot be written: {failure}")),
    }
}

/// Some of the cuts of a recovery.
fn some_cuts(log: &[Event], most: usize, random: &mut Random) -> Vec<Cut> {
    let mut kept: Vec<Cut> = Vec::new();
    let mut count = 0;
    let effort = Effort { window_max: 0, subsets: 2, sectors: 1, torn: 1, stride: 1 };
    cuts(log, |_| false, &effort, random.next(), &mut |cut| {
        count += 1;
        if kept.len() < most {
            kept.push(cut);
        } else if let Some(place) = kept.get_mut(random.below(count)) {
            *place = cut;
        }
        true
    });
    kept
}
