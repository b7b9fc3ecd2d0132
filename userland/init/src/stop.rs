//! The end: services are asked, then made to stop, data is written out, the machine does what was asked.

use rt::event::Event;
use rt::process::runtime::{KernelSigSet, Signal};
use rt::rustix::fs::sync;
use rt::rustix::io::Errno;
use rt::rustix::process::{Pid, WaitOptions, kill_process_group, wait};
use rt::rustix::system::{RebootCommand, reboot};

/// How long processes have after TERM, and how long the kernel has after KILL.
const GRACE_MS: u64 = 3_000;
const KILLED_MS: u64 = 1_000;

/// What was asked for.
#[derive(Clone, Copy)]
pub enum Request {
    Halt,
    PowerOff,
    Reboot,
}

/// Stops `sessions` (leader, whether it has a terminal), as pid 1 every other process too, and then the machine.
pub fn stop(request: Request, sessions: &[(u32, bool)], first: bool, signals: &KernelSigSet) -> i32 {
    let (name, command) = match request {
        Request::Halt => ("halt", RebootCommand::Halt),
        Request::PowerOff => ("poweroff", RebootCommand::PowerOff),
        Request::Reboot => ("reboot", RebootCommand::Restart),
    };
    Event::new("init.stop").with("request", name).send();
    let groups = || sessions.iter().filter_map(|&(pid, tty)| Some((Pid::from_raw(pid.cast_signed())?, tty)));
    let all = |signal| {
        // group 1 stands for every process but this one
        for group in groups().map(|(group, _)| group).chain(first.then_some(Pid::INIT)) {
            // one that has just ended is no failure
            let _ = kill_process_group(group, signal);
        }
    };
    for (group, _) in groups().filter(|(_, tty)| *tty) {
        // a login shell ignores TERM; a terminal that goes away is what ends it
        let _ = kill_process_group(group, Signal::HUP);
    }
    all(Signal::TERM);
    all(Signal::CONT);
    if !childless_within(GRACE_MS, signals) {
        all(Signal::KILL);
        if !childless_within(KILLED_MS, signals) {
            let event = Event::new("init.error").with("what", "stop");
            event.with("why", "some processes outlived SIGKILL").send();
        }
    }
    sync();
    if !first {
        return 0;
    }
    let error = reboot(command).err().unwrap_or(Errno::NOSYS);
    Event::new("init.error").with("what", name).with("why", rt::errno::text(error)).send();
    loop {
        // pid 1 must not end; children that come now are still reaped
        childless_within(u64::MAX / 2, signals);
        rt::process::wait_signal(signals, None);
    }
}

/// Reaps until no child is left or the time is over.
fn childless_within(ms: u64, signals: &KernelSigSet) -> bool {
    let end = rt::clock::now_ms().saturating_add(ms);
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(_) => return true,
        }
        let now = rt::clock::now_ms();
        if now >= end {
            return false;
        }
        rt::process::wait_signal(signals, Some(end - now));
    }
}
