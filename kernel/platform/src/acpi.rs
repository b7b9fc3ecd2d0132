//! The ACPI reader: static tables only. Offsets are those of the ACPI Specification 6.5 (chapter 5.2), the Serial Port
//! Console Redirection table (Microsoft, revision 2) and the PCI Firmware Specification 3.3 (MCFG).
//!
//! Order: RSDP (checksums, revision 2 or newer) → XSDT → each table (length, checksum) → its reader. A table that
//! nothing here reads is skipped unread; one that is read and malformed is an error that names it.

#[path = "iort.rs"]
mod iort;

use crate::{
    Conduit, Cpu, Ecam, Error, Gic, GicV2m, GicVersion, Interrupt, Platform, Psci, Region, Source, Timer, Trigger,
    Uart, UartKind, push,
};
use arrayvec::ArrayVec;

/// Physical memory as far as it may be read: the ACPI regions of the boot memory map.
pub trait PhysicalMemory {
    /// `length` bytes at `address`, or `None` where any of them may not be read.
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]>;
}

/// A table longer than this is not believed; the largest real ones (MADT with 512 CPUs) take 60 KiB.
const TABLE_LENGTH_MAX: u32 = 1 << 20;
const HEADER_LENGTH: usize = 36;

/// Fields of a table at fixed offsets; absent ones read as `None`.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..)?.first_chunk().copied()
    }
    fn u8(&self, offset: usize) -> Option<u8> {
        self.0.get(offset).copied()
    }
    fn u16(&self, offset: usize) -> Option<u16> {
        self.array(offset).map(u16::from_le_bytes)
    }
    fn u32(&self, offset: usize) -> Option<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }
    fn u64(&self, offset: usize) -> Option<u64> {
        self.array(offset).map(u64::from_le_bytes)
    }
}

impl Platform {
    /// Fill an empty platform from the tables below the RSDP at `rsdp`.
    ///
    /// # Errors
    /// A table is unreachable or malformed, or the tables do not describe what the kernel needs.
    pub fn read_acpi(&mut self, rsdp: u64, memory: &impl PhysicalMemory) -> Result<(), Error> {
        self.source = Source::Acpi;
        let xsdt = table(memory, xsdt_address(memory, rsdp)?, *b"XSDT")?;
        for entry in xsdt.get(HEADER_LENGTH..).unwrap_or_default().as_chunks().0 {
            let address = u64::from_le_bytes(*entry);
            let signature = memory.bytes(address, 4).and_then(|bytes| bytes.first_chunk().copied());
            let signature = signature.ok_or(Error::Unreachable { table: *b"????", address })?;
            let reader = match &signature {
                b"APIC" => Self::read_madt,
                b"GTDT" => Self::read_gtdt,
                b"FACP" => Self::read_fadt,
                b"SPCR" => Self::read_spcr,
                b"MCFG" => Self::read_mcfg,
                b"IORT" => Self::read_iort,
                _ => continue,
            };
            let body = table(memory, address, signature)?;
            reader(self, &Fields(body)).ok_or(Error::Malformed { table: signature, why: "a field is missing" })?;
        }
        self.check()
    }

    /// 5.2.12, the interrupt controllers: a list of structures {type u8, length u8, …} from offset 44.
    fn read_madt(&mut self, madt: &Fields<'_>) -> Option<()> {
        let mut found = MadtGic::default();
        let mut rest = madt.0.get(44..)?;
        while let [kind, length, ..] = *rest {
            let length = usize::from(length).max(2);
            let entry = Fields(rest.get(..length)?);
            rest = rest.get(length..)?;
            match kind {
                0x0b => self.read_gicc(&entry, &mut found)?,
                0x0c => found.distributor = Some((entry.u64(8)?, entry.u8(20)?)),
                0x0d => {
                    // Flags bit 0: the SPI count and base below override MSI_TYPER.
                    let spis = (entry.u32(16)? & 1 != 0).then_some((entry.u16(22)?, entry.u16(20)?));
                    let spis = spis.map(|(base, count)| (u32::from(base), u32::from(count)));
                    found.v2m = Some(GicV2m { base: entry.u64(8)?, spis });
                }
                0x0e => {
                    let region = Region { base: entry.u64(4)?, length: u64::from(entry.u32(12)?) };
                    push(&mut found.redistributors, &mut self.ignored, region);
                }
                0x0f => push(&mut found.its, &mut self.ignored, entry.u64(8)?),
                _ => {}
            }
        }
        self.gic = found.gic(&self.cpus);
        Some(())
    }

    /// 5.2.12.14, GICC: one per CPU.
    fn read_gicc(&mut self, entry: &Fields<'_>, found: &mut MadtGic) -> Option<()> {
        if let Some(base @ 1..) = entry.u64(32) {
            found.cpu_interface = Some(base);
        }
        let cpu = Cpu {
            mpidr: entry.u64(68)?,
            enabled: entry.u32(12)? & 1 != 0,
            redistributor: entry.u64(60).filter(|base| *base != 0),
        };
        push(&mut self.cpus, &mut self.ignored, cpu);
        Some(())
    }

    /// 5.2.25, the generic timer. Flags: bit 0 edge (else level).
    fn read_gtdt(&mut self, gtdt: &Fields<'_>) -> Option<()> {
        let interrupt = |offset| {
            let trigger = if gtdt.u32(offset + 4)? & 1 != 0 { Trigger::Edge } else { Trigger::Level };
            Some(Interrupt { intid: gtdt.u32(offset)?, trigger })
        };
        self.timer = Some(Timer { physical: interrupt(56)?, virtual_: interrupt(64)? });
        Some(())
    }

