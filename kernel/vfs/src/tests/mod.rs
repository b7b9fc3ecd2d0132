//! The whole file system on the host: a world of heap pages, threads that yield, and devices that only count.

mod base;
mod blockdev;
mod cache;
mod data;
mod data_failures;
mod data_grow;
mod data_quota;
mod device;
mod errors;
mod files;
mod model;
mod powercut;
mod ring;
mod walks;
mod xattr;

use alloc::sync::Arc;
use std::cell::RefCell;
use std::string::String;
use std::sync::{Mutex as HostMutex, OnceLock};
use std::vec;
use std::vec::Vec;

use linux::Errno;
use linux::flags::*;
use linux::types::Timespec;

use crate::create::{mkdir, symlink};
use crate::open::open;
use crate::walk::lookup;
use crate::{
    At, Credentials, File, Inode, Metadata, Mount, OpenFile, Page, Path, PathContext, Slice, SliceMut, World, tmpfs,
};

#[derive(Debug)]
pub struct Host;

#[derive(Debug)]
pub struct HostCpu;

std::thread_local! {
    /// No page is free for this thread.
    pub static WITHOUT_MEMORY: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    static HELD: RefCell<u64> = const { RefCell::new(0) };
}

impl sync::Cpu for HostCpu {
    fn mask_interrupts() -> u64 {
        0
    }
    fn restore_interrupts(_: u64) {}
    fn held() -> u64 {
        HELD.with(|held| *held.borrow())
    }
    fn set_held(set: u64) {
        HELD.with(|held| *held.borrow_mut() = set);
    }
}

pub struct Yielding;

impl sync::Sleep for Yielding {
    fn sleep_until(&self, mut condition: impl FnMut() -> bool) {
        assert_eq!(<HostCpu as sync::Cpu>::held(), 0, "asleep with a spinlock held");
        while !condition() {
            std::thread::yield_now();
        }
    }
    fn wake_one(&self) {}
    fn wake_all(&self) {}
}

/// A page that can be changed by all who share it, as in the kernel; bytes are copied out to be looked at.
#[derive(Clone)]
pub struct HostPage(Arc<PageBytes>);

struct PageBytes {
    now: HostMutex<std::boxed::Box<[u8]>>,
    seen: Seen,
}

/// What a page's bytes were when somebody looked: kept, in a chain, as long as the page.
#[derive(Default)]
struct Seen(OnceLock<(std::boxed::Box<[u8]>, std::boxed::Box<Seen>)>);

impl HostPage {
    fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(PageBytes { now: HostMutex::new(bytes.into()), seen: Seen::default() }))
    }
}

impl Page for HostPage {
    fn zeroed() -> Option<Self> {
        let has_memory = !WITHOUT_MEMORY.with(std::cell::Cell::get);
        has_memory.then(|| Self::new(vec![0; crate::PAGE_SIZE]))
    }
    fn in_place(bytes: &'static [u8]) -> Option<Self> {
        // What is shared in place may not be changed: a copy shows it if somebody tries, for the original stays as it was.
        Some(Self::new(bytes.to_vec()))
    }
    fn is_sole(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
    fn bytes(&self) -> &[u8] {
        let now = self.0.now.lock().unwrap().clone();
        let mut seen = &self.0.seen;
        loop {
            let (bytes, next) = seen.0.get_or_init(|| (now.clone(), std::boxed::Box::default()));
            if *bytes == now {
                return bytes;
            }
            seen = next;
        }
    }
    fn change(&self, change: &mut dyn FnMut(&mut [u8])) {
        assert_eq!(<HostCpu as sync::Cpu>::held(), 0, "user memory touched with a spinlock held");
        change(&mut self.0.now.lock().unwrap());
    }
}

struct Device;

impl File<Host> for Device {}

impl World for Host {
    type Cpu = HostCpu;
    type Sleepers = Yielding;
    type Page = HostPage;
    type WaitQueue = ();

    fn sleepers() -> Yielding {
        Yielding
    }

    fn now() -> Timespec {
        static CLOCK: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1000);
        Timespec { sec: CLOCK.fetch_add(1, std::sync::atomic::Ordering::Relaxed), nsec: 0 }
    }

