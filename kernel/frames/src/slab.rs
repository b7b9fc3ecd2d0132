//! Small objects in pages of equal slots: the kernel heap without the memory.
//!
//! A page belongs to one size class. Its free slots are either *fresh*, never used, from `fresh` to the end, or on a list that
//! starts at `head` and runs through the slots themselves. Pages with a free slot form a list per class, of which only the head is allocated from or removed:
//! a page that empties elsewhere in the list stays there until it comes to the head or [`Slab::trim`] is called.

/// Sizes of the slots. A page is cut from its start; what is left at its end is not used.
pub const CLASSES: [u16; 14] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1344, 2048];

const PAGE: u16 = 4096;
const NONE: u32 = u32::MAX;

/// The class for an object; `None`: it is for whole pages.
#[must_use]
pub fn class_for(size: usize, align: usize) -> Option<usize> {
    CLASSES.iter().position(|slot| size <= *slot as usize && (*slot as usize).is_multiple_of(align))
}

/// What is remembered of a page, in eight bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SlabPage {
    next: u32,
    state: u32,
}

/// A page's state, unpacked. Slots are numbered from 1; 0 is none.
#[derive(Clone, Copy)]
struct State {
    class: usize,
    used: u32,
    head: u32,
    fresh: u32,
}

impl State {
    fn unpack(state: u32) -> Self {
        Self { class: (state >> 27) as usize, used: state >> 18 & 511, head: state >> 9 & 511, fresh: state & 511 }
    }

    fn pack(self) -> u32 {
        (self.class as u32) << 27 | self.used << 18 | self.head << 9 | self.fresh
    }

    fn slots(self) -> u32 {
        u32::from(PAGE / CLASSES[self.class])
    }

    fn is_full(self) -> bool {
        self.used == self.slots()
    }

    fn offset(self, slot: u32) -> usize {
        (slot as usize - 1) * CLASSES[self.class] as usize
    }
}

/// Where pages and what is remembered of them are.
pub trait SlabStore {
    /// A page for slots.
    fn allocate_page(&mut self) -> Option<u64>;
    /// Gives it back.
    fn release_page(&mut self, frame: u64);
    /// What is remembered of a page.
    fn get(&self, frame: u64) -> SlabPage;
    /// Remembers it.
    fn set(&mut self, frame: u64, page: SlabPage);
    /// The two bytes at `offset` in a page: a free slot's.
    fn read_link(&self, frame: u64, offset: usize) -> u16;
    /// Writes them.
    fn write_link(&mut self, frame: u64, offset: usize, link: u16);
}

/// The heads of the classes' lists.
#[derive(Debug)]
pub struct Slab {
    heads: [u32; CLASSES.len()],
}

impl Slab {
    /// No pages.
    #[must_use]
    pub const fn new() -> Self {
        Self { heads: [NONE; CLASSES.len()] }
    }

    /// Takes a slot of `class`: page and offset in it.
    pub fn allocate<S: SlabStore>(&mut self, store: &mut S, class: usize) -> Option<(u64, usize)> {
        if self.heads[class] == NONE {
            let frame = store.allocate_page()?;
            let state = State { class, used: 0, head: 0, fresh: 1 };
            store.set(frame, SlabPage { next: NONE, state: state.pack() });
            self.heads[class] = u32::try_from(frame).ok()?;
        }
        let frame = u64::from(self.heads[class]);
        let page = store.get(frame);
        let mut state = State::unpack(page.state);
        let slot = if state.head != 0 {
            let slot = state.head;
            state.head = u32::from(store.read_link(frame, state.offset(slot)));
            slot
        } else {
            state.fresh += 1;
            state.fresh - 1
        };
        state.used += 1;
        if state.is_full() {
            self.heads[class] = page.next;
        }
        store.set(frame, SlabPage { next: page.next, state: state.pack() });
        Some((frame, state.offset(slot)))
    }

