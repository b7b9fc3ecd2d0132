//! What was counted against what is recorded.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use crate::layout::geometry::{BLOCK_BITMAP, GROUP_USED_BLOCKS, GROUP_USED_INODES, INODE_BITMAP};
use crate::layout::u32_at;
use crate::types::{InodeNumber, Quota};
use crate::{QUOTAS, ROOT};

use super::inodes::bit;
use super::{Checker, Fault, Known};

/// Blocks one behind the other of which the same is told.
struct Run {
    fault: Fault,
    block: u64,
    count: u64,
}

impl Checker<'_> {
    pub(super) fn compare(&mut self) {
        if !self.hidden.names {
            self.compare_links();
        }
        let (mut blocks, mut inodes, mut is_whole) = (0, 0, true);
        for number in 0..self.state.groups {
            match self.compare_group(number) {
                Some((more_blocks, more_inodes)) => {
                    blocks += more_blocks;
                    inodes += more_inodes;
                }
                None => is_whole = false,
            }
        }
        self.report.used_blocks = blocks;
        if is_whole && blocks != self.state.used_blocks {
            let detail = format!("{}, the groups have {blocks}", self.state.used_blocks);
            self.add(Fault::StateBlocks, 0, 0, detail);
        }
        if is_whole && inodes != self.state.used_inodes {
            let detail = format!("{}, the groups have {inodes}", self.state.used_inodes);
            self.add(Fault::StateInodes, 0, 0, detail);
        }
        if !self.hidden.quotas {
            self.compare_quotas();
        }
    }

    fn compare_links(&mut self) {
        let mut at = 0;
        while let Some((&number, &known)) = self.inodes.range(at..).next() {
            at = number + 1;
            self.compare_link(number, &known);
        }
    }

    fn compare_link(&mut self, number: InodeNumber, known: &Known) {
        let expected = match number {
            QUOTAS => 1,
            ROOT => 2 + known.subdirectories,
            _ if known.is_directory() && known.names > 0 => 2 + known.subdirectories,
            _ => known.names,
        };
        let block = self.home(number);
        if expected == 0 && !known.is_orphan {
            let fault = if known.is_directory() { Fault::DirectoryLost } else { Fault::InodeUnnamed };
            self.add(fault, block, number, String::new());
        } else if known.links != expected {
            self.add(Fault::Links, block, number, format!("{}, expected {expected}", known.links));
        }
    }

    /// Bits against owners and counts. Gives the group's used blocks and inodes, by its bitmaps.
    fn compare_group(&mut self, number: u32) -> Option<(u64, u64)> {
        let group = self.groups[number as usize].take()?;
        let start = self.geometry.group_start(number);
        let bytes = self.blocks.read(start).ok()?;
        let bitmap = &bytes[BLOCK_BITMAP..];
        let end = self.geometry.group_blocks(number, self.state.blocks);
        let (mut used, mut run) = (0, None);
        for at in self.geometry.static_blocks()..end {
            let (is_marked, is_owned) = (bit(bitmap, at), group.owned[at as usize / 64] >> (at % 64) & 1 != 0);
            used += u32::from(is_marked);
            let fault = match (is_marked, is_owned) {
                (false, true) => Some(Fault::BlockUnmarked),
                (true, false) if !self.hidden.blocks => Some(Fault::BlockLeaked),
                _ => None,
            };
            self.extend(&mut run, fault, start + u64::from(at));
        }
        self.extend(&mut run, None, 0);
        let recorded = u32_at(&bytes, GROUP_USED_BLOCKS);
        if used != recorded {
            self.add(Fault::GroupUsedBlocks, start, 0, format!("group {number}: {recorded}, has {used}"));
        }
        let inodes = self.compare_inode_bitmap(number, &bytes[INODE_BITMAP..]);
        let recorded = u32_at(&bytes, GROUP_USED_INODES);
        if inodes != recorded {
            self.add(Fault::GroupUsedInodes, start, 0, format!("group {number}: {recorded}, has {inodes}"));
        }
        Some((u64::from(used), u64::from(inodes)))
    }

    /// A block with, or without, a fault comes behind those before.
    fn extend(&mut self, run: &mut Option<Run>, fault: Option<Fault>, block: u64) {
        if let Some(run) = run
            && fault == Some(run.fault)
        {
            run.count += 1;
            return;
        }
        if let Some(Run { fault, block, count }) = run.take() {
            let detail = if count > 1 { format!("{count} blocks from there on") } else { String::new() };
            if fault == Fault::BlockUnmarked {
                self.seek_owner(block);
            }
            self.add(fault, block, 0, detail);
        }
        *run = fault.map(|fault| Run { fault, block, count: 1 });
    }

    fn compare_inode_bitmap(&mut self, group: u32, bitmap: &[u8]) -> u32 {
        let per_group = self.geometry.inodes_per_group;
        let mut used = 0;
        for at in 0..per_group {
            let inode: InodeNumber = group * per_group + at;
            let (is_marked, is_used) = (bit(bitmap, at), inode == 0 || self.inodes.contains_key(&inode));
            used += u32::from(is_marked);
            let block = self.home(inode);
            if is_used && !is_marked {
                self.add(Fault::InodeUnmarked, block, inode, String::new());
            } else if is_marked && !is_used && !self.hidden.inodes.contains(&inode) {
                self.add(Fault::InodeLeaked, block, inode, String::new());
            }
        }
        used
    }

    fn compare_quotas(&mut self) {
        self.quota_use.remove(&0);
        let used = core::mem::take(&mut self.quota_use);
        let ids: BTreeSet<u32> = used.keys().chain(self.quotas.keys()).copied().collect();
        for id in ids {
            let has = used.get(&id).copied().unwrap_or_default();
            let (block, says) = self.quotas.get(&id).copied().unwrap_or((self.home(QUOTAS), Quota::default()));
            if (has.blocks, has.inodes) != (says.blocks, says.inodes) {
                let Quota { blocks, inodes, .. } = says;
                let detail =
                    format!("id {id}: {blocks} blocks and {inodes} inodes, has {} and {}", has.blocks, has.inodes);
                self.add(Fault::QuotaUse, block, QUOTAS, detail);
            }
        }
    }
}
