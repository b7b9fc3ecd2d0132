//! `openat` (Linux `fs/open.c`, `path_openat` and `may_open` of `fs/namei.c`).

use alloc::sync::Arc;

use linux::Errno;
use linux::flags::{
    O_ACCMODE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_LARGEFILE, O_NOATIME, O_NOCTTY, O_NOFOLLOW, O_PATH, O_RDONLY,
    O_TMPFILE, O_TRUNC, O_WRONLY, S_IFREG,
};

use crate::access::{READ, WRITE};
use crate::create::make;
use crate::inode::Kind;
use crate::walk::{Last, Walk};
use crate::{At, OpenFile, Path, PathContext, World};

/// Of `O_TMPFILE`, the bit that is not `O_DIRECTORY`.
const TMPFILE_BIT: u32 = O_TMPFILE & !O_DIRECTORY;

/// Opens, and with `O_CREAT` makes, the file that a path leads to. `O_CLOEXEC` is the handle's, and ignored here.
///
/// # Errors
/// As open(2).
pub fn open<W: World>(
    context: &PathContext<W>,
    at: &At<'_, W>,
    flags: u32,
    mode: u32,
) -> Result<Arc<OpenFile<W>>, Errno> {
    let flags = if flags & O_PATH != 0 { flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW) } else { flags & !O_CLOEXEC };
    if flags & TMPFILE_BIT != 0 {
        let sound = flags & O_TMPFILE == O_TMPFILE && wanted(flags) & WRITE != 0 && flags & O_CREAT == 0;
        return Err(if sound { Errno::EOPNOTSUPP } else { Errno::EINVAL });
    }
    let create = flags & O_CREAT != 0;
    if create && flags & O_DIRECTORY != 0 {
        return Err(Errno::EINVAL);
    }
    let follow = flags & O_NOFOLLOW == 0 && !(create && flags & O_EXCL != 0);
    let mut walk = Walk::new(context, at)?;
    loop {
        let Last::Name(name) = (match walk.go_to_last()? {
            Last::DotDot => {
                walk.up();
                Last::Dot
            }
            last => last,
        }) else {
            let place = walk.directory.clone();
            return if create { Err(Errno::EISDIR) } else { open_place(context, &place, flags) };
        };
        if create && walk.slash {
            return Err(Errno::EISDIR);
        }
        let child = match walk.child(&name) {
            Err(Errno::ENOENT) if create => match find_or_make(context, &walk, &name, flags, mode)? {
                Found::Made(file) => return Ok(file),
                Found::There(child) => child,
            },
            other => other?,
        };
        let directory = if walk.slash { O_DIRECTORY } else { 0 };
        if child.inode().kind() != Kind::Link || !(follow || walk.slash) {
            return open_place(context, &child, flags | directory);
        }
        if walk.follow(&child)? {
            let place = walk.directory.clone();
            return open_place(context, &place, flags | directory);
        }
    }
}

enum Found<W: World> {
    Made(Arc<OpenFile<W>>),
    There(Path<W>),
}

fn find_or_make<W: World>(
    context: &PathContext<W>,
    walk: &Walk<'_, W>,
    name: &[u8],
    flags: u32,
    mode: u32,
) -> Result<Found<W>, Errno> {
    let directory = &walk.directory;
    let changing = directory.dentry().lock();
    match directory.dentry().child_locked(&changing, name) {
        Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
        Ok(_) => {
            drop(changing);
            return Ok(Found::There(walk.child(name)?));
        }
    }
    let mode = S_IFREG | mode & 0o7777 & !context.umask;
    let dentry = make(context, directory, &changing, name, mode, 0, &[])?;
    drop(changing);
    let file = dentry.inode().clone().open(flags)?;
    Ok(Found::Made(OpenFile::new(Path::new(directory.mount().clone(), dentry), Some(file), status(flags))))
}

/// Opens a place that is there; also for `/proc/PID/fd` and the first files of a process.
///
/// # Errors
/// As open(2).
pub fn open_place<W: World>(context: &PathContext<W>, place: &Path<W>, flags: u32) -> Result<Arc<OpenFile<W>>, Errno> {
    let kind = place.inode().kind();
    if flags & O_CREAT != 0 {
        if flags & O_EXCL != 0 {
            return Err(Errno::EEXIST);
        }
        if kind == Kind::Directory {
            return Err(Errno::EISDIR);
        }
    }
    if flags & O_DIRECTORY != 0 && kind != Kind::Directory {
        return Err(Errno::ENOTDIR);
    }
    if flags & O_PATH != 0 {
        return Ok(OpenFile::new(place.clone(), None, flags));
    }
    let truncates = flags & O_TRUNC != 0 && kind == Kind::Regular;
    if truncates {
        place.check_writable()?;
    }
    let wanted = wanted(flags);
    let writes = wanted & WRITE != 0;
    match kind {
        Kind::Link => return Err(Errno::ELOOP),
        Kind::Directory if writes => return Err(Errno::EISDIR),
        _ => {}
    }
    if writes && !kind.is_special() {
        place.check_writable()?;
    }
    let permission = place.inode().permission();
    permission.check(&context.credentials, wanted)?;
    if flags & O_NOATIME != 0 && !permission.is_owned_by(&context.credentials) {
        return Err(Errno::EPERM);
    }
    if kind == Kind::Socket {
        return Err(Errno::ENXIO);
    }
    let file = place.inode().clone().open(flags)?;
    if truncates {
        place.inode().truncate(0)?;
    }
    Ok(OpenFile::new(place.clone(), Some(file), status(flags)))
}

/// What the caller must be allowed to do.
fn wanted(flags: u32) -> u32 {
    let by_mode = match flags & O_ACCMODE {
        O_RDONLY => READ,
        O_WRONLY => WRITE,
        _ => READ | WRITE,
    };
    if flags & O_TRUNC != 0 { by_mode | WRITE } else { by_mode }
}

/// The flags that stay with the open file.
fn status(flags: u32) -> u32 {
    flags & !(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC) | O_LARGEFILE
}
