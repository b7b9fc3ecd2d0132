//! Copies of the block, and slots, that cannot be read or told just now: nothing that may be worth something is overwritten or forgotten.

use bootctl::{Block, Entry, Slot, State, reason};

use crate::fake::{A, B, Fake, SLOT_SIZE, good, image, slot, trial};
use crate::{ATTEMPTS, Asked, Disk, choose};

/// Copy 0 says that b is bad, and is newer; copy 1 that it is preferred.
fn two_minds() -> Fake {
    let older = Entry { priority: 14, ..good(1) };
    let mut fake = Fake::new(slot(image(1)), slot(image(2))).with_block(older, good(2), 1);
    let first = fake.current().unwrap();
    let mut block: Block = first.block.clone();
    block.set_slot(Slot::B, &Entry { bad: 1, priority: 0, ..good(2) });
    let write = first.next(&block).unwrap();
    fake.copies = [write.block.bytes().to_vec(), fake.copies[0].clone()];
    fake
}

#[test]
fn a_copy_that_is_read_at_last_counts() {
    let mut fake = two_minds();
    fake.failing = [ATTEMPTS - 1; 2];
    assert_eq!(fake.boot(), Ok(A));
    assert_eq!(fake.writes, 1);
}

#[test]
fn a_copy_that_cannot_be_read_is_not_overwritten_and_neither_is_the_other() {
    for unread in [[ATTEMPTS, 0], [0, ATTEMPTS], [ATTEMPTS; 2]] {
        let mut fake = two_minds();
        let before = fake.copies.clone();
        fake.failing = unread;
        assert!(fake.boot().is_ok(), "{unread:?}");
        assert_eq!((fake.writes, &fake.copies), (0, &before), "{unread:?}");
        assert!(fake.reports.iter().any(|attempt| attempt.what == "bootctl"), "{unread:?}");
        fake.failing = [0; 2];
        assert_eq!(fake.boot(), Ok(A), "what the newer copy says counts again: {unread:?}");
    }
    // One is damaged, the other cannot be read: no new block hides what that one says.
    let mut fake = two_minds();
    fake.copies[1][700] ^= 1;
    fake.failing = [ATTEMPTS, 0];
    let before = fake.copies.clone();
    assert_eq!(fake.boot(), Ok(B), "by what verifies");
    assert_eq!((fake.writes, &fake.copies), (0, &before));
}

#[test]
fn a_try_that_nobody_can_count_is_not_spent() {
    let older = Entry { priority: 14, ..good(1) };
    let mut fake = Fake::new(slot(image(1)), slot(image(2))).with_block(older, trial(3, 2), 1);
    fake.failing = [0, ATTEMPTS];
    assert_eq!(fake.boot(), Ok(A));
    assert_eq!((fake.entry(Slot::B).tries, fake.writes), (3, 0));
}

#[test]
fn a_slot_that_cannot_be_told_just_now_is_not_forgotten() {
    for fault in [|fake: &mut Fake| fake.unreadable = Some(Slot::B), |fake: &mut Fake| fake.too_large = Some(Slot::B)] {
        let mut fake = Fake::new(slot(image(3)), slot(image(7)));
        fault(&mut fake);
        assert_eq!(fake.boot(), Ok(A));
        assert_eq!((fake.writes, fake.current()), (0, None));
        assert!(fake.reports.iter().any(|attempt| attempt.why.starts_with("it is not made anew")));
        (fake.unreadable, fake.too_large) = (None, None);
        assert_eq!(fake.boot(), Ok(B));
        assert!(fake.entry(Slot::A).is_good() && fake.entry(Slot::B).is_good());
    }
    // What is known to be nothing is nothing.
    let mut fake = Fake::new(slot(image(3)), None);
    assert_eq!(fake.boot(), Ok(A));
    assert_eq!((fake.writes, fake.entry(Slot::B)), (2, Entry::EMPTY));
}

#[test]
fn a_new_block_whose_second_copy_cannot_be_written_counts_all_the_same() {
    for copy in 0..2 {
        let mut fake = Fake::new(slot(image(3)), slot(image(7)));
        fake.broken_copy = Some(copy);
        let disk = fake.disk();
        let Ok(boot) = choose(&mut fake, disk, Asked::default()) else { panic!("nothing boots") };
        let current = boot.current.unwrap();
        assert_eq!((boot.source, current.copy, current.state), (B, 1 - copy, State::OneCopy));
        assert_eq!(fake.current(), Some(current));
    }
}

#[test]
fn what_a_failed_read_left_is_no_block() {
    let fake = two_minds();
    let control = crate::Control::read(|copy, into| {
        into.copy_from_slice(&fake.copies[copy]);
        if copy == 0 { Err("device error".into()) } else { Ok(()) }
    });
    assert!(!control.is_whole() && control.unread[0].is_some() && control.unread[1].is_none());
    assert_eq!(control.current.as_ref().unwrap().copy, 1);
    assert!(matches!(fake.disk(), Disk::Slots(control) if control.is_whole()));
}

#[test]
fn a_slot_that_cannot_be_read_is_not_bad_and_is_noted_once() {
    let mut fake = Fake::new(slot(image(1)), slot(image(1))).with_block(good(1), Entry { priority: 14, ..good(1) }, 1);
    fake.unreadable = Some(Slot::A);
    assert_eq!(fake.boot(), Ok(B));
    let a = fake.entry(Slot::A);
    assert_eq!((a.bad, a.priority, a.reason_code), (0, 15, reason::UNREADABLE));
    let writes = fake.writes;
    assert_eq!(fake.boot(), Ok(B));
    assert_eq!(fake.writes, writes + 1, "the boot is counted, and no more");
    fake.unreadable = None;
    assert_eq!(fake.boot(), Ok(A), "it may come back");
}

#[test]
fn without_a_valid_copy_the_block_is_made_anew_from_what_verifies() {
    let mut fake = Fake::new(slot(image(3)), slot(image(7)));
    assert_eq!(fake.boot(), Ok(B));
    let current = fake.current().unwrap();
    assert_eq!((current.copy, current.block.sequence(), current.block.rollback_floor()), (0, 1, 3));
    assert_eq!((current.state, &fake.copies[0]), (State::Ok, &fake.copies[1]), "and none is left damaged");
    let (a, b) = (fake.entry(Slot::A), fake.entry(Slot::B));
    assert_eq!((a.priority, a.successful, a.rollback_index), (14, 1, 3));
    assert_eq!((b.priority, b.successful, b.rollback_index), (15, 1, 7));
    assert_eq!(b.release_digest, sha256::software(&image(7)[..4096]));
    assert_eq!(fake.boot(), Ok(B), "and it is what the next boot reads");

    let mut fake = Fake::new(slot(image(7)), slot(image(3)));
    assert_eq!(fake.boot(), Ok(A));
    let mut fake = Fake::new(Some(vec![0; SLOT_SIZE]), slot(image(3)));
    assert_eq!(fake.boot(), Ok(B));
    assert_eq!(fake.entry(Slot::A), Entry::EMPTY);
    let mut fake = Fake::new(Some(vec![0; SLOT_SIZE]), None);
    assert_eq!(fake.boot().unwrap_err().len(), 3);
    assert_eq!(fake.writes, 0);
}

#[test]
fn a_new_block_that_cannot_be_written_is_said_and_the_slot_boots() {
    let mut fake = Fake::new(slot(image(3)), None);
    fake.read_only = true;
    assert_eq!(fake.boot(), Ok(A));
    assert!(fake.reports.iter().any(|attempt| attempt.what == "bootctl"));
}
