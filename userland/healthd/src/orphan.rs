//! Whether process 1 does its work: it is given an orphan to reap, from time to time, and the orphan must go.

use healthd::limits::ORPHAN_MS;
use rt::Errno;
use rt::process::{Side, fork};
use rt::rustix::fd::OwnedFd;
use rt::rustix::io::{read, write};
use rt::rustix::pipe::{PipeFlags, pipe_with};
use rt::rustix::process::{Pid, test_kill_process};

use crate::dog::Dog;

enum State {
    /// Nothing is under way.
    Idle,
    /// This child makes an orphan, and says through the pipe which.
    Making(Pid, OwnedFd),
    /// The orphan, which process 1 has yet to reap.
    Waiting(Pid),
}

pub struct Orphan {
    state: State,
    /// When the last one was made.
    made_ms: u64,
    /// When process 1 was last seen to have reaped one.
    seen_ms: u64,
}

impl Orphan {
    pub fn new(now: u64) -> Self {
        Self { state: State::Idle, made_ms: 0, seen_ms: now }
    }

    /// When process 1 was last seen to do its work.
    pub fn seen_ms(&self) -> u64 {
        self.seen_ms
    }

    pub fn turn(&mut self, now: u64, dog: &mut Dog) {
        if let State::Waiting(pid) = self.state
            && test_kill_process(pid) == Err(Errno::SRCH)
        {
            (self.state, self.seen_ms) = (State::Idle, now);
        }
        if matches!(self.state, State::Idle) && now >= self.made_ms + ORPHAN_MS {
            self.made_ms = now;
            self.make(dog);
        }
    }

    /// A fork that fails is tried again: a machine on which that goes on has no processes to spare, and hangs for its users.
    fn make(&mut self, dog: &mut Dog) {
        let Ok((from, to)) = pipe_with(PipeFlags::CLOEXEC) else { return };
        match fork() {
            Ok(Side::Parent(pid)) => self.state = State::Making(pid, from),
            Ok(Side::Child) => {
                dog.let_go();
                if let Ok(Side::Parent(pid)) = fork() {
                    let _ = write(&to, &pid.as_raw_nonzero().get().to_le_bytes());
                }
                rt::start::exit(0)
            }
            Err(_) => {}
        }
    }

    /// A child has ended: perhaps the one that made the orphan, which process 1 now has.
    pub fn ended(&mut self, pid: Pid) {
        let State::Making(maker, from) = &self.state else { return };
        if *maker != pid {
            return;
        }
        let mut bytes = [0; 4];
        let orphan = if read(from, &mut bytes) == Ok(4) { Pid::from_raw(i32::from_le_bytes(bytes)) } else { None };
        self.state = orphan.map_or(State::Idle, State::Waiting);
    }
}
