use super::answer::{BlockLimits, Capacity, Mode, is_disk, luns, takes_unmap};
use super::*;
use crate::model::Configuration;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn qemu() -> Configuration {
    let mut config = Configuration::new(36);
    for (offset, value) in [(0, 1_u32), (4, 254), (8, 0xffff), (12, 128), (16, 16), (20, 96), (24, 32), (32, 16383)] {
        config = config.with(offset, &value.to_le_bytes());
    }
    config.with(30, &255_u16.to_le_bytes())
}

#[test]
fn a_host_of_qemu() {
    let expected = Facts { segments_max: 254, sectors_max: 0xffff, target_max: 255, lun_max: 16383 };
    assert_eq!(facts(&qemu()), Ok(expected));
}

#[test]
fn a_host_that_makes_no_sense_is_refused() {
    for (offset, value) in [(0, 0_u32), (16, 15), (20, 95), (20, 97), (24, 16)] {
        assert!(matches!(facts(&qemu().with(offset, &value.to_le_bytes())), Err(Error::Configuration(_))), "{offset}");
    }
}

#[test]
fn units_are_addressed_flat() {
    let lun = Lun { target: 7, unit: 0x1234 };
    assert_eq!(lun.bytes(), [1, 7, 0x52, 0x34, 0, 0, 0, 0]);
    assert_eq!(Lun::from_bytes(lun.bytes()), Some(lun));
    // QEMU's events address units below 256 as peripheral devices.
    assert_eq!(Lun::from_bytes([1, 3, 0, 9, 0, 0, 0, 0]), Some(Lun { target: 3, unit: 9 }));
    for bytes in [[0, 7, 0x40, 0, 0, 0, 0, 0], [1, 7, 0x80, 0, 0, 0, 0, 0], [1, 7, 0x40, 0, 0, 0, 0, 1]] {
        assert_eq!(Lun::from_bytes(bytes), None);
    }
}

