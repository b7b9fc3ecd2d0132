//! The devicetree reader. Bindings: Devicetree Specification 0.4 and the kernel.org binding of each `compatible`.
//!
//! dtoolkit checks the whole blob once, before any node is looked at. Devices are taken from the root's children:
//! their addresses are CPU addresses, so no bus translation is needed on the boards that we know.

#[path = "fdt_routes.rs"]
mod routes;

use crate::{
    Conduit, Cpu, Ecam, Error, Gic, GicV2m, GicVersion, Interrupt, PciSpace, PciWindow, Platform, Psci, Region, Source,
    Timer, Trigger, Uart, UartKind, VirtioMmio, limits, push,
};
use arrayvec::ArrayVec;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node, Property};

/// SPI and PPI numbers of the GIC binding count from their class's first INTID.
const SPI_FIRST: u32 = 32;
const PPI_FIRST: u32 = 16;

impl Platform {
    /// Fill an empty platform from the devicetree `blob`, which is exactly `totalsize` bytes long.
    ///
    /// # Errors
    /// The blob is malformed, or does not describe what the kernel needs.
    pub fn read_fdt(&mut self, blob: &[u8]) -> Result<(), Error> {
        let fdt = Fdt::new(blob).map_err(Error::Fdt)?;
        let root = fdt.root();
        self.source = Source::Fdt;
        for reservation in fdt.memory_reservations() {
            let region = Region { base: reservation.address(), length: reservation.size() };
            push(&mut self.reserved, &mut self.ignored, region);
        }
        for node in root.children().filter(is_enabled) {
            self.read_node(&root, &node);
        }
        if let Some(chosen) = root.child("chosen") {
            self.read_chosen(&chosen);
        }
        self.uart = stdout(&root).as_ref().and_then(uart).or_else(|| root.children().find_map(|node| uart(&node)));
        self.check()
    }

    fn read_node(&mut self, root: &FdtNode<'_>, node: &FdtNode<'_>) {
        match node.name_without_address() {
            "cpus" => self.read_cpus(node),
            "reserved-memory" => {
                for region in node.children().flat_map(|child| regions(&child)) {
                    push(&mut self.reserved, &mut self.ignored, region);
                }
            }
            _ if string(node, "device_type") == Some("memory") => {
                for region in regions(node).filter(|region| region.length > 0) {
                    push(&mut self.memory, &mut self.ignored, region);
                }
            }
            _ => self.read_device(root, node),
        }
    }

    fn read_device(&mut self, root: &FdtNode<'_>, node: &FdtNode<'_>) {
        for compatible in node.compatible().into_iter().flatten() {
            match compatible {
                "arm,gic-v3" => self.gic = gic_v3(node, &mut self.ignored),
                "arm,cortex-a15-gic" | "arm,gic-400" | "arm,cortex-a7-gic" | "arm,cortex-a9-gic" => {
                    self.gic = gic_v2(node)
                }
                "arm,pl031" => self.rtc = regions(node).next().map(|registers| registers.base),
                "arm,armv8-timer" => self.timer = timer(node),
                "arm,psci-1.0" | "arm,psci-0.2" => self.psci = psci(node, compatible),
                "virtio,mmio" => match (regions(node).next(), interrupt(node, 0)) {
                    (Some(registers), Some(interrupt)) => {
                        push(&mut self.virtio_mmio, &mut self.ignored, VirtioMmio { registers, interrupt });
                    }
                    _ => self.ignored = self.ignored.saturating_add(1),
                },
                "pci-host-ecam-generic" => match ecam(node, &mut self.ignored) {
                    Some(ecam) => {
                        self.read_routes(root, node, ecam.segment);
                        push(&mut self.ecams, &mut self.ignored, ecam);
                    }
                    None => self.ignored = self.ignored.saturating_add(1),
                },
                _ => continue,
            }
            break; // the list goes from the most to the least specific name
        }
    }

    fn read_cpus(&mut self, cpus: &FdtNode<'_>) {
        for node in cpus.children().filter(|node| string(node, "device_type") == Some("cpu")) {
            let Some(mpidr) = property(&node, "reg").and_then(number) else {
                self.ignored = self.ignored.saturating_add(1);
                continue;
            };
            push(&mut self.cpus, &mut self.ignored, Cpu { mpidr, enabled: is_enabled(&node), redistributor: None });
        }
    }

