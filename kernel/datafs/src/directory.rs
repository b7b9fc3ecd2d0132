//! Directories: names found by their hash, through a tree of blocks.
//!
//! The first block takes every name below the second block's key, so its record has key 0. A directory without entries has no block.

use alloc::vec::Vec;

use crate::cache::page;
use crate::layout::inode::Fields;
use crate::layout::names::{Entry as Raw, ROOM, entries, fill, hash, is_name, key, needed, write};
use crate::layout::node::Record;
use crate::layout::{GRANULE, Kind, Owner, put_u16};
use crate::tree::Cursor;
use crate::types::{Entry, Found, InodeNumber};
use crate::volume::{Out, Volume};
use crate::{BLOCK, Error, NAME_MAX, What};

/// Most entries of one hash that are told apart.
const ORDINALS: u32 = 1 << 16;

/// Where a name stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub cursor: Cursor,
    pub slot: usize,
    pub entry: Raw,
    /// The entry before it in its block.
    previous: Option<usize>,
}

/// What looking for a name gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    pub hash: u32,
    pub hit: Option<Hit>,
    /// What a new entry of that hash would get.
    ordinal: u32,
}

const fn position(key: u64) -> u64 {
    key >> 32 << 16 | key & 0xffff
}

impl Volume {
    /// A directory's fields.
    pub(crate) fn directory(&mut self, inode: InodeNumber) -> Out<Fields> {
        let fields = self.inode(inode)?;
        if fields.is_directory() { Ok(fields) } else { Err(Error::NotDirectory.into()) }
    }

    pub(crate) fn check_name(name: &[u8]) -> Result<(), Error> {
        if name.len() > NAME_MAX {
            return Err(Error::NameTooLong);
        }
        if is_name(name) { Ok(()) } else { Err(Error::Invalid) }
    }

    /// The block of names that a cursor leads to.
    fn names(&mut self, directory: &Fields, cursor: &Cursor) -> Out<Option<usize>> {
        let Some(record) = self.record(cursor) else { return Ok(None) };
        self.check_pointer(record.block, 1, cursor.leaf().block, directory.number)?;
        let slot = self.slot(record.block)?;
        let owner = Owner { number: directory.number, generation: directory.generation };
        self.check(slot, Kind::Names, owner, 0)?;
        Ok(Some(slot))
    }

    /// Looks for a name.
    pub(crate) fn find(&mut self, directory: &Fields, name: &[u8]) -> Out<Search> {
        let hash = hash(&self.superblock.hash_key, name);
        let mut search = Search { hash, hit: None, ordinal: 0 };
        let mut cursor = self.seek(directory, key(hash, 0))?;
        while let Some(slot) = self.names(directory, &cursor)? {
            let (bytes, mut at, mut previous) = (self.bytes(slot), GRANULE, None);
            while at < BLOCK {
                let head = crate::layout::u32_at(bytes, at);
                if head == hash {
                    let entry = Raw::read(bytes, at);
                    if entry.inode != 0 && entry.name(bytes) == name {
                        search.hit = Some(Hit { cursor, slot, entry, previous });
                        return Ok(search);
                    }
                    if entry.inode != 0 {
                        search.ordinal = search.ordinal.max(u32::from(entry.ordinal) + 1);
                    }
                }
                previous = Some(at);
                at += usize::from(crate::layout::u16_at(bytes, at + 6));
            }
            // Names of one hash may go on in the next block.
            if !self.advance(&mut cursor)? || self.record(&cursor).is_none_or(|record| record.high > hash) {
                break;
            }
        }
        Ok(search)
    }

    /// Where a name of a directory leads; `None` when there is no such name.
    ///
    /// # Errors
    /// `NotDirectory`.
    pub fn lookup(&mut self, directory: InodeNumber, name: &[u8]) -> Out<Option<Found>> {
        let fields = self.directory(directory)?;
        let search = self.find(&fields, name)?;
        Ok(search.hit.map(|hit| Found { inode: hit.entry.inode, kind: u32::from(hit.entry.kind) << 12 }))
    }

