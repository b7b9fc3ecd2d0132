//! Exceptions: what happened, and who deals with it.

use super::{cpu, idreg, irq, sysreg, user};
use crate::{mm, process, sched, syscall};

/// A program's registers as an exception found them; `return_to_user` puts them back.
#[repr(C, align(16))]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrapFrame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// Stack pointer.
    pub sp: u64,
    /// Where it goes on.
    pub pc: u64,
    /// SPSR_EL1: flags and mode.
    pub pstate: u64,
}

const _: () = assert!(size_of::<TrapFrame>() == 272);

/// PSTATE bits that a user program may choose: N, Z, C, V, and the speculation and branch-type hints (Arm ARM, C5.2.19).
pub const PSTATE_USER: u64 = 0xf000_0000 | 1 << 12 | 3 << 10;

/// What a program tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Instruction fetch.
    Execute,
}

/// Why a user program cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing is mapped there.
    NotMapped,
    /// The mapping does not allow it.
    NotAllowed,
    /// The mapped object ends before, or cannot be read.
    BeyondEnd,
    /// There is no memory for the page.
    NoMemory,
    /// Misaligned pc, sp, or access to a kind of memory that wants alignment.
    Alignment,
    /// An instruction that is not there, or not for users.
    IllegalInstruction,
    /// BRK, or a debug exception.
    Breakpoint,
    /// A trapped floating-point operation.
    FloatingPoint,
    /// The hardware reported an error.
    Hardware,
}

/// What a user program did that it cannot go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// why
    pub kind: FaultKind,
    /// what it tried
    pub access: Access,
    /// where: the data's address, or the instruction's
    pub address: u64,
    /// ESR_EL1, for the signal frame's record
    pub esr: u64,
}

/// Exception classes: ESR_EL1.EC (Arm ARM, D19.2.37).
mod class {
    pub const UNKNOWN: u64 = 0x00;
    pub const FP_ACCESS: u64 = 0x07;
    pub const ILLEGAL_STATE: u64 = 0x0e;
    pub const SVC: u64 = 0x15;
    pub const SYSTEM_REGISTER: u64 = 0x18;
    pub const INSTRUCTION_ABORT: u64 = 0x20;
    pub const PC_ALIGNMENT: u64 = 0x22;
    pub const DATA_ABORT: u64 = 0x24;
    pub const DATA_ABORT_KERNEL: u64 = 0x25;
    pub const SP_ALIGNMENT: u64 = 0x26;
    pub const FLOATING_POINT: u64 = 0x2c;
    pub const SOFTWARE_STEP: u64 = 0x32;
    pub const BRK: u64 = 0x3c;
}

/// ISS bit of a data abort: a write (and not a cache operation).
const WRITE_NOT_READ: u64 = 1 << 6;
const CACHE_OPERATION: u64 = 1 << 8;

/// Which fault an abort's status code (DFSC, IFSC) names.
#[derive(PartialEq, Eq)]
enum Abort {
    /// Translation or access flag: nothing there.
    Translation,
    Permission,
    Alignment,
    External,
}

fn abort_of(esr: u64) -> Abort {
    match esr & 0x3f {
        0x04..=0x0b => Abort::Translation,
        0x0c..=0x0f => Abort::Permission,
        0x21 => Abort::Alignment,
        _ => Abort::External,
    }
}

fn access_of(esr: u64) -> Access {
    match esr >> 26 {
        class::INSTRUCTION_ABORT => Access::Execute,
        _ if esr & WRITE_NOT_READ != 0 && esr & CACHE_OPERATION == 0 => Access::Write,
        _ => Access::Read,
    }
}

/// The address of an abort, without the tag that TCR_EL1.TBI0 lets users put into its top byte.
fn fault_address() -> u64 {
    sysreg::read!(FAR_EL1) & 0x00ff_ffff_ffff_ffff
}

