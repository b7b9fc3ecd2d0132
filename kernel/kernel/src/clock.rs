//! The date: time since power-on plus an offset, which the hardware clock or a program sets.

use core::sync::atomic::{AtomicU64, Ordering};

use linux::types::Timespec;

use crate::arch::timer;
use crate::mm::PageRef;
use crate::sync::{Rank, SpinLock};

/// Nanoseconds from 1970 to power-on.
static OFFSET: AtomicU64 = AtomicU64::new(0);
/// The page in which programs find it (`arch::vdso`), once there is one: it then says the same.
static PAGE: SpinLock<Option<PageRef>> = SpinLock::new(Rank::CLOCK, None);

fn since_power_on() -> u64 {
    timer::now().as_nanos() as u64
}

/// Nanoseconds from 1970 to power-on.
#[must_use]
pub fn offset_nanos() -> u64 {
    OFFSET.load(Ordering::Relaxed)
}

/// The date.
#[must_use]
pub fn realtime() -> Timespec {
    Timespec::from_nanos(since_power_on().saturating_add(offset_nanos()))
}

/// Sets the date to `earliest` when it is before that: a machine without a hardware clock starts in 1970.
pub fn set_earliest(earliest: Timespec) {
    if (realtime().sec, realtime().nsec) < (earliest.sec, earliest.nsec) {
        set_realtime(earliest.to_nanos().unwrap_or(0));
    }
}

/// Sets the date, in nanoseconds since 1970.
pub fn set_realtime(nanos: u64) {
    let page = PAGE.lock();
    let offset = nanos.saturating_sub(since_power_on());
    OFFSET.store(offset, Ordering::Relaxed);
    if let Some(page) = &*page {
        page.store_word(offset);
    }
}

/// The page in which programs find the offset; `None`: no memory.
pub fn page() -> Option<PageRef> {
    let mut page = PAGE.lock();
    if page.is_none() {
        let made = PageRef::zeroed()?;
        made.store_word(offset_nanos());
        *page = Some(made);
    }
    page.clone()
}
