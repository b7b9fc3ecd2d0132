//! Groups, and inodes by themselves.

use alloc::format;
use alloc::string::String;
use alloc::vec;

use crate::layout::geometry::{
    BLOCK_BITMAP, GROUP_BLOCKS, GROUP_TABLES, INODE_BITMAP, INODES_PER_BLOCK, INODES_PER_GROUP_MAX,
};
use crate::layout::inode::{self, DIRECTORY, Fields, LINK, REGULAR, SIZE};
use crate::layout::{Kind, Owner, check_header, u32_at};
use crate::types::InodeNumber;
use crate::{QUOTAS, ROOT, What};

use super::{Checker, Fault, Group, Known, Reach};

pub(super) fn bit(bitmap: &[u8], at: u32) -> bool {
    bitmap[at as usize / 8] >> (at % 8) & 1 != 0
}

/// Groups.
impl Checker<'_> {
    pub(super) fn read_groups(&mut self) {
        for number in 0..self.state.groups {
            let group = self.read_group(number);
            // Its inodes were not read: they own blocks, have names and may be directories.
            let is_unknown = group.is_none();
            self.hidden.blocks |= is_unknown;
            self.hidden.names |= is_unknown;
            self.hidden.quotas |= is_unknown;
            self.groups.push(group);
        }
    }

    fn read_group(&mut self, number: u32) -> Option<Group> {
        let block = self.geometry.group_start(number);
        let bytes = self.read(block, 0)?;
        let checked = check_header(&bytes, Kind::Group, block, Owner::group(number), Some(&self.blocks.seed))
            .and_then(|()| crate::space::check_group(&bytes, block, &self.geometry));
        if let Err(damage) = checked {
            self.damage(Fault::GroupBlock, &damage);
            return None;
        }
        let blocks = &bytes[BLOCK_BITMAP..];
        if (0..self.geometry.static_blocks()).any(|at| !bit(blocks, at)) {
            self.add(Fault::GroupStatic, block, 0, format!("group {number}"));
        }
        let (end, inodes) = (self.geometry.group_blocks(number, self.state.blocks), self.geometry.inodes_per_group);
        let is_past = (end..GROUP_BLOCKS).any(|at| bit(blocks, at))
            || (inodes..INODES_PER_GROUP_MAX).any(|at| bit(&bytes[INODE_BITMAP..], at));
        if is_past {
            self.add(Fault::GroupEnd, block, 0, format!("group {number}"));
        }
        Some(Group { owned: vec![0; GROUP_BLOCKS as usize / 64], tables: u32_at(&bytes, GROUP_TABLES) })
    }
}

/// Inodes.
impl Checker<'_> {
    pub(super) fn read_inodes(&mut self) {
        for number in 0..self.state.groups {
            // Of a group whose block is damaged nobody knows how many blocks of inodes are initialised.
            let tables = self.groups[number as usize].as_ref().map_or(0, |group| group.tables);
            for table in 0..tables {
                let block = self.geometry.group_start(number) + 1 + u64::from(table);
                let first = number * self.geometry.inodes_per_group + table * INODES_PER_BLOCK;
                let Some(bytes) = self.read(block, 0) else {
                    (first..first + INODES_PER_BLOCK).for_each(|number| self.hide_inode(number));
                    continue;
                };
                for (number, bytes) in (first..).zip(bytes.as_chunks::<SIZE>().0) {
                    self.read_inode(number, block, bytes);
                }
            }
        }
        let is_directory = self.inodes.get(&ROOT).is_some_and(Known::is_directory);
        if !is_directory && !self.is_hidden(ROOT) {
            self.add(Fault::Root, self.home(ROOT), ROOT, String::new());
            self.hidden.names = true;
        }
        let is_table = self.inodes.get(&QUOTAS).is_some_and(|table| u32::from(table.mode) & inode::TYPE == REGULAR);
        if !is_table && !self.is_hidden(QUOTAS) {
            self.add(Fault::QuotaTable, self.home(QUOTAS), QUOTAS, String::new());
            self.hidden.quotas = true;
        }
    }

    /// An inode cannot be read: it may be in use, own blocks, and be a directory.
    fn hide_inode(&mut self, number: InodeNumber) {
        self.hidden.inodes.insert(number);
        self.hidden.blocks = true;
        self.hidden.names = true;
        self.hidden.quotas = true;
    }

    fn read_inode(&mut self, number: InodeNumber, block: u64, bytes: &[u8; SIZE]) {
        if number == 0 || inode::is_blank(bytes) {
            return;
        }
        if let Err(damage) = inode::check(bytes, number, block, &self.blocks.seed) {
            let fault = match damage.what {
                What::Checksum => Fault::InodeChecksum,
                What::Place => Fault::InodePlace,
                What::Order => Fault::NodeKeys,
                _ => Fault::InodeFields,
            };
            self.damage(fault, &damage);
            self.hide_inode(number);
            return;
        }
        let fields = Fields::read(bytes);
        if fields.mode == 0 {
            return;
        }
        self.check_fields(&fields, block);
        let known = Known {
            mode: fields.mode as u16,
            is_orphan: fields.is_orphan(),
            is_in_list: false,
            reach: Reach::Unknown,
            links: fields.links,
            names: 0,
            subdirectories: 0,
            parent: if fields.is_directory() { u32::try_from(fields.device).unwrap_or(0) } else { 0 },
            named_by: 0,
        };
        self.inodes.insert(number, known);
        self.report.inodes += 1;
        self.report.directories += u64::from(fields.is_directory());
        let (used, is_hidden) = self.read_contents(&fields, bytes, block);
        if used != fields.blocks && !is_hidden {
            self.add(Fault::InodeBlocks, block, number, format!("{}, has {used}", fields.blocks));
        }
        let quota = self.quota_use.entry(fields.quota).or_default();
        quota.inodes += 1;
        quota.blocks += used;
    }

    /// What a kind of inode has to have besides what every reader checks.
    fn check_fields(&mut self, fields: &Fields, block: u64) {
        let wrong = match fields.kind() {
            REGULAR | LINK if fields.device != 0 => "it is no device and has a device number",
            DIRECTORY if fields.device == 0 || fields.device > u64::from(u32::MAX) => "its parent is no inode",
            REGULAR | LINK | DIRECTORY => "",
            _ if fields.size != 0 => "it is a special file and has a size",
            _ => "",
        };
        let table = fields.number == QUOTAS && (fields.quota != 0 || fields.xattrs != 0 || fields.is_orphan());
        let wrong = if table { "the table of quotas has what no table has" } else { wrong };
        if !wrong.is_empty() {
            self.add(Fault::InodeFields, block, fields.number, String::from(wrong));
        }
    }
}
