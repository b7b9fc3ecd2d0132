//! What an open file can do, and the object behind a handle.

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use linux::Errno;
use linux::dirent;
use linux::flags::{
    FIONREAD, O_ACCMODE, O_APPEND, O_ASYNC, O_DIRECT, O_DSYNC, O_NOATIME, O_NONBLOCK, O_PATH, O_RDONLY, O_SYNC,
    O_WRONLY, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET,
};

use crate::inode::{Kind, Metadata};
use crate::world::{Mutex, mutex};
use crate::{Path, Sink, Source, World};

/// Remembers the wait queues on which a file's readiness will be told.
pub trait Watch<'a, W: World> {
    /// `queue` is woken when what `poll` returned may have changed.
    fn on(&mut self, queue: &'a W::WaitQueue);
}

/// What `fallocate` does to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Room for it is set aside, and the file ends behind it at the earliest.
    Extend,
    /// Room for it is set aside; the size stays.
    Keep,
    /// It becomes a hole; the size stays.
    Punch,
}

/// An open file, as its kind sees it: a regular file of some file system, a directory, a device, an end of a pipe.
///
/// Flags are those of the open file at the time of the call (`O_NONBLOCK`, `O_APPEND`). A read that moves some bytes and then fails returns
/// the error: [`OpenFile`] then reports the bytes. A write fails only when nothing was written.
pub trait File<W: World>: Send + Sync {
    /// Whether it has positions; if not, offsets are 0 and do not matter.
    fn is_seekable(&self) -> bool {
        false
    }

    /// Where its end is, when that is not what its node says: a device's.
    fn size(&self) -> Option<u64> {
        None
    }

    /// Gives bytes from `offset` to `to`.
    ///
    /// # Errors
    /// `EINVAL` when it cannot be read; `EAGAIN`, `EINTR`, `EIO`, `EFAULT`.
    fn read(&self, _offset: u64, _to: &mut dyn Sink, _flags: u32) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Takes bytes from `from` to `offset`, or to the end with `O_APPEND`; returns the offset behind them.
    ///
    /// # Errors
    /// `EINVAL` when it cannot be written; `EAGAIN`, `EINTR`, `EIO`, `EFAULT`, `ENOSPC`, `EFBIG`, `EPIPE`.
    fn write(&self, _offset: u64, _from: &mut dyn Source, _flags: u32) -> Result<u64, Errno> {
        Err(Errno::EINVAL)
    }

    /// What it is ready for (`POLLIN` …). With `watch`, also names the queues that are woken when this changes.
    fn poll<'a>(&'a self, _watch: Option<&mut dyn Watch<'a, W>>) -> u16 {
        POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
    }

    /// Device control. `argument` is a number or an address of the caller.
    ///
    /// # Errors
    /// `ENOTTY` for a request that it does not have.
    fn ioctl(&self, _request: u32, _argument: u64, _flags: u32) -> Result<u64, Errno> {
        Err(Errno::ENOTTY)
    }

    /// The page `index` for a mapping; `write` for a shared mapping that is written.
    ///
    /// # Errors
    /// `ENXIO` beyond the end; `ENODEV` when it cannot be mapped; `ENOMEM`, `ENOSPC`.
    fn page(&self, _index: u64, _write: bool) -> Result<W::Page, Errno> {
        Err(Errno::ENODEV)
    }

    /// The same to read, if it is at hand: without waiting, and without work.
    fn page_at_hand(&self, _index: u64) -> Option<W::Page> {
        None
    }

    /// Whether [`File::page`] gives pages.
    fn is_mappable(&self) -> bool {
        false
    }

    /// Makes what was written to these bytes lasting: on stable media when it returns. `data_only` leaves out what nobody needs to read them
    /// again, such as times.
    ///
    /// # Errors
    /// `EINVAL` for what has nothing to last; `EIO`, also once for what a write-back since the last call could not do.
    fn sync(&self, _bytes: Range<u64>, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Hands what was written to these bytes to the device, which may keep it where a loss of power takes it (`sync_file_range`).
    ///
    /// # Errors
    /// `EIO`.
    fn write_out(&self, _bytes: Range<u64>) -> Result<(), Errno> {
        Ok(())
    }

    /// `fallocate`. The range is not empty and ends at [`OFFSET_MAX`] at the latest.
    ///
    /// # Errors
    /// `ENODEV` for what is no regular file; `ENOSPC`, `EFBIG`, `EOPNOTSUPP`.
    fn allocate(&self, _how: Allocate, _offset: u64, _length: u64) -> Result<(), Errno> {
        Err(Errno::ENODEV)
    }

    /// Next data at or behind `offset` (`hole` false), or next hole: `SEEK_DATA`, `SEEK_HOLE`.
    ///
    /// # Errors
    /// `ENXIO` behind the end.
    fn seek_data(&self, offset: u64, size: u64, hole: bool) -> Result<u64, Errno> {
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        Ok(if hole { size } else { offset })
    }

    /// The file's own kind of object, for those who know it (a terminal, a pipe).
    fn as_any(&self) -> Option<&(dyn core::any::Any + Send + Sync)> {
        None
    }
}

