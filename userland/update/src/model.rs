//! A machine's disk as tests know it: what is stable, what was written since the last flush, and every state that a cut may leave of it.

use crate::content;
use crate::install::{Failure, Install, Purpose};
use crate::{BootControl, Loaders, Slot as SlotDevice, Source};
use bootctl::{Block, Current, Loader, SIZE, Slot, candidates, change};
use release::{AREA_SIZE, Header, Section, SectionKind, Text};
use rt::Errno;
use std::cell::RefCell;
use std::rc::Rc;

pub(crate) const SECTOR: usize = 512;
/// Of a write, so many prefixes and suffixes of sectors are tried, besides all and nothing.
pub(crate) const TORN: usize = 2;
/// So many writes without a flush between them are tried in all subsets; of more, each alone and all but each.
pub(crate) const EXHAUSTIVE: usize = 8;

/// The parts of the disk that an update changes, one behind the other: both copies of the block, both slots, the sector that says which loader file is the
/// first, both loader files.
pub(crate) const COPIES: [usize; 2] = [0, SIZE];
pub(crate) const SLOTS: [usize; 2] = [2 * SIZE, 2 * SIZE + SLOT_SIZE];
pub(crate) const SLOT_SIZE: usize = 32 << 10;
pub(crate) const FIRST: usize = SLOTS[1] + SLOT_SIZE;
pub(crate) const LOADERS: [usize; 2] = [FIRST + SECTOR, FIRST + SECTOR + LOADER_SIZE];
pub(crate) const LOADER_SIZE: usize = 8 << 10;
pub(crate) const DISK: usize = LOADERS[1] + LOADER_SIZE;

/// A release with tiny sections that differ from version to version.
pub(crate) fn image(version: u8) -> Vec<u8> {
    let mut header = Header {
        minor: 0,
        product: Text::new("swift-os").unwrap(),
        profile: Text::new("qemu").unwrap(),
        version: Text::new(&format!("0.{version}.0")).unwrap(),
        rollback_index: version.into(),
        signed_at: 0,
        flags_critical: 0,
        flags_optional: 0,
        min_slot_size: SLOT_SIZE as u64,
        min_disk_layout: 1,
        loader_security_version: 1,
        datafs_compat: 0,
        datafs_ro_compat: 0,
        datafs_incompat: 0,
        package_abi_min: 1,
        package_abi_max: 1,
        verity_root: [0; 32],
        sections: Default::default(),
    };
    let mut image = vec![0; AREA_SIZE];
    for (index, kind) in
        [SectionKind::Kernel, SectionKind::Erofs, SectionKind::Verity, SectionKind::Loader].into_iter().enumerate()
    {
        let bytes = vec![version + index as u8 * 16; 1000 + 700 * index];
        let (offset, digest) = (image.len() as u64, sha256::software(&bytes));
        header.sections.push(Section { kind: kind as u32, flags: 1, offset, length: bytes.len() as u64, digest });
        image.extend(bytes);
        image.resize(image.len().next_multiple_of(4096), 0);
    }
    image[..release::HEADER_SIZE].copy_from_slice(&header.encode().unwrap());
    image[release::HEADER_SIZE] = version;
    image.truncate(content::end(&header) as usize);
    image
}

pub(crate) fn header(image: &[u8]) -> Header {
    Header::parse(image).unwrap()
}

pub(crate) fn remembered(image: &[u8]) -> change::Release {
    let header = header(image);
    change::Release {
        digest: sha256::software(&image[..release::HEADER_SIZE]),
        version: [0; 32],
        rollback_index: header.rollback_index,
        key_set: 1,
        signed_at: 0,
    }
}

/// What happens to the disk, in order.
#[derive(Clone)]
pub(crate) enum Event {
    Write(usize, Vec<u8>),
    Flush,
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) now: Vec<u8>,
    pub(crate) events: Vec<Event>,
    /// Flushes that are left out: the installer without one of them.
    pub(crate) forgotten: Option<usize>,
    pub(crate) flushes: usize,
    /// Bytes that were read of slots.
    pub(crate) read: usize,
}

