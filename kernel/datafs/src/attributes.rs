//! Fields of inodes, targets of links, and inodes that go.
//!
//! The list of orphans is doubly linked through the inodes, so that any of them leaves it with a few patches. An inode without a name is in it until it is freed; a
//! file with names is in it while its truncation is not finished.

use alloc::boxed::Box;
use alloc::vec;

use crate::create::{TARGET_INDEX, TARGET_PART};
use crate::layout::inode::{DIRECTORY, FIELDS, Fields, LINK, ORPHAN, SIZE, TYPE};
use crate::layout::{GRANULE, Kind, Owner, u32_at};
use crate::types::{Attributes, Change, InodeNumber, Progress};
use crate::volume::{Out, Volume};
use crate::{Error, FILE_MAX, What};

/// Blocks of a tree that one step of reclaiming releases at most.
const STEP: usize = 16;

impl Volume {
    /// An inode's fields.
    ///
    /// # Errors
    /// `Stale` when it is not in use.
    pub fn attributes(&mut self, inode: InodeNumber) -> Out<Attributes> {
        let fields = self.inode(inode)?;
        let is_directory = fields.is_directory();
        Ok(Attributes {
            mode: fields.mode,
            links: fields.links,
            user: fields.user,
            group: fields.group,
            generation: fields.generation,
            size: fields.size,
            blocks: fields.blocks,
            accessed: fields.accessed,
            modified: fields.modified,
            changed: fields.changed,
            created: fields.created,
            quota: fields.quota,
            device: if is_directory { 0 } else { fields.device },
            parent: if is_directory { fields.device as u32 } else { 0 },
            has_xattrs: fields.xattrs != 0,
        })
    }

    /// Changes fields.
    ///
    /// # Errors
    /// `Stale`; `Invalid` for a smaller size, or the size of what is no regular file; `FileTooBig`.
    pub fn change(&mut self, inode: InodeNumber, change: &Change) -> Out<()> {
        self.operate(|volume| {
            let mut fields = volume.inode(inode)?;
            if let Some(mode) = change.mode {
                fields.mode = fields.mode & TYPE | mode & !TYPE & 0xffff;
            }
            if let Some(size) = change.size {
                if size < fields.size || !fields.is_regular() {
                    return Err(Error::Invalid.into());
                }
                if size > FILE_MAX {
                    return Err(Error::FileTooBig.into());
                }
                volume.note_longer(&fields, size);
                fields.size = size;
            }
            fields.user = change.user.unwrap_or(fields.user);
            fields.group = change.group.unwrap_or(fields.group);
            fields.accessed = change.accessed.unwrap_or(fields.accessed);
            fields.modified = change.modified.unwrap_or(fields.modified);
            fields.changed = change.changed.unwrap_or(fields.changed);
            volume.put_inode(&fields)
        })
    }

    /// Target of a symbolic link.
    ///
    /// # Errors
    /// `Invalid` when it is none.
    pub fn target(&mut self, inode: InodeNumber) -> Out<Box<[u8]>> {
        let fields = self.inode(inode)?;
        if fields.kind() != LINK {
            return Err(Error::Invalid.into());
        }
        let mut target = vec![0; fields.size as usize].into_boxed_slice();
        if fields.has_target() {
            let (slot, at) = self.inode_slot(inode)?;
            target.copy_from_slice(&self.bytes(slot)[at + FIELDS..at + FIELDS + fields.size as usize]);
            return Ok(target);
        }
        for (index, part) in target.chunks_mut(TARGET_PART).enumerate() {
            let cursor = self.seek(&fields, (index as u64) << 32)?;
            let record = self.record(&cursor).filter(|record| record.high == index as u32);
            let record = record.ok_or_else(|| self.inode_damage(inode, What::Bounds))?;
            self.check_pointer(record.block, 1, cursor.leaf().block, inode)?;
            let slot = self.slot(record.block)?;
            self.check(slot, Kind::Link, Owner { number: inode, generation: fields.generation }, 0)?;
            if u32_at(self.bytes(slot), TARGET_INDEX) != index as u32 {
                return Err(self.inode_damage(inode, What::Order));
            }
            part.copy_from_slice(&self.bytes(slot)[GRANULE..GRANULE + part.len()]);
        }
        Ok(target)
    }

