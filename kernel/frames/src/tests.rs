use super::*;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};

/// Records in a map; each section gives one frame for its own bookkeeping, as the kernel's does.
#[derive(Default)]
struct Map {
    sections: HashMap<u32, Section>,
    own: BTreeSet<u64>,
}

impl Store for Map {
    fn open(&mut self, index: u32, fresh: &mut Section) -> bool {
        let Some(frame) = fresh.take(0) else { return false };
        self.own.insert(u64::from(index) * FRAMES_PER_SECTION + frame as u64);
        self.sections.insert(index, Section::default());
        true
    }

    fn section(&mut self, index: u32) -> &mut Section {
        self.sections.get_mut(&index).expect("only open sections are asked for")
    }
}

fn ram(regions: &[(u64, u64)]) -> Frames {
    let mut frames = Frames::new();
    for (start, end) in regions {
        assert!(frames.add(Region { start: *start, end: *end }));
    }
    frames
}

#[test]
fn nothing_is_opened_before_it_is_needed() {
    let mut store = Map::default();
    let mut frames = ram(&[(0x40000, 0x80000)]);
    assert_eq!(frames.free_frames(), 0x40000);
    let first = frames.allocate(&mut store, 0).unwrap();
    assert_eq!((first, store.sections.len()), (0x40001, 1));
    assert_eq!(frames.free_frames(), 0x40000 - 2);
}

#[test]
fn the_largest_block_fits_beside_the_bookkeeping() {
    assert_eq!(ram(&[(0, 4096)]).allocate(&mut Map::default(), ORDER_MAX + 1), None);
    assert_eq!(ram(&[(0, 4096)]).allocate(&mut Map::default(), ORDER_MAX), Some(256));
}

#[test]
fn regions_come_in_order() {
    let mut frames = ram(&[(10, 20)]);
    assert!(!frames.add(Region { start: 19, end: 30 }));
    assert!(!frames.add(Region { start: 30, end: 30 }));
    assert!(frames.add(Region { start: 20, end: 21 }));
}

#[test]
fn a_section_of_two_regions_and_a_hole() {
    let mut store = Map::default();
    let mut frames = ram(&[(5, 7), (100, 101)]);
    let got: BTreeSet<_> = core::iter::from_fn(|| frames.allocate(&mut store, 0)).collect();
    assert_eq!(got, BTreeSet::from([6, 100]));
}

#[test]
#[should_panic(expected = "freed or taken twice")]
fn freeing_twice_panics() {
    let mut store = Map::default();
    let mut frames = ram(&[(0, 512)]);
    let frame = frames.allocate(&mut store, 2).unwrap();
    frames.release(&mut store, frame, 2);
    frames.release(&mut store, frame + 1, 0);
}

