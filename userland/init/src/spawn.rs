//! One service becomes one process: session, terminal, user, environment, exec.

use alloc::{format, string::String, vec::Vec};
use init::service::{Ready, Service};
use rt::Errno;
use rt::event::Event;
use rt::identity::{self, Identity};
use rt::process::{Side, exec, exec_open, fork, signal_set};
use rt::rustix::event::{PollFd, PollFlags, Timespec, poll};
use rt::rustix::fd::{AsRawFd, OwnedFd};
use rt::rustix::fs::{Mode, OFlags, open};
use rt::rustix::io::{FdFlags, fcntl_setfd, read, write};
use rt::rustix::pipe::{PipeFlags, pipe_with};
use rt::rustix::process::{Pid, ioctl_tiocsctty, setsid, umask};
use rt::rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Steps of a child before its program; their index travels to the parent when one fails.
const STEPS: [&str; 5] = ["session", "tty", "user", "descriptors", "exec"];

/// A program that could not be started: at which step, and why.
pub struct Failure {
    pub what: &'static str,
    pub error: Errno,
}

/// A service that runs.
pub struct Child {
    pub pid: Pid,
    notify: Option<OwnedFd>,
}

/// A pipe between services. Both ends stay open here, so that nothing written is lost when one of the services starts again.
pub struct Pipe {
    name: String,
    out: OwnedFd,
    into: OwnedFd,
}

/// The pipes that services name.
pub fn pipes(services: &[Service]) -> Result<Vec<Pipe>, Errno> {
    let mut pipes: Vec<Pipe> = Vec::new();
    for name in services.iter().flat_map(|service| [&service.pipe_out, &service.pipe_in]).flatten() {
        if pipes.iter().all(|pipe| pipe.name != *name) {
            let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
            pipes.push(Pipe { name: name.clone(), out, into });
        }
    }
    Ok(pipes)
}

/// What a service is handed that others do not have: descriptors of devices, and the program that gets them or an end of a pipe. All of it is opened before any
/// program runs: what is mounted or linked over the paths later is not looked at.
pub struct Trusted {
    program: Option<OwnedFd>,
    files: Vec<Option<OwnedFd>>,
}

impl Trusted {
    /// Of a service; `hold_program`: it is executed as it is now.
    pub fn of(service: &Service, hold_program: bool) -> Result<Self, Errno> {
        let is_handed = !service.open.is_empty() || service.pipe_out.is_some() || service.pipe_in.is_some();
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let program = (is_handed && hold_program).then(|| open(service.exec.as_str(), flags, Mode::empty()));
        Ok(Self {
            program: program.transpose()?,
            files: service.open.iter().map(|path| opened(service, path)).collect(),
        })
    }
}

/// A path that the service file names. One that cannot be opened is told of, and the service does without.
fn opened(service: &Service, path: &str) -> Option<OwnedFd> {
    let fd = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    fd.inspect_err(|why| {
        let event = Event::new("service.open").with("name", &service.name).with("path", path);
        event.with("why", rt::errno::text(*why)).send();
    })
    .ok()
}

/// Starts the service's program. It runs when this returns: the exec closed the pipe that a failure would use.
pub fn start(service: &Service, trusted: &Trusted, pipes: &[Pipe]) -> Result<Child, Failure> {
    let identity = identity::of(&service.user).map_err(|error| Failure { what: "user", error })?;
    let failed = |error| Failure { what: "process", error };
    let (report, report_to) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let notify =
        if service.ready == Ready::Notify { Some(pipe_with(PipeFlags::CLOEXEC).map_err(failed)?) } else { None };
    let notify_to = notify.as_ref().map(|(_, to)| to);
    let pid = match fork().map_err(failed)? {
        Side::Parent(pid) => pid,
        Side::Child => {
            let ends = Ends::of(service, notify_to, pipes, &trusted.files);
            let (step, error) = become_service(service, &identity, trusted, &ends);
            let [low, high] = (error.raw_os_error() as u16).to_le_bytes();
            let _ = write(&report_to, &[step, low, high]);
            rt::start::exit(127)
        }
    };
    drop(report_to);
    let mut words = [0; 3];
    // the end of the file: exec succeeded; the child itself is reaped by its pid either way
    match read(&report, &mut words) {
        Ok(3) => Err(Failure {
            what: STEPS.get(usize::from(words[0])).copied().unwrap_or("process"),
            error: Errno::from_raw_os_error(i32::from(u16::from_le_bytes([words[1], words[2]]))),
        }),
        _ => Ok(Child { pid, notify: notify.map(|(from, _)| from) }),
    }
}

