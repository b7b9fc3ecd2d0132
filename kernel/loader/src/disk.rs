//! The disk that this program was loaded from: its partitions, its boot-control block, the files beside this program.

use core::time::Duration;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use bootctl::{SIZE, Slot, State, Write};
use bootplan::Control;
use bootplan::image::{LoadError, Store};
use gpt::{ENTRIES, Guid, Partition, SECTOR, Table, Unreadable, types};
use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol};
use uefi::proto::ProtocolPointer;
use uefi::proto::device_path::DevicePath;
use uefi::proto::loaded_image::LoadedImage;
use uefi::proto::media::block::BlockIO;
use uefi::proto::media::file::{File, FileAttribute, FileInfo, FileMode, RegularFile};
use uefi::proto::media::fs::SimpleFileSystem;
use uefi::{Handle, Status, cstr16};

use crate::console::event;
use crate::memory::Pages;

/// Largest single read: firmware drivers differ in what they take at once.
const READ_MAX: usize = 4 << 20;
/// What could not be read may be read after so long.
const BEFORE_AGAIN: Duration = Duration::from_millis(100);

/// Opens a protocol beside the drivers that use it: an exclusive open would stop the file system's own driver.
fn open<P: ProtocolPointer + ?Sized>(handle: Handle) -> uefi::Result<ScopedProtocol<P>> {
    let params = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
    // SAFETY: the handles used here are the boot disk's and its partitions'; nothing removes them while this program runs.
    unsafe { boot::open_protocol(params, OpenProtocolAttributes::GetProtocol) }
}

/// Everything images can come from.
pub struct Medium {
    device: Option<Handle>,
    disk: Option<WholeDisk>,
    layout: Layout,
}

#[derive(Default)]
struct Layout {
    guid: Guid,
    esp: Option<Partition>,
    bootctl: Option<Partition>,
    slots: [Option<Partition>; 2],
}

impl Medium {
    /// Finds the disk and reads its partition table. What is missing is missing later, where it is asked for.
    pub fn open() -> Self {
        let device = open::<LoadedImage>(boot::image_handle()).ok().and_then(|image| image.device());
        let mut disk = device.and_then(WholeDisk::of);
        let layout = disk.as_mut().and_then(Layout::read).unwrap_or_default();
        Self { device, disk, layout }
    }

    /// The GPT's GUID; zero without one.
    pub fn disk_guid(&self) -> Guid {
        self.layout.guid
    }

    /// The boot-control block, and whether there are slots at all.
    pub fn state(&mut self) -> bootplan::Disk {
        if self.layout.slots.iter().all(Option::is_none) {
            return bootplan::Disk::NoSlots;
        }
        self.control().map_or(bootplan::Disk::NoSlots, bootplan::Disk::Slots)
    }

    /// The boot-control block, where there is a partition for it.
    pub fn control(&mut self) -> Option<Control> {
        let (Some(disk), Some(partition)) = (&mut self.disk, self.layout.bootctl) else { return None };
        let control = Control::read(|copy, into| {
            disk.read_in(&partition, bootctl::OFFSETS[copy], into).inspect_err(|why| {
                event!("loader.error", what = "bootctl", where = format_args!("copy {copy}"), why = why);
                boot::stall(BEFORE_AGAIN);
            })
        });
        let (sequence, copy) = control
            .current
            .as_ref()
            .map_or((0, String::from("none")), |current| (current.block.sequence(), current.copy.to_string()));
        let state = match &control.current {
            _ if !control.is_whole() => "unread",
            Some(current) if current.state == State::Ok => "ok",
            Some(_) => "one-copy",
            None => "none",
        };
        event!("loader.bootctl", sequence = sequence, copy = copy, state = state);
        Some(control)
    }

