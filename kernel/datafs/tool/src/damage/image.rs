//! A populated volume, and the means to change its bytes.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use datafs::check::{Report, Source, Unreadable, check};
use datafs::layout::geometry::{BLOCK_BITMAP, GROUP_USED_BLOCKS, GROUP_USED_INODES, Geometry, INODE_BITMAP};
use datafs::layout::inode::{self, Fields};
use datafs::layout::names::{Entry, entries, hash};
use datafs::layout::node::{self, Record};
use datafs::layout::superblock::Superblock;
use datafs::layout::{Seed, crc32c, seal};
use datafs::{BLOCK, Bytes, Format, InodeNumber, New, ROOT, SetXattr};

use crate::{Device, MemoryDevice, Mounted};

const BLOCKS: u64 = 2 + 256 + 16384 + 6000;
const HASH_KEY: [u8; 16] = [3; 16];

/// What stands where.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `/sub`, with `file` and `other`; `/sub/inner/deep` are directories.
    pub sub: InodeNumber,
    pub inner: InodeNumber,
    pub deep: InodeNumber,
    /// A file of two extents, 4 blocks from 0 and 4 from 8, with a second name in the root; and an other like it.
    pub file: InodeNumber,
    pub other: InodeNumber,
    /// A file whose map needs two nodes.
    pub big: InodeNumber,
    /// A directory whose blocks need a node.
    pub many: InodeNumber,
    /// Two names of one hash in the root.
    pub twins: [Vec<u8>; 2],
    pub short_link: InodeNumber,
    pub long_link: InodeNumber,
    pub fifo: InodeNumber,
    /// A directory with quota id 7.
    pub project: InodeNumber,
    /// The list of orphans, the first first.
    pub orphans: [InodeNumber; 3],
}

/// A volume's bytes.
#[derive(Clone)]
pub struct Image {
    pub device: MemoryDevice,
    pub places: Places,
    pub geometry: Geometry,
    seed: Seed,
    /// Blocks that cannot be read.
    pub bad: BTreeSet<u64>,
    /// Blocks that the device says it has.
    pub device_blocks: u64,
}

static POPULATED: LazyLock<Image> = LazyLock::new(|| {
    let (mut mounted, places) = populate();
    mounted.checkpoint().unwrap();
    Image::new(mounted.device, places)
});

static WITH_LOG: LazyLock<Image> = LazyLock::new(|| {
    let (mut mounted, places) = populate();
    mounted.checkpoint().unwrap();
    for name in ["one", "two", "three"] {
        mounted.run(|v| v.create(places.sub, name.as_bytes(), &new(0o100_600))).unwrap();
        mounted.commit().unwrap();
    }
    Image::new(mounted.device, places)
});

fn new(mode: u32) -> New<'static> {
    New { mode, user: 1, group: 2, device: 0, target: b"", time: 5 }
}

fn populate() -> (Mounted<MemoryDevice>, Places) {
    let format = Format {
        blocks: BLOCKS,
        uuid: [7; 16],
        label: b"test",
        hash_key: HASH_KEY,
        created: 1,
        log_blocks: Some(256),
        inodes_per_group: Some(1024),
    };
    let mut m = Mounted::format(MemoryDevice::new(BLOCKS), &format, &new(0o755)).unwrap();
    let mut places = Places::default();
    let mut make = |parent, name: &[u8], new: &New<'_>| m.run(|v| v.create(parent, name, new)).unwrap();
    places.sub = make(ROOT, b"sub", &new(0o040_755));
    places.inner = make(places.sub, b"inner", &new(0o040_755));
    places.deep = make(places.inner, b"deep", &new(0o040_700));
    places.file = make(places.sub, b"file", &new(0o100_644));
    places.other = make(places.sub, b"other", &new(0o100_644));
    places.big = make(ROOT, b"big", &new(0o100_644));
    places.many = make(ROOT, b"many", &new(0o040_755));
    places.twins = twins();
    for name in &places.twins {
        make(ROOT, name, &new(0o100_644));
    }
    places.short_link = make(ROOT, b"short", &New { target: b"sub/file", ..new(0o120_777) });
    places.long_link = make(ROOT, b"long", &New { target: &[b'x'; 4095], ..new(0o120_777) });
    places.fifo = make(ROOT, b"fifo", &new(0o010_600));
    places.project = make(ROOT, b"project", &new(0o040_755));
    for count in 0..1500 {
        make(places.many, format!("one of many names {count}").as_bytes(), &new(0o100_600));
    }
    fill(&mut m, &places);
    for place in [2, 1, 0] {
        places.orphans[place] = m.run(|v| v.create_unnamed(ROOT, &new(0o100_600))).unwrap();
    }
    (m, places)
}

