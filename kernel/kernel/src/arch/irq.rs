//! Interrupts: who handles which, and the loop that the IRQ vector runs.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

pub use ::platform::Trigger;

use super::cpu::Cpu;
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

type Handler = Arc<dyn Fn() + Send + Sync>;

static CONTROLLER: Once<&'static dyn Controller> = Once::new();
static HANDLERS: SpinLock<BTreeMap<u32, Handler>> = SpinLock::new(Rank::INTERRUPTS, BTreeMap::new());

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

/// Has `handler` called when interrupt `id` comes, on whichever CPU takes it, and lets it through. A per-CPU interrupt (below 32)
/// is let through on this CPU; the others call [`enable`].
pub fn register(id: u32, trigger: Trigger, handler: impl Fn() + Send + Sync + 'static) {
    HANDLERS.lock_irq().insert(id, Arc::new(handler));
    enable(id, trigger);
}

/// Lets an interrupt through that has a handler.
pub fn enable(id: u32, trigger: Trigger) {
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
        let handler = HANDLERS.lock_irq().get(&id).cloned();
        if let Some(handler) = handler {
            handler();
        }
        controller.end(id);
    }
}
