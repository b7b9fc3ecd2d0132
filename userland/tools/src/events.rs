//! `events`: what the kernel keeps of the system's events.

use crate::{Usage, unknown};
use tools::log::{Place, wanted};

pub const HELP: &str = "usage: events [-f] [NAME...]
Shows the events since the start, as far as the kernel still has them.
  -f    goes on with those that come, until interrupted
  NAME  only events of this name, or of names that begin with it and a dot: 'service' and
        'service.' show service.start
";

const SOURCE: &str = "/proc/events";
const TEXT_MAX: usize = 4 << 20;
const POLL_MS: u64 = 200;

pub fn run(_: &str, arguments: &[&str]) -> Result<i32, Usage> {
    let mut follow = false;
    let mut names = alloc::vec::Vec::new();
    for argument in arguments {
        match *argument {
            "-f" => follow = true,
            option if option.starts_with('-') => return Err(unknown(option)),
            name => names.push(name),
        }
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
