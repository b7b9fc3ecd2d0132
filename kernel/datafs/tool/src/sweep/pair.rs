//! A volume and its model, driven together: each operation must end alike on both.
//!
//! Invariant: between the primitive operations of the volume the model is what the running transaction has made of it; so what it is when a record is made is what
//! that record must lead to, and is kept under the record's number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafs::layout::inode::{DIRECTORY, REGULAR};
use datafs::{
    BLOCK, Bytes, Change, Error, InodeNumber, Mapping, New, Options, Progress, ROOT, Run, SetXattr, Stop, Volume,
};

use super::model::{Cell, Contents, Model, Place, Version};
use super::record::Recorder;
use crate::device::{Device, MemoryDevice};
use crate::mounted::{Failure, Mounted, overlay};

/// Blocks that an operation on names or attributes may need: a few nodes and blocks of names.
const OPERATION_BLOCKS: u64 = 8;

/// A promise: everything that was done before is on stable media.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim {
    /// Events of the device's log when it was made.
    pub time: usize,
    /// The last record that is durable for sure.
    pub record: u64,
}

/// What a run left: what each record leads to, what was written to files, what was promised.
#[derive(Default)]
pub struct History {
    /// By the number of the record after which the volume looks so.
    pub states: BTreeMap<u64, Model>,
    /// Bytes of files.
    pub contents: Contents,
    /// In the order of time.
    pub claims: Vec<Claim>,
}

/// A volume and its model.
pub struct Pair {
    /// The volume, on a device that records.
    pub mounted: Mounted<Recorder<MemoryDevice>>,
    /// What it should be.
    pub model: Model,
    /// What it was.
    pub history: History,
    /// How often operations stopped, by why.
    pub stops: BTreeMap<String, usize>,
    running: u64,
    time: i64,
}

/// What the volume said of an operation; other failures are the test's end.
type Said<T> = Result<T, Error>;

impl Pair {
    /// Of a volume that was just made, or whose state the model has.
    ///
    /// # Panics
    /// The root cannot be read.
    #[must_use]
    pub fn new(mut mounted: Mounted<Recorder<MemoryDevice>>) -> Self {
        let root = mounted.run(|volume| volume.attributes(ROOT)).expect("a root");
        let root = datafs::Attributes { blocks: 0, size: 0, ..root };
        let model = Model::new(mounted.volume.blocks(), root);
        let running = mounted.volume.running();
        let mut history = History::default();
        history.states.insert(mounted.volume.durable(), model.clone());
        history.claims.push(Claim { time: mounted.device.log.len(), record: mounted.volume.durable() });
        Self { mounted, model, history, stops: BTreeMap::new(), running, time: 1_000 }
    }

    /// Runs an operation of the volume; keeps what records that were made before it lead to.
    pub fn run<T>(&mut self, mut operation: impl FnMut(&mut Volume) -> Result<T, Stop>) -> Said<T> {
        let stops = &mut self.stops;
        let result =
            self.mounted.run(|volume| operation(volume).inspect_err(|stop| *stops.entry(why(stop)).or_default() += 1));
        self.settle();
        match result {
            Ok(value) => Ok(value),
            Err(Failure::Volume(error)) => Err(error),
            Err(failure) => panic!("{failure}"),
        }
    }

    fn settle(&mut self) {
        let now = self.mounted.volume.running();
        for record in self.running..now {
            self.history.states.insert(record, self.model.clone());
        }
        self.running = now;
    }

    /// The next time stamp.
    pub fn tick(&mut self) -> i64 {
        self.time += 1;
        self.time
    }

    /// What the volume said must be what the model says; only room may be short where the model knows nothing of it.
    fn agree<T>(&mut self, said: Said<T>, expect: impl FnOnce(&mut Model, Option<&T>) -> Said<()>) -> Said<T> {
        match said {
            Ok(value) => {
                expect(&mut self.model, Some(&value)).expect("the volume did what the model refuses");
                Ok(value)
            }
            Err(error) => {
                let mut model = self.model.clone();
                match expect(&mut model, None) {
                    Err(expected) => assert_eq!(error, expected, "another error than the model's"),
                    Ok(()) => assert!(self.is_short(error, OPERATION_BLOCKS), "{error:?} for no reason"),
                }
                Err(error)
            }
        }
    }

    fn is_short(&mut self, error: Error, blocks: u64) -> bool {
        let statistics = self.mounted.volume.statistics();
        match error {
            Error::NoSpace => statistics.free < blocks + blocks.div_ceil(64),
            Error::NoInodes => statistics.inodes_free == 0,
            Error::Quota => {
                let limits: Vec<_> = self.model.limits.iter().map(|(&id, &limits)| (id, limits)).collect();
                limits.into_iter().any(|(id, limits)| self.is_at_limit(id, limits, blocks))
            }
            _ => false,
        }
    }