    fn open_special(inode: &Arc<dyn Inode<Self>>, _flags: u32) -> Result<Arc<dyn File<Self>>, Errno> {
        let device = inode.special().expect("only special files are opened so").device;
        if device == 0xdead { Err(Errno::ENXIO) } else { Ok(Arc::new(Device)) }
    }
}

pub const SMALL: tmpfs::Options = tmpfs::Options { pages_max: 64, inodes_max: 200, root_mode: 0o755 };

/// A tree whose root is a tmpfs, seen by root.
pub fn tree() -> PathContext<Host> {
    let root = Path::root_of(&Mount::root(tmpfs::volume("tmpfs", b"tmpfs", SMALL)));
    PathContext { cwd: root.clone(), root, credentials: Credentials::root(), umask: 0o022 }
}

/// The same, seen by another.
pub fn as_user(context: &PathContext<Host>, user: u32) -> PathContext<Host> {
    PathContext { credentials: Credentials { user, group: user, groups: Arc::new([]) }, ..context.clone() }
}

pub fn at(path: &str) -> At<'_, Host> {
    At::cwd(path.as_bytes())
}

pub fn write(context: &PathContext<Host>, path: &str, bytes: &[u8]) -> Result<(), Errno> {
    let file = open(context, &at(path), O_CREAT | O_WRONLY | O_TRUNC, 0o666)?;
    assert_eq!(file.write(&mut Slice::new(bytes))?, bytes.len());
    Ok(())
}

pub fn read(context: &PathContext<Host>, path: &str) -> Result<Vec<u8>, Errno> {
    read_all(&*open(context, &at(path), O_RDONLY, 0)?)
}

pub fn read_all(file: &OpenFile<Host>) -> Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    loop {
        let mut bytes = [0; 1000];
        match file.read(&mut SliceMut::new(&mut bytes))? {
            0 => return Ok(all),
            count => all.extend_from_slice(&bytes[..count]),
        }
    }
}

pub fn stat(context: &PathContext<Host>, path: &str) -> Result<Metadata, Errno> {
    lookup(context, &at(path), false).map(|place| place.inode().metadata())
}

/// The names that `getdents64` gives with a buffer of this size.
pub fn list(context: &PathContext<Host>, path: &str, room: usize) -> Result<Vec<String>, Errno> {
    let file = open(context, &at(path), O_RDONLY | O_DIRECTORY, 0)?;
    let mut names = Vec::new();
    loop {
        let mut buffer = vec![0; room];
        let mut writer = linux::dirent::Writer::new(&mut buffer);
        file.read_directory(&mut writer)?;
        let used = writer.used();
        if used == 0 {
            return Ok(names);
        }
        let mut record = 0;
        while record < used {
            let length = usize::from(u16::from_le_bytes([buffer[record + 16], buffer[record + 17]]));
            let name: Vec<u8> =
                buffer[record + 19..record + length].iter().copied().take_while(|&byte| byte != 0).collect();
            names.push(String::from_utf8(name).unwrap());
            record += length;
        }
    }
}

/// A small tree for the tests of errors.
pub fn furnished() -> PathContext<Host> {
    let context = tree();
    for directory in ["d", "d/sub", "locked", "open"] {
        mkdir(&context, &at(directory), 0o755).unwrap();
    }
    write(&context, "f", b"file").unwrap();
    write(&context, "d/g", b"g").unwrap();
    write(&context, "locked/secret", b"s").unwrap();
    for (target, link) in [
        ("f", "tofile"),
        ("d", "todir"),
        ("nowhere", "broken"),
        ("loop2", "loop1"),
        ("loop1", "loop2"),
        ("/d/sub", "d/abs"),
    ] {
        symlink(&context, target.as_bytes(), &at(link)).unwrap();
    }
    crate::attributes::set_mode(&context, &lookup(&context, &at("locked"), true).unwrap(), 0o700).unwrap();
    crate::attributes::set_mode(&context, &lookup(&context, &at("open"), true).unwrap(), 0o1777).unwrap();
    context
}
