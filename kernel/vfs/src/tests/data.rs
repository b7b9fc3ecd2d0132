//! Persistent files: what is found again, what lasts, what a device that fails does, and what happens at once.

use datatool::mounted::Mounted as Tool;
use std::sync::OnceLock as Once;

use super::*;
use crate::PAGE_SIZE;
use crate::attributes::{NewTime, set_mode, set_owner, set_times, statistics};
use crate::cache::{Cache, Limits};
use crate::create::{link, mknod};
use crate::data::{MountError, Mounted, Options, Store, mount};
use crate::inode::SetXattr;
use crate::remove::unlink;
use crate::rename::rename;
use crate::testing::{MemoryDevice, Operation, Record};

pub const BLOCKS: u64 = 1200;
const LIMITS: Limits = Limits { dirty_max: 200, dirty_background: 100 };

fn format(blocks: u64) -> Vec<u8> {
    let format = datafs::Format {
        blocks,
        uuid: *b"0123456789abcdef",
        label: b"test",
        hash_key: [7; 16],
        created: 1,
        log_blocks: Some(256),
        inodes_per_group: Some(256),
    };
    let root = datafs::New { mode: S_IFDIR | 0o755, user: 0, group: 0, device: 0, target: &[], time: 1 };
    let tool = Tool::format(datatool::MemoryDevice::new(blocks), &format, &root).unwrap();
    let mut image = Vec::new();
    for block in 0..blocks {
        let mut bytes = [0; PAGE_SIZE];
        datatool::Device::read(&tool.device, block, &mut bytes).unwrap();
        image.extend(bytes);
    }
    image
}

pub fn image() -> Vec<u8> {
    static IMAGE: Once<Vec<u8>> = Once::new();
    IMAGE.get_or_init(|| format(BLOCKS)).clone()
}

/// A mounted volume as the root of a tree.
pub struct Disk {
    pub device: Arc<MemoryDevice<Host>>,
    pub cache: Arc<Cache<Host>>,
    pub store: Arc<Store<Host>>,
    pub context: PathContext<Host>,
}

impl Disk {
    pub fn new() -> Self {
        Self::of(image())
    }

    pub fn of(image: Vec<u8>) -> Self {
        Self::on(Arc::new(MemoryDevice::from_image(image)), Options::default()).unwrap()
    }

    pub fn on(device: Arc<MemoryDevice<Host>>, options: Options) -> Result<Self, MountError> {
        let cache = Cache::new(LIMITS);
        let Mounted { volume, store, .. } = mount(b"disk", device.clone(), &cache, options)?;
        let root = Path::root_of(&Mount::root(volume));
        let context = PathContext { cwd: root.clone(), root, credentials: Credentials::root(), umask: 0o022 };
        Ok(Self { device, cache, store, context })
    }

    /// Left properly and found again.
    pub fn again(&self) -> Self {
        self.store.close().unwrap();
        Self::of(self.device.image())
    }

    /// As a loss of power now leaves it, the device's cache having kept all or nothing since the last flush.
    fn cut(&self, kept: bool) -> Self {
        if kept {
            return Self::of(self.device.image());
        }
        let mut image = image();
        let records = self.device.records();
        let last = records.iter().rposition(|record| *record == Record::Flush).map_or(0, |at| at);
        for record in &records[..last] {
            if let Record::Write { block, bytes } = record {
                image[*block as usize * PAGE_SIZE..][..bytes.len()].copy_from_slice(bytes);
            }
        }
        Self::of(image)
    }

    /// The tool opens it and finds nothing to do.
    pub fn check(&self) {
        self.store.close().unwrap();
        let (image, blocks) = (self.device.image(), self.device.image().len() / PAGE_SIZE);
        let mut device = datatool::MemoryDevice::new(blocks as u64);
        for (block, bytes) in image.chunks_exact(PAGE_SIZE).enumerate() {
            datatool::Device::write(&mut device, block as u64, bytes.try_into().unwrap()).unwrap();
        }
        let tool = Tool::open(device).unwrap();
        assert_eq!(tool.volume.first_orphan(), None);
        assert!(!tool.volume.wants_checkpoint(), "the log is not empty");
    }
}

