//! The handle table: what a process may reach, and what it may do with it.
//!
//! A file descriptor is an index into this table. An entry is (object, kind, rights); rights only ever shrink: no operation
//! returns an entry with a right that the entry it came from did not have. A new entry takes the lowest free index, as POSIX
//! asks of descriptors. The table never grows past its limit.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

use alloc::vec::Vec;

/// What the holder of a handle may do with the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u32);

impl Rights {
    /// Nothing but holding it and asking what it is.
    pub const NONE: Self = Self(0);
    /// Read its contents, or list a directory.
    pub const READ: Self = Self(1);
    /// Change its contents.
    pub const WRITE: Self = Self(2);
    /// Map its contents executable, or run it.
    pub const EXECUTE: Self = Self(4);
    /// Look up names under it.
    pub const TRAVERSE: Self = Self(8);
    /// Change its state: modes, owner, times, terminal settings.
    pub const CONTROL: Self = Self(16);
    /// Make another handle to it.
    pub const DUPLICATE: Self = Self(32);
    /// Hand it to another process.
    pub const TRANSFER: Self = Self(64);
    /// All of these.
    pub const ALL: Self = Self(127);

    /// Both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Only what is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether every right of `wanted` is here.
    #[must_use]
    pub const fn contains(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

/// What sort of object an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Either end of a pipe.
    Pipe,
    /// Terminal.
    Terminal,
    /// Other character or block device.
    Device,
    /// A place in the file tree, not opened (`O_PATH`).
    Place,
    /// Anything else that can be waited on: events, timers, sockets.
    Event,
}

/// One handle.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    /// The thing itself.
    pub object: T,
    /// Its sort.
    pub kind: Kind,
    rights: Rights,
    /// Closed by `execve`.
    pub close_on_exec: bool,
}

impl<T> Entry<T> {
    /// A handle with these rights; this is the only place where rights come from.
    pub const fn new(object: T, kind: Kind, rights: Rights) -> Self {
        Self { object, kind, rights, close_on_exec: false }
    }

    /// What its holder may do.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// Gives up every right that is not in `keep`.
    pub const fn shrink(&mut self, keep: Rights) {
        self.rights = self.rights.intersection(keep);
    }
}

/// Why a table refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No such handle.
    Absent,
    /// The limit is reached.
    Full,
    /// The index asked for is not below the limit.
    OutOfRange,
    /// The handle may not be duplicated.
    Denied,
}

const WORD: usize = 64;

/// The table of one process.
#[derive(Clone, Debug)]
pub struct Table<T> {
    entries: Vec<Option<Entry<T>>>,
    used: Vec<u64>,
    limit: usize,
}

impl<T> Table<T> {
    /// An empty table for at most `limit` handles.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { entries: Vec::new(), used: Vec::new(), limit }
    }

    /// Changes the limit; handles above a lower limit stay until they are closed.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The handle at `index`.
    ///
    /// # Errors
    /// `Absent`.
    pub fn get(&self, index: usize) -> Result<&Entry<T>, Error> {
        self.entries.get(index).and_then(Option::as_ref).ok_or(Error::Absent)
    }

    /// The handle at `index`, to change its flag or shrink its rights.
    ///
    /// # Errors
    /// `Absent`.
    pub fn get_mut(&mut self, index: usize) -> Result<&mut Entry<T>, Error> {
        self.entries.get_mut(index).and_then(Option::as_mut).ok_or(Error::Absent)
    }

    /// Adds a handle at the lowest free index that is at least `from`.
    ///
    /// # Errors
    /// `Full`; `OutOfRange` when `from` is not below the limit. The entry is dropped.
    pub fn insert(&mut self, entry: Entry<T>, from: usize) -> Result<usize, Error> {
        let index = self.lowest_free(from)?;
        self.place(index, entry);
        Ok(index)
    }

    /// Puts a handle at `index` and returns the one that was there.
    ///
    /// # Errors
    /// `OutOfRange`.
    pub fn replace(&mut self, index: usize, entry: Entry<T>) -> Result<Option<Entry<T>>, Error> {
        if index >= self.limit {
            return Err(Error::OutOfRange);
        }
        Ok(self.place(index, entry))
    }

    /// Takes the handle out.
    ///
    /// # Errors
    /// `Absent`.
    pub fn remove(&mut self, index: usize) -> Result<Entry<T>, Error> {
        let entry = self.entries.get_mut(index).and_then(Option::take).ok_or(Error::Absent)?;
        self.used[index / WORD] &= !(1 << (index % WORD));
        Ok(entry)
    }

    /// Takes out the first handle in `range` that `wanted` picks; calling until `None` empties the selection.
    pub fn remove_first(
        &mut self,
        range: core::ops::Range<usize>,
        wanted: impl Fn(&Entry<T>) -> bool,
    ) -> Option<Entry<T>> {
        let end = range.end.min(self.entries.len());
        let index = (range.start..end).find(|&i| self.entries[i].as_ref().is_some_and(&wanted))?;
        self.remove(index).ok()
    }

    /// Index and handle of all, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Entry<T>)> {
        self.entries.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }

    /// All of them, to change flags.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Entry<T>)> {
        self.entries.iter_mut().enumerate().filter_map(|(index, slot)| Some((index, slot.as_mut()?)))
    }

    /// One past the largest index that was ever used.
    #[must_use]
    pub fn extent(&self) -> usize {
        self.entries.len()
    }

    fn lowest_free(&self, from: usize) -> Result<usize, Error> {
        if from >= self.limit {
            return Err(Error::OutOfRange);
        }
        let mut word = from / WORD;
        let mut taken_below = (1 << (from % WORD)) - 1;
        while let Some(bits) = self.used.get(word) {
            let free = !(bits | taken_below);
            if free != 0 {
                let index = word * WORD + free.trailing_zeros() as usize;
                return if index < self.limit { Ok(index) } else { Err(Error::Full) };
            }
            taken_below = 0;
            word += 1;
        }
        let index = from.max(word * WORD);
        if index < self.limit { Ok(index) } else { Err(Error::Full) }
    }

    fn place(&mut self, index: usize, entry: Entry<T>) -> Option<Entry<T>> {
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
            self.used.resize(self.entries.len().div_ceil(WORD), 0);
        }
        self.used[index / WORD] |= 1 << (index % WORD);
        self.entries[index].replace(entry)
    }
}

