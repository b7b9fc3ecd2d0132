//! `top`: CPUs, memory and processes, drawn anew until a key ends it.

use crate::{Usage, unknown};
use alloc::{format, string::String, vec::Vec};
use rt::rustix::event::{PollFd, PollFlags, Timespec, poll};
use rt::rustix::fd::BorrowedFd;
use rt::rustix::fs::stat;
use rt::rustix::io::read;
use rt::rustix::termios::tcgetwinsize;
use rt::tty::Modes;
use tools::proc;
use tools::screen::{Reading, picture};

pub const HELP: &str = "usage: top [-b] [-n COUNT] [-d SECONDS]
Shows what each CPU does, memory, and the processes, the busiest first. 'q' ends it, a blank draws at once.
  -b  plain text without a terminal, one table after another
  -n  that many tables, then the end
  -d  time between two tables (2)
";

const TEXT_MAX: usize = 64 << 10;
const PROCESSES_MAX: usize = 4096;

struct Options {
    batch: bool,
    count: Option<u32>,
    delay_ms: u64,
}

pub fn run(_: &str, arguments: &[&str]) -> Result<i32, Usage> {
    let options = parse(arguments)?;
    // SAFETY: descriptors 0 and 1 stay open as long as the process.
    let (input, output) = unsafe { (BorrowedFd::borrow_raw(0), BorrowedFd::borrow_raw(1)) };
    if options.batch {
        return Ok(tables(&options, None));
    }
    let (Ok(modes), Ok(_)) = (Modes::of(input), Modes::of(output)) else {
        return Err(Usage("input and output are no terminal; use -b".into()));
    };
    if let Err(error) = modes.keys().set(input) {
        rt::errln!("top: terminal: {}", rt::errno::text(error));
        return Ok(1);
    }
    let status = tables(&options, Some(input));
    let _ = modes.set(input);
    Ok(status)
}

fn parse(arguments: &[&str]) -> Result<Options, Usage> {
    let mut options = Options { batch: false, count: None, delay_ms: 2000 };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = |max: u32| {
            let value = rest.next().and_then(|v| v.parse().ok()).filter(|n| (1..=max).contains(n));
            value.ok_or_else(|| Usage(format!("{argument} needs a number from 1 to {max}")))
        };
        match *argument {
            "-b" => options.batch = true,
            "-n" => options.count = Some(number(1_000_000)?),
            "-d" => options.delay_ms = u64::from(number(3600)?) * 1000,
            other => return Err(unknown(other)),
        }
    }
    Ok(options)
}

/// Draws until the count is reached, a key says so, or nobody reads any more.
fn tables(options: &Options, terminal: Option<BorrowedFd<'static>>) -> i32 {
    let passwd = rt::fs::read_text("/etc/passwd", accounts::FILE_MAX).unwrap_or_default();
    let name_of = |uid| accounts::users(&passwd).find(|u| u.uid == uid).map(|u| String::from(u.name));
    let mut before = Reading::default();
    let mut drawn = 0;
    loop {
        let now = match take() {
            Ok(now) => now,
            Err((path, error)) => {
                rt::errln!("top: {path}: {}", rt::errno::text(error));
                return 1;
            }
        };
        let lines = picture(&before, &now, name_of);
        if !draw(&lines, terminal, drawn) {
            return 1;
        }
        before = now;
        drawn += 1;
        if options.count.is_some_and(|count| drawn >= count) {
            return 0;
        }
        match terminal {
            Some(terminal) if ends(terminal, options.delay_ms) => return 0,
            Some(_) => {}
            None => rt::clock::sleep_ms(options.delay_ms),
        }
    }
}

fn draw(lines: &[String], terminal: Option<BorrowedFd>, drawn: u32) -> bool {
    let mut out = rt::out::stdout();
    if let Some(terminal) = terminal {
        let size = tcgetwinsize(terminal).ok();
        let side = |n: u16, usual| if n == 0 { usual } else { usize::from(n) };
        let (rows, columns) = size.map_or((24, 80), |s| (side(s.ws_row, 24), side(s.ws_col, 80)));
        // home, each line with its old rest erased, then all below
        out.bytes(if drawn == 0 { b"\x1b[H\x1b[2J" } else { b"\x1b[H" });
        for line in lines.iter().take(rows - 1) {
            out.bytes(line.chars().take(columns - 1).collect::<String>().as_bytes());
            out.bytes(b"\x1b[K\n");
        }
        out.bytes(b"\x1b[J");
    } else {
        if drawn > 0 {
            out.bytes(b"\n");
        }
        for line in lines {
            out.bytes(line.as_bytes());
            out.bytes(b"\n");
        }
    }
    out.flush()
}

/// Waits for the next table's time or a key; true if the key ends the program.
fn ends(terminal: BorrowedFd, delay_ms: u64) -> bool {
    const CONTROL_C: u8 = 3;
    let limit = Timespec { tv_sec: (delay_ms / 1000) as i64, tv_nsec: ((delay_ms % 1000) * 1_000_000) as i64 };
    if poll(&mut [PollFd::new(&terminal, PollFlags::IN)], Some(&limit)) == Ok(0) {
        return false;
    }
    let mut keys = [0; 16];
    match read(terminal, &mut keys) {
        Ok(0) | Err(_) => true,
        Ok(count) => keys[..count].iter().any(|key| matches!(*key, b'q' | b'Q' | CONTROL_C)),
    }
}

/// Reads /proc once. A process that ends meanwhile is left out.
fn take() -> Result<Reading, (&'static str, rt::Errno)> {
    let text = |path| rt::fs::read_text(path, TEXT_MAX).map_err(|error| (path, error));
    let cpus = proc::cpus(&text("/proc/stat")?);
    let info = text("/proc/meminfo")?;
    let value = |key| proc::memory(&info, key).unwrap_or(0);
    let names = rt::fs::list("/proc").map_err(|error| ("/proc", error))?;
    let numbers = names.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())).take(PROCESSES_MAX);
    let processes: Vec<_> = numbers
        .filter_map(|number| {
            let process = proc::process(&rt::fs::read_text(&format!("/proc/{number}/stat"), TEXT_MAX).ok()?)?;
            let uid = stat(format!("/proc/{number}")).ok()?.st_uid;
            Some(proc::Process { uid, ..process })
        })
        .collect();
    Ok(Reading { at_ms: rt::clock::now_ms(), cpus, processes, memory: (value("MemTotal"), value("MemFree")) })
}
