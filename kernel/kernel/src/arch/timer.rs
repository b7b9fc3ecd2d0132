//! The generic timer (Arm ARM, D11): time since power-on.

use core::time::Duration;

use super::sysreg;

/// Time since power-on; never falls, the same on every CPU.
#[must_use]
pub fn now() -> Duration {
    ticks_to_duration(ticks())
}

/// The virtual count.
#[must_use]
pub fn ticks() -> u64 {
    // SAFETY: orders the read of the counter after what came before (Arm ARM, D11.2.2).
    unsafe { core::arch::asm!("isb", options(nomem, nostack)) };
    sysreg::read!(CNTVCT_EL0)
}

/// Ticks per second.
#[must_use]
pub fn frequency() -> u64 {
    sysreg::read!(CNTFRQ_EL0)
}

/// A count as time.
#[must_use]
pub fn ticks_to_duration(ticks: u64) -> Duration {
    let frequency = frequency();
    Duration::new(ticks / frequency, ((ticks % frequency) * 1_000_000_000 / frequency) as u32)
}
