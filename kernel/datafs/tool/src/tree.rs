//! Trees in and out of a volume as tar streams: owners, modes, times, links and extended attributes with them.
//!
//! Of an archive's time its seconds are kept; an archive in hand so gives the same volume always.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use datafs::{Change, InodeNumber, New, ROOT, SetXattr};
use tar::{Archive, Builder, Entry, EntryType, Header};

use crate::device::Device;
use crate::mounted::{Mounted, Result};

const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const SECOND: i64 = 1_000_000_000;
const XATTR_PREFIX: &str = "SCHILY.xattr.";
/// Bytes that go through memory at once.
const CHUNK: usize = 1 << 20;

fn invalid(path: &[u8], why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", String::from_utf8_lossy(path)))
}

/// The names of a path, without empty ones and `.`.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

/// The inode that a path leads to. Symbolic links are not followed.
///
/// # Errors
/// That there is none, and what the volume says.
pub fn resolve<D: Device>(volume: &mut Mounted<D>, path: &[u8]) -> Result<InodeNumber> {
    let mut at = ROOT;
    for name in names(path) {
        at = match volume.run(|v| v.lookup(at, name))? {
            Some(found) => found.inode,
            None => return Err(invalid(path, "there is no such file in the volume").into()),
        };
    }
    Ok(at)
}

/// Names and numbers of a directory's entries, by name.
///
/// # Errors
/// What the volume says.
pub fn entries<D: Device>(volume: &mut Mounted<D>, directory: InodeNumber) -> Result<Vec<(Vec<u8>, InodeNumber)>> {
    let (mut found, mut position) = (Vec::new(), Some(0));
    while let Some(from) = position {
        position = volume.run(|v| {
            v.entries(directory, from, &mut |entry| {
                found.push((entry.name.to_vec(), entry.inode));
                true
            })
        })?;
    }
    found.sort();
    Ok(found)
}

/// Puts the members of an archive below the directory `place`. Files that are there are replaced, directories take the member's
/// owner and mode.
///
/// # Errors
/// What the volume says, and for members that cannot be had in a volume; what came before is there then.
pub fn import<D: Device>(volume: &mut Mounted<D>, place: &[u8], stream: impl Read, now: i64) -> Result<()> {
    let top = resolve(volume, place)?;
    let mut archive = Archive::new(stream);
    let mut importer = Importer { volume, top, now, directories: Vec::new() };
    for member in archive.entries()? {
        let mut member = member?;
        let path = member.path_bytes().into_owned();
        importer.member(&path, &mut member)?;
    }
    // Each entry that was made gave its directory another time.
    for (inode, change) in &importer.directories {
        importer.volume.run(|v| v.change(*inode, change))?;
    }
    Ok(())
}

struct Importer<'a, D> {
    volume: &'a mut Mounted<D>,
    top: InodeNumber,
    now: i64,
    /// Those that members made or named, and what they are to be in the end.
    directories: Vec<(InodeNumber, Change)>,
}

