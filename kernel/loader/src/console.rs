//! Events on the firmware's console, in the form of docs/formats/events.md.

use alloc::format;
use alloc::string::String;
use core::arch::asm;
use core::fmt::{Display, Write};
use core::time::Duration;

/// CNTVCT_EL0: the count that the kernel's events are timed by too.
pub fn ticks() -> u64 {
    let count;
    // SAFETY: reads a counter that UEFI requires to be running (UEFI 2.10, section 2.3.6); the barrier keeps it in its place.
    unsafe { asm!("isb", "mrs {}, CNTVCT_EL0", out(reg) count, options(nostack)) };
    count
}

fn frequency() -> u64 {
    let hertz: u64;
    // SAFETY: reads a register that holds a constant.
    unsafe { asm!("mrs {}, CNTFRQ_EL0", out(reg) hertz, options(nomem, nostack)) };
    hertz.max(1)
}

/// How many counts a time takes.
pub fn ticks_in(time: Duration) -> u64 {
    (u128::from(frequency()) * time.as_millis() / 1000) as u64
}

/// Prints one event. Values are quoted where they must be.
macro_rules! event {
    ($name:literal $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::console::print_event($name, &[$((stringify!($key), &$value as &dyn core::fmt::Display)),*])
    };
}
pub(crate) use event;

/// Used by `event!`.
pub fn print_event(name: &str, values: &[(&str, &dyn Display)]) {
    let (now, hertz) = (ticks(), frequency());
    let micros = u128::from(now) * 1_000_000 / u128::from(hertz);
    let mut line = format!("[evt] {name} t={}.{:06}", micros / 1_000_000, micros % 1_000_000);
    for (key, value) in values {
        line.push(' ');
        line.push_str(key);
        line.push('=');
        push_value(&mut line, &format!("{value}"));
    }
    uefi::println!("{line}");
}

/// A bare token, or a quoted string (docs/formats/events.md).
fn push_value(line: &mut String, value: &str) {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_.:/,+@%-".contains(c);
    if !value.is_empty() && value.chars().all(is_bare) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for byte in value.bytes() {
        // Writing to a String cannot fail.
        let _ = match byte {
            b'"' | b'\\' => write!(line, "\\{}", char::from(byte)),
            b'\n' => write!(line, "\\n"),
            b' '..=b'~' => write!(line, "{}", char::from(byte)),
            _ => write!(line, "\\x{byte:02x}"),
        };
    }
    line.push('"');
}
