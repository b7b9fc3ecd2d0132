//! Signals that wait to be delivered.

use alloc::vec::Vec;

use linux::signal::{SigInfo, SigSet, Signal};

/// Real-time signals that wait in one queue, at most (RLIMIT_SIGPENDING of Linux is of this order).
const QUEUED_MAX: usize = 1024;

/// A queue. Invariant: `set` holds a signal exactly while `infos` has one of it; a standard signal waits at most once.
#[derive(Default)]
pub struct Pending {
    set: SigSet,
    infos: Vec<SigInfo>,
}

impl Pending {
    /// Which signals wait.
    pub fn set(&self) -> SigSet {
        self.set
    }

    /// Adds one. False: it was real-time and the queue is full.
    pub fn push(&mut self, info: &SigInfo) -> bool {
        if info.signal.number() < Signal::RTMIN && self.set.contains(info.signal) {
            return true;
        }
        if self.infos.len() >= QUEUED_MAX && info.signal.number() >= Signal::RTMIN {
            return false;
        }
        self.set = self.set.with(info.signal);
        self.infos.push(*info);
        true
    }

    /// Takes the next of those in `wanted`.
    pub fn take(&mut self, wanted: SigSet) -> Option<SigInfo> {
        let signal = self.set.intersection(wanted).first()?;
        let index = self.infos.iter().position(|info| info.signal == signal)?;
        let info = self.infos.remove(index);
        if !self.infos.iter().any(|other| other.signal == signal) {
            self.set = self.set.without(SigSet::of(signal));
        }
        Some(info)
    }

    /// Forgets all of these.
    pub fn discard(&mut self, signals: SigSet) {
        if !self.set.intersection(signals).is_empty() {
            self.infos.retain(|info| !signals.contains(info.signal));
            self.set = self.set.without(signals);
        }
    }
}
