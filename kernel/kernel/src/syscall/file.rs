//! Calls on open files.

use alloc::sync::Arc;

use handles::{Error, Rights};
use linux::Errno;
use linux::dirent;
use linux::flags::*;
use linux::signal::Signal;
use linux::types::Flock;
use vfs::file::Allocate;
use vfs::inode::Kind;
use vfs::{Sink, Slice};

use super::Call;
use crate::fs::user::{COUNT_MAX, Segment, UserBuffer, segments};
use crate::fs::{OpenFile, locks, pipe};
use crate::mm::user;
use crate::process::handle;

/// Most bytes of directory records that one call gives.
const RECORDS_MAX: usize = 64 << 10;

fn handle_error(error: Error) -> Errno {
    match error {
        Error::Absent => Errno::EBADF,
        Error::Full => Errno::EMFILE,
        Error::OutOfRange => Errno::EINVAL,
        Error::Denied => Errno::EPERM,
    }
}

fn index(fd: u64) -> usize {
    usize::try_from(fd as i32).unwrap_or(usize::MAX)
}

/// The open file of a descriptor that has the right.
fn with_right(call: &Call<'_>, fd: u64, right: Rights) -> Result<Arc<OpenFile>, Errno> {
    let (file, rights) = call.process.file(fd)?;
    if rights.contains(right) { Ok(file) } else { Err(Errno::EBADF) }
}

fn one(base: u64, length: u64) -> [Segment; 1] {
    [Segment { base, length: usize::try_from(length).unwrap_or(COUNT_MAX) }]
}

/// A write to where nobody reads also sends a signal.
fn signalled(call: &Call<'_>, result: Result<usize, Errno>) -> Result<u64, Errno> {
    if result == Err(Errno::EPIPE) {
        call.task.send_to_self(Signal::PIPE);
    }
    result.map(|count| count as u64)
}

fn read_to(call: &Call<'_>, segments: &[Segment], offset: Option<u64>) -> Result<u64, Errno> {
    let file = with_right(call, call.arguments[0], Rights::READ)?;
    let mut buffer = UserBuffer::new(segments);
    let count = match offset {
        Some(offset) => file.read_at(check_offset(offset)?, &mut buffer)?,
        None => file.read(&mut buffer)?,
    };
    Ok(count as u64)
}

fn write_from(call: &Call<'_>, segments: &[Segment], offset: Option<u64>) -> Result<u64, Errno> {
    let file = with_right(call, call.arguments[0], Rights::WRITE)?;
    let mut buffer = UserBuffer::new(segments);
    let result = match offset {
        Some(offset) => file.write_at(check_offset(offset)?, &mut buffer),
        None => file.write(&mut buffer),
    };
    signalled(call, result)
}

fn check_offset(offset: u64) -> Result<u64, Errno> {
    if offset > i64::MAX as u64 { Err(Errno::EINVAL) } else { Ok(offset) }
}

/// `read`
pub fn read(call: &Call<'_>) -> Result<u64, Errno> {
    let [_, base, length, ..] = call.arguments;
    read_to(call, &one(base, length), None)
}

/// `write`
pub fn write(call: &Call<'_>) -> Result<u64, Errno> {
    let [_, base, length, ..] = call.arguments;
    write_from(call, &one(base, length), None)
}

/// `pread64`
pub fn pread64(call: &Call<'_>) -> Result<u64, Errno> {
    let [_, base, length, offset, ..] = call.arguments;
    read_to(call, &one(base, length), Some(offset))
}

/// `pwrite64`
pub fn pwrite64(call: &Call<'_>) -> Result<u64, Errno> {
    let [_, base, length, offset, ..] = call.arguments;
    write_from(call, &one(base, length), Some(offset))
}

/// `readv`
pub fn readv(call: &Call<'_>) -> Result<u64, Errno> {
    read_to(call, &segments(call.arguments[1], call.arguments[2])?, None)
}

/// `writev`
pub fn writev(call: &Call<'_>) -> Result<u64, Errno> {
    write_from(call, &segments(call.arguments[1], call.arguments[2])?, None)
}

/// `preadv`
pub fn preadv(call: &Call<'_>) -> Result<u64, Errno> {
    read_to(call, &segments(call.arguments[1], call.arguments[2])?, Some(call.arguments[3]))
}

/// `pwritev`
pub fn pwritev(call: &Call<'_>) -> Result<u64, Errno> {
    write_from(call, &segments(call.arguments[1], call.arguments[2])?, Some(call.arguments[3]))
}

