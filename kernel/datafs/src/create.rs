//! Making, linking, removing and moving names.

use crate::layout::inode::{DIRECTORY, FIELDS, Fields, LINK, REGULAR, SIZE, TARGET_MAX as INLINE_MAX, TYPE, is_type};
use crate::layout::node::Record;
use crate::layout::{GRANULE, Kind, Owner, put_u32};
use crate::types::{InodeNumber, New, Removed};
use crate::volume::{Out, Volume};
use crate::{BLOCK, Error, TARGET_MAX};

/// Most names of an inode; Linux's ext4 has the same for files.
const LINKS_MAX: u32 = 65_000;
/// Bytes of a link's target in one block.
pub(crate) const TARGET_PART: usize = BLOCK - GRANULE;
/// In a block of a target: which part of it (u32).
pub(crate) const TARGET_INDEX: usize = 24;

impl Volume {
    /// Makes an inode and gives it a name. It takes the directory's quota id.
    ///
    /// # Errors
    /// `Exists`, `NotDirectory`, `NoSpace`, `NoInodes`, `Quota`, `NameTooLong`, `NotFound` when the directory is removed.
    pub fn create(&mut self, directory: InodeNumber, name: &[u8], new: &New<'_>) -> Out<InodeNumber> {
        Self::check_name(name)?;
        self.operate(|volume| {
            let mut parent = volume.live_directory(directory)?;
            let search = volume.find(&parent, name)?;
            if search.hit.is_some() {
                return Err(Error::Exists.into());
            }
            let inode = volume.make(&parent, new, if new.mode & TYPE == DIRECTORY { 2 } else { 1 })?;
            volume.insert_name(&mut parent, &search, name, inode.number, inode.mode)?;
            parent.links += u32::from(inode.is_directory());
            (parent.modified, parent.changed) = (new.time, new.time);
            volume.put_inode(&parent)?;
            Ok(inode.number)
        })
    }

    /// Makes an inode without a name (`O_TMPFILE`): it stands in the list of orphans until it is linked.
    ///
    /// # Errors
    /// As [`Volume::create`].
    pub fn create_unnamed(&mut self, directory: InodeNumber, new: &New<'_>) -> Out<InodeNumber> {
        self.operate(|volume| {
            let parent = volume.live_directory(directory)?;
            if new.mode & TYPE == DIRECTORY {
                return Err(Error::Invalid.into());
            }
            let mut inode = volume.make(&parent, new, 0)?;
            volume.add_orphan(&mut inode)?;
            volume.put_inode(&inode)?;
            Ok(inode.number)
        })
    }

    /// A directory that has a name.
    fn live_directory(&mut self, directory: InodeNumber) -> Out<Fields> {
        let fields = self.directory(directory)?;
        if fields.links == 0 { Err(Error::NotFound.into()) } else { Ok(fields) }
    }

    fn make(&mut self, parent: &Fields, new: &New<'_>, links: u32) -> Out<Fields> {
        let kind = new.mode & TYPE;
        let has_target = (1..=TARGET_MAX).contains(&new.target.len()) && !new.target.contains(&0);
        if !is_type(kind) || new.mode > 0xffff || !(if kind == LINK { has_target } else { new.target.is_empty() }) {
            return Err(Error::Invalid.into());
        }
        self.charge(parent.quota, 0, 1, true)?;
        let number = self.allocate_inode(parent.number)?;
        let mut fields = Fields {
            quota: parent.quota,
            device: match kind {
                DIRECTORY => u64::from(parent.number),
                LINK | REGULAR => 0,
                _ => new.device,
            },
            size: new.target.len() as u64,
            ..self.new_fields(number, new, new.mode, links)
        };
        let (slot, at) = self.inode_slot(number)?;
        if Fields::read(&self.bytes(slot)[at..at + SIZE]).mode != 0 {
            return Err(self.inode_damage(number, crate::What::Reference));
        }
        let body = self.alter(slot, at + FIELDS, SIZE - FIELDS);
        body.fill(0);
        if new.target.len() <= INLINE_MAX {
            body[..new.target.len()].copy_from_slice(new.target);
        }
        self.put_inode(&fields)?;
        if new.target.len() > INLINE_MAX {
            self.put_target(&mut fields, new.target)?;
            self.put_inode(&fields)?;
        }
        Ok(fields)
    }

