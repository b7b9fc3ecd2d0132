//! What is kept for the next release: how each check stood in this one, and in the one before (docs/formats/health.md).
//!
//! A release that starts again finds its own results there, and they excuse nothing: only those of another release do.

use alloc::{string::String, vec::Vec};

use crate::board::{Entry, Outcome};
use crate::json::{self, Value, map};
use crate::limits::CHECKS_MAX;

const VERSION: u64 = 1;

/// What another release found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    checks: Vec<(String, Outcome)>,
    /// How long its boot took.
    pub boot_ms: Option<u64>,
}

impl Before {
    /// Whether a check failed there.
    #[must_use]
    pub fn failed(&self, name: &str) -> bool {
        self.of(name) == Some(Outcome::Fail)
    }

    fn of(&self, name: &str) -> Option<Outcome> {
        self.checks.iter().find(|(known, _)| known == name).map(|(_, outcome)| *outcome)
    }

    /// Reads a record in the release `release`. Damage of any kind: there is none.
    #[must_use]
    pub fn read(text: &str, release: &str) -> Self {
        Self::try_read(text, release).unwrap_or_default()
    }

    fn try_read(text: &str, release: &str) -> Option<Self> {
        let mut lines = text.lines();
        let head = json::read(lines.next()?)?;
        let count = head.number("checks").filter(|&count| count <= CHECKS_MAX as u64)?;
        if head.number("version") != Some(VERSION) {
            return None;
        }
        let own = head.text("release")? == release;
        let mut checks = Vec::new();
        for line in lines.by_ref().take(count as usize) {
            let line = json::read(line)?;
            let word = if own { line.text("before") } else { line.text("result") };
            if let Some(outcome) = word.and_then(Outcome::of) {
                checks.push((line.text("name")?.into(), outcome));
            }
        }
        // a record that was cut short is damaged, and so is one with more behind it
        let whole = text.lines().count() as u64 == count + 1 && text.ends_with('\n');
        let boot_ms = head.number(if own { "before_boot_ms" } else { "boot_ms" });
        whole.then_some(Self { checks, boot_ms })
    }
}

/// The record of the release `release`.
#[must_use]
pub fn write(release: &str, boot_ms: Option<u64>, entries: &[Entry], before: &Before) -> String {
    let mut text = String::new();
    let mut line = |value: Value| {
        value.write(&mut text);
        text.push('\n');
    };
    line(map([
        ("version", VERSION.into()),
        ("release", release.into()),
        ("boot_ms", boot_ms.into()),
        ("before_boot_ms", before.boot_ms.into()),
        ("checks", (entries.len() as u64).into()),
    ]));
    for entry in entries {
        let earlier = before.of(&entry.check.name).map_or(Value::Null, |outcome| outcome.word().into());
        line(map([
            ("name", entry.check.name.as_str().into()),
            ("result", entry.outcome.word().into()),
            ("before", earlier),
        ]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Board;
    use crate::check::{Check, Times};
    use proptest::prelude::*;
    use std::format;

    fn board() -> Board {
        let check = |name: &str| Check::parse(name, "kind = verity\nfailures = 1\n").unwrap();
        let mut board = Board::new(["a", "b"].map(check).to_vec(), Vec::new(), Times::default(), |_| false, 0);
        board.report(0, Ok(()), 1);
        board.report(1, Err((Outcome::Fail, "why".into())), 1);
        board
    }

    #[test]
    fn another_release_finds_what_failed_and_the_same_one_does_not() {
        let first = write("one", Some(900), board().entries(), &Before::default());
        let before = Before::read(&first, "two");
        assert!(before.failed("b") && !before.failed("a") && !before.failed("c"));
        assert_eq!(before.boot_ms, Some(900));
        assert_eq!(Before::read(&first, "one"), Before::default(), "its own failure excuses nothing");
        // The new release starts again, as often as it likes: what it knows of the one before stays.
        let mut text = write("two", Some(1000), board().entries(), &before);
        for _ in 0..3 {
            let again = Before::read(&text, "two");
            assert_eq!(again, before);
            text = write("two", Some(1100), board().entries(), &again);
        }
    }

    #[test]
    fn a_damaged_record_is_none() {
        let whole = write("one", Some(900), board().entries(), &Before::default());
        assert_ne!(Before::read(&whole, "two"), Before::default());
        for end in 0..whole.len() {
            assert_eq!(Before::read(&whole[..end], "two"), Before::default(), "cut at {end}");
        }
        let longer = format!("{whole}{{\"name\":\"c\",\"result\":\"fail\",\"before\":null}}\n");
        assert_eq!(Before::read(&longer, "two"), Before::default());
        for (old, new) in [("\"version\":1", "\"version\":2"), ("\"checks\":2", "\"checks\":99999"), ("{", "[")] {
            assert_eq!(Before::read(&whole.replacen(old, new, 1), "two"), Before::default(), "{new}");
        }
    }

    proptest! {
        #[test]
        fn no_text_harms(text in "(\\{\"version\":1,\"release\":\"x\",\"checks\":[0-3]\\}\n)?[ -~\n]{0,200}") {
            let _ = Before::read(&text, "x");
        }
    }
}