    /// Whether so many blocks, or the largest file, or an inode more would be too much for a quota.
    fn is_at_limit(&mut self, id: u32, (blocks_max, inodes_max): (u64, u64), blocks: u64) -> bool {
        let used = self.mounted.run(|volume| volume.quota(id)).expect("a quota can be read");
        let largest = self.model.nodes.values().map(|node| node.cells.len() as u64).max().unwrap_or(0);
        (blocks_max != 0 && used.blocks + blocks.max(largest + OPERATION_BLOCKS) > blocks_max)
            || (inodes_max != 0 && self.model.inodes_of(id) + 1 > inodes_max)
    }
}

/// Names.
impl Pair {
    /// Makes an inode with a name, or without one.
    ///
    /// # Errors
    /// What both say.
    pub fn create(
        &mut self,
        directory: InodeNumber,
        name: Option<&[u8]>,
        mode: u32,
        target: &[u8],
    ) -> Said<InodeNumber> {
        let time = self.tick();
        let new = New { mode, user: 3, group: 4, device: 5, target, time };
        let said = self.run(|volume| match name {
            Some(name) => volume.create(directory, name, &new),
            None => volume.create_unnamed(directory, &new),
        });
        let made = said.and_then(|inode| Ok((inode, self.run(|volume| volume.attributes(inode))?.generation)));
        let made = self.agree(made, |model, made| {
            model.create((directory, name), &new, made.copied().unwrap_or((InodeNumber::MAX, u32::MAX)))
        });
        if let Ok((inode, _)) = made {
            let quota = self.model.node(inode)?.attributes.quota;
            let most = self.model.limits.get(&quota).map_or(0, |limits| limits.1);
            assert!(most == 0 || self.model.inodes_of(quota) <= most, "more inodes than the quota allows");
        }
        made.map(|(inode, _)| inode)
    }

    /// A regular file.
    ///
    /// # Errors
    /// What both say.
    pub fn file(&mut self, directory: InodeNumber, name: &[u8]) -> Said<InodeNumber> {
        self.create(directory, Some(name), REGULAR | 0o644, b"")
    }

    /// A directory.
    ///
    /// # Errors
    /// What both say.
    pub fn directory(&mut self, directory: InodeNumber, name: &[u8]) -> Said<InodeNumber> {
        self.create(directory, Some(name), DIRECTORY | 0o755, b"")
    }

    /// A further name.
    ///
    /// # Errors
    /// What both say.
    pub fn link(&mut self, inode: InodeNumber, to: Place<'_>) -> Said<()> {
        let time = self.tick();
        let said = self.run(|volume| volume.link(inode, to.0, to.1, time));
        self.agree(said, |model, _| model.link(inode, to, time))
    }

    /// Takes a name away; the inode stays until it is reclaimed.
    ///
    /// # Errors
    /// What both say.
    pub fn unlink(&mut self, at: Place<'_>) -> Said<Option<InodeNumber>> {
        let time = self.tick();
        let said = self.run(|volume| volume.remove(at.0, at.1, time));
        let removed = self.agree(said, |model, _| model.remove(at, time))?;
        let node = self.model.node(removed.inode).expect("it was there");
        assert_eq!(removed.orphan, node.attributes.links == 0);
        Ok(removed.orphan.then_some(removed.inode))
    }

    /// Takes a name away, and the inode with the last.
    ///
    /// # Errors
    /// What both say.
    pub fn remove(&mut self, at: Place<'_>) -> Said<()> {
        match self.unlink(at)? {
            Some(inode) => self.reclaim(inode),
            None => Ok(()),
        }
    }

    /// Frees an inode without a name.
    ///
    /// # Errors
    /// What both say.
    pub fn reclaim(&mut self, inode: InodeNumber) -> Said<()> {
        loop {
            // With the first step its contents go, from the end on; its attributes stay until the last.
            if self.run(|volume| volume.reclaim(inode))? == Progress::Done {
                self.model.forget(inode);
                return Ok(());
            }
            self.model.node_mut(inode)?.is_cutting = true;
        }
    }

    /// Moves a name.
    ///
    /// # Errors
    /// What both say.
    pub fn rename(&mut self, from: Place<'_>, to: Place<'_>) -> Said<()> {
        let time = self.tick();
        let said = self.run(|volume| volume.rename(from, to, time));
        match self.agree(said, |model, _| model.rename(from, to, time))? {
            Some(removed) if removed.orphan => self.reclaim(removed.inode),
            _ => Ok(()),
        }
    }

