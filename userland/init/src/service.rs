//! A service file, strictly: docs/formats/service.md is its definition. Text in, a checked `Service` or an error that
//! names line and key out.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use declared::{choice, duration, number, path, program, words, yes_or_no};

pub use declared::{FILE_MAX, Mistake, name};

/// The longest that a service may take to say that it is up: init reaps nobody meanwhile, and is taken to hang when it does not for
/// long (docs/formats/health.md).
const READY_TIMEOUT_MAX_MS: u64 = 30_000;

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
    /// The pipe whose writing end it gets, and nobody else.
    pub pipe_out: Option<String>,
    /// The pipe whose reading end it gets, and nobody else.
    pub pipe_in: Option<String>,
    /// Whether the boot is ready only when it is up.
    pub required_for_ready: bool,
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
            pipe_out: None,
            pipe_in: None,
            required_for_ready: false,
        }
    }

    /// Reads the text of `NAME.service`.
    pub fn parse(name: &str, text: &str) -> Result<Self, Mistake> {
        let mut service = Self::named(name);
        declared::read(text, |key, value| service.set(key, value))?;
        service.check().map_err(|(key, why)| Mistake::of_file(key, why))?;
        Ok(service)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "summary" => self.summary = value.into(),
            "exec" => self.exec = program(value)?,
            "args" => self.args = words(value)?,
            "tty" => self.tty = Some(device(value)?),
            "user" => self.user = name(value)?,
            "open" => self.open = words(value)?.iter().map(|w| path(w)).collect::<Result<_, _>>()?,
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
            "pipe_out" => self.pipe_out = Some(name(value)?),
            "pipe_in" => self.pipe_in = Some(name(value)?),
            "required_for_ready" => self.required_for_ready = yes_or_no(value)?,
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
        if self.ready_timeout_ms > READY_TIMEOUT_MAX_MS {
            return Err(("ready_timeout", "must be at most 30s"));
        }
        if self.after.contains(&self.name) {
            return Err(("after", "names the service itself"));
        }
        Ok(())
    }
}

/// An end of a pipe belongs to one service: what comes out of it is then certain to be that one's.
pub fn check_pipes(service: &Service, others: &[Service]) -> Result<(), Mistake> {
    for (key, end) in [("pipe_out", (|s| &s.pipe_out) as fn(&Service) -> &Option<String>), ("pipe_in", |s| &s.pipe_in)]
    {
        let owner = end(service).as_ref().and_then(|_| others.iter().find(|other| end(other) == end(service)));
        if let Some(owner) = owner {
            return Err(Mistake::of_file(key, format!("is the end that service '{}' has", owner.name)));
        }
    }
    Ok(())
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
                    restart_limit = 0\nstable = 1s\nready = notify\nready_timeout = 3s\npipe_out = verdict\npipe_in = orders\n\
                    required_for_ready = yes\n";
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
            pipe_out: Some("verdict".into()),
            pipe_in: Some("orders".into()),
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
            ("pipe_in = A\n", "line 1: pipe_in: is 'A'; expected a name of a-z, 0-9, - and _, at most 32 long"),
            ("exec = /a\nready_timeout = 31s\n", "line 0: ready_timeout: must be at most 30s"),
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

    #[test]
    fn an_end_of_a_pipe_has_one_owner() {
        let service = |name: &str, rest: &str| Service::parse(name, &format!("exec = /a\n{rest}")).unwrap();
        let others = [service("a", "pipe_out = p\n"), service("b", "pipe_in = p\n"), service("c", "")];
        for (rest, wrong) in [
            ("", None),
            ("pipe_out = q\npipe_in = q\n", None),
            ("pipe_out = p\n", Some("line 0: pipe_out: is the end that service 'a' has")),
            ("pipe_in = p\n", Some("line 0: pipe_in: is the end that service 'b' has")),
        ] {
            let found = check_pipes(&service("d", rest), &others).err().map(|mistake| mistake.to_string());
            assert_eq!(found.as_deref(), wrong, "{rest:?}");
        }
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
