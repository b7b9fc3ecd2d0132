//! The date: time since power-on plus an offset, which the machine's clock sets at boot, and programs after that.

use core::sync::atomic::{AtomicU64, Ordering};

use bootinfo::{DateSource, KnownDate};
use linux::types::Timespec;

use crate::arch::timer;
use crate::mm::PageRef;
use crate::sync::{Rank, SpinLock};
use crate::{boot, event, fs};

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

/// Sets the date to what the machine's clock says. Where it says less than what is known to have been, when the base was `made` or the newest signed time,
/// it stopped or was never set, and the date is that until somebody knows better.
pub fn start(made: Timespec) {
    let info = boot::info();
    let base = u64::try_from(made.sec).unwrap_or(0);
    let known = KnownDate { clock: info.time, base, signed: fs::newest_signed_time() };
    let (from, time, why) = known.date();
    let clock = if info.slot == bootinfo::slot::INITRD { "rtc" } else { "firmware" };
    if let Some(why) = why {
        event!("clock.error", what = clock, why = why, time = info.time);
    }
    let (source, since) = match from {
        DateSource::Clock => (clock, info.time_ticks),
        DateSource::Base => ("base", timer::ticks()),
        DateSource::Signed => ("signed", timer::ticks()),
    };
    let since = timer::ticks_to_duration(timer::ticks().saturating_sub(since));
    set_realtime(time.saturating_mul(1_000_000_000).saturating_add(since.as_nanos() as u64));
    event!("clock.ready", source = source, time = time);
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
