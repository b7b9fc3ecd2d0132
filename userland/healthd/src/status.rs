//! `/run/health/status`: one JSON document for programs and for `health` (docs/formats/health.md).

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write;

use crate::board::{Board, Verdict};
use crate::json::{Value, map};

/// Where it is.
pub const PATH: &str = "/run/health/status";
/// Its folder.
pub const FOLDER: &str = "/run/health";
const VERSION: u64 = 1;

/// The document.
#[must_use]
pub fn document(board: &Board, pid: u32, watchdog: &str, boot_ms: Option<u64>) -> String {
    let (verdict, reasons) = board.verdict();
    let checks = board.entries().iter().map(|entry| {
        map([
            ("name", entry.check.name.as_str().into()),
            ("kind", entry.check.kind.word().into()),
            ("severity", entry.check.severity.word().into()),
            ("counts", entry.counts.word().into()),
            ("result", entry.outcome.word().into()),
            ("why", entry.why.as_str().into()),
            ("since_ms", entry.since_ms.into()),
        ])
    });
    let reasons = reasons.iter().map(|reason| Value::from(reason.as_str()));
    let mut text = String::new();
    let value = map([
        ("version", VERSION.into()),
        ("pid", u64::from(pid).into()),
        ("verdict", verdict.word().into()),
        ("decided", Value::Bool(verdict != Verdict::Pending)),
        ("reasons", Value::List(reasons.collect())),
        ("settle_ms", board.times().settle_ms.into()),
        ("deadline_ms", board.times().deadline_ms.into()),
        ("watchdog", watchdog.into()),
        ("boot_ms", boot_ms.into()),
        ("checks", Value::List(checks.collect())),
    ]);
    value.write(&mut text);
    text.push('\n');
    text
}

/// The document for people.
#[must_use]
pub fn shown(status: &Value) -> String {
    let mut text = String::new();
    let checks = status.list("checks");
    let width = |key: &str| checks.iter().filter_map(|check| Some(check.text(key)?.len())).max().unwrap_or(0);
    let (name, kind) = (width("name"), width("kind"));
    for check in checks {
        let part = |key| check.text(key).unwrap_or("?");
        let line = alloc::format!(
            "{:7} {:name$} {:kind$} {:8} {}",
            part("result"),
            part("name"),
            part("kind"),
            part("counts"),
            part("why"),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = write!(text, "verdict {}", status.text("verdict").unwrap_or("unknown"));
    let reasons: Vec<String> = status
        .list("reasons")
        .iter()
        .filter_map(|reason| match reason {
            Value::Text(text) => Some(text.to_string()),
            _ => None,
        })
        .collect();
    if !reasons.is_empty() {
        let _ = write!(text, ": {}", reasons.join("; "));
    }
    text.push('\n');
    text
}

/// The exit status of `health`.
#[must_use]
pub fn exit_status(status: &Value) -> i32 {
    match status.text("verdict") {
        Some("good") => 0,
        Some("bad") => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Outcome;
    use crate::check::{Check, Times};
    use crate::json;
    use crate::limits::{CHECKS_MAX, STATUS_MAX, WHY_MAX};
    use proptest::prelude::*;
    use std::{format, vec};

    #[test]
    fn it_is_shown_as_it_stands() {
        let check = |name: &str, kind: &str| Check::parse(name, &format!("kind = {kind}\nfailures = 1\n")).unwrap();
        let checks = vec![check("base", "verity"), check("boot", "boot-time"), check("sound", "kernel")];
        let mut board = Board::new(checks, Vec::new(), Times { settle_ms: 1, deadline_ms: 5 }, |_| false, 0);
        board.report(0, Ok(()), 1);
        board.report(2, Err((Outcome::Fail, "irq.error".into())), 1);
        board.decide(10);
        let text = document(&board, 7, "software", None);
        let value = json::read(&text).unwrap();
        assert_eq!(exit_status(&value), 1);
        assert_eq!(value.number("pid"), Some(7));
        assert_eq!(
            shown(&value),
            "pass    base  verity    required\nunknown boot  boot-time advisory not looked at yet\n\
             fail    sound kernel    required irq.error\nverdict bad: sound: irq.error\n"
        );
        for (text, status) in [("{}", 2), ("{\"verdict\":\"good\"}", 0), ("{\"verdict\":7}", 2)] {
            assert_eq!(exit_status(&json::read(text).unwrap()), status);
        }
    }

    #[test]
    fn the_largest_one_fits() {
        let name = |n: usize| format!("{n:032}");
        let check = |n| Check::parse(&name(n), "kind = boot-time\nseverity = required\nfailures = 1\n").unwrap();
        let checks: Vec<Check> = (0..CHECKS_MAX).map(check).collect();
        let mut board = Board::new(checks, Vec::new(), Times::default(), |_| false, 0);
        for index in 0..CHECKS_MAX {
            board.report(index, Err((Outcome::Fail, "\"".repeat(WHY_MAX * 2))), u64::MAX / 2);
        }
        board.decide(u64::MAX / 2);
        assert!(document(&board, u32::MAX, "i6300esb", Some(u64::MAX)).len() <= STATUS_MAX);
    }

    proptest! {
        #[test]
        fn no_document_harms(text in "\\{\"(verdict|checks|reasons)\":(\\[[\"a-z{}:,\\[\\]]{0,20}\\]|\"bad\")\\}") {
            if let Some(value) = json::read(&text) {
                let _ = (shown(&value), exit_status(&value));
            }
        }
    }
}