    /// Gives `take` entries from `position` on (0, or an entry's `next`), until it says false: it has no room for this one. One call goes through one
    /// block at most: `Some` position to go on from, `None` at the end. What was given was given before any stop, so nothing comes twice.
    ///
    /// # Errors
    /// `NotDirectory`.
    pub fn entries(
        &mut self,
        directory: InodeNumber,
        from: u64,
        take: &mut dyn FnMut(Entry<'_>) -> bool,
    ) -> Out<Option<u64>> {
        let fields = self.directory(directory)?;
        let Ok(high) = u32::try_from(from >> 16) else { return Ok(None) };
        let wanted = key(high, from as u16);
        let mut cursor = self.seek(&fields, wanted)?;
        let Some(slot) = self.names(&fields, &cursor)? else { return Ok(None) };
        let next = if self.advance(&mut cursor)? { self.record(&cursor) } else { None };
        let bytes = self.bytes(slot);
        let mut order = Vec::new();
        order.try_reserve(ROOM / needed(1)).map_err(|_| Error::NoMemory)?;
        order.extend(entries(bytes).filter(|e| e.inode != 0 && e.key() >= wanted).map(|e| (e.key(), e.at as u16)));
        order.sort_unstable();
        for (key, at) in order {
            let entry = Raw::read(bytes, usize::from(at));
            let next = position(key) + 1;
            let kind = u32::from(entry.kind) << 12;
            if !take(Entry { name: entry.name(bytes), inode: entry.inode, kind, next }) {
                return Ok(Some(position(key)));
            }
        }
        let next = next.map(|record| position(record.key()));
        if next.is_some_and(|next| next <= from) {
            return Err(self.inode_damage(directory, What::Order)); // who lists the directory would never be done
        }
        Ok(next)
    }

    /// Adds a name that was looked for and not found.
    pub(crate) fn insert_name(
        &mut self,
        directory: &mut Fields,
        search: &Search,
        name: &[u8],
        inode: InodeNumber,
        mode: u32,
    ) -> Out<()> {
        if search.ordinal >= ORDINALS {
            return Err(Error::NoSpace.into());
        }
        let need = needed(name.len());
        let mut new = Raw {
            at: 0,
            length: 0,
            hash: search.hash,
            ordinal: search.ordinal as u16,
            inode,
            kind: (mode >> 12) as u8,
            name_length: name.len(),
        };
        loop {
            let cursor = self.seek(directory, new.key())?;
            let Some(slot) = self.names(directory, &cursor)? else {
                self.first_names(directory, &cursor)?;
                continue;
            };
            let room = entries(self.bytes(slot)).find(|entry| entry.length - entry.used() >= need);
            if let Some(room) = room {
                (new.at, new.length) = (room.at + room.used(), room.length - room.used());
                if room.inode != 0 {
                    self.put(slot, room.at + 6, &(room.used() as u16).to_le_bytes());
                }
                let bytes = self.alter(slot, new.at, need);
                write(bytes, &new, name);
                return Ok(());
            }
            let slack: usize = entries(self.bytes(slot)).map(|entry| entry.length - entry.used()).sum();
            // Gathering the room of a block is worth it when it serves a few names more.
            if slack >= ROOM / 8 && slack >= 2 * need {
                self.gather(slot)?;
            } else {
                self.split_names(directory, &cursor, slot)?;
            }
        }
    }

    fn make_names(&mut self, directory: &mut Fields) -> Out<(u64, usize)> {
        let block = self.allocate_owned(directory, false)?;
        let owner = Owner { number: directory.number, generation: directory.generation };
        let slot = self.fresh(block, Kind::Names, owner)?;
        directory.size += BLOCK as u64;
        Ok((block, slot))
    }

    fn first_names(&mut self, directory: &mut Fields, cursor: &Cursor) -> Out<()> {
        let (block, slot) = self.make_names(directory)?;
        self.put(slot, GRANULE + 6, &(ROOM as u16).to_le_bytes());
        self.insert(directory, cursor, Record { high: 0, low: 0, block })
    }

    /// Moves a block's entries together.
    fn gather(&mut self, slot: usize) -> Out<()> {
        let mut old = page().ok_or(Error::NoMemory)?;
        old.copy_from_slice(self.bytes(slot));
        fill(self.alter(slot, GRANULE, ROOM), &old, entries(&old).filter(|entry| entry.inode != 0));
        Ok(())
    }

    /// Moves the upper half of a block's entries, by their order, into a new block.
    fn split_names(&mut self, directory: &mut Fields, cursor: &Cursor, slot: usize) -> Out<()> {
        let mut old = page().ok_or(Error::NoMemory)?;
        old.copy_from_slice(self.bytes(slot));
        let mut order = Vec::new();
        order.try_reserve(ROOM / needed(1)).map_err(|_| Error::NoMemory)?;
        order.extend(entries(&old).filter(|entry| entry.inode != 0).map(|entry| (entry.key(), entry.used())));
        order.sort_unstable();
        let half = order.iter().map(|entry| entry.1).sum::<usize>() / 2;
        let mut sum = 0;
        let middle = order.iter().position(|entry| {
            sum += entry.1;
            sum > half
        });
        // Both parts get something: two entries fit into a block at least.
        let middle = middle.unwrap_or(0).clamp(1, order.len().saturating_sub(1).max(1));
        let Some(&(border, _)) = order.get(middle) else { return Err(Error::NoSpace.into()) };
        let live = |entry: &Raw| entry.inode != 0;
        let (block, right) = self.make_names(directory)?;
        let upper = entries(&old).filter(|entry| live(entry) && entry.key() >= border);
        fill(self.alter(right, GRANULE, ROOM), &old, upper);
        let lower = entries(&old).filter(|entry| live(entry) && entry.key() < border);
        fill(self.alter(slot, GRANULE, ROOM), &old, lower);
        let record = Record { high: (border >> 32) as u32, low: border as u32, block };
        self.insert(directory, cursor, record)
    }

    /// Takes out a name that was found.
    pub(crate) fn remove_name(&mut self, directory: &mut Fields, hit: &Hit) -> Out<()> {
        let (slot, entry) = (hit.slot, &hit.entry);
        match hit.previous {
            Some(at) => {
                let mut length = [0; 2];
                put_u16(&mut length, 0, (Raw::read(self.bytes(slot), at).length + entry.length) as u16);
                self.put(slot, at + 6, &length);
            }
            None => self.put(slot, entry.at + 8, &[0; 4]),
        }
        let first = Raw::read(self.bytes(slot), GRANULE);
        if first.inode != 0 || first.length < ROOM {
            return Ok(());
        }
        let block = self.cache.slot(slot).block;
        self.delete(directory, &hit.cursor)?;
        self.free_owned(directory, block)?;
        directory.size = directory.size.saturating_sub(BLOCK as u64);
        let cursor = self.seek(directory, 0)?;
        if let Some(record) = self.record(&cursor).filter(|record| record.key() != 0) {
            self.replace(&cursor, Record { high: 0, low: 0, block: record.block });
        }
        Ok(())
    }
}
