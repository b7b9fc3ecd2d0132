//! What a volume should hold: files in memory, and what each operation makes of them.
//!
//! The bytes of a block of a file are not here but in [`Contents`], with all that was ever written to that block in its place: after a cut a block that
//! was overwritten and not flushed may hold any of it. A cell of a file says from which version on.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use datafs::layout::inode::{DIRECTORY, LINK, REGULAR, TYPE};
use datafs::{Attributes, BLOCK, Bytes, Error, FILE_MAX, InodeNumber, NAME_MAX, New, ROOT, SetXattr};

/// What an operation gives.
pub type Out<T> = Result<T, Error>;

/// A block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Its own, and reads as zeroes.
    Unwritten,
    /// Written.
    Data {
        /// Which contents.
        id: usize,
        /// Older versions than this cannot be there when the file is as it is.
        floor: usize,
    },
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// As `stat` tells; `blocks`, and a directory's size, are left 0.
    pub attributes: Attributes,
    /// Entries of a directory.
    pub names: BTreeMap<Vec<u8>, InodeNumber>,
    /// Of a symbolic link.
    pub target: Vec<u8>,
    /// Of a regular file.
    pub cells: BTreeMap<u32, Cell>,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// A truncation has steps left: what is behind the size may still be there.
    pub is_cutting: bool,
}

impl Node {
    /// Type bits.
    #[must_use]
    pub const fn kind(&self) -> u32 {
        self.attributes.mode & TYPE
    }

    const fn is_directory(&self) -> bool {
        self.kind() == DIRECTORY
    }
}

/// A name in a directory.
pub type Place<'a> = (InodeNumber, &'a [u8]);

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Inodes, those without a name too.
    pub nodes: BTreeMap<InodeNumber, Rc<Node>>,
    /// Limits of quota ids: blocks, inodes.
    pub limits: BTreeMap<u32, (u64, u64)>,
    /// Blocks of the volume.
    pub blocks: u64,
}

fn check_name(name: &[u8]) -> Out<()> {
    if name.len() > NAME_MAX {
        return Err(Error::NameTooLong);
    }
    let is_bad = name.is_empty() || name == b"." || name == b".." || name.iter().any(|byte| matches!(byte, 0 | b'/'));
    if is_bad { Err(Error::Invalid) } else { Ok(()) }
}

impl Model {
    /// A new volume, whose root has these attributes.
    #[must_use]
    pub fn new(blocks: u64, root: Attributes) -> Self {
        let mut model = Self { blocks, ..Self::default() };
        model.nodes.insert(ROOT, Rc::new(node(root)));
        model
    }

    /// An inode.
    ///
    /// # Errors
    /// `Stale`.
    pub fn node(&self, inode: InodeNumber) -> Out<&Node> {
        self.nodes.get(&inode).map(|node| &**node).ok_or(Error::Stale)
    }

    /// An inode, to be changed.
    ///
    /// # Errors
    /// `Stale`.
    pub fn node_mut(&mut self, inode: InodeNumber) -> Out<&mut Node> {
        self.nodes.get_mut(&inode).map(Rc::make_mut).ok_or(Error::Stale)
    }

    fn directory(&self, inode: InodeNumber) -> Out<&Node> {
        let node = self.node(inode)?;
        if node.is_directory() { Ok(node) } else { Err(Error::NotDirectory) }
    }

    fn live_directory(&self, inode: InodeNumber) -> Out<&Node> {
        let node = self.directory(inode)?;
        if node.attributes.links == 0 { Err(Error::NotFound) } else { Ok(node) }
    }

    fn file(&self, inode: InodeNumber) -> Out<&Node> {
        let node = self.node(inode)?;
        if node.kind() == REGULAR { Ok(node) } else { Err(Error::Invalid) }
    }

    /// A regular file, to be changed.
    ///
    /// # Errors
    /// `Stale`, `Invalid`.
    pub fn file_mut(&mut self, inode: InodeNumber) -> Out<&mut Node> {
        self.file(inode)?;
        self.node_mut(inode)
    }

