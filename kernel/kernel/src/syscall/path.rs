//! Calls on paths.

use alloc::vec::Vec;

use linux::Errno;
use linux::flags::*;
use linux::types::{Statfs, Timespec};
use vfs::attributes::{self, NewTime};
use vfs::{create, open, remove, rename, walk};

use super::Call;
use crate::fs::{self, At, Path, PathContext, mounts};
use crate::mm::user;
use crate::process::handle;

/// A path of the caller's, and where it starts.
struct Target {
    base: Option<Path>,
    path: Vec<u8>,
}

impl Target {
    fn read(call: &Call<'_>, directory: u64, address: u64) -> Result<Self, Errno> {
        let path = user::read_cstr(address, vfs::PATH_MAX)?;
        let from_cwd = directory as i32 == AT_FDCWD || path.first() == Some(&b'/');
        let base = if from_cwd { None } else { Some(call.process.file(directory)?.0.path().clone()) };
        Ok(Self { base, path })
    }

    fn at(&self) -> At<'_> {
        At { base: self.base.as_ref(), path: &self.path }
    }

    /// The place that it names; with `AT_EMPTY_PATH` an empty path names its start.
    fn place(&self, context: &PathContext, flags: u32) -> Result<Path, Errno> {
        if self.path.is_empty() && flags & AT_EMPTY_PATH != 0 {
            return Ok(self.base.clone().unwrap_or_else(|| context.cwd.clone()));
        }
        walk::lookup(context, &self.at(), flags & AT_SYMLINK_NOFOLLOW == 0)
    }
}

fn check_flags(flags: u64, known: u32) -> Result<u32, Errno> {
    let flags = flags as u32;
    if flags & !known == 0 { Ok(flags) } else { Err(Errno::EINVAL) }
}

/// `openat`
pub fn openat(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, flags, mode, ..] = call.arguments;
    let target = Target::read(call, directory, address)?;
    let flags = flags as u32;
    let file = open::open(&call.process.paths(), &target.at(), flags, mode as u32)?;
    call.process.add_file(handle(file), flags & O_CLOEXEC != 0)
}

/// `mkdirat`
pub fn mkdirat(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, mode, ..] = call.arguments;
    let target = Target::read(call, directory, address)?;
    create::mkdir(&call.process.paths(), &target.at(), mode as u32).map(|()| 0)
}

/// `mknodat`
pub fn mknodat(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, mode, device, ..] = call.arguments;
    let target = Target::read(call, directory, address)?;
    create::mknod(&call.process.paths(), &target.at(), mode as u32, device).map(|_| 0)
}

/// `unlinkat`
pub fn unlinkat(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, flags, ..] = call.arguments;
    let flags = check_flags(flags, AT_REMOVEDIR)?;
    let target = Target::read(call, directory, address)?;
    let context = call.process.paths();
    let removed =
        if flags == 0 { remove::unlink(&context, &target.at()) } else { remove::rmdir(&context, &target.at()) };
    removed.map(|()| 0)
}

/// `symlinkat`
pub fn symlinkat(call: &Call<'_>) -> Result<u64, Errno> {
    let [text, directory, address, ..] = call.arguments;
    let text = user::read_cstr(text, vfs::PATH_MAX)?;
    let target = Target::read(call, directory, address)?;
    create::symlink(&call.process.paths(), &text, &target.at()).map(|()| 0)
}

/// `linkat`
pub fn linkat(call: &Call<'_>) -> Result<u64, Errno> {
    let [old_directory, old, directory, address, flags, ..] = call.arguments;
    let flags = check_flags(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)?;
    let context = call.process.paths();
    let follow = if flags & AT_SYMLINK_FOLLOW != 0 { 0 } else { AT_SYMLINK_NOFOLLOW };
    let old = Target::read(call, old_directory, old)?.place(&context, flags & AT_EMPTY_PATH | follow)?;
    let target = Target::read(call, directory, address)?;
    create::link(&context, &old, &target.at()).map(|()| 0)
}

/// `renameat2`
pub fn renameat2(call: &Call<'_>) -> Result<u64, Errno> {
    let [old_directory, old, directory, address, flags, ..] = call.arguments;
    let old = Target::read(call, old_directory, old)?;
    let new = Target::read(call, directory, address)?;
    rename::rename(&call.process.paths(), &old.at(), &new.at(), flags as u32).map(|()| 0)
}

/// `renameat`
pub fn renameat(call: &Call<'_>) -> Result<u64, Errno> {
    let [a, b, c, d, _, f] = call.arguments;
    renameat2(&Call { arguments: [a, b, c, d, 0, f], ..*call })
}

