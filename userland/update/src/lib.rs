//! Updates of the base: a release is put into the slot that does not run, tried, and kept or given up (docs/formats/bootctl.md).
//!
//! Everything here is decided without a system: what is read and written goes through four small interfaces, of which tests have models that record
//! every write and every flush. The programs `update` and `update-service` are the shell.
//!
//! | module | what |
//! |---|---|
//! | `facts` | what the loader held the running system to |
//! | `judge` | whether a release may be installed here |
//! | `checks` | both slots read and held to what was signed, for orders that ask for it |
//! | `console` | what who gave an order is told |
//! | `content` | a slot's contents against the digests of its header |
//! | `install` | from the first byte to the trial, one step at a time |
//! | `loader` | the loader that a release carries, put where it can be tried |
//! | `order` | what an operator asks for, as lines |
//! | `service` | who asks, what is done, and what is remembered of it |
//! | `status` | what an operator and a script see |
//! | `window` | when the machine may restart by itself |
//! | `system` | the interfaces over files and devices |
#![cfg_attr(swift_os, no_std)]

extern crate alloc;

pub mod checks;
pub mod console;
pub mod content;
pub mod facts;
pub mod install;
pub mod judge;
pub mod loader;
#[cfg(test)]
mod model;
pub mod order;
pub mod service;
pub mod status;
pub mod system;
#[cfg(test)]
mod tests;
pub mod window;

use rt::Errno;

/// Bytes that are read and written at once.
pub const CHUNK: usize = 256 << 10;

/// Where bytes of a release come from: a file, a partition, later a connection.
pub trait Source {
    /// Fills `into` from `at` on.
    ///
    /// # Errors
    /// What the system says; `Errno::NODATA` where the source ends before.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno>;
}

/// A slot's partition.
pub trait Slot: Source {
    /// Bytes of it.
    fn size(&self) -> u64;
    /// Writes; lasting only after [`Slot::settle`].
    ///
    /// # Errors
    /// What the system says.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno>;
    /// Everything that was written is on stable media, and what is read from now on comes from there.
    ///
    /// # Errors
    /// What the system says.
    fn settle(&mut self) -> Result<(), Errno>;
}

/// The two loader files; as a slot is the second one, which the firmware does not start.
pub trait Loaders: Slot {
    /// Reads the one that it starts.
    ///
    /// # Errors
    /// What the system says.
    fn read_first(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno>;
    /// The second becomes the first, on stable media before this returns: once the boot-control block says that it is on trial, and in a boot that came through it.
    ///
    /// # Errors
    /// What the system says; `Errno::PERM` in any other boot.
    fn swap(&mut self) -> Result<(), Errno>;
}

/// The boot-control block.
pub trait BootControl {
    /// The block that counts.
    ///
    /// # Errors
    /// What the system says.
    fn read(&mut self) -> Result<bootctl::Block, Errno>;
    /// Makes a block that was made from it the one that counts, on stable media before this returns.
    ///
    /// # Errors
    /// What the system says; `Errno::PERM` for what nobody may write.
    fn write(&mut self, block: &bootctl::Block) -> Result<(), Errno>;
}