#[derive(Clone)]
pub(crate) struct Disk(pub(crate) Rc<RefCell<Recorder>>);

impl Disk {
    pub(crate) fn of(now: Vec<u8>) -> Self {
        Self(Rc::new(RefCell::new(Recorder { now, ..Recorder::default() })))
    }

    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        let mut disk = self.0.borrow_mut();
        disk.now[at..at + bytes.len()].copy_from_slice(bytes);
        disk.events.push(Event::Write(at, bytes.to_vec()));
    }

    pub(crate) fn flush(&self) {
        let mut disk = self.0.borrow_mut();
        disk.flushes += 1;
        if disk.forgotten != Some(disk.flushes) {
            disk.events.push(Event::Flush);
        }
    }
}

pub(crate) struct Part(pub(crate) Disk, pub(crate) Slot);

impl Source for Part {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        let from = SLOTS[self.1 as usize] + at as usize;
        let mut disk = self.0.0.borrow_mut();
        disk.read += into.len();
        into.copy_from_slice(&disk.now[from..from + into.len()]);
        Ok(())
    }
}

impl SlotDevice for Part {
    fn size(&self) -> u64 {
        SLOT_SIZE as u64
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        // A cache writes pages of its own choice, each a request.
        for (index, page) in bytes.chunks(4096).enumerate() {
            self.0.write(SLOTS[self.1 as usize] + at as usize + 4096 * index, page);
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Errno> {
        self.0.flush();
        Ok(())
    }
}

/// The loader files; whether this boot came through the one on trial.
pub(crate) struct LoaderFiles(pub(crate) Disk, pub(crate) bool);

/// Where the first file lies, and the second.
pub(crate) fn loader_files(disk: &[u8]) -> [usize; 2] {
    let first = usize::from(disk[FIRST]);
    [LOADERS[first], LOADERS[1 - first]]
}

impl Source for LoaderFiles {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        let disk = &self.0.0.borrow().now;
        into.copy_from_slice(&disk[loader_files(disk)[1] + at as usize..][..into.len()]);
        Ok(())
    }
}

impl SlotDevice for LoaderFiles {
    fn size(&self) -> u64 {
        LOADER_SIZE as u64
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let second = {
            let disk = &self.0.0.borrow().now;
            if current(disk).is_none_or(|current| current.block.loader_trial().is_some()) {
                return Err(Errno::BUSY);
            }
            loader_files(disk)[1]
        };
        for (index, part) in bytes.chunks(4096).enumerate() {
            self.0.write(second + at as usize + 4096 * index, part);
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Errno> {
        self.0.flush();
        Ok(())
    }
}

impl Loaders for LoaderFiles {
    fn read_first(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        let disk = &self.0.0.borrow().now;
        into.copy_from_slice(&disk[loader_files(disk)[0] + at as usize..][..into.len()]);
        Ok(())
    }

    fn swap(&mut self) -> Result<(), Errno> {
        let mut sector = {
            let disk = &self.0.0.borrow().now;
            let trial = current(disk).and_then(|current| current.block.loader_trial()).ok_or(Errno::PERM)?;
            let [first, second] = loader_files(disk);
            if !self.1 || !holds(disk, second, &trial.loader) {
                return if holds(disk, first, &trial.loader) { Ok(()) } else { Err(Errno::PERM) };
            }
            disk[FIRST..][..SECTOR].to_vec()
        };
        sector[0] = 1 - sector[0];
        self.0.write(FIRST, &sector);
        self.0.flush();
        Ok(())
    }
}

pub(crate) fn holds(disk: &[u8], file: usize, loader: &Loader) -> bool {
    sha256::software(&disk[file..][..loader.length as usize]) == loader.digest
}

/// The loader that a release of this version carries.
pub(crate) fn loader_of(version: u8) -> Loader {
    let (image, header) = (image(version), header(&image(version)));
    let section = header.section(SectionKind::Loader).unwrap();
    let bytes = &image[section.offset as usize..][..section.length as usize];
    Loader { digest: sha256::software(bytes), length: section.length as u32, security: 1 }
}

/// As the kernel does it: what is not permitted is not written.
pub(crate) struct Boot(pub(crate) Disk, pub(crate) Slot);

pub(crate) fn current(disk: &[u8]) -> Option<Current> {
    Current::of(COPIES.map(|at| &disk[at..at + SIZE]))
}

impl BootControl for Boot {
    fn read(&mut self) -> Result<Block, Errno> {
        current(&self.0.0.borrow().now).map(|current| current.block).ok_or(Errno::IO)
    }

    fn write(&mut self, block: &Block) -> Result<(), Errno> {
        let now = current(&self.0.0.borrow().now).ok_or(Errno::IO)?;
        let entry = now.block.slot(self.1);
        let booted = bootctl::permit::Booted {
            slot: Some(self.1),
            digest: entry.release_digest,
            rollback_index: entry.rollback_index,
            key_set: entry.key_set,
            signed_at: 0,
            loader: 1,
            recovery: false,
        };
        // What `remembered` says of every release here.
        let version = self.0.0.borrow().now[SLOTS[self.1.other() as usize] + release::HEADER_SIZE];
        let other = || bootctl::permit::Signed { signed_at: 0, key_set: 1, loader: Some(loader_of(version)) };
        bootctl::permit::permit(&now.block, block, &booted, other).map_err(|_| Errno::PERM)?;
        let write = now.next(block).ok_or(Errno::OVERFLOW)?;
        self.0.write(COPIES[write.copy], write.block.bytes());
        self.0.flush();
        Ok(())
    }
}

pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

/// All of a slot at once.
pub(crate) fn check(area: &[u8], header: &Header, source: &mut Bytes<'_>) -> Result<(), content::Fault> {
    let mut check = content::Check::new(area, header);
    while !check.step(source)? {}
    Ok(())
}

impl Source for Bytes<'_> {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        let from = self.0.get(at as usize..at as usize + into.len()).ok_or(Errno::NODATA)?;
        into.copy_from_slice(from);
        Ok(())
    }
}

pub(crate) fn put(disk: &mut [u8], slot: Slot, image: &[u8]) {
    disk[SLOTS[slot as usize]..][..image.len()].copy_from_slice(image);
}

pub(crate) fn put_block(disk: &mut [u8], block: Block) {
    let [write, _] = bootctl::first_writes(block);
    for at in COPIES {
        disk[at..at + SIZE].copy_from_slice(write.block.bytes());
    }
}

/// Slot a runs version 5, good; b holds what is given, which was good before.
pub(crate) fn machine(b: Option<&[u8]>) -> Vec<u8> {
    let (mut disk, a) = (vec![0; DISK], image(5));
    for (file, version) in LOADERS.into_iter().zip([5, 4]) {
        let (image, header) = (image(version), header(&image(version)));
        let section = header.section(SectionKind::Loader).unwrap();
        disk[file..][..section.length as usize]
            .copy_from_slice(&image[section.offset as usize..][..section.length as usize]);
    }
    put(&mut disk, Slot::A, &a);
    let mut block = Block::empty();
    if let Some(b) = b {
        put(&mut disk, Slot::B, b);
        block = change::mark_good(&change::arm(&block, Slot::B, &remembered(b), None), Slot::B, false, false);
    }
    block = change::mark_good(&change::arm(&block, Slot::A, &remembered(&a), None), Slot::A, b.is_some(), false);
    put_block(&mut disk, block);
    disk
}

pub(crate) fn run(disk: &Disk, running: Slot, release: &[u8], purpose: Purpose) -> Result<(), Failure> {
    run_with(disk, running, release, purpose, Some(&mut LoaderFiles(disk.clone(), false)))
}

pub(crate) fn run_with(
    disk: &Disk,
    running: Slot,
    release: &[u8],
    purpose: Purpose,
    mut loaders: Option<&mut LoaderFiles>,
) -> Result<(), Failure> {
    let slot = running.other();
    let mut install = Install::new(&release[..AREA_SIZE], &header(release), remembered(release), slot, purpose);
    let (mut part, mut boot) = (Part(disk.clone(), slot), Boot(disk.clone(), running));
    while !install.step(&mut Bytes(release), &mut part, loaders.as_deref_mut(), &mut boot)? {}
    Ok(())
}

/// What the loader boots: the version of the first candidate that is whole. The firmware must find a loader, and the block what it says of one.
pub(crate) fn booted(disk: &[u8]) -> Option<(Slot, u64)> {
    let block = current(disk)?.block;
    let [first, second] = loader_files(disk);
    if !(4..8).any(|version| holds(disk, first, &loader_of(version))) {
        return None;
    }
    if block.loader_trial().is_some_and(|trial| ![first, second].iter().any(|&file| holds(disk, file, &trial.loader))) {
        return None;
    }
    candidates(&block).into_iter().find_map(|slot| {
        let bytes = &disk[SLOTS[slot as usize]..][..SLOT_SIZE];
        let header = Header::parse(bytes).ok()?;
        let is_named = sha256::software(&bytes[..release::HEADER_SIZE]) == block.slot(slot).release_digest;
        let is_whole = check(&bytes[..AREA_SIZE], &header, &mut Bytes(bytes)).is_ok();
        (is_named && is_whole && header.rollback_index >= block.rollback_floor())
            .then_some((slot, header.rollback_index))
    })
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) old: usize,
    pub(crate) new: usize,
    pub(crate) neither: usize,
}

