//! Texts that people and programs write.

use healthd::board::{Board, Verdict};
use healthd::check::{Check, Times};
use healthd::limits::{LINE_MAX, RECORD_MAX, STATUS_MAX};
use healthd::record::{self, Before};
use healthd::{board, facts, json, status};
use lastboot::{AREA, Head, Part, Previous, RECORD};

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

/// Memory as a reset may leave it: boots that wrote, then bytes of anybody's at places that the bytes choose.
pub fn lastboot(data: &[u8]) {
    let Some((&[boots, slot], data)) = data.split_first_chunk() else { return };
    let kernel = data.get(..80).unwrap_or(data);
    let head = Head { time: boots.into(), slot: slot.into(), release: [boots; 32], kernel };
    let mut area = vec![0; AREA];
    for _ in 0..boots % 4 {
        let mut claim = lastboot::claim(&mut area, &head).expect("it is large enough");
        for (part, bytes) in data.chunks(1 + usize::from(slot)).enumerate() {
            claim.parts[part % lastboot::PARTS].push(bytes, |_| {});
        }
    }
    for change in data.chunks_exact(4) {
        // Half of them where something is decided: heads and counters.
        let at = usize::from(u16::from_le_bytes([change[1], change[2]]));
        let at = if change[0] & 2 == 0 { at % 1040 } else { at } + usize::from(change[0] & 1) * RECORD;
        area[at] = change[3];
    }
    if let Previous::Found(record) = lastboot::claim(&mut area, &head).expect("it is large enough").previous {
        let text = record.text();
        assert!(text.len() <= 5 * RECORD && !text.contains("[evt] "));
        assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
        let is_told = |part: Part| text.contains(&format!("damaged {}\n", part.name()));
        assert!(Part::ALL.into_iter().all(|part| record.part(part).is_some() || is_told(part)));
        assert!(tools::lastboot::name(&text).is_none_or(|name| !name.contains('/')));
        let _ = tools::lastboot::shown(&text, &["kernel"]);
    }
    let found = lastboot::claim(&mut area, &head).expect("it is large enough").previous;
    assert!(matches!(found, Previous::Found(_)), "what was refused is refused once");
}