/// The descriptors that a service is handed, and the variables that name them.
struct Ends<'a> {
    open: Vec<&'a OwnedFd>,
    variables: Vec<String>,
}

impl<'a> Ends<'a> {
    fn of(service: &Service, notify: Option<&'a OwnedFd>, pipes: &'a [Pipe], files: &'a [Option<OwnedFd>]) -> Self {
        let find = |name: &Option<String>| pipes.iter().find(|pipe| Some(&pipe.name) == name.as_ref());
        let named = [
            (rt::notify::VARIABLE, notify),
            ("PIPE_OUT", find(&service.pipe_out).map(|pipe| &pipe.into)),
            ("PIPE_IN", find(&service.pipe_in).map(|pipe| &pipe.out)),
        ];
        let named = named.into_iter().filter_map(|(variable, end)| Some((variable, end?)));
        let number = |file: &Option<OwnedFd>| file.as_ref().map_or("-".into(), |file| format!("{}", file.as_raw_fd()));
        let mut variables: Vec<String> =
            named.clone().map(|(variable, end)| format!("{variable}={}", end.as_raw_fd())).collect();
        if !files.is_empty() {
            variables.push(format!("OPENED={}", files.iter().map(number).collect::<Vec<String>>().join(" ")));
        }
        Self { open: named.map(|(_, end)| end).chain(files.iter().flatten()).collect(), variables }
    }
}

/// In the child: returns only if a step failed.
fn become_service(service: &Service, identity: &Identity, trusted: &Trusted, ends: &Ends) -> (u8, Errno) {
    let prepared = (|| {
        rt::process::block_signals(&signal_set(&[])).map_err(|e| (0, e))?;
        setsid().map_err(|e| (0, e))?;
        umask(Mode::WGRP | Mode::WOTH);
        terminal(service.tty.as_deref()).map_err(|e| (1, e))?;
        identity.take_on().map_err(|e| (2, e))?;
        ends.open.iter().try_for_each(|end| fcntl_setfd(end, FdFlags::empty())).map_err(|e| (3, e))
    })();
    if let Err(failed) = prepared {
        return failed;
    }
    let mut environment: Vec<String> = Vec::from(["PATH=/usr/bin".into(), "HOME=/".into()]);
    environment.extend_from_slice(&ends.variables);
    let name = service.exec.rsplit('/').next().unwrap_or(&service.exec);
    let words: Vec<&str> = [name].into_iter().chain(service.args.iter().map(String::as_str)).collect();
    let error = match &trusted.program {
        Some(program) => exec_open(program, &words, &environment),
        None => exec(&service.exec, &words, &environment),
    };
    (4, error)
}

/// With a terminal: it controls the session and is all three descriptors. Without: nothing to read, output as init's.
fn terminal(tty: Option<&str>) -> Result<(), Errno> {
    let Some(tty) = tty else {
        return dup2_stdin(open("/dev/null", OFlags::RDONLY, Mode::empty())?);
    };
    let device = open(format!("/dev/{tty}"), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    ioctl_tiocsctty(&device)?;
    dup2_stdin(&device)?;
    dup2_stdout(&device)?;
    dup2_stderr(&device)
}

impl Child {
    /// `None`: it does not tell. Else whether it told in time.
    pub fn wait_until_up(&self, timeout_ms: u64) -> Option<Result<(), &'static str>> {
        let pipe = self.notify.as_ref()?;
        let limit = Timespec { tv_sec: (timeout_ms / 1000) as i64, tv_nsec: ((timeout_ms % 1000) * 1_000_000) as i64 };
        let came = poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&limit));
        Some(match came {
            Ok(0) => Err("did not say in time that it is up"),
            Ok(_) if read(pipe, &mut [0]) == Ok(1) => Ok(()),
            Ok(_) => Err("ended or closed NOTIFY_FD without saying that it is up"),
            Err(error) => Err(rt::errno::text(error)),
        })
    }
}
