//! The machine as the firmware describes it: the tables are found in memory, read by the crate `platform`, and shown as
//! `platform.*` events, one for each fact, so that an independent reader can be held against them.

use core::cell::RefCell;
use core::fmt::{self, Display};

use bootinfo::Region as MemoryRegion;
use platform::acpi::PhysicalMemory;
use platform::{ArrayVec, Conduit, GicVersion, PciSpace, Platform, Source, Trigger, UartKind};

use crate::arch::psci;
use crate::event;
use crate::events::Hex;
use crate::mm::kmap;
use crate::sync::Prepared;

static PLATFORM: Prepared<Platform> = Prepared::new(Platform::new());
/// A larger FDT is not believed; QEMU's is 1 MiB.
const FDT_LENGTH_MAX: u32 = 2 << 20;
const FDT_MAGIC: u32 = 0xd00d_feed;
/// Windows on ACPI tables: one for each piece of memory that tables lie in.
const TABLE_WINDOWS_MAX: usize = 8;
/// Tables are mapped this much at a time: firmwares put them side by side.
const TABLE_WINDOW: u64 = 64 << 10;

/// The machine. Panics before [`init_fdt`] or [`init_acpi`] has run.
#[must_use]
pub fn get() -> &'static Platform {
    PLATFORM.get().expect("the firmware's tables are read first")
}

/// The machine, if the tables have been read: for who may run before that, as a panic does.
#[must_use]
pub fn try_get() -> Option<&'static Platform> {
    PLATFORM.get()
}

/// Map the FDT at a physical address; `None` where there is none, or no room.
#[must_use]
pub fn map_fdt(physical: u64) -> Option<&'static [u8]> {
    let header = kmap::map_bytes(physical, 8)?;
    let word = |at| header.get(at..)?.first_chunk().copied().map(u32::from_be_bytes);
    let length = word(4)?;
    if word(0)? != FDT_MAGIC || length > FDT_LENGTH_MAX {
        return None;
    }
    kmap::map_bytes(physical, u64::from(length))
}

/// Read the FDT. Needs neither heap nor page allocator. Panics, saying why, where it does not describe a machine that we
/// can run on: there is nobody else to tell.
pub fn init_fdt(fdt: &[u8]) -> &'static Platform {
    init(|platform| platform.read_fdt(fdt))
}

/// Read the ACPI tables below `rsdp`, as far as they lie in the RAM of `regions`. Panics like [`init_fdt`].
pub fn init_acpi(rsdp: u64, regions: &[MemoryRegion]) -> &'static Platform {
    let tables = Tables { regions, windows: RefCell::default() };
    init(|platform| platform.read_acpi(rsdp, &tables))
}

fn init(read: impl FnOnce(&mut Platform) -> Result<(), platform::Error>) -> &'static Platform {
    let edited = PLATFORM.edit(|platform| {
        if let Err(error) = read(platform) {
            // What was read may be enough to start again, for another slot to be tried.
            if let Some(found) = platform.psci {
                psci::remember(found.conduit);
            }
            panic!("cannot run on this machine: {error}");
        }
    });
    let platform = edited.expect("the tables are read once");
    show(platform);
    platform
}

/// ACPI tables in memory, mapped as they are asked for.
struct Tables<'a> {
    regions: &'a [MemoryRegion],
    windows: RefCell<ArrayVec<(u64, &'static [u8]), TABLE_WINDOWS_MAX>>,
}

impl PhysicalMemory for Tables<'_> {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let end = address.checked_add(length as u64)?;
        let region = self.regions.iter().find(|region| {
            let is_ram = region.kind().is_some_and(bootinfo::RegionKind::is_ram);
            is_ram && region.start <= address && region.end().is_some_and(|after| end <= after)
        })?;
        let mut windows = self.windows.borrow_mut();
        let inside = |(start, bytes): &(u64, &'static [u8])| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            bytes.get(offset..offset.checked_add(length)?)
        };
        if let Some(bytes) = windows.iter().find_map(inside) {
            return Some(bytes);
        }
        let start = address & !0xfff;
        let after = (start + TABLE_WINDOW).max(end).min(region.end()?);
        let window = (start, kmap::map_bytes(start, after - start)?);
        windows.try_push(window).ok()?;
        inside(&window)
    }
}

