//! What the service does with orders and verdicts. One thing at a time: an install that goes on is asked about and cancelled between its steps.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::{self, Display};

use bootctl::{Block, Slot as Letter, change, reason};
use release::trust::accept;
use release::{AREA_SIZE, FLAG_REVOKES_OLDER, Header};
use rt::Errno;
use rt::event::Event;
use rt::rustix::fd::{AsFd, OwnedFd};
use rt::rustix::fs::unlink;
use rt::rustix::process::{Pid, Signal, kill_process};

use crate::content::Fault;
use crate::facts::Facts;
use crate::install::{Install, Purpose};
use crate::judge::{Leave, Machine, judge, remembered};
use crate::order::Order;
use crate::system::{self, BootDevice, File};
use crate::window::Window;
use crate::{BootControl, Slot, Source, content};

/// Init says here that the boot is ready.
const READY: &str = "/run/boot.ready";
/// What goes on, for `update status`.
pub const ACTIVITY: &str = "/run/update/activity";
/// A trial without a verdict is over by then: unknown is never good (docs/formats/health.md has healthd's own deadline, which is shorter).
const TRIAL_MS: u64 = 600_000;
/// What a verdict leads to and could not be written is tried again after this time.
const AGAIN_MS: u64 = 30_000;
/// Status of an order that was refused or failed.
const REFUSED: u8 = 1;

/// Who gave an order, and reads what comes of it.
pub struct Console(Option<OwnedFd>);

impl Console {
    /// Over a descriptor that does not block.
    pub fn new(fd: OwnedFd) -> Self {
        Self(Some(fd))
    }

    /// One that nobody reads.
    fn none() -> Self {
        Self(None)
    }

    fn line(&mut self, text: &str) {
        // Who has gone, or reads too slowly, misses lines; the work is not held up by him.
        if let Some(fd) = &self.0
            && rt::out::write_all(fd.as_fd(), format!("{text}\n").as_bytes()) == Err(Errno::PIPE)
        {
            self.0 = None;
        }
    }

    fn say(&mut self, text: impl Display) {
        self.line(&format!("say {text}"));
    }

    fn progress(&mut self, phase: &str, done: u64, all: u64) {
        self.line(&format!("progress {phase} {done} {all}"));
    }

    /// The last line: exit status, a stable name of what came out, and the reason in words where there is one.
    pub fn end(&mut self, status: u8, class: &str, why: &str) {
        self.line(&format!("end {status} {class} {}", why.replace('\n', " ")));
        self.0 = None;
    }
}

/// An install that goes on.
struct Job {
    install: Install,
    source: File,
    console: Console,
    reboot: bool,
    told: u64,
    name: String,
}

/// See the module.
pub struct Service {
    boot: BootDevice,
    slot: Option<File>,
    facts: Facts,
    area: Vec<u8>,
    running: Header,
    job: Option<Job>,
    is_ready: bool,
    /// A release that was installed since the boot waits in the other slot for a restart inside the window.
    waits: bool,
    /// When the trial of the running release is over; `None` when it is on none.
    trial_ends: Option<u64>,
    /// healthd's last verdict on the release on trial was good; when that is to be acted upon.
    good_at: Option<u64>,
}

type Refused = (&'static str, String);

/// A release in the other slot that is whole.
struct Other {
    header: Header,
    digest: [u8; 32],
    key_set: u64,
}

/// Why the other slot is none to fall back to.
enum Unsound {
    /// It cannot be read, now.
    Unreadable(String),
    /// It holds something else.
    Content(String),
}

impl Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreadable(why) | Self::Content(why)) = self;
        f.write_str(why)
    }
}

impl Service {
    /// Of a system that runs this release.
    pub fn new(boot: BootDevice, slot: Option<File>, facts: Facts, (area, running): (Vec<u8>, Header)) -> Self {
        let (job, is_ready, waits, trial_ends, good_at) = (None, false, false, None, None);
        let mut service = Self { boot, slot, facts, area, running, job, is_ready, waits, trial_ends, good_at };
        service.trial_ends = service.is_on_trial().then(|| rt::clock::now_ms() + TRIAL_MS);
        service.show_activity();
        service
    }

