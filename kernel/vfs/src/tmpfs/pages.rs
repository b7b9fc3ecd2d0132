//! A file's pages, by index.

use alloc::collections::BTreeMap;

/// Pages that exist; the others are holes.
pub struct Pages<P>(BTreeMap<u64, P>);

impl<P: Clone> Pages<P> {
    /// None.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// The page `index`.
    pub fn get(&self, index: u64) -> Option<&P> {
        self.0.get(&index)
    }

    /// The page `index`; puts `page` there if there is none, and says so.
    pub fn get_or_insert(&mut self, index: u64, page: P) -> (P, bool) {
        let mut fresh = false;
        let here = self.0.entry(index).or_insert_with(|| {
            fresh = true;
            page
        });
        (here.clone(), fresh)
    }

    /// Takes out the pages from `index` on.
    pub fn split_off(&mut self, index: u64) -> Self {
        Self(self.0.split_off(&index))
    }

    /// Puts pages in that lie behind all others.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// The first page at or behind `index`.
    pub fn next_present(&self, index: u64) -> Option<u64> {
        self.0.range(index..).next().map(|(&index, _)| index)
    }

    /// The first hole at or behind `index`.
    pub fn next_absent(&self, index: u64) -> u64 {
        let mut expected = index;
        for (&present, _) in self.0.range(index..) {
            if present != expected {
                break;
            }
            expected += 1;
        }
        expected
    }
}
