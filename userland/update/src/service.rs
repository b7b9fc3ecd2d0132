//! What the service does with orders and verdicts. One thing at a time, in steps: what goes on, an install or slots that are read, is asked about and
//! cancelled between them.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bootctl::{Block, Slot as Letter, change, reason};
use release::trust::accept;
use release::{AREA_SIZE, FLAG_REVOKES_OLDER, Header};
use rt::Errno;
use rt::event::Event;
use rt::rustix::fs::unlink;
use rt::rustix::process::{Pid, Signal, kill_process};

use crate::checks::{self, Checks, Other, Purpose as Check, Unsound};
use crate::console::{Console, REFUSED, Refused};
use crate::facts::Facts;
use crate::install::{Install, Progress, Purpose};
use crate::judge::{Leave, Machine, judge, remembered};
use crate::order::Order;
use crate::system::{self, BootDevice, Devices, File, LoaderDevice};
use crate::window::Window;
use crate::{BootControl, Loaders, Slot, Source};

/// Init says here that the boot is ready.
const READY: &str = "/run/boot.ready";
/// What goes on, for `update status`.
pub const ACTIVITY: &str = "/run/update/activity";
/// A trial without a verdict is over by then: unknown is never good (docs/formats/health.md has healthd's own deadline, which is shorter).
const TRIAL_MS: u64 = 600_000;
/// What a verdict leads to and could not be written is tried again after this time.
const AGAIN_MS: u64 = 30_000;
/// The window is looked at again after at most this time: the date may have been set, the file replaced.
const WINDOW_MS: u64 = 3_600_000;
/// Init's word that the boot is ready is looked for so often.
const READY_MS: u64 = 1_000;

/// What goes on.
struct Job {
    work: Work,
    console: Console,
    told: u64,
    /// The version that is installed, or the verb.
    name: String,
}

enum Work {
    Install { install: Box<Install>, source: File, reboot: bool },
    Checks(Box<Checks>),
}

impl Job {
    fn progress(&self, running: Option<Letter>) -> Progress {
        match &self.work {
            Work::Install { install, .. } => install.progress(),
            Work::Checks(checks) => {
                let (is_running, done, all) = checks.progress();
                let slot = running.map(|slot| if is_running { slot } else { slot.other() });
                let phase = if slot == Some(Letter::B) { "read-slot-b" } else { "read-slot-a" };
                Progress { phase, done, all }
            }
        }
    }

    fn ends_trial(&self) -> bool {
        matches!(&self.work, Work::Checks(checks) if checks.purpose == Check::MarkGood)
    }
}

/// See the module.
pub struct Service {
    boot: BootDevice,
    slot: Option<File>,
    loaders: Option<LoaderDevice>,
    facts: Facts,
    area: Vec<u8>,
    running: Header,
    job: Option<Job>,
    is_ready: bool,
    /// A release that was installed since the boot waits in the other slot for a restart inside the window.
    waits: bool,
    /// When the trial of the running release is over; `None` when it is on none.
    trial_ends: Option<u64>,
    /// When the window is looked at for that.
    window_at: u64,
    /// The running release is to be copied to the other slot: a commit was cut.
    copy_waits: bool,
    /// healthd's last verdict on the release on trial was good; when that is to be acted upon.
    good_at: Option<u64>,
}

/// What an order comes to at once.
enum Outcome {
    Done(String),
    /// Its end is told later, to whoever gave it.
    GoesOn(Work, String),
}

impl Service {
    /// Of a system that runs this release.
    pub fn new(devices: Devices, facts: Facts, (area, running): (Vec<u8>, Header)) -> Self {
        let Devices { boot, slot, loaders } = devices;
        let (job, is_ready, waits, window_at, copy_waits, trial_ends, good_at) =
            (None, false, false, 0, false, None, None);
        let mut service = Self {
            boot,
            slot,
            loaders,
            facts,
            area,
            running,
            job,
            is_ready,
            waits,
            window_at,
            copy_waits,
            trial_ends,
            good_at,
        };
        service.trial_ends = service.is_on_trial().then(|| rt::clock::now_ms() + TRIAL_MS);
        service.copy_waits = service.is_copy_due();
        service.tell_expired();
        service.show_activity();
        service
    }

