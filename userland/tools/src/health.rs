//! `health`: what healthd has found, and its verdict.

use crate::{Usage, unknown};
use healthd::json::{self, Value};
use healthd::limits::STATUS_MAX;
use healthd::status;

pub const HELP: &str = "usage: health [--json]
Shows each check and the verdict on this machine. Exit status: 0 good, 1 bad, 2 unknown.
  --json  the document that healthd keeps in /run/health/status
";
const UNKNOWN: i32 = 2;
const NAME: &str = "healthd";
/// Longest name of a program that the kernel tells.
const NAME_MAX: usize = 64;

pub fn run(_: &str, arguments: &[&str]) -> Result<i32, Usage> {
    let as_json = match arguments {
        [] => false,
        ["--json"] => true,
        _ => return Err(arguments.iter().find(|a| **a != "--json").map_or_else(|| unknown("--json"), |a| unknown(a))),
    };
    let text = match rt::fs::read_text(status::PATH, STATUS_MAX) {
        Ok(text) => text,
        Err(error) => {
            rt::errln!("health: {}: {}", status::PATH, rt::errno::text(error));
            return Ok(UNKNOWN);
        }
    };
    let Some(status) = json::read(&text) else {
        rt::errln!("health: {} is damaged", status::PATH);
        return Ok(UNKNOWN);
    };
    // What one that has ended left behind says nothing of now.
    if !is_running(&status) {
        rt::errln!("health: healthd does not run; what it found last is not known to hold");
        return Ok(UNKNOWN);
    }
    let written = if as_json { rt::out!("{text}") } else { rt::out!("{}", status::shown(&status)) };
    Ok(if written { status::exit_status(&status) } else { UNKNOWN })
}

fn is_running(status: &Value) -> bool {
    let path = status.number("pid").map(|pid| alloc::format!("/proc/{pid}/comm"));
    path.and_then(|path| rt::fs::read_text(&path, NAME_MAX).ok()).is_some_and(|name| name.trim_end() == NAME)
}
