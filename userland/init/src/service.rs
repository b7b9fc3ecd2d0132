//! A service file, strictly: docs/formats/service.md is its definition. Text in, a checked `Service` or an error that
//! names line and key out.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

/// Longest file, and most words of a list.
pub const FILE_MAX: usize = 8 << 10;
const WORDS_MAX: usize = 32;
const DURATION_MAX_MS: u64 = 3_600_000;

/// What an exit leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Started again whatever the status.
    Always,
    /// Started again unless the status is 0.
    OnFailure,
    /// Left alone.
    Never,
}

/// When a service counts as up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Its program runs.
    Exec,
    /// It wrote a byte to the descriptor named in NOTIFY_FD.
    Notify,
    /// It ended with status 0.
    Exit,
}

/// One declared service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The file's name without `.service`.
    pub name: String,
    /// What it is, for people.
    pub summary: String,
    /// The program.
    pub exec: String,
    /// Its arguments, without the program's own name.
    pub args: Vec<String>,
    /// Terminal below /dev that becomes its controlling terminal and its three descriptors.
    pub tty: Option<String>,
    /// Whom it runs as.
    pub user: String,
    /// Files and devices that init opens for it, to read and write.
    pub open: Vec<String>,
    /// Services that must be up before.
    pub after: Vec<String>,
    /// What an exit leads to.
    pub restart: Restart,
    /// Wait before the first restart; it doubles each time.
    pub backoff_ms: u64,
    /// The longest wait.
    pub backoff_max_ms: u64,
    /// Restarts in a row before it is given up; 0: never.
    pub restart_limit: u32,
    /// A run this long is a success: the count of restarts begins anew.
    pub stable_ms: u64,
    /// When it counts as up.
    pub ready: Ready,
    /// How long that may take.
    pub ready_timeout_ms: u64,
    /// Whether the boot is ready only when it is up.
    pub required_for_ready: bool,
}

/// Why a file is not a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1; 0 when the mistake is something that is missing.
    pub line: usize,
    /// The key it is about; empty when there is none.
    pub key: String,
    /// What is wrong and what would be right.
    pub why: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.key, self.why)
    }
}

impl Service {
    fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            summary: String::new(),
            exec: String::new(),
            args: Vec::new(),
            tty: None,
            user: "root".into(),
            open: Vec::new(),
            after: Vec::new(),
            restart: Restart::OnFailure,
            backoff_ms: 100,
            backoff_max_ms: 30_000,
            restart_limit: 10,
            stable_ms: 5_000,
            ready: Ready::Exec,
            ready_timeout_ms: 10_000,
            required_for_ready: false,
        }
    }

    /// Reads the text of `NAME.service`.
    pub fn parse(name: &str, text: &str) -> Result<Self, Mistake> {
        let mut service = Self::named(name);
        let mut seen: Vec<&str> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_matches([' ', '\t']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |key: &str, why: String| Mistake { line: index + 1, key: key.into(), why };
            let Some((key, value)) = line.split_once('=') else {
                return Err(wrong("", "expected 'key = value'".into()));
            };
            let (key, value) = (key.trim_end(), value.trim_start());
            if seen.contains(&key) {
                return Err(wrong(key, "stands there twice".into()));
            }
            service.set(key, value).map_err(|why| wrong(key, why))?;
            seen.push(key);
        }
        service.check().map_err(|(key, why)| Mistake { line: 0, key: key.into(), why: why.into() })?;
        Ok(service)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Err("has no value".into());
        }
        if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return Err("holds a control character".into());
        }
        match key {
            "summary" => self.summary = value.into(),
            "exec" => self.exec = absolute(value)?,
            "args" => self.args = words(value)?,
            "tty" => self.tty = Some(device(value)?),
            "user" => self.user = name(value)?,
            "open" => self.open = words(value)?.iter().map(|w| absolute(w)).collect::<Result<_, _>>()?,
            "after" => self.after = words(value)?.iter().map(|w| name(w)).collect::<Result<_, _>>()?,
            "restart" => {
                self.restart = choice(
                    value,
                    &[("always", Restart::Always), ("on-failure", Restart::OnFailure), ("never", Restart::Never)],
                )?;
            }
            "backoff" => self.backoff_ms = duration(value)?,
            "backoff_max" => self.backoff_max_ms = duration(value)?,
            "restart_limit" => self.restart_limit = number(value)?,
            "stable" => self.stable_ms = duration(value)?,
            "ready" => {
                self.ready = choice(value, &[("exec", Ready::Exec), ("notify", Ready::Notify), ("exit", Ready::Exit)])?;
            }
            "ready_timeout" => self.ready_timeout_ms = duration(value)?,
            "required_for_ready" => self.required_for_ready = choice(value, &[("yes", true), ("no", false)])?,
            _ => return Err("is not a key of a service file".into()),
        }
        Ok(())
    }

    /// What only the whole file shows.
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.exec.is_empty() {
            return Err(("exec", "is missing: the absolute path of the program"));
        }
        if self.backoff_ms == 0 || self.backoff_ms > self.backoff_max_ms {
            return Err(("backoff", "must be more than 0 and at most backoff_max"));
        }
        if self.ready == Ready::Exit && self.restart == Restart::Always {
            return Err(("restart", "cannot be always where ready = exit: such a service ends"));
        }
        if self.ready == Ready::Notify && self.ready_timeout_ms == 0 {
            return Err(("ready_timeout", "must be more than 0 where ready = notify"));
        }
        if self.after.contains(&self.name) {
            return Err(("after", "names the service itself"));
        }
        Ok(())
    }
}

