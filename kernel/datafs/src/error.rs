//! Why an operation did not end with a result, and what can be wrong with a volume.

use core::fmt;

use crate::InodeNumber;

/// Why an operation stopped. In every case it has changed nothing: the caller does what it asks for and calls it again, or gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A block of metadata is not in memory: read it, give it to [`crate::Volume::supply`].
    Missing(Missing),
    /// The running transaction is full, or blocks that it freed are needed: commit.
    Commit,
    /// The log or the set of changed blocks is full, or was replayed and not yet written home: checkpoint.
    Checkpoint,
    /// It cannot be done.
    Error(Error),
}

/// A block that has to be read, and the state of the volume in which this was said: what is read for it is taken only while no checkpoint
/// may have written the block since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its number.
    pub block: u64,
    pub(crate) epoch: u64,
}

impl Missing {
    /// The same for another block, for a caller that reads ahead.
    #[must_use]
    pub const fn and(self, block: u64) -> Self {
        Self { block, epoch: self.epoch }
    }
}

/// What an operation reports; each stands for one `errno`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// ENOENT: no such name.
    NotFound,
    /// EEXIST: the name is taken.
    Exists,
    /// ENOTDIR.
    NotDirectory,
    /// EISDIR.
    IsDirectory,
    /// ENOTEMPTY.
    NotEmpty,
    /// EINVAL: a name, a range or a kind of inode that this cannot be done with.
    Invalid,
    /// ENAMETOOLONG.
    NameTooLong,
    /// EFBIG: behind the last byte that a file can have.
    FileTooBig,
    /// EMLINK.
    TooManyLinks,
    /// ENOSPC: no block is free.
    NoSpace,
    /// ENOSPC: no inode is free.
    NoInodes,
    /// EDQUOT: the limit of the file's quota id.
    Quota,
    /// EXDEV: the directory has another quota id.
    OtherQuota,
    /// ENODATA: no such extended attribute.
    NoAttribute,
    /// ESTALE: the inode is not in use.
    Stale,
    /// EROFS.
    ReadOnly,
    /// EIO: an earlier write to the log failed; nothing can be changed any more.
    Failed,
    /// ENOMEM.
    NoMemory,
    /// EIO: a structure on the disk is not what it should be.
    Damaged(Damage),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Damage> for Stop {
    fn from(damage: Damage) -> Self {
        Self::Error(Error::Damaged(damage))
    }
}

/// A structure on the disk that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The block that it is in.
    pub block: u64,
    /// The inode that it belongs to; 0 when it belongs to none.
    pub inode: InodeNumber,
    /// What is wrong.
    pub what: What,
}

/// What is wrong with a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its checksum.
    Checksum,
    /// It is of another kind.
    Kind,
    /// It says that it lies elsewhere.
    Place,
    /// It belongs to another inode or group.
    Owner,
    /// A count, a length or an offset in it is out of bounds.
    Bounds,
    /// Its entries are not in order, or overlap.
    Order,
    /// It leads to a block outside the volume's data.
    Pointer,
    /// It names an inode that does not exist or is not in use.
    Reference,
    /// A field has a value that is not defined.
    Value,
}

impl What {
    /// The words for it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Checksum => "its checksum is wrong",
            Self::Kind => "it is of another kind",
            Self::Place => "it says that it lies elsewhere",
            Self::Owner => "it belongs to something else",
            Self::Bounds => "a count or an offset is out of bounds",
            Self::Order => "its entries are not in order",
            Self::Pointer => "it leads outside the volume's data",
            Self::Reference => "it names an inode that is not in use",
            Self::Value => "a field has an undefined value",
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}", self.block)?;
        if self.inode != 0 {
            write!(f, " (inode {})", self.inode)?;
        }
        write!(f, ": {}", self.what.text())
    }
}

impl core::error::Error for Damage {}

/// Why a volume cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Neither copy of the superblock has the magic `SWDATAFS`.
    NotDatafs,
    /// Both copies of the superblock are damaged; what is wrong with the newer of them, as far as that can be told.
    Superblock(Damage),
    /// It needs features that this code does not have.
    Features {
        /// The unknown bits of `incompat`.
        incompat: u64,
    },
    /// The volume is larger than the device.
    DeviceTooSmall {
        /// Blocks of the volume.
        blocks: u64,
        /// Blocks of the device.
        device: u64,
    },
    /// One superblock is damaged, and the log shows that it was the newer one: what is at the homes is newer than the other says.
    Stale,
    /// A record of the log has a good checksum and makes no sense.
    Log(Damage),
    /// ENOMEM.
    NoMemory,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDatafs => f.write_str("no datafs: neither superblock has the magic SWDATAFS"),
            Self::Superblock(damage) => write!(f, "both superblocks are damaged: {damage}"),
            Self::Features { incompat } => write!(f, "the volume needs unknown features {incompat:#x}"),
            Self::DeviceTooSmall { blocks, device } => {
                write!(f, "the volume has {blocks} blocks, the device {device}")
            }
            Self::Stale => f.write_str("the newest superblock was lost"),
            Self::Log(damage) => write!(f, "the log is damaged: {damage}"),
            Self::NoMemory => f.write_str("not enough memory"),
        }
    }
}

impl core::error::Error for OpenError {}