    fn read_chosen(&mut self, chosen: &FdtNode<'_>) {
        let address = |name| property(chosen, name).and_then(number);
        if let (Some(base), Some(end)) = (address("linux,initrd-start"), address("linux,initrd-end"))
            && end > base
        {
            self.initrd = Some(Region { base, length: end - base });
        }
        for character in string(chosen, "bootargs").unwrap_or_default().chars() {
            if self.bootargs.try_push(character).is_err() {
                self.ignored = self.ignored.saturating_add(1);
                break;
            }
        }
        self.rng_seed.extend(property(chosen, "rng-seed").unwrap_or_default().iter().copied().take(limits::RNG_SEED));
    }
}

fn property<'a>(node: &FdtNode<'a>, name: &str) -> Option<&'a [u8]> {
    node.properties().find(|property| property.name() == name).and_then(|property| property.value_as::<&[u8]>().ok())
}

fn string<'a>(node: &FdtNode<'a>, name: &str) -> Option<&'a str> {
    let bytes = property(node, name)?.strip_suffix(b"\0")?;
    core::str::from_utf8(bytes).ok()
}

fn is_enabled(node: &FdtNode<'_>) -> bool {
    matches!(string(node, "status"), None | Some("okay" | "ok"))
}

fn cells(value: &[u8]) -> impl Iterator<Item = u32> {
    value.as_chunks().0.iter().map(|cell| u32::from_be_bytes(*cell))
}

/// The value of one or two cells.
fn number(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 | 8 => Some(cells(value).fold(0, |number, cell| number << 32 | u64::from(cell))),
        _ => None,
    }
}

fn regions<'a>(node: &FdtNode<'a>) -> impl Iterator<Item = Region> + use<'a> {
    node.reg()
        .ok()
        .flatten()
        .into_iter()
        .flatten()
        .filter_map(|reg| Some(Region { base: reg.address::<u64>().ok()?, length: reg.size::<u64>().ok()? }))
}

/// The `index`-th entry of `interrupts`, in the GIC's three cells (class, number, flags).
fn interrupt(node: &FdtNode<'_>, index: usize) -> Option<Interrupt> {
    let (entries, _) = property(node, "interrupts")?.as_chunks::<12>();
    interrupt_cells(&mut cells(entries.get(index)?))
}

/// An interrupt in the GIC's three cells.
fn interrupt_cells(entry: &mut impl Iterator<Item = u32>) -> Option<Interrupt> {
    let (class, number, flags) = (entry.next()?, entry.next()?, entry.next()?);
    let intid = match class {
        0 if number < 988 => SPI_FIRST + number,
        1 if number < 16 => PPI_FIRST + number,
        _ => return None,
    };
    // Bits 0-3: 1 rising edge, 2 falling edge, 4 high level, 8 low level; 8-15: PPI mask on a GICv2.
    let trigger = if flags & 3 != 0 { Trigger::Edge } else { Trigger::Level };
    Some(Interrupt { intid, trigger })
}

fn gic_v3(node: &FdtNode<'_>, ignored: &mut u32) -> Option<Gic> {
    let count = property(node, "#redistributor-regions").and_then(number).unwrap_or(1);
    let mut regions_left = regions(node);
    let distributor = regions_left.next()?.base;
    let mut redistributors = ArrayVec::new();
    for region in regions_left.take(usize::try_from(count).unwrap_or(usize::MAX)) {
        push(&mut redistributors, ignored, region);
    }
    let mut its = ArrayVec::new();
    for child in node.children().filter(|child| is_compatible(child, "arm,gic-v3-its") && is_enabled(child)) {
        if let Some(region) = regions(&child).next() {
            push(&mut its, ignored, region.base);
        }
    }
    let redistributor_stride = property(node, "redistributor-stride").and_then(number);
    let version = GicVersion::V3;
    Some(Gic { version, distributor, cpu_interface: None, redistributors, redistributor_stride, its, v2m: None })
}

