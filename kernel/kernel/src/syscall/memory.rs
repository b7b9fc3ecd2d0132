//! Memory.

use linux::Errno;
use linux::flags::*;

use super::Call;
use crate::fs;
use crate::mm::{Backing, Place, Protection, SharedMemory, Sharing};

const PAGE: u64 = 4096;

/// No program may write and execute the same memory; the right to (for JIT compilers) is granted to none yet.
fn protection(bits: u64) -> Result<Protection, Errno> {
    let bits = bits as u32;
    if bits & !(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN | PROT_GROWSUP) != 0 {
        return Err(Errno::EINVAL);
    }
    let has = |bit: u32| bits & bit != 0;
    if has(PROT_WRITE) && has(PROT_EXEC) {
        return Err(Errno::EACCES);
    }
    Ok(Protection { read: has(PROT_READ), write: has(PROT_WRITE), execute: has(PROT_EXEC) })
}

pub fn brk(call: &Call<'_>) -> Result<u64, Errno> {
    Ok(call.process.space()?.set_heap_end(call.arguments[0]))
}

pub fn mmap(call: &Call<'_>) -> Result<u64, Errno> {
    let [address, length, bits, flags, fd, offset] = call.arguments;
    let flags = flags as u32;
    if length == 0 || offset % PAGE != 0 {
        return Err(Errno::EINVAL);
    }
    let length = length.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?;
    offset.checked_add(length).ok_or(Errno::EOVERFLOW)?;
    let protection = protection(bits)?;
    let sharing = match flags & MAP_TYPE {
        MAP_SHARED | MAP_SHARED_VALIDATE => Sharing::Shared,
        MAP_PRIVATE => Sharing::Private,
        _ => return Err(Errno::EINVAL),
    };
    let place = match () {
        () if flags & MAP_FIXED_NOREPLACE != 0 => Place::FixedNoReplace(address),
        () if flags & MAP_FIXED != 0 => Place::Fixed(address),
        () if address != 0 => Place::Hint(address & !(PAGE - 1)),
        () => Place::Anywhere,
    };
    let fixed = matches!(place, Place::Fixed(_) | Place::FixedNoReplace(_));
    if fixed && address % PAGE != 0 {
        return Err(Errno::EINVAL);
    }
    let backing = if flags & MAP_ANONYMOUS != 0 {
        match sharing {
            Sharing::Private => Backing::Anonymous,
            Sharing::Shared => Backing::Object { source: SharedMemory::new(length), first_page: 0, sharing },
        }
    } else {
        let (file, _) = call.process.file(fd)?;
        if file.is_path() {
            return Err(Errno::EBADF);
        }
        let writes_file = protection.write && sharing == Sharing::Shared;
        if !file.is_readable() || writes_file && !file.is_writable() {
            return Err(Errno::EACCES);
        }
        Backing::Object { source: fs::page_source(&file)?, first_page: offset / PAGE, sharing }
    };
    call.process.space()?.map(place, length, protection, backing)
}

fn range(call: &Call<'_>) -> Result<(u64, u64), Errno> {
    let [address, length, ..] = call.arguments;
    if address % PAGE != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((address, length.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?))
}

pub fn munmap(call: &Call<'_>) -> Result<u64, Errno> {
    let (address, length) = range(call)?;
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    call.process.space()?.unmap(address, length)?;
    Ok(0)
}

pub fn mprotect(call: &Call<'_>) -> Result<u64, Errno> {
    let (address, length) = range(call)?;
    if length == 0 {
        return Ok(0);
    }
    call.process.space()?.protect(address, length, protection(call.arguments[2])?)?;
    Ok(0)
}

pub fn mremap(call: &Call<'_>) -> Result<u64, Errno> {
    let [old, old_length, new_length, flags, ..] = call.arguments;
    let flags = flags as u32;
    // Moving to a fixed place, and leaving the old one mapped, are not there yet.
    if flags & !MREMAP_MAYMOVE != 0 || old % PAGE != 0 || new_length == 0 || old_length == 0 {
        return Err(Errno::EINVAL);
    }
    let round = |length: u64| length.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM);
    call.process.space()?.remap(old, round(old_length)?, round(new_length)?, flags & MREMAP_MAYMOVE != 0, None)
}

pub fn madvise(call: &Call<'_>) -> Result<u64, Errno> {
    let (address, length) = range(call)?;
    match call.arguments[2] as u32 {
        MADV_DONTNEED | MADV_FREE => call.process.space()?.discard(address, length)?,
        MADV_NORMAL | MADV_RANDOM | MADV_SEQUENTIAL | MADV_WILLNEED | MADV_HUGEPAGE | MADV_NOHUGEPAGE
        | MADV_DONTDUMP | MADV_DODUMP => {}
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Shared mappings write into the pages of the file itself; with `MS_SYNC` these last before it returns.
pub fn msync(call: &Call<'_>) -> Result<u64, Errno> {
    let [address, length, flags, ..] = call.arguments;
    let flags = flags as u32;
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0
        || address % PAGE != 0
        || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC
    {
        return Err(Errno::EINVAL);
    }
    let end = length.checked_next_multiple_of(PAGE).and_then(|length| address.checked_add(length));
    let end = end.ok_or(Errno::ENOMEM)?;
    if end == address {
        return Ok(0);
    }
    let (shared, is_covered) = call.process.space()?.shared_in(address..end);
    if flags & MS_SYNC != 0 {
        for (source, pages) in shared {
            source.sync(pages)?;
        }
    }
    if is_covered { Ok(0) } else { Err(Errno::ENOMEM) }
}

/// Nothing is ever swapped out.
pub fn mlock(_call: &Call<'_>) -> Result<u64, Errno> {
    Ok(0)
}