/// The object behind a handle: a place, what can be done with it, flags and an offset. Handles made by `dup` and `fork` share it.
pub struct OpenFile<W: World> {
    path: Path<W>,
    /// `None` for `O_PATH`.
    file: Option<Arc<dyn File<W>>>,
    flags: AtomicU32,
    offset: Mutex<W, u64>,
    /// Failures of the volume that its user knows of.
    failures_seen: AtomicU64,
}

/// The flags that `F_SETFL` changes.
const CHANGEABLE: u32 = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK;

/// Of `O_SYNC`, the bit that is not `O_DSYNC`.
const SYNC_BIT: u32 = O_SYNC & !O_DSYNC;

/// Largest offset.
pub const OFFSET_MAX: u64 = i64::MAX as u64;

impl<W: World> OpenFile<W> {
    /// An open file at `path`. `flags` are those of `open`.
    #[must_use]
    pub fn new(path: Path<W>, file: Option<Arc<dyn File<W>>>, flags: u32) -> Arc<Self> {
        let failures_seen = AtomicU64::new(path.mount().volume().file_system().failures());
        Arc::new(Self { path, file, flags: AtomicU32::new(flags), offset: mutex::<W, _>(0), failures_seen })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path<W> {
        &self.path
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.path.inode().kind()
    }

    /// What `fstat` tells.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.path.inode().metadata()
    }

