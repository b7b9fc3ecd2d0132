//! Where bytes go to and come from. The kernel implements both over user memory, so that a file's bytes are copied once.

use linux::Errno;

/// Takes the bytes of a read.
pub trait Sink {
    /// Bytes that it still takes.
    fn room(&self) -> usize;
    /// Bytes that it has taken.
    fn done(&self) -> usize;
    /// Takes bytes, as many as there is room for; returns how many.
    ///
    /// # Errors
    /// `EFAULT`; bytes before the fault count as taken.
    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno>;

    /// Takes `length` zeroes, as far as there is room.
    ///
    /// # Errors
    /// `EFAULT`, as for `put`.
    fn put_zeroes(&mut self, length: usize) -> Result<usize, Errno> {
        const ZEROES: [u8; 256] = [0; 256];
        let wanted = length.min(self.room());
        let mut left = wanted;
        while left > 0 {
            left -= self.put(&ZEROES[..left.min(ZEROES.len())])?;
        }
        Ok(wanted)
    }
}

/// Gives the bytes of a write.
pub trait Source {
    /// Bytes that it still has.
    fn left(&self) -> usize;
    /// Bytes that were taken from it.
    fn done(&self) -> usize;
    /// Fills `into` from the bytes that are left; returns how many there were.
    ///
    /// # Errors
    /// `EFAULT`; bytes before the fault count as given.
    fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno>;
    /// Gives all that is left to nobody, and does not even look at it.
    fn skip(&mut self);
}

/// A [`Source`] over bytes of the kernel.
#[derive(Debug)]
pub struct Slice<'a> {
    bytes: &'a [u8],
    done: usize,
}

impl<'a> Slice<'a> {
    /// All of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, done: 0 }
    }
}

impl Source for Slice<'_> {
    fn left(&self) -> usize {
        self.bytes.len() - self.done
    }
    fn done(&self) -> usize {
        self.done
    }
    fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let count = into.len().min(self.left());
        into[..count].copy_from_slice(&self.bytes[self.done..self.done + count]);
        self.done += count;
        Ok(count)
    }
    fn skip(&mut self) {
        self.done = self.bytes.len();
    }
}

/// A [`Sink`] over bytes of the kernel.
#[derive(Debug)]
pub struct SliceMut<'a> {
    bytes: &'a mut [u8],
    done: usize,
}

impl<'a> SliceMut<'a> {
    /// All of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, done: 0 }
    }
}

impl Sink for SliceMut<'_> {
    fn room(&self) -> usize {
        self.bytes.len() - self.done
    }
    fn done(&self) -> usize {
        self.done
    }
    fn put(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let count = bytes.len().min(self.room());
        self.bytes[self.done..self.done + count].copy_from_slice(&bytes[..count]);
        self.done += count;
        Ok(count)
    }
}
