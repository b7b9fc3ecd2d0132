use super::*;
use crate::model::Configuration;
use proptest::prelude::*;

/// QEMU's disk of 8 sectors and one more: 254 segments, blocks of 512, discard.
fn qemu() -> Configuration {
    Configuration::new(96)
        .with(place::CAPACITY, &9_u64.to_le_bytes())
        .with(place::SIZE_MAX, &8192_u32.to_le_bytes())
        .with(place::SEG_MAX, &254_u32.to_le_bytes())
        .with(place::BLK_SIZE, &512_u32.to_le_bytes())
        .with(place::WRITEBACK, &[1])
        .with(place::MAX_DISCARD_SECTORS, &0x003f_ffff_u32.to_le_bytes())
        .with(place::MAX_DISCARD_SEG, &1_u32.to_le_bytes())
        .with(place::DISCARD_SECTOR_ALIGNMENT, &8_u32.to_le_bytes())
}

#[test]
fn everything_offered() {
    let expected = Facts {
        sectors: 9,
        block_size: 512,
        segments_max: 254,
        segment_length_max: 8192,
        is_read_only: true,
        has_write_cache: true,
        discard: Some((0x003f_ffff, 8)),
    };
    assert_eq!(facts(&qemu(), u64::MAX), Ok(expected));
}

#[test]
fn fields_count_only_with_their_feature() {
    let expected = Facts {
        sectors: 9,
        block_size: 512,
        segments_max: 1,
        segment_length_max: u32::MAX,
        is_read_only: false,
        has_write_cache: false,
        discard: None,
    };
    let other = qemu().with(place::BLK_SIZE, &4096_u32.to_le_bytes());
    assert_eq!(facts(&other, 0), Ok(expected));
}

#[test]
fn the_write_cache_is_told_honestly() {
    use feature::{CONFIG_WCE, FLUSH};
    let cached =
        |features, writeback| facts(&qemu().with(place::WRITEBACK, &[writeback]), features).unwrap().has_write_cache;
    for (features, writeback, expected) in [
        (0, 1, false),
        (CONFIG_WCE, 1, false),
        (FLUSH, 0, true),
        (FLUSH | CONFIG_WCE, 0, false),
        (FLUSH | CONFIG_WCE, 1, true),
    ] {
        assert_eq!(cached(features, writeback), expected, "{features:#x} {writeback}");
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    for size in [0_u32, 256, 511, 513, 768, 8192, u32::MAX] {
        let config = qemu().with(place::BLK_SIZE, &size.to_le_bytes());
        assert!(matches!(facts(&config, feature::BLK_SIZE), Err(Error::Configuration(_))), "{size}");
    }
    let pieces = qemu().with(place::SIZE_MAX, &4095_u32.to_le_bytes());
    assert!(facts(&pieces, feature::SIZE_MAX).is_err());
    let huge = qemu().with(place::CAPACITY, &u64::MAX.to_le_bytes());
    assert!(facts(&huge, 0).is_err());
    for offset in [place::MAX_DISCARD_SECTORS, place::MAX_DISCARD_SEG] {
        assert_eq!(facts(&qemu().with(offset, &[0; 4]), feature::DISCARD).unwrap().discard, None);
    }
}

#[test]
fn a_last_part_of_a_block_is_left_out() {
    let config = qemu().with(place::BLK_SIZE, &4096_u32.to_le_bytes());
    let facts = facts(&config, feature::BLK_SIZE).unwrap();
    assert_eq!((facts.sectors, facts.block_size), (8, 4096));
}

#[test]
fn a_configuration_is_read_until_it_stands_still() {
    let config = qemu();
    config.changes.set(5);
    assert_eq!(facts(&config, 0).unwrap().sectors, 9);
    config.changes.set(1000);
    assert_eq!(facts(&config, 0), Err(Error::Configuration("it never stands still")));
}

#[test]
fn requests_as_the_specification_draws_them() {
    let header = |kind: u8, sector: u8| [kind, 0, 0, 0, 0, 0, 0, 0, sector, 1, 0, 0, 0, 0, 0, 0];
    assert_eq!(Request::Read(0x105).header(), header(0, 5));
    assert_eq!(Request::Write(0x107).header(), header(1, 7));
    assert_eq!(Request::Flush.header(), [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Request::Discard.header(), [11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(range(0x102, 0x304), [2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn only_zero_is_done() {
    assert_eq!(outcome(0), Outcome::Done);
    for status in [1, 2, 3, STATUS_NONE] {
        assert_eq!(outcome(status), Outcome::Failed(Reason::Status(status)));
    }
}

proptest! {
    #[test]
    fn any_configuration_gives_sane_facts_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64), features: u64) {
        let config = Configuration { bytes, changes: core::cell::Cell::new(0) };
        if let Ok(facts) = facts(&config, features) {
            prop_assert!((512..=4096).contains(&facts.block_size) && facts.block_size.is_power_of_two());
            prop_assert_eq!(facts.sectors * SECTOR % u64::from(facts.block_size), 0);
            prop_assert!(facts.segments_max > 0 && facts.segment_length_max >= 4096);
            prop_assert!(facts.discard.is_none_or(|(sectors, alignment)| sectors > 0 && alignment > 0));
        }
    }
}
