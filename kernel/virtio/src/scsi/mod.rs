//! virtio-scsi (5.6): a SCSI host. Its queues are control (0), event (1), and from 2 on those of requests.
//!
//! - this file: the host's configuration, the frame of a request, and what its answer says;
//! - [`command`]: the commands that a disk is driven with;
//! - [`answer`]: what is in the data that some of them bring;
//! - [`Event`]: what the host tells unasked.
//!
//! SCSI's own numbers are big-endian. Sections of its standards are cited by name: SAM-5, SPC-5, SBC-4.

pub mod answer;
pub mod command;

use crate::outcome::{Outcome, Reason};
use crate::{Error, Transport, config};
pub use command::Command;

/// Feature bits (5.6.3).
pub mod feature {
    /// Units come and go, and the host tells.
    pub const HOTPLUG: u64 = 1 << 1;
    /// Units' properties change, and the host tells.
    pub const CHANGE: u64 = 1 << 2;
    /// All that the driver understands.
    pub const WANTED: u64 = HOTPLUG | CHANGE | crate::feature::EVENT_INDEX;
}

/// The queue of events.
pub const EVENT_QUEUE: u16 = 1;
/// The first queue of requests.
pub const REQUEST_QUEUE: u16 = 2;
/// Bytes of sense data and of a command that a frame has room for: what every host starts with (5.6.4).
const SENSE_LENGTH: usize = 96;
const CDB_LENGTH: usize = 32;
/// Bytes of a request's frame, which the device reads, and of its answer, which it writes (5.6.6.1).
pub const REQUEST_LENGTH: usize = 19 + CDB_LENGTH;
/// See [`REQUEST_LENGTH`].
pub const ANSWER_LENGTH: usize = 12 + SENSE_LENGTH;
/// Bytes of an event.
pub const EVENT_LENGTH: usize = 16;
/// What the response byte is set to before: no host answers that.
pub const RESPONSE_NONE: u8 = 0xff;
/// Where the response byte stands in an answer.
pub const RESPONSE_OFFSET: usize = 11;

/// What a host says of itself (5.6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Most pieces of data in one request.
    pub segments_max: u32,
    /// Most sectors of 512 bytes in one request.
    pub sectors_max: u32,
    /// The largest number of a target.
    pub target_max: u8,
    /// The largest number of a unit.
    pub lun_max: u16,
}

/// Read the configuration.
///
/// # Errors
/// It makes no sense: no queue for requests, or a frame of another size than a reset leaves.
pub fn facts<T: Transport + ?Sized>(transport: &T) -> Result<Facts, Error> {
    let ([queues, seg_max, max_sectors, event, sense, cdb, max_lun], max_target) = config(transport, |transport| {
        ([0, 4, 8, 16, 20, 24, 32].map(|offset| transport.config32(offset)), transport.config16(30))
    })?;
    if queues == 0 {
        return Err(Error::Configuration("num_queues is 0"));
    }
    if (event as usize) < EVENT_LENGTH || sense as usize != SENSE_LENGTH || cdb as usize != CDB_LENGTH {
        return Err(Error::Configuration("sizes of events, sense data and commands"));
    }
    Ok(Facts {
        segments_max: seg_max.max(1),
        sectors_max: if max_sectors == 0 { u32::MAX } else { max_sectors },
        target_max: u8::try_from(max_target).unwrap_or(u8::MAX),
        lun_max: u16::try_from(max_lun).unwrap_or(u16::MAX).min(Lun::MAX),
    })
}

/// The address of a unit behind a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lun {
    /// Target.
    pub target: u8,
    /// Unit of the target, at most [`Lun::MAX`].
    pub unit: u16,
}

impl Lun {
    /// The largest unit that flat addressing names (SAM-5, 4.7.7.3).
    pub const MAX: u16 = 0x3fff;

    /// As it stands in a frame (5.6.6.1): 1, target, unit by flat addressing.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        let [high, low] = (self.unit & Self::MAX).to_be_bytes();
        [1, self.target, 0x40 | high, low, 0, 0, 0, 0]
    }

    /// From a frame; `None` for an address of another form.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        match bytes {
            [1, target, high, low, 0, 0, 0, 0] if high & 0xc0 == 0x40 || high == 0 => {
                Some(Self { target, unit: u16::from_be_bytes([high & 0x3f, low]) })
            }
            _ => None,
        }
    }
}

