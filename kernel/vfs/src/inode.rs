//! A file, directory, link or device.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use linux::Errno;
use linux::flags::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK};
use linux::types::Timespec;
use sync::Rank;

use crate::access::Permission;
use crate::world::Spin;
use crate::{File, Path, World};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    Regular,
    /// Names.
    Directory,
    /// Another path.
    Link,
    /// Character device.
    Character,
    /// Block device.
    Block,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
}

impl Kind {
    /// From the type bits of a mode; `None` for a type that does not exist.
    #[must_use]
    pub const fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & S_IFMT {
            S_IFREG => Self::Regular,
            S_IFDIR => Self::Directory,
            S_IFLNK => Self::Link,
            S_IFCHR => Self::Character,
            S_IFBLK => Self::Block,
            S_IFIFO => Self::Fifo,
            S_IFSOCK => Self::Socket,
            _ => return None,
        })
    }

    /// The type bits of a mode.
    #[must_use]
    pub const fn mode(self) -> u32 {
        match self {
            Self::Regular => S_IFREG,
            Self::Directory => S_IFDIR,
            Self::Link => S_IFLNK,
            Self::Character => S_IFCHR,
            Self::Block => S_IFBLK,
            Self::Fifo => S_IFIFO,
            Self::Socket => S_IFSOCK,
        }
    }

    /// `d_type` of a directory entry.
    #[must_use]
    pub const fn directory_type(self) -> u8 {
        linux::dirent::type_of_mode(self.mode())
    }

    /// A device, FIFO or socket: what it does is not the file system's business.
    #[must_use]
    pub const fn is_special(self) -> bool {
        !matches!(self, Self::Regular | Self::Directory | Self::Link)
    }
}

/// What `stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Number in its volume.
    pub number: u64,
    /// Type, mode, owner.
    pub permission: Permission,
    /// Names that it has.
    pub links: u32,
    /// Which device it stands for.
    pub device: u64,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes that it fills.
    pub blocks: u64,
    /// Last read.
    pub accessed: Timespec,
    /// Last change of the bytes.
    pub modified: Timespec,
    /// Last change of the bytes or of this.
    pub changed: Timespec,
}

/// What `chmod`, `chown` and `utimensat` change; the change time is set with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New permission bits (12 of them).
    pub mode: Option<u32>,
    /// New owner.
    pub user: Option<u32>,
    /// New group.
    pub group: Option<u32>,
    /// New access time.
    pub accessed: Option<Timespec>,
    /// New modification time.
    pub modified: Option<Timespec>,
}

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// Type, mode and owner, as they will be.
    pub permission: Permission,
    /// Of a device.
    pub device: u64,
    /// Of a symbolic link.
    pub target: &'a [u8],
}

impl New<'_> {
    /// What it will be.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::of_mode(self.permission.mode).unwrap_or(Kind::Regular)
    }
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

/// Where a symbolic link leads.
#[derive(Debug)]
pub enum Link<W: World> {
    /// To a path, relative to the link's directory.
    Text(Box<[u8]>),
    /// To this very place, whatever its name: the links of `/proc/PID`. With what `readlink` shows.
    Place(Path<W>),
}

/// Takes directory entries: number, position of the entry behind, type, name. False when it has no room for this one.
pub type Entries<'a> = dyn FnMut(u64, u64, Kind, &[u8]) -> bool + 'a;

/// What a node of a device, FIFO or socket has beside its metadata.
pub struct Special<W: World> {
    /// Which device.
    pub device: u64,
    /// What its server keeps with the node, such as a FIFO's pipe.
    pub state: Spin<W, Option<Arc<dyn Any + Send + Sync>>>,
}

impl<W: World> Special<W> {
    /// A node that nobody has opened yet.
    #[must_use]
    pub fn new(device: u64) -> Self {
        Self { device, state: Spin::<W, _>::new(Rank::FILE, None) }
    }
}

impl<W: World> core::fmt::Debug for Special<W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Special({:#x})", self.device)
    }
}

