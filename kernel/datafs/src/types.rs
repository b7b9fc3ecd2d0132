//! What operations take and give.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// Number of an inode; never 0.
pub type InodeNumber = u32;

/// Bytes of a block.
pub type Bytes = [u8; crate::BLOCK];

/// What a volume may use, and how it is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Blocks of the device; a volume is refused when it is larger.
    pub device_blocks: u64,
    /// Nothing is ever written: the log is replayed in memory only.
    pub read_only: bool,
    /// Blocks of metadata kept in memory; clean ones go when there are more.
    pub cache_blocks_max: usize,
    /// Changed blocks of metadata that wait for a checkpoint.
    pub dirty_blocks_max: usize,
}

/// What `stat` tells, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Type and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Names that it has; a directory counts itself and its subdirectories.
    pub links: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Differs each time that the number is used again.
    pub generation: u32,
    /// Bytes.
    pub size: u64,
    /// Blocks of 4096 bytes that it fills, its metadata included.
    pub blocks: u64,
    /// Last read; this and the other times in nanoseconds since 1970.
    pub accessed: i64,
    /// Last change of the bytes.
    pub modified: i64,
    /// Last change of the bytes or of the inode.
    pub changed: i64,
    /// Made.
    pub created: i64,
    /// Which quota it counts for; 0: none.
    pub quota: u32,
    /// Which device it stands for; 0 when it is none.
    pub device: u64,
    /// Of a directory: the one that it is in. The root is in itself.
    pub parent: InodeNumber,
    /// It has extended attributes.
    pub has_xattrs: bool,
}

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub user: u32,
    /// Group.
    pub group: u32,
    /// Of a device.
    pub device: u64,
    /// Of a symbolic link, 1 to 4095 bytes.
    pub target: &'a [u8],
    /// Now, in nanoseconds since 1970.
    pub time: i64,
}

/// Changes of an inode's fields; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New permission bits (12 of them).
    pub mode: Option<u32>,
    /// New owner.
    pub user: Option<u32>,
    /// New group.
    pub group: Option<u32>,
    /// New access time.
    pub accessed: Option<i64>,
    /// New modification time.
    pub modified: Option<i64>,
    /// New change time.
    pub changed: Option<i64>,
    /// New size of a regular file, not below what it has: [`crate::Volume::truncate`] makes shorter.
    pub size: Option<u64>,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its bytes.
    pub name: &'a [u8],
    /// The inode that it names.
    pub inode: InodeNumber,
    /// Type bits of that inode's mode.
    pub kind: u32,
    /// Where to go on behind it: grows along the directory, and stays right while others change it. Below 2^48.
    pub next: u64,
}

/// Where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The inode.
    pub inode: InodeNumber,
    /// Type bits of its mode.
    pub kind: u32,
}

/// An inode that lost a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its number.
    pub inode: InodeNumber,
    /// No name is left: it stands in the list of orphans until [`crate::Volume::reclaim`].
    pub orphan: bool,
}

/// What stands at a place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Nothing: reads as zeroes.
    Hole,
    /// Blocks that belong to the file and were never written: reads as zeroes.
    Unwritten(u64),
    /// Data, from this block of the volume on.
    Data(u64),
}

/// Consecutive blocks of a file that are mapped alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First block of the file.
    pub logical: u32,
    /// How many.
    pub count: u32,
    /// Where they are.
    pub mapping: Mapping,
}

/// Consecutive blocks of the volume for consecutive blocks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First block of the file.
    pub logical: u32,
    /// How many.
    pub count: u32,
    /// First block of the volume.
    pub block: u64,
    /// Newly allocated; otherwise they belong to the file already.
    pub is_new: bool,
}

/// Blocks for a range of a file, to be written and then attached. In memory only: a cut leaves no trace of it.
#[must_use = "attach it when its blocks are written, or cancel it"]
#[derive(Debug)]
pub struct Allocation {
    pub(crate) inode: InodeNumber,
    pub(crate) runs: Vec<Run>,
}

impl Allocation {
    /// Whose they are to be.
    #[must_use]
    pub fn inode(&self) -> InodeNumber {
        self.inode
    }

    /// Where to write: ascending, without gaps. They may cover less than was asked for.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }
}

/// Whether work of several steps is done.
#[must_use = "go on until it is done"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again; each call is a step that may be committed alone.
    More,
    /// Nothing is left.
    Done,
}

/// How a new value of an extended attribute goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetXattr {
    /// Whether it is there or not.
    Any,
    /// It must not be there (`XATTR_CREATE`).
    Create,
    /// It must be there (`XATTR_REPLACE`).
    Replace,
}

/// Use and limits of a quota id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Most blocks; 0: no limit.
    pub blocks_max: u64,
    /// Most inodes; 0: no limit.
    pub inodes_max: u64,
    /// Blocks in use.
    pub blocks: u64,
    /// Inodes in use.
    pub inodes: u64,
}

/// What `statfs` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Blocks that files can fill.
    pub blocks: u64,
    /// Of them, neither used nor reserved.
    pub free: u64,
    /// Inodes that there can be.
    pub inodes: u64,
    /// Of them, free.
    pub inodes_free: u64,
}

/// A block's bytes, in an allocation of exactly one page.
pub struct Block(pub(crate) Box<Bytes>);

impl core::ops::Deref for Block {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl core::fmt::Debug for Block {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Block")
    }
}

/// One step of a plan.
#[derive(Debug)]
pub enum Step {
    /// Writes, each of one block, ascending; they may be in flight together and end in any order.
    Write(Vec<(u64, Block)>),
    /// A flush of the device, begun when all writes before it have ended, ended before any write after it begins.
    Flush,
}

/// What to do on the device, in this order. The volume may be used meanwhile; it gives no second plan before this one was given back.
#[must_use = "execute it, then give it back with Volume::done or Volume::failed"]
#[derive(Debug)]
pub struct Plan {
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}
