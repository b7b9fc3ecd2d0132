//! Which error comes first. The verdicts are those of Linux 6.1 on tmpfs and ext4.

use super::*;
use crate::attributes::{NewTime, check_access, set_mode, set_owner, set_times, truncate};
use crate::create::{link, mknod};
use crate::remove::{rmdir, unlink};
use crate::rename::rename;

fn code(result: Result<impl Sized, Errno>) -> Option<Errno> {
    result.err()
}

#[test]
fn open_says_what_linux_says() {
    use Errno::*;
    let context = furnished();
    let user = as_user(&context, 7);
    let long = "x".repeat(256);
    let deep = "y/".repeat(2048);
    let cases: &[(&str, u32, Option<Errno>)] = &[
        ("f", O_RDONLY, None),
        ("", O_RDONLY, Some(ENOENT)),
        ("f/", O_RDONLY, Some(ENOTDIR)),
        ("f/x", O_RDONLY, Some(ENOTDIR)),
        ("f/.", O_RDONLY, Some(ENOTDIR)),
        ("nowhere/x", O_RDONLY, Some(ENOENT)),
        ("nowhere", O_RDONLY, Some(ENOENT)),
        ("d", O_RDONLY, None),
        ("d", O_WRONLY, Some(EISDIR)),
        ("d", O_RDWR, Some(EISDIR)),
        ("d", O_CREAT, Some(EISDIR)),
        ("d", O_CREAT | O_EXCL, Some(EEXIST)),
        ("d/", O_CREAT, Some(EISDIR)),
        ("new/", O_CREAT, Some(EISDIR)),
        (".", O_CREAT, Some(EISDIR)),
        ("/", O_CREAT, Some(EISDIR)),
        ("f", O_CREAT | O_EXCL, Some(EEXIST)),
        ("broken", O_CREAT | O_EXCL, Some(EEXIST)),
        ("broken", O_RDONLY, Some(ENOENT)),
        ("tofile", O_NOFOLLOW, Some(ELOOP)),
        ("tofile", O_NOFOLLOW | O_DIRECTORY, Some(ENOTDIR)),
        ("tofile", O_NOFOLLOW | O_PATH, None),
        ("todir/", O_NOFOLLOW, None),
        ("todir", O_DIRECTORY, None),
        ("f", O_DIRECTORY, Some(ENOTDIR)),
        ("tofile/", O_RDONLY, Some(ENOTDIR)),
        ("loop1", O_RDONLY, Some(ELOOP)),
        ("loop1/x", O_RDONLY, Some(ELOOP)),
        (&long, O_RDONLY, Some(ENAMETOOLONG)),
        (&long, O_CREAT, Some(ENAMETOOLONG)),
        (&deep, O_RDONLY, Some(ENAMETOOLONG)),
        ("d", O_TMPFILE | O_RDWR, Some(EOPNOTSUPP)),
        ("d", O_TMPFILE, Some(EINVAL)),
        ("f", O_TRUNC, None),
    ];
    for &(path, flags, wanted) in cases {
        assert_eq!(code(open(&context, &at(path), flags, 0o644)), wanted, "open({path:.20}, {flags:#o})");
    }
    for (path, flags, wanted) in [
        ("locked/secret", O_RDONLY, EACCES),
        ("locked/nothing", O_CREAT, EACCES),
        ("locked", O_RDONLY, EACCES),
        ("f", O_WRONLY, EACCES),
        ("f", O_RDONLY | O_TRUNC, EACCES),
        ("d/new", O_CREAT, EACCES),
        ("f", O_NOATIME, EPERM),
    ] {
        assert_eq!(code(open(&user, &at(path), flags, 0o644)), Some(wanted), "user: open({path}, {flags:#o})");
    }
    // O_CREAT of what is there asks nothing of the directory.
    assert!(open(&user, &at("d/g"), O_CREAT, 0o644).is_ok());
}

#[test]
fn a_file_is_made_through_a_broken_link() {
    let context = furnished();
    open(&context, &at("broken"), O_CREAT | O_WRONLY, 0o666).unwrap();
    assert_eq!(stat(&context, "nowhere").unwrap().permission.mode, S_IFREG | 0o644);
}

