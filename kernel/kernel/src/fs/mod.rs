//! Files: the crate `vfs` on this machine, and what it leaves to the machine.
//!
//! - `user`     reads and writes straight to and from the user's memory
//! - `devices`  /dev, and who serves which device number
//! - `block`    the nodes of disks and partitions
//! - `bootctl`  /dev/bootctl: the boot-control block, and what may be made of it
//! - `data`     /data, and the thread that writes back
//! - `pipe`     pipes and FIFOs
//! - `locks`    advisory locks
//! - `tty`      terminals
//! - `poll`     waiting for several files
//! - `base`     the base: where its blocks come from, and what they are held to
//! - `memory`   the page cache
//! - `proc`     /proc
//! - `signed`   what signatures on this machine vouch for
//! - `watchdog` /dev/watchdog
//! - `mounts`   the first mounts, and `mount`

pub mod base;
pub mod block;
mod bootctl;
pub mod data;
pub mod devices;
mod loader;
pub mod locks;
mod memory;
pub mod mounts;
pub mod pipe;
pub mod poll;
pub mod proc;
mod signed;
pub mod tty;
pub mod user;
mod watchdog;

pub use bootctl::newest_signed_time;
pub use memory::cache;
pub use mounts::root;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use linux::Errno;
use linux::types::{Stat, Statx, StatxTime, Timespec, device_parts};
use vfs::inode::Kind;

use crate::clock;
use crate::mm::{PageRef, PageSource};
use crate::sched::WaitQueue;
use crate::sync::ThisCpu;

/// This machine, as the file system sees it.
#[derive(Debug)]
pub struct Kernel;

pub type OpenFile = vfs::OpenFile<Kernel>;
pub type Path = vfs::Path<Kernel>;
pub type PathContext = vfs::PathContext<Kernel>;
pub type At<'a> = vfs::At<'a, Kernel>;
pub type Mount = vfs::Mount<Kernel>;
pub type Volume = vfs::Volume<Kernel>;

impl vfs::World for Kernel {
    type Cpu = ThisCpu;
    type Sleepers = WaitQueue;
    type Page = PageRef;
    type WaitQueue = WaitQueue;

    fn sleepers() -> WaitQueue {
        WaitQueue::new()
    }

    fn now() -> Timespec {
        clock::realtime()
    }

    fn closed(file: &OpenFile) {
        locks::file_closed(file);
    }

    fn write_back_wanted() {
        data::write_back_wanted();
    }

    fn name_kept() {
        memory::name_kept();
    }

    fn report(source: &[u8], why: &dyn core::fmt::Display) {
        data::report(source, why);
    }

    fn open_special(inode: &Arc<dyn vfs::Inode<Self>>, flags: u32) -> Result<Arc<dyn vfs::File<Self>>, Errno> {
        let special = inode.special().ok_or(Errno::ENXIO)?;
        match inode.kind() {
            Kind::Fifo => pipe::open_fifo(special, flags),
            Kind::Character => devices::open(special.device, flags),
            Kind::Block => block::open(special.device, flags),
            _ => Err(Errno::ENXIO),
        }
    }
}

impl vfs::Page for PageRef {
    fn zeroed() -> Option<Self> {
        memory::page()
    }

    fn in_place(bytes: &'static [u8]) -> Option<Self> {
        PageRef::in_place(bytes)
    }

    fn is_sole(&self) -> bool {
        PageRef::is_sole(self)
    }

    fn bytes(&self) -> &[u8] {
        PageRef::bytes(self)
    }

    fn change(&self, change: &mut dyn FnMut(&mut [u8])) {
        PageRef::change(self, change);
    }
}

/// A file as the pages of a mapping.
struct Pages {
    file: Arc<dyn vfs::File<Kernel>>,
    path: Path,
    is_writable: bool,
}

impl PageSource for Pages {
    fn page(&self, index: u64, write: bool) -> Result<PageRef, Errno> {
        self.file.page(index, write)
    }

    fn page_at_hand(&self, index: u64) -> Option<PageRef> {
        self.file.page_at_hand(index)
    }

