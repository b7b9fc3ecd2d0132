//! File systems whose files are made when they are opened.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use linux::Errno;
use linux::types::{Statfs, Timespec};
use vfs::access::Permission;
use vfs::inode::{Entries, Kind, Metadata};
use vfs::{Link, PAGE_SIZE, Sink, Source};

use super::super::{Kernel, Volume};
use crate::clock;
use crate::sync::{Mutex, mutex};

/// Makes a file's text.
pub type Text = Box<dyn Fn() -> Result<Vec<u8>, Errno> + Send + Sync>;
/// Takes what is written to a file.
pub type Store = Box<dyn Fn(&[u8]) -> Result<(), Errno> + Send + Sync>;

/// The same, for a table.
pub type StoreFunction = fn(&[u8]) -> Result<(), Errno>;

/// What a directory contains.
pub trait Directory: Send + Sync {
    /// The node of this name.
    ///
    /// # Errors
    /// `ENOENT`.
    fn find(&self, name: &[u8]) -> Result<Node, Errno>;

    /// Gives `take` the entries from `position` on.
    fn list(&self, position: u64, take: &mut Entries<'_>);
}

/// What a node is.
pub enum Body {
    /// A directory.
    Directory(Box<dyn Directory>),
    /// A text, and what is done with what is written to it.
    Text(Text, Option<Store>),
    /// A symbolic link.
    Link(Box<dyn Fn() -> Result<Link<Kernel>, Errno> + Send + Sync>),
}

/// One file of such a file system. It is made anew by each walk, and keeps nothing.
pub struct Node {
    /// The same for the same file at all times.
    pub number: u64,
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// What it is.
    pub body: Body,
}

impl Node {
    /// A node of the superuser's.
    pub fn new(number: u64, mode: u32, body: Body) -> Self {
        Self { number, mode, owner: (0, 0), body }
    }

    /// A text that all may read.
    pub fn text(number: u64, text: impl Fn() -> Result<Vec<u8>, Errno> + Send + Sync + 'static) -> Self {
        Self::new(number, 0o444, Body::Text(Box::new(text), None))
    }

    /// A directory that all may enter.
    pub fn directory(number: u64, directory: impl Directory + 'static) -> Self {
        Self::new(number, 0o555, Body::Directory(Box::new(directory)))
    }

    /// A link.
    pub fn link(number: u64, target: impl Fn() -> Result<Link<Kernel>, Errno> + Send + Sync + 'static) -> Self {
        Self::new(number, 0o777, Body::Link(Box::new(target)))
    }
}

/// A volume with this root directory. `magic` is its type for `statfs`.
pub fn volume(kind: &'static str, magic: i64, root: impl Directory + 'static) -> Arc<Volume> {
    let statistics =
        move || Statfs { kind: magic, bsize: PAGE_SIZE as i64, namelen: vfs::NAME_MAX as i64, ..Statfs::default() };
    Volume::new(kind, kind.as_bytes(), false, Arc::new(Node::directory(1, root)), statistics)
}

impl vfs::Inode<Kernel> for Node {
    fn metadata(&self) -> Metadata {
        let now: Timespec = clock::realtime();
        let links = if matches!(self.body, Body::Directory(_)) { 2 } else { 1 };
        let permission = self.permission();
        let (device, size, blocks) = (0, 0, 0);
        Metadata {
            number: self.number,
            permission,
            links,
            device,
            size,
            blocks,
            accessed: now,
            modified: now,
            changed: now,
        }
    }

    fn permission(&self) -> Permission {
        Permission { mode: self.kind().mode() | self.mode, user: self.owner.0, group: self.owner.1 }
    }

    fn kind(&self) -> Kind {
        match self.body {
            Body::Directory(_) => Kind::Directory,
            Body::Text(..) => Kind::Regular,
            Body::Link(_) => Kind::Link,
        }
    }

