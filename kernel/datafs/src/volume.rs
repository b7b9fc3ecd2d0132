//! The faces of a volume. What stands here with [`Error::Failed`] alone is not written yet.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use crate::types::{
    Allocation, Attributes, Bytes, Change, Entry, Extent, Found, InodeNumber, New, Options, Plan, Progress, Quota,
    Removed, SetXattr, Statistics,
};
use crate::{Error, Missing, OpenError, Stop};

/// A volume that is being opened: reads its log.
///
/// `new` takes the device's first two blocks; then, as long as `wanted` names blocks, the caller reads them and gives them with `supply`, in
/// order; then `finish`. A volume whose log held something asks for a checkpoint before its first change.
#[derive(Debug)]
pub struct Opening {
    options: Options,
}

impl Opening {
    /// Chooses and checks the superblock.
    ///
    /// # Errors
    /// Why this is no volume that can be opened.
    pub fn new(copies: [&Bytes; 2], options: Options) -> Result<Self, OpenError> {
        let _ = copies;
        let _ = options.device_blocks;
        Err(OpenError::NotDatafs)
    }

    /// Blocks to be read next, if any.
    #[must_use]
    pub fn wanted(&self) -> Option<Range<u64>> {
        let _ = self.options;
        None
    }

    /// Takes the next block that is wanted.
    ///
    /// # Errors
    /// `Log` when it makes no sense though its checksum is right.
    pub fn supply(&mut self, block: u64, bytes: &Bytes) -> Result<(), OpenError> {
        let _ = (block, bytes);
        Ok(())
    }

    /// The volume.
    ///
    /// # Errors
    /// As `supply`.
    pub fn finish(self) -> Result<Volume, OpenError> {
        Err(OpenError::NotDatafs)
    }
}

/// An open volume.
#[derive(Debug)]
pub struct Volume {
    options: Options,
}

type Out<T> = Result<T, Stop>;

const LATER: Stop = Stop::Error(Error::Failed);

/// The cache of metadata, transactions.
impl Volume {
    /// Gives a block that an operation missed. It is dropped silently when it came too late; the operation will ask again.
    ///
    /// # Errors
    /// `NoMemory`. That the bytes are damaged is told by the operation that needs them.
    pub fn supply(&mut self, missing: Missing, bytes: &Bytes) -> Result<(), Error> {
        let _ = (missing, bytes);
        Err(Error::Failed)
    }

    /// Blocks of metadata in memory.
    #[must_use]
    pub fn cached(&self) -> usize {
        0
    }

    /// Drops up to `count` clean blocks that were not used lately; returns how many went.
    pub fn shrink(&mut self, count: usize) -> usize {
        let _ = count;
        0
    }

    /// Number of the transaction that collects changes now. After a change, what has to be durable for the change to be: this number.
    #[must_use]
    pub fn running(&self) -> u64 {
        0
    }

    /// Every transaction up to this number is on stable media.
    #[must_use]
    pub fn durable(&self) -> u64 {
        0
    }

    /// Whether it would be good to checkpoint soon: the log is half full, or many blocks are changed.
    #[must_use]
    pub fn wants_checkpoint(&self) -> bool {
        false
    }

    /// Nothing can be changed: the volume was opened so, an unknown feature asks for it, or a write of the log failed.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.options.read_only
    }

    /// Makes the running transaction durable; `None` when it is empty. `Commit` when another plan is out.
    ///
    /// # Errors
    /// `Failed`, `ReadOnly`, `NoMemory`; `Checkpoint` when the log has no room.
    pub fn commit(&mut self) -> Out<Option<Plan>> {
        Err(LATER)
    }

    /// Makes the running transaction durable, writes all changed blocks to their places, and empties the log; `None` when there is nothing of all this.
    ///
    /// # Errors
    /// As [`Volume::commit`]; `Missing` while what was replayed from the log is not complete in memory.
    pub fn checkpoint(&mut self) -> Out<Option<Plan>> {
        Err(LATER)
    }

    /// A plan was executed whole, every write and flush without an error.
    pub fn done(&mut self, plan: Plan) {
        let _ = plan.checkpoint;
    }

    /// A write or flush of a plan failed: what is in the log is unknown now, and nothing can be changed any more.
    pub fn failed(&mut self, plan: Plan) {
        drop(plan);
    }

    /// The volume becomes larger: up to `blocks` blocks, which the device has. Groups are made when they are first used.
    ///
    /// # Errors
    /// `Invalid` when it would become smaller.
    pub fn grow(&mut self, blocks: u64) -> Out<()> {
        let _ = blocks;
        Err(LATER)
    }

    /// What `statfs` tells. Never stops.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics { blocks: 0, free: 0, inodes: 0, inodes_free: 0 }
    }

    /// The volume's UUID, as it is written.
    #[must_use]
    pub fn uuid(&self) -> [u8; 16] {
        [0; 16]
    }

    /// The volume's label, without padding.
    #[must_use]
    pub fn label(&self) -> &[u8] {
        b""
    }
}

