//! Processes and threads.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux::Errno;
use linux::flags::*;
use linux::nr;
use linux::signal::{SIGINFO_SIZE, SigInfo, Signal, flags};
use linux::types::{Rlimit, Rusage, Timeval, Tms};
use linux::wait::Status;
use vfs::At;

use super::Call;
use crate::arch::cpu;
use crate::arch::timer;
use crate::arch::trap::TrapFrame;
use crate::mm::user;
use crate::process::exit::{Found, Which, wait};
use crate::process::task::{HANDLES_MAX, Process, Task, times_of};
use crate::process::{exec, exit, fork, signal, table};
use crate::sched;

/// Nanoseconds of a clock tick (AT_CLKTCK 100).
const TICK: u64 = 10_000_000;
/// Bytes of a program's name that `prctl` takes.
const NAME_MAX: usize = 15;
/// Longest path.
const PATH_MAX: usize = vfs::PATH_MAX;

/// `rt_sigreturn`. A function of its own, as the next two: other calls do not carry what it needs of the stack.
#[inline(never)]
pub fn sigreturn(task: &Arc<Task>, frame: &mut TrapFrame) {
    if signal::sigreturn(task, frame).is_err() {
        signal::force(task, &SigInfo::kernel(Signal::SEGV));
    }
}

#[inline(never)]
pub fn clone(frame: &TrapFrame, arguments: [u64; 6]) -> Result<u64, Errno> {
    let [flags, stack, parent_tid, tls, child_tid, _] = arguments;
    fork::clone(frame, &fork::Arguments::new(flags, stack, parent_tid, tls, child_tid)?)
}

/// `execve` and `execveat`.
#[inline(never)]
pub fn execute(task: &Arc<Task>, number: usize, arguments: [u64; 6], frame: &mut TrapFrame) -> Result<(), Errno> {
    let paths = task.process.paths();
    let (directory, path, argv, envp, at_flags) = if number == nr::EXECVE {
        (AT_FDCWD, arguments[0], arguments[1], arguments[2], 0)
    } else {
        (arguments[0] as i32, arguments[1], arguments[2], arguments[3], arguments[4] as u32)
    };
    if at_flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = user::read_cstr(path, PATH_MAX)?;
    let base = if directory == AT_FDCWD { None } else { Some(task.process.file(directory as u64)?.0) };
    let place = match &base {
        Some(base) if path.is_empty() && at_flags & AT_EMPTY_PATH != 0 => base.path().clone(),
        _ => {
            let at = At { base: base.as_ref().map(|base| base.path()), path: &path };
            vfs::walk::lookup(&paths, &at, at_flags & AT_SYMLINK_NOFOLLOW == 0)?
        }
    };
    // Who executes an open file gives no path: the program has the name of the file (as on Linux from 6.14 on).
    let path = if path.is_empty() { place.text(&paths.root).0 } else { path };
    let file = exec::open_program(&paths, &place)?;
    let request =
        exec::Request { file, path, arguments: exec::strings_of(argv)?, environment: exec::strings_of(envp)? };
    exec::execute(request, frame)
}

fn rusage(user: u64, system: u64) -> Rusage {
    Rusage { utime: Timeval::from_nanos(user), stime: Timeval::from_nanos(system), ..Rusage::default() }
}

pub fn wait4(call: &Call<'_>) -> Result<u64, Errno> {
    let [pid, status, options, usage, ..] = call.arguments;
    let (pid, options) = (pid as i32, options as u32);
    if options & !(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WALL | WCLONE) != 0 {
        return Err(Errno::EINVAL);
    }
    let which = match pid {
        -1 => Which::Any,
        0 => Which::Group(own_group(call.process)),
        // Its absolute value is no number of a group (wait4(2)).
        i32::MIN => return Err(Errno::ESRCH),
        group if group < 0 => Which::Group(group.unsigned_abs()),
        _ => Which::Pid(pid.unsigned_abs()),
    };
    let Some(Found { pid, status: found, times, .. }) = wait(which, options | WEXITED)? else { return Ok(0) };
    if status != 0 {
        user::write(status, &found.word())?;
    }
    if usage != 0 {
        user::write(usage, &rusage(times.0, times.1))?;
    }
    Ok(u64::from(pid))
}

