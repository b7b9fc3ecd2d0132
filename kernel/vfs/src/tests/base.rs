//! A real image by mkfs.erofs under a tree by veritysetup, in memory and on a disk, through the whole file system.

use std::cell::Cell;
use std::format;
use std::fs;
use std::process::Command;
use std::string::ToString;

use sha256::Engine;
use verity::{BLOCK, Failure};

use super::*;
use crate::Volume;
use crate::base::{InMemory, Integrity, OnDisk, Tree};
use crate::cache::{Cache, Limits};
use crate::testing::{Fault, MemoryDevice, Operation};

/// An image and its tree, which stay for good, as the base's do.
#[derive(Clone, Copy)]
struct Made {
    bytes: &'static [u8],
    tree: Tree,
}

const PLAIN: &[&str] = &[];
const PACKED: &[&str] = &["-zlz4hc", "--max-extent-bytes=65536"];

/// Of a small folder.
fn made(name: &str, options: &[&str]) -> Made {
    let folder = std::env::temp_dir().join(format!("vfs-test-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("tree/sub")).unwrap();
    fs::write(folder.join("tree/small"), b"inline").unwrap();
    fs::write(folder.join("tree/big"), big()).unwrap();
    fs::write(folder.join("tree/page"), vec![9; crate::PAGE_SIZE]).unwrap();
    fs::write(folder.join("tree/text"), text()).unwrap();
    (0..300)
        .for_each(|index| fs::write(folder.join(format!("tree/sub/file-with-a-long-name-{index:03}")), b"").unwrap());
    std::os::unix::fs::symlink("sub/../small", folder.join("tree/link")).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().expect(program);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run("/usr/bin/mkfs.erofs", &[options, &["-T0", "--all-root", &path("image"), &path("tree")]].concat());
    let said = run("/usr/sbin/veritysetup", &["format", &path("image"), &path("hashes")]);
    let digits = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
    let root = core::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap());
    let bytes = &*fs::read(folder.join("image")).unwrap().leak();
    let section = &*fs::read(folder.join("hashes")).unwrap().leak();
    fs::remove_dir_all(&folder).unwrap();
    Made { bytes, tree: Tree { section, length: bytes.len() as u64, root } }
}

fn big() -> Vec<u8> {
    (0..20_000u32).map(|index| (index / 7) as u8).collect()
}

/// Becomes a third by compression.
fn text() -> Vec<u8> {
    (0..50_000u32)
        .flat_map(|line| format!("line {:x}\n", line.wrapping_mul(2_654_435_761) >> 12).into_bytes())
        .collect()
}

std::thread_local! {
    static REPORTED: Cell<Option<Failure>> = const { Cell::new(None) };
}

fn integrity(tree: &Tree) -> Arc<Integrity> {
    REPORTED.set(None);
    Integrity::new(tree, Engine::best(), |failure| REPORTED.set(Some(failure))).unwrap()
}

fn cache() -> Arc<Cache<Host>> {
    Cache::new(Limits { dirty_max: 0, dirty_background: 0 })
}

fn context(volume: Arc<Volume<Host>>) -> PathContext<Host> {
    let root = Path::root_of(&Mount::root(volume));
    PathContext { cwd: root.clone(), root, credentials: Credentials::root(), umask: 0 }
}

fn in_memory(made: Made) -> (PathContext<Host>, Arc<Integrity>) {
    let integrity = integrity(&made.tree);
    let volume = crate::base::volume(b"base", InMemory::new(made.bytes, &integrity), &cache()).unwrap();
    (context(volume), integrity)
}

/// The base begins at block 3 of its disk.
const FIRST: u64 = 3;

struct Disk {
    context: PathContext<Host>,
    integrity: Arc<Integrity>,
    device: Arc<MemoryDevice<Host>>,
    cache: Arc<Cache<Host>>,
}

fn on_disk(made: Made) -> Disk {
    let device = MemoryDevice::<Host>::from_image([vec![0; FIRST as usize * BLOCK], made.bytes.to_vec()].concat());
    let device = Arc::new(device);
    let (integrity, cache) = (integrity(&made.tree), cache());
    let blocks = OnDisk::new(device.clone(), FIRST, &cache, &integrity);
    let volume = crate::base::volume(b"base", blocks, &cache).unwrap();
    Disk { context: context(volume), integrity, device, cache }
}

fn mounted(name: &str) -> PathContext<Host> {
    in_memory(made(name, PLAIN)).0
}

/// Everything that the folder holds is there, read and mapped.
fn check_contents(context: &PathContext<Host>) {
    assert_eq!(read(context, "link").unwrap(), b"inline");
    for (name, bytes) in [("big", big()), ("text", text()), ("page", vec![9; crate::PAGE_SIZE])] {
        assert_eq!(read(context, name).unwrap(), bytes);
        let file = open(context, &at(name), O_RDONLY, 0).unwrap();
        let file = file.file().unwrap();
        let pages = bytes.len().div_ceil(crate::PAGE_SIZE) as u64;
        for (index, wanted) in bytes.chunks(crate::PAGE_SIZE).enumerate() {
            let mut wanted = wanted.to_vec();
            wanted.resize(crate::PAGE_SIZE, 0);
            let page = file.page(index as u64, false).ok().unwrap();
            assert_eq!(page.bytes(), &wanted[..], "page {index} of {name}");
            if let Some(page) = file.page_at_hand(index as u64) {
                assert_eq!(page.bytes(), &wanted[..], "page {index} of {name}");
            }
        }
        assert!(file.page_at_hand(0).is_some());
        assert!(file.page_at_hand(pages).is_none() && file.page_at_hand(u64::MAX).is_none());
        assert_eq!(file.page(pages, false).err(), Some(Errno::ENXIO));
        assert_eq!(file.page(u64::MAX, false).err(), Some(Errno::ENXIO));
    }
    let names = list(context, "sub", 400).unwrap();
    assert_eq!(names.len(), 302);
    assert_eq!(stat(context, "sub/file-with-a-long-name-299").unwrap().size, 0);
    assert_eq!(stat(context, "sub/file-with-a-long-name-300").err(), Some(Errno::ENOENT));
}

#[test]
fn an_image_is_read_and_mapped() {
    for (name, options) in [("plain", PLAIN), ("packed", PACKED)] {
        let made = made(name, options);
        let (context, integrity) = in_memory(made);
        check_contents(&context);
        assert_eq!((integrity.failures(), integrity.blocks()), (0, made.bytes.len() as u64 / BLOCK as u64));
        assert!((10..=integrity.blocks()).contains(&integrity.verified()), "{}", integrity.verified());
        let disk = on_disk(made);
        check_contents(&disk.context);
        assert_eq!(disk.integrity.failures(), 0);
        assert_eq!(disk.integrity.verified(), integrity.verified());
    }
}

/// Nothing is checked before it is used, and nothing twice.
#[test]
fn what_is_not_used_is_not_checked() {
    let (context, integrity) = in_memory(made("lazy", PLAIN));
    let after_mount = integrity.verified();
    assert!((1..=3).contains(&after_mount), "{after_mount}");
    read(&context, "small").unwrap();
    let small = integrity.verified();
    assert!(small < after_mount + 3, "{small}");
    read(&context, "big").unwrap();
    let big = integrity.verified();
    assert!((small + 4..small + 7).contains(&big), "{small} {big}");
    let file = open(&context, &at("big"), O_RDONLY, 0).unwrap();
    (0..5).for_each(|index| drop(file.file().unwrap().page(index, false).ok().unwrap()));
    assert_eq!(integrity.verified(), big);
    let file = open(&context, &at("text"), O_RDONLY, 0).unwrap();
    let opened = integrity.verified();
    assert!(file.file().unwrap().page_at_hand(0).is_none(), "not at hand before it was checked");
    assert_eq!(integrity.verified(), opened);
}

/// Which block of the image holds the page of a file.
fn block_of(made: Made, name: &[u8], page: u64) -> u64 {
    let image = erofs::Image::open(made.bytes).unwrap();
    let root = image.inode(image.root()).unwrap();
    let inode = image.inode(image.lookup(&root, name).unwrap().unwrap().nid).unwrap();
    match image.piece(&inode, page * BLOCK as u64, 0).unwrap() {
        erofs::Piece::Data { index, .. } => index,
        erofs::Piece::Packed { .. } => image.extent(&inode, page * BLOCK as u64).unwrap().block.into(),
        erofs::Piece::Hole { .. } => panic!("a hole"),
    }
}

fn flipped(bytes: &[u8], bit: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit as usize / 8] ^= 1 << (bit % 8);
    bytes
}

