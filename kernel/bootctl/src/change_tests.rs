//! Every step of an update is permitted, no step forbids what runs or what is kept to fall back to, and what nobody may write is refused.

use super::*;
use change::{Release, TRIES};
use permit::{Booted, permit};
use proptest::prelude::*;

fn release(index: u64) -> Release {
    Release {
        digest: [index as u8; 32],
        version: [b'0' + (index % 10) as u8; 32],
        rollback_index: index,
        key_set: 1 + index as u32 / 4,
        signed_at: 1000 + index,
    }
}

fn booted(block: &Block, slot: Slot) -> Booted {
    let entry = block.slot(slot);
    Booted {
        slot: Some(slot),
        digest: entry.release_digest,
        rollback_index: entry.rollback_index,
        key_set: entry.key_set,
    }
}

/// Slot a holds the release of this index, good; b is empty.
fn fresh(index: u64) -> Block {
    let armed = change::arm(&Block::empty(), Slot::A, &release(index));
    change::mark_good(&armed, Slot::A, false, false)
}

#[test]
fn an_update_from_begin_to_good() {
    let old = fresh(5);
    assert_eq!((old.rollback_floor(), old.slot(Slot::A).is_good()), (5, true));
    let begun = change::begin(&old, Slot::B);
    assert_eq!(candidates(&begun).as_slice(), [Slot::A]);
    let armed = change::arm(&begun, Slot::B, &release(6));
    assert_eq!(candidates(&armed).as_slice(), [Slot::B, Slot::A]);
    assert_eq!((armed.slot(Slot::B).tries, armed.slot(Slot::A).priority), (TRIES, MAX_PRIORITY - 1));
    assert_eq!((armed.marks().signed_at, armed.marks().key_set_seen, armed.rollback_floor()), (1006, 2, 5));
    let good = change::mark_good(&armed, Slot::B, true, false);
    assert_eq!((good.rollback_floor(), good.slot(Slot::B).is_good(), good.slot(Slot::B).tries), (5, true, 0));
    assert_eq!(candidates(&good).as_slice(), [Slot::B, Slot::A], "the old one stays to fall back to");
    let committed = change::commit(&good, Slot::B);
    assert_eq!(committed.rollback_floor(), 6);
    assert_eq!(candidates(&committed).as_slice(), [Slot::B]);
    let copied = change::copied(&committed, Slot::B);
    assert_eq!(candidates(&copied).as_slice(), [Slot::B, Slot::A]);
    assert_eq!(copied.slot(Slot::A).release_digest, [6; 32]);
    let revoking = change::mark_good(&armed, Slot::B, true, true);
    assert_eq!(candidates(&revoking).as_slice(), [Slot::B], "a release that revokes older ones leaves none");
}

#[test]
fn a_failure_is_kept_with_its_first_reason() {
    let armed = change::arm(&fresh(5), Slot::B, &release(6));
    let failed = change::fail(&armed, Slot::B, reason::HEALTH, "service web: exit status 1", 77);
    assert_eq!(failed.slot(Slot::B).tries, TRIES, "the loader counts them");
    let given_up = change::give_up(&failed, Slot::B, reason::TRIES, "its tries were used up", 0);
    let entry = given_up.slot(Slot::B);
    assert_eq!((entry.priority, entry.reason_code, entry.reason_time), (0, reason::HEALTH, 77));
    assert_eq!(entry.reason_text(), "service web: exit status 1");
    assert_eq!(given_up.failed_releases().collect::<Vec<_>>(), [[6; 32]]);
    let silent = change::give_up(&armed, Slot::B, reason::TRIES, "its tries were used up", 0);
    assert_eq!(silent.slot(Slot::B).reason_code, reason::TRIES);
    assert_eq!(change::retry(&given_up).failed_releases().count(), 0);
    // The next install keeps the reason until the slot holds something.
    let begun = change::begin(&given_up, Slot::B);
    assert_eq!(begun.slot(Slot::B).reason_text(), "service web: exit status 1");
    assert_eq!(change::arm(&begun, Slot::B, &release(7)).slot(Slot::B).reason_code, reason::NONE);
}

#[test]
fn by_hand_the_other_slot_boots_and_this_one_never_again() {
    let good = change::mark_good(&change::arm(&fresh(5), Slot::B, &release(6)), Slot::B, true, false);
    let back = change::roll_back(&good, Slot::B, "ordered", 9);
    assert_eq!(candidates(&back).as_slice(), [Slot::A]);
    assert_eq!(back.failed_releases().next(), Some([6; 32]));
    assert_eq!(back.slot(Slot::B).reason_code, reason::OPERATOR);
}

#[test]
fn the_last_failures_are_remembered_newest_first_and_once() {
    let mut block = Block::empty();
    block.add_failed_release([0; 32]);
    assert_eq!(block.failed_releases().count(), 0);
    for digest in [1, 2, 3, 2, 4, 5] {
        block.add_failed_release([digest; 32]);
    }
    assert_eq!(block.failed_releases().map(|digest| digest[0]).collect::<Vec<_>>(), [5, 4, 2, 3]);
}

#[test]
fn a_good_slot_that_does_not_get_ready_stands_behind_the_other() {
    let mut block = change::mark_good(&change::arm(&fresh(5), Slot::B, &release(6)), Slot::B, true, false);
    let stuck = Entry { unfinished_boots: UNFINISHED_MAX, ..block.slot(Slot::B) };
    block.set_slot(Slot::B, &stuck);
    assert_eq!(candidates(&block).as_slice(), [Slot::A, Slot::B]);
    assert_eq!(candidates(&change::ready(&block, Slot::B)).as_slice(), [Slot::B, Slot::A]);
}

