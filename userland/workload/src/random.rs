//! Numbers that look random and are the same in every run (xorshift64*, Vigna 2016).

/// A generator.
pub struct Random(u64);

impl Random {
    /// One that starts here.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Fills bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn runs_repeat_and_blocks_differ() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));
        let (mut a, mut b) = ([0; 21], [0; 21]);
        one.fill(&mut a);
        two.fill(&mut b);
        assert_eq!(a, b);
        one.fill(&mut a);
        assert_ne!(a, b);
    }
}