/// The frame of a request: who is to do what. `tag` comes back nowhere, but shows in the host's traces.
#[must_use]
pub fn request(lun: Lun, tag: u64, command: &Command) -> [u8; REQUEST_LENGTH] {
    let mut frame = [0; REQUEST_LENGTH];
    frame[..8].copy_from_slice(&lun.bytes());
    frame[8..16].copy_from_slice(&tag.to_le_bytes());
    // Task attribute, priority and CRN are 0: simple.
    frame[19..19 + command.bytes().len()].copy_from_slice(command.bytes());
    frame
}

/// What an answer says.
#[must_use]
pub fn outcome(answer: &[u8; ANSWER_LENGTH]) -> Outcome {
    let word = |at: usize| u32::from_le_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]]);
    let (sense_length, residual) = (word(0), word(4));
    let (status, response) = (answer[10], answer[RESPONSE_OFFSET]);
    let sense = &answer[12..][..(sense_length as usize).min(SENSE_LENGTH)];
    match (response, status) {
        (response::OK, status::GOOD) if residual != 0 => Outcome::Failed(Reason::Short),
        (response::OK, status::GOOD) => Outcome::Done,
        (response::OK, status::CHECK_CONDITION) => by_sense(sense),
        (response::OK, status::BUSY | status::TASK_SET_FULL) => Outcome::Again(Reason::ScsiStatus(status)),
        (response::OK, status) => Outcome::Failed(Reason::ScsiStatus(status)),
        (response::ABORTED | response::RESET | response::BUSY | response::TRANSPORT_FAILURE, _) => {
            Outcome::Again(Reason::Response(response))
        }
        (response::BAD_TARGET, _) => Outcome::Gone(Reason::Response(response)),
        (response, _) => Outcome::Failed(Reason::Response(response)),
    }
}

/// Values of the response byte (5.6.6.1).
mod response {
    pub const OK: u8 = 0;
    pub const ABORTED: u8 = 2;
    pub const BAD_TARGET: u8 = 3;
    pub const RESET: u8 = 4;
    pub const BUSY: u8 = 5;
    pub const TRANSPORT_FAILURE: u8 = 6;
}

/// Values of the status byte (SAM-5, 5.3.1).
mod status {
    pub const GOOD: u8 = 0x00;
    pub const CHECK_CONDITION: u8 = 0x02;
    pub const BUSY: u8 = 0x08;
    pub const TASK_SET_FULL: u8 = 0x28;
}

/// Sense keys (SPC-5, 4.4.8) of a command that was not begun: the unit is not ready yet, or has to tell of something else first.
pub const NOT_READY: u8 = 2;
/// See [`NOT_READY`].
pub const UNIT_ATTENTION: u8 = 6;

/// SPC-5, 4.4: fixed format (70h, 71h) or descriptors (72h, 73h).
fn by_sense(sense: &[u8]) -> Outcome {
    let at = |place: usize| sense.get(place).copied().unwrap_or(0);
    let (key, code, qualifier) = match at(0) & 0x7f {
        0x72 | 0x73 => (at(1) & 15, at(2), at(3)),
        0x70 | 0x71 => (at(2) & 15, at(12), at(13)),
        _ => return Outcome::Failed(Reason::ScsiStatus(status::CHECK_CONDITION)),
    };
    let reason = Reason::Sense { key, code, qualifier };
    match key {
        // No sense, recovered error: it was done.
        0 | 1 => Outcome::Done,
        // Not ready: becoming so (04/01), or for good.
        NOT_READY if (code, qualifier) == (0x04, 0x01) => Outcome::Again(reason),
        // Illegal request: there is no such unit.
        5 if code == 0x25 => Outcome::Gone(reason),
        // Unit attention: something has happened to the unit, of which the first command after it is told instead of being done.
        // Aborted command: by somebody else.
        UNIT_ATTENTION | 11 => Outcome::Again(reason),
        _ => Outcome::Failed(reason),
    }
}

/// What a host tells unasked (5.6.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The unit is no more.
    Removed(Lun),
    /// Units may have come; or events were lost, so anything may have happened.
    Rescan,
    /// Nothing that concerns us: the unit was reset, a property changed.
    Other,
}

impl Event {
    /// What the bytes of an event say; fewer than a whole one say nothing.
    #[must_use]
    pub fn parse(bytes: &[u8; EVENT_LENGTH]) -> Self {
        const MISSED: u32 = 1 << 31;
        const TRANSPORT_RESET: u32 = 1;
        let [kind, reason] =
            [0, 12].map(|at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
        let lun = bytes[4..12].first_chunk().and_then(|lun| Lun::from_bytes(*lun));
        match (kind & !MISSED, reason, lun) {
            (TRANSPORT_RESET, 2, Some(lun)) => Self::Removed(lun),
            (TRANSPORT_RESET, 1, _) => Self::Rescan,
            _ if kind & MISSED != 0 => Self::Rescan,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests;
