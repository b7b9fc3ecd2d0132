//! Real images on a disk in memory, and every way in which one of them may fail.

use super::*;
use crate::fake::*;
use crate::image::{Floors, LoadError};
use bootctl::{Block, Entry, Slot, reason};
use release::Header;

#[test]
fn a_loaded_image_is_laid_out_as_its_headers_say() {
    let bytes = image(1);
    let mut store = Bytes { bytes: &bytes, partition: false, unreadable: false };
    let image = image::load(&mut store, &mut Heap::default(), &any_profile()).unwrap();
    assert_eq!((image.kernel.length(), image.kernel.entry_offset()), (0x6000, 0x10));
    let memory = &image.kernel.memory;
    assert!(
        memory[..0x1000].iter().all(|&byte| byte == 0x11) && memory[0x1000..0x1800].iter().all(|&byte| byte == 0x22)
    );
    assert!(memory[0x1800..].iter().all(|&byte| byte == 0));
    let (length, erofs) = image.erofs.as_ref().unwrap();
    assert_eq!((*length, erofs.len()), (5000, 8192));
    assert!(erofs[..5000].iter().all(|&byte| byte == 0x33) && erofs[5000..].iter().all(|&byte| byte == 0));
    assert_eq!(image.area[..], bytes[..release::AREA_SIZE]);
    assert_eq!(image.release_digest, sha256::software(&bytes[..4096]));
    assert_eq!(image.symbols.unwrap().0, 8);
}

/// What stays is not read; a file has no slot to stay on.
#[test]
fn a_base_that_stays_on_its_slot_is_left_there() {
    let load = |flags_optional, partition| {
        let mut bytes = image(1);
        let header = Header { flags_optional, ..Header::parse(&bytes).unwrap() };
        bytes[..4096].copy_from_slice(&header.encode().unwrap());
        bytes[16384 + 0x3000] ^= 1;
        let bytes = slot(bytes).unwrap();
        image::load(&mut Bytes { bytes: &bytes, partition, unreadable: false }, &mut Heap::default(), &any_profile())
    };
    let stays = release::FLAG_BASE_ON_DISK;
    let image = load(stays, true).ok().unwrap();
    assert!(image.erofs.is_none() && image.verity.0 == 4096);
    assert_eq!(load(stays, false).err(), Some(LoadError::Digest("erofs")));
    assert_eq!(load(!stays, true).err(), Some(LoadError::Digest("erofs")));
}

#[test]
fn boots_of_a_good_slot_are_counted_until_the_system_is_ready() {
    let mut fake = Fake::new(slot(image(1)), slot(image(2)));
    fake = fake.with_block(Entry { priority: 14, ..good(1) }, good(2), 1);
    for count in 1..=bootctl::UNFINISHED_MAX {
        assert_eq!(fake.boot(), Ok(B));
        assert_eq!((fake.entry(Slot::B).unfinished_boots, fake.writes), (count, usize::from(count)));
    }
    assert_eq!(fake.entry(Slot::B).reason_code, reason::HANG);
    assert_eq!(fake.boot(), Ok(A), "five times in a row are enough");
    assert!(fake.reports.is_empty());
    // When that cannot be written, a good slot boots all the same.
    let mut fake = Fake::new(slot(image(1)), None).with_block(good(1), Entry::EMPTY, 1);
    fake.read_only = true;
    assert_eq!(fake.boot(), Ok(A));
    assert_eq!(fake.reports.len(), 1);
    // Alone, it goes on booting.
    let stuck = Entry { unfinished_boots: u8::MAX, ..good(1) };
    let mut alone = Fake::new(slot(image(1)), None).with_block(stuck, Entry::EMPTY, 1);
    assert_eq!(alone.boot(), Ok(A));
    assert_eq!(alone.entry(Slot::A).unfinished_boots, u8::MAX);
}

