#![cfg_attr(not(test), no_std)]
//! SHA-256 (FIPS 180-4), with the CPU's instructions where it has them.
//!
//! `sha2` does the work, but on bare metal it never asks the CPU, and its software path costs 32 instructions per byte: more
//! for a kernel than the rest of a boot. So the block function is chosen here: [`Engine::best`] asks the CPU once,
//! [`Engine::software`] is `sha2`'s own. Both are held to the same vectors.
//!
//! The CPU's instructions work on vector registers. `blocks.s` puts back each one that it uses, so that it may be called where they
//! hold another's values (a kernel's system call) as long as nobody else runs on this CPU meanwhile who looks at them: interrupts may
//! come, a switch to another thread may not.

use sha2::block_api::compress256;

/// Bytes of a hash.
pub const LENGTH: usize = 32;
/// Bytes of a block.
const BLOCK: usize = 64;

/// Hashes bytes.
pub type Digest = fn(&[u8]) -> [u8; LENGTH];

type Blocks = fn(&mut [u32; 8], &[[u8; BLOCK]]);

const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Without the CPU's help.
pub fn software(data: &[u8]) -> [u8; LENGTH] {
    Hasher::new(Engine::software()).after(data)
}

/// The fastest that this CPU has.
pub fn best() -> Digest {
    #[cfg(target_arch = "aarch64")]
    if aarch64::is_supported() {
        return |data| Hasher::new(Engine { blocks: aarch64::blocks_if_supported }).after(data);
    }
    software
}

/// How blocks are hashed.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    blocks: Blocks,
}

impl Engine {
    /// Without the CPU's help.
    #[must_use]
    pub fn software() -> Self {
        Self { blocks: compress256 }
    }

    /// The fastest that this CPU has.
    #[must_use]
    pub fn best() -> Self {
        #[cfg(target_arch = "aarch64")]
        if aarch64::is_supported() {
            return Self { blocks: aarch64::blocks_if_supported };
        }
        Self::software()
    }
}

/// A hash that has taken the first bytes of a text. A copy of it goes on from there.
#[derive(Clone, Debug)]
pub struct Hasher {
    engine: Engine,
    state: [u32; 8],
    /// Bytes that do not fill a block yet: the first `length % BLOCK`.
    pending: [u8; BLOCK],
    length: u64,
}

impl Hasher {
    /// That has taken nothing.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, state: INITIAL, pending: [0; BLOCK], length: 0 }
    }

    /// Takes bytes: whole blocks from where they lie.
    pub fn update(&mut self, data: &[u8]) {
        let used = self.pending_length();
        self.length += data.len() as u64;
        let mut data = data;
        if used > 0 {
            let (first, behind) = data.split_at(data.len().min(BLOCK - used));
            self.pending[used..used + first.len()].copy_from_slice(first);
            data = behind;
            if used + first.len() < BLOCK {
                return;
            }
            (self.engine.blocks)(&mut self.state, &[self.pending]);
        }
        let (whole, rest) = data.as_chunks::<BLOCK>();
        if !whole.is_empty() {
            (self.engine.blocks)(&mut self.state, whole);
        }
        self.pending[..rest.len()].copy_from_slice(rest);
    }

    /// The hash of what was taken and then `data`, which is not remembered.
    #[must_use]
    pub fn after(&self, data: &[u8]) -> [u8; LENGTH] {
        let mut whole = self.clone();
        whole.update(data);
        whole.finish()
    }

    /// The hash (FIPS 180-4, section 5.1.1: a one bit, zeros, and the length in bits at the end of the last block).
    fn finish(mut self) -> [u8; LENGTH] {
        const LENGTH_AT: usize = BLOCK - size_of::<u64>();
        let used = self.pending_length();
        self.pending[used] = 0x80;
        self.pending[used + 1..].fill(0);
        if used >= LENGTH_AT {
            (self.engine.blocks)(&mut self.state, &[self.pending]);
            self.pending.fill(0);
        }
        self.pending[LENGTH_AT..].copy_from_slice(&(self.length * 8).to_be_bytes());
        (self.engine.blocks)(&mut self.state, &[self.pending]);
        let mut out = [0; LENGTH];
        for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        out
    }

    fn pending_length(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use super::BLOCK;
    use core::arch::{asm, global_asm};

    // Raw: braces are register lists.
    global_asm!(include_str!("blocks.s"), options(raw));

    unsafe extern "C" {
        fn sha256_blocks(state: *mut u32, data: *const u8, count: usize);
    }

    /// ID_AA64ISAR0_EL1.SHA2, bits 15:12: not 0 when SHA256H, SHA256H2, SHA256SU0 and SHA256SU1 are there (Arm ARM, D23.2.61).
    /// At EL0 Linux emulates the read.
    pub fn is_supported() -> bool {
        let features: u64;
        // SAFETY: reading an identification register has no effect but the value.
        unsafe { asm!("mrs {}, ID_AA64ISAR0_EL1", out(reg) features, options(nomem, nostack, preserves_flags)) };
        features >> 12 & 15 != 0
    }

    pub fn blocks_if_supported(state: &mut [u32; 8], blocks: &[[u8; BLOCK]]) {
        // SAFETY: an `Engine` holds this function only after `is_supported`, and nothing else names it. It reads `count` blocks from the slice and
        // writes the eight words, and leaves all registers that a call must preserve as they were, and the vector registers too.
        unsafe { sha256_blocks(state.as_mut_ptr(), blocks.as_ptr().cast(), blocks.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest as _;

    fn hex(digest: [u8; 32]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// FIPS 180-4 examples.
    #[test]
    fn known_answers() {
        let table = [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ];
        for (text, digest) in table {
            for hash in [software, best()] {
                assert_eq!(hex(hash(text.as_bytes())), digest);
            }
        }
        let million = vec![b'a'; 1_000_000];
        for hash in [software, best()] {
            assert_eq!(hex(hash(&million)), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
        }
    }

    #[test]
    fn every_length_around_a_block() {
        let data: Vec<u8> = (0..=255).cycle().take(300).collect();
        for length in 0..data.len() {
            let expected: [u8; 32] = sha2::Sha256::digest(&data[..length]).into();
            assert_eq!(software(&data[..length]), expected);
            assert_eq!(best()(&data[..length]), expected);
        }
    }

    /// The tests mean nothing for the instructions where the CPU lacks them: say so instead of passing.
    #[cfg(target_arch = "aarch64")]
    #[test]
    fn this_cpu_has_the_instructions() {
        assert!(aarch64::is_supported());
    }

    /// In pieces of every size, and from a state that was kept.
    #[test]
    fn pieces_make_the_same_hash() {
        let data: Vec<u8> = (0..=255).cycle().take(300).collect();
        for engine in [Engine::software(), Engine::best()] {
            for size in 1..150 {
                let mut hasher = Hasher::new(engine);
                let mut taken = 0;
                for piece in data.chunks(size) {
                    assert_eq!(hasher.after(&data[taken..]), software(&data));
                    hasher.update(piece);
                    taken += piece.len();
                }
                assert_eq!(hasher.after(&[]), software(&data));
            }
        }
    }

    proptest! {
        #[test]
        fn both_agree_with_the_library(data in prop::collection::vec(any::<u8>(), 0..1000)) {
            let expected: [u8; 32] = sha2::Sha256::digest(&data).into();
            prop_assert_eq!(software(&data), expected);
            prop_assert_eq!(best()(&data), expected);
        }
    }
}
