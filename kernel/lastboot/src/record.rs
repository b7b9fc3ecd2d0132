//! A record: its head, and where its parts lie.

use core::fmt;

use crate::part::{checksum, salt, word};
use crate::{HEAD, PARTS, Part, RECORD, Recorder, Tail};

/// The first bytes of a record.
pub(crate) const MAGIC: [u8; 8] = *b"SWLASTBT";
const VERSION: u32 = 1;
/// A larger number is not believed: it would be the newest for ever.
pub const SEQUENCE_MAX: u64 = 1 << 48;
/// Where the head's own checksum lies, and from where on it holds.
const SUM_AT: usize = 16;
const COVERED_FROM: usize = 24;
const TIME_AT: usize = 32;
const SLOT_AT: usize = 40;
const KERNEL_LENGTH_AT: usize = 44;
const RELEASE_AT: usize = 48;
const KERNEL_AT: usize = 80;
/// Longest name of a kernel.
pub(crate) const KERNEL_MAX: usize = 64;
const _: () = assert!(KERNEL_AT + KERNEL_MAX <= HEAD);

/// What a boot says of itself at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Seconds since 1970; 0: nobody knew.
    pub time: u64,
    /// As in boot-info.
    pub slot: u32,
    /// Digest of the release.
    pub release: [u8; 32],
    /// Version and build of the kernel; what is longer than 64 bytes is cut.
    pub kernel: &'a [u8],
}

/// Why a record is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is none.
    Absent,
    /// Of another version.
    Version(u32),
    /// The head is not what was written.
    Head,
    /// The number is one that no machine comes to.
    Sequence(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no record"),
            Self::Version(found) => write!(f, "the record is of version {found}, expected {VERSION}"),
            Self::Head => f.write_str("the checksum of the record's head is wrong"),
            Self::Sequence(found) => write!(f, "the record has number {found}, more than {SEQUENCE_MAX}"),
        }
    }
}

impl core::error::Error for Fault {}

/// A record whose head is right.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// One more for each boot, as long as memory lasts.
    pub sequence: u64,
    /// What that boot said of itself.
    pub head: Head<'a>,
    bytes: &'a [u8],
    sum: u64,
}

/// Where a part lies.
fn range(part: Part) -> core::ops::Range<usize> {
    let start = HEAD + Part::ALL[..part as usize].iter().map(|before| before.length()).sum::<usize>();
    start..start + part.length()
}

impl<'a> Record<'a> {
    /// Reads a head.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let bytes = bytes.get(..RECORD).filter(|bytes| bytes.starts_with(&MAGIC)).ok_or(Fault::Absent)?;
        let number = |at: usize| bytes[at..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four));
        let long = |at: usize| word(bytes, at).unwrap_or(0);
        if number(MAGIC.len()) != VERSION {
            return Err(Fault::Version(number(MAGIC.len())));
        }
        let (sum, sequence) = (long(SUM_AT), long(COVERED_FROM));
        if checksum(0, &bytes[COVERED_FROM..HEAD]) != sum {
            return Err(Fault::Head);
        }
        if sequence > SEQUENCE_MAX {
            return Err(Fault::Sequence(sequence));
        }
        let kernel = &bytes[KERNEL_AT..KERNEL_AT + KERNEL_MAX.min(number(KERNEL_LENGTH_AT) as usize)];
        let release = *bytes[RELEASE_AT..].first_chunk().ok_or(Fault::Head)?;
        let head = Head { time: long(TIME_AT), slot: number(SLOT_AT), release, kernel };
        Ok(Self { sequence, head, bytes, sum })
    }

    /// What a part holds; `None`: it is damaged.
    pub fn part(&self, part: Part) -> Option<Tail<'a>> {
        Tail::parse(&self.bytes[range(part)], salt(self.sum, part as usize))
    }
}

/// Begins a record. Until it is whole it is none: the magic comes last.
pub(crate) fn begin<'a>(bytes: &'a mut [u8], sequence: u64, head: &Head<'_>) -> [Recorder<'a>; PARTS] {
    let (start, mut rest) = bytes.split_at_mut(HEAD);
    start.fill(0);
    let kernel = &head.kernel[..head.kernel.len().min(KERNEL_MAX)];
    let mut put = |at: usize, bytes: &[u8]| start[at..at + bytes.len()].copy_from_slice(bytes);
    put(MAGIC.len(), &VERSION.to_le_bytes());
    put(COVERED_FROM, &sequence.to_le_bytes());
    put(TIME_AT, &head.time.to_le_bytes());
    put(SLOT_AT, &head.slot.to_le_bytes());
    put(KERNEL_LENGTH_AT, &(kernel.len() as u32).to_le_bytes());
    put(RELEASE_AT, &head.release);
    put(KERNEL_AT, kernel);
    let sum = checksum(0, &start[COVERED_FROM..]);
    start[SUM_AT..COVERED_FROM].copy_from_slice(&sum.to_le_bytes());
    let parts = Part::ALL.map(|part| {
        let (own, others) = core::mem::take(&mut rest).split_at_mut(part.length());
        rest = others;
        Recorder::begin(own, salt(sum, part as usize))
    });
    start[..MAGIC.len()].copy_from_slice(&MAGIC);
    parts
}
