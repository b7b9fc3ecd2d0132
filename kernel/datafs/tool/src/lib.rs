//! datafs on a host: images in files and in memory, and the operations on them.
//!
//! - `check`    what is wrong with the volume of a device
//! - `describe` what a volume holds, as JSON
//! - `device`   blocks in memory or in a file
//! - `manifest` what the states of a recording hold, in files
//! - `mounted`  a volume and its device: runs operations, reads what they miss, executes plans
//! - `sweep`    power cuts: what is left of a recorded run, wherever it ends, against a model
//! - `tree`     trees in and out, as tar streams
#![forbid(unsafe_code)]

pub mod check;
#[cfg(test)]
mod damage;
pub mod describe;
pub mod device;
pub mod manifest;
pub mod mounted;
pub mod sweep;
#[cfg(test)]
mod tampered;
#[cfg(test)]
mod tests;
pub mod tree;
#[cfg(test)]
mod tree_tests;

pub use check::check_device;
pub use device::{Device, FileDevice, MemoryDevice};
pub use mounted::{Failure, Mounted};