#[test]
fn everything_is_found_again() {
    let disk = Disk::new();
    let context = &disk.context;
    mkdir(context, &at("d"), 0o750).unwrap();
    let bytes: Vec<u8> = (0..100_000u32).map(|at| (at / 7) as u8).collect();
    write(context, "d/file", &bytes).unwrap();
    link(context, &lookup(context, &at("d/file"), false).unwrap(), &at("other")).unwrap();
    symlink(context, &[b'x'; 3000], &at("long")).unwrap();
    symlink(context, b"d/file", &at("short")).unwrap();
    mknod(context, &at("null"), S_IFCHR | 0o666, 0x103).unwrap();
    let place = lookup(context, &at("d/file"), false).unwrap();
    set_mode(context, &place, 0o4711).unwrap();
    set_owner(context, &place, Some(3), Some(4)).unwrap();
    set_mode(context, &place, 0o640).unwrap();
    let time = |sec, nsec| NewTime::At(Timespec { sec, nsec });
    set_times(context, &place, time(-5, 999_999_999), time(1 << 32, 1)).unwrap();
    place.inode().set_xattr(b"user.a", b"value", SetXattr::Create).unwrap();
    assert_eq!(place.inode().set_xattr(b"user.a", b"value", SetXattr::Create), Err(Errno::EEXIST));
    assert_eq!(place.inode().remove_xattr(b"user.b"), Err(Errno::ENODATA));
    let before = stat(context, "d/file").unwrap();
    let again = disk.again();
    let context = &again.context;
    assert!(read(context, "d/file").unwrap() == bytes && read(context, "short").unwrap() == bytes);
    assert_eq!(Metadata { accessed: before.accessed, ..stat(context, "other").unwrap() }, before);
    assert_eq!((before.accessed.sec, before.accessed.nsec, before.modified.sec), (-5, 999_999_999, 1 << 32));
    assert_eq!((before.permission.mode & 0o7777, before.permission.user, before.permission.group), (0o640, 3, 4));
    assert_eq!((before.links, before.blocks), (2, 8 * 25 + 8), "with the block of the attribute");
    let place = lookup(context, &at("other"), false).unwrap();
    assert_eq!(place.inode().xattr(b"user.a").as_deref(), Ok(&b"value"[..]));
    assert_eq!(place.inode().xattr_names().unwrap(), b"user.a\0");
    let crate::Link::Text(target) = lookup(context, &at("long"), false).unwrap().inode().link().unwrap() else {
        panic!("a link to a path")
    };
    assert_eq!(target[..], [b'x'; 3000]);
    assert_eq!((stat(context, "null").unwrap().device, stat(context, "d").unwrap().links), (0x103, 2));
    again.check();
}

