//! Links, `..`, mounts, removal of what is in use.

use super::*;
use crate::remove::{rmdir, unlink};
use crate::rename::rename;

fn resolve(context: &PathContext<Host>, path: &str) -> Result<String, Errno> {
    let place = lookup(context, &at(path), true)?;
    Ok(String::from_utf8(place.text(&context.root).0).unwrap())
}

#[test]
fn links_and_dots_lead_where_they_should() {
    let context = furnished();
    for (path, wanted) in [
        ("todir/g", "/d/g"),
        ("todir/../f", "/f"),
        ("todir/abs/..", "/d"),
        ("//d///abs//", "/d/sub"),
        ("/../..", "/"),
        ("d/./sub/../g", "/d/g"),
        ("todir/.", "/d"),
    ] {
        assert_eq!(resolve(&context, path).as_deref(), Ok(wanted), "{path}");
    }
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let context = tree();
    write(&context, "l0", b"end").unwrap();
    for index in 1..=41 {
        symlink(&context, std::format!("l{}", index - 1).as_bytes(), &at(&std::format!("l{index}"))).unwrap();
    }
    assert_eq!(read(&context, "l40").unwrap(), b"end");
    assert_eq!(read(&context, "l41"), Err(Errno::ELOOP));
}

#[test]
fn texts_of_links_nest() {
    let context = furnished();
    symlink(&context, b"todir/abs/", &at("nested")).unwrap();
    write(&context, "d/sub/deep", b"1").unwrap();
    assert_eq!(resolve(&context, "nested/deep").as_deref(), Ok("/d/sub/deep"));
    assert_eq!(resolve(&context, "nested/../g").as_deref(), Ok("/d/g"));
    assert_eq!(resolve(&context, "nested").as_deref(), Ok("/d/sub"));
    symlink(&context, b"f/", &at("slashed")).unwrap();
    assert_eq!(resolve(&context, "slashed"), Err(Errno::ENOTDIR));
}

#[test]
fn a_process_does_not_leave_its_root() {
    let context = furnished();
    let jailed = PathContext {
        root: lookup(&context, &at("d"), true).unwrap(),
        cwd: lookup(&context, &at("d/sub"), true).unwrap(),
        ..context.clone()
    };
    assert_eq!(resolve(&jailed, "../../../g").as_deref(), Ok("/g"));
    assert_eq!(resolve(&jailed, "/f"), Err(Errno::ENOENT));
    let outside = lookup(&context, &at("open"), true).unwrap();
    assert_eq!(outside.text(&jailed.root), (b"/open".to_vec(), false));
}

#[test]
fn mounts_cover_and_uncover() {
    let context = furnished();
    let point = lookup(&context, &at("d/sub"), true).unwrap();
    write(&context, "d/sub/below", b"").unwrap();
    point.hang(tmpfs::volume("tmpfs", b"other", SMALL), false).unwrap();
    assert_eq!(stat(&context, "d/sub/below").err(), Some(Errno::ENOENT));
    write(&context, "d/sub/above", b"x").unwrap();
    mkdir(&context, &at("d/sub/dir"), 0o755).unwrap();
    assert_eq!(resolve(&context, "d/sub/dir/../../g").as_deref(), Ok("/d/g"));
    assert_eq!(resolve(&context, "d/sub/dir").as_deref(), Ok("/d/sub/dir"));
    assert_eq!(rmdir(&context, &at("d/sub")), Err(Errno::EBUSY));
    assert_eq!(rename(&context, &at("d/sub"), &at("moved"), 0), Err(Errno::EBUSY));
    assert_eq!(rename(&context, &at("d/sub/above"), &at("d/x"), 0), Err(Errno::EXDEV));
    assert_eq!(point.take_out(), Err(Errno::EINVAL), "the place under the mount is no mount's root");
    let top = lookup(&context, &at("d/sub"), true).unwrap();
    assert_eq!(top.mount().all().len(), 1);
    assert_eq!(context.root.mount().all().len(), 2);
    top.take_out().unwrap();
    assert!(stat(&context, "d/sub/below").is_ok());
    assert_eq!(context.root.take_out(), Err(Errno::EINVAL));
    rename(&context, &at("d/sub"), &at("moved"), 0).unwrap();
}

