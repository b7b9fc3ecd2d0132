//! What machine is this? The firmware's tables, read once into one [`Platform`].
//!
//! Two readers fill the same struct, and everything after them sees no difference:
//! - [`fdt`]: a flattened devicetree (QEMU's virt board, `-kernel` or UEFI with `acpi=off`);
//! - [`acpi`]: RSDP → XSDT → MADT, GTDT, FADT, SPCR, MCFG, IORT (servers and clouds). No AML is interpreted, so what
//!   only AML describes (virtio-mmio slots, legacy PCI interrupt routing) is absent under ACPI.
//!
//! Principles: the tables come from outside, so every length is bounded before use and no input panics; every list
//! has a fixed capacity (nothing is allocated: this runs before there is a heap), and what did not fit is counted in
//! [`Platform::ignored`], never silently lost.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod acpi;
mod error;
pub mod fdt;
mod routes;

pub use arrayvec::{ArrayString, ArrayVec};
pub use error::Error;
pub use routes::{MsiMap, PciLine};

/// Bounds of the lists in [`Platform`].
pub mod limits {
    /// CPUs that are recorded.
    pub const CPUS: usize = 128;
    /// GICv3 redistributor regions.
    pub const REDISTRIBUTOR_REGIONS: usize = 16;
    /// Interrupt translation services.
    pub const ITS: usize = 8;
    /// virtio-mmio slots; QEMU's virt board has 32.
    pub const VIRTIO_MMIO: usize = 64;
    /// PCIe configuration windows.
    pub const ECAMS: usize = 8;
    /// Address windows of one PCIe host bridge.
    pub const PCI_WINDOWS: usize = 8;
    /// Ranges of requester IDs.
    pub const MSI_MAPS: usize = 16;
    /// Lines of PCI host bridges; QEMU's has 16.
    pub const PCI_LINES: usize = 32;
    /// Regions of RAM, and of reserved memory.
    pub const MEMORY: usize = 64;
    /// Bytes of kernel command line, as in Linux.
    pub const BOOTARGS: usize = 2048;
    /// Bytes of entropy handed over in the tables.
    pub const RNG_SEED: usize = 64;
}

/// A range of physical addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub base: u64,
    /// Length in bytes.
    pub length: u64,
}

/// Which tables the facts came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Flattened devicetree.
    Fdt,
    /// ACPI.
    Acpi,
}

/// How an interrupt line signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// On a rising edge.
    Edge,
    /// While the line is asserted.
    Level,
}

/// An interrupt by its number at the GIC (an INTID: 0–15 SGI, 16–31 PPI, 32 and up SPI).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// GIC interrupt number.
    pub intid: u32,
    /// Edge or level.
    pub trigger: Trigger,
}

/// Register layout of the console UART.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UartKind {
    /// A full Arm PL011.
    Pl011,
    /// SBSA generic UART: the PL011's data, flag and interrupt registers only.
    Sbsa,
}

/// The console UART.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uart {
    /// Register layout.
    pub kind: UartKind,
    /// Registers.
    pub base: u64,
    /// Its interrupt, where the tables name one.
    pub interrupt: Option<Interrupt>,
}

/// GIC architecture version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicVersion {
    /// GICv2: memory-mapped CPU interface, at most 8 CPUs.
    V2,
    /// GICv3 or v4: redistributors and system registers.
    V3,
}

/// A GICv2m frame: message-signalled interrupts on a GICv2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GicV2m {
    /// Registers.
    pub base: u64,
    /// First SPI and count, where the tables override the frame's own MSI_TYPER.
    pub spis: Option<(u32, u32)>,
}

/// The interrupt controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gic {
    /// Architecture version.
    pub version: GicVersion,
    /// Distributor registers.
    pub distributor: u64,
    /// CPU interface registers (GICv2 only).
    pub cpu_interface: Option<u64>,
    /// Redistributor regions (GICv3 only), to be walked by GICR_TYPER; empty when each CPU names its own
    /// ([`Cpu::redistributor`]).
    pub redistributors: ArrayVec<Region, { limits::REDISTRIBUTOR_REGIONS }>,
    /// Distance between redistributors where the tables say so; else 128 KiB, or 256 KiB with GICR_TYPER.VLPIS.
    pub redistributor_stride: Option<u64>,
    /// Interrupt translation services.
    pub its: ArrayVec<u64, { limits::ITS }>,
    /// GICv2m frame.
    pub v2m: Option<GicV2m>,
}

/// The generic timer's per-CPU interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Virtual timer: the one that we use.
    pub virtual_: Interrupt,
    /// Non-secure EL1 physical timer.
    pub physical: Interrupt,
}

/// How PSCI is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// `hvc #0`.
    Hvc,
    /// `smc #0`.
    Smc,
}

/// Power State Coordination Interface (0.2 or newer: standard function numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Psci {
    /// Call instruction.
    pub conduit: Conduit,
    /// (major, minor) as the tables claim; ACPI does not say, PSCI_VERSION does.
    pub version: Option<(u8, u8)>,
}

