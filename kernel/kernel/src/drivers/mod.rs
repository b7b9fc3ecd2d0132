//! Devices.

pub mod console;
pub mod gic;
mod gic2;
mod gic3;
pub mod mmio;

use platform::GicVersion;

use crate::arch::irq;
use crate::{event, platform as machine};

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
