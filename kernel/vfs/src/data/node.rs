//! Names and attributes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use datafs::{InodeNumber, Removed};
use linux::Errno;
use linux::flags::S_IFMT;

use super::body::{Body, nanoseconds, now};
use super::file::Handle;
use super::quota;
use super::store::Store;
use crate::access::Permission;
use crate::inode::{Change, Entries, Inode, Kind, Link, Metadata, New, SetXattr, Special};
use crate::{File, World};

/// A file that somebody uses. When the last one goes, and it has no name, it is freed.
pub(super) struct Node<W: World> {
    pub(super) body: Arc<Body<W>>,
}

impl<W: World> Node<W> {
    pub(super) fn new(body: Arc<Body<W>>) -> Arc<Self> {
        Arc::new(Self { body })
    }

    fn store(&self) -> &Store<W> {
        &self.body.store
    }

    fn number(&self) -> InodeNumber {
        self.body.number()
    }

    fn check_directory(&self) -> Result<(), Errno> {
        if self.body.kind() == Kind::Directory { Ok(()) } else { Err(Errno::ENOTDIR) }
    }

    /// Another file of a volume of this kind, from an interface that does not know the kind of file system.
    fn of(inode: &Arc<dyn Inode<W>>) -> Result<Arc<Self>, Errno> {
        let any: Arc<dyn Any + Send + Sync> = inode.clone().into_any();
        any.downcast::<Self>().map_err(|_| Errno::EXDEV)
    }
}

impl<W: World> Drop for Node<W> {
    fn drop(&mut self) {
        self.body.store.unused(&self.body);
    }
}

/// Takes over what an operation made of an inode that may be in memory.
fn adopt<W: World>(store: &Store<W>, volume: &mut datafs::Volume, number: InodeNumber) -> Result<(), datafs::Stop> {
    store.body(number).map_or(Ok(()), |body| body.adopt(volume, false))
}

impl<W: World> Inode<W> for Node<W> {
    fn metadata(&self) -> Metadata {
        self.body.metadata()
    }

    fn permission(&self) -> Permission {
        self.body.permission()
    }

