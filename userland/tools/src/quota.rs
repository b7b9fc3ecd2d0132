//! `quota`: what a tree of directories on a data volume uses and may use, through its `trusted.quota.` attributes
//! (docs/decisions/0010).

use crate::{Usage, unknown};
use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ffi::CStr;
use rt::rustix::fd::OwnedFd;
use rt::rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, XattrFlags};
use rt::rustix::fs::{lgetxattr, lsetxattr, openat, statat};
use rt::rustix::io::{Errno, Result};
use rt::rustix::process::fchdir;
use tools::size;

pub const HELP: &str = "usage: quota DIR...
       quota [-s ID] [-b SIZE] [-n FILES] DIR
Shows what directory trees on /data use and may use, or sets it for one.
  -s ID     all of DIR counts for quota ID from now on, and what will be made in it (0: for none)
  -b SIZE   what counts for DIR's quota may take so much room: bytes, or with K, M, G or T (0: no limit)
  -n FILES  and be so many files, directories and links (0: no limit)
Several trees may share an ID. What is over a new limit already stays.
";

const BLOCK: u64 = 4096;
/// A decimal number fits.
const VALUE_MAX: usize = 20;

/// What is to be set.
#[derive(Default)]
struct Wanted {
    id: Option<u32>,
    bytes: Option<u64>,
    files: Option<u64>,
}

/// What went wrong, and where.
struct Failed(String, Errno);

pub fn run(_: &str, arguments: &[&str]) -> core::result::Result<i32, Usage> {
    let (mut wanted, mut paths) = (Wanted::default(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let value = || rest.clone().next().copied().ok_or_else(|| Usage(format!("{argument} wants a value")));
        match *argument {
            "-s" => {
                wanted.id = Some(value()?.parse().map_err(|_| Usage(format!("'{}' is no ID", value().unwrap_or(""))))?)
            }
            "-b" => {
                wanted.bytes = Some(
                    size::parse(value()?).ok_or_else(|| Usage("SIZE is a number, or one with K, M, G or T".into()))?,
                )
            }
            "-n" => wanted.files = Some(value()?.parse().map_err(|_| Usage("FILES is a number".into()))?),
            option if option.starts_with('-') => return Err(unknown(option)),
            path => {
                paths.push(path);
                continue;
            }
        }
        rest.next();
    }
    let sets = wanted.id.is_some() || wanted.bytes.is_some() || wanted.files.is_some();
    let done = match paths[..] {
        [] => return Err(Usage("which DIR?".into())),
        [path] if sets => set(path, &wanted),
        [..] if sets => return Err(Usage("one DIR at a time can be set".into())),
        [..] => show(&paths),
    };
    Ok(done.map_or_else(complain, |()| 0))
}

fn complain(Failed(what, error): Failed) -> i32 {
    let why = match error {
        Errno::OPNOTSUPP => "its file system has no quotas; those of /data have",
        Errno::NODATA | Errno::PERM => "only root can do that",
        other => rt::errno::text(other),
    };
    rt::errln!("quota: {what}: {why}");
    1
}

fn get(path: &str, name: &str) -> core::result::Result<u64, Failed> {
    let mut value = [0; VALUE_MAX];
    let length =
        lgetxattr(path, format!("trusted.quota.{name}"), &mut value).map_err(|error| Failed(path.into(), error))?;
    let text = core::str::from_utf8(&value[..length]).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Failed(path.into(), Errno::INVAL))
}

fn put(path: &CStr, name: &str, value: u64) -> Result<()> {
    lsetxattr(path, format!("trusted.quota.{name}"), value.to_string().as_bytes(), XattrFlags::empty())
}

fn show(paths: &[&str]) -> core::result::Result<(), Failed> {
    let mut lines =
        Vec::from([format!("{:>10} {:>8} {:>8} {:>8} {:>8}  DIR", "ID", "USED", "LIMIT", "FILES", "LIMIT")]);
    for path in paths {
        let id = get(path, "id")?;
        if id == 0 {
            lines.push(format!("{:>10} {:>8} {:>8} {:>8} {:>8}  {path}", "-", "-", "-", "-", "-"));
            continue;
        }
        let most = |value: u64, text: String| if value == 0 { "-".into() } else { text };
        let (blocks, blocks_max) = (get(path, "blocks")?, get(path, "blocks_max")?);
        let (files, files_max) = (get(path, "inodes")?, get(path, "inodes_max")?);
        let (used, limit) =
            (size::show(blocks * BLOCK), most(blocks_max, size::show(blocks_max.saturating_mul(BLOCK))));
        lines.push(format!(
            "{id:>10} {used:>8} {limit:>8} {files:>8} {:>8}  {path}",
            most(files_max, files_max.to_string())
        ));
    }
    rt::out!("{}\n", lines.join("\n"));
    Ok(())
}

fn set(path: &str, wanted: &Wanted) -> core::result::Result<(), Failed> {
    let failed = |error| Failed(path.into(), error);
    let top = CString::new(path).map_err(|_| failed(Errno::INVAL))?;
    let directory = open_directory(&top).map_err(failed)?;
    fchdir(&directory).map_err(failed)?;
    if let Some(id) = wanted.id {
        put(c".", "id", id.into()).map_err(failed)?;
        assign(directory, id, path)?;
    } else if get(".", "id")? == 0 {
        rt::errln!("quota: {path} counts for no quota: give it one with -s ID");
        return Err(failed(Errno::INVAL));
    }
    // Last: what is there already counts, whatever the limits.
    if let Some(bytes) = wanted.bytes {
        put(c".", "blocks_max", bytes.div_ceil(BLOCK)).map_err(failed)?;
    }
    if let Some(files) = wanted.files {
        put(c".", "inodes_max", files).map_err(failed)?;
    }
    Ok(())
}

fn open_directory(path: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// Gives the id to all that is in the working directory, which is `directory`, and leaves that the working directory. By single names:
/// nobody can lead it out of the tree by a symbolic link.
fn assign(directory: OwnedFd, id: u32, path: &str) -> core::result::Result<(), Failed> {
    let failed = |error| Failed(path.into(), error);
    for entry in Dir::read_from(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let place = format!("{path}/{}", name.to_string_lossy());
        let failed = |error| Failed(place.clone(), error);
        match put(name, "id", id.into()) {
            Ok(()) => {}
            Err(Errno::NOENT) => continue, // it has gone meanwhile
            Err(error) => return Err(failed(error)),
        }
        let stat = statat(CWD, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let below = open_directory(name).map_err(failed)?;
            fchdir(&below).map_err(failed)?;
            assign(below, id, &place)?;
            fchdir(&directory).map_err(failed)?;
        }
    }
    Ok(())
}
