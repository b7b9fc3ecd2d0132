use super::*;
use core::cell::RefCell;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

/// A model of configuration space: each function's registers, and which bits of its BARs can be written.
#[derive(Default)]
struct Model {
    functions: RefCell<BTreeMap<Address, Registers>>,
}

#[derive(Clone)]
struct Registers {
    words: [u32; 16],
    writable: [u32; 16],
}

const fn at(bus: u8, device: u8, function: u8) -> Address {
    Address { segment: 0, bus, device, function }
}

impl Model {
    fn add(&self, address: Address, id: u32, class: u32, header: u32) -> &Self {
        let mut registers = Registers { words: [0; 16], writable: [0; 16] };
        registers.words[0] = id;
        registers.words[2] = class << 8;
        registers.words[3] = header << 16;
        registers.writable[1] = 0xffff;
        if header & 0x7f == 1 {
            registers.writable[6..12].fill(u32::MAX);
        }
        self.functions.borrow_mut().insert(address, registers);
        self
    }

    fn bar(&self, address: Address, index: usize, flags: u32, size: u64) -> &Self {
        let mut functions = self.functions.borrow_mut();
        let registers = functions.get_mut(&address).unwrap();
        let mask = !(size - 1);
        registers.words[4 + index] = flags;
        registers.writable[4 + index] = mask as u32;
        if flags & 7 == 4 {
            registers.writable[5 + index] = (mask >> 32) as u32;
        }
        self
    }

    fn word(&self, address: Address, offset: u16) -> u32 {
        self.functions.borrow()[&address].words[usize::from(offset / 4)]
    }
}

impl ConfigAccess for Model {
    fn read32(&self, address: Address, offset: u16) -> u32 {
        assert!(offset.is_multiple_of(4) && address.device < 32 && address.function < 8);
        let functions = self.functions.borrow();
        functions.get(&address).map_or(u32::MAX, |registers| registers.words[usize::from(offset / 4)])
    }
    fn write32(&self, address: Address, offset: u16, value: u32) {
        let index = usize::from(offset / 4);
        if let Some(registers) = self.functions.borrow_mut().get_mut(&address) {
            let writable = registers.writable[index];
            registers.words[index] = registers.words[index] & !writable | value & writable;
        }
    }
}

const BUSES: Buses = Buses { segment: 0, first: 0, last: 255 };
/// The windows of QEMU's virt board.
const POOLS: Pools = Pools {
    io: Window::new(0, 0x1_0000),
    memory32: Window::new(0x1000_0000, 0x2eff_0000),
    memory64: Window::new(0x80_0000_0000, 0x80_0000_0000),
};

fn scan_all(model: &Model, pools: Pools) -> Vec<Function> {
    let mut found = Vec::new();
    scan(model, BUSES, pools, &mut |function| found.push(function));
    found
}

/// A host bridge, and a virtio device with an I/O BAR, MSI-X registers and a 64-bit prefetchable BAR, as in QEMU.
fn virt_board() -> Model {
    let model = Model::default();
    model.add(at(0, 0, 0), 0x0008_1b36, 0x06_0000, 0);
    model.add(at(0, 1, 0), 0x1005_1af4, 0x00_ff00, 0);
    model.bar(at(0, 1, 0), 0, 1, 32).bar(at(0, 1, 0), 1, 0, 4096).bar(at(0, 1, 0), 4, 0xc, 16384);
    model
}

#[test]
fn assigns_what_nobody_assigned() {
    let model = virt_board();
    let found = scan_all(&model, POOLS);
    assert_eq!(found.len(), 2);
    assert_eq!((found[1].vendor, found[1].device, found[1].class), (0x1af4, 0x1005, 0xff00));
    let bar = |index, space, prefetchable, size, base| Some(Bar { index, space, prefetchable, size, base: Some(base) });
    assert_eq!(
        found[1].bars,
        [
            bar(0, Space::Io, false, 32, 32),
            bar(1, Space::Memory32, false, 4096, 0x1000_0000),
            None,
            None,
            bar(4, Space::Memory64, true, 16384, 0x80_0000_0000),
            None
        ]
    );
    assert_eq!([0x14, 0x20, 0x24].map(|offset| model.word(at(0, 1, 0), offset)), [0x1000_0000, 0xc, 0x80]);
    assert_eq!(model.word(at(0, 1, 0), register::COMMAND), command::MEMORY);
}

