//! PCI Express through ECAM: enumeration at boot, each function and BAR shown as an event.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::RefCell;

use pci::{Address, Bar, Buses, ConfigAccess, Function, Pools, Space, Window};
use platform::{Ecam, PciSpace};

use super::mmio::Mmio;
use crate::event;
use crate::events::Hex;

/// Functions that are remembered; more are shown and not used.
const FUNCTIONS_MAX: usize = 256;
/// Configuration space of one bus.
const BUS_LENGTH: u64 = 1 << 20;

/// A host bridge: its configuration space, mapped a bus at a time as it is looked at.
#[derive(Debug)]
pub struct HostBridge {
    ecam: &'static Ecam,
    buses: RefCell<BTreeMap<u8, Mmio>>,
}

impl HostBridge {
    fn registers(&self, address: Address) -> Option<Mmio> {
        let Ecam { bus_start, bus_end, .. } = *self.ecam;
        if !(bus_start..=bus_end).contains(&address.bus) {
            return None;
        }
        let mut buses = self.buses.borrow_mut();
        let bus = match buses.get(&address.bus) {
            Some(bus) => *bus,
            None => {
                let base = self.ecam.base.checked_add(u64::from(address.bus - bus_start) * BUS_LENGTH)?;
                let bus = Mmio::map(base, BUS_LENGTH)?;
                buses.insert(address.bus, bus);
                bus
            }
        };
        bus.part(usize::from(address.device) << 15 | usize::from(address.function) << 12, 4096)
    }

    /// The whole configuration space of a function, to be kept by its driver.
    #[must_use]
    pub fn configuration(&self, address: Address) -> Option<Mmio> {
        self.registers(address)
    }

    /// The root bus.
    #[must_use]
    pub fn first_bus(&self) -> u8 {
        self.ecam.bus_start
    }

    /// Registers in a BAR. `None`: it has no address, is I/O, or there is no room to map it.
    #[must_use]
    pub fn map_bar(&self, bar: &Bar, offset: u64, length: u64) -> Option<Mmio> {
        let base = bar.base.filter(|_| bar.space != Space::Io)?;
        if offset.checked_add(length)? > bar.size {
            return None;
        }
        Mmio::map(self.cpu_address(base)?.checked_add(offset)?, length)
    }

    /// The CPU's address of a PCI one. Without windows (ACPI) they are the same, as on every machine that has them so.
    fn cpu_address(&self, pci: u64) -> Option<u64> {
        let mut memory = self.ecam.windows.iter().filter(|window| window.space != PciSpace::Io).peekable();
        if memory.peek().is_none() {
            return Some(pci);
        }
        memory.find_map(|window| {
            let offset = pci.checked_sub(window.pci_base)?;
            (offset < window.length).then_some(window.cpu_base + offset)
        })
    }

    fn pools(&self) -> Pools {
        let window = |space| {
            let found = self.ecam.windows.iter().find(|window| window.space == space);
            found.map_or(Window::EMPTY, |window| Window::new(window.pci_base, window.length))
        };
        Pools { io: window(PciSpace::Io), memory32: window(PciSpace::Memory32), memory64: window(PciSpace::Memory64) }
    }
}

impl ConfigAccess for HostBridge {
    fn read32(&self, address: Address, offset: u16) -> u32 {
        self.registers(address).map_or(u32::MAX, |registers| registers.read32(offset.into()))
    }

    fn write32(&self, address: Address, offset: u16, value: u32) {
        if let Some(registers) = self.registers(address) {
            registers.write32(offset.into(), value);
        }
    }
}

/// Enumerate every host bridge that the firmware describes, and hand each function to `found` with its bridge.
pub fn enumerate(mut found: impl FnMut(&HostBridge, &Function)) {
    for ecam in &crate::platform::get().ecams {
        let bridge = HostBridge { ecam, buses: RefCell::default() };
        let buses = Buses { segment: ecam.segment, first: ecam.bus_start, last: ecam.bus_end };
        let mut functions = Vec::new();
        pci::scan(&bridge, buses, bridge.pools(), &mut |function| {
            show(&function);
            if functions.len() < FUNCTIONS_MAX {
                functions.push(function);
            }
        });
        for function in &functions {
            found(&bridge, function);
        }
    }
}

fn show(function: &Function) {
    event!(
        "pci.device",
        address = function.address,
        vendor = Hex(function.vendor.into()),
        device = Hex(function.device.into()),
        class = Hex(function.class.into())
    );
    for bar in function.bars.iter().flatten() {
        let kind = match bar.space {
            Space::Io => "io",
            Space::Memory32 => "mem32",
            Space::Memory64 => "mem64",
        };
        event!(
            "pci.bar",
            address = function.address,
            index = bar.index,
            base = Hex(bar.base.unwrap_or(0)),
            size = Hex(bar.size),
            kind = kind
        );
    }
}
