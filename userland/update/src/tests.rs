//! Every power cut of every step: a disk that loses what was not flushed, in every order in which it may, and the loader's own choice afterwards.
//!
//! The disk keeps what is stable and a list of what was written since the last flush. After a cut any subset of that list may have reached it, and of each write any
//! number of whole sectors. What the loader then boots must be the old release or the new one, whole; and an update from there must work.

use crate::content;
use crate::install::{Failure, Install, Purpose};
use crate::{BootControl, Loaders, Slot as SlotDevice, Source};
use bootctl::{Block, Current, Loader, SIZE, Slot, candidates, change};
use release::{AREA_SIZE, Header, Section, SectionKind, Text};
use rt::Errno;
use std::cell::RefCell;
use std::rc::Rc;

const SECTOR: usize = 512;
/// Of a write, so many prefixes and suffixes of sectors are tried, besides all and nothing.
const TORN: usize = 2;
/// So many writes without a flush between them are tried in all subsets; of more, each alone and all but each.
const EXHAUSTIVE: usize = 8;

/// The parts of the disk that an update changes, one behind the other: both copies of the block, both slots, the sector that says which loader file is the
/// first, both loader files.
const COPIES: [usize; 2] = [0, SIZE];
const SLOTS: [usize; 2] = [2 * SIZE, 2 * SIZE + SLOT_SIZE];
const SLOT_SIZE: usize = 32 << 10;
const FIRST: usize = SLOTS[1] + SLOT_SIZE;
const LOADERS: [usize; 2] = [FIRST + SECTOR, FIRST + SECTOR + LOADER_SIZE];
const LOADER_SIZE: usize = 8 << 10;
const DISK: usize = LOADERS[1] + LOADER_SIZE;

