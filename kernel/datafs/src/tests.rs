//! Pieces by themselves. Whole volumes are tested by the crate `datatool`.

use std::hash::{DefaultHasher, Hasher};
use std::vec::Vec;

use proptest::prelude::*;

use crate::layout::geometry::{Geometry, Place};
use crate::layout::superblock::{State, Superblock};
use crate::layout::{Seed, crc32c, granules, names, put_u32, put_u64, record};
use crate::{BLOCK, Bytes, OpenError, Replay, What};

const GEOMETRY: Geometry = Geometry { log_blocks: 256, inodes_per_group: 4096 };

#[test]
fn the_checksum_is_the_one_of_iscsi() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa); // RFC 3720, B.4
    let seed = Seed::new(b"0123456789abcdef");
    assert_eq!(seed.of(b"rest"), crc32c(b"0123456789abcdefrest"));
}

proptest! {
    /// Rust's own hasher is SipHash-1-3 with keys of zero.
    #[test]
    fn the_hash_of_names_is_siphash_1_3(name in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut theirs = DefaultHasher::new();
        theirs.write(&name);
        prop_assert_eq!(names::hash(&[0; 16], &name), theirs.finish() as u32);
    }

    #[test]
    fn a_mask_has_the_granules_that_a_range_touches(offset in 0..BLOCK, length in 0..BLOCK) {
        let length = length.min(BLOCK - offset);
        let expected = (0..64).filter(|granule| offset < (granule + 1) * 64 && offset + length > granule * 64);
        let expected = if length == 0 { 0 } else { expected.fold(0u64, |mask, granule| mask | 1 << granule) };
        prop_assert_eq!(granules(offset, length), expected);
    }

    #[test]
    fn places_are_where_they_are_counted(blocks in 0u64..1 << 20, at in 0u64..1 << 20) {
        let groups = GEOMETRY.group_count(blocks);
        let sum: u64 = (0..groups)
            .map(|group| u64::from(GEOMETRY.group_blocks(group, blocks) - GEOMETRY.static_blocks()))
            .sum();
        prop_assert_eq!(GEOMETRY.data_blocks(blocks), sum);
        if let Some(Place { group, index }) = GEOMETRY.data_place(at, 1, groups, blocks) {
            prop_assert!(at < blocks && group < groups);
            prop_assert_eq!(GEOMETRY.group_start(group) + u64::from(index), at);
            prop_assert_eq!(GEOMETRY.first_inode(at), None);
        }
    }
}

#[test]
fn inodes_and_their_blocks_agree() {
    for inode in [1, 15, 16, 4095, 4096, 100_000] {
        let (block, offset) = GEOMETRY.inode_place(inode);
        assert_eq!(GEOMETRY.first_inode(block).map(|first| first + (offset / 256) as u32), Some(inode));
    }
    assert_eq!(GEOMETRY.first_inode(GEOMETRY.group_start(0)), None);
    assert_eq!(GEOMETRY.first_inode(1), None);
}

fn superblock(sequence: u64) -> Superblock {
    Superblock {
        sequence,
        compat: 0,
        ro_compat: 0,
        incompat: 0,
        uuid: [9; 16],
        label: [0; 32],
        hash_key: [1; 16],
        created: -5,
        geometry: GEOMETRY,
        tail: 255,
        tail_sequence: 77,
        state: State { blocks: 16384, used_blocks: 3, used_inodes: 4, groups: 1, orphans: 5, generation: 6 },
    }
}

/// Changes a field and makes the checksum right again.
fn with(sequence: u64, change: impl FnOnce(&mut Bytes)) -> Bytes {
    let mut bytes = *superblock(sequence).encode();
    change(&mut bytes);
    let sum = crc32c(&bytes[12..]);
    put_u32(&mut bytes, 8, sum);
    bytes
}

#[test]
fn a_superblock_comes_back() {
    for sequence in [4, 5] {
        let whole = superblock(sequence);
        assert_eq!(Superblock::parse(&whole.encode(), sequence % 2), Ok(whole));
    }
}

#[test]
fn the_newer_whole_superblock_counts() {
    let (old, new, none) = (*superblock(4).encode(), *superblock(5).encode(), [0; BLOCK]);
    let mut torn = new;
    torn[200] ^= 1;
    let sequence = |copies| Superblock::choose(copies).map(|superblock| superblock.sequence);
    assert_eq!(sequence([&old, &new]), Ok(5));
    assert_eq!(sequence([&old, &torn]), Ok(4));
    assert_eq!(sequence([&none, &new]), Ok(5));
    assert_eq!(sequence([&old, &none]), Ok(4));
    assert_eq!(sequence([&none, &none]), Err(OpenError::NotDatafs));
    assert!(matches!(sequence([&none, &torn]), Err(OpenError::Superblock(damage)) if damage.what == What::Checksum));
    // a copy in the other's place
    assert!(matches!(sequence([&new, &none]), Err(OpenError::Superblock(damage)) if damage.what == What::Place));
}

