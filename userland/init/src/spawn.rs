//! One service becomes one process: session, terminal, user, environment, exec.

use alloc::{format, string::String, vec::Vec};
use init::service::{Ready, Service};
use rt::Errno;
use rt::event::Event;
use rt::process::{Side, exec, exec_open, fork, signal_set};
use rt::rustix::event::{PollFd, PollFlags, Timespec, poll};
use rt::rustix::fd::{AsRawFd, OwnedFd};
use rt::rustix::fs::{Gid, Mode, OFlags, Uid, open};
use rt::rustix::io::{FdFlags, fcntl_setfd, read, write};
use rt::rustix::pipe::{PipeFlags, pipe_with};
use rt::rustix::process::{Pid, ioctl_tiocsctty, setsid, umask};
use rt::rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rt::rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

/// Steps of a child before its program; their index travels to the parent when one fails.
const STEPS: [&str; 6] = ["session", "tty", "user", "notify", "open", "exec"];

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

/// Whom the child becomes; `None` for root, whom init is already.
type Identity = Option<(u32, Vec<u32>)>;

/// What init opens for a service, and the program that it is handed to. The program was opened when the service was declared: what is mounted over its
/// path later does not get the descriptors.
pub struct Trusted {
    program: OwnedFd,
}

impl Trusted {
    /// Of a service that has `open`.
    pub fn of(service: &Service) -> Result<Option<Self>, Errno> {
        if service.open.is_empty() {
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        open(service.exec.as_str(), flags, Mode::empty()).map(|program| Some(Self { program }))
    }
}

/// Opens what the service file names. One that cannot be opened is told of, and the service does without.
fn opened(service: &Service) -> Vec<Option<OwnedFd>> {
    let one = |path: &String| match open(path.as_str(), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Some(fd),
        Err(why) => {
            let event = Event::new("service.open").with("name", &service.name).with("path", path);
            event.with("why", rt::errno::text(why)).send();
            None
        }
    };
    service.open.iter().map(one).collect()
}

/// Starts the service's program. It runs when this returns: the exec closed the pipe that a failure would use.
pub fn start(service: &Service, trusted: Option<&Trusted>) -> Result<Child, Failure> {
    let files = if trusted.is_some() { opened(service) } else { Vec::new() };
    let identity = identity(&service.user).map_err(|error| Failure { what: "user", error })?;
    let failed = |error| Failure { what: "process", error };
    let (report, report_to) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    let notify =
        if service.ready == Ready::Notify { Some(pipe_with(PipeFlags::CLOEXEC).map_err(failed)?) } else { None };
    let notify_to = notify.as_ref().map(|(_, to)| to);
    let pid = match fork().map_err(failed)? {
        Side::Parent(pid) => pid,
        Side::Child => {
            let (step, error) = become_service(service, &identity, notify_to, trusted, &files);
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

fn identity(user: &str) -> Result<Identity, Errno> {
    if user == "root" {
        return Ok(None);
    }
    let passwd = rt::fs::read_text("/etc/passwd", accounts::FILE_MAX)?;
    let group = rt::fs::read_text("/etc/group", accounts::FILE_MAX)?;
    let user = accounts::user(&passwd, user).ok_or(Errno::SRCH)?;
    Ok(Some((user.uid, accounts::groups_of(&user, &group))))
}

/// In the child: returns only if a step failed.
fn become_service(
    service: &Service,
    identity: &Identity,
    notify: Option<&OwnedFd>,
    trusted: Option<&Trusted>,
    files: &[Option<OwnedFd>],
) -> (u8, Errno) {
    let prepared = (|| {
        rt::process::block_signals(&signal_set(&[])).map_err(|e| (0, e))?;
        setsid().map_err(|e| (0, e))?;
        umask(Mode::WGRP | Mode::WOTH);
        terminal(service.tty.as_deref()).map_err(|e| (1, e))?;
        if let Some((uid, groups)) = identity {
            become_user(*uid, groups).map_err(|e| (2, e))?;
        }
        if let Some(pipe) = notify {
            fcntl_setfd(pipe, FdFlags::empty()).map_err(|e| (3, e))?;
        }
        files.iter().flatten().try_for_each(|file| fcntl_setfd(file, FdFlags::empty())).map_err(|e| (4, e))
    })();
    if let Err(failed) = prepared {
        return failed;
    }
    let mut environment: Vec<String> = Vec::from(["PATH=/usr/bin".into(), "HOME=/".into()]);
    if let Some(pipe) = notify {
        environment.push(format!("{}={}", rt::notify::VARIABLE, pipe.as_raw_fd()));
    }
    if !files.is_empty() {
        let number = |file: &Option<OwnedFd>| file.as_ref().map_or("-".into(), |file| format!("{}", file.as_raw_fd()));
        environment.push(format!("OPENED={}", files.iter().map(number).collect::<Vec<String>>().join(" ")));
    }
    let name = service.exec.rsplit('/').next().unwrap_or(&service.exec);
    let words: Vec<&str> = [name].into_iter().chain(service.args.iter().map(String::as_str)).collect();
    let error = match trusted {
        Some(trusted) => exec_open(&trusted.program, &words, &environment),
        None => exec(&service.exec, &words, &environment),
    };
    (5, error)
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

/// Groups first: afterwards the right to change them is gone.
fn become_user(uid: u32, groups: &[u32]) -> Result<(), Errno> {
    let all: Vec<Gid> = groups.iter().map(|&g| Gid::from_raw(g)).collect();
    set_thread_groups(&all)?;
    set_thread_gid(all[0])?;
    set_thread_uid(Uid::from_raw(uid))
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