#[test]
fn a_read_only_mount_refuses_before_all_else() {
    use Errno::*;
    let context = furnished();
    let point = lookup(&context, &at("open"), true).unwrap();
    let shown = lookup(&context, &at("d"), true).unwrap();
    point.bind(&shown, true).unwrap();
    assert_eq!(read(&context, "open/g").unwrap(), b"g");
    assert_eq!(open(&context, &at("open/g"), O_WRONLY, 0).err(), Some(EROFS));
    assert_eq!(open(&context, &at("open/g"), O_CREAT, 0).err(), None);
    assert_eq!(open(&context, &at("open/new"), O_CREAT, 0).err(), Some(EROFS));
    assert_eq!(mkdir(&context, &at("open/new"), 0), Err(EROFS));
    assert_eq!(mkdir(&context, &at("open/sub"), 0), Err(EEXIST));
    assert_eq!(unlink(&context, &at("open/nothing")), Err(EROFS));
    assert_eq!(rmdir(&context, &at("open/sub")), Err(EROFS));
    assert_eq!(crate::attributes::set_mode(&context, &lookup(&context, &at("open/g"), true).unwrap(), 0), Err(EROFS));
    assert!(write(&context, "d/g", b"still").is_ok(), "the first mount is not touched");
}

#[test]
fn what_is_removed_lives_on_for_those_who_have_it() {
    let context = furnished();
    let file = open(&context, &at("f"), O_RDWR, 0).unwrap();
    unlink(&context, &at("f")).unwrap();
    assert_eq!(file.metadata().links, 0);
    assert_eq!(read_all(&file).unwrap(), b"file");
    assert_eq!(file.path().text(&context.root).0, b"/f (deleted)");
    let inside = PathContext { cwd: lookup(&context, &at("d/sub"), true).unwrap(), ..context.clone() };
    unlink(&context, &at("d/abs")).unwrap();
    rmdir(&context, &at("d/sub")).unwrap();
    assert_eq!(mkdir(&inside, &at("new"), 0), Err(Errno::ENOENT));
    assert_eq!(open(&inside, &at("new"), O_CREAT, 0).err(), Some(Errno::ENOENT));
    assert_eq!(list(&inside, ".", 1000), Err(Errno::ENOENT));
    assert_eq!(resolve(&inside, "..").as_deref(), Ok("/d"));
}

#[test]
fn directories_move_with_their_contents() {
    let context = furnished();
    let inside = PathContext { cwd: lookup(&context, &at("d/sub"), true).unwrap(), ..context.clone() };
    rename(&context, &at("d"), &at("open/e"), 0).unwrap();
    assert_eq!(resolve(&inside, ".").as_deref(), Ok("/open/e/sub"));
    assert_eq!(resolve(&inside, "../../..").as_deref(), Ok("/"));
    assert_eq!(read(&context, "open/e/g").unwrap(), b"g");
    assert_eq!(stat(&context, "d").err(), Some(Errno::ENOENT));
    assert_eq!(stat(&context, "/").unwrap().links, 4, "locked, open and the root's own two");
    assert_eq!(stat(&context, "open").unwrap().links, 3);
}

#[test]
fn removed_directories_go_one_by_one_however_many_hold_each_other() {
    const DEPTH: u64 = 20_000;
    let options = tmpfs::Options { inodes_max: 2 * DEPTH, ..SMALL };
    let root = Path::root_of(&Mount::root(tmpfs::volume("tmpfs", b"tmpfs", options)));
    let mut inside = PathContext { cwd: root.clone(), root, ..tree() };
    let mut above = Vec::new();
    for _ in 0..DEPTH {
        mkdir(&inside, &at("d"), 0o755).unwrap();
        let below = lookup(&inside, &at("d"), true).unwrap();
        above.push(core::mem::replace(&mut inside.cwd, below));
    }
    let last = inside.cwd.clone();
    while let Some(directory) = above.pop() {
        inside.cwd = directory;
        rmdir(&inside, &at("d")).unwrap();
    }
    assert!(last.dentry().is_dead());
    // A kernel thread's stack is short.
    std::thread::Builder::new().stack_size(64 << 10).spawn(move || drop(last)).unwrap().join().unwrap();
}
