#![cfg_attr(not(test), no_std)]
//! SHA-256 of bytes in memory, with the CPU's instructions where it has them (FIPS 180-4).
//!
//! `sha2` does the work, but on bare metal it never asks the CPU, and its software path costs 32 instructions per byte: more
//! for a kernel than the rest of a boot. So the block function is chosen here: [`best`] asks the CPU once, [`software`] is `sha2`'s
//! own. Both are held to the same vectors.

use sha2::block_api::compress256;

/// Hashes bytes.
pub type Digest = fn(&[u8]) -> [u8; 32];

type Blocks = fn(&mut [u32; 8], &[[u8; 64]]);

const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Without the CPU's help.
pub fn software(data: &[u8]) -> [u8; 32] {
    digest(data, compress256)
}

/// The fastest that this CPU has. Uses vector registers, so it is for code that may.
pub fn best() -> Digest {
    #[cfg(target_arch = "aarch64")]
    if aarch64::is_supported() {
        return |data| digest(data, aarch64::compress_if_supported);
    }
    software
}

/// FIPS 180-4, sections 5.1.1 and 6.2: whole blocks from where they lie, then the padded rest.
fn digest(data: &[u8], blocks: Blocks) -> [u8; 32] {
    let mut state = INITIAL;
    let (whole, rest) = data.as_chunks::<64>();
    blocks(&mut state, whole);
    let mut tail = [[0; 64]; 2];
    let flat = tail.as_flattened_mut();
    flat[..rest.len()].copy_from_slice(rest);
    flat[rest.len()] = 0x80;
    // The length takes 8 bytes at the end of the last block.
    let used = if rest.len() < 56 { 1 } else { 2 };
    flat[64 * used - 8..64 * used].copy_from_slice(&(data.len() as u64 * 8).to_be_bytes());
    blocks(&mut state, &tail[..used]);
    let mut out = [0; 32];
    for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    out
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use core::arch::aarch64::*;
    use core::arch::asm;

    /// ID_AA64ISAR0_EL1.SHA2, bits 15:12: not 0 when SHA256H, SHA256H2, SHA256SU0 and SHA256SU1 are there (Arm ARM, D23.2.61).
    /// At EL0 Linux emulates the read.
    pub fn is_supported() -> bool {
        let features: u64;
        // SAFETY: reading an identification register has no effect but the value.
        unsafe { asm!("mrs {}, ID_AA64ISAR0_EL1", out(reg) features, options(nomem, nostack, preserves_flags)) };
        features >> 12 & 15 != 0
    }

    pub fn compress_if_supported(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
        // SAFETY: `best` hands this function out only after `is_supported`, and nothing else names it.
        unsafe { compress(state, blocks) }
    }

    static ROUNDS: [u32; 64] = [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
        0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
        0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
        0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
        0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
        0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
        0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
        0xc67178f2,
    ];

    /// Four words of the schedule or of the constants at `at`.
    #[target_feature(enable = "sha2")]
    fn load(words: &[u32], at: usize) -> uint32x4_t {
        let four: &[u32; 4] = words[at..].first_chunk().expect("callers stay four words from the end");
        // SAFETY: the reference covers the 16 bytes, and the load needs no more alignment than theirs.
        unsafe { vld1q_u32(four.as_ptr()) }
    }

    /// FIPS 180-4, section 6.2.2, four rounds at a time (Arm ARM, C7.2: SHA256H and its companions).
    #[target_feature(enable = "sha2")]
    fn compress(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
        let mut abcd = load(state, 0);
        let mut efgh = load(state, 4);
        for block in blocks {
            let (abcd_before, efgh_before) = (abcd, efgh);
            let words: [u32; 16] =
                core::array::from_fn(|i| u32::from_be_bytes(core::array::from_fn(|byte| block[4 * i + byte])));
            let mut schedule = [load(&words, 0), load(&words, 4), load(&words, 8), load(&words, 12)];
            for group in 0..16 {
                let now = schedule[group % 4];
                let keyed = vaddq_u32(now, load(&ROUNDS, 4 * group));
                (abcd, efgh) = (vsha256hq_u32(abcd, efgh, keyed), vsha256h2q_u32(efgh, abcd, keyed));
                if group < 12 {
                    let started = vsha256su0q_u32(now, schedule[(group + 1) % 4]);
                    schedule[group % 4] =
                        vsha256su1q_u32(started, schedule[(group + 2) % 4], schedule[(group + 3) % 4]);
                }
            }
            abcd = vaddq_u32(abcd, abcd_before);
            efgh = vaddq_u32(efgh, efgh_before);
        }
        let (low, high) = state.split_at_mut(4);
        // SAFETY: each half is four words, 16 bytes.
        unsafe {
            vst1q_u32(low.as_mut_ptr(), abcd);
            vst1q_u32(high.as_mut_ptr(), efgh);
        }
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

    proptest! {
        #[test]
        fn both_agree_with_the_library(data in prop::collection::vec(any::<u8>(), 0..1000)) {
            let expected: [u8; 32] = sha2::Sha256::digest(&data).into();
            prop_assert_eq!(software(&data), expected);
            prop_assert_eq!(best()(&data), expected);
        }
    }
}
