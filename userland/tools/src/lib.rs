//! What the tools know without asking the system: `proc` reads the texts of /proc, `screen` lays them out, `log`
//! chooses events, `lastboot` what is shown and kept of the boot before, `size` reads and writes numbers of bytes. Pure; the programs around them (main.rs and its modules) open files and write.
#![cfg_attr(all(swift_os, not(test)), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod lastboot;
pub mod log;
pub mod proc;
pub mod screen;
pub mod size;
