//! Signals.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use linux::Errno;
use linux::flags::ITIMER_REAL;
use linux::signal::{SIGINFO_SIZE, SigAction, SigInfo, SigSet, SigStack, Signal, flags};
use linux::types::{Itimerval, Timespec, Timeval};

use super::Call;
use crate::mm::user;
use crate::process::task::{Process, Task};
use crate::process::{alarm, signal, table, time};
use crate::sched::{WaitError, WaitQueue};

/// Bytes of a signal set, which every call states.
const SET_SIZE: u64 = 8;

fn signal_of(number: u64) -> Result<Signal, Errno> {
    Signal::new(number as u32 as u64).ok_or(Errno::EINVAL)
}

fn check_size(size: u64) -> Result<(), Errno> {
    if size == SET_SIZE { Ok(()) } else { Err(Errno::EINVAL) }
}

pub fn rt_sigaction(call: &Call<'_>) -> Result<u64, Errno> {
    let [number, new, old, size, ..] = call.arguments;
    check_size(size)?;
    let signal = signal_of(number)?;
    let new: Option<SigAction> = if new == 0 { None } else { Some(user::read(new)?) };
    let before = signal::set_action(call.process, signal, new)?;
    if old != 0 {
        user::write(old, &before)?;
    }
    Ok(0)
}

pub fn rt_sigprocmask(call: &Call<'_>) -> Result<u64, Errno> {
    let [how, new, old, size, ..] = call.arguments;
    check_size(size)?;
    let before = call.task.mask();
    if new != 0 {
        let set: SigSet = user::read(new)?;
        call.task.set_mask(match how as u32 as u64 {
            flags::SIG_BLOCK => before.union(set),
            flags::SIG_UNBLOCK => before.without(set),
            flags::SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL),
        });
    }
    if old != 0 {
        user::write(old, &before)?;
    }
    Ok(0)
}

pub fn rt_sigpending(call: &Call<'_>) -> Result<u64, Errno> {
    let [set, size, ..] = call.arguments;
    if size > SET_SIZE {
        return Err(Errno::EINVAL);
    }
    let pending = call.process.pending(call.task).intersection(call.task.mask());
    user::write(set, &pending)?;
    Ok(0)
}

pub fn rt_sigsuspend(call: &Call<'_>) -> Result<u64, Errno> {
    let [set, size, ..] = call.arguments;
    check_size(size)?;
    let mask: SigSet = user::read(set)?;
    signal::with_mask(call.task, Some(mask), || {
        let nothing = WaitQueue::new();
        match nothing.wait_until(|| None::<()>, None, true) {
            Ok(()) | Err(_) => Err(Errno::ERESTARTNOHAND),
        }
    })
}

pub fn rt_sigtimedwait(call: &Call<'_>) -> Result<u64, Errno> {
    let [set, info, timeout, size, ..] = call.arguments;
    check_size(size)?;
    let wanted = user::read::<SigSet>(set)?.without(SigSet::UNMASKABLE);
    let deadline = if timeout == 0 { None } else { Some(time::after(user::read::<Timespec>(timeout)?)?) };
    let taken = signal::wait_for(call.task, wanted, deadline).map_err(|error| match error {
        WaitError::TimedOut => Errno::EAGAIN,
        WaitError::Interrupted => Errno::ERESTARTNOHAND,
    })?;
    if info != 0 {
        user::copy_out(info, &taken.to_bytes())?;
    }
    Ok(u64::from(taken.signal.number()))
}

fn check_sender(call: &Call<'_>, target: &Process, signal: Option<Signal>) -> Result<(), Errno> {
    if call.process.credentials().may_signal(&target.credentials()) {
        return Ok(());
    }
    // SIGCONT reaches everybody in the session (kill(2)).
    let same_session = || {
        let table = table::lock();
        let session = |pid| table.get(pid).map(|entry| entry.session);
        session(call.process.pid) == session(target.pid)
    };
    if signal == Some(Signal::CONT) && same_session() { Ok(()) } else { Err(Errno::EPERM) }
}

/// The signal to send, or `None` for number 0, which only asks.
fn wanted(number: u64) -> Result<Option<Signal>, Errno> {
    match number as u32 as u64 {
        0 => Ok(None),
        number => Ok(Some(signal_of(number)?)),
    }
}

fn send_checked(call: &Call<'_>, target: &Arc<Process>, signal: Option<Signal>) -> Result<(), Errno> {
    check_sender(call, target, signal)?;
    if let Some(signal) = signal {
        signal::send(target, &signal::from_caller(signal, flags::SI_USER));
    }
    Ok(())
}