#[test]
fn making_and_removing_say_what_linux_says() {
    use Errno::*;
    let context = furnished();
    let user = as_user(&context, 7);
    let make: &[(&str, Option<Errno>)] = &[
        ("d", Some(EEXIST)),
        ("f", Some(EEXIST)),
        ("broken", Some(EEXIST)),
        (".", Some(EEXIST)),
        ("..", Some(EEXIST)),
        ("/", Some(EEXIST)),
        ("f/x", Some(ENOTDIR)),
        ("no/x", Some(ENOENT)),
        ("slashed///", None),
        ("", Some(ENOENT)),
    ];
    for &(path, wanted) in make {
        assert_eq!(code(mkdir(&context, &at(path), 0o777)), wanted, "mkdir({path})");
    }
    assert_eq!(code(mkdir(&user, &at("d/new"), 0o777)), Some(EACCES));
    assert_eq!(code(mkdir(&user, &at("d/sub"), 0o777)), Some(EEXIST), "existence is told before permission");
    assert_eq!(code(symlink(&context, b"x", &at("new/"))), Some(ENOENT));
    assert_eq!(code(symlink(&context, b"", &at("new"))), Some(ENOENT));
    assert_eq!(code(mknod(&context, &at("n/"), S_IFREG, 0)), Some(ENOENT));
    assert_eq!(code(mknod(&context, &at("n"), S_IFDIR, 0)), Some(EPERM));
    assert_eq!(code(mknod(&context, &at("n"), 0o30_000, 0)), Some(EINVAL));
    assert_eq!(code(mknod(&user, &at("open/n"), S_IFCHR, 5)), Some(EPERM));
    assert_eq!(code(mknod(&user, &at("open/fifo"), S_IFIFO | 0o666, 0)), None);

    for (path, wanted) in [
        ("d", EISDIR),
        ("d/", EISDIR),
        ("f/", ENOTDIR),
        ("tofile/", ENOTDIR),
        ("nowhere", ENOENT),
        (".", EISDIR),
        ("d/..", EISDIR),
        ("/", EISDIR),
    ] {
        assert_eq!(code(unlink(&context, &at(path))), Some(wanted), "unlink({path})");
    }
    for (path, wanted) in [
        ("f", ENOTDIR),
        ("d", ENOTEMPTY),
        ("d/.", EINVAL),
        ("d/..", ENOTEMPTY),
        ("/", EBUSY),
        ("no", ENOENT),
        ("todir", ENOTDIR),
        ("todir/", ENOTDIR),
    ] {
        assert_eq!(code(rmdir(&context, &at(path))), Some(wanted), "rmdir({path})");
    }
    assert_eq!(code(unlink(&user, &at("d/g"))), Some(EACCES));
    write(&context, "open/mine", b"").unwrap();
    assert_eq!(code(unlink(&user, &at("open/mine"))), Some(EPERM), "sticky");
    assert_eq!(code(unlink(&user, &at("open/fifo"))), None);
}

#[test]
fn renaming_says_what_linux_says() {
    use Errno::*;
    let context = furnished();
    let user = as_user(&context, 7);
    let cases: &[(&str, &str, u32, Option<Errno>)] = &[
        ("f", "f", 0, None),
        ("f", "d", 0, Some(EISDIR)),
        ("d", "f", 0, Some(ENOTDIR)),
        ("d", "d/sub/x", 0, Some(EINVAL)),
        ("d", "d/sub", 0, Some(EINVAL)),
        ("d/sub", "d", 0, Some(ENOTEMPTY)),
        ("d", "d", 0, None),
        ("f", "no/x", 0, Some(ENOENT)),
        ("no", "x", 0, Some(ENOENT)),
        ("f", "x/", 0, Some(ENOTDIR)),
        ("f/", "x", 0, Some(ENOTDIR)),
        (".", "x", 0, Some(EBUSY)),
        ("f", ".", 0, Some(EBUSY)),
        ("f", ".", RENAME_NOREPLACE, Some(EEXIST)),
        ("f", "d/g", RENAME_NOREPLACE, Some(EEXIST)),
        ("f", "no", RENAME_EXCHANGE, Some(ENOENT)),
        ("f", "g", 8, Some(EINVAL)),
        ("f", "g", RENAME_EXCHANGE | RENAME_NOREPLACE, Some(EINVAL)),
        ("locked", "d", 0, Some(ENOTEMPTY)),
        ("f", "d/g", RENAME_EXCHANGE, None),
    ];
    for &(from, to, flags, wanted) in cases {
        assert_eq!(code(rename(&context, &at(from), &at(to), flags)), wanted, "rename({from}, {to}, {flags})");
    }
    assert_eq!(read(&context, "f").unwrap(), b"g");
    assert_eq!(read(&context, "d/g").unwrap(), b"file");
    assert_eq!(code(rename(&user, &at("f"), &at("open/f"), 0)), Some(EACCES));
    mkdir(&user, &at("open/theirs"), 0o755).unwrap();
    assert_eq!(code(rename(&as_user(&context, 8), &at("open/theirs"), &at("open/x"), 0)), Some(EPERM));
}