/// Names.
impl Volume {
    /// An inode's fields.
    ///
    /// # Errors
    /// `Stale` when it is not in use.
    pub fn attributes(&mut self, inode: InodeNumber) -> Out<Attributes> {
        let _ = inode;
        Err(LATER)
    }

    /// Where a name of a directory leads; `None` when there is no such name.
    ///
    /// # Errors
    /// `NotDirectory`.
    pub fn lookup(&mut self, directory: InodeNumber, name: &[u8]) -> Out<Option<Found>> {
        let _ = (directory, name);
        Err(LATER)
    }

    /// Gives `take` entries from `position` on (0, or an entry's `next`), until it says false: it has no room for this one. One call goes through one
    /// block at most: `Some` position to go on from, `None` at the end. What was given was given before any stop, so nothing comes twice.
    ///
    /// # Errors
    /// `NotDirectory`.
    pub fn entries(
        &mut self,
        directory: InodeNumber,
        position: u64,
        take: &mut dyn FnMut(Entry<'_>) -> bool,
    ) -> Out<Option<u64>> {
        let _ = (directory, position, take);
        Err(LATER)
    }

    /// Makes an inode and gives it a name. It takes the directory's quota id.
    ///
    /// # Errors
    /// `Exists`, `NotDirectory`, `NoSpace`, `NoInodes`, `Quota`, `NameTooLong`, `Stale` when the directory is removed.
    pub fn create(&mut self, directory: InodeNumber, name: &[u8], new: &New<'_>) -> Out<InodeNumber> {
        let _ = (directory, name, new);
        Err(LATER)
    }

    /// Makes an inode without a name (`O_TMPFILE`): it stands in the list of orphans until it is linked.
    ///
    /// # Errors
    /// As [`Volume::create`].
    pub fn create_unnamed(&mut self, directory: InodeNumber, new: &New<'_>) -> Out<InodeNumber> {
        let _ = (directory, new);
        Err(LATER)
    }

    /// Gives an inode a further name.
    ///
    /// # Errors
    /// `TooManyLinks`, `OtherQuota`, `Invalid` for a directory, and as [`Volume::create`].
    pub fn link(&mut self, inode: InodeNumber, directory: InodeNumber, name: &[u8], time: i64) -> Out<()> {
        let _ = (inode, directory, name, time);
        Err(LATER)
    }

    /// Takes a name away; a directory must be empty. What has no name left becomes an orphan: [`Volume::reclaim`] it when nobody has it open.
    ///
    /// # Errors
    /// `NotFound`, `NotEmpty`.
    pub fn remove(&mut self, directory: InodeNumber, name: &[u8], time: i64) -> Out<Removed> {
        let _ = (directory, name, time);
        Err(LATER)
    }

    /// Moves a name in place of what is there, which loses that name. That a directory does not come into itself is the caller's business.
    ///
    /// # Errors
    /// `NotFound`, `NotEmpty`, `IsDirectory`, `NotDirectory`, `OtherQuota`, and as [`Volume::create`].
    pub fn rename(&mut self, from: (InodeNumber, &[u8]), to: (InodeNumber, &[u8]), time: i64) -> Out<Option<Removed>> {
        let _ = (from, to, time);
        Err(LATER)
    }

    /// Lets two names change places.
    ///
    /// # Errors
    /// `NotFound`, `OtherQuota`.
    pub fn exchange(&mut self, one: (InodeNumber, &[u8]), other: (InodeNumber, &[u8]), time: i64) -> Out<()> {
        let _ = (one, other, time);
        Err(LATER)
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// `Invalid` when it is none.
    pub fn target(&mut self, inode: InodeNumber) -> Out<Box<[u8]>> {
        let _ = inode;
        Err(LATER)
    }

    /// Changes fields.
    ///
    /// # Errors
    /// `Stale`; `Invalid` for a smaller size.
    pub fn change(&mut self, inode: InodeNumber, change: &Change) -> Out<()> {
        let _ = (inode, change);
        Err(LATER)
    }

    /// First of the orphans: inodes without a name, and files whose truncation is not finished. After opening, before anything else, each is reclaimed.
    #[must_use]
    pub fn first_orphan(&self) -> Option<InodeNumber> {
        None
    }

    /// Frees an orphan, step by step; or finishes the truncation of a file that has names.
    ///
    /// # Errors
    /// `Invalid` when it is no orphan.
    pub fn reclaim(&mut self, inode: InodeNumber) -> Out<Progress> {
        let _ = inode;
        Err(LATER)
    }
}

/// Blocks of files.
impl Volume {
    /// What stands at block `logical` of a file: one extent, which covers it, starts there and ends at `logical + count` at the latest.
    ///
    /// # Errors
    /// `Invalid` when it is no regular file.
    pub fn extent(&mut self, inode: InodeNumber, logical: u32, count: u32) -> Out<Extent> {
        let _ = (inode, logical, count);
        Err(LATER)
    }

    /// Sets blocks aside for holes of a file that will be written, and what their metadata may need.
    ///
    /// # Errors
    /// `NoSpace`, `Quota`.
    pub fn reserve(&mut self, inode: InodeNumber, blocks: u32) -> Out<()> {
        let _ = (inode, blocks);
        Err(LATER)
    }

    /// Gives back what was reserved and is not needed.
    ///
    /// # Errors
    /// As `attributes`.
    pub fn unreserve(&mut self, inode: InodeNumber, blocks: u32) -> Out<()> {
        let _ = (inode, blocks);
        Err(LATER)
    }

    /// Finds blocks for `count` blocks of a file from `logical` on, near those before. What is a hole gets new blocks, what is unwritten or written
    /// keeps its own.
    ///
    /// # Errors
    /// `NoSpace`, which those who reserved do not see.
    pub fn allocate(&mut self, inode: InodeNumber, logical: u32, count: u32) -> Out<Allocation> {
        let _ = (inode, logical, count);
        Err(LATER)
    }

    /// Enters an allocation whose blocks are written. `reserved` blocks of the file's reservation are used up by it; `size` is the file's new size
    /// if that is larger than what it has. It is over with `Ok`: nothing is left to cancel.
    ///
    /// # Errors
    /// `Quota`, `NoSpace`, which those who reserved do not see.
    pub fn attach(&mut self, allocation: &mut Allocation, reserved: u32, size: u64) -> Out<()> {
        let _ = (allocation, reserved, size);
        Err(LATER)
    }

    /// Gives up an allocation.
    pub fn cancel(&mut self, allocation: Allocation) {
        drop(allocation);
    }

    /// Enters an allocation as blocks that read as zeroes until they are written (`fallocate`).
    ///
    /// # Errors
    /// As [`Volume::attach`].
    pub fn attach_unwritten(&mut self, allocation: &mut Allocation, size: u64) -> Out<()> {
        let _ = (allocation, size);
        Err(LATER)
    }

    /// Makes a file shorter (or longer), step by step. Between the steps it already has its new size; it must not grow before the last one.
    ///
    /// # Errors
    /// `Invalid`, `FileTooBig`.
    pub fn truncate(&mut self, inode: InodeNumber, size: u64, time: i64) -> Out<Progress> {
        let _ = (inode, size, time);
        Err(LATER)
    }

    /// Takes the blocks of a range away, step by step: it becomes a hole.
    ///
    /// # Errors
    /// `Invalid`; `NoSpace` when the map of the file needs a further block.
    pub fn punch(&mut self, inode: InodeNumber, logical: u32, count: u32) -> Out<Progress> {
        let _ = (inode, logical, count);
        Err(LATER)
    }
}

/// Extended attributes and quotas.
impl Volume {
    /// A value.
    ///
    /// # Errors
    /// `NoAttribute`.
    pub fn xattr(&mut self, inode: InodeNumber, name: &[u8]) -> Out<Vec<u8>> {
        let _ = (inode, name);
        Err(LATER)
    }

    /// All names, each ended by a NUL, as `listxattr` gives them.
    ///
    /// # Errors
    /// `Stale`.
    pub fn xattr_names(&mut self, inode: InodeNumber) -> Out<Vec<u8>> {
        let _ = inode;
        Err(LATER)
    }

    /// Sets a value. All of an inode's attributes together have 4000 bytes.
    ///
    /// # Errors
    /// `NoSpace`, `Exists`, `NoAttribute`, `Quota`, `Invalid` for an empty or too long name.
    pub fn set_xattr(&mut self, inode: InodeNumber, name: &[u8], value: &[u8], how: SetXattr, time: i64) -> Out<()> {
        let _ = (inode, name, value, how, time);
        Err(LATER)
    }

    /// Takes one away.
    ///
    /// # Errors
    /// `NoAttribute`.
    pub fn remove_xattr(&mut self, inode: InodeNumber, name: &[u8], time: i64) -> Out<()> {
        let _ = (inode, name, time);
        Err(LATER)
    }

    /// Use and limits of an id.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn quota(&mut self, id: u32) -> Out<Quota> {
        let _ = id;
        Err(LATER)
    }

    /// Sets the limits of an id; 0: none.
    ///
    /// # Errors
    /// `Invalid` for id 0; `NoSpace`.
    pub fn set_quota(&mut self, id: u32, blocks_max: u64, inodes_max: u64) -> Out<()> {
        let _ = (id, blocks_max, inodes_max);
        Err(LATER)
    }

    /// Lets an inode count for another id. What is made in a directory afterwards takes the directory's; what is in it already keeps its own.
    ///
    /// # Errors
    /// `Quota`, `NoSpace`.
    pub fn set_quota_id(&mut self, inode: InodeNumber, id: u32, time: i64) -> Out<()> {
        let _ = (inode, id, time);
        Err(LATER)
    }
}
