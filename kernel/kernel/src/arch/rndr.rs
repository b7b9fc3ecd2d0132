//! RNDR, the CPU's own random numbers (Arm ARM, FEAT_RNG).

use super::sysreg;

/// How often one word is asked for: RNDR fails while its source is exhausted.
const TRIES_MAX: u32 = 32;

/// Fills `words`; false where the CPU has no RNDR or it keeps failing.
#[must_use]
pub fn fill(words: &mut [u64]) -> bool {
    let has_rndr = sysreg::read!(ID_AA64ISAR0_EL1) >> 60 != 0;
    has_rndr && words.iter_mut().all(|word| (0..TRIES_MAX).find_map(|_| read()).map(|random| *word = random).is_some())
}

fn read() -> Option<u64> {
    let (word, failed): (u64, u64);
    // SAFETY: RNDR exists; it sets the flags: Z where it failed.
    unsafe {
        core::arch::asm!("mrs {word}, S3_3_C2_C4_0", "cset {failed}, eq", word = out(reg) word, failed = out(reg) failed,
            options(nomem, nostack));
    }
    (failed == 0).then_some(word)
}
