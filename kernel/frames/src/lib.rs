//! The physical page allocator, without the memory: frames are numbers (physical address / 4096).
//!
//! RAM is cut into *sections* of 2 MiB. A section is opened when the allocator first needs it; until then nothing of it is read,
//! written or described, so booting costs nothing for RAM that is not used. An open section has a [`Section`] record: a bitmap of
//! its free frames. Records of open sections that have free frames form a list, and allocation looks there first, so the memory in use stays
//! dense. Where the records lie is the caller's: [`Store`].
//!
//! Blocks of 2^order frames, aligned to their size, come from one section, so the largest is 1 MiB. Single frames go through a [`Cache`] for each
//! CPU.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod cache;
mod section;
mod slab;

pub use cache::{CACHE_BATCH, CACHE_FRAMES_MAX, Cache};
pub use section::{FRAMES_PER_SECTION, ORDER_MAX, Section};
pub use slab::{CLASSES, Slab, SlabPage, SlabStore, class_for};

/// Frames from `start` to before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// first frame
    pub start: u64,
    /// the frame after the last
    pub end: u64,
}

/// The most regions that are kept; the loader merges neighbours, and firmware maps have a few dozen.
pub const REGIONS_MAX: usize = 128;

/// No section.
const NONE: u32 = u32::MAX;

/// Where the records of open sections lie.
pub trait Store {
    /// Makes room for the record of section `index`, and for whatever else the owner keeps per section. `fresh` is the new section:
    /// the store may [`Section::take`] frames of it for that. False: no room, and nothing was taken.
    fn open(&mut self, index: u32, fresh: &mut Section) -> bool;
    /// The record of an open section.
    fn section(&mut self, index: u32) -> &mut Section;
}

/// All RAM that may be given out.
///
/// Invariants: `regions[..count]` is sorted and disjoint; a section is on the list exactly when it is open and has a free frame;
/// `free` is the number of frames that are free in open sections or lie in sections not yet opened.
#[derive(Debug)]
pub struct Frames {
    regions: [Region; REGIONS_MAX],
    count: usize,
    /// Sections below this, in the order of addresses, have been opened.
    next_section: u32,
    first_partial: u32,
    free: u64,
    total: u64,
}

/// How far a search for a block looks along the list before it opens a new section.
const SEARCH_SECTIONS_MAX: usize = 16;