fn own_group(process: &Process) -> u32 {
    table::lock().get(process.pid).map_or(0, |entry| entry.group)
}

pub fn waitid(call: &Call<'_>) -> Result<u64, Errno> {
    let [kind, id, info, options, usage, _] = call.arguments;
    let (kind, id, options) = (kind as u32, id as u32, options as u32);
    let events = WEXITED | WUNTRACED | WCONTINUED;
    if options & !(WNOHANG | WNOWAIT | events) != 0 || options & events == 0 {
        return Err(Errno::EINVAL);
    }
    let which = match kind {
        P_ALL => Which::Any,
        P_PID => Which::Pid(id),
        P_PGID => Which::Group(if id == 0 { own_group(call.process) } else { id }),
        _ => return Err(Errno::EINVAL),
    };
    let found = wait(which, options)?;
    if info != 0 {
        let bytes = found.map_or([0; SIGINFO_SIZE], |found| child_info(&found).to_bytes());
        user::copy_out(info, &bytes)?;
    }
    if let Some(found) = found
        && usage != 0
    {
        user::write(usage, &rusage(found.times.0, found.times.1))?;
    }
    Ok(0)
}

fn child_info(found: &Found) -> SigInfo {
    let (code, status) = match found.status {
        Status::Exited(code) => (flags::CLD_EXITED, i32::from(code)),
        Status::Killed(signal) => (flags::CLD_KILLED, i32::from(signal.number())),
        Status::Stopped(signal) => (flags::CLD_STOPPED, i32::from(signal.number())),
        Status::Continued => (flags::CLD_CONTINUED, i32::from(Signal::CONT.number())),
    };
    exit::child_info(code, found.pid, found.uid, status, found.times)
}

pub fn getpid(call: &Call<'_>) -> Result<u64, Errno> {
    Ok(u64::from(call.process.pid))
}

pub fn getppid(call: &Call<'_>) -> Result<u64, Errno> {
    Ok(u64::from(call.process.parent.load(Ordering::Relaxed)))
}

pub fn gettid(call: &Call<'_>) -> Result<u64, Errno> {
    Ok(u64::from(call.task.tid))
}

pub fn set_tid_address(call: &Call<'_>) -> Result<u64, Errno> {
    call.task.clear_child_tid.store(call.arguments[0], Ordering::Relaxed);
    gettid(call)
}

pub fn set_robust_list(call: &Call<'_>) -> Result<u64, Errno> {
    if call.arguments[1] != 24 {
        return Err(Errno::EINVAL);
    }
    call.task.robust_list.store(call.arguments[0], Ordering::Relaxed);
    Ok(0)
}