/// One file of a file system.
///
/// Those that change a directory are called with its sleeping lock held ([`crate::Dentry`]), so no two run in one directory at once; reading it
/// may happen meanwhile. Names are never empty, `.` or `..`, nor longer than [`crate::NAME_MAX`].
pub trait Inode<W: World>: Send + Sync + 'static {
    /// What `stat` tells.
    fn metadata(&self) -> Metadata;

    /// The part of it that each step of a walk looks at.
    fn permission(&self) -> Permission {
        self.metadata().permission
    }

    /// What it is.
    fn kind(&self) -> Kind {
        Kind::of_mode(self.permission().mode).unwrap_or(Kind::Regular)
    }

    /// Opens it. Permissions have been checked.
    ///
    /// # Errors
    /// What a device says; `ENXIO` for a socket.
    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File<W>>, Errno>;

    /// The file system's own kind of object.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// Its device part, for [`World::open_special`].
    fn special(&self) -> Option<&Special<W>> {
        None
    }

    /// Whether a directory's names may be remembered: they change only through this interface.
    fn is_cacheable(&self) -> bool {
        true
    }

    /// Finds a name in a directory.
    ///
    /// # Errors
    /// `ENOENT`; `ENOTDIR` when this is none.
    fn lookup(&self, _name: &[u8]) -> Result<Arc<dyn Inode<W>>, Errno> {
        Err(Errno::ENOTDIR)
    }

    /// Gives `take` the entries from `position` on (0, or what was given for an entry), without `.` and `..`, until it has no room.
    ///
    /// # Errors
    /// `ENOTDIR` when this is none; `EIO` when it is damaged.
    fn entries(&self, _position: u64, _take: &mut Entries<'_>) -> Result<(), Errno> {
        Err(Errno::ENOTDIR)
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// `EINVAL` when this is none.
    fn link(&self) -> Result<Link<W>, Errno> {
        Err(Errno::EINVAL)
    }

    /// Makes something new; the name is free.
    ///
    /// # Errors
    /// `EPERM` when this file system cannot; `ENOSPC`, `ENOMEM`.
    fn create(&self, _name: &[u8], _new: &New<'_>) -> Result<Arc<dyn Inode<W>>, Errno> {
        Err(Errno::EPERM)
    }

    /// Gives `inode`, of the same volume, a further name; the name is free.
    ///
    /// # Errors
    /// `EPERM`, `EMLINK`, `ENOSPC`.
    fn add_link(&self, _name: &[u8], _inode: &Arc<dyn Inode<W>>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Takes away the name of `inode`; the file goes when it has no name and nobody has it open.
    ///
    /// # Errors
    /// `ENOTEMPTY` for a directory with entries.
    fn remove(&self, _name: &[u8], _inode: &Arc<dyn Inode<W>>) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Moves a name into directory `to`, in place of what is there.
    ///
    /// # Errors
    /// `ENOTEMPTY` when that is a directory with entries; `EPERM`.
    fn rename(&self, _name: &[u8], _to: &Arc<dyn Inode<W>>, _new_name: &[u8]) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Lets two names change places.
    ///
    /// # Errors
    /// `EINVAL` when this file system cannot.
    fn exchange(&self, _name: &[u8], _with: &Arc<dyn Inode<W>>, _other_name: &[u8]) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Changes mode, owner or times. Permissions have been checked.
    ///
    /// # Errors
    /// `EPERM` when this file system cannot.
    fn change(&self, _change: &Change) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }

    /// Makes a regular file shorter or longer.
    ///
    /// # Errors
    /// `EINVAL` when this is none; `EFBIG`.
    fn truncate(&self, _size: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// Value of an extended attribute. Names come whole, with their namespace; permissions have been checked.
    ///
    /// # Errors
    /// `ENODATA`; `EOPNOTSUPP` when this file system has none.
    fn xattr(&self, _name: &[u8]) -> Result<Vec<u8>, Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Names of all extended attributes, each ended by a NUL.
    ///
    /// # Errors
    /// `EIO`.
    fn xattr_names(&self) -> Result<Vec<u8>, Errno> {
        Ok(Vec::new())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// `EEXIST`, `ENODATA` as `how` asks; `ENOSPC`, `EDQUOT`; `EOPNOTSUPP` when this file system has none.
    fn set_xattr(&self, _name: &[u8], _value: &[u8], _how: SetXattr) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Takes an extended attribute away.
    ///
    /// # Errors
    /// `ENODATA`; `EOPNOTSUPP` when this file system has none.
    fn remove_xattr(&self, _name: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}

/// All names in a directory, for tests and for pruning.
///
/// # Errors
/// As [`Inode::entries`].
pub fn names<W: World>(inode: &dyn Inode<W>) -> Result<Vec<Box<[u8]>>, Errno> {
    let mut names = Vec::new();
    inode.entries(0, &mut |_, _, _, name| {
        names.push(name.into());
        true
    })?;
    Ok(names)
}
