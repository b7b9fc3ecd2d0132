//! Ways through the trees of inodes, from left to right, a leaf at a time.
//!
//! The first time each node gets its owner and what is wrong with it is told; later nothing is told, and what was wrong is left out again. Either way no node is
//! read twice, so damage cannot make the way long.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::layout::inode::{self, Fields, SIZE};
use crate::layout::node::{self, COUNT, RECORDS, Record, offset};
use crate::layout::{Kind, Owner, check_header, u16_at};
use crate::types::{Bytes, InodeNumber};
use crate::{Damage, What};

use super::{Checker, FINDINGS_MAX, Fault};

/// A node to be read, and where its keys may lie.
struct Branch {
    block: u64,
    from: u64,
    level: u8,
    low: u64,
    high: u64,
}

/// Records that lead to what the tree is of.
pub(super) struct Leaf {
    /// The block they are in.
    pub block: u64,
    /// In order.
    pub records: Vec<Record>,
    /// Keys are not where they should be among those of other leaves.
    pub is_misplaced: bool,
    /// Largest key that may stand there.
    high: u64,
}

impl Leaf {
    /// Each record, with the largest key that belongs to it.
    pub fn ranges(&self) -> impl Iterator<Item = (Record, u64)> + '_ {
        let next = |at: usize| self.records.get(at + 1).map(|next| next.key().wrapping_sub(1));
        self.records.iter().enumerate().map(move |(at, record)| (*record, next(at).unwrap_or(self.high)))
    }
}

/// A way through a tree.
pub(super) struct Walk {
    number: InodeNumber,
    generation: u32,
    open: Vec<Branch>,
    root: Option<Leaf>,
    /// Nodes that were met, and what else is not to be read twice; `None`: the first time, when they get their owner.
    pub seen: Option<BTreeSet<u64>>,
    /// Nodes that belong to the tree.
    pub nodes: u64,
    /// Something could not be followed.
    pub is_hidden: bool,
}

/// What came of giving blocks to an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owned {
    /// They are its own.
    New,
    /// Some had an owner.
    Shared,
    /// They are no data of the volume.
    Outside,
}

impl Walk {
    /// Through the tree of an inode that was checked; `is_first` once for each inode.
    pub fn new(fields: &Fields, inode: &[u8; SIZE], block: u64, is_first: bool) -> Self {
        let count = if fields.has_target() { 0 } else { usize::from(fields.count) };
        let records: Vec<Record> = (0..count).map(|at| inode::record(inode, at)).collect();
        let mut walk = Self {
            number: fields.number,
            generation: fields.generation,
            open: Vec::new(),
            root: None,
            seen: (!is_first).then(BTreeSet::new),
            nodes: 0,
            is_hidden: false,
        };
        if fields.depth == 0 {
            walk.root = Some(Leaf { block, records, is_misplaced: false, high: u64::MAX });
        } else {
            walk.push(&records, block, fields.depth, u64::MAX);
        }
        walk
    }

    /// Whether a block is met for the first time on a later way.
    pub fn is_new(&mut self, block: u64) -> bool {
        self.seen.as_mut().is_none_or(|seen| seen.insert(block))
    }

    /// Remembers where records of an inner node lead, so that the first is taken first.
    fn push(&mut self, records: &[Record], from: u64, level: u8, high: u64) {
        for (at, record) in records.iter().enumerate().rev() {
            let high = records.get(at + 1).map_or(high, |next| next.key().wrapping_sub(1));
            self.open.push(Branch { block: record.block, from, level: level - 1, low: record.key(), high });
        }
    }

    fn owner(&self) -> Owner {
        Owner { number: self.number, generation: self.generation }
    }
}

impl Checker<'_> {
    /// The next leaf; `None` at the end.
    pub(super) fn next_leaf(&mut self, walk: &mut Walk) -> Option<Leaf> {
        if let Some(root) = walk.root.take() {
            return Some(root);
        }
        while let Some(branch) = walk.open.pop() {
            let Some(bytes) = self.enter(walk, &branch) else {
                walk.is_hidden = true;
                continue;
            };
            let count = usize::from(u16_at(&bytes, COUNT)).min(RECORDS);
            let records: Vec<Record> = (0..count).map(|at| Record::read(&bytes, offset(at))).collect();
            let is_outside = |record: Option<&Record>| {
                record.is_some_and(|record| record.key() < branch.low || record.key() > branch.high)
            };
            let is_misplaced = is_outside(records.first()) || is_outside(records.last());
            if walk.seen.is_none() && is_misplaced {
                self.damage(Fault::NodeKeys, &Damage { block: branch.block, inode: walk.number, what: What::Order });
            }
            if branch.level == 0 {
                return Some(Leaf { block: branch.block, records, is_misplaced, high: branch.high });
            }
            walk.push(&records, branch.block, branch.level, branch.high);
        }
        None
    }

    /// Reads a node that was not read before, and checks it.
    fn enter(&mut self, walk: &mut Walk, branch: &Branch) -> Option<Bytes> {
        let is_first = walk.seen.is_none();
        if is_first {
            let owned = self.own(branch.block, 1, branch.from, walk.number);
            walk.nodes += u64::from(owned != Owned::Outside);
            if owned != Owned::New {
                return None;
            }
        } else if !self.is_data(branch.block) || !walk.is_new(branch.block) {
            return None;
        }
        let read = if is_first { self.read(branch.block, walk.number) } else { self.blocks.read(branch.block).ok() };
        let bytes = read?;
        let checked = check_header(&bytes, Kind::Node, branch.block, walk.owner(), Some(&self.blocks.seed))
            .and_then(|()| node::check(&bytes, branch.block, walk.number, branch.level));
        let Err(damage) = checked else { return Some(bytes) };
        if is_first {
            let fault = match damage.what {
                What::Owner => Fault::NodeOwner,
                What::Order => Fault::NodeKeys,
                _ => Fault::NodeBlock,
            };
            self.damage(fault, &damage);
        }
        None
    }

    /// Whether a block is one that can belong to inodes.
    pub(super) fn is_data(&self, block: u64) -> bool {
        self.geometry.data_place(block, 1, self.state.groups, self.state.blocks).is_some()
    }

    /// Gives blocks their owner. `from` is where the pointer to them stands.
    pub(super) fn own(&mut self, block: u64, count: u32, from: u64, inode: InodeNumber) -> Owned {
        let place = self.geometry.data_place(block, count, self.state.groups, self.state.blocks);
        let Some(place) = place else {
            self.damage(Fault::Pointer, &Damage { block: from, inode, what: What::Pointer });
            return Owned::Outside;
        };
        let Some(Some(group)) = self.groups.get_mut(place.group as usize) else { return Owned::New };
        let mut shared = None;
        let (mut at, end) = (place.index, place.index + count);
        while at < end {
            let length = (64 - at % 64).min(end - at);
            let bits = (u64::MAX >> (64 - length)) << (at % 64);
            let word = &mut group.owned[at as usize / 64];
            if *word & bits != 0 && shared.is_none() {
                shared = Some(block + u64::from(at / 64 * 64 + (*word & bits).trailing_zeros() - place.index));
            }
            *word |= bits;
            at += length;
        }
        let Some(block) = shared else { return Owned::New };
        self.seek_owner(block);
        self.add(Fault::BlockShared, block, inode, alloc::string::String::new());
        Owned::Shared
    }

    /// Lets the owners of a block be found at the end.
    pub(super) fn seek_owner(&mut self, block: u64) {
        if self.sought.len() < FINDINGS_MAX {
            self.sought.insert(block, Vec::new());
        }
    }
}
