//! A volume and its device: runs operations, reads what they miss, executes plans, writes data before they are attached.
//!
//! Data go to the device at once, so there is no cache of them here; everything else is what the kernel does.

use std::fmt;
use std::io;

use datafs::{
    BLOCK, Bytes, Error, Format, InodeNumber, Mapping, New, OpenError, Opening, Options, Plan, Progress, Step, Stop,
    Volume,
};

use crate::device::Device;

/// Why something cannot be done.
#[derive(Debug)]
pub enum Failure {
    /// The file system says so.
    Volume(Error),
    /// There is no file system that can be opened.
    Open(OpenError),
    /// The device says so.
    Device(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(Error::Damaged(damage)) => write!(f, "damaged: {damage}"),
            Self::Volume(error) => f.write_str(words(*error)),
            Self::Open(error) => error.fmt(f),
            Self::Device(error) => error.fmt(f),
        }
    }
}

fn words(error: Error) -> &'static str {
    match error {
        Error::NotFound => "there is no such name",
        Error::Exists => "the name is taken",
        Error::NotDirectory => "a part of the path is no directory",
        Error::IsDirectory => "it is a directory",
        Error::NotEmpty => "the directory is not empty",
        Error::Invalid => "a name, a number or a label does not fit",
        Error::NameTooLong => "a name has more than 255 bytes",
        Error::FileTooBig => "a file is larger than a volume can hold",
        Error::TooManyLinks => "a file has too many names",
        Error::NoSpace => "no block is free in the volume",
        Error::NoInodes => "no inode is free in the volume",
        Error::Quota => "the limit of a quota is reached",
        Error::OtherQuota => "the directory counts for another quota",
        Error::NoAttribute => "there is no such extended attribute",
        Error::Stale => "the file is gone",
        Error::ReadOnly => "the volume is read-only: it has features that this version does not know",
        Error::Failed => "an earlier write failed",
        Error::NoMemory => "not enough memory",
        Error::Damaged(_) => "damaged",
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// What is on the device is not what it should be.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Volume(Error::Damaged(_))
                | Self::Open(OpenError::NotDatafs | OpenError::Superblock(_) | OpenError::Log(_))
        )
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Volume(error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Device(error)
    }
}

/// What is done here gives this.
pub type Result<T> = std::result::Result<T, Failure>;

/// Options for a device of so many blocks.
#[must_use]
pub fn options(device_blocks: u64) -> Options {
    Options { device_blocks, read_only: false, cache_blocks_max: 4096, dirty_blocks_max: 1024 }
}

/// An open volume with its device.
#[derive(Debug)]
pub struct Mounted<D> {
    /// The device.
    pub device: D,
    /// The volume.
    pub volume: Volume,
}

impl<D: Device> Mounted<D> {
    /// Makes a volume with an empty root directory, and opens it.
    ///
    /// # Errors
    /// What does not fit, and what the device says.
    pub fn format(mut device: D, format: &Format<'_>, root: &New<'_>) -> Result<Self> {
        let ([first, second], log_blocks) = format.superblocks()?;
        for block in 2..2 + u64::from(log_blocks) {
            device.write(block, &[0; BLOCK])?;
        }
        device.write(0, &first)?;
        device.write(1, &second)?;
        let mut mounted = Self::open(device)?;
        mounted.run(|volume| volume.make_root(root))?;
        mounted.checkpoint()?;
        Ok(mounted)
    }

