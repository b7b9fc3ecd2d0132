//! A record as text: lines `KEY VALUE`, then `[PART]` with its lines indented by two blanks (docs/formats/last-boot.md).

use alloc::string::String;
use core::fmt::Write;

use crate::{CUT, Part, Record};

/// Longest word and reason of an end that are shown.
const WORD_MAX: usize = 16;
const WHY_MAX: usize = 256;

/// The mark of an event, and what stands for it: who reads the console that this is shown on finds no new event in it.
const EVENT: &str = "[evt] ";
const OLD_EVENT: &str = "[old] ";

/// What may be printed anywhere: bytes that no terminal acts on; others as `\xNN`, and at most so many of them.
fn put(out: &mut String, bytes: impl Iterator<Item = u8>, max: usize) {
    for byte in bytes.take(max) {
        // Writing to a String cannot fail.
        let _ = match byte {
            b' '..=b'~' => out.write_char(char::from(byte)),
            other => write!(out, "\\x{other:02x}"),
        };
    }
}

fn slot_name(slot: u32) -> &'static str {
    match slot {
        0 => "a",
        1 => "b",
        2 => "esp",
        _ => "unknown",
    }
}

impl Record<'_> {
    /// How it ended and why, for a line.
    pub fn ending(&self) -> (String, String) {
        let (mut word, mut why) = (String::new(), String::new());
        let Some(tail) = self.part(Part::End) else { return ("unknown".into(), why) };
        if tail.is_empty() {
            word.push_str(CUT);
        }
        put(&mut word, tail.bytes().take_while(|byte| *byte != b' '), WORD_MAX);
        put(&mut why, tail.bytes().skip_while(|byte| *byte != b' ').skip(1), WHY_MAX);
        (word, why.replace(EVENT, OLD_EVENT))
    }

    /// All of it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let (head, (word, why)) = (&self.head, self.ending());
        let _ = writeln!(out, "boot {}\nstarted {}\nslot {}", self.sequence, head.time, slot_name(head.slot));
        out.push_str("release ");
        head.release.iter().for_each(|byte| {
            let _ = write!(out, "{byte:02x}");
        });
        out.push_str("\nkernel ");
        put(&mut out, head.kernel.iter().copied(), head.kernel.len());
        let _ = write!(out, "\nend {word}\n");
        if !why.is_empty() {
            let _ = writeln!(out, "why {why}");
        }
        for part in Part::ALL {
            if self.part(part).is_none() {
                let _ = writeln!(out, "damaged {}", part.name());
            }
        }
        for part in [Part::Report, Part::Events, Part::Console] {
            self.lines(part, &mut out);
        }
        out.replace(EVENT, OLD_EVENT)
    }

    fn lines(&self, part: Part, out: &mut String) {
        let Some(tail) = self.part(part).filter(|tail| !tail.is_empty()) else { return };
        let _ = writeln!(out, "[{}]", part.name());
        // The rest of a line whose beginning is gone says nothing.
        let skipped = if tail.is_cut { tail.bytes().position(|byte| byte == b'\n').map_or(0, |at| at + 1) } else { 0 };
        let mut is_start = true;
        for byte in tail.bytes().skip(skipped).filter(|byte| *byte != b'\r') {
            if core::mem::replace(&mut is_start, byte == b'\n') {
                out.push_str("  ");
            }
            if byte == b'\n' { out.push('\n') } else { put(out, core::iter::once(byte), 1) }
        }
        if !is_start {
            out.push('\n');
        }
    }
}
