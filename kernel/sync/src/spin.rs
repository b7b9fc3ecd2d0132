use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use crate::Rank;
use crate::atomic::{AtomicBool, Ordering, UnsafeCell, spin};

/// The CPU a lock is taken on.
pub trait Cpu {
    /// Masks interrupts and returns what [`Cpu::restore_interrupts`] needs to put the mask back.
    fn mask_interrupts() -> u64;
    /// Puts the mask back.
    fn restore_interrupts(mask: u64);
    /// The set of ranks held on this CPU, one bit each.
    fn held() -> u64;
    /// Replaces that set.
    fn set_held(held: u64);
    /// Lets time pass between two looks at what another CPU is to change.
    fn relax() {
        spin();
    }
}

/// A lock that is waited for by spinning.
///
/// Invariant: `locked` is true exactly while one guard exists. In debug builds taking a lock whose rank is not above every rank held
/// on this CPU panics, and so does sleeping with a lock held (the scheduler asks [`Cpu::held`]).
#[derive(Debug)]
pub struct SpinLock<T, C: Cpu> {
    locked: AtomicBool,
    rank: Rank,
    value: UnsafeCell<T>,
    cpu: PhantomData<fn() -> C>,
}

// SAFETY: the lock hands out one `&mut T` at a time, to whichever CPU took it.
unsafe impl<T: Send, C: Cpu> Send for SpinLock<T, C> {}
// SAFETY: as above.
unsafe impl<T: Send, C: Cpu> Sync for SpinLock<T, C> {}

impl<T, C: Cpu> SpinLock<T, C> {
    /// A free lock.
    #[cfg(not(loom))]
    pub const fn new(rank: Rank, value: T) -> Self {
        Self { locked: AtomicBool::new(false), rank, value: UnsafeCell::new(value), cpu: PhantomData }
    }

    /// A free lock.
    #[cfg(loom)]
    pub fn new(rank: Rank, value: T) -> Self {
        Self { locked: AtomicBool::new(false), rank, value: UnsafeCell::new(value), cpu: PhantomData }
    }

