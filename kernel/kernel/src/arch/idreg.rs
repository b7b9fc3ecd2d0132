//! ID registers as user programs see them. HWCAP_CPUID promises that EL0 may read them; the reads trap, and what they get are only
//! features whose state the kernel keeps for each thread: no SVE, SME, pointer authentication, memory tagging
//! (Linux, Documentation/arch/arm64/cpu-feature-registers.rst).

use super::sysreg;
use super::trap::TrapFrame;

/// op0, op1, CRn, CRm, op2 and Rt of a trapped MRS (ISS of exception class 0x18; Arm ARM, D19.2.37).
struct Trapped {
    crm: u64,
    op2: u64,
    rt: usize,
}

/// The trap is an MRS of the identification space: op0 3, op1 0, CRn 0.
fn decode(esr: u64) -> Option<Trapped> {
    let iss = esr & 0x1ff_ffff;
    let is_read = iss & 1 == 1;
    let (op0, op1, crn) = (iss >> 20 & 3, iss >> 14 & 7, iss >> 10 & 15);
    (is_read && op0 == 3 && op1 == 0 && crn == 0).then_some(Trapped {
        crm: iss >> 1 & 15,
        op2: iss >> 17 & 7,
        rt: (iss >> 5 & 31) as usize,
    })
}

/// Keeps the 4-bit fields at these bit positions.
fn fields(value: u64, positions: &[u32]) -> u64 {
    positions.iter().fold(0, |kept, position| kept | value & 15 << position)
}

/// ID_AA64ISAR0_EL1: AES, SHA1, SHA2, CRC32, atomics, RDM, SHA3, SM3, SM4, DP, FHM, TS.
#[must_use]
pub fn isar0() -> u64 {
    fields(sysreg::read!(ID_AA64ISAR0_EL1), &[4, 8, 12, 16, 20, 28, 32, 36, 40, 44, 48, 52])
}

/// ID_AA64ISAR1_EL1: DPB, JSCVT, FCMA, LRCPC, FRINTTS, SB, BF16, DGH, I8MM.
#[must_use]
pub fn isar1() -> u64 {
    fields(sysreg::read!(ID_AA64ISAR1_EL1), &[0, 12, 16, 20, 32, 36, 44, 48, 52])
}

/// ID_AA64PFR0_EL1: FP and AdvSIMD as they are, EL0 and EL1 AArch64 only, DIT.
#[must_use]
pub fn pfr0() -> u64 {
    fields(sysreg::read!(ID_AA64PFR0_EL1), &[16, 20, 48]) | 0x11
}

/// Answers the read that trapped. False: it is none that a user may do.
pub fn emulate(frame: &mut TrapFrame, esr: u64) -> bool {
    let Some(trapped) = decode(esr) else { return false };
    let value = match (trapped.crm, trapped.op2) {
        (0, 0) => sysreg::read!(MIDR_EL1),
        (0, 5) => 0x8000_0000,
        (0, 6) => sysreg::read!(REVIDR_EL1),
        (4, 0) => pfr0(),
        (6, 0) => isar0(),
        (6, 1) => isar1(),
        (1..=7, _) => 0,
        _ => return false,
    };
    if let Some(register) = frame.x.get_mut(trapped.rt) {
        *register = value;
    }
    frame.pc += 4;
    true
}
