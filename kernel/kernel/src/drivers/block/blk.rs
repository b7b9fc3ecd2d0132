//! virtio-blk devices: each is one disk, with one queue.

use alloc::string::String;

use virtio::blk::{self, STATUS_LENGTH, feature};
use virtio::outcome::{Outcome, Reason};
use virtio::{Error, feature as common};

use super::channel::{ANSWER_MAX, Channel, Manner, Plan};
use super::disk::{Disk, Facts, SECTOR, Unit};
use crate::drivers::virtio::{SharedTransport, Way};
use crate::drivers::wires::{Place, Wires};
use crate::event;

const QUEUE: u16 = 0;

/// Sets up a disk that was found.
pub fn start(transport: SharedTransport, way: Way, place: Place<'_>) {
    let (name, index) = super::next_name("vd");
    if let Err(error) = setup(&transport, way, place, (&name, index)) {
        transport.set_status(virtio::status::FAILED);
        event!("block.error", what = name, why = error);
    }
}

fn setup(transport: &SharedTransport, way: Way, place: Place<'_>, (name, index): (&str, u32)) -> Result<(), Error> {
    let features = virtio::negotiate(&**transport, feature::WANTED)?;
    let facts = blk::facts(&**transport, features)?;
    let wires = Wires::lay(place, &**transport)?;
    wires.tie_queue(&**transport, QUEUE)?;
    let plan = Plan {
        name: String::from(name),
        queue: QUEUE,
        has_event_index: features & common::EVENT_INDEX != 0,
        manner: Manner {
            answer_length: STATUS_LENGTH,
            is_answer_first: false,
            has_false_lengths: false,
            decode: if transport.is_legacy() { decode_legacy } else { decode },
        },
        segments_max: facts.segments_max,
        segment_length_max: facts.segment_length_max,
    };
    let channel = Channel::new(transport.clone(), plan)?;
    let served = channel.clone();
    let interrupt = channel.listen(wires, move || served.serve());
    virtio::start(&**transport);
    let facts = Facts {
        sectors: facts.sectors,
        block_size: facts.block_size,
        // The length of a request is bounded by its pieces alone.
        transfer_max: u64::MAX / SECTOR,
        is_read_only: facts.is_read_only,
        has_write_cache: facts.has_write_cache,
        has_fua: false,
        discard_max: facts.discard.map(|(sectors, _)| sectors.into()),
    };
    let driver = match way {
        Way::Mmio => "virtio-blk-mmio",
        Way::Pci => "virtio-blk-pci",
    };
    super::add(Disk::new((String::from(name), index), driver, facts, channel, Unit::Blk), interrupt);
    Ok(())
}

/// A read that was done has written all of its data, and the status.
fn decode(answer: &[u8; ANSWER_MAX], written: u32, wanted: u32) -> Outcome {
    match blk::outcome(answer[0]) {
        Outcome::Done if written < wanted => Outcome::Failed(Reason::Short),
        outcome => outcome,
    }
}

/// Of a legacy device the count means nothing (2.7.8.2, note).
fn decode_legacy(answer: &[u8; ANSWER_MAX], _written: u32, _wanted: u32) -> Outcome {
    blk::outcome(answer[0])
}
