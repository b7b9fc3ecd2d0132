//! Bytes in a tmpfs file, against a vector; limits; reading directories.

use proptest::prelude::*;

use super::data::Disk;
use super::*;
use crate::PAGE_SIZE;
use crate::attributes::statistics;
use crate::create::mknod;
use crate::file::Allocate;
use crate::remove::unlink;

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Append(Vec<u8>),
    Truncate(u64),
    Read(u64, usize),
    Map(u64),
    Seek(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let place = 0u64..40_000;
    let bytes = prop::collection::vec(1u8.., 0..6000);
    prop_oneof![
        (place.clone(), bytes.clone()).prop_map(|(at, bytes)| Step::Write(at, bytes)),
        bytes.prop_map(Step::Append),
        place.clone().prop_map(Step::Truncate),
        (place.clone(), 0usize..9000).prop_map(|(at, count)| Step::Read(at, count)),
        (0u64..10).prop_map(Step::Map),
        place.prop_map(Step::Seek),
    ]
}

/// Does the steps on a file of a tree; afterwards it is empty.
fn run(context: &PathContext<Host>, steps: Vec<Step>, now_and_then: &mut dyn FnMut()) -> Result<(), TestCaseError> {
    let file = open(context, &at("f"), O_CREAT | O_RDWR, 0o644).unwrap();
    let appending = open(context, &at("f"), O_WRONLY | O_APPEND, 0).unwrap();
    let free = statistics(file.path()).bfree;
    let mut model: Vec<u8> = Vec::new();
    for step in steps {
        now_and_then();
        match step {
            Step::Write(at, bytes) => {
                prop_assert_eq!(file.write_at(at, &mut Slice::new(&bytes)), Ok(bytes.len()));
                if !bytes.is_empty() {
                    let end = at as usize + bytes.len();
                    model.resize(model.len().max(end), 0);
                    model[at as usize..end].copy_from_slice(&bytes);
                }
            }
            Step::Append(bytes) => {
                if model.len() + bytes.len() > 200_000 {
                    continue;
                }
                prop_assert_eq!(appending.write(&mut Slice::new(&bytes)), Ok(bytes.len()));
                model.extend(bytes);
            }
            Step::Truncate(size) => {
                file.truncate(size).unwrap();
                model.resize(size as usize, 0);
            }
            Step::Read(at, count) => {
                let mut bytes = vec![0; count];
                let read = file.read_at(at, &mut SliceMut::new(&mut bytes)).unwrap();
                let start = model.len().min(at as usize);
                let wanted = &model[start..model.len().min(start + count)];
                prop_assert_eq!(&bytes[..read], wanted);
            }
            Step::Map(index) => {
                let page = file.file().unwrap().page(index, false);
                let start = index as usize * crate::PAGE_SIZE;
                if start >= model.len() {
                    prop_assert_eq!(page.err(), Some(Errno::ENXIO));
                } else {
                    let mut wanted = model[start..model.len().min(start + crate::PAGE_SIZE)].to_vec();
                    wanted.resize(crate::PAGE_SIZE, 0);
                    prop_assert!(page.is_ok_and(|page| page.bytes() == wanted));
                }
            }
            Step::Seek(at) => {
                let hole = file.seek(at as i64, SEEK_HOLE);
                let data = file.seek(at as i64, SEEK_DATA);
                if at >= model.len() as u64 {
                    prop_assert_eq!((hole, data), (Err(Errno::ENXIO), Err(Errno::ENXIO)));
                } else {
                    let hole = hole.unwrap();
                    prop_assert!(hole >= at && hole <= model.len() as u64);
                    // Between here and the next data there are only zeroes.
                    let end = data.unwrap_or(model.len() as u64);
                    prop_assert!(end >= at && model[at as usize..end as usize].iter().all(|&byte| byte == 0));
                }
            }
        }
        prop_assert_eq!(file.metadata().size, model.len() as u64);
    }
    file.truncate(0).unwrap();
    prop_assert_eq!(statistics(file.path()).bfree, free, "no page is left behind");
    Ok(())
}

proptest! {
    #[test]
    fn a_file_is_what_was_written(steps in prop::collection::vec(step(), 1..40)) {
        run(&tree(), steps, &mut || ())?;
    }

    #[test]
    fn a_persistent_file_is_what_was_written(steps in prop::collection::vec(step(), 1..40), when in any::<u64>()) {
        let disk = Disk::new();
        let mut whens = when.rotate_left(13);
        run(&disk.context, steps, &mut || {
            whens = whens.rotate_left(7) ^ when;
            match whens % 4 {
                0 => disk.store.sync().unwrap(),
                // Pages that are clean go, and come back from the device.
                1 => assert!(disk.cache.reclaim(usize::MAX) < 100),
                _ => {}
            }
        })?;
    }
}

