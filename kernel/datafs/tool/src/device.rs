//! Where blocks are kept.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use datafs::{BLOCK, Bytes};

/// A device of 4096-byte blocks.
pub trait Device {
    /// How many.
    fn blocks(&self) -> u64;
    /// Reads one.
    ///
    /// # Errors
    /// What the device says.
    fn read(&self, block: u64, into: &mut Bytes) -> io::Result<()>;
    /// Writes one; it is on stable media after the next flush.
    ///
    /// # Errors
    /// What the device says.
    fn write(&mut self, block: u64, bytes: &Bytes) -> io::Result<()>;
    /// All writes before it are on stable media when it returns.
    ///
    /// # Errors
    /// What the device says.
    fn flush(&mut self) -> io::Result<()>;
}

/// A device in memory; what was never written is zero. A copy shares blocks until they are written.
#[derive(Clone, Default)]
pub struct MemoryDevice {
    count: u64,
    written: HashMap<u64, Arc<Bytes>>,
}

impl MemoryDevice {
    /// An empty one.
    #[must_use]
    pub fn new(blocks: u64) -> Self {
        Self { count: blocks, written: HashMap::new() }
    }

    /// What was written, in the order of blocks.
    #[must_use]
    pub fn contents(&self) -> Vec<(u64, Bytes)> {
        let mut blocks: Vec<_> = self.written.iter().map(|(&block, bytes)| (block, **bytes)).collect();
        blocks.sort_unstable_by_key(|(block, _)| *block);
        blocks
    }

    /// What another holds.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn copy_of<D: Device>(other: &D) -> io::Result<Self> {
        let mut copy = Self::new(other.blocks());
        for block in 0..other.blocks() {
            let mut bytes = [0; BLOCK];
            other.read(block, &mut bytes)?;
            if bytes != [0; BLOCK] {
                copy.write(block, &bytes)?;
            }
        }
        Ok(copy)
    }

    /// It gets longer.
    pub fn grow(&mut self, blocks: u64) {
        self.count = self.count.max(blocks);
    }

    /// A block, if it was ever written.
    #[must_use]
    pub fn get(&self, block: u64) -> Option<&Arc<Bytes>> {
        self.written.get(&block)
    }

    /// Writes a block without a copy.
    ///
    /// # Errors
    /// It is not on the device.
    pub fn put(&mut self, block: u64, bytes: Arc<Bytes>) -> io::Result<()> {
        if block >= self.count {
            return Err(outside(block));
        }
        self.written.insert(block, bytes);
        Ok(())
    }
}

pub(crate) fn outside(block: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("block {block} is not on the device"))
}

impl Device for MemoryDevice {
    fn blocks(&self) -> u64 {
        self.count
    }

    fn read(&self, block: u64, into: &mut Bytes) -> io::Result<()> {
        if block >= self.count {
            return Err(outside(block));
        }
        match self.written.get(&block) {
            Some(bytes) => into.copy_from_slice(&bytes[..]),
            None => into.fill(0),
        }
        Ok(())
    }

    fn write(&mut self, block: u64, bytes: &Bytes) -> io::Result<()> {
        self.put(block, Arc::new(*bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A volume in a file, or in a part of one.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    offset: u64,
    count: u64,
}

impl FileDevice {
    /// `blocks` blocks of a file, from byte `offset` on.
    #[must_use]
    pub fn new(file: File, offset: u64, blocks: u64) -> Self {
        Self { file, offset, count: blocks }
    }

    fn place(&self, block: u64) -> io::Result<u64> {
        if block < self.count { Ok(self.offset + block * BLOCK as u64) } else { Err(outside(block)) }
    }
}

impl Device for FileDevice {
    fn blocks(&self) -> u64 {
        self.count
    }

    fn read(&self, block: u64, into: &mut Bytes) -> io::Result<()> {
        self.file.read_exact_at(into, self.place(block)?)
    }

    fn write(&mut self, block: u64, bytes: &Bytes) -> io::Result<()> {
        self.file.write_all_at(bytes, self.place(block)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
