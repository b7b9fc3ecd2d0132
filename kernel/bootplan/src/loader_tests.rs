//! A loader on trial: started before its release is, and never more than it may cost.

use bootctl::{Entry, Loader, LoaderTrial, Slot, change, reason};
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fake::{A, B, Fake, Second, TookOver, good, image, slot, trial};
use crate::kept::Kept;
use crate::{Asked, Attempt, Boot, Refused, Source, choose};

const NEW: Loader = Loader { digest: [7; 32], length: 1000, security: 2 };
const TRIED: Asked = Asked { recovery: false, on_trial: true, kept: NOTHING };
const NOTHING: Kept = Kept { rollback: 0, key_set: 0, loader: 0 };

/// The release in b is on trial, with its loader.
fn with_loader(tries: u8, starts: u32) -> Fake {
    let old = Entry { priority: 14, ..good(1) };
    let mut fake = Fake::new(slot(image(1)), slot(image(2))).with_block(old, trial(tries, 2), 1);
    let first = fake.current().unwrap();
    let mut block = first.block.clone();
    block.set_loader_trial(Some(&LoaderTrial { loader: NEW, tries: starts }));
    fake.copies[0] = bootctl::first_writes(block)[0].block.bytes().to_vec();
    fake
}

fn starts(fake: &Fake) -> Option<u32> {
    fake.current().unwrap().block.loader_trial().map(|trial| trial.tries)
}

/// A boot as the firmware begins it; `None`: the new loader took over.
fn power_on(fake: &mut Fake, asked: Asked) -> Option<Result<Boot<Vec<u8>>, Vec<Attempt>>> {
    let disk = fake.disk();
    match catch_unwind(AssertUnwindSafe(|| choose(fake, disk, asked))) {
        Ok(booted) => Some(booted.map_err(|Refused(attempts)| attempts)),
        Err(thrown) => thrown.is::<TookOver>().then_some(None).expect("the test itself failed"),
    }
}

fn boots(fake: &mut Fake, asked: Asked) -> (Source, bool) {
    let booted = power_on(fake, asked).expect("the new loader was started");
    booted.map(|boot| (boot.source, boot.loader_on_trial)).unwrap_or_else(|attempts| panic!("refused: {attempts:?}"))
}

#[test]
fn it_is_started_and_boots_the_release_that_it_came_with() {
    let mut fake = with_loader(3, 3);
    assert!(power_on(&mut fake, Asked::default()).is_none());
    assert_eq!((starts(&fake), fake.entry(Slot::B).tries), (Some(2), 3));
    assert_eq!(boots(&mut fake, TRIED), (B, true));
    assert_eq!((starts(&fake), fake.entry(Slot::B).tries, fake.writes), (Some(2), 2, 2));
}

#[test]
fn one_that_comes_to_nothing_is_started_three_times_and_given_up_with_its_release() {
    let mut fake = with_loader(3, 3);
    for left in [2, 1, 0] {
        assert!(power_on(&mut fake, Asked::default()).is_none());
        assert_eq!(starts(&fake), Some(left));
    }
    assert_eq!(boots(&mut fake, Asked::default()), (A, false));
    let b = fake.entry(Slot::B);
    assert_eq!((starts(&fake), b.priority, b.reason_code), (None, 0, reason::LOADER));
    assert!(b.reason_text().contains("started 3 times"), "{}", b.reason_text());
    assert_eq!(boots(&mut fake, Asked::default()), (A, false));
}

#[test]
fn one_that_comes_back_is_given_up_at_once_and_what_it_wrote_counts() {
    for second in [Second::ComesBack, Second::ComesBackAfter(Slot::B)] {
        let mut fake = with_loader(3, 3);
        fake.second = second;
        assert_eq!(boots(&mut fake, Asked::default()), (A, false), "{second:?}");
        let b = fake.entry(Slot::B);
        assert_eq!((starts(&fake), b.priority, b.bad), (None, 0, u8::from(second != Second::ComesBack)));
        assert!(b.reason_text().contains("came back: load error"), "{}", b.reason_text());
    }
}

/// The release is damaged: that is what is remembered, and not that its loader came back.
#[test]
fn one_that_comes_back_from_a_damaged_release_is_not_to_blame() {
    let mut fake = with_loader(3, 3);
    fake.second = Second::ComesBack;
    fake.unsigned = 2;
    assert_eq!(boots(&mut fake, Asked::default()), (A, false));
    let b = fake.entry(Slot::B);
    assert_eq!((b.bad, b.reason_code, starts(&fake)), (1, reason::VERIFICATION, None));
}

