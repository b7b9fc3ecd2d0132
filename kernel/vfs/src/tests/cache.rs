//! The page cache: one filler at a time, dirty pages until they are written, reclaim that takes only what nobody needs.

use std::collections::BTreeMap;
use std::sync::Mutex as HostMutex;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::cache::{Cache, Limits, Object, Statistics, WriteBack};

const LIMITS: Limits = Limits { dirty_max: 8, dirty_background: 4 };

/// An object over bytes that last: one byte of each page.
struct Store {
    object: Arc<Object<Host>>,
    last: HostMutex<BTreeMap<u64, u8>>,
    fails: AtomicBool,
    writes: AtomicUsize,
}

impl Store {
    fn new(cache: &Arc<Cache<Host>>) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            object: Object::new(cache, Some(this.clone())),
            last: HostMutex::default(),
            fails: AtomicBool::new(false),
            writes: AtomicUsize::new(0),
        })
    }

    fn fill(&self, first: u64, pages: &[HostPage]) -> Result<(), Errno> {
        for (index, page) in (first..).zip(pages) {
            let byte = self.last.lock().unwrap().get(&index).copied().unwrap_or(0);
            set(page, byte);
        }
        Ok(())
    }

    fn page(&self, index: u64, count: usize) -> HostPage {
        self.object.get_or_fill(index, count, &mut |first, pages| self.fill(first, pages)).unwrap()
    }

    fn write(&self, index: u64, byte: u8) {
        self.object.balance().unwrap();
        let share = self.page(index, 1);
        set(&share, byte);
        assert!(self.object.mark_dirty(index), "a page goes while somebody has a share of it");
    }
}

impl WriteBack for Store {
    fn write_back(&self) -> Result<(), Errno> {
        let failed = self.fails.load(Ordering::Relaxed);
        let pages = self.object.begin_write_back(0..u64::MAX, usize::MAX);
        for (index, page) in &pages {
            if !failed {
                self.last.lock().unwrap().insert(*index, byte(page));
            }
        }
        self.writes.fetch_add(pages.len(), Ordering::Relaxed);
        self.object.end_write_back(&pages, !failed);
        if failed { Err(Errno::EIO) } else { Ok(()) }
    }
}

fn byte(page: &HostPage) -> u8 {
    page.bytes()[0]
}

fn set(page: &HostPage, byte: u8) {
    page.change(&mut |bytes| bytes[0] = byte);
}

#[test]
fn a_page_is_filled_once_and_read_ahead_stops_at_what_is_there() {
    let cache = Cache::new(LIMITS);
    let store = Store::new(&cache);
    let fills = RefCell::new(Vec::new());
    let get = |index, count| {
        let fill = &mut |first, pages: &[HostPage]| {
            fills.borrow_mut().push((first, pages.len()));
            Ok(())
        };
        store.object.get_or_fill(index, count, fill).unwrap()
    };
    drop(get(5, 1));
    drop(get(5, 1));
    drop(get(2, 8));
    drop(get(6, 2));
    assert_eq!(*fills.borrow(), [(5, 1), (2, 3), (6, 2)]);
    assert_eq!(cache.statistics(), Statistics { cached: 6, dirty: 0, writing: 0 });
    drop(store);
    assert_eq!(cache.statistics(), Statistics::default(), "pages go with their object");
}

#[test]
fn a_run_ends_before_what_is_not_there_or_is_being_filled() {
    let cache = Cache::new(LIMITS);
    let store = Store::new(&cache);
    [2, 3, 5].into_iter().for_each(|index| store.write(index, 10 + index as u8));
    let run = |index, most| store.object.run(index, most).iter().map(byte).collect::<Vec<_>>();
    assert_eq!((run(2, 8), run(2, 1), run(5, 8)), (vec![12, 13], vec![12], vec![15]));
    assert_eq!((run(0, 8), run(4, 8), run(6, 8), run(2, 0)), (vec![], vec![], vec![], vec![]));
    let fill = &mut |_, _: &[HostPage]| {
        assert_eq!((run(3, 8), run(4, 8)), (vec![13], vec![]), "page 4 is its filler's alone");
        Ok(())
    };
    store.object.get_or_fill(4, 1, fill).unwrap();
    assert_eq!(run(3, 8), [13, 0, 15]);
}

#[test]
fn a_failure_ahead_is_not_the_readers_and_one_that_is_leaves_nothing() {
    let cache = Cache::new(LIMITS);
    let store = Store::new(&cache);
    let bad = |page: u64| {
        move |first: u64, pages: &[HostPage]| {
            if (first..first + pages.len() as u64).contains(&page) { Err(Errno::EIO) } else { Ok(()) }
        }
    };
    assert!(store.object.get_or_fill(0, 4, &mut bad(2)).is_ok());
    assert_eq!(store.object.count(), 1);
    assert_eq!(store.object.get_or_fill(2, 4, &mut bad(2)).err(), Some(Errno::EIO));
    assert_eq!(store.object.count(), 1);
    assert!(store.object.get_or_fill(2, 4, &mut bad(9)).is_ok(), "the next reader tries again");
}