    /// Lets two names change places.
    ///
    /// # Errors
    /// What both say.
    pub fn exchange(&mut self, one: Place<'_>, other: Place<'_>) -> Said<()> {
        let time = self.tick();
        let said = self.run(|volume| volume.exchange(one, other, time));
        self.agree(said, |model, _| model.exchange(one, other, time))
    }
}

/// Attributes.
impl Pair {
    /// Other permission bits.
    ///
    /// # Errors
    /// What both say.
    pub fn set_mode(&mut self, inode: InodeNumber, mode: u32) -> Said<()> {
        let time = self.tick();
        let change = Change { mode: Some(mode), user: Some(mode), changed: Some(time), ..Change::default() };
        let said = self.run(|volume| volume.change(inode, &change));
        self.agree(said, |model, _| {
            let attributes = &mut model.node_mut(inode)?.attributes;
            attributes.mode = attributes.mode & !0o7777 | mode & 0o7777;
            (attributes.user, attributes.changed) = (mode, time);
            Ok(())
        })
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// What both say.
    pub fn set_xattr(&mut self, inode: InodeNumber, name: &[u8], value: &[u8], how: SetXattr) -> Said<()> {
        let time = self.tick();
        let said = self.run(|volume| volume.set_xattr(inode, name, value, how, time));
        self.agree(said, |model, _| model.set_xattr(inode, name, value, how, time))
    }

    /// Takes one away.
    ///
    /// # Errors
    /// What both say.
    pub fn remove_xattr(&mut self, inode: InodeNumber, name: &[u8]) -> Said<()> {
        let time = self.tick();
        let said = self.run(|volume| volume.remove_xattr(inode, name, time));
        self.agree(said, |model, _| model.remove_xattr(inode, name, time))
    }

    /// Sets the limits of a quota id.
    ///
    /// # Errors
    /// What both say.
    pub fn set_quota(&mut self, id: u32, blocks: u64, inodes: u64) -> Said<()> {
        let said = self.run(|volume| volume.set_quota(id, blocks, inodes));
        self.agree(said, |model, _| {
            model.limits.insert(id, (blocks, inodes));
            if id == 0 { Err(Error::Invalid) } else { Ok(()) }
        })
    }

    /// Lets an inode count for a quota id.
    ///
    /// # Errors
    /// What both say.
    pub fn set_quota_id(&mut self, inode: InodeNumber, id: u32) -> Said<()> {
        let time = self.tick();
        let said = self.run(|volume| volume.set_quota_id(inode, id, 0, time));
        self.agree(said, |model, _| {
            let attributes = &mut model.node_mut(inode)?.attributes;
            (attributes.quota, attributes.changed) = (id, time);
            Ok(())
        })
    }

    /// The volume becomes larger.
    ///
    /// # Errors
    /// What both say.
    pub fn grow(&mut self, blocks: u64) -> Said<()> {
        let said = self.run(|volume| volume.grow(blocks));
        self.agree(said, |model, _| {
            model.blocks = blocks;
            Ok(())
        })
    }
}

/// Contents.
impl Pair {
    /// What stands in a block of a file, whatever its size.
    #[must_use]
    pub fn block(&self, inode: InodeNumber, logical: u32) -> Bytes {
        match self.model.node(inode).ok().and_then(|node| node.cells.get(&logical)) {
            Some(Cell::Data { id, .. }) => *self.history.contents.last(*id),
            _ => [0; BLOCK],
        }
    }

    fn size(&self, inode: InodeNumber) -> u64 {
        self.model.node(inode).map_or(0, |node| node.attributes.size)
    }

    /// The bytes of the last block behind the end become zero on the device: the file is about to get longer.
    fn clear_tail(&mut self, inode: InodeNumber) {
        let size = self.size(inode);
        let (logical, within) = ((size / BLOCK as u64) as u32, (size % BLOCK as u64) as usize);
        if within == 0 {
            return;
        }
        let Ok(extent) = self.run(|volume| volume.extent(inode, logical, 1)) else { return };
        if let Mapping::Data(block) = extent.mapping {
            let mut bytes = self.block(inode, logical);
            bytes[within..].fill(0);
            self.write_block(inode, logical, block, bytes);
        }
    }