#[test]
fn floors_above_every_good_slot_are_damage() {
    let newest = Entry { key_set: 2, ..good(5) };
    let with_floors = |rollback_floor, key_set_floor, a: Entry, b: Entry| {
        let mut fake = Fake::new(slot(image(5)), slot(image(3)));
        let mut block = Block::empty();
        block.set_slot(Slot::A, &a);
        block.set_slot(Slot::B, &b);
        block.set_marks(&bootctl::Marks { rollback_floor, key_set_floor, ..block.marks() });
        fake.copies[0] = bootctl::first_writes(block)[0].block.bytes().to_vec();
        fake
    };
    let older = Entry { priority: 14, key_set: 1, ..good(3) };
    for (rollback, key_set, back) in [(u64::MAX, 1, (3, 1)), (6, 0, (3, 0)), (3, 9, (3, 1)), (99, u32::MAX, (3, 1))] {
        let mut fake = with_floors(rollback, key_set, newest, older);
        assert_eq!(fake.boot(), Ok(A), "{rollback} {key_set}");
        let marks = fake.current().unwrap().block.marks();
        assert_eq!((marks.rollback_floor, marks.key_set_floor), back, "{rollback} {key_set}");
        assert_eq!(fake.reports.len(), 1);
    }
    // What the block says of its slots does not help: the headers are read.
    let liar = Entry { rollback_index: u64::MAX, ..newest };
    assert_eq!(with_floors(u64::MAX, 0, liar, Entry { rollback_index: u64::MAX, ..older }).boot(), Ok(A));
    // Honest floors stand: below the newest, and that of the one slot that is good.
    let mut fake = with_floors(5, 2, newest, older);
    assert_eq!(fake.boot(), Ok(A));
    assert_eq!(fake.current().unwrap().block.rollback_floor(), 5);
    // A release on trial proves nothing of a floor.
    let mut fake = with_floors(4, 0, trial(3, 5), older);
    assert_eq!(fake.boot(), Ok(A), "it stands on the floor that is left");
    assert_eq!(fake.current().unwrap().block.rollback_floor(), 3);
}

#[test]
fn recovery_boots_what_verifies_without_a_try() {
    let mut fake = Fake::new(slot(image(1)), slot(image(2)));
    fake = fake.with_block(Entry { priority: 0, ..good(1) }, trial(0, 2), 1);
    let disk = fake.disk();
    let Ok(boot) = choose(&mut fake, disk, Asked::default()) else { panic!("nothing boots") };
    assert_eq!((boot.source, boot.recovery), (A, true), "the good one, though it is unbootable");
    // Asked for: also where a slot would boot; nothing is counted.
    let mut fake = Fake::new(slot(image(1)), slot(image(2))).with_block(good(1), trial(3, 2), 1);
    let disk = fake.disk();
    let Ok(boot) = choose(&mut fake, disk, Asked { recovery: true, ..Asked::default() }) else {
        panic!("nothing boots")
    };
    assert_eq!((boot.source, boot.recovery, fake.writes), (A, true, 0));
    // The checks are the same: below the floor, or damaged, is not booted.
    let mut damaged = image(2);
    damaged[16384] ^= 1;
    let mut fake = Fake::new(slot(image(1)), slot(damaged)).with_block(trial(0, 1), Entry { bad: 1, ..good(2) }, 2);
    assert_eq!(fake.boot().unwrap_err().last().unwrap().source, Source::Esp);
}

#[test]
fn keys_below_the_floor_are_refused() {
    let with_key_floor = |key_set_floor| {
        let mut fake = Fake::new(slot(image(3)), slot(image(5)));
        let mut block = Block::empty();
        block.set_slot(Slot::A, &Entry { key_set: 1, ..good(3) });
        block.set_slot(Slot::B, &Entry { priority: 14, key_set: 2, ..good(5) });
        block.set_marks(&bootctl::Marks { rollback_floor: 3, key_set_floor, ..block.marks() });
        fake.copies[0] = bootctl::first_writes(block)[0].block.bytes().to_vec();
        fake
    };
    assert_eq!(with_key_floor(1).boot(), Ok(A));
    let mut fake = with_key_floor(2);
    assert_eq!(fake.boot(), Ok(B));
    assert_eq!(fake.entry(Slot::A).reason_text(), "key set 1 is below the floor 2");
}

#[test]
fn a_slot_on_trial_has_its_tries_then_goes_back() {
    let mut fake = Fake::new(slot(image(1)), slot(image(2)));
    let old = Entry { priority: 14, ..good(1) };
    fake = fake.with_block(old, trial(2, 2), 1);
    for left in [1, 0] {
        assert_eq!(fake.boot(), Ok(B));
        assert_eq!(fake.entry(Slot::B).tries, left);
        assert_eq!(fake.current().unwrap().block.last_booted(), Some(Slot::B));
    }
    assert_eq!(fake.boot(), Ok(A));
    let b = fake.entry(Slot::B);
    assert_eq!((b.priority, b.reason_code, b.bad), (0, reason::TRIES, 0));
    assert_eq!(fake.current().unwrap().block.last_booted(), Some(Slot::A));
    assert_eq!(fake.boot(), Ok(A));
}

