//! `/dev/watchdog` (Linux, Documentation/watchdog/watchdog-api.rst). It is fed from healthd's loop and from nowhere else, and only while
//! process 1 reaps: then programs can be started, run, end and be looked after.

use alloc::string::String;

use healthd::limits::{FEED_MS, INIT_SILENT_MAX_MS, WATCHDOG_SECONDS};
use rt::Errno;
use rt::event::Event;
use rt::rustix::fd::OwnedFd;
use rt::rustix::fs::{Mode, OFlags, open};
use rt::rustix::io::write;
use rt::rustix::ioctl::{Getter, Updater, ioctl};

const DEVICE: &str = "/dev/watchdog";
/// include/uapi/linux/watchdog.h
const WDIOC_GETSUPPORT: u32 = 0x8028_5700;
const WDIOC_SETTIMEOUT: u32 = 0xc004_5706;
/// `struct watchdog_info`, and where the name is in it.
const INFO_LENGTH: usize = 40;
const INFO_NAME: usize = 8;
/// How often one that could not be opened is tried again.
const AGAIN_MS: u64 = 10_000;

pub struct Dog {
    file: Option<OwnedFd>,
    name: String,
    fed_ms: u64,
    tried_ms: u64,
    /// Process 1 was said to be silent.
    said: bool,
}

impl Dog {
    pub fn new() -> Self {
        Self { file: None, name: "none".into(), fed_ms: 0, tried_ms: 0, said: false }
    }

    /// What counts; `none`: nobody would notice a hang.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// In a child, which is not to keep it open.
    pub fn let_go(&mut self) {
        self.file = None;
    }

    pub fn open(&mut self, now: u64) {
        self.tried_ms = now;
        let file = match open(DEVICE, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            Err(error) => {
                // One that is not there, or that somebody else feeds, is no fault of anything.
                if error != Errno::NOENT && error != Errno::BUSY {
                    self.complain("open", rt::errno::text(error));
                }
                return;
            }
        };
        let mut timeout = WATCHDOG_SECONDS;
        // SAFETY: the request reads and writes one int.
        if let Err(error) = unsafe { ioctl(&file, Updater::<WDIOC_SETTIMEOUT, i32>::new(&mut timeout)) } {
            self.complain("timeout", rt::errno::text(error));
        }
        // SAFETY: the request fills exactly this many bytes.
        let info =
            unsafe { ioctl(&file, Getter::<WDIOC_GETSUPPORT, [u8; INFO_LENGTH]>::new()) }.unwrap_or([0; INFO_LENGTH]);
        let name = &info[INFO_NAME..];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        self.name = String::from_utf8_lossy(&name[..end]).into_owned();
        self.file = Some(file);
        self.fed_ms = now;
    }

    fn complain(&self, what: &str, why: &str) {
        Event::new("health.error").with("what", what).with("file", DEVICE).with("why", why).send();
    }

    /// Feeds it, if it is time. `init_ms`: when process 1 was last seen to do its work.
    pub fn turn(&mut self, now: u64, init_ms: u64) {
        let silent = now.saturating_sub(init_ms) > INIT_SILENT_MAX_MS;
        if silent && !self.said {
            self.complain("init", "process 1 does not reap; the watchdog is not fed any more");
        }
        self.said = silent;
        let Some(file) = &self.file else {
            if now >= self.tried_ms + AGAIN_MS {
                self.open(now);
            }
            return;
        };
        if silent {
            return;
        }
        if now >= self.fed_ms + FEED_MS {
            match write(file, b"\0") {
                Ok(_) => self.fed_ms = now,
                Err(error) => self.complain("feed", rt::errno::text(error)),
            }
        }
    }
}
