//! pid 1: starts the declared services in order, reaps every child, restarts what ends, stops all on request.
//!
//! Signals: USR1 halts, USR2 powers off, TERM and INT reboot (what `halt`, `poweroff` and `reboot` send). All of them
//! and CHLD stay blocked and are taken one by one, so no handler interrupts anything.
//! As an ordinary process it starts only what a folder that it is given declares, and ends instead of stopping the machine.
#![cfg_attr(swift_os, no_std, no_main)]

extern crate alloc;

mod spawn;
mod stop;

use alloc::{format, string::String, vec::Vec};
use core::ffi::CStr;
use init::service::{self, Service};
use init::supervisor::{Supervisor, failure};
use rt::Errno;
use rt::event::Event;
use rt::process::runtime::{KernelSigSet, Signal};
use rt::rustix::process::{Pid, WaitOptions, getpid, kill_process_group, wait};
use spawn::Trusted;

rt::entry!(run);

const SERVICES: &str = "/etc/services.d";
/// Is there once the boot is ready.
const READY: &str = "/run/boot.ready";
/// How they stand, for whoever wants to know (docs/formats/service.md).
const STATES: &str = "/run/services";
const HELP: &str = "usage: init [--services DIR]
Starts and watches the services declared in DIR as DIR/NAME.service. Process 1 needs no DIR: /etc/services.d.
SIGUSR1 halts, SIGUSR2 powers off, SIGTERM and SIGINT reboot; other than as process 1, each only ends init.
";

