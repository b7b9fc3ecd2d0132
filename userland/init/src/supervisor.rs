//! What to start when: decisions only. No process, file or clock is touched here; the caller says what happened and at
//! which millisecond, and asks what is due.
//!
//! Invariants: a service has at most one process; a wait never exceeds `backoff_max`; `boot.ready` or `boot.failed` is
//! said once; nothing is started after a failure was final or while a service it comes after has not been up.

use crate::service::{Ready, Restart, Service};
use alloc::{format, string::String, vec::Vec};
use rt::event::Event;

/// Where one service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be started at this time.
    Due(u64),
    /// Running since.
    Running { pid: u32, since: u64 },
    /// Ended, and that is right.
    Done,
    /// Given up.
    Failed,
}

#[derive(Debug)]
struct Unit {
    service: Service,
    after: Vec<usize>,
    state: State,
    /// It has been up at least once.
    up: bool,
    /// Starts after the first.
    restarts: u32,
    /// Runs in a row that were no success.
    streak: u32,
}

/// All services of the system. Events are put into `log`, in order; the caller sends them.
#[derive(Debug)]
pub struct Supervisor {
    units: Vec<Unit>,
    broken: bool,
    announced: bool,
}

/// The event of something that failed.
pub fn failure(name: &str, what: &str, why: &str) -> Event {
    Event::new("service.failed").with("name", name).with("what", what).with("why", why)
}

impl Supervisor {
    /// `broken`: some file was no service, so that one that matters may be missing.
    pub fn new(services: Vec<Service>, broken: bool, log: &mut Vec<Event>) -> Self {
        let names: Vec<String> = services.iter().map(|s| s.name.clone()).collect();
        let unit = |service: Service| {
            let place = |name: &String| names.iter().position(|n| n == name);
            let unknown = service.after.iter().find(|name| place(name).is_none());
            let mut state = State::Due(0);
            if let Some(name) = unknown {
                log.push(failure(&service.name, "after", &format!("there is no service '{name}'")));
                state = State::Failed;
            }
            let after = service.after.iter().filter_map(place).collect();
            Unit { service, after, state, up: false, restarts: 0, streak: 0 }
        };
        let units: Vec<Unit> = services.into_iter().map(unit).collect();
        let mut supervisor = Self { units, broken, announced: false };
        supervisor.refuse_cycles(log);
        supervisor
    }

    /// A service that comes after itself by way of others could never start: it fails at once, by name.
    fn refuse_cycles(&mut self, log: &mut Vec<Event>) {
        let mut startable: Vec<bool> = self.units.iter().map(|u| u.state == State::Failed).collect();
        for _ in 0..self.units.len() {
            for i in 0..self.units.len() {
                startable[i] = startable[i] || self.units[i].after.iter().all(|&j| startable[j]);
            }
        }
        for (unit, _) in self.units.iter_mut().zip(startable).filter(|(_, startable)| !startable) {
            log.push(failure(&unit.service.name, "after", "waits for itself by way of other services"));
            unit.state = State::Failed;
        }
    }

    /// The next service to start now, in the order of their names and of `after`.
    pub fn next_start(&mut self, now_ms: u64, log: &mut Vec<Event>) -> Option<(usize, &Service)> {
        self.fail_dependents(log);
        let due = |u: &Unit| matches!(u.state, State::Due(at) if at <= now_ms) && self.may_start(u);
        let index = self.units.iter().position(due)?;
        Some((index, &self.units[index].service))
    }

    fn may_start(&self, unit: &Unit) -> bool {
        unit.after.iter().all(|&i| self.units[i].up)
    }

    /// What waits for a service that failed without ever being up fails too, and so on along the chain.
    fn fail_dependents(&mut self, log: &mut Vec<Event>) {
        let lost = |units: &[Unit], unit: &Unit| {
            unit.after.iter().copied().find(|&i| !units[i].up && matches!(units[i].state, State::Failed))
        };
        while let Some((index, cause)) = (0..self.units.len())
            .filter(|&i| matches!(self.units[i].state, State::Due(_)))
            .find_map(|i| lost(&self.units, &self.units[i]).map(|cause| (i, cause)))
        {
            let why = format!("'{}' failed", self.units[cause].service.name);
            log.push(failure(&self.units[index].service.name, "after", &why));
            self.units[index].state = State::Failed;
        }
    }

    /// When `next_start` will have something to say, if nothing else happens before.
    pub fn next_due_ms(&self) -> Option<u64> {
        let due = |u: &Unit| if let State::Due(at) = u.state { Some(at) } else { None };
        self.units.iter().filter(|u| self.may_start(u)).filter_map(due).min()
    }