#[test]
fn keeps_what_the_firmware_assigned() {
    let model = virt_board();
    for (offset, value) in [(0x14, 0x1234_5000), (0x20, 0x4000), (0x24, 0x81), (0x04, 6)] {
        model.write32(at(0, 1, 0), offset, value);
    }
    let found = scan_all(&model, POOLS);
    assert_eq!(found[1].bars[0].unwrap().base, None, "an I/O BAR that the firmware left alone");
    assert_eq!(found[1].bars[1].unwrap().base, Some(0x1234_5000));
    assert_eq!(found[1].bars[4].unwrap().base, Some(0x81_0000_4000));
    assert_eq!(model.word(at(0, 1, 0), 0x14), 0x1234_5000);
    assert_eq!(model.word(at(0, 1, 0), register::COMMAND), 6);
}

#[test]
fn keeps_addresses_of_functions_that_the_firmware_switched_off() {
    let model = virt_board();
    for (offset, value) in [(0x10, 0x40), (0x20, 0x4000), (0x24, 0x81)] {
        model.write32(at(0, 1, 0), offset, value);
    }
    let found = scan_all(&model, Pools::EMPTY);
    assert_eq!(found[1].bars[0].unwrap().base, Some(0x40));
    assert_eq!(found[1].bars[4].unwrap().base, Some(0x81_0000_4000));
    assert_eq!([0x20, 0x24, 0x04].map(|offset| model.word(at(0, 1, 0), offset)), [0x400c, 0x81, 0]);
    enable(&model, at(0, 1, 0));
    assert_eq!(model.word(at(0, 1, 0), 0x04), command::MEMORY | command::BUS_MASTER | command::INTX_DISABLE);
}

#[test]
fn multi_function_and_absent_function_zero() {
    let model = Model::default();
    model.add(at(0, 2, 0), 0x1111_1234, 0, 0x80).add(at(0, 2, 5), 0x2222_1234, 0, 0);
    model.add(at(0, 3, 0), 0x3333_1234, 0, 0).add(at(0, 3, 1), 0x4444_1234, 0, 0);
    model.add(at(0, 4, 1), 0x5555_1234, 0, 0);
    let devices: Vec<u16> = scan_all(&model, POOLS).iter().map(|function| function.device).collect();
    assert_eq!(devices, [0x1111, 0x2222, 0x3333]);
}

#[test]
fn bridge_gets_buses_and_windows() {
    let model = virt_board();
    model.add(at(0, 2, 0), 0x000c_1b36, 0x06_0400, 1);
    model.add(at(1, 0, 0), 0x1041_1af4, 0x02_0000, 0);
    model.bar(at(1, 0, 0), 1, 0, 4096).bar(at(1, 0, 0), 4, 0xc, 16384);
    let found = scan_all(&model, POOLS);
    assert_eq!(found.len(), 4);
    assert_eq!(found[3].address, at(1, 0, 0));
    assert_eq!(found[3].bars[1].unwrap().base, Some(0x1010_0000));
    assert_eq!(found[3].bars[4].unwrap().base, Some(0x80_0010_0000));
    let bridge = |offset| model.word(at(0, 2, 0), offset);
    assert_eq!(bridge(register::BUSES), 0x00_01_01_00);
    assert_eq!(bridge(register::MEMORY_WINDOW), 0x1010_1010, "0x1010_0000 to 0x101f_ffff");
    assert_eq!(bridge(register::PREFETCH_WINDOW), 0x0010_0010);
    assert_eq!([register::PREFETCH_BASE_UPPER, register::PREFETCH_LIMIT_UPPER].map(bridge), [0x80, 0x80]);
    assert_eq!(bridge(register::IO_WINDOW) & 0xf0, 0xf0, "no I/O behind it: closed");
}

#[test]
fn firmware_bridge_is_followed() {
    let model = Model::default();
    model.add(at(0, 2, 0), 0x000c_1b36, 0x06_0400, 1).add(at(7, 0, 0), 0x1041_1af4, 0x02_0000, 0);
    model.write32(at(0, 2, 0), register::BUSES, 0x00_09_07_00);
    assert_eq!(scan_all(&model, POOLS).len(), 2);
    model.write32(at(0, 2, 0), register::BUSES, 0x00_00_00_00);
    model.add(at(0, 3, 0), 0x000c_1b36, 0x06_0400, 1);
    model.write32(at(0, 3, 0), register::BUSES, 0x00_0b_0a_00);
    assert_eq!(scan_all(&model, POOLS).len(), 2, "a bridge without buses leads nowhere");
}

