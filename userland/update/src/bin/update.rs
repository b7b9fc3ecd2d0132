//! What an operator types: an order for the service, and what comes of it; or the status, which needs no service.
#![cfg_attr(swift_os, no_std, no_main)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

use rt::Errno;
use rt::rustix::event::{PollFd, PollFlags, Timespec, poll};
use rt::rustix::fd::{AsFd, OwnedFd};
use rt::rustix::fs::{CWD, Mode, OFlags, mkfifoat, open, unlink};
use rt::rustix::io::read;
use rt::rustix::process::getpid;
use rt::rustix::termios::isatty;
use update::BootControl;
use update::order::{self, ORDERS, Order};
use update::status::Status;
use update::system::{self, BootDevice};

rt::entry!(run);

const HELP: &str = "usage: update COMMAND
  status [--json]       slots, floors, what failed, what goes on
  install FILE [--reboot] [--allow-downgrade] [--accept-expired]
                        put a release into the slot that does not run, to be tried at the next boot
  mark-good             end the trial of the running release: it stays
  commit                no way back behind the running release; it is copied to the other slot
  rollback [REASON]     restart into the other slot; the running release is not tried again
  retry                 let releases be installed that failed here before
  verify                read both slots and hold them to their signed digests
  window HOURS          when the machine may restart by itself to try a release: 22:30-04:00 (UTC), always, never
  cancel                stop what goes on: an install, or slots that are read
Status: 0 done, 1 refused or failed (the reason is printed), 2 arguments that make no sense, 3 no update service.
";
const USAGE: i32 = 2;
const NO_SERVICE: i32 = 3;
/// The service answers at once, or tells how far it is: a line for each per cent.
const SILENCE: Timespec = Timespec { tv_sec: 120, tv_nsec: 0 };
/// A service that init has just started takes orders by then; it is looked for so often.
const STARTS_MS: u64 = 10_000;
const LOOK_MS: u64 = 50;

fn run(arguments: &[&'static CStr]) -> i32 {
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str().ok()).collect();
    if words.len() + 1 != arguments.len() {
        return usage("the arguments are not valid UTF-8");
    }
    match words[..] {
        ["--help" | "help"] => {
            rt::out!("{HELP}");
            0
        }
        ["status"] => status(false),
        ["status", "--json"] => status(true),
        ["status", ..] => usage("status: takes nothing but --json"),
        _ => match Order::parse(&words) {
            Ok(order) => give(&order, &words),
            Err(why) => usage(&why),
        },
    }
}

fn usage(why: &str) -> i32 {
    rt::errln!("update: {why}\nTry 'update --help'.");
    USAGE
}

fn status(json: bool) -> i32 {
    let known = system::facts().and_then(|facts| Ok((facts, BootDevice::open()?.read()?)));
    let (facts, block) = match known {
        Ok(known) => known,
        Err(why) => {
            rt::errln!("update: cannot read the boot-control block: {}", rt::errno::text(why));
            return 1;
        }
    };
    let activity = rt::fs::read_text(update::service::ACTIVITY, 256).ok();
    let window = system::window();
    let status = Status {
        facts: &facts,
        block: &block,
        activity: activity.as_deref().map(str::trim_end),
        window: window.as_deref(),
    };
    let done = if json { rt::out!("{}", status.json()) } else { rt::out!("{}", status.text()) };
    i32::from(!done)
}

fn give(order: &Order, words: &[&str]) -> i32 {
    let reply = format!("/run/update/reply.{}", getpid().as_raw_nonzero());
    let words: Vec<String> = words.iter().map(|word| absolute(order, word)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let line = match order::line(&reply, &words) {
        Ok(line) => line,
        Err(why) => return usage(why),
    };
    let answer = match send(&reply, &line) {
        Ok(answer) => answer,
        Err(Errno::ACCESS | Errno::PERM) => {
            rt::errln!("update: only root gives orders");
            return 1;
        }
        Err(why) => {
            rt::errln!("update: the update service does not take orders: {}", rt::errno::text(why));
            return NO_SERVICE;
        }
    };
    let status = listen(&answer);
    let _ = unlink(reply.as_str());
    status
}

/// The service has a working directory of its own.
fn absolute(order: &Order, word: &str) -> String {
    match order {
        Order::Install { path, .. } if path == word && !word.starts_with('/') => {
            let here = rt::rustix::process::getcwd(Vec::new()).ok().and_then(|here| here.into_string().ok());
            format!("{}/{word}", here.unwrap_or_default())
        }
        _ => word.into(),
    }
}

/// Gives the order; the answers come from what is returned.
fn send(reply: &str, line: &str) -> Result<OwnedFd, Errno> {
    // Opened without waiting: without a service nobody reads.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let end = rt::clock::now_ms() + STARTS_MS;
    let orders = loop {
        match open(ORDERS, flags, Mode::empty()) {
            // Who is at the console at once may be there before the service is.
            Err(Errno::NOENT | Errno::NXIO) if rt::clock::now_ms() < end => rt::clock::sleep_ms(LOOK_MS),
            opened => break opened?,
        }
    };
    let _ = unlink(reply);
    mkfifoat(CWD, reply, Mode::from_raw_mode(0o600))?;
    let answer = open(reply, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    rt::out::write_all(orders.as_fd(), line.as_bytes())?;
    Ok(answer)
}

/// Prints what the service says, up to its last line.
fn listen(answer: &OwnedFd) -> i32 {
    let (mut pending, mut part) = (Vec::new(), [0; 512]);
    // SAFETY: standard error is open for as long as the program runs.
    let is_terminal = isatty(unsafe { rt::rustix::fd::BorrowedFd::borrow_raw(2) });
    loop {
        match read(answer, &mut part) {
            Ok(count @ 1..) => pending.extend_from_slice(&part[..count]),
            _ => {
                let wait = poll(&mut [PollFd::new(answer, PollFlags::IN)], Some(&SILENCE));
                if wait == Ok(0) {
                    rt::errln!("update: the service has been silent for two minutes");
                    return NO_SERVICE;
                }
            }
        }
        while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            let rest = pending.split_off(end + 1);
            let line = core::mem::replace(&mut pending, rest);
            if let Some(status) = show(&String::from_utf8_lossy(&line[..end]), is_terminal) {
                return status;
            }
        }
    }
}

/// One line of the service's. The exit status, when it was the last.
fn show(line: &str, is_terminal: bool) -> Option<i32> {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "say" => {
            rt::out!("{rest}\n");
        }
        "progress" if is_terminal => {
            let mut words = rest.split(' ');
            let (phase, done, all) = (words.next(), words.next(), words.next());
            let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
            let (done, all) = (number(done), number(all).max(1));
            let end = if done >= all { "\n" } else { "" };
            let mut err = rt::out::stderr();
            err.bytes(
                format!(
                    "\r{:11} {:3} %  {} of {} KiB{end}",
                    phase.unwrap_or(""),
                    done * 100 / all,
                    done >> 10,
                    all >> 10
                )
                .as_bytes(),
            );
        }
        "end" => {
            let mut words = rest.splitn(3, ' ');
            let status: i32 = words.next().and_then(|word| word.parse().ok()).unwrap_or(1);
            let (class, why) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            if status != 0 {
                rt::errln!("update: {why} ({class})");
            }
            return Some(status);
        }
        _ => {}
    }
    None
}
