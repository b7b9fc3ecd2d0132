//! What inodes lead to: extents of data, targets of links, the table of quotas, extended attributes; and whose a block is.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use crate::create::{TARGET_INDEX, TARGET_PART};
use crate::layout::inode::{FIELDS, Fields, LINK, REGULAR, SIZE};
use crate::layout::node::Record;
use crate::layout::{GRANULE, Kind, Owner, check_header, u32_at};
use crate::quota::{ENTRIES, ENTRY, INDEX};
use crate::types::{Bytes, InodeNumber, Quota};
use crate::{BLOCK, Damage, FILE_MAX, QUOTAS, What};

use super::tree::{Leaf, Owned, Walk};
use super::{Checker, Fault};

/// How far the contents of an inode were read.
#[derive(Default)]
struct Progress {
    /// Blocks of data, or of metadata at the leaves.
    used: u64,
    /// Leaves' records.
    records: u32,
    /// First block of the file behind the last extent.
    end: u64,
    /// An extent with data behind the file's end was told.
    is_behind: bool,
    is_hidden: bool,
}

impl Checker<'_> {
    /// Gives all blocks of an inode their owner, and checks what they are. How many there are, and whether some may be missing.
    pub(super) fn read_contents(&mut self, fields: &Fields, inode: &[u8; SIZE], block: u64) -> (u64, bool) {
        let mut walk = Walk::new(fields, inode, block, true);
        let mut progress = Progress::default();
        while let Some(leaf) = self.next_leaf(&mut walk) {
            // What is told of a misplaced leaf is enough: its extents are compared among themselves alone.
            progress.end = if leaf.is_misplaced { 0 } else { progress.end };
            for record in &leaf.records {
                self.read_leaf_record(fields, &leaf, record, &mut progress);
                progress.records += 1;
            }
            progress.end = if leaf.is_misplaced { 0 } else { progress.end };
        }
        self.check_target(fields, inode, block, &progress, walk.is_hidden);
        let is_hidden = walk.is_hidden || progress.is_hidden;
        self.hidden.blocks |= is_hidden;
        self.hidden.quotas |= is_hidden;
        self.hidden.names |= is_hidden && fields.is_directory();
        let mut used = walk.nodes + progress.used;
        let mut is_counted = !is_hidden;
        if fields.xattrs != 0 {
            let owned = self.own(fields.xattrs, 1, block, fields.number);
            used += u64::from(owned != Owned::Outside);
            is_counted &= owned != Owned::Outside;
            if owned == Owned::New {
                self.read_xattrs(fields);
            }
        }
        (used, !is_counted)
    }

    fn read_leaf_record(&mut self, fields: &Fields, leaf: &Leaf, record: &Record, progress: &mut Progress) {
        if fields.is_map() {
            self.read_extent(fields, leaf.block, record, progress);
            return;
        }
        let owned = self.own(record.block, 1, leaf.block, fields.number);
        progress.used += u64::from(owned != Owned::Outside);
        progress.is_hidden |= owned == Owned::Outside;
        if owned != Owned::New {
            // What is in it was read for whom it belongs to.
            self.hidden.names |= fields.is_directory();
            self.hidden.quotas |= fields.number == QUOTAS;
            return;
        }
        match fields.kind() {
            LINK => self.read_target(fields, record, progress),
            REGULAR => self.read_quotas(fields, record),
            _ => {} // names are read when every inode is known
        }
    }

    fn read_extent(&mut self, fields: &Fields, from: u64, record: &Record, progress: &mut Progress) {
        if record.count() == 0 {
            self.add(Fault::ExtentEmpty, from, fields.number, format!("at block {} of the file", record.high));
            return;
        }
        let is_within = record.end() <= FILE_MAX / BLOCK as u64;
        if !is_within {
            self.add(Fault::ExtentRange, from, fields.number, format!("at block {} of the file", record.high));
        }
        if u64::from(record.high) < progress.end {
            let detail = format!("at block {} of the file, where one goes on to {}", record.high, progress.end);
            self.add(Fault::ExtentOverlap, from, fields.number, detail);
        }
        progress.end = progress.end.max(record.end());
        // A truncation that is not finished has its file among the orphans.
        let blocks = fields.size.div_ceil(BLOCK as u64);
        let is_behind = !record.is_unwritten() && record.end() > blocks && !fields.is_orphan();
        if is_behind && is_within && !progress.is_behind {
            progress.is_behind = true;
            let detail = format!("up to block {} of the file, which has {blocks}", record.end());
            self.add(Fault::ExtentBehindEnd, from, fields.number, detail);
        }
        let owned = self.own(record.block, record.count(), from, fields.number);
        if owned == Owned::Outside {
            progress.is_hidden = true;
        } else {
            progress.used += u64::from(record.count());
        }
    }

    /// A block of an inode's metadata, its header checked.
    fn read_owned(&mut self, fields: &Fields, block: u64, kind: Kind, fault: Fault) -> Option<Bytes> {
        let bytes = self.read(block, fields.number)?;
        let owner = Owner { number: fields.number, generation: fields.generation };
        match check_header(&bytes, kind, block, owner, Some(&self.blocks.seed)) {
            Ok(()) => Some(bytes),
            Err(damage) => {
                self.damage(fault, &damage);
                None
            }
        }
    }

    fn read_xattrs(&mut self, fields: &Fields) {
        let (block, number) = (fields.xattrs, fields.number);
        let Some(bytes) = self.read_owned(fields, block, Kind::Xattr, Fault::Xattrs) else { return };
        if let Err(damage) = crate::xattr::check(&bytes, block, number) {
            self.damage(Fault::Xattrs, &damage);
            return;
        }
        let mut seen = BTreeSet::new();
        for name in crate::xattr::names(&bytes) {
            if !seen.insert(name) {
                self.add(Fault::XattrTwice, block, number, format!("{:?}", String::from_utf8_lossy(name)));
            }
        }
    }

    fn read_target(&mut self, fields: &Fields, record: &Record, progress: &Progress) {
        let Some(bytes) = self.read_owned(fields, record.block, Kind::Link, Fault::LinkTarget) else { return };
        let index = progress.records;
        let wrong = |checker: &mut Self, detail| checker.add(Fault::LinkTarget, record.block, fields.number, detail);
        let found = u32_at(&bytes, TARGET_INDEX);
        if record.key() != u64::from(index) << 32 || found != index {
            wrong(self, format!("part {found}, expected {index}"));
        }
        let left = fields.size.saturating_sub(u64::from(index) * TARGET_PART as u64).min(TARGET_PART as u64);
        if bytes[GRANULE..GRANULE + left as usize].contains(&0) {
            wrong(self, String::from("it has a NUL"));
        }
    }

    /// A target that stands in the inode, or how many blocks there are of one that does not.
    fn check_target(&mut self, fields: &Fields, inode: &[u8; SIZE], block: u64, progress: &Progress, is_hidden: bool) {
        if fields.kind() != LINK {
            return;
        }
        if fields.has_target() {
            if inode[FIELDS..FIELDS + fields.size as usize].contains(&0) {
                self.add(Fault::LinkTarget, block, fields.number, String::from("it has a NUL"));
            }
            return;
        }
        let parts = fields.size.div_ceil(TARGET_PART as u64);
        if u64::from(progress.records) != parts && !is_hidden {
            let detail = format!("{} blocks, expected {parts}", progress.records);
            self.add(Fault::LinkTarget, block, fields.number, detail);
        }
    }

    fn read_quotas(&mut self, fields: &Fields, record: &Record) {
        let block = record.block;
        let Some(bytes) = self.read_owned(fields, block, Kind::Quota, Fault::QuotaBlock) else {
            self.hidden.quotas = true;
            return;
        };
        let index = u32_at(&bytes, INDEX);
        if record.key() != u64::from(index) << 32 || index > u32::MAX / ENTRIES {
            self.hidden.quotas = true;
            let what = Damage { block, inode: fields.number, what: What::Order };
            self.damage(Fault::QuotaBlock, &what);
            return;
        }
        for (slot, at) in (0..ENTRIES).zip((GRANULE..).step_by(ENTRY)) {
            let quota = crate::quota::read(&bytes, at);
            let id = u64::from(index) * u64::from(ENTRIES) + u64::from(slot);
            if quota == Quota::default() {
                continue;
            }
            match u32::try_from(id) {
                Ok(id) => drop(self.quotas.insert(id, (block, quota))),
                Err(_) => self.add(Fault::QuotaBlock, block, fields.number, format!("there is no id {id}")),
            }
        }
    }
}

