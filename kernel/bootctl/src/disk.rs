//! Which of the disks that a running system finds is the one that it was booted from. Never a guess: two that fit are as good as none.

use crate::{DIGEST, SEQUENCE, get, is_valid};

/// Sequence and digest of a boot-control block: no two machines that ever went different ways share them.
pub type Stamp = (u64, [u8; 32]);

/// The stamp of the copy that counts, by the rule of [`crate::Current::of`], for who has no stack for whole blocks.
pub fn stamp(copies: [&[u8]; 2]) -> Option<Stamp> {
    let stamps = copies.map(|copy| {
        let bytes = copy.first_chunk().filter(|bytes| is_valid(bytes))?;
        Some((u64::from_le_bytes(get(bytes, SEQUENCE)), get(bytes, DIGEST)))
    });
    match stamps {
        [Some(zero), Some(one)] if one.0 > zero.0 => Some(one),
        [zero, one] => zero.or(one),
    }
}

/// What is known of the disk that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The loader named it: the GUID of its partition table, and the block that was current, if there was any.
    Loader {
        /// As it is stored.
        guid: [u8; 16],
        /// Of the current block.
        stamp: Option<Stamp>,
    },
    /// The command line names its GUID.
    Guid([u8; 16]),
    /// Nobody names it: it is the one that has partitions of ours.
    Only,
}

/// A disk with a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The GUID of its table.
    pub guid: [u8; 16],
    /// Of its current boot-control block, if it has one.
    pub stamp: Option<Stamp>,
    /// It has partitions of ours.
    pub has_ours: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This candidate, counted from 0, and no other.
    One(usize),
    /// None fits.
    None,
    /// So many fit.
    Several(usize),
}

impl Wanted {
    fn fits(&self, disk: &Candidate) -> bool {
        match self {
            // A table without a GUID names nothing.
            Self::Loader { guid, .. } | Self::Guid(guid) if *guid == [0; 16] => false,
            Self::Loader { guid, stamp } => disk.guid == *guid && (stamp.is_none() || disk.stamp == *stamp),
            Self::Guid(guid) => disk.guid == *guid,
            Self::Only => disk.has_ours,
        }
    }

    /// Looks for the disk.
    pub fn choose(&self, disks: &[Candidate]) -> Choice {
        let mut fitting = disks.iter().enumerate().filter(|(_, disk)| self.fits(disk));
        match (fitting.next(), fitting.count()) {
            (None, _) => Choice::None,
            (Some((index, _)), 0) => Choice::One(index),
            (Some(_), others) => Choice::Several(others + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn disk(guid: u8, stamp: Option<u8>, has_ours: bool) -> Candidate {
        let stamp = match stamp {
            Some(stamp) => Some((stamp as u64, [stamp; 32])),
            None => None,
        };
        Candidate { guid: [guid; 16], stamp, has_ours }
    }

    fn loader(guid: u8, stamp: Option<u8>) -> Wanted {
        Wanted::Loader { guid: [guid; 16], stamp: disk(guid, stamp, true).stamp }
    }

    #[test]
    fn a_table_of_disks_and_choices() {
        let (mine, other) = (disk(1, Some(7), true), disk(2, Some(7), true));
        let (older, copy, plain) = (disk(1, Some(6), true), mine, disk(3, None, false));
        for (wanted, disks, expected) in [
            (loader(1, Some(7)), &[other, mine, plain][..], Choice::One(1)),
            (loader(1, Some(7)), &[older, mine], Choice::One(1)), // a copy that went another way
            (loader(1, Some(7)), &[older, other], Choice::None),
            (loader(1, Some(7)), &[mine, plain, copy], Choice::Several(2)),
            (loader(1, None), &[mine], Choice::One(0)), // it had no valid block when the loader looked
            (loader(1, None), &[mine, older], Choice::Several(2)),
            (loader(0, None), &[disk(0, None, true)], Choice::None),
            (Wanted::Guid([1; 16]), &[other, older], Choice::One(1)),
            (Wanted::Guid([1; 16]), &[older, mine], Choice::Several(2)),
            (Wanted::Guid([9; 16]), &[older, mine], Choice::None),
            (Wanted::Guid([0; 16]), &[disk(0, None, true)], Choice::None),
            (Wanted::Only, &[plain, mine], Choice::One(1)),
            (Wanted::Only, &[plain, mine, other], Choice::Several(2)),
            (Wanted::Only, &[plain], Choice::None),
            (Wanted::Only, &[], Choice::None),
        ] {
            assert_eq!(wanted.choose(disks), expected, "{wanted:?} among {disks:?}");
        }
    }

    #[test]
    fn the_stamp_is_that_of_the_block_that_counts() {
        let block = |sequence: u64| {
            let mut block = crate::Block::empty();
            block.put(SEQUENCE, &sequence.to_le_bytes());
            block.seal();
            block.bytes
        };
        let (old, new, mut damaged) = (block(4), block(5), block(6));
        damaged[700] ^= 1;
        for copies in
            [[&old, &new], [&new, &old], [&new, &new], [&damaged, &old], [&new, &damaged], [&damaged, &damaged]]
        {
            let copies = copies.map(|copy| copy.as_slice());
            let current = crate::Current::of(copies).map(|current| (current.block.sequence(), current.block.digest()));
            assert_eq!(stamp(copies), current);
        }
        assert_eq!(stamp([&old[..], &new[..]]).map(|stamp| stamp.0), Some(5));
        assert_eq!(stamp([&[], &old[..4095]]), None);
    }

    proptest! {
        #[test]
        fn the_order_of_the_disks_decides_nothing(
            disks in prop::collection::vec((0_u8..3, prop::option::of(0_u8..3), any::<bool>()), 0..6),
            guid in 0_u8..3,
            stamp in prop::option::of(0_u8..3),
            kind in 0_usize..3,
        ) {
            let disks: Vec<_> = disks.into_iter().map(|(guid, stamp, ours)| disk(guid, stamp, ours)).collect();
            let wanted = [loader(guid, stamp), Wanted::Guid([guid; 16]), Wanted::Only][kind];
            let reversed: Vec<_> = disks.iter().rev().copied().collect();
            let there = match wanted.choose(&disks) {
                Choice::One(index) => Choice::One(disks.len() - 1 - index),
                other => other,
            };
            prop_assert_eq!(wanted.choose(&reversed), there);
        }
    }
}