/// `readlinkat`
pub fn readlinkat(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, buffer, length, ..] = call.arguments;
    let length = usize::try_from(length as i32).ok().filter(|&length| length > 0).ok_or(Errno::EINVAL)?;
    let context = call.process.paths();
    let place = Target::read(call, directory, address)?.place(&context, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    let text = fs::read_link(&context, &place)?;
    let count = text.len().min(length);
    user::copy_out(buffer, &text[..count])?;
    Ok(count as u64)
}

/// `newfstatat`
pub fn newfstatat(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, buffer, flags, ..] = call.arguments;
    let flags = check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH)?;
    let place = Target::read(call, directory, address)?.place(&call.process.paths(), flags)?;
    user::write(buffer, &fs::stat(&place)).map(|()| 0)
}

/// `fstat`
pub fn fstat(call: &Call<'_>) -> Result<u64, Errno> {
    let file = call.process.file(call.arguments[0])?.0;
    user::write(call.arguments[1], &fs::stat(file.path())).map(|()| 0)
}

/// `statx`
pub fn statx(call: &Call<'_>) -> Result<u64, Errno> {
    const MASK_RESERVED: u64 = 0x8000_0000;
    let [directory, address, flags, mask, buffer, ..] = call.arguments;
    let flags = check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)?;
    if mask & MASK_RESERVED != 0 || flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    let place = Target::read(call, directory, address)?.place(&call.process.paths(), flags)?;
    user::write(buffer, &fs::statx(&place)).map(|()| 0)
}

/// `faccessat`
pub fn faccessat(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, wanted, ..] = call.arguments;
    access(call, directory, address, wanted as u32, 0)
}

/// `faccessat2`
pub fn faccessat2(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, wanted, flags, ..] = call.arguments;
    let flags = check_flags(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    access(call, directory, address, wanted as u32, flags)
}

fn access(call: &Call<'_>, directory: u64, address: u64, wanted: u32, flags: u32) -> Result<u64, Errno> {
    if wanted & !(R_OK | W_OK | X_OK) != 0 {
        return Err(Errno::EINVAL);
    }
    let context = if flags & AT_EACCESS != 0 { call.process.paths() } else { call.process.paths_as_real() };
    let place = Target::read(call, directory, address)?.place(&context, flags)?;
    attributes::check_access(&context.credentials, &place, wanted).map(|()| 0)
}

/// `fchmod`
pub fn fchmod(call: &Call<'_>) -> Result<u64, Errno> {
    let file = call.process.file(call.arguments[0])?.0;
    file.file()?;
    attributes::set_mode(&call.process.paths(), file.path(), call.arguments[1] as u32).map(|()| 0)
}

/// `fchmodat`
pub fn fchmodat(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, mode, ..] = call.arguments;
    let context = call.process.paths();
    let place = Target::read(call, directory, address)?.place(&context, 0)?;
    attributes::set_mode(&context, &place, mode as u32).map(|()| 0)
}

/// -1 stands for no change.
fn owner(id: u64) -> Option<u32> {
    Some(id as u32).filter(|&id| id != u32::MAX)
}

/// `fchown`
pub fn fchown(call: &Call<'_>) -> Result<u64, Errno> {
    let [fd, user, group, ..] = call.arguments;
    let file = call.process.file(fd)?.0;
    file.file()?;
    attributes::set_owner(&call.process.paths(), file.path(), owner(user), owner(group)).map(|()| 0)
}

/// `fchownat`
pub fn fchownat(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, user, group, flags, ..] = call.arguments;
    let flags = check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    let context = call.process.paths();
    let place = Target::read(call, directory, address)?.place(&context, flags)?;
    attributes::set_owner(&context, &place, owner(user), owner(group)).map(|()| 0)
}

fn new_time(time: Timespec) -> Result<NewTime, Errno> {
    const UTIME_NOW: i64 = (1 << 30) - 1;
    const UTIME_OMIT: i64 = (1 << 30) - 2;
    match time.nsec {
        UTIME_NOW => Ok(NewTime::Now),
        UTIME_OMIT => Ok(NewTime::Keep),
        0..=999_999_999 => Ok(NewTime::At(time)),
        _ => Err(Errno::EINVAL),
    }
}

/// `utimensat`
pub fn utimensat(call: &Call<'_>) -> Result<u64, Errno> {
    let [directory, address, times, flags, ..] = call.arguments;
    let flags = check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
    let (accessed, modified) = if times == 0 {
        (NewTime::Now, NewTime::Now)
    } else {
        let times: [Timespec; 2] = user::read(times)?;
        (new_time(times[0])?, new_time(times[1])?)
    };
    if (accessed, modified) == (NewTime::Keep, NewTime::Keep) {
        return Ok(0);
    }
    let context = call.process.paths();
    let place = if address == 0 {
        call.process.file(directory)?.0.path().clone()
    } else {
        Target::read(call, directory, address)?.place(&context, flags)?
    };
    attributes::set_times(&context, &place, accessed, modified).map(|()| 0)
}