    /// A slot's partition.
    pub fn slot(&mut self, slot: Slot) -> Result<InPartition<'_>, LoadError> {
        match (&mut self.disk, self.layout.slots[slot as usize]) {
            (Some(disk), Some(partition)) => Ok(InPartition { disk, partition }),
            _ => Err(LoadError::Absent(format!("the disk has no partition {}", slot.partition()))),
        }
    }

    /// `base.img` beside this program's folder, at the root of its file system.
    pub fn base_img(&mut self) -> Result<InFile, LoadError> {
        let device = self.device.ok_or_else(|| LoadError::Absent("the firmware names no boot device".into()))?;
        let read_error = |error: uefi::Error| LoadError::Read { what: "file", why: error.status().to_string() };
        let mut root = open::<SimpleFileSystem>(device).and_then(|mut fs| fs.open_volume()).map_err(read_error)?;
        let file = match root.open(cstr16!("base.img"), FileMode::Read, FileAttribute::empty()) {
            Ok(file) => file,
            Err(error) if error.status() == Status::NOT_FOUND => {
                return Err(LoadError::Absent("there is no such file".into()));
            }
            Err(error) => return Err(read_error(error)),
        };
        let mut file = file.into_regular_file().ok_or_else(|| LoadError::Absent("it is a folder".into()))?;
        let size = file.get_boxed_info::<FileInfo>().map_err(read_error)?.file_size();
        Ok(InFile { file, size })
    }

    /// A loader, from the start of one of the two files; what it holds is not looked at.
    pub fn loader_file(&mut self, which: fn(&esp::Files) -> u64, length: u32) -> Result<Pages, String> {
        let (Some(disk), Some(partition)) = (&mut self.disk, &self.layout.esp) else {
            return Err("the disk has no partition esp".into());
        };
        let sectors = partition.first..partition.first.saturating_add(partition.sectors);
        let files = esp::Files::find(disk, sectors).map_err(|error| error.to_string())?;
        if length > files.size {
            return Err(format!("{length} bytes are not in a file of {}", files.size));
        }
        let mut bytes = Pages::allocate(length.into(), SIZE as u64).ok_or("no memory for it")?;
        disk.read_at(which(&files), &mut bytes.as_mut()[..length as usize])?;
        Ok(bytes)
    }

    /// Writes a copy of the boot-control block. It counts only once it is flushed.
    pub fn write_bootctl(&mut self, write: &Write) -> Result<(), String> {
        let (Some(disk), Some(partition)) = (&mut self.disk, self.layout.bootctl) else {
            return Err("the disk has no partition bootctl".into());
        };
        disk.write_in(&partition, bootctl::OFFSETS[write.copy], write.block.bytes())
    }
}

impl Layout {
    fn read(disk: &mut WholeDisk) -> Option<Self> {
        let mut buffer = Box::new([0; ENTRIES]);
        let table: Table<'_> = match gpt::read(disk, &mut buffer) {
            Ok(table) => table,
            // A file system without a partition table: first bring-up, base.img is all there is.
            Err(
                gpt::Error::TooSmall
                | gpt::Error::Damaged { primary: gpt::Fault::Signature, backup: gpt::Fault::Signature },
            ) => {
                return None;
            }
            Err(error) => {
                event!("loader.error", what = "gpt", where = "disk", why = error);
                return None;
            }
        };
        if let Some(fault) = table.primary_fault {
            event!("loader.error", what = "gpt", where = "primary", why = format_args!("{fault}; the backup is used"));
        }
        Some(Self {
            guid: table.disk_guid,
            esp: table.find(&types::ESP, "esp"),
            bootctl: table.find(&types::BOOTCTL, "bootctl"),
            slots: Slot::ALL.map(|slot| table.find(&types::BASE, slot.partition())),
        })
    }
}

/// A disk of 512-byte blocks, all of it.
struct WholeDisk {
    io: ScopedProtocol<BlockIO>,
    /// Drivers may ask for aligned buffers: small transfers go through this page.
    bounce: Pages,
}

impl WholeDisk {
    /// The disk on which the device lies: the one whose device path is the longest beginning of the device's own. The device
    /// itself when it is no partition.
    fn of(device: Handle) -> Option<Self> {
        let path = open::<DevicePath>(device).ok()?;
        let depth = |handle: Handle| {
            let candidate = open::<DevicePath>(handle).ok()?;
            let nodes = candidate.node_iter().count();
            let is_beginning = candidate.node_iter().eq(path.node_iter().take(nodes));
            let io = open::<BlockIO>(handle).ok()?;
            (is_beginning && !io.media().is_logical_partition()).then_some(nodes)
        };
        let handles = boot::find_handles::<BlockIO>().ok()?;
        let (_, handle) =
            handles.into_iter().filter_map(|handle| Some((depth(handle)?, handle))).max_by_key(|(depth, _)| *depth)?;
        let io = open::<BlockIO>(handle).ok()?;
        if io.media().block_size() as usize != SECTOR {
            let size = io.media().block_size();
            event!("loader.error", what = "disk", where = "blocks", why = format_args!("{size} bytes each, expected 512"));
            return None;
        }
        Some(Self { io, bounce: Pages::allocate(SIZE as u64, SIZE as u64)? })
    }

