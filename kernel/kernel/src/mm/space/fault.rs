//! What happens when a page is touched.

use core::mem::ManuallyDrop;

use linux::Errno;
use paging::walk::{self, Slot, Tables};
use paging::{Access as Allowed, Attributes, Descriptor, Level, Memory, PAGE_SIZE};
use vmmap::Area;

use super::{AddressSpace, Backing, Inner, PageRef, PageSource, Protection, Sharing, UserTables};
use crate::arch::trap::{Access, FaultKind};
use crate::arch::{entry, mmu};

/// Pages around a touched one that are mapped with it when they cost nothing: those that are in memory already.
const AROUND_PAGES: u64 = 16;
/// How often memory is made free for one access: others may be quicker to take it.
const RECLAIMS_MAX: u32 = 4;

/// What a table entry for a page of an area with this protection says. `write`: the entry itself may let users write.
pub(super) fn attributes(protection: Protection, write: bool, counted: bool) -> Attributes {
    let Protection { read, write: may_write, execute } = protection;
    let access = if read || may_write || execute {
        Allowed::User { write: write && may_write, execute }
    } else {
        Allowed::UserNone
    };
    Attributes { memory: Memory::Normal, access, counted }
}

/// The access is one that the protection lets through. There is no writing or executing without reading in the tables.
fn allows(protection: Protection, access: Access) -> bool {
    match access {
        Access::Read => protection.read || protection.write || protection.execute,
        Access::Write => protection.write,
        Access::Execute => protection.execute,
    }
}

fn no_page(error: Errno) -> FaultKind {
    if error == Errno::ENOMEM { FaultKind::NoMemory } else { FaultKind::BeyondEnd }
}

impl AddressSpace {
    /// Brings in what an access needs. `Ok`: the access will succeed, or fail anew.
    pub fn fault(&self, address: u64, access: Access) -> Result<(), FaultKind> {
        let inner = self.inner.lock();
        self.fault_locked(&inner, address, access)
    }

    /// Gives the page at `address` to `with`, after bringing it in for this access: for the kernel to read or write on the program's behalf. The space does
    /// not change meanwhile.
    ///
    /// # Errors
    /// Why a program could not.
    pub fn with_page<R>(&self, address: u64, access: Access, with: impl FnOnce(&PageRef) -> R) -> Result<R, FaultKind> {
        let inner = self.inner.lock();
        self.fault_locked(&inner, address, access)?;
        let (_, leaf) = walk::leaf(&UserTables, self.root, address).ok_or(FaultKind::NoMemory)?;
        Ok(with(&ManuallyDrop::new(PageRef::from_entry(leaf.address(), leaf.is_counted()))))
    }

    pub(super) fn fault_locked(&self, inner: &Inner, address: u64, access: Access) -> Result<(), FaultKind> {
        for _ in 0..RECLAIMS_MAX {
            match self.bring_in(inner, address, access) {
                Err(FaultKind::NoMemory) if crate::mm::reclaim() => {}
                other => return other,
            }
        }
        self.bring_in(inner, address, access)
    }

    fn bring_in(&self, inner: &Inner, address: u64, access: Access) -> Result<(), FaultKind> {
        let area = inner.map.find(address).ok_or(FaultKind::NotMapped)?;
        if !allows(area.protection, access) {
            return Err(FaultKind::NotAllowed);
        }
        let address = address & !(PAGE_SIZE - 1);
        let slot = walk::slot(&mut UserTables, self.root, address, Level::PAGE).map_err(|_| FaultKind::NoMemory)?;
        let present = UserTables.read(slot.table, slot.index);
        if present.is_valid() {
            return self.touch_present(area, address, slot, present, access);
        }
        let page = self.find_page(area, address, access)?;
        let write = access == Access::Write && (page.is_counted() || area.backing.is_shared());
        set_entry(slot, page, area.protection, write);
        if !write && let Backing::Object { source, .. } = &area.backing {
            self.map_around(area, &**source, address);
        }
        mmu::publish();
        Ok(())
    }

