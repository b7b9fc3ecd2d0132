//! What machine this is.

use ::platform::Platform;

use crate::mm::kmap::{self, Window};
use crate::sync::Once;

static PLATFORM: Once<Platform> = Once::new();

/// The FDT at a physical address.
pub fn map_fdt(physical: u64) -> Option<&'static [u8]> {
    let head = kmap::map_window(physical, 8, Window::ReadOnly)? as *const u32;
    // SAFETY: two words of the FDT's header, just mapped for good.
    let (magic, size) = unsafe { (u32::from_be(head.read()), u32::from_be(head.add(1).read())) };
    if magic != 0xd00d_feed || size > 2 << 20 {
        return None;
    }
    let bytes = kmap::map_window(physical, u64::from(size), Window::ReadOnly)? as *const u8;
    // SAFETY: mapped for good, never written.
    Some(unsafe { core::slice::from_raw_parts(bytes, size as usize) })
}

/// Reads the FDT.
pub fn init_fdt(blob: &'static [u8]) -> &'static Platform {
    PLATFORM.get_or_init(|| {
        let mut platform = Platform::new();
        platform.read_fdt(blob).expect("the FDT describes the machine");
        platform
    })
}

/// The machine.
pub fn get() -> &'static Platform {
    PLATFORM.get().expect("read at boot")
}