/// Sends to all of these; an error only when nobody could be reached.
fn send_all(call: &Call<'_>, targets: &[Arc<Process>], signal: Option<Signal>) -> Result<u64, Errno> {
    let mut result = Err(Errno::ESRCH);
    for target in targets {
        match send_checked(call, target, signal) {
            Ok(()) => result = Ok(0),
            Err(error) if result == Err(Errno::ESRCH) => result = Err(error),
            Err(_) => {}
        }
    }
    result
}

pub fn kill(call: &Call<'_>) -> Result<u64, Errno> {
    let [pid, number, ..] = call.arguments;
    let signal = wanted(number)?;
    let group_members =
        |group: u32| -> Vec<Arc<Process>> { table::lock().group(group).map(|entry| entry.process.clone()).collect() };
    match pid as i32 {
        0 => {
            let group = table::lock().get(call.process.pid).map_or(0, |entry| entry.group);
            send_all(call, &group_members(group), signal)
        }
        -1 => {
            let all: Vec<_> = {
                let table = table::lock();
                let others = table.iter().filter(|(pid, _)| **pid != table::INIT && **pid != call.process.pid);
                others.map(|(_, entry)| entry.process.clone()).collect()
            };
            send_all(call, &all, signal)
        }
        i32::MIN => Err(Errno::ESRCH),
        group @ ..=-2 => send_all(call, &group_members(group.unsigned_abs()), signal),
        pid => {
            let target = table::find(pid.unsigned_abs()).ok_or(Errno::ESRCH)?;
            send_checked(call, &target, signal).map(|()| 0)
        }
    }
}

fn send_to_thread(call: &Call<'_>, process: Option<i32>, tid: i32, number: u64) -> Result<u64, Errno> {
    if tid <= 0 || process.is_some_and(|pid| pid <= 0) {
        return Err(Errno::EINVAL);
    }
    let signal = wanted(number)?;
    let task = table::find_task(tid.unsigned_abs()).ok_or(Errno::ESRCH)?;
    if process.is_some_and(|pid| pid.unsigned_abs() != task.process.pid) {
        return Err(Errno::ESRCH);
    }
    check_sender(call, &task.process, signal)?;
    if let Some(signal) = signal {
        signal::send_to_task(&task, &signal::from_caller(signal, flags::SI_TKILL));
    }
    Ok(0)
}

pub fn tkill(call: &Call<'_>) -> Result<u64, Errno> {
    let [tid, number, ..] = call.arguments;
    send_to_thread(call, None, tid as i32, number)
}

pub fn tgkill(call: &Call<'_>) -> Result<u64, Errno> {
    let [pid, tid, number, ..] = call.arguments;
    send_to_thread(call, Some(pid as i32), tid as i32, number)
}

pub fn rt_sigqueueinfo(call: &Call<'_>) -> Result<u64, Errno> {
    let [pid, number, info, ..] = call.arguments;
    let mut bytes = [0; SIGINFO_SIZE];
    user::copy_in(&mut bytes, info)?;
    let signal = signal_of(number)?;
    let target = table::find(pid as u32).ok_or(Errno::ESRCH)?;
    let info = SigInfo::queued(signal, &bytes).ok_or(Errno::EPERM)?;
    check_sender(call, &target, Some(signal))?;
    signal::send(&target, &info);
    Ok(0)
}

pub fn sigaltstack(task: &Task, sp: u64, arguments: [u64; 6]) -> Result<u64, Errno> {
    let [new, old, ..] = arguments;
    let new: Option<SigStack> = if new == 0 { None } else { Some(user::read(new)?) };
    let before = signal::set_stack(task, sp, new)?;
    if old != 0 {
        user::write(old, &before)?;
    }
    Ok(0)
}

fn to_timer((left, period): (Duration, Duration)) -> Itimerval {
    let field = |span: Duration| Timeval::from_nanos(span.as_nanos() as u64);
    Itimerval { interval: field(period), value: field(left) }
}

fn check_timer(which: u64) -> Result<(), Errno> {
    // The two that count processor time are not there.
    if which as u32 == ITIMER_REAL { Ok(()) } else { Err(Errno::EINVAL) }
}

pub fn setitimer(call: &Call<'_>) -> Result<u64, Errno> {
    let [which, new, old, ..] = call.arguments;
    check_timer(which)?;
    let new: Itimerval = if new == 0 { Itimerval::default() } else { user::read(new)? };
    let span = |field: Timeval| field.to_nanos().map(Duration::from_nanos).ok_or(Errno::EINVAL);
    let before = alarm::set(call.process, span(new.value)?, span(new.interval)?);
    if old != 0 {
        user::write(old, &to_timer(before))?;
    }
    Ok(0)
}

pub fn getitimer(call: &Call<'_>) -> Result<u64, Errno> {
    let [which, current, ..] = call.arguments;
    check_timer(which)?;
    user::write(current, &to_timer(alarm::get(call.process)))?;
    Ok(0)
}