/// `truncate`
pub fn truncate(call: &Call<'_>) -> Result<u64, Errno> {
    let [address, size, ..] = call.arguments;
    let context = call.process.paths();
    let path = user::read_cstr(address, vfs::PATH_MAX)?;
    let place = walk::lookup(&context, &At::cwd(&path), true)?;
    attributes::truncate(&context, &place, size.cast_signed()).map(|()| 0)
}

/// A directory that the caller may enter.
fn enterable(context: &PathContext, place: Path) -> Result<Path, Errno> {
    let permission = place.inode().permission();
    if !permission.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    permission.check(&context.credentials, X_OK)?;
    Ok(place)
}

fn enterable_at(context: &PathContext, address: u64) -> Result<Path, Errno> {
    let path = user::read_cstr(address, vfs::PATH_MAX)?;
    enterable(context, walk::lookup(context, &At::cwd(&path), true)?)
}

/// `chdir`
pub fn chdir(call: &Call<'_>) -> Result<u64, Errno> {
    let place = enterable_at(&call.process.paths(), call.arguments[0])?;
    call.process.set_cwd(place);
    Ok(0)
}

/// `fchdir`
pub fn fchdir(call: &Call<'_>) -> Result<u64, Errno> {
    let file = call.process.file(call.arguments[0])?.0;
    let place = enterable(&call.process.paths(), file.path().clone())?;
    call.process.set_cwd(place);
    Ok(0)
}

/// `chroot`
pub fn chroot(call: &Call<'_>) -> Result<u64, Errno> {
    let context = call.process.paths();
    let place = enterable_at(&context, call.arguments[0])?;
    if !context.credentials.is_privileged() {
        return Err(Errno::EPERM);
    }
    call.process.set_root(place);
    Ok(0)
}

/// `getcwd`: gives the count of bytes with the zero.
pub fn getcwd(call: &Call<'_>) -> Result<u64, Errno> {
    let [buffer, length, ..] = call.arguments;
    let context = call.process.paths();
    if context.cwd.dentry().is_dead() {
        return Err(Errno::ENOENT);
    }
    let (path, within) = context.cwd.text(&context.root);
    let mut text = if within { Vec::new() } else { b"(unreachable)".to_vec() };
    text.extend_from_slice(&path);
    text.push(0);
    if text.len() > vfs::PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if text.len() as u64 > length {
        return Err(Errno::ERANGE);
    }
    user::copy_out(buffer, &text)?;
    Ok(text.len() as u64)
}

/// `umask`
pub fn umask(call: &Call<'_>) -> Result<u64, Errno> {
    Ok(u64::from(call.process.set_umask(call.arguments[0] as u32)))
}

fn write_statistics(address: u64, place: &Path) -> Result<u64, Errno> {
    let statistics: Statfs = attributes::statistics(place);
    user::write(address, &statistics).map(|()| 0)
}

/// `statfs`
pub fn statfs(call: &Call<'_>) -> Result<u64, Errno> {
    let path = user::read_cstr(call.arguments[0], vfs::PATH_MAX)?;
    let place = walk::lookup(&call.process.paths(), &At::cwd(&path), true)?;
    write_statistics(call.arguments[1], &place)
}

/// `fstatfs`
pub fn fstatfs(call: &Call<'_>) -> Result<u64, Errno> {
    let file = call.process.file(call.arguments[0])?.0;
    write_statistics(call.arguments[1], file.path())
}

/// A string that may be absent.
fn optional(address: u64) -> Result<Vec<u8>, Errno> {
    if address == 0 { Ok(Vec::new()) } else { user::read_cstr(address, vfs::PATH_MAX) }
}

/// `mount`
pub fn mount(call: &Call<'_>) -> Result<u64, Errno> {
    let [source, target, kind, flags, data, ..] = call.arguments;
    let (kind, source, target, data) =
        (optional(kind)?, optional(source)?, user::read_cstr(target, vfs::PATH_MAX)?, optional(data)?);
    mounts::mount(&call.process.paths(), &source, &target, &kind, flags, &data).map(|()| 0)
}

/// `umount2`
pub fn umount2(call: &Call<'_>) -> Result<u64, Errno> {
    let target = user::read_cstr(call.arguments[0], vfs::PATH_MAX)?;
    mounts::unmount(&call.process.paths(), &target, call.arguments[1]).map(|()| 0)
}
