//! A directory's names.
//!
//! Each entry has a ticket, drawn in ascending order: reading goes by ticket, so one who reads a directory while others change it sees every
//! name that was there all along exactly once.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use sync::Rank;

use super::Node;
use crate::inode::Entries;
use crate::world::Spin;
use crate::{Inode, World};

/// A name and what it names.
type Entry<W> = (Box<[u8]>, Arc<Node<W>>);

struct Names<W: World> {
    tickets: BTreeMap<Box<[u8]>, u64>,
    entries: BTreeMap<u64, Entry<W>>,
    next: u64,
}

pub struct Directory<W: World>(Spin<W, Names<W>>);

/// Entries that are copied out under the lock at a time.
const BATCH: usize = 16;

impl<W: World> Directory<W> {
    pub fn new() -> Self {
        Self(Spin::<W, _>::new(Rank::TREE, Names { tickets: BTreeMap::new(), entries: BTreeMap::new(), next: 0 }))
    }

    pub fn count(&self) -> u64 {
        self.0.lock().entries.len() as u64
    }

    pub fn get(&self, name: &[u8]) -> Option<Arc<Node<W>>> {
        let names = self.0.lock();
        let ticket = names.tickets.get(name)?;
        names.entries.get(ticket).map(|(_, node)| node.clone())
    }

    /// Adds a name, or gives it to another node.
    pub fn insert(&self, name: &[u8], node: Arc<Node<W>>) {
        let (key, again): (Box<[u8]>, Box<[u8]>) = (name.into(), name.into());
        let mut names = self.0.lock();
        let ticket = names.next;
        names.next += 1;
        let old = names.tickets.insert(key, ticket).and_then(|old| names.entries.remove(&old));
        names.entries.insert(ticket, (again, node));
        drop(names);
        drop(old);
    }

    /// Takes a name out. What it named is the caller's to drop, without a lock.
    pub fn remove(&self, name: &[u8]) -> Option<Arc<Node<W>>> {
        let mut names = self.0.lock();
        let ticket = names.tickets.remove(name)?;
        names.entries.remove(&ticket).map(|(_, node)| node)
    }

    pub fn entries(&self, position: u64, take: &mut Entries<'_>) {
        let mut position = position;
        loop {
            let batch: alloc::vec::Vec<_> =
                self.0.lock().entries.range(position..).take(BATCH).map(|(&at, entry)| (at, entry.clone())).collect();
            for (ticket, (name, node)) in &batch {
                if !take(node.number, ticket + 1, node.kind(), name) {
                    return;
                }
                position = ticket + 1;
            }
            if batch.len() < BATCH {
                return;
            }
        }
    }
}
