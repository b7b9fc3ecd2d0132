//! PCI enumeration without hardware: which functions there are, how large their BARs, where those lie.
//!
//! Two worlds, and [`scan`] tells them apart by looking: a firmware has assigned the BARs (UEFI), then they are taken as they
//! are; or nobody has (`-kernel` on QEMU's virt board), then they are assigned here from the host bridge's windows, bridges
//! on the way included. Nothing that a firmware assigned is ever moved.
//!
//! Sections cited are those of the PCI Local Bus Specification 3.0 and the PCI-to-PCI Bridge Architecture 1.2. A device may
//! answer anything: every loop is bounded and no answer panics.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod msix;
mod pool;
mod scan;

pub use pool::{Pools, Window};
pub use scan::{Buses, scan};

use core::fmt;

/// A function's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Segment group.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{}", self.segment, self.bus, self.device, self.function)
    }
}

/// Configuration space: naturally aligned 32-bit accesses; a function that does not exist reads as all ones.
#[allow(missing_docs)]
pub trait ConfigAccess {
    fn read32(&self, address: Address, offset: u16) -> u32;
    fn write32(&self, address: Address, offset: u16, value: u32);
}

/// Registers of the configuration header (6.1).
pub mod register {
    /// Vendor, device.
    pub const ID: u16 = 0x00;
    /// Command, status.
    pub const COMMAND: u16 = 0x04;
    /// Revision, class.
    pub const CLASS: u16 = 0x08;
    /// Cache line, latency, header type, BIST.
    pub const HEADER: u16 = 0x0c;
    /// The first BAR.
    pub const BAR: u16 = 0x10;
    /// The first capability.
    pub const CAPABILITIES: u16 = 0x34;
    /// Interrupt line and pin.
    pub const INTERRUPT: u16 = 0x3c;
    /// Bridges: primary, secondary, subordinate bus, latency.
    pub const BUSES: u16 = 0x18;
    /// Bridges: I/O window (low half of the register).
    pub const IO_WINDOW: u16 = 0x1c;
    /// Bridges: memory window.
    pub const MEMORY_WINDOW: u16 = 0x20;
    /// Bridges: prefetchable window, then its upper halves.
    pub const PREFETCH_WINDOW: u16 = 0x24;
    /// Upper half of the prefetchable window's base.
    pub const PREFETCH_BASE_UPPER: u16 = 0x28;
    /// Upper half of its limit.
    pub const PREFETCH_LIMIT_UPPER: u16 = 0x2c;
}

/// Bits of the command register (6.2.2).
pub mod command {
    /// Answers I/O.
    pub const IO: u32 = 1;
    /// Answers memory.
    pub const MEMORY: u32 = 2;
    /// May access memory itself.
    pub const BUS_MASTER: u32 = 4;
    /// Does not raise INTx.
    pub const INTX_DISABLE: u32 = 1 << 10;
}

/// Where a BAR lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Port I/O.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere.
    Memory64,
}

/// A base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its number, 0 to 5; a 64-bit one takes the next number too.
    pub index: u8,
    /// Its kind.
    pub space: Space,
    /// Whether reads have no side effects.
    pub prefetchable: bool,
    /// Length in bytes, a power of two.
    pub size: u64,
    /// Address on the PCI side; `None` while it has none.
    pub base: Option<u64>,
}

/// A function that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where.
    pub address: Address,
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Class, subclass, programming interface: 24 bits.
    pub class: u32,
    /// Its BARs by number.
    pub bars: [Option<Bar>; 6],
}

/// Switch a function on: it answers its BARs and may access memory.
pub fn enable(config: &impl ConfigAccess, address: Address) {
    // The upper half is the status, whose set bits a write would clear.
    let old = config.read32(address, register::COMMAND) & 0xffff;
    config.write32(address, register::COMMAND, old | command::MEMORY | command::BUS_MASTER | command::INTX_DISABLE);
}

/// The pin by which a function raises its INTx, 1 to 4; `None`: it has none.
pub fn pin(config: &impl ConfigAccess, address: Address) -> Option<u8> {
    let [_, pin, ..] = config.read32(address, register::INTERRUPT).to_le_bytes();
    (1..=4).contains(&pin).then_some(pin)
}

/// Let a function raise its INTx.
pub fn enable_pin(config: &impl ConfigAccess, address: Address) {
    let old = config.read32(address, register::COMMAND) & 0xffff;
    config.write32(address, register::COMMAND, old & !command::INTX_DISABLE);
}

impl Address {
    /// Bus, device and function, as they identify who writes (PCI Express 4.0, 2.2.6.2).
    #[must_use]
    pub const fn requester(self) -> u16 {
        (self.bus as u16) << 8 | (self.device as u16) << 3 | self.function as u16
    }
}

#[cfg(test)]
mod tests;