#[test]
fn a_full_volume_says_so_and_has_room_again() {
    let context = tree();
    let file = open(&context, &at("f"), O_CREAT | O_RDWR, 0o644).unwrap();
    let bytes = vec![7; crate::PAGE_SIZE * (SMALL.pages_max as usize + 3)];
    assert_eq!(
        file.write(&mut Slice::new(&bytes)),
        Ok(crate::PAGE_SIZE * SMALL.pages_max as usize),
        "what fits is written"
    );
    assert_eq!(file.write(&mut Slice::new(&bytes)), Err(Errno::ENOSPC));
    assert_eq!(statistics(file.path()).bfree, 0);
    unlink(&context, &at("f")).unwrap();
    assert_eq!(statistics(&context.root).bfree, 0, "still open");
    drop(file);
    assert_eq!(statistics(&context.root).bfree, SMALL.pages_max);
    let mut made = 0;
    while write(&context, &std::format!("n{made}"), b"").is_ok() {
        made += 1;
    }
    assert_eq!(made, SMALL.inodes_max - 1, "the root is one");
    assert_eq!(mkdir(&context, &at("d"), 0o755), Err(Errno::ENOSPC));
}

#[test]
fn a_far_write_takes_one_page() {
    let context = tree();
    let file = open(&context, &at("f"), O_CREAT | O_RDWR, 0o644).unwrap();
    file.write_at(1 << 40, &mut Slice::new(b"x")).unwrap();
    assert_eq!((file.metadata().size, file.metadata().blocks), ((1 << 40) + 1, 8));
    assert_eq!(file.write_at(i64::MAX as u64, &mut Slice::new(b"x")), Err(Errno::EFBIG));
    assert_eq!(file.seek(0, SEEK_DATA), Ok(1 << 40));
}

#[test]
fn a_directory_that_changes_while_read_shows_the_rest_once() {
    a_directory_that_changes_while_read_shows_the_rest_once_in(tree());
    let disk = Disk::new();
    a_directory_that_changes_while_read_shows_the_rest_once_in(disk.context.clone());
    disk.again().check();
}

fn a_directory_that_changes_while_read_shows_the_rest_once_in(context: PathContext<Host>) {
    let names: Vec<String> = (0..60).map(|index| std::format!("name{index:02}")).collect();
    names.iter().for_each(|name| write(&context, name, b"").unwrap());
    for room in [40, 100, 5000] {
        assert_eq!(list(&context, ".", room).unwrap().len(), names.len() + 2);
    }
    let directory = open(&context, &at("."), O_RDONLY, 0).unwrap();
    let mut buffer = [0; 300];
    let mut seen = Vec::new();
    loop {
        let mut writer = linux::dirent::Writer::new(&mut buffer);
        directory.read_directory(&mut writer).unwrap();
        let used = writer.used();
        if used == 0 {
            break;
        }
        let mut record = 0;
        while record < used {
            let length = usize::from(u16::from_le_bytes([buffer[record + 16], buffer[record + 17]]));
            let name: Vec<u8> =
                buffer[record + 19..record + length].iter().copied().take_while(|&byte| byte != 0).collect();
            let name = String::from_utf8(name).unwrap();
            if name.starts_with("name") {
                // As `rm -r` does: remove what was just shown.
                unlink(&context, &at(&name)).unwrap();
            }
            seen.push(name);
            record += length;
        }
    }
    seen.retain(|name| name.starts_with("name"));
    seen.sort();
    assert_eq!(seen, names);
    directory.seek(0, SEEK_SET).unwrap();
    let mut writer = linux::dirent::Writer::new(&mut buffer);
    directory.read_directory(&mut writer).unwrap();
    assert_eq!(writer.used(), 48, "dot and dot-dot are left");
}

#[test]
fn appends_of_many_threads_do_not_overlap() {
    appends_of_many_threads_do_not_overlap_in(tree());
    let disk = Disk::new();
    appends_of_many_threads_do_not_overlap_in(disk.context.clone());
    assert_eq!(read(&disk.again().context, "log").unwrap().len(), 4 * 50 * 100);
}

