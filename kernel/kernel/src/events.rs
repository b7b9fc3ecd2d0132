//! Milestones on the console: `[evt] name t=… key=value`, by `docs/formats/events.md`.
//!
//! `event!("cpu.online", cpu = 3, mpidr = Hex(0x3))`: a value is anything with `Display`; what is not a bare token is quoted.

use core::fmt::{self, Display, Write};

use crate::arch::timer;
use crate::drivers::console;

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

const LINE_LENGTH_MAX: usize = 512;

struct Line {
    bytes: [u8; LINE_LENGTH_MAX],
    length: usize,
}

impl Write for Line {
    /// What is too long is cut.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = (LINE_LENGTH_MAX - 1 - self.length).min(text.len());
        self.bytes[self.length..self.length + room].copy_from_slice(&text.as_bytes()[..room]);
        self.length += room;
        Ok(())
    }
}

fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:/,+@%-".contains(&byte)
}

/// A value as the format wants it: bare, or quoted and escaped.
fn write_value(line: &mut Line, value: &dyn Display) {
    let mut text = Line { bytes: [0; LINE_LENGTH_MAX], length: 0 };
    let _ = write!(text, "{value}");
    let bytes = &text.bytes[..text.length];
    if !bytes.is_empty() && bytes.iter().all(|byte| is_bare(*byte)) {
        let _ = line.write_str(core::str::from_utf8(bytes).unwrap_or(""));
        return;
    }
    let _ = line.write_str("\"");
    for byte in bytes {
        let _ = match byte {
            b'"' => line.write_str("\\\""),
            b'\\' => line.write_str("\\\\"),
            b'\n' => line.write_str("\\n"),
            b' '..=b'~' => line.write_char(char::from(*byte)),
            other => write!(line, "\\x{other:02x}"),
        };
    }
    let _ = line.write_str("\"");
}

/// Writes one event; use [`event!`].
pub fn emit(name: &str, fields: &[(&str, &dyn Display)]) {
    let micros = timer::now().as_micros();
    let mut line = Line { bytes: [0; LINE_LENGTH_MAX], length: 0 };
    let _ = write!(line, "[evt] {name} t={}.{:06}", micros / 1_000_000, micros % 1_000_000);
    for (key, value) in fields {
        let _ = write!(line, " {key}=");
        write_value(&mut line, *value);
    }
    line.bytes[line.length] = b'\n';
    console::write(&line.bytes[..=line.length]);
}
