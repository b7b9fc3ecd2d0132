//! The kernel's randomness without its hardware: a pool that gathers, generators that give out.
//!
//! [`Pool`] hashes whatever sources deliver into 32 bytes and counts what they are worth. Once it is worth [`SEED_BITS`] it is
//! seeded, and hands out keys that are as good as the sum of its sources: a source that is weak, or knows too much, cannot
//! make it worse. [`Generator`] is ChaCha20 with fast key erasure (D. J. Bernstein, 2017): each request first replaces the
//! key by the start of its own key stream, so who reads the kernel's memory later cannot tell what was given out before.
//! One generator for each CPU, all keyed from the one pool.
#![no_std]
#![forbid(unsafe_code)]

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// Bits of entropy from which on the pool counts as seeded.
pub const SEED_BITS: u32 = 256;
const KEY_LENGTH: usize = 32;

/// A generator's key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_LENGTH]);

impl core::fmt::Debug for Key {
    /// Never shows the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What the sources delivered, hashed.
#[derive(Debug)]
pub struct Pool {
    state: Key,
    bits: u32,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: Key([0; KEY_LENGTH]), bits: 0 }
    }

    /// Mix in what a source delivered, worth `bits` of entropy; never more than its length is believed. True when the pool
    /// became seeded by this.
    pub fn absorb(&mut self, source: &str, bytes: &[u8], bits: u32) -> bool {
        let was_seeded = self.is_seeded();
        self.state = hash(b"absorb", &self.state, &[&length(source.len()), source.as_bytes(), bytes]);
        let most = u32::try_from(bytes.len()).map_or(u32::MAX, |length| length.saturating_mul(8));
        self.bits = self.bits.saturating_add(bits.min(most));
        !was_seeded && self.is_seeded()
    }

    /// Bits of entropy gathered.
    #[must_use]
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// Whether keys from here are unpredictable.
    #[must_use]
    pub const fn is_seeded(&self) -> bool {
        self.bits >= SEED_BITS
    }

    /// A fresh key; no two are alike, and none tells anything of another.
    pub fn key(&mut self) -> Key {
        let key = hash(b"key", &self.state, &[]);
        self.state = hash(b"next", &self.state, &[]);
        key
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

fn length(length: usize) -> [u8; 8] {
    (length as u64).to_le_bytes()
}

fn hash(purpose: &[u8], state: &Key, parts: &[&[u8]]) -> Key {
    let mut hasher = Sha256::new();
    hasher.update(b"swift-os/entropy/v1\0");
    hasher.update(length(purpose.len()));
    hasher.update(purpose);
    hasher.update(state.0);
    for part in parts {
        hasher.update(part);
    }
    Key(hasher.finalize().into())
}

/// A stream of random bytes.
#[derive(Debug)]
pub struct Generator {
    key: Key,
}

impl Generator {
    /// A stream from a key.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self { key }
    }

    /// A stream without entropy, to be rekeyed before anyone is served from it.
    #[must_use]
    pub const fn unkeyed() -> Self {
        Self { key: Key([0; KEY_LENGTH]) }
    }

    /// Fill `out`; what was given out before can no longer be told from what is kept.
    pub fn fill(&mut self, out: &mut [u8]) {
        let mut stream = ChaCha20Rng::from_seed(self.key.0);
        stream.fill_bytes(&mut self.key.0);
        stream.fill_bytes(out);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec;

    /// RFC 8439, appendix A.1, test vector 1: the key stream of the zero key. Its first half becomes the next key.
    #[test]
    fn chacha20_known_answer() {
        let mut out = [0; 32];
        Generator::unkeyed().fill(&mut out);
        let expected = [
            0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d, 0x77, 0x24, 0xe0, 0x3f, 0xb8, 0xd8, 0x4a, 0x37, 0x6a, 0x43,
            0xb8, 0xf4, 0x15, 0x18, 0xa1, 0x1c, 0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee, 0x65, 0x86,
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn the_key_is_erased_by_each_request() {
        let mut generator = Generator::new(Key([7; 32]));
        let before = generator.key.clone();
        generator.fill(&mut []);
        assert_ne!(generator.key, before, "even a request of nothing moves on");
        let (mut first, mut second) = ([0; 64], [0; 64]);
        generator.fill(&mut first);
        generator.fill(&mut second);
        assert_ne!(first, second);
    }

    #[test]
    fn seeded_at_256_bits_and_said_once() {
        let mut pool = Pool::new();
        assert!(!pool.absorb("a", &[1; 31], 1000), "31 bytes are worth 248 bits at most");
        assert_eq!((pool.bits(), pool.is_seeded()), (248, false));
        assert!(pool.absorb("b", &[2], 8));
        assert!(!pool.absorb("c", &[3; 64], 512));
    }

    #[test]
    fn a_worthless_source_changes_keys_but_adds_no_credit() {
        let (mut with, mut without) = (Pool::new(), Pool::new());
        with.absorb("time", &[9; 8], 0);
        assert_eq!(with.bits(), 0);
        assert_ne!(with.key(), without.key());
    }

    #[test]
    fn keys_differ_and_follow_from_what_was_absorbed() {
        let keys = |seed: u8| {
            let mut pool = Pool::new();
            pool.absorb("a", &[seed; 32], 256);
            (pool.key(), pool.key())
        };
        assert_ne!(keys(1).0, keys(1).1);
        assert_eq!(keys(1), keys(1));
        assert_ne!(keys(1), keys(2));
    }

    #[test]
    fn debug_output_shows_no_key() {
        assert_eq!(std::format!("{:?}", Generator::unkeyed()), "Generator { key: Key(..) }");
    }

    proptest! {
        /// Where one source's name ends and its bytes begin is part of what is hashed.
        #[test]
        fn boundaries_matter(name in "[a-z]{2,8}", split in 1_usize..8) {
            let split = split.min(name.len() - 1);
            let absorbed = |source: &str, bytes: &[u8]| { let mut pool = Pool::new(); pool.absorb(source, bytes, 0); pool.key() };
            prop_assert_ne!(absorbed(&name, b""), absorbed(&name[..split], &name.as_bytes()[split..]));
        }

        #[test]
        fn any_length_is_filled(size in 0_usize..5000) {
            let mut out = vec![0; size];
            Generator::unkeyed().fill(&mut out);
            let zeros = out.iter().filter(|byte| **byte == 0).count();
            prop_assert!(size < 64 || zeros < size / 4);
        }
    }
}
