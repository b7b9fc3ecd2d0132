//! What an operator and a script see of slots, floors and what goes on.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write;

use bootctl::{Block, Entry, LoaderTrial, Slot, candidates, reason, refusal};

use crate::facts::Facts;

/// What is known.
pub struct Status<'a> {
    /// What the loader held the system to.
    pub facts: &'a Facts,
    /// The block that counts.
    pub block: &'a Block,
    /// `VERSION PHASE DONE ALL` of an install that goes on, `VERB PHASE DONE ALL` of slots that are read.
    pub activity: Option<&'a str>,
    /// The operator's window.
    pub window: Option<&'a str>,
}

/// The name of a reason, as in docs/formats/bootctl.md.
fn reason_name(code: u16) -> &'static str {
    match code {
        reason::NONE => "none",
        reason::TRIES => "tries-used-up",
        reason::VERIFICATION => "verification",
        reason::PANIC => "panic",
        reason::HEALTH => "health",
        reason::HANG => "hang",
        reason::OPERATOR => "operator",
        reason::UNREADABLE => "cannot-read",
        reason::LOADER => "loader",
        _ => "unknown",
    }
}

fn text(bytes: &[u8]) -> &str {
    let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    core::str::from_utf8(&bytes[..length]).unwrap_or("?")
}

/// In one word.
fn state(block: &Block, slot: Slot) -> &'static str {
    let entry = block.slot(slot);
    match refusal(block, slot) {
        _ if entry.release_digest == [0; 32] => "empty",
        Some(refused) => refused.class(),
        None if entry.is_good() => "good",
        None => "trial",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Status<'_> {
    fn running(&self) -> &'static str {
        self.facts.slot.map_or("none", Slot::name)
    }

    fn last_boot(&self) -> (&str, &str) {
        (&self.facts.last_boot.0, &self.facts.last_boot.1)
    }

    fn next(&self) -> &'static str {
        candidates(self.block).first().map_or("none", |slot| slot.name())
    }

    /// For people.
    pub fn text(&self) -> String {
        let (mut out, marks) = (String::new(), self.block.marks());
        let recovery = if self.facts.recovery { ", booted for recovery" } else { "" };
        let _ = writeln!(out, "running    slot {}{recovery}; slot {} at the next boot", self.running(), self.next());
        for slot in Slot::ALL {
            let entry = self.block.slot(slot);
            let _ = writeln!(out, "slot {}     {}", slot.name(), self.slot_text(slot, &entry));
            if entry.reason_code != reason::NONE {
                let _ = writeln!(out, "           failed: {}: {}", reason_name(entry.reason_code), entry.reason_text());
            }
        }
        let _ = writeln!(
            out,
            "floors     rollback index {}, key set {} (newest seen {}), loader {}",
            marks.rollback_floor, marks.key_set_floor, marks.key_set_seen, marks.loader_floor
        );
        if let Some(LoaderTrial { loader, tries }) = self.block.loader_trial() {
            let _ = writeln!(
                out,
                "loader     one of security version {} is on trial, {tries} starts left",
                loader.security
            );
        }
        let failed = self.block.failed_releases().count();
        if failed > 0 {
            let _ = writeln!(out, "failed     {failed} releases are not tried again here; 'update retry' forgets them");
        }
        let _ = writeln!(out, "restarts   {}", self.window.unwrap_or("by order only (update window sets hours)"));
        if let (end @ ("panic" | "watchdog" | "gave-up" | "cut" | "unknown"), why) = self.last_boot() {
            let colon = if why.is_empty() { "" } else { ": " };
            let _ = writeln!(out, "last boot  {end}{colon}{why}; 'events --last-boot' shows what is left of it");
        }
        if let Some(activity) = self.activity {
            let _ = writeln!(out, "going on   {}", activity_text(activity));
        }
        out
    }

    fn slot_text(&self, slot: Slot, entry: &Entry) -> String {
        match state(self.block, slot) {
            "empty" => "empty".into(),
            "trial" => format!("{}, on trial, {} boots left", text(&entry.version), entry.tries),
            state => format!("{}, {state}", text(&entry.version)),
        }
    }

    /// For scripts: one JSON object.
    pub fn json(&self) -> String {
        let marks = self.block.marks();
        let mut out = format!(
            "{{\"running\":{},\"recovery\":{},\"next\":{},\"rollback_floor\":{},\"key_set_floor\":{},\"key_set_seen\":{},\"slots\":{{",
            quoted(self.running()),
            self.facts.recovery,
            quoted(self.next()),
            marks.rollback_floor,
            marks.key_set_floor,
            marks.key_set_seen
        );
        for (index, slot) in Slot::ALL.into_iter().enumerate() {
            let entry = self.block.slot(slot);
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(
                out,
                "{comma}{}:{{\"state\":{},\"version\":{},\"release\":{},\"rollback_index\":{},\"key_set\":{},\"priority\":{},\
                 \"tries\":{},\"good\":{},\"unfinished_boots\":{},\"reason\":{},\"why\":{},\"reason_time\":{}}}",
                quoted(slot.name()),
                quoted(state(self.block, slot)),
                quoted(text(&entry.version)),
                quoted(&hex(&entry.release_digest)),
                entry.rollback_index,
                entry.key_set,
                entry.priority,
                entry.tries,
                entry.is_good(),
                entry.unfinished_boots,
                quoted(reason_name(entry.reason_code)),
                quoted(entry.reason_text()),
                entry.reason_time
            );
        }
        out.push_str("},\"failed_releases\":[");
        for (index, digest) in self.block.failed_releases().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(out, "{comma}{}", quoted(&hex(&digest)));
        }
        let optional = |value: Option<&str>| value.map_or_else(|| "null".to_string(), quoted);
        let trial = self.block.loader_trial();
        let tries = trial.map_or("null".to_string(), |trial| trial.tries.to_string());
        let (end, why) = self.last_boot();
        let _ = writeln!(
            out,
            "],\"loader\":{{\"security\":{},\"floor\":{},\"on_trial\":{},\"starts_left\":{tries}}},\"last_boot\":{{\"end\":{},\"why\":{}}},\"window\":{},\"activity\":{}}}",
            self.facts.loader_security,
            marks.loader_floor,
            self.facts.loader_on_trial,
            quoted(end),
            quoted(why),
            optional(self.window),
            optional(self.activity)
        );
        out
    }
}

