//! Sleeping until something is so.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use super::thread::Thread;
use super::{current, queue, timer};
use crate::arch::timer::now;
use crate::sync::{Rank, SpinLock};

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// [`Thread::interrupt`].
    Interrupted,
    /// The deadline has passed.
    TimedOut,
}

/// Threads that wait for something.
///
/// A waiter stands in the queue, then looks at its condition, then sleeps; a waker changes the condition, then wakes. So no wake-up is lost
/// (`sync::Parking`, modelled with loom). Both wakes may be called from interrupt handlers.
#[derive(Debug)]
pub struct WaitQueue {
    /// Length of `waiters`, to be read without the lock: a wake that finds nobody costs one load.
    count: AtomicUsize,
    waiters: SpinLock<VecDeque<Arc<Thread>>>,
}

impl WaitQueue {
    /// Nobody waits.
    #[must_use]
    pub const fn new() -> Self {
        Self { count: AtomicUsize::new(0), waiters: SpinLock::new(Rank::WAIT_QUEUE, VecDeque::new()) }
    }

    /// Sleeps until `condition` gives something. It is evaluated at least once, must not sleep, and may take locks of a rank below the scheduler's.
    pub fn wait_until<T>(
        &self,
        condition: impl FnMut() -> Option<T>,
        deadline: Option<Duration>,
        interruptible: bool,
    ) -> Result<T, WaitError> {
        wait_any(&[self], condition, deadline, interruptible)
    }

    /// Wakes the one that has waited longest. False: nobody waits.
    pub fn wake_one(&self) -> bool {
        // Orders the load after the waker's change of the condition, against the waiter's enqueueing before it looks.
        core::sync::atomic::fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let woken = {
            let mut waiters = self.waiters.lock_irq();
            let woken = waiters.pop_front();
            self.count.store(waiters.len(), Ordering::Relaxed);
            woken
        };
        woken.map(wake).is_some()
    }

    /// Wakes all that wait; says how many.
    pub fn wake_all(&self) -> usize {
        core::sync::atomic::fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let woken = {
            let mut waiters = self.waiters.lock_irq();
            self.count.store(0, Ordering::Relaxed);
            core::mem::take(&mut *waiters)
        };
        let count = woken.len();
        woken.into_iter().for_each(wake);
        count
    }

    fn add(&self, thread: &Arc<Thread>) {
        let mut waiters = self.waiters.lock_irq();
        waiters.push_back(thread.clone());
        self.count.store(waiters.len(), Ordering::SeqCst);
    }

    /// Takes a thread out. False: a waker has already.
    fn remove(&self, thread: &Arc<Thread>) -> bool {
        let mut waiters = self.waiters.lock_irq();
        let at = waiters.iter().position(|waiter| Arc::ptr_eq(waiter, thread));
        let removed = at.and_then(|at| waiters.remove(at)).is_some();
        self.count.store(waiters.len(), Ordering::Relaxed);
        removed
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl ::sync::Sleep for WaitQueue {
    fn sleep_until(&self, mut condition: impl FnMut() -> bool) {
        let waited = self.wait_until(|| condition().then_some(()), None, false);
        assert!(waited.is_ok(), "a wait without deadline or interruption ends with its condition");
    }

    fn wake_one(&self) {
        WaitQueue::wake_one(self);
    }

    fn wake_all(&self) {
        WaitQueue::wake_all(self);
    }
}

fn wake(thread: Arc<Thread>) {
    if thread.parking.wake() {
        queue::enqueue(thread);
    }
}

/// Sleeps until `condition` gives something, looking again after a wake of any of the queues.
pub fn wait_any<T>(
    queues: &[&WaitQueue],
    mut condition: impl FnMut() -> Option<T>,
    deadline: Option<Duration>,
    interruptible: bool,
) -> Result<T, WaitError> {
    if let Some(value) = condition() {
        return Ok(value);
    }
    // A share of its own: without a queue or an alarm nobody else holds a thread that sleeps.
    let thread = Arc::clone(&current());
    loop {
        thread.parking.prepare();
        queues.iter().for_each(|queue| queue.add(&thread));
        // The other half of the fence in the wakes.
        core::sync::atomic::fence(Ordering::SeqCst);
        let result = if let Some(value) = condition() {
            Some(Ok(value))
        } else if interruptible && thread.is_interrupted() {
            Some(Err(WaitError::Interrupted))
        } else if deadline.is_some_and(|deadline| now() >= deadline) {
            Some(Err(WaitError::TimedOut))
        } else {
            None
        };
        if result.is_some() {
            thread.parking.cancel();
        } else {
            let alarm = deadline.map(|deadline| timer::wake_at(deadline, &thread));
            queue::park();
            drop(alarm);
        }
        for queue in queues {
            let woken = !queue.remove(&thread);
            // One that leaves has taken a wake that it had no use for, also when it found what it waited for by itself: another, who came
            // to this queue meanwhile, may be meant.
            if woken && result.is_some() {
                queue.wake_one();
            }
        }
        if let Some(result) = result {
            return result;
        }
    }
}

/// Sleeps until `deadline`, or until interrupted.
pub fn sleep_until(deadline: Duration, interruptible: bool) -> Result<(), WaitError> {
    match wait_any(&[], || None::<()>, Some(deadline), interruptible) {
        Err(WaitError::TimedOut) => Ok(()),
        other => other,
    }
}
