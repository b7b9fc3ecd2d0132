//! datafs: the file system of persistent data, without any input or output of its own.
//!
//! A [`Volume`] keeps blocks of metadata in memory. An operation that needs one that is not there stops with [`Stop::Missing`], having changed
//! nothing; the caller reads the block, supplies it and calls again. What changes is collected in the running transaction; [`Volume::commit`]
//! gives a [`Plan`] of writes and flushes that makes it durable as one record of the log, [`Volume::checkpoint`] one that writes the changed blocks to
//! their places. The caller executes a plan and gives it back. Data never pass through here: blocks for them are allocated in memory, written
//! by the caller, and attached to the file afterwards, so that metadata never lead to data that were not written.
//!
//! A caller looks like this, under its lock:
//!
//! ```text
//! loop {
//!     match volume.create(directory, name, &new) {
//!         Ok(inode) => break Ok(inode),
//!         Err(Stop::Missing(missing)) => volume.supply(missing, &device.read(missing.block)?),
//!         Err(Stop::Commit) => execute(volume.commit()),
//!         Err(Stop::Checkpoint) => execute(volume.checkpoint()),
//!         Err(Stop::Error(error)) => break Err(error),
//!     }
//! }
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod attributes;
mod cache;
pub mod check;
mod create;
mod directory;
mod error;
mod extents;
mod format;
pub mod layout;
mod log;
mod open;
mod quota;
mod space;
#[cfg(test)]
mod tests;
mod tree;
mod types;
mod volume;
mod xattr;

pub use error::{Damage, Error, Missing, OpenError, Stop, What};
pub use format::Format;
pub use open::{Opening, Replay};
pub use types::{
    Allocation, Attributes, Block, Bytes, Change, Entry, Extent, Found, InodeNumber, Mapping, New, Options, Plan,
    Progress, Quota, Removed, Run, SetXattr, Statistics, Step,
};
pub use volume::Volume;

/// Bytes of a block.
pub const BLOCK: usize = 4096;
/// Longest file name.
pub const NAME_MAX: usize = 255;
/// Longest target of a symbolic link.
pub const TARGET_MAX: usize = 4095;
/// Number of the root directory.
pub const ROOT: InodeNumber = 1;
/// Number of the inode that leads to the table of quotas; it has no name.
pub const QUOTAS: InodeNumber = 2;
/// Most bytes of a file: 16 TiB less one block, by 32-bit block numbers within it.
pub const FILE_MAX: u64 = (u32::MAX as u64) * BLOCK as u64;