impl Frames {
    /// No RAM yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            regions: [Region { start: 0, end: 0 }; REGIONS_MAX],
            count: 0,
            next_section: 0,
            first_partial: NONE,
            free: 0,
            total: 0,
        }
    }

    /// Adds RAM above all that was added before. What lies in a section that is open already is left out. False, and nothing is added: out
    /// of order, or too many regions.
    pub fn add(&mut self, region: Region) -> bool {
        let above = self.count == 0 || region.start >= self.regions[self.count - 1].end;
        if !above || region.start >= region.end || self.count == REGIONS_MAX {
            return false;
        }
        let start = region.start.max(u64::from(self.next_section) * FRAMES_PER_SECTION).min(region.end);
        self.regions[self.count] = Region { start, end: region.end };
        self.count += 1;
        self.free += region.end - start;
        self.total += region.end - start;
        true
    }

    /// Frames that can be allocated.
    #[must_use]
    pub const fn free_frames(&self) -> u64 {
        self.free
    }

    /// Frames that were added.
    #[must_use]
    pub const fn total_frames(&self) -> u64 {
        self.total
    }

    /// Takes 2^`order` frames; gives the first. What is in them is unknown.
    pub fn allocate<S: Store>(&mut self, store: &mut S, order: u32) -> Option<u64> {
        if order > ORDER_MAX {
            return None;
        }
        let mut index = self.first_partial;
        let mut looked = 0;
        while index != NONE && (looked < SEARCH_SECTIONS_MAX || order == 0) {
            let section = store.section(index);
            let next = section.next;
            if let Some(frame) = section.take(order) {
                return Some(self.taken(store, index, frame, order));
            }
            index = next;
            looked += 1;
        }
        loop {
            let index = self.open_next(store)?;
            if let Some(frame) = store.section(index).take(order) {
                return Some(self.taken(store, index, frame, order));
            }
        }
    }

    /// Takes single frames until `into` is full or none is left; gives how many.
    pub fn allocate_many<S: Store>(&mut self, store: &mut S, into: &mut [u64]) -> usize {
        let mut taken = 0;
        while taken < into.len() {
            let index = match self.first_partial {
                NONE => match self.open_next(store) {
                    Some(index) if store.section(index).free_frames() > 0 => index,
                    Some(_) => continue,
                    None => break,
                },
                index => index,
            };
            let mut found = [0; CACHE_BATCH];
            let wanted = found.len().min(into.len() - taken);
            let section = store.section(index);
            let many = section.take_many(&mut found[..wanted]);
            let is_empty = section.free_frames() == 0;
            let base = u64::from(index) * FRAMES_PER_SECTION;
            into[taken..].iter_mut().zip(&found[..many]).for_each(|(to, frame)| *to = base + *frame as u64);
            taken += many;
            self.free -= many as u64;
            if is_empty {
                self.unlink(store, index);
            }
        }
        taken
    }

    /// Gives 2^`order` frames back that [`Frames::allocate`] gave.
    ///
    /// # Panics
    /// When one of them is free already: that is a bug in the kernel, and memory is no longer to be trusted.
    pub fn release<S: Store>(&mut self, store: &mut S, frame: u64, order: u32) {
        let index = (frame / FRAMES_PER_SECTION) as u32;
        let section = store.section(index);
        let was_full = section.free_frames() == 0;
        section.put((frame % FRAMES_PER_SECTION) as usize, order);
        self.free += 1 << order;
        if was_full {
            self.link(store, index);
        }
    }

    fn taken<S: Store>(&mut self, store: &mut S, index: u32, frame: usize, order: u32) -> u64 {
        self.free -= 1 << order;
        if store.section(index).free_frames() == 0 {
            self.unlink(store, index);
        }
        u64::from(index) * FRAMES_PER_SECTION + frame as u64
    }

    /// Opens the next section that has RAM.
    fn open_next<S: Store>(&mut self, store: &mut S) -> Option<u32> {
        let from = u64::from(self.next_section) * FRAMES_PER_SECTION;
        let first = self.regions[..self.count].iter().find(|region| region.end > from)?;
        let index = u32::try_from(first.start.max(from) / FRAMES_PER_SECTION).ok()?;
        let base = u64::from(index) * FRAMES_PER_SECTION;
        let mut fresh = Section::default();
        for region in &self.regions[..self.count] {
            let start = region.start.max(base);
            let end = region.end.min(base + FRAMES_PER_SECTION);
            (start..end).for_each(|frame| fresh.put((frame - base) as usize, 0));
        }
        let before = fresh.free_frames();
        self.next_section = index + 1;
        if !store.open(index, &mut fresh) {
            // Too small to describe itself: its frames are lost.
            self.free -= u64::from(before);
            return self.open_next(store);
        }
        self.free -= u64::from(before - fresh.free_frames());
        let has_free = fresh.free_frames() > 0;
        *store.section(index) = fresh;
        if has_free {
            self.link(store, index);
        }
        Some(index)
    }

    fn link<S: Store>(&mut self, store: &mut S, index: u32) {
        let head = self.first_partial;
        let section = store.section(index);
        section.previous = NONE;
        section.next = head;
        if head != NONE {
            store.section(head).previous = index;
        }
        self.first_partial = index;
    }

    fn unlink<S: Store>(&mut self, store: &mut S, index: u32) {
        let section = store.section(index);
        let (previous, next) = (section.previous, section.next);
        if previous == NONE {
            self.first_partial = next;
        } else {
            store.section(previous).next = next;
        }
        if next != NONE {
            store.section(next).previous = previous;
        }
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
