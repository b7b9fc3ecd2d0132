//! How a request to a disk ended, whichever kind of device answered.

use core::fmt;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was done.
    Done,
    /// It was not done, for a reason that passes.
    Again(Reason),
    /// It was not done, or not all of it.
    Failed(Reason),
    /// There is nobody who could do it any longer.
    Gone(Reason),
}

/// What the device said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// virtio-blk: the status byte (5.2.6).
    Status(u8),
    /// virtio-scsi: the response byte (5.6.6.1).
    Response(u8),
    /// SCSI: the status byte (SAM-5, 5.3.1).
    ScsiStatus(u8),
    /// SCSI: key, additional code and qualifier of the sense data (SPC-5, 4.4).
    Sense {
        /// Sense key.
        key: u8,
        /// Additional sense code.
        code: u8,
        /// Additional sense code qualifier.
        qualifier: u8,
    },
    /// It moved fewer bytes than it was asked to, and said nothing of it.
    Short,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status(1) => f.write_str("I/O error"),
            Self::Status(2) => f.write_str("unsupported request"),
            Self::Status(status) => write!(f, "status {status:#04x}"),
            Self::Response(response) => write!(f, "virtio-scsi response {response}"),
            Self::ScsiStatus(status) => write!(f, "SCSI status {status:#04x}"),
            Self::Sense { key, code, qualifier } => write!(f, "sense {key:x}/{code:02x}/{qualifier:02x}"),
            Self::Short => f.write_str("short transfer"),
        }
    }
}
