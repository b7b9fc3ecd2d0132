//! Extended attributes: all of an inode's in one block.
//!
//! Behind the header: {length of the name u8, 0 u8, length of the value u16, name, value, padding to a multiple of 4} each; their bytes in all stand in the header.

use alloc::vec::Vec;

use crate::layout::inode::Fields;
use crate::layout::{GRANULE, Kind, Owner, u16_at};
use crate::types::{Bytes, InodeNumber, SetXattr};
use crate::volume::{Out, Volume};
use crate::{BLOCK, Damage, Error, NAME_MAX, What};

/// In the header: bytes of all attributes (u16).
pub(crate) const USED: usize = 24;
const HEAD: usize = 4;
/// Bytes for them.
const ROOM: usize = BLOCK - GRANULE;

struct Attribute<'a> {
    name: &'a [u8],
    value: &'a [u8],
    start: usize,
    end: usize,
}

fn attribute(bytes: &[u8], start: usize, end: usize) -> Option<Attribute<'_>> {
    let head = bytes.get(start..start + HEAD)?;
    let (name, value) = (usize::from(head[0]), usize::from(u16_at(head, 2)));
    let from = start + HEAD;
    let next = (from + name + value).next_multiple_of(4);
    if name == 0 || head[1] != 0 || next > end {
        return None;
    }
    let (name, value) = bytes.get(from..from + name + value)?.split_at(name);
    (!name.contains(&0)).then_some(Attribute { name, value, start, end: next })
}

fn attributes(bytes: &Bytes) -> impl Iterator<Item = Attribute<'_>> {
    let (mut at, end) = (GRANULE, GRANULE + usize::from(u16_at(bytes, USED)).min(ROOM));
    core::iter::from_fn(move || {
        let found = attribute(bytes, at, end)?;
        at = found.end;
        Some(found)
    })
}

/// Names of a checked block.
pub(crate) fn names(bytes: &Bytes) -> impl Iterator<Item = &[u8]> {
    attributes(bytes).map(|attribute| attribute.name)
}

/// Checks a block's contents; its header was checked.
pub(crate) fn check(bytes: &Bytes, block: u64, inode: InodeNumber) -> Result<(), Damage> {
    let used = usize::from(u16_at(bytes, USED));
    let reached = attributes(bytes).last().map_or(GRANULE, |last| last.end);
    if used > ROOM || reached != GRANULE + used {
        return Err(Damage { block, inode, what: What::Bounds });
    }
    Ok(())
}

impl Volume {
    fn xattr_slot(&mut self, fields: &Fields) -> Out<Option<usize>> {
        if fields.xattrs == 0 {
            return Ok(None);
        }
        self.check_pointer(fields.xattrs, 1, self.geometry.inode_place(fields.number).0, fields.number)?;
        let slot = self.slot(fields.xattrs)?;
        self.check(slot, Kind::Xattr, Owner { number: fields.number, generation: fields.generation }, 0)?;
        Ok(Some(slot))
    }

    /// A value.
    ///
    /// # Errors
    /// `NoAttribute`.
    pub fn xattr(&mut self, inode: InodeNumber, name: &[u8]) -> Out<Vec<u8>> {
        let fields = self.inode(inode)?;
        let slot = self.xattr_slot(&fields)?.ok_or(Error::NoAttribute)?;
        let found = attributes(self.bytes(slot)).find(|attribute| attribute.name == name);
        Ok(found.ok_or(Error::NoAttribute)?.value.to_vec())
    }

    /// All names, each ended by a NUL, as `listxattr` gives them.
    ///
    /// # Errors
    /// `Stale`.
    pub fn xattr_names(&mut self, inode: InodeNumber) -> Out<Vec<u8>> {
        let fields = self.inode(inode)?;
        let Some(slot) = self.xattr_slot(&fields)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for attribute in attributes(self.bytes(slot)) {
            names.extend_from_slice(attribute.name);
            names.push(0);
        }
        Ok(names)
    }

    /// Sets a value. All of an inode's attributes together have 4032 bytes.
    ///
    /// # Errors
    /// `NoSpace`, `Exists`, `NoAttribute`, `Quota`, `Invalid` for an empty or too long name.
    pub fn set_xattr(&mut self, inode: InodeNumber, name: &[u8], value: &[u8], how: SetXattr, time: i64) -> Out<()> {
        if name.is_empty() || name.len() > NAME_MAX || name.contains(&0) {
            return Err(Error::Invalid.into());
        }
        let length = (HEAD + name.len() + value.len()).next_multiple_of(4);
        if value.len() > ROOM || length > ROOM {
            return Err(Error::NoSpace.into());
        }
        self.operate(|volume| {
            let mut fields = volume.inode(inode)?;
            let slot = match volume.xattr_slot(&fields)? {
                Some(slot) => slot,
                None if how == SetXattr::Replace => return Err(Error::NoAttribute.into()),
                None => volume.make_xattrs(&mut fields)?,
            };
            let old = volume.cut_xattr(slot, name);
            if old && how == SetXattr::Create {
                return Err(Error::Exists.into());
            }
            if !old && how == SetXattr::Replace {
                return Err(Error::NoAttribute.into());
            }
            let used = usize::from(u16_at(volume.bytes(slot), USED));
            if used + length > ROOM {
                return Err(Error::NoSpace.into());
            }
            let into = volume.alter(slot, GRANULE + used, length);
            into.fill(0);
            into[0] = name.len() as u8;
            into[2..HEAD].copy_from_slice(&(value.len() as u16).to_le_bytes());
            into[HEAD..HEAD + name.len()].copy_from_slice(name);
            into[HEAD + name.len()..HEAD + name.len() + value.len()].copy_from_slice(value);
            volume.put(slot, USED, &((used + length) as u16).to_le_bytes());
            fields.changed = time;
            volume.put_inode(&fields)
        })
    }

    fn make_xattrs(&mut self, fields: &mut Fields) -> Out<usize> {
        let block = self.allocate_owned(fields, false)?;
        fields.xattrs = block;
        self.fresh(block, Kind::Xattr, Owner { number: fields.number, generation: fields.generation })
    }

    /// Takes an attribute out of its block; whether it was there.
    fn cut_xattr(&mut self, slot: usize, name: &[u8]) -> bool {
        let found = attributes(self.bytes(slot)).find(|attribute| attribute.name == name);
        let Some((start, end)) = found.map(|attribute| (attribute.start, attribute.end)) else { return false };
        let used = usize::from(u16_at(self.bytes(slot), USED));
        let behind = GRANULE + used - end;
        if behind > 0 {
            self.alter(slot, start, end - start + behind).copy_within(end - start.., 0);
        }
        self.put(slot, USED, &((used - (end - start)) as u16).to_le_bytes());
        true
    }

    /// Takes one away.
    ///
    /// # Errors
    /// `NoAttribute`.
    pub fn remove_xattr(&mut self, inode: InodeNumber, name: &[u8], time: i64) -> Out<()> {
        self.operate(|volume| {
            let mut fields = volume.inode(inode)?;
            let slot = volume.xattr_slot(&fields)?.ok_or(Error::NoAttribute)?;
            if !volume.cut_xattr(slot, name) {
                return Err(Error::NoAttribute.into());
            }
            if u16_at(volume.bytes(slot), USED) == 0 {
                let block = core::mem::take(&mut fields.xattrs);
                volume.free_owned(&mut fields, block)?;
            }
            fields.changed = time;
            volume.put_inode(&fields)
        })
    }
}
