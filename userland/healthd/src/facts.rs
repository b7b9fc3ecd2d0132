//! What the texts of the kernel and of init say.

use alloc::{format, string::String};

use crate::board::Outcome;

/// What a look found.
pub type Found = Result<(), (Outcome, String)>;

fn fail(why: impl Into<String>) -> Found {
    Err((Outcome::Fail, why.into()))
}

fn unknown(why: impl Into<String>) -> Found {
    Err((Outcome::Unknown, why.into()))
}

/// Whether a service is up, by init's list (docs/formats/service.md).
pub fn service(states: &str, name: &str) -> Found {
    let line = states.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    match line.and_then(|rest| rest.split(' ').next()) {
        Some("up" | "done") => Ok(()),
        Some(word) => fail(format!("the service is {word}")),
        None => fail("no such service is declared"),
    }
}

/// Whether so many KiB are available, by `/proc/meminfo`.
pub fn memory(meminfo: &str, floor_kib: u32) -> Found {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    match kib {
        Some(kib) if kib >= floor_kib.into() => Ok(()),
        Some(kib) => fail(format!("{kib} KiB are available, at least {floor_kib} are wanted")),
        None => unknown("/proc/meminfo does not say what is available"),
    }
}

fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

/// Whether every block of the base was what was built, by `/proc/verity`.
pub fn verity(text: &str) -> Found {
    match field(text, "errors").and_then(|errors| errors.parse::<u64>().ok()) {
        Some(0) => Ok(()),
        Some(errors) => fail(format!("{errors} blocks of the base are not what was built")),
        None => unknown("the base is not held to a tree"),
    }
}

/// Whom a release is told by: the root of its base's tree, and how its kernel was built.
#[must_use]
pub fn release(verity: &str, version: &str) -> String {
    let root = field(verity, "root").unwrap_or("none");
    let root = root.get(..16).unwrap_or(root);
    format!("{root}/{}", version.split_ascii_whitespace().last().unwrap_or("unknown"))
}

/// Name and time in microseconds of an event's line.
fn event(line: &str) -> Option<(&str, u64)> {
    let (name, rest) = line.strip_prefix("[evt] ")?.split_once(' ')?;
    let (seconds, micros) = rest.strip_prefix("t=")?.split(' ').next()?.split_once('.')?;
    Some((name, seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)?))
}

/// Events by which the kernel says that something of its own is broken; a disk's errors are not among them.
const FAULTS: [&str; 7] =
    ["base.failed", "base.error", "cpu.failed", "irq.error", "symbols.error", "verity.error", "kernel.panic"];

/// The last fault of the kernel's own that its events tell of. They forget: who asks remembers.
#[must_use]
pub fn fault(events: &str) -> Option<&str> {
    events.lines().filter_map(event).map(|(name, _)| name).rfind(|name| FAULTS.contains(name))
}

/// Milliseconds from the kernel's entry to `boot.ready`, as far as the events still know them.
#[must_use]
pub fn boot_ms(events: &str) -> Option<u64> {
    let time = |wanted: &str| events.lines().filter_map(event).find(|(name, _)| *name == wanted).map(|(_, at)| at);
    Some(time("boot.ready")?.checked_sub(time("kernel.entry")?)? / 1000)
}

/// A boot that takes this much longer than it may is not told from one that was held up by chance.
const BOOT_SLACK_MS: u64 = 2_000;

/// Whether a boot took at most `percent` of the time before it.
pub fn boot_time(took_ms: Option<u64>, before_ms: Option<u64>, percent: u32) -> Found {
    let Some(took) = took_ms else { return unknown("the events do not tell when the boot was ready") };
    let Some(before) = before_ms else { return unknown("there is no record of a release before") };
    let most = before.saturating_mul(percent.into()) / 100 + BOOT_SLACK_MS;
    if took <= most { Ok(()) } else { fail(format!("{took} ms, {before} ms before")) }
}

/// Whether something is mounted on /data, by `/proc/mounts`.
#[must_use]
pub fn has_data(mounts: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(1) == Some("/data"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_service_is_up_or_done_or_not() {
        let states = "console up 12 0\nonce done 0 0\nonce-more failed 0 3\n";
        assert_eq!(service(states, "console"), Ok(()));
        assert_eq!(service(states, "once"), Ok(()));
        assert_eq!(service(states, "once-more"), fail("the service is failed"));
        assert_eq!(service(states, "cons"), fail("no such service is declared"));
        assert_eq!(service("", "console"), fail("no such service is declared"));
    }

    #[test]
    fn memory_has_a_floor() {
        let text = "MemTotal:   1000 kB\nMemAvailable:     500 kB\n";
        assert_eq!(memory(text, 500), Ok(()));
        assert_eq!(memory(text, 501), fail("500 KiB are available, at least 501 are wanted"));
        assert_eq!(memory("MemAvailable: many kB\n", 1).unwrap_err().0, Outcome::Unknown);
    }

    #[test]
    fn verity_counts_errors() {
        assert_eq!(verity("source ram\nerrors 0\n"), Ok(()));
        assert_eq!(verity("errors 2\n"), fail("2 blocks of the base are not what was built"));
        assert_eq!(verity("").unwrap_err().0, Outcome::Unknown);
        assert_eq!(release("root 0123456789abcdef01\n", "Linux version x rustc-1\n"), "0123456789abcdef/rustc-1");
        assert_eq!(release("", ""), "none/unknown");
    }

    const EVENTS: &str = "[evt] kernel.entry t=6.500000 way=loader\n[evt] clock.error t=6.6 what=x\n\
                          [evt] boot.ready t=7.250000 services=2\n";

    #[test]
    fn events_tell_faults_and_the_boot_s_time() {
        assert_eq!(fault(EVENTS), None);
        assert_eq!(fault(&format!("{EVENTS}[evt] irq.error t=8.000000 what=its why=x\n")), Some("irq.error"));
        assert_eq!(fault("say irq.error t=1.000000\n"), None);
        assert_eq!(boot_ms(EVENTS), Some(750));
        assert_eq!(boot_ms("[evt] boot.ready t=7.250000\n"), None);
        assert_eq!(boot_time(Some(750), Some(700), 150), Ok(()));
        assert_eq!(boot_time(Some(3_051), Some(700), 150), fail("3051 ms, 700 ms before"));
        assert_eq!(boot_time(Some(1), None, 150).unwrap_err().0, Outcome::Unknown);
        assert_eq!(boot_time(None, Some(1), 150).unwrap_err().0, Outcome::Unknown);
    }

    #[test]
    fn data_is_mounted_or_not() {
        assert!(has_data("none / erofs ro 0 0\n/dev/vda6 /data datafs rw 0 0\n"));
        assert!(!has_data("none / erofs ro 0 0\n/dev/vda6 /datax datafs rw 0 0\n"));
    }

    proptest! {
        #[test]
        fn no_text_harms(text in "(\\[evt\\] |errors |MemAvailable:|root )?[ -~\n]{0,120}") {
            let _ = (service(&text, "x"), memory(&text, 1), verity(&text), fault(&text), boot_ms(&text));
            let _ = (release(&text, &text), has_data(&text));
        }
    }
}
