//! Directories: their names, that all of them hang together, and what has no name.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::layout::inode::Fields;
use crate::layout::names::{self, Entry, entries, hash};
use crate::layout::{Kind, Owner, check_header};
use crate::types::{Bytes, InodeNumber};
use crate::{BLOCK, QUOTAS, ROOT, What};

use super::tree::Walk;
use super::{Checker, Fault, Known, Reach};

/// A directory that is being read.
struct Directory {
    number: InodeNumber,
    generation: u32,
    /// Names that may come again: those of the block, and of the hash with which the next begins.
    names: BTreeSet<Vec<u8>>,
    /// Places in the directory's order, of one block.
    keys: BTreeSet<u64>,
}

fn shown(name: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(name))
}

impl Checker<'_> {
    pub(super) fn read_directories(&mut self) {
        if let Some(root) = self.inodes.get_mut(&ROOT) {
            root.named_by = ROOT;
        }
        let mut at = 0;
        while let Some((&number, known)) = self.inodes.range(at..).next() {
            at = number + 1;
            if known.is_directory() {
                self.read_directory(number);
            }
        }
        self.check_tree();
    }

    fn read_directory(&mut self, number: InodeNumber) {
        let Some((fields, inode)) = self.fields(number) else { return };
        let home = self.home(number);
        let mut walk = Walk::new(&fields, &inode, home, false);
        let (names, keys) = (BTreeSet::new(), BTreeSet::new());
        let mut directory = Directory { number, generation: fields.generation, names, keys };
        let mut blocks = 0;
        while let Some(leaf) = self.next_leaf(&mut walk) {
            for (record, high) in leaf.ranges() {
                if blocks == 0 && record.key() != 0 {
                    let detail = String::from("the first block of a directory takes every name from hash 0 on");
                    self.add(Fault::NodeKeys, leaf.block, number, detail);
                }
                if record.low > u32::from(u16::MAX) {
                    let detail = format!("there is no ordinal {}", record.low);
                    self.add(Fault::NodeKeys, leaf.block, number, detail);
                }
                blocks += 1;
                if walk.is_new(record.block) {
                    self.read_names(&mut directory, record.block, (record.key(), high));
                }
            }
        }
        if fields.size != blocks * BLOCK as u64 && !walk.is_hidden {
            self.add(Fault::DirectorySize, home, number, format!("{}, has {blocks} blocks", fields.size));
        }
    }

    /// A block of names with keys in a range.
    fn read_names(&mut self, directory: &mut Directory, block: u64, range: (u64, u64)) {
        let number = directory.number;
        let Some(bytes) = self.names_block(directory, block) else { return };
        directory.keys.clear();
        for entry in entries(&bytes).filter(|entry| entry.inode != 0) {
            let name = entry.name(&bytes);
            let hash = hash(&self.hash_key, name);
            if hash != entry.hash {
                let detail = format!("{} has {hash:#x}, not {:#x}", shown(name), entry.hash);
                self.add(Fault::NameHash, block, number, detail);
            } else if entry.key() < range.0 || entry.key() > range.1 {
                self.add(Fault::NamePlace, block, number, shown(name));
            }
            if !directory.names.insert(name.to_vec()) {
                self.add(Fault::NameTwice, block, number, shown(name));
            } else if !directory.keys.insert(entry.key()) {
                self.add(Fault::NameOrder, block, number, shown(name));
            }
            self.read_name(number, block, &entry, name);
        }
        // In the next block stand none of these names, unless of the hash with which it begins.
        let next = range.1.wrapping_add(1) >> 32;
        directory.names.retain(|name| u64::from(hash(&self.hash_key, name)) == next);
    }

    fn names_block(&mut self, directory: &Directory, block: u64) -> Option<Bytes> {
        let (number, generation) = (directory.number, directory.generation);
        if !self.is_data(block) {
            return None; // told when it should have got its owner
        }
        let read = self.read(block, number).and_then(|bytes| {
            let owner = Owner { number, generation };
            let checked = check_header(&bytes, Kind::Names, block, owner, Some(&self.blocks.seed))
                .and_then(|()| names::check(&bytes, block, number));
            let Err(damage) = checked else { return Some(bytes) };
            let fault = if damage.what == What::Owner { Fault::NamesOwner } else { Fault::NamesBlock };
            self.damage(fault, &damage);
            None
        });
        self.hidden.names |= read.is_none();
        read
    }

    fn read_name(&mut self, directory: InodeNumber, block: u64, entry: &Entry, name: &[u8]) {
        let target = entry.inode;
        let known = if target == QUOTAS { None } else { self.inodes.get_mut(&target) };
        let Some(known) = known else {
            // The name of an inode that could not be read is not wrong for that.
            if !self.is_hidden(target) {
                self.add(Fault::NameDangling, block, directory, format!("{} leads to inode {target}", shown(name)));
            }
            return;
        };
        known.names += 1;
        let (kind, named_by, parent) = (u32::from(known.mode) >> 12, known.named_by, known.parent);
        if known.is_directory() {
            // Of several names that counts where the directory says it is.
            if named_by == 0 || parent == directory && target != ROOT && named_by != directory {
                known.named_by = directory;
                self.count_subdirectory(named_by, directory);
            }
            if named_by != 0 {
                self.add(Fault::DirectoryNames, block, target, format!("{} in inode {directory}", shown(name)));
            }
        }
        if kind != u32::from(entry.kind) {
            let detail = format!("{} has {:#o}, its inode {kind:#o}", shown(name), entry.kind);
            self.add(Fault::NameKind, block, directory, detail);
        }
    }

    /// A directory is in `to`, and no longer taken to be in `from`.
    fn count_subdirectory(&mut self, from: InodeNumber, to: InodeNumber) {
        if let Some(from) = self.inodes.get_mut(&from) {
            from.subdirectories -= 1;
        }
        if let Some(to) = self.inodes.get_mut(&to) {
            to.subdirectories += 1;
        }
    }

    /// Every directory has the parent that names it, and none is in itself. One without a name is found with the links.
    fn check_tree(&mut self) {
        let mut at = 0;
        while let Some((&number, &known)) = self.inodes.range(at..).next() {
            at = number + 1;
            if !known.is_directory() {
                continue;
            }
            if known.named_by != 0 && known.parent != known.named_by {
                let detail = format!("inode {}, expected {}", known.parent, known.named_by);
                self.add(Fault::DirectoryParent, self.home(number), number, detail);
            }
            self.follow(number);
        }
    }

    /// Goes up from a directory until it is known whether the root is above.
    fn follow(&mut self, directory: InodeNumber) {
        let mut way = Vec::new();
        let mut at = directory;
        let reach = loop {
            let Some(known) = self.inodes.get_mut(&at) else { break Reach::Nowhere };
            match known.reach {
                Reach::Unknown if at == ROOT => {
                    way.push(at);
                    break Reach::Root;
                }
                Reach::Unknown => {
                    known.reach = Reach::Asked;
                    way.push(at);
                    at = known.named_by;
                }
                Reach::Asked => {
                    let first = way.iter().position(|&number| number == at).unwrap_or(0);
                    let ring: Vec<_> = way[first..].to_vec();
                    let least = ring.iter().copied().min().unwrap_or(at);
                    let detail = format!("{} in a ring", ring.len());
                    self.add(Fault::DirectoryRing, self.home(least), least, detail);
                    break Reach::Nowhere;
                }
                reach => break reach,
            }
        };
        for number in way {
            if let Some(known) = self.inodes.get_mut(&number) {
                known.reach = reach;
            }
        }
    }
}

