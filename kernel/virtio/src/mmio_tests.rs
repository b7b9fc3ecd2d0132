use super::*;
use crate::{feature, negotiate, start, status};
use core::cell::{Cell, RefCell};
use std::vec::Vec;

/// The registers of a slot as the specification tells them, with knobs for misbehaviour.
struct Slot {
    version: u32,
    device_id: u32,
    features: u64,
    refuse_features: bool,
    stuck_reset: bool,
    status: Cell<u32>,
    select: Cell<u32>,
    queue_busy: u32,
    writes: RefCell<Vec<(usize, u32)>>,
}

fn slot(version: u32) -> Slot {
    Slot {
        version,
        device_id: 4,
        features: feature::VERSION_1 | feature::ACCESS_PLATFORM | 3,
        refuse_features: false,
        stuck_reset: false,
        status: Cell::new(0xf),
        select: Cell::new(0),
        queue_busy: 0,
        writes: RefCell::default(),
    }
}

impl Registers for Slot {
    fn read32(&self, offset: usize) -> u32 {
        match offset {
            0x000 => 0x7472_6976,
            0x004 => self.version,
            0x008 => self.device_id,
            0x010 => (self.features >> (32 * self.select.get())) as u32,
            0x034 => 16,
            0x040 | 0x044 => self.queue_busy,
            0x060 => 1,
            0x070 => self.status.get(),
            0x0fc => 7,
            0x100..0x200 => 0xc0de_0000 + offset as u32,
            _ => panic!("read of {offset:#x}"),
        }
    }
    fn write32(&self, offset: usize, value: u32) {
        self.writes.borrow_mut().push((offset, value));
        match offset {
            0x014 => self.select.set(value),
            0x070 if value == 0 && self.stuck_reset => {}
            0x070 if self.refuse_features => self.status.set(value & !u32::from(status::FEATURES_OK)),
            0x070 => self.status.set(value),
            _ => {}
        }
    }
    fn read8(&self, offset: usize) -> u8 {
        assert!((0x100..0x200).contains(&offset), "4.2.2.2: 32-bit accesses only");
        8
    }
    fn read16(&self, offset: usize) -> u16 {
        assert!((0x100..0x200).contains(&offset), "4.2.2.2: 32-bit accesses only");
        16
    }
    fn write8(&self, _: usize, _: u8) {
        panic!("4.2.2.2: 32-bit accesses only")
    }
    fn write16(&self, _: usize, _: u16) {
        panic!("4.2.2.2: 32-bit accesses only")
    }
}

const ADDRESSES: QueueAddresses =
    QueueAddresses { descriptors: 0x1_0000_1000, available: 0x1_0000_1080, used: 0x1_0000_2000 };

fn probe(slot: Slot) -> Mmio<Slot> {
    Mmio::probe(slot).unwrap().unwrap()
}

#[test]
fn an_empty_slot_and_a_stranger() {
    assert!(Mmio::probe(Slot { device_id: 0, ..slot(2) }).unwrap().is_none());
    assert_eq!(Mmio::probe(slot(3)).err(), Some(Error::NotVirtio));
}

#[test]
fn modern_handshake() {
    let device = probe(slot(2));
    assert_eq!(negotiate(&device, 1), Ok(feature::VERSION_1 | feature::ACCESS_PLATFORM | 1));
    device.set_queue(0, 16, &ADDRESSES).unwrap();
    start(&device);
    assert_eq!(device.status(), 0xf);
    let writes = device.registers().writes.borrow();
    let queue: Vec<_> = writes.iter().filter(|(offset, _)| (0x38..0x100).contains(offset) && *offset != 0x70).collect();
    let expected =
        [(0x38, 16), (0x80, 0x1000), (0x84, 1), (0x90, 0x1080), (0x94, 1), (0xa0, 0x2000), (0xa4, 1), (0x44, 1)];
    assert!(queue.into_iter().eq(expected.iter()), "QueueReady is written last");
}

#[test]
fn legacy_handshake() {
    let device = probe(slot(1));
    assert_eq!(negotiate(&device, u64::MAX), Ok(3), "features above 31 do not exist");
    assert_eq!(device.set_queue(0, 16, &ADDRESSES), Ok(Doorbell { offset: 0x50, queue: 0 }));
    let writes = device.registers().writes.borrow();
    for write in [(0x28, 4096), (0x3c, 4096), (0x40, 0x10_0001)] {
        assert!(writes.contains(&write), "{write:x?}");
    }
}

#[test]
fn legacy_queue_must_lie_on_pages_below_16_tib() {
    let device = probe(slot(1));
    let misaligned = QueueAddresses { used: 0x1_0000_2004, ..ADDRESSES };
    assert_eq!(device.set_queue(0, 16, &misaligned), Err(Error::QueueRefused));
    let far = QueueAddresses { descriptors: 1 << 45, ..ADDRESSES };
    assert_eq!(device.set_queue(0, 16, &far), Err(Error::QueueRefused));
}

#[test]
fn refusals() {
    let refuses = probe(Slot { refuse_features: true, ..slot(2) });
    assert_eq!(negotiate(&refuses, 0), Err(Error::FeaturesRefused));
    assert_eq!(refuses.status() & status::FAILED, status::FAILED);
    assert_eq!(negotiate(&probe(Slot { stuck_reset: true, ..slot(2) }), 0), Err(Error::ResetTimeout));
    assert_eq!(negotiate(&probe(Slot { features: 1, ..slot(2) }), 0), Err(Error::Legacy));
    let busy = probe(Slot { queue_busy: 1, ..slot(2) });
    assert_eq!(busy.set_queue(0, 16, &ADDRESSES), Err(Error::QueueRefused));
    assert_eq!(probe(slot(2)).set_queue(0, 32, &ADDRESSES), Err(Error::NoQueue));
}

#[test]
fn configuration_is_read_inside_the_slot() {
    let device = probe(slot(2));
    assert_eq!((device.config8(0xff), device.config16(0xfe), device.config32(0xfc)), (8, 16, 0xc0de_01fc));
    assert_eq!((device.config8(0x100), device.config16(0xff), device.config32(0xfe)), (0, 0, 0));
    assert_eq!((device.config_generation(), probe(slot(1)).config_generation()), (7, 0));
    assert_eq!(device.set_queue_vector(0, 0), Err(Error::VectorRefused));
}
