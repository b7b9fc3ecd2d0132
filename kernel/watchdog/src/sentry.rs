//! A CPU looks, from time to time, whether another one still takes its timer interrupts.
//!
//! It counts its own looks, not time: a machine that was stopped and goes on, or a hypervisor that ran none of its CPUs for a while, has
//! let both miss as much.

/// Looks in a row without a sign of life that make a CPU silent.
pub const MISSES_MAX: u32 = 6;

/// What a CPU knows of the one that it watches.
#[derive(Debug, Default)]
pub struct Sentry {
    whom: usize,
    seen: u64,
    misses: u32,
}

impl Sentry {
    /// One that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { whom: 0, seen: 0, misses: 0 }
    }

    /// A look at CPU `whom`, which has taken `ticks` timer interrupts. True: it is silent.
    pub fn look(&mut self, whom: usize, ticks: u64) -> bool {
        if whom != self.whom || ticks != self.seen {
            *self = Self { whom, seen: ticks, misses: 0 };
            return false;
        }
        self.misses += 1;
        self.misses >= MISSES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_ticks_however_slowly_is_alive() {
        let mut sentry = Sentry::new();
        for tick in 0..1000 {
            assert!(!sentry.look(1, tick / u64::from(MISSES_MAX)));
        }
    }

    #[test]
    fn one_that_stands_still_is_silent_after_so_many_looks() {
        let mut sentry = Sentry::new();
        assert!(!sentry.look(3, 77));
        for _ in 1..MISSES_MAX {
            assert!(!sentry.look(3, 77));
        }
        assert!(sentry.look(3, 77));
    }

    #[test]
    fn another_one_is_looked_at_from_the_start() {
        let mut sentry = Sentry::new();
        for _ in 0..MISSES_MAX {
            sentry.look(1, 5);
        }
        assert!(!sentry.look(2, 5), "it came online in between");
        assert!(!sentry.look(2, 5));
    }
}
