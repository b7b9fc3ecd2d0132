//! Devices.

pub mod block;
pub mod console;
mod dma;
pub mod gic;
mod gic2;
mod gic3;
mod its;
mod messages;
pub mod mmio;
mod pci;
mod rng;
pub mod rtc;
mod virtio;
pub mod watchdog;
mod wires;

use platform::GicVersion;

use crate::arch::irq;
use crate::{event, platform as machine, random};

/// The console and the interrupt controller that the firmware describes, the latter on this CPU too. Needs the heap.
pub fn init_interrupts() {
    let platform = machine::get();
    if let Some(uart) = &platform.uart {
        console::init(uart);
    }
    irq::set_controller(gic::init());
    irq::init_cpu();
    let version = platform.gic.as_ref().map(|gic| gic.version);
    event!("irq.ready", gic = if version == Some(GicVersion::V2) { 2 } else { 3 });
}

/// Every device, and the entropy that they and the firmware have. Needs the heap, and runs once.
pub fn init() {
    random::add_early_sources();
    virtio::probe_mmio();
    pci::enumerate(|bridge, function| {
        virtio::probe_pci(bridge, function);
        watchdog::probe_pci(bridge, function);
    });
    watchdog::settle();
    rng::collect();
    random::finish_sources();
    block::settle();
}