impl<T: Clone> Table<T> {
    /// A copy of the handle at `index`, with rights inside `keep` and without the close-on-exec flag.
    ///
    /// # Errors
    /// `Absent`; `Denied` when it lacks the right to be duplicated.
    pub fn duplicate(&self, index: usize, keep: Rights) -> Result<Entry<T>, Error> {
        let mut copy = self.get(index)?.clone();
        if !copy.rights.contains(Rights::DUPLICATE) {
            return Err(Error::Denied);
        }
        copy.shrink(keep);
        copy.close_on_exec = false;
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const ALL: Rights = Rights::ALL;

    fn entry(object: u32, rights: Rights) -> Entry<u32> {
        Entry::new(object, Kind::File, rights)
    }

    #[test]
    fn rights_only_shrink() {
        let mut table = Table::new(8);
        let read = Rights::READ.union(Rights::DUPLICATE);
        table.insert(entry(1, read), 0).unwrap();
        let copy = table.duplicate(0, ALL).unwrap();
        assert_eq!(copy.rights(), read, "a copy has no more than its source");
        let mut copy = table.duplicate(0, Rights::READ).unwrap();
        copy.shrink(ALL);
        assert_eq!(copy.rights(), Rights::READ);
        table.insert(copy, 0).unwrap();
        assert_eq!(table.duplicate(1, ALL).unwrap_err(), Error::Denied);
    }

    #[test]
    fn limits_hold() {
        let mut table = Table::new(3);
        for object in 0..3 {
            assert_eq!(table.insert(entry(object, ALL), 0), Ok(object as usize));
        }
        assert_eq!(table.insert(entry(9, ALL), 0), Err(Error::Full));
        assert_eq!(table.insert(entry(9, ALL), 3), Err(Error::OutOfRange));
        assert_eq!(table.replace(3, entry(9, ALL)).unwrap_err(), Error::OutOfRange);
        assert_eq!(table.remove(7).unwrap_err(), Error::Absent);
        assert_eq!(table.extent(), 3);
    }

    #[test]
    fn exec_closes_the_marked() {
        let mut table = Table::new(100);
        for object in 0..70 {
            let mut handle = entry(object, ALL);
            handle.close_on_exec = object % 2 == 1;
            table.insert(handle, 0).unwrap();
        }
        let mut closed = 0;
        while table.remove_first(0..usize::MAX, |e| e.close_on_exec).is_some() {
            closed += 1;
        }
        assert_eq!(closed, 35);
        assert!(table.iter().all(|(index, e)| index % 2 == 0 && e.object as usize == index));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize),
        Replace(usize),
        Remove(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..150).prop_map(Step::Insert),
            (0usize..150).prop_map(Step::Replace),
            (0usize..150).prop_map(Step::Remove)
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_with_lowest_free(steps in prop::collection::vec(step(), 0..400)) {
            let limit = 130;
            let mut table = Table::new(limit);
            let mut model = BTreeMap::new();
            for (object, step) in (0u32..).zip(steps) {
                match step {
                    Step::Insert(from) => {
                        let free = (from..limit).find(|i| !model.contains_key(i));
                        let expected = free.ok_or(if from >= limit { Error::OutOfRange } else { Error::Full });
                        prop_assert_eq!(table.insert(entry(object, ALL), from), expected);
                        if let Some(index) = free { model.insert(index, object); }
                    }
                    Step::Replace(index) if index < limit => {
                        let old = table.replace(index, entry(object, ALL)).unwrap().map(|e| e.object);
                        prop_assert_eq!(old, model.insert(index, object));
                    }
                    Step::Replace(index) => prop_assert!(table.replace(index, entry(object, ALL)).is_err()),
                    Step::Remove(index) => prop_assert_eq!(table.remove(index).ok().map(|e| e.object), model.remove(&index)),
                }
                let seen: BTreeMap<_, _> = table.iter().map(|(index, e)| (index, e.object)).collect();
                prop_assert_eq!(&seen, &model);
            }
        }
    }
}
