//! The console's output side: a PL011 (Arm DDI 0183) that the firmware has already set up, written by polling.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::{Rank, SpinLock};

/// Virtual address of the UART's registers, 0 before there is one.
static REGISTERS: AtomicUsize = AtomicUsize::new(0);
static OUTPUT: SpinLock<()> = SpinLock::new(Rank::CONSOLE, ());

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const FLAG_TRANSMIT_FULL: u32 = 1 << 5;

/// From now on write to the UART mapped at `registers`.
pub fn set_registers(registers: usize) {
    REGISTERS.store(registers, Ordering::Release);
}

/// Writes bytes; a line feed is preceded by a carriage return. Bytes are lost while there is no UART.
pub fn write(bytes: &[u8]) {
    let registers = REGISTERS.load(Ordering::Acquire);
    if registers == 0 {
        return;
    }
    let _guard = OUTPUT.lock_irq();
    for byte in bytes {
        if *byte == b'\n' {
            put(registers, b'\r');
        }
        put(registers, *byte);
    }
}

fn put(registers: usize, byte: u8) {
    // SAFETY: `registers` is a device mapping of a PL011, made by `boot` and never unmapped.
    unsafe {
        while ((registers + FLAGS) as *const u32).read_volatile() & FLAG_TRANSMIT_FULL != 0 {
            core::hint::spin_loop();
        }
        ((registers + DATA) as *mut u32).write_volatile(u32::from(byte));
    }
}
