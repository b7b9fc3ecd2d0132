//! Quotas: use and limits of the ids that inodes count for.
//!
//! A table in blocks of metadata, led to by the tree of inode 2: id `n` has entry `n % 63` of the block with index `n / 63`. Blocks are made when an id of theirs is
//! first used. Id 0 counts nothing.

use crate::layout::node::Record;
use crate::layout::{GRANULE, Kind, Owner, put_u64, u32_at, u64_at};
use crate::types::{InodeNumber, Quota};
use crate::volume::{Out, Volume};
use crate::{BLOCK, Error, QUOTAS, What};

/// Bytes of an entry: most blocks, most inodes, blocks, inodes (u64 each), 32 reserved.
pub(crate) const ENTRY: usize = 64;
/// Entries of a block.
pub(crate) const ENTRIES: u32 = ((BLOCK - GRANULE) / ENTRY) as u32;
/// In the header: the block's index in the table (u32).
pub(crate) const INDEX: usize = 24;

pub(crate) fn read(bytes: &[u8], at: usize) -> Quota {
    Quota {
        blocks_max: u64_at(bytes, at),
        inodes_max: u64_at(bytes, at + 8),
        blocks: u64_at(bytes, at + 16),
        inodes: u64_at(bytes, at + 24),
    }
}

const fn offset(id: u32) -> usize {
    GRANULE + (id % ENTRIES) as usize * ENTRY
}

impl Volume {
    /// The block of the table with an id; `make` it when it is not there.
    fn quota_slot(&mut self, id: u32, make: bool) -> Out<Option<usize>> {
        let mut fields = self.used_inode(QUOTAS)?;
        let owner = Owner { number: QUOTAS, generation: fields.generation };
        let index = id / ENTRIES;
        let cursor = self.seek(&fields, u64::from(index) << 32)?;
        if let Some(record) = self.record(&cursor).filter(|record| record.high == index) {
            self.check_pointer(record.block, 1, cursor.leaf().block, QUOTAS)?;
            let slot = self.slot(record.block)?;
            self.check(slot, Kind::Quota, owner, 0)?;
            if u32_at(self.bytes(slot), INDEX) != index {
                return Err(self.inode_damage(QUOTAS, What::Order));
            }
            return Ok(Some(slot));
        }
        if !make {
            return Ok(None);
        }
        let block = self.allocate_owned(&mut fields, true)?;
        let slot = self.fresh(block, Kind::Quota, owner)?;
        self.put(slot, INDEX, &index.to_le_bytes());
        let cursor = self.seek(&fields, u64::from(index) << 32)?;
        self.insert(&mut fields, &cursor, Record { high: index, low: 0, block })?;
        self.put_inode(&fields)?;
        Ok(Some(slot))
    }

    /// Use and limits of an id.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn quota(&mut self, id: u32) -> Out<Quota> {
        Ok(match self.quota_slot(id, false)? {
            Some(slot) if id != 0 => read(self.bytes(slot), offset(id)),
            _ => Quota::default(),
        })
    }

    /// Sets the limits of an id; 0: none.
    ///
    /// # Errors
    /// `Invalid` for id 0; `NoSpace`.
    pub fn set_quota(&mut self, id: u32, blocks_max: u64, inodes_max: u64) -> Out<()> {
        if id == 0 {
            return Err(Error::Invalid.into());
        }
        self.operate(|volume| {
            let slot = volume.quota_slot(id, true)?.ok_or(Error::NoSpace)?;
            let mut bytes = [0; 16];
            put_u64(&mut bytes, 0, blocks_max);
            put_u64(&mut bytes, 8, inodes_max);
            volume.put(slot, offset(id), &bytes);
            Ok(())
        })
    }

    /// Whether an id may have so many blocks more.
    pub(crate) fn check_quota(&mut self, id: u32, blocks: u64) -> Out<()> {
        if id == 0 {
            return Ok(());
        }
        let (quota, reserved) = (self.quota(id)?, self.quota_reserved(id));
        if quota.blocks_max != 0 && quota.blocks.saturating_add(reserved).saturating_add(blocks) > quota.blocks_max {
            return Err(Error::Quota.into());
        }
        Ok(())
    }

    /// Blocks that are set aside for files of an id, and not yet in its use.
    #[must_use]
    pub fn quota_reserved(&self, id: u32) -> u64 {
        self.quota_reserved.get(&id).copied().unwrap_or(0)
    }

    /// Blocks are set aside for a file of an id.
    pub(crate) fn hold_quota(&mut self, id: u32, blocks: u32) {
        if id != 0 && blocks != 0 {
            *self.quota_reserved.entry(id).or_default() += u64::from(blocks);
        }
    }

    /// Blocks are no longer set aside for a file of an id: given back, or in use.
    pub(crate) fn release_quota(&mut self, id: u32, blocks: u32) {
        if let Some(reserved) = self.quota_reserved.get_mut(&id) {
            *reserved = reserved.saturating_sub(u64::from(blocks));
            if *reserved == 0 {
                self.quota_reserved.remove(&id);
            }
        }
    }

    /// Counts blocks and inodes for an id.
    pub(crate) fn charge(&mut self, id: u32, blocks: i64, inodes: i64, enforce: bool) -> Out<()> {
        if id == 0 {
            return Ok(());
        }
        if enforce && blocks > 0 {
            self.check_quota(id, blocks.unsigned_abs())?;
        }
        let slot = self.quota_slot(id, true)?.ok_or(Error::NoSpace)?;
        let old = read(self.bytes(slot), offset(id));
        if enforce && inodes > 0 && old.inodes_max != 0 && old.inodes + inodes.unsigned_abs() > old.inodes_max {
            return Err(Error::Quota.into());
        }
        let mut bytes = [0; 16];
        put_u64(&mut bytes, 0, old.blocks.saturating_add_signed(blocks));
        put_u64(&mut bytes, 8, old.inodes.saturating_add_signed(inodes));
        self.put(slot, offset(id) + 16, &bytes);
        Ok(())
    }

    /// Lets an inode, with the `reserved` blocks that are set aside for it, count for another id. What is made in a directory afterwards takes the
    /// directory's; what is in it already keeps its own.
    ///
    /// # Errors
    /// `Quota`, `NoSpace`.
    pub fn set_quota_id(&mut self, inode: InodeNumber, id: u32, reserved: u32, time: i64) -> Out<()> {
        let old = self.operate(|volume| {
            let mut fields = volume.inode(inode)?;
            let old = fields.quota;
            if old != id {
                let blocks = i64::try_from(fields.blocks).map_err(|_| volume.inode_damage(inode, What::Bounds))?;
                volume.check_quota(id, fields.blocks.saturating_add(u64::from(reserved)))?;
                volume.charge(old, -blocks, -1, false)?;
                volume.charge(id, blocks, 1, true)?;
                fields.quota = id;
            }
            fields.changed = time;
            volume.put_inode(&fields)?;
            Ok(old)
        })?;
        if old != id {
            self.release_quota(old, reserved);
            self.hold_quota(id, reserved);
        }
        Ok(())
    }
}
