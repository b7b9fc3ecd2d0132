//! Watchdogs without hardware: the registers of one, what `/dev/watchdog` does with one, and how CPUs watch each other.
//!
//! * [`esb`]: the watchdog of the Intel 6300ESB, whose registers the loader and the kernel's driver reach in different ways
//! * [`node`]: who has the device open, and what arms, feeds and stops it
//! * [`sentry`]: a CPU that looks whether another one lives
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod esb;
pub mod node;
pub mod sentry;

/// Seconds that the machine has from the jump into the kernel until somebody feeds the watchdog that the loader armed, and
/// how long a watchdog waits for whom opens it without saying how long.
pub const TIMEOUT: u32 = 60;
