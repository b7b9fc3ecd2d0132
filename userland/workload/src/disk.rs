//! The pieces of work.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::fmt;

use rt::Errno;
use rt::process::{Side, fork};
use rt::rustix::fd::OwnedFd;
use rt::rustix::fs::{Mode, OFlags, fdatasync, fstat, fsync, open, rename, unlink};
use rt::rustix::io::{pread, pwrite, read, write};
use rt::rustix::process::{WaitOptions, waitpid};

use crate::random::Random;

/// A block of a file.
const BLOCK: usize = 4096;
/// A piece of sequential work.
const PIECE: usize = 64 << 10;
/// Where all random work starts.
const SEED: u64 = 20_260_101;

/// What failed, and on what.
pub struct Failed {
    what: &'static str,
    path: String,
    why: Why,
}

enum Why {
    Errno(Errno),
    Status(i32),
    Short,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.what, self.path)?;
        match &self.why {
            Why::Errno(errno) => f.write_str(rt::errno::text(*errno)),
            Why::Status(status) => write!(f, "ended with status {status}"),
            Why::Short => f.write_str("fewer bytes than asked for"),
        }
    }
}

/// Names the failure of a call.
fn on<T>(what: &'static str, path: &str, result: Result<T, Errno>) -> Result<T, Failed> {
    result.map_err(|errno| Failed { what, path: path.into(), why: Why::Errno(errno) })
}

/// The same for one that moves bytes, which has to move them all.
fn whole(what: &'static str, path: &str, length: usize, result: Result<usize, Errno>) -> Result<(), Failed> {
    let count = on(what, path, result)?;
    if count == length { Ok(()) } else { Err(Failed { what, path: path.into(), why: Why::Short }) }
}

fn opened(path: &str, flags: OFlags) -> Result<OwnedFd, Failed> {
    on("open", path, open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644)))
}

fn blocks(path: &str, file: &OwnedFd) -> Result<u64, Failed> {
    let size = on("stat", path, fstat(file))?.st_size;
    let blocks = u64::try_from(size).unwrap_or(0) / BLOCK as u64;
    if blocks == 0 { Err(Failed { what: "use", path: path.into(), why: Why::Short }) } else { Ok(blocks) }
}

/// Runs a program, with the path that it stands at.
pub fn program(path: &str, words: &[&str]) -> Result<(), Failed> {
    match on("fork for", path, fork())? {
        Side::Child => {
            let errno = rt::process::exec(path, words, &rt::process::environment());
            rt::errln!("workload: exec {path}: {}", rt::errno::text(errno));
            rt::start::exit(127)
        }
        Side::Parent(pid) => loop {
            match waitpid(Some(pid), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                ended => {
                    let status =
                        on("wait for", path, ended)?.and_then(|(_, status)| status.exit_status()).unwrap_or(128);
                    break if status == 0 {
                        Ok(())
                    } else {
                        Err(Failed { what: "run", path: path.into(), why: Why::Status(status) })
                    };
                }
            }
        },
    }
}

/// A new file of `mib` MiB, on stable media at the end.
pub fn write_sequential(path: &str, mib: u64) -> Result<(), Failed> {
    let file = opened(path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
    let mut piece = vec![0; PIECE];
    Random::new(SEED).fill(&mut piece);
    for _ in 0..mib * ((1 << 20) / PIECE as u64) {
        whole("write", path, PIECE, write(&file, &piece))?;
    }
    on("fsync", path, fsync(&file))
}

/// All of a file.
pub fn read_sequential(path: &str) -> Result<(), Failed> {
    let file = opened(path, OFlags::RDONLY)?;
    let mut piece = vec![0; PIECE];
    while on("read", path, read(&file, &mut piece))? > 0 {}
    Ok(())
}

/// Overwrites blocks anywhere in a file.
pub fn write_random(path: &str, count: u64, every: u64) -> Result<(), Failed> {
    let file = opened(path, OFlags::WRONLY)?;
    let (mut random, blocks) = (Random::new(SEED), blocks(path, &file)?);
    let mut block = [0; BLOCK];
    for done in 1..=count {
        random.fill(&mut block[..64]);
        let at = random.next() % blocks * BLOCK as u64;
        whole("write", path, BLOCK, pwrite(&file, &block, at))?;
        if every > 0 && done % every == 0 {
            on("fdatasync", path, fdatasync(&file))?;
        }
    }
    on("fsync", path, fsync(&file))
}

/// Reads blocks anywhere in a file.
pub fn read_random(path: &str, count: u64) -> Result<(), Failed> {
    let file = opened(path, OFlags::RDONLY)?;
    let (mut random, blocks) = (Random::new(SEED), blocks(path, &file)?);
    let mut block = [0; BLOCK];
    for _ in 0..count {
        let at = random.next() % blocks * BLOCK as u64;
        whole("read", path, BLOCK, pread(&file, &mut block, at))?;
    }
    Ok(())
}

/// Creates files with a few bytes each, renames them, removes them.
pub fn names(folder: &str, count: u64) -> Result<(), Failed> {
    let directory = opened(folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let (first, second) = (|n: u64| format!("{folder}/file-{n:06}"), |n: u64| format!("{folder}/renamed-{n:06}"));
    for n in 0..count {
        let path = first(n);
        let file = opened(&path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        whole("write", &path, path.len(), write(&file, path.as_bytes()))?;
    }
    on("fsync", folder, fsync(&directory))?;
    for n in 0..count {
        on("rename", &first(n), rename(first(n), second(n)))?;
    }
    on("fsync", folder, fsync(&directory))?;
    for n in 0..count {
        on("unlink", &second(n), unlink(second(n)))?;
    }
    on("fsync", folder, fsync(&directory))
}

/// Replaces a file as editors and package tools do: a new one beside it, fsync, rename, fsync of the folder. After each round
/// `PATH.mark` says, on stable media too, how far it came: whoever finds mark N must find number N or N + 1 in the file.
pub fn replace(path: &str, count: u64) -> Result<(), Failed> {
    let (fresh, mark) = (format!("{path}.new"), format!("{path}.mark"));
    let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
    let directory = opened(folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let marks = opened(&mark, OFlags::WRONLY | OFlags::CREATE)?;
    for round in 1..=count {
        // As long as a page and a bit, so that a torn one shows.
        let text = format!("{round:08}\n").repeat(600);
        let file = opened(&fresh, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        whole("write", &fresh, text.len(), write(&file, text.as_bytes()))?;
        on("fsync", &fresh, fsync(&file))?;
        on("rename", &fresh, rename(&fresh, path))?;
        on("fsync", folder, fsync(&directory))?;
        let line = format!("{round:08}\n");
        whole("write", &mark, line.len(), pwrite(&marks, line.as_bytes(), 0))?;
        on("fdatasync", &mark, fdatasync(&marks))?;
    }
    Ok(())
}