#[test]
fn attributes_say_what_linux_says() {
    use Errno::*;
    let context = furnished();
    let user = as_user(&context, 7);
    let place = |path: &str| lookup(&context, &at(path), true).unwrap();
    write(&user, "open/own", b"abc").unwrap();
    assert_eq!(code(set_mode(&user, &place("f"), 0o777)), Some(EPERM));
    assert_eq!(code(set_mode(&user, &place("open/own"), 0o6755)), None);
    assert_eq!(stat(&context, "open/own").unwrap().permission.mode, S_IFREG | 0o6755);
    assert_eq!(code(set_owner(&user, &place("open/own"), Some(8), None)), Some(EPERM));
    assert_eq!(code(set_owner(&user, &place("open/own"), None, Some(8))), Some(EPERM));
    assert_eq!(code(set_owner(&user, &place("open/own"), Some(7), Some(7))), None);
    assert_eq!(
        stat(&context, "open/own").unwrap().permission.mode,
        S_IFREG | 0o755,
        "set-id bits go with a change of owner"
    );
    let time = Timespec { sec: 5, nsec: 6 };
    assert_eq!(code(set_times(&user, &place("f"), NewTime::Now, NewTime::Now)), Some(EACCES));
    assert_eq!(code(set_times(&user, &place("f"), NewTime::Now, NewTime::Keep)), Some(EPERM));
    assert_eq!(code(set_times(&user, &place("open/own"), NewTime::At(time), NewTime::Keep)), None);
    assert_eq!(stat(&context, "open/own").unwrap().accessed, time);
    assert_eq!(code(truncate(&user, &place("f"), 0)), Some(EACCES));
    assert_eq!(code(truncate(&context, &place("d"), 0)), Some(EISDIR));
    assert_eq!(code(truncate(&context, &place("f"), -1)), Some(EINVAL));
    assert_eq!(code(check_access(&user.credentials, &place("f"), W_OK)), Some(EACCES));
    assert_eq!(code(check_access(&user.credentials, &place("f"), R_OK)), None);
    assert_eq!(code(check_access(&context.credentials, &place("f"), X_OK)), Some(EACCES));
    assert_eq!(code(check_access(&context.credentials, &place("f"), 8)), Some(EINVAL));
    assert_eq!(code(link(&context, &place("d"), &at("d2"))), Some(EPERM));
    assert_eq!(code(link(&context, &place("f"), &at("d/g"))), Some(EEXIST));
    assert_eq!(code(link(&context, &place("f"), &at("f2"))), None);
    assert_eq!(stat(&context, "f2").unwrap().links, 2);
}

#[test]
fn a_set_group_id_directory_hands_on_its_group() {
    let context = furnished();
    let place = lookup(&context, &at("open"), true).unwrap();
    set_owner(&context, &place, None, Some(9)).unwrap();
    set_mode(&context, &place, 0o3777).unwrap();
    let user = as_user(&context, 7);
    mkdir(&user, &at("open/inner"), 0o777).unwrap();
    write(&user, "open/inner/file", b"").unwrap();
    let inner = stat(&context, "open/inner").unwrap().permission;
    assert_eq!((inner.mode & 0o7777, inner.group), (0o2755, 9));
    assert_eq!(stat(&context, "open/inner/file").unwrap().permission.group, 9);
}

#[test]
fn a_handle_allows_what_it_was_opened_for() {
    use Errno::*;
    let context = furnished();
    let mut bytes = [0; 4];
    let writing = open(&context, &at("f"), O_WRONLY, 0).unwrap();
    assert_eq!(code(writing.read(&mut SliceMut::new(&mut bytes))), Some(EBADF));
    let reading = open(&context, &at("f"), O_RDONLY, 0).unwrap();
    assert_eq!(code(reading.write(&mut Slice::new(b"x"))), Some(EBADF));
    assert_eq!(code(reading.truncate(0)), Some(EINVAL));
    let directory = open(&context, &at("d"), O_RDONLY, 0).unwrap();
    assert_eq!(code(directory.read(&mut SliceMut::new(&mut bytes))), Some(EISDIR));
    let place = open(&context, &at("f"), O_PATH, 0).unwrap();
    assert_eq!(code(place.read(&mut SliceMut::new(&mut bytes))), Some(EBADF));
    assert_eq!(code(place.seek(0, SEEK_SET)), Some(EBADF));
    assert_eq!(code(reading.seek(-1, SEEK_SET)), Some(EINVAL));
    assert_eq!(code(reading.seek(0, 9)), Some(EINVAL));
    assert_eq!(reading.seek(-1, SEEK_END), Ok(3));
    let mut writer = linux::dirent::Writer::new(&mut bytes);
    assert_eq!(code(directory.read_directory(&mut writer)), Some(EINVAL));
    assert_eq!(code(reading.read_directory(&mut writer)), Some(ENOTDIR));
}
