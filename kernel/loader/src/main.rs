#![no_main]
#![no_std]
//! swift-loader: the UEFI application that boots swift-os.
//!
//! What it decides is in the pure crates (`bootplan`, `bootctl`, `release`, `elfload`, `gpt`); here is only what needs the
//! firmware: the console, memory, disks and files, the machine's tables, and the jump. In order:
//!
//! 1. find the disk that this program was loaded from, its partitions and its boot-control block (`disk`)
//! 2. choose, load and check an image; spend a try if it is on trial; before that, start the loader that is on trial with it (`bootplan::choose`, `second`)
//! 3. collect what the kernel is told (`facts`), arm a watchdog where there is one (`watchdog`), leave the boot services, clean caches, switch the MMU off, jump (`handoff`)
//!
//! A failure is one line on the console. When nothing can be booted, the reasons stay on the screen until a key or five minutes.

extern crate alloc;

mod console;
mod disk;
mod facts;
mod faults;
mod handoff;
mod kept;
mod keys;
mod lastboot;
mod memory;
mod second;
mod watchdog;

use core::sync::atomic::Ordering;
use core::time::Duration;

use alloc::string::String;

use bootctl::Slot;
use bootplan::image::{self, Accepted, Conditions, Floors, Image, LoadError};
use bootplan::{Asked, Attempt, Boot, Control, Machine, Refused, Source};
use release::trust::{self, Roots, TrustError};
use uefi::boot::{EventType, TimerTrigger, Tpl};
use uefi::proto::console::text::Key;
use uefi::{Status, boot, entry, runtime, system};

use console::{event, ticks};
use disk::Medium;
use memory::{Firmware, Pages};

/// The profile this loader was built for; without one it boots any.
const PROFILE: Option<&str> = option_env!("SWIFT_PROFILE");
/// Larger is safer: a machine that has committed to one starts none below it (docs/formats/bootctl.md). 0: it has none.
const SECURITY: u32 = security(match option_env!("SWIFT_LOADER_SECURITY") {
    Some(text) => text,
    None => "0",
});
/// How long the reasons stay on the screen before the machine starts anew.
const REASONS_SHOWN: Duration = Duration::from_secs(300);
/// R is looked for so long, and so often: a key that is held down repeats itself ten times a second or more.
const R_WINDOW: Duration = Duration::from_millis(400);
const R_LOOK: Duration = Duration::from_millis(10);
/// What was typed before has come when nothing came for so long; who types on, or holds a key down, is waited for no longer than this.
const QUIET: Duration = Duration::from_millis(100);
const DRAIN_MAX: Duration = Duration::from_secs(1);

#[entry]
fn main() -> Status {
    let (started, roots) = (ticks(), keys::block());
    let on_trial = second::is_on_trial();
    event!(
        "loader.start",
        version = env!("CARGO_PKG_VERSION"),
        security = SECURITY,
        root_keys = roots.roots().keys.len(),
        trial = u8::from(on_trial)
    );
    // Before images are loaded, which may lie anywhere.
    let last_boot = lastboot::area();
    let mut loader = Loader { medium: Medium::open(), roots: roots.roots(), sha256: sha256::best(), last_boot };
    let disk = loader.medium.state();
    let kept = kept::read(&loader.roots);
    let asked = Asked { recovery: !on_trial && is_recovery_asked_for(), on_trial, kept };
    event!("loader.load", recovery = u8::from(asked.recovery));
    match bootplan::choose(&mut loader, disk, asked) {
        Ok(boot) => {
            if boot.keep != kept {
                kept::write(&boot.keep, &loader.roots);
            }
            start(loader, boot, started)
        }
        // Who tries this loader goes on.
        Err(_) if on_trial => Status::NOT_FOUND,
        Err(refused) => give_up(&refused),
    }
}

/// A number in decimal.
const fn security(text: &str) -> u32 {
    let (text, mut at, mut number) = (text.as_bytes(), 0, 0);
    while at < text.len() {
        assert!(text[at].is_ascii_digit(), "SWIFT_LOADER_SECURITY: digits are 0 to 9");
        number = number * 10 + (text[at] - b'0') as u32;
        at += 1;
    }
    number
}

struct Loader<'a> {
    medium: Medium,
    roots: Roots<'a>,
    sha256: sha256::Digest,
    last_boot: Option<Pages>,
}

impl Machine for Loader<'_> {
    type Buffer = Pages;

    fn load(&mut self, source: Source, floors: Floors, release: [u8; 32]) -> Result<Image<Pages>, LoadError> {
        let accept = |area: &[u8]| accept(area, &self.roots);
        let conditions = Conditions { accept: &accept, profile: PROFILE, floors, release, sha256: self.sha256 };
        match source {
            Source::Slot(slot) => image::load(&mut self.medium.slot(slot)?, &mut Firmware, &conditions),
            Source::Esp => image::load(&mut self.medium.base_img()?, &mut Firmware, &conditions),
        }
    }

    fn marks(&mut self, slot: Slot) -> Result<Floors, LoadError> {
        let accept = |area: &[u8]| accept(area, &self.roots);
        let (floors, release) = (Floors::default(), [0; 32]);
        let conditions = Conditions { accept: &accept, profile: PROFILE, floors, release, sha256: self.sha256 };
        let (accepted, _) = image::load_header(&mut self.medium.slot(slot)?, &mut Firmware, &conditions)?;
        Ok(Floors { rollback: accepted.header.rollback_index, key_set: accepted.key_set })
    }

    fn write(&mut self, write: &bootctl::Write) -> Result<(), String> {
        self.medium.write_bootctl(write)
    }

    fn is_first(&mut self, loader: &bootctl::Loader) -> bool {
        second::read(&mut self.medium, |files| files.main, loader, self.sha256).is_ok()
    }

    fn start(&mut self, loader: &bootctl::Loader) -> String {
        let file = second::read(&mut self.medium, |files| files.second, loader, self.sha256);
        let started = file.and_then(|file| second::start(file, loader, || self.last_boot = None));
        self.last_boot = self.last_boot.take().or_else(lastboot::area);
        started.err().unwrap_or_else(|| "it ended".into())
    }

    fn control(&mut self) -> Control {
        self.medium.control().unwrap_or_else(|| Control::read(|_, _| Err("there is no bootctl".into())))
    }

    fn report(&mut self, attempt: &Attempt) {
        event!("loader.error", what = attempt.what, where = attempt.source.name(), why = attempt.why);
    }
}