    /// Whether there is work to go on with.
    pub fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// Whether something is due at a time: the boot gets ready, a trial ends, a window opens.
    pub fn looks_at_clock(&self) -> bool {
        !self.is_ready || self.waits || self.trial_ends.is_some()
    }

    /// What an operator asks for.
    pub fn take_order(&mut self, order: Order, mut console: Console) {
        Event::new("update.order").with("verb", order.verb()).send();
        let done = match (&self.job, order) {
            (Some(_), Order::Cancel) => self.cancel(),
            (None, Order::Cancel) => Err(("idle", "nothing is going on".into())),
            (Some(job), _) => Err(("busy", format!("{} is being installed; 'update cancel' stops it", job.name))),
            (None, Order::Install { path, leave, reboot }) => match self.install(&path, leave) {
                Ok((install, source, name)) => {
                    self.job = Some(Job { install, source, console, reboot, told: 0, name });
                    return;
                }
                Err(refused) => Err(refused),
            },
            (None, Order::MarkGood) => self.mark_good(&mut console),
            (None, Order::Commit) => match self.commit() {
                Ok((install, source, name)) => {
                    console.say("the floors stand at the running release; it is copied to the other slot");
                    self.job = Some(Job { install, source, console, reboot: false, told: 0, name });
                    return;
                }
                Err(refused) => Err(refused),
            },
            (None, Order::Rollback { reason }) => self.roll_back(&reason),
            (None, Order::Retry) => {
                self.change(change::retry).map(|()| "releases that failed here may be tried again".into())
            }
            (None, Order::Verify) => self.verify(&mut console),
            (None, Order::Window(window)) => system::set_window(&format!("{window}\n"))
                .map(|()| format!("restarts by itself: {window}"))
                .map_err(|why| ("window", format!("cannot keep it in /data: {}", rt::errno::text(why)))),
        };
        match done {
            Ok(text) => {
                console.say(text);
                console.end(0, "ok", "");
            }
            Err((class, why)) => {
                Event::new("update.refused").with("class", class).with("why", &why).send();
                console.end(REFUSED, class, &why);
            }
        }
    }

    /// Whether the running release must still prove itself. In a boot for recovery there is nothing to prove.
    fn is_on_trial(&mut self) -> bool {
        let (Some(slot), Ok(block)) = (self.facts.slot, self.boot.read()) else { return false };
        !self.facts.recovery && !block.slot(slot).is_good() && block.slot(slot).priority > 0
    }

    /// What healthd found: `verdict good`, `verdict bad REASONS`.
    pub fn take_verdict(&mut self, line: &str) {
        if !self.is_on_trial() {
            return;
        }
        match line.strip_prefix("verdict ") {
            Some("good") => self.good_at = Some(0),
            Some(bad) if bad.starts_with("bad") => {
                self.good_at = None;
                let why = bad.trim_start_matches("bad").trim();
                self.fail(reason::HEALTH, if why.is_empty() { "health checks failed" } else { why });
            }
            _ => {}
        }
    }

    /// Does the next piece of what there is to do.
    pub fn go_on(&mut self) {
        if !self.is_ready && rt::rustix::fs::access(READY, rt::rustix::fs::Access::EXISTS).is_ok() {
            self.is_ready = true;
            if let Some(slot) = self.facts.slot {
                // What cannot be written now counts as an unfinished boot: five of them in a row are needed.
                let _ = self.change(|block| change::ready(block, slot));
            }
        }
        // Only a boot that got ready is good. What cannot be written now is tried again until the trial is over.
        if self.is_ready
            && self.good_at.is_some_and(|at| rt::clock::now_ms() >= at)
            && let Err((class, why)) = self.mark_good(&mut Console::none())
        {
            self.good_at = Some(rt::clock::now_ms() + AGAIN_MS);
            Event::new("update.refused").with("class", class).with("why", &why).send();
        }
        if self.trial_ends.is_some_and(|end| rt::clock::now_ms() >= end) {
            self.trial_ends = None;
            if self.is_on_trial() {
                self.fail(reason::HEALTH, "there was no verdict within ten minutes");
            }
        }
        if self.job.is_some() {
            self.step();
        } else if self.waits && self.window().is_some_and(|window| window.holds(rt::clock::date())) {
            self.waits = false;
            Event::new("update.restart").with("why", "window").send();
            restart();
        }
    }

