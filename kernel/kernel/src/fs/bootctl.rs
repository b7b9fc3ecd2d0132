//! /dev/bootctl: the boot-control block of the disk that was booted from. Reading gives the one that counts; writing 4096 bytes at the start makes
//! a block made from it current, on stable media before the call returns, when [`permit()`] lets it: whoever holds the descriptor.
//!
//! Only the first process can open it for writing, before it starts any other, and hands it to the service that updates the system (docs/formats/bootctl.md, "Who may write").

use alloc::sync::Arc;
use alloc::vec;

use bootctl::permit::{Booted, Signed, permit};
use bootctl::{Block, Current, LoaderTrial, OFFSETS, SIZE, Slot, Write};
use bootinfo::slot;
use linux::Errno;
use linux::flags::{POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM};
use vfs::{Sink, Source};

use super::{Kernel, devices, signed};
use crate::drivers::block::{self, Kind, Part, SECTOR};
use crate::sync::{Mutex, mutex};
use crate::{boot, event};

/// Held from the reading of both copies to the end of a write.
static WRITER: Mutex<()> = mutex(());

/// The slot that runs; `None` when the system was not booted from one.
#[must_use]
pub fn running_slot() -> Option<Slot> {
    match boot::info().slot {
        slot::A => Some(Slot::A),
        slot::B => Some(Slot::B),
        _ => None,
    }
}

/// Opens the device.
///
/// # Errors
/// `ENXIO` when the disk that was booted from has no such partition; to write it `EPERM` for all but the first process, and `EROFS` where no loader
/// said what runs.
pub fn open(flags: u32) -> Result<Arc<dyn vfs::File<Kernel>>, Errno> {
    let part = block::boot_part(Kind::Bootctl).ok_or(Errno::ENXIO)?;
    devices::check_handed_out(flags)?;
    Ok(Arc::new(Open { part }))
}

struct Open {
    part: Arc<Part>,
}

impl Open {
    /// Both copies lie on the heap, one after the other: the stack has no room for them.
    #[inline(never)]
    fn current(&self) -> Result<Current, Errno> {
        let mut copies = vec![0; 2 * SIZE];
        for (copy, offset) in copies.chunks_exact_mut(SIZE).zip(OFFSETS) {
            // One that cannot be read may be the one that counts.
            self.part.disk.read_sectors(self.part.first + offset / SECTOR, copy)?;
        }
        let (zero, one) = copies.split_at(SIZE);
        Current::of([zero, one]).ok_or(Errno::EIO)
    }

    #[inline(never)]
    fn replace(&self, draft: &Block) -> Result<(), Errno> {
        let _writer = WRITER.lock();
        let current = self.current()?;
        let booted = booted();
        let other = || booted.slot.map_or_else(Signed::default, |slot| signed::in_slot(slot.other()));
        if let Err(why) = permit(&current.block, draft, &booted, other) {
            event!("bootctl.refused", class = why.class(), why = why);
            return Err(Errno::EPERM);
        }
        let write = current.next(draft).ok_or(Errno::EOVERFLOW)?;
        let Write { copy, block } = &write;
        self.part.disk.write_sectors(self.part.first + OFFSETS[*copy] / SECTOR, block.bytes())?;
        self.part.disk.flush()?;
        event!("bootctl.written", sequence = block.sequence(), copy = copy);
        Ok(())
    }
}

/// Whether the slot may be filled: nothing boots it. So the release on trial, which cannot make it unbootable, cannot overwrite the one to fall back to either.
pub fn is_free(slot: Slot) -> Result<bool, Errno> {
    let part = block::boot_part(Kind::Bootctl).ok_or(Errno::ENXIO)?;
    let _writer = WRITER.lock();
    Ok(Open { part }.current()?.block.slot(slot).priority == 0)
}

/// Runs with what the block says of a loader on trial; nobody changes that meanwhile.
///
/// # Errors
/// The run's, and what reading the block leads to.
pub fn with_loader_trial<R>(run: impl FnOnce(Option<LoaderTrial>) -> Result<R, Errno>) -> Result<R, Errno> {
    let part = block::boot_part(Kind::Bootctl).ok_or(Errno::ENXIO)?;
    let _writer = WRITER.lock();
    run(Open { part }.current()?.block.loader_trial())
}

/// The newest time that was signed and verified here: of the release that runs, and of those that were installed. 0: none is told.
pub fn newest_signed_time() -> u64 {
    let seen = || {
        let part = block::boot_part(Kind::Bootctl)?;
        let _writer = WRITER.lock();
        Some(Open { part }.current().ok()?.block.marks().signed_at)
    };
    // Without a loader nobody has verified anything.
    if boot::info().root_count == 0 { 0 } else { signed::running_at().max(seen().unwrap_or(0)) }
}

fn booted() -> Booted {
    let info = boot::info();
    Booted {
        slot: running_slot(),
        digest: info.release_digest,
        rollback_index: info.rollback_index,
        // A version that the block has no room for bounds nothing.
        key_set: info.key_set.try_into().unwrap_or(0),
        signed_at: signed::running_at(),
        loader: info.loader_security.try_into().unwrap_or(0),
        recovery: info.flags & bootinfo::flag::RECOVERY != 0,
    }
}

impl vfs::File<Kernel> for Open {
    fn is_seekable(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, to: &mut dyn Sink, _flags: u32) -> Result<(), Errno> {
        let Some(from) = usize::try_from(offset).ok().filter(|&from| from < SIZE) else { return Ok(()) };
        let current = {
            let _writer = WRITER.lock();
            self.current()?
        };
        to.put(&current.block.bytes()[from..]).map(|_| ())
    }

    fn write(&self, offset: u64, from: &mut dyn Source, _flags: u32) -> Result<u64, Errno> {
        if offset != 0 || from.left() != SIZE {
            return Err(Errno::EINVAL);
        }
        let mut bytes = vec![0; SIZE];
        if from.take(&mut bytes)? != SIZE {
            return Err(Errno::EFAULT);
        }
        let bytes: &[u8; SIZE] = bytes.first_chunk().expect("as many bytes");
        self.replace(&Block::draft(bytes))?;
        // Whoever writes again starts at the beginning again: a block is one thing.
        Ok(0)
    }

    fn poll<'a>(&'a self, _watch: Option<&mut dyn vfs::Watch<'a, Kernel>>) -> u16 {
        POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM
    }
}
