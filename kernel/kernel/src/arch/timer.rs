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

/// Time as a count, rounded up.
#[must_use]
pub fn duration_to_ticks(duration: Duration) -> u64 {
    let frequency = u128::from(frequency());
    let ticks = (duration.as_nanos() * frequency).div_ceil(1_000_000_000);
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// Has this CPU's timer interrupt it when the count reaches `deadline`; or not at all.
pub fn set_deadline(deadline: Option<u64>) {
    // SAFETY: only this timer is affected: ENABLE, not IMASK (Arm ARM, D19.12.16); the compare value first.
    unsafe {
        if let Some(deadline) = deadline {
            sysreg::write!(CNTV_CVAL_EL0, deadline);
            sysreg::write!(CNTV_CTL_EL0, 1_u64);
        } else {
            sysreg::write!(CNTV_CTL_EL0, 0_u64);
        }
    }
}

/// Lets user programs read the virtual count, and nothing else of the timer (CNTKCTL_EL1.EL0VCTEN).
pub fn open_to_users() {
    // SAFETY: no effect on the kernel.
    unsafe { sysreg::write!(CNTKCTL_EL1, 1_u64 << 1) };
}