/// One CPU that the firmware lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Affinity fields of MPIDR_EL1.
    pub mpidr: u64,
    /// May be started.
    pub enabled: bool,
    /// Its own redistributor (ACPI GICC structures of a GICv3 without GICR structures).
    pub redistributor: Option<u64>,
}

/// A virtio-mmio slot: a place where a device may sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioMmio {
    /// Registers.
    pub registers: Region,
    /// Interrupt.
    pub interrupt: Interrupt,
}

/// Kind of a PCI address window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciSpace {
    /// Port I/O.
    Io,
    /// 32-bit memory.
    Memory32,
    /// 64-bit memory.
    Memory64,
}

/// A window through which the CPU reaches PCI addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciWindow {
    /// Address space.
    pub space: PciSpace,
    /// First address on the PCI side.
    pub pci_base: u64,
    /// First address on the CPU side.
    pub cpu_base: u64,
    /// Length in bytes.
    pub length: u64,
}

/// A PCIe configuration window (ECAM): 1 MiB for each bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ecam {
    /// Address of `bus_start`'s function 0.
    pub base: u64,
    /// PCI segment.
    pub segment: u16,
    /// First bus.
    pub bus_start: u8,
    /// Last bus, included.
    pub bus_end: u8,
    /// Address windows (FDT `ranges`); empty under ACPI, where the firmware has already assigned the BARs.
    pub windows: ArrayVec<PciWindow, { limits::PCI_WINDOWS }>,
}

/// Everything the kernel wants to know about the machine. See the fields' types for the meanings.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Platform {
    pub source: Source,
    pub uart: Option<Uart>,
    /// Registers of a PL031 real-time clock (FDT only; under UEFI the firmware has it).
    pub rtc: Option<u64>,
    pub gic: Option<Gic>,
    pub timer: Option<Timer>,
    pub psci: Option<Psci>,
    pub cpus: ArrayVec<Cpu, { limits::CPUS }>,
    pub virtio_mmio: ArrayVec<VirtioMmio, { limits::VIRTIO_MMIO }>,
    pub ecams: ArrayVec<Ecam, { limits::ECAMS }>,
    pub msi_maps: ArrayVec<MsiMap, { limits::MSI_MAPS }>,
    /// (FDT only; under ACPI only AML describes them.)
    pub pci_lines: ArrayVec<PciLine, { limits::PCI_LINES }>,
    /// RAM (FDT only; under UEFI the memory map comes from the loader).
    pub memory: ArrayVec<Region, { limits::MEMORY }>,
    /// Parts of RAM that are not ours (FDT only).
    pub reserved: ArrayVec<Region, { limits::MEMORY }>,
    pub initrd: Option<Region>,
    pub bootargs: ArrayString<{ limits::BOOTARGS }>,
    pub rng_seed: ArrayVec<u8, { limits::RNG_SEED }>,
    /// Table entries that did not fit a list or made no sense.
    pub ignored: u32,
}

impl Platform {
    /// A platform of which nothing is known yet: the value to keep in a static and hand to a reader.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            source: Source::Fdt,
            uart: None,
            rtc: None,
            gic: None,
            timer: None,
            psci: None,
            cpus: ArrayVec::new_const(),
            virtio_mmio: ArrayVec::new_const(),
            ecams: ArrayVec::new_const(),
            msi_maps: ArrayVec::new_const(),
            pci_lines: ArrayVec::new_const(),
            memory: ArrayVec::new_const(),
            reserved: ArrayVec::new_const(),
            initrd: None,
            bootargs: ArrayString::new_const(),
            rng_seed: ArrayVec::new_const(),
            ignored: 0,
        }
    }

    /// Refuse a machine that lacks what the kernel cannot run without. Both readers end with this.
    fn check(&self) -> Result<(), Error> {
        let gic = self.gic.as_ref().ok_or(Error::Missing("interrupt controller"))?;
        self.timer.ok_or(Error::Missing("timer"))?;
        if !self.cpus.iter().any(|cpu| cpu.enabled) {
            return Err(Error::Missing("enabled CPU"));
        }
        let reachable = match gic.version {
            GicVersion::V2 => gic.cpu_interface.is_some(),
            GicVersion::V3 => {
                !gic.redistributors.is_empty()
                    || self.cpus.iter().all(|cpu| !cpu.enabled || cpu.redistributor.is_some())
            }
        };
        if reachable { Ok(()) } else { Err(Error::Missing("GIC CPU interface or redistributors")) }
    }
}

impl Default for Platform {
    fn default() -> Self {
        Self::new()
    }
}

/// Push where there is room, count where there is none.
fn push<T, const N: usize>(list: &mut ArrayVec<T, N>, ignored: &mut u32, item: T) {
    if list.try_push(item).is_err() {
        *ignored = ignored.saturating_add(1);
    }
}
