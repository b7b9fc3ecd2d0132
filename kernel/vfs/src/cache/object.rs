//! The pages of one object.

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;

use linux::Errno;
use sync::{Rank, Sleep};

use super::{Cache, WriteBack};
use crate::World;
use crate::world::{Page, Spin};

/// Reads consecutive pages, from the index given on, all of whose bytes it sets.
pub type Fill<'a, P> = dyn FnMut(u64, &[P]) -> Result<(), Errno> + 'a;

/// A dirty page that is to be written, and its index.
pub type Dirty<P> = (u64, P);

/// One page. While it is filled it is nobody's but the filler's and stands in no list.
struct Slot<P> {
    page: P,
    /// Its place in the list of all pages; 0 while it is filled.
    serial: u64,
    filling: bool,
    /// Used since the hand passed.
    referenced: bool,
    /// Some program may have it mapped to write.
    mapped: bool,
}

/// Invariants: indices in `dirty` and `writing` have a slot that is filled; `ticket` is there exactly while `dirty` is not empty.
struct Slots<P> {
    slots: BTreeMap<u64, Slot<P>>,
    dirty: BTreeSet<u64>,
    writing: BTreeSet<u64>,
    ticket: Option<u64>,
}

impl<P> Slots<P> {
    fn is_filling(&self, index: u64) -> bool {
        self.slots.get(&index).is_some_and(|slot| slot.filling)
    }

    fn is_busy(&self, range: &Range<u64>) -> bool {
        self.writing.range(range.clone()).next().is_some()
            || self.slots.range(range.clone()).any(|(_, slot)| slot.filling)
    }
}

/// What is at an index.
enum Claim<P> {
    Ready(P),
    /// Somebody fills it.
    Filling,
    /// These pages, from the index on, are the caller's to fill.
    Mine(Vec<P>),
}

/// The pages of one file, or of one device, by index.
pub struct Object<W: World> {
    this: Weak<Self>,
    cache: Arc<Cache<W>>,
    owner: Option<Weak<dyn WriteBack>>,
    slots: Spin<W, Slots<W::Page>>,
    /// Where those sleep who wait for a page to be filled or written.
    sleepers: W::Sleepers,
}

