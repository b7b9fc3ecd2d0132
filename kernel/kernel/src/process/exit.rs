//! The end of threads and processes, and asking for it: `exit`, `exit_group`, `wait4`, `waitid`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux::Errno;
use linux::flags::{WCONTINUED, WEXITED, WNOHANG, WNOWAIT, WUNTRACED};
use linux::signal::{Origin, SigInfo, Signal, flags};
use linux::wait::Status;

use super::task::{Process, Task, times_of};
use super::{current, futex, job, signal, table};
use crate::mm::user;
use crate::sched;

/// All threads of the process are to end. The first status counts.
pub fn begin_end(process: &Process, status: Status) {
    let mut signals = process.signals.lock();
    if signals.ending.is_none() {
        signals.ending = Some(status);
        signals.stopped = None;
        signals.members.iter().for_each(|member| member.task.interrupt());
    }
    drop(signals);
    process.resumed.wake_all();
    process.changed.wake_all();
}

/// `exit_group`
pub fn exit_group(task: Arc<Task>, status: Status) -> ! {
    begin_end(&task.process, status);
    let status = task.process.signals.lock().ending.unwrap_or(status);
    exit_thread(task, status)
}

/// Ends the calling thread; with the last one the process ends, with `status` unless another was set before.
pub fn exit_thread(task: Arc<Task>, status: Status) -> ! {
    let process = &task.process;
    futex::leave_robust_list(&task);
    let address = task.clear_child_tid.swap(0, Ordering::Relaxed);
    // With the memory's last user gone nobody can wait there.
    let others = process.signals.lock().members.len() > 1;
    if others && address != 0 && user::write(address, &0u32).is_ok() {
        futex::wake_address(address);
    }
    let last = {
        let mut table = table::lock();
        let mut signals = process.signals.lock();
        signals.members.retain(|member| member.task.tid != task.tid);
        // With the lock held: whoever adds up the times sees this thread's here or there.
        let (user, system) = times_of(&sched::current());
        process.times.user.fetch_add(user, Ordering::Relaxed);
        process.times.system.fetch_add(system, Ordering::Relaxed);
        table.remove_task(task.tid);
        let last = signals.members.is_empty();
        if last && signals.ending.is_none() {
            signals.ending = Some(status);
        }
        last
    };
    process.changed.wake_all();
    if last {
        end_process(process);
    }
    task.release_vfork();
    // Nothing on this stack is dropped any more.
    drop(task);
    sched::exit_current()
}

/// Gives back what the process has, and tells who must know.
fn end_process(process: &Arc<Process>) {
    let status = process.signals.lock().ending.unwrap_or(Status::Exited(0));
    super::alarm::cancel(process);
    close_files(process);
    let space = process.fields.lock().space.take();
    drop(sched::current().set_space(None));
    drop(space);
    if process.pid == table::INIT {
        super::init_ended(status);
    }
    let session_leader = job::session_of(process) == process.pid;
    if session_leader && let Some(terminal) = job::terminal_of(process) {
        let _ = job::drop_terminal(process, &terminal);
        terminal.hang_up();
    }
    tell_orphans(process);
    tell_parent(process, status);
}

fn close_files(process: &Process) {
    // A shared table is closed by its last user.
    if Arc::strong_count(&process.files) > 1 {
        return;
    }
    loop {
        // Closing may sleep, so each goes without the lock.
        let Some(entry) = process.files.lock().remove_first(0..usize::MAX, |_| true) else { break };
        drop(entry);
    }
    crate::fs::locks::table_closed(&process.files);
}

/// Children go to the first process. Groups that this orphans are told when they have stopped members (POSIX.1-2017, 2.4: SIGHUP,
/// SIGCONT).
fn tell_orphans(process: &Process) {
    let mut stopped_groups: Vec<u32> = Vec::new();
    let mut death_signals: Vec<(Arc<Process>, Signal)> = Vec::new();
    let ended_children;
    {
        let mut table = table::lock();
        let Some(own) = table.get(process.pid) else { return };
        let own_group = own.group;
        let mut groups: Vec<u32> =
            own.children.iter().filter_map(|pid| table.get(*pid)).map(|child| child.group).collect();
        groups.push(own_group);
        groups.sort_unstable();
        groups.dedup();
        let before: Vec<u32> = groups.into_iter().filter(|group| !table.is_orphaned(*group, None)).collect();
        for pid in &own_children(&table, process.pid) {
            if let Some(child) = table.get(*pid)
                && let Some(signal) = child.process.fields.lock().parent_death_signal
            {
                death_signals.push((child.process.clone(), signal));
            }
        }
        ended_children = table
            .orphan_children(process.pid)
            .into_iter()
            .any(|pid| table.get(pid).is_some_and(|e| e.report.ended.is_some()));
        for group in before {
            let stopped = table.group(group).any(|entry| entry.process.signals.lock().stopped.is_some());
            if stopped && table.is_orphaned(group, Some(process.pid)) {
                stopped_groups.push(group);
            }
        }
    }
    for group in stopped_groups {
        let _ = job::signal_group(group, &SigInfo::kernel(Signal::HUP));
        let _ = job::signal_group(group, &SigInfo::kernel(Signal::CONT));
    }
    for (child, signal) in death_signals {
        signal::send(&child, &SigInfo::kernel(signal));
    }
    if ended_children && let Some(init) = table::find(table::INIT) {
        signal::send(&init, &SigInfo::kernel(Signal::CHLD));
        init.changed.wake_all();
    }
}

