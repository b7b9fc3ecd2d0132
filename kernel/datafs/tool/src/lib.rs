//! datafs on a host: images in files and in memory, the same operations as in the kernel, and cuts of the power.
//!
//! - `device`   blocks in memory or in a file
//! - `mounted`  a volume and its device: what the kernel's adaptor does, without pages
#![forbid(unsafe_code)]

pub mod device;
pub mod mounted;

pub use device::{Device, FileDevice, MemoryDevice};
pub use mounted::{Failure, Mounted};
