//! The order in which the kernel comes up.

use crate::arch::cpu;
use crate::drivers::console;
use crate::mm::kmap::{self, Window};
use crate::{event, mm};

/// Where the early console is until the firmware's tables have been read: QEMU's virt board.
const EARLY_UART: u64 = 0x0900_0000;

/// The first code in the high half, on the CPU that booted: way in (0 = flat image with an FDT, 1 = our loader), what x0 held, where the image lies,
/// and the exception level at entry.
pub extern "C" fn main(way: u64, argument: u64, physical_base: u64, level: u64) -> ! {
    cpu::init(0);
    mm::kmap::init(physical_base);
    if let Some(registers) = kmap::map_window(EARLY_UART, 4096, Window::Device) {
        console::set_registers(registers as usize);
    }
    event!(
        "kernel.entry",
        way = if way == 0 { "image" } else { "loader" },
        el = level,
        version = env!("CARGO_PKG_VERSION"),
        build = option_env!("SWIFT_BUILD").unwrap_or("unknown")
    );
    let _ = argument;
    cpu::halt()
}