/// Who signed a release, held to root's keys.
fn accept(area: &[u8], roots: &Roots<'_>) -> Result<Accepted, TrustError> {
    let trusted = trust::accept(area, roots)?;
    let (key_set, is_dev) = (trusted.key_set.version, trusted.key_set.is_dev);
    Ok(Accepted { header: trusted.header, digest: trusted.digest, key_set, is_dev })
}

/// Whether somebody at the console presses R now, or holds it down. What was typed before, for another program or in haste, is no wish to repair anything.
fn is_recovery_asked_for() -> bool {
    drain_keys();
    let end = ticks().saturating_add(console::ticks_in(R_WINDOW));
    let is_r = |key: Key| matches!(key, Key::Printable(letter) if matches!(char::from(letter), 'r' | 'R'));
    while ticks() < end {
        match read_key() {
            Some(key) if is_r(key) => return true,
            Some(_) => {}
            None => boot::stall(R_LOOK),
        }
    }
    false
}

fn read_key() -> Option<Key> {
    system::with_stdin(|input| input.read_key()).ok().flatten()
}

/// Forgets what was typed, until nothing has come for a while: a terminal's bytes reach the firmware a few at a time. A key that is held down never ends.
fn drain_keys() {
    let end = ticks().saturating_add(console::ticks_in(DRAIN_MAX));
    let mut quiet = ticks().saturating_add(console::ticks_in(QUIET));
    while ticks() < end.min(quiet) {
        match read_key() {
            Some(_) => quiet = ticks().saturating_add(console::ticks_in(QUIET)),
            None => boot::stall(R_LOOK),
        }
    }
}

fn start(loader: Loader<'_>, boot: Boot<Pages>, started: u64) -> Status {
    let Loader { medium, roots, last_boot, .. } = loader;
    let digest = boot.image.release_digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    event!(
        "loader.slot",
        slot = boot.source.name(),
        version = boot.image.header.version.as_str(),
        digest = format_args!("{digest:016x}"),
        recovery = u8::from(boot.recovery)
    );
    let kernel = &boot.image.kernel;
    event!(
        "loader.kernel",
        entry = format_args!("{:#x}", kernel.plan.entry),
        phys = format_args!("{:#x}", kernel.memory.address()),
        size = format_args!("{:#x}", kernel.length())
    );
    let disk_guid = medium.disk_guid();
    // Closes what is open on the disk before the firmware goes.
    drop(medium);
    match handoff::Handoff::prepare(boot, &roots, disk_guid, last_boot, started) {
        Ok(handoff) => {
            watchdog::arm();
            event!("loader.exit", kernel_entry = format_args!("{:#x}", handoff.entry()));
            handoff.jump()
        }
        Err(why) => {
            event!("loader.error", what = "handoff", where = "firmware", why = why);
            if second::is_on_trial() { Status::OUT_OF_RESOURCES } else { wait_then_restart() }
        }
    }
}

/// Nothing can be booted: says so in words, and why, and lets a person read it.
fn give_up(refused: &Refused) -> Status {
    uefi::println!("\nswift-os cannot start: no image on this disk can be booted.");
    for attempt in &refused.0 {
        match attempt.source {
            Source::Slot(slot) => uefi::println!("  slot {}: {}", slot.name(), attempt.why),
            Source::Esp => uefi::println!("  base.img on the EFI system partition: {}", attempt.why),
        }
    }
    uefi::println!("Write a swift-os image to this disk, or put one as base.img on its EFI system partition.");
    // The last line of this boot, whatever else was tried.
    event!("loader.error", what = "boot", where = "disk", why = "no image can be booted");
    wait_then_restart()
}

fn wait_then_restart() -> Status {
    uefi::println!("Any key returns to the firmware; without one the machine restarts in 5 minutes.");
    // The firmware's own watchdog would cut the wait short on some machines.
    let _ = boot::set_watchdog_timer(0, 0x1_0000, None);
    drain_keys();
    let key = system::with_stdin(|input| input.wait_for_key_event());
    // SAFETY: no notification function is given, so none can run at a wrong time or outlive its data.
    let timer = unsafe { boot::create_event(EventType::TIMER, Tpl::APPLICATION, None, None) };
    if let (Ok(key), Ok(timer)) = (key, timer)
        && boot::set_timer(&timer, TimerTrigger::Relative(REASONS_SHOWN)).is_ok()
        && boot::wait_for_event(&[key, timer]).is_ok_and(|index| index == 0)
    {
        return Status::LOAD_ERROR;
    }
    runtime::reset(runtime::ResetType::COLD, Status::LOAD_ERROR, None)
}

/// A fault of the loader itself.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    if !handoff::LEFT.load(Ordering::Relaxed) {
        let line = info.location().map_or(0, core::panic::Location::line);
        event!("loader.error", what = "loader", where = line, why = info.message());
        if !second::is_on_trial() {
            boot::stall(REASONS_SHOWN);
        }
    }
    runtime::reset(runtime::ResetType::COLD, Status::ABORTED, None)
}
