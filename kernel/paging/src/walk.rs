//! Walks over four levels of tables that somebody else stores.

use crate::{Descriptor, Level, TABLE_ENTRIES};

/// Where the tables are.
pub trait Tables {
    /// Entry `index` of the table at physical address `table`.
    fn read(&self, table: u64, index: usize) -> Descriptor;
    /// The first valid entry of `from..to`, and where it is: walks over ranges spend their time here.
    fn next_valid(&self, table: u64, from: usize, to: usize) -> Option<(usize, Descriptor)> {
        (from..to).map(|index| (index, self.read(table, index))).find(|(_, descriptor)| descriptor.is_valid())
    }
    /// Replaces it. Barriers and invalidation are the caller's.
    fn write(&mut self, table: u64, index: usize, descriptor: Descriptor);
    /// A new table, all entries invalid.
    fn allocate(&mut self) -> Option<u64>;
    /// Gives a table back.
    fn free(&mut self, table: u64);
}

/// One entry's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// physical address of its table
    pub table: u64,
    /// which entry
    pub index: usize,
    /// the table's level
    pub level: Level,
}

/// Why there is no entry for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkError {
    /// No memory for a table.
    NoMemory,
    /// A block covers the address at a level above.
    Block,
}

/// The leaf that translates `address`.
pub fn leaf<T: Tables>(tables: &T, root: u64, address: u64) -> Option<(Slot, Descriptor)> {
    let mut table = root;
    let mut level = Level::ROOT;
    loop {
        let index = level.index(address);
        let descriptor = tables.read(table, index);
        if !descriptor.is_valid() {
            return None;
        }
        if !descriptor.is_table(level) {
            return Some((Slot { table, index, level }, descriptor));
        }
        table = descriptor.address();
        level = level.below();
    }
}

/// The entry for `address` in the table of `level`, making the tables on the way.
pub fn slot<T: Tables>(tables: &mut T, root: u64, address: u64, level: Level) -> Result<Slot, WalkError> {
    let mut table = root;
    let mut at = Level::ROOT;
    while at < level {
        let index = at.index(address);
        let descriptor = tables.read(table, index);
        table = if descriptor.is_table(at) {
            descriptor.address()
        } else if descriptor.is_valid() {
            return Err(WalkError::Block);
        } else {
            let new = tables.allocate().ok_or(WalkError::NoMemory)?;
            tables.write(table, index, Descriptor::table(new));
            new
        };
        at = at.below();
    }
    Ok(Slot { table, index: level.index(address), level })
}

/// Visits the leaves that translate any part of `start..end`, in order, with the address where each begins.
/// The visitor gets the tables too, to change the entry it was given.
pub fn for_each_leaf<T: Tables>(
    tables: &mut T,
    root: u64,
    start: u64,
    end: u64,
    visit: &mut impl FnMut(&mut T, u64, Slot, Descriptor),
) {
    visit_table(tables, root, Level::ROOT, start, end, visit);
}

/// One table's part of [`for_each_leaf`]; nests four deep at most. `start..end` lies in what the table covers.
fn visit_table<T: Tables>(
    tables: &mut T,
    table: u64,
    level: Level,
    start: u64,
    end: u64,
    visit: &mut impl FnMut(&mut T, u64, Slot, Descriptor),
) {
    if start >= end {
        return;
    }
    let to = level.index(end - 1) + 1;
    let mut from = level.index(start);
    let base = (start & !(level.size() - 1)).wrapping_sub((from as u64) << level.shift());
    while let Some((index, descriptor)) = tables.next_valid(table, from, to) {
        let begin = base.wrapping_add((index as u64) << level.shift());
        if descriptor.is_table(level) {
            // The last entry of the highest table ends at 2^64.
            let next = begin.saturating_add(level.size());
            visit_table(tables, descriptor.address(), level.below(), begin.max(start), next.min(end), visit);
        } else {
            visit(tables, begin, Slot { table, index, level }, descriptor);
        }
        from = index + 1;
    }
}

/// Frees every table below `root`, and `root`, giving each leaf to `visit` on the way.
pub fn tear_down<T: Tables>(tables: &mut T, root: u64, visit: &mut impl FnMut(Descriptor)) {
    tear_down_below(tables, root, Level::ROOT, visit);
}

