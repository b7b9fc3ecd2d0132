//! Random operations: the volume does what the model does, and holds what the model holds, whenever it is opened again.

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
fn run(size: Size, mix: Mix, seed: u64, count: usize) {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_room(seed in any::<u64>()) {
        run(Size { device: 6000, volume: 6000, inodes: 256, log: 256 }, MIX, seed, 1200);
    }

    /// Hardly any block is free: operations fail in the middle.
    #[test]
    fn without_room(seed in any::<u64>()) {
        run(Size { device: 380, volume: 380, inodes: 64, log: 256 }, Mix { file_blocks: 40, ..MIX }, seed, 1200);
    }

    /// Numbers of inodes are used up.
    #[test]
    fn without_inodes(seed in any::<u64>()) {
        run(Size { device: 2000, volume: 2000, inodes: 64, log: 256 }, Mix { names: 60, file_blocks: 4, ..MIX }, seed, 1200);
    }
}