/// Orphans.
impl Checker<'_> {
    pub(super) fn check_orphans(&mut self) {
        let (mut at, mut before) = (self.state.orphans, 0);
        let mut is_broken = false;
        while at != 0 {
            let place = self.home(at);
            let Some(known) = self.inodes.get_mut(&at) else {
                if !self.is_hidden(at) {
                    self.add(Fault::OrphanUnused, place, at, format!("behind inode {before}"));
                }
                is_broken = true;
                break;
            };
            if core::mem::replace(&mut known.is_in_list, true) {
                self.add(Fault::OrphanLoop, place, at, format!("behind inode {before}"));
                break;
            }
            let known = *known;
            self.report.orphans += 1;
            let Some((fields, _)) = self.fields(at) else { break };
            self.check_orphan(&fields, &known, before);
            (before, at) = (at, fields.next_orphan);
        }
        if !is_broken {
            self.find_lost_orphans();
        }
    }

    fn check_orphan(&mut self, fields: &Fields, known: &Known, before: InodeNumber) {
        let (number, place) = (fields.number, self.home(fields.number));
        if !fields.is_orphan() {
            self.add(Fault::OrphanFlag, place, number, String::new());
            return;
        }
        if fields.previous_orphan != before {
            let detail = format!("inode {}, expected {before}", fields.previous_orphan);
            self.add(Fault::OrphanBack, place, number, detail);
        }
        if fields.links > 0 && !fields.is_map() {
            self.add(Fault::OrphanKind, place, number, format!("{} links", fields.links));
        }
        if known.is_directory() && fields.count > 0 {
            self.add(Fault::OrphanFull, place, number, String::new());
        }
    }

    fn find_lost_orphans(&mut self) {
        let mut at = 0;
        while let Some((&number, &known)) = self.inodes.range(at..).next() {
            at = number + 1;
            if known.is_orphan && !known.is_in_list {
                self.add(Fault::OrphanLost, self.home(number), number, String::new());
            }
        }
    }
}