fn own_children(table: &table::Table, pid: u32) -> Vec<u32> {
    table.get(pid).map(|entry| entry.children.iter().copied().collect()).unwrap_or_default()
}

fn tell_parent(process: &Arc<Process>, status: Status) {
    let (user, system) = process.processor_time();
    let (parent, exit_signal) = {
        let mut table = table::lock();
        let Some(entry) = table.get_mut(process.pid) else { return };
        entry.report.ended = Some(status);
        let exit_signal = entry.exit_signal;
        let parent = process.parent.load(Ordering::Relaxed);
        (table.get(parent).map(|entry| entry.process.clone()), exit_signal)
    };
    let Some(parent) = parent else { return };
    let action = parent.signals.lock().actions[Signal::CHLD.index()];
    let unasked = action.handler == flags::SIG_IGN || action.flags & flags::SA_NOCLDWAIT != 0;
    if let Some(signal) = exit_signal {
        let (code, value) = match status {
            Status::Killed(by) => (flags::CLD_KILLED, i32::from(by.number())),
            Status::Exited(code) => (flags::CLD_EXITED, i32::from(code)),
            Status::Stopped(_) | Status::Continued => (flags::CLD_EXITED, 0),
        };
        let info = child_info(code, process.pid, process.credentials().uid, value, (user, system));
        signal::send(&parent, &SigInfo { signal, ..info });
        if unasked && signal == Signal::CHLD {
            // Nobody will ask (POSIX.1-2017, 2.4.3).
            table::lock().remove(process.pid);
        }
    }
    parent.changed.wake_all();
}

/// What a parent is told of a child; times in nanoseconds.
pub fn child_info(code: i32, pid: u32, uid: u32, status: i32, times: (u64, u64)) -> SigInfo {
    const TICK_NANOS: u64 = 10_000_000;
    let (user_ticks, system_ticks) = ((times.0 / TICK_NANOS) as i64, (times.1 / TICK_NANOS) as i64);
    SigInfo { signal: Signal::CHLD, code, origin: Origin::Child { pid, uid, status, user_ticks, system_ticks } }
}

/// Which children `wait` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    Any,
    /// This one.
    Pid(u32),
    /// Those of a group.
    Group(u32),
}

/// What `wait` found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The child.
    pub pid: u32,
    /// Its real user.
    pub uid: u32,
    /// What happened to it.
    pub status: Status,
    /// Its user and system time with that of its own children, in nanoseconds.
    pub times: (u64, u64),
}

/// Waits for a child. `options` are `W*` bits; without `WEXITED` ended ones are left alone.
pub fn wait(which: Which, options: u32) -> Result<Option<Found>, Errno> {
    let task = current();
    let process = &task.process;
    let look = || look_for(process, which, options).transpose();
    if let Some(result) = look() {
        return result.map(Some);
    }
    if options & WNOHANG != 0 {
        return Ok(None);
    }
    process.changed.wait_until(look, None, true)?.map(Some)
}

fn look_for(process: &Process, which: Which, options: u32) -> Result<Option<Found>, Errno> {
    let mut table = table::lock();
    let own = table.get(process.pid).ok_or(Errno::ECHILD)?;
    let mut candidates = 0;
    let mut found = None;
    for pid in &own.children {
        let Some(child) = table.get(*pid) else { continue };
        let fits = match which {
            Which::Any => true,
            Which::Pid(wanted) => *pid == wanted,
            Which::Group(wanted) => child.group == wanted,
        };
        if !fits {
            continue;
        }
        candidates += 1;
        let report = child.report;
        let status = match report {
            _ if options & WEXITED != 0 && report.ended.is_some() => report.ended,
            _ if options & WUNTRACED != 0 && report.stopped.is_some() => report.stopped.map(Status::Stopped),
            _ if options & WCONTINUED != 0 && report.continued => Some(Status::Continued),
            _ => None,
        };
        if let Some(status) = status {
            found = Some((*pid, status, child.process.clone()));
            break;
        }
    }
    let Some((pid, status, child)) = found else {
        return if candidates > 0 { Ok(None) } else { Err(Errno::ECHILD) };
    };
    let (own, times) = (child.processor_time(), &child.times);
    let spent =
        (own.0 + times.children_user.load(Ordering::Relaxed), own.1 + times.children_system.load(Ordering::Relaxed));
    let uid = child.credentials().uid;
    if options & WNOWAIT == 0 {
        match status {
            Status::Exited(_) | Status::Killed(_) => {
                let removed = table.remove(pid);
                drop(table);
                process.times.children_user.fetch_add(spent.0, Ordering::Relaxed);
                process.times.children_system.fetch_add(spent.1, Ordering::Relaxed);
                drop(removed);
            }
            Status::Stopped(_) => {
                if let Some(entry) = table.get_mut(pid) {
                    entry.report.stopped = None;
                }
            }
            Status::Continued => {
                if let Some(entry) = table.get_mut(pid) {
                    entry.report.continued = false;
                }
            }
        }
    }
    Ok(Some(Found { pid, uid, status, times: spent }))
}
