//! Persistent files when something is wrong: a device that fails, a volume that is full, one that this code does not know; and much at once.

use super::data::{Disk, image};
use super::*;
use crate::PAGE_SIZE;
use crate::attributes::statistics;
use crate::data::{MountError, Options};
use crate::file::Allocate;
use crate::remove::unlink;
use crate::testing::{Fault, MemoryDevice, Operation};

fn fault(operation: Operation, after: u64, is_lasting: bool) -> Fault {
    Fault { operation, after, is_lasting }
}

#[test]
fn a_write_that_fails_is_told_once_to_each_and_tried_again() {
    let disk = Disk::new();
    let context = &disk.context;
    let file = open(context, &at("f"), O_CREAT | O_RDWR, 0o600).unwrap();
    let other = open(context, &at("f"), O_RDONLY, 0).unwrap();
    let elsewhere = open(context, &at("g"), O_CREAT | O_RDWR, 0o600).unwrap();
    disk.store.sync().unwrap();
    file.write(&mut Slice::new(&[3; 5000])).unwrap();
    disk.device.fail(fault(Operation::Write, 0, false));
    // Nobody waits for this write-back.
    assert_eq!(disk.store.work(), Err(Errno::EIO));
    assert_eq!(file.sync(true), Err(Errno::EIO));
    assert_eq!((file.sync(true), file.sync(false)), (Ok(()), Ok(())));
    assert_eq!((other.sync(false), other.sync(false)), (Err(Errno::EIO), Ok(())));
    assert_eq!(elsewhere.sync(false), Ok(()), "another file is not concerned");
    assert_eq!((elsewhere.sync_volume(), elsewhere.sync_volume()), (Err(Errno::EIO), Ok(())));
    assert_eq!(read(&disk.again().context, "f").unwrap(), [3; 5000], "the page was kept");
}

#[test]
fn a_truncation_that_failed_is_kept_and_ended_by_write_back() {
    let disk = Disk::new();
    let context = &disk.context;
    let free = statistics(&context.root).bfree;
    let file = open(context, &at("f"), O_CREAT | O_RDWR, 0o600).unwrap();
    for piece in 0..200u64 {
        file.write_at(piece * 2 * PAGE_SIZE as u64, &mut Slice::new(b"piece")).unwrap();
    }
    disk.store.close().unwrap();
    disk.store.shrink(usize::MAX);
    disk.device.fail(fault(Operation::Read, 0, true));
    assert_eq!(file.truncate(10), Err(Errno::EIO));
    drop(file);
    context.root.dentry().prune_unused();
    assert_eq!(disk.store.files(), 2, "nobody else knows");
    assert_eq!(disk.store.work(), Err(Errno::EIO));
    disk.device.heal();
    assert_eq!(stat(context, "f").unwrap().size, 10);
    disk.store.work().unwrap();
    context.root.dentry().prune_unused();
    assert_eq!(disk.store.files(), 1);
    let file = open(context, &at("f"), O_RDWR, 0).unwrap();
    file.truncate(3 * PAGE_SIZE as u64).unwrap();
    let mut wanted = vec![0; 3 * PAGE_SIZE];
    wanted[..5].copy_from_slice(b"piece");
    assert!(read(context, "f").unwrap() == wanted, "nothing comes back that was cut off");
    unlink(context, &at("f")).unwrap();
    drop(file);
    assert_eq!(statistics(&context.root).bfree, free);
    disk.again().check();
}

#[test]
fn a_flush_that_fails_is_told_to_all_who_have_a_file_open() {
    let disk = Disk::new();
    let files = ["f", "g"].map(|name| open(&disk.context, &at(name), O_CREAT | O_RDWR, 0o600).unwrap());
    files.iter().for_each(|file| {
        file.write(&mut Slice::new(&[3; 5000])).unwrap();
        file.sync(false).unwrap();
        file.write_at(0, &mut Slice::new(b"again")).unwrap();
    });
    disk.device.fail(fault(Operation::Flush, 0, false));
    assert_eq!(files[0].sync(true), Err(Errno::EIO));
    assert_eq!((files[0].sync(true), files[1].sync(true), files[1].sync(true)), (Ok(()), Err(Errno::EIO), Ok(())));
}