#[test]
fn unknown_features_are_refused_or_read_only() {
    let choose = |new: &Bytes| Superblock::choose([&superblock(4).encode(), new]);
    let incompat = with(5, |bytes| put_u64(bytes, 40, 6));
    assert_eq!(choose(&incompat), Err(OpenError::Features { incompat: 6 }));
    let ro_compat = with(5, |bytes| put_u64(bytes, 32, 1));
    assert!(choose(&ro_compat).is_ok_and(|superblock| !superblock.is_writable()));
    let compat = with(5, |bytes| put_u64(bytes, 24, 1));
    assert!(choose(&compat).is_ok_and(|superblock| superblock.is_writable()));
}

#[test]
fn a_superblock_out_of_bounds_is_refused() {
    type Edit = fn(&mut Bytes);
    let cases: [(Edit, What); 8] = [
        (|bytes| put_u32(bytes, 12, 13), What::Value),
        (|bytes| put_u32(bytes, 120, 255), What::Value),
        (|bytes| put_u32(bytes, 124, 63), What::Value),
        (|bytes| put_u32(bytes, 128, 256), What::Bounds),
        (|bytes| put_u64(bytes, 136, 0), What::Bounds),
        (|bytes| put_u64(bytes, 160, 300), What::Bounds),
        (|bytes| put_u64(bytes, 168, 1 << 20), What::Bounds),
        (|bytes| put_u32(bytes, 184, 2), What::Bounds),
    ];
    for (edit, what) in cases {
        let damage = Superblock::parse(&with(4, edit), 0).map_err(|damage| damage.what);
        assert_eq!(damage, Err(what));
    }
}

#[test]
fn a_record_comes_back() {
    let seed = Seed::new(&[9; 16]);
    let state = superblock(4).state;
    let start = GEOMETRY.group_start(0);
    let contents: Bytes = std::array::from_fn(|at| at as u8 ^ (at >> 8) as u8);
    let mask = 1 | 0b110 << 20 | 1 << 63;
    let mut writer = record::Writer::new(0).unwrap();
    writer.entry(start + 1, 0, mask, &contents);
    writer.forget(start + 9);
    writer.entry(start + 2, record::FRESH, u64::MAX, &contents);
    writer.home(start + 1, 0x1234_5678);
    let bytes = writer.finish(99, &state, &seed);
    let blocks = record::blocks(&bytes).unwrap();
    let head = record::Head::read(&blocks[0], &GEOMETRY).unwrap();
    assert_eq!((head.sequence, head.blocks(), blocks.len()), (99, 2, 2));
    let whole = &bytes[..head.length];
    assert!(record::Record::is_sealed(whole, &seed));
    let record = record::Record::parse(whole, &GEOMETRY, 0).unwrap();
    let entries: Vec<_> = record.entries().collect();
    assert_eq!(record.state, state);
    assert_eq!(record.homes().collect::<Vec<_>>(), [(start + 1, 0x1234_5678)]);
    assert!(entries[1].is_forgotten && entries[1].block == start + 9);
    assert!(entries[2].is_fresh);
    let mut out = [0; BLOCK];
    record::apply(&entries[0], &mut out);
    for at in 0..BLOCK {
        let expected = if mask >> (at / 64) & 1 != 0 { contents[at] } else { 0 };
        assert_eq!(out[at], expected, "{at}");
    }
    let mut torn = whole.to_vec();
    torn[4500] ^= 1;
    assert!(!record::Record::is_sealed(&torn, &seed));
}

/// Records that say something of `count` blocks each, replayed one after another.
fn replay(records: u64, count: u64) -> Result<Replay, OpenError> {
    let start = GEOMETRY.group_start(0);
    let whole = Superblock { tail: 250, ..superblock(4) };
    let mut replay = Replay::new(&whole);
    for record in 0..records {
        let mut writer = record::Writer::new(0).unwrap();
        (0..count).for_each(|at| writer.entry(start + record * count + at, 0, 1, &[0; BLOCK]));
        let bytes = writer.finish(whole.tail_sequence + record, &whole.state, &Seed::new(&whole.uuid));
        for block in record::blocks(&bytes).unwrap() {
            assert!(replay.wanted().is_some());
            replay.supply(&block)?;
        }
    }
    Ok(replay)
}

#[test]
fn what_a_log_takes_to_replay_is_bounded() {
    let most = 2 * GEOMETRY.dirty_blocks() as u64;
    let replayed = replay(2, most / 2).unwrap();
    assert_eq!((replayed.sequence, replayed.blocks.len() as u64), (79, most));
    let refused = replay(2, most / 2 + 1).map(drop);
    assert!(matches!(refused, Err(OpenError::Log(damage)) if damage.what == What::Bounds), "{refused:?}");
}
