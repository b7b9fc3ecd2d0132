//! Persistent data: the volume on /data, and the thread that writes back what is dirty.
//!
//! What was changed is written and made to last [`INTERVAL`] after the first change, or at once when much is dirty; `fsync` and `sync` do not wait
//! for that. A machine that stops leaves every volume with everything at its place.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Display;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use linux::Errno;
use vfs::access::Credentials;
use vfs::data::{MountError, Mounted, OpenError, Options};
use vfs::{Page, walk};

use super::{At, Kernel, PathContext, mounts};
use crate::arch::timer::now;
use crate::drivers::block::{self, Kind, Part};
use crate::event;
use crate::mm::{PageRef, frames};
use crate::sched::{self, WaitQueue};
use crate::sync::{Rank, SpinLock};

type Store = vfs::data::Store<Kernel>;

const PLACE: &str = "/data";
/// Changes are made to last this long after the first of them.
const INTERVAL: Duration = Duration::from_secs(5);
/// Of all memory so much may hold metadata, and so much changed metadata; and no more blocks than these.
const METADATA_SHARE: u64 = 32;
const METADATA_MAX: u64 = 16384;
const DIRTY_METADATA_SHARE: u64 = 128;
const DIRTY_METADATA_MAX: u64 = 1024;

/// Volumes that are mounted, or were and are still in use.
static STORES: SpinLock<Vec<Arc<Store>>> = SpinLock::new(Rank::FILE, Vec::new());
static IS_WANTED: AtomicBool = AtomicBool::new(false);
static SLEEPER: WaitQueue = WaitQueue::new();

/// Mounts the data partition of the disk that was booted from. When that cannot be, an event says so, and /data stays as the base has it.
///
/// A function that the boot calls by itself: what it needs of the stack comes on top of nothing else.
#[inline(never)]
pub fn mount() {
    let Some(root) = mounts::root() else { return };
    let context = PathContext { cwd: root.clone(), root, credentials: Credentials::root(), umask: 0o022 };
    let Some(part) = block::boot_part(Kind::Data) else {
        return event!("data.none", why = "there is no one partition for data on the disk that was booted from");
    };
    let source = format!("/dev/{}", part.name);
    let pages = frames::total_bytes() / vfs::PAGE_SIZE as u64;
    let options = Options {
        read_only: false,
        cache_blocks_max: (pages / METADATA_SHARE).min(METADATA_MAX) as usize,
        dirty_blocks_max: (pages / DIRTY_METADATA_SHARE).min(DIRTY_METADATA_MAX) as usize,
    };
    match vfs::data::mount(source.as_bytes(), part.clone(), super::cache(), options) {
        Ok(mounted) => enter(&context, &part, &source, mounted),
        Err(MountError::Volume(OpenError::NotDatafs)) if is_blank(&part) => {
            event!("data.none", name = part.name, why = "it was never formatted");
        }
        Err(error) => event!("data.failed", what = part.name, why = error),
    }
}

/// Hangs a volume into the tree, and has it written back from now on.
#[inline(never)]
fn enter(context: &PathContext, part: &Part, source: &str, mounted: Mounted<Kernel>) {
    let Mounted { volume, store, was_replayed, orphans, grown } = mounted;
    let statistics = volume.statistics();
    let place = walk::lookup(context, &At::cwd(PLACE.as_bytes()), true);
    if let Err(error) = place.and_then(|place| place.hang(volume, false)) {
        return event!("data.failed", what = PLACE, why = error);
    }
    part.claim();
    if was_replayed {
        event!("data.replayed", name = part.name, orphans = orphans);
    }
    if let Some(blocks) = grown {
        event!("data.grown", name = part.name, from = blocks.start, to = blocks.end);
    }
    if store.is_read_only() {
        let is_disk = vfs::Device::<Kernel>::is_read_only(part);
        let why =
            if is_disk { "the disk is read-only" } else { "the volume has features that this system can only read" };
        event!("data.read_only", name = part.name, why = why);
    }
    event!(
        "data.mounted",
        name = part.name,
        source = source,
        blocks = statistics.blocks,
        free = statistics.bfree,
        read_only = u8::from(store.is_read_only())
    );
    STORES.lock().push(store);
    sched::spawn_kernel("write-back", || serve());
}

/// Both places of the superblock are zero.
#[inline(never)]
fn is_blank(part: &Part) -> bool {
    let Some(pages) = (0..2).map(|_| PageRef::zeroed()).collect::<Option<Vec<_>>>() else { return false };
    let is_read = vfs::Device::<Kernel>::read(part, 0, &pages).is_ok();
    is_read && pages.iter().all(|page| Page::bytes(page).iter().all(|&byte| byte == 0))
}

/// Something is wrong with a volume.
pub fn report(source: &[u8], why: &dyn Display) {
    event!("data.error", what = String::from_utf8_lossy(source), why = why);
}

/// Something is dirty, or much is. Spinlocks may be held.
pub fn write_back_wanted() {
    if !IS_WANTED.swap(true, Ordering::AcqRel) || super::cache().is_over_background() {
        SLEEPER.wake_all();
    }
}

fn serve() -> ! {
    loop {
        let _ = SLEEPER.wait_until(|| IS_WANTED.load(Ordering::Acquire).then_some(()), None, false);
        let is_much = || super::cache().is_over_background().then_some(());
        let _ = SLEEPER.wait_until(is_much, Some(now() + INTERVAL), false);
        IS_WANTED.store(false, Ordering::Release);
        super::cache().write_back(0);
        for store in stores() {
            work(&store);
        }
    }
}

/// What failed was reported, and is tried again; who waits for certain bytes is told by his `fsync`.
fn work(store: &Arc<Store>) {
    if store.is_abandoned() {
        let _ = store.close();
        let mut stores = STORES.lock();
        stores.retain(|other| !Arc::ptr_eq(other, store));
    } else {
        let _ = store.work();
        if !store.is_idle() {
            IS_WANTED.store(true, Ordering::Release);
        }
    }
}

fn stores() -> Vec<Arc<Store>> {
    STORES.lock().clone()
}

/// The machine stops: leaves every volume with everything at its place.
pub fn close_all() {
    for store in stores() {
        match store.close() {
            // Earlier failures were reported when they came.
            Ok(()) | Err(Errno::EROFS) => {}
            Err(error) => report(store.source(), &format!("not left properly: {error}")),
        }
    }
}

/// Frees blocks of metadata that are not needed just now; says how many.
pub fn shrink(count: usize) -> usize {
    stores().iter().map(|store| store.shrink(count)).sum()
}