    /// Access mode and status flags, for `F_GETFL`.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Changes the status flags, for `F_SETFL`; others in `flags` are ignored.
    pub fn set_flags(&self, flags: u32) {
        let _ = self
            .flags
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(old & !CHANGEABLE | flags & CHANGEABLE));
    }

    /// Opened for reading.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        matches!(self.flags() & O_ACCMODE, O_RDONLY | 2) && !self.is_path()
    }

    /// Opened for writing.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        matches!(self.flags() & O_ACCMODE, O_WRONLY | 2) && !self.is_path()
    }

    /// Opened with `O_PATH`: only a place.
    #[must_use]
    pub fn is_path(&self) -> bool {
        self.flags() & O_PATH != 0
    }

    /// What can be done with it.
    ///
    /// # Errors
    /// `EBADF` when it was opened with `O_PATH`.
    pub fn file(&self) -> Result<&Arc<dyn File<W>>, Errno> {
        self.file.as_ref().ok_or(Errno::EBADF)
    }

    fn for_reading(&self) -> Result<&Arc<dyn File<W>>, Errno> {
        let file = self.file()?;
        if !self.is_readable() {
            return Err(Errno::EBADF);
        }
        if self.kind() == Kind::Directory { Err(Errno::EISDIR) } else { Ok(file) }
    }

    fn for_writing(&self) -> Result<&Arc<dyn File<W>>, Errno> {
        let file = self.file()?;
        if self.is_writable() { Ok(file) } else { Err(Errno::EBADF) }
    }

    /// `read`, `readv`.
    ///
    /// # Errors
    /// `EBADF`, `EISDIR`, and what the file says before any byte was read.
    pub fn read(&self, to: &mut dyn Sink) -> Result<usize, Errno> {
        let file = self.for_reading()?;
        if !file.is_seekable() {
            return read_counted(&**file, 0, to, self.flags());
        }
        let mut offset = self.offset.lock();
        let count = read_counted(&**file, *offset, to, self.flags())?;
        *offset += count as u64;
        Ok(count)
    }

    /// `pread64`, `preadv`.
    ///
    /// # Errors
    /// As `read`; `ESPIPE` without positions.
    pub fn read_at(&self, offset: u64, to: &mut dyn Sink) -> Result<usize, Errno> {
        let file = self.for_reading()?;
        if !file.is_seekable() {
            return Err(Errno::ESPIPE);
        }
        read_counted(&**file, offset, to, self.flags())
    }

    /// `write`, `writev`.
    ///
    /// # Errors
    /// `EBADF`, and what the file says before any byte was written.
    pub fn write(&self, from: &mut dyn Source) -> Result<usize, Errno> {
        let file = self.for_writing()?;
        if !file.is_seekable() {
            return self.write_counted(&**file, 0, from).map(|(count, _)| count);
        }
        let mut offset = self.offset.lock();
        let (count, behind) = self.write_counted(&**file, *offset, from)?;
        *offset = behind;
        Ok(count)
    }

    /// `pwrite64`, `pwritev`.
    ///
    /// # Errors
    /// As `write`; `ESPIPE` without positions.
    pub fn write_at(&self, offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        let file = self.for_writing()?;
        if !file.is_seekable() {
            return Err(Errno::ESPIPE);
        }
        // Linux appends even here (pwrite(2), BUGS), and programs have come to know it.
        self.write_counted(&**file, offset, from).map(|(count, _)| count)
    }

    /// `lseek`.
    ///
    /// # Errors
    /// `ESPIPE` without positions; `EINVAL` for a wrong `whence` or a place before the start; `ENXIO` for `SEEK_DATA` and `SEEK_HOLE`.
    pub fn seek(&self, distance: i64, whence: u32) -> Result<u64, Errno> {
        let file = self.file()?;
        if !file.is_seekable() {
            return Err(Errno::ESPIPE);
        }
        let mut offset = self.offset.lock();
        let from = |base: u64| base.checked_add_signed(distance).filter(|&to| to <= OFFSET_MAX).ok_or(Errno::EINVAL);
        let size = || file.size().unwrap_or_else(|| self.metadata().size);
        let to = match whence {
            SEEK_SET => from(0)?,
            SEEK_CUR => from(*offset)?,
            SEEK_END => from(size())?,
            SEEK_DATA | SEEK_HOLE => {
                let start = u64::try_from(distance).map_err(|_| Errno::ENXIO)?;
                file.seek_data(start, size(), whence == SEEK_HOLE)?
            }
            _ => return Err(Errno::EINVAL),
        };
        *offset = to;
        Ok(to)
    }

    /// The offset now.
    #[must_use]
    pub fn position(&self) -> u64 {
        *self.offset.lock()
    }

    /// `getdents64`: adds the records that fit.
    ///
    /// # Errors
    /// `ENOTDIR`; `EINVAL` when not even one fits; `ENOENT` when the directory was removed.
    pub fn read_directory(&self, writer: &mut dirent::Writer<'_>) -> Result<(), Errno> {
        self.file()?;
        if !self.is_readable() {
            return Err(Errno::EBADF);
        }
        let inode = self.path.inode();
        if inode.kind() != Kind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let mut position = self.offset.lock();
        if self.path.dentry().is_dead() {
            return Err(Errno::ENOENT);
        }
        // Positions 0 and 1 are `.` and `..`; the file system's own come behind.
        let (mut at, mut fits) = (*position, true);
        while fits && at < DOTS {
            let (name, place) = if at == 0 { (".", self.path.clone()) } else { ("..", self.path.parent(None)) };
            fits =
                writer.push(place.inode().metadata().number, at + 1, Kind::Directory.directory_type(), name.as_bytes());
            at += u64::from(fits);
        }
        if fits {
            inode.entries(at - DOTS, &mut |number, next, kind, name| {
                fits = writer.push(number, next + DOTS, kind.directory_type(), name);
                if fits {
                    at = next + DOTS;
                }
                fits
            })?;
        }
        *position = at;
        if !fits && writer.used() == 0 { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// `ioctl`, but for what concerns the handle alone.
    ///
    /// # Errors
    /// `EBADF`, `ENOTTY`, what the device says.
    pub fn ioctl(&self, request: u32, argument: u64) -> Result<u64, Errno> {
        self.file()?.ioctl(request, argument, self.flags())
    }

    /// Bytes between the offset and the end of a regular file: its `FIONREAD`.
    #[must_use]
    pub fn bytes_ahead(&self, request: u32) -> Option<u64> {
        (request == FIONREAD && self.kind() == Kind::Regular)
            .then(|| self.metadata().size.saturating_sub(*self.offset.lock()))
    }

    /// What it is ready for, and on which queues that is told.
    pub fn poll<'a>(&'a self, watch: Option<&mut dyn Watch<'a, W>>) -> u16 {
        self.file.as_ref().map_or(linux::flags::POLLNVAL, |file| file.poll(watch))
    }

    /// `ftruncate`.
    ///
    /// # Errors
    /// `EINVAL` when it is not open for writing or no regular file; `EFBIG`.
    pub fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.file()?;
        if !self.is_writable() || self.kind() != Kind::Regular || size > OFFSET_MAX {
            return Err(Errno::EINVAL);
        }
        self.path.inode().truncate(size)
    }

    /// `fsync`, `fdatasync`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`, `EIO`.
    pub fn sync(&self, data_only: bool) -> Result<(), Errno> {
        self.file()?.sync(0..u64::MAX, data_only)
    }

    /// `syncfs`
    ///
    /// # Errors
    /// `EBADF`; `EIO` and others when something of the volume could not be written since the last call.
    pub fn sync_volume(&self) -> Result<(), Errno> {
        self.file()?;
        self.path.mount().volume().file_system().sync(Some(&self.failures_seen))
    }

    /// `sync_file_range`, which waits whatever the flags say. A length of 0 means up to the end.
    ///
    /// # Errors
    /// `EINVAL` for a range that is none; `ESPIPE` for what has no pages; `EIO`.
    pub fn write_out(&self, offset: i64, length: i64) -> Result<(), Errno> {
        let file = self.file()?;
        let start = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let end = offset.checked_add(length).filter(|end| *end >= offset).ok_or(Errno::EINVAL)?;
        if !matches!(self.kind(), Kind::Regular | Kind::Block | Kind::Directory | Kind::Link) {
            return Err(Errno::ESPIPE);
        }
        file.write_out(start..if length == 0 { u64::MAX } else { end.cast_unsigned() })
    }

    /// `fallocate`.
    ///
    /// # Errors
    /// `EBADF` when not open for writing; `ESPIPE`, `EISDIR`, `ENODEV` for what is no regular file; `EFBIG`, `ENOSPC`, `EOPNOTSUPP`.
    pub fn allocate(&self, how: Allocate, offset: u64, length: u64) -> Result<(), Errno> {
        let file = self.for_writing()?;
        match self.kind() {
            Kind::Regular => {}
            Kind::Fifo => return Err(Errno::ESPIPE),
            Kind::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::ENODEV),
        }
        let end = offset.checked_add(length).filter(|&end| end <= OFFSET_MAX).ok_or(Errno::EFBIG)?;
        file.allocate(how, offset, end - offset)?;
        self.last(offset, end, self.flags())
    }

    /// With `O_SYNC` or `O_DSYNC`, what was just written lasts before the call returns (Linux `generic_write_sync`).
    fn last(&self, start: u64, end: u64, flags: u32) -> Result<(), Errno> {
        if flags & O_DSYNC == 0 || end <= start {
            return Ok(());
        }
        self.file()?.sync(start..end, flags & SYNC_BIT == 0)
    }

    /// Bytes written and the offset behind them.
    fn write_counted(&self, file: &dyn File<W>, offset: u64, from: &mut dyn Source) -> Result<(usize, u64), Errno> {
        let (before, flags) = (from.done(), self.flags());
        let behind = file.write(offset, from, flags)?;
        let count = from.done() - before;
        // Where nothing lasts (a pipe), `sync` is not asked: only files with positions have pages.
        if file.is_seekable() {
            self.last(behind.saturating_sub(count as u64), behind, flags)?;
        }
        Ok((count, behind))
    }
}

const DOTS: u64 = 2;

impl<W: World> Drop for OpenFile<W> {
    fn drop(&mut self) {
        W::closed(self);
    }
}

impl<W: World> core::fmt::Debug for OpenFile<W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "OpenFile({:?}, {:#o})", self.path, self.flags())
    }
}

fn read_counted<W: World>(file: &dyn File<W>, offset: u64, to: &mut dyn Sink, flags: u32) -> Result<usize, Errno> {
    let before = to.done();
    let result = file.read(offset, to, flags);
    match to.done() - before {
        0 => result.map(|()| 0),
        count => Ok(count),
    }
}
