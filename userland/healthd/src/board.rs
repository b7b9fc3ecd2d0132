//! When each check is due, how it stands, and what follows from all of them.
//!
//! Invariants: the verdict is good only after every required check has held for the settling time without a break, and never while one of
//! them is unknown or a base file is damaged; it is bad only on account of a required check that failed as often in a row as it says;
//! advisory checks change nothing.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::check::{Check, Severity, Times};
use crate::limits::{REASONS_MAX, WHY_MAX, cut};

/// How a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// Nobody can tell.
    Unknown,
}

impl Outcome {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }

    /// The other way round.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Pass, Self::Fail, Self::Unknown].into_iter().find(|outcome| outcome.word() == word)
    }
}

/// What follows from all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided yet.
    Pending,
    /// Every required check has held for long enough.
    Good,
    /// A required check failed.
    Bad,
    /// The time is over, and it cannot be told.
    Unknown,
}

impl Verdict {
    /// Its word; what is not decided is not known.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Pending | Self::Unknown => "unknown",
        }
    }
}

/// A check and how it stands.
#[derive(Debug)]
pub struct Entry {
    /// What is declared.
    pub check: Check,
    /// What a failure means here: a check may count as advisory for other reasons than its file's.
    pub counts: Severity,
    /// How it stands.
    pub outcome: Outcome,
    /// Why, where it does not hold.
    pub why: String,
    /// Since when, in milliseconds since power-on.
    pub since_ms: u64,
    /// When it is looked at next; `None` while somebody looks.
    due_ms: Option<u64>,
    /// Looks in a row that failed.
    streak: u32,
    /// It has held at least once.
    held: bool,
    /// Since when it holds without a break.
    holds_since_ms: Option<u64>,
}

impl Entry {
    fn is_required(&self) -> bool {
        self.counts == Severity::Required
    }
}

/// All checks.
#[derive(Debug)]
pub struct Board {
    entries: Vec<Entry>,
    /// Files of the base that declare nothing; name and mistake.
    damaged: Vec<(String, String)>,
    times: Times,
    start_ms: u64,
    verdict: Verdict,
    reasons: Vec<String>,
}

impl Board {
    /// `failed_before` says whether a check failed in the release before: then it is advisory in this one.
    pub fn new(
        checks: Vec<Check>,
        damaged: Vec<(String, String)>,
        times: Times,
        failed_before: impl Fn(&str) -> bool,
        now_ms: u64,
    ) -> Self {
        let entry = |check: Check| Entry {
            counts: if check.is_of_data() || failed_before(&check.name) { Severity::Advisory } else { check.severity },
            outcome: Outcome::Unknown,
            why: "not looked at yet".into(),
            since_ms: now_ms,
            due_ms: Some(now_ms + check.after_ms),
            streak: 0,
            held: false,
            holds_since_ms: None,
            check,
        };
        let entries = checks.into_iter().map(entry).collect();
        Self { entries, damaged, times, start_ms: now_ms, verdict: Verdict::Pending, reasons: Vec::new() }
    }

    /// All checks, as they stand.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The verdict, and why.
    #[must_use]
    pub fn verdict(&self) -> (Verdict, &[String]) {
        (self.verdict, &self.reasons)
    }

    /// The settling time and the deadline.
    #[must_use]
    pub fn times(&self) -> Times {
        self.times
    }

    /// The next check that is due; it is not given again before its result came.
    pub fn next_due(&mut self, now_ms: u64) -> Option<usize> {
        let index = self.entries.iter().position(|entry| entry.due_ms.is_some_and(|due| due <= now_ms))?;
        self.entries[index].due_ms = None;
        Some(index)
    }

    /// One that was due could not be looked at now; it is due again then.
    pub fn put_off(&mut self, index: usize, until_ms: u64) {
        self.entries[index].due_ms = Some(until_ms);
    }

