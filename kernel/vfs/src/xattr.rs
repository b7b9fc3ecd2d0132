//! Extended attributes: who may do what with which name (Linux 6.1 `fs/xattr.c`), on a place that was looked up or that a handle has.
//!
//! `user.` is for regular files and directories, by their permissions; `trusted.` and `security.` are the privileged user's to write, and others do not see
//! `trusted.`. Access control lists (`system.`) are not had.

use alloc::vec::Vec;

use linux::Errno;
use linux::flags::S_ISVTX;

use crate::access::{READ, WRITE};
use crate::inode::{Kind, SetXattr};
use crate::{Credentials, Path, PathContext, World};

/// Longest name of an attribute.
pub const XATTR_NAME_MAX: usize = 255;
/// Longest value (`XATTR_SIZE_MAX`), and longest list of names.
pub const XATTR_SIZE_MAX: usize = 65536;

const TRUSTED: &[u8] = b"trusted.";

/// Whether `who` may read or write an attribute (Linux `xattr_permission`, and `cap_inode_setxattr`).
fn check<W: World>(who: &Credentials, place: &Path<W>, name: &[u8], wanted: u32) -> Result<(), Errno> {
    let writes = wanted & WRITE != 0;
    let refused = if writes { Errno::EPERM } else { Errno::ENODATA };
    if name.starts_with(b"security.") {
        return if writes && !who.is_privileged() { Err(Errno::EPERM) } else { Ok(()) };
    }
    if name.starts_with(b"system.") {
        return Ok(());
    }
    if name.starts_with(TRUSTED) {
        return if who.is_privileged() { Ok(()) } else { Err(refused) };
    }
    let permission = place.inode().permission();
    if name.starts_with(b"user.") {
        match place.inode().kind() {
            Kind::Regular => {}
            Kind::Directory => {
                if writes && permission.mode & S_ISVTX != 0 && !permission.is_owned_by(who) {
                    return Err(Errno::EPERM);
                }
            }
            _ => return Err(refused),
        }
    }
    permission.check(who, wanted)
}

/// The namespaces that a file system may have; a namespace alone is no name.
fn check_namespace(name: &[u8]) -> Result<(), Errno> {
    for namespace in [&b"user."[..], TRUSTED, b"security."] {
        if let Some(rest) = name.strip_prefix(namespace) {
            return if rest.is_empty() { Err(Errno::EINVAL) } else { Ok(()) };
        }
    }
    Err(Errno::EOPNOTSUPP)
}

/// `setxattr`, the name and the value being sound.
///
/// # Errors
/// As setxattr(2).
pub fn set<W: World>(
    context: &PathContext<W>,
    place: &Path<W>,
    name: &[u8],
    value: &[u8],
    how: SetXattr,
) -> Result<(), Errno> {
    place.check_writable()?;
    check(&context.credentials, place, name, WRITE)?;
    check_namespace(name)?;
    place.inode().set_xattr(name, value, how)
}

/// `getxattr`
///
/// # Errors
/// As getxattr(2).
pub fn get<W: World>(context: &PathContext<W>, place: &Path<W>, name: &[u8]) -> Result<Vec<u8>, Errno> {
    check(&context.credentials, place, name, READ)?;
    check_namespace(name)?;
    place.inode().xattr(name)
}

/// `listxattr`: the names, each ended by a NUL.
///
/// # Errors
/// As listxattr(2).
pub fn list<W: World>(context: &PathContext<W>, place: &Path<W>) -> Result<Vec<u8>, Errno> {
    let names = place.inode().xattr_names()?;
    if context.credentials.is_privileged() {
        return Ok(names);
    }
    Ok(names.split_inclusive(|&byte| byte == 0).filter(|name| !name.starts_with(TRUSTED)).flatten().copied().collect())
}

/// `removexattr`
///
/// # Errors
/// As removexattr(2).
pub fn remove<W: World>(context: &PathContext<W>, place: &Path<W>, name: &[u8]) -> Result<(), Errno> {
    place.check_writable()?;
    check(&context.credentials, place, name, WRITE)?;
    check_namespace(name)?;
    place.inode().remove_xattr(name)
}
