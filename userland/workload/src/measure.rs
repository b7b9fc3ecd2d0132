//! What a piece of work took.

use core::fmt::Display;

use rt::rustix::fd::BorrowedFd;
use rt::rustix::time::{ClockId, clock_gettime};

/// /proc/stat of many CPUs fits.
const STAT_MAX: usize = 64 << 10;
/// Nanoseconds of a tick of /proc/stat (USER_HZ).
const TICK_NS: u64 = 10_000_000;

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Idle time of all CPUs since the start: idle and iowait of the first line of /proc/stat (proc(5)).
fn idle_ns() -> u64 {
    let stat = rt::fs::read_text("/proc/stat", STAT_MAX).unwrap_or_default();
    idle_ticks(&stat).saturating_mul(TICK_NS)
}

fn idle_ticks(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    line.split_ascii_whitespace().skip(4).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Waits for a line on standard input; its end is as good.
fn wait_for_line() {
    // SAFETY: descriptors 0 to 2 are never closed by our programs.
    let input = unsafe { BorrowedFd::borrow_raw(0) };
    let mut byte = [0];
    while rt::rustix::io::read(input, &mut byte).is_ok_and(|count| count == 1) && byte[0] != b'\n' {}
}

/// Does the work between two lines, and tells what it took.
///
/// # Errors
/// What the work says.
pub fn measured<E: Display>(work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    rt::out!("workload: ready\n");
    wait_for_line();
    let (begin, idle_before) = (now_ns(), idle_ns());
    let result = work();
    let (total, idle) = (now_ns() - begin, idle_ns().saturating_sub(idle_before));
    match &result {
        Ok(()) => rt::out!("workload: done total_ns={total} idle_ns={idle}\n"),
        Err(why) => rt::out!("workload: failed why={why}\n"),
    };
    wait_for_line();
    result
}

#[cfg(test)]
mod tests {
    use super::idle_ticks;

    #[test]
    fn idle_and_waiting_for_a_disk_count_as_idle() {
        assert_eq!(idle_ticks("cpu  10 2 30 400 5 6 7 8 0 0\ncpu0 1 1 1 1 1\n"), 405);
        assert_eq!(idle_ticks(""), 0);
    }
}