impl<W: World> Object<W> {
    /// No pages. Without an owner none can become dirty.
    #[must_use]
    pub fn new(cache: &Arc<Cache<W>>, owner: Option<Weak<dyn WriteBack>>) -> Arc<Self> {
        let slots = Slots { slots: BTreeMap::new(), dirty: BTreeSet::new(), writing: BTreeSet::new(), ticket: None };
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            cache: cache.clone(),
            owner,
            slots: Spin::<W, _>::new(Rank::PAGES, slots),
            sleepers: W::sleepers(),
        })
    }

    /// The cache that it is in.
    #[must_use]
    pub fn cache(&self) -> &Arc<Cache<W>> {
        &self.cache
    }

    /// A share of the page `index`, if it is there.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<W::Page> {
        let mut slots = self.slots.lock();
        let slot = slots.slots.get_mut(&index).filter(|slot| !slot.filling)?;
        slot.referenced = true;
        Some(slot.page.clone())
    }

    /// Shares of the pages from `index` on, one behind the other, up to the first that is not there, and not more than `most`.
    #[must_use]
    pub fn run(&self, index: u64, most: usize) -> Vec<W::Page> {
        let mut run = Vec::with_capacity(most);
        let mut slots = self.slots.lock();
        for (at, (&there, slot)) in (index..).zip(slots.slots.range_mut(index..)).take(most) {
            if there != at || slot.filling {
                break;
            }
            slot.referenced = true;
            run.push(slot.page.clone());
        }
        run
    }

    /// A share of the page `index`. If it is not there, `fill` is called for it, and for those behind it that are not there either, up to `count` in all;
    /// when that fails, once more for the page alone. If somebody fills it, waits for him.
    ///
    /// # Errors
    /// What `fill` says of the page; `ENOMEM`.
    pub fn get_or_fill(&self, index: u64, count: usize, fill: &mut Fill<'_, W::Page>) -> Result<W::Page, Errno> {
        loop {
            let pages = match self.claim(index, count.max(1))? {
                Claim::Ready(page) => return Ok(page),
                Claim::Filling => {
                    self.sleepers.sleep_until(|| !self.slots.lock().is_filling(index));
                    continue;
                }
                Claim::Mine(pages) => pages,
            };
            let mut filled = pages.len();
            let mut result = fill(index, &pages);
            if result.is_err() && filled > 1 {
                self.settle(index + 1..index + filled as u64, false);
                filled = 1;
                result = fill(index, &pages[..1]);
            }
            self.settle(index..index + filled as u64, result.is_ok());
            return result.map(|()| pages[0].clone());
        }
    }

    /// Puts a page, with all its bytes set, where there is none, and makes it dirty. If there is one, gives that: the caller's is not used.
    ///
    /// # Errors
    /// The page that is there.
    pub fn insert_dirty(&self, index: u64, page: W::Page) -> Result<(), W::Page> {
        loop {
            let mut slots = self.slots.lock();
            match slots.slots.entry(index) {
                Entry::Occupied(slot) if slot.get().filling => {}
                Entry::Occupied(slot) => return Err(slot.get().page.clone()),
                Entry::Vacant(room) => {
                    let serial = self.cache.stand_last(self.this.clone(), index);
                    room.insert(Slot { page, serial, filling: false, referenced: false, mapped: false });
                    self.cache.cached.fetch_add(1, Ordering::Relaxed);
                    self.make_dirty(&mut slots, index);
                    return Ok(());
                }
            }
            drop(slots);
            self.sleepers.sleep_until(|| !self.slots.lock().is_filling(index));
        }
    }

    /// The bytes of a page that the caller has a share of were changed. False: the page is no longer the object's.
    pub fn mark_dirty(&self, index: u64) -> bool {
        let mut slots = self.slots.lock();
        let there = slots.slots.contains_key(&index);
        if there {
            self.make_dirty(&mut slots, index);
        }
        there
    }

    /// A share for a mapping through which the page may be changed: from now on it counts as dirty while that share lives. `None`: it is not there.
    #[must_use]
    pub fn map_writable(&self, index: u64) -> Option<W::Page> {
        let mut slots = self.slots.lock();
        let slot = slots.slots.get_mut(&index).filter(|slot| !slot.filling)?;
        slot.mapped = true;
        slot.referenced = true;
        let page = slot.page.clone();
        self.make_dirty(&mut slots, index);
        Some(page)
    }

    /// Who makes pages dirty calls this before, without a lock that write-back takes: writes the object back if too much is dirty.
    ///
    /// # Errors
    /// What the write-back says.
    pub fn balance(&self) -> Result<(), Errno> {
        if self.cache.is_over_background() {
            W::write_back_wanted();
        }
        match self.owner.as_ref().and_then(Weak::upgrade) {
            Some(owner) if self.cache.is_over_limit() => owner.write_back(),
            _ => Ok(()),
        }
    }

    /// Takes up to `most` dirty pages of `range` for writing, in ascending order. Each is given to [`Object::end_write_back`] when it has been tried, and waited
    /// for by who removes it. One that is being written is left out.
    #[must_use = "pages stay marked as being written until `end_write_back`"]
    pub fn begin_write_back(&self, range: Range<u64>, most: usize) -> Vec<Dirty<W::Page>> {
        let mut slots = self.slots.lock();
        let Slots { slots: pages, dirty, writing, .. } = &mut *slots;
        let chosen = dirty.range(range).filter(|index| !writing.contains(index)).take(most);
        let chosen: Vec<u64> = chosen.copied().collect();
        let mut taken = Vec::with_capacity(chosen.len());
        for index in chosen {
            let Some(slot) = pages.get_mut(&index) else { continue };
            // Whoever could change it unseen has gone before its bytes are written: they are the last.
            slot.mapped &= !slot.page.is_sole();
            if !slot.mapped {
                dirty.remove(&index);
                self.cache.dirty.fetch_sub(1, Ordering::Relaxed);
            }
            writing.insert(index);
            taken.push((index, slot.page.clone()));
        }
        self.cache.writing.fetch_add(taken.len(), Ordering::Relaxed);
        taken
    }

    /// Pages from [`Object::begin_write_back`] were written, or not: then they are dirty still.
    pub fn end_write_back(&self, pages: &[Dirty<W::Page>], written: bool) {
        let mut slots = self.slots.lock();
        for (index, _) in pages {
            let was = slots.writing.remove(index);
            debug_assert!(was, "page {index} was not being written");
            if !written {
                self.make_dirty(&mut slots, *index);
            }
        }
        self.cache.writing.fetch_sub(pages.len(), Ordering::Relaxed);
        let gone = self.leave_queue_if_clean(&mut slots);
        drop(slots);
        drop(gone);
        self.sleepers.wake_all();
    }

    /// Waits for those pages of `range` that somebody is writing now.
    pub fn wait_written(&self, range: Range<u64>) {
        let writing: Vec<u64> = self.slots.lock().writing.range(range).copied().collect();
        for index in writing {
            self.sleepers.sleep_until(|| !self.slots.lock().writing.contains(&index));
        }
    }

    /// Takes the pages of `range` out, dirty or not, after waiting for those that are being filled or written. The caller sees to it that no new ones
    /// come.
    pub fn remove(&self, range: Range<u64>) {
        loop {
            let mut slots = self.slots.lock();
            if slots.is_busy(&range) {
                drop(slots);
                self.sleepers.sleep_until(|| !self.slots.lock().is_busy(&range));
                continue;
            }
            let mut taken = slots.slots.split_off(&range.start);
            slots.slots.append(&mut taken.split_off(&range.end));
            for (index, slot) in &taken {
                self.cache.leave(slot.serial);
                if slots.dirty.remove(index) {
                    self.cache.dirty.fetch_sub(1, Ordering::Relaxed);
                }
            }
            self.cache.cached.fetch_sub(taken.len(), Ordering::Relaxed);
            let gone = self.leave_queue_if_clean(&mut slots);
            drop(slots);
            drop((taken, gone));
            return;
        }
    }

    /// The first dirty page, or one that is being written, at or behind `index`.
    #[must_use]
    pub fn next_dirty(&self, index: u64) -> Option<u64> {
        let slots = self.slots.lock();
        let first = |set: &BTreeSet<u64>| set.range(index..).next().copied();
        match (first(&slots.dirty), first(&slots.writing)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// How many pages it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.lock().slots.len()
    }

    fn claim(&self, index: u64, count: usize) -> Result<Claim<W::Page>, Errno> {
        let room = match self.look(index, count) {
            Ok(claim) => return Ok(claim),
            Err(absent) => absent,
        };
        // Memory for a page may take a reclaim: not with the lock held.
        let mut fresh = Vec::with_capacity(room);
        while fresh.len() < room {
            match W::Page::zeroed() {
                Some(page) => fresh.push(page),
                None if fresh.is_empty() => return Err(Errno::ENOMEM),
                None => break,
            }
        }
        let mut slots = self.slots.lock();
        let mut mine = Vec::with_capacity(fresh.len());
        for (at, page) in (index..).zip(fresh) {
            let Entry::Vacant(room) = slots.slots.entry(at) else { break };
            let share = page.clone();
            room.insert(Slot { page: share, serial: 0, filling: true, referenced: false, mapped: false });
            mine.push(page);
        }
        self.cache.cached.fetch_add(mine.len(), Ordering::Relaxed);
        drop(slots);
        if mine.is_empty() {
            // Somebody was quicker; he may also have failed since.
            return Ok(self.look(index, 1).unwrap_or(Claim::Filling));
        }
        Ok(Claim::Mine(mine))
    }

    /// What is at an index; where there is nothing, how many are absent from there on.
    fn look(&self, index: u64, count: usize) -> Result<Claim<W::Page>, usize> {
        let mut slots = self.slots.lock();
        match slots.slots.get_mut(&index) {
            Some(slot) if slot.filling => Ok(Claim::Filling),
            Some(slot) => {
                slot.referenced = true;
                Ok(Claim::Ready(slot.page.clone()))
            }
            None => {
                let next = slots.slots.range(index..).next().map_or(u64::MAX, |(&next, _)| next);
                Err(usize::try_from(next - index).unwrap_or(usize::MAX).min(count))
            }
        }
    }

    /// Pages that the caller was to fill are filled, or go.
    fn settle(&self, range: Range<u64>, filled: bool) {
        let mut gone = Vec::new();
        let mut slots = self.slots.lock();
        if filled {
            for (&index, slot) in slots.slots.range_mut(range) {
                (slot.serial, slot.filling) = (self.cache.stand_last(self.this.clone(), index), false);
            }
        } else {
            gone.extend(range.filter_map(|index| slots.slots.remove(&index)));
        }
        self.cache.cached.fetch_sub(gone.len(), Ordering::Relaxed);
        drop(slots);
        drop(gone);
        self.sleepers.wake_all();
    }

    fn make_dirty(&self, slots: &mut Slots<W::Page>, index: u64) {
        debug_assert!(!slots.is_filling(index));
        if !slots.dirty.insert(index) {
            return;
        }
        self.cache.dirty.fetch_add(1, Ordering::Relaxed);
        if slots.ticket.is_none()
            && let Some(owner) = self.owner.as_ref().and_then(Weak::upgrade)
        {
            slots.ticket = Some(self.cache.enqueue(owner));
            W::write_back_wanted();
        }
    }

    #[must_use = "the owner may go with this share: not with a lock held"]
    fn leave_queue_if_clean(&self, slots: &mut Slots<W::Page>) -> Option<Arc<dyn WriteBack>> {
        if slots.dirty.is_empty() { slots.ticket.take().and_then(|ticket| self.cache.dequeue(ticket)) } else { None }
    }

    /// Frees the page at `index`, which stood at `serial` in the list, if it can go; else it gets a new place. True: it is freed.
    pub(super) fn evict(&self, index: u64, serial: u64) -> bool {
        let mut slots = self.slots.lock();
        let busy = slots.dirty.contains(&index) || slots.writing.contains(&index);
        let Some(slot) = slots.slots.get_mut(&index).filter(|slot| slot.serial == serial) else { return false };
        if busy || slot.referenced || !slot.page.is_sole() {
            slot.referenced = false;
            slot.serial = self.cache.stand_last(self.this.clone(), index);
            return false;
        }
        let gone = slots.slots.remove(&index);
        self.cache.cached.fetch_sub(1, Ordering::Relaxed);
        drop(slots);
        drop(gone);
        true
    }
}

impl<W: World> Drop for Object<W> {
    fn drop(&mut self) {
        let slots = self.slots.get_mut();
        self.cache.cached.fetch_sub(slots.slots.len(), Ordering::Relaxed);
        self.cache.dirty.fetch_sub(slots.dirty.len(), Ordering::Relaxed);
        slots.slots.values().for_each(|slot| self.cache.leave(slot.serial));
        debug_assert!(
            slots.writing.is_empty() && slots.ticket.is_none(),
            "an object goes while it is written or dirty"
        );
    }
}
