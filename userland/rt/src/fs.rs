//! Whole small files and directory listings.

use alloc::{format, string::String, vec::Vec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, Mode, OFlags, fsync, mkdir, open, rename, unlink};
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

/// Puts a whole file in the place of the one that is there: a reader sees the old or the new one. `lasting`: also after a loss of power.
pub fn replace(path: &str, bytes: &[u8], lasting: bool) -> Result<()> {
    let part = format!("{path}.part");
    // Nobody else's file, link, FIFO or device stands in its place.
    match unlink(part.as_str()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(why) => return Err(why),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    let file = open(part.as_str(), flags, mode)?;
    crate::out::write_all(file.as_fd(), bytes)?;
    if lasting {
        fsync(&file)?;
    }
    rename(part.as_str(), path)?;
    if lasting {
        let folder = path.rsplit_once('/').map_or(".", |(folder, _)| if folder.is_empty() { "/" } else { folder });
        fsync(open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)?;
    }
    Ok(())
}

/// Makes a folder and those above it, where they are not there.
pub fn make_folders(path: &str) -> Result<()> {
    let ends = path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        match mkdir(&path[..end], Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