/// Where `preadv2` and `pwritev2` begin: -1 stands for the file's own offset. No flags are had.
fn second_offset(call: &Call<'_>) -> Result<Option<u64>, Errno> {
    match call.arguments {
        [.., flags] if flags != 0 => Err(Errno::EOPNOTSUPP),
        [_, _, _, u64::MAX, ..] => Ok(None),
        [_, _, _, offset, ..] => Ok(Some(offset)),
    }
}

/// `preadv2`
pub fn preadv2(call: &Call<'_>) -> Result<u64, Errno> {
    read_to(call, &segments(call.arguments[1], call.arguments[2])?, second_offset(call)?)
}

/// `pwritev2`
pub fn pwritev2(call: &Call<'_>) -> Result<u64, Errno> {
    write_from(call, &segments(call.arguments[1], call.arguments[2])?, second_offset(call)?)
}

/// `lseek`
pub fn lseek(call: &Call<'_>) -> Result<u64, Errno> {
    let [fd, distance, whence, ..] = call.arguments;
    call.process.file(fd)?.0.seek(distance.cast_signed(), whence as u32)
}

/// `close`
pub fn close(call: &Call<'_>) -> Result<u64, Errno> {
    let entry = call.process.files.lock().remove(index(call.arguments[0])).map_err(handle_error)?;
    // Dropped here, without the table's lock.
    locks::descriptor_closed(&call.process.files, &entry.object);
    drop(entry);
    Ok(0)
}

/// `close_range`
pub fn close_range(call: &Call<'_>) -> Result<u64, Errno> {
    let [first, last, flags, ..] = call.arguments;
    let (first, last, flags) = (first as u32 as usize, last as u32 as usize, flags as u32);
    if first > last || flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & CLOSE_RANGE_CLOEXEC != 0 {
        let mut files = call.process.files.lock();
        for (fd, entry) in files.iter_mut() {
            entry.close_on_exec |= (first..=last).contains(&fd);
        }
        return Ok(0);
    }
    loop {
        let entry = call.process.files.lock().remove_first(first..last.saturating_add(1), |_| true);
        match entry {
            Some(entry) => locks::descriptor_closed(&call.process.files, &entry.object),
            None => return Ok(0),
        }
    }
}

fn duplicate_from(call: &Call<'_>, fd: u64, from: usize, close_on_exec: bool) -> Result<u64, Errno> {
    let mut files = call.process.files.lock();
    let mut copy = files.duplicate(index(fd), Rights::ALL).map_err(handle_error)?;
    copy.close_on_exec = close_on_exec;
    files.insert(copy, from).map(|fd| fd as u64).map_err(handle_error)
}

/// `dup`
pub fn dup(call: &Call<'_>) -> Result<u64, Errno> {
    duplicate_from(call, call.arguments[0], 0, false)
}

/// `dup3`
pub fn dup3(call: &Call<'_>) -> Result<u64, Errno> {
    let [old, new, flags, ..] = call.arguments;
    let flags = flags as u32;
    if flags & !O_CLOEXEC != 0 || old as i32 == new as i32 {
        return Err(Errno::EINVAL);
    }
    let replaced = {
        let mut files = call.process.files.lock();
        let mut copy = files.duplicate(index(old), Rights::ALL).map_err(handle_error)?;
        copy.close_on_exec = flags & O_CLOEXEC != 0;
        files.replace(index(new), copy).map_err(|_| Errno::EBADF)?
    };
    if let Some(replaced) = replaced {
        locks::descriptor_closed(&call.process.files, &replaced.object);
    }
    Ok(u64::from(new as u32))
}