fn fill(m: &mut Mounted<MemoryDevice>, places: &Places) {
    for file in [places.file, places.other] {
        m.write(file, 0, &[1; 4 * BLOCK]).unwrap();
        m.write(file, 8 * BLOCK as u64, &[2; 4 * BLOCK]).unwrap();
    }
    m.run(|v| v.link(places.file, ROOT, b"second", 6)).unwrap();
    for at in 0..300 {
        m.write(places.big, at * 2 * BLOCK as u64, b"piece").unwrap();
    }
    m.run(|v| v.set_quota_id(places.project, 7, 0, 6)).unwrap();
    m.run(|v| v.set_quota(7, 1000, 100)).unwrap();
    let counted = m.run(|v| v.create(places.project, b"counted", &new(0o100_644))).unwrap();
    m.write(counted, 0, &[3; 3 * BLOCK]).unwrap();
    for name in [b"user.a", b"user.b"] {
        m.run(|v| v.set_xattr(places.file, name, b"value", SetXattr::Any, 6)).unwrap();
    }
    // blocks that were never written, behind the end of a file and into the second group
    let large = m.run(|v| v.create(ROOT, b"large", &new(0o100_644))).unwrap();
    let mut at = 0;
    while at < 17_000 {
        let mut allocation = m.run(|v| v.allocate(large, at, 17_000 - at)).unwrap();
        at += allocation.runs().iter().map(|run| run.count).sum::<u32>();
        m.run(|v| v.attach_unwritten(&mut allocation, 0, 0)).unwrap();
    }
}

/// Two names of one hash.
fn twins() -> [Vec<u8>; 2] {
    let mut seen = HashMap::new();
    (0u32..)
        .find_map(|count| {
            let name = format!("twin{count}").into_bytes();
            let other = seen.insert(hash(&HASH_KEY, &name), name.clone())?;
            Some([other, name])
        })
        .unwrap()
}

impl Source for Image {
    fn read(&mut self, block: u64, into: &mut Bytes) -> Result<(), Unreadable> {
        if self.bad.contains(&block) {
            return Err(Unreadable);
        }
        self.device.read(block, into).map_err(|_| Unreadable)
    }
}

impl Image {
    fn new(device: MemoryDevice, places: Places) -> Self {
        let geometry = Geometry { log_blocks: 256, inodes_per_group: 1024 };
        Self { device, places, geometry, seed: Seed::new(&[7; 16]), bad: BTreeSet::new(), device_blocks: BLOCKS }
    }

    /// With everything that there can be, all of it home.
    pub fn populated() -> Self {
        POPULATED.clone()
    }

    /// The same with three records in the log.
    pub fn with_log() -> Self {
        WITH_LOG.clone()
    }

    /// What is wrong.
    pub fn check(&self) -> Report {
        let mut source = self.clone();
        check(&mut source, self.device_blocks)
    }

    pub fn block(&self, block: u64) -> Bytes {
        let mut bytes = [0; BLOCK];
        self.device.read(block, &mut bytes).unwrap();
        bytes
    }

    /// Changes bytes and leaves the checksum.
    pub fn raw(&mut self, block: u64, change: impl FnOnce(&mut Bytes)) {
        let mut bytes = self.block(block);
        change(&mut bytes);
        self.device.write(block, &bytes).unwrap();
    }

    /// Changes bytes of a block with a header.
    pub fn sealed(&mut self, block: u64, change: impl FnOnce(&mut Bytes)) {
        let seed = self.seed.clone();
        self.raw(block, |bytes| {
            change(bytes);
            seal(bytes, &seed);
        });
    }

