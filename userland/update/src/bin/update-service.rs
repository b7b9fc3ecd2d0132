//! The one program that may change slots and the boot-control block. Init opens them for it; nobody else can (docs/formats/service.md, `open`).
//!
//! - It takes orders from root over a FIFO, one at a time, and verdicts from healthd over a pipe that only init could have made.
//! - An install, and a slot that is read, is one step between two looks at both, so that it can be cancelled and asked about.
//! - A verdict is acted upon only while the running release is on trial.
#![cfg_attr(swift_os, no_std, no_main)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

use rt::Errno;
use rt::event::Event;
use rt::process::runtime::Signal;
use rt::rustix::event::{PollFd, PollFlags, Timespec, poll};
use rt::rustix::fd::{FromRawFd, OwnedFd};
use rt::rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, mkdir, mkfifoat, open};
use rt::rustix::io::{FdFlags, fcntl_setfd, read};
use update::console::Console;
use update::order::{LINE_MAX, ORDERS, Order, words};
use update::service::Service;
use update::system::{BootDevice, Devices, File, LoaderDevice};

rt::entry!(run);

/// Where init names the descriptors that it opened, in the order of the service file: /dev/bootctl, the slot that does not run, /proc/boot, /proc/release, /dev/loader.
const OPENED: &str = "OPENED";
/// Where init names the end of healthd's pipe.
const VERDICTS: &str = "PIPE_IN";
/// No loader has verified anything.
const NONE: (&str, Errno) = ("none", Errno::NXIO);
/// Bytes of lines that are taken at once: what goes on is not held up by somebody who writes without end.
const LINES_MAX: usize = 64 << 10;

fn run(_: &[&'static CStr]) -> i32 {
    let pipe = rt::process::signal_set(&[Signal::PIPE]);
    // Who asked and went away must not end the service.
    let _ = rt::process::block_signals(&pipe);
    match start() {
        Ok((service, orders)) => serve(service, &orders),
        Err(NONE) => {
            Event::new("update.none").with("why", "there is no boot-control block to write").send();
            rt::notify::ready();
            0
        }
        Err((what, why)) => {
            Event::new("update.error").with("what", what).with("why", rt::errno::text(why)).send();
            1
        }
    }
}

fn start() -> Result<(Service, OwnedFd), (&'static str, Errno)> {
    let opened = rt::process::variable(OPENED).unwrap_or_default();
    let mut numbers = opened.split(' ').map(|number| number.parse().ok().filter(|&number: &i32| number > 2));
    let mut next = || inherited(numbers.next().flatten());
    let (boot, slot) = (next(), next().map(File::of).transpose().map_err(|why| ("slot", why))?);
    let (facts, release) = next().zip(next()).ok_or(("facts", Errno::BADF))?;
    let (facts, area, running) = update::system::running(&facts, &release).map_err(|why| ("facts", why))?;
    // Without a loader that verified something there is nothing to change.
    let loaders = next().map(LoaderDevice::of).transpose().map_err(|why| ("loader", why))?;
    let boot = boot.ok_or(if facts.roots.is_empty() { NONE } else { ("bootctl", Errno::BADF) })?;
    match mkdir("/run/update", Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(why) => return Err(("folder", why)),
    }
    match mkfifoat(CWD, ORDERS, Mode::from_raw_mode(0o600)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(why) => return Err(("orders", why)),
    }
    // Open for writing too, so that it does not end when the last who asked has gone.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let orders = open(ORDERS, flags, Mode::empty()).map_err(|why| ("orders", why))?;
    let service = Service::new(Devices { boot: BootDevice(boot), slot, loaders }, facts, (area, running));
    rt::notify::ready();
    Ok((service, orders))
}

/// A descriptor that init opened for this program.
fn inherited(number: Option<i32>) -> Option<OwnedFd> {
    // SAFETY: init opened it for us alone and named it; this is its one owner.
    let fd = unsafe { OwnedFd::from_raw_fd(number?) };
    let _ = fcntl_setfd(&fd, FdFlags::CLOEXEC);
    Some(fd)
}

fn serve(mut service: Service, orders: &OwnedFd) -> ! {
    let verdicts = inherited(rt::process::variable(VERDICTS).and_then(|number| number.parse().ok()));
    if let Some(verdicts) = &verdicts {
        let flags = fcntl_getfl(verdicts).unwrap_or(OFlags::empty());
        let _ = fcntl_setfl(verdicts, flags | OFlags::NONBLOCK);
    }
    let (mut order_lines, mut verdict_lines) = (Lines::default(), Lines::default());
    loop {
        let wait = service.wait_ms().map(|ms| Timespec {
            tv_sec: (ms / 1000).try_into().unwrap_or(i64::MAX),
            tv_nsec: (ms % 1000 * 1_000_000) as i64,
        });
        let fds = [Some(orders), verdicts.as_ref()];
        let mut polled: Vec<PollFd<'_>> = fds.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let _ = poll(&mut polled, wait.as_ref());
        for line in order_lines.take(orders) {
            take_order(&mut service, &line);
        }
        if let Some(verdicts) = &verdicts {
            // The newest counts.
            if let Some(line) = verdict_lines.take(verdicts).last() {
                service.take_verdict(line);
            }
        }
        service.go_on();
    }
}

fn take_order(service: &mut Service, line: &str) {
    let Some((reply, words)) = words(line) else { return };
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // Who does not wait for an answer gets none, and nothing is done for him.
    let Ok(fd) = open(reply, flags, Mode::empty()) else { return };
    let mut console = Console::new(fd);
    match Order::parse(&words) {
        Ok(order) => service.take_order(order, console),
        Err(why) => console.end(2, "usage", &why),
    }
}

/// Lines as they come; one that is too long is dropped.
#[derive(Default)]
struct Lines {
    pending: Vec<u8>,
    is_too_long: bool,
}

impl Lines {
    /// What is there now: the descriptor does not block.
    fn take(&mut self, from: &OwnedFd) -> Vec<String> {
        let mut lines = Vec::new();
        let mut part = [0; 512];
        let mut taken = 0;
        while taken < LINES_MAX
            && let Ok(count @ 1..) = read(from, &mut part)
        {
            taken += count;
            for &byte in &part[..count] {
                if byte == b'\n' {
                    let line = core::mem::take(&mut self.pending);
                    if !core::mem::take(&mut self.is_too_long) {
                        lines.extend(String::from_utf8(line));
                    }
                } else if self.pending.len() < LINE_MAX {
                    self.pending.push(byte);
                } else {
                    self.is_too_long = true;
                }
            }
        }
        lines
    }
}
