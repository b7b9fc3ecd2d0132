//! Interrupts: who handles which, and the loop that the IRQ vector runs.

use alloc::boxed::Box;
use alloc::string::String;
use core::sync::atomic::{AtomicU64, Ordering};

pub use ::platform::Trigger;

use super::cpu::{self, CPUS_MAX, Cpu};
use crate::sync::{Once, Rank, SpinLock};

/// Software interrupts, sent from CPU to CPU.
pub mod sgi {
    /// Choose again which thread to run, and when the timer is next due.
    pub const RESCHEDULE: u32 = 0;
    /// Stop for good: somebody panicked.
    pub const STOP: u32 = 15;
}

/// An interrupt controller.
pub trait Controller: Sync {
    /// What people call it.
    fn name(&self) -> &'static str;
    /// Set up this CPU's part.
    fn init_cpu(&self);
    /// The next pending interrupt of this CPU, which becomes active.
    fn acknowledge(&self) -> Option<u32>;
    /// The interrupt that was acknowledged last on this CPU has been handled.
    fn end(&self, id: u32);
    /// Let an interrupt through; below 32 for this CPU only.
    fn enable(&self, id: u32, trigger: Trigger);
    /// Interrupt another CPU.
    fn send(&self, cpu: &Cpu, sgi: u32);
}

/// An interrupt that somebody handles.
pub struct Handled {
    /// Who raises it.
    pub name: String,
    /// How it is raised.
    pub trigger: Trigger,
    /// How often each CPU has taken it.
    pub counts: [AtomicU64; CPUS_MAX],
    handler: Box<dyn Fn() + Send + Sync>,
}

type Slot = Once<Box<Handled>>;

/// SGIs, PPIs and SPIs; 1020 and up are special.
const INTERRUPTS_MAX: usize = 1020;
/// LPIs that are used, from [`gic::LPI_FIRST`] on.
pub const LPIS_MAX: usize = 256;

static CONTROLLER: Once<&'static dyn Controller> = Once::new();
/// Handlers by interrupt; a handler stays, so that taking an interrupt needs no lock.
static HANDLERS: [Slot; INTERRUPTS_MAX] = [const { Once::new() }; INTERRUPTS_MAX];
/// The same for LPIs.
static LPI_HANDLERS: [Slot; LPIS_MAX] = [const { Once::new() }; LPIS_MAX];
/// Held while the controller's shared registers are changed.
static SETTING: SpinLock<()> = SpinLock::new(Rank::INTERRUPTS, ());

/// Names the controller of this machine.
pub fn set_controller(controller: &'static dyn Controller) {
    assert!(CONTROLLER.set(controller), "there is one interrupt controller");
}

fn controller() -> &'static dyn Controller {
    *CONTROLLER.get().expect("interrupts are set up before they are used")
}

/// Sets up this CPU's part of the controller.
pub fn init_cpu() {
    controller().init_cpu();
}

/// Where the handler of an interrupt stands.
fn slot(id: u32) -> Option<&'static Slot> {
    match id.checked_sub(gic::LPI_FIRST) {
        Some(lpi) => LPI_HANDLERS.get(lpi as usize),
        None => HANDLERS.get(id as usize),
    }
}

/// The controller's name, and every interrupt that is handled with its number.
pub fn all() -> (&'static str, impl Iterator<Item = (u32, &'static Handled)>) {
    let numbered = (0..).zip(&HANDLERS).chain((gic::LPI_FIRST..).zip(&LPI_HANDLERS));
    (controller().name(), numbered.filter_map(|(id, slot)| Some((id, &**slot.get()?))))
}

/// Has `handler` called when interrupt `id` comes, on whichever CPU takes it, and lets it through. A per-CPU interrupt (below 32)
/// is let through on this CPU; the others call [`enable`]. An interrupt has one handler, for good.
pub fn register(id: u32, trigger: Trigger, name: impl Into<String>, handler: impl Fn() + Send + Sync + 'static) {
    let slot = slot(id).unwrap_or_else(|| panic!("there is no interrupt {id}"));
    let counts = [const { AtomicU64::new(0) }; CPUS_MAX];
    let handled = Handled { name: name.into(), trigger, counts, handler: Box::new(handler) };
    assert!(slot.set(Box::new(handled)), "interrupt {id} has a handler already");
    enable(id, trigger);
}

/// Lets an interrupt through that has a handler.
pub fn enable(id: u32, trigger: Trigger) {
    let _setting = SETTING.lock_irq();
    controller().enable(id, trigger);
}

/// Interrupts another CPU; nothing happens before there is a controller.
pub fn send(cpu: &Cpu, sgi: u32) {
    if let Some(controller) = CONTROLLER.get() {
        controller.send(cpu, sgi);
    }
}

/// Handles every interrupt that is pending on this CPU. Called by the IRQ vector, interrupts masked.
pub fn handle() {
    let controller = controller();
    while let Some(id) = controller.acknowledge() {
        if let Some(handled) = slot(id).and_then(Once::get) {
            handled.counts[cpu::this().index].fetch_add(1, Ordering::Relaxed);
            (handled.handler)();
        }
        controller.end(id);
    }
}
