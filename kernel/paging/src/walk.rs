//! Walks over four levels of tables that somebody else stores.

use crate::{Descriptor, Level, TABLE_ENTRIES};

/// Where the tables are.
pub trait Tables {
    /// Entry `index` of the table at physical address `table`.
    fn read(&self, table: u64, index: usize) -> Descriptor;
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

/// One table's part of [`for_each_leaf`]; nests four deep at most.
fn visit_table<T: Tables>(
    tables: &mut T,
    table: u64,
    level: Level,
    start: u64,
    end: u64,
    visit: &mut impl FnMut(&mut T, u64, Slot, Descriptor),
) {
    let mut address = start;
    while address < end {
        let index = level.index(address);
        let begin = address & !(level.size() - 1);
        // The last entry of the highest table ends at 2^64.
        let next = begin.saturating_add(level.size());
        let descriptor = tables.read(table, index);
        if descriptor.is_table(level) {
            visit_table(tables, descriptor.address(), level.below(), address, next.min(end), visit);
        } else if descriptor.is_valid() {
            visit(tables, begin, Slot { table, index, level }, descriptor);
        }
        if index == TABLE_ENTRIES - 1 {
            return;
        }
        address = next;
    }
}

/// Frees every table below `root`, and `root`. The leaves are not looked at.
pub fn free_all<T: Tables>(tables: &mut T, root: u64) {
    free_below(tables, root, Level::ROOT);
}

fn free_below<T: Tables>(tables: &mut T, table: u64, level: Level) {
    if level < Level::PAGE {
        for index in 0..TABLE_ENTRIES {
            let descriptor = tables.read(table, index);
            if descriptor.is_table(level) {
                free_below(tables, descriptor.address(), level.below());
            }
        }
    }
    tables.free(table);
}
