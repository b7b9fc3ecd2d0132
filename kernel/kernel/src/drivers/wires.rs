//! How a device's interrupts reach its driver: messages where there are any, else a line, else not at all: then whoever waits looks by
//! himself, from time to time.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use pci::Function;
use pci::msix::{ENTRY_LENGTH, MsiX, entry};
use platform::{ArrayVec, Interrupt, Trigger};
use virtio::{Error, Transport, interrupt};

use super::messages::{self, MESSAGES_MAX, Message};
use super::pci::HostBridge;
use super::virtio::SharedTransport;
use crate::arch::irq;
use crate::sync::{Once, Rank, SpinLock};

/// Where a device sits, as far as its interrupts are concerned.
#[derive(Debug)]
pub enum Place<'a> {
    /// A line of its own.
    Line(Interrupt),
    /// A function behind a host bridge.
    Function(&'a HostBridge, &'a Function),
}

/// A device's way to interrupt, before anybody listens.
#[derive(Debug)]
pub enum Wires {
    /// A line of its own.
    Own(Interrupt),
    /// A line that other devices may raise too.
    Shared(Interrupt),
    /// The queues', then that of the configuration where there are two.
    Messages(ArrayVec<Message, MESSAGES_MAX>),
    /// None.
    None,
}

/// The MSI-X vector of the queues.
const QUEUES: u16 = 0;
/// That of the configuration.
const CONFIGURATION: u16 = 1;

impl Wires {
    /// Finds the best way for a device, which has been reset and not yet started.
    ///
    /// # Errors
    /// The device refuses a vector that it has.
    pub fn lay(place: Place<'_>, transport: &dyn Transport) -> Result<Self, Error> {
        let (bridge, function) = match place {
            Place::Line(interrupt) => return Ok(Self::Own(interrupt)),
            Place::Function(bridge, function) => (bridge, function),
        };
        let messages = use_messages(bridge, function).unwrap_or_default();
        if messages.is_empty() {
            return Ok(use_pin(bridge, function).map_or(Self::None, Self::Shared));
        }
        if messages.len() > usize::from(CONFIGURATION) {
            transport.set_config_vector(CONFIGURATION)?;
        }
        Ok(Self::Messages(messages))
    }

    /// Has the used buffers of a queue told, before the queue is enabled.
    ///
    /// # Errors
    /// The device refuses.
    pub fn tie_queue(&self, transport: &dyn Transport, queue: u16) -> Result<(), Error> {
        match self {
            Self::Messages(_) => transport.set_queue_vector(queue, QUEUES),
            Self::Own(_) | Self::Shared(_) | Self::None => Ok(()),
        }
    }

    /// Calls `serve` when a queue has used buffers and `look` when the configuration has changed, both in the interrupt handler. Returns the
    /// interrupt, where there is one; in lists it is called `name`.
    pub fn listen(
        self,
        name: &str,
        transport: &SharedTransport,
        serve: impl Fn() + Send + Sync + 'static,
        look: impl Fn() + Send + Sync + 'static,
    ) -> Option<u32> {
        match self {
            Self::Own(line) => {
                irq::register(line.intid, line.trigger, name, by_status(transport, serve, look));
                Some(line.intid)
            }
            Self::Shared(line) => share(line, name, Box::new(by_status(transport, serve, look))),
            Self::Messages(messages) => {
                let mut messages = messages.into_iter().map(|message| message.interrupt);
                let queues = messages.next()?;
                irq::register(queues, Trigger::Edge, name, serve);
                if let Some(configuration) = messages.next() {
                    irq::register(configuration, Trigger::Edge, format!("{name}-config"), look);
                }
                Some(queues)
            }
            Self::None => None,
        }
    }
}

/// The handler of a line, whose device says why it raised it.
fn by_status(
    transport: &SharedTransport,
    serve: impl Fn() + Send + Sync + 'static,
    look: impl Fn() + Send + Sync + 'static,
) -> impl Fn() + Send + Sync + 'static {
    let transport = transport.clone();
    move || {
        // First: what is used after this raises the line anew.
        let status = transport.acknowledge_interrupt();
        if status & interrupt::QUEUE != 0 {
            serve();
        }
        if status & interrupt::CONFIGURATION != 0 {
            look();
        }
    }
}

/// Has a function write messages: gives as many as there are, up to [`MESSAGES_MAX`]. Those of vectors that nobody uses stay masked.
fn use_messages(bridge: &HostBridge, function: &Function) -> Option<ArrayVec<Message, MESSAGES_MAX>> {
    let msix = MsiX::find(bridge, function.address)?;
    let bar = function.bars.get(usize::from(msix.bar))?.as_ref()?;
    let count = usize::from(msix.vectors).min(MESSAGES_MAX);
    let table = bridge.map_bar(bar, msix.offset.into(), (count * ENTRY_LENGTH) as u64)?;
    let messages = messages::allocate(function.address, count);
    if messages.is_empty() {
        return None;
    }
    for (index, message) in messages.iter().enumerate() {
        let at = index * ENTRY_LENGTH;
        table.write32(at + entry::ADDRESS, message.address as u32);
        table.write32(at + entry::ADDRESS_UPPER, (message.address >> 32) as u32);
        table.write32(at + entry::DATA, message.data);
        table.write32(at + entry::CONTROL, 0);
    }
    msix.enable(bridge, function.address);
    Some(messages)
}

/// Lets a function raise its line, where the firmware's tables say which that is. Behind a bridge the pins are others; there is no line.
fn use_pin(bridge: &HostBridge, function: &Function) -> Option<Interrupt> {
    let address = function.address;
    let pin = pci::pin(bridge, address).filter(|_| address.bus == bridge.first_bus())?;
    let line = crate::platform::get().pci_line(address.segment, u32::from(address.requester()) << 8, pin)?;
    if !has_room(line) {
        return None;
    }
    pci::enable_pin(bridge, address);
    Some(line)
}

type Handler = Box<dyn Fn() + Send + Sync>;

/// Functions that raise one line; further ones are looked at by timer.
const SHARERS_MAX: usize = 8;

/// A line, and those who listen: the handler calls them all, and needs no lock for it.
struct Line {
    interrupt: Interrupt,
    handlers: &'static [Once<Handler>; SHARERS_MAX],
}

static LINES: SpinLock<Vec<Line>> = SpinLock::new(Rank::DEVICE, Vec::new());

fn has_room(interrupt: Interrupt) -> bool {
    let lines = LINES.lock_irq();
    let line = lines.iter().find(|line| line.interrupt == interrupt);
    line.is_none_or(|line| line.handlers.iter().any(|handler| handler.get().is_none()))
}

/// Has `handler` called with the others of its line. There is the room that [`has_room`] found.
fn share(interrupt: Interrupt, name: &str, handler: Handler) -> Option<u32> {
    let known = LINES.lock_irq().iter().find(|line| line.interrupt == interrupt).map(|line| line.handlers);
    let handlers = known.unwrap_or_else(|| {
        let handlers: &'static _ = Box::leak(Box::new([const { Once::new() }; SHARERS_MAX]));
        LINES.lock_irq().push(Line { interrupt, handlers });
        handlers
    });
    let is_set = handlers.iter().find(|slot| slot.get().is_none())?.set(handler);
    assert!(is_set, "devices are found one after another");
    if known.is_none() {
        irq::register(interrupt.intid, interrupt.trigger, name, move || {
            handlers.iter().map_while(Once::get).for_each(|handler| handler());
        });
    }
    Some(interrupt.intid)
}
