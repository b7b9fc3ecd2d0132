//! healthd: looks at what is declared, comes to a verdict, tells it, and feeds the watchdog while it and process 1 do their work.
//!
//! Nothing here waits: what may take long, a command or a disk, is a child's to do, and what it may take is bounded. So a loop that does not come
//! round is a machine that hangs, and the watchdog's business. `docs/formats/health.md` says what is looked at and what follows.
#![cfg_attr(swift_os, no_std, no_main)]

extern crate alloc;

mod dog;
mod load;
mod orphan;
mod runs;
mod told;

use alloc::{string::String, vec::Vec};
use core::ffi::CStr;

use healthd::board::{Board, Outcome};
use healthd::check::{Check, Kind};
use healthd::facts::{self, Found};
use healthd::limits::FEED_MS;
use healthd::record::Before;
use rt::event::Event;
use rt::process::runtime::Signal;
use rt::rustix::process::{WaitOptions, wait};

use dog::Dog;
use orphan::Orphan;
use runs::Runs;
use told::Told;

rt::entry!(run);

const HELP: &str = "usage: healthd
Looks at what /etc/health.d and /data/etc/health.d declare; 'health' shows how it stands. It is a service, which init starts.
";
/// Longest texts of the kernel that are read.
const TEXT_MAX: usize = 256 << 10;

fn run(arguments: &[&'static CStr]) -> i32 {
    match arguments.iter().skip(1).map(|a| a.to_bytes()).collect::<Vec<_>>()[..] {
        [] => {}
        [b"--help"] => {
            rt::out!("{HELP}");
            return 0;
        }
        _ => {
            rt::errln!("healthd: unknown arguments\n{}", HELP.trim_end());
            return 2;
        }
    }
    // PIPE stays blocked for good: a pipe that nobody reads is an error of the write.
    let signals = rt::process::signal_set(&[Signal::CHILD, Signal::TERM, Signal::INT, Signal::PIPE]);
    if let Err(error) = rt::process::block_signals(&signals) {
        Event::new("health.error").with("what", "signals").with("why", rt::errno::text(error)).send();
        return 1;
    }
    let mut health = Health::new();
    loop {
        let wait = health.turn();
        if let Some(Signal::TERM | Signal::INT) = rt::process::wait_signal(&signals, Some(wait)) {
            health.told.record_last(&health.board, health.boot_ms, &mut health.dog);
            // The watchdog goes on: a machine that does not come to its end is to be reset.
            return 0;
        }
    }
}

struct Health {
    board: Board,
    runs: Runs,
    orphan: Orphan,
    dog: Dog,
    told: Told,
    /// How long the boot took, once it is known; events are forgotten.
    boot_ms: Option<u64>,
    before_boot_ms: Option<u64>,
    /// The last fault of the kernel's; one that was seen stays.
    fault: Option<String>,
}

impl Health {
    fn new() -> Self {
        // First: reading what follows may have to wait for a disk, which is given up in time.
        let mut dog = Dog::new();
        dog.open(rt::clock::now_ms());
        let release = facts::release(&text("/proc/verity"), &text("/proc/version"));
        let before = Before::read(&told::last_record(), &release);
        let declared = load::all();
        let now = rt::clock::now_ms();
        let event = Event::new("health.start").with("checks", declared.checks.len()).with("release", &release);
        event.with("watchdog", dog.name()).send();
        declared.report();
        Self {
            before_boot_ms: before.boot_ms,
            board: Board::new(declared.checks, declared.damaged, declared.times, |name| before.failed(name), now),
            runs: Runs::default(),
            orphan: Orphan::new(now),
            dog,
            told: Told::new(release, before),
            boot_ms: None,
            fault: None,
        }
    }

    /// Everything that is to do now; how long there is nothing to do, in milliseconds.
    fn turn(&mut self) -> u64 {
        let now = rt::clock::now_ms();
        self.reap(now);
        for (index, why) in self.runs.overdue(now) {
            self.found(index, Err((Outcome::Fail, why)), now);
        }
        while let Some(index) = self.board.next_due(now) {
            self.look(index, now);
        }
        self.board.decide(now);
        self.told.tell(&self.board, self.dog.name(), self.boot_ms);
        self.told.record(&self.board, self.boot_ms, now, &mut self.dog);
        self.orphan.turn(now, &mut self.dog);
        self.dog.turn(now, self.orphan.seen_ms());
        let next = self.board.next_ms(now).into_iter().chain(self.runs.next_ms()).min();
        next.map_or(FEED_MS, |next| next.saturating_sub(now)).clamp(1, FEED_MS)
    }

    fn found(&mut self, index: usize, found: Found, now: u64) {
        if self.board.report(index, found, now) {
            let entry = &self.board.entries()[index];
            let event = Event::new("health.check").with("name", &entry.check.name);
            event.with("result", entry.outcome.word()).with("why", &entry.why).send();
        }
    }

    fn look(&mut self, index: usize, now: u64) {
        let check = self.board.entries()[index].check.clone();
        if check.is_of_data() && !facts::has_data(&text("/proc/mounts")) {
            return self.found(index, Err((Outcome::Unknown, "/data is not mounted".into())), now);
        }
        match self.quick(&check) {
            Some(found) => self.found(index, found, now),
            None if self.runs.are_many() => self.board.put_off(index, now + 1_000),
            None => {
                if let Err(why) = self.runs.start(index, &check, now, &mut self.dog) {
                    self.found(index, Err((Outcome::Fail, why)), now);
                }
            }
        }
    }

    /// What needs no child.
    fn quick(&mut self, check: &Check) -> Option<Found> {
        Some(match &check.kind {
            Kind::Service(name) => match rt::fs::read_text("/run/services", TEXT_MAX) {
                Ok(states) => facts::service(&states, name),
                Err(_) => Err((Outcome::Unknown, "init does not say how its services stand".into())),
            },
            Kind::Memory(floor) => facts::memory(&text("/proc/meminfo"), *floor),
            Kind::Verity => facts::verity(&text("/proc/verity")),
            Kind::Kernel => {
                let events = text("/proc/events");
                let fault = facts::fault(&events).map(String::from);
                self.fault = fault.or(self.fault.take());
                self.fault.clone().map_or(Ok(()), |fault| Err((Outcome::Fail, fault)))
            }
            Kind::BootTime(percent) => {
                self.boot_ms = self.boot_ms.or_else(|| facts::boot_ms(&text("/proc/events")));
                facts::boot_time(self.boot_ms, self.before_boot_ms, *percent)
            }
            Kind::Command { .. } | Kind::File { .. } | Kind::Write(_) => return None,
        })
    }

    /// Takes every child that has ended.
    fn reap(&mut self, now: u64) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some((index, found)) = self.runs.ended(pid, status) {
                self.found(index, found, now);
            }
            self.orphan.ended(pid);
            self.told.ended(pid);
        }
    }
}

/// A text of the kernel's; empty when it cannot be read.
fn text(path: &str) -> String {
    rt::fs::read_text(path, TEXT_MAX).unwrap_or_default()
}