    fn window(&self) -> Option<Window> {
        system::window().and_then(|text| Window::parse(&text).ok())
    }

    fn block(&mut self) -> Result<Block, Refused> {
        self.boot
            .read()
            .map_err(|why| ("bootctl", format!("cannot read the boot-control block: {}", rt::errno::text(why))))
    }

    /// Writes what a step makes of the block, when that is anything new.
    fn change(&mut self, step: impl FnOnce(&Block) -> Block) -> Result<(), Refused> {
        let block = self.block()?;
        let changed = step(&block);
        if changed == block {
            return Ok(());
        }
        self.boot
            .write(&changed)
            .map_err(|why| ("bootctl", format!("cannot write the boot-control block: {}", rt::errno::text(why))))
    }

    fn trial_waits(&mut self) -> bool {
        let (Some(slot), Ok(block)) = (self.facts.slot, self.boot.read()) else { return false };
        let other = block.slot(slot.other());
        bootctl::candidates(&block).first() == Some(&slot.other()) && !other.is_good()
    }

    fn running_slot(&self) -> Result<Letter, Refused> {
        self.facts.slot.ok_or(("no-slot", "this system was booted from no slot".into()))
    }

    fn install(&mut self, path: &str, leave: Leave) -> Result<(Install, File, String), Refused> {
        let running = self.running_slot()?;
        let slot = self.slot.as_ref().ok_or(("no-slot", "there is no other slot on this disk".into()))?;
        let unreadable = |why: Errno| ("source", format!("{path}: {}", rt::errno::text(why)));
        let mut source = File::open(path).map_err(unreadable)?;
        let mut area = vec![0; AREA_SIZE];
        source.read(0, &mut area).map_err(|why| match why {
            Errno::NODATA => ("source", format!("{path}: it is shorter than the header of a release")),
            why => unreadable(why),
        })?;
        let (slot_size, block) = (slot.size(), self.block()?);
        let machine =
            Machine { facts: &self.facts, running: &self.running, block: &block, slot_size, now: rt::clock::date() };
        let trusted =
            judge(&area, &machine, leave).map_err(|refusal| (refusal.class(), format!("{path}: {refusal}")))?;
        let version = trusted.header.version.as_str().to_string();
        Event::new("update.install").with("version", &version).with("slot", running.other().name()).send();
        let install = Install::new(&area, &trusted.header, remembered(&trusted), running.other(), Purpose::Trial);
        Ok((install, source, version))
    }

    fn step(&mut self) {
        let (Some(job), Some(slot)) = (&mut self.job, &mut self.slot) else { return };
        let before = job.install.progress();
        match job.install.step(&mut job.source, slot, &mut self.boot) {
            Ok(false) => {
                let now = job.install.progress();
                // A line for each per cent is enough for anybody.
                let per_cent = now.done * 100 / now.all.max(1);
                if now.phase != before.phase || per_cent != job.told {
                    job.told = per_cent;
                    job.console.progress(now.phase, now.done, now.all);
                    self.show_activity();
                }
            }
            Ok(true) => self.installed(),
            Err(why) => {
                let mut job = self.job.take().expect("it goes on");
                Event::new("update.failed").with("version", &job.name).with("why", &why).send();
                job.console.end(REFUSED, "failed", &why.to_string());
                self.waits = false;
                self.show_activity();
            }
        }
    }

    fn installed(&mut self) {
        let Some(mut job) = self.job.take() else { return };
        Event::new("update.installed").with("version", &job.name).with("written", job.install.written()).send();
        self.waits = self.trial_waits();
        self.show_activity();
        if !self.waits {
            job.console.say(format_args!("{} stands in both slots", job.name));
        } else if job.reboot {
            job.console.say(format_args!("{} is installed; the machine restarts to try it", job.name));
        } else {
            job.console.say(format_args!("{} is installed and will be tried at the next boot", job.name));
        }
        job.console.end(0, "ok", "");
        if job.reboot {
            restart();
        }
    }

