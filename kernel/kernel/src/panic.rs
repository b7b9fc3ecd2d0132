//! The dying kernel's report: why, registers, who called whom, the last events; then the machine starts again when it was booted from a slot, whose
//! boots the loader counts, or when a watchdog counts, which would do that anyway; otherwise it halts. `panic=reboot` and `panic=halt` on the command line
//! say it for any boot, `panic=test` makes the boot end in a report, for tests of this.
//!
//! It trusts nothing that may be broken: no heap, no lock is waited for, and a second panic on the way ends at once.

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ::lastboot::Part;
use ksyms::Symbols;

use crate::arch::trap::TrapFrame;
use crate::arch::{backtrace, cpu, psci, sysreg};
use crate::drivers::{console, watchdog};
use crate::lastboot::{self, End};
use crate::sync::Once;
use crate::{event, events};

/// Events that the report repeats.
const EVENTS_SHOWN: usize = 64;
const NOBODY: usize = usize::MAX;

static SYMBOLS: Once<Symbols<'static>> = Once::new();
/// The CPU that panicked first.
static DYING: AtomicUsize = AtomicUsize::new(NOBODY);
static REBOOT: AtomicBool = AtomicBool::new(false);
static TEST: AtomicBool = AtomicBool::new(false);

/// From now on reports name functions by this section of the slot image.
pub fn set_symbols(section: &'static [u8]) {
    match Symbols::parse(section) {
        Ok(symbols) => {
            let _ = SYMBOLS.set(symbols);
        }
        Err(error) => event!("symbols.error", what = "kernel symbols", why = error),
    }
}

/// What is done after a report: the kernel's command line says it, or else whether there is a slot that another one can be taken for.
pub fn set_policy(command_line: &str, from_slot: bool) {
    let has = |wanted| command_line.split_ascii_whitespace().any(|word| word == wanted);
    REBOOT.store(has("panic=reboot") || (from_slot && !has("panic=halt")), Ordering::Relaxed);
    TEST.store(has("panic=test"), Ordering::Relaxed);
}

/// From now on a panic ends in a restart, whatever the command line says.
pub fn start_again() {
    REBOOT.store(true, Ordering::Relaxed);
}

/// Panics where the command line asks for it. Called when every CPU runs.
pub fn test() {
    assert!(!TEST.load(Ordering::Relaxed), "the command line says panic=test");
}

/// Where a report goes: the console, and what is left for the next boot.
struct Report;

impl Write for Report {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        console::write_dying(text.as_bytes());
        lastboot::push(Part::Report, text.as_bytes());
        Ok(())
    }
}

/// Whether someone panicked.
#[must_use]
pub fn is_dying() -> bool {
    DYING.load(Ordering::Relaxed) != NOBODY
}

/// Whether this CPU must be silent: another one is reporting a panic. One that has interrupts masked does not see the stop
/// yet, and finds out here, before it writes into the report.
#[must_use]
pub fn is_another_dying() -> bool {
    is_dying() && DYING.load(Ordering::Relaxed) != cpu::this().index
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    die(info, backtrace::frame_pointer(), None)
}

/// An exception that the kernel cannot go on from: report it with the registers that it left.
pub fn die_of_exception(why: &dyn fmt::Display, frame: &TrapFrame) -> ! {
    die(why, frame.x[29], Some(frame))
}

/// Report `why` with the stack that `frame_pointer` begins, and stop the machine.
fn die(why: &dyn fmt::Display, frame_pointer: u64, frame: Option<&TrapFrame>) -> ! {
    cpu::mask_interrupts();
    let this = cpu::this().index;
    match DYING.compare_exchange(NOBODY, this, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => {}
        Err(first) if first == this => {
            console::write_dying(b"\nsecond panic on the way; stopped\n");
            if REBOOT.load(Ordering::Relaxed) && psci::is_known() {
                psci::system_reset();
            }
            cpu::halt();
        }
        Err(_) => cpu::halt(),
    }
    stop_others();
    lastboot::end(End::Panic, why);
    event!("kernel.panic", why = why, cpu = this);
    let mut report = Report;
    console::write_dying(b"\n");
    let _ = writeln!(report, "kernel panic on CPU {this}: {why}");
    if let Some(frame) = frame {
        general_registers(&mut report, frame);
    }
    system_registers(&mut report);
    callers(&mut report, frame_pointer, frame);
    // The next boot has the events anyway.
    console::write_dying(b"last events:\n");
    // Indented, so that no reader takes them for new ones.
    let mut is_start = true;
    events::last(EVENTS_SHOWN, |byte| {
        if is_start {
            console::write_dying(b"  ");
        }
        console::write_dying(&[byte]);
        is_start = byte == b'\n';
    });
    restart_by_policy();
    event!("system.halt");
    cpu::halt()
}

/// A boot that cannot go on, and says so without a panic: the machine starts again where it would after one.
pub fn restart_by_policy() {
    if (REBOOT.load(Ordering::Relaxed) || watchdog::counts()) && psci::is_known() {
        event!("system.reboot");
        lastboot::end(End::GaveUp, &"the boot could not go on; the last events say why");
        psci::system_reset();
    }
}

/// Ask every other CPU to halt. Those that have interrupts masked stop when they unmask them, or when they panic.
fn stop_others() {
    let this = cpu::this().index;
    for other in cpu::all() {
        if other.index != this && other.online.load(Ordering::Relaxed) {
            crate::arch::irq::send(other, crate::arch::irq::sgi::STOP);
        }
    }
}

fn general_registers(report: &mut Report, frame: &TrapFrame) {
    let _ = write!(report, "pc  {:016x}  sp  {:016x}  pstate {:08x}", frame.pc, frame.sp, frame.pstate);
    for (index, value) in frame.x.iter().enumerate() {
        let separator = if index % 4 == 0 { "\n" } else { "  " };
        let _ = write!(report, "{separator}x{index:<2} {value:016x}");
    }
    let _ = writeln!(report);
}

fn system_registers(report: &mut Report) {
    let [esr, far, elr, spsr, sctlr, tcr, ttbr0, ttbr1] = [
        sysreg::read!(ESR_EL1),
        sysreg::read!(FAR_EL1),
        sysreg::read!(ELR_EL1),
        sysreg::read!(SPSR_EL1),
        sysreg::read!(SCTLR_EL1),
        sysreg::read!(TCR_EL1),
        sysreg::read!(TTBR0_EL1),
        sysreg::read!(TTBR1_EL1),
    ];
    let _ = writeln!(report, "esr {esr:016x}  far  {far:016x}  elr   {elr:016x}  spsr  {spsr:016x}");
    let _ = writeln!(report, "tcr {tcr:016x}  sctlr {sctlr:015x}  ttbr0 {ttbr0:016x}  ttbr1 {ttbr1:016x}");
}

fn callers(report: &mut Report, frame_pointer: u64, frame: Option<&TrapFrame>) {
    let _ = writeln!(report, "called from:");
    if let Some(frame) = frame {
        place(report, frame.pc, 0);
        place(report, frame.x[30], 4);
    }
    // The call is the instruction before the return address, which may belong to the next function.
    backtrace::walk(frame_pointer, |return_address| place(report, return_address, 4));
}

/// One line: an address, and the function around the instruction `back` bytes before it.
fn place(report: &mut Report, address: u64, back: u64) {
    let _ = match SYMBOLS.get().and_then(|symbols| symbols.lookup(address.wrapping_sub(back))) {
        Some(symbol) => writeln!(report, "  {address:016x} {}+{:#x}", symbol.name, symbol.offset + back),
        None => writeln!(report, "  {address:016x}"),
    };
}
