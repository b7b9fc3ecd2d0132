//! The files of a volume that are in memory.

use alloc::format;
use alloc::sync::{Arc, Weak};

use datafs::{InodeNumber, Progress};
use linux::Errno;

use super::body::Body;
use super::node::Node;
use super::store::Store;
use crate::World;

/// A file in memory, and who uses it.
pub(super) struct Entry<W: World> {
    body: Weak<Body<W>>,
    node: Weak<Node<W>>,
}

/// Files in memory.
impl<W: World> Store<W> {
    /// The file of this number.
    ///
    /// # Errors
    /// `ESTALE` when it is not in use; `EIO`.
    pub(super) fn node(&self, number: InodeNumber) -> Result<Arc<Node<W>>, Errno> {
        match self.known(number) {
            Some(node) => Ok(node),
            // Entered with the volume locked: who changes the file after its attributes are read finds it in the table.
            None => self.run(|volume| {
                let attributes = volume.attributes(number)?;
                // What is not durable yet may have changed it.
                let last = volume.running() - u64::from(!volume.is_changed());
                Ok(self.enter(number, attributes, last))
            })?,
        }
    }

    /// The file of this number, if it is in memory.
    fn known(&self, number: InodeNumber) -> Option<Arc<Node<W>>> {
        let mut nodes = self.nodes.lock();
        let entry = nodes.get_mut(&number)?;
        if let Some(node) = entry.node.upgrade() {
            return Some(node);
        }
        let node = Node::new(entry.body.upgrade()?);
        entry.node = Arc::downgrade(&node);
        Some(node)
    }

    /// Takes a file into memory, unless it is there by now.
    ///
    /// # Errors
    /// `EIO` for attributes that are those of no file.
    pub(super) fn enter(
        &self,
        number: InodeNumber,
        attributes: datafs::Attributes,
        transaction: u64,
    ) -> Result<Arc<Node<W>>, Errno> {
        let store = self.this.upgrade().ok_or(Errno::EIO)?;
        let body = Body::new(store, number, attributes, transaction).ok_or(Errno::EIO)?;
        let node = Node::new(body.clone());
        let mut nodes = self.nodes.lock();
        let there = nodes.get_mut(&number).and_then(|entry| {
            let known = entry.node.upgrade().or_else(|| entry.body.upgrade().map(Node::new))?;
            entry.node = Arc::downgrade(&known);
            Some(known)
        });
        if there.is_none() {
            nodes.insert(number, Entry { body: Arc::downgrade(&body), node: Arc::downgrade(&node) });
        }
        drop(nodes);
        // What was made in vain goes without the lock: it looks into the table.
        Ok(there.unwrap_or(node))
    }

    /// How many files are in memory.
    #[must_use]
    pub fn files(&self) -> usize {
        self.nodes.lock().len()
    }

    /// What is in memory of a file, if anything is.
    pub(super) fn body(&self, number: InodeNumber) -> Option<Arc<Body<W>>> {
        self.nodes.lock().get(&number)?.body.upgrade()
    }

    /// The last one who used a file has gone.
    pub(super) fn unused(&self, body: &Arc<Body<W>>) {
        if !body.is_nameless() {
            return;
        }
        self.gone.lock().push(body.clone());
        W::write_back_wanted();
    }

    /// A body goes; its entry, too, unless another has taken its number.
    pub(super) fn forget(&self, number: InodeNumber, body: *const Body<W>) {
        let mut nodes = self.nodes.lock();
        if nodes.get(&number).is_some_and(|entry| core::ptr::addr_eq(entry.body.as_ptr(), body)) {
            nodes.remove(&number);
        }
    }

    /// The file has something that the volume does not have yet. Not `is_new`: it still has, so nobody is woken.
    pub(super) fn note_changed(&self, body: &Arc<Body<W>>, is_new: bool) {
        let mut changed = self.changed.lock();
        let is_first = changed.is_empty();
        changed.entry(body.number()).or_insert_with(|| body.clone());
        drop(changed);
        if is_first && is_new {
            W::write_back_wanted();
        }
    }

    /// It has not any more.
    pub(super) fn note_clean(&self, number: InodeNumber) {
        let gone = self.changed.lock().remove(&number);
        drop(gone);
    }

    /// Frees the files that have no name and no user; true when there was one.
    pub(super) fn reap(&self) -> bool {
        if self.is_read_only() {
            return false;
        }
        let gone = core::mem::take(&mut *self.gone.lock());
        for body in &gone {
            body.discard();
            let number = body.number();
            // Its number may be given to a new file as soon as it is free.
            self.forget(number, Arc::as_ptr(body));
            let result = self.free(number);
            if let Err(error) = result {
                self.report(&format!("inode {number} is not freed: {error}"));
            }
        }
        !gone.is_empty()
    }

    fn free(&self, number: InodeNumber) -> Result<(), Errno> {
        while self.run(|volume| volume.reclaim(number))? == Progress::More {}
        Ok(())
    }

    /// Puts in order what a loss of power left; says how many orphans there were.
    pub(super) fn recover(&self) -> Result<u32, Errno> {
        if self.is_read_only() {
            return Ok(0);
        }
        if self.now(|volume| volume.wants_checkpoint()) {
            self.commit(true)?;
        }
        let (mut last, mut count) = (0, 0);
        while let Some(number) = self.now(|volume| volume.first_orphan()) {
            if number == last {
                self.report(&format!("inode {number} stays in the list of orphans"));
                return Err(Errno::EIO);
            }
            self.free(number)?;
            last = number;
            count += 1;
        }
        Ok(count)
    }
}