    /// How long nothing is due, in milliseconds; `None`: until somebody asks.
    pub fn wait_ms(&self) -> Option<u64> {
        if self.job.is_some() {
            return Some(0);
        }
        let now = rt::clock::now_ms();
        let due = [self.trial_ends, self.good_at.filter(|_| self.is_ready), self.waits.then_some(self.window_at)];
        let due = due.into_iter().flatten().map(|at| at.saturating_sub(now));
        due.chain((!self.is_ready).then_some(READY_MS)).min()
    }

    /// What an operator asks for.
    pub fn take_order(&mut self, order: Order, mut console: Console) {
        let verb = order.verb();
        Event::new("update.order").with("verb", verb).send();
        let check = |purpose| Ok(Outcome::GoesOn(Work::Checks(Box::new(Checks::new(purpose))), verb.into()));
        let outcome = match (&self.job, order) {
            (Some(_), Order::Cancel) => self.cancel().map(Outcome::Done),
            (None, Order::Cancel) => Err(("idle", "nothing is going on".into())),
            (Some(job), _) => {
                let what = if matches!(job.work, Work::Checks(_)) { "goes on" } else { "is being installed" };
                Err(("busy", format!("{} {what}; 'update cancel' stops it", job.name)))
            }
            (None, Order::Install { path, leave, reboot }) => self.install(&path, leave, reboot),
            (None, Order::MarkGood) => self.may_be_good().and_then(|()| check(Check::MarkGood)),
            (None, Order::Commit) => self.may_commit().and_then(|()| check(Check::Commit)),
            (None, Order::Rollback { reason }) => self.may_roll_back().and_then(|()| check(Check::Rollback(reason))),
            (None, Order::Verify) => self.running_slot().and_then(|_| check(Check::Verify)),
            (None, Order::Retry) => self
                .change(change::retry)
                .map(|()| Outcome::Done("releases that failed here may be tried again".into())),
            (None, Order::Window(window)) => {
                self.window_at = 0;
                system::set_window(&format!("{window}\n"))
                    .map(|()| Outcome::Done(format!("restarts by itself: {window}")))
                    .map_err(|why| ("window", format!("cannot keep it in /data: {}", rt::errno::text(why))))
            }
        };
        match outcome {
            Ok(Outcome::GoesOn(work, name)) => self.begin(work, name, console),
            Ok(Outcome::Done(text)) => {
                console.say(text);
                console.end(0, "ok", "");
            }
            Err(refused) => console.refuse(refused),
        }
    }

    fn begin(&mut self, work: Work, name: String, console: Console) {
        self.job = Some(Job { work, console, told: u64::MAX, name });
        self.show_activity();
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
                // Its good verdict before is being acted upon.
                if self.job.as_ref().is_some_and(Job::ends_trial) {
                    let _ = self.cancel();
                }
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
        let now = rt::clock::now_ms();
        // Only a boot that got ready is good. What cannot be done now is tried again until the trial is over.
        if self.is_ready && self.job.is_none() && self.good_at.is_some_and(|at| now >= at) {
            self.good_at = Some(now + AGAIN_MS);
            match self.may_be_good() {
                Ok(()) => {
                    self.begin(
                        Work::Checks(Box::new(Checks::new(Check::MarkGood))),
                        "mark-good".into(),
                        Console::none(),
                    );
                }
                Err(refused) => Console::none().refuse(refused),
            }
        }
        if self.trial_ends.is_some_and(|end| now >= end) && !self.job.as_ref().is_some_and(Job::ends_trial) {
            self.trial_ends = None;
            if self.is_on_trial() {
                self.fail(reason::HEALTH, "there was no verdict within ten minutes");
            }
        }
        if self.job.is_some() {
            self.step();
        } else if self.is_ready && self.copy_waits {
            self.copy("it was cut before", Console::none());
        } else if self.waits && now >= self.window_at {
            self.look_at_window(now);
        }
    }

