//! Root's public keys as a loader carries them (docs/formats/release-header.md, "Root keys in the loader"): made while it is
//! compiled, in one block of constant size.
//!
//! A block has one quorum or, while root is rotated, two: the keys that root has now, and those that it had. A key set needs
//! one of them whole; signatures of one and of the other are never added up.

use crate::trust::{Quorum, Roots};

/// Most root keys, of both quorums together.
pub const MAX_KEYS: usize = 8;
/// The present root, and the one before.
pub const MAX_QUORUMS: usize = 2;

/// What `swiftbuild inspect` finds by its magic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct RootKeys {
    magic: [u8; 8],
    version: u32,
    count: u32,
    quorums: [Quorum; MAX_QUORUMS],
    keys: [[u8; 32]; MAX_KEYS],
}

const _: () = assert!(size_of::<RootKeys>() == 288);

impl RootKeys {
    /// The block of `THRESHOLD:KEY,KEY,…`, keys in hexadecimal; behind a `;` the same of the root before. Nothing: no keys,
    /// and a loader that boots nothing.
    ///
    /// # Panics
    /// The text has another form; a loader with it is not compiled.
    #[must_use]
    pub const fn parse(source: &str) -> Self {
        let source = source.as_bytes();
        let mut block = Self {
            magic: *b"SWROOTKY",
            version: 2,
            count: 0,
            quorums: [Quorum::NONE; MAX_QUORUMS],
            keys: [[0; 32]; MAX_KEYS],
        };
        let (mut at, mut quorum) = (0, 0);
        while at < source.len() {
            assert!(quorum < MAX_QUORUMS, "SWIFT_ROOT_KEYS: more than two roots");
            assert!(
                at + 1 < source.len() && source[at].is_ascii_digit() && source[at + 1] == b':',
                "SWIFT_ROOT_KEYS: a threshold and ':' stand before the keys"
            );
            let threshold = (source[at] - b'0') as u32;
            let mut members = 0u32;
            at += 1; // to the colon; each key stands behind one character
            loop {
                members |= 1 << block.place_of(key_at(source, at + 1));
                at += 1 + 64;
                if at >= source.len() || source[at] != b',' {
                    break;
                }
            }
            assert!(
                threshold >= 1 && threshold <= members.count_ones(),
                "SWIFT_ROOT_KEYS: a threshold is from 1 to the number of its keys"
            );
            block.quorums[quorum] = Quorum { threshold, members };
            quorum += 1;
            assert!(at == source.len() || source[at] == b';', "SWIFT_ROOT_KEYS: ',' or ';' stands behind a key");
            at += 1;
        }
        block
    }

    /// Where a key stands; one that does not yet is put at the end.
    const fn place_of(&mut self, key: [u8; 32]) -> u32 {
        let mut place = 0;
        while place < self.count {
            if is_same(&self.keys[place as usize], &key) {
                return place;
            }
            place += 1;
        }
        assert!((self.count as usize) < MAX_KEYS, "SWIFT_ROOT_KEYS: more than 8 keys");
        self.keys[place as usize] = key;
        self.count += 1;
        place
    }

    /// What they are to a verifier. A block that was changed to hold more than there is room for holds none.
    #[must_use]
    pub fn roots(&self) -> Roots<'_> {
        Roots { keys: self.keys.get(..self.count as usize).unwrap_or_default(), quorums: self.quorums }
    }
}

const fn key_at(source: &[u8], at: usize) -> [u8; 32] {
    assert!(at + 64 <= source.len(), "SWIFT_ROOT_KEYS: a key has 64 hexadecimal digits");
    let mut key = [0; 32];
    let mut byte = 0;
    while byte < 32 {
        key[byte] = digit(source[at + 2 * byte]) << 4 | digit(source[at + 2 * byte + 1]);
        byte += 1;
    }
    key
}

const fn digit(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character - b'0',
        b'a'..=b'f' => character - b'a' + 10,
        _ => panic!("SWIFT_ROOT_KEYS: digits are 0 to 9 and a to f"),
    }
}

/// `==` of arrays cannot be used in a `const fn`.
const fn is_same(one: &[u8; 32], two: &[u8; 32]) -> bool {
    let mut at = 0;
    while at < 32 {
        if one[at] != two[at] {
            return false;
        }
        at += 1;
    }
    true
}
