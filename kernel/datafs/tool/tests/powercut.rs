//! Power cuts at every write: after each the volume opens, nothing is damaged, what was synced is there, and everything else is old or new.

use datatool::sweep::cut::Effort;
use datatool::sweep::record::Site;
use datatool::sweep::run::{Counts, Plan, Run, sweep};
use datatool::sweep::workloads;

const CUTS: Effort = Effort { window_max: 8, subsets: 24, sectors: 3, torn: 4, stride: 1 };
const PLAN: Plan = Plan { cuts: CUTS, first: 0, recover: 40, again: 4, seed: 1 };
/// For records of hundreds of blocks.
const LARGE: Plan = Plan { cuts: Effort { window_max: 3, subsets: 4, torn: 1, stride: 50, ..CUTS }, ..PLAN };

fn holds(run: &Run, plan: &Plan) -> Counts {
    let counts = sweep(run, None, plan).unwrap_or_else(|violation| panic!("{violation:?}"));
    println!("{} events, {counts:?}", run.recording.log.len());
    counts
}

#[test]
fn a_file_is_replaced() {
    holds(&workloads::replace(12), &PLAN);
}

#[test]
fn files_come_and_go() {
    holds(&workloads::storm(8), &PLAN);
}

#[test]
fn a_database_with_a_rollback_journal() {
    holds(&workloads::database(8), &PLAN);
}

#[test]
fn pages_are_overwritten_in_their_places() {
    holds(&workloads::in_place(8), &PLAN);
}

#[test]
fn the_volume_grows() {
    holds(&workloads::grow(), &PLAN);
}

#[test]
fn large_files_get_shorter() {
    holds(&workloads::truncate(2), &PLAN);
}

#[test]
fn quotas_change() {
    holds(&workloads::quotas(), &PLAN);
}

#[test]
fn the_log_wraps() {
    holds(&workloads::wrap(1), &LARGE);
}

#[test]
fn anything_at_random() {
    for seed in 0..4 {
        holds(&workloads::random(seed, 200), &PLAN);
    }
}

/// Many runs at random, each cut in many ways; as many rounds as the environment says, from a seed on.
#[test]
#[ignore = "hours long: make soak"]
fn soak() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (rounds, seed) = (number("DATAFS_SOAK_ROUNDS", 20), number("DATAFS_SOAK_SEED", 1));
    let mut total = Counts::default();
    for seed in seed..seed + rounds {
        let cuts = Effort { subsets: 60, sectors: 8, torn: 12, ..CUTS };
        let plan = Plan { cuts, recover: 20, again: 8, seed, ..PLAN };
        total += holds(&workloads::random(seed, 400), &plan);
        println!("seed {seed}: {total:?}");
    }
    let plan = Plan { cuts: Effort { subsets: 60, torn: 12, ..CUTS }, recover: 20, seed, ..PLAN };
    for run in
        [workloads::storm(24), workloads::database(24), workloads::truncate(4), workloads::quotas(), workloads::grow()]
    {
        total += holds(&run, &plan);
    }
    total += holds(&workloads::wrap(3), &Plan { seed, ..LARGE });
    println!("all: {total:?}");
}

#[test]
fn each_flush_is_needed() {
    fails_without(Site::Data, &workloads::replace(6), &PLAN);
    fails_without(Site::Overwritten, &workloads::in_place(3), &PLAN);
    fails_without(Site::Record, &workloads::replace(6), &PLAN);
    fails_without(Site::Homes, &workloads::replace(6), &PLAN);
    let wrap = workloads::wrap(1);
    let overwriting = wrap.recording.log.len() - 90;
    fails_without(Site::Superblock, &wrap, &Plan { first: overwriting, ..LARGE });
}

fn fails_without(site: Site, run: &Run, plan: &Plan) {
    let violation = sweep(run, Some(site), plan).expect_err("the flush is not missed");
    println!("without {site:?}: {violation:?}");
}