#[test]
fn a_log_that_cannot_be_written_makes_the_volume_read_only() {
    for operation in [Operation::Write, Operation::Flush] {
        let disk = Disk::new();
        let context = &disk.context;
        write(context, "kept", b"before").unwrap();
        disk.store.sync().unwrap();
        let file = open(context, &at("new"), O_CREAT | O_RDWR, 0o600).unwrap();
        disk.device.fail(fault(operation, 0, true));
        assert_eq!(file.sync(false), Err(Errno::EIO));
        assert!(disk.store.has_failed() && context.root.mount().is_read_only());
        assert_eq!(mkdir(context, &at("d"), 0o755), Err(Errno::EROFS));
        assert_eq!(file.write(&mut Slice::new(b"x")), Err(Errno::EROFS));
        assert_eq!(
            (file.sync(true), disk.store.sync(), disk.store.close()),
            (Err(Errno::EIO), Err(Errno::EIO), Err(Errno::EIO))
        );
        assert_eq!(read(context, "kept").unwrap(), b"before", "reading goes on");
        disk.device.heal();
        assert_eq!(file.sync(false), Err(Errno::EIO), "what is in the log is not known");
        let after = Disk::of(disk.device.image());
        assert_eq!(read(&after.context, "kept").unwrap(), b"before");
        after.check();
    }
}

/// Leaves a volume with many changed blocks of metadata; gives how many writes that took.
fn left(disk: &Disk, has_memory: bool) -> u64 {
    let context = &disk.context;
    for number in 0..100u8 {
        let name = std::format!("d{number}");
        mkdir(context, &at(&name), 0o755).unwrap();
        write(context, &std::format!("{name}/file"), &[number; 10]).unwrap();
    }
    let before = disk.device.count(Operation::Write);
    WITHOUT_MEMORY.set(!has_memory);
    let result = disk.store.close();
    WITHOUT_MEMORY.set(false);
    assert_eq!(result, Ok(()));
    disk.device.count(Operation::Write) - before
}

#[test]
fn without_memory_a_commit_takes_more_turns_and_gets_through() {
    let (rich, poor) = (Disk::new(), Disk::new());
    let (few, many) = (left(&rich, true), left(&poor, false));
    assert!(many > few + 15, "{few} writes with memory, {many} without");
    assert!(!poor.store.has_failed());
    for disk in [rich, poor] {
        let again = disk.again();
        for number in 0..100u8 {
            assert_eq!(read(&again.context, &std::format!("d{number}/file")).unwrap(), [number; 10]);
        }
        again.check();
    }
}

/// Whatever fails at any place, nothing panics or hangs, and what was made to last before is found by the next one who mounts it.
#[test]
fn a_device_that_fails_anywhere_loses_nothing_that_lasted() {
    for operation in [Operation::Read, Operation::Write, Operation::Flush] {
        for after in 0..25 {
            let disk = Disk::new();
            let context = &disk.context;
            for number in 0..30u8 {
                write(context, &std::format!("kept{number}"), &[number; 3000]).unwrap();
            }
            disk.store.close().unwrap();
            let disk = Disk::of(disk.device.image());
            let context = &disk.context;
            disk.device.fail(fault(operation, after, after % 2 == 0));
            for number in 0..30u8 {
                let _ = write(context, &std::format!("new{number}"), &[number; 9000]);
                let _ = unlink(context, &at(&std::format!("new{}", number / 2)));
                let _ = read(context, &std::format!("kept{number}")).map(|bytes| assert_eq!(bytes, [number; 3000]));
                if number % 4 == 0 {
                    let _ = disk.store.work();
                }
                disk.cache.reclaim(10);
                disk.store.shrink(10);
            }
            let _ = disk.store.close();
            disk.device.heal();
            let _ = disk.store.sync();
            let after = Disk::of(disk.device.image());
            for number in 0..30u8 {
                assert_eq!(read(&after.context, &std::format!("kept{number}")).unwrap(), [number; 3000]);
            }
            after.check();
        }
    }
}

