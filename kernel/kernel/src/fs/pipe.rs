//! Pipes, with and without a name (pipe(7), fifo(7)).
//!
//! Bytes move under the pipe's sleeping lock, for the user's memory may have to be brought in. What those look at who wait or poll stands in atomics beside it. A
//! write of at most `PIPE_BUF` bytes goes in whole.

use alloc::format;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use linux::Errno;
use linux::flags::{
    F_GETPIPE_SZ, F_SETPIPE_SZ, FIONREAD, O_ACCMODE, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, POLLERR, POLLHUP, POLLIN,
    POLLOUT, POLLRDNORM, POLLWRNORM, S_IFIFO,
};
use linux::types::{Statfs, Timespec};
use vfs::access::Permission;
use vfs::inode::{Change, Metadata, Special};
use vfs::ring::Ring;
use vfs::{PAGE_SIZE, Sink, Source};

use super::{Kernel, Mount, OpenFile, Path, Volume};
use crate::clock;
use crate::mm::{PageRef, user};
use crate::process::current;
use crate::sched::WaitQueue;
use crate::sync::{Mutex, Once, Rank, SpinLock, mutex};

/// Bytes that a pipe holds at first, and at most.
const CAPACITY: usize = 16 * PAGE_SIZE;
const CAPACITY_MAX: usize = 1 << 20;
/// Bytes that are written whole or not at all.
const PIPE_BUF: usize = PAGE_SIZE;
/// `PIPEFS_MAGIC`.
const MAGIC: i64 = 0x5049_5045;

/// The bytes, and who is at the ends.
pub struct Pipe {
    ring: Mutex<Ring<PageRef>>,
    /// Of the ring, to be looked at without its lock.
    filled: AtomicUsize,
    capacity: AtomicUsize,
    readers: AtomicUsize,
    writers: AtomicUsize,
    /// Times that a reader or a writer came: who waits in `open` for one must not miss a short visit.
    reader_visits: AtomicUsize,
    writer_visits: AtomicUsize,
    /// Woken when bytes come or the last writer goes.
    readable: WaitQueue,
    /// Woken when bytes go or the last reader goes.
    writable: WaitQueue,
}

impl Pipe {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ring: mutex(Ring::new(CAPACITY)),
            filled: AtomicUsize::new(0),
            capacity: AtomicUsize::new(CAPACITY),
            readers: AtomicUsize::new(0),
            writers: AtomicUsize::new(0),
            reader_visits: AtomicUsize::new(0),
            writer_visits: AtomicUsize::new(0),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
        })
    }

    fn end(self: &Arc<Self>, reads: bool, writes: bool) -> Arc<End> {
        if reads {
            self.readers.fetch_add(1, Ordering::SeqCst);
            self.reader_visits.fetch_add(1, Ordering::SeqCst);
        }
        if writes {
            self.writers.fetch_add(1, Ordering::SeqCst);
            self.writer_visits.fetch_add(1, Ordering::SeqCst);
        }
        self.readable.wake_all();
        self.writable.wake_all();
        Arc::new(End { pipe: self.clone(), reads, writes })
    }

    fn has_readers(&self) -> bool {
        self.readers.load(Ordering::SeqCst) > 0
    }

    fn has_writers(&self) -> bool {
        self.writers.load(Ordering::SeqCst) > 0
    }

    fn filled(&self) -> usize {
        self.filled.load(Ordering::SeqCst)
    }

    fn room(&self) -> usize {
        self.capacity.load(Ordering::SeqCst).saturating_sub(self.filled())
    }

    /// Moves what there is; false when there is nothing.
    fn try_read(&self, to: &mut dyn Sink) -> Result<bool, Errno> {
        if self.filled() == 0 {
            return Ok(false);
        }
        let mut ring = self.ring.lock();
        let before = ring.length();
        let result = ring.drain(to);
        self.filled.store(ring.length(), Ordering::SeqCst);
        let moved = before - ring.length();
        drop(ring);
        if moved > 0 {
            self.writable.wake_all();
        }
        result.map(|()| moved > 0)
    }

    /// Moves what fits, but not a part of a short write; false when nothing was moved.
    fn try_write(&self, from: &mut dyn Source) -> Result<bool, Errno> {
        let needed = needed(from);
        if self.room() < needed {
            return Ok(false);
        }
        let mut ring = self.ring.lock();
        if ring.room() < needed {
            return Ok(false);
        }
        let before = ring.length();
        let result = ring.fill(from);
        self.filled.store(ring.length(), Ordering::SeqCst);
        let moved = ring.length() > before;
        drop(ring);
        if moved {
            self.readable.wake_all();
        }
        result.map(|()| moved)
    }

    /// What nobody has read when the last end goes is lost; the node of a FIFO keeps the pipe. Whoever comes meanwhile writes only after he was
    /// counted and got the lock, so nothing of his is lost.
    fn forget_if_deserted(&self) {
        if let Some(mut ring) = self.ring.try_lock()
            && !self.has_readers()
            && !self.has_writers()
        {
            *ring = Ring::new(ring.capacity());
            self.filled.store(0, Ordering::SeqCst);
        }
    }

    /// `F_SETPIPE_SZ`: a power of two of pages.
    fn set_capacity(&self, wanted: u64) -> Result<u64, Errno> {
        let wanted = usize::try_from(wanted).ok().filter(|&wanted| wanted <= i32::MAX as usize).ok_or(Errno::EINVAL)?;
        let capacity = wanted.max(PAGE_SIZE).next_power_of_two();
        if capacity > CAPACITY_MAX && !current().process.credentials().is_privileged() {
            return Err(Errno::EPERM);
        }
        let mut ring = self.ring.lock();
        ring.set_capacity(capacity)?;
        self.capacity.store(capacity, Ordering::SeqCst);
        drop(ring);
        self.writable.wake_all();
        Ok(capacity as u64)
    }
}

