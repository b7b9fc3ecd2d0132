//! What the machine gives.

use alloc::sync::Arc;
use core::fmt::Debug;

use linux::Errno;
use linux::types::Timespec;

use crate::{File, Inode};

/// Locks, memory, time and devices of the machine that the file system runs on.
pub trait World: Debug + Sized + Send + Sync + 'static {
    /// Whose spinlocks these are.
    type Cpu: sync::Cpu + Debug + 'static;
    /// Where those sleep who wait for a [`sync::Mutex`].
    type Sleepers: sync::Sleep + Send + Sync + 'static;
    /// A page of memory.
    type Page: Page;
    /// Where threads wait for a file to become ready.
    type WaitQueue: Send + Sync + 'static;

    /// A place to sleep, empty.
    fn sleepers() -> Self::Sleepers;

    /// Wall-clock time.
    fn now() -> Timespec;

    /// The last handle of an open file has gone.
    fn closed(_file: &crate::OpenFile<Self>) {}

    /// Pages of the cache are waiting to be written back, or too many are. Spinlocks may be held.
    fn write_back_wanted() {}

    /// One more name is kept in memory ([`crate::dentry::count`]). A directory may be locked, but no spinlock is held.
    fn name_kept() {}

    /// Something is wrong with the volume that was made from `source`.
    fn report(_source: &[u8], _why: &dyn core::fmt::Display) {}

    /// Opens a device, FIFO or socket node. What belongs to the node itself stays in its [`crate::inode::Special`].
    ///
    /// # Errors
    /// `ENXIO` when nobody serves it; what its driver says.
    fn open_special(inode: &Arc<dyn Inode<Self>>, flags: u32) -> Result<Arc<dyn File<Self>>, Errno>;
}

/// A share of a page of memory; cloning makes another share of the same page.
///
/// A page may be mapped into programs that change it at any time: what is read is some bytes that were there.
pub trait Page: Clone + Send + Sync + 'static {
    /// A new page of zeroes; `None` when memory has run out.
    fn zeroed() -> Option<Self>;
    /// The page that `bytes` lie in, if they are a whole page that may be shared in place.
    fn in_place(bytes: &'static [u8]) -> Option<Self>;
    /// Nobody else has a share. That may change at any time, unless all other ways to it are closed.
    fn is_sole(&self) -> bool;
    /// Its bytes.
    fn bytes(&self) -> &[u8];
    /// Gives its bytes to `change`.
    fn change(&self, change: &mut dyn FnMut(&mut [u8]));
}

/// A spinlock of world `W`.
pub type Spin<W, T> = sync::SpinLock<T, <W as World>::Cpu>;
/// A sleeping lock of world `W`.
pub type Mutex<W, T> = sync::Mutex<T, <W as World>::Sleepers>;
/// The right to use what a [`Mutex`] guards.
pub type MutexGuard<'a, W, T> = sync::MutexGuard<'a, T, <W as World>::Sleepers>;

/// A free sleeping lock.
pub fn mutex<W: World, T>(value: T) -> Mutex<W, T> {
    sync::Mutex::with_sleepers(value, W::sleepers())
}
