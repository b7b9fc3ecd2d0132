//! What the kernel's CPUs share data with: a ranked spinlock, a cell written once, a sleeping lock, the two-sided protocol by which
//! a thread goes to sleep without losing a wake-up, and time that adds up on one CPU and is read on another.
//!
//! The machine is behind two small traits, [`Cpu`] and [`Sleep`], so the same code runs in the kernel and in host tests; with
//! `RUSTFLAGS="--cfg loom"` the tests explore every interleaving.
#![cfg_attr(not(any(test, loom)), no_std)]

mod atomic;
mod mutex;
mod once;
mod parking;
mod rank;
mod spin;
mod stopwatch;

pub use mutex::{Mutex, MutexGuard, Sleep};
pub use once::Once;
#[cfg(not(loom))]
pub use once::Prepared;
pub use parking::Parking;
pub use rank::Rank;
pub use spin::{Cpu, SpinGuard, SpinLock};
pub use stopwatch::Stopwatch;