    /// When something will be to do, if no result comes before.
    #[must_use]
    pub fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let due = self.entries.iter().filter_map(|entry| entry.due_ms);
        let settled = self.entries.iter().filter_map(|entry| Some(entry.holds_since_ms? + self.times.settle_ms));
        let decided = settled.chain([self.start_ms + self.times.deadline_ms]).filter(|&at| at > now_ms);
        due.chain(decided).min()
    }

    /// What a look found. True: the check stands otherwise than before.
    pub fn report(&mut self, index: usize, found: Result<(), (Outcome, String)>, now_ms: u64) -> bool {
        let entry = &mut self.entries[index];
        entry.due_ms = Some(now_ms + entry.check.interval_ms);
        let before = (entry.outcome, entry.why.clone());
        match found {
            Ok(()) => {
                (entry.outcome, entry.streak, entry.held) = (Outcome::Pass, 0, true);
                entry.why.clear();
                entry.holds_since_ms.get_or_insert(now_ms);
            }
            Err((Outcome::Fail, why)) => {
                entry.streak += 1;
                entry.holds_since_ms = None;
                if entry.streak >= entry.check.failures {
                    entry.outcome = Outcome::Fail;
                    entry.why = cut(&why, WHY_MAX).to_string();
                } else if entry.outcome == Outcome::Unknown {
                    entry.why = cut(&why, WHY_MAX).to_string();
                }
            }
            Err((_, why)) => {
                (entry.outcome, entry.streak, entry.holds_since_ms) = (Outcome::Unknown, 0, None);
                entry.why = cut(&why, WHY_MAX).to_string();
            }
        }
        let changed = entry.outcome != before.0;
        if changed {
            entry.since_ms = now_ms;
        }
        changed || entry.why != before.1
    }

    /// Comes to a verdict anew. True: it, or its reasons, are other ones.
    pub fn decide(&mut self, now_ms: u64) -> bool {
        let before = (self.verdict, core::mem::take(&mut self.reasons));
        let late = now_ms >= self.start_ms + self.times.deadline_ms;
        let required = || self.entries.iter().filter(|entry| entry.is_required());
        let settled = |entry: &Entry| entry.holds_since_ms.is_some_and(|since| since + self.times.settle_ms <= now_ms);
        let failed: Vec<&Entry> = required().filter(|e| e.outcome == Outcome::Fail && (e.held || late)).collect();
        let known = self.damaged.is_empty() && required().next().is_some();
        let good = known
            && if self.verdict == Verdict::Good {
                required().all(|e| e.outcome == Outcome::Pass)
            } else {
                required().all(settled)
            };
        let (verdict, reasons) = if !failed.is_empty() {
            (Verdict::Bad, failed.into_iter().map(reason).collect())
        } else if good {
            (Verdict::Good, Vec::new())
        } else if before.0 == Verdict::Bad {
            // What was bad is good again when all holds for long enough, and not before.
            (Verdict::Bad, before.1.clone())
        } else {
            (if late { Verdict::Unknown } else { Verdict::Pending }, self.open_questions())
        };
        (self.verdict, self.reasons) = (verdict, reasons);
        (self.verdict, &self.reasons) != (before.0, &before.1)
    }

    fn open_questions(&self) -> Vec<String> {
        let damaged = self.damaged.iter().map(|(name, why)| format!("{name}: {why}"));
        let open =
            self.entries.iter().filter(|entry| entry.is_required() && entry.outcome != Outcome::Pass).map(reason);
        let mut questions: Vec<String> = damaged.chain(open).collect();
        if questions.is_empty() {
            let none = self.entries.iter().all(|entry| !entry.is_required());
            questions.push(if none { "no check is required" } else { "not held for long enough yet" }.into());
        }
        questions
    }
}

fn reason(entry: &Entry) -> String {
    format!("{}: {}", entry.check.name, entry.why)
}

/// Reasons as one text without control characters.
#[must_use]
pub fn joined(reasons: &[String]) -> String {
    let text: String = reasons.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    cut(&text, REASONS_MAX).to_string()
}

/// The line for who acts on the verdict; `None` while there is nothing to act on.
#[must_use]
pub fn line(verdict: Verdict, reasons: &[String]) -> Option<String> {
    match verdict {
        Verdict::Good => Some("verdict good\n".into()),
        Verdict::Bad => Some(format!("verdict bad {}\n", joined(reasons))),
        Verdict::Pending | Verdict::Unknown => None,
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
