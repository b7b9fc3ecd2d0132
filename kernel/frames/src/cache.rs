//! Single frames that one CPU keeps for itself, so that it takes the lock of [`Frames`] once for many of them.
//!
//! Invariants: a frame lies in at most one cache, and then [`Frames`] counts it as given out; a cache holds at most [`CACHE_FRAMES_MAX`];
//! one that runs empty or full moves [`CACHE_BATCH`] at once, so that a CPU that takes and gives in turn stays away from the lock.

use crate::{Frames, Store};

/// The most frames that a cache holds.
pub const CACHE_FRAMES_MAX: usize = 32;
/// Frames that are moved at once.
pub const CACHE_BATCH: usize = CACHE_FRAMES_MAX / 2;

/// Frames of one CPU that nobody uses.
#[derive(Debug)]
pub struct Cache {
    frames: [u64; CACHE_FRAMES_MAX],
    count: usize,
}

impl Cache {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { frames: [0; CACHE_FRAMES_MAX], count: 0 }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// There is no room for another.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count == CACHE_FRAMES_MAX
    }

    /// The one that was put last: its bytes are the likeliest to be near the CPU.
    pub fn take(&mut self) -> Option<u64> {
        self.count = self.count.checked_sub(1)?;
        Some(self.frames[self.count])
    }

    /// Keeps a frame.
    ///
    /// # Panics
    /// When the cache is full.
    pub fn put(&mut self, frame: u64) {
        self.frames[self.count] = frame;
        self.count += 1;
    }

    /// Fetches a batch, or as many as there are, into an empty cache. The lowest will be taken first, so that memory in use stays dense.
    ///
    /// # Panics
    /// When the cache holds more than a batch.
    pub fn fill<S: Store>(&mut self, frames: &mut Frames, store: &mut S) {
        let many = frames.allocate_many(store, &mut self.frames[self.count..CACHE_BATCH]);
        self.count += many;
        self.frames[..self.count].reverse();
    }

    /// Gives those back that were put first, until at most `left` stay.
    pub fn spill<S: Store>(&mut self, frames: &mut Frames, store: &mut S, left: usize) {
        let many = self.count.saturating_sub(left);
        self.frames[..many].iter().for_each(|&frame| frames.release(store, frame, 0));
        self.frames.copy_within(many..self.count, 0);
        self.count -= many;
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}
