//! `events`: what the kernel keeps of the system's events.

use crate::{Usage, unknown};
use rt::Errno;
use rt::rustix::fs::{Mode, chmod, unlink};
use tools::lastboot;
use tools::log::{Place, wanted};

pub const HELP: &str = "usage: events [-f | --last-boot] [NAME...]
Shows the events since the start, as far as the kernel still has them.
  -f           goes on with those that come, until interrupted
  --last-boot  of the boot before, for root: how it ended, the report of a panic, the last events, the console
  NAME         only events of this name, or of names that begin with it and a dot: 'service' and
               'service.' show service.start
  --keep       alone: keeps what --last-boot shows in /data/var/crash if it did not end by order (done at each boot)
";

const SOURCE: &str = "/proc/events";
const TEXT_MAX: usize = 4 << 20;
const POLL_MS: u64 = 200;
/// What the kernel knows of the boot before, and where it is kept, for a boot whose memory has lost it.
const LAST: &str = "/proc/last-boot";
const KEPT: &str = "/data/var/crash";
/// The kernel writes at most a quarter of this.
const LAST_MAX: usize = 1 << 20;

pub fn run(_: &str, arguments: &[&str]) -> Result<i32, Usage> {
    if arguments == ["--keep"] {
        return Ok(keep());
    }
    let (mut follow, mut last) = (false, false);
    let mut names = alloc::vec::Vec::new();
    for argument in arguments {
        match *argument {
            "-f" => follow = true,
            "--last-boot" => last = true,
            option if option.starts_with('-') => return Err(unknown(option)),
            name => names.push(name),
        }
    }
    if follow && last {
        return Err(Usage("-f and --last-boot: the boot before tells nothing new".into()));
    }
    if last {
        return Ok(last_boot(&names));
    }
    let mut place = Place::default();
    loop {
        let text = match rt::fs::read_text(SOURCE, TEXT_MAX) {
            Ok(text) => text,
            Err(error) => {
                rt::errln!("events: {SOURCE}: {}", rt::errno::text(error));
                return Ok(1);
            }
        };
        let mut out = rt::out::stdout();
        for line in place.news(&text).into_iter().filter(|line| wanted(line, &names)) {
            out.bytes(line.as_bytes());
            out.bytes(b"\n");
        }
        if !out.flush() {
            return Ok(1);
        }
        if !follow {
            return Ok(0);
        }
        rt::clock::sleep_ms(POLL_MS);
    }
}

/// Complains about a path.
fn failed(path: &str, error: Errno) -> i32 {
    rt::errln!("events: {path}: {}", rt::errno::text(error));
    1
}

fn last_boot(names: &[&str]) -> i32 {
    let mut text = match rt::fs::read_text(LAST, LAST_MAX) {
        Ok(text) => text,
        Err(error) => return failed(LAST, error),
    };
    if !lastboot::is_known(&text) {
        rt::errln!(
            "events: nothing of the boot before is in memory: {}",
            lastboot::field(&text, "why").unwrap_or("it was lost")
        );
        let kept = rt::fs::list(KEPT).unwrap_or_default();
        let Some(path) = lastboot::newest(&kept).map(|name| alloc::format!("{KEPT}/{name}")) else { return 1 };
        rt::errln!("events: this was kept of an earlier one, in {path}");
        text = match rt::fs::read_text(&path, LAST_MAX) {
            Ok(text) => text,
            Err(error) => return failed(&path, error),
        };
    }
    let mut out = rt::out::stdout();
    for line in lastboot::shown(&text, names) {
        out.bytes(line.as_bytes());
        out.bytes(b"\n");
    }
    i32::from(!out.flush())
}

/// Puts it on the disk, where the next boot does not write over it.
fn keep() -> i32 {
    let text = match rt::fs::read_text(LAST, LAST_MAX) {
        Ok(text) => text,
        Err(error) => return failed(LAST, error),
    };
    let Some(name) = lastboot::name(&text) else { return 0 };
    // Without persistent data /data is the base's, which nobody can write to.
    match rt::fs::make_folders(KEPT) {
        Ok(()) => {}
        Err(Errno::ROFS) => return 0,
        Err(error) => return failed(KEPT, error),
    }
    // The console may have shown a secret.
    if let Err(error) = chmod(KEPT, Mode::RWXU) {
        return failed(KEPT, error);
    }
    let names = match rt::fs::list(KEPT) {
        Ok(names) => names,
        Err(error) => return failed(KEPT, error),
    };
    for old in lastboot::surplus(&names, &name) {
        let _ = unlink(alloc::format!("{KEPT}/{old}"));
    }
    let path = alloc::format!("{KEPT}/{name}");
    match rt::fs::replace(&path, text.as_bytes(), true) {
        Ok(()) => 0,
        Err(error) => failed(&path, error),
    }
}
