//! The walk over buses, devices, functions and BARs.

use crate::{Address, Bar, ConfigAccess, Function, Pools, Space, command, register};

/// Buses of a host bridge: the first, and the last that it decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buses {
    /// Segment group.
    pub segment: u16,
    /// Root bus.
    pub first: u8,
    /// Last bus.
    pub last: u8,
}

/// Bridges behind bridges: a deeper tree is not walked.
const DEPTH_MAX: usize = 8;
const NO_VENDOR: u16 = 0xffff;
const HEADER_MULTI_FUNCTION: u32 = 1 << 23;
const HEADER_TYPE: u32 = 0x7f_0000;
const HEADER_BRIDGE: u32 = 0x01_0000;
/// Granularity of a bridge's memory windows and of its I/O window.
const BRIDGE_MEMORY: u64 = 1 << 20;
const BRIDGE_IO: u64 = 4096;

/// Walk all functions below a host bridge and hand each to `found`. BARs that the firmware assigned are kept; where it has
/// assigned none at all, every BAR is given an address from `pools`, and bridges their buses and windows.
pub fn scan<C: ConfigAccess>(config: &C, buses: Buses, pools: Pools, found: &mut impl FnMut(Function)) {
    let Buses { segment, first, last } = buses;
    let firmware = is_assigned(config, segment, first);
    let mut scan = Scan { config, segment, last, next_bus: first, pools, assign: !firmware, found };
    scan.bus(first, 0);
}

/// Whether a firmware has been here: a bridge of the root bus has its buses, or some BAR an address. That functions decode
/// is no sign: UEFI drivers switch it off when they leave.
fn is_assigned(config: &impl ConfigAccess, segment: u16, bus: u8) -> bool {
    functions(config, segment, bus).any(|address| {
        let is_bridge = config.read32(address, register::HEADER) & HEADER_TYPE == HEADER_BRIDGE;
        let has_buses = is_bridge && config.read32(address, register::BUSES) & 0xff00 != 0;
        let has_address = |index: u16| config.read32(address, register::BAR + 4 * index) & !15 != 0;
        has_buses || (0..if is_bridge { 2 } else { 6 }).any(has_address)
    })
}

/// The functions of a bus that answer.
fn functions<C: ConfigAccess>(config: &C, segment: u16, bus: u8) -> impl Iterator<Item = Address> {
    (0..32).flat_map(move |device| {
        let at = move |function| Address { segment, bus, device, function };
        let exists = move |address: &Address| config.read32(*address, register::ID) as u16 != NO_VENDOR;
        let many = exists(&at(0)) && config.read32(at(0), register::HEADER) & HEADER_MULTI_FUNCTION != 0;
        // Without function 0 there is no device (3.2.2.3.4).
        (0..if many { 8 } else { 1 }).map(at).filter(exists)
    })
}

struct Scan<'a, C, F> {
    config: &'a C,
    segment: u16,
    last: u8,
    /// Highest bus number in use.
    next_bus: u8,
    pools: Pools,
    assign: bool,
    found: &'a mut F,
}

