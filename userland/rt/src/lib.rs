//! The native runtime: what a program of ours needs besides `core` and `alloc`, and nothing else.
//!
//! Two builds. With `--cfg swift_os` (the product) there is no std and no libc: `start` holds the entry point, the
//! panic handler and the allocator. Without it (lints and unit tests on a host) std stands in for these, and every
//! other module is the same code. System calls go through `rustix`, which speaks the kernel's ABI directly.
//!
//! | module | what |
//! |---|---|
//! | `start` | entry point, arguments, panic handler, allocator; `entry!` |
//! | `out` | buffered text to a descriptor; `out!`, `outln!`, `errln!` |
//! | `fs` | whole small files, directory listings |
//! | `process` | exec, fork, wait, environment |
//! | `identity` | becoming another user |
//! | `errno` | errors in words |
//! | `notify` | tells init that a service is up |
//! | `event` | lines to the kernel's event channel |
//! | `tty` | terminal modes |
//! | `clock` | milliseconds since the start, and the date |
//! | `device` | block devices beyond reading and writing |
#![cfg_attr(swift_os, no_std)]

#[doc(hidden)]
pub extern crate alloc;

pub mod clock;
pub mod device;
pub mod errno;
pub mod event;
pub mod fs;
pub mod identity;
pub mod notify;
pub mod out;
pub mod process;
pub mod start;
pub mod tty;

use memops as _;
pub use rustix;
pub use rustix::io::Errno;