#[test]
fn a_frame_holds_unit_tag_and_command() {
    let frame = request(Lun { target: 2, unit: 1 }, 0x0102_0304, &Command::read(0x11_2233_4455, 8));
    assert_eq!(frame[..8], [1, 2, 0x40, 1, 0, 0, 0, 0]);
    assert_eq!(frame[8..19], [4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(frame[19..35], [0x88, 0, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0, 0, 0, 8, 0, 0]);
    assert_eq!(frame[35..], [0; 16]);
}

#[test]
fn commands_as_the_standards_draw_them() {
    let commands: [(Command, &[u8]); 11] = [
        (Command::TEST_UNIT_READY, &[0, 0, 0, 0, 0, 0]),
        (Command::SYNCHRONIZE_CACHE, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (Command::inquiry(0x1ff), &[0x12, 0, 0, 1, 0xff, 0]),
        (Command::product_data(0xb2, 255), &[0x12, 1, 0xb2, 0, 0xff, 0]),
        (Command::mode_sense(8, 255), &[0x1a, 8, 8, 0, 0xff, 0]),
        (Command::read_capacity(32), &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]),
        (Command::report_luns(0x1000), &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0]),
        (Command::read(1, 2), &[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]),
        (Command::write(1, 2, false), &[0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]),
        (Command::write(1, 2, true), &[0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]),
        (Command::unmap(), &[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]),
    ];
    for (command, bytes) in commands {
        assert_eq!(command.bytes(), bytes);
    }
    let range = [0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0];
    assert_eq!(command::unmap_range(0x102, 0x304), range);
}

/// An answer: response, status, residual, sense data.
fn answer(response: u8, status: u8, residual: u32, sense: &[u8]) -> Outcome {
    let mut bytes = [0; ANSWER_LENGTH];
    bytes[..4].copy_from_slice(&(sense.len() as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&residual.to_le_bytes());
    (bytes[10], bytes[RESPONSE_OFFSET]) = (status, response);
    bytes[12..12 + sense.len()].copy_from_slice(sense);
    outcome(&bytes)
}

fn fixed(key: u8, code: u8, qualifier: u8) -> [u8; 18] {
    let mut sense = [0; 18];
    (sense[0], sense[2], sense[7], sense[12], sense[13]) = (0x70, key, 10, code, qualifier);
    sense
}

#[test]
fn answers_mean_what_they_say() {
    let sense = |key, code, qualifier| Reason::Sense { key, code, qualifier };
    for (outcome, expected) in [
        (answer(0, 0, 0, &[]), Outcome::Done),
        (answer(0, 0, 512, &[]), Outcome::Failed(Reason::Short)),
        (answer(0, 2, 0, &fixed(1, 0x17, 1)), Outcome::Done),
        (answer(0, 2, 512, &fixed(3, 0x11, 0)), Outcome::Failed(sense(3, 0x11, 0))),
        (answer(0, 2, 0, &[0x72, 3, 0x0c, 2, 0, 0, 0, 0]), Outcome::Failed(sense(3, 0x0c, 2))),
        (answer(0, 2, 0, &fixed(6, 0x29, 0)), Outcome::Again(sense(6, 0x29, 0))),
        (answer(0, 2, 0, &fixed(2, 0x04, 1)), Outcome::Again(sense(2, 0x04, 1))),
        (answer(0, 2, 0, &fixed(2, 0x3a, 0)), Outcome::Failed(sense(2, 0x3a, 0))),
        (answer(0, 2, 0, &fixed(5, 0x25, 0)), Outcome::Gone(sense(5, 0x25, 0))),
        (answer(0, 2, 0, &fixed(5, 0x20, 0)), Outcome::Failed(sense(5, 0x20, 0))),
        (answer(0, 2, 0, &fixed(11, 0, 0)), Outcome::Again(sense(11, 0, 0))),
        (answer(0, 2, 0, &[]), Outcome::Failed(Reason::ScsiStatus(2))),
        (answer(0, 8, 0, &[]), Outcome::Again(Reason::ScsiStatus(8))),
        (answer(0, 0x28, 0, &[]), Outcome::Again(Reason::ScsiStatus(0x28))),
        (answer(0, 0x18, 0, &[]), Outcome::Failed(Reason::ScsiStatus(0x18))),
        (answer(1, 0, 0, &[]), Outcome::Failed(Reason::Response(1))),
        (answer(3, 0, 0, &[]), Outcome::Gone(Reason::Response(3))),
        (answer(4, 0, 0, &[]), Outcome::Again(Reason::Response(4))),
        (answer(RESPONSE_NONE, 0, 0, &[]), Outcome::Failed(Reason::Response(RESPONSE_NONE))),
    ] {
        assert_eq!(outcome, expected);
    }
}

#[test]
fn events_name_the_unit() {
    let event = |kind: u32, lun: [u8; 8], reason: u32| {
        let mut bytes = [0; EVENT_LENGTH];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..12].copy_from_slice(&lun);
        bytes[12..].copy_from_slice(&reason.to_le_bytes());
        Event::parse(&bytes)
    };
    let lun = Lun { target: 1, unit: 2 };
    assert_eq!(event(1, lun.bytes(), 2), Event::Removed(lun));
    assert_eq!(event(1, lun.bytes(), 1), Event::Rescan);
    assert_eq!(event(1, lun.bytes(), 0), Event::Other);
    assert_eq!(event(1, [9; 8], 2), Event::Other);
    assert_eq!(event(3, lun.bytes(), 0), Event::Other);
    assert_eq!(event(1 << 31, [0; 8], 0), Event::Rescan);
    assert_eq!(event(1 << 31 | 1, lun.bytes(), 2), Event::Removed(lun));
}

#[test]
fn units_are_listed() {
    let mut data = vec![0, 0, 0, 32, 0, 0, 0, 0];
    data.extend([0, 0, 0, 0, 0, 0, 0, 0]);
    data.extend([0x41, 5, 0, 0, 0, 0, 0, 0]);
    data.extend([0xc1, 1, 0, 0, 0, 0, 0, 0]); // a well-known unit
    data.extend([0, 3, 0, 0, 0, 0, 0, 0]);
    data.extend([0, 9, 0, 0, 0, 0, 0, 0]); // behind the length
    let units: Vec<u16> = luns(4, &data).map(|lun| lun.unit).collect();
    assert_eq!(units, [0, 0x105, 3]);
    assert_eq!(luns(4, &data[..20]).count(), 1);
    assert_eq!(luns(4, &[]).count(), 0);
}

#[test]
fn capacity_is_believed_where_it_makes_sense() {
    let capacity = |last: u64, size: u32, provisioning: u8| {
        let mut data = [0; 32];
        data[..8].copy_from_slice(&last.to_be_bytes());
        data[8..12].copy_from_slice(&size.to_be_bytes());
        data[14] = provisioning;
        Capacity::parse(&data)
    };
    assert_eq!(capacity(99, 512, 0x80), Some(Capacity { blocks: 100, block_size: 512, is_provisioned: true }));
    assert_eq!(capacity(0, 4096, 0x40), Some(Capacity { blocks: 1, block_size: 4096, is_provisioned: false }));
    for (last, size) in [(99, 0), (99, 520), (99, 8192), (u64::MAX, 512), (u64::MAX / 512, 512)] {
        assert_eq!(capacity(last, size, 0), None);
    }
    assert_eq!(Capacity::parse(&[]), None);
}

#[test]
fn the_caching_page_is_found_behind_descriptors() {
    let page = [0x88, 18, 0x04, 0];
    let plain = Mode::parse(&[&[22, 0, 0x90, 0][..], &page].concat());
    assert_eq!(plain, Mode { is_write_protected: true, has_fua: true, has_write_cache: Some(true) });
    let behind = Mode::parse(&[&[30, 0, 0, 8][..], &[9; 8], &page].concat());
    assert_eq!(behind, Mode { is_write_protected: false, has_fua: false, has_write_cache: Some(true) });
    let off = Mode::parse(&[22, 0, 0, 0, 8, 18, 0, 0]);
    assert_eq!(off.has_write_cache, Some(false));
    for data in
        [&[][..], &[3, 0, 0, 0], &[22, 0, 0, 0, 0x0a, 18, 4], &[3, 0, 0, 0, 8, 18, 4], &[40, 0, 0, 255, 8, 18, 4]]
    {
        assert_eq!(Mode::parse(data).has_write_cache, None, "{data:?}");
    }
}

#[test]
fn limits_and_provisioning_come_from_their_own_pages() {
    let mut data = [0; 64];
    for (at, value) in [(8, 0xffff_u32), (20, 0x20_0000), (24, 255), (28, 8)] {
        data[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    assert_eq!(BlockLimits::parse(&data), BlockLimits::default());
    data[1] = 0xb0;
    let expected =
        BlockLimits { transfer_max: 0xffff, unmap_max: 0x20_0000, unmap_ranges_max: 255, unmap_granularity: 8 };
    assert_eq!(BlockLimits::parse(&data), expected);
    assert!(takes_unmap(&[0, 0xb2, 0, 4, 0, 0x80, 2, 0]));
    assert!(!takes_unmap(&[0, 0xb2, 0, 4, 0, 0x40, 2, 0]) && !takes_unmap(&[0, 0xb0, 0, 4, 0, 0x80]));
    assert!(is_disk(&[0, 0, 5]) && !is_disk(&[5]) && !is_disk(&[0x20]) && !is_disk(&[]));
}

proptest! {
    #[test]
    fn any_answer_is_read_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut answer = [0; ANSWER_LENGTH];
        for (to, from) in answer.iter_mut().zip(&data) { *to = *from; }
        let _ = outcome(&answer);
        let _ = (BlockLimits::parse(&data), Mode::parse(&data), takes_unmap(&data), is_disk(&data));
        if let Some(capacity) = Capacity::parse(&data) {
            prop_assert!(capacity.blocks.checked_mul(capacity.block_size.into()).is_some());
        }
        for lun in luns(1, &data) {
            prop_assert!(lun.unit <= Lun::MAX);
            prop_assert_eq!(Lun::from_bytes(lun.bytes()), Some(lun));
        }
    }
}
