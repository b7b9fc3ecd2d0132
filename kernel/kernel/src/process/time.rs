//! What programs call clocks. Time since power-on comes from the generic timer, the date from `crate::clock`.

use core::time::Duration;

use linux::Errno;
use linux::flags::*;
use linux::types::Timespec;

use super::current;
use crate::arch::timer;
use crate::clock;

/// What a clock shows.
pub fn read(clock: u32) -> Result<Timespec, Errno> {
    Ok(match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE => clock::realtime(),
        CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE | CLOCK_BOOTTIME => {
            Timespec::from_nanos(timer::now().as_nanos() as u64)
        }
        CLOCK_PROCESS_CPUTIME_ID => {
            let (user, system) = current().process.processor_time();
            Timespec::from_nanos(user + system)
        }
        CLOCK_THREAD_CPUTIME_ID => {
            let thread = crate::sched::current();
            Timespec::from_nanos((thread.user_time() + thread.system_time()).as_nanos() as u64)
        }
        _ => return Err(Errno::EINVAL),
    })
}

/// A point in time of a clock as time since power-on.
pub fn deadline(clock: u32, at: Timespec) -> Result<Duration, Errno> {
    let nanos = at.to_nanos().ok_or(Errno::EINVAL)?;
    let nanos = match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE => nanos.saturating_sub(clock::offset_nanos()),
        CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE => nanos,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Duration::from_nanos(nanos))
}

/// A span from now on as time since power-on.
pub fn after(span: Timespec) -> Result<Duration, Errno> {
    let nanos = span.to_nanos().ok_or(Errno::EINVAL)?;
    Ok(timer::now().saturating_add(Duration::from_nanos(nanos)))
}
