//! Events: one line `name key=value …` each (docs/formats/events.md). The kernel adds the time and keeps them.

use crate::out::write_all;
use alloc::string::String;
use core::fmt::{Display, Write};
use rustix::fs::{Mode, OFlags, open};

/// Where the kernel takes lines from root's programs.
const DEVICE: &str = "/dev/events";
/// The kernel takes no longer line; a value that does not fit is cut.
const LINE_MAX: usize = 512;

/// An event in the making: `Event::new("service.start").with("name", "console").send()`.
#[must_use = "an event is written by send()"]
pub struct Event(String);

impl Event {
    /// `name` is lower-case words joined by dots.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Adds a key; the value is quoted where the format wants it.
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        let mut plain = String::new();
        let _ = write!(plain, "{value}");
        let _ = write!(self.0, " {key}={}", quoted(&plain));
        self
    }

    /// The line without its time.
    pub fn line(&self) -> &str {
        &self.0
    }

    /// Writes it to the kernel; elsewhere (a Linux host, an ordinary user) to standard error.
    pub fn send(self) {
        let mut line = self.0;
        line.truncate(line.floor_char_boundary(LINE_MAX - 1));
        line.push('\n');
        if let Ok(device) = open(DEVICE, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
            use rustix::fd::AsFd;
            if write_all(device.as_fd(), line.as_bytes()).is_ok() {
                return;
            }
        }
        crate::out::stderr().bytes(&[b"[evt] ", line.as_bytes()].concat());
    }
}

/// A value as the format wants it: bare where that is allowed, else in double quotes with escapes.
pub fn quoted(value: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"_.:/,+@%-".contains(&b);
    if !value.is_empty() && value.bytes().all(bare) {
        return value.into();
    }
    let mut text = String::from("\"");
    for byte in value.bytes() {
        let _ = match byte {
            b'"' | b'\\' => write!(text, "\\{}", byte as char),
            b'\n' => text.write_str("\\n"),
            b' '..=b'~' => text.write_char(byte as char),
            _ => write!(text, "\\x{byte:02x}"),
        };
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_keys_in_order() {
        let event = Event::new("service.exit").with("name", "console").with("pid", 7).with("why", "no such file");
        assert_eq!(event.line(), "service.exit name=console pid=7 why=\"no such file\"");
    }

    #[test]
    fn values_are_bare_or_quoted() {
        assert_eq!(quoted("ttyAMA0"), "ttyAMA0");
        assert_eq!(quoted(""), "\"\"");
        assert_eq!(quoted("a\"b\\c\nd\u{1}é"), "\"a\\\"b\\\\c\\nd\\x01\\xc3\\xa9\"");
    }
}