    fn open(self: Arc<Self>, _flags: u32) -> Result<Arc<dyn vfs::File<Kernel>>, Errno> {
        Ok(Arc::new(Open { node: self, made: mutex(None) }))
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn is_cacheable(&self) -> bool {
        false
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn vfs::Inode<Kernel>>, Errno> {
        match &self.body {
            Body::Directory(directory) => Ok(Arc::new(directory.find(name)?)),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn entries(&self, position: u64, take: &mut Entries<'_>) -> Result<(), Errno> {
        match &self.body {
            Body::Directory(directory) => {
                directory.list(position, take);
                Ok(())
            }
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn link(&self) -> Result<Link<Kernel>, Errno> {
        match &self.body {
            Body::Link(target) => target(),
            _ => Err(Errno::EINVAL),
        }
    }

    fn truncate(&self, _size: u64) -> Result<(), Errno> {
        // `echo 1 > /proc/…` truncates first.
        match self.body {
            Body::Text(_, Some(_)) => Ok(()),
            _ => Err(Errno::EPERM),
        }
    }
}

/// The most that one write may bring.
const WRITE_MAX: usize = PAGE_SIZE;

/// An open text: made at the first read, and again by each read from the start.
struct Open {
    node: Arc<Node>,
    made: Mutex<Option<Vec<u8>>>,
}

impl vfs::File<Kernel> for Open {
    fn is_seekable(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _flags: u32) -> Result<(), Errno> {
        let Body::Text(text, _) = &self.node.body else { return Err(Errno::EINVAL) };
        let mut made = self.made.lock();
        if offset == 0 {
            *made = None;
        }
        let bytes = match made.take() {
            Some(bytes) => bytes,
            None => text()?,
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let result = to.put(&bytes[start..]).map(|_| ());
        *made = Some(bytes);
        result
    }

    fn write(&self, offset: u64, from: &mut dyn Source, _flags: u32) -> Result<u64, Errno> {
        let Body::Text(_, Some(store)) = &self.node.body else { return Err(Errno::EINVAL) };
        let mut bytes = alloc::vec![0; from.left().min(WRITE_MAX)];
        let count = from.take(&mut bytes)?;
        store(&bytes[..count])?;
        from.skip();
        Ok(offset + count as u64)
    }
}

/// One file of a [`Flat`] directory.
pub struct Leaf {
    /// Its path below the root of the table.
    pub path: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Makes its text.
    pub text: fn() -> Result<Vec<u8>, Errno>,
    /// Takes what is written.
    pub store: Option<StoreFunction>,
}

impl Leaf {
    /// A text that all may read.
    pub const fn new(path: &'static str, text: fn() -> Result<Vec<u8>, Errno>) -> Self {
        Self { path, mode: 0o444, text, store: None }
    }
}

/// A directory whose whole tree is one table of paths.
#[derive(Clone, Copy)]
pub struct Flat {
    /// The table.
    pub leaves: &'static [Leaf],
    /// The path of this directory, with a slash behind it; empty for the root.
    pub prefix: &'static str,
    /// Numbers of its nodes are this plus their place in the table, in steps of [`NUMBER_STEP`].
    pub number: u64,
}

/// From a leaf's number to the next leaf's: between them are the directories that the first is the first in.
const NUMBER_STEP: u64 = 8;

impl Flat {
    /// Its entries: name, first leaf of that name, whether it is a directory.
    fn children(self) -> impl Iterator<Item = (usize, &'static str, bool)> {
        let mut last = "";
        self.leaves.iter().enumerate().filter_map(move |(index, leaf)| {
            let rest = leaf.path.strip_prefix(self.prefix)?;
            let (name, is_directory) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            (core::mem::replace(&mut last, name) != name).then_some((index, name, is_directory))
        })
    }

    /// The deeper a directory, the further its number lies from its first leaf's.
    fn number_of(self, index: usize, is_directory: bool) -> u64 {
        let depth = self.prefix.bytes().filter(|&byte| byte == b'/').count() as u64;
        self.number + index as u64 * NUMBER_STEP + if is_directory { depth + 1 } else { 0 }
    }
}

impl Directory for Flat {
    fn find(&self, name: &[u8]) -> Result<Node, Errno> {
        let found = self.children().find(|(_, child, _)| child.as_bytes() == name);
        let (index, child, is_directory) = found.ok_or(Errno::ENOENT)?;
        let (leaf, number) = (&self.leaves[index], self.number_of(index, is_directory));
        if is_directory {
            let prefix = &leaf.path[..self.prefix.len() + child.len() + 1];
            return Ok(Node::directory(number, Flat { prefix, ..*self }));
        }
        let store = leaf.store.map(|store| Box::new(store) as Store);
        Ok(Node::new(number, leaf.mode, Body::Text(Box::new(leaf.text), store)))
    }

    fn list(&self, position: u64, take: &mut Entries<'_>) {
        for (at, (index, name, is_directory)) in self.children().enumerate().skip(position as usize) {
            let kind = if is_directory { Kind::Directory } else { Kind::Regular };
            if !take(self.number_of(index, is_directory), at as u64 + 1, kind, name.as_bytes()) {
                return;
            }
        }
    }
}