    fn look_at_window(&mut self, now: u64) {
        let opens_in = self.window().and_then(|window| window.opens_in(rt::clock::date()));
        if opens_in == Some(0) {
            self.waits = false;
            Event::new("update.restart").with("why", "window").send();
            restart();
        }
        self.window_at = now + opens_in.map_or(WINDOW_MS, |seconds| (seconds * 1000).min(WINDOW_MS));
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

    fn install(&mut self, path: &str, leave: Leave, reboot: bool) -> Result<Outcome, Refused> {
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
        let loader_size = self.loaders.as_ref().map(Slot::size);
        let (facts, running_header, now) = (&self.facts, &self.running, rt::clock::date());
        let machine = Machine { facts, running: running_header, block: &block, slot_size, loader_size, now };
        let trusted =
            judge(&area, &machine, leave).map_err(|refusal| (refusal.class(), format!("{path}: {refusal}")))?;
        let version = trusted.header.version.as_str().to_string();
        Event::new("update.install").with("version", &version).with("slot", running.other().name()).send();
        let release = remembered(&trusted);
        let install = Box::new(Install::new(&area, &trusted.header, release, running.other(), Purpose::Trial));
        Ok(Outcome::GoesOn(Work::Install { install, source, reboot }, version))
    }

    fn step(&mut self) {
        let Some(job) = &mut self.job else { return };
        let running = self.facts.slot;
        let before = job.progress(running);
        let done = match (&mut job.work, &mut self.slot, running) {
            (Work::Install { install, source, .. }, Some(slot), _) => {
                install.step(source, slot, self.loaders.as_mut(), &mut self.boot)
            }
            (Work::Checks(checks), slot, Some(running)) => {
                let (area, header, facts) = (&self.area, &self.running, &self.facts);
                Ok(checks.step(&mut checks::Machine { running, area, header, facts, slot: slot.as_mut() }))
            }
            // Neither begins without a slot.
            _ => Ok(true),
        };
        match done {
            Ok(false) => {
                let now = job.progress(running);
                // A line for each per cent is enough for anybody.
                let per_cent = now.done * 100 / now.all.max(1);
                if now.phase != before.phase || per_cent != job.told {
                    job.told = per_cent;
                    job.console.progress(now.phase, now.done, now.all);
                    self.show_activity();
                }
            }
            Ok(true) => self.finish(),
            Err(why) => {
                let mut job = self.job.take().expect("it goes on");
                Event::new("update.failed").with("version", &job.name).with("why", &why).send();
                job.console.end(REFUSED, "failed", &why.to_string());
                self.waits = false;
                self.show_activity();
            }
        }
    }

    fn finish(&mut self) {
        let Some(Job { work, mut console, name, .. }) = self.job.take() else { return };
        self.show_activity();
        let checks = match work {
            Work::Install { install, reboot, .. } => return self.installed(&install, reboot, &name, console),
            Work::Checks(checks) => checks,
        };
        let done = match &checks.purpose {
            Check::MarkGood => self.mark_good(&checks),
            Check::Commit => self.commit(&checks),
            Check::Rollback(why) => self.roll_back(&checks, why),
            Check::Verify => self.verify(&checks, &mut console),
        };
        match done {
            Ok(text) => {
                console.say(text);
                if self.copy_waits {
                    return self.copy("nothing older boots any more", console);
                }
                console.end(0, "ok", "");
            }
            Err(refused) => console.refuse(refused),
        }
    }

    fn installed(&mut self, install: &Install, reboot: bool, version: &str, mut console: Console) {
        Event::new("update.installed").with("version", version).with("written", install.written()).send();
        (self.waits, self.window_at) = (self.trial_waits(), 0);
        if !self.waits {
            console.say(format_args!("{version} stands in both slots"));
        } else if reboot {
            console.say(format_args!("{version} is installed; the machine restarts to try it"));
        } else {
            console.say(format_args!("{version} is installed and will be tried at the next boot"));
        }
        console.end(0, "ok", "");
        if reboot {
            restart();
        }
    }

    fn cancel(&mut self) -> Result<String, Refused> {
        let Some(mut job) = self.job.take() else { return Err(("idle", "nothing is going on".into())) };
        job.console.end(REFUSED, "cancelled", "it was cancelled");
        Event::new("update.cancelled").with("version", &job.name).send();
        self.show_activity();
        if matches!(job.work, Work::Checks(_)) {
            return Ok(format!("{} was stopped; nothing was changed", job.name));
        }
        self.waits = false;
        Ok(format!(
            "the install of {} was stopped; the slot cannot be booted, and an install goes on where it stopped",
            job.name
        ))
    }

    fn may_be_good(&mut self) -> Result<(), Refused> {
        let slot = self.running_slot()?;
        if self.block()?.slot(slot).priority == 0 {
            return Err(("rolled-back", "the running release was rolled back; restart to leave it".into()));
        }
        Ok(())
    }

    /// Ends the trial. What nobody has read yet was read first: a release with a flipped bit is not good.
    fn mark_good(&mut self, checks: &Checks) -> Result<String, Refused> {
        let slot = self.running_slot()?;
        self.may_be_good()?;
        self.is_whole(checks).inspect_err(|(_, why)| self.fail(reason::VERIFICATION, why))?;
        // One that cannot be read just now may be whole: no floor rises above it.
        let other_verifies = !matches!(checks.other, Some(Err(Unsound::Content(_))));
        let revokes_older = self.running.flags_critical & FLAG_REVOKES_OLDER != 0;
        // Before the block says that all is good: a cut between leaves a loader that has booted this release, and a release on trial.
        self.keep_loader()?;
        self.change(|block| change::mark_good(block, slot, other_verifies, revokes_older))?;
        (self.trial_ends, self.good_at) = (None, None);
        self.copy_waits = self.is_copy_due();
        let floor = self.block()?.rollback_floor();
        let version = self.running.version.as_str();
        Event::new("update.good").with("slot", slot.name()).with("version", version).with("floor", floor).send();
        Ok(format!("{version} in slot {} is good; the floor is {floor}", slot.name()))
    }

    /// The loader that is on trial with the running release becomes the one that the firmware starts.
    fn keep_loader(&mut self) -> Result<(), Refused> {
        if self.block()?.loader_trial().is_none() {
            return Ok(());
        }
        if !self.facts.loader_on_trial {
            return Err(("loader", "it was not booted through the loader that came with it".into()));
        }
        let loaders = self.loaders.as_mut().ok_or(("loader", "there are no two loader files on this disk".into()))?;
        loaders.swap().map_err(|why| ("loader", format!("its loader cannot be kept: {}", rt::errno::text(why))))
    }

    /// The running slot, by what was read of it.
    fn is_whole(&self, checks: &Checks) -> Result<(), Refused> {
        let name = self.running_slot()?.name();
        match &checks.running {
            Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(("verification", format!("slot {name}: {why}"))),
            None => Err(("verification", format!("slot {name}: it was not read"))),
        }
    }

    fn may_commit(&mut self) -> Result<(), Refused> {
        let entry = self.running_slot().and_then(|slot| Ok(self.block()?.slot(slot)))?;
        if !entry.is_good() {
            return Err(("on-trial", "the running release is on trial; 'update mark-good' ends the trial".into()));
        }
        if entry.priority == 0 {
            return Err((
                "unbootable",
                "the loader would not take the running slot again; install another release".into(),
            ));
        }
        if self.slot.is_none() {
            // Before the floors rise: there would be nothing to go back to, and no place for the copy.
            return Err(("no-slot", "there is no other slot on this disk".into()));
        }
        Ok(())
    }

    fn commit(&mut self, checks: &Checks) -> Result<String, Refused> {
        let running = self.running_slot()?;
        self.may_commit()?;
        self.is_whole(checks)?;
        let loader = self.facts.loader_security;
        self.change(|block| change::commit(block, running, loader))?;
        self.copy_waits = true;
        let (version, floor) = (self.running.version.as_str(), self.running.rollback_index);
        Event::new("update.commit").with("version", version).with("floor", floor).send();
        Ok("the floors stand at the running release; it is copied to the other slot".into())
    }

    /// Whether the block says that the running release is to be copied. A boot for recovery leaves that to the one after it.
    fn is_copy_due(&mut self) -> bool {
        let (Some(slot), Ok(block)) = (self.facts.slot, self.boot.read()) else { return false };
        !self.facts.recovery && change::wants_copy(&block, slot)
    }

    /// Copies the running release to the other slot. What fails is taken up again at the next boot.
    fn copy(&mut self, why: &str, mut console: Console) {
        self.copy_waits = false;
        match self.copying() {
            Ok((work, version)) => {
                Event::new("update.copy").with("version", &version).with("why", why).send();
                self.begin(work, version, console);
            }
            Err(refused) => console.refuse(refused),
        }
    }

    fn copying(&mut self) -> Result<(Work, String), Refused> {
        let running = self.running_slot()?;
        let trusted = accept(&self.area, &self.facts.trust()).map_err(|why| (why.class(), why.to_string()))?;
        let path = format!("/dev/disk/by-partlabel/{}", running.partition());
        let source = File::open(&path).map_err(|why| ("source", format!("{path}: {}", rt::errno::text(why))))?;
        let version = trusted.header.version.as_str().to_string();
        let release = remembered(&trusted);
        let install = Box::new(Install::new(&self.area, &trusted.header, release, running.other(), Purpose::Copy));
        Ok((Work::Install { install, source, reboot: false }, version))
    }

    fn may_roll_back(&mut self) -> Result<(), Refused> {
        let other = self.running_slot()?.other();
        let block = self.block()?;
        if let Some(refusal) = bootctl::refusal(&block, other) {
            return Err(("no-way-back", format!("slot {}: {refusal}", other.name())));
        }
        if !block.slot(other).is_good() {
            return Err(("no-way-back", format!("slot {}: it has never been good", other.name())));
        }
        Ok(())
    }

    fn roll_back(&mut self, checks: &Checks, why: &str) -> Result<String, Refused> {
        let running = self.running_slot()?;
        self.may_roll_back()?;
        let (block, other) = (self.block()?, running.other());
        let found = match &checks.other {
            Some(Ok(found)) => found,
            Some(Err(why)) => return Err(("no-way-back", format!("slot {}: {why}", other.name()))),
            None => return Err(("no-way-back", format!("slot {}: it was not read", other.name()))),
        };
        if !self.would_be_taken(found, &block, other) {
            return Err(("no-way-back", format!("slot {}: the loader would not take it", other.name())));
        }
        let why = if why.is_empty() { "by order" } else { why };
        let time = rt::clock::date();
        self.change(|block| change::roll_back(block, running, why, time))?;
        let version = found.header.version.as_str();
        Event::new("update.rollback").with("slot", other.name()).with("version", version).with("why", why).send();
        restart();
        Ok(format!("the machine restarts into {version} in slot {}", other.name()))
    }

    /// What the loader will ask.
    fn would_be_taken(&self, found: &Other, block: &Block, slot: Letter) -> bool {
        let marks = block.marks();
        found.digest == block.slot(slot).release_digest
            && found.header.rollback_index >= marks.rollback_floor
            && found.key_set >= marks.key_set_floor.into()
            && found.header.profile == self.running.profile
    }

    fn verify(&mut self, checks: &Checks, console: &mut Console) -> Result<String, Refused> {
        let running = self.running_slot()?;
        let mut wrong = Vec::new();
        match self.is_whole(checks) {
            Ok(()) => console.say(format_args!("slot {}: {}: whole", running.name(), self.running.version.as_str())),
            Err((_, why)) => wrong.push(why),
        }
        let other = running.other();
        let is_used = self.block()?.slot(other).priority > 0;
        match &checks.other {
            Some(Ok(found)) => {
                console.say(format_args!("slot {}: {}: whole", other.name(), found.header.version.as_str()));
            }
            Some(Err(why)) if is_used => wrong.push(format!("slot {}: {why}", other.name())),
            _ => console.say(format_args!("slot {}: nothing that could be booted", other.name())),
        }
        if wrong.is_empty() { Ok("nothing is wrong".into()) } else { Err(("verification", wrong.join("; "))) }
    }

    /// By the clock, the key set of the running release is over. Either may be wrong, so that this changes nothing; an install would be refused.
    fn tell_expired(&self) {
        let (Ok(trusted), now) = (accept(&self.area, &self.facts.trust()), rt::clock::date()) else { return };
        let expires = trusted.key_set.expires;
        if expires != 0 && expires < now {
            let why = "it shows a date after the end of the running release's key set; nothing is changed by that";
            Event::new("clock.error").with("what", "expired").with("why", why).with("time", now).send();
        }
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
        let text = self.job.as_ref().map_or(String::new(), |job| {
            let now = job.progress(self.facts.slot);
            format!("{} {} {} {}\n", job.name, now.phase, now.done, now.all)
        });
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
