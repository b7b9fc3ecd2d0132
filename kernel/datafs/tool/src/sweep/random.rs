//! Random operations on a volume and its model.

use datafs::layout::inode::{DIRECTORY, LINK, REGULAR};
use datafs::{BLOCK, Error, InodeNumber, Options, ROOT, SetXattr};

use super::cut::Random;
use super::pair::Pair;

/// What operations there are to choose from.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Largest size of a file, in blocks.
    pub file_blocks: usize,
    /// Names to choose from in each directory.
    pub names: usize,
    /// Of so many operations one is a sync.
    pub sync: usize,
    /// Of so many operations one is a checkpoint.
    pub checkpoint: usize,
    /// Of so many operations one is a remount; 0: none.
    pub remount: usize,
    /// Quota ids with limits are set.
    pub quotas: bool,
}

/// Chooses what is done.
pub struct Chooser {
    /// Where numbers come from.
    pub random: Random,
    mix: Mix,
    /// Inodes without a name that are still in use.
    open: Vec<InodeNumber>,
}

impl Chooser {
    /// With a seed.
    #[must_use]
    pub fn new(seed: u64, mix: Mix) -> Self {
        Self { random: Random::new(seed), mix, open: Vec::new() }
    }

    /// Nothing is open any more.
    pub fn forget_open(&mut self) {
        self.open.clear();
    }

    fn one_of(&mut self, count: usize) -> bool {
        count > 0 && self.random.below(count) == 0
    }

    fn inode(&mut self, pair: &Pair, wanted: impl Fn(u32) -> bool) -> InodeNumber {
        let fitting = |pair: &Pair| -> Vec<InodeNumber> {
            pair.model.nodes.iter().filter(|(_, node)| wanted(node.kind())).map(|(&inode, _)| inode).collect()
        };
        let some = if self.one_of(12) { pair.model.nodes.keys().copied().collect() } else { fitting(pair) };
        if some.is_empty() || self.one_of(60) { 40_000 } else { some[self.random.below(some.len())] }
    }

    fn name(&mut self) -> Vec<u8> {
        let number = self.random.below(self.mix.names);
        match self.random.below(80) {
            0 => vec![b'x'; 256],
            1 => b"a/b".to_vec(),
            2 => b"..".to_vec(),
            _ if number.is_multiple_of(5) => format!("{number:0>240}").into_bytes(),
            _ => format!("n{number}").into_bytes(),
        }
    }

    /// A directory and a name, often of something that is there.
    fn place(&mut self, pair: &Pair) -> (InodeNumber, Vec<u8>) {
        let directory = self.inode(pair, |kind| kind == DIRECTORY);
        let there = pair.model.node(directory).map(|node| &node.names);
        match there {
            Ok(names) if !names.is_empty() && self.random.below(2) == 0 => {
                let at = self.random.below(names.len());
                (directory, names.keys().nth(at).cloned().unwrap_or_default())
            }
            _ => (directory, self.name()),
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let (seed, step) = (self.random.next(), self.random.below(7) as u64);
        (0..length as u64).map(|at| (seed >> (at % 8 * 8)).wrapping_add(at * step) as u8).collect()
    }

    /// Does something. What the volume refuses is refused by the model too, or [`Pair`] panics.
    pub fn step(&mut self, pair: &mut Pair) {
        if self.one_of(self.mix.sync) {
            pair.sync();
        }
        if self.one_of(self.mix.checkpoint) {
            pair.checkpoint();
        }
        if self.one_of(self.mix.remount) {
            self.open.clear();
            let device_blocks = crate::Device::blocks(&pair.mounted.device);
            let few = self.one_of(2);
            let (cache_blocks_max, dirty_blocks_max) = if few { (64, 128) } else { (4096, 1024) };
            pair.remount(Options { device_blocks, read_only: false, cache_blocks_max, dirty_blocks_max });
        }
        let result = match self.random.below(10) {
            0..4 => self.name_step(pair),
            4..8 => self.file_step(pair),
            _ => self.attribute_step(pair),
        };
        let _compared = result;
    }

    fn name_step(&mut self, pair: &mut Pair) -> Result<(), Error> {
        let (directory, name) = self.place(pair);
        match self.random.below(13) {
            0..3 => pair.file(directory, &name).map(drop),
            3 => pair.directory(directory, &name).map(drop),
            4 => {
                let most = if self.one_of(3) { 4095 } else { 150 };
                let length = 1 + self.random.below(most);
                let target = vec![b'a' + (length % 26) as u8; length];
                pair.create(directory, Some(&name), LINK | 0o777, &target).map(drop)
            }
            5 => {
                let inode = pair.create(directory, None, REGULAR | 0o600, b"")?;
                self.open.push(inode);
                Ok(())
            }
            6 => {
                let inode = self.inode(pair, |kind| kind != DIRECTORY);
                pair.link(inode, (directory, &name))?;
                self.open.retain(|&open| open != inode);
                Ok(())
            }
            7..10 => self.remove(pair, (directory, &name)),
            10 | 11 => self.rename(pair, (directory, &name)),
            _ => self.close(pair),
        }
    }

    fn remove(&mut self, pair: &mut Pair, at: (InodeNumber, &[u8])) -> Result<(), Error> {
        let Some(inode) = pair.unlink(at)? else { return Ok(()) };
        if self.one_of(4) {
            self.open.push(inode);
            return Ok(());
        }
        pair.reclaim(inode)
    }

    fn close(&mut self, pair: &mut Pair) -> Result<(), Error> {
        if self.open.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.open.len());
        let inode = self.open.swap_remove(at);
        pair.reclaim(inode)
    }

