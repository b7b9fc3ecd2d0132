//! Values in the order in which they came, each at a place of its own: the places are numbered, and no number comes twice.
//!
//! They lie in blocks of [`BLOCK`], so that a new one costs a look at the last block alone. A block goes when nothing is left in it: the room that is taken
//! is at most that of a block for each value.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

const BLOCK: usize = 16;

/// Invariant: `count` of the values are there.
struct Block<T> {
    values: [Option<T>; BLOCK],
    count: usize,
}

impl<T> Block<T> {
    const fn new() -> Self {
        Self { values: [const { None }; BLOCK], count: 0 }
    }

    fn take(&mut self, at: usize) -> Option<T> {
        let value = self.values[at].take();
        self.count -= usize::from(value.is_some());
        value
    }
}

/// See the module. Invariants: no block of `before` is empty, and all come before the last.
pub struct Places<T> {
    before: BTreeMap<u64, Box<Block<T>>>,
    last: Block<T>,
    next: u64,
    count: usize,
}

/// The block that a place lies in, and where in it.
fn split(place: u64) -> (u64, usize) {
    (place / BLOCK as u64, (place % BLOCK as u64) as usize)
}

impl<T> Places<T> {
    /// Nothing; the first place is 1.
    pub const fn new() -> Self {
        Self { before: BTreeMap::new(), last: Block::new(), next: 1, count: 0 }
    }

    /// How many values there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Puts a value behind all others; gives its place.
    pub fn push(&mut self, value: T) -> u64 {
        let place = self.next;
        let (block, at) = split(place);
        if at == 0 {
            let full = core::mem::replace(&mut self.last, Block::new());
            if full.count > 0 {
                self.before.insert(block - 1, Box::new(full));
            }
        }
        self.last.values[at] = Some(value);
        self.last.count += 1;
        self.count += 1;
        self.next += 1;
        place
    }

    /// Takes the value at a place, if there is one.
    pub fn take(&mut self, place: u64) -> Option<T> {
        let (block, at) = split(place);
        let value = if block == split(self.next - 1).0 {
            self.last.take(at)
        } else {
            let found = self.before.get_mut(&block)?;
            let value = found.take(at);
            if found.count == 0 {
                self.before.remove(&block);
            }
            value
        };
        self.count -= usize::from(value.is_some());
        value
    }

    /// Takes the first of all, and tells its place.
    pub fn take_first(&mut self) -> Option<(u64, T)> {
        let (block, values) = match self.before.first_key_value() {
            Some((&block, found)) => (block, &found.values),
            None => (split(self.next - 1).0, &self.last.values),
        };
        let at = values.iter().position(Option::is_some)?;
        let place = block * BLOCK as u64 + at as u64;
        self.take(place).map(|value| (place, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// As a map from place to value does it.
        #[test]
        fn as_a_map(steps in prop::collection::vec((0..4u8, any::<u16>()), 0..400)) {
            let (mut places, mut map, mut next) = (Places::new(), BTreeMap::new(), 1);
            for (step, number) in steps {
                match step {
                    0 | 1 => {
                        prop_assert_eq!(places.push(number), next);
                        map.insert(next, number);
                        next += 1;
                    }
                    2 => {
                        let place = u64::from(number) % (next + 20);
                        prop_assert_eq!(places.take(place), map.remove(&place));
                    }
                    _ => prop_assert_eq!(places.take_first(), map.pop_first()),
                }
                prop_assert_eq!(places.count(), map.len());
                prop_assert!(places.before.values().all(|block| block.count > 0), "an empty block is kept");
            }
            while let Some(first) = map.pop_first() {
                prop_assert_eq!(places.take_first(), Some(first));
            }
            prop_assert_eq!(places.take_first(), None);
            prop_assert!(places.before.is_empty());
        }
    }
}
