//! Work that is recorded and cut. Each panics when the volume does other than its model.

use datafs::layout::inode::LINK;
use datafs::{BLOCK, InodeNumber, ROOT, SetXattr};

use super::pair::Pair;
use super::random::{Chooser, Mix};
use super::run::{Run, SMALL, Size, record};

/// Everything in them succeeds, but for what is meant to be refused.
const FITS: &str = "there is room";

fn fill(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (seed * 31 + at / 512 * 7 + at) as u8).collect()
}

/// A configuration file is replaced: written under another name, synced, renamed, synced.
///
/// # Panics
/// The volume does other than its model.
#[must_use]
pub fn replace(times: usize) -> Run {
    record(SMALL, |pair| {
        let etc = pair.directory(ROOT, b"etc").expect(FITS);
        for version in 0..times {
            let file = pair.file(etc, b"config.new").expect(FITS);
            pair.write(file, 0, &fill(version, 700 + version % 5 * 1500)).expect(FITS);
            pair.sync();
            pair.rename((etc, b"config.new"), (etc, b"config")).expect(FITS);
            if version % 3 != 1 {
                pair.sync();
            }
        }
        pair.checkpoint();
    })
}

/// Files come and go, in a directory of several blocks, with links, targets and attributes.
///
/// # Panics
/// The volume does other than its model.
#[must_use]
pub fn storm(rounds: usize) -> Run {
    record(SMALL, |pair| {
        let spool = pair.directory(ROOT, b"spool").expect(FITS);
        for round in 0..rounds {
            for at in 0..6 {
                let name = format!("{round}-{at}-{}", "x".repeat(at * 40));
                let file = pair.file(spool, name.as_bytes()).expect(FITS);
                pair.write(file, at as u64 * 3000, &fill(at, 900)).expect(FITS);
                pair.set_xattr(file, b"user.origin", &fill(at, 40 * at), SetXattr::Any).expect(FITS);
            }
            let target = vec![b't'; 100 + round % 4 * 1200];
            pair.create(spool, Some(format!("link{round}").as_bytes()), LINK | 0o777, &target).expect(FITS);
            if round % 2 == 0 {
                pair.sync();
            }
            let names: Vec<_> = pair.model.node(spool).expect(FITS).names.keys().cloned().collect();
            for name in names.iter().skip(round % 3).step_by(2) {
                pair.remove((spool, name)).expect(FITS);
            }
            match round % 4 {
                1 => pair.sync(),
                3 => pair.checkpoint(),
                _ => {}
            }
        }
    })
}

/// A database with a rollback journal: old pages into the journal, synced; pages overwritten in their places, synced; the journal goes.
///
/// # Panics
/// The volume does other than its model.
#[must_use]
pub fn database(transactions: usize) -> Run {
    record(SMALL, |pair| {
        let file = pair.file(ROOT, b"db").expect(FITS);
        pair.write(file, 0, &fill(0, 6 * BLOCK)).expect(FITS);
        pair.sync();
        for transaction in 1..=transactions {
            let pages = [transaction % 6, (transaction * 5 + 2) % 6];
            let journal = pair.file(ROOT, b"db-journal").expect(FITS);
            pair.write(journal, 0, &fill(transaction, 512)).expect(FITS);
            for (at, &page) in pages.iter().enumerate() {
                let old = pair.block(file, page as u32).to_vec();
                pair.write(journal, 512 + (at * BLOCK) as u64, &old).expect(FITS);
            }
            pair.sync();
            pair.write(journal, 8, &[pages.len() as u8; 4]).expect(FITS);
            pair.sync();
            for &page in &pages {
                pair.write(file, (page * BLOCK) as u64, &fill(transaction + page, BLOCK)).expect(FITS);
            }
            if transaction % 3 == 0 {
                let size = pair.model.node(file).expect(FITS).attributes.size;
                pair.write(file, size, &fill(transaction, 300)).expect(FITS);
            }
            if transaction % 2 == 0 {
                pair.sync()
            } else {
                pair.sync_data()
            }
            if transaction % 4 == 0 {
                pair.truncate(journal, 0).expect(FITS);
            }
            pair.remove((ROOT, b"db-journal")).expect(FITS);
            pair.sync();
        }
        pair.checkpoint();
    })
}

/// Pages of a file are overwritten in their places, and `fdatasync` is called after each.
///
/// # Panics
/// The volume does other than its model.
#[must_use]
pub fn in_place(times: usize) -> Run {
    record(SMALL, |pair| {
        let file = pair.file(ROOT, b"pages").expect(FITS);
        pair.write(file, 0, &fill(0, 4 * BLOCK)).expect(FITS);
        pair.sync();
        for time in 1..=times {
            pair.write(file, (time % 4 * BLOCK) as u64, &fill(time, BLOCK)).expect(FITS);
            pair.write(file, (time * 700) as u64, &fill(time, 900)).expect(FITS);
            pair.sync_data();
        }
        pair.sync();
    })
}

