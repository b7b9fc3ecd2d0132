//! Volumes hung into the tree, and places in it.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use linux::Errno;
use linux::flags::S_IFDIR;
use linux::types::Statfs;
use sync::Rank;

use crate::world::{Mutex, Spin, mutex};
use crate::{Dentry, Inode, World};

/// What a volume can do as a whole. A function that gives statistics is one that has nothing to last.
pub trait FileSystem: Send + Sync {
    /// What `statfs` tells.
    fn statistics(&self) -> Statfs;

    /// Nothing is written any more, whatever it was mounted for.
    fn is_read_only(&self) -> bool {
        false
    }

    /// Number of the last failure to write something; 0: none. An open file keeps the one of when it was opened.
    fn failures(&self) -> u64 {
        0
    }

    /// Makes all that was written lasting: on stable media when it returns. `seen` is where an open file keeps which failures it was told; errors
    /// are returned once for each.
    ///
    /// # Errors
    /// `EIO`, `ENOSPC`: something was not written.
    fn sync(&self, _seen: Option<&AtomicU64>) -> Result<(), Errno> {
        Ok(())
    }

    /// Leaves it as it should be found: everything written, nothing to be repeated. It is not used any more, or the machine stops.
    ///
    /// # Errors
    /// As `sync`.
    fn close(&self) -> Result<(), Errno> {
        self.sync(None)
    }

    /// The options that `/proc/mounts` shows behind `rw` or `ro`.
    fn options(&self) -> &'static str {
        ""
    }
}

impl<F: Fn() -> Statfs + Send + Sync> FileSystem for F {
    fn statistics(&self) -> Statfs {
        self()
    }
}

/// A file system with its contents: what a mount shows.
pub struct Volume<W: World> {
    /// `tmpfs`, `erofs`, `proc` …
    pub kind: &'static str,
    /// What it was made from: a device's name, or the kind again.
    pub source: Box<[u8]>,
    /// `st_dev` of its files.
    pub device: u64,
    read_only: bool,
    root: Arc<Dentry<W>>,
    file_system: Box<dyn FileSystem>,
    pub(crate) renaming: Mutex<W, ()>,
}

/// Minors of the device numbers that volumes without a device get (major 0).
static NEXT_DEVICE: AtomicU32 = AtomicU32::new(1);
static NEXT_MOUNT: AtomicU32 = AtomicU32::new(1);

impl<W: World> Volume<W> {
    /// A volume with this root.
    #[must_use]
    pub fn new(
        kind: &'static str,
        source: &[u8],
        read_only: bool,
        root: Arc<dyn Inode<W>>,
        file_system: impl FileSystem + 'static,
    ) -> Arc<Self> {
        let minor = NEXT_DEVICE.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            kind,
            source: source.into(),
            device: linux::types::device(0, minor),
            read_only,
            root: Dentry::root(root, b"/"),
            file_system: Box::new(file_system),
            renaming: mutex::<W, _>(()),
        })
    }

    /// Its root directory.
    #[must_use]
    pub fn root(&self) -> &Arc<Dentry<W>> {
        &self.root
    }

    /// What it can do as a whole.
    #[must_use]
    pub fn file_system(&self) -> &dyn FileSystem {
        &*self.file_system
    }

    /// What `statfs` tells.
    #[must_use]
    pub fn statistics(&self) -> Statfs {
        self.file_system.statistics()
    }

    /// Nothing is written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only || self.file_system.is_read_only()
    }
}

impl<W: World> Drop for Volume<W> {
    fn drop(&mut self) {
        self.root.prune();
    }
}

/// Where a mount hangs: in the mount above, at this dentry.
type Point<W> = (Weak<Mount<W>>, Arc<Dentry<W>>);

/// A volume, or a part of one, hung into a mount tree.
pub struct Mount<W: World> {
    /// Its number, as `/proc/self/mountinfo` shows it.
    pub id: u32,
    volume: Arc<Volume<W>>,
    root: Arc<Dentry<W>>,
    read_only: bool,
    above: Option<Point<W>>,
    below: Spin<W, Vec<Arc<Mount<W>>>>,
}

impl<W: World> Mount<W> {
    /// The root of a mount tree, or a place for objects that are in no directory.
    #[must_use]
    pub fn root(volume: Arc<Volume<W>>) -> Arc<Self> {
        let root = volume.root.clone();
        Self::new(volume, root, false, None)
    }