/// Who reads the block gets `EIO` and no byte of it, each time; all else is as it was.
#[test]
fn a_flipped_bit_is_an_error_for_its_readers_alone() {
    for (name, options) in [("flip", PLAIN), ("flip-packed", PACKED)] {
        let sound = made(name, options);
        let block = block_of(sound, b"text", 5);
        let bytes = flipped(sound.bytes, block * BLOCK as u64 * 8 + 12_345).leak();
        let damaged = Made { bytes, ..sound };
        let disk = on_disk(damaged);
        for (context, integrity) in [in_memory(damaged), (disk.context.clone(), disk.integrity.clone())] {
            assert_eq!(read(&context, "text"), Err(Errno::EIO));
            assert_eq!(REPORTED.get(), Some(Failure { block, level: 0 }));
            let file = open(&context, &at("text"), O_RDONLY, 0).unwrap();
            let file = file.file().unwrap();
            for _ in 0..2 {
                let before = integrity.failures();
                assert_eq!(file.page(5, false).err(), Some(Errno::EIO));
                assert!(integrity.failures() > before);
                assert!(file.page_at_hand(5).is_none());
            }
            assert_eq!(file.page(0, false).ok().unwrap().bytes(), &text()[..BLOCK]);
            assert_eq!(read(&context, "big").unwrap(), big());
            assert_eq!(read(&context, "link").unwrap(), b"inline");
        }
    }
}

