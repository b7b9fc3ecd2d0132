//! One file in memory.
//!
//! Invariants: `reserved` holds the pages for which a block is reserved in the volume; it, `known` and the numbers of transactions change only with the volume
//! locked. Every dirty page lies over a block of the file or is reserved. All bytes below `size` are on the device or in pages that were dirty before `size`
//! was set. `size` is below the size that the volume has only while a truncation is going on or has failed.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::sync::{Arc, Weak};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use datafs::{Attributes, InodeNumber, Stop};
use linux::Errno;
use linux::types::Timespec;
use sync::Rank;

use super::store::Store;
use crate::access::Permission;
use crate::cache::{Object, WriteBack};
use crate::inode::{Kind, Metadata, Special};
use crate::world::{Mutex, Spin, mutex};
use crate::{PAGE_SIZE, World};

const SECOND: i64 = 1_000_000_000;

/// Nanoseconds since 1970, as the volume keeps times; what is out of its reach becomes the nearest that is not.
pub(super) fn nanoseconds(time: Timespec) -> i64 {
    time.sec.saturating_mul(SECOND).saturating_add(time.nsec)
}

fn timespec(nanoseconds: i64) -> Timespec {
    Timespec { sec: nanoseconds.div_euclid(SECOND), nsec: nanoseconds.rem_euclid(SECOND) }
}

/// Now.
pub(super) fn now<W: World>() -> i64 {
    nanoseconds(W::now())
}

/// What is in memory of a file and may be newer than what the volume has.
pub(super) struct State {
    /// What the volume has.
    pub known: Attributes,
    /// Bytes.
    pub size: u64,
    pub accessed: i64,
    pub modified: i64,
    pub changed: i64,
    /// The volume does not have these times yet.
    pub has_new_times: bool,
    /// Pages with a block in reserve.
    pub reserved: BTreeSet<u64>,
    /// Pages that are about to become a hole.
    pub punching: Range<u64>,
    /// The volume did not finish a truncation: nothing may grow over what is left behind the end.
    pub is_cut: bool,
    /// Nobody uses it any more, and it has no name.
    pub is_gone: bool,
    /// The last transaction with a change of it, and with one without which its bytes cannot be read.
    pub transaction: u64,
    pub data_transaction: u64,
}

impl State {
    fn is_changed(&self) -> bool {
        self.has_new_times || self.is_cut || self.size != self.known.size
    }

    /// Pages have got their blocks.
    pub fn forget_reserved(&mut self, pages: &Range<u64>) {
        let mut behind = self.reserved.split_off(&pages.start);
        self.reserved.append(&mut behind.split_off(&pages.end));
    }
}

/// The part that regular files have.
pub(super) struct Contents<W: World> {
    pub object: Arc<Object<W>>,
    /// Held while bytes or the size change through a call.
    pub writing: Mutex<W, ()>,
    /// Held by write-back, by truncation, and while a page becomes writable in a mapping.
    pub cleaning: Mutex<W, ()>,
}

/// A file in memory.
pub(super) struct Body<W: World> {
    this: Weak<Self>,
    pub(super) store: Arc<Store<W>>,
    number: InodeNumber,
    kind: Kind,
    pub(super) special: Option<Special<W>>,
    pub(super) state: Spin<W, State>,
    pub(super) contents: Option<Contents<W>>,
    /// How often something of it was not written.
    failures: AtomicU64,
}

impl<W: World> Body<W> {
    /// `transaction`: the last that may have changed it. `None` for attributes that are those of no file.
    pub(super) fn new(
        store: Arc<Store<W>>,
        number: InodeNumber,
        known: Attributes,
        transaction: u64,
    ) -> Option<Arc<Self>> {
        let kind = Kind::of_mode(known.mode)?;
        let state = State {
            known,
            size: known.size,
            accessed: known.accessed,
            modified: known.modified,
            changed: known.changed,
            has_new_times: false,
            reserved: BTreeSet::new(),
            punching: 0..0,
            is_cut: false,
            is_gone: false,
            transaction,
            data_transaction: transaction,
        };
        Some(Arc::new_cyclic(|this: &Weak<Self>| {
            let contents = (kind == Kind::Regular).then(|| Contents {
                object: Object::new(store.cache(), Some(this.clone() as Weak<dyn WriteBack>)),
                writing: mutex::<W, _>(()),
                cleaning: mutex::<W, _>(()),
            });
            Self {
                this: this.clone(),
                store,
                number,
                kind,
                special: kind.is_special().then(|| Special::new(known.device)),
                state: Spin::<W, _>::new(Rank::FILE, state),
                contents,
                failures: AtomicU64::new(0),
            }
        }))
    }

