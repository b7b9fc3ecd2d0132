//! Looks that may take long, each in a child of its own: commands, and whatever touches a disk.

use alloc::{format, string::String, vec::Vec};

use healthd::board::Outcome;
use healthd::check::{Check, Kind};
use healthd::facts::Found;
use healthd::limits::RUNNING_MAX;
use rt::Errno;
use rt::identity;
use rt::process::runtime::Signal;
use rt::process::{Side, exec, fork, signal_set};
use rt::rustix::fd::AsFd;
use rt::rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, fsync, open, stat, unlink};
use rt::rustix::io::read;
use rt::rustix::process::{Pid, WaitStatus, kill_process_group, setsid};
use rt::rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::dog::Dog;

/// Bytes that are written and read back.
const PATTERN_LENGTH: usize = 4096;
/// A child's exit status where it is no number of an error.
const OTHER_BYTES: i32 = 250;
/// What a child that could not become its command ends with, as a shell's.
const NO_COMMAND: i32 = 127;

struct Run {
    pid: Pid,
    index: usize,
    deadline_ms: u64,
    timeout_ms: u64,
    is_command: bool,
    /// Its time is over, and was told; it has not ended yet.
    over: bool,
}

#[derive(Default)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// No further one is to be started now. One that does not even end when it is killed does not count: it may never.
    pub fn are_many(&self) -> bool {
        self.0.iter().filter(|run| !run.over).count() >= RUNNING_MAX
    }

    /// When the next one's time is over.
    pub fn next_ms(&self) -> Option<u64> {
        self.0.iter().filter(|run| !run.over).map(|run| run.deadline_ms).min()
    }

    /// Starts a look.
    pub fn start(&mut self, index: usize, check: &Check, now: u64, dog: &mut Dog) -> Result<(), String> {
        if self.0.iter().any(|run| run.index == index) {
            return Err("the look before has not ended yet".into());
        }
        let who = match &check.kind {
            Kind::Command { exec, user, .. } => {
                accessat(CWD, exec.as_str(), Access::EXEC_OK, AtFlags::empty())
                    .map_err(|error| format!("it cannot be run: {}", rt::errno::text(error)))?;
                Some(identity::of(user).map_err(|error| format!("user {user}: {}", rt::errno::text(error)))?)
            }
            _ => None,
        };
        match fork() {
            Ok(Side::Parent(pid)) => {
                let (deadline_ms, timeout_ms) = (now + check.timeout_ms, check.timeout_ms);
                self.0.push(Run { pid, index, deadline_ms, timeout_ms, is_command: who.is_some(), over: false });
                Ok(())
            }
            Ok(Side::Child) => {
                dog.let_go();
                let _ = setsid();
                rt::start::exit(match &check.kind {
                    Kind::Command { exec, args, .. } => become_command(exec, args, who.as_ref()),
                    Kind::File { path, read } => status(look_at_file(path, *read)),
                    Kind::Write(folder) => {
                        write_in(folder).map_or_else(status_of, |same| if same { 0 } else { OTHER_BYTES })
                    }
                    _ => NO_COMMAND,
                })
            }
            Err(error) => Err(format!("no process for it: {}", rt::errno::text(error))),
        }
    }

    /// Ends those whose time is over; each is told once.
    pub fn overdue(&mut self, now: u64) -> Vec<(usize, String)> {
        let late = self.0.iter_mut().filter(|run| !run.over && run.deadline_ms <= now);
        late.map(|run| {
            run.over = true;
            let _ = kill_process_group(run.pid, Signal::KILL);
            (run.index, format!("took longer than {} ms", run.timeout_ms))
        })
        .collect()
    }

    /// A child has ended; what its look found, where it was one that was still waited for.
    pub fn ended(&mut self, pid: Pid, status: WaitStatus) -> Option<(usize, Found)> {
        let at = self.0.iter().position(|run| run.pid == pid)?;
        let run = self.0.swap_remove(at);
        // What a command left behind in its session goes too.
        let _ = kill_process_group(pid, Signal::KILL);
        (!run.over).then(|| (run.index, found(&run, status)))
    }
}

fn found(run: &Run, status: WaitStatus) -> Found {
    let why = match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => return Ok(()),
        (Some(status), _) if run.is_command => format!("exit status {status}"),
        (Some(OTHER_BYTES), _) => "what was read is not what was written".into(),
        (Some(error), _) => rt::errno::text(Errno::from_raw_os_error(error)).into(),
        (None, signal) => format!("ended by signal {}", signal.unwrap_or(0)),
    };
    Err((Outcome::Fail, why))
}

fn status_of(error: Errno) -> i32 {
    error.raw_os_error()
}

fn status(result: Result<(), Errno>) -> i32 {
    result.err().map_or(0, status_of)
}

/// Returns only when it could not: its words are nobody's to read, so they go nowhere.
fn become_command(program: &str, args: &[String], who: Option<&identity::Identity>) -> i32 {
    let prepared = (|| {
        rt::process::block_signals(&signal_set(&[]))?;
        let nowhere = open("/dev/null", OFlags::RDWR, Mode::empty())?;
        dup2_stdin(&nowhere)?;
        dup2_stdout(&nowhere)?;
        dup2_stderr(&nowhere)?;
        who.map_or(Ok(()), identity::Identity::take_on)
    })();
    if prepared.is_ok() {
        let name = program.rsplit('/').next().unwrap_or(program);
        let words: Vec<&str> = [name].into_iter().chain(args.iter().map(String::as_str)).collect();
        exec(program, &words, &["PATH=/usr/bin", "HOME=/"]);
    }
    NO_COMMAND
}

fn look_at_file(path: &str, and_read: bool) -> Result<(), Errno> {
    stat(path)?;
    if and_read {
        let file = open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        read(&file, &mut [0; 512])?;
    }
    Ok(())
}

/// Writes a file, makes it last, reads it back and removes it; false: other bytes came back.
fn write_in(folder: &str) -> Result<bool, Errno> {
    let path = format!("{folder}/.health-write");
    let pattern: Vec<u8> = (0..PATTERN_LENGTH).map(|at| (at as u64 ^ rt::clock::now_ms()) as u8).collect();
    match unlink(path.as_str()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = open(path.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
    rt::out::write_all(file.as_fd(), &pattern)?;
    fsync(&file)?;
    let same = rt::fs::read(&path, PATTERN_LENGTH)? == pattern;
    unlink(path.as_str())?;
    Ok(same)
}
