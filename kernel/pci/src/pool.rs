//! Addresses to give out: the host bridge's windows, each handed out upwards.

use crate::{Bar, Space};

/// A window of PCI addresses that nobody uses yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First free address.
    pub next: u64,
    /// The one after the last.
    pub end: u64,
}

impl Window {
    /// A window of which nothing is free.
    pub const EMPTY: Self = Self { next: 0, end: 0 };

    /// `length` addresses from `base`; address 0 is never given out, it means "none" in a BAR.
    #[must_use]
    pub const fn new(base: u64, length: u64) -> Self {
        let end = base.saturating_add(length);
        let next = if base == 0 { 1 } else { base };
        Self { next, end }
    }

    /// Take `size` addresses on a multiple of it (a power of two).
    pub fn take(&mut self, size: u64) -> Option<u64> {
        let base = self.next.checked_next_multiple_of(size)?;
        let next = base.checked_add(size)?;
        if next > self.end {
            return None;
        }
        self.next = next;
        Some(base)
    }

    /// Skip to a multiple of `alignment`; false where nothing is left there.
    pub fn align(&mut self, alignment: u64) -> bool {
        match self.next.checked_next_multiple_of(alignment) {
            Some(next) if next <= self.end => {
                self.next = next;
                true
            }
            _ => false,
        }
    }
}

/// The windows of one host bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pools {
    /// Port I/O.
    pub io: Window,
    /// Memory below 4 GiB.
    pub memory32: Window,
    /// Memory above.
    pub memory64: Window,
}

impl Pools {
    /// Nothing to give out: the firmware has assigned what is assigned.
    pub const EMPTY: Self = Self { io: Window::EMPTY, memory32: Window::EMPTY, memory64: Window::EMPTY };

    /// An address for a BAR. Behind a bridge only prefetchable BARs may lie above 4 GiB: its other window has 32 bits
    /// (Bridge Architecture, 3.2.5.8).
    pub fn take(&mut self, bar: &Bar, behind_bridge: bool) -> Option<u64> {
        match bar.space {
            Space::Io => self.io.take(bar.size),
            Space::Memory64 if bar.prefetchable || !behind_bridge => {
                self.memory64.take(bar.size).or_else(|| if behind_bridge { None } else { self.memory32.take(bar.size) })
            }
            Space::Memory32 | Space::Memory64 => self.memory32.take(bar.size),
        }
    }
}
