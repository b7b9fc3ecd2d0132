//! A file system in memory.
//!
//! A file's pages come one by one when they are first written or mapped; what was never written reads as zeroes. A file lives as long as it has a name or
//! somebody has it open. Pages and files are counted against the volume's limits.

mod directory;
mod pages;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use linux::Errno;
use linux::flags::O_APPEND;
use linux::types::{Statfs, Timespec};
use sync::Rank;

use crate::access::Permission;
use crate::file::{Allocate, OFFSET_MAX};
use crate::inode::{Change, Entries, Inode, Kind, Link, Metadata, New, Special};
use crate::world::{Mutex, Page, Spin, mutex};
use crate::{File, PAGE_SIZE, Sink, Source, Volume, World};
use directory::Directory;
use pages::Pages;

/// `TMPFS_MAGIC`.
const MAGIC: i64 = 0x0102_1994;
/// What a directory entry adds to its directory's size, as in Linux's tmpfs.
const ENTRY_SIZE: u64 = 20;

/// How much a volume may hold, and how its root looks.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Pages of data.
    pub pages_max: u64,
    /// Files, directories, links and devices.
    pub inodes_max: u64,
    /// Of the root directory.
    pub root_mode: u32,
}

/// What is used and what may be.
#[derive(Debug)]
struct Budget {
    options: Options,
    pages: AtomicU64,
    inodes: AtomicU64,
    next_number: AtomicU64,
}

impl Budget {
    fn take(counter: &AtomicU64, most: u64) -> Result<(), Errno> {
        let more = |used: u64| (used < most).then_some(used + 1);
        counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map(|_| ()).map_err(|_| Errno::ENOSPC)
    }
}

/// A new, empty volume; `kind` is `tmpfs`, or what else its file system is called.
#[must_use]
pub fn volume<W: World>(kind: &'static str, source: &[u8], options: Options) -> Arc<Volume<W>> {
    let budget = Arc::new(Budget {
        options,
        pages: AtomicU64::new(0),
        inodes: AtomicU64::new(1),
        next_number: AtomicU64::new(2),
    });
    let permission = Permission { mode: Kind::Directory.mode() | options.root_mode & 0o7777, user: 0, group: 0 };
    let root: Arc<Node<W>> = Node::new(budget.clone(), 1, permission, Body::Directory(Directory::new()));
    Volume::new(kind, source, false, root, move || statistics(&budget))
}

fn statistics(budget: &Budget) -> Statfs {
    let left = |most: u64, used: &AtomicU64| most.saturating_sub(used.load(Ordering::Relaxed));
    let free = left(budget.options.pages_max, &budget.pages);
    Statfs {
        kind: MAGIC,
        bsize: PAGE_SIZE as i64,
        blocks: budget.options.pages_max,
        bfree: free,
        bavail: free,
        files: budget.options.inodes_max,
        ffree: left(budget.options.inodes_max, &budget.inodes),
        namelen: crate::NAME_MAX as i64,
        frsize: PAGE_SIZE as i64,
        ..Statfs::default()
    }
}

struct Attributes {
    permission: Permission,
    links: u32,
    accessed: Timespec,
    modified: Timespec,
    changed: Timespec,
}

enum Body<W: World> {
    Regular(Regular<W>),
    Directory(Directory<W>),
    Link(Box<[u8]>),
    Special(Special<W>),
}

/// Invariant: no page lies wholly behind `size`, and the last page's bytes behind it are zero.
struct Regular<W: World> {
    /// Held while bytes or the size change, so that an append is one step.
    writing: Mutex<W, ()>,
    pages: Spin<W, Pages<W::Page>>,
    size: AtomicU64,
}

/// One file.
struct Node<W: World> {
    budget: Arc<Budget>,
    number: u64,
    attributes: Spin<W, Attributes>,
    body: Body<W>,
}

impl<W: World> Drop for Node<W> {
    fn drop(&mut self) {
        self.budget.inodes.fetch_sub(1, Ordering::Relaxed);
        if let Body::Regular(file) = &mut self.body {
            self.budget.pages.fetch_sub(file.pages.get_mut().count(), Ordering::Relaxed);
        }
    }
}

