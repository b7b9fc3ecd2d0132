//! Interval timers (`setitimer`, `ITIMER_REAL`): one thread sleeps until the next of them rings.
//!
//! Invariant: `QUEUE` holds (when, pid) of exactly the processes whose `signals.alarm` is set; both change under the queue's lock first.

use alloc::collections::BTreeSet;
use core::time::Duration;

use linux::signal::{SigInfo, Signal};

use super::task::Process;
use super::{signal, table};
use crate::arch::timer;
use crate::sched::WaitQueue;
use crate::sync::{Rank, SpinLock};

static QUEUE: SpinLock<BTreeSet<(Duration, u32)>> = SpinLock::new(Rank::PROCESS, BTreeSet::new());
static CHANGED: WaitQueue = WaitQueue::new();

/// Sets the timer; gives what was left of the old one, and its period.
pub fn set(process: &Process, value: Duration, period: Duration) -> (Duration, Duration) {
    let now = timer::now();
    let mut queue = QUEUE.lock();
    let mut signals = process.signals.lock();
    let old = signals.alarm.take();
    if let Some(at) = old {
        queue.remove(&(at, process.pid));
    }
    let old_period = core::mem::replace(&mut signals.alarm_period, period);
    if !value.is_zero() {
        let at = now.saturating_add(value);
        signals.alarm = Some(at);
        queue.insert((at, process.pid));
    }
    drop(signals);
    drop(queue);
    if !value.is_zero() {
        CHANGED.wake_one();
    }
    (old.map_or(Duration::ZERO, |at| at.saturating_sub(now).max(Duration::from_micros(1))), old_period)
}

/// What is left of the timer, and its period.
pub fn get(process: &Process) -> (Duration, Duration) {
    let signals = process.signals.lock();
    let left = signals.alarm.map_or(Duration::ZERO, |at| at.saturating_sub(timer::now()));
    (left, signals.alarm_period)
}

/// The process ends.
pub fn cancel(process: &Process) {
    if process.signals.lock().alarm.is_some() {
        set(process, Duration::ZERO, Duration::ZERO);
    }
}

fn take_due() -> Option<u32> {
    let mut queue = QUEUE.lock();
    let &(at, pid) = queue.first()?;
    if at > timer::now() {
        return None;
    }
    queue.pop_first();
    Some(pid)
}

fn ring(pid: u32) {
    let Some(process) = table::find(pid) else { return };
    {
        let mut queue = QUEUE.lock();
        let mut signals = process.signals.lock();
        let period = signals.alarm_period;
        signals.alarm = match signals.alarm {
            Some(at) if !period.is_zero() => {
                let next = at.saturating_add(period).max(timer::now());
                queue.insert((next, pid));
                Some(next)
            }
            _ => None,
        };
    }
    signal::send(&process, &SigInfo::kernel(Signal::ALRM));
}

/// The thread that rings.
pub fn serve() -> ! {
    loop {
        while let Some(pid) = take_due() {
            ring(pid);
        }
        let next = QUEUE.lock().first().map(|&(at, _)| at);
        let changed = || {
            let first = QUEUE.lock().first().map(|&(at, _)| at);
            (first != next || first.is_some_and(|at| at <= timer::now())).then_some(())
        };
        let _ = CHANGED.wait_until(changed, next, false);
    }
}