    /// Writes a block of a file; of its cell only if it has one with data.
    fn write_block(&mut self, inode: InodeNumber, logical: u32, block: u64, bytes: Bytes) -> Version {
        Device::write(&mut self.mounted.device, block, &bytes).expect("the device takes it");
        let version = Version { bytes: Arc::new(bytes), written: self.mounted.device.log.len() };
        if let Some(Cell::Data { id, .. }) = self.model.nodes.get(&inode).and_then(|node| node.cells.get(&logical)) {
            self.history.contents.overwrite(*id, version.clone());
        }
        version
    }

    /// Holes in a range of a file.
    fn holes(&self, inode: InodeNumber, first: u32, count: u32) -> u32 {
        let used = self.model.node(inode).map_or(0, |node| node.cells.range(first..first + count).count());
        count - used as u32
    }

    /// Writes bytes of a file.
    ///
    /// # Errors
    /// What both say; `NoSpace` and `Quota` before anything was written.
    pub fn write(&mut self, inode: InodeNumber, offset: u64, bytes: &[u8]) -> Said<()> {
        let end = offset + bytes.len() as u64;
        let (first, last) = ((offset / BLOCK as u64) as u32, ((end - 1) / BLOCK as u64) as u32);
        let mut left = self.reserve(inode, first, last + 1 - first)?;
        if offset > self.size(inode) {
            self.clear_tail(inode);
        }
        let mut at = offset;
        while at < end {
            let logical = (at / BLOCK as u64) as u32;
            at = self.write_part(inode, logical, last + 1 - logical, (offset, bytes), &mut left);
        }
        self.run(|volume| volume.unreserve(inode, left))?;
        let time = self.tick();
        let change = Change { modified: Some(time), changed: Some(time), ..Change::default() };
        self.run(|volume| volume.change(inode, &change))?;
        let attributes = &mut self.model.node_mut(inode)?.attributes;
        (attributes.modified, attributes.changed) = (time, time);
        Ok(())
    }

    /// Reserves what a range of a file lacks.
    fn reserve(&mut self, inode: InodeNumber, first: u32, count: u32) -> Said<u32> {
        self.model.clone().file_mut(inode)?;
        let holes = self.holes(inode, first, count);
        match self.run(|volume| volume.reserve(inode, holes)) {
            Ok(()) => Ok(holes),
            Err(error) => {
                assert!(self.is_short(error, u64::from(holes)), "{error:?} for {holes} blocks");
                Err(error)
            }
        }
    }

    /// One allocation's part of a write, of which `left` blocks are reserved; gives the offset behind it.
    fn write_part(&mut self, inode: InodeNumber, first: u32, count: u32, data: (u64, &[u8]), left: &mut u32) -> u64 {
        let mut allocation = self.run(|volume| volume.allocate(inode, first, count)).expect("it was reserved");
        let runs = allocation.runs().to_vec();
        let (old, end) = (self.size(inode), data.0 + data.1.len() as u64);
        let mut written = Vec::new();
        for (logical, block) in runs.iter().flat_map(blocks) {
            let mut bytes = self.block(inode, logical);
            let start = u64::from(logical) * BLOCK as u64;
            bytes[(old.saturating_sub(start) as usize).min(BLOCK)..].fill(0);
            overlay(&mut bytes, start, data.0, data.1);
            written.push((logical, self.write_block(inode, logical, block, bytes)));
        }
        let new: u32 = runs.iter().filter(|run| run.is_new).map(|run| run.count).sum();
        let reach = written.last().map_or(0, |last| (u64::from(last.0) + 1) * BLOCK as u64).min(end);
        let used = new.min(*left);
        self.run(|volume| volume.attach(&mut allocation, used, reach)).expect("it was reserved");
        *left -= used;
        for (logical, version) in written {
            self.attached(inode, logical, version);
            if reach > old {
                self.raise_floor(inode, logical);
            }
        }
        if reach > old {
            self.raise_floor(inode, (old / BLOCK as u64) as u32);
        }
        let attributes = &mut self.model.node_mut(inode).expect("it is there").attributes;
        attributes.size = old.max(reach);
        reach
    }

    fn attached(&mut self, inode: InodeNumber, logical: u32, version: Version) {
        let node = self.model.node_mut(inode).expect("it is there");
        if !matches!(node.cells.get(&logical), Some(Cell::Data { .. })) {
            let id = self.history.contents.add(version);
            node.cells.insert(logical, Cell::Data { id, floor: 0 });
        }
    }

    /// The file got longer: what stands in a block now was flushed before the record that says so.
    fn raise_floor(&mut self, inode: InodeNumber, logical: u32) {
        let Ok(node) = self.model.node_mut(inode) else { return };
        if let Some(Cell::Data { id, floor }) = node.cells.get_mut(&logical) {
            *floor = self.history.contents.versions(*id).len() - 1;
        }
    }