impl<D: Device> Importer<'_, D> {
    fn member<R: Read>(&mut self, path: &[u8], member: &mut Entry<'_, R>) -> Result<()> {
        if names(path).any(|name| name == b"..") {
            return Err(invalid(path, "a member's name must not have '..'").into());
        }
        let Some(name) = names(path).last() else {
            return self.set(self.top, path, member);
        };
        let parent = self.parent(path)?;
        let there = self.volume.run(|v| v.lookup(parent, name))?;
        let kind = member.header().entry_type();
        if kind == EntryType::Directory {
            let inode = match there {
                Some(found) if found.kind == DIRECTORY => found.inode,
                Some(_) => return Err(invalid(path, "a file of that name is there, and no directory").into()),
                None => self.create(parent, name, &describe(member, DIRECTORY, b"")?)?,
            };
            return self.set(inode, path, member);
        }
        if there.is_some_and(|found| found.kind == DIRECTORY) {
            return Err(invalid(path, "a directory of that name is there").into());
        }
        if there.is_some() {
            let now = self.now;
            self.volume.remove(parent, name, now)?;
        }
        match kind {
            EntryType::Regular | EntryType::Continuous => {
                let inode = self.create(parent, name, &describe(member, REGULAR, b"")?)?;
                self.contents(inode, member)?;
                self.set(inode, path, member)
            }
            EntryType::Symlink => {
                let target = member.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
                let inode = self.create(parent, name, &describe(member, LINK, &target)?)?;
                self.set(inode, path, member)
            }
            EntryType::Link => {
                let target = member.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
                let mut inode = self.top;
                for part in names(&target) {
                    let found = self.volume.run(|v| v.lookup(inode, part))?;
                    inode = found.ok_or_else(|| invalid(path, "it links to a member that is not there"))?.inode;
                }
                let now = self.now;
                self.volume.run(|v| v.link(inode, parent, name, now))
            }
            _ => Err(invalid(path, "neither a file, nor a directory, nor a link").into()),
        }
    }

    /// The directory that a member goes into; those on the way that no member made belong to root.
    fn parent(&mut self, path: &[u8]) -> Result<InodeNumber> {
        let all: Vec<&[u8]> = names(path).collect();
        let mut at = self.top;
        for name in &all[..all.len() - 1] {
            at = match self.volume.run(|v| v.lookup(at, name))? {
                Some(found) if found.kind == DIRECTORY => found.inode,
                Some(_) => return Err(invalid(path, "a part of its path is no directory").into()),
                None => {
                    let new =
                        New { mode: DIRECTORY | 0o755, user: 0, group: 0, device: 0, target: b"", time: self.now };
                    self.create(at, name, &new)?
                }
            };
        }
        Ok(at)
    }

    fn create(&mut self, parent: InodeNumber, name: &[u8], new: &New<'_>) -> Result<InodeNumber> {
        self.volume.run(|v| v.create(parent, name, new))
    }

    fn contents<R: Read>(&mut self, inode: InodeNumber, member: &mut Entry<'_, R>) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        loop {
            let mut filled = 0;
            while filled < CHUNK {
                match member.read(&mut buffer[filled..])? {
                    0 => break,
                    count => filled += count,
                }
            }
            self.volume.write(inode, at, &buffer[..filled])?;
            at += filled as u64;
            if filled < CHUNK {
                return Ok(());
            }
        }
    }

    /// Gives an inode the member's owner, mode, times and attributes.
    fn set<R: Read>(&mut self, inode: InodeNumber, path: &[u8], member: &mut Entry<'_, R>) -> Result<()> {
        let (user, group) = owner(member.header())?;
        let time = time_of(member.header())?;
        let kind = member.header().entry_type();
        let change = Change {
            mode: if kind == EntryType::Symlink { None } else { Some(member.header().mode()? & 0o7777) },
            user: Some(user),
            group: Some(group),
            accessed: Some(time),
            modified: Some(time),
            changed: Some(time),
            size: None,
        };
        if kind == EntryType::Directory {
            self.directories.push((inode, change));
        } else {
            self.volume.run(|v| v.change(inode, &change))?;
        }
        for extension in member.pax_extensions()?.into_iter().flatten() {
            let extension = extension?;
            let key = extension.key().map_err(|_| invalid(path, "an attribute's name is not UTF-8"))?;
            if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                let value = extension.value_bytes();
                self.volume.run(|v| v.set_xattr(inode, name.as_bytes(), value, SetXattr::Any, time))?;
            }
        }
        Ok(())
    }
}

/// The inode that a member asks for.
fn describe<'t, R: Read>(member: &Entry<'_, R>, kind: u32, target: &'t [u8]) -> io::Result<New<'t>> {
    let (header, time) = (member.header(), time_of(member.header())?);
    let (user, group) = owner(header)?;
    Ok(New { mode: kind | header.mode()? & 0o7777, user, group, device: 0, target, time })
}

fn owner(header: &Header) -> io::Result<(u32, u32)> {
    let number = |id: u64| u32::try_from(id).map_err(|_| io::Error::other("an owner's number is above 2^32"));
    Ok((number(header.uid()?)?, number(header.gid()?)?))
}

