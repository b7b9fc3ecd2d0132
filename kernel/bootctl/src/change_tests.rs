//! Every step of an update is permitted, no step forbids what runs or what is kept to fall back to, and what nobody may write is refused.

use super::*;
use change::{Release, TRIES};
use permit::{Booted, Forbidden, Signed, permit};
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
        signed_at: 1000 + entry.rollback_index,
        loader: 2,
        recovery: false,
    }
}

/// What the signatures in a slot vouch for: here those of the release that the block names.
fn signed(block: &Block, slot: Slot) -> Signed {
    let entry = block.slot(slot);
    Signed {
        signed_at: 1000 + entry.rollback_index,
        key_set: entry.key_set,
        loader: Some(loader(entry.rollback_index)),
    }
}

fn loader(index: u64) -> Loader {
    Loader { digest: [100 + index as u8; 32], length: 1000 + index as u32, security: 2 }
}

/// The other slot's signatures vouch for nothing.
fn permits(old: &Block, new: &Block, booted: &Booted) -> Result<(), &'static str> {
    permit(old, new, booted, Signed::default).map_err(Forbidden::class)
}

/// Slot a holds the release of this index, good; b is empty.
fn fresh(index: u64) -> Block {
    let armed = change::arm(&Block::empty(), Slot::A, &release(index), None);
    change::mark_good(&armed, Slot::A, false, false)
}

#[test]
fn an_update_from_begin_to_good() {
    let old = fresh(5);
    assert_eq!((old.rollback_floor(), old.slot(Slot::A).is_good()), (5, true));
    let begun = change::begin(&old, Slot::B);
    assert_eq!(candidates(&begun).as_slice(), [Slot::A]);
    let armed = change::arm(&begun, Slot::B, &release(6), None);
    assert_eq!(candidates(&armed).as_slice(), [Slot::B, Slot::A]);
    assert_eq!((armed.slot(Slot::B).tries, armed.slot(Slot::A).priority), (TRIES, MAX_PRIORITY - 1));
    assert_eq!((armed.marks().signed_at, armed.marks().key_set_seen, armed.rollback_floor()), (1006, 2, 5));
    let good = change::mark_good(&armed, Slot::B, true, false);
    assert_eq!((good.rollback_floor(), good.slot(Slot::B).is_good(), good.slot(Slot::B).tries), (5, true, 0));
    assert_eq!(candidates(&good).as_slice(), [Slot::B, Slot::A], "the old one stays to fall back to");
    let committed = change::commit(&good, Slot::B, 2);
    assert_eq!(committed.rollback_floor(), 6);
    assert_eq!(candidates(&committed).as_slice(), [Slot::B]);
    let copied = change::copied(&committed, Slot::B);
    assert_eq!(candidates(&copied).as_slice(), [Slot::B, Slot::A]);
    assert_eq!(copied.slot(Slot::A).release_digest, [6; 32]);
    assert!(!good.is_copy_due() && committed.is_copy_due() && !copied.is_copy_due());
    let revoking = change::mark_good(&armed, Slot::B, true, true);
    assert_eq!(candidates(&revoking).as_slice(), [Slot::B], "a release that revokes older ones leaves none");
    assert!(change::wants_copy(&revoking, Slot::B), "and takes the place of what it forbids");
    let both = change::copied(&revoking, Slot::B);
    assert!(!change::mark_good(&both, Slot::B, true, true).is_copy_due(), "once");
}

