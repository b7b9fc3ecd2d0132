//! Each rule says no, on a release that is right in every other way: the one of tests/vectors/trust.

use super::*;
use bootctl::{Marks, Slot, change};
use serde_json::Value;
use std::path::Path;

struct World {
    area: Vec<u8>,
    facts: Facts,
    running: Header,
    block: Block,
    slot_size: u64,
    loader_size: Option<u64>,
    now: u64,
}

/// The release: version 0.1.0, rollback index 7, key set 3, signed in 2026.
fn world() -> World {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/trust");
    let index: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("index.json")).unwrap()).unwrap();
    let area = std::fs::read(folder.join("base.bin")).unwrap();
    let roots: Vec<&str> = index["roots"].as_array().unwrap().iter().map(|root| root.as_str().unwrap()).collect();
    let text = format!("slot a\nroot_quorum 2 7\nroot {}\n", roots.join("\nroot "));
    let running = Header { version: release::Text::new("0.0.9").unwrap(), ..Header::parse(&area).unwrap() };
    let old = change::Release { digest: [1; 32], version: [0; 32], rollback_index: 6, key_set: 2, signed_at: 5 };
    let block = change::mark_good(&change::arm(&Block::empty(), Slot::A, &old, None), Slot::A, false, false);
    let (loader_size, now) = (Some(1 << 20), 1_800_000_000);
    World { area, facts: Facts::parse(&text).unwrap(), running, block, slot_size: 128 << 20, loader_size, now }
}

impl World {
    fn judge(&self) -> Result<change::Release, &'static str> {
        let machine = Machine {
            facts: &self.facts,
            running: &self.running,
            block: &self.block,
            slot_size: self.slot_size,
            loader_size: self.loader_size,
            now: self.now,
        };
        judge(&self.area, &machine, Leave::default()).map(|trusted| remembered(&trusted)).map_err(|refusal| {
            assert!(!refusal.to_string().is_empty());
            refusal.class()
        })
    }

    fn marks(&mut self, change: impl FnOnce(&mut Marks)) {
        let mut marks = self.block.marks();
        change(&mut marks);
        self.block.set_marks(&marks);
    }
}

#[test]
fn what_is_right_is_installed_and_remembered() {
    let release = world().judge().unwrap();
    assert_eq!((release.rollback_index, release.key_set, &release.version[..6]), (7, 3, &b"0.1.0\0"[..]));
    assert_eq!(release.signed_at, 1_790_000_000);
}

#[test]
fn each_rule_says_no() {
    type Change = fn(&mut World);
    let table: [(&str, Change); 16] = [
        ("no-slot", |world| world.facts.slot = None),
        ("root", |world| world.facts.root_quorums[0] = (3, 7)),
        ("root", |world| world.facts.root_quorums.clear()),
        ("profile", |world| world.running.profile = release::Text::new("hetzner").unwrap()),
        ("slot-size", |world| world.slot_size = 1 << 20),
        ("on-trial", |world| {
            let entry = bootctl::Entry { successful: 0, tries: 2, ..world.block.slot(Slot::A) };
            world.block.set_slot(Slot::A, &entry);
        }),
        ("below-floor", |world| world.marks(|marks| marks.rollback_floor = 8)),
        ("below-floor", |world| world.facts.rollback_floor = 8),
        ("old-keys", |world| world.facts.key_set_floor = 4),
        ("old-keys", |world| world.marks(|marks| marks.key_set_seen = 4)),
        ("old-keys", |world| world.marks(|marks| marks.key_set_floor = 4)),
        ("same", |world| world.facts.release = sha256::software(&world.area[..release::HEADER_SIZE])),
        ("downgrade", |world| world.running.version = release::Text::new("0.10.0").unwrap()),
        ("loader-below-floor", |world| world.marks(|marks| marks.loader_floor = 9)),
        ("loader-size", |world| world.loader_size = Some(1)),
        ("failed-here", |world| {
            let digest = sha256::software(&world.area[..release::HEADER_SIZE]);
            world.block.add_failed_release(digest);
        }),
    ];
    for (class, change) in table {
        let mut world = world();
        change(&mut world);
        assert_eq!(world.judge(), Err(class));
    }
}

/// Who repairs a machine installs though nothing is good.
#[test]
fn recovery_installs_over_a_trial() {
    let mut world = world();
    world.block.set_slot(Slot::A, &bootctl::Entry { successful: 0, ..world.block.slot(Slot::A) });
    assert_eq!(world.judge(), Err("on-trial"));
    world.facts.recovery = true;
    assert!(world.judge().is_ok());
}

#[test]
fn versions_are_compared_by_numbers() {
    let below = |a: &str, b: &str| numbers(a).lt(numbers(b));
    assert!(below("0.9.2", "0.10.0") && below("1.0", "1.0.1") && !below("0.1.0", "0.1.0") && !below("2", "1.99"));
}
