//! `unlinkat`.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use linux::Errno;

use crate::access::{EXECUTE, WRITE};
use crate::create::slot;
use crate::walk::Last;
use crate::{At, Dentry, Path, PathContext, World};

/// Removes the name of what is no directory.
///
/// # Errors
/// As unlink(2).
pub fn unlink<W: World>(context: &PathContext<W>, at: &At<'_, W>) -> Result<(), Errno> {
    let slot = slot(context, at, |_| Errno::EISDIR)?;
    slot.directory.check_writable()?;
    let directory = slot.directory.dentry();
    let changing = directory.lock();
    let victim = directory.child_locked(&changing, &slot.name)?;
    if slot.slash {
        return Err(if victim.inode().permission().is_directory() { Errno::EISDIR } else { Errno::ENOTDIR });
    }
    check_may_remove(context, &slot.directory, &victim, false)?;
    if victim.mounts.load(Ordering::Acquire) != 0 {
        return Err(Errno::EBUSY);
    }
    directory.inode().remove(&slot.name, victim.inode())?;
    directory.forget(&victim);
    Ok(())
}

/// Removes an empty directory.
///
/// # Errors
/// As rmdir(2).
pub fn rmdir<W: World>(context: &PathContext<W>, at: &At<'_, W>) -> Result<(), Errno> {
    let slot = slot(context, at, |last| match last {
        Last::DotDot => Errno::ENOTEMPTY,
        Last::Dot => Errno::EINVAL,
        Last::Root | Last::Name(_) => Errno::EBUSY,
    })?;
    slot.directory.check_writable()?;
    let directory = slot.directory.dentry();
    let changing = directory.lock();
    let victim = directory.child_locked(&changing, &slot.name)?;
    check_may_remove(context, &slot.directory, &victim, true)?;
    // Nobody may add names to it, or hang a mount there, from here on.
    let _victim_changing = victim.lock();
    if victim.mounts.load(Ordering::Acquire) != 0 {
        return Err(Errno::EBUSY);
    }
    directory.inode().remove(&slot.name, victim.inode())?;
    directory.forget(&victim);
    Ok(())
}

/// Whether the caller may take `victim`'s name from a directory (Linux `may_delete`). Its lock is held.
pub(crate) fn check_may_remove<W: World>(
    context: &PathContext<W>,
    directory: &Path<W>,
    victim: &Arc<Dentry<W>>,
    as_directory: bool,
) -> Result<(), Errno> {
    let permission = directory.inode().permission();
    permission.check(&context.credentials, WRITE | EXECUTE)?;
    let entry = victim.inode().permission();
    permission.check_sticky(&context.credentials, &entry)?;
    match (as_directory, entry.is_directory()) {
        (true, false) => Err(Errno::ENOTDIR),
        (false, true) => Err(Errno::EISDIR),
        _ if directory.dentry().is_dead() => Err(Errno::ENOENT),
        _ => Ok(()),
    }
}
