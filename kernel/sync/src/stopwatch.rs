//! Time that adds up while something runs, to be read exactly at any moment, by any CPU, while it runs too.

use core::sync::atomic::{AtomicU64, Ordering};

/// It runs.
const RUNS: u64 = 1 << 63;
/// The rest of the word counts modulo 2^63; the highest of its bits is the sign.
const COUNT: u64 = RUNS - 1;
const NEGATIVE: u64 = 1 << 62;

/// Counts ticks between start and stop. One CPU at a time starts and stops it, alternately.
///
/// One word holds all: stopped, the ticks so far; running, those less the counter at the start. So a reader sees it before or after a
/// change, never in between, and the one who changes it needs no lock and no barrier.
#[derive(Debug, Default)]
pub struct Stopwatch(AtomicU64);

impl Stopwatch {
    /// Stopped at nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Lets it run from this value of the counter on.
    #[inline]
    pub fn start(&self, counter: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(counter) | RUNS, Ordering::Relaxed);
    }

    /// Stops it at this value of the counter.
    #[inline]
    pub fn stop(&self, counter: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(counter) & COUNT, Ordering::Relaxed);
    }

    /// Ticks so far. The counter is read after the word; one that is a little behind another CPU's does no harm.
    #[must_use]
    pub fn read(&self, counter: impl FnOnce() -> u64) -> u64 {
        let word = self.0.load(Ordering::Relaxed);
        if word & RUNS == 0 {
            return word;
        }
        let ticks = word.wrapping_add(counter()) & COUNT;
        if ticks & NEGATIVE == 0 { ticks } else { 0 }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_counts_while_it_runs_and_can_be_read_at_any_moment() {
        let watch = Stopwatch::new();
        assert_eq!(watch.read(|| 1000), 0);
        watch.start(1000);
        assert_eq!([watch.read(|| 1000), watch.read(|| 1005)], [0, 5]);
        watch.stop(1010);
        assert_eq!(watch.read(|| 9999), 10);
        watch.start(2000);
        assert_eq!([watch.read(|| 2000), watch.read(|| 2007)], [10, 17]);
        watch.stop(2007);
        assert_eq!(watch.read(|| 0), 17);
    }

    #[test]
    fn a_counter_that_is_behind_gives_no_time() {
        let watch = Stopwatch::new();
        watch.start(1000);
        assert_eq!(watch.read(|| 999), 0);
        watch.stop(1000);
        assert_eq!(watch.read(|| 0), 0);
    }

    #[test]
    fn the_counter_may_be_large() {
        for at in [COUNT - 3, RUNS - 1, RUNS, u64::MAX - 2] {
            let watch = Stopwatch::new();
            watch.start(at);
            assert_eq!(watch.read(|| at.wrapping_add(7)), 7, "{at:#x}");
            watch.stop(at.wrapping_add(9));
            assert_eq!(watch.read(|| 0), 9, "{at:#x}");
        }
    }
}
