//! Reads and writes straight to and from the user's memory.

use alloc::vec::Vec;

use linux::Errno;
use linux::types::Iovec;

use crate::mm::user;

/// A stretch of the user's memory, as it claims.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub length: usize,
}

/// The most that one call moves (Linux `MAX_RW_COUNT`).
pub const COUNT_MAX: usize = 0x7fff_f000;
/// The most segments in one call (`UIO_MAXIOV`).
const SEGMENTS_MAX: u64 = 1024;
/// Bytes of an array of segments that are read at once.
const BATCH: usize = 16;

/// Segments of the user's memory, gone through from the first byte to the last.
#[derive(Debug)]
pub struct UserBuffer<'a> {
    segments: &'a [Segment],
    /// Bytes of the first segment that are behind us.
    offset: usize,
    left: usize,
    done: usize,
}

impl<'a> UserBuffer<'a> {
    /// All of `segments`, but no more than one call may move.
    pub fn new(segments: &'a [Segment]) -> Self {
        let total = segments.iter().fold(0usize, |sum, segment| sum.saturating_add(segment.length));
        Self { segments, offset: 0, left: total.min(COUNT_MAX), done: 0 }
    }

    /// Goes over the next bytes, at most `wanted`; `copy` gets an address, how many bytes come before, and a count.
    fn each(
        &mut self,
        wanted: usize,
        mut copy: impl FnMut(u64, usize, usize) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        let wanted = wanted.min(self.left);
        let mut moved = 0;
        while moved < wanted {
            let segment = self.segments[0];
            let count = (segment.length - self.offset).min(wanted - moved);
            if count > 0 {
                copy(segment.base.wrapping_add(self.offset as u64), moved, count)?;
            }
            moved += count;
            self.offset += count;
            self.left -= count;
            self.done += count;
            if self.offset == segment.length {
                self.segments = &self.segments[1..];
                self.offset = 0;
            }
        }
        Ok(moved)
    }
}

impl vfs::Sink for UserBuffer<'_> {
    fn room(&self) -> usize {
        self.left
    }

    fn done(&self) -> usize {
        self.done
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.each(bytes.len(), |address, from, count| user::copy_out(address, &bytes[from..from + count]))
    }
}

impl vfs::Source for UserBuffer<'_> {
    fn left(&self) -> usize {
        self.left
    }

    fn done(&self) -> usize {
        self.done
    }

    fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        self.each(into.len(), |address, from, count| user::copy_in(&mut into[from..from + count], address))
    }

    fn skip(&mut self) {
        self.done += core::mem::take(&mut self.left);
    }
}

/// Reads an array of `struct iovec`.
///
/// # Errors
/// `EINVAL` for too many segments or bytes, `EFAULT`.
pub fn segments(address: u64, count: u64) -> Result<Vec<Segment>, Errno> {
    if count > SEGMENTS_MAX {
        return Err(Errno::EINVAL);
    }
    let mut segments = Vec::with_capacity(count as usize);
    let mut total = 0u64;
    let mut left = count as usize;
    let mut at = address;
    while left > 0 {
        let batch = left.min(BATCH);
        let raw: [Iovec; BATCH] = if batch == BATCH { user::read(at)? } else { partial(at, batch)? };
        for iovec in &raw[..batch] {
            total = total.checked_add(iovec.length).filter(|&total| total <= i64::MAX as u64).ok_or(Errno::EINVAL)?;
            segments.push(Segment { base: iovec.base, length: iovec.length as usize });
        }
        left -= batch;
        at = at.wrapping_add((batch * size_of::<Iovec>()) as u64);
    }
    Ok(segments)
}

fn partial(address: u64, count: usize) -> Result<[Iovec; BATCH], Errno> {
    let mut raw = [Iovec::default(); BATCH];
    for (index, iovec) in raw[..count].iter_mut().enumerate() {
        *iovec = user::read(address.wrapping_add((index * size_of::<Iovec>()) as u64))?;
    }
    Ok(raw)
}
