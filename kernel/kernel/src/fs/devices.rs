//! /dev, and who serves which device number.

use alloc::format;
use alloc::sync::Arc;

use linux::Errno;
use linux::flags::{
    O_ACCMODE, O_NOCTTY, O_NONBLOCK, O_RDONLY, O_WRONLY, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, S_IFBLK, S_IFCHR,
    S_IFDIR,
};
use linux::types::device;
use vfs::access::Credentials;
use vfs::tmpfs;
use vfs::{Sink, Source};

use super::tty::{self, OpenTerminal};
use super::{At, Kernel, Mount, Path, PathContext, Volume, bootctl, loader, mounts, watchdog};
use crate::drivers::block;
use crate::process::{current, job, table};
use crate::{boot, events, random, sched};

const NULL: u64 = device(1, 3);
const ZERO: u64 = device(1, 5);
const FULL: u64 = device(1, 7);
const RANDOM: u64 = device(1, 8);
const URANDOM: u64 = device(1, 9);
const KMSG: u64 = device(1, 11);
const TTY: u64 = device(5, 0);
const CONSOLE: u64 = device(5, 1);
/// The number that Linux gives the first PL011.
pub const SERIAL: u64 = device(204, 64);
/// Ours: major 240 is for local use (Linux, devices.txt).
const EVENTS: u64 = device(240, 0);
const BOOTCTL: u64 = device(240, 1);
const LOADER: u64 = device(240, 2);
/// `WATCHDOG_MINOR` among the miscellaneous devices.
const WATCHDOG: u64 = device(10, 130);

/// Bytes of random numbers made at once.
const RANDOM_CHUNK: usize = 256;
/// The longest line that is written to the events or the log; more is a second line.
const LINE_MAX: usize = 480;

const NODES: [(&str, u64, u32); 13] = [
    ("null", NULL, 0o666),
    ("zero", ZERO, 0o666),
    ("full", FULL, 0o666),
    ("random", RANDOM, 0o666),
    ("urandom", URANDOM, 0o666),
    ("kmsg", KMSG, 0o644),
    ("tty", TTY, 0o666),
    ("console", CONSOLE, 0o600),
    ("ttyAMA0", SERIAL, 0o620),
    ("events", EVENTS, 0o620),
    ("bootctl", BOOTCTL, 0o644),
    ("loader", LOADER, 0o600),
    ("watchdog", WATCHDOG, 0o600),
];

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// A volume with the nodes of all devices, to be mounted on /dev.
///
/// # Errors
/// `ENOSPC`, `ENOMEM`.
pub fn volume() -> Result<Arc<Volume>, Errno> {
    let options = tmpfs::Options { pages_max: 16384, inodes_max: 4096, root_mode: 0o755 };
    let volume = mounts::in_memory("devtmpfs", b"devtmpfs", options);
    let root = Path::root_of(&Mount::root(volume.clone()));
    let context = PathContext { cwd: root.clone(), root, credentials: Credentials::root(), umask: 0 };
    for (name, number, mode) in NODES {
        vfs::create::mknod(&context, &At::cwd(name.as_bytes()), S_IFCHR | mode, number)?;
    }
    for (name, target) in LINKS {
        vfs::create::symlink(&context, target.as_bytes(), &At::cwd(name.as_bytes()))?;
    }
    vfs::create::mkdir(&context, &At::cwd(b"shm"), S_IFDIR | 0o1777)?;
    add_disks(&context)?;
    Ok(volume)
}

/// A node for each disk and partition, and links by name to those of the disk that was booted from.
fn add_disks(context: &PathContext) -> Result<(), Errno> {
    for part in block::parts() {
        vfs::create::mknod(context, &At::cwd(part.name.as_bytes()), S_IFBLK | 0o600, part.device_number())?;
    }
    vfs::create::mkdir(context, &At::cwd(b"disk"), S_IFDIR | 0o755)?;
    vfs::create::mkdir(context, &At::cwd(b"disk/by-partlabel"), S_IFDIR | 0o755)?;
    for (kind, part) in block::Kind::ALL.into_iter().filter_map(|kind| Some((kind, block::boot_part(kind)?))) {
        let (target, name) = (format!("../../{}", part.name), format!("disk/by-partlabel/{}", kind.name()));
        vfs::create::symlink(context, target.as_bytes(), &At::cwd(name.as_bytes()))?;
    }
    if let Some(part) = bootctl::running_slot().and_then(|slot| block::boot_part(block::Kind::of(slot.other()))) {
        vfs::create::symlink(context, format!("../{}", part.name).as_bytes(), &At::cwd(b"disk/inactive"))?;
    }
    Ok(())
}