impl<C: ConfigAccess, F: FnMut(Function)> Scan<'_, C, F> {
    fn bus(&mut self, bus: u8, depth: usize) {
        for address in functions(self.config, self.segment, bus) {
            let [id, class, header] =
                [register::ID, register::CLASS, register::HEADER].map(|offset| self.config.read32(address, offset));
            let is_bridge = header & HEADER_TYPE == HEADER_BRIDGE;
            let bars = self.bars(address, if is_bridge { 2 } else { 6 }, depth > 0);
            (self.found)(Function { address, vendor: id as u16, device: (id >> 16) as u16, class: class >> 8, bars });
            if is_bridge && depth < DEPTH_MAX {
                self.bridge(address, depth);
            }
        }
    }

    /// 6.2.5.1: write ones, read back which stay. Decoding is off meanwhile.
    fn bars(&mut self, address: Address, count: u8, behind_bridge: bool) -> [Option<Bar>; 6] {
        let command = self.config.read32(address, register::COMMAND) & 0xffff;
        self.config.write32(address, register::COMMAND, command & !(command::IO | command::MEMORY));
        let mut bars = [None; 6];
        let mut index = 0;
        while index < count {
            let Some(mut bar) = self.size_bar(address, index, count) else {
                index += 1;
                continue;
            };
            if self.assign {
                bar.base = self.pools.take(&bar, behind_bridge);
                self.write_bar(address, &bar);
            }
            bars[usize::from(index)] = Some(bar);
            index += if bar.space == Space::Memory64 { 2 } else { 1 };
        }
        let decode = if self.assign { command | command::MEMORY } else { command };
        self.config.write32(address, register::COMMAND, decode);
        bars
    }

    fn size_bar(&self, address: Address, index: u8, count: u8) -> Option<Bar> {
        let offset = register::BAR + 4 * u16::from(index);
        let (low, low_mask) = self.probe(address, offset);
        let (space, flags) = match low & 7 {
            io if io & 1 != 0 => (Space::Io, 3),
            0 => (Space::Memory32, 15),
            4 if index + 1 < count => (Space::Memory64, 15),
            _ => return None, // reserved, or a 64-bit BAR without its upper half
        };
        let (mut value, mut mask) = (u64::from(low), u64::from(low_mask) | 0xffff_ffff << 32);
        if space == Space::Memory64 {
            let (high, high_mask) = self.probe(address, offset + 4);
            value |= u64::from(high) << 32;
            mask = u64::from(low_mask) | u64::from(high_mask) << 32;
        }
        if space == Space::Io {
            mask |= 0xffff_0000; // a device may leave the upper half zero
        }
        if low_mask & !(flags as u32) == 0 && (space != Space::Memory64 || mask >> 32 == 0) {
            return None; // not implemented
        }
        let size = (!(mask & !flags)).wrapping_add(1);
        let base = value & !flags;
        let prefetchable = space != Space::Io && low & 8 != 0;
        let base = Some(base).filter(|base| *base != 0);
        size.is_power_of_two().then_some(Bar { index, space, prefetchable, size, base })
    }

    /// A register's value, and what stays of all ones.
    fn probe(&self, address: Address, offset: u16) -> (u32, u32) {
        let value = self.config.read32(address, offset);
        self.config.write32(address, offset, u32::MAX);
        let mask = self.config.read32(address, offset);
        self.config.write32(address, offset, value);
        (value, mask)
    }

    fn write_bar(&self, address: Address, bar: &Bar) {
        let offset = register::BAR + 4 * u16::from(bar.index);
        let base = bar.base.unwrap_or(0);
        self.config.write32(address, offset, base as u32);
        if bar.space == Space::Memory64 {
            self.config.write32(address, offset + 4, (base >> 32) as u32);
        }
    }

    fn bridge(&mut self, address: Address, depth: usize) {
        if !self.assign {
            let [_, secondary, subordinate, _] = self.config.read32(address, register::BUSES).to_le_bytes();
            // Buses only ever count upwards, so a bridge that points back ends the walk.
            if secondary > address.bus && secondary <= subordinate && subordinate <= self.last {
                self.bus(secondary, depth + 1);
            }
            return;
        }
        if self.next_bus >= self.last {
            return;
        }
        self.next_bus += 1;
        let secondary = self.next_bus;
        let numbers = |subordinate| u32::from_le_bytes([address.bus, secondary, subordinate, 0]);
        self.config.write32(address, register::BUSES, numbers(self.last));
        let Pools { io, memory32, memory64 } = &mut self.pools;
        let has_room = io.align(BRIDGE_IO) & memory32.align(BRIDGE_MEMORY) & memory64.align(BRIDGE_MEMORY);
        let before = self.pools;
        self.bus(secondary, depth + 1);
        self.config.write32(address, register::BUSES, numbers(self.next_bus));
        if has_room {
            self.open_windows(address, before);
        }
    }

    /// Let through what was given out since `before` (Bridge Architecture, 3.2.5): limits are inclusive, a base above the
    /// limit is a closed window.
    fn open_windows(&mut self, address: Address, before: Pools) {
        let span = |before: crate::Window, after: &mut crate::Window, unit: u64| {
            let used = after.next > before.next && after.align(unit);
            if used { (before.next, after.next - 1) } else { (u64::from(u32::MAX) & !(unit - 1), 0) }
        };
        let (base, limit) = span(before.memory32, &mut self.pools.memory32, BRIDGE_MEMORY);
        let pair = |base: u64, limit: u64| (base >> 16 & 0xfff0) as u32 | ((limit >> 16 & 0xfff0) << 16) as u32;
        self.config.write32(address, register::MEMORY_WINDOW, pair(base, limit));
        let (base, limit) = span(before.memory64, &mut self.pools.memory64, BRIDGE_MEMORY);
        self.config.write32(address, register::PREFETCH_WINDOW, pair(base, limit));
        self.config.write32(address, register::PREFETCH_BASE_UPPER, (base >> 32) as u32);
        self.config.write32(address, register::PREFETCH_LIMIT_UPPER, (limit >> 32) as u32);
        let (base, limit) = span(before.io, &mut self.pools.io, BRIDGE_IO);
        let io = (base >> 8 & 0xf0) as u32 | (limit & 0xf000) as u32;
        self.config.write32(address, register::IO_WINDOW, io);
        let command = self.config.read32(address, register::COMMAND) & 0xffff;
        self.config.write32(address, register::COMMAND, command | command::MEMORY | command::BUS_MASTER | command::IO);
    }
}
