//! What somebody saw who used a volume through calls on files, and whether what is left of it can be that.
//!
//! Names change one after another, so what is found must be the names as they were at some moment, not before the last that was promised. Of a file's bytes, each sector must
//! be what some call made of it: not one before the last that was promised. Its size grows over bytes that were written, so it may be between those that it had.

use std::collections::BTreeMap;
use std::rc::Rc;

use datafs::layout::inode::{DIRECTORY, REGULAR};
use datafs::{InodeNumber, ROOT};

use super::oracle::{Verdict, look, names, said, undamaged};
use super::record::SECTOR;
use super::states::State;
use crate::device::Device;
use crate::mounted::{Mounted, read_log};

/// A volume as names and bytes.
#[derive(Debug, Default)]
pub struct Tree {
    /// Every path with its inode.
    pub paths: BTreeMap<String, InodeNumber>,
    /// Bytes of regular files.
    pub files: BTreeMap<InodeNumber, Vec<u8>>,
}

impl Tree {
    /// Reads all of an undamaged volume, without a write.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read<D: Device>(device: D) -> Verdict<Self> {
        undamaged(&device)?;
        let volume =
            read_log(&device, look(device.blocks())).map_err(|failure| format!("it cannot be opened: {failure}"))?;
        let mut tree = Self::default();
        tree.descend(&mut Mounted { device, volume }, "", ROOT)?;
        Ok(tree)
    }

    /// Of a state that a cut left.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_state(state: &State<'_>) -> Verdict<Self> {
        Self::read(state.clone())
    }

    fn descend<D: Device>(&mut self, mounted: &mut Mounted<D>, path: &str, inode: InodeNumber) -> Verdict<()> {
        for (name, inode) in names(mounted, inode)? {
            let path = format!("{path}/{}", String::from_utf8_lossy(&name));
            let attributes = said(mounted.run(|volume| volume.attributes(inode)))?;
            match attributes.mode & datafs::layout::inode::TYPE {
                DIRECTORY => self.descend(mounted, &path, inode)?,
                REGULAR => drop(self.files.insert(inode, said(mounted.contents(inode))?)),
                _ => {}
            }
            self.paths.insert(path, inode);
        }
        Ok(())
    }
}

/// Number of something with a name.
pub type Id = usize;
type Names = BTreeMap<String, Id>;

/// A promise: at this time the names were durable as they were after so many changes, and of a file the bytes after so many.
#[derive(Clone, Copy, Debug)]
struct Promise {
    time: usize,
    names: usize,
    file: Option<(Id, usize)>,
}

/// What was seen.
#[derive(Default)]
pub struct Witness {
    /// Names after each change of them; nothing at first.
    names: Vec<Rc<Names>>,
    /// Bytes of each file after each call.
    bytes: Vec<Vec<Rc<Vec<u8>>>>,
    promises: Vec<Promise>,
}

impl Witness {
    /// Of an empty volume.
    #[must_use]
    pub fn new() -> Self {
        Self { names: vec![Rc::default()], ..Self::default() }
    }

    fn change(&mut self, change: impl FnOnce(&mut Names)) {
        let mut names = Names::clone(&self.names[self.names.len() - 1]);
        change(&mut names);
        self.names.push(Rc::new(names));
    }

    /// Something was made, empty.
    pub fn made(&mut self, path: &str) -> Id {
        let id = self.bytes.len();
        self.bytes.push(vec![Rc::default()]);
        self.change(|names| names.extend([(String::from(path), id)]));
        id
    }

    /// It got a further name.
    pub fn linked(&mut self, id: Id, path: &str) {
        self.change(|names| names.extend([(String::from(path), id)]));
    }

    /// A name is gone.
    pub fn removed(&mut self, path: &str) {
        self.change(|names| names.retain(|name, _| name != path));
    }

    /// A name became another, and what had that lost it.
    pub fn renamed(&mut self, from: &str, to: &str) {
        self.change(|names| {
            if let Some(id) = names.remove(from) {
                names.insert(String::from(to), id);
            }
        });
    }

    /// What a path leads to.
    ///
    /// # Panics
    /// To nothing.
    #[must_use]
    pub fn id(&self, path: &str) -> Id {
        self.names[self.names.len() - 1][path]
    }

    /// A file's bytes.
    #[must_use]
    pub fn bytes(&self, id: Id) -> &[u8] {
        &self.bytes[id][self.bytes[id].len() - 1]
    }

