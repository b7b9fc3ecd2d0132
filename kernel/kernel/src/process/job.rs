//! Job control: sessions, groups, controlling terminals, stopping and resuming (POSIX.1-2017, chapter 11 and 2.4).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux::Errno;
use linux::signal::{Origin, SigInfo, Signal, flags};

use super::task::{Process, Task};
use super::{current, signal, table};
use crate::fs::tty::Terminal;

/// The session of a process.
pub fn session_of(process: &Process) -> u32 {
    table::lock().get(process.pid).map_or(0, |entry| entry.session)
}

/// The session that a group is in.
pub fn session_of_group(group: u32) -> Option<u32> {
    table::lock().session_of_group(group)
}

/// The controlling terminal of a process.
pub fn terminal_of(process: &Process) -> Option<Arc<Terminal>> {
    let table = table::lock();
    table.terminal(table.get(process.pid)?.session).cloned()
}

/// Sends all members of a group a signal.
pub fn signal_group(group: u32, info: &SigInfo) -> Result<(), Errno> {
    let members: Vec<_> = table::lock().group(group).map(|entry| entry.process.clone()).collect();
    if members.is_empty() {
        return Err(Errno::ESRCH);
    }
    members.iter().for_each(|process| signal::send(process, info));
    Ok(())
}

/// Whether the group of a process is orphaned.
pub fn is_orphaned(process: &Process) -> bool {
    let table = table::lock();
    table.get(process.pid).is_some_and(|entry| table.is_orphaned(entry.group, None))
}

/// Whether the caller may use its terminal in a way that `signal` (`TTIN`, `TTOU`) forbids to the background. A caller in the
/// background gets the signal, and comes back after it was resumed.
pub fn may_use(terminal: &Terminal, signal: Signal) -> Result<(), Errno> {
    let task = current();
    let process = &task.process;
    let (group, orphaned) = {
        let table = table::lock();
        let Some(entry) = table.get(process.pid) else { return Ok(()) };
        let Some(foreground) = terminal.foreground(entry.session) else { return Ok(()) };
        if entry.group == foreground {
            return Ok(());
        }
        (entry.group, table.is_orphaned(entry.group, None))
    };
    let ignored = process.signals.lock().actions[signal.index()].handler == flags::SIG_IGN;
    if ignored || task.mask().contains(signal) {
        return if signal == Signal::TTIN { Err(Errno::EIO) } else { Ok(()) };
    }
    if orphaned {
        return Err(Errno::EIO);
    }
    let _ = signal_group(group, &SigInfo::kernel(signal));
    Err(Errno::ERESTARTSYS)
}

/// `TIOCSCTTY`: a session leader without a terminal takes this one.
pub fn take_terminal(process: &Process, terminal: &Arc<Terminal>) -> Result<(), Errno> {
    let mut table = table::lock();
    let entry = table.get(process.pid).ok_or(Errno::ESRCH)?;
    let (session, group) = (entry.session, entry.group);
    let own = table.terminal(session).is_some_and(|own| Arc::ptr_eq(own, terminal));
    if own {
        return Ok(());
    }
    if session != process.pid || table.terminal(session).is_some() {
        return Err(Errno::EPERM);
    }
    terminal.control(session, group)?;
    if let Some(found) = table.session_mut(session) {
        found.terminal = Some(terminal.clone());
    }
    Ok(())
}

/// Opening a terminal makes it the controlling one of a session leader that has none; else nothing happens.
pub fn adopt_terminal(process: &Process, terminal: &Arc<Terminal>) {
    let _ = take_terminal(process, terminal);
}

/// `TIOCNOTTY`, and the end of a session leader: the session lets go of its terminal, and those in the foreground are told.
pub fn drop_terminal(process: &Process, terminal: &Arc<Terminal>) -> Result<(), Errno> {
    let mut table = table::lock();
    let session = table.get(process.pid).ok_or(Errno::ESRCH)?.session;
    if !table.terminal(session).is_some_and(|own| Arc::ptr_eq(own, terminal)) {
        return Err(Errno::ENOTTY);
    }
    if session != process.pid {
        // Others of the session keep it; that one member cannot lose it alone here, as on Linux its own view only.
        return Ok(());
    }
    let dropped = table.session_mut(session).and_then(|found| found.terminal.take());
    drop(table);
    let foreground = terminal.release(session);
    drop(dropped);
    if let Some(group) = foreground {
        let _ = signal_group(group, &SigInfo::kernel(Signal::HUP));
        let _ = signal_group(group, &SigInfo::kernel(Signal::CONT));
    }
    Ok(())
}