#[test]
fn odd_bars_are_left_alone() {
    let model = Model::default();
    model.add(at(0, 1, 0), 0x1111_1234, 0, 0);
    model.bar(at(0, 1, 0), 0, 2, 4096); // reserved type
    model.bar(at(0, 1, 0), 5, 4, 4096); // 64-bit in the last register
    assert_eq!(scan_all(&model, POOLS)[0].bars, [None; 6]);
}

#[test]
fn windows_that_are_too_small_leave_a_bar_unassigned() {
    let found = scan_all(&virt_board(), Pools::EMPTY);
    assert!(found[1].bars.iter().flatten().all(|bar| bar.base.is_none()));
}

proptest! {
    /// Whatever is on the bus, the walk ends, and what it gives out is aligned, inside a window and never overlaps.
    #[test]
    fn given_addresses_never_overlap(
        devices in prop::collection::vec((0_u8..3, 0_u8..32, any::<bool>(), prop::collection::vec((0_u32..16, 4_u32..26), 6)), 1..24)
    ) {
        let model = Model::default();
        for (bus, device, is_bridge, bars) in &devices {
            let address = at(*bus, *device, 0);
            model.add(address, 0x1111_1234, 0, u32::from(*is_bridge));
            for (index, (flags, log)) in bars.iter().enumerate().take(if *is_bridge { 2 } else { 6 }) {
                if flags & 7 != 4 || index < 5 && !*is_bridge {
                    model.bar(address, index, *flags, 1 << log);
                }
            }
        }
        let found = scan_all(&model, POOLS);
        prop_assert!(found.len() <= 3 * 32);
        let mut spans: Vec<(bool, u64, u64)> = found.iter().flat_map(|function| function.bars.iter().flatten())
            .filter_map(|bar| Some((bar.space == Space::Io, bar.base?, bar.size))).collect();
        spans.sort_unstable();
        for (is_io, base, size) in &spans {
            prop_assert_eq!(base % size, 0);
            let windows = if *is_io { [(0, 0x1_0000), (0, 0)] } else {
                [(0x1000_0000, 0x3eff_0000), (0x80_0000_0000, 0x100_0000_0000)]
            };
            prop_assert!(windows.iter().any(|(from, to)| from <= base && base + size <= *to));
        }
        for pair in spans.windows(2) {
            prop_assert!(pair[0].0 != pair[1].0 || pair[0].1 + pair[0].2 <= pair[1].1, "{:x?}", pair);
        }
    }

    #[test]
    fn any_configuration_space_ends(words in prop::collection::vec(any::<u32>(), 64), assigned in any::<bool>()) {
        let model = Model::default();
        for (index, chunk) in words.chunks(16).enumerate() {
            let address = at(0, index as u8, 0);
            model.add(address, 0x1111_1234, 0, 0);
            let mut functions = model.functions.borrow_mut();
            let registers = functions.get_mut(&address).unwrap();
            registers.words.copy_from_slice(chunk);
            registers.writable = core::array::from_fn(|at| chunk[15 - at]);
            registers.words[1] = if assigned { 2 } else { 0 };
        }
        let _ = scan_all(&model, POOLS);
    }
}

#[test]
fn a_pin_is_enabled_where_there_is_one() {
    let model = Model::default();
    model.add(at(0, 2, 1), 0x1001_1af4, 0x01_0000, 0);
    assert_eq!(pin(&model, at(0, 2, 1)), None);
    model.functions.borrow_mut().get_mut(&at(0, 2, 1)).unwrap().words[15] = 0x0000_0200;
    enable(&model, at(0, 2, 1));
    assert_eq!(model.word(at(0, 2, 1), 4) & command::INTX_DISABLE, command::INTX_DISABLE);
    assert_eq!(pin(&model, at(0, 2, 1)), Some(2));
    enable_pin(&model, at(0, 2, 1));
    assert_eq!(model.word(at(0, 2, 1), 4), command::MEMORY | command::BUS_MASTER);
    assert_eq!(at(3, 2, 1).requester(), 0x311);
}
