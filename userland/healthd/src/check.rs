//! A check's file, strictly: docs/formats/health.md is its definition.

use alloc::{format, string::String, vec::Vec};
use declared::{Mistake, choice, duration, name, number, path, program, words, yes_or_no};

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A declared service is up.
    Service(String),
    /// A program ends with status 0.
    Command {
        /// The program.
        exec: String,
        /// Its arguments.
        args: Vec<String>,
        /// Whom it runs as.
        user: String,
    },
    /// A file is there, and can be read.
    File {
        /// Where.
        path: String,
        /// It is also opened and read.
        read: bool,
    },
    /// A file can be written in a folder, synced and read back.
    Write(String),
    /// So many KiB of memory are available.
    Memory(u32),
    /// The base is what was built.
    Verity,
    /// The kernel has reported no fault of its own.
    Kernel,
    /// The boot took at most so many percent of the time that the release before took.
    BootTime(u32),
}

impl Kind {
    /// Its word in files.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Service(_) => "service",
            Self::Command { .. } => "command",
            Self::File { .. } => "file",
            Self::Write(_) => "write",
            Self::Memory(_) => "memory",
            Self::Verity => "verity",
            Self::Kernel => "kernel",
            Self::BootTime(_) => "boot-time",
        }
    }
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The verdict is bad.
    Required,
    /// It is told.
    Advisory,
}

impl Severity {
    /// Its word in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Advisory => "advisory",
        }
    }
}

/// One declared check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The file's name without `.check`.
    pub name: String,
    /// What it is, for people.
    pub summary: String,
    /// What is looked at.
    pub kind: Kind,
    /// What a failure means.
    pub severity: Severity,
    /// How long one look may take.
    pub timeout_ms: u64,
    /// From one look to the next.
    pub interval_ms: u64,
    /// From healthd's start to the first look.
    pub after_ms: u64,
    /// So many looks in a row that fail are a failure.
    pub failures: u32,
}

/// How long the required checks must hold, and until when a check may come to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Before the verdict is good.
    pub settle_ms: u64,
    /// After this, what does not hold is bad, and what is not known makes the verdict unknown.
    pub deadline_ms: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { settle_ms: 30_000, deadline_ms: 180_000 }
    }
}

impl Times {
    /// Reads the text of `health.conf`.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let mut times = Self::default();
        declared::read(text, |key, value| {
            match key {
                "settle" => times.settle_ms = duration(value)?,
                "deadline" => times.deadline_ms = duration(value)?,
                _ => return Err("is not a key of health.conf".into()),
            }
            Ok(())
        })?;
        if times.deadline_ms <= times.settle_ms {
            return Err(Mistake::of_file("deadline", "must be more than settle"));
        }
        Ok(times)
    }
}

/// The keys of a file as they come; which of them belong together is known at its end.
#[derive(Default)]
struct Keys {
    kind: Option<String>,
    summary: String,
    severity: Option<Severity>,
    timeout_ms: Option<u64>,
    interval_ms: Option<u64>,
    after_ms: u64,
    failures: Option<u32>,
    service: Option<String>,
    exec: Option<String>,
    args: Option<Vec<String>>,
    user: Option<String>,
    path: Option<String>,
    read: Option<bool>,
    available: Option<u32>,
    percent: Option<u32>,
}