/// `setsid`
pub fn set_session(process: &Process) -> Result<u32, Errno> {
    let mut table = table::lock();
    if table.group(process.pid).next().is_some() {
        return Err(Errno::EPERM);
    }
    table.set_session(process.pid);
    Ok(process.pid)
}

/// `setpgid`
pub fn set_group(caller: &Process, pid: u32, group: u32) -> Result<(), Errno> {
    let mut table = table::lock();
    let pid = if pid == 0 { caller.pid } else { pid };
    let group = if group == 0 { pid } else { group };
    let own_session = table.get(caller.pid).ok_or(Errno::ESRCH)?.session;
    let entry = table.get(pid).ok_or(Errno::ESRCH)?;
    if pid != caller.pid {
        if entry.process.parent.load(Ordering::Relaxed) != caller.pid {
            return Err(Errno::ESRCH);
        }
        if entry.session != own_session {
            return Err(Errno::EPERM);
        }
        if entry.process.has_executed.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    }
    if entry.session == pid {
        return Err(Errno::EPERM);
    }
    if group != pid && table.session_of_group(group) != Some(own_session) {
        return Err(Errno::EPERM);
    }
    table.set_group(pid, group);
    Ok(())
}

/// All threads of a process are to stand still.
pub fn begin_stop(process: &Process, signal: Signal) {
    let mut signals = process.signals.lock();
    // A SIGCONT or SIGKILL that came in between outranks.
    let overtaken =
        !signals.pending.set().intersection(linux::signal::SigSet::of(Signal::CONT).with(Signal::KILL)).is_empty();
    if signals.ending.is_none() && signals.stopped.is_none() && !overtaken {
        signals.stopped = Some(signal);
        signals.standing = 0;
        signals.members.iter().for_each(|member| member.task.interrupt());
    }
}

/// The thread stands still until its process is resumed or ends. The last to stop tells the parent.
pub fn stand(task: &Arc<Task>) {
    let process = &task.process;
    let stopped_by = {
        let mut signals = process.signals.lock();
        signals.standing += 1;
        signals.stopped.filter(|_| signals.standing == signals.members.len())
    };
    if let Some(signal) = stopped_by {
        report(process, flags::CLD_STOPPED, signal);
    }
    let _ = process.resumed.wait_until(
        || {
            let signals = process.signals.lock();
            (signals.stopped.is_none() || signals.ending.is_some()).then_some(())
        },
        None,
        false,
    );
}

/// Tells the parent that the process goes on.
pub fn report_continued(process: &Arc<Process>) {
    report(process, flags::CLD_CONTINUED, Signal::CONT);
}

/// Notes a stop or resumption for `wait`, and tells the parent if it wants to know.
fn report(process: &Process, code: i32, signal: Signal) {
    let parent = {
        let mut table = table::lock();
        let Some(entry) = table.get_mut(process.pid) else { return };
        let stopped = code == flags::CLD_STOPPED;
        entry.report.stopped = stopped.then_some(signal);
        entry.report.continued = !stopped;
        let parent = entry.process.parent.load(Ordering::Relaxed);
        let Some(parent) = table.get(parent) else { return };
        parent.process.clone()
    };
    let quiet = parent.signals.lock().actions[Signal::CHLD.index()].flags & flags::SA_NOCLDSTOP != 0;
    if !quiet {
        let uid = process.credentials().uid;
        let origin =
            Origin::Child { pid: process.pid, uid, status: i32::from(signal.number()), user_ticks: 0, system_ticks: 0 };
        signal::send(&parent, &SigInfo { signal: Signal::CHLD, code, origin });
    }
    parent.changed.wake_all();
}