    /// Gives the slot at `offset` back.
    ///
    /// # Panics
    /// When that is not a slot in use, as far as can be told.
    pub fn release<S: SlabStore>(&mut self, store: &mut S, frame: u64, offset: usize) {
        let mut page = store.get(frame);
        let mut state = State::unpack(page.state);
        let slot = (offset / CLASSES[state.class] as usize) as u32 + 1;
        assert!(offset == state.offset(slot) && slot < state.fresh && state.used > 0, "bad free in frame {frame:#x}");
        let head = u64::from(self.heads[state.class]);
        if state.is_full() {
            page.next = self.heads[state.class];
            self.heads[state.class] = frame as u32;
        } else if state.used == 1 && head == frame && page.next != NONE {
            self.heads[state.class] = page.next;
            store.release_page(frame);
            return;
        }
        store.write_link(frame, offset, state.head as u16);
        state.head = slot;
        state.used -= 1;
        store.set(frame, SlabPage { next: page.next, state: state.pack() });
    }

    /// Gives every empty page back; says how many.
    pub fn trim<S: SlabStore>(&mut self, store: &mut S) -> usize {
        let mut given = 0;
        for head in &mut self.heads {
            let mut kept = NONE;
            let mut at = *head;
            while at != NONE {
                let frame = u64::from(at);
                let mut page = store.get(frame);
                at = page.next;
                if State::unpack(page.state).used == 0 {
                    store.release_page(frame);
                    given += 1;
                } else {
                    page.next = kept;
                    store.set(frame, page);
                    kept = frame as u32;
                }
            }
            *head = kept;
        }
        given
    }
}

impl Default for Slab {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, HashMap};

    #[derive(Default)]
    struct Pages {
        pages: HashMap<u64, SlabPage>,
        links: HashMap<(u64, usize), u16>,
        made: u64,
    }

    impl SlabStore for Pages {
        fn allocate_page(&mut self) -> Option<u64> {
            self.made += 1;
            self.pages.insert(self.made, SlabPage::default());
            Some(self.made)
        }
        fn release_page(&mut self, frame: u64) {
            self.pages.remove(&frame).expect("released once");
        }
        fn get(&self, frame: u64) -> SlabPage {
            self.pages[&frame]
        }
        fn set(&mut self, frame: u64, page: SlabPage) {
            *self.pages.get_mut(&frame).expect("a live page") = page;
        }
        fn read_link(&self, frame: u64, offset: usize) -> u16 {
            self.links[&(frame, offset)]
        }
        fn write_link(&mut self, frame: u64, offset: usize, link: u16) {
            self.links.insert((frame, offset), link);
        }
    }

    #[test]
    fn classes_hold_sizes_and_alignments() {
        assert_eq!(class_for(1, 1).map(|class| CLASSES[class]), Some(16));
        assert_eq!(class_for(40, 64).map(|class| CLASSES[class]), Some(64));
        assert_eq!(class_for(65, 64).map(|class| CLASSES[class]), Some(128));
        assert_eq!(class_for(2049, 8), None);
        assert_eq!(class_for(8, 4096), None);
    }

    #[test]
    #[should_panic(expected = "bad free")]
    fn a_free_between_slots_panics() {
        let (mut slab, mut pages) = (Slab::new(), Pages::default());
        let (frame, offset) = slab.allocate(&mut pages, 1).unwrap();
        slab.release(&mut pages, frame, offset + 8);
    }

    proptest! {
        /// Slots in use never overlap and lie inside pages; when all are free, trimming leaves no page.
        #[test]
        fn slots_never_overlap(steps in prop::collection::vec((any::<bool>(), 0..CLASSES.len(), any::<usize>()), 1..600)) {
            let (mut slab, mut pages) = (Slab::new(), Pages::default());
            let mut used: BTreeMap<(u64, usize), usize> = BTreeMap::new();
            for (take, class, pick) in steps {
                if take || used.is_empty() {
                    let (frame, offset) = slab.allocate(&mut pages, class).unwrap();
                    let end = offset + CLASSES[class] as usize;
                    prop_assert!(end <= 4096);
                    let before = used.range(..=(frame, offset)).next_back();
                    prop_assert!(before.is_none_or(|((f, o), c)| *f != frame || o + CLASSES[*c] as usize <= offset));
                    let after = used.range((frame, offset)..).next();
                    prop_assert!(after.is_none_or(|((f, o), _)| *f != frame || end <= *o));
                    used.insert((frame, offset), class);
                } else {
                    let key = *used.keys().nth(pick % used.len()).unwrap();
                    used.remove(&key);
                    slab.release(&mut pages, key.0, key.1);
                }
            }
            for (frame, offset) in used.into_keys() {
                slab.release(&mut pages, frame, offset);
            }
            slab.trim(&mut pages);
            prop_assert!(pages.pages.is_empty());
        }
    }
}