#[test]
fn dirty_pages_last_only_when_they_were_written() {
    let cache = Cache::new(LIMITS);
    let store = Store::new(&cache);
    (0..3).for_each(|index| store.write(index, 7));
    assert_eq!(cache.statistics().dirty, 3);
    assert_eq!(cache.reclaim(10), 0, "dirty pages are not reclaimed");
    store.fails.store(true, Ordering::Relaxed);
    assert_eq!(store.write_back(), Err(Errno::EIO));
    assert_eq!((cache.statistics().dirty, cache.is_clean()), (3, false), "what failed stays dirty");
    store.fails.store(false, Ordering::Relaxed);
    cache.write_back(0);
    assert_eq!((cache.statistics().dirty, cache.is_clean()), (0, true));
    assert_eq!(*store.last.lock().unwrap(), BTreeMap::from([(0, 7), (1, 7), (2, 7)]));
}

#[test]
fn pages_are_written_when_they_have_aged() {
    let cache = Cache::new(LIMITS);
    let (old, young) = (Store::new(&cache), Store::new(&cache));
    old.write(0, 1);
    cache.tick();
    cache.tick();
    young.write(0, 1);
    cache.write_back(2);
    let writes = |store: &Store| store.writes.load(Ordering::Relaxed);
    assert_eq!((writes(&old), writes(&young)), (1, 0));
    // One that fails is not tried again before it has aged once more, and stays.
    young.fails.store(true, Ordering::Relaxed);
    cache.tick();
    cache.tick();
    cache.write_back(2);
    cache.write_back(2);
    assert_eq!((writes(&young), cache.statistics().dirty), (1, 1));
    cache.write_back(0);
    assert_eq!(writes(&young), 2);
}

#[test]
fn who_dirties_too_much_writes_first_and_is_told_when_that_fails() {
    let cache = Cache::new(LIMITS);
    let store = Store::new(&cache);
    for index in 0..50 {
        store.write(index, 1);
        assert!(cache.statistics().dirty <= LIMITS.dirty_max + 1);
    }
    assert!(store.last.lock().unwrap().len() >= 40);
    store.fails.store(true, Ordering::Relaxed);
    let result = (0..50).try_for_each(|index| {
        store.object.balance()?;
        store.object.mark_dirty(index);
        Ok(())
    });
    assert_eq!(result, Err(Errno::EIO));
}

#[test]
fn a_page_that_is_mapped_to_write_is_dirty_until_a_write_back_after_its_last_share() {
    let cache = Cache::new(LIMITS);
    let store = Store::new(&cache);
    drop(store.page(0, 1));
    let mapped = store.object.map_writable(0).unwrap();
    set(&mapped, 1);
    store.write_back().unwrap();
    set(&mapped, 2);
    assert_eq!(cache.statistics().dirty, 1, "changed since, for all one knows");
    store.write_back().unwrap();
    set(&mapped, 3);
    drop(mapped);
    store.write_back().unwrap();
    assert_eq!(store.last.lock().unwrap()[&0], 3);
    assert_eq!((cache.statistics().dirty, cache.is_clean()), (0, true));
    assert_eq!(cache.reclaim(2), 1);
}

#[test]
fn reclaim_takes_what_nobody_used_first_and_nothing_that_is_shared() {
    let cache = Cache::new(LIMITS);
    let store = Store::new(&cache);
    drop(store.page(0, 8));
    let held = store.page(1, 1);
    drop(store.object.get(0));
    drop(store.object.get(2));
    assert_eq!(cache.reclaim(5), 5);
    assert!(store.object.get(0).is_some() && store.object.get(2).is_some());
    // Used again just now: a second round takes them.
    assert_eq!(cache.reclaim(5), 2);
    assert_eq!(store.object.count(), 1);
    drop(held);
    assert_eq!(cache.reclaim(5), 1);
    assert_eq!(cache.statistics(), Statistics::default());
}

#[test]
fn a_whole_page_goes_in_dirty_where_there_is_none() {
    let cache = Cache::new(LIMITS);
    let store = Store::new(&cache);
    let made = HostPage::zeroed().unwrap();
    set(&made, 9);
    assert!(store.object.insert_dirty(3, made).is_ok());
    let other = store.object.insert_dirty(3, HostPage::zeroed().unwrap()).err().unwrap();
    assert_eq!((byte(&other), cache.statistics().dirty), (9, 1));
    store.object.remove(3..4);
    assert!(!store.object.mark_dirty(3));
    assert_eq!((cache.statistics(), cache.is_clean()), (Statistics::default(), true));
}