/// A volume that is full becomes larger than its first group.
///
/// # Panics
/// The volume does other than its model.
#[must_use]
pub fn grow() -> Run {
    record(Size { device: 18_000, volume: 400, inodes: 64, log: 256 }, |pair| {
        let mut count = 0;
        while let Ok(file) = pair.file(ROOT, format!("{count}").as_bytes()) {
            if pair.write(file, 0, &fill(count, 5 * BLOCK)).is_err() {
                break;
            }
            count += 1;
        }
        pair.sync();
        for blocks in [420, 17_000, 18_000] {
            pair.grow(blocks).expect(FITS);
            if blocks == 17_000 {
                pair.sync();
            }
            let file = pair.file(ROOT, format!("with {blocks}").as_bytes()).expect(FITS);
            pair.write(file, 0, &fill(count, 12 * BLOCK)).expect(FITS);
            pair.sync();
            pair.checkpoint();
        }
        for at in 0..70 {
            pair.file(ROOT, format!("more {at}").as_bytes()).expect(FITS);
        }
        pair.sync();
    })
}

/// Large files of many extents get shorter and longer, and get holes.
///
/// # Panics
/// The volume does other than its model.
#[must_use]
pub fn truncate(rounds: usize) -> Run {
    record(SMALL, |pair| {
        let files: Vec<InodeNumber> =
            (0..2).map(|at| pair.file(ROOT, format!("large{at}").as_bytes()).expect(FITS)).collect();
        for round in 0..rounds {
            // by turns, so that each file has an extent for each block
            for block in 0..50 {
                for &file in &files {
                    pair.write(file, block * BLOCK as u64, &fill(block as usize + round, 600)).expect(FITS);
                }
            }
            pair.sync();
            pair.truncate(files[0], 5000).expect(FITS);
            pair.punch(files[1], 3, 40).expect(FITS);
            if round % 2 == 0 {
                pair.sync();
            }
            pair.truncate(files[0], 7500).expect(FITS);
            pair.preallocate(files[1], 10, 8).expect(FITS);
            pair.write(files[1], 11 * BLOCK as u64 + 50, &fill(round, 5000)).expect(FITS);
            pair.sync();
            pair.truncate(files[1], 100).expect(FITS);
            pair.write(files[1], 3000, &fill(round, 10)).expect(FITS);
            pair.checkpoint();
        }
    })
}

/// Inodes change their quota ids, and limits are set and reached.
///
/// # Panics
/// The volume does other than its model.
#[must_use]
pub fn quotas() -> Run {
    record(SMALL, |pair| {
        let tree = pair.directory(ROOT, b"cell").expect(FITS);
        pair.set_quota_id(tree, 7).expect(FITS);
        pair.set_quota(7, 12, 6).expect(FITS);
        pair.sync();
        for at in 0..8 {
            let Ok(file) = pair.file(tree, format!("f{at}").as_bytes()) else { break };
            let refused = pair.write(file, 0, &fill(at, 3 * BLOCK)).is_err();
            if refused {
                pair.set_quota(7, 20 + at as u64, 9).expect(FITS);
                pair.sync();
            }
            pair.set_quota_id(file, if at % 2 == 0 { 70 } else { 7 }).expect(FITS);
        }
        pair.sync();
        pair.remove((tree, b"f0")).expect(FITS);
        pair.set_quota(7, 0, 0).expect(FITS);
        pair.checkpoint();
        pair.remove((tree, b"f1")).expect(FITS);
        pair.sync();
    })
}

/// The log is nearly as full as it may be when a checkpoint empties it, and the next record goes over its old beginning.
///
/// # Panics
/// The volume does other than its model.
#[must_use]
pub fn wrap(rounds: usize) -> Run {
    record(Size { device: 2000, volume: 2000, inodes: 256, log: 1024 }, |pair| {
        let files: Vec<InodeNumber> =
            (0..200).map(|at| pair.file(ROOT, format!("{at}").as_bytes()).expect(FITS)).collect();
        pair.checkpoint();
        for round in 0..rounds {
            for (record, many) in [200, 200, 200, 80, 200, 200].into_iter().enumerate() {
                for &file in &files[..many] {
                    pair.set_xattr(file, b"user.large", &fill(record + round, 4000), SetXattr::Any).expect(FITS);
                }
                pair.sync();
                if record == 4 {
                    pair.checkpoint();
                }
            }
        }
    })
}

/// Everything, at random.
///
/// # Panics
/// The volume does other than its model.
#[must_use]
pub fn random(seed: u64, operations: usize) -> Run {
    let mix = Mix { file_blocks: 12, names: 10, sync: 6, checkpoint: 40, remount: 0, quotas: true };
    record(SMALL, |pair: &mut Pair| {
        let mut chooser = Chooser::new(seed, mix);
        (0..operations).for_each(|_| chooser.step(pair));
    })
}