    /// Takes the lock. For locks that no interrupt handler takes.
    pub fn lock(&self) -> SpinGuard<'_, T, C> {
        self.take(None)
    }

    /// Masks interrupts until the guard goes, and takes the lock.
    pub fn lock_irq(&self) -> SpinGuard<'_, T, C> {
        let mask = C::mask_interrupts();
        self.take(Some(mask))
    }

    /// Like [`SpinLock::lock_irq`], but gives up at once when somebody holds the lock. The rank is not checked: who does not wait cannot deadlock.
    pub fn try_lock_irq(&self) -> Option<SpinGuard<'_, T, C>> {
        let mask = C::mask_interrupts();
        if self.locked.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            C::restore_interrupts(mask);
            return None;
        }
        Some(self.guard(Some(mask)))
    }

    /// The value, without locking: nobody else has the lock.
    #[cfg(not(loom))]
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The value, without locking: nobody else has the lock.
    #[cfg(loom)]
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self` is the only way to the value, for as long as the result lives.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    fn take(&self, mask: Option<u64>) -> SpinGuard<'_, T, C> {
        if cfg!(debug_assertions) {
            let held = C::held();
            assert!(self.rank.above_all(held), "lock of {:?} taken with ranks {held:#x} held", self.rank);
        }
        while self.locked.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            while self.locked.load(Ordering::Relaxed) {
                C::relax();
            }
        }
        self.guard(mask)
    }

    fn guard(&self, mask: Option<u64>) -> SpinGuard<'_, T, C> {
        let before = if cfg!(debug_assertions) { C::held() } else { 0 };
        if cfg!(debug_assertions) {
            C::set_held(before | self.rank.bit());
        }
        SpinGuard { lock: self, mask, added: self.rank.bit() & !before, not_send: PhantomData }
    }
}

/// The right to use what a [`SpinLock`] guards; gives it back when it goes.
#[derive(Debug)]
#[must_use = "the lock is freed as soon as the guard is dropped"]
pub struct SpinGuard<'a, T, C: Cpu> {
    lock: &'a SpinLock<T, C>,
    mask: Option<u64>,
    added: u64,
    /// The interrupt mask and the ranks are this CPU's.
    not_send: PhantomData<*const ()>,
}

impl<T, C: Cpu> Deref for SpinGuard<'_, T, C> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard is the one holder of the lock.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T, C: Cpu> DerefMut for SpinGuard<'_, T, C> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the one holder of the lock.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T, C: Cpu> Drop for SpinGuard<'_, T, C> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            C::set_held(C::held() & !self.added);
        }
        self.lock.locked.store(false, Ordering::Release);
        if let Some(mask) = self.mask {
            C::restore_interrupts(mask);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::Arc;

    struct Host;

    thread_local! {
        static HELD: Cell<u64> = const { Cell::new(0) };
        static MASKED: Cell<u64> = const { Cell::new(0) };
    }

    impl Cpu for Host {
        fn mask_interrupts() -> u64 {
            MASKED.replace(1)
        }
        fn restore_interrupts(mask: u64) {
            MASKED.set(mask);
        }
        fn held() -> u64 {
            HELD.get()
        }
        fn set_held(held: u64) {
            HELD.set(held);
        }
    }

    #[test]
    fn threads_add_up() {
        let lock = Arc::new(SpinLock::<u64, Host>::new(Rank::test(1), 0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let lock = lock.clone();
                std::thread::spawn(move || (0..1000).for_each(|_| *lock.lock() += 1))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*lock.lock(), 4000);
    }

    #[test]
    fn ranks_go_up_and_the_mask_comes_back() {
        let low = SpinLock::<(), Host>::new(Rank::test(1), ());
        let high = SpinLock::<(), Host>::new(Rank::test(2), ());
        let first = low.lock();
        let second = high.lock_irq();
        assert_eq!((HELD.get(), MASKED.get()), (0b110, 1));
        drop(first);
        drop(second);
        assert_eq!((HELD.get(), MASKED.get()), (0, 0));
    }

    #[test]
    #[should_panic(expected = "taken with ranks")]
    fn a_lower_rank_panics() {
        let low = SpinLock::<(), Host>::new(Rank::test(1), ());
        let high = SpinLock::<(), Host>::new(Rank::test(2), ());
        let _second = high.lock();
        let _first = low.lock();
    }

    #[test]
    #[should_panic(expected = "taken with ranks")]
    fn the_same_rank_panics() {
        let a = SpinLock::<(), Host>::new(Rank::test(3), ());
        let b = SpinLock::<(), Host>::new(Rank::test(3), ());
        let _a = a.lock();
        let _b = b.lock();
    }

    #[test]
    fn trying_a_held_lock_leaves_everything_as_it_was() {
        let lock = SpinLock::<(), Host>::new(Rank::test(1), ());
        let guard = lock.lock();
        assert!(lock.try_lock_irq().is_none());
        assert_eq!((HELD.get(), MASKED.get()), (0b10, 0));
        drop(guard);
        assert!(lock.try_lock_irq().is_some());
        assert_eq!((HELD.get(), MASKED.get()), (0, 0));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;

    struct Model;

    impl Cpu for Model {
        fn mask_interrupts() -> u64 {
            0
        }
        fn restore_interrupts(_mask: u64) {}
        fn held() -> u64 {
            0
        }
        fn set_held(_held: u64) {}
    }

    #[test]
    fn one_holder_at_a_time() {
        loom::model(|| {
            let lock = Arc::new(SpinLock::<u32, Model>::new(Rank::test(1), 0));
            let other = lock.clone();
            let thread = loom::thread::spawn(move || *other.lock() += 1);
            if let Some(mut guard) = lock.try_lock_irq() {
                *guard += 1;
            } else {
                *lock.lock() += 1;
            }
            thread.join().unwrap();
            assert_eq!(*lock.lock(), 2);
        });
    }
}
