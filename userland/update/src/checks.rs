//! Slots that are read and held to what was signed, a part at a time: so that whoever asks meanwhile is answered, and may stop it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use core::fmt::{self, Display};

use bootctl::Slot as Letter;
use release::trust::accept;
use release::{AREA_SIZE, Header};
use rt::Errno;

use crate::content::{Check, Fault};
use crate::facts::Facts;
use crate::system::File;
use crate::{Slot, Source};

/// What is done when it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The trial of the running release ends.
    MarkGood,
    /// No way back behind the running release.
    Commit,
    /// Restart into the other slot, and why.
    Rollback(String),
    /// It is told.
    Verify,
}

/// A release in the other slot that is whole.
pub struct Other {
    /// Its header.
    pub header: Header,
    /// Of the header's bytes.
    pub digest: [u8; 32],
    /// Version of its key set.
    pub key_set: u64,
}

/// Why the other slot is none to fall back to.
pub enum Unsound {
    /// It cannot be read, now.
    Unreadable(String),
    /// It holds something else.
    Content(String),
}

impl Display for Unsound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreadable(why) | Self::Content(why)) = self;
        f.write_str(why)
    }
}

/// What is read, and held to what.
pub struct Machine<'a> {
    /// The slot that runs.
    pub running: Letter,
    /// Header area of the release that runs.
    pub area: &'a [u8],
    /// Its header.
    pub header: &'a Header,
    /// Whom a release is held to.
    pub facts: &'a Facts,
    /// The slot that does not run.
    pub slot: Option<&'a mut File>,
}

enum Part {
    Running(Check, File),
    Other(Check, Box<Other>),
}

/// Checks on their way.
pub struct Checks {
    /// See there.
    pub purpose: Purpose,
    /// What was found of the slot that runs.
    pub running: Option<Result<(), String>>,
    /// And of the other one.
    pub other: Option<Result<Box<Other>, Unsound>>,
    part: Option<Part>,
}

impl Checks {
    /// Nothing is read yet.
    pub fn new(purpose: Purpose) -> Self {
        Self { purpose, running: None, other: None, part: None }
    }

    /// Which slot is read: of the one that runs or the other, bytes that were found right, and all.
    pub fn progress(&self) -> (bool, u64, u64) {
        match &self.part {
            Some(Part::Running(check, _)) => (true, check.progress().0, check.progress().1),
            Some(Part::Other(check, _)) => (false, check.progress().0, check.progress().1),
            None => (self.wants_running(), 0, 1),
        }
    }

    fn wants_running(&self) -> bool {
        self.running.is_none() && !matches!(self.purpose, Purpose::Rollback(_))
    }

    fn wants_other(&self) -> bool {
        // A release that is not whole is not good, whatever the other one is.
        let is_over = self.purpose == Purpose::MarkGood && matches!(self.running, Some(Err(_)));
        self.other.is_none() && self.purpose != Purpose::Commit && !is_over
    }

    /// Looks at the next part. True when everything is known that the purpose asks for.
    pub fn step(&mut self, machine: &mut Machine<'_>) -> bool {
        match self.part.take() {
            Some(Part::Running(mut check, mut source)) => match check.step(&mut source) {
                Ok(false) => self.part = Some(Part::Running(check, source)),
                Ok(true) => self.running = Some(Ok(())),
                Err(fault) => self.running = Some(Err(fault.to_string())),
            },
            Some(Part::Other(mut check, found)) => match machine.slot.as_mut().map(|slot| check.step(*slot)) {
                Some(Ok(false)) => self.part = Some(Part::Other(check, found)),
                Some(Ok(true)) => self.other = Some(Ok(found)),
                Some(Err(fault @ Fault::Read(..))) => self.other = Some(Err(Unsound::Unreadable(fault.to_string()))),
                Some(Err(fault)) => self.other = Some(Err(Unsound::Content(fault.to_string()))),
                None => self.other = Some(Err(Unsound::Unreadable("there is none".into()))),
            },
            None if self.wants_running() => match open_running(machine) {
                Ok(part) => self.part = Some(part),
                Err(why) => self.running = Some(Err(why)),
            },
            None if self.wants_other() => match open_other(machine) {
                Ok(part) => self.part = Some(part),
                Err(why) => self.other = Some(Err(why)),
            },
            None => return true,
        }
        false
    }
}

/// The slot that runs, read from its partition; not through the base, whose blocks are read only when somebody needs them.
fn open_running(machine: &Machine<'_>) -> Result<Part, String> {
    let mut source = File::open(&format!("/dev/disk/by-partlabel/{}", machine.running.partition()))
        .map_err(|why| rt::errno::text(why).to_string())?;
    // From the disk, not from what an earlier look left in memory.
    source.settle().map_err(|why| rt::errno::text(why).to_string())?;
    Ok(Part::Running(Check::new(machine.area, machine.header), source))
}

/// The other one: whose release it is.
fn open_other(machine: &mut Machine<'_>) -> Result<Part, Unsound> {
    let unreadable = |why: Errno| Unsound::Unreadable(rt::errno::text(why).into());
    let slot = machine.slot.as_mut().ok_or(Unsound::Unreadable("there is none".into()))?;
    slot.settle().map_err(unreadable)?;
    let mut area = vec![0; AREA_SIZE];
    slot.read(0, &mut area).map_err(unreadable)?;
    let trusted = accept(&area, &machine.facts.trust()).map_err(|why| Unsound::Content(why.to_string()))?;
    let check = Check::new(&area, &trusted.header);
    let (digest, key_set) = (trusted.digest, trusted.key_set.version);
    Ok(Part::Other(check, Box::new(Other { header: trusted.header, digest, key_set })))
}