#[test]
fn a_try_that_cannot_be_written_is_not_booted() {
    let mut fake = Fake::new(slot(image(1)), slot(image(2)));
    fake = fake.with_block(Entry { priority: 14, ..good(1) }, trial(2, 2), 1);
    fake.read_only = true;
    assert_eq!(fake.boot(), Ok(A));
    assert_eq!((fake.reports[0].what, fake.reports[0].source), ("bootctl", B));
    assert_eq!(fake.entry(Slot::B).tries, 2);
    let mut alone = Fake::new(None, slot(image(2))).with_block(Entry::EMPTY, trial(2, 2), 1);
    alone.read_only = true;
    let disk = alone.disk();
    let Ok(boot) = choose(&mut alone, disk, Asked::default()) else { panic!("nothing boots") };
    assert!(boot.recovery, "to be repaired, and for nothing else");
}

#[test]
fn a_file_boots_only_what_is_marked_dev() {
    let mut fake = Fake::new(None, None);
    let mut bytes = image(1);
    let header = Header { flags_critical: 0, ..Header::parse(&bytes).unwrap() };
    bytes[..4096].copy_from_slice(&header.encode().unwrap());
    fake.esp = Some(bytes);
    let Err(Refused(attempts)) = choose(&mut fake, Disk::NoSlots, Asked::default()) else { panic!("booted") };
    let why = "only a release marked dev, by throw-away keys, boots from a file";
    assert_eq!(attempts[0].why, why);
    // Marked so, and signed by keys that are not: those who hold them signed it for slots.
    fake.esp = Some(image(OF_REAL_KEYS));
    let Err(Refused(attempts)) = choose(&mut fake, Disk::NoSlots, Asked::default()) else { panic!("booted") };
    assert_eq!(attempts[0].why, why);
}

/// Each fault in slot a: what is said of it, and b boots.
#[test]
fn each_unsound_image_is_marked_bad_and_the_other_boots() {
    let change = |at: usize| {
        let mut bytes = image(1);
        bytes[at] ^= 1;
        slot(bytes)
    };
    let mut writable_text = kernel_elf();
    writable_text[64 + 4] = 7;
    let mut wrong_machine = kernel_elf();
    wrong_machine[18] = 62;
    let half = kernel_elf()[..0x1800].to_vec();
    let sections_end = image(1).len();
    let table = [
        ("corrupt magic", change(0), "header"),
        ("corrupt profile", change(48), "header"),
        ("corrupt signature area", change(4096), "header"),
        ("corrupt kernel", change(16384), "kernel"),
        ("corrupt erofs", change(16384 + 0x3000), "erofs"),
        ("corrupt verity", change(16384 + 0x5000), "verity"),
        ("corrupt symbols", change(sections_end - 4096), "symbols"),
        ("empty slot", Some(vec![0; SLOT_SIZE]), "header"),
        ("slot smaller than a header", Some(vec![0; 4096]), "header"),
        ("slot smaller than the image asks for", Some(image(1)), "header"),
        ("kernel with a writable and executable segment", slot(image_with(&writable_text, 1)), "kernel"),
        ("kernel for another machine", slot(image_with(&wrong_machine, 1)), "kernel"),
        ("truncated kernel", slot(image_with(&half, 1)), "kernel"),
        ("no kernel at all", slot(image_with(b"x", 1)), "kernel"),
    ];
    for (name, bytes, what) in table {
        let mut fake = Fake::new(bytes, slot(image(1))).with_block(good(1), Entry { priority: 14, ..good(1) }, 1);
        assert_eq!(fake.boot(), Ok(B), "{name}");
        let a = fake.entry(Slot::A);
        assert_eq!((a.bad, a.priority, a.reason_code), (1, 0, reason::VERIFICATION), "{name}");
        assert_eq!((fake.reports.len(), fake.reports[0].what, fake.reports[0].source), (1, what, A), "{name}");
        assert!(!a.reason_text().is_empty() && fake.reports[0].why.starts_with(a.reason_text()), "{name}");
        fake.reports.clear();
        assert_eq!(fake.boot(), Ok(B), "{name}: and the next time without a look at it");
        assert!(fake.reports.is_empty(), "{name}");
    }
}

