//! Waiting for several files.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use linux::flags::{POLLERR, POLLHUP, POLLNVAL};

use super::{Kernel, OpenFile};
use crate::sched::{WaitError, WaitQueue, wait_any};

/// The queues on which the files' readiness is told.
struct Queues<'a>(Vec<&'a WaitQueue>);

impl<'a> vfs::Watch<'a, Kernel> for Queues<'a> {
    fn on(&mut self, queue: &'a WaitQueue) {
        self.0.push(queue);
    }
}

/// A file and what is wanted of it. No file: a descriptor that is none.
pub struct Wanted {
    /// The file; `None` for a closed descriptor.
    pub file: Option<Arc<OpenFile>>,
    /// `POLLIN` …
    pub events: u16,
}

impl Wanted {
    /// What holds now, of what was asked for and of what is always told.
    fn ready(&self) -> u16 {
        self.file.as_ref().map_or(POLLNVAL, |file| file.poll(None) & self.mask())
    }

    fn mask(&self) -> u16 {
        self.events | POLLERR | POLLHUP | POLLNVAL
    }
}

/// Sleeps until one of the files is ready; gives what each is ready for. After the deadline all are 0.
///
/// # Errors
/// `Interrupted`.
pub fn wait(wanted: &[Wanted], deadline: Option<Duration>) -> Result<Vec<u16>, WaitError> {
    let look = || {
        let ready: Vec<u16> = wanted.iter().map(Wanted::ready).collect();
        ready.iter().any(|&events| events != 0).then_some(ready)
    };
    if let Some(ready) = look() {
        return Ok(ready);
    }
    let mut queues = Queues(Vec::new());
    for file in wanted.iter().filter_map(|one| one.file.as_ref()) {
        file.poll(Some(&mut queues));
    }
    match wait_any(&queues.0, look, deadline, true) {
        Err(WaitError::TimedOut) => Ok(alloc::vec![0; wanted.len()]),
        other => other,
    }
}