#[test]
fn a_cache_moves_batches() {
    let mut store = Map::default();
    let mut frames = ram(&[(0, 1024)]);
    let mut cache = Cache::new();
    assert_eq!(cache.take(), None);
    cache.fill(&mut frames, &mut store);
    assert_eq!((cache.count(), frames.free_frames()), (CACHE_BATCH, 1023 - CACHE_BATCH as u64));
    let taken: Vec<u64> = core::iter::from_fn(|| cache.take()).collect();
    assert_eq!(taken, (1..=CACHE_BATCH as u64).collect::<Vec<_>>(), "the lowest first");
    (100..100 + CACHE_FRAMES_MAX as u64).for_each(|_| cache.put(frames.allocate(&mut store, 0).unwrap()));
    assert!(cache.is_full());
    cache.spill(&mut frames, &mut store, CACHE_BATCH);
    assert_eq!(cache.count(), CACHE_BATCH);
    assert_eq!(cache.take(), Some(2 * CACHE_BATCH as u64 + CACHE_BATCH as u64), "what was put last stays");
    cache.spill(&mut frames, &mut store, 0);
    assert_eq!((cache.count(), frames.free_frames()), (0, 1023 - CACHE_BATCH as u64 - 1));
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn a_full_cache_takes_no_more() {
    let mut cache = Cache::new();
    (0..=CACHE_FRAMES_MAX as u64).for_each(|frame| cache.put(frame));
}

#[test]
fn a_cache_is_filled_with_what_is_left() {
    let mut store = Map::default();
    let mut frames = ram(&[(0, 4)]);
    let mut cache = Cache::new();
    cache.fill(&mut frames, &mut store);
    assert_eq!((cache.count(), frames.free_frames()), (3, 0));
    cache.take();
    cache.take();
    cache.take();
    cache.fill(&mut frames, &mut store);
    assert_eq!(cache.take(), None);
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(u32),
    Release(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let order = prop_oneof![8 => Just(0), 4 => 1_u32..4, 1 => 4..=ORDER_MAX];
    let step = prop_oneof![3 => order.prop_map(Step::Allocate), 2 => any::<usize>().prop_map(Step::Release)];
    prop::collection::vec(step, 1..400)
}

proptest! {
    /// Blocks are aligned, inside RAM, never overlap each other or the bookkeeping, and the count of free frames is right at each step.
    #[test]
    fn blocks_never_overlap(
        lengths in prop::collection::vec((0_u64..700, 1_u64..1500), 1..4),
        steps in steps(),
    ) {
        let mut at = 0;
        let regions: Vec<(u64, u64)> = lengths.iter().map(|(gap, length)| {
            let start = at + gap;
            at = start + length;
            (start, at)
        }).collect();
        let usable: BTreeSet<u64> = regions.iter().flat_map(|(start, end)| *start..*end).collect();
        let mut frames = ram(&regions);
        let mut store = Map::default();
        let mut blocks: Vec<(u64, u32)> = Vec::new();
        let mut used: BTreeSet<u64> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Allocate(order) => {
                    if let Some(frame) = frames.allocate(&mut store, order) {
                        prop_assert_eq!(frame % (1 << order), 0);
                        for number in frame..frame + (1 << order) {
                            prop_assert!(usable.contains(&number) && !store.own.contains(&number));
                            prop_assert!(used.insert(number));
                        }
                        blocks.push((frame, order));
                    } else {
                        prop_assert!(order > 0 || frames.free_frames() == 0);
                    }
                }
                Step::Release(pick) if !blocks.is_empty() => {
                    let (frame, order) = blocks.swap_remove(pick % blocks.len());
                    (frame..frame + (1 << order)).for_each(|number| { used.remove(&number); });
                    frames.release(&mut store, frame, order);
                }
                Step::Release(_) => {}
            }
            let lost = usable.len() as u64 - frames.free_frames() - used.len() as u64;
            // Only a section's one own frame goes missing.
            prop_assert!(lost <= frames.next_section as u64);
        }
    }

    /// Several CPUs with a cache each: no frame is in two hands, and none is lost.
    #[test]
    fn caches_neither_lose_nor_share_frames(
        length in 1_u64..300,
        steps in prop::collection::vec((0_usize..3, any::<bool>(), any::<usize>(), any::<u8>()), 1..600),
    ) {
        let mut frames = ram(&[(0, length)]);
        let mut store = Map::default();
        let mut caches = [const { Cache::new() }; 3];
        let mut held: Vec<u64> = Vec::new();
        let total = if length == 1 { 0 } else { length - 1 };
        for (cpu, takes, pick, other) in steps {
            if takes {
                let cache = &mut caches[cpu];
                if cache.count() == 0 {
                    cache.fill(&mut frames, &mut store);
                }
                let found = cache.take().or_else(|| {
                    caches.iter_mut().for_each(|cache| cache.spill(&mut frames, &mut store, 0));
                    frames.allocate(&mut store, 0)
                });
                match found {
                    Some(frame) => {
                        prop_assert!(frame < length && !held.contains(&frame) && !store.own.contains(&frame));
                        held.push(frame);
                    }
                    None => prop_assert_eq!(held.len() as u64, total),
                }
            } else if !held.is_empty() {
                let frame = held.swap_remove(pick % held.len());
                if caches[cpu].is_full() {
                    caches[cpu].spill(&mut frames, &mut store, CACHE_BATCH);
                }
                caches[cpu].put(frame);
            }
            if other == 0 {
                caches.iter_mut().for_each(|cache| cache.spill(&mut frames, &mut store, 0));
            }
            let cached: usize = caches.iter().map(Cache::count).sum();
            let opened = u64::from(frames.next_section > 0);
            prop_assert_eq!(frames.free_frames() + cached as u64 + held.len() as u64, length - opened.min(length));
        }
    }
}
