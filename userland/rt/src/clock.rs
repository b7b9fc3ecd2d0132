//! Time.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Milliseconds since the system started; never falls.
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Seconds since 1970.
pub fn date() -> u64 {
    clock_gettime(ClockId::Realtime).tv_sec.try_into().unwrap_or(0)
}

/// Sleeps.
pub fn sleep_ms(ms: u64) {
    let time = Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: ((ms % 1000) * 1_000_000) as i64 };
    let _ = rustix::thread::nanosleep(&time);
}
