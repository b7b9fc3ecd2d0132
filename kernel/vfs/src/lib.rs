//! The file system: names, directories, mounts, open files, and the file systems that hold real files (tmpfs, the EROFS base, persistent data).
//!
//! Everything here runs in the kernel and in host tests alike; what differs is behind [`World`] (locks, pages, clock, devices).
//!
//! - `world`    what the machine gives
//! - `io`       where bytes go to and come from, without a copy in between
//! - `access`   who asks, and whether he may
//! - `inode`    a file, directory, link or device: [`Inode`]
//! - `file`     what an open one can do ([`File`]), and the object behind a handle ([`OpenFile`])
//! - `dentry`   names, cached as a tree: [`Dentry`]
//! - `mount`    volumes hung into the tree, and places in it: [`Mount`], [`Path`]
//! - `walk`     from a path's bytes to a place
//! - `open`, `create`, `remove`, `rename`, `attributes`, `xattr`   the operations, with Linux 6.1's order of errors
//! - `tmpfs`, `base`, `data`   the file systems
//! - `cache`    pages of files and devices, dirty or not, and what frees them
//! - `ring`     the bytes in a pipe
//! - `locks`    advisory locks
//! - `device`   what file systems lie on: [`Device`]
//! - `blockdev` such a device as a file
//! - `testing`  a device in memory, for tests
//!
//! Locks. A directory's sleeping lock is held while it is changed; two are taken ancestor first, under the volume's rename lock.
//! Spinlocks are leaves and are not held while user memory is touched.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

pub mod access;
pub mod attributes;
pub mod base;
pub mod blockdev;
pub mod cache;
pub mod create;
pub mod data;
pub mod dentry;
pub mod device;
pub mod file;
pub mod inode;
pub mod io;
pub mod locks;
pub mod mount;
pub mod open;
pub mod remove;
pub mod rename;
pub mod ring;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tmpfs;
pub mod walk;
pub mod world;
pub mod xattr;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

pub use access::{Credentials, Permission};
pub use blockdev::{BlockDevice, BlockFile};
pub use dentry::Dentry;
pub use device::Device;
pub use file::{File, OpenFile, Watch};
pub use inode::{Change, Entries, Inode, Kind, Link, Metadata, New};
pub use io::{Sink, Slice, SliceMut, Source};
pub use mount::{FileSystem, Mount, Path, Volume};
pub use walk::{At, PathContext};
pub use world::{Page, World};

/// Longest file name.
pub const NAME_MAX: usize = 255;
/// Longest path, with its final NUL.
pub const PATH_MAX: usize = 4096;
/// Symbolic links followed in one walk.
pub const LINKS_MAX: u32 = 40;
/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;
