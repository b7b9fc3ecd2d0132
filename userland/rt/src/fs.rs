//! Whole small files and directory listings.

use alloc::{string::String, vec::Vec};
use rustix::fd::OwnedFd;
use rustix::fs::{Dir, Mode, OFlags, open};
use rustix::io::{Errno, Result};

/// The whole of a file of at most `max` bytes; a longer one is EFBIG, so that nothing is cut silently.
pub fn read(path: &str, max: usize) -> Result<Vec<u8>> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 512];
        match rustix::io::read(&file, &mut part) {
            Ok(0) => return Ok(bytes),
            Ok(n) if bytes.len() + n > max => return Err(Errno::FBIG),
            Ok(n) => bytes.extend_from_slice(&part[..n]),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// The same as text; EILSEQ if it is not UTF-8.
pub fn read_text(path: &str, max: usize) -> Result<String> {
    String::from_utf8(read(path, max)?).map_err(|_| Errno::ILSEQ)
}

/// Names in a directory, `.` and `..` left out, sorted.
pub fn list(path: &str) -> Result<Vec<String>> {
    let folder: OwnedFd = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = String::from_utf8_lossy(entry.file_name().to_bytes()).into_owned();
        // in order from the start: a sorting routine alone is larger than this crate
        if name != "."
            && name != ".."
            && let Err(place) = names.binary_search(&name)
        {
            names.insert(place, name);
        }
    }
    Ok(names)
}