#[test]
fn a_full_volume_keeps_what_it_took() {
    let disk = Disk::new();
    let context = &disk.context;
    let free = statistics(&context.root).bfree;
    let file = open(context, &at("f"), O_CREAT | O_RDWR, 0o644).unwrap();
    let bytes: Vec<u8> = (0..free as usize * PAGE_SIZE).map(|at| (at / 9) as u8).collect();
    // What was set aside for maps, and then not needed, may still take a few after the first refusal.
    let fill = |file: &OpenFile<Host>| {
        let mut count = 0;
        loop {
            match file.write(&mut Slice::new(&bytes[count..])) {
                Ok(more) => count += more,
                Err(error) => break (count, error),
            }
        }
    };
    let (count, error) = fill(&file);
    assert_eq!(error, Errno::ENOSPC);
    assert!(count < bytes.len() && count > bytes.len() * 9 / 10, "{count} of {}", bytes.len());
    assert_eq!(file.allocate(Allocate::Extend, 0, 2 * bytes.len() as u64), Err(Errno::ENOSPC));
    assert_eq!(file.sync(false), Ok(()), "what was taken has room");
    let other = open(context, &at("g"), O_CREAT | O_RDWR, 0o644).unwrap();
    let (rest, error) = fill(&other);
    assert!(rest <= 20 * PAGE_SIZE && error == Errno::ENOSPC, "{rest} bytes, then {error:?}");
    let again = disk.again();
    assert!(read(&again.context, "f").unwrap() == bytes[..count]);
    assert!(read(&again.context, "g").unwrap() == bytes[..rest]);
    unlink(&again.context, &at("f")).unwrap();
    unlink(&again.context, &at("g")).unwrap();
    assert_eq!(statistics(&again.context.root).bfree, free);
    write(&again.context, "g", &bytes[..count]).unwrap();
    again.check();
}

#[test]
fn room_is_made_for_later_and_given_back() {
    let disk = Disk::new();
    let context = &disk.context;
    let file = open(context, &at("f"), O_CREAT | O_RDWR, 0o644).unwrap();
    let (size, free) = (PAGE_SIZE as u64, statistics(&context.root).bfree);
    let blocks = || file.metadata().blocks / 8;
    file.write_at(3 * size, &mut Slice::new(&[7; 3 * PAGE_SIZE])).unwrap();
    file.allocate(Allocate::Keep, 0, 20 * size).unwrap();
    assert_eq!((blocks(), file.metadata().size), (20, 6 * size));
    file.allocate(Allocate::Extend, 0, 10 * size + 1).unwrap();
    assert_eq!((blocks(), file.metadata().size), (20, 10 * size + 1));
    file.sync(false).unwrap();
    assert_eq!((file.seek(0, SEEK_DATA), file.seek(3 * size as i64, SEEK_HOLE)), (Ok(3 * size), Ok(6 * size)));
    file.allocate(Allocate::Punch, 3 * size + 10, size).unwrap();
    let mut wanted = vec![0; 10 * PAGE_SIZE + 1];
    wanted[3 * PAGE_SIZE..6 * PAGE_SIZE].fill(7);
    wanted[3 * PAGE_SIZE + 10..4 * PAGE_SIZE + 10].fill(0);
    assert!(read(context, "f").unwrap() == wanted);
    file.allocate(Allocate::Punch, 0, 5 * size).unwrap();
    wanted[..5 * PAGE_SIZE].fill(0);
    assert_eq!(blocks(), 15);
    let again = disk.again();
    assert!(read(&again.context, "f").unwrap() == wanted);
    drop(file);
    open(&again.context, &at("f"), O_RDWR | O_TRUNC, 0).unwrap();
    assert_eq!(statistics(&again.context.root).bfree, free);
    again.check();
}

#[test]
fn bytes_written_through_a_mapping_last() {
    let disk = Disk::new();
    let context = &disk.context;
    let file = open(context, &at("f"), O_CREAT | O_RDWR, 0o644).unwrap();
    file.truncate(3 * PAGE_SIZE as u64).unwrap();
    assert!(file.file().unwrap().page(3, true).is_err_and(|error| error == Errno::ENXIO));
    let mapped = file.file().unwrap().page(1, true).unwrap();
    let put = |byte: u8| mapped.change(&mut |bytes| bytes.fill(byte));
    for byte in 1..4 {
        put(byte);
        file.sync(true).unwrap();
        assert_eq!(read(&Disk::of(disk.device.image()).context, "f").unwrap()[5000], byte, "msync");
    }
    assert_eq!(read(context, "f").unwrap()[4096..8192], [3; 4096], "calls see what was put");
    put(9);
    drop(mapped);
    let again = disk.again();
    assert_eq!(read(&again.context, "f").unwrap()[4096..8192], [9; 4096]);
    assert_eq!((again.cache.statistics().dirty, disk.cache.statistics().dirty), (0, 0));
    // On a volume without room, the fault says so.
    let free = statistics(&context.root).bfree as usize;
    let filler = open(context, &at("filler"), O_CREAT | O_RDWR, 0o644).unwrap();
    filler.write(&mut Slice::new(&vec![1; free * PAGE_SIZE])).unwrap();
    assert!(file.file().unwrap().page(0, true).is_err_and(|error| error == Errno::ENOSPC));
}

