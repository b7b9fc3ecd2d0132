//! The shared vectors (tests/vectors/bootctl), every combination of the choice rule, and every cut of a write.

use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::path::Path;

fn vectors() -> (Value, Vec<u8>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/bootctl");
    let index = std::fs::read_to_string(folder.join("index.json")).unwrap();
    (serde_json::from_str(&index).unwrap(), std::fs::read(folder.join("base.bin")).unwrap())
}

fn patched(case: &Value, base: &[u8]) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for patch in case["patches"].as_array().unwrap() {
        let at = patch[0].as_u64().unwrap() as usize;
        let hex = patch[1].as_str().unwrap();
        for (i, pair) in hex.as_bytes().chunks_exact(2).enumerate() {
            bytes[at + i] = u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        }
    }
    if let Some(length) = case["length"].as_u64() {
        bytes.truncate(length as usize);
    }
    bytes
}

fn good() -> Current {
    let (_, base) = vectors();
    Current::of([&base[..SIZE], &base[SIZE..]]).unwrap()
}

#[test]
fn the_shared_vectors_are_read_as_they_say() {
    let (index, base) = vectors();
    for case in index["cases"].as_array().unwrap() {
        let name = &case["name"];
        let bytes = patched(case, &base);
        let (zero, one) = bytes.split_at(SIZE.min(bytes.len()));
        let Some(current) = Current::of([zero, one]) else {
            assert_eq!(case["expect"], "no-copy", "{name}");
            continue;
        };
        assert_eq!(case["expect"], "ok", "{name}");
        assert_eq!(case["copy"], current.copy, "{name}");
        assert_eq!(case["sequence"], current.block.sequence(), "{name}");
        let trial = current.block.loader_trial().map(|LoaderTrial { loader, tries }| {
            let digest = loader.digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            serde_json::json!({"digest": digest, "length": loader.length, "security": loader.security, "tries": tries})
        });
        assert_eq!(case["loader"], trial.unwrap_or(Value::Null), "{name}");
        let order: Vec<_> = candidates(&current.block).iter().map(|slot| slot.name()).collect();
        assert_eq!(case["order"], Value::from(order), "{name}");
        for slot in Slot::ALL {
            let refused = refusal(&current.block, slot).map(Refusal::class);
            assert_eq!(case["refused"].get(slot.name()).and_then(Value::as_str), refused, "{name}");
        }
    }
}

#[test]
fn fields_are_where_the_format_says() {
    let block = good().block;
    assert_eq!((block.sequence(), block.rollback_floor(), block.last_booted()), (5, 7, Some(Slot::A)));
    let b = block.slot(Slot::B);
    assert_eq!((b.priority, b.tries, b.successful, b.bad, b.rollback_index), (14, 3, 0, 0, 8));
    assert_eq!(&b.version[..6], b"0.2.0\0");
    let (index, base) = vectors();
    let case = index["cases"].as_array().unwrap().iter().find(|case| case["name"] == "no candidate").unwrap();
    let block = Block::parse(&patched(case, &base)).unwrap();
    let b = block.slot(Slot::B);
    assert_eq!((b.reason_code, b.reason_text()), (reason::VERIFICATION, "kernel digest"));
}

#[test]
fn a_writer_keeps_what_it_does_not_know() {
    let current = good();
    let mut changed = current.block.clone();
    let entry = Entry { tries: 2, ..changed.slot(Slot::B) };
    changed.set_slot(Slot::B, &entry);
    let write = current.next(&changed).unwrap();
    assert_eq!((write.copy, write.block.sequence()), (1, 6));
    let differs: Vec<_> = (0..DIGEST).filter(|&at| write.block.bytes()[at] != current.block.bytes()[at]).collect();
    assert_eq!(differs, [16, SLOTS[1] + 1]);
    // Setting every field to what it is changes no byte: reserved ones lie between them.
    let mut same = current.block.clone();
    for slot in Slot::ALL {
        same.set_slot(slot, &current.block.slot(slot));
    }
    assert_eq!(same, current.block);
}

#[test]
fn a_damaged_copy_is_the_next_to_be_written() {
    let (_, base) = vectors();
    let zero = &base[..SIZE];
    let only_one = Current::of([&[0; SIZE], zero]).unwrap();
    assert_eq!((only_one.copy, only_one.state), (1, State::OneCopy));
    assert_eq!(only_one.next(&only_one.block).unwrap().copy, 0);
    let only_zero = Current::of([zero, &[0; SIZE]]).unwrap();
    assert_eq!((only_zero.copy, only_zero.state), (0, State::OneCopy));
    assert_eq!(only_zero.next(&only_zero.block).unwrap().copy, 1);
}

#[test]
fn a_sequence_at_its_end_is_not_written() {
    let mut current = good();
    current.block.put(16, &u64::MAX.to_le_bytes());
    assert_eq!(current.next(&current.block), None);
}

#[test]
fn an_empty_block_is_valid_and_boots_nothing() {
    let [write, second] = first_writes(Block::empty());
    assert_eq!((write.copy, second.copy, write.block.sequence()), (0, 1, 1));
    let current = Current::of([write.block.bytes(), second.block.bytes()]).unwrap();
    assert_eq!((current.copy, current.state), (0, State::Ok));
    let block = current.block;
    assert!(candidates(&block).is_empty() && block.last_booted().is_none());
    assert_eq!(block.failed_releases().count(), 0);
}

