//! The page cache under loom: every interleaving of a few steps.

use alloc::sync::Arc;
use std::sync::Weak;
use std::vec;

use linux::Errno;
use linux::types::Timespec;
use loom::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};

use crate::cache::{Cache, Limits, Object, WriteBack};
use crate::{File, Inode, Page, World};

#[derive(Debug)]
struct Model;

impl sync::Cpu for Model {
    fn mask_interrupts() -> u64 {
        0
    }
    fn restore_interrupts(_: u64) {}
    fn held() -> u64 {
        0
    }
    fn set_held(_: u64) {}
}

/// Sleeps for real: a loop that only yields has no end for loom.
#[derive(Default)]
struct Sleepers {
    wakes: Mutex<()>,
    woken: Condvar,
}

impl sync::Sleep for Sleepers {
    fn sleep_until(&self, mut condition: impl FnMut() -> bool) {
        let mut wakes = self.wakes.lock().unwrap();
        while !condition() {
            wakes = self.woken.wait(wakes).unwrap();
        }
    }
    fn wake_one(&self) {
        self.wake_all();
    }
    fn wake_all(&self) {
        let _wakes = self.wakes.lock().unwrap();
        self.woken.notify_all();
    }
}

/// A page of one byte, which loom watches; the count of its shares, too.
struct Byte {
    value: Arc<AtomicU8>,
    shares: Arc<AtomicUsize>,
}

impl Clone for Byte {
    fn clone(&self) -> Self {
        self.shares.fetch_add(1, Ordering::Relaxed);
        Self { value: self.value.clone(), shares: self.shares.clone() }
    }
}

impl Drop for Byte {
    fn drop(&mut self) {
        self.shares.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Page for Byte {
    fn zeroed() -> Option<Self> {
        Some(Self { value: Arc::new(AtomicU8::new(0)), shares: Arc::new(AtomicUsize::new(1)) })
    }
    fn in_place(_: &'static [u8]) -> Option<Self> {
        None
    }
    fn is_sole(&self) -> bool {
        self.shares.load(Ordering::Acquire) == 1
    }
    fn bytes(&self) -> &[u8] {
        vec![self.value.load(Ordering::Relaxed)].leak()
    }
    fn change(&self, change: &mut dyn FnMut(&mut [u8])) {
        let mut bytes = [self.value.load(Ordering::Relaxed)];
        change(&mut bytes);
        self.value.store(bytes[0], Ordering::Relaxed);
    }
}

impl World for Model {
    type Cpu = Model;
    type Sleepers = Sleepers;
    type Page = Byte;
    type WaitQueue = ();

    fn sleepers() -> Sleepers {
        Sleepers::default()
    }
    fn now() -> Timespec {
        Timespec::default()
    }
    fn open_special(_: &Arc<dyn Inode<Self>>, _: u32) -> Result<Arc<dyn File<Self>>, Errno> {
        Err(Errno::ENXIO)
    }
}

/// One page, and the byte of it that lasts.
struct Store {
    object: Arc<Object<Model>>,
    last: AtomicU8,
    fills: AtomicUsize,
}

impl Store {
    fn new() -> (Arc<Cache<Model>>, Arc<Self>) {
        let cache = Cache::new(Limits { dirty_max: 8, dirty_background: 8 });
        let store = Arc::new_cyclic(|this: &Weak<Self>| Self {
            object: Object::new(&cache, Some(this.clone())),
            last: AtomicU8::new(1),
            fills: AtomicUsize::new(0),
        });
        (cache, store)
    }

    fn page(&self) -> Byte {
        let fill = &mut |_, pages: &[Byte]| {
            self.fills.fetch_add(1, Ordering::Relaxed);
            pages[0].change(&mut |bytes| bytes[0] = self.last.load(Ordering::Relaxed));
            Ok(())
        };
        self.object.get_or_fill(0, 1, fill).unwrap()
    }

    fn write(&self, byte: u8) {
        let page = self.page();
        page.change(&mut |bytes| bytes[0] = byte);
        assert!(self.object.mark_dirty(0));
    }
}

impl WriteBack for Store {
    fn write_back(&self) -> Result<(), Errno> {
        let pages = self.object.begin_write_back(0..1, 1);
        pages.iter().for_each(|(_, page)| self.last.store(page.bytes()[0], Ordering::Relaxed));
        self.object.end_write_back(&pages, true);
        Ok(())
    }
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

#[test]
fn one_fills_and_the_other_waits_for_him() {
    model(|| {
        let (_cache, store) = Store::new();
        let other = store.clone();
        let thread = loom::thread::spawn(move || assert_eq!(other.page().bytes()[0], 1));
        assert_eq!(store.page().bytes()[0], 1);
        thread.join().unwrap();
        assert_eq!(store.fills.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_change_during_the_write_back_is_not_lost() {
    model(|| {
        let (cache, store) = Store::new();
        store.write(2);
        let other = store.clone();
        let thread = loom::thread::spawn(move || other.write_back().unwrap());
        store.write(3);
        thread.join().unwrap();
        cache.write_back(0);
        assert_eq!(store.last.load(Ordering::Relaxed), 3);
        assert!(cache.is_clean());
    });
}

#[test]
fn a_page_that_is_being_changed_is_not_reclaimed() {
    model(|| {
        let (cache, store) = Store::new();
        drop(store.page());
        let other = cache.clone();
        let thread = loom::thread::spawn(move || other.reclaim(1));
        store.write(2);
        assert_eq!(store.page().bytes()[0], 2);
        thread.join().unwrap();
        cache.write_back(0);
        assert_eq!(store.last.load(Ordering::Relaxed), 2);
        assert_eq!(cache.statistics().cached, 1);
    });
}

#[test]
fn the_last_bytes_of_a_mapping_are_written() {
    model(|| {
        let (cache, store) = Store::new();
        drop(store.page());
        let mapped = store.object.map_writable(0).unwrap();
        let other = store.clone();
        let thread = loom::thread::spawn(move || other.write_back().unwrap());
        mapped.change(&mut |bytes| bytes[0] = 5);
        drop(mapped);
        thread.join().unwrap();
        cache.write_back(0);
        assert_eq!(store.last.load(Ordering::Relaxed), 5);
        assert!(cache.is_clean());
    });
}
