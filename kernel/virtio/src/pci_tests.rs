use super::*;
use core::cell::RefCell;
use proptest::prelude::*;
use std::vec::Vec;

struct Config([u8; 256]);

impl ConfigSpace for Config {
    fn read32(&self, offset: u8) -> u32 {
        assert!(offset.is_multiple_of(4), "misaligned configuration read");
        let at = usize::from(offset);
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }
}

/// The list that QEMU 7.2 gives virtio-rng-pci: MSI-X at 0x98, then types 5, 2, 4, 3, 1.
fn qemu() -> Config {
    let mut config = Config([0; 256]);
    config.0[6] = 0x10;
    config.0[0x34] = 0x98;
    config.0[0x98..0x9a].copy_from_slice(&[0x11, 0x84]);
    for (at, next, kind, offset, length) in [
        (0x84, 0x70, 5_u8, 0_u32, 0_u32),
        (0x70, 0x60, 2, 0x3000, 0x1000),
        (0x60, 0x50, 4, 0x2000, 0x1000),
        (0x50, 0x40, 3, 0x1000, 0x1000),
        (0x40, 0x00, 1, 0x0000, 0x1000),
    ] {
        config.0[at..at + 8].copy_from_slice(&[9, next, if kind == 2 { 20 } else { 16 }, kind, 4, 0, 0, 0]);
        config.0[at + 8..at + 12].copy_from_slice(&offset.to_le_bytes());
        config.0[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
    }
    config.0[0x80..0x84].copy_from_slice(&4_u32.to_le_bytes());
    config
}

#[test]
fn finds_qemus_capabilities() {
    let found = capabilities(&qemu()).unwrap();
    let piece = |offset| Piece { bar: 4, offset, length: 0x1000 };
    let (common, isr, notify) = (piece(0), piece(0x1000), piece(0x3000));
    let device = Some(piece(0x2000));
    assert_eq!(found, Capabilities { common, notify, notify_multiplier: 4, isr, device });
}

#[test]
fn a_missing_or_short_capability_is_named() {
    let mut config = qemu();
    config.0[0x43] = 9;
    assert_eq!(capabilities(&config), Err(Error::Capability("common")));
    let mut config = qemu();
    config.0[0x40 + 12..0x40 + 16].copy_from_slice(&0x30_u32.to_le_bytes());
    assert_eq!(capabilities(&config), Err(Error::Capability("common")));
    let mut config = qemu();
    config.0[0x54] = 6; // reserved BAR number
    assert_eq!(capabilities(&config), Err(Error::Capability("isr")));
    let mut config = qemu();
    config.0[6] = 0;
    assert_eq!(capabilities(&config), Err(Error::Capability("common")));
}

#[test]
fn a_list_that_loops_ends() {
    let mut config = qemu();
    config.0[0x41] = 0x98;
    assert!(capabilities(&config).is_ok());
}

#[test]
fn piece_that_wraps_is_refused() {
    let mut config = qemu();
    config.0[0x48..0x50].copy_from_slice(&[0xfc, 0xff, 0xff, 0xff, 0, 0x10, 0, 0]);
    assert_eq!(capabilities(&config), Err(Error::Capability("common")));
}

#[test]
fn device_types() {
    assert_eq!(
        [0x1005, 0x1044, 0x1000, 0x1004, 0x1042, 0x1110].map(device_type),
        [Some(4), Some(4), Some(1), Some(8), Some(2), None]
    );
}

proptest! {
    #[test]
    fn any_configuration_space_ends_without_a_panic(edits in prop::collection::vec((0_usize..256, any::<u8>()), 0..80)) {
        let mut config = qemu();
        for (at, byte) in edits { config.0[at] = byte; }
        if let Ok(found) = capabilities(&config) {
            prop_assert!(found.common.bar < 6 && found.common.length >= 0x38 && found.common.offset % 4 == 0);
        }
    }
}

/// Registers of one window: the last value written, and for the common configuration a notify offset.
struct Window {
    length: u32,
    notify_off: u16,
    enabled: u16,
    writes: RefCell<Vec<(usize, u64)>>,
}

impl Registers for Window {
    fn read8(&self, offset: usize) -> u8 {
        assert!(offset < self.length as usize);
        1
    }
    fn read16(&self, offset: usize) -> u16 {
        match offset {
            0x18 => 8,
            0x1c => self.enabled,
            0x1e => self.notify_off,
            // MSI-X vectors: two are there.
            0x10 | 0x1a => match self.writes.borrow().iter().rfind(|(at, _)| *at == offset) {
                Some((_, vector @ 0..2)) => *vector as u16,
                _ => 0xffff,
            },
            _ => 0,
        }
    }
    fn read32(&self, offset: usize) -> u32 {
        assert!(offset + 4 <= self.length as usize);
        0x7a00_0000 + offset as u32
    }
    fn write8(&self, offset: usize, value: u8) {
        self.writes.borrow_mut().push((offset, value.into()));
    }
    fn write16(&self, offset: usize, value: u16) {
        self.writes.borrow_mut().push((offset, value.into()));
    }
    fn write32(&self, offset: usize, value: u32) {
        self.writes.borrow_mut().push((offset, value.into()));
    }
}

const ADDRESSES: QueueAddresses =
    QueueAddresses { descriptors: 0x12_0000_1000, available: 0x12_0000_1080, used: 0x12_0000_10a0 };

fn device(notify_off: u16, enabled: u16) -> Pci<Window> {
    let window = |piece: Piece| Some(Window { length: piece.length, notify_off, enabled, writes: RefCell::default() });
    Pci::new(4, &capabilities(&qemu()).unwrap(), window).unwrap()
}

#[test]
fn queue_is_enabled_last_and_rung_at_its_own_place() {
    let device = device(3, 0);
    let doorbell = device.set_queue(2, 8, &ADDRESSES).unwrap();
    assert_eq!(device.common.writes.borrow().last(), Some(&(0x1c, 1)));
    assert_eq!(device.common.writes.borrow()[0], (0x16, 2));
    assert!(device.common.writes.borrow().contains(&(0x24, 0x12)));
    device.notify(doorbell);
    assert_eq!(*device.notify.writes.borrow(), [(12, 2)]);
}

#[test]
fn doorbell_outside_the_notify_area_is_refused() {
    assert_eq!(device(0x400, 0).set_queue(0, 8, &ADDRESSES), Err(Error::QueueRefused));
    assert!(device(0x3ff, 0).set_queue(0, 8, &ADDRESSES).is_ok());
    assert_eq!(device(0, 1).set_queue(0, 8, &ADDRESSES), Err(Error::QueueRefused));
}

#[test]
fn configuration_is_read_inside_its_piece() {
    let device = device(0, 0);
    let length = device.device.as_ref().unwrap().1;
    assert_eq!((device.config8(length - 1), device.config32(length - 4)), (1, 0x7a00_0000 + length as u32 - 4));
    for offset in [length, length + 4, usize::MAX] {
        assert_eq!((device.config8(offset), device.config16(offset), device.config32(offset)), (0, 0, 0));
    }
    assert_eq!(device.config32(length - 2), 0);
    let bare = Capabilities { device: None, ..capabilities(&qemu()).unwrap() };
    let window =
        |piece: Piece| Some(Window { length: piece.length, notify_off: 0, enabled: 0, writes: RefCell::default() });
    assert_eq!(Pci::new(4, &bare, window).unwrap().config32(0), 0);
}

#[test]
fn a_vector_that_is_not_there_is_refused() {
    let device = device(0, 0);
    assert_eq!(device.set_config_vector(0), Ok(()));
    assert_eq!(device.set_queue_vector(3, 1), Ok(()));
    assert_eq!(device.common.writes.borrow()[1..], [(0x16, 3), (0x1a, 1)]);
    assert_eq!(device.set_queue_vector(3, 2), Err(Error::VectorRefused));
    assert_eq!(device.set_config_vector(2), Err(Error::VectorRefused));
}