/// What may not be written: a change, and the class of the refusal.
#[test]
fn what_nobody_may_write_is_refused() {
    let old = change::arm(&fresh(5), Slot::B, &release(6));
    let mut raised = old.marks();
    raised.key_set_floor = 1;
    let mut old_with_marks = old.clone();
    old_with_marks.set_marks(&raised);
    let old = old_with_marks;
    let running = booted(&old, Slot::B);
    type Edit = fn(&mut Block);
    let table: [(&str, Edit); 14] = [
        ("outdated", |block| block.put(SEQUENCE, &9u64.to_le_bytes())),
        ("falls", |block| block.set_rollback_floor(4)),
        ("falls", |block| block.set_marks(&Marks { signed_at: 1, ..block.marks() })),
        ("falls", |block| block.set_marks(&Marks { key_set_seen: 0, ..block.marks() })),
        ("falls", |block| block.set_marks(&Marks { key_set_floor: 0, ..block.marks() })),
        ("above-running", |block| block.set_rollback_floor(7)),
        ("above-running", |block| block.set_marks(&Marks { key_set_floor: 9, ..block.marks() })),
        ("not-booted", |block| {
            // Another release is put into the slot that was good.
            let entry = Entry { release_digest: [9; 32], ..block.slot(Slot::A) };
            block.set_slot(Slot::A, &entry);
        }),
        ("running", |block| block.set_slot(Slot::B, &Entry { release_digest: [9; 32], ..block.slot(Slot::B) })),
        ("running", |block| block.set_slot(Slot::B, &Entry { rollback_index: 99, ..block.slot(Slot::B) })),
        ("bounds", |block| block.set_slot(Slot::A, &Entry { tries: 8, ..block.slot(Slot::A) })),
        ("bounds", |block| block.set_slot(Slot::A, &Entry { priority: 16, ..block.slot(Slot::A) })),
        ("unknown", |block| block.put(3000, &[1])),
        ("unknown", |block| block.put(80, &[0])),
    ];
    for (class, edit) in table {
        let mut new = old.clone();
        edit(&mut new);
        assert_eq!(permit(&old, &new, &running).map_err(permit::Forbidden::class), Err(class));
    }
    assert_eq!(permit(&old, &old, &running), Ok(()));
    // The slot that was not booted cannot be made good, the one that was can.
    let from_a = booted(&old, Slot::A);
    let good = change::mark_good(&old, Slot::B, true, false);
    assert_eq!(permit(&old, &good, &from_a).map_err(permit::Forbidden::class), Err("not-booted"));
    assert_eq!(permit(&old, &good, &running), Ok(()));
    // From no slot, none is made good: `base.img` proves nothing of them.
    let from_esp = Booted { slot: None, ..running };
    assert_eq!(permit(&old, &good, &from_esp).map_err(permit::Forbidden::class), Err("not-booted"));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Install(u64),
    Boot,
    Good { other_verifies: bool, revokes_older: bool },
    Commit,
    Copy,
    RollBack,
    Fail,
    Retry,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..12).prop_map(Step::Install),
        4 => Just(Step::Boot),
        3 => (any::<bool>(), any::<bool>())
            .prop_map(|(other_verifies, revokes_older)| Step::Good { other_verifies, revokes_older }),
        1 => Just(Step::Commit),
        1 => Just(Step::Copy),
        1 => Just(Step::RollBack),
        1 => Just(Step::Fail),
        1 => Just(Step::Retry),
    ]
}

proptest! {
    /// Whatever is done in whatever order: each step is permitted, and afterwards something can boot.
    #[test]
    fn no_order_of_steps_leaves_nothing_to_boot(steps in prop::collection::vec(step(), 1..40)) {
        let mut block = fresh(5);
        let mut running = Slot::A;
        for step in steps {
            let now = booted(&block, running);
            let changed: Vec<Block> = match step {
                Step::Install(index) if block.slot(running).is_good() && index >= block.rollback_floor() => {
                    let begun = change::begin(&block, running.other());
                    let armed = change::arm(&begun, running.other(), &release(index));
                    vec![begun, armed]
                }
                Step::Good { other_verifies, revokes_older } => {
                    vec![change::mark_good(&block, running, other_verifies, revokes_older)]
                }
                Step::Commit if block.slot(running).is_good() => vec![change::commit(&block, running)],
                Step::Copy if block.slot(running).is_good() => vec![change::copied(&block, running)],
                Step::RollBack if refusal(&block, running.other()).is_none() && block.slot(running.other()).is_good() => {
                    vec![change::roll_back(&block, running, "ordered", 1)]
                }
                Step::Fail => vec![change::fail(&block, running, reason::HEALTH, "no", 1)],
                Step::Retry => vec![change::retry(&block)],
                Step::Boot => {
                    for slot in Slot::ALL {
                        if refusal(&block, slot) == Some(Refusal::TriesUsedUp) {
                            block = change::give_up(&block, slot, reason::TRIES, "used up", 0);
                        }
                    }
                    running = candidates(&block)[0];
                    let entry = block.slot(running);
                    if !entry.is_good() {
                        block.set_slot(running, &Entry { tries: entry.tries - 1, ..entry });
                    }
                    vec![]
                }
                _ => vec![],
            };
            for new in changed {
                prop_assert_eq!(permit(&block, &new, &now), Ok(()), "{:?}", step);
                block = new;
            }
            prop_assert!(block.rollback_floor() <= block.slot(running).rollback_index || !block.slot(running).is_good());
            prop_assert!(!candidates(&block).is_empty(), "after {:?}: {:?}", step, block);
        }
    }
}