/// Room that the rest of a write waits for.
fn needed(from: &dyn Source) -> usize {
    if from.left() <= PIPE_BUF { from.left() } else { 1 }
}

/// One end of a pipe, or both.
struct End {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        if self.reads && self.pipe.readers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.pipe.writable.wake_all();
        }
        if self.writes && self.pipe.writers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.pipe.readable.wake_all();
        }
        self.pipe.forget_if_deserted();
    }
}

impl vfs::File<Kernel> for End {
    fn read(&self, _offset: u64, to: &mut dyn Sink, flags: u32) -> Result<(), Errno> {
        let pipe = &self.pipe;
        if to.room() == 0 {
            return Ok(());
        }
        loop {
            // Whether writers were left is asked before the look at the bytes: the last may write and go in between.
            let open = pipe.has_writers();
            if pipe.try_read(to)? || !open {
                return Ok(());
            }
            if flags & O_NONBLOCK != 0 {
                return Err(Errno::EAGAIN);
            }
            pipe.readable.wait_until(|| (pipe.filled() > 0 || !pipe.has_writers()).then_some(()), None, true)?;
        }
    }

    fn write(&self, _offset: u64, from: &mut dyn Source, flags: u32) -> Result<u64, Errno> {
        let pipe = &self.pipe;
        let before = from.done();
        while from.left() > 0 {
            let result = match pipe.has_readers() {
                false => Err(Errno::EPIPE),
                true => pipe.try_write(from),
            };
            let waited = match result {
                Ok(true) => continue,
                Ok(false) if flags & O_NONBLOCK != 0 => Err(Errno::EAGAIN),
                Ok(false) => {
                    let needed = needed(from);
                    let ready = || (pipe.room() >= needed || !pipe.has_readers()).then_some(());
                    pipe.writable.wait_until(ready, None, true).map_err(Errno::from)
                }
                Err(error) => Err(error),
            };
            match waited {
                Err(error) if from.done() == before => return Err(error),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        Ok(0)
    }

    fn poll<'a>(&'a self, watch: Option<&mut dyn vfs::Watch<'a, Kernel>>) -> u16 {
        let pipe = &self.pipe;
        let mut events = 0;
        if self.reads {
            events |= if pipe.filled() > 0 { POLLIN | POLLRDNORM } else { 0 };
            events |= if pipe.has_writers() { 0 } else { POLLHUP };
        }
        if self.writes {
            events |= if pipe.room() >= PIPE_BUF { POLLOUT | POLLWRNORM } else { 0 };
            events |= if pipe.has_readers() { 0 } else { POLLERR };
        }
        if let Some(watch) = watch {
            if self.reads {
                watch.on(&pipe.readable);
            }
            if self.writes {
                watch.on(&pipe.writable);
            }
        }
        events
    }

    fn ioctl(&self, request: u32, argument: u64, _flags: u32) -> Result<u64, Errno> {
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        user::write(argument, &(self.pipe.filled() as u32))?;
        Ok(0)
    }

    fn as_any(&self) -> Option<&(dyn Any + Send + Sync)> {
        Some(self)
    }
}

/// `F_SETPIPE_SZ` and `F_GETPIPE_SZ`.
///
/// # Errors
/// `EBADF` when the file is no pipe; `EBUSY`, `EINVAL`, `EPERM`.
pub fn control(file: &OpenFile, command: u32, argument: u64) -> Result<u64, Errno> {
    let end = file.file()?.as_any().and_then(|any| any.downcast_ref::<End>()).ok_or(Errno::EBADF)?;
    match command {
        F_GETPIPE_SZ => Ok(end.pipe.capacity.load(Ordering::Relaxed) as u64),
        F_SETPIPE_SZ => end.pipe.set_capacity(argument),
        _ => Err(Errno::EINVAL),
    }
}

/// Opens a FIFO's node: the pipe lives as long as somebody has it open, and opening one end waits for the other.
///
/// # Errors
/// `ENXIO` for a writer that does not wait when nobody reads; `ERESTARTSYS`.
pub fn open_fifo(special: &Special<Kernel>, flags: u32) -> Result<Arc<dyn vfs::File<Kernel>>, Errno> {
    let pipe = {
        let mut state = special.state.lock();
        let pipe = state.clone().and_then(|any| any.downcast::<Pipe>().ok()).unwrap_or_else(Pipe::new);
        *state = Some(pipe.clone());
        pipe
    };
    let waits = flags & O_NONBLOCK == 0;
    match flags & O_ACCMODE {
        O_RDWR => Ok(pipe.end(true, true)),
        O_RDONLY => {
            let visits = pipe.writer_visits.load(Ordering::SeqCst);
            // One that waits for us may go on, and be gone, as soon as we are there: it counts all the same.
            let waited_for = pipe.has_writers();
            let end = pipe.end(true, false);
            let met = || (waited_for || pipe.writer_visits.load(Ordering::SeqCst) != visits).then_some(());
            if waits {
                pipe.readable.wait_until(met, None, true)?;
            }
            Ok(end)
        }
        O_WRONLY => {
            if !waits && !pipe.has_readers() {
                return Err(Errno::ENXIO);
            }
            let visits = pipe.reader_visits.load(Ordering::SeqCst);
            // One that waits for us may go on, and be gone, as soon as we are there: it counts all the same.
            let waited_for = pipe.has_readers();
            let end = pipe.end(false, true);
            let met = || (waited_for || pipe.reader_visits.load(Ordering::SeqCst) != visits).then_some(());
            if waits {
                pipe.writable.wait_until(met, None, true)?;
            }
            Ok(end)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// The file that a pipe without a name is, for `fstat`.
struct Anonymous {
    pipe: Special<Kernel>,
    number: u64,
    made: Timespec,
    permission: SpinLock<Permission>,
}

impl vfs::Inode<Kernel> for Anonymous {
    fn metadata(&self) -> Metadata {
        Metadata {
            number: self.number,
            permission: *self.permission.lock(),
            links: 1,
            device: 0,
            size: 0,
            blocks: 0,
            accessed: self.made,
            modified: self.made,
            changed: self.made,
        }
    }

    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn vfs::File<Kernel>>, Errno> {
        open_fifo(&self.pipe, flags)
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn special(&self) -> Option<&Special<Kernel>> {
        Some(&self.pipe)
    }

    fn change(&self, change: &Change) -> Result<(), Errno> {
        let mut permission = self.permission.lock();
        permission.mode = change.mode.map_or(permission.mode, |mode| S_IFIFO | mode & 0o7777);
        permission.user = change.user.unwrap_or(permission.user);
        permission.group = change.group.unwrap_or(permission.group);
        Ok(())
    }
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// Where pipes without a name are: in no directory.
static MOUNT: Once<Arc<Mount>> = Once::new();

fn anonymous(pipe: Option<Arc<Pipe>>, number: u64) -> Arc<Anonymous> {
    let who = current().process.credentials();
    let special = Special::new(0);
    *special.state.lock() = pipe.map(|pipe| pipe as Arc<dyn Any + Send + Sync>);
    let permission = Permission { mode: S_IFIFO | 0o600, user: who.fsuid, group: who.fsgid };
    Arc::new(Anonymous {
        pipe: special,
        number,
        made: clock::realtime(),
        permission: SpinLock::new(Rank::FILE, permission),
    })
}

fn mount() -> Arc<Mount> {
    let statistics =
        || Statfs { kind: MAGIC, bsize: PAGE_SIZE as i64, namelen: vfs::NAME_MAX as i64, ..Statfs::default() };
    Mount::root(Volume::new("pipefs", b"pipefs", false, anonymous(None, 0), statistics))
}

/// Makes a pipe: the end to read and the end to write. `flags` are those of `pipe2`.
pub fn pipe(flags: u32) -> (Arc<OpenFile>, Arc<OpenFile>) {
    let pipe = Pipe::new();
    let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
    let inode = anonymous(Some(pipe.clone()), number);
    let path = Path::anonymous(MOUNT.get_or_init(mount), inode, format!("pipe:[{number}]").as_bytes());
    let (reader, writer) = (pipe.end(true, false), pipe.end(false, true));
    let status = flags & O_NONBLOCK;
    (OpenFile::new(path.clone(), Some(reader), status | O_RDONLY), OpenFile::new(path, Some(writer), status | O_WRONLY))
}
