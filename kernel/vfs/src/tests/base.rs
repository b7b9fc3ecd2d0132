//! A real image by mkfs.erofs, through the whole file system.

use std::format;
use std::fs;
use std::process::Command;

use super::*;
use crate::Volume;

/// An image of a small folder; its bytes stay for good, as the base's do.
fn image(name: &str) -> &'static [u8] {
    let folder = std::env::temp_dir().join(format!("vfs-test-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("tree/sub")).unwrap();
    fs::write(folder.join("tree/small"), b"inline").unwrap();
    fs::write(folder.join("tree/big"), big()).unwrap();
    fs::write(folder.join("tree/page"), vec![9; crate::PAGE_SIZE]).unwrap();
    (0..300)
        .for_each(|index| fs::write(folder.join(format!("tree/sub/file-with-a-long-name-{index:03}")), b"").unwrap());
    std::os::unix::fs::symlink("sub/../small", folder.join("tree/link")).unwrap();
    let output = Command::new("mkfs.erofs")
        .args(["-T0", "--all-root"])
        .arg(folder.join("image"))
        .arg(folder.join("tree"))
        .output()
        .expect("mkfs.erofs (package erofs-utils)");
    assert!(output.status.success(), "mkfs.erofs: {}", String::from_utf8_lossy(&output.stderr));
    let bytes = fs::read(folder.join("image")).unwrap().leak();
    fs::remove_dir_all(&folder).unwrap();
    bytes
}

fn big() -> Vec<u8> {
    (0..20_000u32).map(|index| (index / 7) as u8).collect()
}

fn mounted(name: &str) -> PathContext<Host> {
    let volume: Arc<Volume<Host>> = crate::base::volume(b"base", image(name)).unwrap();
    let root = Path::root_of(&Mount::root(volume));
    PathContext { cwd: root.clone(), root, credentials: Credentials::root(), umask: 0 }
}

#[test]
fn an_image_is_read_and_mapped() {
    let context = mounted("read");
    assert_eq!(read(&context, "link").unwrap(), b"inline");
    assert_eq!(read(&context, "big").unwrap(), big());
    let file = open(&context, &at("big"), O_RDONLY, 0).unwrap();
    for index in 0..5 {
        let page = file.file().unwrap().page(index, false).ok().unwrap();
        let mut wanted: Vec<u8> =
            big().into_iter().skip(index as usize * crate::PAGE_SIZE).take(crate::PAGE_SIZE).collect();
        wanted.resize(crate::PAGE_SIZE, 0);
        assert_eq!(page.bytes(), &wanted[..], "page {index}");
    }
    assert_eq!(file.file().unwrap().page(5, false).err(), Some(Errno::ENXIO));
    assert_eq!(file.file().unwrap().page(u64::MAX, false).err(), Some(Errno::ENXIO));
    let names = list(&context, "sub", 400).unwrap();
    assert_eq!(names.len(), 302);
    assert_eq!(stat(&context, "sub/file-with-a-long-name-299").unwrap().size, 0);
    assert_eq!(stat(&context, "sub/file-with-a-long-name-300").err(), Some(Errno::ENOENT));
}

#[test]
fn an_image_is_not_written() {
    use Errno::*;
    let context = mounted("write");
    assert_eq!(open(&context, &at("big"), O_RDWR, 0).err(), Some(EROFS));
    assert_eq!(open(&context, &at("big"), O_TRUNC, 0).err(), Some(EROFS));
    assert_eq!(open(&context, &at("new"), O_CREAT, 0).err(), Some(EROFS));
    assert_eq!(open(&context, &at("big"), O_CREAT, 0).err(), None);
    assert_eq!(mkdir(&context, &at("new"), 0), Err(EROFS));
    assert_eq!(crate::remove::unlink(&context, &at("big")), Err(EROFS));
    assert_eq!(crate::rename::rename(&context, &at("big"), &at("x"), 0), Err(EROFS));
    assert_eq!(
        crate::attributes::check_access(&context.credentials, &lookup(&context, &at("big"), true).unwrap(), W_OK),
        Err(EROFS)
    );
}

#[test]
fn a_broken_image_is_refused_or_gives_errors_but_no_panic() {
    let sound = image("broken");
    for at in (1024..sound.len().min(9000)).step_by(13) {
        let mut bytes = sound.to_vec();
        bytes[at] ^= 0x5a;
        // The checksum covers the superblock's block, so most of these do not even mount.
        let Ok(volume) = crate::base::volume::<Host>(b"base", bytes.leak()) else { continue };
        let root = Path::root_of(&Mount::root(volume));
        let context = PathContext { cwd: root.clone(), root, credentials: Credentials::root(), umask: 0 };
        for path in ["small", "big", "page", "link", "sub/file-with-a-long-name-150"] {
            let _ = read(&context, path);
        }
        let _ = list(&context, ".", 400);
    }
}
