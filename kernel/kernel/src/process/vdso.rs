//! The page of code that every program gets (crate `linux`, module `vdso`).

use alloc::string::String;
use alloc::sync::Arc;

use linux::Errno;
use linux::vdso::{FUNCTIONS, SIZE, build};

use super::task::Task;
use crate::mm::{AddressSpace, Backing, PageRef, PageSource, Place, Protection, Sharing};
use crate::sync::Once;

struct Vdso {
    page: PageRef,
    sigreturn: u64,
}

static VDSO: Once<Option<Arc<Vdso>>> = Once::new();

impl PageSource for Vdso {
    fn page(&self, index: u64, _write: bool) -> Result<PageRef, Errno> {
        if index == 0 { Ok(self.page.clone()) } else { Err(Errno::ENXIO) }
    }

    fn describe(&self) -> (String, u64, u64) {
        (String::from("[vdso]"), 0, 0)
    }
}

fn make() -> Option<Arc<Vdso>> {
    let image = build(&FUNCTIONS)?;
    let page = PageRef::zeroed()?;
    page.write(0, &image.bytes);
    Some(Arc::new(Vdso { page, sigreturn: image.offsets[0] }))
}

fn vdso() -> Result<&'static Arc<Vdso>, Errno> {
    VDSO.get_or_init(make).as_ref().ok_or(Errno::ENOMEM)
}

/// Maps it; gives its address.
pub fn map(space: &AddressSpace) -> Result<u64, Errno> {
    let source: Arc<dyn PageSource> = vdso()?.clone();
    let protection = Protection { read: true, write: false, execute: true };
    let backing = Backing::Object { source, first_page: 0, sharing: Sharing::Private };
    space.map(Place::Anywhere, SIZE as u64, protection, backing)
}

/// Where a handler of this thread returns to.
pub fn sigreturn_address(task: &Task) -> Result<u64, Errno> {
    Ok(task.process.fields.lock().program.vdso + vdso()?.sigreturn)
}
