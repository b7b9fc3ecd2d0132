//! The bytes in a pipe: a queue over pages that come when needed.

use alloc::collections::VecDeque;

use linux::Errno;

use crate::world::Page;
use crate::{PAGE_SIZE, Sink, Source};

/// Bytes that were written and not yet read.
///
/// Invariants: `length <= capacity`; the bytes start at `start` of the first page, and `pages` are just those that hold some, or one empty page that
/// is kept for the next write.
#[derive(Debug)]
pub struct Ring<P> {
    pages: VecDeque<P>,
    start: usize,
    length: usize,
    capacity: usize,
}

impl<P: Page> Ring<P> {
    /// Empty; `capacity` bytes fit in.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { pages: VecDeque::new(), start: 0, length: 0, capacity }
    }

    /// Bytes in it.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Bytes that fit in.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that still fit in.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity - self.length
    }

    /// Lets more or fewer bytes fit in.
    ///
    /// # Errors
    /// `EBUSY` when more than that are in it.
    pub fn set_capacity(&mut self, capacity: usize) -> Result<(), Errno> {
        if self.length > capacity {
            return Err(Errno::EBUSY);
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Moves bytes from `from` into it, as many as fit.
    ///
    /// # Errors
    /// `EFAULT`, `ENOMEM`; what was moved before counts.
    pub fn fill(&mut self, from: &mut dyn Source) -> Result<(), Errno> {
        while from.left() > 0 && self.room() > 0 {
            let end = self.start + self.length;
            let (index, within) = (end / PAGE_SIZE, end % PAGE_SIZE);
            if index == self.pages.len() {
                self.pages.push_back(P::zeroed().ok_or(Errno::ENOMEM)?);
            }
            let most = self.room().min(PAGE_SIZE - within);
            let mut result = Ok(0);
            let before = from.done();
            self.pages[index].change(&mut |bytes| result = from.take(&mut bytes[within..within + most]));
            self.length += from.done() - before;
            result?;
        }
        Ok(())
    }

    /// Moves bytes out of it to `to`, as many as there are.
    ///
    /// # Errors
    /// `EFAULT`; what was moved before counts.
    pub fn drain(&mut self, to: &mut dyn Sink) -> Result<(), Errno> {
        while to.room() > 0 && self.length > 0 {
            let most = self.length.min(PAGE_SIZE - self.start);
            let before = to.done();
            let result = to.put(&self.pages[0].bytes()[self.start..self.start + most]);
            let moved = to.done() - before;
            self.start += moved;
            self.length -= moved;
            if self.length == 0 {
                self.start = 0;
                self.pages.truncate(1);
            } else if self.start == PAGE_SIZE {
                self.start = 0;
                self.pages.pop_front();
            }
            result?;
        }
        Ok(())
    }
}
