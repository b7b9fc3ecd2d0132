//! Names, cached as a tree.
//!
//! A dentry is one name of one inode in its directory. Directories of a cacheable file system keep the dentries that were looked up, until they are
//! removed, the volume goes, or nobody uses them and there are too many ([`Dentry::prune_unused`]); others (`/proc`) make a new dentry for each lookup.
//! Invariants: a child in `children` has this directory as its parent and the name it is kept under; a dead directory has no children and gets no new
//! ones; while somebody has a share of a dentry that is not dead, its name is in memory once.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use linux::Errno;
use sync::Rank;

use crate::world::{Mutex, MutexGuard, Spin, mutex};
use crate::{Inode, Kind, NAME_MAX, World};

/// Names of a directory that are looked at with its lock held.
const BATCH: usize = 64;

/// How many dentries there are, of all volumes.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// How many names are in memory, of all volumes.
#[must_use]
pub fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// A directory's names that were looked up.
type Children<W> = BTreeMap<Box<[u8]>, Arc<Dentry<W>>>;

/// One name in the tree.
pub struct Dentry<W: World> {
    inode: Arc<dyn Inode<W>>,
    place: Spin<W, Place<W>>,
    children: Spin<W, Children<W>>,
    changing: Mutex<W, ()>,
    dead: AtomicBool,
    /// Mounts that hang here, in any mount tree: most walks need not look.
    pub(crate) mounts: AtomicU32,
}

struct Place<W: World> {
    parent: Option<Arc<Dentry<W>>>,
    name: Box<[u8]>,
}

/// The right to change a directory's names.
pub type Changing<'a, W> = MutexGuard<'a, W, ()>;

impl<W: World> Dentry<W> {
    /// The root of a volume, or (with a name) an object that is in no directory, such as a pipe.
    #[must_use]
    pub fn root(inode: Arc<dyn Inode<W>>, name: &[u8]) -> Arc<Self> {
        Self::new(inode, None, name)
    }

