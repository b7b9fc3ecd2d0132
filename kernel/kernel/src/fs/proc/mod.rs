//! /proc and /sys: what programs read about processes and the machine.
//!
//! - `tree`     files that are made when they are opened
//! - `system`   texts about the machine
//! - `process`  a directory for each process

pub mod process;
pub mod system;
mod tree;

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;

use linux::Errno;
use vfs::Link;
use vfs::inode::{Entries, Kind};

use super::Volume;
use crate::process::{current, table};
use tree::{Directory, Flat, Node};

/// `PROC_SUPER_MAGIC` and `SYSFS_MAGIC`.
const MAGIC: i64 = 0x9fa0;
const MACHINE_MAGIC: i64 = 0x6265_6572;

/// Numbers below this are those of links in the root; then come the table's, then (from 1 << 16) the processes'.
const FIRST_FLAT: u64 = 0x100;

const FILES: Flat = Flat { leaves: system::LEAVES, prefix: "", number: FIRST_FLAT };

/// A link in the root of /proc: name, number, target.
type RootLink = (&'static str, u64, fn() -> Box<[u8]>);

const LINKS: [RootLink; 3] = [
    ("self", 2, || format!("{}", current().process.pid).into_bytes().into()),
    ("thread-self", 3, || format!("{}/task/{}", current().process.pid, current().tid).into_bytes().into()),
    ("mounts", 4, || (*b"self/mounts").into()),
];

/// Positions of the root's own files lie below this, those of processes above.
const FIRST_PROCESS: u64 = 0x1000;

struct Root;

impl Directory for Root {
    fn find(&self, name: &[u8]) -> Result<Node, Errno> {
        if let Some(pid) = number(name) {
            return table::find(pid).map(process::directory).ok_or(Errno::ENOENT);
        }
        match LINKS.iter().find(|(link, ..)| link.as_bytes() == name) {
            Some(&(_, number, target)) => Ok(Node::link(number, move || Ok(Link::Text(target())))),
            None => FILES.find(name),
        }
    }

    fn list(&self, position: u64, take: &mut Entries<'_>) {
        let links = LINKS.len() as u64;
        for (at, (name, number, _)) in LINKS.iter().enumerate().skip(position as usize) {
            if !take(*number, at as u64 + 1, Kind::Link, name.as_bytes()) {
                return;
            }
        }
        let mut full = false;
        if position < FIRST_PROCESS {
            FILES.list(position.saturating_sub(links), &mut |number, next, kind, name| {
                full = !take(number, next + links, kind, name);
                !full
            });
        }
        let mut pid = position.saturating_sub(FIRST_PROCESS) as u32;
        while !full {
            let next = table::lock().at_or_behind(pid);
            let Some(found) = next else { return };
            let name = format!("{found}");
            full =
                !take(process::number(found), u64::from(found) + 1 + FIRST_PROCESS, Kind::Directory, name.as_bytes());
            pid = found + 1;
        }
    }
}

/// A process's or thread's number, written as Linux writes it.
fn number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// A volume for /proc.
pub fn volume() -> Arc<Volume> {
    tree::volume("proc", MAGIC, Root)
}

/// A volume for /sys.
pub fn machine_volume() -> Arc<Volume> {
    tree::volume("sysfs", MACHINE_MAGIC, Flat { leaves: system::MACHINE_LEAVES, prefix: "", number: FIRST_FLAT })
}
