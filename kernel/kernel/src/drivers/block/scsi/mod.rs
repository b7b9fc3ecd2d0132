//! virtio-scsi hosts: all units of a host share its queue of requests; in another queue the host tells that a unit has gone.
//!
//! - this file    a host, set up and served
//! - `scan`       its units, and which of them are disks
//! - `events`     the queue of what the host tells unasked
//!
//! Units are looked for once, at boot. The control queue is not set up: nothing is sent there.

mod events;
mod scan;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use platform::ArrayVec;
use virtio::outcome::Outcome;
use virtio::scsi::{self, ANSWER_LENGTH, EVENT_QUEUE, Event, REQUEST_QUEUE, feature};
use virtio::{Error, feature as common};

use self::events::{EVENTS, Events};
use super::channel::{ANSWER_MAX, Channel, Manner, Plan};
use super::disk::{Disk, Unit};
use crate::drivers::virtio::{SharedTransport, Way};
use crate::drivers::wires::{Place, Wires};
use crate::event;
use crate::sync::{Rank, SpinLock};

/// Hosts are kept for good: their devices use their memory.
static HOSTS: SpinLock<Vec<Arc<Host>>> = SpinLock::new(Rank::DEVICE, Vec::new());

/// A host that works.
struct Host {
    channel: Arc<Channel>,
    events: Option<Events>,
    /// Its units that are disks; filled once they are known.
    disks: SpinLock<Vec<Arc<Disk>>>,
}

/// Sets up a host that was found, and adds its disks.
pub fn start(transport: SharedTransport, way: Way, place: Place<'_>) {
    let name = format!("scsi{}", HOSTS.lock_irq().len());
    if let Err(error) = setup(&transport, way, place, &name) {
        transport.set_status(virtio::status::FAILED);
        event!("block.error", what = name, why = error);
    }
}

fn setup(transport: &SharedTransport, way: Way, place: Place<'_>, name: &str) -> Result<(), Error> {
    let features = virtio::negotiate(&**transport, feature::WANTED)?;
    let facts = scsi::facts(&**transport)?;
    let wires = Wires::lay(place, &**transport)?;
    let has_event_index = features & common::EVENT_INDEX != 0;
    let events = if features & feature::HOTPLUG == 0 {
        None
    } else {
        wires.tie_queue(&**transport, EVENT_QUEUE)?;
        Some(Events::new(transport.clone(), has_event_index)?)
    };
    wires.tie_queue(&**transport, REQUEST_QUEUE)?;
    let plan = Plan {
        name: String::from(name),
        queue: REQUEST_QUEUE,
        has_event_index,
        manner: Manner { answer_length: ANSWER_LENGTH, is_answer_first: true, has_false_lengths: true, decode },
        segments_max: facts.segments_max,
        segment_length_max: u32::MAX,
    };
    let channel = Channel::new(transport.clone(), plan)?;
    let disks = SpinLock::new(Rank::DEVICE, Vec::new());
    let host = Arc::new(Host { channel, events, disks });
    HOSTS.lock_irq().push(host.clone());
    let served = host.clone();
    let interrupt = host.channel.listen(wires, move || served.serve());
    virtio::start(&**transport);
    if let Some(events) = &host.events {
        events.lend_all();
    }
    let driver = match way {
        Way::Mmio => "virtio-scsi-mmio",
        Way::Pci => "virtio-scsi-pci",
    };
    for (lun, facts) in scan::disks(&host.channel, &facts) {
        let name = super::next_name("sd");
        let disk = Disk::new(name, driver, facts, host.channel.clone(), Unit::Scsi(lun));
        host.disks.lock_irq().push(super::add(disk, interrupt));
    }
    Ok(())
}

impl Host {
    /// Takes what the host has answered and told. Called by the interrupt handler.
    fn serve(&self) {
        self.channel.serve();
        // Without interrupts nobody comes here; then a unit that went is noticed by the next request to it.
        let mut told = ArrayVec::new();
        while let Some(events) = &self.events {
            events.take(&mut told);
            if told.is_empty() {
                break;
            }
            told.drain(..).for_each(|event| self.hear(event));
        }
    }

    fn hear(&self, event: Event) {
        // What was missed or has come is not looked for: a unit that went is noticed by the next request to it.
        let Event::Removed(lun) = event else { return };
        let is_it = |disk: &&Arc<Disk>| matches!(disk.unit(), Unit::Scsi(unit) if unit == lun);
        let disk = self.disks.lock_irq().iter().find(is_it).cloned();
        if let Some(disk) = disk {
            disk.set_gone("the host has removed it");
        }
    }
}

/// Some hosts do not count what they wrote; each says what it did not.
fn decode(answer: &[u8; ANSWER_MAX], _written: u32, _wanted: u32) -> Outcome {
    scsi::outcome(answer)
}

/// A host tells at most so many events at a time.
type Told = ArrayVec<Event, EVENTS>;
