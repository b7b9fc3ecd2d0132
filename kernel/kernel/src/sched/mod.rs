//! Threads: who runs where and when.
//!
//! Each CPU has a queue of threads that are ready to run, and an idle thread. A thread gives its CPU up when it sleeps, yields, or comes back to
//! user mode with its slice used up; the kernel itself is not preempted. A CPU with nothing to do takes from another's queue. Nothing ticks on an
//! idle CPU but its [`vigil`]: the timer is set to the next deadline, and to the end of the slice only while somebody waits for the CPU.
//!
//! * [`thread`]: a thread, and how it begins and ends.
//! * `queue`: ready threads per CPU, choosing, switching, stealing.
//! * [`wait`]: sleeping until something is so.
//! * [`timer`]: what is to happen at a given time.
//! * [`vigil`]: CPUs that watch each other.

mod queue;
mod thread;
pub mod timer;
pub mod vigil;
mod wait;

pub use crate::arch::thread::current;
pub use queue::{after_switch, become_idle, checkpoint, message_received, reschedule, start, start_cpu, yield_now};
pub use thread::{Thread, create_user, exit_current, spawn_kernel};
pub use wait::{WaitError, WaitQueue, sleep_until, wait_any};
