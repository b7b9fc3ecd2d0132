//! Texts that people and programs write.

use healthd::board::{Board, Verdict};
use healthd::check::{Check, Times};
use healthd::limits::{LINE_MAX, RECORD_MAX, STATUS_MAX};
use healthd::record::{self, Before};
use healthd::{board, facts, json, status};

/// A check's file, times, a record, a status and the kernel's texts; then checks of that kind whose results the bytes choose.
pub fn health(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(value) = json::read(&text) {
        let mut again = String::new();
        value.write(&mut again);
        assert_eq!(json::read(&again), Some(value.clone()));
        let _ = (status::shown(&value), status::exit_status(&value));
    }
    let _ = (facts::service(&text, "x"), facts::memory(&text, 1), facts::verity(&text), facts::boot_ms(&text));
    let times = Times::parse(&text).unwrap_or_default();
    assert!(times.settle_ms < times.deadline_ms);
    let before = Before::read(&text, "x");
    let check =
        Check::parse("a", &text).or_else(|_| Check::parse("a", "kind = verity\n")).expect("the second is right");
    let other = Check::parse("b", "kind = kernel\n").expect("it is right");
    let mut board = Board::new([check, other].into(), Vec::new(), times, |name| before.failed(name), 0);
    let mut now = 0;
    for byte in data.iter().take(256) {
        now += u64::from(byte >> 3) * 1_000;
        while let Some(index) = board.next_due(now) {
            let found = match byte & 7 {
                0 => Err((board::Outcome::Fail, text.chars().take(40).collect())),
                1 => Err((board::Outcome::Unknown, "unknown".into())),
                _ => Ok(()),
            };
            board.report(index, found, now);
        }
        board.decide(now);
        let (verdict, reasons) = board.verdict();
        assert_eq!(verdict == Verdict::Good, reasons.is_empty() && verdict == Verdict::Good);
        assert!(board::line(verdict, reasons).is_none_or(|line| line.len() <= LINE_MAX && line.ends_with('\n')));
    }
    assert!(status::document(&board, 1, "none", None).len() <= STATUS_MAX);
    let kept = record::write("x", None, board.entries(), &before);
    assert!(kept.len() <= RECORD_MAX);
    assert!(json::read(kept.lines().next().expect("a head")).is_some());
}
