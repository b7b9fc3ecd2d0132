use core::ops::{Deref, DerefMut};

use crate::atomic::{AtomicBool, Ordering, UnsafeCell};

/// Somewhere to sleep until a condition holds: the kernel's wait queue.
pub trait Sleep {
    /// Sleeps until `condition` holds; it is evaluated again after each wake.
    fn sleep_until(&self, condition: impl FnMut() -> bool);
    /// Wakes one sleeper.
    fn wake_one(&self);
    /// Wakes all sleepers.
    fn wake_all(&self);
}

/// A lock that is waited for asleep; its holder may itself sleep.
///
/// Invariant: `locked` is true exactly while one guard exists.
#[derive(Debug)]
pub struct Mutex<T, S: Sleep> {
    locked: AtomicBool,
    sleepers: S,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out one `&mut T` at a time.
unsafe impl<T: Send, S: Sleep + Send> Send for Mutex<T, S> {}
// SAFETY: as above.
unsafe impl<T: Send, S: Sleep + Sync> Sync for Mutex<T, S> {}

impl<T, S: Sleep> Mutex<T, S> {
    /// A free lock whose sleepers wait in `sleepers`.
    #[cfg(not(loom))]
    pub const fn with_sleepers(value: T, sleepers: S) -> Self {
        Self { locked: AtomicBool::new(false), sleepers, value: UnsafeCell::new(value) }
    }

    /// A free lock whose sleepers wait in `sleepers`.
    #[cfg(loom)]
    pub fn with_sleepers(value: T, sleepers: S) -> Self {
        Self { locked: AtomicBool::new(false), sleepers, value: UnsafeCell::new(value) }
    }

    /// Takes the lock, asleep while another has it.
    pub fn lock(&self) -> MutexGuard<'_, T, S> {
        if !self.try_take() {
            self.sleepers.sleep_until(|| self.try_take());
        }
        MutexGuard { mutex: self }
    }

    /// Takes the lock if nobody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T, S>> {
        self.try_take().then(|| MutexGuard { mutex: self })
    }

    fn try_take(&self) -> bool {
        self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

/// The right to use what a [`Mutex`] guards.
#[derive(Debug)]
#[must_use = "the lock is freed as soon as the guard is dropped"]
pub struct MutexGuard<'a, T, S: Sleep> {
    mutex: &'a Mutex<T, S>,
}

impl<T, S: Sleep> Deref for MutexGuard<'_, T, S> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard is the one holder of the lock.
        self.mutex.value.with(|value| unsafe { &*value })
    }
}

impl<T, S: Sleep> DerefMut for MutexGuard<'_, T, S> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the one holder of the lock.
        self.mutex.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T, S: Sleep> Drop for MutexGuard<'_, T, S> {
    fn drop(&mut self) {
        self.mutex.locked.store(false, Ordering::Release);
        self.mutex.sleepers.wake_one();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Yielding;

    impl Sleep for Yielding {
        fn sleep_until(&self, mut condition: impl FnMut() -> bool) {
            while !condition() {
                std::thread::yield_now();
            }
        }
        fn wake_one(&self) {}
        fn wake_all(&self) {}
    }

    #[test]
    fn threads_add_up() {
        let lock = Arc::new(Mutex::with_sleepers(0_u64, Yielding));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let lock = lock.clone();
                std::thread::spawn(move || (0..1000).for_each(|_| *lock.lock() += 1))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*lock.lock(), 4000);
        let held = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(held);
        assert!(lock.try_lock().is_some());
    }
}
