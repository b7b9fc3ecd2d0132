//! Building a sorted, disjoint memory map out of regions that come in any order and may overlap.

use crate::{PAGE, Region, RegionKind};

/// A memory map under construction, in storage that the caller owns.
///
/// Invariant: `regions[..count]` is sorted, on page boundaries, not overlapping, and no two neighbours of one kind touch.
/// What is set later replaces what lay there: set RAM first, then carve out of it what is taken.
pub struct MemoryMap<'a> {
    regions: &'a mut [Region],
    count: usize,
}

/// The storage has no room for another region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapFull;

impl core::fmt::Display for MapFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the memory map has more regions than there is room for")
    }
}

impl core::error::Error for MapFull {}

impl<'a> MemoryMap<'a> {
    /// An empty map.
    pub fn new(storage: &'a mut [Region]) -> Self {
        Self { regions: storage, count: 0 }
    }

    /// The regions so far.
    pub fn regions(&self) -> &[Region] {
        &self.regions[..self.count]
    }

    /// Sets `length` bytes from `start` to `kind`, replacing what lay there. Free RAM is rounded inward to whole pages,
    /// everything else outward: a page that is partly taken is taken. A range past the end of the address space is cut
    /// there. On error the map is unchanged.
    pub fn set(&mut self, start: u64, length: u64, kind: RegionKind) -> Result<(), MapFull> {
        let end = start.saturating_add(length);
        let (start, end) = if matches!(kind, RegionKind::Usable) {
            (start.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX), end & !(PAGE - 1))
        } else {
            (start & !(PAGE - 1), end.checked_next_multiple_of(PAGE).unwrap_or(!(PAGE - 1)))
        };
        if length == 0 || start >= end {
            return Ok(());
        }
        self.replace(start, end, kind as u32)
    }

    fn replace(&mut self, mut start: u64, mut end: u64, kind: u32) -> Result<(), MapFull> {
        // The regions that the new one touches: first..last.
        let existing = self.regions();
        let first = existing.partition_point(|region| end_of(region) < start);
        let last = existing.partition_point(|region| region.start <= end);
        // What remains of the outermost two, before and after; neighbours of the same kind are merged instead.
        let mut before = None;
        let mut after = None;
        for region in &existing[first..last] {
            if region.kind == kind {
                start = start.min(region.start);
                end = end.max(end_of(region));
                continue;
            }
            if region.start < start {
                before = Some(Region { length: start - region.start, ..*region });
            }
            if end_of(region) > end {
                after = Some(Region { start: end, length: end_of(region) - end, ..*region });
            }
        }
        let new = Region { start, length: end - start, kind, reserved: 0 };
        let added = 1 + usize::from(before.is_some()) + usize::from(after.is_some());
        let count = self.count - (last - first) + added;
        if count > self.regions.len() {
            return Err(MapFull);
        }
        self.regions.copy_within(last..self.count, first + added);
        for (slot, region) in self.regions[first..].iter_mut().zip(before.into_iter().chain([new]).chain(after)) {
            *slot = region;
        }
        self.count = count;
        Ok(())
    }
}

/// Cannot wrap: `set` cuts every region at the end of the address space.
fn end_of(region: &Region) -> u64 {
    region.start + region.length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_memory_map;
    use RegionKind::{Base, Kernel, Loader, Reserved, Usable};
    use proptest::prelude::*;

    fn map_of(sets: &[(u64, u64, RegionKind)]) -> Vec<Region> {
        let mut storage = [Region::default(); 64];
        let mut map = MemoryMap::new(&mut storage);
        for &(start, length, kind) in sets {
            map.set(start, length, kind).unwrap();
        }
        map.regions().to_vec()
    }

    #[test]
    fn carving_splits_and_neighbours_merge() {
        let map = map_of(&[(0x2000, 0x2000, Usable), (0x4000, 0x4000, Usable), (0x3000, 0x1000, Kernel)]);
        assert_eq!(
            map,
            [
                Region::new(0x2000, 0x1000, Usable),
                Region::new(0x3000, 0x1000, Kernel),
                Region::new(0x4000, 0x4000, Usable)
            ]
        );
        assert_eq!(
            map_of(&[(0, 0x3000, Usable), (0x1000, 0x1000, Base), (0x1000, 0x1000, Usable)]),
            [Region::new(0, 0x3000, Usable)]
        );
    }

    #[test]
    fn free_ram_rounds_inward_and_the_rest_outward() {
        assert_eq!(map_of(&[(0x1001, 0x1fff, Usable)]), [Region::new(0x2000, 0x1000, Usable)]);
        assert_eq!(map_of(&[(0x1001, 1, Reserved)]), [Region::new(0x1000, 0x1000, Reserved)]);
        assert_eq!(map_of(&[(0x1001, 0x100, Usable)]), []);
        assert_eq!(map_of(&[(u64::MAX, 1, Reserved), (u64::MAX - 5, u64::MAX, Usable)]), []);
    }

    #[test]
    fn a_full_map_is_left_as_it_was() {
        let mut storage = [Region::default(); 2];
        let mut map = MemoryMap::new(&mut storage);
        map.set(0, 0x3000, Usable).unwrap();
        assert_eq!(map.set(0x1000, 0x1000, Kernel), Err(MapFull));
        assert_eq!(map.regions(), [Region::new(0, 0x3000, Usable)]);
        map.set(0x2000, 0x1000, Kernel).unwrap();
        assert_eq!(map.regions().len(), 2);
    }

    proptest! {
        /// Against the plainest model there is: one kind per page.
        #[test]
        fn the_map_is_what_painting_pages_gives(
            sets in prop::collection::vec((0u64..64, 1u64..24, prop::sample::select(vec![Usable, Loader, Kernel, Reserved])), 0..40)
        ) {
            let mut pages = [None; 96];
            for &(start, length, kind) in &sets {
                pages[start as usize..(start + length) as usize].fill(Some(kind));
            }
            let bytes: Vec<_> = sets.iter().map(|&(start, length, kind)| (start * PAGE, length * PAGE, kind)).collect();
            let map = map_of(&bytes);
            prop_assert!(check_memory_map(&map).is_ok());
            let mut painted = [None; 96];
            for pair in map.windows(2) {
                prop_assert!(pair[0].kind != pair[1].kind || pair[0].end() != Some(pair[1].start));
            }
            for region in &map {
                let first = (region.start / PAGE) as usize;
                painted[first..first + (region.length / PAGE) as usize].fill(region.kind());
            }
            prop_assert_eq!(pages, painted);
        }
    }
}