    fn new(volume: Arc<Volume<W>>, root: Arc<Dentry<W>>, read_only: bool, above: Option<Point<W>>) -> Arc<Self> {
        let id = NEXT_MOUNT.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, volume, root, read_only, above, below: Spin::<W, _>::new(Rank::TREE, Vec::new()) })
    }

    /// What it shows.
    #[must_use]
    pub fn volume(&self) -> &Arc<Volume<W>> {
        &self.volume
    }

    /// The path in its volume of what it shows: `/`, unless it is a bind of a part.
    #[must_use]
    pub fn shown(&self) -> Vec<u8> {
        let mut parts = Vec::new();
        let mut here = self.root.clone();
        while !Arc::ptr_eq(&here, &self.volume.root) {
            let Some(parent) = here.parent() else { break };
            parts.push(here.name());
            here = parent;
        }
        join(&parts)
    }

    /// Nothing is written through it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only || self.volume.is_read_only()
    }

    /// Where it hangs; `None` for the root of the tree, and for one that was taken out.
    #[must_use]
    pub fn above(&self) -> Option<Path<W>> {
        let (mount, dentry) = self.above.as_ref()?;
        Some(Path { mount: mount.upgrade()?, dentry: dentry.clone() })
    }

    /// The volumes of this mount and of all below it, each once.
    #[must_use]
    pub fn volumes(self: &Arc<Self>) -> Vec<Arc<Volume<W>>> {
        let mut volumes: Vec<Arc<Volume<W>>> = self.all().iter().map(|mount| mount.volume.clone()).collect();
        volumes.sort_by_key(|volume| volume.device);
        volumes.dedup_by_key(|volume| volume.device);
        volumes
    }

    /// This mount and all below it, each before those that hang in it.
    #[must_use]
    pub fn all(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut found = alloc::vec![self.clone()];
        let mut next = 0;
        while let Some(mount) = found.get(next) {
            let below: Vec<_> = mount.below.lock().clone();
            next += 1;
            found.splice(next..next, below);
        }
        found
    }

    /// The mount that hangs at `dentry` of this one, the latest if there are several.
    fn hung_at(&self, dentry: &Arc<Dentry<W>>) -> Option<Arc<Self>> {
        let below = self.below.lock();
        below.iter().rev().find(|mount| mount.above.as_ref().is_some_and(|(_, at)| Arc::ptr_eq(at, dentry))).cloned()
    }
}

/// A place in a mount tree.
pub struct Path<W: World> {
    mount: Arc<Mount<W>>,
    dentry: Arc<Dentry<W>>,
}

impl<W: World> Clone for Path<W> {
    fn clone(&self) -> Self {
        Self { mount: self.mount.clone(), dentry: self.dentry.clone() }
    }
}

impl<W: World> PartialEq for Path<W> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }
}

impl<W: World> Path<W> {
    /// `dentry` as seen through `mount`.
    #[must_use]
    pub fn new(mount: Arc<Mount<W>>, dentry: Arc<Dentry<W>>) -> Self {
        Self { mount, dentry }
    }

    /// The root of a mount.
    #[must_use]
    pub fn root_of(mount: &Arc<Mount<W>>) -> Self {
        Self { mount: mount.clone(), dentry: mount.root.clone() }
    }

    /// An object that is in no directory, shown by `name` (`pipe:[7]`).
    #[must_use]
    pub fn anonymous(mount: &Arc<Mount<W>>, inode: Arc<dyn Inode<W>>, name: &[u8]) -> Self {
        Self { mount: mount.clone(), dentry: Dentry::root(inode, name) }
    }

    /// The mount it is seen through.
    #[must_use]
    pub fn mount(&self) -> &Arc<Mount<W>> {
        &self.mount
    }

    /// The name.
    #[must_use]
    pub fn dentry(&self) -> &Arc<Dentry<W>> {
        &self.dentry
    }

    /// What it names.
    #[must_use]
    pub fn inode(&self) -> &Arc<dyn Inode<W>> {
        self.dentry.inode()
    }