/// A cut between the floors and the end of the copy: the next boot knows what is left to do, whatever had been done of it.
#[test]
fn a_commit_that_was_cut_is_taken_up_again() {
    let good = change::mark_good(&change::arm(&fresh(5), Slot::B, &release(6), None), Slot::B, true, false);
    let committed = change::commit(&good, Slot::B, 2);
    for cut in [committed.clone(), change::begin(&committed, Slot::A)] {
        assert!(change::wants_copy(&cut, Slot::B));
        assert_eq!(candidates(&cut).as_slice(), [Slot::B]);
        assert_eq!(candidates(&change::copied(&cut, Slot::B)).as_slice(), [Slot::B, Slot::A]);
        // What is installed instead takes the place.
        assert!(!change::wants_copy(&change::arm(&cut, Slot::A, &release(7), None), Slot::B));
        // A slot that is given up is copied nowhere.
        let mut given_up = cut.clone();
        given_up.set_slot(Slot::B, &Entry { priority: 0, ..cut.slot(Slot::B) });
        assert!(!change::wants_copy(&given_up, Slot::B));
        assert_eq!(permits(&cut, &change::begin(&cut, Slot::A), &booted(&cut, Slot::B)), Ok(()));
    }
    assert_eq!(permits(&good, &committed, &booted(&good, Slot::B)), Ok(()));
    assert!(!change::wants_copy(&good, Slot::B));
    // Flags that this version does not know stay, and nobody sets them.
    let mut unknown = committed.clone();
    unknown.put(FLAGS + 1, &[1]);
    assert_eq!(permits(&committed, &unknown, &booted(&good, Slot::B)), Err("unknown"));
    assert_eq!(change::copied(&unknown, Slot::B).get::<8>(FLAGS), [0, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_failure_is_kept_with_its_first_reason() {
    let armed = change::arm(&fresh(5), Slot::B, &release(6), None);
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
    assert_eq!(change::arm(&begun, Slot::B, &release(7), None).slot(Slot::B).reason_code, reason::NONE);
}

#[test]
fn by_hand_the_other_slot_boots_and_this_one_never_again() {
    let good = change::mark_good(&change::arm(&fresh(5), Slot::B, &release(6), None), Slot::B, true, false);
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
    let mut block = change::mark_good(&change::arm(&fresh(5), Slot::B, &release(6), None), Slot::B, true, false);
    let stuck = Entry { unfinished_boots: UNFINISHED_MAX, ..block.slot(Slot::B) };
    block.set_slot(Slot::B, &stuck);
    assert_eq!(candidates(&block).as_slice(), [Slot::A, Slot::B]);
    assert_eq!(candidates(&change::ready(&block, Slot::B)).as_slice(), [Slot::B, Slot::A]);
}

type Edit = fn(&mut Block);

/// What may not be written: a change, and the class of the refusal.
fn refused_of_a_trial() -> [(&'static str, Edit); 30] {
    fn marks(block: &mut Block, edit: impl FnOnce(&mut Marks)) {
        let mut marks = block.marks();
        edit(&mut marks);
        block.set_marks(&marks);
    }
    fn other(block: &mut Block, edit: impl FnOnce(&mut Entry)) {
        let mut entry = block.slot(Slot::A);
        edit(&mut entry);
        block.set_slot(Slot::A, &entry);
    }
    [
        ("outdated", |block| block.put(SEQUENCE, &9u64.to_le_bytes())),
        ("falls", |block| block.set_rollback_floor(4)),
        ("falls", |block| marks(block, |marks| marks.signed_at = 1)),
        ("falls", |block| marks(block, |marks| marks.key_set_seen = 0)),
        ("falls", |block| marks(block, |marks| marks.key_set_floor = 0)),
        ("above-running", |block| block.set_rollback_floor(7)),
        ("above-running", |block| marks(block, |marks| marks.key_set_floor = 9)),
        ("on-trial", |block| block.set_rollback_floor(6)),
        ("on-trial", |block| marks(block, |marks| marks.key_set_floor = 2)),
        ("unsigned", |block| marks(block, |marks| marks.key_set_seen += 1)),
        ("unsigned", |block| marks(block, |marks| marks.key_set_seen = u32::MAX)),
        ("unsigned", |block| marks(block, |marks| marks.signed_at += 1)),
        ("unsigned", |block| marks(block, |marks| marks.signed_at = u64::MAX)),
        ("above-running", |block| marks(block, |marks| marks.loader_floor = 3)),
        ("on-trial", |block| marks(block, |marks| marks.loader_floor = 2)),
        // Not even that of a release which somebody has signed: the other slot is not to be tried.
        ("loader", |block| {
            block.set_loader_trial(Some(&LoaderTrial { loader: loader(5), tries: 1 }));
        }),
        ("unknown", |block| block.put(LOADER_TRIES, &[1])),
        ("rises", |block| marks(block, |marks| marks.tuf[0] = 1)),
        ("rises", |block| marks(block, |marks| marks.tuf[1] = 1)),
        ("rises", |block| marks(block, |marks| marks.tuf[2] = 1)),
        // Another release is put into the slot that was good; the slot is cleared; or it would not be taken.
        ("not-booted", |block| other(block, |entry| entry.release_digest = [9; 32])),
        ("fallback", |block| *block = change::begin(block, Slot::A)),
        ("fallback", |block| other(block, |entry| entry.successful = 0)),
        ("fallback", |block| other(block, |entry| entry.unfinished_boots = UNFINISHED_MAX)),
        ("running", |block| block.set_slot(Slot::B, &Entry { release_digest: [9; 32], ..block.slot(Slot::B) })),
        ("running", |block| block.set_slot(Slot::B, &Entry { rollback_index: 99, ..block.slot(Slot::B) })),
        ("bounds", |block| other(block, |entry| entry.tries = 8)),
        ("bounds", |block| other(block, |entry| entry.priority = 16)),
        ("unknown", |block| block.put(3000, &[1])),
        ("unknown", |block| block.put(80, &[0])),
    ]
}

#[test]
fn what_nobody_may_write_is_refused() {
    let mut old = change::arm(&fresh(5), Slot::B, &release(6), None);
    old.set_marks(&Marks { key_set_floor: 1, ..old.marks() });
    let running = booted(&old, Slot::B);
    for (class, edit) in refused_of_a_trial() {
        let mut new = old.clone();
        edit(&mut new);
        assert_eq!(permits(&old, &new, &running), Err(class));
    }
    assert_eq!(permits(&old, &old, &running), Ok(()));
    // The slot that was not booted cannot be made good, the one that was can; from then on the other may be filled.
    let from_a = booted(&old, Slot::A);
    let good = change::mark_good(&old, Slot::B, true, false);
    assert_eq!(permits(&old, &good, &from_a), Err("not-booted"));
    assert_eq!(permits(&old, &good, &running), Ok(()));
    assert_eq!(permits(&good, &change::begin(&good, Slot::A), &running), Ok(()));
    // From no slot, none is made good: `base.img` proves nothing of them.
    let from_esp = Booted { slot: None, ..running };
    assert_eq!(permits(&old, &good, &from_esp), Err("not-booted"));
    // Who repairs a machine may fill either.
    assert_eq!(permits(&old, &change::begin(&old, Slot::A), &Booted { recovery: true, ..running }), Ok(()));
}

/// The marks that an install raises stand on the signatures of what it has put into the other slot.
#[test]
fn a_newer_key_set_is_seen_when_it_is_signed_in_the_other_slot() {
    let old = change::begin(&fresh(5), Slot::B);
    let armed = change::arm(&old, Slot::B, &release(9), None);
    let running = booted(&old, Slot::A);
    assert_eq!((armed.marks().key_set_seen, armed.marks().signed_at), (3, 1009));
    for (other, expected) in [
        (Signed { signed_at: 1009, key_set: 3, loader: None }, Ok(())),
        (Signed { signed_at: 1008, key_set: 3, loader: None }, Err(Forbidden::Unsigned("newest signed time"))),
        (Signed { signed_at: 1009, key_set: 2, loader: None }, Err(Forbidden::Unsigned("newest key set"))),
        (Signed::default(), Err(Forbidden::Unsigned("newest signed time"))),
    ] {
        assert_eq!(permit(&old, &armed, &running, || other), expected);
    }
    // Nobody reads the slot for a change that raises neither.
    assert_eq!(permit(&old, &change::retry(&old), &running, || panic!("it was asked")), Ok(()));
}

/// A loader on trial: with its release, signed with it, started a few times, given up with it.
#[test]
fn a_loader_is_tried_with_its_release() {
    let begun = change::begin(&fresh(5), Slot::B);
    let armed = change::arm(&begun, Slot::B, &release(6), Some(loader(6)));
    let running = booted(&begun, Slot::A);
    assert_eq!(armed.loader_trial(), Some(LoaderTrial { loader: loader(6), tries: change::LOADER_TRIES }));
    let permits = |new: &Block, signed: Option<Loader>| {
        let other = || Signed { signed_at: 1006, key_set: 2, loader: signed };
        permit(&begun, new, &running, other).map_err(Forbidden::class)
    };
    assert_eq!(permits(&armed, Some(loader(6))), Ok(()));
    for other in
        [None, Some(loader(7)), Some(Loader { length: 5, ..loader(6) }), Some(Loader { security: 9, ..loader(6) })]
    {
        assert_eq!(permits(&armed, other), Err("unsigned"), "{other:?}");
    }
    let mut many = armed.clone();
    many.set_loader_trial(Some(&LoaderTrial { loader: loader(6), tries: change::LOADER_TRIES + 1 }));
    assert_eq!(permits(&many, Some(loader(6))), Err("loader"));
    // Its starts come to an end; the release is given up then, and remembered.
    let mut started = armed.clone();
    for left in (0..change::LOADER_TRIES).rev() {
        started = change::start_loader(&started).unwrap();
        assert_eq!(started.loader_trial().map(|trial| trial.tries), Some(left));
    }
    assert_eq!(change::start_loader(&started), None);
    let given_up = change::give_up_loader(&started, "it did not come to a system");
    let entry = given_up.slot(Slot::B);
    assert_eq!((entry.priority, entry.reason_code), (0, reason::LOADER));
    assert_eq!((given_up.loader_trial(), candidates(&given_up).as_slice()), (None, &[Slot::A][..]));
    assert_eq!(given_up.failed_releases().next(), Some([6; 32]));
    // What a check said of the release is worth more.
    let unhealthy = change::give_up_loader(&change::fail(&started, Slot::B, reason::HEALTH, "web", 7), "no system");
    assert_eq!(unhealthy.slot(Slot::B).reason_text(), "web");
    // A good one keeps its loader; and whoever gives a release up gives its loader up.
    for ended in [
        change::mark_good(&started, Slot::B, true, false),
        change::give_up(&started, Slot::B, reason::TRIES, "used up", 0),
        change::begin(&started, Slot::B),
        change::roll_back(&started, Slot::B, "ordered", 1),
    ] {
        assert_eq!(ended.loader_trial(), None);
        assert_eq!(
            self::permits(&started, &ended, &booted(&started, Slot::B)).err(),
            match ended.slot(Slot::B) {
                entry if entry.release_digest == [0; 32] => Some("running"),
                _ => None,
            }
        );
    }
}

/// A block of before there were loaders on trial: what stands there is not one, is kept, and makes room for one.
#[test]
fn an_older_block_has_no_loader_on_trial() {
    let mut old = change::begin(&fresh(5), Slot::B);
    old.put(LENGTH, &736_u32.to_le_bytes());
    old.put(LOADER, &[0x5a; 60]);
    assert_eq!(old.loader_trial(), None);
    assert_eq!(change::retry(&old), old);
    let armed = change::arm(&old, Slot::B, &release(6), Some(loader(6)));
    assert_eq!(armed.loader_trial().map(|trial| trial.loader), Some(loader(6)));
    assert_eq!(armed.get::<20>(LOADER + 40), [0x5a; 20]);
    let signed = || Signed { signed_at: 1006, key_set: 2, loader: Some(loader(6)) };
    assert_eq!(permit(&old, &armed, &booted(&old, Slot::A), signed), Ok(()));
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
                    let armed = change::arm(&begun, running.other(), &release(index), None);
                    vec![begun, armed]
                }
                Step::Good { other_verifies, revokes_older } => {
                    vec![change::mark_good(&block, running, other_verifies, revokes_older)]
                }
                Step::Commit if block.slot(running).is_good() => vec![change::commit(&block, running, 2)],
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
                let other = || signed(&new, running.other());
                prop_assert_eq!(permit(&block, &new, &now, other), Ok(()), "{:?}", step);
                block = new;
            }
            prop_assert!(block.rollback_floor() <= block.slot(running).rollback_index || !block.slot(running).is_good());
            prop_assert!(!candidates(&block).is_empty(), "after {:?}: {:?}", step, block);
        }
    }

    /// Whatever is written, again and again: no mark comes above what was signed, and a release on trial leaves the other as it is.
    #[test]
    fn no_lie_locks_the_machine_out(
        writes in prop::collection::vec((edit(), edit(), any::<[bool; 2]>()), 1..20), on_trial in any::<bool>()
    ) {
        let armed = change::arm(&fresh(5), Slot::B, &release(6), None);
        let mut block = if on_trial { armed.clone() } else { change::mark_good(&armed, Slot::B, true, false) };
        let running = booted(&block, Slot::B);
        let other = Signed { signed_at: 1007, key_set: 3, loader: None };
        for (first, second, [also, as_good]) in writes {
            let mut new = block.clone();
            first.apply(&mut new);
            if also {
                second.apply(&mut new);
            }
            if as_good && !on_trial {
                new.set_slot(Slot::B, &Entry { successful: 1, ..new.slot(Slot::B) });
            }
            let was_on_trial = !block.slot(Slot::B).is_good();
            if permit(&block, &new, &running, || other).is_err() {
                continue;
            }
            if was_on_trial && block.slot(Slot::A).is_good() {
                // The write that ends the trial may be the one that forbids what came before.
                let is_still = !new.slot(Slot::B).is_good();
                prop_assert!(!is_still || refusal(&new, Slot::A) == refusal(&block, Slot::A));
                prop_assert!(new.slot(Slot::A).priority >= block.slot(Slot::A).priority);
            }
            block = new;
            let marks = block.marks();
            prop_assert!(marks.rollback_floor <= 6 && marks.key_set_floor <= 2, "{:?}", marks);
            prop_assert!(marks.signed_at <= 1007 && marks.key_set_seen <= 3, "{:?}", marks);
            prop_assert!(marks.loader_floor <= 2 && marks.tuf == [0; 3], "{:?}", marks);
            prop_assert_eq!(block.loader_trial(), None, "nobody has signed one");
        }
    }
}