    fn new(inode: Arc<dyn Inode<W>>, parent: Option<Arc<Self>>, name: &[u8]) -> Arc<Self> {
        COUNT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            inode,
            place: Spin::<W, _>::new(Rank::FILE, Place { parent, name: name.into() }),
            children: Spin::<W, _>::new(Rank::TREE, BTreeMap::new()),
            changing: mutex::<W, _>(()),
            dead: AtomicBool::new(false),
            mounts: AtomicU32::new(0),
        })
    }

    /// What it names.
    #[must_use]
    pub fn inode(&self) -> &Arc<dyn Inode<W>> {
        &self.inode
    }

    /// The directory it is in; `None` for a root.
    #[must_use]
    pub fn parent(&self) -> Option<Arc<Self>> {
        self.place.lock().parent.clone()
    }

    /// Its name now.
    #[must_use]
    pub fn name(&self) -> Box<[u8]> {
        self.place.lock().name.clone()
    }

    /// Removed: no name leads to it any more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// The caller's alone to change until it drops the guard.
    pub fn lock(&self) -> Changing<'_, W> {
        self.changing.lock()
    }

    /// Whether this is `other` or below it.
    #[must_use]
    pub fn is_within(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut here = self.clone();
        loop {
            if Arc::ptr_eq(&here, other) {
                return true;
            }
            let Some(parent) = here.parent() else { return false };
            here = parent;
        }
    }

    /// Finds a name in this directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENAMETOOLONG`, what the file system says.
    pub fn child(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Self>, Errno> {
        if let Some(child) = self.cached(name) {
            return Ok(child);
        }
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if !self.inode.is_cacheable() {
            let inode = self.inode.lookup(name)?;
            return Ok(Self::new(inode, Some(self.clone()), name));
        }
        let changing = self.lock();
        self.child_locked(&changing, name)
    }

    /// As [`Dentry::child`], by one who changes this directory.
    ///
    /// # Errors
    /// The same.
    pub fn child_locked(self: &Arc<Self>, _changing: &Changing<'_, W>, name: &[u8]) -> Result<Arc<Self>, Errno> {
        if let Some(child) = self.cached(name) {
            return Ok(child);
        }
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let inode = self.inode.lookup(name)?;
        if self.inode.is_cacheable() {
            Ok(self.keep(name, inode))
        } else {
            Ok(Self::new(inode, Some(self.clone()), name))
        }
    }

    fn cached(&self, name: &[u8]) -> Option<Arc<Self>> {
        self.children.lock().get(name).cloned()
    }

    /// Adds a child that the file system has just got.
    pub(crate) fn keep(self: &Arc<Self>, name: &[u8], inode: Arc<dyn Inode<W>>) -> Arc<Self> {
        let child = Self::new(inode, Some(self.clone()), name);
        self.children.lock().insert(name.into(), child.clone());
        W::name_kept();
        child
    }

    /// Forgets the names here and below that nobody uses: they are looked up again when they are wanted. Directories may be locked, by the caller
    /// too; no spinlock is held. It does not sleep.
    pub fn prune_unused(self: &Arc<Self>) {
        // Each directory twice: when it is found, and when what is below it has been gone through.
        let mut left = alloc::vec![(self.clone(), false)];
        while let Some((dentry, is_below_done)) = left.pop() {
            if is_below_done {
                dentry.in_batches(Self::forget_unused);
                continue;
            }
            left.push((dentry.clone(), true));
            dentry.in_batches(|children, names| {
                let directories = names.iter().filter_map(|name| children.get(name));
                let directories = directories.filter(|child| child.inode.kind() == Kind::Directory);
                left.extend(directories.map(|directory| (directory.clone(), false)));
                Vec::new()
            });
        }
    }

    /// Takes those children out of some that have no other share. The first further one is made under the lock that is held here; all else that
    /// uses a name (a place, an open file, a mount that hangs there, a name below) keeps one.
    fn forget_unused(children: &mut Children<W>, names: &[Box<[u8]>]) -> Vec<Arc<Self>> {
        let is_unused = |name: &[u8]| children.get(name).is_some_and(|child| Arc::strong_count(child) == 1);
        let unused: Vec<_> = names.iter().filter(|name| is_unused(name)).collect();
        unused.into_iter().filter_map(|name| children.remove(name)).collect()
    }

    /// Goes through the names, some at a time so that the lock is never held for long; drops what `work` gives without it, for with a name may go a file.
    fn in_batches(&self, mut work: impl FnMut(&mut Children<W>, &[Box<[u8]>]) -> Vec<Arc<Self>>) {
        let mut last: Option<Box<[u8]>> = None;
        loop {
            let mut children = self.children.lock();
            let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let rest = children.range::<[u8], _>((from, Bound::Unbounded));
            let names: Vec<_> = rest.take(BATCH).map(|(name, _)| name.clone()).collect();
            let gone = work(&mut children, &names);
            drop(children);
            drop(gone);
            last = names.into_iter().next_back();
            if last.is_none() {
                break;
            }
        }
    }

    /// Forgets a child that the file system has just lost.
    pub(crate) fn forget(&self, child: &Self) {
        let gone = self.children.lock().remove(&child.name());
        child.dead.store(true, Ordering::Release);
        drop(gone);
    }

    /// Moves a child to another directory and name, in place of what is there.
    pub(crate) fn take_over(self: &Arc<Self>, from: &Self, child: &Arc<Self>, name: &[u8]) {
        let old_name = child.name();
        // First the new name, then not the old one: a walk meanwhile finds it under at least one.
        let replaced = self.children.lock().insert(name.into(), child.clone());
        if let Some(replaced) = replaced.filter(|replaced| !Arc::ptr_eq(replaced, child)) {
            replaced.dead.store(true, Ordering::Release);
        }
        child.settle(self, name);
        let gone = from.children.lock().remove(&old_name);
        drop(gone);
    }

    /// Lets two children change places.
    pub(crate) fn swap(self: &Arc<Self>, child: &Arc<Self>, other_directory: &Arc<Self>, other: &Arc<Self>) {
        let (name, other_name) = (child.name(), other.name());
        self.children.lock().insert(name.clone(), other.clone());
        other_directory.children.lock().insert(other_name.clone(), child.clone());
        child.settle(other_directory, &other_name);
        other.settle(self, &name);
    }

    fn settle(&self, parent: &Arc<Self>, name: &[u8]) {
        let old =
            core::mem::replace(&mut *self.place.lock(), Place { parent: Some(parent.clone()), name: name.into() });
        // The old parent may have no other share: it must not go while the lock is held.
        drop(old);
    }

    /// Forgets all names below: the volume goes, and parents and children must not keep each other.
    pub(crate) fn prune(&self) {
        let mut left: Vec<Arc<Self>> = core::mem::take(&mut *self.children.lock()).into_values().collect();
        while let Some(dentry) = left.pop() {
            left.extend(core::mem::take(&mut *dentry.children.lock()).into_values());
        }
    }
}

impl<W: World> Drop for Dentry<W> {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
        // A removed directory has nothing but the share of what was last in it: of a chain of them each goes by itself, for a stack is short.
        let mut above = self.place.get_mut().parent.take();
        while let Some(mut dentry) = above.and_then(Arc::into_inner) {
            above = dentry.place.get_mut().parent.take();
        }
    }
}