    /// Fields of an inode that is made now, under the next generation.
    pub(crate) fn new_fields(&mut self, number: InodeNumber, new: &New<'_>, mode: u32, links: u32) -> Fields {
        let generation = self.state.generation;
        self.state.generation = generation.wrapping_add(1);
        Fields {
            number,
            mode,
            links,
            user: new.user,
            group: new.group,
            modified: new.time,
            changed: new.time,
            accessed: new.time,
            created: new.time,
            generation,
            ..Fields::default()
        }
    }

    fn put_target(&mut self, fields: &mut Fields, target: &[u8]) -> Out<()> {
        let owner = Owner { number: fields.number, generation: fields.generation };
        for (index, part) in target.chunks(TARGET_PART).enumerate() {
            let block = self.allocate_owned(fields, false)?;
            let slot = self.fresh(block, Kind::Link, owner)?;
            let mut number = [0; 4];
            put_u32(&mut number, 0, index as u32);
            self.put(slot, TARGET_INDEX, &number);
            self.put(slot, GRANULE, part);
            let record = Record { high: index as u32, low: 0, block };
            let cursor = self.seek(fields, record.key())?;
            self.insert(fields, &cursor, record)?;
        }
        Ok(())
    }

    /// Gives an inode a further name.
    ///
    /// # Errors
    /// `TooManyLinks`, `OtherQuota`, `Invalid` for a directory, and as [`Volume::create`].
    pub fn link(&mut self, inode: InodeNumber, directory: InodeNumber, name: &[u8], time: i64) -> Out<()> {
        Self::check_name(name)?;
        self.operate(|volume| {
            let mut parent = volume.live_directory(directory)?;
            let mut fields = volume.inode(inode)?;
            if fields.is_directory() {
                return Err(Error::Invalid.into());
            }
            check_quota_ids(&parent, &fields)?;
            if fields.links >= LINKS_MAX {
                return Err(Error::TooManyLinks.into());
            }
            let search = volume.find(&parent, name)?;
            if search.hit.is_some() {
                return Err(Error::Exists.into());
            }
            volume.insert_name(&mut parent, &search, name, inode, fields.mode)?;
            (parent.modified, parent.changed) = (time, time);
            volume.put_inode(&parent)?;
            if fields.links == 0 {
                volume.remove_orphan(&mut fields)?;
            }
            fields.links += 1;
            fields.changed = time;
            volume.put_inode(&fields)
        })
    }

    /// Takes a name away; a directory must be empty. What has no name left becomes an orphan: [`Volume::reclaim`] it when nobody has it open.
    ///
    /// # Errors
    /// `NotFound`, `NotEmpty`.
    pub fn remove(&mut self, directory: InodeNumber, name: &[u8], time: i64) -> Out<Removed> {
        self.operate(|volume| {
            let mut parent = volume.directory(directory)?;
            let hit = volume.find(&parent, name)?.hit.ok_or(Error::NotFound)?;
            let fields = volume.inode(hit.entry.inode)?;
            volume.remove_name(&mut parent, &hit)?;
            parent.links = parent.links.saturating_sub(u32::from(fields.is_directory()));
            (parent.modified, parent.changed) = (time, time);
            volume.put_inode(&parent)?;
            volume.lose_name(fields, time)
        })
    }

    /// An inode has a name less.
    fn lose_name(&mut self, mut fields: Fields, time: i64) -> Out<Removed> {
        if fields.is_directory() && fields.count > 0 {
            return Err(Error::NotEmpty.into());
        }
        fields.links = if fields.is_directory() { 0 } else { fields.links.saturating_sub(1) };
        fields.changed = time;
        if fields.links == 0 && !fields.is_orphan() {
            self.add_orphan(&mut fields)?;
        }
        self.put_inode(&fields)?;
        Ok(Removed { inode: fields.number, orphan: fields.links == 0 })
    }

