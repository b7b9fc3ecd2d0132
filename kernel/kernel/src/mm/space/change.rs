//! Mapping, unmapping, protecting, moving, growing the heap, forking.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;

use linux::Errno;
use paging::walk::{self, Tables};
use paging::{Descriptor, Level, PAGE_SIZE};
use vmmap::{Area, Map, MapError};

use super::fault::attributes;
use super::{AddressSpace, Backing, Inner, PageRef, Protection, USER_START, UserTables};
use crate::arch::mmu;
use crate::arch::trap::Access;
use crate::mm::layout::USER_END;

/// Where a mapping is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where there is room.
    Anywhere,
    /// There, if it is free; else anywhere.
    Hint(u64),
    /// There, in place of what is there.
    Fixed(u64),
    /// There, or nowhere.
    FixedNoReplace(u64),
}

/// Pages are taken out of the tables this many bytes at a time: one table's worth.
const CHUNK: u64 = Level(2).size();

fn errno(error: MapError) -> Errno {
    match error {
        MapError::InUse => Errno::EEXIST,
        MapError::NotMapped | MapError::NoRoom => Errno::ENOMEM,
    }
}

/// Whole pages that hold `address..address + length`.
///
/// # Errors
/// `EINVAL`: the address is not on a page, or there is nothing. `ENOMEM`: outside what users may map.
fn whole_pages(address: u64, length: u64) -> Result<(u64, u64), Errno> {
    if !address.is_multiple_of(PAGE_SIZE) || length == 0 {
        return Err(Errno::EINVAL);
    }
    let length = length.checked_next_multiple_of(PAGE_SIZE).ok_or(Errno::ENOMEM)?;
    let end = address.checked_add(length).ok_or(Errno::ENOMEM)?;
    if end > USER_END { Err(Errno::ENOMEM) } else { Ok((address, end)) }
}

impl AddressSpace {
    /// Mappings without an address go below `ceiling`.
    pub fn set_ceiling(&self, ceiling: u64) {
        self.inner.lock().ceiling = ceiling & !(PAGE_SIZE - 1);
    }

    /// Maps `length` bytes; gives where.
    ///
    /// # Errors
    /// `EINVAL`, `ENOMEM`, `EEXIST` as mmap(2) has them. Then nothing has changed.
    pub fn map(&self, place: Place, length: u64, protection: Protection, backing: Backing) -> Result<u64, Errno> {
        let (_, length) = whole_pages(0, length)?;
        let mut inner = self.inner.lock();
        let start = match place {
            Place::Anywhere => inner.map.place(length, inner.ceiling).map_err(errno)?,
            Place::Hint(hint) => {
                let hint = hint & !(PAGE_SIZE - 1);
                let end = hint.checked_add(length).filter(|end| *end <= inner.ceiling);
                match end {
                    Some(end) if hint >= USER_START && inner.map.is_free(hint, end) => hint,
                    _ => inner.map.place(length, inner.ceiling).map_err(errno)?,
                }
            }
            Place::Fixed(at) | Place::FixedNoReplace(at) => {
                let (at, end) = whole_pages(at, length)?;
                if at < USER_START {
                    return Err(Errno::EPERM);
                }
                if place == Place::Fixed(at) {
                    self.unmap_locked(&mut inner, at, end)?;
                }
                at
            }
        };
        let area = Area { start, end: start + length, protection, backing };
        inner.map.insert(area).map_err(errno)?;
        Ok(start)
    }

    /// Unmaps whatever is in the range.
    ///
    /// # Errors
    /// `EINVAL`, `ENOMEM` as munmap(2) has them.
    pub fn unmap(&self, address: u64, length: u64) -> Result<(), Errno> {
        let (start, end) = whole_pages(address, length).map_err(|_| Errno::EINVAL)?;
        let mut inner = self.inner.lock();
        self.unmap_locked(&mut inner, start, end)
    }

    fn unmap_locked(&self, inner: &mut Inner, start: u64, end: u64) -> Result<(), Errno> {
        let removed = inner.map.remove(start, end).map_err(errno)?;
        for area in removed {
            self.drop_pages(area.start, area.end);
        }
        Ok(())
    }

