//! From the first byte to the trial. The order is what makes it safe, and every write of the block is on stable media before the next step:
//!
//! 1. The slot is made unbootable.
//! 2. The release is copied to it; what is there already is left alone, so that an install that was cut goes on where it stopped, by what the slot
//!    holds and not by what somebody noted.
//! 3. The slot is settled: on stable media, and read from there afterwards.
//! 4. All of it is read back and held to the header and signatures that were verified, not to the source.
//! 5. Where its loader is another than the one that the firmware starts, that goes into the second loader file in the same way (`loader`).
//! 6. One write of the block gives the slot priority and tries, and its loader starts; a copy of the running release is good as it is.
//!
//! A cut before 6 leaves a slot that nothing boots; the running one was never touched.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use bootctl::{change, change::Release};
use release::{AREA_SIZE, Header};
use rt::Errno;

use crate::content::{self, Check, Fault};
use crate::loader::{self, Outcome, Update};
use crate::{BootControl, CHUNK, Loaders, Slot, Source};

/// The first bytes of a part tell most often that the slot holds another's there: the rest is then not read before it is written.
const LOOK: usize = 4 << 10;

/// Why an install ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The release cannot be read.
    Source(u64, Errno),
    /// The slot cannot be written.
    Slot(u64, Errno),
    /// The slot cannot be settled.
    Settle(Errno),
    /// What was read back is not what was verified.
    ReadBack(Fault),
    /// Its loader.
    Loader(loader::Failure),
    /// The boot-control block cannot be written.
    BootControl(Errno),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(at, Errno::NODATA) => write!(f, "the release ends before byte {at}"),
            Self::Source(at, why) => write!(f, "cannot read the release at byte {at}: {}", rt::errno::text(*why)),
            Self::Slot(at, why) => write!(f, "cannot write the slot at byte {at}: {}", rt::errno::text(*why)),
            Self::Settle(why) => write!(f, "the slot's bytes did not reach the disk: {}", rt::errno::text(*why)),
            Self::ReadBack(fault) => write!(f, "read back from the slot: {fault}"),
            Self::Loader(why) => why.fmt(f),
            Self::BootControl(why) => write!(f, "cannot write the boot-control block: {}", rt::errno::text(*why)),
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is done just now.
    pub phase: &'static str,
    /// Bytes of it.
    pub done: u64,
    /// Of so many.
    pub all: u64,
}

enum State {
    Begin,
    Copy(u64),
    Settle,
    ReadBack(Check),
    Loader(Update),
    Arm(Option<bootctl::Loader>),
    Done,
}

/// What the slot is filled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be tried at the next boot.
    Trial,
    /// To be fallen back to: it is a copy of the running release.
    Copy,
}

/// A release on its way into a slot.
pub struct Install {
    purpose: Purpose,
    area: Vec<u8>,
    header: Header,
    release: Release,
    slot: bootctl::Slot,
    end: u64,
    state: State,
    written: u64,
    given: Vec<u8>,
    there: Vec<u8>,
}

impl Install {
    /// Of a release that was judged: its first [`AREA_SIZE`] bytes, which are not read again.
    pub fn new(area: &[u8], header: &Header, release: Release, slot: bootctl::Slot, purpose: Purpose) -> Self {
        Self {
            purpose,
            area: area[..AREA_SIZE].into(),
            header: header.clone(),
            release,
            slot,
            end: content::end(header),
            state: State::Begin,
            written: 0,
            given: vec![0; CHUNK],
            there: vec![0; CHUNK],
        }
    }