fn appends_of_many_threads_do_not_overlap_in(context: PathContext<Host>) {
    let context = Arc::new(context);
    open(&context, &at("log"), O_CREAT, 0o644).unwrap();
    let threads: Vec<_> = (0..4u8)
        .map(|number| {
            let context = context.clone();
            std::thread::spawn(move || {
                let file = open(&context, &at("log"), O_WRONLY | O_APPEND, 0).unwrap();
                for _ in 0..50 {
                    assert_eq!(file.write(&mut Slice::new(&[number; 100])), Ok(100));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let all = read(&context, "log").unwrap();
    assert_eq!(all.len(), 4 * 50 * 100);
    assert!(all.chunks(100).all(|chunk| chunk.iter().all(|&byte| byte == chunk[0])));
}

#[test]
fn fallocate_makes_room_and_holes() {
    let context = tree();
    write(&context, "f", &[7; 3 * PAGE_SIZE]).unwrap();
    let file = open(&context, &at("f"), O_RDWR, 0).unwrap();
    let blocks = || file.metadata().blocks / 8;
    // Parts of two pages and one whole page between them.
    file.allocate(Allocate::Punch, 100, 2 * PAGE_SIZE as u64).unwrap();
    let mut wanted = vec![7; 3 * PAGE_SIZE];
    wanted[100..100 + 2 * PAGE_SIZE].fill(0);
    assert!(read(&context, "f").unwrap() == wanted);
    assert_eq!((blocks(), file.metadata().size), (2, 3 * PAGE_SIZE as u64));
    file.allocate(Allocate::Punch, 10, 20).unwrap();
    wanted[10..30].fill(0);
    assert!(read(&context, "f").unwrap() == wanted);
    file.allocate(Allocate::Punch, 0, PAGE_SIZE as u64).unwrap();
    assert_eq!(blocks(), 1);
    file.allocate(Allocate::Keep, 0, 2 * PAGE_SIZE as u64).unwrap();
    assert_eq!(blocks(), 3);
    assert_eq!(file.allocate(Allocate::Keep, 0, 1 << 20), Err(Errno::EOPNOTSUPP));
    file.allocate(Allocate::Extend, 3 * PAGE_SIZE as u64, 5).unwrap();
    assert_eq!((blocks(), file.metadata().size), (4, 3 * PAGE_SIZE as u64 + 5));
    assert_eq!(file.allocate(Allocate::Extend, 1, u64::MAX >> 1), Err(Errno::EFBIG));
    let directory = open(&context, &at("."), O_RDONLY | O_DIRECTORY, 0).unwrap();
    assert_eq!(directory.allocate(Allocate::Extend, 0, 1), Err(Errno::EBADF));
}

#[test]
fn what_lasts_and_what_has_nothing_to_last() {
    let context = tree();
    write(&context, "f", b"x").unwrap();
    let file = open(&context, &at("f"), O_RDWR | O_SYNC, 0).unwrap();
    assert_eq!(file.flags() & O_SYNC, O_SYNC);
    assert_eq!(file.write(&mut Slice::new(b"abc")), Ok(3));
    assert_eq!((file.sync(false), file.sync(true), file.sync_volume()), (Ok(()), Ok(()), Ok(())));
    assert_eq!((file.write_out(0, 0), file.write_out(1, i64::MAX - 1)), (Ok(()), Ok(())));
    for (offset, length) in [(-1, 1), (1, i64::MAX), (5, -6)] {
        assert_eq!(file.write_out(offset, length), Err(Errno::EINVAL));
    }
    let device = mknod(&context, &at("null"), S_IFCHR | 0o666, 0x103).unwrap();
    let device = crate::open::open_place(&context, &device, O_RDWR | O_SYNC).unwrap();
    assert_eq!(device.sync(false), Err(Errno::EINVAL));
    assert_eq!(device.write_out(0, 0), Err(Errno::ESPIPE));
    let place = open(&context, &at("f"), O_PATH, 0).unwrap();
    assert_eq!(
        (place.sync(true), place.sync_volume(), place.write_out(0, 0)),
        (Err(Errno::EBADF), Err(Errno::EBADF), Err(Errno::EBADF))
    );
}

/// The bytes come from a mapping of the very page that is being written, which is not there yet: its fault must not wait for the writer.
#[test]
fn a_write_from_a_mapping_of_its_own_target() {
    struct Mapping<'a>(&'a dyn File<Host>, Slice<'a>);
    impl crate::Source for Mapping<'_> {
        fn left(&self) -> usize {
            self.1.left()
        }
        fn done(&self) -> usize {
            self.1.done()
        }
        fn take(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
            self.0.page(1, false)?;
            self.1.take(into)
        }
        fn skip(&mut self) {}
    }
    let context = tree();
    let file = open(&context, &at("f"), O_CREAT | O_RDWR, 0o600).unwrap();
    file.truncate(2 * PAGE_SIZE as u64).unwrap();
    assert_eq!(file.write(&mut Mapping(&**file.file().unwrap(), Slice::new(b"abc"))), Ok(3));
    assert_eq!(read(&context, "f").unwrap()[..4], *b"abc\0");
}