/// `fcntl`
pub fn fcntl(call: &Call<'_>) -> Result<u64, Errno> {
    let [fd, command, argument, ..] = call.arguments;
    let (file, _) = call.process.file(fd)?;
    match command as u32 {
        F_DUPFD => duplicate_from(call, fd, index(argument), false),
        F_DUPFD_CLOEXEC => duplicate_from(call, fd, index(argument), true),
        F_GETFD => {
            let files = call.process.files.lock();
            files.get(index(fd)).map(|entry| u64::from(entry.close_on_exec)).map_err(handle_error)
        }
        F_SETFD => set_close_on_exec(call, fd, argument & u64::from(FD_CLOEXEC) != 0),
        F_GETFL => Ok(u64::from(file.flags())),
        F_SETFL => {
            file.set_flags(argument as u32);
            Ok(0)
        }
        F_GETLK | F_SETLK | F_SETLKW => {
            let mut flock: Flock = user::read(argument)?;
            locks::record(call.process, &file, command as u32, &mut flock)?;
            if command as u32 == F_GETLK { user::write(argument, &flock).map(|()| 0) } else { Ok(0) }
        }
        F_GETPIPE_SZ | F_SETPIPE_SZ => pipe::control(&file, command as u32, argument),
        // Nobody is told by signal that a file is ready.
        F_GETOWN => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

fn set_close_on_exec(call: &Call<'_>, fd: u64, close: bool) -> Result<u64, Errno> {
    call.process.files.lock().get_mut(index(fd)).map_err(handle_error)?.close_on_exec = close;
    Ok(0)
}

/// `ioctl`
pub fn ioctl(call: &Call<'_>) -> Result<u64, Errno> {
    let [fd, request, argument, ..] = call.arguments;
    let (request, (file, _)) = (request as u32, call.process.file(fd)?);
    match request {
        FIOCLEX => set_close_on_exec(call, fd, true),
        FIONCLEX => set_close_on_exec(call, fd, false),
        FIONBIO => {
            let on: u32 = user::read(argument)?;
            let flags = file.flags();
            file.set_flags(if on != 0 { flags | O_NONBLOCK } else { flags & !O_NONBLOCK });
            Ok(0)
        }
        _ => match file.bytes_ahead(request) {
            Some(count) => user::write(argument, &(count.min(i32::MAX as u64) as u32)).map(|()| 0),
            None => file.ioctl(request, argument),
        },
    }
}

/// `flock`
pub fn flock(call: &Call<'_>) -> Result<u64, Errno> {
    let file = call.process.file(call.arguments[0])?.0;
    file.file()?;
    locks::flock(call.process, &file, call.arguments[1]).map(|()| 0)
}

/// `ftruncate`
pub fn ftruncate(call: &Call<'_>) -> Result<u64, Errno> {
    let file = call.process.file(call.arguments[0])?.0;
    file.truncate(call.arguments[1]).map(|()| 0)
}

/// `fallocate`
pub fn fallocate(call: &Call<'_>) -> Result<u64, Errno> {
    let [fd, mode, offset, length, ..] = call.arguments;
    let (file, rights) = call.process.file(fd)?;
    file.file()?;
    if offset.cast_signed() < 0 || length.cast_signed() <= 0 {
        return Err(Errno::EINVAL);
    }
    let how = match mode as u32 {
        0 => Allocate::Extend,
        FALLOC_FL_KEEP_SIZE => Allocate::Keep,
        mode if mode == FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE => Allocate::Punch,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    if !rights.contains(Rights::WRITE) {
        return Err(Errno::EBADF);
    }
    file.allocate(how, offset, length).map(|()| 0)
}

/// `fsync`
pub fn fsync(call: &Call<'_>) -> Result<u64, Errno> {
    call.process.file(call.arguments[0])?.0.sync(false).map(|()| 0)
}

/// `fdatasync`
pub fn fdatasync(call: &Call<'_>) -> Result<u64, Errno> {
    call.process.file(call.arguments[0])?.0.sync(true).map(|()| 0)
}

/// `sync_file_range`
pub fn sync_file_range(call: &Call<'_>) -> Result<u64, Errno> {
    let [fd, offset, length, flags, ..] = call.arguments;
    let file = call.process.file(fd)?.0;
    file.file()?;
    if flags as u32 & !SYNC_FILE_RANGE_MASK != 0 {
        return Err(Errno::EINVAL);
    }
    file.write_out(offset.cast_signed(), length.cast_signed()).map(|()| 0)
}

/// `sync`, which tells nobody what failed.
pub fn sync(_call: &Call<'_>) -> Result<u64, Errno> {
    crate::fs::mounts::sync_all();
    Ok(0)
}

/// `syncfs`
pub fn syncfs(call: &Call<'_>) -> Result<u64, Errno> {
    call.process.file(call.arguments[0])?.0.sync_volume().map(|()| 0)
}

/// `fadvise64`: advice about caching that there is none of.
pub fn fadvise64(call: &Call<'_>) -> Result<u64, Errno> {
    const ADVICE_MAX: u64 = 5;
    let [fd, _, length, advice, ..] = call.arguments;
    let file = call.process.file(fd)?.0;
    if file.kind() == Kind::Fifo {
        return Err(Errno::ESPIPE);
    }
    if length.cast_signed() < 0 || advice > ADVICE_MAX { Err(Errno::EINVAL) } else { Ok(0) }
}

/// `getdents64`
pub fn getdents64(call: &Call<'_>) -> Result<u64, Errno> {
    let [fd, address, length, ..] = call.arguments;
    let file = with_right(call, fd, Rights::READ)?;
    let mut records = alloc::vec![0; usize::try_from(length).unwrap_or(RECORDS_MAX).min(RECORDS_MAX)];
    let mut writer = dirent::Writer::new(&mut records);
    file.read_directory(&mut writer)?;
    let used = writer.used();
    user::copy_out(address, &records[..used])?;
    Ok(used as u64)
}

/// Hands what is read from one file straight to another.
struct Forward<'a> {
    to: &'a OpenFile,
    /// Where in `to`, instead of its own offset.
    offset: Option<u64>,
    left: usize,
    done: usize,
}

impl Sink for Forward<'_> {
    fn room(&self) -> usize {
        self.left
    }

    fn done(&self) -> usize {
        self.done
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut source = Slice::new(&bytes[..bytes.len().min(self.left)]);
        let count = match self.offset {
            Some(offset) => self.to.write_at(offset + self.done as u64, &mut source)?,
            None => self.to.write(&mut source)?,
        };
        self.left -= count;
        self.done += count;
        if count < bytes.len() && self.left > 0 {
            // The other file takes no more now: what was read beyond is not lost, for the reader counts what was taken.
            self.left = 0;
        }
        Ok(count)
    }
}

/// Moves bytes between files; offsets that are given are read, and then moved, in the user's memory.
fn transfer(
    call: &Call<'_>,
    from: &OpenFile,
    from_offset: u64,
    to: &OpenFile,
    to_offset: u64,
    count: u64,
) -> Result<u64, Errno> {
    let offset = |address: u64| {
        if address == 0 { Ok(None) } else { user::read::<u64>(address).and_then(check_offset).map(Some) }
    };
    let (start, target) = (offset(from_offset)?, offset(to_offset)?);
    let left = usize::try_from(count).unwrap_or(COUNT_MAX).min(COUNT_MAX);
    let mut forward = Forward { to, offset: target, left, done: 0 };
    let result = match start {
        Some(start) => from.read_at(start, &mut forward),
        None => from.read(&mut forward),
    };
    let moved = signalled(call, result)?;
    for (address, offset) in [(from_offset, start), (to_offset, target)] {
        if let Some(offset) = offset {
            user::write(address, &(offset + moved))?;
        }
    }
    Ok(moved)
}

/// `sendfile`
pub fn sendfile(call: &Call<'_>) -> Result<u64, Errno> {
    let [to, from, offset, count, ..] = call.arguments;
    let (from, to) = (with_right(call, from, Rights::READ)?, with_right(call, to, Rights::WRITE)?);
    if !matches!(from.kind(), Kind::Regular | Kind::Directory) || to.flags() & O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    transfer(call, &from, offset, &to, 0, count)
}

/// `copy_file_range`
pub fn copy_file_range(call: &Call<'_>) -> Result<u64, Errno> {
    let [from, from_offset, to, to_offset, count, flags] = call.arguments;
    let (from, to) = (with_right(call, from, Rights::READ)?, with_right(call, to, Rights::WRITE)?);
    match (from.kind(), to.kind()) {
        (Kind::Directory, _) | (_, Kind::Directory) => return Err(Errno::EISDIR),
        (Kind::Regular, Kind::Regular) if flags == 0 => {}
        _ => return Err(Errno::EINVAL),
    }
    if to.flags() & O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    transfer(call, &from, from_offset, &to, to_offset, count)
}

/// `pipe2`
pub fn pipe2(call: &Call<'_>) -> Result<u64, Errno> {
    let [address, flags, ..] = call.arguments;
    let flags = flags as u32;
    // O_DIRECT would keep writes apart as packets.
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let (reader, writer) = pipe::pipe(flags);
    let close_on_exec = flags & O_CLOEXEC != 0;
    let first = call.process.add_file(handle(reader), close_on_exec)?;
    let discard = |fd: u64| drop(call.process.files.lock().remove(index(fd)));
    let second = call.process.add_file(handle(writer), close_on_exec).inspect_err(|_| discard(first))?;
    user::write(address, &[first as u32, second as u32]).map(|()| 0).inspect_err(|_| {
        discard(first);
        discard(second);
    })
}
