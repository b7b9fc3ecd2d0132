//! The swift-os kernel. `docs/kernel.md` is the map of its rooms.
#![no_std]
#![no_main]

extern crate alloc;

mod arch;
mod boot;
mod clock;
mod drivers;
mod events;
mod fs;
mod lastboot;
mod mm;
mod panic;
mod platform;
mod process;
mod random;
mod sched;
mod sync;
mod syscall;