impl<W: World> Node<W> {
    fn new(budget: Arc<Budget>, number: u64, permission: Permission, body: Body<W>) -> Arc<Self> {
        let now = W::now();
        let links = if permission.is_directory() { 2 } else { 1 };
        let attributes = Attributes { permission, links, accessed: now, modified: now, changed: now };
        Arc::new(Self { budget, number, attributes: Spin::<W, _>::new(Rank::FILE, attributes), body })
    }

    fn directory(&self) -> Result<&Directory<W>, Errno> {
        if let Body::Directory(directory) = &self.body { Ok(directory) } else { Err(Errno::ENOTDIR) }
    }

    fn regular(&self) -> Result<&Regular<W>, Errno> {
        if let Body::Regular(file) = &self.body { Ok(file) } else { Err(Errno::EINVAL) }
    }

    /// Another file of a tmpfs, from an interface that does not know the kind of file system.
    fn of(inode: &Arc<dyn Inode<W>>) -> Result<Arc<Self>, Errno> {
        let any: Arc<dyn Any + Send + Sync> = inode.clone().into_any();
        any.downcast::<Self>().map_err(|_| Errno::EXDEV)
    }

    /// Bytes or names changed.
    fn touch(&self) {
        let now = W::now();
        let mut attributes = self.attributes.lock();
        attributes.modified = now;
        attributes.changed = now;
    }

    /// Gets or loses names.
    fn add_links(&self, count: i32) {
        let now = W::now();
        let mut attributes = self.attributes.lock();
        attributes.links = attributes.links.saturating_add_signed(count);
        attributes.changed = now;
    }

    fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    /// The page `index`, made if it is not there. Who does not hold the writers' lock gets none behind the end.
    fn make_page(&self, file: &Regular<W>, index: u64, is_writer: bool) -> Result<W::Page, Errno> {
        let has_ended = || !is_writer && index >= file.size.load(Ordering::Acquire).div_ceil(PAGE_SIZE as u64);
        if let Some(page) = file.pages.lock().get(index) {
            return Ok(page.clone());
        }
        if has_ended() {
            return Err(Errno::ENXIO);
        }
        Budget::take(&self.budget.pages, self.budget.options.pages_max)?;
        let made = W::Page::zeroed().ok_or(Errno::ENOMEM);
        let mut pages = file.pages.lock();
        // Who cuts sets the size first, and takes pages out under this lock.
        let page = made.and_then(|made| if has_ended() { Err(Errno::ENXIO) } else { Ok(made) });
        let page = page.map(|made| pages.get_or_insert(index, made));
        drop(pages);
        if !matches!(page, Ok((_, true))) {
            // Somebody else was quicker, or there is no memory.
            self.budget.pages.fetch_sub(1, Ordering::Relaxed);
        }
        page.map(|(page, _)| page)
    }

    fn resize(&self, file: &Regular<W>, size: u64) -> Result<(), Errno> {
        if size > OFFSET_MAX {
            return Err(Errno::EFBIG);
        }
        let _writing = file.writing.lock();
        if size < file.size.load(Ordering::Relaxed) {
            file.size.store(size, Ordering::Release);
            self.cut(file, size);
        }
        file.size.store(size, Ordering::Release);
        self.touch();
        Ok(())
    }

    /// Drops the pages behind `size`, and clears the rest of the page that it ends in.
    fn cut(&self, file: &Regular<W>, size: u64) {
        let gone = file.pages.lock().split_off(size.div_ceil(PAGE_SIZE as u64));
        self.budget.pages.fetch_sub(gone.count(), Ordering::Relaxed);
        drop(gone);
        let within = (size % PAGE_SIZE as u64) as usize;
        let last = file.pages.lock().get(size / PAGE_SIZE as u64).cloned();
        if let Some(page) = last.filter(|_| within > 0) {
            page.change(&mut |bytes| bytes[within..].fill(0));
        }
    }

