//! What is to happen at a given time. Each CPU keeps its own list, and its own timer interrupt serves it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use super::queue;
use super::thread::Thread;
use crate::arch::cpu::{self, CPUS_MAX};
use crate::arch::timer as clock;
use crate::sync::{Rank, SpinLock};

/// When, and a number that makes it unique.
type Key = (u64, u64);

enum Action {
    Wake(Arc<Thread>),
    Call(Box<dyn FnOnce() + Send>),
}

static LISTS: [SpinLock<BTreeMap<Key, Action>>; CPUS_MAX] =
    [const { SpinLock::new(Rank::TIMERS, BTreeMap::new()) }; CPUS_MAX];
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Something that is to happen; dropping it takes it back, unless it has happened or is just happening.
#[must_use = "dropping it takes it back"]
pub struct Timer {
    cpu: usize,
    key: Key,
}

impl Timer {
    /// Lets it happen, with nobody to take it back.
    pub fn detach(self) {
        core::mem::forget(self);
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Timer(cpu {}, {})", self.cpu, self.key.0)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let removed = LISTS[self.cpu].lock_irq().remove(&self.key);
        // What it held is dropped here, after the lock.
        drop(removed);
    }
}

/// Calls `function` at `deadline` (or at once when it has passed), in an interrupt handler on the CPU that runs this.
pub fn at(deadline: Duration, function: impl FnOnce() + Send + 'static) -> Timer {
    add(deadline, Action::Call(Box::new(function)))
}

/// Wakes `thread` at `deadline`.
pub(super) fn wake_at(deadline: Duration, thread: &Arc<Thread>) -> Timer {
    add(deadline, Action::Wake(thread.clone()))
}

fn add(deadline: Duration, action: Action) -> Timer {
    let key = (clock::duration_to_ticks(deadline), NEXT.fetch_add(1, Ordering::Relaxed));
    let mask = cpu::mask_interrupts();
    let cpu = cpu::this().index;
    let is_first = {
        let mut list = LISTS[cpu].lock_irq();
        list.insert(key, action);
        list.first_key_value().is_some_and(|(first, _)| *first == key)
    };
    if is_first {
        queue::program_timer();
    }
    cpu::restore_interrupts(mask);
    Timer { cpu, key }
}

/// Counter value of the first entry of a CPU's list.
pub(super) fn next_deadline(cpu: usize) -> Option<u64> {
    LISTS[cpu].lock_irq().first_key_value().map(|(key, _)| key.0)
}

/// The timer interrupt.
pub fn interrupt() {
    let cpu = cpu::this();
    cpu.ticks.fetch_add(1, Ordering::Relaxed);
    loop {
        let due = {
            let mut list = LISTS[cpu.index].lock_irq();
            let is_due = list.first_key_value().is_some_and(|(key, _)| key.0 <= clock::ticks());
            if is_due { list.pop_first() } else { None }
        };
        match due {
            Some((_, Action::Wake(thread))) => {
                if thread.parking.wake() {
                    queue::enqueue(thread);
                }
            }
            Some((_, Action::Call(function))) => function(),
            None => break,
        }
    }
    queue::slice_check();
    queue::program_timer();
}