fn time_of(header: &Header) -> io::Result<i64> {
    let seconds = i64::try_from(header.mtime()?).ok().and_then(|seconds| seconds.checked_mul(SECOND));
    seconds.ok_or_else(|| io::Error::other("a member's time is beyond the year 2262"))
}

/// Writes the file or the tree at `path` as an archive, whose members are named from its last name on; those of the root from `.` on.
///
/// # Errors
/// What the volume says or the stream.
pub fn export<D: Device>(volume: &mut Mounted<D>, path: &[u8], out: &mut dyn Write) -> Result<()> {
    let inode = resolve(volume, path)?;
    let name = names(path).last().unwrap_or(b".");
    let mut exporter = Exporter { volume, archive: Builder::new(out), seen: HashMap::new() };
    exporter.member(inode, name)?;
    exporter.archive.finish()?;
    Ok(())
}

struct Exporter<'a, 'o, D> {
    volume: &'a mut Mounted<D>,
    archive: Builder<&'o mut dyn Write>,
    /// Files with several names → the first that was written.
    seen: HashMap<InodeNumber, Vec<u8>>,
}

impl<D: Device> Exporter<'_, '_, D> {
    fn member(&mut self, inode: InodeNumber, name: &[u8]) -> Result<()> {
        let attributes = self.volume.run(|v| v.attributes(inode))?;
        let mut header = Header::new_ustar();
        header.set_mode(attributes.mode & !TYPE);
        header.set_uid(attributes.user.into());
        header.set_gid(attributes.group.into());
        header.set_mtime(attributes.modified.max(0).cast_unsigned() / SECOND.cast_unsigned());
        header.set_size(0);
        let path = Path::new(OsStr::from_bytes(name));
        let kind = attributes.mode & TYPE;
        if kind != DIRECTORY && attributes.links > 1 {
            if let Some(first) = self.seen.get(&inode) {
                header.set_entry_type(EntryType::Link);
                return Ok(self.archive.append_link(&mut header, path, Path::new(OsStr::from_bytes(first)))?);
            }
            self.seen.insert(inode, name.to_vec());
        }
        self.xattrs(inode, attributes.has_xattrs)?;
        match kind {
            DIRECTORY => {
                header.set_entry_type(EntryType::Directory);
                self.archive.append_data(&mut header, path, io::empty())?;
                for (entry, number) in entries(self.volume, inode)? {
                    let below = if name == b"." { entry } else { [name, &entry].join(&b'/') };
                    self.member(number, &below)?;
                }
                Ok(())
            }
            LINK => {
                header.set_entry_type(EntryType::Symlink);
                let target = self.volume.run(|v| v.target(inode))?;
                Ok(self.archive.append_link(&mut header, path, Path::new(OsStr::from_bytes(&target)))?)
            }
            REGULAR => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(attributes.size);
                let reader = Reader { volume: self.volume, inode, at: 0 };
                Ok(self.archive.append_data(&mut header, path, reader)?)
            }
            _ => Err(invalid(name, "a device, FIFO or socket is not put into an archive").into()),
        }
    }

    fn xattrs(&mut self, inode: InodeNumber, has_any: bool) -> Result<()> {
        if !has_any {
            return Ok(());
        }
        let mut pairs = Vec::new();
        let listed = self.volume.run(|v| v.xattr_names(inode))?;
        for name in listed.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            let text = std::str::from_utf8(name).map_err(|_| invalid(name, "an attribute's name is not UTF-8"))?;
            pairs.push((format!("{XATTR_PREFIX}{text}"), self.volume.run(|v| v.xattr(inode, name))?));
        }
        let extensions = pairs.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        Ok(self.archive.append_pax_extensions(extensions)?)
    }
}

/// A file's bytes one after another.
struct Reader<'a, D> {
    volume: &'a mut Mounted<D>,
    inode: InodeNumber,
    at: u64,
}

impl<D: Device> Read for Reader<'_, D> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.volume.read(self.inode, self.at, into).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}
