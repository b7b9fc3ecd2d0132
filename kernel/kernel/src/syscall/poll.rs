//! `ppoll`, `pselect6`.

use alloc::vec::Vec;
use core::time::Duration;

use linux::Errno;
use linux::flags::{
    POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND, POLLWRNORM, RLIMIT_NOFILE,
};
use linux::signal::SigSet;
use linux::types::{PollFd, Timespec};

use super::Call;
use crate::arch::timer;
use crate::fs::poll::{Wanted, wait};
use crate::mm::user;
use crate::process::{signal, time};

/// Bytes of a signal set, which the caller has to name.
const SET_SIZE: u64 = 8;
/// Descriptors in a `pselect6` set.
const SELECT_MAX: usize = 1024;

fn deadline(address: u64) -> Result<Option<Duration>, Errno> {
    if address == 0 { Ok(None) } else { time::after(user::read(address)?).map(Some) }
}

/// Tells what is left of the time, as Linux does; that this fails does not matter.
fn write_left(address: u64, deadline: Option<Duration>) {
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(timer::now());
        let _ = user::write(address, &Timespec::from_nanos(left.as_nanos() as u64));
    }
}

fn mask(address: u64, size: u64) -> Result<Option<SigSet>, Errno> {
    match (address, size) {
        (0, _) => Ok(None),
        (_, SET_SIZE) => Ok(Some(SigSet(user::read(address)?))),
        _ => Err(Errno::EINVAL),
    }
}

fn interrupted(error: Errno) -> Errno {
    if error == Errno::ERESTARTSYS { Errno::ERESTARTNOHAND } else { error }
}

/// `ppoll`
pub fn ppoll(call: &Call<'_>) -> Result<u64, Errno> {
    let [address, count, timeout, set, set_size, ..] = call.arguments;
    if count > call.process.limit(RLIMIT_NOFILE) {
        return Err(Errno::EINVAL);
    }
    let (deadline, mask) = (deadline(timeout)?, mask(set, set_size)?);
    let step = size_of::<PollFd>() as u64;
    let mut entries: Vec<PollFd> = Vec::with_capacity(count as usize);
    for index in 0..count {
        entries.push(user::read(address.wrapping_add(index * step))?);
    }
    // A negative descriptor is skipped, and so is not waited for.
    let wanted: Vec<Option<Wanted>> = entries
        .iter()
        .map(|entry| {
            let fd = u64::try_from(entry.fd).ok()?;
            Some(Wanted { file: call.process.file(fd).ok().map(|(file, _)| file), events: entry.events })
        })
        .collect();
    let files: Vec<Wanted> = wanted
        .into_iter()
        .zip(&mut entries)
        .filter_map(|(wanted, entry)| {
            entry.revents = 0;
            wanted
        })
        .collect();
    let ready =
        signal::with_mask(call.task, mask, || wait(&files, deadline).map_err(|error| interrupted(error.into())));
    write_left(timeout, deadline);
    let ready = ready?;
    let shown = entries.iter_mut().filter(|entry| entry.fd >= 0).zip(ready);
    let mut found = 0;
    for (entry, events) in shown {
        entry.revents = events;
        found += u64::from(events != 0);
    }
    for (index, entry) in entries.iter().enumerate() {
        user::write(address.wrapping_add(index as u64 * step), entry)?;
    }
    Ok(found)
}

/// The three sets of `pselect6`, as what `poll` calls it.
const SETS: [(u16, u16); 3] = [
    (POLLIN | POLLRDNORM | POLLRDBAND, POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR),
    (POLLOUT | POLLWRNORM | POLLWRBAND, POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR),
    (POLLPRI, POLLPRI),
];

type Set = [u64; SELECT_MAX / 64];

fn read_set(address: u64, words: usize) -> Result<Set, Errno> {
    let mut set = [0; SELECT_MAX / 64];
    if address != 0 {
        for (index, word) in set[..words].iter_mut().enumerate() {
            *word = user::read(address.wrapping_add(index as u64 * 8))?;
        }
    }
    Ok(set)
}

/// `pselect6`
pub fn pselect6(call: &Call<'_>) -> Result<u64, Errno> {
    let [count, sets @ .., timeout, mask_address] = call.arguments;
    let count = usize::try_from(count as i32).map_err(|_| Errno::EINVAL)?.min(SELECT_MAX);
    let words = count.div_ceil(64);
    let deadline = deadline(timeout)?;
    let mask = if mask_address == 0 {
        None
    } else {
        let [set, size]: [u64; 2] = user::read(mask_address)?;
        mask(set, size)?
    };
    let asked = [read_set(sets[0], words)?, read_set(sets[1], words)?, read_set(sets[2], words)?];
    let mut descriptors = Vec::new();
    let mut files = Vec::new();
    for fd in 0..count {
        let has = |set: &Set| set[fd / 64] >> (fd % 64) & 1 == 1;
        let events = asked.iter().zip(SETS).filter(|(set, _)| has(set)).fold(0, |events, (_, (bits, _))| events | bits);
        if events != 0 {
            files.push(Wanted { file: Some(call.process.file(fd as u64)?.0), events });
            descriptors.push(fd);
        }
    }
    let ready =
        signal::with_mask(call.task, mask, || wait(&files, deadline).map_err(|error| interrupted(error.into())));
    write_left(timeout, deadline);
    let ready = ready?;
    let mut found = 0;
    for (which, (_, shown)) in SETS.iter().enumerate() {
        let mut set = [0; SELECT_MAX / 64];
        for (&fd, events) in descriptors.iter().zip(&ready) {
            let bit = 1 << (fd % 64);
            if asked[which][fd / 64] & bit != 0 && events & shown != 0 {
                set[fd / 64] |= bit;
                found += 1;
            }
        }
        if sets[which] != 0 {
            for (index, word) in set[..words].iter().enumerate() {
                user::write(sets[which].wrapping_add(index as u64 * 8), word)?;
            }
        }
    }
    Ok(found)
}
