//! The interfaces over files and devices.

use alloc::string::String;
use alloc::vec::Vec;

use bootctl::{Block, SIZE};
use release::Header;
use rt::Errno;
use rt::rustix::fd::OwnedFd;
use rt::rustix::fs::{Mode, OFlags, SeekFrom, fsync, open, seek};
use rt::rustix::io::{pread, pwrite};

use crate::facts::Facts;
use crate::{BootControl, Loaders, Slot, Source};

/// What the loader held the system to, for who only looks.
const FACTS: &str = "/proc/boot";
const FACTS_MAX: usize = 4096;
/// The operator's window.
const WINDOW: &str = "/data/etc/update/window";
const SMALL_MAX: usize = 4096;

/// A file or a device.
pub struct File {
    fd: OwnedFd,
    size: u64,
}

impl File {
    /// Opens one to read it.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &str) -> Result<Self, Errno> {
        Self::of(open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?)
    }

    /// One that was opened.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(fd: OwnedFd) -> Result<Self, Errno> {
        let size = seek(&fd, SeekFrom::End(0))?;
        Ok(Self { fd, size })
    }
}

impl Source for File {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < into.len() {
            match pread(&self.fd, &mut into[done..], at + done as u64) {
                Ok(0) => return Err(Errno::NODATA),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }
}

impl Slot for File {
    fn size(&self) -> u64 {
        self.size
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut done = 0;
        while done < bytes.len() {
            match pwrite(&self.fd, &bytes[done..], at + done as u64) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Errno> {
        fsync(&self.fd)?;
        rt::device::forget(&self.fd)
    }
}

/// What init opens for the service.
pub struct Devices {
    /// The boot-control block.
    pub boot: BootDevice,
    /// The slot that does not run.
    pub slot: Option<File>,
    /// The two loader files.
    pub loaders: Option<LoaderDevice>,
}

/// /dev/loader: the second file, and behind it the first.
pub struct LoaderDevice(File);

impl LoaderDevice {
    /// One that was opened.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(fd: OwnedFd) -> Result<Self, Errno> {
        File::of(fd).map(Self)
    }
}

impl Source for LoaderDevice {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.0.read(at, into)
    }
}

impl Slot for LoaderDevice {
    fn size(&self) -> u64 {
        self.0.size / 2
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.0.write(at, bytes)
    }

    fn settle(&mut self) -> Result<(), Errno> {
        self.0.settle()
    }
}

impl Loaders for LoaderDevice {
    fn read_first(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.0.read(self.size() + at, into)
    }

    fn swap(&mut self) -> Result<(), Errno> {
        rt::device::swap_loaders(&self.0.fd)
    }
}

/// /dev/bootctl.
pub struct BootDevice(pub OwnedFd);

impl BootDevice {
    /// To look at the block only.
    ///
    /// # Errors
    /// What the system says.
    pub fn open() -> Result<Self, Errno> {
        open("/dev/bootctl", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(Self)
    }
}

impl BootControl for BootDevice {
    fn read(&mut self) -> Result<Block, Errno> {
        let mut bytes = [0; SIZE];
        match pread(&self.0, &mut bytes, 0)? {
            SIZE => Block::parse(&bytes).ok_or(Errno::IO),
            _ => Err(Errno::IO),
        }
    }

    fn write(&mut self, block: &Block) -> Result<(), Errno> {
        match pwrite(&self.0, block.bytes(), 0)? {
            SIZE => Ok(()),
            _ => Err(Errno::IO),
        }
    }
}

/// What the loader held the system to.
///
/// # Errors
/// What the system says; `Errno::ILSEQ` for a text that is none of the kernel's.
pub fn facts() -> Result<Facts, Errno> {
    Facts::parse(&rt::fs::read_text(FACTS, FACTS_MAX)?).ok_or(Errno::ILSEQ)
}

/// The same, and header area and header of the release that runs, from descriptors of /proc/boot and /proc/release that were opened before anybody could mount
/// something else over them.
///
/// # Errors
/// What the system says; `Errno::ILSEQ` for what is none of the kernel's.
pub fn running(facts: &OwnedFd, release: &OwnedFd) -> Result<(Facts, Vec<u8>, Header), Errno> {
    let text = String::from_utf8(whole(facts, FACTS_MAX)?).map_err(|_| Errno::ILSEQ)?;
    let facts = Facts::parse(&text).ok_or(Errno::ILSEQ)?;
    let area = whole(release, release::AREA_SIZE)?;
    let header = Header::parse(&area).map_err(|_| Errno::ILSEQ)?;
    Ok((facts, area, header))
}

/// All of a file, from its start.
fn whole(file: &OwnedFd, max: usize) -> Result<Vec<u8>, Errno> {
    let (mut bytes, mut part) = (Vec::new(), [0; 1024]);
    loop {
        match pread(file, &mut part, bytes.len() as u64) {
            Ok(0) => return Ok(bytes),
            Ok(count) if bytes.len() + count > max => return Err(Errno::FBIG),
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(Errno::INTR) => {}
            Err(why) => return Err(why),
        }
    }
}

/// The operator's window as text, where he has given one.
pub fn window() -> Option<String> {
    rt::fs::read_text(WINDOW, SMALL_MAX).ok().map(|text| text.trim().into())
}

/// Keeps the operator's window.
///
/// # Errors
/// What the system says.
pub fn set_window(text: &str) -> Result<(), Errno> {
    if let Some((folder, _)) = WINDOW.rsplit_once('/') {
        rt::fs::make_folders(folder)?;
    }
    rt::fs::replace(WINDOW, text.as_bytes(), true)
}
