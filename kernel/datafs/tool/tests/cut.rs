//! The cuts of a log, by themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafs::BLOCK;
use datatool::sweep::cut::{Cut, Effort, WHOLE, cuts};
use datatool::sweep::record::Event;
use proptest::prelude::*;

const NOTHING: Effort = Effort { window_max: 0, subsets: 0, sectors: 0, torn: 0, stride: 1 };

fn log(flushes: &[bool]) -> Vec<Event> {
    let event = |(at, &is_flush): (usize, &bool)| match is_flush {
        true => Event::Flush,
        false => Event::write(at as u64, Arc::new([at as u8; BLOCK])),
    };
    flushes.iter().enumerate().map(event).collect()
}

fn all(log: &[Event], is_skipped: impl Fn(usize) -> bool, effort: &Effort, seed: u64) -> Vec<Cut> {
    let mut found = Vec::new();
    cuts(log, is_skipped, effort, seed, &mut |cut| {
        found.push(cut);
        true
    });
    found
}

/// Which writes are there, of a cut without torn ones.
fn there(cut: &Cut) -> Option<BTreeSet<usize>> {
    cut.parts
        .iter()
        .all(|part| part.1 == 0 || part.1 == WHOLE)
        .then(|| cut.parts.iter().filter(|part| part.1 == WHOLE).map(|part| part.0).collect())
}

#[test]
fn a_window_of_eight_has_all_its_subsets() {
    let log = log(&[false; 8]);
    let found: BTreeSet<_> =
        all(&log, |_| false, &Effort { window_max: 8, ..NOTHING }, 1).iter().filter_map(there).collect();
    assert_eq!(found.len(), 256);
}

#[test]
fn the_last_write_is_torn_at_each_sector() {
    let log = log(&[false, true, false, false]);
    let found = all(&log, |_| false, &NOTHING, 1);
    for sectors in 0..8u32 {
        let part = ((1u32 << sectors) - 1) as u8;
        let expected = if sectors == 0 {
            Cut { time: 3, parts: vec![(2, WHOLE)] }
        } else {
            Cut { time: 4, parts: vec![(2, WHOLE), (3, part)] }
        };
        assert!(found.contains(&expected), "{sectors}");
    }
}

#[test]
fn a_flush_that_is_skipped_covers_nothing() {
    let log = log(&[false, true, false]);
    let lost = Cut { time: 3, parts: vec![(0, 0), (2, WHOLE)] };
    let effort = Effort { window_max: 8, ..NOTHING };
    assert!(!all(&log, |_| false, &effort, 1).contains(&lost));
    assert!(all(&log, |at| at == 1, &effort, 1).contains(&lost));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing that a completed flush covers is lost, nothing that was not written yet is there, and prefixes are whole once each.
    #[test]
    fn cuts_are_between_the_last_flush_and_now(flushes in prop::collection::vec(prop::bool::weighted(0.2), 0..40), seed in any::<u64>()) {
        let log = log(&flushes);
        let effort = Effort { window_max: 4, subsets: 3, sectors: 2, torn: 2, stride: 1 };
        let mut whole = vec![0; log.len() + 1];
        for cut in all(&log, |_| false, &effort, seed) {
            let flush = (0..cut.time).rev().find(|&at| flushes[at]);
            let pending: Vec<usize> = (flush.map_or(0, |at| at + 1)..cut.time).collect();
            prop_assert_eq!(cut.parts.iter().map(|part| part.0).collect::<Vec<_>>(), pending);
            prop_assert!(cut.parts.last().is_none_or(|part| part.1 != 0));
            whole[cut.time] += usize::from(cut.parts.iter().all(|part| part.1 == WHOLE));
        }
        prop_assert!(whole.iter().all(|&count| count >= 1), "{:?}", whole);
    }

    /// The same seed gives the same cuts.
    #[test]
    fn a_seed_gives_the_same_cuts(count in 1usize..20, seed in any::<u64>()) {
        let log = log(&vec![false; count]);
        let effort = Effort { window_max: 4, subsets: 5, sectors: 2, torn: 3, stride: 2 };
        prop_assert_eq!(all(&log, |_| false, &effort, seed), all(&log, |_| false, &effort, seed));
    }
}
