#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
//! What the loader boots, decided without firmware: [`image`] reads and checks a slot image through two interfaces, one that
//! gives bytes and one that gives memory; [`choose`] goes through the candidates, and writes what the boot-control block must
//! remember before it lets one of them boot; [`Control`] is what was found of that block.
//!
//! The order of a choice (docs/formats/bootctl.md, "Which slot boots"):
//!
//! A copy of the block that cannot be read may be the one that counts: then the choice is made by the other, or as without any, and nothing is written.
//!
//! 0. Floors that no good slot stands on are damage, but for those that the firmware keeps.
//! 1. A slot whose tries have come to 0 becomes unbootable. A loader that is on trial with its release is started, and that choice is its own; one that comes
//!    back, or has been started often enough, is given up with the release.
//! 2. Each candidate is loaded and checked. One that fails verification is marked bad, one that cannot be read is not.
//! 3. A slot on trial spends a try; when that cannot be written, it is not booted. A boot of a good one is counted until it is ready.
//! 4. When no slot is left, or a person asks for it, any slot that still verifies boots for recovery.
//! 5. Then `base.img` on the EFI system partition is tried, under the same checks.
//! 6. When that fails too, every reason is handed back.

extern crate alloc;

mod choose;
mod copies;
#[cfg(test)]
mod copies_tests;
#[cfg(test)]
mod fake;
pub mod image;
pub mod kept;
#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod loader_tests;
#[cfg(test)]
mod tests;

pub use copies::{ATTEMPTS, Control};

pub use choose::{Asked, Attempt, Boot, Disk, Machine, Refused, Source, choose};
