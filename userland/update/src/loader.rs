//! The loader that a release carries, put into the second loader file where it is another than the one that the firmware starts. It is written, settled and read
//! back as a slot is; the write that lets the release be tried then says that its loader is to be tried with it.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use bootctl::Loader;
use release::{Header, SectionKind};
use rt::Errno;

use crate::{CHUNK, Loaders, Source};

/// Why the second file does not hold the loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The release's own, in its slot, cannot be read.
    Slot(Errno),
    /// It is larger than the file.
    TooLarge(u64),
    /// The file cannot be written.
    Write(Errno),
    /// It cannot be settled.
    Settle(Errno),
    /// One of the files cannot be read.
    Read(Errno),
    /// What was read back is not what was written.
    ReadBack,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(why) => write!(f, "cannot read the release's loader: {}", rt::errno::text(*why)),
            Self::TooLarge(size) => {
                write!(f, "the release's loader is larger than the second loader file, of {size} bytes")
            }
            Self::Write(why) => write!(f, "cannot write the second loader file: {}", rt::errno::text(*why)),
            Self::Settle(why) => write!(f, "the second loader file did not reach the disk: {}", rt::errno::text(*why)),
            Self::Read(why) => write!(f, "cannot read a loader file: {}", rt::errno::text(*why)),
            Self::ReadBack => f.write_str("read back from the second loader file: it is not what was written"),
        }
    }
}

enum State {
    Compare,
    Write(u64),
    Settle,
    ReadBack(u64),
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is more to do.
    GoesOn,
    /// The firmware starts this loader already.
    IsFirst,
    /// The second file holds it.
    IsSecond(Loader),
}

/// A loader on its way.
pub struct Update {
    loader: Loader,
    /// As the file is to be: the loader, then zeros.
    file: Vec<u8>,
    state: State,
}

impl Update {
    /// Of a release in its slot, which was read back and found right. `None` when it carries none.
    ///
    /// # Errors
    /// Why it cannot be put into a file of `size` bytes.
    pub fn of(header: &Header, slot: &mut (impl Source + ?Sized), size: u64) -> Result<Option<Self>, Failure> {
        let Some(section) = header.section(SectionKind::Loader) else { return Ok(None) };
        let length = u32::try_from(section.length).ok().filter(|&length| u64::from(length) <= size);
        let length = length.ok_or(Failure::TooLarge(size))?;
        let mut file = vec![0; size as usize];
        slot.read(section.offset, &mut file[..length as usize]).map_err(Failure::Slot)?;
        let loader = Loader { digest: section.digest, length, security: header.loader_security_version };
        Ok(Some(Self { loader, file, state: State::Compare }))
    }

    /// Bytes that were written or read back, of so many.
    pub fn progress(&self) -> (u64, u64) {
        let size = self.file.len() as u64;
        let done = match self.state {
            State::Compare => 0,
            State::Write(at) => at,
            State::Settle => size,
            State::ReadBack(at) => size + at,
        };
        (done, 2 * size)
    }

    /// Does the next piece.
    ///
    /// # Errors
    /// Why it ended.
    pub fn step(&mut self, files: &mut (impl Loaders + ?Sized)) -> Result<Outcome, Failure> {
        let (size, mut part) = (self.file.len() as u64, vec![0; CHUNK.min(self.file.len())]);
        let end = |at: u64| (at + CHUNK as u64).min(size);
        self.state = match self.state {
            State::Compare => {
                let length = self.loader.length as usize;
                let mut is_first = true;
                for (index, mine) in self.file[..length].chunks(CHUNK).enumerate() {
                    let there = &mut part[..mine.len()];
                    files.read_first((index * CHUNK) as u64, there).map_err(Failure::Read)?;
                    is_first &= there == mine;
                }
                if is_first {
                    return Ok(Outcome::IsFirst);
                }
                State::Write(0)
            }
            State::Write(at) if at < size => {
                let mine = &self.file[at as usize..end(at) as usize];
                let there = &mut part[..mine.len()];
                // What is there already is left alone; what cannot be read is written.
                if files.read(at, there).is_err() || there != mine {
                    files.write(at, mine).map_err(Failure::Write)?;
                }
                State::Write(end(at))
            }
            State::Write(_) => State::Settle,
            State::Settle => {
                files.settle().map_err(Failure::Settle)?;
                State::ReadBack(0)
            }
            State::ReadBack(at) if at < size => {
                let mine = &self.file[at as usize..end(at) as usize];
                let there = &mut part[..mine.len()];
                files.read(at, there).map_err(Failure::Read)?;
                if there != mine {
                    return Err(Failure::ReadBack);
                }
                State::ReadBack(end(at))
            }
            State::ReadBack(_) => return Ok(Outcome::IsSecond(self.loader)),
        };
        Ok(Outcome::GoesOn)
    }
}