    /// The page for a place that has none yet.
    fn find_page(&self, area: &Area<Backing>, address: u64, access: Access) -> Result<PageRef, FaultKind> {
        let is_write = access == Access::Write;
        match &area.backing {
            Backing::Anonymous if is_write => PageRef::zeroed().ok_or(FaultKind::NoMemory),
            Backing::Anonymous => Ok(PageRef::foreign(entry::zero_page())),
            Backing::Object { source, first_page, sharing } => {
                let index = first_page + (address - area.start) / PAGE_SIZE;
                let is_shared = *sharing == Sharing::Shared;
                let page = source.page(index, is_write && is_shared).map_err(no_page)?;
                if is_write && !is_shared { page.copy().ok_or(FaultKind::NoMemory) } else { Ok(page) }
            }
        }
    }

    /// A fault on a page that is there: a write to one that is shared or write-protected; or the TLB knew an older entry.
    fn touch_present(
        &self,
        area: &Area<Backing>,
        address: u64,
        slot: Slot,
        present: Descriptor,
        access: Access,
    ) -> Result<(), FaultKind> {
        if access != Access::Write || present.is_user_writable() {
            self.flush_page(address);
            return Ok(());
        }
        let page = PageRef::from_entry(present.address(), present.is_counted());
        if let Backing::Object { source, first_page, sharing: Sharing::Shared } = &area.backing {
            let page = ManuallyDrop::new(page);
            let index = first_page + (address - area.start) / PAGE_SIZE;
            let writable = source.page(index, true).map_err(no_page)?;
            if writable.physical() == page.physical() {
                // The entry keeps its own share; only the permission changes.
                let allowed = attributes(area.protection, true, present.is_counted());
                UserTables.write(slot.table, slot.index, Descriptor::leaf(Level::PAGE, page.physical(), allowed));
                self.flush_page(address);
                return Ok(());
            }
            let before = ManuallyDrop::into_inner(page);
            self.replace(slot, address, before, writable, area.protection);
            return Ok(());
        }
        if page.is_sole() {
            let (physical, counted) = page.into_entry();
            let allowed = attributes(area.protection, true, counted);
            UserTables.write(slot.table, slot.index, Descriptor::leaf(Level::PAGE, physical, allowed));
            self.flush_page(address);
            return Ok(());
        }
        let copy = if page.physical() == entry::zero_page() { PageRef::zeroed() } else { page.copy() };
        let Some(copy) = copy else {
            let _ = page.into_entry();
            return Err(FaultKind::NoMemory);
        };
        self.replace(slot, address, page, copy, area.protection);
        Ok(())
    }

    /// Puts `page`, writable, where `before` was: break before make.
    fn replace(&self, slot: Slot, address: u64, before: PageRef, page: PageRef, protection: Protection) {
        UserTables.write(slot.table, slot.index, Descriptor::INVALID);
        self.flush_page(address);
        set_entry(slot, page, protection, true);
        mmu::publish();
        drop(before);
    }

    /// Maps the neighbours of a page of a file to be read, as far as they are at hand.
    fn map_around(&self, area: &Area<Backing>, source: &dyn PageSource, address: u64) {
        let Backing::Object { first_page, .. } = &area.backing else { return };
        let block = AROUND_PAGES * PAGE_SIZE;
        let start = (address & !(block - 1)).max(area.start);
        let end = ((address & !(block - 1)) + block).min(area.end);
        let Ok(slot) = walk::slot(&mut UserTables, self.root, start, Level::PAGE) else { return };
        for (index, at) in (slot.index..).zip((start..end).step_by(PAGE_SIZE as usize)) {
            // A block of this size and alignment lies in one table.
            if UserTables.read(slot.table, index).is_valid() {
                continue;
            }
            if let Some(page) = source.page_at_hand(first_page + (at - area.start) / PAGE_SIZE) {
                set_entry(Slot { index, ..slot }, page, area.protection, false);
            }
        }
    }
}

/// Makes an invalid entry translate to `page`.
fn set_entry(slot: Slot, page: PageRef, protection: Protection, write: bool) {
    if protection.execute && page.is_counted() {
        mmu::sync_instructions(page.physical());
    }
    let (physical, counted) = page.into_entry();
    let allowed = attributes(protection, write, counted);
    UserTables.write(slot.table, slot.index, Descriptor::leaf(Level::PAGE, physical, allowed));
}