    fn cancel(&mut self) -> Result<String, Refused> {
        let Some(mut job) = self.job.take() else { return Err(("idle", "nothing is going on".into())) };
        job.console.end(REFUSED, "cancelled", "it was cancelled");
        self.waits = false;
        Event::new("update.cancelled").with("version", &job.name).send();
        self.show_activity();
        Ok(format!(
            "the install of {} was stopped; the slot cannot be booted, and an install goes on where it stopped",
            job.name
        ))
    }

    /// The slot that runs, read from its partition; not through the base, whose blocks are read only when somebody needs them.
    fn check_running(&self, slot: Letter) -> Result<(), String> {
        let mut source = File::open(&format!("/dev/disk/by-partlabel/{}", slot.partition()))
            .map_err(|why| rt::errno::text(why).to_string())?;
        // From the disk, not from what an earlier look left in memory.
        source.settle().map_err(|why| rt::errno::text(why).to_string())?;
        content::check(&self.area, &self.running, &mut source).map_err(|fault| fault.to_string())
    }

    /// The other slot: whose release it is, and whether it is whole.
    fn check_other(&mut self) -> Result<Other, Unsound> {
        let unreadable = |why: Errno| Unsound::Unreadable(rt::errno::text(why).into());
        let slot = self.slot.as_mut().ok_or(Unsound::Unreadable("there is none".into()))?;
        slot.settle().map_err(unreadable)?;
        let mut area = vec![0; AREA_SIZE];
        slot.read(0, &mut area).map_err(unreadable)?;
        let trusted = accept(&area, &self.facts.trust()).map_err(|why| Unsound::Content(why.to_string()))?;
        content::check(&area, &trusted.header, slot).map_err(|fault| match fault {
            Fault::Read(..) => Unsound::Unreadable(fault.to_string()),
            fault => Unsound::Content(fault.to_string()),
        })?;
        let (digest, key_set) = (trusted.digest, trusted.key_set.version);
        Ok(Other { header: trusted.header, digest, key_set })
    }

    /// Ends the trial. What nobody has read yet is read first: a release with a flipped bit is not good.
    fn mark_good(&mut self, console: &mut Console) -> Result<String, Refused> {
        let slot = self.running_slot()?;
        if self.block()?.slot(slot).priority == 0 {
            return Err(("rolled-back", "the running release was rolled back; restart to leave it".into()));
        }
        console.say("reading both slots");
        if let Err(why) = self.check_running(slot) {
            self.fail(reason::VERIFICATION, &why);
            return Err(("verification", format!("slot {}: {why}", slot.name())));
        }
        // One that cannot be read just now may be whole: no floor rises above it.
        let other_verifies = !matches!(self.check_other(), Err(Unsound::Content(_)));
        let revokes_older = self.running.flags_critical & FLAG_REVOKES_OLDER != 0;
        self.change(|block| change::mark_good(block, slot, other_verifies, revokes_older))?;
        (self.trial_ends, self.good_at) = (None, None);
        let floor = self.block()?.rollback_floor();
        let version = self.running.version.as_str();
        Event::new("update.good").with("slot", slot.name()).with("version", version).with("floor", floor).send();
        Ok(format!("{version} in slot {} is good; the floor is {floor}", slot.name()))
    }

    fn commit(&mut self) -> Result<(Install, File, String), Refused> {
        let running = self.running_slot()?;
        let block = self.block()?;
        if !block.slot(running).is_good() {
            return Err(("on-trial", "the running release is on trial; 'update mark-good' ends the trial".into()));
        }
        if block.slot(running).priority == 0 {
            return Err((
                "unbootable",
                "the loader would not take the running slot again; install another release".into(),
            ));
        }
        if self.slot.is_none() {
            // Before the floors rise: there would be nothing to go back to, and no place for the copy.
            return Err(("no-slot", "there is no other slot on this disk".into()));
        }
        self.check_running(running).map_err(|why| ("verification", format!("slot {}: {why}", running.name())))?;
        self.change(|block| change::commit(block, running))?;
        let trusted = accept(&self.area, &self.facts.trust()).map_err(|why| (why.class(), why.to_string()))?;
        let path = format!("/dev/disk/by-partlabel/{}", running.partition());
        let source = File::open(&path).map_err(|why| ("source", format!("{path}: {}", rt::errno::text(why))))?;
        let version = trusted.header.version.as_str().to_string();
        Event::new("update.commit").with("version", &version).with("floor", trusted.header.rollback_index).send();
        let install = Install::new(&self.area, &trusted.header, remembered(&trusted), running.other(), Purpose::Copy);
        Ok((install, source, version))
    }