impl Keys {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "kind" => self.kind = Some(value.into()),
            "summary" => self.summary = value.into(),
            "severity" => {
                let allowed = [("required", Severity::Required), ("advisory", Severity::Advisory)];
                self.severity = Some(choice(value, &allowed)?);
            }
            "timeout" => self.timeout_ms = Some(duration(value)?),
            "interval" => self.interval_ms = Some(duration(value)?),
            "after" => self.after_ms = duration(value)?,
            "failures" => self.failures = Some(number(value)?),
            "service" => self.service = Some(name(value)?),
            "exec" => self.exec = Some(program(value)?),
            "args" => self.args = Some(words(value)?),
            "user" => self.user = Some(name(value)?),
            "path" => self.path = Some(path(value)?),
            "read" => self.read = Some(yes_or_no(value)?),
            "available" => self.available = Some(number(value)?),
            "percent" => self.percent = Some(number(value)?),
            _ => return Err("is not a key of a check".into()),
        }
        Ok(())
    }

    /// Takes what belongs to the kind; what is left over belongs to another.
    fn kind(&mut self) -> Result<Kind, Mistake> {
        let missing = |key: &str, what: &str| Mistake::of_file(key, format!("is missing: {what}"));
        let word = self.kind.take().ok_or_else(|| missing("kind", "what is looked at"))?;
        Ok(match word.as_str() {
            "service" => Kind::Service(self.service.take().ok_or_else(|| missing("service", "whose name"))?),
            "command" => Kind::Command {
                exec: self.exec.take().ok_or_else(|| missing("exec", "the absolute path of the program"))?,
                args: self.args.take().unwrap_or_default(),
                user: self.user.take().unwrap_or_else(|| "root".into()),
            },
            "file" => Kind::File {
                path: self.path.take().ok_or_else(|| missing("path", "which file"))?,
                read: self.read.take().unwrap_or(true),
            },
            "write" => Kind::Write(self.path.take().ok_or_else(|| missing("path", "in which folder"))?),
            "memory" => Kind::Memory(self.available.take().ok_or_else(|| missing("available", "how many KiB"))?),
            "verity" => Kind::Verity,
            "kernel" => Kind::Kernel,
            "boot-time" => Kind::BootTime(self.percent.take().unwrap_or(150)),
            other => {
                return Err(Mistake::of_file(
                    "kind",
                    format!("is '{other}'; allowed: service, command, file, write, memory, verity, kernel, boot-time"),
                ));
            }
        })
    }

    fn left_over(&self) -> Option<&'static str> {
        let keys = [
            ("service", self.service.is_some()),
            ("exec", self.exec.is_some()),
            ("args", self.args.is_some()),
            ("user", self.user.is_some()),
            ("path", self.path.is_some()),
            ("read", self.read.is_some()),
            ("available", self.available.is_some()),
            ("percent", self.percent.is_some()),
        ];
        keys.iter().find(|(_, given)| *given).map(|(key, _)| *key)
    }
}