#[test]
fn removal_takes_the_range_and_waits_for_writers() {
    let cache = Cache::new(LIMITS);
    let store = Store::new(&cache);
    (0..6).for_each(|index| store.write(index, 1));
    let pages = store.object.begin_write_back(2..4, 1);
    assert_eq!(pages.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2]);
    let removed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            store.object.remove(1..4);
            removed.store(true, Ordering::Relaxed);
        });
        for _ in 0..100 {
            assert!(!removed.load(Ordering::Relaxed));
            std::thread::yield_now();
        }
        store.object.end_write_back(&pages, true);
    });
    assert_eq!((store.object.count(), cache.statistics().dirty), (3, 3));
    assert_eq!(store.object.next_dirty(1), Some(4));
}

#[derive(Clone, Debug)]
enum Step {
    Read(u64, usize),
    Write(u64, u8),
    WriteBack(bool),
    Reclaim(usize),
    Remove(u64, u64),
    Map(u64),
    Unmap,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u64..12, 1usize..5).prop_map(|(index, count)| Step::Read(index, count)),
        4 => (0u64..12, any::<u8>()).prop_map(|(index, byte)| Step::Write(index, byte)),
        2 => any::<bool>().prop_map(Step::WriteBack),
        2 => (1usize..6).prop_map(Step::Reclaim),
        1 => (0u64..12, 1u64..6).prop_map(|(start, count)| Step::Remove(start, count)),
        1 => (0u64..12).prop_map(Step::Map),
        1 => Just(Step::Unmap),
    ]
}

proptest! {
    /// Whatever is written back, reclaimed or mapped in between: who reads a page sees what was last written to it, and in the end that lasts.
    #[test]
    fn reads_see_the_last_write(steps in prop::collection::vec(step(), 1..80)) {
        let cache = Cache::new(LIMITS);
        let store = Store::new(&cache);
        let mut model: BTreeMap<u64, u8> = BTreeMap::new();
        let mut mapped: Vec<HostPage> = Vec::new();
        for step in steps {
            match step {
                Step::Read(index, count) => {
                    prop_assert_eq!(byte(&store.page(index, count)), model.get(&index).copied().unwrap_or(0));
                }
                Step::Write(index, byte) => {
                    store.write(index, byte);
                    model.insert(index, byte);
                }
                Step::WriteBack(works) => {
                    store.fails.store(!works, Ordering::Relaxed);
                    prop_assert_eq!(store.write_back().is_ok(), works);
                    store.fails.store(false, Ordering::Relaxed);
                }
                Step::Reclaim(count) => prop_assert!(cache.reclaim(count) <= count),
                Step::Remove(start, count) => {
                    store.object.remove(start..start + count);
                    store.last.lock().unwrap().retain(|index, _| !(start..start + count).contains(index));
                    model.retain(|index, _| !(start..start + count).contains(index));
                }
                Step::Map(index) => {
                    drop(store.page(index, 1));
                    mapped.extend(store.object.map_writable(index));
                }
                Step::Unmap => drop(mapped.pop()),
            }
            let statistics = cache.statistics();
            prop_assert_eq!((statistics.cached, statistics.writing), (store.object.count(), 0));
            prop_assert_eq!(statistics.dirty == 0, cache.is_clean());
        }
        mapped.clear();
        cache.write_back(0);
        model.retain(|_, byte| *byte != 0);
        let mut last = store.last.lock().unwrap().clone();
        last.retain(|_, byte| *byte != 0);
        prop_assert_eq!(last, model);
        prop_assert_eq!(cache.statistics().dirty, 0);
    }
}

/// Says stop when it goes: a failed assertion ends the other threads too.
struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Readers, a writer, write-back, reclaim and removal in one object at once.
#[test]
fn many_threads_in_one_object() {
    let cache = Cache::new(LIMITS);
    let store = Store::new(&cache);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stopper = Stopper(&stop);
        for number in 0..3u64 {
            let (store, cache, stop) = (&store, &cache, &stop);
            scope.spawn(move || {
                let mut round = number;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    // Pages 8.. come and go; the others only ever count up.
                    match number {
                        0 => drop(store.page(8 + round % 4, 3)),
                        1 => cache.write_back(0),
                        _ => store.object.remove(8 + round % 4..12),
                    }
                    cache.reclaim(2);
                }
            });
        }
        for round in 1..=200u8 {
            for index in 0..6 {
                assert_eq!(byte(&store.page(index, 4)), round - 1);
                store.write(index, round);
            }
        }
    });
    cache.write_back(0);
    assert!((0..6).all(|index| store.last.lock().unwrap()[&index] == 200));
    assert_eq!(cache.statistics().writing, 0);
}
