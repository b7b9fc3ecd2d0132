//! `getty` shows the banner and the prompt on its terminal and asks for a user; `login` asks for the password and turns
//! the process into that user's session. One program by two names: the second goes on where the first ends.
//!
//! The order of a login: name, password, check (the same work whoever is named), groups, group, user, home, environment,
//! shell. Nothing of root's is kept: no descriptor besides the terminal, no environment.
#![cfg_attr(swift_os, no_std, no_main)]

extern crate alloc;

mod session;
mod terminal;

use alloc::string::String;
use core::ffi::CStr;
use core::fmt::Write;
use rt::rustix;
use terminal::{Line, Terminal};

rt::entry!(run);

/// Wrong passwords before the terminal is given back to init.
const TRIES: u32 = 3;
/// A password must come within this time.
const PASSWORD_MS: u64 = 60_000;
/// After a wrong one.
const DELAY_MS: u64 = 2_000;
const ISSUE_MAX: usize = 4 << 10;

const HELP: &str = "usage: getty
       login [USER]
Asks for a user and a password on standard input, a terminal, and starts that user's shell.
getty shows /etc/issue first. Both are for root; init starts getty (see /etc/services.d/console.service).
";

fn run(arguments: &[&'static CStr]) -> i32 {
    let words: alloc::vec::Vec<&str> = arguments.iter().filter_map(|a| a.to_str().ok()).collect();
    let program = words.first().and_then(|path| path.rsplit('/').next()).unwrap_or("login");
    let user = match (program, words.get(1..).unwrap_or(&[])) {
        (_, ["--help"]) => {
            rt::out!("{HELP}");
            return 0;
        }
        (_, []) => None,
        ("login", [user]) if login::is_name(user) => Some(*user),
        _ => {
            rt::errln!("{program}: unknown arguments\n{}", HELP.trim_end());
            return 2;
        }
    };
    if !rustix::process::geteuid().is_root() {
        rt::errln!("{program}: only root can start sessions");
        return 1;
    }
    match Terminal::take() {
        Ok(terminal) => serve(&terminal, program == "getty", user),
        Err(error) => {
            rt::errln!("{program}: standard input: {}", rt::errno::text(error));
            1
        }
    }
}

/// Asks until a session starts (this does not return), the tries are used up, or nobody is there.
fn serve(terminal: &Terminal, banner: bool, mut user: Option<&str>) -> i32 {
    let mut screen = rt::out::stdout();
    if banner {
        screen.bytes(b"\n");
        screen.bytes(&rt::fs::read("/etc/issue", ISSUE_MAX).unwrap_or_default());
    }
    let mut tries = 0;
    while tries < TRIES {
        let typed;
        let name = match user.take() {
            Some(name) => name,
            None => {
                terminal.show_typing(true);
                let _ = write!(screen, "{} login: ", host_name());
                screen.flush();
                rt::notify::ready();
                typed = match terminal.line(None) {
                    Line::Text(text) => text,
                    Line::End | Line::TimedOut => return 0,
                };
                let name = typed.trim();
                if name.is_empty() {
                    continue;
                }
                name
            }
        };
        terminal.show_typing(false);
        screen.bytes(b"Password: ");
        screen.flush();
        let mut password = match terminal.line(Some(PASSWORD_MS)) {
            Line::Text(text) => text.into_bytes(),
            Line::End => return 0,
            Line::TimedOut => {
                let _ = write!(screen, "\nNothing was typed for {} seconds.\n", PASSWORD_MS / 1000);
                return 0;
            }
        };
        screen.bytes(b"\n");
        screen.flush();
        let account = session::Account::check(name, &password);
        password.fill(0);
        match account {
            Ok(account) => {
                terminal.give_back();
                let why = account.begin(terminal);
                rt::errln!("login: {why}");
                return 1;
            }
            Err(known) => {
                tries += 1;
                session::refused(if known { name } else { "-" });
                rt::clock::sleep_ms(DELAY_MS);
                screen.bytes(b"Login incorrect\n\n");
            }
        }
    }
    1
}

fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_str().unwrap_or_default();
    String::from(if name.is_empty() { "swift-os" } else { name })
}