fn gic_v2(node: &FdtNode<'_>) -> Option<Gic> {
    let mut regions_left = regions(node);
    let distributor = regions_left.next()?.base;
    let cpu_interface = Some(regions_left.next()?.base);
    let v2m = node.children().filter(|child| is_compatible(child, "arm,gic-v2m-frame") && is_enabled(child)).find_map(
        |child| {
            let cell = |name| property(&child, name).and_then(number).and_then(|value| u32::try_from(value).ok());
            let spis = cell("arm,msi-base-spi").zip(cell("arm,msi-num-spis"));
            Some(GicV2m { base: regions(&child).next()?.base, spis })
        },
    );
    let (redistributors, its) = (ArrayVec::new(), ArrayVec::new());
    let version = GicVersion::V2;
    Some(Gic { version, distributor, cpu_interface, redistributors, redistributor_stride: None, its, v2m })
}

fn is_compatible(node: &FdtNode<'_>, name: &str) -> bool {
    node.compatible().is_some_and(|mut names| names.any(|other| other == name))
}

/// `arm,armv8-timer` lists secure physical, non-secure physical, virtual, hypervisor.
fn timer(node: &FdtNode<'_>) -> Option<Timer> {
    Some(Timer { physical: interrupt(node, 1)?, virtual_: interrupt(node, 2)? })
}

fn psci(node: &FdtNode<'_>, compatible: &str) -> Option<Psci> {
    let conduit = match string(node, "method")? {
        "hvc" => Conduit::Hvc,
        "smc" => Conduit::Smc,
        _ => return None,
    };
    let version = Some(if compatible == "arm,psci-1.0" { (1, 0) } else { (0, 2) });
    Some(Psci { conduit, version })
}

/// The node that `/chosen/stdout-path` names: a path or an alias, perhaps followed by `:options`.
fn stdout<'a>(root: &FdtNode<'a>) -> Option<FdtNode<'a>> {
    let full = string(&root.child("chosen")?, "stdout-path")?;
    let name = full.split(':').next()?;
    let path = if name.starts_with('/') { name } else { string(&root.child("aliases")?, name)? };
    root.child(path.strip_prefix('/')?)
}

fn uart(node: &FdtNode<'_>) -> Option<Uart> {
    let kind = node.compatible()?.find_map(|name| match name {
        "arm,pl011" => Some(UartKind::Pl011),
        "arm,sbsa-uart" => Some(UartKind::Sbsa),
        _ => None,
    })?;
    Some(Uart { kind, base: regions(node).next()?.base, interrupt: interrupt(node, 0) })
}

fn ecam(node: &FdtNode<'_>, ignored: &mut u32) -> Option<Ecam> {
    let base = regions(node).next()?.base;
    let segment = property(node, "linux,pci-domain").and_then(number).unwrap_or(0);
    let buses = property(node, "bus-range").and_then(number).unwrap_or(0xff); // two cells: first, last
    let mut windows = ArrayVec::new();
    // Seven cells: the PCI address (attributes, high, low), the CPU address (two), the length (two).
    for entry in property(node, "ranges").unwrap_or_default().as_chunks::<28>().0 {
        match window(entry) {
            Some(window) => push(&mut windows, ignored, window),
            None => *ignored = ignored.saturating_add(1),
        }
    }
    Some(Ecam {
        base,
        segment: u16::try_from(segment).ok()?,
        bus_start: u8::try_from(buses >> 32).ok()?,
        bus_end: u8::try_from(buses & 0xffff_ffff).ok()?,
        windows,
    })
}

/// PCI Bus Binding to IEEE 1275, 2.2.1.1: the space code is bits 25:24 of the first cell.
fn window(entry: &[u8; 28]) -> Option<PciWindow> {
    let (attributes, rest) = entry.split_first_chunk::<4>()?;
    let space = match u32::from_be_bytes(*attributes) >> 24 & 3 {
        1 => PciSpace::Io,
        2 => PciSpace::Memory32,
        3 => PciSpace::Memory64,
        _ => return None, // configuration space
    };
    let (pci_base, rest) = rest.split_first_chunk::<8>()?;
    let (cpu_base, length) = rest.split_first_chunk::<8>()?;
    let window = PciWindow {
        space,
        pci_base: u64::from_be_bytes(*pci_base),
        cpu_base: u64::from_be_bytes(*cpu_base),
        length: number(length)?,
    };
    let fits = |base: u64| base.checked_add(window.length).is_some();
    (fits(window.pci_base) && fits(window.cpu_base)).then_some(window)
}

#[cfg(test)]
#[path = "fdt_tests.rs"]
mod tests;