#[test]
fn what_is_on_the_device_decides() {
    let mount = |image: Vec<u8>| Disk::on(Arc::new(MemoryDevice::from_image(image)), Options::default());
    let with_feature = |offset: usize| {
        let mut image = image();
        for copy in image.chunks_mut(PAGE_SIZE).take(2) {
            copy[offset] |= 4;
            let sum = datafs::layout::crc32c(&copy[12..]);
            copy[8..12].copy_from_slice(&sum.to_le_bytes());
        }
        image
    };
    let refused = |image: Vec<u8>| mount(image).err().map(|error| std::format!("{error}"));
    assert_eq!(refused(with_feature(40)).unwrap(), "the volume needs unknown features 0x4");
    let disk = mount(with_feature(32)).unwrap();
    assert!(disk.store.is_read_only() && disk.context.root.mount().is_read_only());
    assert_eq!(mkdir(&disk.context, &at("d"), 0o755), Err(Errno::EROFS));
    assert_eq!((disk.store.sync(), disk.store.close()), (Ok(()), Ok(())));
    assert_eq!(disk.device.count(Operation::Write), 0);
    assert!(refused(vec![0; 1000 * PAGE_SIZE]).unwrap().starts_with("no datafs"));
    assert!(refused(image()[..800 * PAGE_SIZE].to_vec()).unwrap().contains("the device 800"));
    let device = Arc::new(MemoryDevice::from_image(image()));
    device.remove();
    assert_eq!(Disk::on(device, Options::default()).err(), Some(MountError::Device(Errno::EIO)));
}

#[test]
fn a_log_is_read_without_being_written() {
    let disk = Disk::new();
    write(&disk.context, "f", b"in the log").unwrap();
    disk.store.sync().unwrap();
    let device = Arc::new(MemoryDevice::from_image(disk.device.image()).read_only());
    let later = Disk::on(device, Options::default()).unwrap();
    assert_eq!(read(&later.context, "f").unwrap(), b"in the log");
    assert_eq!(write(&later.context, "f", b"x"), Err(Errno::EROFS));
    assert!(later.store.is_idle());
}

/// Threads that write, sync, cut, map and read the same files, with write-back and reclaim beside them: nothing hangs, and each finds his own bytes.
#[test]
fn many_threads_on_one_volume() {
    let disk = Arc::new(Disk::new());
    let is_done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let helper = {
        let (disk, is_done) = (disk.clone(), is_done.clone());
        std::thread::spawn(move || {
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                disk.store.work().unwrap();
                disk.cache.reclaim(20);
                disk.store.shrink(5);
            }
        })
    };
    let threads: Vec<_> = (1..5u8)
        .map(|number| {
            let disk = disk.clone();
            std::thread::spawn(move || {
                let own = open(&disk.context, &at(&std::format!("f{number}")), O_CREAT | O_RDWR, 0o644).unwrap();
                let shared = open(&disk.context, &at("shared"), O_CREAT | O_RDWR, 0o644).unwrap();
                for round in 0..40u64 {
                    let place = round * 1111 % 50_000;
                    own.write_at(place, &mut Slice::new(&[number; 5000])).unwrap();
                    let mut bytes = [0; 5000];
                    own.read_at(place, &mut SliceMut::new(&mut bytes)).unwrap();
                    assert_eq!(bytes, [number; 5000]);
                    shared.write_at(round % 3 * 9000, &mut Slice::new(&[number; 8000])).unwrap();
                    match round % 8 {
                        0 => own.sync(false).unwrap(),
                        1 => own.sync(true).unwrap(),
                        2 => shared.truncate(round * 500).unwrap(),
                        3 => drop(shared.file().unwrap().page(round % 4, true)),
                        4 => shared.allocate(Allocate::Punch, 5000, 9000).unwrap(),
                        5 => shared.allocate(Allocate::Extend, 3000, 20_000).unwrap(),
                        _ => {
                            let name = std::format!("t{number}-{round}");
                            write(&disk.context, &name, &[number; 6000]).unwrap();
                            unlink(&disk.context, &at(&name)).unwrap();
                        }
                    }
                }
                own.sync(false).unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    helper.join().unwrap();
    let again = disk.again();
    for number in 1..5u8 {
        let bytes = read(&again.context, &std::format!("f{number}")).unwrap();
        assert!(bytes.iter().all(|&byte| byte == number || byte == 0));
    }
    again.check();
}
