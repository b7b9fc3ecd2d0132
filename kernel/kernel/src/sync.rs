//! The crate `sync` on this machine.

pub use ::sync::{Once, Parking, Prepared, Rank, Stopwatch};

use crate::arch::cpu;
use crate::sched::WaitQueue;

/// The CPU that runs this.
#[derive(Debug)]
pub struct ThisCpu;

impl ::sync::Cpu for ThisCpu {
    fn mask_interrupts() -> u64 {
        cpu::mask_interrupts()
    }

    fn restore_interrupts(mask: u64) {
        cpu::restore_interrupts(mask);
    }

    fn held() -> u64 {
        cpu::this().held_ranks.load(core::sync::atomic::Ordering::Relaxed)
    }

    fn set_held(held: u64) {
        cpu::this().held_ranks.store(held, core::sync::atomic::Ordering::Relaxed);
    }

    fn relax() {
        cpu::relax();
    }
}

/// A lock that is waited for by spinning; its holder must not sleep.
pub type SpinLock<T> = ::sync::SpinLock<T, ThisCpu>;
/// The right to use what a [`SpinLock`] guards.
pub type SpinGuard<'a, T> = ::sync::SpinGuard<'a, T, ThisCpu>;
/// A lock that is waited for asleep.
pub type Mutex<T> = ::sync::Mutex<T, WaitQueue>;

/// A free [`Mutex`].
pub const fn mutex<T>(value: T) -> Mutex<T> {
    Mutex::with_sleepers(value, WaitQueue::new())
}
