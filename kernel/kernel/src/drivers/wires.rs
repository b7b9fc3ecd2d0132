//! How a device's interrupts reach its driver.

use platform::Interrupt;
use virtio::{Error, Transport, interrupt};

use super::virtio::SharedTransport;
use crate::arch::irq;

/// Where a device sits, as far as its interrupts are concerned.
#[derive(Debug)]
#[allow(dead_code, reason = "for messages and shared lines")]
pub enum Place<'a> {
    /// A line of its own.
    Line(Interrupt),
    /// A function behind a host bridge.
    Function(&'a super::pci::HostBridge, &'a pci::Function),
}

/// A device's way to interrupt, before anybody listens.
#[derive(Debug)]
pub enum Wires {
    /// A line of its own.
    Line(Interrupt),
    /// None: whoever waits looks by himself.
    None,
}

impl Wires {
    /// Finds the best way for a device, which has been reset and not yet started.
    #[must_use]
    pub fn lay(place: Place<'_>, _transport: &dyn Transport) -> Self {
        match place {
            Place::Line(interrupt) => Self::Line(interrupt),
            Place::Function(..) => Self::None,
        }
    }

    /// Has the used buffers of a queue told, before the queue is enabled.
    ///
    /// # Errors
    /// The device refuses.
    pub fn tie_queue(&self, _transport: &dyn Transport, _queue: u16) -> Result<(), Error> {
        Ok(())
    }

    /// Calls `serve` when a queue has used buffers and `look` when the configuration has changed, both in the interrupt handler. Returns
    /// the interrupt, where there is one.
    pub fn listen(
        self,
        transport: &SharedTransport,
        serve: impl Fn() + Send + Sync + 'static,
        look: impl Fn() + Send + Sync + 'static,
    ) -> Option<u32> {
        let Self::Line(line) = self else { return None };
        let transport = transport.clone();
        irq::register(line.intid, line.trigger, move || {
            // First: what is used after this raises the line anew.
            let status = transport.acknowledge_interrupt();
            if status & interrupt::QUEUE != 0 {
                serve();
            }
            if status & interrupt::CONFIGURATION != 0 {
                look();
            }
        });
        Some(line.intid)
    }
}
