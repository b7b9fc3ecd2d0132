//! Devices.

pub mod console;
pub mod gic;
mod gic2;
mod gic3;
pub mod mmio;