    /// Puts an inode at the head of the list of orphans.
    pub(crate) fn add_orphan(&mut self, fields: &mut Fields) -> Out<()> {
        fields.flags |= ORPHAN;
        fields.next_orphan = self.state.orphans;
        fields.previous_orphan = 0;
        if self.state.orphans != 0 {
            let mut next = self.orphan(self.state.orphans)?;
            next.previous_orphan = fields.number;
            self.put_inode(&next)?;
        }
        self.state.orphans = fields.number;
        Ok(())
    }

    /// Takes an inode out of the list of orphans.
    pub(crate) fn remove_orphan(&mut self, fields: &mut Fields) -> Out<()> {
        let (next, previous) = (fields.next_orphan, fields.previous_orphan);
        if next != 0 {
            let mut inode = self.orphan(next)?;
            if inode.previous_orphan != fields.number {
                return Err(self.inode_damage(next, What::Order));
            }
            inode.previous_orphan = previous;
            self.put_inode(&inode)?;
        }
        if previous != 0 {
            let mut inode = self.orphan(previous)?;
            if inode.next_orphan != fields.number {
                return Err(self.inode_damage(previous, What::Order));
            }
            inode.next_orphan = next;
            self.put_inode(&inode)?;
        } else if self.state.orphans == fields.number {
            self.state.orphans = next;
        } else {
            return Err(self.inode_damage(fields.number, What::Order));
        }
        fields.flags &= !ORPHAN;
        (fields.next_orphan, fields.previous_orphan) = (0, 0);
        Ok(())
    }

    fn orphan(&mut self, inode: InodeNumber) -> Out<Fields> {
        match self.inode(inode) {
            Ok(fields) if fields.is_orphan() => Ok(fields),
            Ok(_) | Err(crate::Stop::Error(Error::Stale)) => Err(self.inode_damage(inode, What::Reference)),
            Err(stop) => Err(stop),
        }
    }

    /// Frees an orphan, step by step; or finishes the truncation of a file that has names.
    ///
    /// # Errors
    /// `Invalid` when it is no orphan.
    pub fn reclaim(&mut self, inode: InodeNumber) -> Out<Progress> {
        self.operate(|volume| {
            let mut fields = volume.inode(inode)?;
            if !fields.is_orphan() {
                return Err(Error::Invalid.into());
            }
            if fields.links > 0 {
                return volume.cut_to_size(fields);
            }
            if volume.release_contents(&mut fields)? == Progress::More {
                volume.put_inode(&fields)?;
                return Ok(Progress::More);
            }
            if fields.xattrs != 0 {
                let block = fields.xattrs;
                volume.free_owned(&mut fields, block)?;
            }
            volume.remove_orphan(&mut fields)?;
            volume.charge(fields.quota, 0, -1, false)?;
            volume.free_inode(inode)?;
            let free = Fields { number: inode, generation: fields.generation, ..Fields::default() };
            volume.put_free(&free)?;
            Ok(Progress::Done)
        })
    }

    /// What is free keeps its number and generation; only the first granule is written.
    fn put_free(&mut self, free: &Fields) -> Out<()> {
        let (slot, at) = self.inode_slot(free.number)?;
        let mut bytes = [0; SIZE];
        free.write(&mut bytes);
        self.put(slot, at + 4, &bytes[4..GRANULE]);
        Ok(())
    }

    fn release_contents(&mut self, fields: &mut Fields) -> Out<Progress> {
        match fields.kind() {
            DIRECTORY | LINK if fields.count > 0 => self.release_tree(fields),
            DIRECTORY | LINK => Ok(Progress::Done),
            _ => self.cut(fields, 0),
        }
    }

    /// Releases blocks that a tree's records lead to, and its nodes.
    fn release_tree(&mut self, fields: &mut Fields) -> Out<Progress> {
        for _ in 0..STEP {
            let cursor = self.seek(fields, u64::MAX)?;
            let Some(record) = self.record(&cursor) else { return Ok(Progress::Done) };
            self.free_owned(fields, record.block)?;
            self.delete(fields, &cursor)?;
        }
        Ok(Progress::More)
    }
}