    /// Bytes that were written to the slot.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What it installs.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let (phase, (done, all)) = match &self.state {
            State::Begin => ("copy", (0, self.end)),
            State::Copy(at) => ("copy", (*at, self.end)),
            State::Settle => ("copy", (self.end, self.end)),
            State::ReadBack(check) => ("read-back", check.progress()),
            State::Loader(update) => ("loader", update.progress()),
            State::Arm(_) | State::Done => ("read-back", (self.end, self.end)),
        };
        Progress { phase, done, all }
    }

    /// The next step. True when the slot is ready to be tried. `loaders`: none on a disk that has no two loader files; its loader then stays as it is.
    ///
    /// # Errors
    /// Why it ended; the slot cannot be booted then.
    pub fn step(
        &mut self,
        source: &mut (impl Source + ?Sized),
        slot: &mut (impl Slot + ?Sized),
        loaders: Option<&mut (impl Loaders + ?Sized)>,
        boot: &mut (impl BootControl + ?Sized),
    ) -> Result<bool, Failure> {
        self.state = match core::mem::replace(&mut self.state, State::Done) {
            State::Begin => {
                let begun = change::begin(&boot.read().map_err(Failure::BootControl)?, self.slot);
                boot.write(&begun).map_err(Failure::BootControl)?;
                State::Copy(0)
            }
            State::Copy(at) if at < self.end => State::Copy(self.copy(at, source, slot)?),
            State::Copy(_) => State::Settle,
            State::Settle => {
                slot.settle().map_err(Failure::Settle)?;
                State::ReadBack(Check::new(&self.area, &self.header))
            }
            State::ReadBack(mut check) => match check.step(slot).map_err(Failure::ReadBack)? {
                true => self.with_loader(slot, loaders.map(|files| files.size()))?,
                false => State::ReadBack(check),
            },
            State::Loader(mut update) => {
                // The update was made for these files.
                let files = loaders.ok_or(Failure::Loader(loader::Failure::Read(Errno::NXIO)))?;
                match update.step(files).map_err(Failure::Loader)? {
                    Outcome::GoesOn => State::Loader(update),
                    Outcome::IsFirst => State::Arm(None),
                    Outcome::IsSecond(loader) => State::Arm(Some(loader)),
                }
            }
            State::Arm(loader) => {
                let block = boot.read().map_err(Failure::BootControl)?;
                let ready = match self.purpose {
                    Purpose::Trial => change::arm(&block, self.slot, &self.release, loader),
                    Purpose::Copy => change::copied(&block, self.slot.other()),
                };
                boot.write(&ready).map_err(Failure::BootControl)?;
                State::Done
            }
            State::Done => State::Done,
        };
        Ok(matches!(self.state, State::Done))
    }

    /// A release that is only a copy has its loader where it is.
    fn with_loader(&self, slot: &mut (impl Slot + ?Sized), size: Option<u64>) -> Result<State, Failure> {
        let (Purpose::Trial, Some(size)) = (self.purpose, size) else { return Ok(State::Arm(None)) };
        let update = Update::of(&self.header, slot, size).map_err(Failure::Loader)?;
        Ok(update.map_or(State::Arm(None), State::Loader))
    }

    fn copy(
        &mut self,
        at: u64,
        source: &mut (impl Source + ?Sized),
        slot: &mut (impl Slot + ?Sized),
    ) -> Result<u64, Failure> {
        let length = (self.end - at).min(CHUNK as u64) as usize;
        let (given, there) = (&mut self.given[..length], &mut self.there[..length]);
        source.read(at, given).map_err(|why| Failure::Source(at, why))?;
        if let Some(kept) = self.area.get(at as usize..).filter(|kept| !kept.is_empty()) {
            given[..kept.len()].copy_from_slice(kept);
        }
        // What cannot be read is written.
        let mut holds = |part: Range<usize>| {
            let (there, given) = (&mut there[part.clone()], &given[part.clone()]);
            slot.read(at + part.start as u64, there).is_ok() && there == given
        };
        let look = LOOK.min(length);
        if !(holds(0..look) && holds(look..length)) {
            slot.write(at, given).map_err(|why| Failure::Slot(at, why))?;
            self.written += length as u64;
        }
        Ok(at + length as u64)
    }
}