    fn rename(&mut self, pair: &mut Pair, from: (InodeNumber, &[u8])) -> Result<(), Error> {
        let (to, name) = self.place(pair);
        let to = (to, &name[..]);
        let named = |(directory, name): (InodeNumber, &[u8])| {
            pair.model.node(directory).ok().and_then(|node| node.names.get(name).copied())
        };
        // That no directory comes into itself is the caller's business; so is what is open of the replaced.
        let is_into = |what: Option<InodeNumber>, to| what.is_some_and(|what| pair.model.is_within(to, what));
        if is_into(named(from), to.0) {
            return Ok(());
        }
        if self.one_of(3) {
            return if is_into(named(to), from.0) { Ok(()) } else { pair.exchange(from, to) };
        }
        pair.rename(from, to)
    }

    fn file_step(&mut self, pair: &mut Pair) -> Result<(), Error> {
        let inode = self.inode(pair, |kind| kind == REGULAR);
        let blocks = self.mix.file_blocks;
        let limit = blocks * BLOCK;
        match self.random.below(12) {
            0..6 => {
                let most = if self.one_of(3) { limit / 2 } else { 3 * BLOCK };
                let length = 1 + self.random.below(most);
                let mut offset = self.random.below(limit - most) as u64;
                if self.one_of(3) {
                    offset = offset.next_multiple_of(BLOCK as u64);
                }
                if self.one_of(40) {
                    offset += 1 << 40;
                }
                let bytes = self.bytes(length);
                pair.write(inode, offset, &bytes)
            }
            6..9 => {
                let size = self.random.below(limit) as u64;
                let size = if self.one_of(4) { size.next_multiple_of(BLOCK as u64) } else { size };
                pair.truncate(inode, if self.one_of(60) { u64::MAX >> 8 } else { size })
            }
            9 => {
                let first = self.random.below(blocks) as u32;
                let count = 1 + self.random.below(blocks) as u32;
                pair.punch(inode, first, count)
            }
            10 => {
                let first = self.random.below(blocks) as u32;
                let count = 1 + self.random.below(blocks / 2) as u32;
                pair.preallocate(inode, first, count)
            }
            _ => {
                let size = pair.model.node(inode).map_or(0, |node| node.attributes.size);
                let length = 1 + self.random.below(BLOCK);
                let bytes = self.bytes(length);
                if size < (1 << 39) { pair.write(inode, size, &bytes) } else { Ok(()) }
            }
        }
    }

    fn attribute_step(&mut self, pair: &mut Pair) -> Result<(), Error> {
        let inode = self.inode(pair, |_| true);
        match self.random.below(10) {
            0..2 => {
                let mode = self.random.below(0o7777) as u32;
                pair.set_mode(inode, mode)
            }
            2..6 => {
                let how = [SetXattr::Any, SetXattr::Create, SetXattr::Replace][self.random.below(3)];
                let most = if self.one_of(3) { 4100 } else { 60 };
                let length = self.random.below(most);
                let (name, value) = (self.name(), self.bytes(length));
                pair.set_xattr(inode, &name, &value, how)
            }
            6 | 7 => {
                let names = pair.model.node(inode).map(|node| node.xattrs.keys().next().cloned());
                let name = names.ok().flatten().unwrap_or_else(|| self.name());
                pair.remove_xattr(inode, &name)
            }
            _ if !self.mix.quotas || inode == ROOT => Ok(()),
            8 => {
                let (id, blocks, inodes) = (self.random.below(4), self.random.below(400), self.random.below(60));
                pair.set_quota(id as u32 * 40, blocks as u64, inodes as u64)
            }
            _ => {
                let id = self.random.below(4) as u32 * 40;
                pair.set_quota_id(inode, id)
            }
        }
    }
}