    /// Moves a name in place of what is there, which loses that name. That a directory does not come into itself is the caller's business.
    ///
    /// # Errors
    /// `NotFound`, `NotEmpty`, `IsDirectory`, `NotDirectory`, `OtherQuota`, and as [`Volume::create`].
    pub fn rename(&mut self, from: (InodeNumber, &[u8]), to: (InodeNumber, &[u8]), time: i64) -> Out<Option<Removed>> {
        Self::check_name(to.1)?;
        self.operate(|volume| {
            let source = volume.directory(from.0)?;
            let mut target = volume.live_directory(to.0)?;
            let hit = volume.find(&source, from.1)?.hit.ok_or(Error::NotFound)?;
            let moved = volume.inode(hit.entry.inode)?;
            if moved.number == to.0 {
                return Err(Error::Invalid.into());
            }
            check_quota_ids(&target, &moved)?;
            let search = volume.find(&target, to.1)?;
            let mut removed = None;
            if let Some(there) = search.hit {
                if there.entry.inode == moved.number {
                    return Ok(None);
                }
                let fields = volume.inode(there.entry.inode)?;
                match (moved.is_directory(), fields.is_directory()) {
                    (true, false) => return Err(Error::NotDirectory.into()),
                    (false, true) => return Err(Error::IsDirectory.into()),
                    _ => {}
                }
                volume.retarget(there.slot, there.entry.at, &moved);
                target.links = target.links.saturating_sub(u32::from(fields.is_directory()));
                removed = Some(volume.lose_name(fields, time)?);
            } else {
                volume.insert_name(&mut target, &search, to.1, moved.number, moved.mode)?;
            }
            (target.modified, target.changed) = (time, time);
            volume.put_inode(&target)?;
            volume.leave(from, to.0, moved.number, time)?;
            Ok(removed)
        })
    }

    /// Second half of a rename: the old name goes, and a directory gets its new parent.
    fn leave(&mut self, from: (InodeNumber, &[u8]), to: InodeNumber, moved: InodeNumber, time: i64) -> Out<()> {
        let mut source = self.directory(from.0)?;
        let hit = self.find(&source, from.1)?.hit.ok_or(Error::NotFound)?;
        self.remove_name(&mut source, &hit)?;
        (source.modified, source.changed) = (time, time);
        self.put_inode(&source)?;
        let mut fields = self.inode(moved)?;
        fields.changed = time;
        if fields.is_directory() {
            fields.device = u64::from(to);
            self.add_links(from.0, to)?;
        }
        self.put_inode(&fields)
    }

    /// A subdirectory moves from one directory to another.
    fn add_links(&mut self, from: InodeNumber, to: InodeNumber) -> Out<()> {
        if from != to {
            let mut fields = self.directory(from)?;
            fields.links = fields.links.saturating_sub(1);
            self.put_inode(&fields)?;
            let mut fields = self.directory(to)?;
            fields.links = fields.links.saturating_add(1);
            self.put_inode(&fields)?;
        }
        Ok(())
    }

    /// Lets an entry lead to another inode.
    fn retarget(&mut self, slot: usize, at: usize, to: &Fields) {
        self.put(slot, at + 8, &to.number.to_le_bytes());
        self.put(slot, at + 13, &[(to.mode >> 12) as u8]);
    }

    /// Lets two names change places.
    ///
    /// # Errors
    /// `NotFound`, `OtherQuota`.
    pub fn exchange(&mut self, one: (InodeNumber, &[u8]), other: (InodeNumber, &[u8]), time: i64) -> Out<()> {
        self.operate(|volume| {
            let (here, there) = (volume.directory(one.0)?, volume.directory(other.0)?);
            let first = volume.find(&here, one.1)?.hit.ok_or(Error::NotFound)?;
            let second = volume.find(&there, other.1)?.hit.ok_or(Error::NotFound)?;
            let (moved, back) = (volume.inode(first.entry.inode)?, volume.inode(second.entry.inode)?);
            if moved.number == back.number {
                return Ok(());
            }
            if moved.number == other.0 || back.number == one.0 {
                return Err(Error::Invalid.into());
            }
            check_quota_ids(&there, &moved)?;
            check_quota_ids(&here, &back)?;
            volume.retarget(first.slot, first.entry.at, &back);
            volume.retarget(second.slot, second.entry.at, &moved);
            for (mut fields, to, from) in [(moved, other.0, one.0), (back, one.0, other.0)] {
                fields.changed = time;
                if fields.is_directory() {
                    fields.device = u64::from(to);
                    volume.put_inode(&fields)?;
                    volume.add_links(from, to)?;
                } else {
                    volume.put_inode(&fields)?;
                }
            }
            for number in [one.0, other.0] {
                let mut fields = volume.directory(number)?;
                (fields.modified, fields.changed) = (time, time);
                volume.put_inode(&fields)?;
            }
            Ok(())
        })
    }
}

/// A directory with a quota id takes only what counts for it.
fn check_quota_ids(directory: &Fields, inode: &Fields) -> Result<(), Error> {
    if directory.quota != 0 && directory.quota != inode.quota { Err(Error::OtherQuota) } else { Ok(()) }
}