#[test]
fn reasons_are_cut_at_a_character() {
    let mut entry = Entry::EMPTY;
    entry.set_reason(reason::VERIFICATION, &"ü".repeat(49));
    assert_eq!(entry.reason_text(), "ü".repeat(48));
    entry.set_reason(reason::VERIFICATION, &format!("x{}", "ü".repeat(49)));
    assert_eq!(entry.reason_text(), format!("x{}", "ü".repeat(47)));
    entry.reason = [0xff; 96];
    assert_eq!(entry.reason_text(), "");
}

/// Every value of a slot that the rule looks at.
fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    for priority in [0, 1, 15] {
        for tries in 0..=MAX_TRIES {
            for (successful, bad) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                for rollback_index in [4, 5, 6] {
                    all.push(Entry { priority, tries, successful, bad, rollback_index, ..Entry::EMPTY });
                }
            }
        }
    }
    all
}

/// The rule of the format, sentence by sentence.
fn is_candidate(entry: &Entry, floor: u64) -> bool {
    entry.priority > 0 && entry.bad == 0 && entry.rollback_index >= floor && (entry.successful == 1 || entry.tries > 0)
}

#[test]
fn every_pair_of_slots_is_chosen_by_the_rule() {
    let mut block = Block::empty();
    block.set_rollback_floor(5);
    for a in entries() {
        block.set_slot(Slot::A, &a);
        for b in entries() {
            block.set_slot(Slot::B, &b);
            let expected: &[Slot] = match (is_candidate(&a, 5), is_candidate(&b, 5)) {
                (false, false) => &[],
                (true, false) => &[Slot::A],
                (false, true) => &[Slot::B],
                (true, true) if b.priority > a.priority => &[Slot::B, Slot::A],
                (true, true) if b.priority == a.priority && b.successful > a.successful => &[Slot::B, Slot::A],
                (true, true) => &[Slot::A, Slot::B],
            };
            assert_eq!(candidates(&block).as_slice(), expected, "{a:?} {b:?}");
        }
    }
}

#[test]
fn tries_count_down_to_a_refusal() {
    let mut current = good();
    for left in (0..3).rev() {
        assert!(candidates(&current.block).contains(&Slot::B));
        let mut changed = current.block.clone();
        let entry = changed.slot(Slot::B);
        changed.set_slot(Slot::B, &Entry { tries: entry.tries - 1, ..entry });
        current = Current::written(current.next(&changed).unwrap());
        assert_eq!(current.block.slot(Slot::B).tries, left);
    }
    assert_eq!(refusal(&current.block, Slot::B), Some(Refusal::TriesUsedUp));
    assert_eq!(candidates(&current.block).as_slice(), [Slot::A]);
    assert_eq!((current.copy, current.block.sequence()), (1, 8));
}

/// A write that stops after `length` bytes, for every length: the old block counts or the new one, whole.
#[test]
fn a_cut_leaves_the_old_block_or_the_new_one() {
    let (_, base) = vectors();
    for start in [[&base[..SIZE], &base[SIZE..]], [&base[..SIZE], &[0; SIZE][..]], [&[0xff; SIZE][..], &base[..SIZE]]] {
        let old = Current::of(start).unwrap();
        let mut changed = old.block.clone();
        changed.set_slot(Slot::A, &Entry { tries: 6, ..changed.slot(Slot::A) });
        let write = old.next(&changed).unwrap();
        for length in 0..=SIZE {
            let mut copies = start.map(<[u8]>::to_vec);
            copies[write.copy][..length].copy_from_slice(&write.block.bytes()[..length]);
            let after = Current::of([&copies[0], &copies[1]]).unwrap();
            let whole = copies[write.copy] == write.block.bytes();
            assert_eq!(after.block, if whole { &write.block } else { &old.block }.clone(), "{length}");
        }
    }
}

proptest! {
    /// Sectors of a write may reach the disk in any order, or not at all.
    #[test]
    fn any_torn_write_leaves_the_old_block_or_the_new_one(
        sectors in any::<[bool; 8]>(), history in prop::collection::vec((any::<bool>(), 0u8..8), 1..8), garbage in any::<Option<u8>>()
    ) {
        let (_, base) = vectors();
        let mut copies = [base[..SIZE].to_vec(), base[SIZE..].to_vec()];
        for (to_a, tries) in history {
            let old = Current::of([&copies[0], &copies[1]]).unwrap();
            let mut changed = old.block.clone();
            let slot = if to_a { Slot::A } else { Slot::B };
            changed.set_slot(slot, &Entry { tries, ..changed.slot(slot) });
            let write = old.next(&changed).unwrap();
            let mut torn = copies.clone();
            for (sector, done) in sectors.into_iter().enumerate() {
                let range = sector * 512..(sector + 1) * 512;
                if done {
                    torn[write.copy][range.clone()].copy_from_slice(&write.block.bytes()[range]);
                } else if let Some(byte) = garbage {
                    torn[write.copy][range].fill(byte);
                }
            }
            let after = Current::of([&torn[0], &torn[1]]).unwrap();
            prop_assert!(after.block == old.block || after.block == write.block);
            copies[write.copy] = write.block.bytes().to_vec();
            prop_assert_eq!(Current::of([&copies[0], &copies[1]]).unwrap().block, write.block);
        }
    }

    #[test]
    fn any_change_of_a_copy_without_its_digest_is_noticed(at in 0usize..SIZE, bit in 0u8..8) {
        let mut bytes = good().block.bytes().to_vec();
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(Block::parse(&bytes), None);
    }
}
