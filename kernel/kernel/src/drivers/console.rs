//! The console: a PL011 (Arm DDI 0183), or an SBSA generic UART, which is its subset (Arm DEN 0029, appendix B). Output
//! is written by polling, input comes by interrupt. The baud rate is the firmware's business and never programmed.

use core::sync::atomic::{AtomicUsize, Ordering};

use ::lastboot::Part;
use ldisc::Shown;
use platform::{Uart, UartKind};

use super::mmio::Mmio;
use crate::arch::cpu;
use crate::lastboot;
use crate::sync::{Once, Rank, SpinLock};

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const LINE_CONTROL: usize = 0x2c;
const CONTROL: usize = 0x30;
const INTERRUPT_MASK: usize = 0x38;
const REGISTERS_LENGTH: u64 = 0x1000;

const FLAG_RECEIVE_EMPTY: u32 = 1 << 4;
const FLAG_TRANSMIT_FULL: u32 = 1 << 5;
/// Framing, parity, break and overrun errors that come with a received byte; a byte lost to overrun is not this one.
const DATA_ERRORS: u32 = 0b0111 << 8;
/// Eight bits, FIFOs on.
const LINE_8_BITS_FIFO: u32 = 0x70;
const CONTROL_ENABLE_BOTH: u32 = 1 | 1 << 8 | 1 << 9;
/// Receive, and receive timeout: fewer bytes than the FIFO's trigger level.
const INTERRUPT_RECEIVE: u32 = 1 << 4 | 1 << 6;
/// Bytes taken in one interrupt; more wait for the next.
const INPUT_BATCH: usize = 64;
/// How often the transmitter is looked at before a byte is given up: a UART without a clock must not hang the kernel.
const TRANSMIT_POLLS_MAX: u32 = 10_000_000;

static UART: Once<Mmio> = Once::new();
/// The UART found by the firmware's tables, once they have been read; until then the early one serves.
static SETTLED: Once<Mmio> = Once::new();
/// What programs have left on the terminal's last line.
static OUTPUT: SpinLock<Shown> = SpinLock::new(Rank::CONSOLE, Shown::new());
/// Who gets input: called in the interrupt handler.
static INPUT: Once<fn(&[u8])> = Once::new();
/// Bytes that came with an error and were dropped.
static INPUT_ERRORS: AtomicUsize = AtomicUsize::new(0);

fn registers() -> Option<Mmio> {
    SETTLED.get().or_else(|| UART.get()).copied()
}

/// Before the firmware's tables have been read: write to a PL011 that is probably at `physical`.
pub fn init_early(physical: u64) {
    if let Some(registers) = Mmio::map(physical, REGISTERS_LENGTH) {
        let _ = UART.set(registers);
    }
}

/// Use the UART that the firmware's tables describe.
pub fn init(uart: &Uart) {
    let Some(registers) = Mmio::map(uart.base, REGISTERS_LENGTH) else {
        return;
    };
    // An SBSA UART has neither register; a PL011 that is on has been set up by the firmware.
    if uart.kind == UartKind::Pl011 && registers.read32(CONTROL) & 1 == 0 {
        registers.write32(LINE_CONTROL, LINE_8_BITS_FIFO);
        registers.write32(CONTROL, CONTROL_ENABLE_BOTH);
    }
    registers.write32(INTERRUPT_MASK, 0);
    let _ = SETTLED.set(registers);
}

/// From now on hand input to `receive`, in interrupt context. Until then it waits in the UART.
pub fn set_input(receive: fn(&[u8])) {
    let uart = crate::platform::get().uart;
    let (Some(registers), Some(interrupt)) = (registers(), uart.and_then(|uart| uart.interrupt)) else {
        return;
    };
    if INPUT.set(receive) {
        crate::arch::irq::register(interrupt.intid, interrupt.trigger, "uart", on_interrupt);
        registers.write32(INTERRUPT_MASK, INTERRUPT_RECEIVE);
        on_interrupt(); // what came before
    }
}

fn on_interrupt() {
    let (Some(registers), Some(receive)) = (registers(), INPUT.get()) else {
        return;
    };
    // Reading takes the interrupt back (DDI 0183, 3.3.15: below the trigger level, or empty for the timeout). Clearing it by hand
    // would lose it for what stays in the FIFO when the batch is full: it is raised on the way up only.
    let mut bytes = [0; INPUT_BATCH];
    let mut count = 0;
    while count < INPUT_BATCH && registers.read32(FLAGS) & FLAG_RECEIVE_EMPTY == 0 {
        let word = registers.read32(DATA);
        if word & DATA_ERRORS == 0 {
            bytes[count] = word as u8;
            count += 1;
        } else {
            INPUT_ERRORS.fetch_add(1, Ordering::Relaxed);
        }
    }
    if count > 0 {
        receive(&bytes[..count]);
    }
}

/// Writes what a program wrote, or echo; a line feed is preceded by a carriage return. Bytes are lost while there is no UART.
pub fn write(bytes: &[u8]) {
    let Some(registers) = registers() else {
        return;
    };
    if crate::panic::is_another_dying() {
        cpu::halt();
    }
    let mut shown = OUTPUT.lock_irq();
    put_all(registers, bytes);
    lastboot::push(Part::Console, bytes);
    bytes.iter().for_each(|&byte| shown.put(byte));
}

/// Writes the parts of a whole line of the kernel's own: it begins a line, and what a program had begun, or a person typed, is shown again behind it.
pub fn write_line(parts: &[&str]) {
    let Some(registers) = registers() else {
        return;
    };
    if crate::panic::is_another_dying() {
        cpu::halt();
    }
    let shown = OUTPUT.lock_irq();
    let show = |bytes: &[u8]| {
        put_all(registers, bytes);
        lastboot::push(Part::Console, bytes);
    };
    if !shown.is_empty() {
        show(b"\n");
    }
    parts.iter().for_each(|part| show(part.as_bytes()));
    show(shown.bytes());
}

/// Writes for a kernel that dies: the lock is not waited for long, as its holder may have been stopped. The first bytes begin a line.
pub fn write_dying(bytes: &[u8]) {
    let Some(registers) = registers() else {
        return;
    };
    let mut shown = (0..1000).find_map(|_| OUTPUT.try_lock_irq());
    if let Some(shown) = &mut shown
        && !shown.is_empty()
    {
        put_all(registers, b"\n");
        shown.clear();
    }
    put_all(registers, bytes);
}

fn put_all(registers: Mmio, bytes: &[u8]) {
    for byte in bytes {
        if *byte == b'\n' {
            put(registers, b'\r');
        }
        put(registers, *byte);
    }
}

fn put(registers: Mmio, byte: u8) {
    for _ in 0..TRANSMIT_POLLS_MAX {
        if registers.read32(FLAGS) & FLAG_TRANSMIT_FULL == 0 {
            registers.write32(DATA, u32::from(byte));
            return;
        }
        core::hint::spin_loop();
    }
}