fn words(value: &str) -> Result<Vec<String>, String> {
    let found: Vec<String> = value.split_ascii_whitespace().map(String::from).collect();
    if found.len() > WORDS_MAX {
        return Err(format!("has {} words; at most {WORDS_MAX}", found.len()));
    }
    Ok(found)
}

fn choice<T: Copy>(value: &str, allowed: &[(&str, T)]) -> Result<T, String> {
    allowed.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = allowed.iter().map(|(word, _)| *word).collect();
        format!("is '{value}'; allowed: {}", words.join(", "))
    })
}

fn number(value: &str) -> Result<u32, String> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten().ok_or_else(|| format!("is '{value}'; expected a decimal number"))
}

/// `250ms` or `5s`, at most an hour.
fn duration(value: &str) -> Result<u64, String> {
    let (digits, unit) =
        value.strip_suffix("ms").map_or_else(|| (value.strip_suffix('s').unwrap_or(""), 1000), |digits| (digits, 1));
    number(digits)
        .ok()
        .map(|n| u64::from(n) * unit)
        .filter(|&ms| ms <= DURATION_MAX_MS)
        .ok_or_else(|| format!("is '{value}'; expected a time such as 250ms or 5s, at most 3600s"))
}

fn absolute(value: &str) -> Result<String, String> {
    if !value.starts_with('/') || value.contains([' ', '\t']) {
        return Err(format!("is '{value}'; expected one absolute path, the arguments stand in args"));
    }
    Ok(value.to_string())
}

/// A name such as `console`: of services and users.
pub fn name(value: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if value.is_empty() || value.len() > 32 || !value.bytes().all(fits) {
        return Err(format!("is '{value}'; expected a name of a-z, 0-9, - and _, at most 32 long"));
    }
    Ok(value.to_string())
}