/// What a loader on trial thinks of the slots may be its own mistake: nothing is written, and the old one goes on as if it had never been.
#[test]
fn one_that_refuses_a_slot_judges_nobody() {
    let faults: [fn(&mut Fake); 3] =
        [|fake| fake.unsigned = 2, |fake| fake.unreadable = Some(Slot::B), |fake| fake.slots = [None, None]];
    for fault in faults {
        let mut fake = with_loader(3, 2);
        fault(&mut fake);
        let before = fake.copies.clone();
        assert!(power_on(&mut fake, TRIED).unwrap().is_err());
        assert_eq!((&fake.copies, fake.writes), (&before, 0));
    }
    // Floors that are damage, and a block that is, are the old one's to mend.
    let mut fake = with_loader(3, 2);
    fake.copies[0].fill(0);
    assert!(power_on(&mut fake, TRIED).unwrap().is_err());
    assert_eq!(fake.writes, 0);
    let mut fake = with_loader(3, 2);
    let mut block = fake.current().unwrap().block.clone();
    block.set_rollback_floor(9);
    fake.copies[0] = bootctl::first_writes(block)[0].block.bytes().to_vec();
    let _ = power_on(&mut fake, TRIED);
    assert_eq!(fake.current().unwrap().block.rollback_floor(), 9);
}

/// A cut between the swap of the files and the write that says that all is good.
#[test]
fn one_that_the_firmware_starts_already_starts_nobody() {
    for left in [2, 0] {
        let mut fake = with_loader(2, left);
        fake.second = Second::IsFirst;
        assert_eq!(boots(&mut fake, Asked::default()), (B, true));
        assert_eq!((starts(&fake), fake.entry(Slot::B).tries), (Some(left), 1));
    }
}

#[test]
fn one_below_the_floor_is_never_started() {
    let mut fake = with_loader(3, 3);
    let mut block = fake.current().unwrap().block.clone();
    block.set_marks(&bootctl::Marks { loader_floor: 3, ..block.marks() });
    fake.copies[0] = bootctl::first_writes(block)[0].block.bytes().to_vec();
    assert_eq!(boots(&mut fake, Asked::default()), (A, false));
    assert!(fake.entry(Slot::B).reason_text().contains("below the floor 3"));
}

#[test]
fn a_start_that_cannot_be_counted_is_none() {
    let mut fake = with_loader(3, 3);
    fake.read_only = true;
    assert_eq!(boots(&mut fake, Asked::default()), (A, false));
    assert_eq!((starts(&fake), fake.entry(Slot::B).tries), (Some(3), 3));
}

#[test]
fn who_repairs_the_machine_is_not_kept_by_it() {
    let mut fake = with_loader(3, 3);
    let asked = Asked { recovery: true, ..Asked::default() };
    assert_eq!(boots(&mut fake, asked), (A, false));
    assert_eq!(starts(&fake), Some(3));
}

#[test]
fn what_a_check_said_is_the_reason() {
    let mut fake = with_loader(0, 0);
    let block = fake.current().unwrap().block;
    let failed = change::fail(&block, Slot::B, reason::HEALTH, "service web", 5);
    fake.copies[0] = bootctl::first_writes(failed)[0].block.bytes().to_vec();
    assert_eq!(boots(&mut fake, Asked::default()), (A, false));
    assert_eq!((fake.entry(Slot::B).reason_text(), starts(&fake)), ("service web", None));
}

proptest! {
    /// Whatever becomes of each start, and of the release: a machine with an old release that works comes to a system.
    #[test]
    fn the_old_release_is_never_far(ends in prop::collection::vec(0u8..5, 0..12), tries in 0u8..4, left in 0u32..4) {
        let mut fake = with_loader(tries, left);
        for end in ends {
            fake.second = [Second::TakesOver, Second::TakesOver, Second::ComesBack, Second::ComesBackAfter(Slot::B), Second::IsFirst][usize::from(end)];
            match power_on(&mut fake, Asked::default()) {
                // It takes over, and either hangs or boots the release, which fails its checks.
                None if end == 0 => {}
                None => prop_assert!(power_on(&mut fake, TRIED).unwrap().is_ok()),
                Some(booted) => {
                    let boot = booted.unwrap_or_else(|attempts| panic!("{attempts:?}"));
                    prop_assert!(boot.source == A || boot.loader_on_trial, "the release boots through its loader");
                }
            }
        }
        fake.second = Second::TakesOver;
        let powered = (0..4).find_map(|_| power_on(&mut fake, Asked::default()));
        prop_assert!(powered.is_some_and(|booted| booted.is_ok_and(|boot| boot.source == A)));
    }
}
