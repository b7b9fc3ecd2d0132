//! To whom the verdict is told: events, the status file, the pipe that init made, and the record for the next release.

use alloc::string::String;

use healthd::board::{self, Board, Verdict};
use healthd::limits::{RECORD_MAX, RECORD_MS};
use healthd::record::{self, Before};
use healthd::status;
use rt::event::Event;
use rt::process::{Side, fork};
use rt::rustix::fd::{FromRawFd, OwnedFd};
use rt::rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rt::rustix::io::{FdFlags, fcntl_setfd, write};
use rt::rustix::process::{Pid, WaitOptions, getpid, waitpid};

use crate::dog::Dog;
use crate::{facts, text};

const RECORD_FOLDER: &str = "/data/var/health";
const RECORD: &str = "/data/var/health/last";
/// How long the last record may take: init kills what does not end in 3 s.
const LAST_MS: u64 = 2_000;
const STEP_MS: u64 = 20;

pub struct Told {
    release: String,
    before: Before,
    pipe: Option<OwnedFd>,
    /// The line that has yet to go into the pipe.
    line: Option<String>,
    verdict: Verdict,
    status: String,
    record: String,
    /// When it was last looked at whether there is something to keep.
    record_ms: Option<u64>,
    /// The child that writes the record.
    writer: Option<Pid>,
}

/// What was recorded; empty when there is nothing, or too much.
pub fn last_record() -> String {
    rt::fs::read_text(RECORD, RECORD_MAX).unwrap_or_default()
}

/// The pipe that init gave this service alone. It never blocks, and no command inherits it.
fn pipe() -> Option<OwnedFd> {
    let number = rt::process::variable("PIPE_OUT")?.parse().ok().filter(|&n: &i32| n > 2)?;
    // SAFETY: init opened this descriptor for us alone and named it; nothing else here uses it.
    let pipe = unsafe { OwnedFd::from_raw_fd(number) };
    let flags = fcntl_getfl(&pipe).ok()?;
    fcntl_setfl(&pipe, flags | OFlags::NONBLOCK).ok()?;
    fcntl_setfd(&pipe, FdFlags::CLOEXEC).ok()?;
    Some(pipe)
}

impl Told {
    pub fn new(release: String, before: Before) -> Self {
        if let Err(error) = rt::fs::make_folders(status::FOLDER) {
            complain(status::FOLDER, rt::errno::text(error));
        }
        Self {
            release,
            before,
            pipe: pipe(),
            line: None,
            verdict: Verdict::Pending,
            status: String::new(),
            record: String::new(),
            record_ms: None,
            writer: None,
        }
    }

    pub fn tell(&mut self, board: &Board, watchdog: &str, boot_ms: Option<u64>) {
        let (verdict, reasons) = board.verdict();
        if verdict != self.verdict {
            self.verdict = verdict;
            let event = Event::new("health.verdict").with("verdict", verdict.word());
            event.with("reasons", board::joined(reasons)).send();
            // Only the newest counts; one that found no room is out of date.
            self.line = board::line(verdict, reasons).or(self.line.take());
        }
        if let (Some(pipe), Some(line)) = (&self.pipe, &self.line)
            && write(pipe, line.as_bytes()).is_ok()
        {
            // It went in whole: it is shorter than PIPE_BUF.
            self.line = None;
        }
        let status = status::document(board, getpid().as_raw_nonzero().get().cast_unsigned(), watchdog, boot_ms);
        if status != self.status {
            if let Err(error) = rt::fs::replace(status::PATH, status.as_bytes(), false) {
                complain(status::PATH, rt::errno::text(error));
            }
            self.status = status;
        }
    }

    /// Keeps what has changed, now and then.
    pub fn record(&mut self, board: &Board, boot_ms: Option<u64>, now: u64, dog: &mut Dog) {
        let is_time = self.record_ms.is_none_or(|last| now >= last + RECORD_MS);
        if self.writer.is_none() && is_time && self.verdict != Verdict::Pending {
            self.write(board, boot_ms, now, dog);
        }
    }

    /// The last thing before the end.
    pub fn record_last(&mut self, board: &Board, boot_ms: Option<u64>, dog: &mut Dog) {
        let end = rt::clock::now_ms() + LAST_MS;
        for _ in 0..2 {
            while let Some(pid) = self.writer.filter(|_| rt::clock::now_ms() < end) {
                match waitpid(Some(pid), WaitOptions::NOHANG) {
                    Ok(None) => rt::clock::sleep_ms(STEP_MS),
                    _ => self.writer = None,
                }
            }
            if self.writer.is_none() {
                self.write(board, boot_ms, end, dog);
            }
        }
    }

    /// In a child: the disk may take its time.
    fn write(&mut self, board: &Board, boot_ms: Option<u64>, now: u64, dog: &mut Dog) {
        let record = record::write(&self.release, boot_ms, board.entries(), &self.before);
        self.record_ms = Some(now);
        if record == self.record || !facts::has_data(&text("/proc/mounts")) {
            return;
        }
        match fork() {
            Ok(Side::Parent(pid)) => (self.writer, self.record) = (Some(pid), record),
            Ok(Side::Child) => {
                dog.let_go();
                let done =
                    rt::fs::make_folders(RECORD_FOLDER).and_then(|()| rt::fs::replace(RECORD, record.as_bytes(), true));
                if let Err(error) = done {
                    complain(RECORD, rt::errno::text(error));
                }
                rt::start::exit(0)
            }
            Err(_) => {}
        }
    }

    /// A child has ended.
    pub fn ended(&mut self, pid: Pid) {
        if self.writer == Some(pid) {
            self.writer = None;
        }
    }
}

fn complain(file: &str, why: &str) {
    Event::new("health.error").with("what", "write").with("file", file).with("why", why).send();
}
