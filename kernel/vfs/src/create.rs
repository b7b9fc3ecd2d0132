//! `mkdirat`, `mknodat`, `symlinkat`, `linkat`.

use alloc::borrow::Cow;
use alloc::sync::Arc;

use linux::Errno;
use linux::flags::{S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISVTX};

use crate::access::{EXECUTE, Permission, WRITE};
use crate::dentry::Changing;
use crate::inode::{Kind, New};
use crate::walk::{Last, Walk};
use crate::{At, Dentry, PATH_MAX, Path, PathContext, World};

/// Links that one file may have, as for Linux's tmpfs practically none too many.
const LINK_COUNT_MAX: u32 = u32::MAX / 2;

/// A directory and a name in it, which may or may not be there.
pub(crate) struct Slot<'a, W: World> {
    pub(crate) directory: Path<W>,
    pub(crate) name: Cow<'a, [u8]>,
    /// A slash stood behind the name.
    pub(crate) slash: bool,
}

/// Walks to the last component; `other` says what to return when that is `.`, `..` or `/`.
pub(crate) fn slot<'a, W: World>(
    context: &'a PathContext<W>,
    at: &At<'a, W>,
    other: impl FnOnce(&Last<'a>) -> Errno,
) -> Result<Slot<'a, W>, Errno> {
    let mut walk = Walk::new(context, at)?;
    match walk.go_to_last()? {
        Last::Name(name) if walk.directory.is_directory() => {
            Ok(Slot { directory: walk.directory, name, slash: walk.slash })
        }
        Last::Name(_) => Err(Errno::ENOTDIR),
        last => Err(other(&last)),
    }
}

/// Makes a directory.
///
/// # Errors
/// As mkdir(2).
pub fn mkdir<W: World>(context: &PathContext<W>, at: &At<'_, W>, mode: u32) -> Result<(), Errno> {
    let slot = slot(context, at, |_| Errno::EEXIST)?;
    let mode = S_IFDIR | mode & (0o777 | S_ISVTX) & !context.umask;
    make_at(context, &slot, mode, 0, &[]).map(|_| ())
}

/// Makes a regular file, device, FIFO or socket; returns where.
///
/// # Errors
/// As mknod(2).
pub fn mknod<W: World>(context: &PathContext<W>, at: &At<'_, W>, mode: u32, device: u64) -> Result<Path<W>, Errno> {
    let mode = if mode & S_IFMT == 0 { mode | S_IFREG } else { mode };
    let kind = match Kind::of_mode(mode) {
        Some(Kind::Directory) => return Err(Errno::EPERM),
        None | Some(Kind::Link) => return Err(Errno::EINVAL),
        Some(kind) => kind,
    };
    let slot = slot(context, at, |_| Errno::EEXIST)?;
    let device = if matches!(kind, Kind::Character | Kind::Block) { device } else { 0 };
    let mode = mode & S_IFMT | mode & 0o7777 & !context.umask;
    let dentry = make_at(context, &slot, mode, device, &[])?;
    Ok(Path::new(slot.directory.mount().clone(), dentry))
}

/// Makes a symbolic link to `target`.
///
/// # Errors
/// As symlink(2).
pub fn symlink<W: World>(context: &PathContext<W>, target: &[u8], at: &At<'_, W>) -> Result<(), Errno> {
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    if target.len() >= PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let slot = slot(context, at, |_| Errno::EEXIST)?;
    make_at(context, &slot, S_IFLNK | 0o777, 0, target).map(|_| ())
}

/// Gives the file at `old` a further name.
///
/// # Errors
/// As link(2).
pub fn link<W: World>(context: &PathContext<W>, old: &Path<W>, at: &At<'_, W>) -> Result<(), Errno> {
    let slot = slot(context, at, |_| Errno::EEXIST)?;
    let (directory, name) = (slot.directory.dentry(), &slot.name[..]);
    let changing = directory.lock();
    check_free(&slot, &changing)?;
    if !Arc::ptr_eq(old.mount(), slot.directory.mount()) {
        return Err(Errno::EXDEV);
    }
    check_may_make(context, &slot.directory)?;
    let metadata = old.inode().metadata();
    if old.is_directory() {
        return Err(Errno::EPERM);
    }
    if metadata.links == 0 {
        return Err(Errno::ENOENT);
    }
    if metadata.links >= LINK_COUNT_MAX {
        return Err(Errno::EMLINK);
    }
    directory.inode().add_link(name, old.inode())?;
    directory.keep(name, old.inode().clone());
    Ok(())
}

fn make_at<W: World>(
    context: &PathContext<W>,
    slot: &Slot<'_, W>,
    mode: u32,
    device: u64,
    target: &[u8],
) -> Result<Arc<Dentry<W>>, Errno> {
    let changing = slot.directory.dentry().lock();
    if mode & S_IFMT == S_IFDIR {
        check_absent(slot, &changing)?;
    } else {
        check_free(slot, &changing)?;
    }
    make(context, &slot.directory, &changing, &slot.name, mode, device, target)
}

fn check_absent<W: World>(slot: &Slot<'_, W>, changing: &Changing<'_, W>) -> Result<(), Errno> {
    match slot.directory.dentry().child_locked(changing, &slot.name) {
        Ok(_) => Err(Errno::EEXIST),
        Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// As `check_absent`, for what is no directory: its name cannot end in a slash.
fn check_free<W: World>(slot: &Slot<'_, W>, changing: &Changing<'_, W>) -> Result<(), Errno> {
    check_absent(slot, changing)?;
    if slot.slash { Err(Errno::ENOENT) } else { Ok(()) }
}

/// Whether the caller may add names to a directory. Its lock is held.
pub(crate) fn check_may_make<W: World>(context: &PathContext<W>, directory: &Path<W>) -> Result<(), Errno> {
    directory.check_writable()?;
    if directory.dentry().is_dead() {
        return Err(Errno::ENOENT);
    }
    directory.inode().permission().check(&context.credentials, WRITE | EXECUTE)
}

/// Makes something under a name that is free.
pub(crate) fn make<W: World>(
    context: &PathContext<W>,
    directory: &Path<W>,
    _changing: &Changing<'_, W>,
    name: &[u8],
    mode: u32,
    device: u64,
    target: &[u8],
) -> Result<Arc<Dentry<W>>, Errno> {
    check_may_make(context, directory)?;
    // mknod(2): devices are the privileged user's to make.
    let is_device = matches!(Kind::of_mode(mode), Some(Kind::Character | Kind::Block));
    if is_device && !context.credentials.is_privileged() {
        return Err(Errno::EPERM);
    }
    let permission = owned(context, &directory.inode().permission(), mode);
    let inode = directory.inode().create(name, &New { permission, device, target })?;
    Ok(directory.dentry().keep(name, inode))
}

/// Owner and mode of a new file: a set-group-id directory hands on its group (Linux `inode_init_owner`).
fn owned<W: World>(context: &PathContext<W>, directory: &Permission, mode: u32) -> Permission {
    let who = &context.credentials;
    let mut permission = Permission { mode, user: who.user, group: who.group };
    if directory.mode & S_ISGID != 0 {
        permission.group = directory.group;
        if permission.is_directory() {
            permission.mode |= S_ISGID;
        } else if mode & (S_ISGID | 0o010) == S_ISGID | 0o010 && !who.is_member(directory.group) && !who.is_privileged()
        {
            permission.mode &= !S_ISGID;
        }
    }
    permission
}
