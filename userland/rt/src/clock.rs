//! Time.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the system started; never falls.
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