/// One thing that a liar writes.
#[derive(Clone, Debug)]
enum Lie {
    Mark(usize, u64),
    Slot(bool, [u8; 5], u8),
    Loader(u32, u64),
}

fn edit() -> impl Strategy<Value = Lie> {
    let value = prop_oneof![0u64..12, 1000u64..1012, any::<u64>(), Just(u64::MAX)];
    prop_oneof![
        (0usize..8, value).prop_map(|(mark, value)| Lie::Mark(mark, value)),
        (any::<bool>(), any::<[u8; 5]>(), 4u8..9).prop_map(|(is_a, marks, digest)| {
            let bounds = [16, 8, 2, 2, 8];
            Lie::Slot(is_a, core::array::from_fn(|at| marks[at] % bounds[at]), digest)
        }),
        (0u32..5, 0u64..9).prop_map(|(tries, index)| Lie::Loader(tries, index)),
    ]
}

impl Lie {
    fn apply(&self, block: &mut Block) {
        match *self {
            Self::Mark(mark, value) => {
                let (mut marks, small) = (block.marks(), value as u32);
                match mark {
                    0 => marks.rollback_floor = value,
                    1 => marks.signed_at = value,
                    2 => marks.key_set_floor = small,
                    3 => marks.key_set_seen = small,
                    4 => marks.loader_floor = small,
                    at => marks.tuf[at - 5] = small,
                }
                block.set_marks(&marks);
            }
            Self::Slot(is_a, [priority, tries, successful, bad, unfinished_boots], digest) => {
                let slot = if is_a { Slot::A } else { Slot::B };
                let old = block.slot(slot);
                let release_digest = if digest < 7 { old.release_digest } else { [digest; 32] };
                let entry = Entry { priority, tries, successful, bad, unfinished_boots, release_digest, ..old };
                block.set_slot(slot, &entry);
            }
            Self::Loader(tries, index) => {
                block.set_loader_trial(Some(&LoaderTrial { loader: loader(index), tries }));
            }
        }
    }
}
