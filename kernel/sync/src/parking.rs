use crate::atomic::{AtomicU8, Ordering};

const RUNNING: u8 = 0;
const PREPARING: u8 = 1;
const PARKED: u8 = 2;

/// How a thread goes to sleep without losing a wake-up.
///
/// The sleeper calls [`Parking::prepare`], makes itself findable for wakers, looks once more whether it has to sleep at all, and then
/// [`Parking::park`]s, or [`Parking::cancel`]s. A waker changes what the sleeper looks at, and then calls [`Parking::wake`].
///
/// ```text
///            prepare              park
///   RUNNING ---------> PREPARING -------> PARKED
///      ^  ^             |  wake              | wake: the waker puts the thread on a run queue
///      |  `-------------'  cancel            |
///      `-------------------------------------'
/// ```
#[derive(Debug)]
pub struct Parking(AtomicU8);

impl Parking {
    /// A thread that runs.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default, reason = "running or parked is the caller's choice to name")]
    pub const fn new() -> Self {
        Self(AtomicU8::new(RUNNING))
    }

    /// A thread that runs.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(AtomicU8::new(RUNNING))
    }

    /// The thread means to sleep; from here on a wake is remembered.
    pub fn prepare(&self) {
        // The sleeper's look at its condition must not come before this store, nor the waker's load of the state before its change: both sides
        // use a read-modify-write with full order.
        self.0.swap(PREPARING, Ordering::SeqCst);
    }

    /// The thread does not sleep after all.
    pub fn cancel(&self) {
        self.0.store(RUNNING, Ordering::Relaxed);
    }

    /// True: the thread is parked, and must be switched away from; the waker that finds it makes it runnable. False: it was woken meanwhile, and runs on.
    #[must_use = "a parked thread must stop running"]
    pub fn park(&self) -> bool {
        self.0.compare_exchange(PREPARING, PARKED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// True: the thread was parked and now belongs to the caller, who makes it runnable. False: it runs, and will see the wake.
    #[must_use = "the thread that was woken must be made runnable"]
    pub fn wake(&self) -> bool {
        self.0.swap(RUNNING, Ordering::SeqCst) == PARKED
    }

    /// Sleeping, seen from outside: a snapshot.
    pub fn is_parked(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PARKED
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wake_between_prepare_and_park_is_kept() {
        let parking = Parking::new();
        parking.prepare();
        assert!(!parking.wake());
        assert!(!parking.park());
        parking.prepare();
        assert!(parking.park());
        assert!(parking.wake());
        assert!(!parking.wake());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Two wakers, one sleeper: it never sleeps on with its condition true and nobody left to wake it, and is made runnable at most once per sleep.
    #[test]
    fn no_wake_is_lost() {
        loom::model(|| {
            let parking = Arc::new(Parking::new());
            let condition = Arc::new(AtomicBool::new(false));
            let enqueued = Arc::new(AtomicUsize::new(0));
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let (parking, condition, enqueued) = (parking.clone(), condition.clone(), enqueued.clone());
                    loom::thread::spawn(move || {
                        condition.store(true, Ordering::Release);
                        if parking.wake() {
                            enqueued.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            parking.prepare();
            let sleeps = !condition.load(Ordering::Acquire) && parking.park();
            wakers.into_iter().for_each(|waker| waker.join().unwrap());
            assert_eq!(enqueued.load(Ordering::Relaxed), usize::from(sleeps));
        });
    }
}