#[test]
fn a_release_that_too_few_have_signed_is_marked_bad_and_its_sections_are_not_looked_at() {
    let mut unsigned = image(2);
    unsigned[16384] ^= 1;
    let mut fake = Fake::new(slot(unsigned), slot(image(1))).with_block(good(2), Entry { priority: 14, ..good(1) }, 1);
    fake.unsigned = 2;
    assert_eq!(fake.boot(), Ok(B));
    let a = fake.entry(Slot::A);
    assert_eq!((a.bad, a.priority, a.reason_code), (1, 0, reason::VERIFICATION));
    assert_eq!((fake.reports[0].what, a.reason_text()), ("signature", "signed by 1 of the key set's keys, 2 must"));
    // And base.img is held to the same.
    let mut alone = Fake::new(None, None).with_block(Entry::EMPTY, Entry::EMPTY, 1);
    (alone.esp, alone.unsigned) = (Some(image(2)), 2);
    assert!(alone.boot().is_err());
    alone.unsigned = 0;
    assert_eq!(alone.boot(), Ok(Source::Esp));
}

#[test]
fn a_file_that_ends_early_is_truncated() {
    let bytes = image(1);
    for (length, what) in
        [(8192, "header"), (16384, "kernel"), (16384 + 0x3000, "erofs"), (bytes.len() - 4090, "symbols")]
    {
        let mut fake = Fake::new(None, None);
        fake.esp = Some(bytes[..length].to_vec());
        let Err(Refused(attempts)) = choose(&mut fake, Disk::NoSlots, Asked::default()) else {
            panic!("booted at {length}")
        };
        assert_eq!(attempts[0].what, what, "{length}");
    }
}

#[test]
fn the_release_must_be_the_one_that_the_block_names() {
    let named = Entry { release_digest: sha256::software(&image(1)[..4096]), ..good(1) };
    let mut fake = Fake::new(slot(image(1)), None).with_block(named, Entry::EMPTY, 1);
    assert_eq!(fake.boot(), Ok(A));
    let mut fake = Fake::new(slot(image(2)), slot(image(1))).with_block(named, Entry { priority: 1, ..named }, 1);
    assert_eq!(fake.boot(), Ok(B));
    assert_eq!(fake.entry(Slot::A).bad, 1);
}

/// The block may say anything of the slot: the header decides.
#[test]
fn a_release_below_the_floor_is_refused_by_its_header() {
    let mut fake = Fake::new(slot(image(4)), slot(image(5))).with_block(good(9), Entry { priority: 1, ..good(5) }, 5);
    assert_eq!(fake.boot(), Ok(B));
    assert_eq!(fake.entry(Slot::A).bad, 1);
    let mut fake = Fake::new(slot(image(9)), slot(image(5))).with_block(good(4), Entry { priority: 1, ..good(5) }, 5);
    assert_eq!(fake.boot(), Ok(B), "and by the block without reading it");
    assert!(fake.reports.is_empty());
}

#[test]
fn when_nothing_boots_every_reason_is_handed_back() {
    let bad = Entry { bad: 1, ..good(1) };
    let mut spent = trial(0, 1);
    spent.set_reason(reason::PANIC, "panic at boot");
    let mut fake = Fake::new(None, None).with_block(bad, spent, 1);
    let attempts = fake.boot().unwrap_err();
    let said: Vec<_> = attempts.iter().map(|attempt| (attempt.source, attempt.why.as_str())).collect();
    assert_eq!(
        said,
        [
            (A, "it failed verification"),
            (B, "its tries are used up (panic at boot)"),
            (A, "not there"),
            (B, "not there"),
            (Source::Esp, "not there")
        ]
    );
    // Only what was tried and failed is an error of this boot.
    assert_eq!(fake.reports.iter().map(|attempt| attempt.source).collect::<Vec<_>>(), [A, B, Source::Esp]);
}

#[test]
fn base_img_boots_without_slots_and_after_them() {
    let mut fake = Fake::new(None, None);
    assert!(
        matches!(choose(&mut fake, Disk::NoSlots, Asked::default()), Err(Refused(attempts)) if attempts[0].source == Source::Esp)
    );
    fake.esp = Some(image(1));
    let Ok(boot) = choose(&mut fake, Disk::NoSlots, Asked::default()) else { panic!("base.img does not boot") };
    assert_eq!((boot.source, boot.floors, boot.current), (Source::Esp, Floors::default(), None));
    let mut fake = Fake::new(None, None).with_block(Entry { bad: 1, ..good(1) }, Entry::EMPTY, 5);
    fake.esp = Some(image(5));
    assert_eq!(fake.boot(), Ok(Source::Esp));
    fake.esp = Some(image(4));
    assert!(fake.boot().is_err(), "the floor holds for base.img too");
    let mut fake = Fake::new(slot(image(1)), None).with_block(good(1), Entry::EMPTY, 1);
    fake.esp = Some(image(9));
    assert_eq!(fake.boot(), Ok(A), "slots come first");
}
