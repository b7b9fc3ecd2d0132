//! `fchmodat`, `fchownat`, `utimensat`, `truncate`, `faccessat`, `fstatfs`: on a place that was looked up, or that a handle has.

use linux::Errno;
use linux::flags::{S_ISGID, S_ISUID};
use linux::types::{Statfs, Timespec};

use crate::access::{EXECUTE, READ, WRITE};
use crate::file::OFFSET_MAX;
use crate::inode::{Change, Kind};
use crate::{Credentials, Path, PathContext, World};

/// Flags of `statfs` (`ST_RDONLY`, and that flags are valid).
const READ_ONLY: i64 = 1;
const FLAGS_VALID: i64 = 0x20;

/// Changes the permission bits.
///
/// # Errors
/// As chmod(2).
pub fn set_mode<W: World>(context: &PathContext<W>, place: &Path<W>, mode: u32) -> Result<(), Errno> {
    place.check_writable()?;
    let (who, permission) = (&context.credentials, place.inode().permission());
    if !permission.is_owned_by(who) {
        return Err(Errno::EPERM);
    }
    let mut mode = mode & 0o7777;
    if !who.is_member(permission.group) && !who.is_privileged() {
        mode &= !S_ISGID;
    }
    place.inode().change(&Change { mode: Some(mode), ..Change::default() })
}

/// Changes the owner, the group or both.
///
/// # Errors
/// As chown(2).
pub fn set_owner<W: World>(
    context: &PathContext<W>,
    place: &Path<W>,
    user: Option<u32>,
    group: Option<u32>,
) -> Result<(), Errno> {
    place.check_writable()?;
    let (who, permission) = (&context.credentials, place.inode().permission());
    let owns = who.user == permission.user;
    let user_allowed = user.is_none_or(|user| owns && user == permission.user);
    let group_allowed = group.is_none_or(|group| owns && (group == permission.group || who.is_member(group)));
    if !(who.is_privileged() || user_allowed && group_allowed) {
        return Err(Errno::EPERM);
    }
    // Set-id bits do not pass to a new owner (Linux `chown_common`); without group execution the group's bit means something else.
    let mut cleared = S_ISUID;
    if permission.mode & 0o010 != 0 {
        cleared |= S_ISGID;
    }
    let mode =
        (!permission.is_directory() && permission.mode & cleared != 0).then_some(permission.mode & 0o7777 & !cleared);
    place.inode().change(&Change { mode, user, group, ..Change::default() })
}

/// What becomes of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTime {
    /// Stays.
    Keep,
    /// Becomes now.
    Now,
    /// Becomes this.
    At(Timespec),
}

/// Changes access and modification time. (When both stay, `utimensat` succeeds without even looking the path up.)
///
/// # Errors
/// As utimensat(2).
pub fn set_times<W: World>(
    context: &PathContext<W>,
    place: &Path<W>,
    accessed: NewTime,
    modified: NewTime,
) -> Result<(), Errno> {
    place.check_writable()?;
    let (who, permission) = (&context.credentials, place.inode().permission());
    if !permission.is_owned_by(who) {
        if (accessed, modified) != (NewTime::Now, NewTime::Now) {
            return Err(Errno::EPERM);
        }
        permission.check(who, WRITE)?;
    }
    let now = W::now();
    let value = |time: NewTime| match time {
        NewTime::Keep => None,
        NewTime::Now => Some(now),
        NewTime::At(time) => Some(time),
    };
    place.inode().change(&Change { accessed: value(accessed), modified: value(modified), ..Change::default() })
}

/// Makes a file shorter or longer, by path.
///
/// # Errors
/// As truncate(2).
pub fn truncate<W: World>(context: &PathContext<W>, place: &Path<W>, size: i64) -> Result<(), Errno> {
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    debug_assert!(size <= OFFSET_MAX);
    match place.inode().kind() {
        Kind::Directory => return Err(Errno::EISDIR),
        Kind::Regular => {}
        _ => return Err(Errno::EINVAL),
    }
    place.check_writable()?;
    place.inode().permission().check(&context.credentials, WRITE)?;
    place.inode().truncate(size)
}

/// Whether `who` (the real ids, unless `AT_EACCESS`) may do all of `wanted` (`R_OK` …) at a place that was found.
///
/// # Errors
/// As access(2).
pub fn check_access<W: World>(who: &Credentials, place: &Path<W>, wanted: u32) -> Result<(), Errno> {
    if wanted & !(READ | WRITE | EXECUTE) != 0 {
        return Err(Errno::EINVAL);
    }
    place.inode().permission().check(who, wanted)?;
    if wanted & WRITE != 0 && !place.inode().kind().is_special() { place.check_writable() } else { Ok(()) }
}

/// What `statfs` tells.
#[must_use]
pub fn statistics<W: World>(place: &Path<W>) -> Statfs {
    let mut statistics = place.mount().volume().statistics();
    statistics.flags |= FLAGS_VALID | if place.mount().is_read_only() { READ_ONLY } else { 0 };
    statistics
}