/// Opens the character device of this number.
///
/// # Errors
/// `ENXIO` when nobody serves it.
pub fn open(number: u64, flags: u32) -> Result<Arc<dyn vfs::File<Kernel>>, Errno> {
    Ok(match number {
        NULL => Arc::new(Memory::Null),
        ZERO => Arc::new(Memory::Zero),
        FULL => Arc::new(Memory::Full),
        RANDOM | URANDOM => Arc::new(Memory::Random),
        KMSG => Arc::new(Memory::Log),
        EVENTS => Arc::new(Memory::Events),
        BOOTCTL => return bootctl::open(flags),
        LOADER => return loader::open(flags),
        WATCHDOG => watchdog::open()?,
        TTY => Arc::new(OpenTerminal::of_session(job::terminal_of(&current().process).ok_or(Errno::ENXIO)?)),
        CONSOLE if is_system() => Arc::new(OpenTerminal::of_system(tty::console().clone())),
        CONSOLE => Arc::new(OpenTerminal::of_session(tty::console().clone())),
        SERIAL => {
            if flags & O_NOCTTY == 0 && flags & O_ACCMODE != O_WRONLY {
                job::adopt_terminal(&current().process, tty::console());
            }
            Arc::new(OpenTerminal::of_session(tty::console().clone()))
        }
        _ => return Err(Errno::ENXIO),
    })
}

/// The kernel itself opens a device, or the first process: what they open they hand to services.
fn is_system() -> bool {
    sched::current().data().is_none() || current().process.pid == table::INIT
}

/// The first process opens what it hands to services, and no other program runs yet whose links and mounts its paths could go through.
pub fn hands_out() -> bool {
    is_system() && table::lock().forks() <= 1
}

/// Of a device that is written only by whom the first process hands it to, and only where a loader has verified what runs.
///
/// # Errors
/// To write it `EPERM` for all but the first process, and `EROFS` where no loader said what runs.
pub fn check_handed_out(flags: u32) -> Result<(), Errno> {
    match flags & O_ACCMODE {
        O_RDONLY => Ok(()),
        _ if !hands_out() => Err(Errno::EPERM),
        _ if boot::info().root_count == 0 => Err(Errno::EROFS),
        _ => Ok(()),
    }
}

/// The devices without hardware.
enum Memory {
    Null,
    Zero,
    Full,
    Random,
    /// What is written becomes an event `log.note`.
    Log,
    /// What is written, line by line, becomes events: `NAME KEY=VALUE …`.
    Events,
}

impl vfs::File<Kernel> for Memory {
    fn is_seekable(&self) -> bool {
        // lseek answers 0 on these, as on Linux; offsets do not matter to them.
        !matches!(self, Self::Log | Self::Events)
    }

    fn read(&self, _offset: u64, to: &mut dyn Sink, flags: u32) -> Result<(), Errno> {
        match self {
            Self::Null => Ok(()),
            Self::Zero | Self::Full => to.put_zeroes(to.room()).map(|_| ()),
            Self::Random => {
                let mut chunk = [0; RANDOM_CHUNK];
                while to.room() > 0 {
                    let wanted = to.room().min(RANDOM_CHUNK);
                    random::fill(&mut chunk[..wanted]);
                    to.put(&chunk[..wanted])?;
                }
                Ok(())
            }
            // There is no log to read here: /proc/events has the events.
            Self::Log | Self::Events => Err(if flags & O_NONBLOCK != 0 { Errno::EAGAIN } else { Errno::EINVAL }),
        }
    }

    fn write(&self, offset: u64, from: &mut dyn Source, _flags: u32) -> Result<u64, Errno> {
        match self {
            Self::Full => return Err(Errno::ENOSPC),
            Self::Null | Self::Zero | Self::Random => from.skip(),
            Self::Log | Self::Events => {
                while from.left() > 0 {
                    let mut text = [0; LINE_MAX];
                    let count = from.take(&mut text)?;
                    self.note(&text[..count])?;
                }
            }
        }
        Ok(offset)
    }

    fn poll<'a>(&'a self, _watch: Option<&mut dyn vfs::Watch<'a, Kernel>>) -> u16 {
        match self {
            Self::Log | Self::Events => POLLOUT | POLLWRNORM,
            _ => POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM,
        }
    }
}

impl Memory {
    fn note(&self, text: &[u8]) -> Result<(), Errno> {
        let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match self {
                Self::Log => crate::event!("log.note", text = line),
                _ if !events::emit_text(line) => return Err(Errno::EINVAL),
                _ => {}
            }
        }
        Ok(())
    }
}
