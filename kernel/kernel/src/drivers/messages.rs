//! Interrupts as messages: what a PCI function has to write where, and which interrupt that is. Through the translation service of a GICv3,
//! or the GICv2m frame of a GICv2.

use platform::ArrayVec;

use ::gic::v2m;

use super::gic;
use super::its::Its;
use super::mmio::Mmio;
use crate::sync::{Mutex, mutex};

/// Messages of one function.
pub const MESSAGES_MAX: usize = 2;

/// A write that interrupts.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Where.
    pub address: u64,
    /// What.
    pub data: u32,
    /// Which interrupt it is.
    pub interrupt: u32,
}

/// Who turns messages into interrupts.
enum Service {
    Its(Its),
    /// A frame, and what is left of its interrupts.
    V2m {
        address: u64,
        left: core::ops::Range<u32>,
    },
    None,
}

/// `None`: nobody has looked yet.
static SERVICE: Mutex<Option<Service>> = mutex(None);

/// At most `count` messages for a function, as many as there are. Once for each function.
pub fn allocate(function: pci::Address, count: usize) -> ArrayVec<Message, MESSAGES_MAX> {
    let count = count.min(MESSAGES_MAX);
    let mut service = SERVICE.lock();
    match service.get_or_insert_with(find) {
        Service::Its(its) => {
            let device = crate::platform::get().device_id(function.segment, function.requester());
            let first = device.and_then(|device| its.map(device, count));
            let message =
                |first: u32, event: u32| Message { address: its.doorbell(), data: event, interrupt: first + event };
            first.into_iter().flat_map(|first| (0..count as u32).map(move |event| message(first, event))).collect()
        }
        Service::V2m { address, left } => {
            let interrupts = left.by_ref().take(count);
            interrupts
                .map(|spi| Message { address: *address + v2m::MSI_SETSPI_NS, data: spi, interrupt: spi })
                .collect()
        }
        Service::None => ArrayVec::new(),
    }
}

fn find() -> Service {
    let Some(controller) = &crate::platform::get().gic else { return Service::None };
    if let (Some(gic), Some(address)) = (gic::v3(), controller.its.first()) {
        return Its::new(*address, gic).map_or(Service::None, Service::Its);
    }
    let Some(frame) = controller.v2m else { return Service::None };
    let interrupts = match frame.spis {
        Some((first, count)) => v2m::checked(first, count),
        None => Mmio::map(frame.base, 0x1000).and_then(|frame| v2m::interrupts(frame.read32(v2m::MSI_TYPER))),
    };
    match interrupts {
        Some((first, count)) => Service::V2m { address: frame.base, left: first..first + count },
        None => Service::None,
    }
}
