//! The dying kernel's report.

use core::panic::PanicInfo;

use crate::arch::cpu;
use crate::event;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cpu::mask_interrupts();
    event!("kernel.panic", why = info, cpu = cpu::this().index);
    cpu::halt()
}
