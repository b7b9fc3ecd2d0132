//! An account that is open, and the process becoming its session.

use crate::terminal::Terminal;
use alloc::{format, string::String, vec::Vec};
use rt::event::Event;
use rt::process::exec;
use rt::rustix::fs::{Gid, Uid};
use rt::rustix::process::chdir;
use rt::rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

const SHELL: &str = "/bin/sh";
const PATH: &str = "/usr/bin";
/// What the console understands, for programs that ask.
const TERM: &str = "vt100";

/// Someone who has shown the right password.
pub struct Account {
    name: String,
    uid: u32,
    groups: Vec<u32>,
    home: String,
    shell: String,
}

impl Account {
    /// Checks a password. The error tells whether there is such a user: for the log, never for the screen.
    pub fn check(name: &str, password: &[u8]) -> Result<Self, bool> {
        let read = |path| rt::fs::read_text(path, accounts::FILE_MAX).unwrap_or_default();
        let (passwd, group, shadow) = (read("/etc/passwd"), read("/etc/group"), read("/etc/shadow"));
        let user = accounts::user(&passwd, name).filter(|_| login::is_name(name));
        let field = user.and_then(|u| accounts::password_field(&shadow, u.name));
        let fits = login::opens(field, password);
        match user {
            Some(user) if fits => Ok(Self {
                name: user.name.into(),
                uid: user.uid,
                groups: accounts::groups_of(&user, &group),
                home: user.home.into(),
                shell: if user.shell.is_empty() { SHELL } else { user.shell }.into(),
            }),
            known => Err(known.is_some()),
        }
    }

    /// Becomes the user's shell; returns only with the reason why that failed.
    pub fn begin(&self, terminal: &Terminal) -> String {
        Event::new("login.ok").with("user", &self.name).with("tty", Terminal::name()).send();
        terminal.belongs_to(self.uid);
        if let Err(error) = self.become_user() {
            return format!("cannot become {}: {}", self.name, rt::errno::text(error));
        }
        if let Err(error) = chdir(&self.home) {
            rt::errln!("login: {}: {}; starting in /", self.home, rt::errno::text(error));
            if chdir("/").is_err() {
                return String::from("cannot enter /");
            }
        }
        let environment = [
            format!("HOME={}", self.home),
            format!("USER={}", self.name),
            format!("LOGNAME={}", self.name),
            format!("SHELL={}", self.shell),
            format!("PATH={PATH}"),
            format!("TERM={TERM}"),
        ];
        // a first character '-' makes it a login shell
        let shell = self.shell.rsplit('/').next().unwrap_or(&self.shell);
        let error = exec(&self.shell, &[format!("-{shell}")], &environment);
        format!("{}: {}", self.shell, rt::errno::text(error))
    }

    /// Groups first: afterwards the right to change them is gone. All three user ids change, for root gives them up.
    fn become_user(&self) -> rt::rustix::io::Result<()> {
        let groups: Vec<Gid> = self.groups.iter().map(|&g| Gid::from_raw(g)).collect();
        set_thread_groups(&groups)?;
        set_thread_gid(groups[0])?;
        set_thread_uid(Uid::from_raw(self.uid))
    }
}

/// A refused attempt. An unknown name is not written down: it may be a password typed at the wrong prompt.
pub fn refused(user: &str) {
    Event::new("login.refused").with("user", user).with("tty", Terminal::name()).send();
}