pub fn prctl(call: &Call<'_>) -> Result<u64, Errno> {
    /// The last capability of Linux 6.1.
    const CAPABILITY_LAST: u64 = 40;
    let [option, argument, ..] = call.arguments;
    match option as u32 {
        PR_SET_NAME => {
            let mut name = [0; 16];
            match user::read_cstr(argument, NAME_MAX) {
                Ok(text) => name[..text.len()].copy_from_slice(&text),
                Err(Errno::ENAMETOOLONG) => user::copy_in(&mut name[..NAME_MAX], argument)?,
                Err(error) => return Err(error),
            }
            call.process.fields.lock().program.name = name;
        }
        PR_GET_NAME => {
            let name = call.process.fields.lock().program.name;
            user::copy_out(argument, &name)?;
        }
        PR_SET_PDEATHSIG => {
            let signal = if argument == 0 { None } else { Some(Signal::new(argument).ok_or(Errno::EINVAL)?) };
            call.process.fields.lock().parent_death_signal = signal;
        }
        PR_GET_PDEATHSIG => {
            let signal = call.process.fields.lock().parent_death_signal;
            user::write(argument, &signal.map_or(0, |signal| u32::from(signal.number())))?;
        }
        PR_GET_DUMPABLE => return Ok(1),
        PR_SET_DUMPABLE if argument <= 1 => {}
        PR_SET_NO_NEW_PRIVS if argument == 1 => call.process.fields.lock().no_new_privileges = true,
        PR_GET_NO_NEW_PRIVS => return Ok(u64::from(call.process.fields.lock().no_new_privileges)),
        PR_CAPBSET_READ if argument <= CAPABILITY_LAST => return Ok(1),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn limit_target(call: &Call<'_>, pid: u64) -> Result<Arc<Process>, Errno> {
    if pid == 0 {
        return Ok(call.process.clone());
    }
    let target = table::find(pid as u32).ok_or(Errno::ESRCH)?;
    let allowed = call.process.credentials().may_signal(&target.credentials());
    if allowed { Ok(target) } else { Err(Errno::EPERM) }
}

fn limit(target: &Process, which: u64, new: Option<Rlimit>, privileged: bool) -> Result<Rlimit, Errno> {
    let which = usize::try_from(which).ok().filter(|which| *which < RLIMIT_COUNT).ok_or(Errno::EINVAL)?;
    let mut fields = target.fields.lock();
    let old = fields.limits[which];
    if let Some(new) = new {
        if new.current > new.maximum {
            return Err(Errno::EINVAL);
        }
        let too_high = which == RLIMIT_NOFILE && new.maximum > HANDLES_MAX;
        if new.maximum > old.maximum && !privileged || too_high {
            return Err(Errno::EPERM);
        }
        fields.limits[which] = new;
        drop(fields);
        if which == RLIMIT_NOFILE {
            target.files.lock().set_limit(new.current as usize);
        }
    }
    Ok(old)
}

pub fn prlimit64(call: &Call<'_>) -> Result<u64, Errno> {
    let [pid, which, new, old, ..] = call.arguments;
    let target = limit_target(call, pid)?;
    let new = if new == 0 { None } else { Some(user::read(new)?) };
    let before = limit(&target, which, new, call.process.credentials().is_privileged())?;
    if old != 0 {
        user::write(old, &before)?;
    }
    Ok(0)
}

pub fn getrlimit(call: &Call<'_>) -> Result<u64, Errno> {
    let [which, old, ..] = call.arguments;
    user::write(old, &limit(call.process, which, None, false)?)?;
    Ok(0)
}

pub fn setrlimit(call: &Call<'_>) -> Result<u64, Errno> {
    let [which, new, ..] = call.arguments;
    let new: Rlimit = user::read(new)?;
    limit(call.process, which, Some(new), call.process.credentials().is_privileged())?;
    Ok(0)
}

pub fn getrusage(call: &Call<'_>) -> Result<u64, Errno> {
    let [who, usage, ..] = call.arguments;
    let times = &call.process.times;
    let (user, system) = match who as i32 {
        0 => call.process.processor_time(),
        -1 => (times.children_user.load(Ordering::Relaxed), times.children_system.load(Ordering::Relaxed)),
        1 => times_of(&sched::current()),
        _ => return Err(Errno::EINVAL),
    };
    user::write(usage, &rusage(user, system))?;
    Ok(0)
}

pub fn times(call: &Call<'_>) -> Result<u64, Errno> {
    let address = call.arguments[0];
    if address != 0 {
        let (user, system) = call.process.processor_time();
        let times = &call.process.times;
        let tms = Tms {
            utime: (user / TICK) as i64,
            stime: (system / TICK) as i64,
            cutime: (times.children_user.load(Ordering::Relaxed) / TICK) as i64,
            cstime: (times.children_system.load(Ordering::Relaxed) / TICK) as i64,
        };
        user::write(address, &tms)?;
    }
    Ok(timer::now().as_nanos() as u64 / TICK)
}

pub fn sched_yield(_call: &Call<'_>) -> Result<u64, Errno> {
    sched::yield_now();
    Ok(0)
}

fn task_of(call: &Call<'_>, tid: u64) -> Result<Arc<Task>, Errno> {
    if tid == 0 { Ok(call.task.clone()) } else { table::find_task(tid as u32).ok_or(Errno::ESRCH) }
}

/// One bit for each CPU that there is.
fn all_cpus() -> u64 {
    let count = cpu::all().len();
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

pub fn sched_getaffinity(call: &Call<'_>) -> Result<u64, Errno> {
    let [tid, length, mask, ..] = call.arguments;
    if length < 8 || length % 8 != 0 {
        return Err(Errno::EINVAL);
    }
    let thread = task_of(call, tid)?.thread.get().and_then(alloc::sync::Weak::upgrade).ok_or(Errno::ESRCH)?;
    user::write(mask, &(thread.affinity() & all_cpus()))?;
    Ok(8)
}

pub fn sched_setaffinity(call: &Call<'_>) -> Result<u64, Errno> {
    let [tid, length, mask, ..] = call.arguments;
    let task = task_of(call, tid)?;
    if !call.process.credentials().may_signal(&task.process.credentials()) {
        return Err(Errno::EPERM);
    }
    let mut bytes = [0; 8];
    let count = bytes.len().min(length as usize);
    user::copy_in(&mut bytes[..count], mask)?;
    let cpus = u64::from_le_bytes(bytes) & all_cpus();
    if cpus == 0 {
        return Err(Errno::EINVAL);
    }
    let thread = task.thread.get().and_then(alloc::sync::Weak::upgrade).ok_or(Errno::ESRCH)?;
    thread.set_affinity(cpus);
    if tid == 0 || task.tid == call.task.tid {
        sched::yield_now();
    }
    Ok(0)
}

/// The processes that `getpriority` and `setpriority` mean.
fn by_priority(call: &Call<'_>) -> Result<Vec<Arc<Process>>, Errno> {
    let [which, who, ..] = call.arguments;
    let who = who as u32;
    let found: Vec<_> = match which as u32 {
        PRIO_PROCESS if who == 0 => alloc::vec![call.process.clone()],
        PRIO_PROCESS => table::find_task(who).into_iter().map(|task| task.process.clone()).collect(),
        PRIO_PGRP => {
            let group = if who == 0 { own_group(call.process) } else { who };
            table::lock().group(group).map(|entry| entry.process.clone()).collect()
        }
        PRIO_USER => {
            let user = if who == 0 { call.process.credentials().uid } else { who };
            let all: Vec<_> = table::lock().iter().map(|(_, entry)| entry.process.clone()).collect();
            all.into_iter().filter(|process| process.credentials().uid == user).collect()
        }
        _ => return Err(Errno::EINVAL),
    };
    if found.is_empty() { Err(Errno::ESRCH) } else { Ok(found) }
}

/// 20 less the nice value, so that no result looks like an error (getpriority(2), NOTES).
pub fn getpriority(call: &Call<'_>) -> Result<u64, Errno> {
    let nice = by_priority(call)?.iter().map(|process| process.nice.load(Ordering::Relaxed)).min().unwrap_or(0);
    Ok((20 - nice).unsigned_abs().into())
}

pub fn setpriority(call: &Call<'_>) -> Result<u64, Errno> {
    let nice = (call.arguments[2] as i32).clamp(-20, 19);
    let caller = call.process.credentials();
    let mut result = Ok(0);
    for process in by_priority(call)? {
        let target = process.credentials();
        if !caller.is_privileged() && caller.euid != target.uid && caller.euid != target.euid {
            result = Err(Errno::EPERM);
        } else if !caller.is_privileged() && nice < process.nice.load(Ordering::Relaxed) {
            result = Err(Errno::EACCES);
        } else {
            process.nice.store(nice, Ordering::Relaxed);
        }
    }
    result
}

pub fn getcpu(call: &Call<'_>) -> Result<u64, Errno> {
    let [cpu_address, node_address, ..] = call.arguments;
    if cpu_address != 0 {
        user::write(cpu_address, &(sched::current().last_cpu() as u32))?;
    }
    if node_address != 0 {
        user::write(node_address, &0u32)?;
    }
    Ok(0)
}

/// Only the Linux personality, to be asked for and set.
pub fn personality(call: &Call<'_>) -> Result<u64, Errno> {
    match call.arguments[0] as u32 {
        0 | u32::MAX => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
