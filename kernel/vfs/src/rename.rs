//! `renameat2`.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use linux::Errno;
use linux::flags::{RENAME_EXCHANGE, RENAME_NOREPLACE};

use crate::access::WRITE;
use crate::create::{Slot, check_may_make, slot};
use crate::dentry::Changing;
use crate::remove::check_may_remove;
use crate::{At, Dentry, PathContext, World};

/// Moves a name, in place of what is at `to` unless the flags say otherwise.
///
/// # Errors
/// As rename(2).
pub fn rename<W: World>(context: &PathContext<W>, from: &At<'_, W>, to: &At<'_, W>, flags: u32) -> Result<(), Errno> {
    if flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE) != 0 || flags == RENAME_NOREPLACE | RENAME_EXCHANGE {
        return Err(Errno::EINVAL);
    }
    // Both parents are found before either name is judged.
    let (old, new) = match (slot(context, from, |_| Errno::EBUSY), slot(context, to, |_| Errno::EBUSY)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), Ok(_)) => return Err(error),
        (Ok(_), Err(Errno::EBUSY)) if flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
        (Err(Errno::EBUSY), Err(error)) | (Ok(_), Err(error)) => return Err(error),
        (Err(error), Err(_)) => return Err(error),
    };
    if !Arc::ptr_eq(old.directory.mount(), new.directory.mount()) {
        return Err(Errno::EXDEV);
    }
    old.directory.check_writable()?;
    if Arc::ptr_eq(old.directory.dentry(), new.directory.dentry()) {
        let changing = old.directory.dentry().lock();
        return rename_locked(context, &old, &new, [&changing, &changing], flags);
    }
    // Directories move only under this lock, so who is whose ancestor does not change.
    let _renaming = old.directory.mount().volume().renaming.lock();
    let (from, to) = (old.directory.dentry(), new.directory.dentry());
    let (changing_from, changing_to);
    if to.is_within(from) || !from.is_within(to) {
        changing_from = from.lock();
        changing_to = to.lock();
    } else {
        changing_to = to.lock();
        changing_from = from.lock();
    }
    rename_locked(context, &old, &new, [&changing_from, &changing_to], flags)
}

fn rename_locked<W: World>(
    context: &PathContext<W>,
    old: &Slot<'_, W>,
    new: &Slot<'_, W>,
    [changing_from, changing_to]: [&Changing<'_, W>; 2],
    flags: u32,
) -> Result<(), Errno> {
    let (from, to) = (old.directory.dentry(), new.directory.dentry());
    let exchange = flags & RENAME_EXCHANGE != 0;
    let source = from.child_locked(changing_from, &old.name)?;
    let target = match to.child_locked(changing_to, &new.name) {
        Ok(_) if flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
        Ok(target) => Some(target),
        Err(Errno::ENOENT) if !exchange => None,
        Err(error) => return Err(error),
    };
    let is_directory = |dentry: &Arc<Dentry<W>>| dentry.inode().permission().is_directory();
    let target_is_directory = target.as_ref().is_some_and(is_directory);
    if exchange && new.slash && !target_is_directory {
        return Err(Errno::ENOTDIR);
    }
    if !is_directory(&source) && (old.slash || !exchange && new.slash) {
        return Err(Errno::ENOTDIR);
    }
    if to.is_within(&source) {
        return Err(Errno::EINVAL);
    }
    if target.as_ref().is_some_and(|target| from.is_within(target)) {
        return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
    }
    if target.as_ref().is_some_and(|target| Arc::ptr_eq(target.inode(), source.inode())) {
        return Ok(());
    }
    check_may_remove(context, &old.directory, &source, is_directory(&source))?;
    match &target {
        None => check_may_make(context, &new.directory)?,
        Some(target) => {
            let as_directory = if exchange { target_is_directory } else { is_directory(&source) };
            check_may_remove(context, &new.directory, target, as_directory)?;
        }
    }
    if !Arc::ptr_eq(from, to) {
        // A directory that moves gets another `..`, which is a change of it.
        let moved = [Some(&source), target.as_ref().filter(|_| exchange)];
        for directory in moved.into_iter().flatten().filter(|dentry| is_directory(dentry)) {
            directory.inode().permission().check(&context.credentials, WRITE)?;
        }
    }
    let busy = |dentry: &Arc<Dentry<W>>| dentry.mounts.load(Ordering::Acquire) != 0;
    if busy(&source) || target.as_ref().is_some_and(busy) {
        return Err(Errno::EBUSY);
    }
    commit(old, new, &source, target.as_ref(), exchange)
}

fn commit<W: World>(
    old: &Slot<'_, W>,
    new: &Slot<'_, W>,
    source: &Arc<Dentry<W>>,
    target: Option<&Arc<Dentry<W>>>,
    exchange: bool,
) -> Result<(), Errno> {
    let (from, to) = (old.directory.dentry(), new.directory.dentry());
    match target {
        Some(target) if exchange => {
            from.inode().exchange(&old.name, to.inode(), &new.name)?;
            from.swap(source, to, target);
        }
        _ => {
            // Nobody adds names to a directory that is being replaced.
            let _target_changing = target.map(|target| target.lock());
            from.inode().rename(&old.name, to.inode(), &new.name)?;
            to.take_over(from, source, &new.name);
        }
    }
    Ok(())
}
