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
}
