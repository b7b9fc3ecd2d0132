//! For the tests of this crate and, with the feature `testing`, of others: a device in memory that fails when told to and remembers what
//! it was asked.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use linux::Errno;

use crate::World;
use crate::device::{BLOCK_SIZE, Device, check_range};
use crate::world::{Mutex, Page, mutex};

/// What a device can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Device::read`].
    Read,
    /// [`Device::write`].
    Write,
    /// [`Device::flush`].
    Flush,
    /// [`Device::discard`].
    Discard,
}

/// A change of the device's state that it acknowledged, in their order. Between two flushes that order binds nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Bytes written from this block on.
    Write {
        /// The first block.
        block: u64,
        /// Whole blocks.
        bytes: Box<[u8]>,
    },
    /// All writes before are on stable media.
    Flush,
    /// The blocks may hold anything.
    Discard {
        /// The first block.
        block: u64,
        /// How many.
        count: u64,
    },
}

/// `operation` fails with `EIO` after `after` more of its kind have succeeded: once, or from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which calls count, and fail.
    pub operation: Operation,
    /// How many succeed first.
    pub after: u64,
    /// Every later one fails too.
    pub is_lasting: bool,
}

/// A device whose blocks are in memory.
pub struct MemoryDevice<W: World> {
    is_read_only: bool,
    state: Mutex<W, State>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    faults: Vec<Fault>,
    is_removed: bool,
    /// `None` while nothing is recorded.
    records: Option<Vec<Record>>,
    /// Calls that succeeded: reads, writes, flushes, discards.
    counts: [u64; 4],
}

impl State {
    /// Counts a call, and says whether it is to fail.
    fn begin(&mut self, operation: Operation) -> Result<(), Errno> {
        if self.is_removed {
            return Err(Errno::EIO);
        }
        let fails = self.faults.iter().any(|fault| fault.operation == operation && fault.after == 0);
        self.faults.retain(|fault| fault.operation != operation || fault.after > 0 || fault.is_lasting);
        if fails {
            return Err(Errno::EIO);
        }
        for fault in self.faults.iter_mut().filter(|fault| fault.operation == operation) {
            fault.after = fault.after.saturating_sub(1);
        }
        self.counts[operation as usize] += 1;
        Ok(())
    }

    fn record(&mut self, record: impl FnOnce() -> Record) {
        if let Some(records) = &mut self.records {
            records.push(record());
        }
    }
}

impl<W: World> MemoryDevice<W> {
    /// A device of `blocks` blocks of zeroes.
    #[must_use]
    pub fn new(blocks: u64) -> Self {
        Self::from_image(vec![0; usize::try_from(blocks).expect("fits memory") * BLOCK_SIZE])
    }

    /// A device that holds `image`, whole blocks.
    ///
    /// # Panics
    /// When they are not whole.
    #[must_use]
    pub fn from_image(image: Vec<u8>) -> Self {
        assert!(image.len().is_multiple_of(BLOCK_SIZE), "an image is whole blocks");
        Self { is_read_only: false, state: mutex::<W, _>(State { bytes: image, ..State::default() }) }
    }

    /// The same, but writing is refused.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { is_read_only: true, ..self }
    }

    /// What the blocks hold now.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.state.lock().bytes.clone()
    }

    /// Changes bytes behind the back of whoever uses the device, as decay does.
    pub fn tamper(&self, change: impl FnOnce(&mut [u8])) {
        change(&mut self.state.lock().bytes);
    }

    /// Plans a failure; several may be planned.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Forgets all planned failures.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// From now on everything fails, for good.
    pub fn remove(&self) {
        self.state.lock().is_removed = true;
    }

    /// From now on what is written, flushed and discarded is remembered.
    pub fn record(&self) {
        self.state.lock().records = Some(Vec::new());
    }

    /// What was remembered so far; remembering goes on with an empty list.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.state.lock().records.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// How many calls of this kind succeeded.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.state.lock().counts[operation as usize]
    }

    fn check_writable(&self) -> Result<(), Errno> {
        if self.is_read_only { Err(Errno::EROFS) } else { Ok(()) }
    }
}

impl<W: World> Device<W> for MemoryDevice<W> {
    fn blocks(&self) -> u64 {
        (self.state.lock().bytes.len() / BLOCK_SIZE) as u64
    }

    fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    fn read(&self, block: u64, pages: &[W::Page]) -> Result<(), Errno> {
        check_range(self.blocks(), block, pages.len() as u64)?;
        let mut state = self.state.lock();
        state.begin(Operation::Read)?;
        let from = state.bytes[block as usize * BLOCK_SIZE..].chunks_exact(BLOCK_SIZE);
        for (page, bytes) in pages.iter().zip(from) {
            page.change(&mut |into| into.copy_from_slice(bytes));
        }
        Ok(())
    }

    fn write(&self, block: u64, pages: &[W::Page]) -> Result<(), Errno> {
        self.check_writable()?;
        check_range(self.blocks(), block, pages.len() as u64)?;
        let bytes: Box<[u8]> = pages.iter().flat_map(|page| page.bytes().iter().copied()).collect();
        let mut state = self.state.lock();
        state.begin(Operation::Write)?;
        state.bytes[block as usize * BLOCK_SIZE..][..bytes.len()].copy_from_slice(&bytes);
        state.record(|| Record::Write { block, bytes });
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        let mut state = self.state.lock();
        state.begin(Operation::Flush)?;
        state.record(|| Record::Flush);
        Ok(())
    }

    fn discard(&self, block: u64, count: u64) -> Result<(), Errno> {
        self.check_writable()?;
        check_range(self.blocks(), block, count)?;
        let mut state = self.state.lock();
        state.begin(Operation::Discard)?;
        // Whoever relies on the old bytes, or on zeroes, is found out.
        state.bytes[block as usize * BLOCK_SIZE..][..count as usize * BLOCK_SIZE].fill(0xd5);
        state.record(|| Record::Discard { block, count });
        Ok(())
    }
}

impl<W: World> core::fmt::Debug for MemoryDevice<W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "MemoryDevice({} blocks)", self.blocks())
    }
}