    fn write_locked(&self, file: &Regular<W>, start: u64, from: &mut dyn Source) -> Result<u64, Errno> {
        if from.left() > 0 && start >= OFFSET_MAX {
            return Err(Errno::EFBIG);
        }
        let mut offset = start;
        let mut result = Ok(());
        while from.left() > 0 && offset < OFFSET_MAX {
            let within = (offset % PAGE_SIZE as u64) as usize;
            let page = match self.make_page(file, offset / PAGE_SIZE as u64, true) {
                Ok(page) => page,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            let before = from.done();
            page.change(&mut |bytes| result = from.take(&mut bytes[within..]).map(|_| ()));
            offset += (from.done() - before) as u64;
            if result.is_err() {
                break;
            }
        }
        if offset > start.max(file.size.load(Ordering::Relaxed)) {
            file.size.store(offset, Ordering::Release);
        } else {
            // A page made for bytes that then could not be read must not stay behind the end.
            self.cut_behind_end(file);
        }
        if offset == start { result.map(|()| start) } else { Ok(offset) }
    }

    /// Makes all pages of a range, which the file contains afterwards.
    fn fill(&self, file: &Regular<W>, start: u64, end: u64) -> Result<(), Errno> {
        for index in start / PAGE_SIZE as u64..end.div_ceil(PAGE_SIZE as u64) {
            if let Err(error) = self.make_page(file, index, true) {
                self.cut_behind_end(file);
                return Err(error);
            }
        }
        file.size.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    /// Drops the pages that lie in a range, and clears the rest of it.
    fn punch(&self, file: &Regular<W>, start: u64, end: u64) {
        let size = PAGE_SIZE as u64;
        let (first, last) = (start.div_ceil(size), end / size);
        if first < last {
            let mut pages = file.pages.lock();
            let mut gone = pages.split_off(first);
            pages.append(gone.split_off(last));
            drop(pages);
            self.budget.pages.fetch_sub(gone.count(), Ordering::Relaxed);
        }
        let clear = |index: u64, from: u64, to: u64| {
            let page = file.pages.lock().get(index).cloned();
            if let Some(page) = page.filter(|_| from < to) {
                page.change(&mut |bytes| bytes[from as usize..to as usize].fill(0));
            }
        };
        if first > last {
            clear(last, start % size, end % size);
        } else {
            clear(start / size, start % size, if start.is_multiple_of(size) { 0 } else { size });
            clear(last, 0, end % size);
        }
    }

    fn cut_behind_end(&self, file: &Regular<W>) {
        let size = file.size.load(Ordering::Relaxed);
        let gone = file.pages.lock().split_off(size.div_ceil(PAGE_SIZE as u64));
        self.budget.pages.fetch_sub(gone.count(), Ordering::Relaxed);
    }
}

impl<W: World> Inode<W> for Node<W> {
    fn metadata(&self) -> Metadata {
        let (size, pages, device) = match &self.body {
            Body::Regular(file) => (file.size.load(Ordering::Acquire), file.pages.lock().count(), 0),
            Body::Directory(directory) => (directory.count() * ENTRY_SIZE, 0, 0),
            Body::Link(target) => (target.len() as u64, 0, 0),
            Body::Special(special) => (0, 0, special.device),
        };
        let attributes = self.attributes.lock();
        Metadata {
            number: self.number,
            permission: attributes.permission,
            links: attributes.links,
            device,
            size,
            blocks: pages * (PAGE_SIZE as u64 / 512),
            accessed: attributes.accessed,
            modified: attributes.modified,
            changed: attributes.changed,
        }
    }

    fn permission(&self) -> Permission {
        self.attributes.lock().permission
    }

    fn kind(&self) -> Kind {
        match &self.body {
            Body::Regular(_) => Kind::Regular,
            Body::Directory(_) => Kind::Directory,
            Body::Link(_) => Kind::Link,
            Body::Special(_) => Kind::of_mode(self.permission().mode).unwrap_or(Kind::Socket),
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File<W>>, Errno> {
        match self.body {
            Body::Special(_) => W::open_special(&(self as Arc<dyn Inode<W>>), flags),
            _ => Ok(self),
        }
    }

    fn special(&self) -> Option<&Special<W>> {
        if let Body::Special(special) = &self.body { Some(special) } else { None }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode<W>>, Errno> {
        self.directory()?.get(name).map(|node| node as _).ok_or(Errno::ENOENT)
    }

    fn entries(&self, position: u64, take: &mut Entries<'_>) -> Result<(), Errno> {
        self.directory()?.entries(position, take);
        Ok(())
    }

    fn link(&self) -> Result<Link<W>, Errno> {
        if let Body::Link(target) = &self.body { Ok(Link::Text(target.clone())) } else { Err(Errno::EINVAL) }
    }

    fn create(&self, name: &[u8], new: &New<'_>) -> Result<Arc<dyn Inode<W>>, Errno> {
        let directory = self.directory()?;
        Budget::take(&self.budget.inodes, self.budget.options.inodes_max)?;
        let number = self.budget.next_number.fetch_add(1, Ordering::Relaxed);
        let body = match new.kind() {
            Kind::Regular => Body::Regular(Regular {
                writing: mutex::<W, _>(()),
                pages: Spin::<W, _>::new(Rank::FILE, Pages::new()),
                size: AtomicU64::new(0),
            }),
            Kind::Directory => Body::Directory(Directory::new()),
            Kind::Link => Body::Link(new.target.into()),
            Kind::Character | Kind::Block | Kind::Fifo | Kind::Socket => Body::Special(Special::new(new.device)),
        };
        let node = Self::new(self.budget.clone(), number, new.permission, body);
        directory.insert(name, node.clone());
        self.add_links(i32::from(node.is_directory()));
        self.touch();
        Ok(node)
    }

    fn add_link(&self, name: &[u8], inode: &Arc<dyn Inode<W>>) -> Result<(), Errno> {
        let node = Self::of(inode)?;
        node.add_links(1);
        self.directory()?.insert(name, node);
        self.touch();
        Ok(())
    }

    fn remove(&self, name: &[u8], inode: &Arc<dyn Inode<W>>) -> Result<(), Errno> {
        let node = Self::of(inode)?;
        node.check_empty()?;
        drop(self.directory()?.remove(name));
        node.lose_name(self);
        self.touch();
        Ok(())
    }

    fn rename(&self, name: &[u8], to: &Arc<dyn Inode<W>>, new_name: &[u8]) -> Result<(), Errno> {
        let to = Self::of(to)?;
        let (from, into) = (self.directory()?, to.directory()?);
        let node = from.get(name).ok_or(Errno::ENOENT)?;
        let replaced = into.get(new_name);
        if let Some(replaced) = &replaced {
            replaced.check_empty()?;
        }
        into.insert(new_name, node.clone());
        from.remove(name);
        if let Some(replaced) = replaced {
            replaced.lose_name(&to);
        }
        if node.is_directory() {
            self.add_links(-1);
            to.add_links(1);
        }
        node.add_links(0);
        self.touch();
        to.touch();
        Ok(())
    }

    fn exchange(&self, name: &[u8], with: &Arc<dyn Inode<W>>, other_name: &[u8]) -> Result<(), Errno> {
        let with = Self::of(with)?;
        let (here, there) = (self.directory()?, with.directory()?);
        let (one, other) = (here.get(name).ok_or(Errno::ENOENT)?, there.get(other_name).ok_or(Errno::ENOENT)?);
        here.insert(name, other.clone());
        there.insert(other_name, one.clone());
        let moved = i32::from(other.is_directory()) - i32::from(one.is_directory());
        self.add_links(moved);
        with.add_links(-moved);
        one.add_links(0);
        other.add_links(0);
        self.touch();
        with.touch();
        Ok(())
    }

    fn change(&self, change: &Change) -> Result<(), Errno> {
        let now = W::now();
        let mut attributes = self.attributes.lock();
        if let Some(mode) = change.mode {
            attributes.permission.mode = attributes.permission.mode & !0o7777 | mode & 0o7777;
        }
        attributes.permission.user = change.user.unwrap_or(attributes.permission.user);
        attributes.permission.group = change.group.unwrap_or(attributes.permission.group);
        attributes.accessed = change.accessed.unwrap_or(attributes.accessed);
        attributes.modified = change.modified.unwrap_or(attributes.modified);
        attributes.changed = now;
        Ok(())
    }

    fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.resize(self.regular()?, size)
    }
}

impl<W: World> Node<W> {
    fn check_empty(&self) -> Result<(), Errno> {
        match &self.body {
            Body::Directory(directory) if directory.count() > 0 => Err(Errno::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    /// A name of this in `directory` is gone.
    fn lose_name(&self, directory: &Self) {
        if self.is_directory() {
            self.add_links(-2);
            directory.add_links(-1);
        } else {
            self.add_links(-1);
        }
    }
}

impl<W: World> File<W> for Node<W> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _flags: u32) -> Result<(), Errno> {
        let file = self.regular()?;
        let mut offset = offset;
        loop {
            let left = file.size.load(Ordering::Acquire).saturating_sub(offset);
            let within = (offset % PAGE_SIZE as u64) as usize;
            let length = (PAGE_SIZE - within).min(to.room()).min(usize::try_from(left).unwrap_or(usize::MAX));
            if length == 0 {
                break;
            }
            let page = file.pages.lock().get(offset / PAGE_SIZE as u64).cloned();
            offset += match page {
                Some(page) => to.put(&page.bytes()[within..within + length])?,
                None => to.put_zeroes(length)?,
            } as u64;
        }
        // Access times are relative, as Linux mounts by default: kept only as far as they tell whether a change was seen.
        let mut attributes = self.attributes.lock();
        if (attributes.accessed.sec, attributes.accessed.nsec) <= (attributes.modified.sec, attributes.modified.nsec) {
            attributes.accessed = W::now();
        }
        Ok(())
    }

    fn write(&self, offset: u64, from: &mut dyn Source, flags: u32) -> Result<u64, Errno> {
        let file = self.regular()?;
        let _writing = file.writing.lock();
        let start = if flags & O_APPEND != 0 { file.size.load(Ordering::Relaxed) } else { offset };
        let behind = self.write_locked(file, start, from)?;
        self.touch();
        Ok(behind)
    }

    fn page(&self, index: u64, _write: bool) -> Result<W::Page, Errno> {
        // Without the lock of writers: one may be copying from a mapping of this very page.
        self.make_page(self.regular().map_err(|_| Errno::ENODEV)?, index, false)
    }

    fn is_mappable(&self) -> bool {
        matches!(self.body, Body::Regular(_))
    }

    fn sync(&self, _bytes: Range<u64>, _data_only: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn allocate(&self, how: Allocate, offset: u64, length: u64) -> Result<(), Errno> {
        let file = self.regular().map_err(|_| Errno::ENODEV)?;
        let end = offset + length;
        let _writing = file.writing.lock();
        match how {
            Allocate::Punch => self.punch(file, offset, end),
            // No page lies behind the end of a file in memory, so there is nowhere to keep room for later.
            Allocate::Keep if end > file.size.load(Ordering::Relaxed) => return Err(Errno::EOPNOTSUPP),
            Allocate::Keep | Allocate::Extend => self.fill(file, offset, end)?,
        }
        self.touch();
        Ok(())
    }

    fn seek_data(&self, offset: u64, size: u64, hole: bool) -> Result<u64, Errno> {
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        let Ok(file) = self.regular() else { return Ok(if hole { size } else { offset }) };
        let pages = file.pages.lock();
        let first = offset / PAGE_SIZE as u64;
        let found = if hole { Some(pages.next_absent(first)) } else { pages.next_present(first) };
        let at = found.map(|index| (index * PAGE_SIZE as u64).max(offset));
        match at {
            Some(at) if at < size => Ok(at),
            _ if hole => Ok(size),
            _ => Err(Errno::ENXIO),
        }
    }
}