/// Bits all over image and tree: a program sees what was built or an error, and an image that mounts with a bad tree above it gives nothing.
#[test]
fn no_flipped_bit_is_ever_read() {
    let sound = made("sample", PLAIN);
    let (image_bits, tree_bits) = (sound.bytes.len() as u64 * 8, (sound.tree.section.len() - BLOCK) as u64 * 8);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut seen = [0; 2];
    for _ in 0..300 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bit = state % (image_bits + tree_bits);
        let (mut bytes, mut section) = (sound.bytes, sound.tree.section);
        match bit.checked_sub(image_bits) {
            None => bytes = flipped(bytes, bit).leak(),
            Some(bit) => section = flipped(section, BLOCK as u64 * 8 + bit).leak(),
        }
        let integrity = integrity(&Tree { section, ..sound.tree });
        match crate::base::volume(b"base", InMemory::new(bytes, &integrity), &cache()) {
            Err(error) => {
                assert_eq!(error, erofs::Error::Source(Errno::EIO));
                seen[0] += 1;
            }
            Ok(volume) => {
                let context = context(volume);
                for (name, wanted) in [("big", big()), ("text", text()), ("small", b"inline".to_vec())] {
                    assert!(matches!(read(&context, name), Ok(bytes) if bytes == wanted) || integrity.failures() > 0);
                    assert!(matches!(read(&context, name), Err(Errno::EIO)) || read(&context, name).unwrap() == wanted);
                }
                seen[1] += usize::from(integrity.failures() > 0);
            }
        }
    }
    assert!(seen[0] > 3 && seen[1] > 30, "{seen:?}");
}

/// A block that has left the cache is checked again when it comes back.
#[test]
fn what_is_read_again_is_checked_again() {
    let made = made("again", PLAIN);
    let disk = on_disk(made);
    assert_eq!(read(&disk.context, "text").unwrap(), text());
    let (block, verified) = (block_of(made, b"text", 5), disk.integrity.verified());
    let flip = || disk.device.tamper(|bytes| bytes[(FIRST + block) as usize * BLOCK + 77] ^= 1);
    flip();
    assert_eq!(read(&disk.context, "text").unwrap(), text(), "from the cache");
    assert!(disk.cache.reclaim(usize::MAX) > 20);
    assert_eq!(read(&disk.context, "text"), Err(Errno::EIO));
    assert!(disk.integrity.failures() > 0);
    assert!(disk.integrity.verified() < verified);
    assert_eq!(read(&disk.context, "big").unwrap(), big());
    disk.cache.reclaim(usize::MAX);
    flip();
    assert_eq!(read(&disk.context, "text").unwrap(), text());
}

/// That is no failed check: nothing was read.
#[test]
fn a_disk_that_fails_is_an_error_and_no_damage() {
    let disk = on_disk(made("fails", PLAIN));
    disk.device.fail(Fault { operation: Operation::Read, after: 0, is_lasting: true });
    assert_eq!(read(&disk.context, "text"), Err(Errno::EIO));
    assert_eq!((disk.integrity.failures(), REPORTED.get()), (0, None));
}

#[test]
fn several_blocks_are_read_at_once() {
    let made = made("ahead", PLAIN);
    let disk = on_disk(made);
    let before = disk.device.count(Operation::Read);
    assert_eq!(read(&disk.context, "text").unwrap(), text());
    let blocks = text().len().div_ceil(BLOCK) as u64;
    let reads = disk.device.count(Operation::Read) - before;
    assert!(blocks > 80 && reads <= blocks.div_ceil(8), "{blocks} blocks in {reads} reads");
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

/// A malformed image under a tree that is right for it: what was built wrong is refused or gives errors, but no panic.
#[test]
fn a_broken_image_is_refused_or_gives_errors_but_no_panic() {
    /// Nothing is held to anything.
    struct Unchecked(&'static [u8]);
    impl erofs::Source for Unchecked {
        type Block = &'static [u8; BLOCK];
        type Error = Errno;
        fn count(&self) -> u64 {
            self.0.count()
        }
        fn block(&self, index: u64) -> Result<Self::Block, Errno> {
            Ok(self.0.block(index).unwrap())
        }
    }
    impl crate::base::Blocks<Host> for Unchecked {
        fn share(block: &Self::Block) -> Option<HostPage> {
            HostPage::in_place(*block)
        }
    }
    for options in [PLAIN, PACKED] {
        let sound = made("broken", options).bytes;
        for at in (1024..sound.len().min(9000)).step_by(13) {
            let mut bytes = sound.to_vec();
            bytes[at] ^= 0x5a;
            bytes[1024 + 8] &= !1;
            let Ok(volume) = crate::base::volume::<Host, _>(b"base", Unchecked(bytes.leak()), &cache()) else {
                continue;
            };
            let context = context(volume);
            for path in ["small", "big", "page", "text", "link", "sub/file-with-a-long-name-150"] {
                let _ = read(&context, path);
            }
            let _ = list(&context, ".", 400);
        }
    }
}