fn run(arguments: &[&'static CStr]) -> i32 {
    let words: Vec<&[u8]> = arguments.iter().skip(1).map(|a| a.to_bytes()).collect();
    let folder = match words[..] {
        [] if is_first() => SERVICES,
        [] => {
            rt::errln!("init: the system's services are process 1's to start; --services DIR starts those in DIR");
            return 1;
        }
        [b"--services", folder] => match core::str::from_utf8(folder) {
            Ok(folder) => folder,
            Err(_) => return usage(),
        },
        [b"--help"] => {
            rt::out!("{HELP}");
            return 0;
        }
        // a kernel passes the words of its command line that it does not know on to pid 1
        _ if is_first() => SERVICES,
        _ => return usage(),
    };
    let signals = rt::process::signal_set(&[Signal::CHILD, Signal::TERM, Signal::INT, Signal::USR1, Signal::USR2]);
    if let Err(error) = rt::process::block_signals(&signals) {
        Event::new("init.error").with("what", "signals").with("why", rt::errno::text(error)).send();
        return 1;
    }
    if is_first() {
        set_host_name();
    }
    watch(folder, &signals)
}

fn usage() -> i32 {
    rt::errln!("init: unknown arguments\n{}", HELP.trim_end());
    2
}

fn is_first() -> bool {
    getpid() == Pid::INIT
}

/// Runs until a signal asks for the end.
fn watch(folder: &str, signals: &KernelSigSet) -> i32 {
    let mut log = Vec::new();
    let (services, broken) = load(folder, &mut log);
    let handed = Handed::of(&services, &mut log);
    let mut supervisor = Supervisor::new(services, broken, &mut log);
    let mut told = String::new();
    loop {
        start_due(&mut supervisor, &handed, &mut log);
        announce(&mut supervisor, &mut log);
        if is_first() {
            tell(&supervisor, &mut told);
        }
        let now = rt::clock::now_ms();
        let wait = supervisor.next_due_ms().map(|due| due.saturating_sub(now));
        let request = match rt::process::wait_signal(signals, wait) {
            Some(Signal::USR1) => stop::Request::Halt,
            Some(Signal::USR2) => stop::Request::PowerOff,
            Some(Signal::TERM | Signal::INT) => stop::Request::Reboot,
            _ => {
                reap(&mut supervisor, &mut log);
                continue;
            }
        };
        let sessions: Vec<(u32, bool)> = supervisor.running().collect();
        return stop::stop(request, &sessions, is_first(), signals);
    }
}

/// Says in a file how the services stand, when that has changed.
fn tell(supervisor: &Supervisor, told: &mut String) {
    let text = supervisor.states();
    if text != *told
        && let Err(error) = rt::fs::replace(STATES, text.as_bytes(), false)
    {
        Event::new("init.error")
            .with("what", "services")
            .with("where", STATES)
            .with("why", rt::errno::text(error))
            .send();
    }
    *told = text;
}

/// Reads every service file. The second value is true when one of them, or the folder, cannot be used.
fn load(folder: &str, log: &mut Vec<Event>) -> (Vec<Service>, bool) {
    let names = match rt::fs::list(folder) {
        Ok(names) => names,
        Err(error) => {
            let event = Event::new("init.error").with("what", "services").with("where", folder);
            log.push(event.with("why", rt::errno::text(error)));
            return (Vec::new(), true);
        }
    };
    let (mut services, mut broken) = (Vec::new(), false);
    for file in names {
        let path = format!("{folder}/{file}");
        let one = load_one(&file, &path);
        let one = one.and_then(|service| service::check_pipes(&service, &services).map(|()| service));
        match one {
            Ok(service) => services.push(service),
            Err(mistake) => {
                let event = Event::new("service.failed").with("name", file.trim_end_matches(".service"));
                let event = event.with("what", "file").with("file", &path).with("line", mistake.line);
                log.push(event.with("key", &mistake.key).with("why", &mistake.why));
                broken = true;
            }
        }
    }
    (services, broken)
}

fn load_one(file: &str, path: &str) -> Result<Service, service::Mistake> {
    let wrong = |why: String| service::Mistake { line: 0, key: String::new(), why };
    let name = file.strip_suffix(".service").ok_or_else(|| wrong("the file's name does not end in .service".into()))?;
    let name = service::name(name).map_err(|why| wrong(format!("the file's name {why}")))?;
    let text = rt::fs::read_text(path, service::FILE_MAX).map_err(|error| wrong(rt::errno::text(error).into()))?;
    Service::parse(&name, &text)
}

/// What services are handed that only init can have.
struct Handed {
    /// Of each service, in their order.
    trusted: Vec<Result<Trusted, Errno>>,
    pipes: Vec<spawn::Pipe>,
}

impl Handed {
    fn of(services: &[Service], log: &mut Vec<Event>) -> Self {
        let pipes = spawn::pipes(services).unwrap_or_else(|error| {
            log.push(Event::new("init.error").with("what", "pipe").with("why", rt::errno::text(error)));
            Vec::new()
        });
        // Only process 1 has what others do not.
        let trusted = services.iter().map(|service| Trusted::of(service, is_first())).collect();
        Self { trusted, pipes }
    }
}

/// Tells once how the boot went. A file says it too, for programs that come later.
fn announce(supervisor: &mut Supervisor, log: &mut Vec<Event>) {
    supervisor.announce(log);
    let is_ready = log.iter().any(|event| event.line().starts_with("boot.ready "));
    send(log);
    if is_ready
        && is_first()
        && let Err(error) = rt::fs::replace(READY, b"", false)
    {
        Event::new("init.error").with("what", READY).with("why", rt::errno::text(error)).send();
    }
}

/// Starts all that is due now, one after the other; one that tells when it is up is waited for.
fn start_due(supervisor: &mut Supervisor, handed: &Handed, log: &mut Vec<Event>) {
    while let Some((index, service)) = supervisor.next_start(rt::clock::now_ms(), log) {
        let service = service.clone();
        let trusted = handed.trusted[index].as_ref().map_err(|&error| spawn::Failure { what: "program", error });
        match trusted.and_then(|trusted| spawn::start(&service, trusted, &handed.pipes)) {
            Ok(child) => {
                supervisor.started(index, child.pid.as_raw_nonzero().get().cast_unsigned(), rt::clock::now_ms(), log);
                send(log);
                match child.wait_until_up(service.ready_timeout_ms) {
                    Some(Ok(())) => supervisor.ready(index),
                    Some(Err(why)) => {
                        log.push(failure(&service.name, "ready", why));
                        // its end is reaped like any other, and counts as a failure
                        let _ = kill_process_group(child.pid, Signal::KILL);
                    }
                    None => {}
                }
            }
            Err(spawn::Failure { what, error }) => {
                supervisor.not_started(index, what, rt::errno::text(error), rt::clock::now_ms(), log);
            }
        }
        // Several that are waited for one after the other must not keep orphans waiting for all of that time.
        reap(supervisor, log);
        announce(supervisor, log);
    }
}

/// Takes every child that has ended, services and orphans alike.
fn reap(supervisor: &mut Supervisor, log: &mut Vec<Event>) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
        let (pid, code) = (pid.as_raw_nonzero().get().cast_unsigned(), code.unwrap_or(0).cast_unsigned());
        supervisor.exited(pid, code, rt::clock::now_ms(), log);
    }
}

fn send(log: &mut Vec<Event>) {
    log.drain(..).for_each(Event::send);
}

/// The name of the machine is the first line of /etc/hostname.
fn set_host_name() {
    const NAME_MAX: usize = 64;
    let text = rt::fs::read_text("/etc/hostname", NAME_MAX + 1).unwrap_or_default();
    let name = text.trim();
    if !name.is_empty()
        && let Err(error) = rt::rustix::system::sethostname(name.as_bytes())
    {
        Event::new("init.error").with("what", "hostname").with("why", rt::errno::text(error)).send();
    }
}