    pub(super) fn number(&self) -> InodeNumber {
        self.number
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The part of a regular file.
    ///
    /// # Errors
    /// `EINVAL` when it is none.
    pub(super) fn contents(&self) -> Result<&Contents<W>, Errno> {
        self.contents.as_ref().ok_or(Errno::EINVAL)
    }

    pub(super) fn size(&self) -> u64 {
        self.state.lock().size
    }

    /// No name leads to it.
    pub(super) fn is_nameless(&self) -> bool {
        self.state.lock().known.links == 0
    }

    pub(super) fn permission(&self) -> Permission {
        let state = self.state.lock();
        Permission { mode: state.known.mode, user: state.known.user, group: state.known.group }
    }

    pub(super) fn metadata(&self) -> Metadata {
        let permission = self.permission();
        let state = self.state.lock();
        Metadata {
            number: u64::from(self.number),
            permission,
            links: state.known.links,
            device: state.known.device,
            size: state.size,
            blocks: (state.known.blocks + state.reserved.len() as u64) * (PAGE_SIZE as u64 / 512),
            accessed: timespec(state.accessed),
            modified: timespec(state.modified),
            changed: timespec(state.changed),
        }
    }

    /// Takes over what an operation made of the inode, with the volume still locked.
    ///
    /// # Errors
    /// None after an operation that changed the inode: its block is in memory.
    pub(super) fn adopt(&self, volume: &mut datafs::Volume, concerns_data: bool) -> Result<(), Stop> {
        let known = volume.attributes(self.number)?;
        let transaction = volume.running();
        let mut state = self.state.lock();
        if self.contents.is_none() {
            state.size = known.size;
        }
        state.changed = if state.has_new_times { state.changed.max(known.changed) } else { known.changed };
        if !state.has_new_times {
            (state.accessed, state.modified) = (known.accessed, known.modified);
        }
        state.known = known;
        state.transaction = transaction;
        if concerns_data {
            state.data_transaction = transaction;
        }
        Ok(())
    }

    /// Bytes changed: new times.
    pub(super) fn touch(&self) {
        let now = now::<W>();
        let mut state = self.state.lock();
        (state.modified, state.changed) = (now, now);
        state.has_new_times = true;
        drop(state);
        self.note_changed();
    }

    /// Bytes were read. Access times are relative, as Linux mounts by default: kept only as far as they tell whether a change was seen.
    pub(super) fn note_access(&self) {
        if self.store.is_read_only() {
            return;
        }
        let now = now::<W>();
        let mut state = self.state.lock();
        if state.accessed > state.modified {
            return;
        }
        state.accessed = now;
        state.has_new_times = true;
        drop(state);
        self.note_changed();
    }

    pub(super) fn note_changed(&self) {
        if let Some(this) = self.this.upgrade() {
            self.store.note_changed(&this, true);
        }
    }

    /// The transaction that has to be durable for this file to be; with `data_only`, for its bytes to be found, or a directory's names.
    pub(super) fn transaction(&self, data_only: bool) -> u64 {
        let state = self.state.lock();
        if data_only && self.contents.is_some() { state.data_transaction } else { state.transaction }
    }

    /// How often something of this file, or of the volume that it depends on, was not written.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire) + self.store.unstable()
    }

    /// A page cannot be read.
    pub(super) fn note_unread(&self, page: u64, error: Errno) {
        self.store.report(&format!("inode {} is not read at page {page}: {error}", self.number));
    }

    fn note_failure(&self, error: Errno) {
        self.failures.fetch_add(1, Ordering::AcqRel);
        self.store.note_failure(&format!("inode {} is not written", self.number), error);
    }

    /// Hands to the device and the volume what is in memory only; with `data_only`, as far as it is needed to read the bytes again.
    ///
    /// # Errors
    /// `EIO`: something was not written, and is kept.
    pub(super) fn clean(&self, data_only: bool) -> Result<(), Errno> {
        let Some(contents) = &self.contents else { return self.put_attributes(self.size(), data_only) };
        let _cleaning = contents.cleaning.lock();
        if self.state.lock().is_gone {
            return Ok(());
        }
        // Whoever changes it from here on enters it again.
        self.store.note_clean(self.number);
        let size = self.size();
        let result = self.finish_cut();
        let result = result.and_then(|()| self.write_pages(contents, size));
        let result = result.and_then(|()| self.put_attributes(size, data_only));
        let is_changed = self.state.lock().is_changed() || contents.object.next_dirty(0).is_some();
        if let Some(this) = self.this.upgrade().filter(|_| is_changed) {
            self.store.note_changed(&this, false);
        }
        result.inspect_err(|error| self.note_failure(*error))
    }

