//! Quotas: what an id uses is counted, what it may not have is refused, and what was promised is kept.

use std::string::String;

use super::data::Disk;
use super::*;
use crate::PAGE_SIZE;
use crate::inode::SetXattr;
use crate::remove::unlink;
use crate::rename::rename;
use crate::xattr;

fn set(context: &PathContext<Host>, path: &str, name: &str, value: &str) -> Result<(), Errno> {
    let place = lookup(context, &at(path), false).unwrap();
    xattr::set(context, &place, std::format!("trusted.quota.{name}").as_bytes(), value.as_bytes(), SetXattr::Any)
}

fn get(context: &PathContext<Host>, path: &str, name: &str) -> Result<String, Errno> {
    let place = lookup(context, &at(path), false).unwrap();
    let value = xattr::get(context, &place, std::format!("trusted.quota.{name}").as_bytes())?;
    Ok(String::from_utf8(value).unwrap())
}

/// Id, most blocks, most inodes, blocks, inodes.
fn told(context: &PathContext<Host>, path: &str) -> [u64; 5] {
    ["id", "blocks_max", "inodes_max", "blocks", "inodes"]
        .map(|name| get(context, path, name).unwrap().parse().unwrap())
}

/// A directory `d` whose id is 7, with an empty file `first`, so that it has a block for names.
fn with_quota() -> Disk {
    let disk = Disk::new();
    mkdir(&disk.context, &at("d"), 0o755).unwrap();
    set(&disk.context, "d", "id", "7").unwrap();
    write(&disk.context, "d/first", b"").unwrap();
    disk
}

fn pages(count: usize) -> Vec<u8> {
    vec![1; count * PAGE_SIZE]
}

#[test]
fn what_is_made_counts_for_its_directorys_id() {
    let disk = with_quota();
    let context = &disk.context;
    assert_eq!(told(context, "."), [0; 5]);
    assert_eq!(told(context, "d"), [7, 0, 0, 1, 2]);
    write(context, "d/f", &pages(3)).unwrap();
    mkdir(context, &at("d/e"), 0o755).unwrap();
    symlink(context, b"x", &at("d/e/link")).unwrap();
    assert_eq!(told(context, "d/e/link")[0], 7);
    let before = told(context, "d");
    assert_eq!(before[3..], [1 + 3 + 1, 5], "not written yet, and counted; with two blocks of names");
    set(context, "d", "blocks_max", "100").unwrap();
    set(context, "d/f", "inodes_max", "20").unwrap();
    let again = disk.again();
    assert_eq!(told(&again.context, "d"), [7, 100, 20, 5, 5]);
    unlink(&again.context, &at("d/f")).unwrap();
    again.store.sync().unwrap();
    assert_eq!(told(&again.context, "d")[3..], [2, 4]);
    again.check();
}

#[test]
fn a_full_quota_refuses_more_and_keeps_what_it_took() {
    let disk = with_quota();
    let context = &disk.context;
    set(context, "d", "blocks_max", "5").unwrap();
    set(context, "d", "inodes_max", "4").unwrap();
    let file = open(context, &at("d/f"), O_CREAT | O_WRONLY, 0o644).unwrap();
    assert_eq!(file.write(&mut Slice::new(&pages(8))), Ok(4 * PAGE_SIZE), "as much as it may have");
    assert_eq!(file.write(&mut Slice::new(b"x")), Err(Errno::EDQUOT));
    drop(file);
    disk.store.sync().unwrap();
    assert!(read(context, "d/f").unwrap() == pages(4));
    write(context, "other", &pages(8)).unwrap();
    write(context, "d/empty", b"").unwrap();
    assert_eq!(write(context, "d/more", b""), Err(Errno::EDQUOT));
    assert_eq!(mkdir(context, &at("d/e"), 0o755), Err(Errno::EDQUOT));
    // What is over its limit already stays, and may be less.
    set(context, "d", "blocks_max", "1").unwrap();
    assert!(read(context, "d/f").unwrap() == pages(4));
    unlink(context, &at("d/f")).unwrap();
    let file = open(context, &at("d/f"), O_CREAT | O_WRONLY, 0o644).unwrap();
    assert_eq!(file.write(&mut Slice::new(b"x")), Err(Errno::EDQUOT));
    set(context, "d", "blocks_max", "0").unwrap();
    assert_eq!(file.write(&mut Slice::new(&pages(8))), Ok(8 * PAGE_SIZE));
    drop(file);
    disk.check();
}

