//! Advisory locks (crate `vfs`, `locks`), and waiting for them.

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

use linux::Errno;
use linux::flags::{F_GETLK, F_SETLK, F_SETLKW, SEEK_CUR, SEEK_END, SEEK_SET};
use linux::types::Flock;
use vfs::locks::{Key, Lock, Locks, Owner};

use super::OpenFile;
use crate::process::task::{Files, Process};
use crate::sched::WaitQueue;
use crate::sync::{Rank, SpinLock};

static LOCKS: SpinLock<Locks> = SpinLock::new(Rank::FILE, Locks::new());
/// Locks that were ever taken, so that closing a file costs nothing where nobody locks.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// Woken when a lock is given up.
static RELEASED: WaitQueue = WaitQueue::new();

/// Kinds of a record lock (include/uapi/asm-generic/fcntl.h).
const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;
/// What `flock` can be asked.
const LOCK_SH: u64 = 1;
const LOCK_EX: u64 = 2;
const LOCK_NB: u64 = 4;
const LOCK_UN: u64 = 8;

fn key(file: &OpenFile) -> Key {
    (file.path().device(), file.metadata().number)
}

fn of_table(files: &Arc<Files>) -> Owner {
    Owner::Table(Arc::as_ptr(files).addr() as u64)
}

fn of_file(file: &OpenFile) -> Owner {
    Owner::Open(core::ptr::from_ref(file).addr() as u64)
}

/// Takes a lock, or waits for it.
fn take(key: Key, wanted: &Lock, waits: bool) -> Result<(), Errno> {
    TAKEN.fetch_add(1, Ordering::Relaxed);
    let try_take = || LOCKS.lock().take(key, wanted.clone()).then_some(());
    if waits {
        return RELEASED.wait_until(try_take, None, true).map_err(Errno::from);
    }
    try_take().ok_or(Errno::EAGAIN)
}

fn release(key: Key, owner: Owner, range: Range<u64>) {
    let found = LOCKS.lock().release(key, owner, range);
    if found {
        RELEASED.wake_all();
    }
}

/// `flock`
///
/// # Errors
/// As flock(2).
pub fn flock(process: &Process, file: &OpenFile, operation: u64) -> Result<(), Errno> {
    let exclusive = match operation & !LOCK_NB {
        LOCK_UN => {
            release(key(file), of_file(file), 0..u64::MAX);
            return Ok(());
        }
        LOCK_SH => false,
        LOCK_EX => true,
        _ => return Err(Errno::EINVAL),
    };
    let wanted = Lock { owner: of_file(file), pid: process.pid, range: 0..u64::MAX, exclusive };
    // A change of kind gives the old lock up first (flock(2)).
    release(key(file), wanted.owner, 0..u64::MAX);
    take(key(file), &wanted, operation & LOCK_NB == 0)
}

/// The bytes that a `struct flock` names.
fn range_of(file: &OpenFile, flock: &Flock) -> Result<Range<u64>, Errno> {
    let base = match u32::try_from(flock.whence).map_err(|_| Errno::EINVAL)? {
        SEEK_SET => 0,
        SEEK_CUR => file.position(),
        SEEK_END => file.metadata().size,
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add_signed(flock.start).filter(|&start| start <= i64::MAX as u64).ok_or(Errno::EINVAL)?;
    match flock.length {
        0 => Ok(start..u64::MAX),
        length if length > 0 => Ok(start..start.checked_add_signed(length).ok_or(Errno::EOVERFLOW)?),
        // A negative length is what lies before.
        length => Ok(start.checked_add_signed(length).ok_or(Errno::EINVAL)?..start),
    }
}

/// `F_GETLK`, `F_SETLK`, `F_SETLKW`. `F_GETLK` changes `flock`.
///
/// # Errors
/// As fcntl(2).
pub fn record(process: &Process, file: &OpenFile, command: u32, flock: &mut Flock) -> Result<(), Errno> {
    file.file()?;
    let (range, owner) = (range_of(file, flock)?, of_table(&process.files));
    let exclusive = match flock.kind {
        F_RDLCK if command == F_GETLK || file.is_readable() => false,
        F_WRLCK if command == F_GETLK || file.is_writable() => true,
        F_RDLCK | F_WRLCK => return Err(Errno::EBADF),
        F_UNLCK if command != F_GETLK => {
            release(key(file), owner, range);
            return Ok(());
        }
        _ => return Err(Errno::EINVAL),
    };
    let wanted = Lock { owner, pid: process.pid, range, exclusive };
    match command {
        F_GETLK => {
            let found = LOCKS.lock().conflict(key(file), &wanted).cloned();
            match found {
                None => flock.kind = F_UNLCK,
                Some(lock) => {
                    let length = if lock.range.end == u64::MAX { 0 } else { lock.range.end - lock.range.start };
                    *flock = Flock {
                        kind: if lock.exclusive { F_WRLCK } else { F_RDLCK },
                        whence: SEEK_SET as i16,
                        start: lock.range.start.cast_signed(),
                        length: length.cast_signed(),
                        pid: lock.pid.cast_signed(),
                        ..Flock::default()
                    };
                }
            }
            Ok(())
        }
        F_SETLK | F_SETLKW => take(key(file), &wanted, command == F_SETLKW),
        _ => Err(Errno::EINVAL),
    }
}

/// A process closes a descriptor of a file: its record locks there go, whatever other descriptors it has (fcntl(2)).
pub fn descriptor_closed(files: &Arc<Files>, file: &OpenFile) {
    if TAKEN.load(Ordering::Relaxed) > 0 {
        release(key(file), of_table(files), 0..u64::MAX);
    }
}

/// A descriptor table has gone.
pub fn table_closed(files: &Arc<Files>) {
    if TAKEN.load(Ordering::Relaxed) > 0 && LOCKS.lock().release_all(of_table(files)) {
        RELEASED.wake_all();
    }
}

/// An open file has gone, and its `flock` with it.
pub fn file_closed(file: &OpenFile) {
    if TAKEN.load(Ordering::Relaxed) > 0 {
        release(key(file), of_file(file), 0..u64::MAX);
    }
}