/// A release with tiny sections that differ from version to version.
fn image(version: u8) -> Vec<u8> {
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

fn header(image: &[u8]) -> Header {
    Header::parse(image).unwrap()
}

fn remembered(image: &[u8]) -> change::Release {
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
enum Event {
    Write(usize, Vec<u8>),
    Flush,
}

#[derive(Default)]
struct Recorder {
    now: Vec<u8>,
    events: Vec<Event>,
    /// Flushes that are left out: the installer without one of them.
    forgotten: Option<usize>,
    flushes: usize,
    /// Bytes that were read of slots.
    read: usize,
}

#[derive(Clone)]
struct Disk(Rc<RefCell<Recorder>>);

impl Disk {
    fn of(now: Vec<u8>) -> Self {
        Self(Rc::new(RefCell::new(Recorder { now, ..Recorder::default() })))
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        let mut disk = self.0.borrow_mut();
        disk.now[at..at + bytes.len()].copy_from_slice(bytes);
        disk.events.push(Event::Write(at, bytes.to_vec()));
    }

    fn flush(&self) {
        let mut disk = self.0.borrow_mut();
        disk.flushes += 1;
        if disk.forgotten != Some(disk.flushes) {
            disk.events.push(Event::Flush);
        }
    }
}

struct Part(Disk, Slot);

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
struct LoaderFiles(Disk, bool);

/// Where the first file lies, and the second.
fn loader_files(disk: &[u8]) -> [usize; 2] {
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

fn holds(disk: &[u8], file: usize, loader: &Loader) -> bool {
    sha256::software(&disk[file..][..loader.length as usize]) == loader.digest
}

/// The loader that a release of this version carries.
fn loader_of(version: u8) -> Loader {
    let (image, header) = (image(version), header(&image(version)));
    let section = header.section(SectionKind::Loader).unwrap();
    let bytes = &image[section.offset as usize..][..section.length as usize];
    Loader { digest: sha256::software(bytes), length: section.length as u32, security: 1 }
}

/// As the kernel does it: what is not permitted is not written.
struct Boot(Disk, Slot);

fn current(disk: &[u8]) -> Option<Current> {
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

struct Bytes<'a>(&'a [u8]);

/// All of a slot at once.
fn check(area: &[u8], header: &Header, source: &mut Bytes<'_>) -> Result<(), content::Fault> {
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

fn put(disk: &mut [u8], slot: Slot, image: &[u8]) {
    disk[SLOTS[slot as usize]..][..image.len()].copy_from_slice(image);
}

fn put_block(disk: &mut [u8], block: Block) {
    let [write, _] = bootctl::first_writes(block);
    for at in COPIES {
        disk[at..at + SIZE].copy_from_slice(write.block.bytes());
    }
}

/// Slot a runs version 5, good; b holds what is given, which was good before.
fn machine(b: Option<&[u8]>) -> Vec<u8> {
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

fn run(disk: &Disk, running: Slot, release: &[u8], purpose: Purpose) -> Result<(), Failure> {
    run_with(disk, running, release, purpose, Some(&mut LoaderFiles(disk.clone(), false)))
}

fn run_with(
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
fn booted(disk: &[u8]) -> Option<(Slot, u64)> {
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
struct Report {
    states: usize,
    old: usize,
    new: usize,
    neither: usize,
}

/// All the disks that a cut may leave behind, given to `look`.
fn cuts(start: &[u8], events: &[Event], look: &mut dyn FnMut(&[u8])) {
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

fn subsets(stable: &[u8], pending: &[(usize, &[u8])], look: &mut dyn FnMut(&[u8])) {
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
fn sweep(start: &[u8], disk: &Disk, old: u64, new: u64) -> Report {
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

#[test]
fn every_cut_of_an_install_boots_old_or_new() {
    for there in [None, Some(image(4))] {
        let start = machine(there.as_deref());
        let disk = Disk::of(start.clone());
        run(&disk, Slot::A, &image(6), Purpose::Trial).unwrap();
        assert_eq!(booted(&disk.0.borrow().now), Some((Slot::B, 6)));
        let report = sweep(&start, &disk, 5, 6);
        println!("{report:?}");
        assert_eq!(report.neither, 0, "{report:?}");
        assert!(report.old > 1000 && report.new > 0, "{report:?}");
    }
}

/// After each cut the update is done again, and must work.
#[test]
fn an_install_that_was_cut_goes_on() {
    let start = machine(Some(&image(4)));
    let disk = Disk::of(start.clone());
    run(&disk, Slot::A, &image(6), Purpose::Trial).unwrap();
    let (mut states, mut whole) = (0, 0);
    let events = disk.0.borrow().events.clone();
    cuts(&start, &events, &mut |cut| {
        states += 1;
        if booted(cut) != Some((Slot::A, 5)) || states % 7 != 0 {
            return;
        }
        let again = Disk::of(cut.to_vec());
        run(&again, Slot::A, &image(6), Purpose::Trial).unwrap();
        assert_eq!(booted(&again.0.borrow().now), Some((Slot::B, 6)));
        whole += 1;
    });
    assert!(whole > 100, "{whole} of {states}");
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let disk = Disk::of(machine(Some(&image(6))));
    let mut install =
        Install::new(&image(6)[..AREA_SIZE], &header(&image(6)), remembered(&image(6)), Slot::B, Purpose::Trial);
    let release = image(6);
    let (mut part, mut boot) = (Part(disk.clone(), Slot::B), Boot(disk.clone(), Slot::A));
    let mut loaders = LoaderFiles(disk.clone(), false);
    while !install.step(&mut Bytes(&release), &mut part, Some(&mut loaders), &mut boot).unwrap() {}
    assert_eq!(install.written(), 0);
    assert_eq!(booted(&disk.0.borrow().now), Some((Slot::B, 6)));
}

/// All of it is read back, whatever was looked at before.
#[test]
fn of_what_is_there_a_page_is_read_and_more_only_when_that_is_the_same() {
    let release = image(6);
    let later = {
        let mut other = release.clone();
        other[AREA_SIZE + 4096] ^= 1;
        other
    };
    let length = release.len();
    for (there, looked_at, written) in [
        (Some(&image(4)), 4096, length),
        (None, 4096, length),
        (Some(&later), length, length),
        (Some(&release), length, 0),
    ] {
        let disk = Disk::of(machine(there.map(Vec::as_slice)));
        let mut install =
            Install::new(&release[..AREA_SIZE], &header(&release), remembered(&release), Slot::B, Purpose::Trial);
        let (mut part, mut boot) = (Part(disk.clone(), Slot::B), Boot(disk.clone(), Slot::A));
        while !install.step(&mut Bytes(&release), &mut part, None::<&mut LoaderFiles>, &mut boot).unwrap() {}
        assert_eq!((disk.0.borrow().read - length, install.written()), (looked_at, written as u64));
        assert_eq!(booted(&disk.0.borrow().now), Some((Slot::B, 6)));
    }
}

#[test]
fn every_cut_of_good_and_commit_and_rollback_boots_old_or_new() {
    let start = {
        let disk = Disk::of(machine(None));
        run(&disk, Slot::A, &image(6), Purpose::Trial).unwrap();
        disk.0.borrow().now.clone()
    };
    let disk = Disk::of(start.clone());
    let mut boot = Boot(disk.clone(), Slot::B);
    assert_eq!(LoaderFiles(disk.clone(), false).swap(), Err(Errno::PERM), "not in a boot through the old one");
    LoaderFiles(disk.clone(), true).swap().unwrap();
    let block = boot.read().unwrap();
    boot.write(&change::mark_good(&block, Slot::B, true, false)).unwrap();
    let report = sweep(&start, &disk, 5, 6);
    assert_eq!((report.neither, report.old), (0, 0), "{report:?}");
    let now = disk.0.borrow().now.clone();
    assert!(holds(&now, loader_files(&now)[0], &loader_of(6)) && holds(&now, loader_files(&now)[1], &loader_of(5)));
    // By hand back to the old one.
    let good = disk.0.borrow().now.clone();
    let disk = Disk::of(good.clone());
    let mut boot = Boot(disk.clone(), Slot::B);
    let block = boot.read().unwrap();
    boot.write(&change::roll_back(&block, Slot::B, "ordered", 1)).unwrap();
    let report = sweep(&good, &disk, 5, 6);
    assert!(report.neither == 0 && report.old > 0 && report.new > 0, "{report:?}");
    // Or no way back: the running one is copied.
    let disk = Disk::of(good.clone());
    let mut boot = Boot(disk.clone(), Slot::B);
    let block = boot.read().unwrap();
    boot.write(&change::commit(&block, Slot::B, 1)).unwrap();
    run(&disk, Slot::B, &image(6), Purpose::Copy).unwrap();
    let report = sweep(&good, &disk, 5, 6);
    assert_eq!((report.neither, report.old), (0, 0), "{report:?}");
    let done = current(&disk.0.borrow().now).unwrap().block;
    assert_eq!(candidates(&done).as_slice(), [Slot::B, Slot::A]);
    assert_eq!(done.slot(Slot::A).release_digest, done.slot(Slot::B).release_digest);
    // A cut between leaves one slot, and the word that it is to become two: whoever takes it up makes them.
    let (mut states, mut taken_up) = (0, 0);
    let events = disk.0.borrow().events.clone();
    cuts(&good, &events, &mut |cut| {
        let block = current(cut).unwrap().block;
        let (is_committed, slots) = (block.rollback_floor() == 6, candidates(&block).len());
        assert!(slots == 2 || change::wants_copy(&block, Slot::B), "{block:?}");
        assert!(is_committed || !change::wants_copy(&block, Slot::B), "{block:?}");
        states += 1;
        if change::wants_copy(&block, Slot::B) && states % 50 == 0 {
            let disk = Disk::of(cut.to_vec());
            run(&disk, Slot::B, &image(6), Purpose::Copy).unwrap();
            let block = current(&disk.0.borrow().now).unwrap().block;
            assert!(candidates(&block).len() == 2 && !block.is_copy_due());
            taken_up += 1;
        }
    });
    assert!(taken_up > 10, "{taken_up} of {states}");
}

/// What is on the disk for sure.
fn stable(start: &[u8], events: &[Event]) -> Vec<u8> {
    let (mut disk, mut pending) = (start.to_vec(), Vec::new());
    for event in events {
        match event {
            Event::Write(at, bytes) => pending.push((*at, bytes)),
            Event::Flush => {
                pending.drain(..).for_each(|(at, bytes)| disk[at..at + bytes.len()].copy_from_slice(bytes));
            }
        }
    }
    disk
}

/// Each flush is needed: without any one of them some cut leaves a slot or a loader that would be booted and is not whole, or the update is not what it was said to be:
/// installed. Where a loader is settled too, that covers the slot.
#[test]
fn without_any_one_flush_the_sweep_says_no() {
    let start = machine(Some(&image(4)));
    let install = |forgotten, with_loader: bool| {
        let disk = Disk::of(start.clone());
        disk.0.borrow_mut().forgotten = forgotten;
        let mut files = LoaderFiles(disk.clone(), false);
        run_with(&disk, Slot::A, &image(6), Purpose::Trial, with_loader.then_some(&mut files)).unwrap();
        let recorder = disk.0.borrow();
        (recorder.events.clone(), recorder.flushes)
    };
    for (with_loader, needed) in
        [(false, vec!["unbootable", "slot", "armed"]), (true, vec!["unbootable", "", "loader", "armed"])]
    {
        let (events, flushes) = install(None, with_loader);
        assert_eq!(flushes, needed.len());
        cuts(&start, &events, &mut |cut| assert!(is_sound(cut)));
        assert_eq!(booted(&stable(&start, &events)), Some((Slot::B, 6)));
        for (forgotten, what) in (1..).zip(needed).filter(|(_, what)| !what.is_empty()) {
            let (events, _) = install(Some(forgotten), with_loader);
            let mut faults = 0;
            cuts(&start, &events, &mut |cut| faults += usize::from(!is_sound(cut)));
            faults += usize::from(booted(&stable(&start, &events)) != Some((Slot::B, 6)));
            assert!(faults > 0, "the flush of {what} is not needed: {with_loader}");
        }
    }
    // The files change places, and only then is the block told that all is good.
    let disk = Disk::of(stable(&start, &install(None, true).0));
    let before = disk.0.borrow().now.clone();
    disk.0.borrow_mut().forgotten = Some(1);
    LoaderFiles(disk.clone(), true).swap().unwrap();
    let mut boot = Boot(disk.clone(), Slot::B);
    let block = boot.read().unwrap();
    boot.write(&change::mark_good(&block, Slot::B, true, false)).unwrap();
    let mut faults = 0;
    let events = disk.0.borrow().events.clone();
    cuts(&before, &events, &mut |cut| {
        let is_good = current(cut).unwrap().block.slot(Slot::B).is_good();
        faults += usize::from(is_good && !holds(cut, loader_files(cut)[0], &loader_of(6)));
    });
    assert!(faults > 0, "the flush of the directory is not needed");
}

/// Every slot that the block would boot is whole.
fn is_sound(disk: &[u8]) -> bool {
    let Some(current) = current(disk) else { return false };
    let is_there = |loader: &Loader| loader_files(disk).iter().any(|&file| holds(disk, file, loader));
    if current.block.loader_trial().is_some_and(|trial| !is_there(&trial.loader)) {
        return false;
    }
    candidates(&current.block).into_iter().all(|slot| {
        let bytes = &disk[SLOTS[slot as usize]..][..SLOT_SIZE];
        let digest = current.block.slot(slot).release_digest;
        Header::parse(bytes).is_ok_and(|header| {
            sha256::software(&bytes[..release::HEADER_SIZE]) == digest
                && check(&bytes[..AREA_SIZE], &header, &mut Bytes(bytes)).is_ok()
        })
    })
}

/// What was written and is not what comes back, however it got there.
#[test]
fn what_is_read_back_is_held_to_what_was_verified() {
    struct Lying(Part, usize);
    impl Source for Lying {
        fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
            self.0.read(at, into)
        }
    }
    impl SlotDevice for Lying {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
            self.0.write(at, bytes)
        }
        fn settle(&mut self) -> Result<(), Errno> {
            // The disk is altered behind the cache.
            self.0.0.0.borrow_mut().now[SLOTS[1] + self.1] ^= 1;
            self.0.settle()
        }
    }
    let release = image(6);
    let last = release.len() - 1;
    for at in [0, 700, 4096, AREA_SIZE - 1, AREA_SIZE, AREA_SIZE + 999, AREA_SIZE + 1001, 20480, last] {
        let disk = Disk::of(machine(None));
        let mut install =
            Install::new(&release[..AREA_SIZE], &header(&release), remembered(&release), Slot::B, Purpose::Trial);
        let (mut part, mut boot) = (Lying(Part(disk.clone(), Slot::B), at), Boot(disk.clone(), Slot::A));
        let end = loop {
            match install.step(&mut Bytes(&release), &mut part, None::<&mut LoaderFiles>, &mut boot) {
                Ok(false) => {}
                end => break end,
            }
        };
        assert!(matches!(end, Err(Failure::ReadBack(_))), "byte {at}: {end:?}");
        assert_eq!(booted(&disk.0.borrow().now), Some((Slot::A, 5)));
    }
    // A release that is shorter than it says.
    let disk = Disk::of(machine(None));
    let mut install =
        Install::new(&release[..AREA_SIZE], &header(&release), remembered(&release), Slot::B, Purpose::Trial);
    let (mut part, mut boot) = (Part(disk.clone(), Slot::B), Boot(disk.clone(), Slot::A));
    let end = loop {
        match install.step(&mut Bytes(&release[..last]), &mut part, None::<&mut LoaderFiles>, &mut boot) {
            Ok(false) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Err(Failure::Source(0, Errno::NODATA))), "{end:?}");
}
