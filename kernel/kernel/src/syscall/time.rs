//! Time.

use core::time::Duration;

use linux::Errno;
use linux::flags::{CLOCK_REALTIME, TIMER_ABSTIME};
use linux::types::{Timespec, Timeval};

use super::Call;
use crate::arch::timer;
use crate::clock;
use crate::mm::user;
use crate::process::time;
use crate::sched;

pub fn clock_gettime(call: &Call<'_>) -> Result<u64, Errno> {
    let [clock, address, ..] = call.arguments;
    user::write(address, &time::read(clock as u32)?)?;
    Ok(0)
}

fn set(call: &Call<'_>, nanos: Option<u64>) -> Result<u64, Errno> {
    if !call.process.credentials().is_privileged() {
        return Err(Errno::EPERM);
    }
    clock::set_realtime(nanos.ok_or(Errno::EINVAL)?);
    Ok(0)
}

pub fn clock_settime(call: &Call<'_>) -> Result<u64, Errno> {
    let [clock, address, ..] = call.arguments;
    if clock as u32 != CLOCK_REALTIME {
        return Err(Errno::EINVAL);
    }
    set(call, user::read::<Timespec>(address)?.to_nanos())
}

pub fn settimeofday(call: &Call<'_>) -> Result<u64, Errno> {
    let [address, ..] = call.arguments;
    if address == 0 {
        return Ok(0);
    }
    set(call, user::read::<Timeval>(address)?.to_nanos())
}

pub fn clock_getres(call: &Call<'_>) -> Result<u64, Errno> {
    let [clock, address, ..] = call.arguments;
    time::read(clock as u32)?;
    if address != 0 {
        user::write(address, &Timespec { sec: 0, nsec: 1 })?;
    }
    Ok(0)
}

pub fn gettimeofday(call: &Call<'_>) -> Result<u64, Errno> {
    let [address, zone, ..] = call.arguments;
    if address != 0 {
        let now = clock::realtime();
        user::write(address, &Timeval { sec: now.sec, usec: now.nsec / 1000 })?;
    }
    if zone != 0 {
        user::write(zone, &0u64)?;
    }
    Ok(0)
}

/// Sleeps; when a signal comes in between, writes what is left to `rest`.
fn sleep(call: &Call<'_>, deadline: Duration, rest: u64) -> Result<u64, Errno> {
    if sched::sleep_until(deadline, true).is_ok() {
        return Ok(0);
    }
    if rest != 0 {
        let left = deadline.saturating_sub(timer::now());
        user::write(rest, &Timespec::from_nanos(left.as_nanos() as u64))?;
    }
    call.task.own.lock().sleep = Some((deadline, rest));
    Err(Errno::ERESTARTBLOCK)
}

pub fn nanosleep(call: &Call<'_>) -> Result<u64, Errno> {
    let [span, rest, ..] = call.arguments;
    sleep(call, time::after(user::read(span)?)?, rest)
}

pub fn clock_nanosleep(call: &Call<'_>) -> Result<u64, Errno> {
    let [clock, flags, span, rest, ..] = call.arguments;
    let (clock, span): (u32, Timespec) = (clock as u32, user::read(span)?);
    // A span is the same by every clock; which clocks there are is checked by asking for a point in time.
    let point = time::deadline(clock, span)?;
    if flags as u32 & TIMER_ABSTIME == 0 {
        return sleep(call, time::after(span)?, rest);
    }
    sched::sleep_until(point, true).map(|()| 0).map_err(|_| Errno::ERESTARTNOHAND)
}

/// Goes on with the sleep that a stop, or a signal without a handler, interrupted.
pub fn restart_syscall(call: &Call<'_>) -> Result<u64, Errno> {
    let (deadline, rest) = call.task.own.lock().sleep.take().ok_or(Errno::EINTR)?;
    sleep(call, deadline, rest)
}
