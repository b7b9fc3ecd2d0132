//! Random operations: the volume does what the model does, and holds what the model holds, whenever it is opened again.

use std::collections::BTreeMap;

use datafs::Options;
use datatool::sweep::oracle::{compare, undamaged};
use datatool::sweep::pair::Pair;
use datatool::sweep::random::{Chooser, Mix};
use datatool::sweep::record::Recorder;
use datatool::sweep::run::{Size, volume};
use datatool::{Device, Mounted};
use proptest::prelude::*;

const MIX: Mix = Mix { file_blocks: 24, names: 14, sync: 12, checkpoint: 60, remount: 90, quotas: true };

fn pair(size: Size) -> Pair {
    let Mounted { device, volume } = volume(size);
    Pair::new(Mounted { device: Recorder::new(device), volume })
}

/// Does `count` operations, and compares everything now and then.
fn run(size: Size, mix: Mix, seed: u64, count: usize) -> Pair {
    let mut pair = pair(size);
    let mut chooser = Chooser::new(seed, mix);
    for step in 0..count {
        chooser.step(&mut pair);
        if step % 64 == 63 {
            check(&mut pair, "in memory");
        }
        if step % 256 == 255 {
            let options = options(&pair);
            chooser.forget_open();
            pair.remount(options);
            undamaged(&pair.mounted.device).unwrap();
            check(&mut pair, "after a remount");
        }
    }
    pair
}

fn options(pair: &Pair) -> Options {
    datatool::mounted::options(pair.mounted.device.blocks())
}

fn check(pair: &mut Pair, when: &str) {
    let Pair { mounted, model, history, .. } = pair;
    if let Err(what) = compare(mounted, model, &history.contents, usize::MAX) {
        panic!("{when}: {what}");
    }
    pair.mounted.device.log.clear();
}

const ROOM: Size = Size { device: 6000, volume: 6000, inodes: 256, log: 256 };
/// Hardly any block is free: operations fail in the middle.
const NO_ROOM: Size = Size { device: 380, volume: 380, inodes: 64, log: 256 };
const LARGE_FILES: Mix = Mix { file_blocks: 40, ..MIX };
/// Numbers of inodes are used up.
const NO_INODES: Size = Size { device: 2000, volume: 2000, inodes: 64, log: 256 };
const MANY_FILES: Mix = Mix { names: 60, file_blocks: 4, ..MIX };
/// Transactions grow until they are full, or what they freed is needed.
const NO_SYNC: Mix = Mix { sync: 0, checkpoint: 0, file_blocks: 40, ..MIX };

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_room(seed in any::<u64>()) {
        run(ROOM, MIX, seed, 1200);
    }

    #[test]
    fn without_room(seed in any::<u64>()) {
        run(NO_ROOM, LARGE_FILES, seed, 1200);
    }

    #[test]
    fn without_syncs(seed in any::<u64>()) {
        run(NO_ROOM, NO_SYNC, seed, 1200);
        run(ROOM, NO_SYNC, seed, 1200);
    }

    #[test]
    fn without_inodes(seed in any::<u64>()) {
        run(NO_INODES, MANY_FILES, seed, 1200);
    }
}

/// What is random meets everything that an operation can stop for, and the log goes round several times.
#[test]
fn operations_stop_for_every_reason() {
    let runs = [(ROOM, MIX), (NO_ROOM, LARGE_FILES), (NO_INODES, MANY_FILES), (NO_ROOM, NO_SYNC), (ROOM, NO_SYNC)];
    let mut stops = BTreeMap::new();
    for (size, mix) in runs {
        let pair = run(size, mix, 7, 3000);
        pair.stops.into_iter().for_each(|(why, count)| *stops.entry(why).or_insert(0) += count);
    }
    println!("{stops:?}");
    let wanted =
        ["Missing", "Commit", "Checkpoint", "NotFound", "Exists", "NotDirectory", "IsDirectory", "NotEmpty", "Invalid"];
    let wanted = wanted.into_iter().chain([
        "NameTooLong",
        "FileTooBig",
        "NoSpace",
        "NoInodes",
        "Quota",
        "OtherQuota",
        "NoAttribute",
        "Stale",
    ]);
    let absent: Vec<&str> = wanted.filter(|why| !stops.contains_key(*why)).collect();
    assert!(absent.is_empty(), "{absent:?}");
}
