//! Every bound and every time that is no file's to say.

/// Checks that are taken; more are mistakes.
pub const CHECKS_MAX: usize = 64;
/// Bytes of a reason, of all reasons together, and of a line in the verdict's pipe.
pub const WHY_MAX: usize = 120;
/// See [`WHY_MAX`].
pub const REASONS_MAX: usize = 180;
/// See [`WHY_MAX`].
pub const LINE_MAX: usize = 200;
/// Commands and checks of files that run at once.
pub const RUNNING_MAX: usize = 4;
/// Bytes of the status and of the record.
pub const STATUS_MAX: usize = 64 << 10;
/// See [`STATUS_MAX`].
pub const RECORD_MAX: usize = 16 << 10;

/// Seconds until the watchdog resets a machine whose healthd is silent.
pub const WATCHDOG_SECONDS: i32 = 30;
/// How often it is fed.
pub const FEED_MS: u64 = 5_000;
/// How often process 1 is given an orphan to reap, and how long it may take before the watchdog is not fed any more. init waits for a
/// service that is to say that it is up, for 30 s at the longest, and reaps nobody meanwhile.
pub const ORPHAN_MS: u64 = 10_000;
/// See [`ORPHAN_MS`].
pub const INIT_SILENT_MAX_MS: u64 = 45_000;
/// How often results are kept for the next release, at the most.
pub const RECORD_MS: u64 = 60_000;
const _: () = assert!(FEED_MS * 2 < WATCHDOG_SECONDS as u64 * 1000 && ORPHAN_MS * 2 < INIT_SILENT_MAX_MS);

/// Text of at most `max` bytes, cut between characters.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
