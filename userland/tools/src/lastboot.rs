//! What the kernel tells of the boot before (docs/formats/last-boot.md): which of it is shown, and what is kept of it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::log::wanted;

/// How many are kept.
pub const KEPT_MAX: usize = 8;
/// How a file's name ends.
const ENDING: &str = ".txt";

/// The value of a line `KEY VALUE` before the first part.
pub fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let head = text.lines().take_while(|line| !line.starts_with('['));
    head.filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// Whether there is something to show.
pub fn is_known(text: &str) -> bool {
    !matches!(field(text, "end"), None | Some("none" | "refused"))
}

/// What stands for the mark of an event.
const OLD: &str = "  [old] ";

/// The lines to show: all, or only events of these names.
pub fn shown<'a>(text: &'a str, names: &[&str]) -> Vec<&'a str> {
    if names.is_empty() {
        return text.lines().collect();
    }
    let events = text.lines().skip_while(|line| *line != "[events]").skip(1).take_while(|line| line.starts_with("  "));
    events.filter(|line| line.strip_prefix(OLD).is_some_and(|event| wanted(event, names))).collect()
}

/// The name to keep it under: by time, then number. `None`: it ended as it was told to, or nothing is known of it.
pub fn name(text: &str) -> Option<String> {
    if !is_known(text) || matches!(field(text, "end"), Some("restart" | "stop")) {
        return None;
    }
    let number = |key| field(text, key)?.parse::<u64>().ok();
    Some(format!("{:012}-{:06}{ENDING}", number("started")?, number("boot")?))
}

/// Which of a folder's sorted names are too many, this one included: the oldest. What is not ours is left.
pub fn surplus<'a>(names: &'a [String], new: &str) -> Vec<&'a str> {
    let ours: Vec<&str> = names.iter().map(String::as_str).filter(|name| is_ours(name) && *name != new).collect();
    let many = (ours.len() + 1).saturating_sub(KEPT_MAX);
    ours.into_iter().take(many).collect()
}

/// The newest of them.
pub fn newest(names: &[String]) -> Option<&str> {
    names.iter().map(String::as_str).rfind(|name| is_ours(name))
}

fn is_ours(name: &str) -> bool {
    let stem = name.strip_suffix(ENDING).unwrap_or("");
    stem.contains('-') && stem.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PANIC: &str = "boot 7\nstarted 1700000000\nend panic\nwhy a test\n[report]\n  end x\n[events]\n  [old] a.b t=0.000001 c=1\n  [old] d t=0.000002\n[console]\n  [old] a.b t=0.000001 c=1\n";

    #[test]
    fn all_of_it_is_shown_or_events_by_name() {
        assert_eq!(shown(PANIC, &[]).join("\n") + "\n", PANIC);
        assert_eq!(shown(PANIC, &["a"]), ["  [old] a.b t=0.000001 c=1"]);
        assert!(shown(PANIC, &["x"]).is_empty() && shown("end none\n", &["a"]).is_empty());
        assert_eq!(
            (field(PANIC, "end"), field(PANIC, "why"), field(PANIC, "[old]")),
            (Some("panic"), Some("a test"), None)
        );
    }

    #[test]
    fn what_ended_by_order_is_not_kept() {
        assert_eq!(name(PANIC).as_deref(), Some("001700000000-000007.txt"));
        assert!(name(&PANIC.replace("end panic", "end cut")).is_some());
        for word in ["restart", "stop", "none", "refused"] {
            assert_eq!(name(&PANIC.replace("end panic", &format!("end {word}"))), None, "{word}");
        }
        for (what, with) in [("boot 7", "boot x"), ("started ", "begun "), ("boot 7", "boot ../../etc/passwd")] {
            assert_eq!(name(&PANIC.replace(what, with)), None, "{with}");
        }
    }

    #[test]
    fn only_so_many_are_kept_and_what_is_not_ours_is_left() {
        let mut names: Vec<String> = (1..=KEPT_MAX).map(|n| format!("{n:012}-000001.txt")).collect();
        names.extend(["notes".into(), "x-1.txt".into(), ".txt".into()]);
        assert_eq!(surplus(&names, "000000000099-000001.txt"), ["000000000001-000001.txt"]);
        assert!(surplus(&names, &names[2]).is_empty(), "the same again is no more");
        assert_eq!(newest(&names), Some("000000000008-000001.txt"));
        assert_eq!(newest(&["notes".into()]), None);
    }

    proptest! {
        #[test]
        fn no_text_harms(text in "[ -~\n]{0,200}", wanted in "[a-z.]{0,5}") {
            shown(&text, &[&wanted]);
            if let Some(name) = name(&text) {
                prop_assert!(is_ours(&name) && !name.contains('/'));
            }
        }
    }
}
