//! /dev/loader: the loader files of the disk that was booted from (docs/formats/disk.md), by whole sectors and past every cache. Its first half is the second
//! file, its other half the one that the firmware starts, which nobody writes. One request lets the two change places.
//!
//! Only the first process can open it for writing, before it starts any other, and hands it to the service that updates the system. The second file is not
//! written while the boot-control block names it as on trial; and the two change places only in a boot through that very loader.

use alloc::sync::Arc;
use alloc::vec;

use bootctl::{Loader, LoaderTrial};
use esp::Files;
use linux::Errno;
use linux::flags::{BLKFLSBUF, LOADER_SWAP, O_ACCMODE, O_RDONLY, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use sha256::{Engine, Hasher};
use vfs::{Sink, Source};

use super::{Kernel, bootctl as control, devices};
use crate::drivers::block::{self, Disk, Kind, Part, SECTOR};
use crate::{boot, event};

/// Bytes that are read or written at once.
const CHUNK: usize = 64 << 10;

/// Opens the device.
///
/// # Errors
/// `ENXIO` when the disk that was booted from has no such files; to write it `EPERM` for all but the first process, and `EROFS` where no loader said what runs.
pub fn open(flags: u32) -> Result<Arc<dyn vfs::File<Kernel>>, Errno> {
    let part = block::boot_part(Kind::Esp).ok_or(Errno::ENXIO)?;
    devices::check_handed_out(flags)?;
    let open = Open { part };
    open.files()?;
    Ok(Arc::new(open))
}

struct Open {
    part: Arc<Part>,
}

struct Sectors<'d>(&'d Disk);

impl gpt::Disk for Sectors<'_> {
    fn sectors(&self) -> u64 {
        self.0.facts.sectors
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), gpt::Unreadable> {
        self.0.read_sectors(first, into).map_err(|_| gpt::Unreadable)
    }
}

impl Open {
    /// Looked for each time: they change places.
    #[inline(never)]
    fn files(&self) -> Result<Files, Errno> {
        let sectors = self.part.first..self.part.first + self.part.sectors;
        Files::find(&mut Sectors(&self.part.disk), sectors).map_err(|why| {
            event!("loader.files", why = why);
            if why == esp::Error::Unreadable { Errno::EIO } else { Errno::ENXIO }
        })
    }

    /// The file that starts at this sector is this loader.
    fn holds(&self, first: u64, loader: &Loader) -> Result<bool, Errno> {
        let (mut bytes, mut hasher) = (vec![0; CHUNK], Hasher::new(Engine::best()));
        let (mut sector, mut left) = (first, loader.length as usize);
        while left > 0 {
            let count = left.min(CHUNK);
            let whole = &mut bytes[..count.next_multiple_of(SECTOR as usize)];
            self.part.disk.read_sectors(sector, whole)?;
            hasher.update(&whole[..count]);
            (sector, left) = (sector + whole.len() as u64 / SECTOR, left - count);
        }
        Ok(hasher.after(&[]) == loader.digest)
    }

    /// The loader on trial becomes the one that the firmware starts: one sector, on stable media. Nothing to do when it is already.
    #[inline(never)]
    fn swap(&self) -> Result<(), Errno> {
        let refused = |why: &str| {
            event!("loader.refused", why = why);
            Errno::EPERM
        };
        if boot::info().flags & bootinfo::flag::LOADER_ON_TRIAL == 0 {
            return Err(refused("this boot did not come through a loader on trial"));
        }
        control::with_loader_trial(|trial| {
            let Some(LoaderTrial { loader, .. }) = trial else { return Err(refused("no loader is on trial")) };
            let files = self.files()?;
            if loader.length > files.size {
                return Err(refused("the loader on trial is larger than a file"));
            }
            if self.holds(files.main, &loader)? {
                return Ok(());
            }
            if !self.holds(files.second, &loader)? {
                return Err(refused("the second file is not the loader on trial"));
            }
            let mut sector = [0; SECTOR as usize];
            self.part.disk.read_sectors(files.directory, &mut sector)?;
            files.swap(&mut sector);
            self.part.disk.write_sectors(files.directory, &sector)?;
            self.part.disk.flush()?;
            event!("loader.swapped", security = loader.security);
            Ok(())
        })
    }
}

impl vfs::File<Kernel> for Open {
    fn is_seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Option<u64> {
        self.files().ok().map(|files| 2 * u64::from(files.size))
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _flags: u32) -> Result<(), Errno> {
        let files = self.files()?;
        let (mut at, size) = (offset, u64::from(files.size));
        if !offset.is_multiple_of(SECTOR) || !size.is_multiple_of(SECTOR) {
            return Err(Errno::EINVAL);
        }
        let mut bytes = vec![0; CHUNK];
        while to.room() > 0 && at < 2 * size {
            let (first, within) = if at < size { (files.second, at) } else { (files.main, at - size) };
            let count = (to.room() as u64).min(size - within).min(CHUNK as u64);
            let whole = &mut bytes[..count.next_multiple_of(SECTOR) as usize];
            self.part.disk.read_sectors(first + within / SECTOR, whole)?;
            to.put(&whole[..count as usize])?;
            at += count;
        }
        Ok(())
    }

    fn write(&self, offset: u64, from: &mut dyn Source, _flags: u32) -> Result<u64, Errno> {
        let files = self.files()?;
        let end = offset.checked_add(from.left() as u64).ok_or(Errno::EINVAL)?;
        if !offset.is_multiple_of(SECTOR) || !end.is_multiple_of(SECTOR) {
            return Err(Errno::EINVAL);
        }
        if end > u64::from(files.size) {
            return Err(Errno::ENOSPC);
        }
        control::with_loader_trial(|trial| {
            if trial.is_some() {
                return Err(Errno::EBUSY);
            }
            let (mut at, mut bytes) = (offset, vec![0; CHUNK]);
            while from.left() > 0 {
                let wanted = from.left().min(CHUNK);
                if from.take(&mut bytes[..wanted])? != wanted {
                    return Err(Errno::EFAULT);
                }
                self.part.disk.write_sectors(files.second + at / SECTOR, &bytes[..wanted])?;
                at += wanted as u64;
            }
            Ok(at)
        })
    }

    fn sync(&self, _bytes: core::ops::Range<u64>, _data_only: bool) -> Result<(), Errno> {
        self.part.disk.flush()
    }

    fn ioctl(&self, request: u32, _argument: u64, flags: u32) -> Result<u64, Errno> {
        match request {
            // Nothing of it is kept.
            BLKFLSBUF => Ok(0),
            LOADER_SWAP if flags & O_ACCMODE == O_RDONLY => Err(Errno::EBADF),
            LOADER_SWAP => self.swap().map(|()| 0),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn poll<'a>(&'a self, _watch: Option<&mut dyn vfs::Watch<'a, Kernel>>) -> u16 {
        POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
    }
}
