use super::*;
use proptest::prelude::*;

/// A file's number and an offset in it; file 0 has no offsets, as anonymous memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct File(u8, u64);

impl Backing for File {
    fn advanced(&self, bytes: u64) -> Self {
        if self.0 == 0 { *self } else { File(self.0, self.1 + bytes) }
    }
    fn continues(&self, length: u64, next: &Self) -> bool {
        self.advanced(length) == *next
    }
}

const PAGES: u64 = 40;
const READ: Protection = Protection { read: true, write: false, execute: false };
const NONE: Protection = Protection { read: false, write: false, execute: false };

fn area(start: u64, end: u64, file: File) -> Area<File> {
    Area { start: start * PAGE_SIZE, end: end * PAGE_SIZE, protection: READ, backing: file }
}

fn map() -> Map<File> {
    Map::new(0..PAGES * PAGE_SIZE)
}

#[test]
fn neighbours_that_continue_each_other_are_one() {
    let mut map = map();
    map.insert(area(0, 1, File(1, 0))).unwrap();
    map.insert(area(2, 3, File(1, 2 * PAGE_SIZE))).unwrap();
    map.insert(area(1, 2, File(1, PAGE_SIZE))).unwrap();
    assert_eq!(map.areas().cloned().collect::<Vec<_>>(), [area(0, 3, File(1, 0))]);
    map.insert(area(3, 4, File(1, 0))).unwrap();
    assert_eq!(map.areas().count(), 2);
}

#[test]
fn a_hole_splits_and_the_upper_part_keeps_its_offset() {
    let mut map = map();
    map.insert(area(0, 8, File(2, 0))).unwrap();
    let removed = map.remove(2 * PAGE_SIZE, 5 * PAGE_SIZE).unwrap();
    assert_eq!(removed, [area(2, 5, File(2, 2 * PAGE_SIZE))]);
    assert_eq!(map.find(6 * PAGE_SIZE), Some(&area(5, 8, File(2, 5 * PAGE_SIZE))));
    assert_eq!(map.find(3 * PAGE_SIZE), None);
}

#[test]
fn placement_is_as_high_as_possible() {
    let mut map = map();
    map.insert(area(30, 35, File(0, 0))).unwrap();
    assert_eq!(map.place(5 * PAGE_SIZE, PAGES * PAGE_SIZE), Ok(35 * PAGE_SIZE));
    assert_eq!(map.place(6 * PAGE_SIZE, PAGES * PAGE_SIZE), Ok(24 * PAGE_SIZE));
    assert_eq!(map.place(3 * PAGE_SIZE, 33 * PAGE_SIZE), Ok(27 * PAGE_SIZE));
    assert_eq!(map.place(31 * PAGE_SIZE, PAGES * PAGE_SIZE), Err(MapError::NoRoom));
}

#[test]
fn what_is_not_wholly_mapped_is_not_protected() {
    let mut map = map();
    map.insert(area(0, 2, File(0, 0))).unwrap();
    map.insert(area(3, 4, File(0, 0))).unwrap();
    assert_eq!(map.protect(0, 4 * PAGE_SIZE, NONE), Err(MapError::NotMapped));
    assert!(map.areas().all(|area| area.protection == READ));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u64, u8),
    Remove(u64, u64),
    Protect(u64, u64, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let range = (0..PAGES, 1..12_u64).prop_map(|(start, pages)| (start, (start + pages).min(PAGES)));
    prop_oneof![
        (range.clone(), 0_u8..3).prop_map(|((start, end), file)| Step::Insert(start, end, file)),
        range.clone().prop_map(|(start, end)| Step::Remove(start, end)),
        (range, any::<bool>()).prop_map(|((start, end), read)| Step::Protect(start, end, read)),
    ]
}

proptest! {
    /// Held against one entry per page.
    #[test]
    fn a_map_is_what_each_page_says(steps in prop::collection::vec(step(), 1..60)) {
        let mut map = map();
        let mut pages: Vec<Option<(Protection, File)>> = vec![None; PAGES as usize];
        for step in steps {
            match step {
                Step::Insert(start, end, file) => {
                    let free = pages[start as usize..end as usize].iter().all(Option::is_none);
                    // The file's offset is the address, so that neighbours of one file join.
                    let backing = File(file, if file == 0 { 0 } else { start * PAGE_SIZE });
                    let inserted = map.insert(area(start, end, backing));
                    prop_assert_eq!(inserted.is_ok(), free);
                    if free {
                        for page in start..end {
                            pages[page as usize] = Some((READ, backing.advanced((page - start) * PAGE_SIZE)));
                        }
                    }
                }
                Step::Remove(start, end) => {
                    let removed = map.remove(start * PAGE_SIZE, end * PAGE_SIZE).unwrap();
                    let bytes: u64 = removed.iter().map(|area| area.end - area.start).sum();
                    let mapped = pages[start as usize..end as usize].iter().flatten().count() as u64;
                    prop_assert_eq!(bytes, mapped * PAGE_SIZE);
                    pages[start as usize..end as usize].fill(None);
                }
                Step::Protect(start, end, read) => {
                    let protection = if read { READ } else { NONE };
                    let covered = pages[start as usize..end as usize].iter().all(Option::is_some);
                    prop_assert_eq!(map.is_covered(start * PAGE_SIZE, end * PAGE_SIZE), covered);
                    let done = map.protect(start * PAGE_SIZE, end * PAGE_SIZE, protection);
                    prop_assert_eq!(done.is_ok(), covered);
                    if covered {
                        pages[start as usize..end as usize].iter_mut().flatten().for_each(|page| page.0 = protection);
                    }
                }
            }
            for page in 0..PAGES {
                let found = map.find(page * PAGE_SIZE + 123).map(|area| {
                    (area.protection, area.backing.advanced(page * PAGE_SIZE - area.start))
                });
                prop_assert_eq!(found, pages[page as usize]);
            }
            let areas: Vec<_> = map.areas().collect();
            for pair in areas.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start && !pair[0].joins(pair[1]));
            }
            for length in [1, 3, 7] {
                if let Ok(start) = map.place(length * PAGE_SIZE, PAGES * PAGE_SIZE) {
                    prop_assert!(map.is_free(start, start + length * PAGE_SIZE));
                } else {
                    let gap = pages.split(Option::is_some).map(<[_]>::len).max().unwrap_or(0);
                    prop_assert!((gap as u64) < length);
                }
            }
        }
    }
}
