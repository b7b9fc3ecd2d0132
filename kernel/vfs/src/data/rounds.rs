//! Who commits for all that wait.
//!
//! Invariants, under the lock: rounds are numbered from 1 and run one after another; `leading` is true exactly while round `begun` runs, and `ended` is the last that
//! is over. Who asks is served by the first round that begins after he asked, whoever leads it.

use linux::Errno;
use sync::{Rank, Sleep};

use crate::World;
use crate::world::Spin;

struct State {
    begun: u64,
    ended: u64,
    leading: bool,
    /// The last round that failed, and how; 0: none.
    failed: (u64, Errno),
}

/// Rounds of work that serve all who asked before they began.
pub struct Rounds<W: World> {
    state: Spin<W, State>,
    sleepers: W::Sleepers,
}

impl<W: World> Rounds<W> {
    /// None yet.
    pub fn new() -> Self {
        let state = State { begun: 0, ended: 0, leading: false, failed: (0, Errno::EIO) };
        Self { state: Spin::<W, _>::new(Rank::FILE, state), sleepers: W::sleepers() }
    }

    /// Returns when a round that began after the call is over; leads it, by doing `work`, if nobody else does.
    ///
    /// # Errors
    /// What the work of such a round said.
    pub fn serve(&self, work: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let wanted = self.state.lock().begun + 1;
        loop {
            let mut state = self.state.lock();
            if state.ended >= wanted {
                let (round, error) = state.failed;
                return if round >= wanted { Err(error) } else { Ok(()) };
            }
            if !state.leading {
                state.leading = true;
                state.begun += 1;
                drop(state);
                return self.lead(work);
            }
            drop(state);
            self.sleepers.sleep_until(|| {
                let state = self.state.lock();
                !state.leading || state.ended >= wanted
            });
        }
    }

    fn lead(&self, work: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let result = work();
        let mut state = self.state.lock();
        state.leading = false;
        state.ended = state.begun;
        if let Err(error) = result {
            state.failed = (state.begun, error);
        }
        drop(state);
        self.sleepers.wake_all();
        result
    }
}