    fn roll_back(&mut self, why: &str) -> Result<String, Refused> {
        let running = self.running_slot()?;
        let block = self.block()?;
        let other = running.other();
        if let Some(refusal) = bootctl::refusal(&block, other) {
            return Err(("no-way-back", format!("slot {}: {refusal}", other.name())));
        }
        if !block.slot(other).is_good() {
            return Err(("no-way-back", format!("slot {}: it has never been good", other.name())));
        }
        let found = self.check_other().map_err(|why| ("no-way-back", format!("slot {}: {why}", other.name())))?;
        let header = found.header;
        // What the loader will ask.
        let marks = block.marks();
        if found.digest != block.slot(other).release_digest
            || header.rollback_index < marks.rollback_floor
            || found.key_set < marks.key_set_floor.into()
            || header.profile != self.running.profile
        {
            return Err(("no-way-back", format!("slot {}: the loader would not take it", other.name())));
        }
        let why = if why.is_empty() { "by order" } else { why };
        let time = rt::clock::date();
        self.change(|block| change::roll_back(block, running, why, time))?;
        Event::new("update.rollback")
            .with("slot", other.name())
            .with("version", header.version.as_str())
            .with("why", why)
            .send();
        restart();
        Ok(format!("the machine restarts into {} in slot {}", header.version.as_str(), other.name()))
    }

    fn verify(&mut self, console: &mut Console) -> Result<String, Refused> {
        let running = self.running_slot()?;
        let mut wrong = Vec::new();
        match self.check_running(running) {
            Ok(()) => console.say(format_args!("slot {}: {}: whole", running.name(), self.running.version.as_str())),
            Err(why) => wrong.push(format!("slot {}: {why}", running.name())),
        }
        let other = running.other();
        let is_used = self.block()?.slot(other).priority > 0;
        match self.check_other() {
            Ok(found) => console.say(format_args!("slot {}: {}: whole", other.name(), found.header.version.as_str())),
            Err(why) if is_used => wrong.push(format!("slot {}: {why}", other.name())),
            Err(_) => console.say(format_args!("slot {}: nothing that could be booted", other.name())),
        }
        if wrong.is_empty() { Ok("nothing is wrong".into()) } else { Err(("verification", wrong.join("; "))) }
    }

    /// The running release, on trial, is not good: kept, and the machine restarts. The loader counts its tries.
    fn fail(&mut self, code: u16, why: &str) {
        let Ok(slot) = self.running_slot() else { return };
        let is_on_trial = self.is_on_trial();
        let time = rt::clock::date();
        let kept = self.change(|block| change::fail(block, slot, code, why, time));
        Event::new("update.bad").with("slot", slot.name()).with("why", why).with("kept", u8::from(kept.is_ok())).send();
        if is_on_trial {
            restart();
        }
    }

    fn show_activity(&self) {
        let text = match &self.job {
            Some(job) => {
                let now = job.install.progress();
                format!("{} {} {} {}\n", job.name, now.phase, now.done, now.all)
            }
            None => String::new(),
        };
        if text.is_empty() {
            let _ = unlink(ACTIVITY);
        } else {
            let _ = rt::fs::replace(ACTIVITY, text.as_bytes(), false);
        }
    }
}

/// Asks the first process to stop everything and start the machine anew.
fn restart() {
    if let Err(why) = kill_process(Pid::INIT, Signal::TERM) {
        Event::new("update.error").with("what", "restart").with("why", rt::errno::text(why)).send();
    }
}