    /// Its program runs.
    pub fn started(&mut self, index: usize, pid: u32, now_ms: u64, log: &mut Vec<Event>) {
        let unit = &mut self.units[index];
        unit.state = State::Running { pid, since: now_ms };
        let event = Event::new("service.start").with("name", &unit.service.name).with("pid", pid);
        log.push(event.with("restarts", unit.restarts));
        unit.up = unit.up || unit.service.ready == Ready::Exec;
    }

    /// Its program could not be started.
    pub fn not_started(&mut self, index: usize, what: &str, why: &str, now_ms: u64, log: &mut Vec<Event>) {
        log.push(failure(&self.units[index].service.name, what, why));
        self.units[index].ended(now_ms, now_ms, 127, log);
    }

    /// It said that it is up.
    pub fn ready(&mut self, index: usize) {
        self.units[index].up = true;
    }

    /// A process ended; false if it was no service's. `status` is a shell's: 128 + n for signal n.
    pub fn exited(&mut self, pid: u32, status: u32, now_ms: u64, log: &mut Vec<Event>) -> bool {
        let running = |u: &&mut Unit| matches!(u.state, State::Running { pid: p, .. } if p == pid);
        let Some(unit) = self.units.iter_mut().find(running) else { return false };
        let State::Running { since, .. } = unit.state else { return false };
        let event = Event::new("service.exit").with("name", &unit.service.name).with("pid", pid);
        log.push(event.with("status", status).with("restarts", unit.restarts));
        unit.ended(since, now_ms, status, log);
        true
    }

    /// Says once whether the boot is ready, as soon as that is certain.
    pub fn announce(&mut self, log: &mut Vec<Event>) {
        if self.announced {
            return;
        }
        let failed = |text: String| Event::new("boot.failed").with("what", "services").with("why", text);
        let mut required = self.units.iter().filter(|u| u.service.required_for_ready).peekable();
        let event = if self.broken {
            failed("a service file is not valid".into())
        } else if required.peek().is_none() {
            failed("no service is required_for_ready".into())
        } else if let Some(lost) = required.clone().find(|u| u.state == State::Failed && !u.up) {
            failed(format!("'{}' failed", lost.service.name))
        } else if required.all(|u| u.up) {
            Event::new("boot.ready").with("services", self.units.iter().filter(|u| u.up).count())
        } else {
            return;
        };
        self.announced = true;
        log.push(event);
    }

    /// How each service stands, one line for each: its name, a word, its process or 0, its starts after the first.
    pub fn states(&self) -> String {
        let line = |unit: &Unit| {
            let (word, pid) = match unit.state {
                State::Running { pid, .. } => (if unit.up { "up" } else { "starting" }, pid),
                State::Due(_) => ("waiting", 0),
                State::Done => ("done", 0),
                State::Failed => ("failed", 0),
            };
            format!("{} {word} {pid} {}\n", unit.service.name, unit.restarts)
        };
        self.units.iter().map(line).collect()
    }

    /// Processes of services, with whether each has a terminal.
    pub fn running(&self) -> impl Iterator<Item = (u32, bool)> {
        self.units.iter().filter_map(|u| match u.state {
            State::Running { pid, .. } => Some((pid, u.service.tty.is_some())),
            _ => None,
        })
    }
}

impl Unit {
    /// Chooses what follows the end of a run.
    fn ended(&mut self, since_ms: u64, now_ms: u64, status: u32, log: &mut Vec<Event>) {
        let service = &self.service;
        self.up = self.up || (service.ready == Ready::Exit && status == 0);
        let again = match service.restart {
            Restart::Always => true,
            Restart::OnFailure => status != 0,
            Restart::Never => false,
        };
        if !again {
            let done = status == 0 && (self.up || service.ready != Ready::Notify);
            self.state = if done { State::Done } else { State::Failed };
            if !done {
                log.push(failure(&service.name, "exit", &format!("ended with status {status}")));
            }
            return;
        }
        self.restarts += 1;
        let success = self.up && now_ms.saturating_sub(since_ms) >= service.stable_ms;
        self.streak = if success { 0 } else { self.streak + 1 };
        if service.restart_limit != 0 && self.streak > service.restart_limit {
            let why = format!("ended {} times in a row within {} ms", self.streak, service.stable_ms);
            log.push(failure(&service.name, "restart", &why));
            self.state = State::Failed;
            return;
        }
        self.state = State::Due(now_ms + self.wait_ms());
    }

    /// Nothing after a success, else `backoff` doubled for each further failure, at most `backoff_max`.
    fn wait_ms(&self) -> u64 {
        let Some(doublings) = self.streak.checked_sub(1) else { return 0 };
        let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        self.service.backoff_ms.saturating_mul(factor).min(self.service.backoff_max_ms)
    }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