/// Owners.
impl Checker<'_> {
    /// Says of blocks that are used twice, or in use and free, whose they are.
    pub(super) fn find_owners(&mut self) {
        if self.sought.is_empty() {
            return;
        }
        let mut at = 0;
        while let Some((&number, _)) = self.inodes.range(at..).next() {
            at = number + 1;
            self.match_owner(number);
        }
        let sought = core::mem::take(&mut self.sought);
        for finding in &mut self.report.findings {
            let Some(owners) = sought.get(&finding.block) else { continue };
            match finding.fault {
                Fault::BlockUnmarked => finding.inode = owners.first().copied().unwrap_or(0),
                Fault::BlockShared => {
                    let other = owners.iter().find(|&&owner| owner != finding.inode);
                    finding.detail = other
                        .map_or_else(|| String::from("twice by this inode"), |other| format!("also by inode {other}"));
                }
                _ => {}
            }
        }
    }

    fn match_owner(&mut self, number: InodeNumber) {
        let Some((fields, inode)) = self.fields(number) else { return };
        if fields.xattrs != 0 {
            self.match_blocks(fields.xattrs, 1, number);
        }
        let mut walk = Walk::new(&fields, &inode, 0, false);
        while let Some(leaf) = self.next_leaf(&mut walk) {
            for record in &leaf.records {
                let count = if fields.is_map() { record.count() } else { 1 };
                self.match_blocks(record.block, count, number);
            }
        }
        walk.seen.iter().flatten().for_each(|&node| self.match_blocks(node, 1, number));
    }

    fn match_blocks(&mut self, block: u64, count: u32, number: InodeNumber) {
        for (_, owners) in self.sought.range_mut(block..block.saturating_add(u64::from(count))) {
            if !owners.contains(&number) && owners.len() < 4 {
                owners.push(number);
            }
        }
    }
}