    /// Changes a superblock.
    pub fn superblock(&mut self, copy: u64, change: impl FnOnce(&mut Superblock)) {
        let mut superblock = Superblock::parse(&self.block(copy), copy).unwrap();
        change(&mut superblock);
        self.device.write(copy, &superblock.encode()).unwrap();
    }

    /// Which copy of the superblock counts.
    pub fn newest(&self) -> u64 {
        Superblock::choose([&self.block(0), &self.block(1)]).unwrap().copy()
    }

    /// Changes the state in the superblock that counts.
    pub fn state(&mut self, change: impl FnOnce(&mut datafs::layout::superblock::State)) {
        let copy = self.newest();
        self.superblock(copy, |superblock| change(&mut superblock.state));
    }

    /// Changes a record of the log that begins in a block and fills no other.
    pub fn record(&mut self, block: u64, change: impl FnOnce(&mut Bytes)) {
        let seed = self.seed.clone();
        self.raw(block, |bytes| {
            change(bytes);
            let length = u32::from_le_bytes(*bytes[16..].first_chunk().unwrap()) as usize;
            let sum = seed.of(&bytes[8..length]);
            bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        });
    }

    /// First block of the log from which records are to be replayed.
    pub fn tail(&self) -> u64 {
        let copy = self.newest();
        let superblock = Superblock::parse(&self.block(copy), copy).unwrap();
        self.geometry.log_start() + u64::from(superblock.tail)
    }

    /// The block that an inode is in.
    pub fn home(&self, inode: InodeNumber) -> u64 {
        self.geometry.inode_place(inode).0
    }

    /// Changes bytes of an inode.
    pub fn inode(&mut self, inode: InodeNumber, change: impl FnOnce(&mut [u8])) {
        let (block, at) = self.geometry.inode_place(inode);
        let seed = self.seed.clone();
        self.raw(block, |bytes| {
            let bytes = &mut bytes[at..at + inode::SIZE];
            change(bytes);
            inode::seal(bytes, &seed);
        });
    }

    pub fn fields(&self, inode: InodeNumber) -> Fields {
        let (block, at) = self.geometry.inode_place(inode);
        Fields::read(&self.block(block)[at..at + inode::SIZE])
    }

    /// Changes fields of an inode.
    pub fn set(&mut self, inode: InodeNumber, change: impl FnOnce(&mut Fields)) {
        let mut fields = self.fields(inode);
        change(&mut fields);
        self.inode(inode, |bytes| fields.write(bytes));
    }

    /// A record in an inode.
    pub fn root_record(&self, inode: InodeNumber, index: usize) -> Record {
        let (block, at) = self.geometry.inode_place(inode);
        inode::record(&self.block(block)[at..at + inode::SIZE], index)
    }

    /// Changes a record in an inode.
    pub fn set_root_record(&mut self, inode: InodeNumber, index: usize, change: impl FnOnce(&mut Record)) {
        let mut record = self.root_record(inode, index);
        change(&mut record);
        let at = inode::FIELDS + index * node::RECORD_SIZE;
        self.inode(inode, |bytes| bytes[at..at + node::RECORD_SIZE].copy_from_slice(&record.bytes()));
    }

    /// A record of a node.
    pub fn node_record(&self, block: u64, index: usize) -> Record {
        Record::read(&self.block(block), node::offset(index))
    }

    /// Changes a record of a node.
    pub fn set_node_record(&mut self, block: u64, index: usize, change: impl FnOnce(&mut Record)) {
        let mut record = self.node_record(block, index);
        change(&mut record);
        let at = node::offset(index);
        self.sealed(block, |bytes| bytes[at..at + node::RECORD_SIZE].copy_from_slice(&record.bytes()));
    }

    /// Blocks of a directory's names.
    pub fn names_blocks(&self, directory: InodeNumber) -> Vec<u64> {
        let fields = self.fields(directory);
        let roots: Vec<Record> =
            (0..usize::from(fields.count)).map(|index| self.root_record(directory, index)).collect();
        if fields.depth == 0 {
            return roots.iter().map(|record| record.block).collect();
        }
        let count = |block| usize::from(u16::from_le_bytes(*self.block(block)[node::COUNT..].first_chunk().unwrap()));
        let of = |root: &Record| -> Vec<u64> {
            (0..count(root.block)).map(|index| self.node_record(root.block, index).block).collect()
        };
        roots.iter().flat_map(of).collect()
    }

