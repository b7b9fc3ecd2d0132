//! The native tools, one program by several names: what the last part of its own name says is what it does.
#![cfg_attr(swift_os, no_std, no_main)]

extern crate alloc;

mod events;
mod health;
mod id;
mod power;
mod quota;
mod top;

use alloc::vec::Vec;
use core::ffi::CStr;

rt::entry!(run);

/// A tool: its arguments in, its exit status or a complaint about them out.
type Tool = fn(&str, &[&str]) -> Result<i32, Usage>;

/// Arguments that make no sense; the reason is printed with a hint at --help.
pub struct Usage(alloc::string::String);

/// Every name, its text of --help, and what it does.
const TOOLS: [(&str, &str, Tool); 8] = [
    ("id", id::HELP, id::run),
    ("top", top::HELP, top::run),
    ("events", events::HELP, events::run),
    ("health", health::HELP, health::run),
    ("quota", quota::HELP, quota::run),
    ("halt", power::HALT_HELP, power::run),
    ("poweroff", power::POWEROFF_HELP, power::run),
    ("reboot", power::REBOOT_HELP, power::run),
];

fn run(arguments: &[&'static CStr]) -> i32 {
    let words: Vec<&str> = arguments.iter().filter_map(|a| a.to_str().ok()).collect();
    let Some((path, rest)) = words.split_first().filter(|_| words.len() == arguments.len()) else {
        rt::errln!("tools: the arguments are not valid UTF-8");
        return 2;
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((_, help, tool)) = TOOLS.iter().find(|(known, _, _)| *known == name) else {
        let names: Vec<&str> = TOOLS.iter().map(|(known, _, _)| *known).collect();
        rt::errln!("tools: no tool is named '{name}'; link this program as one of: {}", names.join(", "));
        return 2;
    };
    if rest.contains(&"--help") {
        rt::out!("{help}");
        return 0;
    }
    tool(name, rest).unwrap_or_else(|Usage(why)| {
        rt::errln!("{name}: {why}\nTry '{name} --help'.");
        2
    })
}

/// The complaint about an argument that the tool does not know.
pub fn unknown(argument: &str) -> Usage {
    Usage(alloc::format!("unknown argument '{argument}'"))
}