    fn touch(&mut self, inode: InodeNumber, time: i64) {
        if let Ok(node) = self.node_mut(inode) {
            (node.attributes.modified, node.attributes.changed) = (time, time);
        }
    }

    fn add_links(&mut self, inode: InodeNumber, count: i64) {
        if let Ok(node) = self.node_mut(inode) {
            node.attributes.links = node.attributes.links.saturating_add_signed(count as i32);
        }
    }

    /// Makes an inode, under the number and generation that the volume chose, with a name or without.
    ///
    /// # Errors
    /// As `Volume::create` and `Volume::create_unnamed`.
    pub fn create(&mut self, at: (InodeNumber, Option<&[u8]>), new: &New<'_>, made: (InodeNumber, u32)) -> Out<()> {
        at.1.map_or(Ok(()), check_name)?;
        let parent = self.live_directory(at.0)?;
        if at.1.is_some_and(|name| parent.names.contains_key(name)) {
            return Err(Error::Exists);
        }
        let kind = new.mode & TYPE;
        let has_target = !new.target.is_empty() && new.target.len() < BLOCK && !new.target.contains(&0);
        if (kind == LINK) != has_target || (at.1.is_none() && kind == DIRECTORY) {
            return Err(Error::Invalid);
        }
        let attributes = Attributes {
            mode: new.mode,
            links: if at.1.is_none() { 0 } else { 1 + u32::from(kind == DIRECTORY) },
            user: new.user,
            group: new.group,
            generation: made.1,
            size: new.target.len() as u64,
            blocks: 0,
            accessed: new.time,
            modified: new.time,
            changed: new.time,
            created: new.time,
            quota: parent.attributes.quota,
            device: if matches!(kind, DIRECTORY | LINK | REGULAR) { 0 } else { new.device },
            parent: if kind == DIRECTORY { at.0 } else { 0 },
            has_xattrs: false,
        };
        assert!(self.nodes.values().all(|other| other.attributes.generation != made.1), "a generation twice");
        let old = self.nodes.insert(made.0, Rc::new(Node { target: new.target.to_vec(), ..node(attributes) }));
        assert!(old.is_none(), "inode {} was in use", made.0);
        if let Some(name) = at.1 {
            self.node_mut(at.0)?.names.insert(name.to_vec(), made.0);
            self.add_links(at.0, i64::from(kind == DIRECTORY));
            self.touch(at.0, new.time);
        }
        Ok(())
    }

    /// A further name.
    ///
    /// # Errors
    /// As `Volume::link`.
    pub fn link(&mut self, inode: InodeNumber, to: Place<'_>, time: i64) -> Out<()> {
        check_name(to.1)?;
        let parent = self.live_directory(to.0)?;
        let node = self.node(inode)?;
        if node.is_directory() {
            return Err(Error::Invalid);
        }
        check_quota_ids(parent, node)?;
        if parent.names.contains_key(to.1) {
            return Err(Error::Exists);
        }
        self.node_mut(to.0)?.names.insert(to.1.to_vec(), inode);
        self.touch(to.0, time);
        self.node_mut(inode)?.attributes.changed = time;
        self.add_links(inode, 1);
        Ok(())
    }