/// A list as one value, its items separated by commas.
struct List<I>(I);

impl<T: Display, I: Iterator<Item = T> + Clone> Display for List<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.clone().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{item}")?;
        }
        Ok(())
    }
}

/// `base+length`, both hexadecimal.
struct Span(u64, u64);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}+{:#x}", self.0, self.1)
    }
}

fn trigger_name(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Edge => "edge",
        Trigger::Level => "level",
    }
}

fn show(platform: &Platform) {
    let tables = match platform.source {
        Source::Fdt => "fdt",
        Source::Acpi => "acpi",
    };
    event!("platform.source", tables = tables, ignored = platform.ignored);
    show_interrupts(platform);
    if let Some(psci) = platform.psci {
        let conduit = match psci.conduit {
            Conduit::Hvc => "hvc",
            Conduit::Smc => "smc",
        };
        match psci.version {
            Some((major, minor)) => {
                event!("platform.psci", conduit = conduit, version = format_args!("{major}.{minor}"));
            }
            None => event!("platform.psci", conduit = conduit),
        }
    }
    for cpu in &platform.cpus {
        event!("platform.cpu", mpidr = Hex(cpu.mpidr), enabled = u8::from(cpu.enabled));
    }
    for slot in &platform.virtio_mmio {
        event!(
            "platform.virtio_mmio",
            base = Hex(slot.registers.base),
            size = Hex(slot.registers.length),
            irq = slot.interrupt.intid,
            trigger = trigger_name(slot.interrupt.trigger)
        );
    }
    show_pci(platform);
}

fn show_interrupts(platform: &Platform) {
    if let Some(uart) = platform.uart {
        let kind = match uart.kind {
            UartKind::Pl011 => "pl011",
            UartKind::Sbsa => "sbsa",
        };
        match uart.interrupt {
            Some(irq) => event!(
                "platform.uart",
                kind = kind,
                base = Hex(uart.base),
                irq = irq.intid,
                trigger = trigger_name(irq.trigger)
            ),
            None => event!("platform.uart", kind = kind, base = Hex(uart.base)),
        }
    }
    if let Some(gic) = &platform.gic {
        match (gic.version, gic.cpu_interface) {
            (GicVersion::V2, Some(interface)) => event!(
                "platform.gic",
                version = 2,
                distributor = Hex(gic.distributor),
                cpu_interface = Hex(interface),
                v2m = List(gic.v2m.iter().map(|frame| Hex(frame.base)))
            ),
            _ => event!(
                "platform.gic",
                version = 3,
                distributor = Hex(gic.distributor),
                redistributors = List(gic.redistributors.iter().map(|region| Span(region.base, region.length))),
                its = List(gic.its.iter().map(|base| Hex(*base)))
            ),
        }
    }
    if let Some(timer) = platform.timer {
        event!(
            "platform.timer",
            virtual_irq = timer.virtual_.intid,
            virtual_trigger = trigger_name(timer.virtual_.trigger),
            physical_irq = timer.physical.intid,
            physical_trigger = trigger_name(timer.physical.trigger)
        );
    }
}

fn show_pci(platform: &Platform) {
    for ecam in &platform.ecams {
        event!(
            "platform.ecam",
            base = Hex(ecam.base),
            segment = ecam.segment,
            bus_start = ecam.bus_start,
            bus_end = ecam.bus_end
        );
        for window in &ecam.windows {
            let space = match window.space {
                PciSpace::Io => "io",
                PciSpace::Memory32 => "mem32",
                PciSpace::Memory64 => "mem64",
            };
            event!(
                "platform.pci_window",
                segment = ecam.segment,
                space = space,
                pci = Hex(window.pci_base),
                cpu = Hex(window.cpu_base),
                size = Hex(window.length)
            );
        }
    }
    for map in &platform.msi_maps {
        event!(
            "platform.msi_map",
            segment = map.segment,
            first = Hex(map.first.into()),
            last = Hex(map.last.into()),
            output = Hex(map.output.into())
        );
    }
    for segment in platform.ecams.iter().map(|ecam| ecam.segment) {
        let lines = platform.pci_lines.iter().filter(|line| line.segment == segment);
        if lines.clone().next().is_some() {
            event!("platform.pci_lines", segment = segment, irqs = List(lines.map(|line| line.interrupt.intid)));
        }
    }
}
