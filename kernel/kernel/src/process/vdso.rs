//! The pages that every program gets for calling without a system call: `[vvar]`, what the kernel tells, and behind it `[vdso]`, the code (crate `linux`,
//! module `vdso`; the clocks are in `arch::vdso`).

use alloc::string::String;
use alloc::sync::Arc;

use linux::Errno;
use linux::vdso::{SIZE, build, functions};

use super::task::Task;
use crate::arch;
use crate::clock;
use crate::mm::{AddressSpace, Backing, PageRef, PageSource, Place, Protection, Sharing};
use crate::sync::Once;

/// One of the two pages.
struct Page {
    page: PageRef,
    name: &'static str,
}

struct Vdso {
    data: Arc<Page>,
    code: Arc<Page>,
    sigreturn: u64,
}

static VDSO: Once<Option<Vdso>> = Once::new();

impl PageSource for Page {
    fn page(&self, index: u64, _write: bool) -> Result<PageRef, Errno> {
        if index == 0 { Ok(self.page.clone()) } else { Err(Errno::ENXIO) }
    }

    fn describe(&self) -> (String, u64, u64) {
        (String::from(self.name), 0, 0)
    }
}

fn make() -> Option<Vdso> {
    let image = build(&functions(arch::vdso::code()))?;
    let page = PageRef::zeroed()?;
    page.write(0, &image.bytes);
    let data = Arc::new(Page { page: clock::page()?, name: "[vvar]" });
    Some(Vdso { data, code: Arc::new(Page { page, name: "[vdso]" }), sigreturn: image.offsets[0] })
}

fn vdso() -> Result<&'static Vdso, Errno> {
    VDSO.get_or_init(make).as_ref().ok_or(Errno::ENOMEM)
}

/// Maps them; gives the address of the code.
pub fn map(space: &AddressSpace) -> Result<u64, Errno> {
    const PAGE: u64 = SIZE as u64;
    let vdso = vdso()?;
    let backing = |source: Arc<Page>| Backing::Object { source, first_page: 0, sharing: Sharing::Private };
    let protection = |execute| Protection { read: true, write: false, execute };
    // Room for both, of which the code then takes the second half.
    let data = space.map(Place::Anywhere, 2 * PAGE, protection(false), backing(vdso.data.clone()))?;
    space.map(Place::Fixed(data + PAGE), PAGE, protection(true), backing(vdso.code.clone()))
}

/// Where a handler of this thread returns to.
pub fn sigreturn_address(task: &Task) -> Result<u64, Errno> {
    Ok(task.process.fields.lock().program.vdso + vdso()?.sigreturn)
}
