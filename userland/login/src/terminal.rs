//! The terminal while nobody is logged in: lines with or without echo, no signals from keys.

use alloc::{string::String, vec::Vec};
use rt::Errno;
use rt::rustix::event::{PollFd, PollFlags, Timespec, poll};
use rt::rustix::fd::BorrowedFd;
use rt::rustix::io::read;
use rt::tty::Modes;

const LINE_MAX: usize = 256;

/// What came.
pub enum Line {
    /// A line without its end. One that is too long or not UTF-8 comes with stand-ins and fits nothing.
    Text(String),
    /// The terminal's end: hung up, or ^D.
    End,
    /// Nothing for too long.
    TimedOut,
}

/// Standard input, made a sane line terminal.
pub struct Terminal {
    fd: BorrowedFd<'static>,
    modes: Modes,
}

impl Terminal {
    /// Fails with ENOTTY where standard input is no terminal. Whatever an earlier session left set is put right.
    pub fn take() -> Result<Self, Errno> {
        // SAFETY: descriptor 0 stays open as long as the process.
        let fd = unsafe { BorrowedFd::borrow_raw(0) };
        let modes = Modes::of(fd)?.sane();
        Ok(Self { fd, modes })
    }

    /// Sets whether what is typed from now on is shown: before the prompt that invites to type. Typed-ahead text stays,
    /// so that a fast typist, or a script, loses nothing.
    pub fn show_typing(&self, echo: bool) {
        // a terminal that is gone ends the next read, and that is enough
        let _ = self.modes.quiet(echo).set(self.fd);
    }

    /// Reads a line.
    pub fn line(&self, timeout_ms: Option<u64>) -> Line {
        let mut line: Vec<u8> = Vec::with_capacity(LINE_MAX);
        let mut part = [0; LINE_MAX];
        loop {
            if !self.input_within(timeout_ms) {
                return Line::TimedOut;
            }
            let count = match read(self.fd, &mut part) {
                Ok(0) | Err(Errno::IO) => return Line::End,
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(_) => return Line::End,
            };
            line.extend_from_slice(&part[..count]);
            part[..count].fill(0);
            if let Some(end) = line.iter().position(|&b| b == b'\n') {
                let text = String::from_utf8_lossy(&line[..end.min(LINE_MAX)]).into_owned();
                line.fill(0);
                return Line::Text(text);
            }
            if line.len() > LINE_MAX {
                // the rest of a line without end is dropped; what is kept is too long for any name or password
                line.truncate(LINE_MAX);
            }
        }
    }

    fn input_within(&self, timeout_ms: Option<u64>) -> bool {
        let Some(ms) = timeout_ms else { return true };
        let limit = Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: ((ms % 1000) * 1_000_000) as i64 };
        poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&limit)) != Ok(0)
    }

    /// As a session expects it.
    pub fn give_back(&self) {
        // as above, of the shell's read
        let _ = self.modes.set(self.fd);
    }

    /// Its name below /dev, `-` where that cannot be told.
    pub fn name() -> String {
        rt::rustix::fs::readlink("/proc/self/fd/0", Vec::new())
            .ok()
            .and_then(|path| Some(String::from(path.to_str().ok()?.strip_prefix("/dev/")?)))
            .unwrap_or_else(|| String::from("-"))
    }

    /// The device belongs to the session's user, so that it can open it again; others may not write to it.
    pub fn belongs_to(&self, uid: u32) {
        use rt::rustix::fs::{Gid, Mode, Uid, fchmod, fchown};
        const TTY_GROUP: u32 = 5;
        // where devices have fixed owners, the open descriptor is what the session has
        let _ = fchown(self.fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(TTY_GROUP)));
        let _ = fchmod(self.fd, Mode::RUSR | Mode::WUSR | Mode::WGRP);
    }
}