/// `0.2.0 copy 10 100`, or `verify read-slot-a 10 100`, in words.
fn activity_text(activity: &str) -> String {
    let words: alloc::vec::Vec<&str> = activity.split(' ').collect();
    let [version, phase, done, all] = words[..] else { return activity.into() };
    let (done, all): (u64, u64) = (done.parse().unwrap_or(0), all.parse().unwrap_or(1));
    let per_cent = done * 100 / all.max(1);
    match phase.strip_prefix("read-slot-") {
        Some(slot) => format!("{version}: reading slot {slot} {per_cent} %"),
        None => format!("install of {version}: {phase} {per_cent} %"),
    }
}

/// A JSON string (RFC 8259, section 7).
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootctl::change;

    #[test]
    fn a_trial_after_a_failure_is_told() {
        let release = |digest: u8, version: &[u8]| change::Release {
            digest: [digest; 32],
            version: core::array::from_fn(|at| version.get(at).copied().unwrap_or(0)),
            rollback_index: digest.into(),
            key_set: 1,
            signed_at: 0,
        };
        let block = change::arm(&Block::empty(), Slot::A, &release(1, b"0.1.0"), None);
        let block = change::mark_good(&block, Slot::A, false, false);
        let loader = bootctl::Loader { digest: [1; 32], length: 5, security: 2 };
        let block = change::arm(&block, Slot::B, &release(2, b"0.2.0"), Some(loader));
        let failed = change::give_up(&block, Slot::B, reason::HEALTH, "service \"web\": status 1", 5);
        let facts = Facts { slot: Some(Slot::A), ..Facts::default() };
        let status = |block, activity| Status { facts: &facts, block, activity, window: None };
        let text = status(&block, Some("0.2.0 copy 25 100")).text();
        assert!(text.contains("running    slot a; slot b at the next boot"), "{text}");
        assert!(text.contains("slot b     0.2.0, on trial, 3 boots left"), "{text}");
        assert!(text.contains("going on   install of 0.2.0: copy 25 %"), "{text}");
        assert!(text.contains("loader     one of security version 2 is on trial, 3 starts left"), "{text}");
        let json = status(&block, None).json();
        assert!(
            json.contains("\"loader\":{\"security\":0,\"floor\":0,\"on_trial\":false,\"starts_left\":3}"),
            "{json}"
        );
        assert!(status(&failed, None).json().contains("\"starts_left\":null}"));
        let text = status(&block, Some("verify read-slot-a 50 200")).text();
        assert!(text.contains("going on   verify: reading slot a 25 %"), "{text}");
        let text = status(&failed, None).text();
        assert!(
            text.contains("slot b     0.2.0, unbootable\n           failed: health: service \"web\": status 1"),
            "{text}"
        );
        assert!(text.contains("failed     1 releases are not tried again"), "{text}");
        let json = status(&failed, None).json();
        assert!(json.contains("\"why\":\"service \\\"web\\\": status 1\""), "{json}");
        assert!(json.contains("\"last_boot\":{\"end\":\"\",\"why\":\"\"}"), "{json}");
        assert!(json.contains("\"next\":\"a\"") && json.ends_with("\"activity\":null}\n"), "{json}");
    }
    #[test]
    fn a_boot_that_did_not_end_by_order_is_told() {
        let status = |end: &str, why: &str| {
            let facts = Facts { last_boot: (end.into(), why.into()), ..Facts::default() };
            let (activity, window) = (None, None);
            let status = Status { facts: &facts, block: &Block::empty(), activity, window };
            (status.text(), status.json())
        };
        let (text, json) = status("panic", "a \"test\"");
        assert!(text.contains("last boot  panic: a \"test\"; 'events --last-boot'"), "{text}");
        assert!(json.contains("\"last_boot\":{\"end\":\"panic\",\"why\":\"a \\\"test\\\"\"}"), "{json}");
        assert!(status("cut", "").0.contains("last boot  cut; 'events"));
        for end in ["restart", "stop", "none", "refused", ""] {
            assert!(!status(end, "by order").0.contains("last boot"), "{end}");
        }
    }
}
