//! Advisory locks on files: `fcntl` record locks and `flock` (fcntl(2), flock(2)).
//!
//! One table for all files. A file's locks of one owner do not overlap, and neighbours of one kind are one lock. The two families do not see each
//! other, as on Linux: they differ in the family of their owners.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// A file: device and number.
pub type Key = (u64, u64);

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A record lock of all who share a descriptor table.
    Table(u64),
    /// A `flock` of an open file.
    Open(u64),
}

impl Owner {
    fn conflicts_with(self, other: Self) -> bool {
        self != other && core::mem::discriminant(&self) == core::mem::discriminant(&other)
    }
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Whose it is.
    pub owner: Owner,
    /// Which process asked for it, for `F_GETLK`.
    pub pid: u32,
    /// Bytes; up to `u64::MAX` for all to come.
    pub range: Range<u64>,
    /// Keeps out all others, and not only those that want to.
    pub exclusive: bool,
}

impl Lock {
    fn keeps_out(&self, other: &Self) -> bool {
        let overlap = self.range.start < other.range.end && other.range.start < self.range.end;
        overlap && (self.exclusive || other.exclusive) && self.owner.conflicts_with(other.owner)
    }
}

/// The locks of all files.
#[derive(Debug, Default)]
pub struct Locks {
    files: BTreeMap<Key, Vec<Lock>>,
}

impl Locks {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self { files: BTreeMap::new() }
    }

    /// A lock that keeps `wanted` out.
    #[must_use]
    pub fn conflict(&self, key: Key, wanted: &Lock) -> Option<&Lock> {
        self.files.get(&key)?.iter().find(|lock| lock.keeps_out(wanted))
    }

    /// Takes a lock, in place of what its owner has in its range. False, and nothing changed, when another keeps it out.
    #[must_use]
    pub fn take(&mut self, key: Key, wanted: Lock) -> bool {
        if self.conflict(key, &wanted).is_some() {
            return false;
        }
        self.release(key, wanted.owner, wanted.range.clone());
        let locks = self.files.entry(key).or_default();
        locks.push(wanted);
        merge(locks);
        true
    }

    /// Gives up what `owner` has in a range. True when there was something.
    pub fn release(&mut self, key: Key, owner: Owner, range: Range<u64>) -> bool {
        let Some(locks) = self.files.get_mut(&key) else { return false };
        let mut kept = Vec::with_capacity(locks.len() + 1);
        let mut found = false;
        for lock in locks.drain(..) {
            if lock.owner != owner || lock.range.end <= range.start || range.end <= lock.range.start {
                kept.push(lock);
                continue;
            }
            found = true;
            let parts = [lock.range.start..range.start, range.end..lock.range.end];
            kept.extend(
                parts.into_iter().filter(|part| part.start < part.end).map(|range| Lock { range, ..lock.clone() }),
            );
        }
        if kept.is_empty() {
            self.files.remove(&key);
        } else {
            *locks = kept;
        }
        found
    }

    /// Gives up all that `owner` has, anywhere. True when there was something.
    pub fn release_all(&mut self, owner: Owner) -> bool {
        let mut found = false;
        self.files.retain(|_, locks| {
            let before = locks.len();
            locks.retain(|lock| lock.owner != owner);
            found |= locks.len() < before;
            !locks.is_empty()
        });
        found
    }

    /// Nobody has a lock on anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Makes one lock of neighbours that differ in nothing but their place.
fn merge(locks: &mut Vec<Lock>) {
    locks.sort_by_key(|lock| lock.range.start);
    let mut merged: Vec<Lock> = Vec::with_capacity(locks.len());
    for lock in locks.drain(..) {
        let neighbour = merged.iter_mut().find(|before| {
            before.range.end == lock.range.start
                && (before.owner, before.exclusive, before.pid) == (lock.owner, lock.exclusive, lock.pid)
        });
        match neighbour {
            Some(before) => before.range.end = lock.range.end,
            None => merged.push(lock),
        }
    }
    *locks = merged;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: Key = (1, 2);
    const BYTES: usize = 12;

    /// What each of three owners has on each byte: nothing, shared, exclusive.
    type Model = [[u8; BYTES]; 3];

    fn lock(owner: u64, range: Range<u64>, exclusive: bool) -> Lock {
        Lock { owner: Owner::Table(owner), pid: owner as u32, range, exclusive }
    }

    fn shown(locks: &Locks) -> Model {
        let mut shown = [[0; BYTES]; 3];
        for lock in locks.files.get(&KEY).into_iter().flatten() {
            let Owner::Table(owner) = lock.owner else { continue };
            for byte in lock.range.clone() {
                assert_eq!(shown[owner as usize][byte as usize], 0, "two locks of one owner on one byte");
                shown[owner as usize][byte as usize] = 1 + u8::from(lock.exclusive);
            }
        }
        shown
    }

    proptest! {
        #[test]
        fn locks_are_what_each_byte_says(
            steps in prop::collection::vec((0u64..3, 0u64..BYTES as u64, 1u64..6, 0u8..3), 1..60)
        ) {
            let (mut locks, mut model) = (Locks::new(), Model::default());
            for (owner, start, length, kind) in steps {
                let range = start..(start + length).min(BYTES as u64);
                let bytes = range.start as usize..range.end as usize;
                if kind == 0 {
                    let had = model[owner as usize][bytes.clone()].iter().any(|&held| held > 0);
                    prop_assert_eq!(locks.release(KEY, Owner::Table(owner), range), had);
                    model[owner as usize][bytes].fill(0);
                } else {
                    let free = (0..3).filter(|&other| other != owner as usize).all(|other| {
                        model[other][bytes.clone()].iter().all(|&held| held == 0 || held == 1 && kind == 1)
                    });
                    prop_assert_eq!(locks.take(KEY, lock(owner, range, kind == 2)), free);
                    if free {
                        model[owner as usize][bytes].fill(kind);
                    }
                }
                prop_assert_eq!(shown(&locks), model);
            }
            for (owner, held) in (0..).zip(&model) {
                let had = held.iter().any(|&held| held > 0);
                prop_assert_eq!(locks.release_all(Owner::Table(owner)), had);
            }
            prop_assert!(locks.is_empty());
        }
    }

    #[test]
    fn neighbours_become_one_and_families_do_not_meet() {
        let mut locks = Locks::new();
        assert!(locks.take(KEY, lock(1, 0..5, true)) && locks.take(KEY, lock(1, 5..9, true)));
        assert_eq!(locks.files[&KEY].len(), 1);
        let flock = |owner| Lock { owner: Owner::Open(owner), pid: 1, range: 0..u64::MAX, exclusive: true };
        assert!(locks.take(KEY, flock(1)));
        assert!(!locks.take(KEY, flock(2)));
        assert_eq!(locks.conflict(KEY, &lock(2, 8..u64::MAX, false)).map(|lock| lock.pid), Some(1));
        assert!(locks.conflict((9, 9), &lock(2, 0..1, true)).is_none());
    }
}