    /// Gives times and size to the volume.
    fn put_attributes(&self, size: u64, data_only: bool) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let mut change = datafs::Change::default();
        if self.contents.is_some() && size > state.known.size {
            change.size = Some(size);
        }
        if !data_only && state.has_new_times {
            change.accessed = Some(state.accessed);
            change.modified = Some(state.modified);
            change.changed = Some(state.changed);
            state.has_new_times = false;
        }
        drop(state);
        if change == datafs::Change::default() {
            return Ok(());
        }
        let result = self.store.run(|volume| {
            volume.change(self.number, &change)?;
            self.adopt(volume, change.size.is_some())
        });
        if result.is_err() && change.changed.is_some() {
            self.state.lock().has_new_times = true;
        }
        result
    }

    /// Drops what is in memory of a file that is to be freed.
    pub(super) fn discard(&self) {
        let Some(contents) = &self.contents else { return };
        let _cleaning = contents.cleaning.lock();
        self.state.lock().is_gone = true;
        contents.object.remove(0..u64::MAX);
        self.unreserve(0..u64::MAX);
        self.store.note_clean(self.number);
    }
}

/// Room.
impl<W: World> Body<W> {
    /// Reserves blocks for those pages of a range that lie over a hole and have none in reserve.
    ///
    /// # Errors
    /// `ENOSPC`, `EDQUOT`: then none of them has become reserved; `EIO`.
    pub(super) fn reserve(&self, pages: Range<u64>) -> Result<(), Errno> {
        self.store.run_with_room(|volume| {
            let bare = self.bare(volume, pages.clone())?;
            if !bare.is_empty() {
                volume.reserve(self.number, bare.len() as u32)?;
                self.state.lock().reserved.extend(bare);
            }
            Ok(())
        })
    }

    /// Pages of a range over a hole that have nothing in reserve.
    fn bare(&self, volume: &mut datafs::Volume, pages: Range<u64>) -> Result<alloc::vec::Vec<u64>, Stop> {
        let mut bare = alloc::vec::Vec::new();
        let mut at = pages.start;
        while at < pages.end {
            let extent = volume.extent(self.number, index(at)?, index(pages.end - at)?)?;
            let end = at + u64::from(extent.count);
            if extent.mapping == datafs::Mapping::Hole {
                let state = self.state.lock();
                bare.extend((at..end).filter(|page| !state.reserved.contains(page)));
            }
            at = end;
        }
        Ok(bare)
    }

    /// Gives back what is reserved for pages of a range.
    pub(super) fn unreserve(&self, pages: Range<u64>) {
        let result = self.store.run(|volume| {
            let reserved: alloc::vec::Vec<u64> = self.state.lock().reserved.range(pages.clone()).copied().collect();
            if reserved.is_empty() {
                return Ok(());
            }
            volume.unreserve(self.number, reserved.len() as u32)?;
            let mut state = self.state.lock();
            reserved.iter().for_each(|page| {
                state.reserved.remove(page);
            });
            Ok(())
        });
        if let Err(error) = result {
            self.store.report(&format!("inode {} keeps blocks in reserve: {error}", self.number));
        }
    }

    /// Gives back what is reserved for pages of a range that are not dirty.
    pub(super) fn unreserve_unused(&self, contents: &Contents<W>, pages: Range<u64>) {
        let mut at = pages.start;
        while at < pages.end {
            let dirty = contents.object.next_dirty(at).unwrap_or(u64::MAX).min(pages.end);
            if dirty > at {
                self.unreserve(at..dirty);
            }
            at = dirty + 1;
        }
    }
}

/// A page's place in its file, as the volume counts it.
pub(super) fn index(page: u64) -> Result<u32, datafs::Error> {
    u32::try_from(page).map_err(|_| datafs::Error::FileTooBig)
}

impl<W: World> WriteBack for Body<W> {
    fn write_back(&self) -> Result<(), Errno> {
        self.clean(false)
    }
}

impl<W: World> Drop for Body<W> {
    fn drop(&mut self) {
        self.store.forget(self.number, self);
    }
}
