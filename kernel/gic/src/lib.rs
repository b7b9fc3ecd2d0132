//! What the interrupt controller's registers and commands mean, without the hardware: the interrupt translation service ([`its`]) and the
//! GICv2m frame ([`v2m`]), which both turn a device's write into an interrupt.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod its;
pub mod v2m;

/// The first interrupt that exists only as a message (IHI 0069, 2.2.1).
pub const LPI_FIRST: u32 = 8192;
