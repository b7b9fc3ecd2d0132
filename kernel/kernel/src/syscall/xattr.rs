//! Calls on extended attributes.
//!
//! Each comes three times: by path, by path without following a symbolic link at its end, and by descriptor.

use alloc::vec::Vec;

use linux::Errno;
use linux::flags::{XATTR_CREATE, XATTR_REPLACE};
use vfs::inode::SetXattr;
use vfs::walk;
use vfs::xattr::{self, XATTR_NAME_MAX, XATTR_SIZE_MAX};

use super::Call;
use crate::fs::{At, Path};
use crate::mm::user;

/// How the file is named.
#[derive(Clone, Copy)]
enum By {
    Path,
    Link,
    Descriptor,
}

fn place(call: &Call<'_>, by: By) -> Result<Path, Errno> {
    let first = call.arguments[0];
    if matches!(by, By::Descriptor) {
        let file = call.process.file(first)?.0;
        file.file()?;
        return Ok(file.path().clone());
    }
    let path = user::read_cstr(first, vfs::PATH_MAX)?;
    walk::lookup(&call.process.paths(), &At::cwd(&path), matches!(by, By::Path))
}

fn name(call: &Call<'_>) -> Result<Vec<u8>, Errno> {
    let name = user::read_cstr(call.arguments[1], XATTR_NAME_MAX + 1).map_err(|error| match error {
        Errno::ENAMETOOLONG => Errno::ERANGE,
        other => other,
    })?;
    if name.is_empty() { Err(Errno::ERANGE) } else { Ok(name) }
}

fn set(call: &Call<'_>, by: By) -> Result<u64, Errno> {
    let [_, _, address, length, flags, _] = call.arguments;
    let place = place(call, by)?;
    place.check_writable()?;
    let how = match flags as u32 {
        0 => SetXattr::Any,
        XATTR_CREATE => SetXattr::Create,
        XATTR_REPLACE => SetXattr::Replace,
        flags if flags == XATTR_CREATE | XATTR_REPLACE => {
            // It cannot be and not be: which of the two it is says the error.
            xattr::get(&call.process.paths(), &place, &name(call)?)?;
            return Err(Errno::EEXIST);
        }
        _ => return Err(Errno::EINVAL),
    };
    let name = name(call)?;
    let length = usize::try_from(length).ok().filter(|&length| length <= XATTR_SIZE_MAX).ok_or(Errno::E2BIG)?;
    let mut value = alloc::vec![0; length];
    user::copy_in(&mut value, address)?;
    xattr::set(&call.process.paths(), &place, &name, &value, how).map(|()| 0)
}

/// Gives bytes to a caller who has room for `length` of them; 0 asks only how many there are.
fn answer(bytes: &[u8], address: u64, length: u64) -> Result<u64, Errno> {
    if length == 0 {
        return Ok(bytes.len() as u64);
    }
    if bytes.len() as u64 > length {
        return Err(Errno::ERANGE);
    }
    user::copy_out(address, bytes)?;
    Ok(bytes.len() as u64)
}

fn get(call: &Call<'_>, by: By) -> Result<u64, Errno> {
    let [_, _, address, length, ..] = call.arguments;
    let place = place(call, by)?;
    let value = xattr::get(&call.process.paths(), &place, &name(call)?)?;
    answer(&value, address, length)
}

fn list(call: &Call<'_>, by: By) -> Result<u64, Errno> {
    let [_, address, length, ..] = call.arguments;
    let names = xattr::list(&call.process.paths(), &place(call, by)?)?;
    answer(&names, address, length)
}

fn remove(call: &Call<'_>, by: By) -> Result<u64, Errno> {
    let place = place(call, by)?;
    place.check_writable()?;
    xattr::remove(&call.process.paths(), &place, &name(call)?).map(|()| 0)
}

/// `setxattr`
pub fn setxattr(call: &Call<'_>) -> Result<u64, Errno> {
    set(call, By::Path)
}

/// `lsetxattr`
pub fn lsetxattr(call: &Call<'_>) -> Result<u64, Errno> {
    set(call, By::Link)
}

/// `fsetxattr`
pub fn fsetxattr(call: &Call<'_>) -> Result<u64, Errno> {
    set(call, By::Descriptor)
}

/// `getxattr`
pub fn getxattr(call: &Call<'_>) -> Result<u64, Errno> {
    get(call, By::Path)
}

/// `lgetxattr`
pub fn lgetxattr(call: &Call<'_>) -> Result<u64, Errno> {
    get(call, By::Link)
}

/// `fgetxattr`
pub fn fgetxattr(call: &Call<'_>) -> Result<u64, Errno> {
    get(call, By::Descriptor)
}

/// `listxattr`
pub fn listxattr(call: &Call<'_>) -> Result<u64, Errno> {
    list(call, By::Path)
}

/// `llistxattr`
pub fn llistxattr(call: &Call<'_>) -> Result<u64, Errno> {
    list(call, By::Link)
}

/// `flistxattr`
pub fn flistxattr(call: &Call<'_>) -> Result<u64, Errno> {
    list(call, By::Descriptor)
}

/// `removexattr`
pub fn removexattr(call: &Call<'_>) -> Result<u64, Errno> {
    remove(call, By::Path)
}

/// `lremovexattr`
pub fn lremovexattr(call: &Call<'_>) -> Result<u64, Errno> {
    remove(call, By::Link)
}

/// `fremovexattr`
pub fn fremovexattr(call: &Call<'_>) -> Result<u64, Errno> {
    remove(call, By::Descriptor)
}
