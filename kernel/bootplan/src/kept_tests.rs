//! Floors that the firmware keeps: they outlast the disk, never rise by a lie, and never lock out what they were raised for.

use bootctl::{Block, Entry, Marks, Slot};
use proptest::prelude::*;

use crate::fake::{A, B, Fake, good, image, slot, trial};
use crate::image::Floors;
use crate::kept::Kept;
use crate::{Asked, Boot, Refused, Source, choose};

const ROOTS: [u8; 32] = [9; 32];

fn boot(fake: &mut Fake, kept: Kept) -> Result<Boot<Vec<u8>>, Vec<String>> {
    let disk = fake.disk();
    choose(fake, disk, Asked { kept, ..Asked::default() })
        .map_err(|Refused(attempts)| attempts.into_iter().map(|attempt| attempt.why).collect())
}

/// a is the older one; both are good.
fn machine(floor: u64) -> Fake {
    let (older, newer) = (Entry { priority: 14, ..good(4) }, good(6));
    Fake::new(slot(image(4)), slot(image(6))).with_block(older, newer, floor)
}

fn marked(mut fake: Fake, change: impl FnOnce(&mut Marks)) -> Fake {
    let mut block = fake.current().unwrap().block;
    let mut marks = block.marks();
    change(&mut marks);
    block.set_marks(&marks);
    fake.copies[0] = bootctl::first_writes(block)[0].block.bytes().to_vec();
    fake
}

#[test]
fn a_good_release_that_boots_vouches_for_the_floors() {
    let mut fake = marked(machine(4), |marks| (marks.key_set_floor, marks.loader_floor) = (2, 1));
    let booted = boot(&mut fake, Kept::default()).ok().unwrap();
    assert_eq!((booted.source, booted.keep), (B, Kept { rollback: 4, key_set: 2, loader: 1 }));
    // What the block asks for beyond it is not kept, and what is kept never falls.
    let mut fake = marked(machine(6), |marks| (marks.key_set_floor, marks.loader_floor) = (2, 77));
    let kept = Kept { rollback: 3, key_set: 2, loader: 0 };
    assert_eq!(boot(&mut fake, kept).ok().unwrap().keep, Kept { rollback: 6, key_set: 2, loader: 1 });
    let kept = Kept { rollback: 5, key_set: 2, loader: 3 };
    assert_eq!(boot(&mut machine(4), kept).ok().unwrap().keep, kept);
}

#[test]
fn no_trial_no_recovery_and_no_file_vouches_for_anything() {
    let (older, newer) = (Entry { priority: 14, ..good(4) }, trial(3, 6));
    let mut fake = Fake::new(slot(image(4)), slot(image(6))).with_block(older, newer, 4);
    let booted = boot(&mut fake, Kept::default()).ok().unwrap();
    assert_eq!((booted.source, booted.keep), (B, Kept::default()));
    let mut fake = machine(4);
    let disk = fake.disk();
    let asked = Asked { recovery: true, ..Asked::default() };
    let booted = choose(&mut fake, disk, asked).ok().unwrap();
    assert_eq!((booted.recovery, booted.keep), (true, Kept::default()));
}

/// The disk of an older day in the machine of today.
#[test]
fn an_older_disk_does_not_boot() {
    let kept = Kept { rollback: 5, key_set: 1, loader: 0 };
    let mut fake = Fake::new(slot(image(4)), None).with_block(good(4), Entry::EMPTY, 4);
    let before = fake.copies.clone();
    let why = boot(&mut fake, kept).err().unwrap();
    assert!(why.iter().any(|why| why == "rollback index 4 is below the floor 5"), "{why:?}");
    assert_eq!(fake.copies, before, "and is not marked bad: the owner may reset the firmware");
    assert!(boot(&mut fake, Kept::default()).is_ok());
    // Nor without a block, nor by old keys, nor from a file.
    fake.copies.iter_mut().for_each(|copy| copy.fill(0));
    assert!(boot(&mut fake, kept).is_err());
    let mut fake = machine(4);
    assert!(boot(&mut fake, Kept { rollback: 0, key_set: 9, loader: 0 }).is_err());
    let mut fake = Fake::new(None, None);
    fake.esp = Some(image(4));
    assert!(boot(&mut fake, kept).is_err() && boot(&mut fake, Kept::default()).is_ok());
}

/// One of two slots is below: the other boots, whatever the block prefers.
#[test]
fn the_slot_that_stands_on_them_boots() {
    let (older, newer) = (good(4), Entry { priority: 14, ..good(6) });
    let mut fake = Fake::new(slot(image(4)), slot(image(6))).with_block(older, newer, 4);
    assert_eq!(boot(&mut fake, Kept { rollback: 5, ..Kept::default() }).ok().unwrap().source, B);
    assert_eq!(fake.entry(Slot::A).bad, 0);
    assert_eq!(boot(&mut fake, Kept::default()).ok().unwrap().source, A);
}

#[test]
fn what_others_have_left_is_nothing() {
    let kept = Kept { rollback: 1 << 40, key_set: 7, loader: u32::MAX };
    let value = kept.encode(&ROOTS);
    assert_eq!(Kept::parse(&value, &ROOTS), kept);
    assert_eq!(kept.floors(), Floors { rollback: 1 << 40, key_set: 7 });
    for at in 0..40 {
        let mut other = value;
        other[at] ^= 1;
        assert_eq!(Kept::parse(&other, &ROOTS), Kept::default(), "byte {at}");
    }
    for length in 0..value.len() {
        assert_eq!(Kept::parse(&value[..length], &ROOTS), Kept::default());
    }
    assert_eq!(Kept::parse(&[&value[..], &[0]].concat(), &ROOTS), Kept::default());
}

proptest! {
    /// Whatever a block says: a machine that booted from a good slot boots from it again.
    #[test]
    fn what_booted_boots_again(
        rollback in any::<u64>(), key_set in any::<u32>(), loader in any::<u32>(), kept in (0u64..8, 0u32..3, 0u32..3),
    ) {
        let mut fake = marked(machine(4), |marks| {
            (marks.rollback_floor, marks.key_set_floor, marks.loader_floor) = (rollback, key_set, loader);
        });
        let mut kept = Kept { rollback: kept.0, key_set: kept.1, loader: kept.2 };
        let mut last: Option<Source> = None;
        for _ in 0..3 {
            let Ok(booted) = boot(&mut fake, kept) else {
                prop_assert_eq!(last, None);
                break;
            };
            prop_assert!(booted.keep.rollback >= kept.rollback && booted.keep.rollback <= booted.image.header.rollback_index.max(kept.rollback));
            let source = booted.source;
            prop_assert!(last.is_none_or(|last| last == source));
            (kept, last) = (booted.keep, Some(source));
            let Some(mut block): Option<Block> = booted.current.map(|current| current.block) else { break };
            // It got ready.
            for slot in Slot::ALL {
                let entry = Entry { unfinished_boots: 0, ..block.slot(slot) };
                block.set_slot(slot, &entry);
            }
            fake.copies[0] = bootctl::first_writes(block)[0].block.bytes().to_vec();
            fake.copies[1].fill(0);
        }
    }
}
