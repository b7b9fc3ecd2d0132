//! The first mounts, and `mount`.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use linux::Errno;
use vfs::access::Credentials;
use vfs::tmpfs;
use vfs::{PAGE_SIZE, walk};

use super::base::Base;
use super::{At, Mount, Path, PathContext, Volume, block, devices, proc};
use crate::mm::frames;
use crate::sync::{Mutex, Once, mutex};
use crate::{clock, event};

/// Of the memory that is free at the start, what one tmpfs may take: a half.
const TMPFS_SHARE: u64 = 2;
/// Memory per file of a tmpfs that its count of files is derived from.
const BYTES_PER_INODE: u64 = 4096;

/// Why there is no tree.
#[derive(Debug)]
pub enum MountError {
    /// The base lacks a directory to mount on.
    Place(&'static str, Errno),
}

impl core::fmt::Display for MountError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Place(path, error) => write!(f, "cannot mount on {path}: {error}"),
        }
    }
}

/// An empty tmpfs that may grow to half of the memory.
pub fn temporary(source: &[u8], root_mode: u32) -> Arc<Volume> {
    let bytes = frames::free_bytes() / TMPFS_SHARE;
    let options =
        tmpfs::Options { pages_max: bytes / PAGE_SIZE as u64, inodes_max: bytes / BYTES_PER_INODE, root_mode };
    in_memory("tmpfs", source, options)
}

/// The volumes whose files lie in memory.
static IN_MEMORY: Mutex<Vec<Weak<Volume>>> = mutex(Vec::new());

/// A new volume whose files lie in memory.
pub fn in_memory(kind: &'static str, source: &[u8], options: tmpfs::Options) -> Arc<Volume> {
    let volume = tmpfs::volume(kind, source, options);
    let mut all = IN_MEMORY.lock();
    all.retain(|volume| volume.strong_count() > 0);
    all.push(Arc::downgrade(&volume));
    volume
}

/// Pages of files that lie in memory.
pub fn pages_in_memory() -> u64 {
    let all: Vec<_> = IN_MEMORY.lock().iter().filter_map(Weak::upgrade).collect();
    all.iter().map(|volume| volume.statistics()).map(|found| found.blocks.saturating_sub(found.bfree)).sum()
}

static ROOT: Once<Path> = Once::new();

/// The root of the first mount tree; `None` before the base is mounted.
pub fn root() -> Option<Path> {
    ROOT.get().cloned()
}

/// Mounts the base, and what goes on top of it.
///
/// # Errors
/// What the base lacks.
pub fn mount_all(base: Base) -> Result<(), MountError> {
    let Base { volume, source, size } = base;
    let files = volume.statistics().files;
    clock::start(volume.root().inode().metadata().modified);
    let root = Path::root_of(&Mount::root(volume));
    let context = PathContext { cwd: root.clone(), root, credentials: Credentials::root(), umask: 0o022 };
    event!("base.mounted", source = source, size = size, files = files);
    let dev = devices::volume().map_err(|error| MountError::Place("/dev", error))?;
    let hang = |path: &'static str, volume: Arc<Volume>| {
        let place = walk::lookup(&context, &At::cwd(path.as_bytes()), true);
        place.and_then(|place| place.hang(volume, false)).map(|_| ()).map_err(|error| MountError::Place(path, error))
    };
    hang("/dev", dev)?;
    hang("/proc", proc::volume())?;
    hang("/tmp", temporary(b"tmpfs", 0o1777))?;
    hang("/run", temporary(b"tmpfs", 0o755))?;
    // A base without /sys is as good: programs take its absence for a small machine.
    match hang("/sys", proc::machine_volume()) {
        Ok(()) | Err(MountError::Place(_, Errno::ENOENT)) => {}
        Err(error) => return Err(error),
    }
    let _ = ROOT.set(context.root);
    Ok(())
}