    /// Gives a file blocks that read as zeroes.
    ///
    /// # Errors
    /// What both say.
    pub fn preallocate(&mut self, inode: InodeNumber, first: u32, count: u32) -> Said<()> {
        let mut left = self.reserve(inode, first, count)?;
        let mut at = first;
        while at < first + count {
            let mut allocation =
                self.run(|volume| volume.allocate(inode, at, first + count - at)).expect("it was reserved");
            let runs: BTreeSet<_> = allocation.runs().iter().flat_map(blocks).map(|(logical, _)| logical).collect();
            let new: u32 = allocation.runs().iter().filter(|run| run.is_new).map(|run| run.count).sum();
            let used = new.min(left);
            self.run(|volume| volume.attach_unwritten(&mut allocation, used, 0)).expect("it was reserved");
            left -= used;
            at += runs.len() as u32;
            let node = self.model.node_mut(inode)?;
            runs.into_iter().for_each(|logical| {
                node.cells.entry(logical).or_insert(Cell::Unwritten);
            });
        }
        self.run(|volume| volume.unreserve(inode, left))
    }

    /// Another size.
    ///
    /// # Errors
    /// What both say.
    pub fn truncate(&mut self, inode: InodeNumber, size: u64) -> Said<()> {
        let (time, old) = (self.tick(), self.size(inode));
        if size > old {
            self.clear_tail(inode);
        }
        loop {
            let said = self.run(|volume| volume.truncate(inode, size, time));
            let progress = self.agree(said, |model, _| model.truncate(inode, size, time))?;
            self.model.node_mut(inode)?.is_cutting = progress == Progress::More;
            if size > old {
                self.raise_floor(inode, (old / BLOCK as u64) as u32);
            }
            if progress == Progress::Done {
                return Ok(());
            }
        }
    }

    /// Makes a hole of whole blocks.
    ///
    /// # Errors
    /// What both say.
    pub fn punch(&mut self, inode: InodeNumber, first: u32, count: u32) -> Said<()> {
        loop {
            let said = self.run(|volume| volume.punch(inode, first, count));
            let progress = self.agree(said, |model, _| model.file_mut(inode).map(|_| ()))?;
            // Which extents went in this step only the volume knows.
            for logical in first..first + count {
                let extent = self.run(|volume| volume.extent(inode, logical, 1))?;
                if extent.mapping == Mapping::Hole {
                    self.model.node_mut(inode)?.cells.remove(&logical);
                }
            }
            if progress == Progress::Done {
                let left = self.model.node(inode)?.cells.range(first..first + count).count();
                assert_eq!(left, 0, "blocks are left in the hole");
                return Ok(());
            }
        }
    }
}

/// Durability.
impl Pair {
    /// Everything so far is to be on stable media.
    ///
    /// # Panics
    /// The volume or the device fails.
    pub fn sync(&mut self) {
        self.mounted.sync().expect("it can be committed");
        self.settle();
        self.claim();
    }

    /// The same, and the log becomes empty.
    ///
    /// # Panics
    /// The volume or the device fails.
    pub fn checkpoint(&mut self) {
        self.mounted.checkpoint().expect("it can be committed");
        self.settle();
    }

    /// Bytes that were overwritten in their places are to be on stable media.
    ///
    /// # Panics
    /// The device fails.
    pub fn sync_data(&mut self) {
        Device::flush(&mut self.mounted.device).expect("the device flushes");
        self.claim();
    }

    fn claim(&mut self) {
        let claim = Claim { time: self.mounted.device.log.len(), record: self.mounted.volume.durable() };
        self.history.claims.push(claim);
    }

    /// Closes the volume, opens it again, and frees what has no name.
    ///
    /// # Panics
    /// It cannot be opened.
    pub fn remount(&mut self, options: Options) {
        self.sync();
        let device = std::mem::take(&mut self.mounted.device);
        self.mounted = Mounted::open_with(device, options).unwrap_or_else(|failure| panic!("{failure}"));
        self.model = self.model.reclaimed();
        self.running = self.mounted.volume.running();
    }
}

fn why(stop: &Stop) -> String {
    match stop {
        Stop::Missing(_) => String::from("Missing"),
        Stop::Error(error) => format!("{error:?}"),
        other => format!("{other:?}"),
    }
}

fn blocks(run: &Run) -> impl Iterator<Item = (u32, u64)> + use<> {
    let (logical, block) = (run.logical, run.block);
    (0..run.count).map(move |at| (logical + at, block + u64::from(at)))
}
