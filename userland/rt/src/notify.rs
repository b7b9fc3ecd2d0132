//! A service tells init that it is up: one byte to the descriptor that NOTIFY_FD names (docs/formats/service.md).

use rustix::fd::{FromRawFd, OwnedFd};

/// Says so, once; without NOTIFY_FD nobody asked.
pub fn ready() {
    let number = crate::process::variable(VARIABLE).and_then(|n| n.parse().ok()).filter(|&n: &i32| n > 2);
    if let Some(number) = number {
        // SAFETY: init opened this descriptor for us alone and named it; it is closed here, after its one use.
        let pipe = unsafe { OwnedFd::from_raw_fd(number) };
        // nobody waits any more if this fails: init has given up on us and says so itself
        let _ = rustix::io::write(&pipe, b"\n");
    }
}

/// The variable's name.
pub const VARIABLE: &str = "NOTIFY_FD";