/// A path below /dev that stays there.
fn device(value: &str) -> Result<String, String> {
    let fits = |part: &str| !part.is_empty() && part != "." && part != "..";
    if value.len() > 64 || !value.split('/').all(fits) || value.contains([' ', '\t']) {
        return Err(format!("is '{value}'; expected a terminal's name below /dev, such as console"));
    }
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mistake(text: &str) -> String {
        Service::parse("x", text).unwrap_err().to_string()
    }

    #[test]
    fn a_full_file_is_read() {
        let text = "# the console\n\nsummary = login = here\nexec=/sbin/getty\nargs = -t\t60  console\n tty = pts/0\n\
                    user = guest\nopen = /dev/bootctl /dev/disk/inactive\nafter = net log\nrestart = always\nbackoff = 250ms\nbackoff_max = 2s\n\
                    restart_limit = 0\nstable = 1s\nready = notify\nready_timeout = 3s\nrequired_for_ready = yes\n";
        let expected = Service {
            name: "console".into(),
            summary: "login = here".into(),
            exec: "/sbin/getty".into(),
            args: ["-t", "60", "console"].map(String::from).to_vec(),
            tty: Some("pts/0".into()),
            user: "guest".into(),
            open: vec!["/dev/bootctl".into(), "/dev/disk/inactive".into()],
            after: ["net", "log"].map(String::from).to_vec(),
            restart: Restart::Always,
            backoff_ms: 250,
            backoff_max_ms: 2000,
            restart_limit: 0,
            stable_ms: 1000,
            ready: Ready::Notify,
            ready_timeout_ms: 3000,
            required_for_ready: true,
        };
        assert_eq!(Service::parse("console", text), Ok(expected));
    }

    #[test]
    fn each_mistake_names_its_line_and_key() {
        for (text, expected) in [
            ("exec\n", "line 1: : expected 'key = value'"),
            ("exec = /a\n\nexec = /b\n", "line 3: exec: stands there twice"),
            ("# c\nexce = /a\n", "line 2: exce: is not a key of a service file"),
            ("exec =\n", "line 1: exec: has no value"),
            ("exec = /a b\n", "line 1: exec: is '/a b'; expected one absolute path, the arguments stand in args"),
            ("exec = a\n", "line 1: exec: is 'a'; expected one absolute path, the arguments stand in args"),
            ("restart = sometimes\n", "line 1: restart: is 'sometimes'; allowed: always, on-failure, never"),
            ("required_for_ready = true\n", "line 1: required_for_ready: is 'true'; allowed: yes, no"),
            ("backoff = 5\n", "line 1: backoff: is '5'; expected a time such as 250ms or 5s, at most 3600s"),
            ("backoff = 9999s\n", "line 1: backoff: is '9999s'; expected a time such as 250ms or 5s, at most 3600s"),
            ("restart_limit = -1\n", "line 1: restart_limit: is '-1'; expected a decimal number"),
            ("tty = ../etc\n", "line 1: tty: is '../etc'; expected a terminal's name below /dev, such as console"),
            ("user = Root\n", "line 1: user: is 'Root'; expected a name of a-z, 0-9, - and _, at most 32 long"),
            ("summary = a\u{1}b\n", "line 1: summary: holds a control character"),
            ("tty = console\n", "line 0: exec: is missing: the absolute path of the program"),
            ("exec = /a\nbackoff = 40s\n", "line 0: backoff: must be more than 0 and at most backoff_max"),
            ("exec = /a\nafter = x\n", "line 0: after: names the service itself"),
            (
                "exec = /a\nready = exit\nrestart = always\n",
                "line 0: restart: cannot be always where ready = exit: such a service ends",
            ),
        ] {
            assert_eq!(mistake(text), expected, "{text:?}");
        }
        assert!(mistake(&format!("exec = /a\nargs = {}\n", "w ".repeat(33))).contains("at most 32"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_service_or_a_mistake(text in "([a-z_]{0,8} ?=? ?[ -~\u{0}-\u{9}]{0,20}\n){0,6}") {
            let lines = text.lines().count();
            match Service::parse("x", &text) {
                Ok(service) => prop_assert!(service.exec.starts_with('/')),
                Err(mistake) => prop_assert!(mistake.line <= lines && !mistake.why.is_empty()),
            }
        }
    }
}
