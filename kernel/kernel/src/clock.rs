//! The date: time since power-on plus an offset, which the hardware clock or a program sets.

use core::sync::atomic::{AtomicU64, Ordering};

use linux::types::Timespec;

use crate::arch::timer;

/// Nanoseconds from 1970 to power-on.
static OFFSET: AtomicU64 = AtomicU64::new(0);

fn since_power_on() -> u64 {
    timer::now().as_nanos() as u64
}

/// Nanoseconds from 1970 to power-on.
#[must_use]
pub fn offset_nanos() -> u64 {
    OFFSET.load(Ordering::Relaxed)
}

/// The date.
#[must_use]
pub fn realtime() -> Timespec {
    Timespec::from_nanos(since_power_on().saturating_add(offset_nanos()))
}

/// Sets the date to `earliest` when it is before that: a machine without a hardware clock starts in 1970.
pub fn set_earliest(earliest: Timespec) {
    if (realtime().sec, realtime().nsec) < (earliest.sec, earliest.nsec) {
        set_realtime(earliest.to_nanos().unwrap_or(0));
    }
}

/// Sets the date, in nanoseconds since 1970.
pub fn set_realtime(nanos: u64) {
    OFFSET.store(nanos.saturating_sub(since_power_on()), Ordering::Relaxed);
}