    /// Where a name stands.
    pub fn entry(&self, directory: InodeNumber, name: &[u8]) -> (u64, Entry) {
        let found = self.names_blocks(directory).into_iter().find_map(|block| {
            let bytes = self.block(block);
            let entry = entries(&bytes).find(|entry| entry.inode != 0 && entry.name(&bytes) == name)?;
            Some((block, entry))
        });
        found.unwrap()
    }

    /// Changes a name's entry: bytes from its start on. Returns its block.
    pub fn set_entry(&mut self, directory: InodeNumber, name: &[u8], change: impl FnOnce(&mut [u8])) -> u64 {
        let (block, entry) = self.entry(directory, name);
        self.sealed(block, |bytes| change(&mut bytes[entry.at..entry.at + entry.length]));
        block
    }

    /// Lets a name lead to another inode. Returns its block.
    pub fn retarget(&mut self, directory: InodeNumber, name: &[u8], to: InodeNumber) -> u64 {
        let kind = (self.fields(to).mode >> 12) as u8;
        self.set_entry(directory, name, |entry| {
            entry[8..12].copy_from_slice(&to.to_le_bytes());
            entry[13] = kind;
        })
    }

    /// Changes a block's bit, and all counts with it.
    pub fn mark_block(&mut self, block: u64, is_used: bool) {
        let place = self.geometry.place(block).unwrap();
        let group = self.geometry.group_start(place.group);
        self.sealed(group, |bytes| {
            set_bit(&mut bytes[BLOCK_BITMAP..], place.index, is_used);
            count(bytes, GROUP_USED_BLOCKS, is_used);
        });
        self.state(|state| state.used_blocks = state.used_blocks - 1 + 2 * u64::from(is_used));
    }

    /// Changes an inode's bit, and all counts with it.
    pub fn mark_inode(&mut self, inode: InodeNumber, is_used: bool) {
        let group = self.geometry.group_start(inode / self.geometry.inodes_per_group);
        let index = inode % self.geometry.inodes_per_group;
        self.sealed(group, |bytes| {
            set_bit(&mut bytes[INODE_BITMAP..], index, is_used);
            count(bytes, GROUP_USED_INODES, is_used);
        });
        self.state(|state| state.used_inodes = state.used_inodes - 1 + 2 * u64::from(is_used));
    }

    /// The first of two free blocks.
    pub fn free_block(&self) -> u64 {
        let group = self.geometry.group_start(0);
        let bytes = self.block(group);
        let is_free = |at: u32| bytes[BLOCK_BITMAP + at as usize / 8] >> (at % 8) & 1 == 0;
        let end = self.geometry.group_blocks(0, BLOCKS);
        let index = (0..end - 1).find(|&at| is_free(at) && is_free(at + 1)).unwrap();
        group + u64::from(index)
    }

    /// An inode that was never used.
    pub fn free_inode(&self) -> InodeNumber {
        let last = 2 * self.geometry.inodes_per_group - 1;
        assert_eq!(self.fields(last).mode, 0);
        last
    }
}

fn set_bit(bitmap: &mut [u8], at: u32, value: bool) {
    let byte = &mut bitmap[at as usize / 8];
    assert_ne!(*byte >> (at % 8) & 1 != 0, value);
    *byte ^= 1 << (at % 8);
}

fn count(bytes: &mut Bytes, at: usize, is_more: bool) {
    let old = u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    put32(bytes, at, if is_more { old + 1 } else { old - 1 });
}

/// Writes an integer.
pub fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Makes a superblock's checksum right.
pub fn seal_superblock(bytes: &mut Bytes) {
    let sum = crc32c(&bytes[12..]);
    put32(bytes, 8, sum);
}

/// Hash of a name in the volume.
pub fn hash_of(name: &[u8]) -> u32 {
    hash(&HASH_KEY, name)
}