    /// Forgets what private anonymous pages in the range held, and lets others be read anew (MADV_DONTNEED).
    ///
    /// # Errors
    /// `ENOMEM`: part of it is not mapped; the rest has been done.
    pub fn discard(&self, address: u64, length: u64) -> Result<(), Errno> {
        if length == 0 {
            return Ok(());
        }
        let (start, end) = whole_pages(address, length)?;
        let inner = self.inner.lock();
        self.drop_pages(start, end);
        if inner.map.is_covered(start, end) { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Takes the pages of `start..end` out of the tables.
    fn drop_pages(&self, start: u64, end: u64) {
        let mut dropped: Vec<PageRef> = Vec::new();
        let mut at = start;
        while at < end {
            let next = ((at & !(CHUNK - 1)) + CHUNK).min(end);
            let mut any = false;
            let mut each = |tables: &mut UserTables, _, slot: walk::Slot, leaf: Descriptor| {
                tables.write(slot.table, slot.index, Descriptor::INVALID);
                any = true;
                if leaf.is_counted() {
                    dropped.push(PageRef::from_entry(leaf.address(), true));
                }
            };
            walk::for_each_leaf(&mut UserTables, self.root, at, next, &mut each);
            // Pages are freed only when no CPU can reach them any more.
            if any {
                self.flush_range(at, next);
            }
            dropped.clear();
            at = next;
        }
    }

    /// Flushes page by page while that is cheaper than everything.
    fn flush_range(&self, start: u64, end: u64) {
        const PAGES_MAX: u64 = 16;
        if (end - start) / PAGE_SIZE <= PAGES_MAX {
            (start..end).step_by(PAGE_SIZE as usize).for_each(|address| self.flush_page(address));
        } else {
            self.flush_all();
        }
    }

    /// Changes what users may do in the range.
    ///
    /// # Errors
    /// `EINVAL`, `ENOMEM`, `EACCES` as mprotect(2) has them. Then nothing has changed.
    pub fn protect(&self, address: u64, length: u64, protection: Protection) -> Result<(), Errno> {
        if length == 0 && address.is_multiple_of(PAGE_SIZE) {
            return Ok(());
        }
        let (start, end) = whole_pages(address, length)?;
        let mut inner = self.inner.lock();
        let refuses = |area: &Area<Backing>| area.start < end && start < area.end && !area.backing.may_be_written();
        if protection.write && inner.map.areas().any(refuses) {
            return Err(Errno::EACCES);
        }
        inner.map.protect(start, end, protection).map_err(errno)?;
        let mut any = false;
        let mut each = |tables: &mut UserTables, _, slot: walk::Slot, leaf: Descriptor| {
            // Writing comes back by a fault, which knows whether the page is shared; taking rights away needs no break before make.
            let changed =
                Descriptor::leaf(slot.level, leaf.address(), attributes(protection, false, leaf.is_counted()));
            if changed != leaf {
                if protection.execute && !leaf.is_user_executable() && leaf.is_counted() {
                    mmu::sync_instructions(leaf.address());
                }
                tables.write(slot.table, slot.index, changed);
                any = true;
            }
        };
        walk::for_each_leaf(&mut UserTables, self.root, start, end, &mut each);
        if any {
            self.flush_range(start, end);
        }
        Ok(())
    }

    /// Makes a mapping longer or shorter, elsewhere if it must and may; gives where it is now. `to` names the new place.
    ///
    /// # Errors
    /// `EINVAL`, `EFAULT`, `ENOMEM` as mremap(2) has them.
    pub fn remap(
        &self,
        old: u64,
        old_length: u64,
        new_length: u64,
        may_move: bool,
        to: Option<u64>,
    ) -> Result<u64, Errno> {
        let (start, old_end) = whole_pages(old, old_length)?;
        let (_, new_length) = whole_pages(0, new_length)?;
        let old_length = old_end - start;
        let mut inner = self.inner.lock();
        let area = inner.map.find(start).filter(|area| area.end >= old_end).ok_or(Errno::EFAULT)?.clone();
        let backing = vmmap::Backing::advanced(&area.backing, start - area.start);
        if let Some(to) = to {
            let (to, to_end) = whole_pages(to, new_length)?;
            if to < old_end && start < to_end || to < USER_START {
                return Err(Errno::EINVAL);
            }
            self.unmap_locked(&mut inner, to, to_end)?;
            return self.relocate(&mut inner, (start, old_length), (to, new_length), area.protection, backing);
        }
        if new_length <= old_length {
            self.unmap_locked(&mut inner, start + new_length, old_end)?;
            return Ok(start);
        }
        let new_end = start.checked_add(new_length).ok_or(Errno::ENOMEM)?;
        if inner.map.is_free(old_end, new_end) {
            let backing = vmmap::Backing::advanced(&backing, old_length);
            let more = Area { start: old_end, end: new_end, protection: area.protection, backing };
            inner.map.insert(more).map_err(errno)?;
            return Ok(start);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        let to = inner.map.place(new_length, inner.ceiling).map_err(errno)?;
        self.relocate(&mut inner, (start, old_length), (to, new_length), area.protection, backing)
    }

    /// Moves a mapping with its pages to a free place.
    fn relocate(
        &self,
        inner: &mut Inner,
        (start, old_length): (u64, u64),
        (to, new_length): (u64, u64),
        protection: Protection,
        backing: Backing,
    ) -> Result<u64, Errno> {
        let kept = old_length.min(new_length);
        // The tables of the new place first: after this nothing can fail half-way.
        for at in (to & !(CHUNK - 1)..to + kept).step_by(CHUNK as usize) {
            walk::slot(&mut UserTables, self.root, at, Level::PAGE).map_err(|_| Errno::ENOMEM)?;
        }
        inner.map.insert(Area { start: to, end: to + new_length, protection, backing }).map_err(errno)?;
        let mut each = |tables: &mut UserTables, address: u64, slot: walk::Slot, leaf: Descriptor| {
            tables.write(slot.table, slot.index, Descriptor::INVALID);
            if let Ok(new) = walk::slot(tables, self.root, address - start + to, Level::PAGE) {
                tables.write(new.table, new.index, leaf);
            }
        };
        walk::for_each_leaf(&mut UserTables, self.root, start, start + kept, &mut each);
        self.flush_all();
        self.unmap_locked(inner, start, start + old_length)?;
        Ok(to)
    }

    /// Says where the heap starts; it is empty. Called by exec.
    pub fn set_heap_start(&self, start: u64) {
        let start = start.next_multiple_of(PAGE_SIZE);
        self.inner.lock().heap = start..start;
    }

    /// Moves the end of the heap, as brk(2) does; gives the end, moved or not.
    pub fn set_heap_end(&self, end: u64) -> u64 {
        const HEAP: Protection = Protection { read: true, write: true, execute: false };
        let mut inner = self.inner.lock();
        let heap = inner.heap.clone();
        if end < heap.start || end > USER_END {
            return heap.end;
        }
        let (old, new) = (heap.end.next_multiple_of(PAGE_SIZE), end.next_multiple_of(PAGE_SIZE));
        let done = if new > old {
            let area = Area { start: old, end: new, protection: HEAP, backing: Backing::Anonymous };
            inner.map.insert(area).is_ok()
        } else {
            new == old || self.unmap_locked(&mut inner, new, old).is_ok()
        };
        if done {
            inner.heap.end = end;
        }
        inner.heap.end
    }

    /// A copy: private pages are shared until either side writes them.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn fork(&self) -> Result<Arc<Self>, Errno> {
        let inner = self.inner.lock();
        let mut map = Map::new(USER_START..USER_END);
        for area in inner.map.areas() {
            map.insert(area.clone()).map_err(errno)?;
        }
        let child = Self::with(Inner { map, heap: inner.heap.clone(), ceiling: inner.ceiling })?;
        let mut out_of_memory = false;
        let mut protected = false;
        // Leaves come in order, many from one table: the copy's table is looked up once for each.
        let mut tables_pair = None;
        let mut each = |tables: &mut UserTables, address, slot: walk::Slot, leaf: Descriptor| {
            if out_of_memory {
                return;
            }
            let copy = match tables_pair {
                Some((from, to)) if from == slot.table => to,
                _ => {
                    let Ok(found) = walk::slot(tables, child.root, address, Level::PAGE) else {
                        out_of_memory = true;
                        return;
                    };
                    tables_pair = Some((slot.table, found.table));
                    found.table
                }
            };
            if leaf.is_user_writable() {
                tables.write(slot.table, slot.index, leaf.read_only());
                protected = true;
            }
            let page = ManuallyDrop::new(PageRef::from_entry(leaf.address(), leaf.is_counted()));
            let _ = PageRef::clone(&page).into_entry();
            tables.write(copy, slot.index, leaf.read_only());
        };
        for area in inner.map.areas().filter(|area| !area.backing.is_shared()) {
            walk::for_each_leaf(&mut UserTables, self.root, area.start, area.end, &mut each);
        }
        if protected {
            self.flush_all();
        }
        if out_of_memory { Err(Errno::ENOMEM) } else { Ok(child) }
    }

    /// Copies bytes to a place that users may write: for exec, before the program runs.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write_bytes(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut at = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let offset = (at % PAGE_SIZE) as usize;
            let (now, later) = rest.split_at(rest.len().min(PAGE_SIZE as usize - offset));
            self.with_page(at, Access::Write, |page| page.write(offset, now)).map_err(|_| Errno::EFAULT)?;
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }
}