    /// A file's bytes changed.
    pub fn wrote(&mut self, id: Id, offset: usize, bytes: &[u8]) {
        let mut all = self.bytes(id).to_vec();
        all.resize(all.len().max(offset + bytes.len()), 0);
        all[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.bytes[id].push(Rc::new(all));
    }

    /// A file's size changed.
    pub fn resized(&mut self, id: Id, size: usize) {
        let mut all = self.bytes(id).to_vec();
        all.resize(size, 0);
        self.bytes[id].push(Rc::new(all));
    }

    /// All names were promised; events of the device's log so far.
    pub fn promised_names(&mut self, time: usize) {
        self.promises.push(Promise { time, names: self.names.len() - 1, file: None });
    }

    /// A file's bytes were promised; not its name.
    pub fn promised_file(&mut self, time: usize, id: Id) {
        let names = self.promises.iter().map(|promise| promise.names).max().unwrap_or(0);
        self.promises.push(Promise { time, names, file: Some((id, self.bytes[id].len() - 1)) });
    }

    /// Promises before a time.
    #[must_use]
    pub fn epoch(&self, time: usize) -> usize {
        self.promises.partition_point(|promise| promise.time <= time)
    }

    /// Whether a tree can be what a cut at this time left.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, tree: &Tree, time: usize) -> Verdict<()> {
        let promises = &self.promises[..self.epoch(time)];
        let first = promises.last().map_or(0, |promise| promise.names);
        let mut why = format!("no moment after change {first} had these names: {:?}", tree.paths.keys());
        for names in self.names[first..].iter().rev().filter(|names| has_names(tree, names)) {
            match self.judge_files(tree, names, promises) {
                Ok(()) => return Ok(()),
                Err(what) => why = what,
            }
        }
        Err(why)
    }

    fn judge_files(&self, tree: &Tree, names: &Names, promises: &[Promise]) -> Verdict<()> {
        for (path, &id) in names {
            let Some(found) = tree.files.get(&tree.paths[path]) else { continue };
            let promised = promises.iter().filter_map(|promise| promise.file).filter(|file| file.0 == id);
            let from = promised.map(|file| file.1).max().unwrap_or(0);
            judge_bytes(found, &self.bytes[id][from..]).map_err(|what| format!("{path}: {what}"))?;
        }
        Ok(())
    }
}

/// The same paths, and the same of them lead to the same.
fn has_names(tree: &Tree, names: &Names) -> bool {
    let mut inodes = BTreeMap::new();
    let mut ids = BTreeMap::new();
    tree.paths.keys().eq(names.keys())
        && tree
            .paths
            .values()
            .zip(names.values())
            .all(|(&inode, &id)| *inodes.entry(id).or_insert(inode) == inode && *ids.entry(inode).or_insert(id) == id)
}

fn judge_bytes(found: &[u8], versions: &[Rc<Vec<u8>>]) -> Verdict<()> {
    let sizes = || versions.iter().map(|version| version.len());
    let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
    if !(least..=most).contains(&found.len()) {
        return Err(format!("{} bytes, expected {least} to {most}", found.len()));
    }
    for (sector, bytes) in found.chunks(SECTOR).enumerate() {
        let range = sector * SECTOR..sector * SECTOR + bytes.len();
        if !versions.iter().any(|version| version.get(range.clone()) == Some(bytes)) {
            return Err(format!("sector {sector} holds what was never there since the promise"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(names: &[(&str, InodeNumber, &[u8])]) -> Tree {
        Tree {
            paths: names.iter().map(|name| (String::from(name.0), name.1)).collect(),
            files: names.iter().map(|name| (name.1, name.2.to_vec())).collect(),
        }
    }

    #[test]
    fn names_are_those_of_a_moment() {
        let mut witness = Witness::new();
        witness.made("/a");
        witness.promised_names(5);
        let b = witness.made("/b");
        witness.linked(b, "/c");
        witness.removed("/a");
        witness.renamed("/c", "/d");
        let holds = |names: &[(&str, InodeNumber, &[u8])], time| witness.judge(&tree(names), time).is_ok();
        assert!(holds(&[], 4) && !holds(&[], 5), "it was promised");
        assert!(holds(&[("/a", 3, b""), ("/b", 4, b"")], 9));
        assert!(holds(&[("/b", 4, b""), ("/d", 4, b"")], 9));
        assert!(!holds(&[("/b", 4, b""), ("/d", 5, b"")], 9), "they are one file");
        assert!(!holds(&[("/a", 3, b""), ("/d", 4, b"")], 9), "never at once");
        assert!(!holds(&[("/a", 3, b""), ("/b", 3, b"")], 9), "they are two files");
    }

    #[test]
    fn bytes_are_old_or_new_since_the_promise() {
        let mut witness = Witness::new();
        let file = witness.made("/f");
        witness.wrote(file, 0, &[1; 1000]);
        witness.promised_file(5, file);
        witness.wrote(file, 600, &[2; 1000]);
        let holds = |bytes: &[u8], time| witness.judge(&tree(&[("/f", 3, bytes)]), time).is_ok();
        let mixed = |second: u8, size| {
            let mut bytes = [vec![1; 600], vec![second; 400], vec![2; 600]].concat();
            bytes.truncate(size);
            bytes
        };
        assert!(holds(b"", 4) && !holds(b"", 5), "they were promised");
        assert!(holds(&mixed(1, 1000), 9) && holds(&mixed(2, 1000), 9) && holds(&mixed(2, 1600), 9));
        assert!(holds(&mixed(2, 1024), 9), "the size grows over what was written");
        assert!(!holds(&mixed(1, 1100), 9), "bytes behind the old end come with those before them in their sector");
        assert!(!holds(&mixed(0, 1000), 9) && !holds(&mixed(2, 999), 9));
        let zeroes = [vec![1; 1000], vec![0; 600]].concat();
        assert!(!holds(&zeroes, 9), "the size is there, and what it counts is not");
    }
}