/// All the disks that a cut may leave behind, given to `look`.
pub(crate) fn cuts(start: &[u8], events: &[Event], look: &mut dyn FnMut(&[u8])) {
    let (mut stable, mut pending): (Vec<u8>, Vec<(usize, &[u8])>) = (start.to_vec(), Vec::new());
    look(&stable);
    for event in events {
        match event {
            Event::Flush => {
                pending.drain(..).for_each(|(at, bytes)| stable[at..at + bytes.len()].copy_from_slice(bytes));
                look(&stable);
            }
            Event::Write(at, bytes) => {
                pending.push((*at, bytes));
                subsets(&stable, &pending, look);
            }
        }
    }
}

pub(crate) fn subsets(stable: &[u8], pending: &[(usize, &[u8])], look: &mut dyn FnMut(&[u8])) {
    let (last, before) = pending.split_last().expect("just pushed");
    let all = (1u64 << before.len()) - 1;
    let each = (0..before.len()).flat_map(|index| [1 << index, all & !(1 << index)]);
    let chosen: Vec<u64> =
        if before.len() <= EXHAUSTIVE { (0..=all).collect() } else { [0, all].into_iter().chain(each).collect() };
    for mask in chosen {
        let mut disk = stable.to_vec();
        for (index, (at, bytes)) in before.iter().enumerate() {
            if mask >> index & 1 == 1 {
                disk[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
        look(&disk);
        let (at, bytes) = *last;
        let sectors = bytes.len().div_ceil(SECTOR);
        for torn in (1..=TORN).chain(sectors.saturating_sub(TORN)..=sectors) {
            let length = (torn * SECTOR).min(bytes.len());
            let mut head = disk.clone();
            head[at..at + length].copy_from_slice(&bytes[..length]);
            look(&head);
            let mut tail = disk.clone();
            tail[at + bytes.len() - length..at + bytes.len()].copy_from_slice(&bytes[bytes.len() - length..]);
            look(&tail);
        }
    }
}

/// Tries every cut of what was recorded.
pub(crate) fn sweep(start: &[u8], disk: &Disk, old: u64, new: u64) -> Report {
    let (mut report, events) = (Report::default(), disk.0.borrow().events.clone());
    cuts(start, &events, &mut |cut| {
        report.states += 1;
        match booted(cut) {
            Some((_, version)) if version == old => report.old += 1,
            Some((_, version)) if version == new => report.new += 1,
            _ => report.neither += 1,
        }
    });
    report
}
