//! The watchdog: an i6300esb on PCI, or else a deadline of the kernel's own, which covers programs that hang but not the kernel.
//!
//! A device that the loader has started goes on counting: a boot that hangs before somebody feeds it ends in a reset.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use pci::{Address, ConfigAccess, Function};
use watchdog::TIMEOUT;
use watchdog::esb::{self, Esb, Registers};
use watchdog::node::{Do, Node};

use super::mmio::Mmio;
use super::pci::HostBridge;
use crate::arch::{psci, timer};
use crate::lastboot::{self, End};
use crate::sync::{Rank, SpinLock};
use crate::{event, sched};

/// Longest and shortest timeout of a deadline of the kernel's.
const SOFTWARE_BOUNDS: (u32, u32) = (1, 3600);

/// An i6300esb as the kernel reaches it.
struct Reached {
    configuration: Mmio,
    registers: Mmio,
}

impl Registers for Reached {
    fn config_read8(&self, offset: u16) -> u8 {
        self.configuration.read8(offset.into())
    }
    fn config_write8(&self, offset: u16, value: u8) {
        self.configuration.write8(offset.into(), value);
    }
    fn config_write16(&self, offset: u16, value: u16) {
        self.configuration.write16(offset.into(), value);
    }
    fn read16(&self, offset: usize) -> u16 {
        self.registers.read16(offset)
    }
    fn write16(&self, offset: usize, value: u16) {
        self.registers.write16(offset, value);
    }
    fn write32(&self, offset: usize, value: u32) {
        self.registers.write32(offset, value);
    }
}

/// Invariant: while `node` is armed, the device counts where there is one, and a timer is set that looks at `deadline`.
struct Dog {
    device: Option<Esb<Reached>>,
    node: Node,
    expired_before: bool,
    /// When whoever feeds it is late.
    deadline: Duration,
    timer_is_set: bool,
}

static DOG: SpinLock<Dog> = SpinLock::new(
    Rank::DEVICE,
    Dog {
        device: None,
        node: Node::new(TIMEOUT, SOFTWARE_BOUNDS, false),
        expired_before: false,
        deadline: Duration::ZERO,
        timer_is_set: false,
    },
);
/// Whether it counts, for a panic, which waits for no lock.
static COUNTS: AtomicBool = AtomicBool::new(false);

/// What `/dev/watchdog` tells of it.
pub struct Facts {
    /// What counts.
    pub name: &'static str,
    /// It reset the machine before this boot.
    pub expired_before: bool,
    /// Seconds.
    pub timeout: u32,
    /// Seconds until it resets the machine.
    pub left: u32,
}

/// Takes an i6300esb over; the first that is found is used.
pub fn probe_pci(bridge: &HostBridge, function: &Function) {
    if (function.vendor, function.device) != (esb::VENDOR, esb::DEVICE) || DOG.lock_irq().device.is_some() {
        return;
    }
    let Some(reached) = reach(bridge, function) else {
        return event!("watchdog.error", what = function.address, why = "its registers cannot be reached");
    };
    let device = Esb::new(reached);
    let (running, expired_before) = (device.is_running(), device.take_expired());
    let mut dog = DOG.lock_irq();
    dog.node = Node::new(TIMEOUT, (esb::TIMEOUT_MIN, esb::TIMEOUT_MAX), running);
    dog.device = Some(device);
    dog.expired_before = expired_before;
    if running {
        dog.obey(Do::Start);
    }
}

fn reach(bridge: &HostBridge, function: &Function) -> Option<Reached> {
    let address: Address = function.address;
    let bar = function.bars[esb::BAR].as_ref()?;
    let registers = bridge.map_bar(bar, 0, esb::REGISTERS_LENGTH)?;
    let old = bridge.read32(address, pci::register::COMMAND) & 0xffff;
    bridge.write32(address, pci::register::COMMAND, old | pci::command::MEMORY | pci::command::INTX_DISABLE);
    Some(Reached { configuration: bridge.configuration(address)?, registers })
}

/// Every device has been found: says which watchdog there is.
pub fn settle() {
    let dog = DOG.lock_irq();
    let (facts, armed) = (dog.facts(), dog.node.is_armed());
    drop(dog);
    event!(
        "watchdog.ready",
        driver = facts.name,
        armed = u32::from(armed),
        timeout = facts.timeout,
        expired = u32::from(facts.expired_before)
    );
}

/// One that the loader has started gives the boot its time again; nobody else can feed it yet.
pub fn feed_for_boot() {
    let mut dog = DOG.lock_irq();
    if dog.node.is_armed() {
        dog.obey(Do::Feed);
    }
}

/// Whether it counts: the machine will start again whatever else happens.
#[must_use]
pub fn counts() -> bool {
    COUNTS.load(Ordering::Relaxed)
}

/// The machine is to stand still: nothing starts it again.
pub fn stand_down() {
    change(|node| Some(node.disable()));
}

/// Has `/dev/watchdog` do something; `None` when it refuses.
pub fn change(with: impl FnOnce(&mut Node) -> Option<Do>) -> Option<()> {
    let mut dog = DOG.lock_irq();
    let what = with(&mut dog.node)?;
    let stopped = dog.obey(what);
    drop(dog);
    if !stopped {
        event!("watchdog.error", what = "stop", why = "it is locked and goes on");
    }
    Some(())
}

/// What there is.
#[must_use]
pub fn facts() -> Facts {
    DOG.lock_irq().facts()
}

impl Dog {
    fn facts(&self) -> Facts {
        Facts {
            name: if self.device.is_some() { "i6300esb" } else { "software" },
            expired_before: self.expired_before,
            timeout: self.node.timeout(),
            left: self.deadline.saturating_sub(timer::now()).as_secs() as u32,
        }
    }

    /// False: it was to stop, and goes on.
    fn obey(&mut self, what: Do) -> bool {
        let timeout = self.node.timeout();
        match (what, &self.device) {
            (Do::GoOn, _) => return true,
            (Do::Start, Some(device)) => device.start(timeout),
            (Do::Feed, Some(device)) => device.feed(),
            (Do::Stop, Some(device)) if !device.stop() => self.node.goes_on(),
            (_, None) | (Do::Stop, Some(_)) => {}
        }
        self.deadline = timer::now() + Duration::from_secs(timeout.into());
        let armed = self.node.is_armed();
        COUNTS.store(armed, Ordering::Relaxed);
        if armed && !core::mem::replace(&mut self.timer_is_set, true) {
            sched::timer::at(self.deadline, look).detach();
        }
        what != Do::Stop || !armed
    }
}

/// At what was the deadline when the timer was set.
fn look() {
    let mut dog = DOG.lock_irq();
    dog.timer_is_set = dog.node.is_armed();
    if !dog.timer_is_set {
        return;
    }
    if timer::now() < dog.deadline {
        return sched::timer::at(dog.deadline, look).detach();
    }
    let (timeout, has_device) = (dog.node.timeout(), dog.device.is_some());
    dog.timer_is_set = false;
    drop(dog);
    event!("watchdog.error", what = "feed", why = "nobody fed /dev/watchdog in time", timeout = timeout);
    if !has_device {
        // What was synced is on the disk; who hangs may hold every lock that an orderly end needs.
        event!("system.reboot");
        lastboot::end(End::Watchdog, &"nobody fed /dev/watchdog in time");
        psci::system_reset();
        panic!("nobody fed /dev/watchdog, and the firmware does not restart the machine");
    }
}
