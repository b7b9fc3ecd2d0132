//! The page cache: pages of objects (a data file, the base's blocks) by index, shared by `read`, `write` and mappings.
//!
//! An [`Object`] has a map from index to page. A page that is not there is filled by one caller while others wait. A page that was changed is *dirty*
//! until its owner has written it to where it lasts; the cache knows which objects have dirty pages and since when, and calls their
//! [`WriteBack`]. All pages stand in one list with a second chance for those that were used since: [`Cache::reclaim`] takes clean ones that nobody has
//! a share of.
//!
//! A page that a program may write through a mapping (`mapped`) changes without a word. It counts as dirty as long as it has shares beside the cache's
//! own, and is clean after the write-back that began when it had none.
//!
//! Locks: an object's pages ([`Rank::PAGES`]), then the list or the queue of dirty objects ([`Rank::PAGE_LISTS`]). They are spinlocks; nobody fills, writes or
//! copies with one held, and a page's memory is taken before.

mod object;
mod places;

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use linux::Errno;
use sync::Rank;

pub use object::{Dirty, Fill, Object};

use crate::World;
use crate::world::Spin;
use places::Places;

/// Who writes the dirty pages of an object to where they last.
pub trait WriteBack: Send + Sync {
    /// Writes the pages that are dirty now. What failed stays dirty, and is for the owner to tell those who ask.
    ///
    /// # Errors
    /// The first that there was.
    fn write_back(&self) -> Result<(), Errno>;
}

/// How many pages may be dirty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From here on who makes pages dirty writes his own back first.
    pub dirty_max: usize,
    /// From here on somebody is to write back, however young the pages are.
    pub dirty_background: usize,
}

/// Pages in the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// All.
    pub cached: usize,
    /// Those that are dirty.
    pub dirty: usize,
    /// Those that are being written.
    pub writing: usize,
}

/// All pages in second-chance order: object and index. A page that goes to the end gets a new place.
type Clock<W> = Places<(Weak<Object<W>>, u64)>;

/// An object with dirty pages, kept alive by standing here.
struct Queued {
    owner: Arc<dyn WriteBack>,
    since: u64,
}

/// Objects with dirty pages, in the order in which they came.
struct Queue {
    objects: BTreeMap<u64, Queued>,
    next: u64,
}

/// The cache of a machine.
pub struct Cache<W: World> {
    clock: Spin<W, Clock<W>>,
    queue: Spin<W, Queue>,
    limits: Limits,
    /// Time, as far as the age of dirty pages needs one.
    tick: AtomicU64,
    cached: AtomicUsize,
    dirty: AtomicUsize,
    writing: AtomicUsize,
}

impl<W: World> Cache<W> {
    /// An empty cache.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        assert!(limits.dirty_background <= limits.dirty_max);
        Arc::new(Self {
            clock: Spin::<W, _>::new(Rank::PAGE_LISTS, Places::new()),
            queue: Spin::<W, _>::new(Rank::PAGE_LISTS, Queue { objects: BTreeMap::new(), next: 1 }),
            limits,
            tick: AtomicU64::new(0),
            cached: AtomicUsize::new(0),
            dirty: AtomicUsize::new(0),
            writing: AtomicUsize::new(0),
        })
    }

    /// How many pages there are.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            cached: self.cached.load(Ordering::Relaxed),
            dirty: self.dirty.load(Ordering::Relaxed),
            writing: self.writing.load(Ordering::Relaxed),
        }
    }

    /// So many pages are dirty that somebody is to write back.
    #[must_use]
    pub fn is_over_background(&self) -> bool {
        let Statistics { dirty, .. } = self.statistics();
        dirty > self.limits.dirty_background
    }

    /// So many pages are dirty or being written that no more may become so.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        let Statistics { dirty, writing, .. } = self.statistics();
        dirty + writing > self.limits.dirty_max
    }

    /// Frees up to `wanted` clean pages that nobody has a share of and that were not used since they were last looked at; says how many. Each page is looked
    /// at twice at most. It does not sleep; the caller holds no spinlock.
    pub fn reclaim(&self, wanted: usize) -> usize {
        let mut looks = 2 * self.clock.lock().count();
        let mut freed = 0;
        while freed < wanted && looks > 0 {
            looks -= 1;
            let first = self.clock.lock().take_first();
            let Some((serial, (object, index))) = first else { break };
            // An object that is going takes its pages with it.
            if let Some(object) = object.upgrade() {
                freed += usize::from(object.evict(index, serial));
            }
        }
        freed
    }

    /// A tick of the time in which the age of dirty pages is counted has passed.
    pub fn tick(&self) {
        self.tick.fetch_add(1, Ordering::Relaxed);
    }

    /// No object has dirty pages.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.queue.lock().objects.is_empty()
    }

    /// Writes back each object whose pages have been dirty for `age` ticks; with 0 all that are dirty now. Errors stay with the owners.
    pub fn write_back(&self, age: u64) {
        const BATCH: usize = 16;
        let now = self.tick.load(Ordering::Relaxed);
        let (mut next, end) = (0, self.queue.lock().next);
        loop {
            let due: Vec<(u64, Arc<dyn WriteBack>)> = {
                let queue = self.queue.lock();
                let due = queue.objects.range(next..end).filter(|(_, queued)| queued.since + age <= now);
                due.take(BATCH).map(|(&ticket, queued)| (ticket, queued.owner.clone())).collect()
            };
            let Some(last) = due.last() else { return };
            next = last.0 + 1;
            for (ticket, owner) in due {
                let _ = owner.write_back();
                // What is still dirty, because it failed or is mapped, is tried again when it has aged once more.
                if let Some(queued) = self.queue.lock().objects.get_mut(&ticket) {
                    queued.since = now;
                }
            }
        }
    }

    /// An object has its first dirty page; gives the ticket under which it stands in the queue.
    fn enqueue(&self, owner: Arc<dyn WriteBack>) -> u64 {
        let since = self.tick.load(Ordering::Relaxed);
        let mut queue = self.queue.lock();
        let ticket = queue.next;
        queue.next += 1;
        queue.objects.insert(ticket, Queued { owner, since });
        ticket
    }

    /// An object has no dirty page any more. Who calls drops the owner without a lock.
    fn dequeue(&self, ticket: u64) -> Option<Arc<dyn WriteBack>> {
        self.queue.lock().objects.remove(&ticket).map(|queued| queued.owner)
    }

    /// Gives a page a place at the end of the list.
    fn stand_last(&self, object: Weak<Object<W>>, index: u64) -> u64 {
        self.clock.lock().push((object, index))
    }

    fn leave(&self, serial: u64) {
        let gone = self.clock.lock().take(serial);
        drop(gone);
    }
}