    /// Opens a volume: reads its log, brings home what it holds, and frees the orphans.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn open(device: D) -> Result<Self> {
        let options = options(device.blocks());
        Self::open_with(device, options)
    }

    /// As `open`, with other options.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn open_with(device: D, options: Options) -> Result<Self> {
        let volume = read_log(&device, options)?;
        let mut mounted = Self { device, volume };
        if mounted.volume.is_read_only() {
            return Ok(mounted);
        }
        while let Some(inode) = mounted.volume.first_orphan() {
            mounted.reclaim(inode)?;
        }
        Ok(mounted)
    }

    /// Runs an operation to its end.
    ///
    /// # Errors
    /// What the operation says.
    pub fn run<T>(&mut self, mut operation: impl FnMut(&mut Volume) -> std::result::Result<T, Stop>) -> Result<T> {
        loop {
            match operation(&mut self.volume) {
                Ok(value) => return Ok(value),
                Err(Stop::Missing(missing)) => {
                    let mut bytes = [0; BLOCK];
                    self.device.read(missing.block, &mut bytes)?;
                    self.volume.supply(missing, &bytes)?;
                }
                Err(Stop::Commit) => self.commit()?,
                Err(Stop::Checkpoint) => self.checkpoint()?,
                Err(Stop::Error(error)) => return Err(error.into()),
            }
        }
    }

    /// Executes a plan.
    ///
    /// # Errors
    /// What the device says; the volume is told.
    pub fn execute(&mut self, plan: Plan) -> Result<()> {
        for step in plan.steps() {
            if let Err(error) = self.step(step) {
                self.volume.failed(plan);
                return Err(error.into());
            }
        }
        self.volume.done(plan);
        Ok(())
    }

    fn step(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Write(writes) => writes.iter().try_for_each(|(block, bytes)| self.device.write(*block, bytes)),
            Step::Flush => self.device.flush(),
        }
    }

    /// Makes everything durable that was done.
    ///
    /// # Errors
    /// What the device says.
    pub fn commit(&mut self) -> Result<()> {
        if let Some(plan) = self.plan(Volume::commit)? {
            self.execute(plan)?;
        }
        Ok(())
    }

    /// Makes everything durable, and empties the log.
    ///
    /// # Errors
    /// What the device says.
    pub fn checkpoint(&mut self) -> Result<()> {
        if let Some(plan) = self.plan(Volume::checkpoint)? {
            self.execute(plan)?;
        }
        Ok(())
    }

    /// Makes everything durable that was done, data that were overwritten in their places too.
    ///
    /// # Errors
    /// What the device says.
    pub fn sync(&mut self) -> Result<()> {
        match self.plan(Volume::commit)? {
            Some(plan) => self.execute(plan),
            None => Ok(self.device.flush()?),
        }
    }

    fn plan(
        &mut self,
        mut make: impl FnMut(&mut Volume) -> std::result::Result<Option<Plan>, Stop>,
    ) -> Result<Option<Plan>> {
        loop {
            match make(&mut self.volume) {
                Ok(plan) => return Ok(plan),
                Err(Stop::Missing(missing)) => {
                    let mut bytes = [0; BLOCK];
                    self.device.read(missing.block, &mut bytes)?;
                    self.volume.supply(missing, &bytes)?;
                }
                Err(Stop::Checkpoint) => self.checkpoint()?,
                Err(Stop::Commit) => return Err(Error::Failed.into()),
                Err(Stop::Error(error)) => return Err(error.into()),
            }
        }
    }

    /// Frees an orphan, or finishes a truncation.
    ///
    /// # Errors
    /// What the volume says.
    pub fn reclaim(&mut self, inode: InodeNumber) -> Result<()> {
        while self.run(|volume| volume.reclaim(inode))? == Progress::More {}
        Ok(())
    }

    /// Takes a name away, and the file if it was the last.
    ///
    /// # Errors
    /// What the volume says.
    pub fn remove(&mut self, directory: InodeNumber, name: &[u8], time: i64) -> Result<()> {
        let removed = self.run(|volume| volume.remove(directory, name, time))?;
        if removed.orphan { self.reclaim(removed.inode) } else { Ok(()) }
    }

    /// Moves a name; what it replaces goes.
    ///
    /// # Errors
    /// What the volume says.
    pub fn rename(&mut self, from: (InodeNumber, &[u8]), to: (InodeNumber, &[u8]), time: i64) -> Result<()> {
        match self.run(|volume| volume.rename(from, to, time))? {
            Some(removed) if removed.orphan => self.reclaim(removed.inode),
            _ => Ok(()),
        }
    }

    /// Makes a file shorter or longer.
    ///
    /// # Errors
    /// What the volume says.
    pub fn truncate(&mut self, inode: InodeNumber, size: u64, time: i64) -> Result<()> {
        let old = self.run(|volume| volume.attributes(inode))?.size;
        if size > old {
            self.clear_tail(inode, old)?;
        }
        while self.run(|volume| volume.truncate(inode, size, time))? == Progress::More {}
        Ok(())
    }

    /// The file is about to get longer: what its last block has behind its end becomes zero. Whoever made it shorter left that alone, so that after a
    /// cut the file is the old one or the new one.
    fn clear_tail(&mut self, inode: InodeNumber, size: u64) -> Result<()> {
        let (logical, within) = ((size / BLOCK as u64) as u32, (size % BLOCK as u64) as usize);
        if within == 0 {
            return Ok(());
        }
        if let Mapping::Data(block) = self.run(|volume| volume.extent(inode, logical, 1))?.mapping {
            let mut bytes = [0; BLOCK];
            self.device.read(block, &mut bytes)?;
            bytes[within..].fill(0);
            self.device.write(block, &bytes)?;
        }
        Ok(())
    }

    /// Reads a file from `offset` on; returns how many bytes there were.
    ///
    /// # Errors
    /// What the volume or the device says.
    pub fn read(&mut self, inode: InodeNumber, offset: u64, into: &mut [u8]) -> Result<usize> {
        let size = self.run(|volume| volume.attributes(inode))?.size;
        let length = into.len().min(usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < length {
            let at = offset + done as u64;
            let within = (at % BLOCK as u64) as usize;
            let count = (BLOCK - within).min(length - done);
            let bytes = self.read_block(inode, (at / BLOCK as u64) as u32)?;
            into[done..done + count].copy_from_slice(&bytes[within..within + count]);
            done += count;
        }
        Ok(length)
    }

    fn read_block(&mut self, inode: InodeNumber, logical: u32) -> Result<Bytes> {
        let mut bytes = [0; BLOCK];
        if let Mapping::Data(block) = self.run(|volume| volume.extent(inode, logical, 1))?.mapping {
            self.device.read(block, &mut bytes)?;
        }
        Ok(bytes)
    }

    /// A whole file.
    ///
    /// # Errors
    /// As `read`.
    pub fn contents(&mut self, inode: InodeNumber) -> Result<Vec<u8>> {
        let size = self.run(|volume| volume.attributes(inode))?.size;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.read(inode, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes bytes of a file: reserves what is new, writes the data, attaches them. Nothing is flushed.
    ///
    /// # Errors
    /// `NoSpace`, `Quota`, and what the device says; before an error some of it may have been written.
    pub fn write(&mut self, inode: InodeNumber, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset + bytes.len() as u64;
        let (first, last) = ((offset / BLOCK as u64) as u32, ((end - 1) / BLOCK as u64) as u32);
        let new = self.new_blocks(inode, first, last + 1 - first)?;
        self.run(|volume| volume.reserve(inode, new))?;
        let mut left = new;
        let size = self.run(|volume| volume.attributes(inode))?.size;
        if offset > size {
            self.clear_tail(inode, size)?;
        }
        let result = self.write_reserved(inode, offset, bytes, &mut left);
        self.run(|volume| volume.unreserve(inode, left))?;
        result
    }

    fn new_blocks(&mut self, inode: InodeNumber, first: u32, count: u32) -> Result<u32> {
        let (mut at, mut new) = (first, 0);
        while at < first + count {
            let extent = self.run(|volume| volume.extent(inode, at, first + count - at))?;
            new += if extent.mapping == Mapping::Hole { extent.count } else { 0 };
            at += extent.count;
        }
        Ok(new)
    }

    fn write_reserved(&mut self, inode: InodeNumber, offset: u64, bytes: &[u8], left: &mut u32) -> Result<()> {
        let end = offset + bytes.len() as u64;
        let mut at = offset;
        while at < end {
            let first = (at / BLOCK as u64) as u32;
            let count = ((end - 1) / BLOCK as u64) as u32 + 1 - first;
            let mut allocation = self.run(|volume| volume.allocate(inode, first, count))?;
            let size = self.run(|volume| volume.attributes(inode))?.size;
            let runs = allocation.runs().to_vec();
            let reach = runs.last().map_or(first, |run| run.logical + run.count);
            for run in &runs {
                for step in 0..run.count {
                    let logical = run.logical + step;
                    let start = u64::from(logical) * BLOCK as u64;
                    let mut block = self.read_block(inode, logical)?;
                    block[usize::try_from(size.saturating_sub(start)).unwrap_or(BLOCK).min(BLOCK)..].fill(0);
                    overlay(&mut block, start, offset, bytes);
                    self.device.write(run.block + u64::from(step), &block)?;
                }
            }
            let new: u32 = runs.iter().filter(|run| run.is_new).map(|run| run.count).sum();
            let used = new.min(*left);
            let reached = end.min(u64::from(reach) * BLOCK as u64);
            self.run(|volume| volume.attach(&mut allocation, used, reached))?;
            *left -= used;
            at = reached;
        }
        Ok(())
    }
}

/// Puts the part of `bytes`, which begin at `offset` of a file, into the block that begins at `start`.
pub(crate) fn overlay(block: &mut Bytes, start: u64, offset: u64, bytes: &[u8]) {
    let (from, to) = (start.max(offset), (start + BLOCK as u64).min(offset + bytes.len() as u64));
    let length = (to - from) as usize;
    let (into, source) = ((from - start) as usize, (from - offset) as usize);
    block[into..into + length].copy_from_slice(&bytes[source..source + length]);
}

/// Opens the volume of a device as far as it needs no writes.
///
/// # Errors
/// Why it cannot be opened.
pub fn read_log<D: Device>(device: &D, options: Options) -> Result<Volume> {
    let mut copies = [[0; BLOCK]; 2];
    if device.blocks() < 2 {
        return Err(OpenError::NotDatafs.into());
    }
    device.read(0, &mut copies[0])?;
    device.read(1, &mut copies[1])?;
    let mut opening = Opening::new([&copies[0], &copies[1]], options)?;
    while let Some(blocks) = opening.wanted() {
        for block in blocks {
            let mut bytes = [0; BLOCK];
            device.read(block, &mut bytes)?;
            opening.supply(block, &bytes)?;
        }
    }
    Ok(opening.finish()?)
}
