//! The nodes of disks and partitions: who may write what, and their device control.
//!
//! What a file system or the base lies on is written by nobody else: its node, and that of the whole disk, can only be read. Of the disk that was
//! booted from nothing but the data partition is written by anybody, root included; before it starts any other, the first process may open the slot that
//! does not run, to hand it to the service that updates the system. A node's pages are
//! its own; so that what was written through one is seen through another of the same disk, opening a node writes what is dirty in the others.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use bootctl::Slot;
use linux::Errno;
use linux::flags::{
    BLKBSZGET, BLKDISCARD, BLKFLSBUF, BLKGETSIZE, BLKGETSIZE64, BLKPBSZGET, BLKROGET, BLKSSZGET, O_ACCMODE, O_EXCL,
    O_RDONLY,
};
use vfs::{BlockDevice, BlockFile, Device, Sink, Source};

use super::{Kernel, bootctl as control, devices};
use crate::drivers::block::{self, Kind, Part, SECTOR};
use crate::mm::user;
use crate::process::current;
use crate::sync::Once;

/// A node: what it stands for, and its pages.
struct Node {
    part: Arc<Part>,
    device: Arc<BlockDevice<Kernel>>,
}

static NODES: Once<Vec<Node>> = Once::new();

fn nodes() -> &'static [Node] {
    NODES.get_or_init(|| {
        let node =
            |part: &Arc<Part>| Node { part: part.clone(), device: BlockDevice::new(part.clone(), super::cache()) };
        block::parts().iter().map(node).collect()
    })
}

/// Opens the block device of this number.
///
/// # Errors
/// `ENXIO` when there is none; to write it `EROFS` for one that is read-only, `EBUSY` for one that is in use, and `EPERM` for what updates change.
pub fn open(number: u64, flags: u32) -> Result<Arc<dyn vfs::File<Kernel>>, Errno> {
    let node = nodes().iter().find(|node| node.part.device_number() == number).ok_or(Errno::ENXIO)?;
    let is_writable = flags & O_ACCMODE != O_RDONLY;
    if is_writable && Device::<Kernel>::is_read_only(&*node.part) {
        return Err(Errno::EROFS);
    }
    if is_writable && is_kept(&node.part) {
        return Err(Errno::EPERM);
    }
    if (is_writable || flags & O_EXCL != 0) && is_in_use(&node.part) {
        return Err(Errno::EBUSY);
    }
    for other in nodes().iter().filter(|other| Arc::ptr_eq(&other.part.disk, &node.part.disk)) {
        // Whoever wrote there is told by his own `fsync`.
        let _ = vfs::cache::WriteBack::write_back(&*other.device);
    }
    Ok(Arc::new(Open { node, file: node.device.open(), is_writable }))
}

/// A part of the disk that was booted from that whoever asks must not write.
fn is_kept(part: &Part) -> bool {
    match part.kind() {
        _ if !is_on_boot_disk(part) => false,
        Some(Kind::Data) => false,
        Some(Kind::BaseA | Kind::BaseB) => {
            let running = control::running_slot().map(Kind::of);
            !devices::hands_out() || running.is_none() || part.kind() == running
        }
        // /dev/bootctl is the boot-control block's way; nobody is handed the other two.
        Some(Kind::Bootctl | Kind::Esp | Kind::Pkgs) => true,
        // The whole disk; a partition that is none of ours is none of an update's either.
        None => part.number == 0,
    }
}

/// A loader has booted this disk. Where it is not known which it was, any that has partitions of ours is taken for it.
fn is_on_boot_disk(part: &Part) -> bool {
    let same = |other: &Part| Arc::ptr_eq(&other.disk, &part.disk);
    match block::boot_disk() {
        Some(disk) => Arc::ptr_eq(&disk, &part.disk),
        None => {
            crate::boot::info().slot != bootinfo::slot::INITRD
                && block::parts().iter().any(|other| same(other) && other.kind().is_some())
        }
    }
}

/// It is claimed; or it is a whole disk of which a part is.
fn is_in_use(part: &Part) -> bool {
    let is_inside = |other: &Part| part.number == 0 && Arc::ptr_eq(&other.disk, &part.disk);
    part.is_claimed() || block::parts().iter().any(|other| is_inside(other) && other.is_claimed())
}

/// Makes everything that was written to any node lasting, as far as it can be (`sync`).
pub fn sync_all() {
    for node in NODES.get().into_iter().flatten() {
        let _ = node.device.sync();
    }
}

struct Open {
    node: &'static Node,
    file: BlockFile<Kernel>,
    is_writable: bool,
}

impl Open {
    /// Which slot of the disk that was booted from it is.
    fn slot(&self) -> Option<Slot> {
        let part = &self.node.part;
        Slot::ALL.into_iter().find(|&slot| part.kind() == Some(Kind::of(slot)) && is_on_boot_disk(part))
    }

    fn discard(&self, argument: u64) -> Result<(), Errno> {
        let [start, length]: [u64; 2] = user::read(argument)?;
        if !self.is_writable {
            return Err(Errno::EBADF);
        }
        if is_on_boot_disk(&self.node.part) && self.node.part.kind() != Some(Kind::Data) {
            return Err(Errno::EPERM);
        }
        let end = start.checked_add(length).ok_or(Errno::EINVAL)?;
        if !start.is_multiple_of(SECTOR) || !length.is_multiple_of(SECTOR) {
            return Err(Errno::EINVAL);
        }
        if self.node.part.disk.facts.discard_max.is_none() {
            return Err(Errno::EOPNOTSUPP);
        }
        self.node.device.discard(start..end)
    }
}

impl vfs::File<Kernel> for Open {
    fn is_seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Option<u64> {
        self.file.size()
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, flags: u32) -> Result<(), Errno> {
        self.file.read(offset, to, flags)
    }

    fn write(&self, offset: u64, from: &mut dyn Source, flags: u32) -> Result<u64, Errno> {
        if let Some(slot) = self.slot()
            && !control::is_free(slot)?
        {
            return Err(Errno::EPERM);
        }
        self.file.write(offset, from, flags)
    }

    fn sync(&self, bytes: Range<u64>, data_only: bool) -> Result<(), Errno> {
        self.file.sync(bytes, data_only)
    }

    fn write_out(&self, bytes: Range<u64>) -> Result<(), Errno> {
        self.file.write_out(bytes)
    }

    fn ioctl(&self, request: u32, argument: u64, _flags: u32) -> Result<u64, Errno> {
        let part = &self.node.part;
        let block_size = part.disk.facts.block_size;
        match request {
            BLKGETSIZE64 => user::write(argument, &self.node.device.size())?,
            BLKGETSIZE => user::write(argument, &part.sectors)?,
            BLKSSZGET | BLKPBSZGET => user::write(argument, &block_size)?,
            BLKBSZGET => user::write(argument, &(vfs::PAGE_SIZE as u32))?,
            BLKROGET => user::write(argument, &u32::from(Device::<Kernel>::is_read_only(&**part)))?,
            BLKFLSBUF if current().process.credentials().is_privileged() => self.node.device.forget()?,
            BLKFLSBUF => return Err(Errno::EACCES),
            BLKDISCARD => self.discard(argument)?,
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }
}