#[test]
fn names_that_nobody_uses_are_forgotten_and_found_again() {
    let disk = Disk::new();
    let context = &disk.context;
    mkdir(context, &at("d"), 0o755).unwrap();
    mkdir(context, &at("d/e"), 0o755).unwrap();
    (0..50).for_each(|number| write(context, &std::format!("d/e/f{number}"), &[number]).unwrap());
    disk.store.sync().unwrap();
    assert_eq!(disk.store.files(), 53);
    let open_file = open(context, &at("d/e/f7"), O_RDWR, 0).unwrap();
    context.root.dentry().prune_unused();
    assert_eq!(disk.store.files(), 4, "the open one and the directories on its way");
    assert_eq!(open_file.path().text(&context.root).0, b"/d/e/f7");
    assert_eq!(read(context, "d/e/f8").unwrap(), [8]);
    let again = open(context, &at("d/e/f7"), O_RDONLY, 0).unwrap();
    assert!(Arc::ptr_eq(again.path().dentry(), open_file.path().dentry()));
    drop((again, open_file));
    // The access time of the one that was read.
    disk.store.sync().unwrap();
    context.root.dentry().prune_unused();
    assert_eq!(disk.store.files(), 1);
    // A mapping that is written and a working directory keep theirs, by whichever name.
    link(context, &lookup(context, &at("d/e/f3"), false).unwrap(), &at("d/other")).unwrap();
    disk.store.sync().unwrap();
    let mapped = open(context, &at("d/other"), O_RDWR, 0).unwrap().file().unwrap().page(0, true).unwrap();
    let inside = PathContext { cwd: lookup(context, &at("d/e"), true).unwrap(), ..context.clone() };
    context.root.dentry().prune_unused();
    assert_eq!(disk.store.files(), 4, "root, two directories, the file that is mapped");
    mapped.change(&mut |bytes| bytes[0] = 33);
    assert_eq!(read(&inside, "f3").unwrap(), [33], "one file by either name");
    unlink(&inside, &at("f3")).unwrap();
    drop((mapped, inside));
    disk.store.sync().unwrap();
    context.root.dentry().prune_unused();
    assert_eq!((disk.store.files(), read(context, "d/other").unwrap()), (1, vec![33]));
    // What is dirty stays in memory, and is the file that is found.
    write(context, "d/e/f9", b"changed").unwrap();
    context.root.dentry().prune_unused();
    disk.cache.reclaim(usize::MAX);
    assert_eq!((disk.store.files(), read(context, "d/e/f9").unwrap()), (2, b"changed".to_vec()));
    let unlinked = open(context, &at("d/e/f10"), O_RDONLY, 0).unwrap();
    unlink(context, &at("d/e/f10")).unwrap();
    context.root.dentry().prune_unused();
    assert_eq!(read_all(&unlinked).unwrap(), [10], "it has no name, and is used");
    assert_eq!(unlinked.path().text(&context.root).0, b"/d/e/f10 (deleted)");
    drop(unlinked);
    disk.again().check();
}

#[test]
fn what_has_no_name_goes_with_its_last_user() {
    let disk = Disk::new();
    let context = &disk.context;
    let free = statistics(&context.root).bfree;
    write(context, "f", &[1; 50 * PAGE_SIZE]).unwrap();
    disk.store.sync().unwrap();
    let file = open(context, &at("f"), O_RDWR, 0).unwrap();
    unlink(context, &at("f")).unwrap();
    assert_eq!((file.metadata().links, file.metadata().size), (0, 50 * PAGE_SIZE as u64));
    file.write_at(60 * PAGE_SIZE as u64, &mut Slice::new(b"x")).unwrap();
    assert!(statistics(&context.root).bfree < free - 50);
    // A cut now: the next one who mounts it frees the file.
    disk.store.sync().unwrap();
    assert_eq!(statistics(&disk.cut(true).context.root).bfree, free);
    drop(file);
    assert_eq!(statistics(&context.root).bfree, free);
    assert_eq!(disk.cache.statistics().dirty, 0);
    disk.again().check();
}

/// What `fsync` said lasts is there, whatever the device lost that was not flushed.
#[test]
fn what_was_synced_survives_a_cut() {
    let disk = Disk::new();
    disk.device.record();
    let context = &disk.context;
    mkdir(context, &at("d"), 0o755).unwrap();
    let file = open(context, &at("d/f"), O_CREAT | O_RDWR, 0o600).unwrap();
    file.write(&mut Slice::new(&[5; 10_000])).unwrap();
    file.sync(false).unwrap();
    write(context, "lost", b"not synced").unwrap();
    let after = disk.cut(false);
    assert_eq!(read(&after.context, "d/f").unwrap(), [5; 10_000]);
    assert_eq!(read(&after.context, "lost"), Err(Errno::ENOENT));

    // The bytes alone, in place: one flush, and no record of the log.
    let disk = Disk::of(after.device.image());
    let file = open(&disk.context, &at("d/f"), O_RDWR, 0).unwrap();
    file.write_at(100, &mut Slice::new(&[6; 100])).unwrap();
    file.sync(true).unwrap();
    disk.device.record();
    let (writes, flushes) = (disk.device.count(Operation::Write), disk.device.count(Operation::Flush));
    file.write_at(200, &mut Slice::new(&[7; 100])).unwrap();
    file.sync(true).unwrap();
    assert_eq!(disk.device.count(Operation::Write) - writes, 1);
    assert_eq!(disk.device.count(Operation::Flush) - flushes, 1);
    file.sync(true).unwrap();
    assert_eq!(disk.device.count(Operation::Flush) - flushes, 1, "nothing to be flushed");
    let after = disk.cut(true);
    let mut wanted = vec![5; 10_000];
    wanted[100..200].fill(6);
    wanted[200..300].fill(7);
    assert!(read(&after.context, "d/f").unwrap() == wanted);

    // O_DSYNC does the same at each call.
    let file = open(&disk.context, &at("e"), O_CREAT | O_WRONLY | O_SYNC, 0o600).unwrap();
    file.write(&mut Slice::new(b"at once")).unwrap();
    assert_eq!(read(&disk.cut(true).context, "e").unwrap(), b"at once");
}