    fn kind(&self) -> Kind {
        self.body.kind()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File<W>>, Errno> {
        if self.body.special.is_some() {
            return W::open_special(&(self as Arc<dyn Inode<W>>), flags);
        }
        Ok(Arc::new(Handle::new(self)))
    }

    fn special(&self) -> Option<&Special<W>> {
        self.body.special.as_ref()
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode<W>>, Errno> {
        self.check_directory()?;
        let found = self.store().run(|volume| volume.lookup(self.number(), name))?.ok_or(Errno::ENOENT)?;
        let node = self.store().node(found.inode)?;
        // A name says what it leads to; a directory's entry that lies is damage.
        if node.body.kind().mode() == found.kind { Ok(node) } else { Err(Errno::EIO) }
    }

    fn entries(&self, position: u64, take: &mut Entries<'_>) -> Result<(), Errno> {
        self.check_directory()?;
        let (mut at, mut has_room) = (position, true);
        loop {
            let next = self.store().run(|volume| {
                volume.entries(self.number(), at, &mut |entry| {
                    let kind = Kind::of_mode(entry.kind & S_IFMT).unwrap_or(Kind::Regular);
                    has_room = take(u64::from(entry.inode), entry.next, kind, entry.name);
                    has_room
                })
            })?;
            match next {
                Some(next) if has_room => at = next,
                _ => return Ok(()),
            }
        }
    }

    fn link(&self) -> Result<Link<W>, Errno> {
        if self.body.kind() != Kind::Link {
            return Err(Errno::EINVAL);
        }
        self.store().run(|volume| volume.target(self.number())).map(Link::Text)
    }

    fn create(&self, name: &[u8], new: &New<'_>) -> Result<Arc<dyn Inode<W>>, Errno> {
        self.check_directory()?;
        let made = datafs::New {
            mode: new.permission.mode,
            user: new.permission.user,
            group: new.permission.group,
            device: new.device,
            target: new.target,
            time: now::<W>(),
        };
        let (number, attributes, transaction) = self.store().run_with_room(|volume| {
            let number = volume.create(self.number(), name, &made)?;
            self.body.adopt(volume, false)?;
            Ok((number, volume.attributes(number)?, volume.running()))
        })?;
        self.store().enter(number, attributes, transaction).map(|node| node as _)
    }

    fn add_link(&self, name: &[u8], inode: &Arc<dyn Inode<W>>) -> Result<(), Errno> {
        self.check_directory()?;
        let node = Self::of(inode)?;
        let time = now::<W>();
        self.store().run_with_room(|volume| {
            volume.link(node.number(), self.number(), name, time)?;
            self.body.adopt(volume, false)?;
            node.body.adopt(volume, false)
        })
    }

    fn remove(&self, name: &[u8], inode: &Arc<dyn Inode<W>>) -> Result<(), Errno> {
        let node = Self::of(inode)?;
        let time = now::<W>();
        self.store().run_with_room(|volume| {
            let Removed { inode, .. } = volume.remove(self.number(), name, time)?;
            self.body.adopt(volume, false)?;
            if inode == node.number() { node.body.adopt(volume, false) } else { adopt(self.store(), volume, inode) }
        })
    }

    fn rename(&self, name: &[u8], to: &Arc<dyn Inode<W>>, new_name: &[u8]) -> Result<(), Errno> {
        let to = Self::of(to)?;
        let time = now::<W>();
        self.store().run_with_room(|volume| {
            let moved = volume.lookup(self.number(), name)?.ok_or(datafs::Error::NotFound)?;
            let removed = volume.rename((self.number(), name), (to.number(), new_name), time)?;
            self.body.adopt(volume, false)?;
            to.body.adopt(volume, false)?;
            adopt(self.store(), volume, moved.inode)?;
            removed.map_or(Ok(()), |removed| adopt(self.store(), volume, removed.inode))
        })
    }

    fn exchange(&self, name: &[u8], with: &Arc<dyn Inode<W>>, other_name: &[u8]) -> Result<(), Errno> {
        let with = Self::of(with)?;
        let time = now::<W>();
        self.store().run_with_room(|volume| {
            volume.exchange((self.number(), name), (with.number(), other_name), time)?;
            let here = volume.lookup(self.number(), name)?.ok_or(datafs::Error::NotFound)?;
            let there = volume.lookup(with.number(), other_name)?.ok_or(datafs::Error::NotFound)?;
            self.body.adopt(volume, false)?;
            with.body.adopt(volume, false)?;
            adopt(self.store(), volume, here.inode)?;
            adopt(self.store(), volume, there.inode)
        })
    }

    fn change(&self, change: &Change) -> Result<(), Errno> {
        self.store().check_writable()?;
        let now = now::<W>();
        let mut state = self.body.state.lock();
        // Times that are in memory only go with it.
        let change = datafs::Change {
            mode: change.mode,
            user: change.user,
            group: change.group,
            accessed: Some(change.accessed.map_or(state.accessed, nanoseconds)),
            modified: Some(change.modified.map_or(state.modified, nanoseconds)),
            changed: Some(now),
            size: None,
        };
        let had_new_times = core::mem::take(&mut state.has_new_times);
        drop(state);
        let result = self.store().run_with_room(|volume| {
            volume.change(self.number(), &change)?;
            self.body.adopt(volume, false)
        });
        if result.is_err() && had_new_times {
            self.body.state.lock().has_new_times = true;
            self.body.note_changed();
        }
        result
    }

    fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.body.truncate(size)
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        if let Some(quota) = quota::Attribute::named(name)? {
            return quota.get(&self.body);
        }
        self.store().run(|volume| volume.xattr(self.number(), name))
    }

    fn xattr_names(&self) -> Result<Vec<u8>, Errno> {
        self.store().run(|volume| volume.xattr_names(self.number()))
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], how: SetXattr) -> Result<(), Errno> {
        if let Some(quota) = quota::Attribute::named(name)? {
            return quota.set(&self.body, value, how);
        }
        let how = match how {
            SetXattr::Any => datafs::SetXattr::Any,
            SetXattr::Create => datafs::SetXattr::Create,
            SetXattr::Replace => datafs::SetXattr::Replace,
        };
        let time = now::<W>();
        self.store().run_with_room(|volume| {
            volume.set_xattr(self.number(), name, value, how, time)?;
            self.body.adopt(volume, false)
        })
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        if quota::Attribute::named(name)?.is_some() {
            return Err(Errno::EPERM);
        }
        let time = now::<W>();
        self.store().run_with_room(|volume| {
            volume.remove_xattr(self.number(), name, time)?;
            self.body.adopt(volume, false)
        })
    }
}