    fn named(&self, at: Place<'_>) -> Out<InodeNumber> {
        self.directory(at.0)?.names.get(at.1).copied().ok_or(Error::NotFound)
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// As `Volume::remove`.
    pub fn remove(&mut self, at: Place<'_>, time: i64) -> Out<()> {
        let inode = self.named(at)?;
        let is_directory = self.lose_name(inode, time)?;
        self.node_mut(at.0)?.names.remove(at.1);
        self.add_links(at.0, -i64::from(is_directory));
        self.touch(at.0, time);
        Ok(())
    }

    /// Whether it was a directory.
    fn lose_name(&mut self, inode: InodeNumber, time: i64) -> Out<bool> {
        let node = self.node_mut(inode)?;
        if !node.names.is_empty() {
            return Err(Error::NotEmpty);
        }
        let is_directory = node.is_directory();
        node.attributes.links = if is_directory { 0 } else { node.attributes.links - 1 };
        node.attributes.changed = time;
        Ok(is_directory)
    }

    /// Moves a name.
    ///
    /// # Errors
    /// As `Volume::rename`.
    pub fn rename(&mut self, from: Place<'_>, to: Place<'_>, time: i64) -> Out<()> {
        check_name(to.1)?;
        self.directory(from.0)?;
        self.live_directory(to.0)?;
        let moved = self.named(from)?;
        if moved == to.0 {
            return Err(Error::Invalid);
        }
        check_quota_ids(self.node(to.0)?, self.node(moved)?)?;
        if let Some(&there) = self.node(to.0)?.names.get(to.1) {
            if there == moved {
                return Ok(());
            }
            match (self.node(moved)?.is_directory(), self.node(there)?.is_directory()) {
                (true, false) => return Err(Error::NotDirectory),
                (false, true) => return Err(Error::IsDirectory),
                _ => {}
            }
            let is_directory = self.lose_name(there, time)?;
            self.add_links(to.0, -i64::from(is_directory));
        }
        self.node_mut(from.0)?.names.remove(from.1);
        self.node_mut(to.0)?.names.insert(to.1.to_vec(), moved);
        self.touch(from.0, time);
        self.touch(to.0, time);
        self.arrive(moved, from.0, to.0, time)
    }

    fn arrive(&mut self, moved: InodeNumber, from: InodeNumber, to: InodeNumber, time: i64) -> Out<()> {
        let node = self.node_mut(moved)?;
        node.attributes.changed = time;
        if node.is_directory() {
            node.attributes.parent = to;
            self.add_links(from, -1);
            self.add_links(to, 1);
        }
        Ok(())
    }

    /// Lets two names change places.
    ///
    /// # Errors
    /// As `Volume::exchange`.
    pub fn exchange(&mut self, one: Place<'_>, other: Place<'_>, time: i64) -> Out<()> {
        self.directory(one.0)?;
        self.directory(other.0)?;
        let (moved, back) = (self.named(one)?, self.named(other)?);
        if moved == back {
            return Ok(());
        }
        if moved == other.0 || back == one.0 {
            return Err(Error::Invalid);
        }
        check_quota_ids(self.node(other.0)?, self.node(moved)?)?;
        check_quota_ids(self.node(one.0)?, self.node(back)?)?;
        self.node_mut(one.0)?.names.insert(one.1.to_vec(), back);
        self.node_mut(other.0)?.names.insert(other.1.to_vec(), moved);
        self.arrive(moved, one.0, other.0, time)?;
        self.arrive(back, other.0, one.0, time)?;
        self.touch(one.0, time);
        self.touch(other.0, time);
        Ok(())
    }

    /// An inode that has no name goes.
    pub fn forget(&mut self, inode: InodeNumber) {
        self.nodes.remove(&inode);
    }

    /// The first step of a truncation.
    ///
    /// # Errors
    /// As `Volume::truncate`.
    pub fn truncate(&mut self, inode: InodeNumber, size: u64, time: i64) -> Out<()> {
        if size > FILE_MAX {
            return Err(Error::FileTooBig);
        }
        let node = self.file_mut(inode)?;
        (node.attributes.size, node.attributes.modified, node.attributes.changed) = (size, time, time);
        let end = u32::try_from(size.div_ceil(BLOCK as u64)).unwrap_or(u32::MAX);
        drop(node.cells.split_off(&end));
        Ok(())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// As `Volume::set_xattr`.
    pub fn set_xattr(&mut self, inode: InodeNumber, name: &[u8], value: &[u8], how: SetXattr, time: i64) -> Out<()> {
        const ROOM: usize = BLOCK - datafs::layout::GRANULE;
        if name.is_empty() || name.len() > NAME_MAX || name.contains(&0) {
            return Err(Error::Invalid);
        }
        let length = |name: &[u8], value: &[u8]| (4 + name.len() + value.len()).next_multiple_of(4);
        if length(name, value) > ROOM {
            return Err(Error::NoSpace);
        }
        let node = self.node_mut(inode)?;
        match (node.xattrs.contains_key(name), how) {
            (true, SetXattr::Create) => return Err(Error::Exists),
            (false, SetXattr::Replace) => return Err(Error::NoAttribute),
            _ => {}
        }
        let others = node.xattrs.iter().filter(|(other, _)| *other != name);
        if others.map(|(name, value)| length(name, value)).sum::<usize>() + length(name, value) > ROOM {
            return Err(Error::NoSpace);
        }
        node.xattrs.insert(name.to_vec(), value.to_vec());
        node.attributes.changed = time;
        node.attributes.has_xattrs = true;
        Ok(())
    }

    /// Takes one away.
    ///
    /// # Errors
    /// As `Volume::remove_xattr`.
    pub fn remove_xattr(&mut self, inode: InodeNumber, name: &[u8], time: i64) -> Out<()> {
        let node = self.node_mut(inode)?;
        node.xattrs.remove(name).ok_or(Error::NoAttribute)?;
        node.attributes.changed = time;
        node.attributes.has_xattrs = !node.xattrs.is_empty();
        Ok(())
    }

    /// Inodes that count for a quota id.
    #[must_use]
    pub fn inodes_of(&self, quota: u32) -> u64 {
        self.nodes.values().filter(|node| node.attributes.quota == quota).count() as u64
    }

    /// Whether a directory is another, or in it.
    #[must_use]
    pub fn is_within(&self, directory: InodeNumber, other: InodeNumber) -> bool {
        let mut at = directory;
        while at != other {
            match self.node(at) {
                Ok(node) if at != ROOT => at = node.attributes.parent,
                _ => return false,
            }
        }
        true
    }

    /// What is left when orphans are gone and truncations done.
    #[must_use]
    pub fn reclaimed(&self) -> Self {
        let mut model = self.clone();
        model.nodes.retain(|_, node| node.attributes.links > 0);
        for node in model.nodes.values_mut().filter(|node| node.is_cutting) {
            Rc::make_mut(node).is_cutting = false;
        }
        model
    }
}

fn node(attributes: Attributes) -> Node {
    Node {
        attributes,
        names: BTreeMap::new(),
        target: Vec::new(),
        cells: BTreeMap::new(),
        xattrs: BTreeMap::new(),
        is_cutting: false,
    }
}

fn check_quota_ids(directory: &Node, inode: &Node) -> Out<()> {
    let id = directory.attributes.quota;
    if id != 0 && id != inode.attributes.quota { Err(Error::OtherQuota) } else { Ok(()) }
}

/// Something that was written to a block of a file.
#[derive(Clone, Debug)]
pub struct Version {
    /// All of the block.
    pub bytes: Arc<Bytes>,
    /// Events of the device's log when it was written.
    pub written: usize,
}

/// All that was written to blocks of files.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    blocks: Vec<Vec<Version>>,
}

impl Contents {
    /// A block that belongs to a file from now on.
    pub fn add(&mut self, version: Version) -> usize {
        self.blocks.push(vec![version]);
        self.blocks.len() - 1
    }

    /// It is overwritten in its place; gives the version's number.
    pub fn overwrite(&mut self, id: usize, version: Version) -> usize {
        self.blocks[id].push(version);
        self.blocks[id].len() - 1
    }

    /// Everything that was written to it.
    #[must_use]
    pub fn versions(&self, id: usize) -> &[Version] {
        &self.blocks[id]
    }

    /// What stands in it now.
    #[must_use]
    pub fn last(&self, id: usize) -> &Bytes {
        &self.blocks[id][self.blocks[id].len() - 1].bytes
    }
}
