//! Persistent files: the crate `datafs`, which does no input or output, over a device and the page cache.
//!
//! - `store`    a volume and its device: operations with the blocks they miss, commits, checkpoints
//! - `table`    files in memory
//! - `rounds`   who commits for all that wait
//! - `body`     one file in memory: attributes, size, what is reserved for its pages
//! - `node`     names and attributes ([`crate::Inode`])
//! - `file`     an open file ([`crate::File`])
//! - `quota`    what an id uses and may use, as extended attributes
//! - `pages`    reading and writing through the page cache, mapping
//! - `clean`    write-back
//! - `resize`   truncation, holes, room
//! - `grow`     the volume takes in a device that became larger
//!
//! What is written goes into pages of the cache. A page over a hole has a block *reserved* when it becomes dirty, so its write-back does not fail for want of
//! room. Write-back allocates the block, writes it, and only then enters it in the metadata, together with the size: metadata never lead to
//! bytes that were not written. A commit begins with a flush, so this holds on stable media too. A size grows on the disk only after the last page that it had before
//! was written with zeroes behind that size, for a block may hold anything there.
//!
//! `fsync` writes the file's dirty pages, then waits for a *round*: one flush, or one record of the log, that began after it asked, for all who asked meanwhile.
//!
//! Locks, each taken before those behind it: a directory's (crate::Dentry), a file's `writing` (size and contents through calls), its `cleaning` (write-back,
//! truncation, the first write through a mapping), the volume. Memory of programs is touched under `writing` alone, and a fault there takes
//! no `writing`.

mod body;
mod clean;
mod file;
mod grow;
mod node;
mod pages;
mod quota;
mod resize;
mod rounds;
mod store;
mod table;

use alloc::sync::Arc;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

pub use datafs::OpenError;
use datafs::Opening;
use linux::Errno;
use linux::types::Statfs;

use crate::cache::Cache;
use crate::device::Device;
use crate::mount::FileSystem;
use crate::world::Page;
use crate::{PAGE_SIZE, Volume, World};
pub use store::Store;

/// `statfs` type: `SWDF` in ASCII.
pub const MAGIC: i64 = 0x5357_4446;

/// How a volume is mounted.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Nothing is written, not even what a loss of power left to be done.
    pub read_only: bool,
    /// Blocks of metadata kept in memory.
    pub cache_blocks_max: usize,
    /// Changed blocks of metadata that wait for a checkpoint.
    pub dirty_blocks_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { read_only: false, cache_blocks_max: 8192, dirty_blocks_max: 1024 }
    }
}

/// Why a device cannot be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountError {
    /// It cannot be read, or what a loss of power left cannot be put in order.
    Device(Errno),
    /// What is on it is no volume that this code opens.
    Volume(OpenError),
    /// The root directory is not one.
    Root,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => write!(f, "{error}"),
            Self::Volume(error) => write!(f, "{error}"),
            Self::Root => f.write_str("the root is no directory"),
        }
    }
}

impl From<OpenError> for MountError {
    fn from(error: OpenError) -> Self {
        Self::Volume(error)
    }
}

/// A mounted volume: what goes into the tree, and what its owner calls from time to time.
pub struct Mounted<W: World> {
    /// For [`crate::Path::hang`].
    pub volume: Arc<Volume<W>>,
    /// [`Store::work`] and [`Store::close`] are its owner's to call.
    pub store: Arc<Store<W>>,
    /// The log held changes that were not at their places: it was not left properly.
    pub was_replayed: bool,
    /// Files without a name, and truncations that were not finished, that were found.
    pub orphans: u32,
    /// How many blocks it had, and has: its device was larger, and it has grown.
    pub grown: Option<Range<u64>>,
}

/// Opens the volume on a device; replays its log, frees what had no name when it was last used, and grows to a device that became larger.
///
/// # Errors
/// Why it cannot be mounted; nothing was changed then, but for what the log asks for.
pub fn mount<W: World>(
    source: &[u8],
    device: Arc<dyn Device<W>>,
    cache: &Arc<Cache<W>>,
    options: Options,
) -> Result<Mounted<W>, MountError> {
    let read_only = options.read_only || device.is_read_only();
    let opened = open(&*device, Options { read_only, ..options })?;
    let was_replayed = opened.wants_checkpoint();
    let store = Store::new(source, device, cache, opened).map_err(MountError::Device)?;
    let orphans = store.recover().map_err(MountError::Device)?;
    let grown = store.fit().unwrap_or_else(|error| {
        // It serves as it is.
        store.report(&alloc::format!("it does not grow to its device: {error}"));
        None
    });
    let root = store.node(datafs::ROOT).map_err(MountError::Device)?;
    if crate::Inode::kind(&*root) != crate::Kind::Directory {
        return Err(MountError::Root);
    }
    let volume = Volume::new("datafs", source, false, root, Face(store.clone()));
    Ok(Mounted { volume, store, was_replayed, orphans, grown })
}

/// Reads superblock and log.
fn open<W: World>(device: &dyn Device<W>, options: Options) -> Result<datafs::Volume, MountError> {
    let pages = |count: usize| -> Result<alloc::vec::Vec<W::Page>, MountError> {
        (0..count).map(|_| W::Page::zeroed()).collect::<Option<_>>().ok_or(MountError::Device(Errno::ENOMEM))
    };
    let first = pages(2)?;
    device.read(0, &first).map_err(MountError::Device)?;
    let options = datafs::Options {
        device_blocks: device.blocks(),
        read_only: options.read_only,
        cache_blocks_max: options.cache_blocks_max,
        dirty_blocks_max: options.dirty_blocks_max,
    };
    let mut opening = Opening::new([block_of(&first[0]), block_of(&first[1])], options)?;
    while let Some(wanted) = opening.wanted() {
        let buffers = pages((wanted.end - wanted.start) as usize)?;
        device.read(wanted.start, &buffers).map_err(MountError::Device)?;
        for (block, page) in wanted.zip(&buffers) {
            opening.supply(block, block_of(page))?;
        }
    }
    Ok(opening.finish()?)
}

/// A page as the crate `datafs` takes it.
fn block_of<P: Page>(page: &P) -> &datafs::Bytes {
    page.bytes().try_into().unwrap_or(&[0; PAGE_SIZE])
}

/// The volume as a whole, for the mount tree.
struct Face<W: World>(Arc<Store<W>>);

impl<W: World> FileSystem for Face<W> {
    fn statistics(&self) -> Statfs {
        self.0.statistics()
    }

    fn is_read_only(&self) -> bool {
        self.0.is_read_only()
    }

    fn failures(&self) -> u64 {
        self.0.failures()
    }

    fn sync(&self, seen: Option<&AtomicU64>) -> Result<(), Errno> {
        let result = self.0.sync();
        let Some(seen) = seen else { return result };
        let failures = self.0.failures();
        let is_new = seen.swap(failures, Ordering::Relaxed) != failures;
        if is_new { result.and(Err(Errno::EIO)) } else { result }
    }

    fn close(&self) -> Result<(), Errno> {
        self.0.close()
    }
}

impl<W: World> Drop for Face<W> {
    fn drop(&mut self) {
        // No mount shows it any more, and nobody has anything open in it.
        self.0.abandon();
    }
}