#[test]
fn a_page_of_a_mapping_is_refused_before_it_is_written() {
    let disk = with_quota();
    let context = &disk.context;
    let file = open(context, &at("d/f"), O_CREAT | O_RDWR, 0o644).unwrap();
    file.truncate(3 * PAGE_SIZE as u64).unwrap();
    set(context, "d", "blocks_max", "2").unwrap();
    let contents = file.file().unwrap();
    assert!(contents.page(0, true).is_ok());
    assert_eq!(contents.page(1, true).err(), Some(Errno::EDQUOT));
    assert!(contents.page(1, false).is_ok(), "a hole can be read");
}

#[test]
fn what_is_set_aside_goes_along_to_another_id() {
    let disk = with_quota();
    let context = &disk.context;
    mkdir(context, &at("e"), 0o755).unwrap();
    set(context, "e", "id", "70").unwrap();
    write(context, "e/first", b"").unwrap();
    let used = |d: u64, e: u64| assert_eq!([told(context, "d")[3], told(context, "e")[3]], [1 + d, 1 + e]);
    write(context, "d/f", &pages(3)).unwrap();
    used(3, 0);
    set(context, "e", "blocks_max", "3").unwrap();
    assert_eq!(set(context, "d/f", "id", "70"), Err(Errno::EDQUOT));
    used(3, 0);
    set(context, "e", "blocks_max", "4").unwrap();
    set(context, "d/f", "id", "70").unwrap();
    used(0, 3);
    disk.store.sync().unwrap();
    used(0, 3);
    let file = open(context, &at("e/first"), O_WRONLY, 0).unwrap();
    assert_eq!(file.write(&mut Slice::new(b"x")), Err(Errno::EDQUOT));
    drop(file);
    assert_eq!(
        rename(context, &at("d/f"), &at("d/g"), 0),
        Err(Errno::EXDEV),
        "a directory takes only what counts for it"
    );
    rename(context, &at("d/f"), &at("e/f"), 0).unwrap();
    unlink(context, &at("e/f")).unwrap();
    disk.store.sync().unwrap();
    used(0, 0);
    disk.check();
}

#[test]
fn what_makes_no_sense_is_refused() {
    let disk = with_quota();
    let context = &disk.context;
    for (path, name, value, error) in [
        ("d", "id", "", Errno::EINVAL),
        ("d", "id", "-1", Errno::EINVAL),
        ("d", "id", "4294967296", Errno::EINVAL),
        ("d", "blocks_max", "18446744073709551616", Errno::EINVAL),
        ("d", "blocks_max", "1 ", Errno::EINVAL),
        (".", "blocks_max", "1", Errno::EINVAL),
        ("d", "blocks", "1", Errno::EPERM),
        ("d", "inodes", "1", Errno::EPERM),
        ("d", "files", "1", Errno::EOPNOTSUPP),
    ] {
        assert_eq!(set(context, path, name, value), Err(error), "{path} {name} {value}");
    }
    assert_eq!(get(context, "d", "files"), Err(Errno::EOPNOTSUPP));
    let place = lookup(context, &at("d"), false).unwrap();
    let id = b"trusted.quota.id";
    assert_eq!(xattr::set(context, &place, id, b"8", SetXattr::Create), Err(Errno::EEXIST));
    assert_eq!(xattr::remove(context, &place, id), Err(Errno::EPERM));
    assert_eq!(xattr::list(context, &place), Ok(Vec::new()), "they are no part of the file");
    let other = as_user(context, 5);
    assert_eq!((get(&other, "d", "id"), set(&other, "d", "id", "0")), (Err(Errno::ENODATA), Err(Errno::EPERM)));
    assert_eq!(told(context, "d")[..3], [7, 0, 0]);
}
