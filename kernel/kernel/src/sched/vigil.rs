//! CPUs watch each other: each has its timer interrupt it now and then, and looks whether the next one has taken any of its own since. One
//! that has not for long has interrupts masked and is in a loop, or waits for a lock that nobody gives up: the machine is of no use any more.
//!
//! What this does not see: that all CPUs are silent at once (only a device can end that), and a thread that keeps one CPU busy with interrupts
//! enabled, for the others run on.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use watchdog::sentry::Sentry;

use super::timer;
use crate::arch::cpu::{self, CPUS_MAX};
use crate::arch::timer as clock;
use crate::panic;
use crate::sync::{Rank, SpinLock};

/// How often a CPU looks; [`watchdog::sentry::MISSES_MAX`] times this is how long one may be silent.
const EVERY: Duration = Duration::from_secs(5);

/// Each CPU's view of the one that it watches.
static SENTRIES: [SpinLock<Sentry>; CPUS_MAX] = [const { SpinLock::new(Rank::TIMERS, Sentry::new()) }; CPUS_MAX];

/// The machine is to stand still: silence is meant.
static OVER: AtomicBool = AtomicBool::new(false);

/// Nobody watches any more.
pub fn end() {
    OVER.store(true, Ordering::Relaxed);
}

/// This CPU watches from now on.
pub fn start() {
    timer::at(clock::now() + EVERY, look).detach();
}

/// In the timer interrupt, which is a sign of life itself.
fn look() {
    if OVER.load(Ordering::Relaxed) {
        return;
    }
    let here = cpu::this().index;
    let cpus = cpu::all();
    let next = (1..cpus.len()).map(|distance| &cpus[(here + distance) % cpus.len()]);
    if let Some(next) = next.into_iter().find(|cpu| cpu.online.load(Ordering::Relaxed)) {
        let silent = SENTRIES[here].lock_irq().look(next.index, next.ticks.load(Ordering::Relaxed));
        if silent {
            // It would not stop for a report either: nothing but a restart helps.
            panic::start_again();
            panic!("CPU {} has taken no timer interrupt for {} s", next.index, silent_seconds());
        }
    }
    start();
}

fn silent_seconds() -> u64 {
    EVERY.as_secs() * u64::from(watchdog::sentry::MISSES_MAX)
}
