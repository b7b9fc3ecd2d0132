/// Frames in a section: 2 MiB of them.
pub const FRAMES_PER_SECTION: u64 = 512;
/// log2 of the frames in the largest block: half a section, for the other half also holds what describes the section.
pub const ORDER_MAX: u32 = 8;

const WORDS: usize = 8;

/// One section's free frames, and its place in the allocator's list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Section {
    /// Bit f % 64 of word f / 64: frame f is free.
    free: [u64; WORDS],
    count: u32,
    pub(crate) next: u32,
    pub(crate) previous: u32,
    reserved: u32,
}

impl Default for Section {
    fn default() -> Self {
        Self { free: [0; WORDS], count: 0, next: u32::MAX, previous: u32::MAX, reserved: 0 }
    }
}

/// Bits that start an aligned run of 2^order set bits in `word`.
fn run_starts(word: u64, order: u32) -> u64 {
    /// Every 2^order-th bit.
    const ALIGNED: [u64; 7] = [
        u64::MAX,
        0x5555_5555_5555_5555,
        0x1111_1111_1111_1111,
        0x0101_0101_0101_0101,
        0x0001_0001_0001_0001,
        0x0000_0001_0000_0001,
        1,
    ];
    let runs = (0..order).fold(word, |runs, step| runs & (runs >> (1 << step)));
    runs & ALIGNED[order as usize]
}

impl Section {
    /// How many frames are free.
    #[must_use]
    pub const fn free_frames(&self) -> u32 {
        self.count
    }

    /// Takes 2^`order` frames, aligned; gives the first one's number in the section.
    pub fn take(&mut self, order: u32) -> Option<usize> {
        let frame = if order <= 6 { self.find_in_word(order) } else { self.find_words(1 << (order - 6)) }?;
        self.set(frame, order, false);
        self.count -= 1 << order;
        Some(frame)
    }

    /// Takes single frames, the lowest first, until `into` is full or none is left; gives how many.
    pub fn take_many(&mut self, into: &mut [usize]) -> usize {
        let mut taken = 0;
        for (index, word) in self.free.iter_mut().enumerate() {
            while *word != 0 && taken < into.len() {
                into[taken] = index * 64 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                taken += 1;
            }
        }
        self.count -= taken as u32;
        taken
    }

    /// Makes 2^`order` frames from `frame` on free.
    ///
    /// # Panics
    /// When one is free already, or the block is not aligned to its size.
    pub fn put(&mut self, frame: usize, order: u32) {
        assert!(frame.is_multiple_of(1 << order), "block of order {order} at frame {frame}");
        self.set(frame, order, true);
        self.count += 1 << order;
    }

    fn find_in_word(&self, order: u32) -> Option<usize> {
        self.free.iter().enumerate().find_map(|(index, word)| {
            let starts = run_starts(*word, order);
            (starts != 0).then(|| index * 64 + starts.trailing_zeros() as usize)
        })
    }

    fn find_words(&self, words: usize) -> Option<usize> {
        let block = self.free.chunks_exact(words).position(|block| block.iter().all(|word| *word == u64::MAX))?;
        Some(block * words * 64)
    }

    fn set(&mut self, frame: usize, order: u32, free: bool) {
        let words = if order <= 6 { 1 } else { 1 << (order - 6) };
        let mask = if order >= 6 { u64::MAX } else { ((1 << (1 << order)) - 1) << (frame % 64) };
        for word in &mut self.free[frame / 64..frame / 64 + words] {
            let expected = if free { 0 } else { mask };
            assert!(*word & mask == expected, "frame {frame}, order {order}: freed or taken twice");
            *word ^= mask;
        }
    }
}