    /// 5.2.9, FADT: ARM_BOOT_ARCH (offset 129, since 5.1) bit 0 PSCI compliant, bit 1 HVC (else SMC).
    fn read_fadt(&mut self, fadt: &Fields<'_>) -> Option<()> {
        let boot_arch = fadt.u16(129).unwrap_or(0);
        let conduit = if boot_arch & 2 != 0 { Conduit::Hvc } else { Conduit::Smc };
        self.psci = (boot_arch & 1 != 0).then_some(Psci { conduit, version: None });
        Some(())
    }

    /// SPCR: interface type, a generic address (space, width, offset, access, u64), interrupt type, GSIV.
    fn read_spcr(&mut self, spcr: &Fields<'_>) -> Option<()> {
        let kind = match spcr.u8(36)? {
            0x03 => UartKind::Pl011,
            0x0d | 0x0e => UartKind::Sbsa,
            _ => return Some(()), // some other UART: no console, not an error
        };
        let (space, base) = (spcr.u8(40)?, spcr.u64(44)?);
        if space != 0 || base == 0 {
            return Some(()); // not memory-mapped, or console redirection is off
        }
        // Interrupt type bit 3: the GSIV field holds an Arm GIC interrupt. A UART's line is level-sensitive.
        let wired = spcr.u8(52)? & 8 != 0;
        let interrupt = wired.then_some(Interrupt { intid: spcr.u32(54)?, trigger: Trigger::Level });
        self.uart = Some(Uart { kind, base, interrupt });
        Some(())
    }

    /// MCFG: from offset 44 entries {base u64, segment u16, first bus u8, last bus u8, reserved u32}. The base is that
    /// of bus 0 (PCI Firmware Specification 4.1.2), ours that of the first bus.
    fn read_mcfg(&mut self, mcfg: &Fields<'_>) -> Option<()> {
        for entry in mcfg.0.get(44..)?.as_chunks::<16>().0 {
            let entry = Fields(entry);
            let (bus_start, bus_end) = (entry.u8(10)?, entry.u8(11)?);
            let base = entry.u64(0)?.checked_add(u64::from(bus_start) << 20)?;
            let ecam = Ecam { base, segment: entry.u16(8)?, bus_start, bus_end, windows: ArrayVec::new() };
            push(&mut self.ecams, &mut self.ignored, ecam);
        }
        Some(())
    }
}

/// What the MADT's structures say about the GIC, in whatever order they come.
#[derive(Default)]
struct MadtGic {
    distributor: Option<(u64, u8)>,
    cpu_interface: Option<u64>,
    redistributors: ArrayVec<Region, { crate::limits::REDISTRIBUTOR_REGIONS }>,
    its: ArrayVec<u64, { crate::limits::ITS }>,
    v2m: Option<GicV2m>,
}

impl MadtGic {
    /// GICD's version field: 1 or 2 GICv2, 3 or 4 GICv3; 0 "not specified", then redistributors tell.
    fn gic(self, cpus: &[Cpu]) -> Option<Gic> {
        let (distributor, version) = self.distributor?;
        let has_redistributor = !self.redistributors.is_empty() || cpus.iter().any(|cpu| cpu.redistributor.is_some());
        let version = match version {
            1 | 2 => GicVersion::V2,
            3 | 4 => GicVersion::V3,
            0 if has_redistributor => GicVersion::V3,
            0 => GicVersion::V2,
            _ => return None,
        };
        let cpu_interface = if version == GicVersion::V2 { self.cpu_interface } else { None };
        let Self { redistributors, its, v2m, .. } = self;
        Some(Gic { version, distributor, cpu_interface, redistributors, redistributor_stride: None, its, v2m })
    }
}

/// 5.2.5.3: signature, checksum over 20 bytes, revision at 15, XSDT address at 24, extended checksum over 36.
fn xsdt_address(memory: &impl PhysicalMemory, rsdp: u64) -> Result<u64, Error> {
    let malformed = |why| Error::Malformed { table: *b"RSDP", why };
    let bytes = memory.bytes(rsdp, 36).ok_or(Error::Unreachable { table: *b"RSDP", address: rsdp })?;
    let fields = Fields(bytes);
    if !bytes.starts_with(b"RSD PTR ") {
        return Err(malformed("signature is not \"RSD PTR \""));
    }
    if bytes.get(..20).map(sum) != Some(0) {
        return Err(malformed("checksum"));
    }
    if fields.u8(15).unwrap_or(0) < 2 {
        return Err(malformed("revision is below 2: there is no XSDT"));
    }
    if sum(bytes) != 0 {
        return Err(malformed("extended checksum"));
    }
    fields.u64(24).ok_or(malformed("too short"))
}

/// The whole table at `address`, header included: 5.2.6, length at 4, all bytes sum to 0.
fn table<M: PhysicalMemory>(memory: &M, address: u64, signature: [u8; 4]) -> Result<&[u8], Error> {
    let malformed = |why| Error::Malformed { table: signature, why };
    let unreachable = Error::Unreachable { table: signature, address };
    let header = Fields(memory.bytes(address, HEADER_LENGTH).ok_or(unreachable.clone())?);
    if header.array(0) != Some(signature) {
        return Err(malformed("signature"));
    }
    let length = header.u32(4).unwrap_or(0);
    if length > TABLE_LENGTH_MAX || (length as usize) < HEADER_LENGTH {
        return Err(malformed("length is out of range"));
    }
    let bytes = memory.bytes(address, length as usize).ok_or(unreachable)?;
    if sum(bytes) != 0 {
        return Err(malformed("checksum"));
    }
    Ok(bytes)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
#[path = "acpi_tests.rs"]
mod tests;