impl Check {
    /// Reads the text of `NAME.check`.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(name: &str, text: &str) -> Result<Self, Mistake> {
        let mut keys = Keys::default();
        declared::read(text, |key, value| keys.set(key, value))?;
        let kind = keys.kind()?;
        if let Some(key) = keys.left_over() {
            return Err(Mistake::of_file(key, format!("is not a key of kind {}", kind.word())));
        }
        let usual = if matches!(kind, Kind::BootTime(_)) { Severity::Advisory } else { Severity::Required };
        let check = Self {
            name: name.into(),
            summary: keys.summary,
            severity: keys.severity.unwrap_or(usual),
            kind,
            timeout_ms: keys.timeout_ms.unwrap_or(5_000),
            interval_ms: keys.interval_ms.unwrap_or(10_000),
            after_ms: keys.after_ms,
            failures: keys.failures.unwrap_or(2),
        };
        let least = |key, ok: bool, why: &str| if ok { Ok(()) } else { Err(Mistake::of_file(key, why)) };
        least("interval", check.interval_ms >= 1_000, "must be at least 1s")?;
        least("timeout", check.timeout_ms >= 100, "must be at least 100ms")?;
        least("failures", (1..=100).contains(&check.failures), "must be 1 to 100")?;
        Ok(check)
    }

    /// Whether it looks at what lies on /data. Such a check never makes a release bad: a disk's contents outlast releases.
    #[must_use]
    pub fn is_of_data(&self) -> bool {
        let path = match &self.kind {
            Kind::Command { exec, .. } => exec,
            Kind::File { path, .. } | Kind::Write(path) => path,
            _ => return false,
        };
        path == "/data" || path.starts_with("/data/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn each_kind_is_read() {
        let parse = |text: &str| Check::parse("x", text).unwrap();
        let text = "# c\nkind = command\nexec = /bin/true\nargs = a  b\nuser = guest\nseverity = advisory\ntimeout = 2s\n\
                    interval = 1s\nafter = 3s\nfailures = 1\nsummary = s\n";
        let expected = Check {
            name: "x".into(),
            summary: "s".into(),
            kind: Kind::Command {
                exec: "/bin/true".into(),
                args: ["a", "b"].map(String::from).to_vec(),
                user: "guest".into(),
            },
            severity: Severity::Advisory,
            timeout_ms: 2000,
            interval_ms: 1000,
            after_ms: 3000,
            failures: 1,
        };
        assert_eq!(parse(text), expected);
        assert_eq!(parse("service = console\nkind = service\n").kind, Kind::Service("console".into()));
        assert_eq!(parse("kind = file\npath = /x\nread = no\n").kind, Kind::File { path: "/x".into(), read: false });
        assert_eq!(parse("kind = write\npath = /data\n").kind, Kind::Write("/data".into()));
        assert_eq!(parse("kind = memory\navailable = 7\n").kind, Kind::Memory(7));
        assert_eq!(parse("kind = verity\n").severity, Severity::Required);
        assert_eq!(parse("kind = boot-time\n").severity, Severity::Advisory);
    }

    #[test]
    fn each_mistake_names_its_line_and_key() {
        for (text, expected) in [
            ("", "line 0: kind: is missing: what is looked at"),
            ("kind = service\n", "line 0: service: is missing: whose name"),
            ("kind = verity\npath = /x\n", "line 0: path: is not a key of kind verity"),
            ("kind = file\npath = x\n", "line 2: path: is 'x'; expected one absolute path"),
            ("kind = verity\nkind = verity\n", "line 2: kind: stands there twice"),
            ("colour = red\n", "line 1: colour: is not a key of a check"),
            ("kind = verity\nseverity = mild\n", "line 2: severity: is 'mild'; allowed: required, advisory"),
            ("kind = verity\ninterval = 10ms\n", "line 0: interval: must be at least 1s"),
            ("kind = verity\ntimeout = 0s\n", "line 0: timeout: must be at least 100ms"),
            ("kind = verity\nfailures = 0\n", "line 0: failures: must be 1 to 100"),
        ] {
            assert_eq!(Check::parse("x", text).unwrap_err().to_string(), expected, "{text:?}");
        }
        assert!(Check::parse("x", "kind = dns\n").unwrap_err().why.starts_with("is 'dns'; allowed: service, "));
    }

    #[test]
    fn what_lies_on_data_is_known() {
        for (text, of_data) in [
            ("kind = write\npath = /data\n", true),
            ("kind = file\npath = /data/x\n", true),
            ("kind = command\nexec = /data/bin/x\n", true),
            ("kind = file\npath = /database\n", false),
            ("kind = verity\n", false),
        ] {
            assert_eq!(Check::parse("x", text).unwrap().is_of_data(), of_data, "{text:?}");
        }
    }

    #[test]
    fn times_are_read() {
        assert_eq!(Times::parse("settle = 5s\ndeadline = 6s\n"), Ok(Times { settle_ms: 5000, deadline_ms: 6000 }));
        assert_eq!(Times::parse(""), Ok(Times::default()));
        assert!(Times::parse("settle = 5s\ndeadline = 5s\n").is_err());
        assert!(Times::parse("settel = 5s\n").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_check_or_a_mistake(text in "((kind|exec|path|args|after|x) ?= ?(file|command|/a|[ -~]{0,20})\n){0,6}") {
            match Check::parse("x", &text) {
                Ok(check) => prop_assert!(check.interval_ms >= 1000 && check.failures > 0),
                Err(mistake) => prop_assert!(mistake.line <= text.lines().count() && !mistake.why.is_empty()),
            }
            let _ = Times::parse(&text);
        }
    }
}
