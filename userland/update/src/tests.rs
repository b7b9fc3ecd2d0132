//! Every power cut of every step: a disk that loses what was not flushed, in every order in which it may, and the loader's own choice afterwards.
//!
//! The disk keeps what is stable and a list of what was written since the last flush. After a cut any subset of that list may have reached it, and of each write any
//! number of whole sectors. What the loader then boots must be the old release or the new one, whole; and an update from there must work.

use crate::install::{Failure, Install, Purpose};
use crate::model::*;
use crate::{BootControl, Loaders, Slot as SlotDevice, Source};
use bootctl::{Loader, Slot, candidates, change};
use release::{AREA_SIZE, Header};
use rt::Errno;

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
