//! The Linux arm64 ABI as data: numbers, structs and layouts, and no behaviour of the kernel.
//!
//! - `nr`      calls by number and name
//! - `errno`   error numbers
//! - `flags`   constants that calls take
//! - `hwcap`   what `AT_HWCAP` says
//! - `types`   structs that cross the boundary, with their sizes asserted
//! - `signal`  signal numbers, sets, actions, `siginfo`, and the frame on the user's stack
//! - `stack`   auxiliary vector and the first stack of a program
//! - `wait`    wait status words
//! - `dirent`  `getdents64` records
//!
//! Everything here is pure and runs on the host; integers are little-endian, as both ends are.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

extern crate alloc;

pub mod dirent;
pub mod errno;
pub mod flags;
pub mod hwcap;
pub mod nr;
pub mod signal;
pub mod stack;
pub mod types;
pub mod vdso;
pub mod wait;

pub use errno::Errno;
