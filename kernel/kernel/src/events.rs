//! Milestones on the console: `[evt] name t=… key=value`, by `docs/formats/events.md`.
//!
//! Each goes to a ring that programs read as text, and to the console, which after a login shows only failures and what
//! concerns the person there. `event!("cpu.online", cpu = 3, mpidr = Hex(0x3))`: a value is anything with `Display`; what is not a bare token is quoted.

use alloc::vec::Vec;
use core::fmt::{self, Display, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use ::lastboot::Part;

use crate::arch::{cpu, timer};
use crate::drivers::console;
use crate::sync::{Rank, SpinLock};
use crate::{lastboot, panic};

/// Writes one event.
#[macro_export]
macro_rules! event {
    ($name:literal $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::events::emit($name, &[$((stringify!($key), &$value as &dyn core::fmt::Display)),*])
    };
}

/// Shows a number as `0x` hexadecimal, as physical addresses and sizes of hardware are.
pub struct Hex(pub u64);

impl Display for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

/// Bytes of an event's fields, and of what stands before them.
const FIELDS_LENGTH_MAX: usize = 512;
const START_LENGTH_MAX: usize = 128;
/// Bytes of the name that a program gives.
const NAME_LENGTH_MAX: usize = 64;
/// Room that a quoted value leaves for its last escape and its end.
const QUOTE_ROOM: usize = 8;

struct Line<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Line<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], length: 0 }
    }

    const fn room(&self) -> usize {
        N - 1 - self.length
    }

    /// What has been written: ASCII, as a cut never falls into a character of it.
    fn text(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }
}

impl<const N: usize> Write for Line<N> {
    /// What is too long is cut.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.room().min(text.len());
        self.bytes[self.length..self.length + room].copy_from_slice(&text.as_bytes()[..room]);
        self.length += room;
        Ok(())
    }
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:/,+@%-".contains(&byte)
}

/// Escapes what is written to it.
struct Quoted<'a, const N: usize> {
    line: &'a mut Line<N>,
    is_bare: bool,
}

impl<const N: usize> Write for Quoted<'_, N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.line.room() < QUOTE_ROOM {
                break;
            }
            self.is_bare &= is_bare(byte);
            let _ = match byte {
                b'"' => self.line.write_str("\\\""),
                b'\\' => self.line.write_str("\\\\"),
                b'\n' => self.line.write_str("\\n"),
                b' '..=b'~' => self.line.write_char(char::from(byte)),
                other => write!(self.line, "\\x{other:02x}"),
            };
        }
        Ok(())
    }
}

/// A value as the format wants it: bare, or quoted and escaped. It is written quoted, and the quotes are taken off again: there is no other
/// room for it on a stack of the kernel's.
fn write_value<const N: usize>(line: &mut Line<N>, value: &dyn Display) {
    let start = line.length;
    let _ = line.write_str("\"");
    let mut quoted = Quoted { line, is_bare: true };
    let _ = write!(quoted, "{value}");
    let is_bare = quoted.is_bare;
    if is_bare && line.length > start + 1 {
        line.bytes.copy_within(start + 1..line.length, start);
        line.length -= 1;
    } else {
        let _ = line.write_str("\"");
    }
}

/// Bytes of events that are kept: some three hundred events.
const RING_LENGTH: usize = 32 << 10;

/// The last events as text, whole lines but for the oldest.
struct Ring {
    bytes: [u8; RING_LENGTH],
    /// Bytes ever written; the next goes to this modulo the length.
    written: usize,
}

static RING: SpinLock<Ring> = SpinLock::new(Rank::EVENTS, Ring { bytes: [0; RING_LENGTH], written: 0 });

/// Someone has logged in: what is no failure stays off the console, and in the ring.
static HUSHED: AtomicBool = AtomicBool::new(false);

impl Ring {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.bytes[self.written % RING_LENGTH] = *byte;
            self.written = self.written.wrapping_add(1);
        }
    }

    /// Positions of the last `count` whole lines.
    fn lines(&self, count: usize) -> core::ops::Range<usize> {
        let oldest = self.written.saturating_sub(RING_LENGTH);
        let mut start = self.written;
        let mut lines = 0;
        for at in (oldest..self.written.saturating_sub(1)).rev() {
            if self.bytes[at % RING_LENGTH] == b'\n' {
                start = at + 1;
                lines += 1;
                if lines == count {
                    return start..self.written;
                }
            }
        }
        if oldest == 0 { 0..self.written } else { start..self.written }
    }
}

/// The events that are still known, as lines of text, oldest first.
#[must_use]
pub fn text() -> Vec<u8> {
    let mut text = Vec::with_capacity(RING_LENGTH);
    let ring = RING.lock_irq();
    text.extend(ring.lines(usize::MAX).map(|at| ring.bytes[at % RING_LENGTH]));
    text
}

/// Hands the bytes of the last `count` events to `show`. For a panic: gives up where another CPU holds the ring.
pub fn last(count: usize, mut show: impl FnMut(u8)) {
    if let Some(ring) = (0..1000).find_map(|_| RING.try_lock_irq()) {
        ring.lines(count).for_each(|at| show(ring.bytes[at % RING_LENGTH]));
    }
}

/// Whether an event of this name is shown once someone works at the console: failures, and what that person caused.
fn is_loud(name: &str) -> bool {
    let subject = name.split('.').next().unwrap_or("");
    name.ends_with(".error") || name.ends_with(".failed") || matches!(subject, "kernel" | "system" | "update" | "login")
}

/// Writes one event; use [`event!`].
pub fn emit(name: &str, fields: &[(&str, &dyn Display)]) {
    let mut text = Line::<FIELDS_LENGTH_MAX>::new();
    for (key, value) in fields {
        let _ = write!(text, " {key}=");
        write_value(&mut text, *value);
    }
    publish(name, text.text());
}

/// Writes the event of a program: `NAME KEY=VALUE …`, its time added here. False, and nothing written, where the text is
/// not of the events' form.
#[must_use]
pub fn emit_text(text: &str) -> bool {
    let text = text.trim_ascii();
    let (name, fields) = text.split_at(text.find(' ').unwrap_or(text.len()));
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let is_printable = |byte: u8| (b' '..=b'~').contains(&byte);
    let is_event =
        (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(is_name) && fields.bytes().all(is_printable);
    if is_event {
        publish(name, &fields[..fields.len().min(FIELDS_LENGTH_MAX)]);
    }
    is_event
}

/// Puts an event into the ring and on the console. The time is taken with the ring locked, so it never falls from one line
/// to the next.
fn publish(name: &str, fields: &str) {
    if panic::is_another_dying() {
        cpu::halt();
    }
    let ring = if panic::is_dying() { (0..1000).find_map(|_| RING.try_lock_irq()) } else { Some(RING.lock_irq()) };
    let micros = timer::now().as_micros();
    let mut start = Line::<START_LENGTH_MAX>::new();
    let _ = write!(start, "[evt] {name} t={}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let parts = [start.text(), fields, "\n"];
    if panic::is_dying() {
        parts.iter().for_each(|part| console::write_dying(part.as_bytes()));
    } else if !HUSHED.load(Ordering::Relaxed) || is_loud(name) {
        console::write_line(&parts);
    }
    if name == "login.ok" {
        HUSHED.store(true, Ordering::Relaxed);
    }
    if let Some(mut ring) = ring {
        parts.iter().for_each(|part| ring.push(part.as_bytes()));
        parts.iter().for_each(|part| lastboot::push(Part::Events, part.as_bytes()));
    }
}