    fn sync(&self, pages: Range<u64>) -> Result<(), Errno> {
        let bytes = |page: u64| page.saturating_mul(vfs::PAGE_SIZE as u64);
        self.file.sync(bytes(pages.start)..bytes(pages.end), true)
    }

    fn is_writable(&self) -> bool {
        self.is_writable
    }

    fn describe(&self) -> (String, u64, u64) {
        let text = root().map_or_else(Vec::new, |root| self.path.text(&root).0);
        (String::from_utf8_lossy(&text).into_owned(), self.path.device(), self.path.inode().metadata().number)
    }
}

/// The pages of an open file, for a mapping; they stay when the file is closed.
///
/// # Errors
/// `EBADF` for `O_PATH`, `ENODEV` for what cannot be mapped.
pub fn page_source(file: &OpenFile) -> Result<Arc<dyn PageSource>, Errno> {
    let is_writable = file.is_readable() && file.is_writable();
    let pages = Pages { file: file.file()?.clone(), path: file.path().clone(), is_writable };
    if pages.file.is_mappable() { Ok(Arc::new(pages)) } else { Err(Errno::ENODEV) }
}

/// What `readlink` shows of the link at `place`.
///
/// # Errors
/// `EINVAL` when it is none.
pub fn read_link(context: &PathContext, place: &Path) -> Result<Vec<u8>, Errno> {
    match place.inode().link()? {
        vfs::Link::Text(text) => Ok(text.into_vec()),
        vfs::Link::Place(target) => Ok(target.text(&context.root).0),
    }
}

/// What `stat` tells of a place.
pub fn stat(place: &Path) -> Stat {
    let metadata = place.inode().metadata();
    Stat {
        dev: place.device(),
        ino: metadata.number,
        mode: metadata.permission.mode,
        nlink: metadata.links,
        uid: metadata.permission.user,
        gid: metadata.permission.group,
        rdev: metadata.device,
        size: metadata.size.cast_signed(),
        blksize: vfs::PAGE_SIZE as i32,
        blocks: metadata.blocks.cast_signed(),
        atime: metadata.accessed.sec,
        atime_nsec: metadata.accessed.nsec.cast_unsigned(),
        mtime: metadata.modified.sec,
        mtime_nsec: metadata.modified.nsec.cast_unsigned(),
        ctime: metadata.changed.sec,
        ctime_nsec: metadata.changed.nsec.cast_unsigned(),
        ..Stat::default()
    }
}

/// `STATX_BASIC_STATS` and `STATX_MNT_ID`: what `statx` fills here.
const STATX_FILLED: u32 = 0x7ff | 0x1000;
/// `STATX_ATTR_MOUNT_ROOT`.
const STATX_MOUNT_ROOT: u64 = 0x2000;

/// What `statx` tells of a place.
pub fn statx(place: &Path) -> Statx {
    let stat = stat(place);
    let time = |sec, nsec: u64| StatxTime { sec, nsec: nsec as u32, reserved: 0 };
    let ((rdev_major, rdev_minor), (dev_major, dev_minor)) = (device_parts(stat.rdev), device_parts(stat.dev));
    Statx {
        mask: STATX_FILLED,
        blksize: vfs::PAGE_SIZE as u32,
        attributes: if place.is_mount_root() { STATX_MOUNT_ROOT } else { 0 },
        nlink: stat.nlink,
        uid: stat.uid,
        gid: stat.gid,
        mode: stat.mode as u16,
        ino: stat.ino,
        size: stat.size.cast_unsigned(),
        blocks: stat.blocks.cast_unsigned(),
        attributes_mask: STATX_MOUNT_ROOT,
        atime: time(stat.atime, stat.atime_nsec),
        ctime: time(stat.ctime, stat.ctime_nsec),
        mtime: time(stat.mtime, stat.mtime_nsec),
        rdev_major,
        rdev_minor,
        dev_major,
        dev_minor,
        mnt_id: u64::from(place.mount().id),
        ..Statx::default()
    }
}