    /// `st_dev`.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.mount.volume.device
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.inode().permission().is_directory()
    }

    /// A mount's root, seen through it.
    #[must_use]
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, &self.mount.root)
    }

    /// Whether writing here is refused whatever the permissions.
    ///
    /// # Errors
    /// `EROFS`.
    pub fn check_writable(&self) -> Result<(), Errno> {
        if self.mount.is_read_only() { Err(Errno::EROFS) } else { Ok(()) }
    }

    /// The top of the mounts that hang here, or this place itself.
    #[must_use]
    pub fn top(mut self) -> Self {
        while self.dentry.mounts.load(Ordering::Acquire) != 0 {
            let Some(mount) = self.mount.hung_at(&self.dentry) else { break };
            self = Self::root_of(&mount);
        }
        self
    }

    /// `..` for a process whose `/` is `root`: above that there is nothing.
    #[must_use]
    pub fn parent(&self, root: Option<&Self>) -> Self {
        let mut here = self.clone();
        while root != Some(&here) {
            if !here.is_mount_root() {
                let parent = here.dentry.parent();
                return parent.map_or(here.clone(), |dentry| Self { mount: here.mount, dentry }.top());
            }
            let Some(above) = here.mount.above() else { break };
            here = above;
        }
        // The root of the tree, or of the process: `..` is the place itself.
        self.clone()
    }

    /// Hangs `volume` here.
    ///
    /// # Errors
    /// `ENOTDIR` unless both are directories or neither is; `ENOENT` when this was removed.
    pub fn hang(&self, volume: Arc<Volume<W>>, read_only: bool) -> Result<Arc<Mount<W>>, Errno> {
        let root = volume.root.clone();
        self.hang_part(volume, root, read_only)
    }

    /// Hangs what `part` is here a second time.
    ///
    /// # Errors
    /// As [`Path::hang`].
    pub fn bind(&self, part: &Self, read_only: bool) -> Result<Arc<Mount<W>>, Errno> {
        self.hang_part(part.mount.volume.clone(), part.dentry.clone(), read_only || part.mount.read_only)
    }

    fn hang_part(&self, volume: Arc<Volume<W>>, root: Arc<Dentry<W>>, read_only: bool) -> Result<Arc<Mount<W>>, Errno> {
        let directory = |mode: u32| mode & linux::flags::S_IFMT == S_IFDIR;
        if directory(root.inode().permission().mode) != self.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        // Against removal of the mount point meanwhile.
        let _changing = self.dentry.lock();
        if self.dentry.is_dead() {
            return Err(Errno::ENOENT);
        }
        let mount = Mount::new(volume, root, read_only, Some((Arc::downgrade(&self.mount), self.dentry.clone())));
        self.mount.below.lock().push(mount.clone());
        self.dentry.mounts.fetch_add(1, Ordering::Release);
        Ok(mount)
    }

    /// Takes out the mount whose root this is. Those who have something open in it keep it.
    ///
    /// # Errors
    /// `EINVAL` when it is no mount's root, or the root of the tree; `EBUSY` when other mounts hang in it.
    pub fn take_out(&self) -> Result<(), Errno> {
        let above = if self.is_mount_root() { self.mount.above() } else { None }.ok_or(Errno::EINVAL)?;
        if !self.mount.below.lock().is_empty() {
            return Err(Errno::EBUSY);
        }
        let mut below = above.mount.below.lock();
        let index = below.iter().position(|mount| Arc::ptr_eq(mount, &self.mount)).ok_or(Errno::EINVAL)?;
        let gone = below.remove(index);
        drop(below);
        above.dentry.mounts.fetch_sub(1, Ordering::Release);
        drop(gone);
        Ok(())
    }

    /// The path's text as seen from `root`, as `getcwd` and `/proc` show it; and whether it lies within `root`.
    #[must_use]
    pub fn text(&self, root: &Self) -> (Vec<u8>, bool) {
        let mut parts: Vec<Box<[u8]>> = Vec::new();
        let mut here = self.clone();
        let within = loop {
            if here == *root {
                break true;
            }
            if here.is_mount_root() {
                match here.mount.above() {
                    Some(above) => here = above,
                    None => break false,
                }
                continue;
            }
            let Some(parent) = here.dentry.parent() else {
                // In no directory: its name says all.
                return (here.dentry.name().into_vec(), true);
            };
            parts.push(here.dentry.name());
            here = Self { mount: here.mount, dentry: parent };
        };
        let mut text = join(&parts);
        if self.dentry.is_dead() {
            text.extend_from_slice(b" (deleted)");
        }
        (text, within)
    }
}

/// A path of these names, the last first.
fn join(parts: &[Box<[u8]>]) -> Vec<u8> {
    if parts.is_empty() {
        return b"/".into();
    }
    parts.iter().rev().flat_map(|part| core::iter::once(b'/').chain(part.iter().copied())).collect()
}

impl<W: World> core::fmt::Debug for Path<W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", alloc::string::String::from_utf8_lossy(&self.dentry.name()))
    }
}
