//! What signatures on this machine vouch for: times, key sets and loaders, of the release that runs and of the one in the other slot.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;

use bootctl::permit::Signed;
use bootctl::{Loader, Slot};
use release::keyset::KeySet;
use release::trust::{self, Quorum, Roots};
use release::{AREA_SIZE, Header, SectionKind};

use crate::drivers::block::{self, Kind};
use crate::mm::kmap;
use crate::sched::WaitQueue;
use crate::sync::Once;
use crate::{boot, sched};

/// The newest time in header and key set of the release that runs; 0 where no loader verified them, or none is told.
#[must_use]
pub fn running_at() -> u64 {
    static AT: Once<u64> = Once::new();
    *AT.get_or_init(|| {
        let info = boot::info();
        let area = if info.root_count == 0 { None } else { kmap::base_bytes(info.header_start, AREA_SIZE as u64) };
        area.map_or(0, trust::newest_time)
    })
}

/// An answer that a thread is waited for.
struct Answer {
    signed: Once<Signed>,
    asking: WaitQueue,
}

/// What the release in a slot vouches for, read from its disk and held to the loader's root keys; nothing, when that cannot be done.
pub fn in_slot(slot: Slot) -> Signed {
    let answer = Arc::new(Answer { signed: Once::new(), asking: WaitQueue::new() });
    let giving = answer.clone();
    // Curves need more of a stack than a system call has left of its own.
    sched::spawn_kernel("signatures", move || {
        let _ = giving.signed.set(read(slot).unwrap_or_default());
        giving.asking.wake_all();
    });
    answer.asking.wait_until(|| answer.signed.get().copied(), None, false).unwrap_or_default()
}

fn read(slot: Slot) -> Option<Signed> {
    let part = block::boot_part(Kind::of(slot))?;
    let mut area = vec![0; AREA_SIZE];
    part.disk.read_sectors(part.first, &mut area).ok()?;
    let info = boot::info();
    let quorums = info.root_quorums.map(|[threshold, members]| Quorum { threshold, members });
    let mut key_set = empty();
    let signed_at = trust::accept_time(&area, &Roots { keys: info.root_keys(), quorums }, &mut key_set).ok()?;
    // A version that the block has no room for is none.
    Some(Signed { signed_at, key_set: key_set.version.try_into().ok()?, loader: loader_of(&area) })
}

/// The loader that the release of this area carries; who signed it is known.
#[inline(never)]
fn loader_of(area: &[u8]) -> Option<Loader> {
    let header = Header::parse(area).ok()?;
    let section = header.section(SectionKind::Loader)?;
    let length = section.length.try_into().ok().filter(|&length| length > 0)?;
    Some(Loader { digest: section.digest, length, security: header.loader_security_version })
}

/// Made where its copy on the stack is gone afterwards.
#[inline(never)]
fn empty<'a>() -> Box<KeySet<'a>> {
    Box::new(KeySet::EMPTY)
}
