//! Checks a whole volume without opening it (`fsck`): the log is replayed in memory, nothing is written.
//!
//! 1. Superblocks; the log.
//! 2. Groups: their bitmaps by themselves.
//! 3. Inodes: each by itself, then what it leads to; every block gets its one owner.
//! 4. Directories: names, where they lead, and that all hang together below the root; orphans.
//! 5. What was counted on the way against what is recorded: bits, links, quotas, totals.
//! 6. Whose the blocks are that were found used twice, or in use and free.
//!
//! It goes on behind damage as far as something can still be told, and does not tell what only follows from it: where a directory cannot be read, no link
//! count is wrong. It shares with the volume how structures are laid out, and nothing of how they are used.
//!
//! Memory, beside a few blocks: of each group 2 KiB; of each inode in use about 50 bytes; what the log holds, a block each; of one tree at a time the nodes
//! beside the way, and of a directory 40 bytes a block; [`FINDINGS_MAX`] findings. Time: each block of metadata is read three times at most.

mod contents;
mod fault;
mod inodes;
mod names;
mod source;
mod totals;
mod tree;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::layout::geometry::Geometry;
use crate::layout::inode::{self, Fields, SIZE};
use crate::layout::superblock::State;
use crate::types::{Bytes, InodeNumber, Quota};
use crate::{Damage, What};

pub use fault::Fault;
use source::Blocks;
pub use source::{Source, Unreadable};

/// Findings that are kept; the rest is counted.
pub const FINDINGS_MAX: usize = 1000;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub fault: Fault,
    /// In which block; 0 also when it is in none.
    pub block: u64,
    /// Of which inode; 0: of none.
    pub inode: InodeNumber,
    /// Found and expected, where that says more.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (block {}", self.fault.name(), self.fault.words(), self.block)?;
        if self.inode != 0 {
            write!(f, ", inode {}", self.inode)?;
        }
        f.write_str(")")?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

/// What a check gave.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
    /// Records in the log.
    pub records: u64,
    /// Blocks of the volume.
    pub blocks: u64,
    /// Of them used for data and their metadata, by the bitmaps.
    pub used_blocks: u64,
    /// Inodes in use.
    pub inodes: u64,
    /// Of them directories.
    pub directories: u64,
    /// Of them orphans.
    pub orphans: u64,
}

impl Report {
    /// Nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether something of this name was found.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.findings.iter().any(|finding| finding.fault == fault)
    }

    fn add(&mut self, fault: Fault, block: u64, inode: InodeNumber, detail: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { fault, block, inode, detail });
        } else {
            self.more += 1;
        }
    }
}

/// Whether the root is above a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Unknown,
    /// It is on the way that is being followed.
    Asked,
    Root,
    Nowhere,
}

/// What is kept of an inode in use.
#[derive(Clone, Copy, Debug)]
struct Known {
    mode: u16,
    is_orphan: bool,
    is_in_list: bool,
    reach: Reach,
    links: u32,
    /// Names that lead to it.
    names: u32,
    /// Directories that it names.
    subdirectories: u32,
    /// Of a directory: where it says it is.
    parent: InodeNumber,
    /// Of a directory: which names it.
    named_by: InodeNumber,
}

impl Known {
    const fn is_directory(&self) -> bool {
        self.mode as u32 & inode::TYPE == inode::DIRECTORY
    }
}

/// What of a group's blocks has an owner.
struct Group {
    owned: Vec<u64>,
    /// Blocks of inodes that are initialised.
    tables: u32,
}

/// What could not be looked at, so that nothing is said of what depends on it.
#[derive(Default)]
struct Hidden {
    /// Blocks may have owners that are not known.
    blocks: bool,
    /// Inodes may have names that are not known.
    names: bool,
    /// Inodes that may be in use, and their quotas.
    inodes: BTreeSet<InodeNumber>,
    /// Blocks of inodes that are counted in quotas.
    quotas: bool,
}

struct Checker<'a> {
    blocks: Blocks<'a>,
    geometry: Geometry,
    state: State,
    hash_key: [u8; 16],
    report: Report,
    /// `None`: its block is damaged, so nothing is known of it.
    groups: Vec<Option<Group>>,
    inodes: BTreeMap<InodeNumber, Known>,
    /// What the table says, and in which block.
    quotas: BTreeMap<u32, (u64, Quota)>,
    /// What inodes have.
    quota_use: BTreeMap<u32, Quota>,
    hidden: Hidden,
    /// Blocks whose owners are to be found.
    sought: BTreeMap<u64, Vec<InodeNumber>>,
}

/// Checks the volume on a device of so many blocks.
pub fn check(source: &mut dyn Source, device_blocks: u64) -> Report {
    let mut report = Report::default();
    let Some(opened) = source::open(source, device_blocks, &mut report) else { return report };
    report.blocks = opened.state.blocks;
    let mut checker = Checker {
        geometry: opened.superblock.geometry,
        state: opened.state,
        hash_key: opened.superblock.hash_key,
        blocks: opened.blocks,
        report,
        groups: Vec::new(),
        inodes: BTreeMap::new(),
        quotas: BTreeMap::new(),
        quota_use: BTreeMap::new(),
        hidden: Hidden::default(),
        sought: BTreeMap::new(),
    };
    checker.read_groups();
    checker.read_inodes();
    checker.read_directories();
    checker.check_orphans();
    checker.compare();
    checker.find_owners();
    checker.report
}

impl Checker<'_> {
    fn add(&mut self, fault: Fault, block: u64, inode: InodeNumber, detail: String) {
        self.report.add(fault, block, inode, detail);
    }

    fn damage(&mut self, fault: Fault, damage: &Damage) {
        self.add(fault, damage.block, damage.inode, String::from(damage.what.text()));
    }

    /// A block as the log leaves it; what is wrong with it is told.
    fn read(&mut self, block: u64, inode: InodeNumber) -> Option<Bytes> {
        match self.blocks.read(block) {
            Ok(bytes) => Some(bytes),
            Err(Fault::Unreadable) => {
                self.add(Fault::Unreadable, block, inode, String::new());
                None
            }
            Err(fault) => {
                self.damage(fault, &Damage { block, inode, what: What::Checksum });
                None
            }
        }
    }

    /// An inode that was read before.
    fn fields(&mut self, number: InodeNumber) -> Option<(Fields, [u8; SIZE])> {
        let (block, at) = self.geometry.inode_place(number);
        let bytes = self.blocks.read(block).ok()?;
        let inode = *bytes[at..].first_chunk::<SIZE>()?;
        Some((Fields::read(&inode), inode))
    }

    /// The block that an inode is in.
    fn home(&self, inode: InodeNumber) -> u64 {
        self.geometry.inode_place(inode).0
    }

    /// Whether an inode may be in use though it is not among those that were read.
    fn is_hidden(&self, inode: InodeNumber) -> bool {
        let group = inode / self.geometry.inodes_per_group;
        self.hidden.inodes.contains(&inode) || matches!(self.groups.get(group as usize), Some(None))
    }
}