/// Makes everything that was written to any volume lasting, as far as it can be.
pub fn sync_all() {
    for volume in ROOT.get().map(|root| root.mount().volumes()).unwrap_or_default() {
        // Who asked for certain files is told by their own `fsync`.
        let _ = volume.file_system().sync(None);
    }
    block::sync_all();
}

/// `mount` flags (include/uapi/linux/mount.h).
const MS_RDONLY: u64 = 1;
const MS_REMOUNT: u64 = 0x20;
const MS_BIND: u64 = 0x1000;
const MS_MOVE: u64 = 0x2000;
/// Propagation: there is only one tree, so nothing propagates.
const MS_PROPAGATION: u64 = 0xf << 17;

/// `mount`: a new tmpfs, proc or devtmpfs, or a place a second time.
///
/// # Errors
/// As mount(2); `EINVAL` for what is not had (remount, move).
pub fn mount(
    context: &PathContext,
    source: &[u8],
    target: &[u8],
    kind: &[u8],
    flags: u64,
    data: &[u8],
) -> Result<(), Errno> {
    if !context.credentials.is_privileged() {
        return Err(Errno::EPERM);
    }
    let place = walk::lookup(context, &At::cwd(target), true)?;
    if flags & MS_PROPAGATION != 0 {
        return Ok(());
    }
    if flags & (MS_REMOUNT | MS_MOVE) != 0 {
        return Err(Errno::EINVAL);
    }
    let read_only = flags & MS_RDONLY != 0;
    if flags & MS_BIND != 0 {
        let part = walk::lookup(context, &At::cwd(source), true)?;
        return place.bind(&part, read_only).map(|_| ());
    }
    let volume = match kind {
        b"tmpfs" => in_memory("tmpfs", source, options(data)?),
        b"proc" => proc::volume(),
        b"devtmpfs" => devices::volume()?,
        _ => return Err(Errno::ENODEV),
    };
    place.hang(volume, read_only).map(|_| ())
}

/// `size=`, `nr_inodes=`, `mode=` (tmpfs(5)).
fn options(data: &[u8]) -> Result<tmpfs::Options, Errno> {
    let free = frames::free_bytes();
    let mut options = tmpfs::Options {
        pages_max: free / TMPFS_SHARE / PAGE_SIZE as u64,
        inodes_max: free / TMPFS_SHARE / BYTES_PER_INODE,
        root_mode: 0o1777,
    };
    let text = core::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "size" if value.ends_with('%') => {
                let percent: u64 = value[..value.len() - 1].parse().map_err(|_| Errno::EINVAL)?;
                options.pages_max = free / 100 * percent.min(100) / PAGE_SIZE as u64;
            }
            "size" => options.pages_max = number(value)?.div_ceil(PAGE_SIZE as u64),
            "nr_inodes" => options.inodes_max = number(value)?,
            "mode" => options.root_mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777,
            "rw" | "ro" | "relatime" | "noatime" | "nosuid" | "nodev" | "noexec" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(options)
}

/// A number with `k`, `m` or `g` behind it.
fn number(text: &str) -> Result<u64, Errno> {
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return Err(Errno::EINVAL),
    };
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    number.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}

/// `umount2` flags.
const UMOUNT_NOFOLLOW: u64 = 8;
const MNT_DETACH: u64 = 2;
const MNT_FORCE: u64 = 1;

/// `umount2`. Who has something open there keeps it, as with `MNT_DETACH`.
///
/// # Errors
/// As umount(2).
pub fn unmount(context: &PathContext, target: &[u8], flags: u64) -> Result<(), Errno> {
    if !context.credentials.is_privileged() {
        return Err(Errno::EPERM);
    }
    if flags & !(UMOUNT_NOFOLLOW | MNT_DETACH | MNT_FORCE) != 0 {
        return Err(Errno::EINVAL);
    }
    let place = walk::lookup(context, &At::cwd(target), flags & UMOUNT_NOFOLLOW == 0)?;
    if place.is_mount_root() {
        // Who asked for certain files is told by their own `fsync`.
        let _ = place.mount().volume().file_system().sync(None);
    }
    place.take_out()
}