    /// Whole sectors; a last part of one goes through the bounce page.
    fn read_at(&mut self, first: u64, into: &mut [u8]) -> Result<(), String> {
        let id = self.io.media().media_id();
        let align = (self.io.media().io_align() as usize).max(1);
        let mut sector = first;
        let step = if into.as_ptr().addr().is_multiple_of(align) { READ_MAX } else { SIZE };
        for chunk in into.chunks_mut(step) {
            if step == READ_MAX && chunk.len().is_multiple_of(SECTOR) {
                self.io.read_blocks(id, sector, chunk).map_err(|error| error.status().to_string())?;
            } else {
                self.read_bounced(id, sector, chunk)?;
            }
            sector += (chunk.len() / SECTOR) as u64;
        }
        Ok(())
    }

    fn read_bounced(&mut self, id: u32, first: u64, into: &mut [u8]) -> Result<(), String> {
        for (sector, chunk) in (first..).step_by(SIZE / SECTOR).zip(into.chunks_mut(SIZE)) {
            let page = &mut self.bounce.as_mut()[..chunk.len().next_multiple_of(SECTOR)];
            self.io.read_blocks(id, sector, page).map_err(|error| error.status().to_string())?;
            chunk.copy_from_slice(&page[..chunk.len()]);
        }
        Ok(())
    }

    /// Where `length` bytes of a partition lie on the disk.
    fn locate(partition: &Partition, offset: u64, length: usize) -> Result<u64, String> {
        let end = offset.checked_add(length as u64).map(|end| end.div_ceil(SECTOR as u64));
        if end.is_none_or(|end| end > partition.sectors) || !offset.is_multiple_of(SECTOR as u64) {
            return Err(format!("{length} bytes at {offset} are not in the partition"));
        }
        Ok(partition.first + offset / SECTOR as u64)
    }

    fn read_in(&mut self, partition: &Partition, offset: u64, into: &mut [u8]) -> Result<(), String> {
        let first = Self::locate(partition, offset, into.len())?;
        self.read_at(first, into)
    }

    fn write_in(&mut self, partition: &Partition, offset: u64, data: &[u8; SIZE]) -> Result<(), String> {
        let first = Self::locate(partition, offset, data.len())?;
        if self.io.media().is_read_only() {
            return Err("the disk is write-protected".into());
        }
        let id = self.io.media().media_id();
        self.bounce.as_mut()[..SIZE].copy_from_slice(data);
        self.io
            .write_blocks(id, first, &self.bounce.as_ref()[..SIZE])
            .map_err(|error| format!("write: {}", error.status()))?;
        self.io.flush_blocks().map_err(|error| format!("flush: {}", error.status()))
    }
}

impl gpt::Disk for WholeDisk {
    fn sectors(&self) -> u64 {
        self.io.media().last_block().saturating_add(1)
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        self.read_at(first, into).map_err(|_| Unreadable)
    }
}

/// A slot image in its partition.
pub struct InPartition<'a> {
    disk: &'a mut WholeDisk,
    partition: Partition,
}

impl Store for InPartition<'_> {
    fn size(&self) -> u64 {
        self.partition.sectors.saturating_mul(SECTOR as u64)
    }

    fn is_partition(&self) -> bool {
        true
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        self.disk.read_in(&self.partition, offset, into)
    }
}

/// A slot image in a file.
pub struct InFile {
    file: RegularFile,
    size: u64,
}

impl Store for InFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn is_partition(&self) -> bool {
        false
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> Result<(), String> {
        let status = |error: uefi::Error| error.status().to_string();
        self.file.set_position(offset).map_err(status)?;
        let mut done = 0;
        while done < into.len() {
            let end = into.len().min(done + READ_MAX);
            match self.file.read(&mut into[done..end]).map_err(status)? {
                0 => return Err(format!("the file ends at byte {}", offset + done as u64)),
                count => done += count,
            }
        }
        Ok(())
    }
}