pub extern "C" fn user_sync(frame: &mut TrapFrame) {
    cpu::enter_kernel();
    let esr = sysreg::read!(ESR_EL1);
    let far = fault_address();
    cpu::unmask_interrupts();
    match esr >> 26 {
        class::SVC => syscall::dispatch(frame),
        class::DATA_ABORT | class::INSTRUCTION_ABORT => user_abort(frame, esr, far),
        class::SYSTEM_REGISTER | class::UNKNOWN if idreg::emulate(frame, esr) => {}
        other => {
            let kind = match other {
                class::PC_ALIGNMENT | class::SP_ALIGNMENT => FaultKind::Alignment,
                class::FLOATING_POINT => FaultKind::FloatingPoint,
                class::BRK | class::SOFTWARE_STEP => FaultKind::Breakpoint,
                class::UNKNOWN | class::ILLEGAL_STATE | class::FP_ACCESS => FaultKind::IllegalInstruction,
                // Traps of what users may not do: SVE, SME, system instructions, SMC.
                _ => FaultKind::IllegalInstruction,
            };
            let address = if other == class::SP_ALIGNMENT { frame.sp } else { frame.pc };
            process::user_fault(frame, Fault { kind, access: Access::Execute, address, esr });
        }
    }
    leave(frame);
}

fn user_abort(frame: &mut TrapFrame, esr: u64, far: u64) {
    let access = access_of(esr);
    let kind = match abort_of(esr) {
        Abort::Translation | Abort::Permission => match mm::user_fault(far, access) {
            Ok(()) => return,
            Err(kind) => kind,
        },
        Abort::Alignment => FaultKind::Alignment,
        Abort::External => FaultKind::Hardware,
    };
    process::user_fault(frame, Fault { kind, access, address: far, esr });
}

pub extern "C" fn user_irq(frame: &mut TrapFrame) {
    cpu::enter_kernel();
    irq::handle();
    leave(frame);
}

pub extern "C" fn user_fiq(frame: &mut TrapFrame) {
    user_irq(frame);
}

pub extern "C" fn user_serror(frame: &mut TrapFrame) {
    cpu::enter_kernel();
    let esr = sysreg::read!(ESR_EL1);
    process::user_fault(frame, Fault { kind: FaultKind::Hardware, access: Access::Read, address: frame.pc, esr });
    leave(frame);
}

/// The way back to a user program: other threads' turn, then signals, until there is nothing to do. Ends with interrupts masked.
pub fn leave(frame: &mut TrapFrame) {
    loop {
        cpu::mask_interrupts();
        if cpu::this().need_resched() {
            sched::reschedule();
        } else if sched::current().take_interrupt() {
            cpu::unmask_interrupts();
            process::before_user_return(frame);
        } else {
            break;
        }
    }
    // Whatever a signal frame or debugger asked for: EL0, AArch64, nothing masked.
    frame.pstate &= PSTATE_USER;
    cpu::leave_kernel();
}

pub extern "C" fn kernel_sync(frame: &mut TrapFrame) {
    let esr = sysreg::read!(ESR_EL1);
    let far = fault_address();
    if esr >> 26 == class::DATA_ABORT_KERNEL
        && let Some(recovery) = user::recovery(frame.pc)
    {
        // A copy to or from a user: the page may only have to be brought in, as for the user itself.
        let may_resolve = matches!(abort_of(esr), Abort::Translation | Abort::Permission);
        cpu::restore_interrupts(frame.pstate & 0x3c0);
        let resolved = may_resolve && mm::user_fault(far, access_of(esr)).is_ok();
        cpu::mask_interrupts();
        if !resolved {
            frame.pc = recovery;
        }
        return;
    }
    fatal(frame, esr, sysreg::read!(FAR_EL1), "exception in the kernel")
}

pub extern "C" fn kernel_irq(_frame: &mut TrapFrame) {
    irq::handle();
}

pub extern "C" fn kernel_fiq(_frame: &mut TrapFrame) {
    irq::handle();
}

pub extern "C" fn kernel_serror(frame: &mut TrapFrame) {
    fatal(frame, sysreg::read!(ESR_EL1), sysreg::read!(FAR_EL1), "system error")
}

pub extern "C" fn kernel_stack_overflow(sp: u64) -> ! {
    let frame = TrapFrame { sp, pc: sysreg::read!(ELR_EL1), pstate: sysreg::read!(SPSR_EL1), ..TrapFrame::default() };
    fatal(&frame, sysreg::read!(ESR_EL1), sysreg::read!(FAR_EL1), "kernel stack overflow")
}

fn fatal(frame: &TrapFrame, esr: u64, far: u64, what: &str) -> ! {
    crate::panic::die_of_exception(&format_args!("{what}: esr {esr:#x} far {far:#x} pc {:#x}", frame.pc), frame)
}