/// The names are a directory's data: SQLite promises a commit after `fdatasync` of the directory that lost its journal.
#[test]
fn names_are_what_fdatasync_of_a_directory_covers() {
    let disk = Disk::new();
    let context = &disk.context;
    mkdir(context, &at("d"), 0o755).unwrap();
    for name in ["d/a", "d/b"] {
        write(context, name, b"synced").unwrap();
    }
    disk.store.sync().unwrap();
    let changes: [&dyn Fn(); 3] =
        [&|| unlink(context, &at("d/a")).unwrap(), &|| rename(context, &at("d/b"), &at("d/c"), 0).unwrap(), &|| {
            mkdir(context, &at("d/e"), 0o755).unwrap()
        }];
    for (change, names) in changes.iter().zip([&["b"][..], &["c"], &["c", "e"]]) {
        change();
        open(context, &at("d"), O_RDONLY | O_DIRECTORY, 0).unwrap().sync(true).unwrap();
        let after = disk.cut(true);
        let is_there = |name: &&str| lookup(&after.context, &at(&std::format!("d/{name}")), true).is_ok();
        let found: Vec<&str> = ["a", "b", "c", "e"].into_iter().filter(is_there).collect();
        assert_eq!(found, names);
    }
}

/// A file that was made shorter and then longer shows zeroes, now and after a cut at any write.
#[test]
fn old_bytes_do_not_come_back() {
    let disk = Disk::new();
    disk.device.record();
    let context = &disk.context;
    let file = open(context, &at("f"), O_CREAT | O_RDWR, 0o600).unwrap();
    file.write(&mut Slice::new(&[9; 3 * PAGE_SIZE])).unwrap();
    file.sync(false).unwrap();
    file.truncate(1000).unwrap();
    file.sync(false).unwrap();
    disk.cache.reclaim(usize::MAX);
    disk.cache.reclaim(usize::MAX);
    file.truncate(2 * PAGE_SIZE as u64).unwrap();
    file.write_at(2 * PAGE_SIZE as u64 + 5, &mut Slice::new(&[8; 10])).unwrap();
    file.sync(false).unwrap();
    let mut wanted = vec![0; 2 * PAGE_SIZE + 15];
    wanted[..1000].fill(9);
    wanted[2 * PAGE_SIZE + 5..].fill(8);
    assert!(read(context, "f").unwrap() == wanted);
    let records = disk.device.records();
    let mut image = image();
    for record in records {
        let Record::Write { block, bytes } = record else { continue };
        image[block as usize * PAGE_SIZE..][..bytes.len()].copy_from_slice(&bytes);
        let cut = Disk::of(image.clone());
        let Ok(bytes) = read(&cut.context, "f") else { continue };
        let is_right = |(at, byte): (usize, &u8)| match (at, bytes.len()) {
            (_, len) if len == 3 * PAGE_SIZE => *byte == 9,
            (..1000, _) => *byte == 9,
            (at, _) if at >= 2 * PAGE_SIZE + 5 => *byte == 8,
            _ => *byte == 0,
        };
        assert!(bytes.iter().enumerate().all(is_right), "{} bytes", bytes.len());
    }
}