fn tear_down_below<T: Tables>(tables: &mut T, table: u64, level: Level, visit: &mut impl FnMut(Descriptor)) {
    let mut from = 0;
    while let Some((index, descriptor)) = tables.next_valid(table, from, TABLE_ENTRIES) {
        if descriptor.is_table(level) {
            tear_down_below(tables, descriptor.address(), level.below(), visit);
        } else {
            visit(descriptor);
        }
        from = index + 1;
    }
    tables.free(table);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Attributes, Memory, PAGE_SIZE};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, HashMap};
    use std::vec::Vec;

    const RAM: Attributes = Attributes { memory: Memory::Normal, access: Access::KernelWrite, counted: false };
    const ROOT: u64 = 0x1000;

    /// Tables by address; a limit on how many there may be.
    struct Memories {
        tables: HashMap<u64, [Descriptor; TABLE_ENTRIES]>,
        made: u64,
        tables_max: usize,
    }

    impl Memories {
        fn new(tables_max: usize) -> Self {
            let tables = HashMap::from([(ROOT, [Descriptor::INVALID; TABLE_ENTRIES])]);
            Self { tables, made: 1, tables_max }
        }

        fn map(&mut self, address: u64, level: Level, output: u64) -> Result<(), WalkError> {
            let slot = slot(self, ROOT, address, level)?;
            self.write(slot.table, slot.index, Descriptor::leaf(level, output, RAM));
            Ok(())
        }

        fn leaves(&mut self, start: u64, end: u64) -> Vec<(u64, u64)> {
            let mut seen = Vec::new();
            for_each_leaf(self, ROOT, start, end, &mut |_, address, _, leaf| seen.push((address, leaf.address())));
            seen
        }
    }

    impl Tables for Memories {
        fn read(&self, table: u64, index: usize) -> Descriptor {
            self.tables[&table][index]
        }
        fn write(&mut self, table: u64, index: usize, descriptor: Descriptor) {
            self.tables.get_mut(&table).expect("a live table")[index] = descriptor;
        }
        fn allocate(&mut self) -> Option<u64> {
            (self.tables.len() < self.tables_max).then(|| {
                self.made += 1;
                self.tables.insert(self.made * PAGE_SIZE, [Descriptor::INVALID; TABLE_ENTRIES]);
                self.made * PAGE_SIZE
            })
        }
        fn free(&mut self, table: u64) {
            self.tables.remove(&table).expect("freed once");
        }
    }

    #[test]
    fn a_block_stops_the_walk() {
        let mut memory = Memories::new(16);
        memory.map(0x4000_0000, Level(1), 0x4000_0000).unwrap();
        assert_eq!(memory.map(0x4000_1000, Level::PAGE, 0), Err(WalkError::Block));
        let (slot, found) = leaf(&memory, ROOT, 0x7fff_f000).unwrap();
        assert_eq!((slot.level, found.address()), (Level(1), 0x4000_0000));
        assert_eq!(leaf(&memory, ROOT, 0x8000_0000), None);
    }

    #[test]
    fn no_memory_is_said_and_breaks_nothing() {
        let mut memory = Memories::new(3);
        assert_eq!(memory.map(0, Level::PAGE, 0), Err(WalkError::NoMemory));
        assert_eq!(leaf(&memory, ROOT, 0), None);
        tear_down(&mut memory, ROOT, &mut |_| ());
        assert!(memory.tables.is_empty());
    }

    #[test]
    fn the_last_page_of_all_is_visited() {
        let mut memory = Memories::new(16);
        let last = 0xffff_ffff_ffff_f000;
        memory.map(last, Level::PAGE, 0x5000).unwrap();
        assert_eq!(
            memory.leaves(0xffff_0000_0000_0000, u64::MAX),
            [(0x0000_ffff_ffff_f000, 0x5000)].map(|(a, o)| (a | 0xffff_0000_0000_0000, o))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Pages put anywhere are found again, in order, and in any range; freeing leaves no table.
        #[test]
        fn pages_are_where_they_were_put(
            pages in prop::collection::btree_map(0..1_u64 << 36, 1..1_u64 << 36, 1..40),
            range in (0..1_u64 << 36, 0..1_u64 << 36),
        ) {
            let mut memory = Memories::new(usize::MAX);
            for (page, output) in &pages {
                memory.map(page * PAGE_SIZE, Level::PAGE, output * PAGE_SIZE).unwrap();
            }
            for (page, output) in &pages {
                let (_, found) = leaf(&memory, ROOT, page * PAGE_SIZE + 5).unwrap();
                prop_assert_eq!(found.address(), output * PAGE_SIZE);
            }
            let expected: BTreeMap<u64, u64> = pages.iter().map(|(p, o)| (p * PAGE_SIZE, o * PAGE_SIZE)).collect();
            prop_assert_eq!(memory.leaves(0, 1 << 48), expected.clone().into_iter().collect::<Vec<_>>());
            let (start, end) = (range.0.min(range.1) * PAGE_SIZE, range.0.max(range.1) * PAGE_SIZE);
            let inside: Vec<_> = expected.range(start..end).map(|(p, o)| (*p, *o)).collect();
            prop_assert_eq!(memory.leaves(start, end), inside);
            let mut leaves = 0;
            tear_down(&mut memory, ROOT, &mut |_| leaves += 1);
            prop_assert_eq!(leaves, pages.len());
            prop_assert!(memory.tables.is_empty());
        }
    }
}
