//! The GICv3 CPU interface's system registers (Arm IHI 0069, 12.2), by number: not every assembler knows their names.

use super::sysreg;

/// ICC_SRE_EL1.SRE: use system registers.
const SRE: u64 = 1;

/// Turns this CPU's interface on: system registers, every priority, Group 1.
pub fn enable_interface() {
    let sre = sysreg::read!(S3_0_C12_C12_5);
    // SAFETY: the redistributor of this CPU is awake; each ISB makes the change visible before the next access relies on it.
    unsafe {
        sysreg::write!(S3_0_C12_C12_5, sre | SRE);
        core::arch::asm!("isb", options(nostack));
        sysreg::write!(S3_0_C4_C6_0, 0xff_u64); // ICC_PMR_EL1
        sysreg::write!(S3_0_C12_C12_3, 0_u64); // ICC_BPR1_EL1
        sysreg::write!(S3_0_C12_C12_4, 0_u64); // ICC_CTLR_EL1: EOI also deactivates
        sysreg::write!(S3_0_C12_C12_7, 1_u64); // ICC_IGRPEN1_EL1
        core::arch::asm!("isb", options(nostack));
    }
}

/// ICC_IAR1_EL1: the next pending interrupt, which becomes active.
#[must_use]
pub fn acknowledge() -> u32 {
    let id = sysreg::read!(S3_0_C12_C12_0) as u32;
    // SAFETY: orders the acknowledgement before the handler's accesses (IHI 0069, 12.1.6).
    unsafe { core::arch::asm!("dsb sy", options(nostack)) };
    id
}

/// ICC_EOIR1_EL1.
pub fn end(id: u32) {
    // SAFETY: `id` comes from `acknowledge`, and its handler has run.
    unsafe {
        sysreg::write!(S3_0_C12_C12_1, u64::from(id));
        core::arch::asm!("isb", options(nostack));
    }
}

/// ICC_SGI1R_EL1.
pub fn send_sgi(word: u64) {
    // SAFETY: raises a software interrupt, for which every CPU is ready once it is online.
    unsafe {
        sysreg::write!(S3_0_C12_C11_5, word);
        core::arch::asm!("isb", options(nostack));
    }
}
