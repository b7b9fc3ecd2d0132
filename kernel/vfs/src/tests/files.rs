//! Bytes in a tmpfs file, against a vector; limits; reading directories.

use proptest::prelude::*;

use super::*;
use crate::attributes::statistics;
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

proptest! {
    #[test]
    fn a_file_is_what_was_written(steps in prop::collection::vec(step(), 1..40)) {
        let context = tree();
        let file = open(&context, &at("f"), O_CREAT | O_RDWR, 0o644).unwrap();
        let appending = open(&context, &at("f"), O_WRONLY | O_APPEND, 0).unwrap();
        let mut model: Vec<u8> = Vec::new();
        for step in steps {
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
        prop_assert_eq!(statistics(file.path()).bfree, SMALL.pages_max, "no page is left behind");
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
    let context = tree();
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
    let context = Arc::new(tree());
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
