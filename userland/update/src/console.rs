//! Who gave an order, and what he is told.

use alloc::format;
use alloc::string::String;
use core::fmt::Display;

use rt::Errno;
use rt::event::Event;
use rt::rustix::fd::{AsFd, OwnedFd};

/// Status of an order that was refused or failed.
pub const REFUSED: u8 = 1;

/// Why an order is not done: a stable name, and words.
pub type Refused = (&'static str, String);

/// Who gave an order, and reads what comes of it.
pub struct Console(Option<OwnedFd>);

impl Console {
    /// Over a descriptor that does not block.
    pub fn new(fd: OwnedFd) -> Self {
        Self(Some(fd))
    }

    /// One that nobody reads.
    pub fn none() -> Self {
        Self(None)
    }

    fn line(&mut self, text: &str) {
        // Who has gone, or reads too slowly, misses lines; the work is not held up by him.
        if let Some(fd) = &self.0
            && rt::out::write_all(fd.as_fd(), format!("{text}\n").as_bytes()) == Err(Errno::PIPE)
        {
            self.0 = None;
        }
    }

    /// For people.
    pub fn say(&mut self, text: impl Display) {
        self.line(&format!("say {text}"));
    }

    /// How far it is.
    pub fn progress(&mut self, phase: &str, done: u64, all: u64) {
        self.line(&format!("progress {phase} {done} {all}"));
    }

    /// The last line: exit status, a stable name of what came out, and the reason in words where there is one.
    pub fn end(&mut self, status: u8, class: &str, why: &str) {
        self.line(&format!("end {status} {class} {}", why.replace('\n', " ")));
        self.0 = None;
    }

    /// The last line of what is not done; an event tells it too.
    pub fn refuse(&mut self, (class, why): Refused) {
        Event::new("update.refused").with("class", class).with("why", &why).send();
        self.end(REFUSED, class, &why);
    }
}
